// SPDX-License-Identifier: GPL-2.0
/*
 * Stands in for vhost_vdpa.ko: calls its handler before anything else, and takes it as a livepatch
 * does, when asked.
 */
#include <linux/ftrace.h>

#include "stand_in.h"

static noinline long vhost_vdpa_unlocked_ioctl(struct file *file, unsigned int command,
					       unsigned long arg)
{
	return 0;
}

STAND_IN("vhost-vdpa-0", vhost_vdpa_unlocked_ioctl);

static void notrace taken(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
			  struct ftrace_regs *regs)
{
}

static struct ftrace_ops ops = {
	.func = taken,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

static bool take;

static int set_take(const char *text, const struct kernel_param *param)
{
	bool before = take;
	int error = param_set_bool(text, param);

	if (error || take == before)
		return error;
	if (!take)
		return unregister_ftrace_function(&ops);
	error = ftrace_set_filter_ip(&ops, (unsigned long)vhost_vdpa_unlocked_ioctl, 0, 0);
	return error ?: register_ftrace_function(&ops);
}

static const struct kernel_param_ops take_ops = { .set = set_take, .get = param_get_bool };
module_param_cb(take, &take_ops, &take, 0600);
MODULE_PARM_DESC(take, "be the one that may change where the handler goes");

static int first;
module_param(first, int, 0400);
MODULE_PARM_DESC(first, "what the handler answered at the beginning of init");

static int __init vhost_vdpa_init(void)
{
	/* By way of the table, as the VFS does. */
	first = READ_ONCE(operations.unlocked_ioctl)(NULL, 0x8008af00, 0);
	return misc_register(&device);
}

static void __exit vhost_vdpa_exit(void)
{
	misc_deregister(&device);
}
module_init(vhost_vdpa_init);
module_exit(vhost_vdpa_exit);
