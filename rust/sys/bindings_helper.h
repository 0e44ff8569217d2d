/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module calls in C and the kernel crate does not bind. Kbuild names the items that
 * bindgen takes out of these headers.
 */
#include <linux/anon_inodes.h>
#include <linux/kprobes.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>
