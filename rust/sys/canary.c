// SPDX-License-Identifier: GPL-2.0
/*
 * The canary: an ioctl handler of the module's own, of a file that nobody can open.
 *
 * In C, because it has to be what the guarded handlers are, a function that begins with a call to
 * ftrace: rustc cannot make one. A kprobe at a Rust function would be an int3, and would go on firing
 * when ftrace is dead. And it is called through a pointer, as they are: a function whose address nobody
 * takes loses its endbr64 when the module is loaded, and calling it through one is a fault then.
 */
#include <linux/errno.h>
#include <linux/types.h>

struct file;

extern long (*const portcullis_canary)(struct file *file, unsigned int command, unsigned long argument);

/* Whoever gets here was let through. */
static long portcullis_canary_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return -ENOTTY;
}

long (*const portcullis_canary)(struct file *, unsigned int, unsigned long) = portcullis_canary_ioctl;
