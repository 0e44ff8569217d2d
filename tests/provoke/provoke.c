// SPDX-License-Identifier: GPL-2.0
/*
 * What can happen to somebody else's kprobes, on demand. For tests: it calls functions of the kernel
 * that are not exported, and is to be loaded into a guest that is thrown away.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

/* Where a function is, exported or not: registering a kprobe finds it. */
static unsigned long address_of(const char *symbol)
{
	struct kprobe finder = { .symbol_name = symbol, .flags = KPROBE_FLAG_DISABLED };
	unsigned long address;

	if (register_kprobe(&finder))
		return 0;
	address = (unsigned long)finder.addr;
	unregister_kprobe(&finder);
#ifdef CONFIG_X86_KERNEL_IBT
	/* The kprobe stands behind the endbr64, if there is one. */
	if (!memcmp((void *)(address - 4), "\xf3\x0f\x1e\xfa", 4))
		address -= 4;
#endif
	return address;
}

/* kill_ftrace=1: what ftrace does to itself when it finds a fault. */
static int kill_ftrace_set(const char *value, const struct kernel_param *param)
{
	void (*kill)(void) = (void *)address_of("ftrace_kill");

	if (!kill)
		return -ENOENT;
	kill();
	return 0;
}
static const struct kernel_param_ops kill_ftrace_ops = { .set = kill_ftrace_set };
module_param_cb(kill_ftrace, &kill_ftrace_ops, NULL, 0200);

/* miss=N: N ioctls of /dev/kvm that are made while this CPU handles another kprobe. */
static long (*handler)(struct file *file, unsigned int command, unsigned long argument);
static long answer;

void provoke_outer(void);
noinline void provoke_outer(void)
{
	/* Or the compiler would leave the call out. */
	barrier();
}

static int in_outer(struct kprobe *kprobe, struct pt_regs *regs)
{
	/* KVM_GET_API_VERSION looks at no file. */
	answer = handler(NULL, 0xae00, 0);
	return 0;
}

static int miss_set(const char *value, const struct kernel_param *param)
{
	struct kprobe outer = { .symbol_name = "provoke_outer", .pre_handler = in_outer };
	unsigned int times;
	int error = kstrtouint(value, 0, &times);

	if (error)
		return error;
	handler = (void *)address_of("kvm_dev_ioctl");
	if (!handler)
		return -ENOENT;
	error = register_kprobe(&outer);
	if (error)
		return error;
	while (times--)
		provoke_outer();
	unregister_kprobe(&outer);
	pr_info("provoke: KVM_GET_API_VERSION answered %ld\n", answer);
	return 0;
}
static const struct kernel_param_ops miss_ops = { .set = miss_set };
module_param_cb(miss, &miss_ops, NULL, 0200);

/* hide=1: a kprobe at kvm_vm_ioctl that lets those behind it see nothing; hide=0: no more. */
static bool hiding;

static int hide(struct kprobe *kprobe, struct pt_regs *regs)
{
	/* Go on behind the call of ftrace, and end the walk over the kprobes here. */
	instruction_pointer_set(regs, (unsigned long)kprobe->addr + 5);
	return 1;
}
static struct kprobe hider = { .symbol_name = "kvm_vm_ioctl", .pre_handler = hide };

static int hide_set(const char *value, const struct kernel_param *param)
{
	bool wanted;
	int error = kstrtobool(value, &wanted);

	if (error || wanted == hiding)
		return error;
	if (wanted) {
		hider.addr = NULL;
		hider.flags = 0;
		error = register_kprobe(&hider);
	} else {
		unregister_kprobe(&hider);
	}
	if (!error)
		hiding = wanted;
	return error;
}
static const struct kernel_param_ops hide_ops = { .set = hide_set };
module_param_cb(hide, &hide_ops, NULL, 0200);

static int __init provoke_init(void)
{
	return 0;
}
module_init(provoke_init);

static void __exit provoke_exit(void)
{
	if (hiding)
		unregister_kprobe(&hider);
}
module_exit(provoke_exit);

MODULE_DESCRIPTION("Trouble for kprobes, for tests");
MODULE_LICENSE("GPL");
