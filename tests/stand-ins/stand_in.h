/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a stand-in is made of: a device with one handler.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#define STAND_IN(NAME, HANDLER)							\
	static const struct file_operations operations = {			\
		.owner = THIS_MODULE,						\
		.unlocked_ioctl = (HANDLER),					\
		.compat_ioctl = compat_ptr_ioctl,				\
	};									\
	static struct miscdevice device = {					\
		.minor = MISC_DYNAMIC_MINOR, .name = (NAME), .fops = &operations,	\
	}

MODULE_DESCRIPTION("Stands in for a module of the kernel in a test of Portcullis");
MODULE_LICENSE("GPL");
