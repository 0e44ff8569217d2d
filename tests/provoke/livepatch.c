// SPDX-License-Identifier: GPL-2.0
/* A livepatch of kvm_vm_ioctl, which is to be loaded into a guest that is thrown away. */
#include <linux/fs.h>
#include <linux/livepatch.h>
#include <linux/module.h>

static long patched(struct file *file, unsigned int command, unsigned long argument)
{
	return -ENOANO;
}

static struct klp_func functions[] = {
	{ .old_name = "kvm_vm_ioctl", .new_func = patched },
	{ }
};
static struct klp_object objects[] = {
	{ .name = "kvm", .funcs = functions },
	{ }
};
static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init livepatch_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(livepatch_init);

static void __exit livepatch_exit(void)
{
}
module_exit(livepatch_exit);

MODULE_DESCRIPTION("A livepatch of a guarded handler, for tests");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
