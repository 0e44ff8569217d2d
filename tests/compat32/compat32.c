// SPDX-License-Identifier: GPL-2.0
/*
 * compat32: one ioctl by a true 32-bit process.
 *
 *	compat32 try SURFACE COMMAND [ARG]
 *
 * SURFACE is kvm, kvm-vm or kvm-vcpu, or a device that is simply opened: vfio-container, iommufd,
 * vhost-net or vhost-vsock; COMMAND a name of the table below or 0xNUMBER; ARG a number,
 * zero (a pointer to 64 KiB of zeroes; the default for a command with a struct), bad (a pointer to
 * nothing), dirtylog or cleardirtylog (that struct, for the slot 0 of this VM, with a bitmap), or
 * msrfilter (that struct, whose second range is of 8 MSRs from 0x174).
 * Prints `ok RET` or `errno ENAME (number)`, as `client try` does. Exit codes: 0 for any answer,
 * 1 for a set-up that was refused, 2 for bad usage, 3 without the device.
 *
 * Numbers and structs are those that the C compiler makes of the kernel's headers for a 32-bit program:
 * nothing is shared with the 64-bit client.
 *
 * Build (in the build root): gcc -m32 -static -O2 -Wall -Wextra -Werror -o compat32 compat32.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/iommufd.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 4, "build this with -m32");

#define MEMORY_BYTES	(1024 * 1024)
#define ZEROED_BYTES	(64 * 1024)

enum { REFUSED = 1, USAGE = 2, NO_DEVICE = 3 };

static const struct {
	const char *surface;
	const char *path;
} devices[] = {
	{ "kvm", "/dev/kvm" },
	{ "kvm-vm", "/dev/kvm" },
	{ "kvm-vcpu", "/dev/kvm" },
	{ "vfio-container", "/dev/vfio/vfio" },
	{ "iommufd", "/dev/iommu" },
	{ "vhost-net", "/dev/vhost-net" },
	{ "vhost-vsock", "/dev/vhost-vsock" },
};

static const struct {
	const char *name;
	unsigned int number;
} commands[] = {
#define COMMAND(name) { #name, name }
	COMMAND(KVM_GET_API_VERSION),
	COMMAND(KVM_CREATE_VM),
	COMMAND(KVM_CHECK_EXTENSION),
	COMMAND(KVM_GET_VCPU_MMAP_SIZE),
	COMMAND(KVM_GET_SUPPORTED_CPUID),
	COMMAND(KVM_CREATE_VCPU),
	COMMAND(KVM_GET_DIRTY_LOG),
	COMMAND(KVM_CLEAR_DIRTY_LOG),
	COMMAND(KVM_SET_USER_MEMORY_REGION),
	COMMAND(KVM_SET_TSS_ADDR),
	COMMAND(KVM_SET_IDENTITY_MAP_ADDR),
	COMMAND(KVM_CREATE_IRQCHIP),
	COMMAND(KVM_CREATE_PIT2),
	COMMAND(KVM_IRQFD),
	COMMAND(KVM_IOEVENTFD),
	COMMAND(KVM_CREATE_DEVICE),
	COMMAND(KVM_ENABLE_CAP),
	/* Of a 32-bit program this is the number that the kernel calls ..._COMPAT. */
	COMMAND(KVM_X86_SET_MSR_FILTER),
	COMMAND(KVM_MEMORY_ENCRYPT_OP),
	COMMAND(KVM_RESET_DIRTY_RINGS),
	COMMAND(KVM_RUN),
	COMMAND(KVM_GET_REGS),
	COMMAND(KVM_SET_REGS),
	COMMAND(KVM_GET_SREGS),
	COMMAND(KVM_SET_SREGS),
	COMMAND(KVM_SET_SIGNAL_MASK),
	COMMAND(KVM_SET_CPUID2),
	COMMAND(KVM_NMI),
	COMMAND(KVM_SMI),
	COMMAND(VFIO_GET_API_VERSION),
	COMMAND(VFIO_CHECK_EXTENSION),
	COMMAND(IOMMU_IOAS_ALLOC),
	COMMAND(VHOST_SET_OWNER),
	COMMAND(VHOST_GET_FEATURES),
	COMMAND(VHOST_SET_FEATURES),
	COMMAND(VHOST_SET_VRING_NUM),
	COMMAND(VHOST_GET_VRING_BASE),
	COMMAND(VHOST_VSOCK_SET_GUEST_CID),
#undef COMMAND
};

static void die(int code, const char *what)
{
	fprintf(stderr, "compat32: %s\n", what);
	exit(code);
}

static void usage(void)
{
	die(USAGE, "usage: compat32 try SURFACE COMMAND|0xNUMBER [NUMBER|zero|bad|dirtylog|cleardirtylog|msrfilter]");
}

static void print_answer(int value)
{
	if (value == -1)
		printf("errno %s (%d)\n", strerrorname_np(errno) ?: "E?", errno);
	else
		printf("ok %d\n", value);
}

/* Ends the program when a step of the set-up was refused, with the step's name. */
static int set_up(const char *command, int value)
{
	if (value >= 0)
		return value;
	fprintf(stderr, "compat32: %s: ", command);
	fprintf(stderr, "errno %s (%d)\n", strerrorname_np(errno) ?: "E?", errno);
	exit(REFUSED);
}

static void *map(size_t bytes, int protection)
{
	void *start = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		die(REFUSED, "mmap: no memory");
	return start;
}

static void *zeroed(void)
{
	return map(ZEROED_BYTES, PROT_READ | PROT_WRITE);
}

static unsigned int command_number(const char *text)
{
	unsigned long long number;
	char *end;
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(text, commands[i].name))
			return commands[i].number;
	errno = 0;
	number = strtoull(text, &end, 16);
	if (strncmp(text, "0x", 2) || *end || end == text + 2 || errno || number > UINT_MAX)
		die(USAGE, "COMMAND is neither a name of the table nor 0xNUMBER");
	return number;
}

static unsigned long dirty_log(void)
{
	struct kvm_dirty_log *log = zeroed();

	log->slot = 0;
	log->dirty_bitmap = zeroed();
	return (unsigned long)log;
}

static unsigned long clear_dirty_log(void)
{
	struct kvm_clear_dirty_log *log = zeroed();

	log->slot = 0;
	log->num_pages = MEMORY_BYTES / 4096;
	log->dirty_bitmap = zeroed();
	return (unsigned long)log;
}

static unsigned long msr_filter(void)
{
	struct kvm_msr_filter *filter = zeroed();

	filter->ranges[1].flags = KVM_MSR_FILTER_READ;
	filter->ranges[1].nmsrs = 8;
	filter->ranges[1].base = 0x174;
	filter->ranges[1].bitmap = zeroed();
	return (unsigned long)filter;
}

static unsigned long argument(const char *text, unsigned int command)
{
	unsigned long long number;
	char *end;

	if (!text)
		return _IOC_SIZE(command) ? (unsigned long)zeroed() : 0;
	if (!strcmp(text, "zero"))
		return (unsigned long)zeroed();
	if (!strcmp(text, "bad"))
		return (unsigned long)map(4096, PROT_NONE);
	if (!strcmp(text, "dirtylog"))
		return dirty_log();
	if (!strcmp(text, "cleardirtylog"))
		return clear_dirty_log();
	if (!strcmp(text, "msrfilter"))
		return msr_filter();
	errno = 0;
	number = strtoull(text, &end, 0);
	if (!*text || *text == '-' || *end || errno || number > ULONG_MAX)
		die(USAGE, "ARG is neither a 32-bit number nor one of zero, bad, dirtylog, cleardirtylog, msrfilter");
	return number;
}

/* A VM with one memslot that keeps a log of its dirty pages. */
static int open_vm(int kvm)
{
	struct kvm_userspace_memory_region region = {
		.slot = 0,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.memory_size = MEMORY_BYTES,
	};
	int vm = set_up("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));

	region.userspace_addr = (unsigned long)map(MEMORY_BYTES, PROT_READ | PROT_WRITE);
	set_up("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
	return vm;
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	unsigned long arg;
	unsigned int command;
	size_t i;
	int fd;

	if (argc < 4 || argc > 5 || strcmp(argv[1], "try"))
		usage();
	for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (!strcmp(argv[2], devices[i].surface))
			path = devices[i].path;
	if (!path)
		usage();
	command = command_number(argv[3]);
	arg = argument(argc == 5 ? argv[4] : NULL, command);

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "compat32: cannot open %s: %s\n", path, strerror(errno));
		return errno == ENOENT || errno == ENXIO || errno == ENODEV ? NO_DEVICE : REFUSED;
	}
	if (!strncmp(argv[2], "kvm-v", 5))
		fd = open_vm(fd);
	if (!strcmp(argv[2], "kvm-vcpu"))
		fd = set_up("KVM_CREATE_VCPU", ioctl(fd, KVM_CREATE_VCPU, 0));

	print_answer(ioctl(fd, command, arg));
	return 0;
}
