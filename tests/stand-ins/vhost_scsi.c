// SPDX-License-Identifier: GPL-2.0
/*
 * Stands in for vhost_scsi.ko: its handler has another name.
 */
#include "stand_in.h"

static noinline long vhost_scsi_new_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	return 0;
}

STAND_IN("vhost-scsi", vhost_scsi_new_ioctl);

static int __init vhost_scsi_init(void)
{
	return misc_register(&device);
}

static void __exit vhost_scsi_exit(void)
{
	misc_deregister(&device);
}
module_init(vhost_scsi_init);
module_exit(vhost_scsi_exit);
