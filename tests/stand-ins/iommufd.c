// SPDX-License-Identifier: GPL-2.0
/*
 * Stands in for iommufd.ko: no probe can be put at its handler.
 */
#include <linux/kprobes.h>

#include "stand_in.h"

static noinline long iommufd_fops_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	return 0;
}
NOKPROBE_SYMBOL(iommufd_fops_ioctl);

STAND_IN("iommu", iommufd_fops_ioctl);

static int __init iommufd_init(void)
{
	return misc_register(&device);
}

static void __exit iommufd_exit(void)
{
	misc_deregister(&device);
}
module_init(iommufd_init);
module_exit(iommufd_exit);
