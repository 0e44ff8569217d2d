// SPDX-License-Identifier: GPL-2.0
/*
 * What KVM knows about a VM. In C because struct kvm is full of what depends on the kernel's
 * configuration, and its lists, trees and locks are inline functions.
 *
 * Nothing here calls KVM: the module must load without it.
 */
#include <linux/file.h>
#include <linux/pid.h>
#include <linux/uaccess.h>
#if IS_ENABLED(CONFIG_KVM)
#include <linux/kvm_host.h>
#endif

struct kvm;
struct kvm_vcpu;

/* As in kvm.rs. */
enum portcullis_kvm_file {
	FILE_VM,
	FILE_VCPU,
	FILE_DEVICE,
};

/* As in kvm.rs. */
enum portcullis_kvm_what {
	WHAT_VCPUS = 1 << 0,
	WHAT_MEMORY = 1 << 1,
	WHAT_MEMSLOTS = 1 << 2,
	WHAT_TYPE = 1 << 3,
	WHAT_IRQCHIP = 1 << 4,
	WHAT_RUNNING = 1 << 5,
	WHAT_IRQFDS = 1 << 6,
	WHAT_IOEVENTFDS = 1 << 7,
	WHAT_DEVICES = 1 << 8,
};

/* As in kvm.rs. */
struct portcullis_kvm_looks {
	u64 memory;
	u32 vcpus;
	u32 memslots;
	u32 type;
	u32 irqchip;
	u32 irqfds;
	u32 ioeventfds;
	u32 devices;
	bool has_entered;
	bool is_in_run;
};

struct kvm *portcullis_kvm_of(const struct file *file, enum portcullis_kvm_file kind);
bool portcullis_kvm_is_one(const struct kvm *kvm);
bool portcullis_kvm_vcpu_is_one(const struct kvm_vcpu *vcpu);
void portcullis_kvm_look(struct kvm *kvm, u32 what, struct portcullis_kvm_looks *to);
u64 portcullis_kvm_slot(struct kvm *kvm, u32 slot);
s64 portcullis_kvm_zones(struct kvm *kvm, bool wait);
bool portcullis_kvm_runs(struct kvm *kvm, struct task_struct *task);
const struct mm_struct *portcullis_kvm_mm(const struct kvm *kvm);
bool portcullis_kvm_vcpu_has_entered(const struct kvm_vcpu *vcpu);
bool portcullis_kvm_vcpu_is_in_run(const struct kvm_vcpu *vcpu);
struct pid *portcullis_kvm_vcpu_thread(struct kvm_vcpu *vcpu);

#if IS_ENABLED(CONFIG_KVM)

/* The VM that a file of that kind belongs to. */
struct kvm *portcullis_kvm_of(const struct file *file, enum portcullis_kvm_file kind)
{
	switch (kind) {
	case FILE_VM:
		return file->private_data;
	case FILE_VCPU:
		return ((const struct kvm_vcpu *)file->private_data)->kvm;
	case FILE_DEVICE:
		return ((const struct kvm_device *)file->private_data)->kvm;
	}
	return NULL;
}

/*
 * Whether struct kvm looks as it does in the headers that this module was built with. KVM writes the
 * name of a VM into the last field, and the number in it into another.
 */
bool portcullis_kvm_is_one(const struct kvm *kvm)
{
	char name[KVM_STATS_NAME_SIZE];
	pid_t creator, pid;

	return !copy_from_kernel_nofault(name, kvm->stats_id, sizeof(name)) &&
	       !copy_from_kernel_nofault(&creator, &kvm->userspace_pid, sizeof(creator)) &&
	       strnlen(name, sizeof(name)) < sizeof(name) &&
	       /* It has none if there was no memory to tell user space. */
	       sscanf(name, "kvm-%d", &pid) == 1 && (pid == creator || !creator);
}

/* The same of struct kvm_vcpu, where the name is behind the statistics. */
bool portcullis_kvm_vcpu_is_one(const struct kvm_vcpu *vcpu)
{
	char name[KVM_STATS_NAME_SIZE];
	int pid, id;

	return !copy_from_kernel_nofault(name, vcpu->stats_id, sizeof(name)) &&
	       strnlen(name, sizeof(name)) < sizeof(name) &&
	       sscanf(name, "kvm-%d/vcpu-%d", &pid, &id) == 2 && id == vcpu->vcpu_id;
}

static u32 count_memslots(struct kvm *kvm)
{
	struct kvm_memory_slot *slot;
	u32 count = 0;
	int bucket;

	for (int space = 0; space < kvm_arch_nr_memslot_as_ids(kvm); space++)
		kvm_for_each_memslot(slot, bucket, __kvm_memslots(kvm, space))
			count += slot->id < KVM_USER_MEM_SLOTS;
	return count;
}

/* Without those that KVM makes for itself. */
static u64 count_bytes(struct kvm *kvm)
{
	u64 pages = READ_ONCE(kvm->nr_memslot_pages), own = 0;

	for (int space = 0; space < kvm_arch_nr_memslot_as_ids(kvm); space++)
		for (int id = KVM_USER_MEM_SLOTS; id < KVM_MEM_SLOTS_NUM; id++) {
			struct kvm_memory_slot *slot = id_to_memslot(__kvm_memslots(kvm, space), id);

			own += slot ? slot->npages : 0;
		}
	/* Its own come and go between both looks. */
	return (pages > own ? pages - own : 0) << PAGE_SHIFT;
}

static u32 count_irqfds(struct kvm *kvm)
{
	u32 count = 0;
#ifdef CONFIG_HAVE_KVM_IRQCHIP
	unsigned long flags;

	spin_lock_irqsave(&kvm->irqfds.lock, flags);
	count = list_count_nodes(&kvm->irqfds.items);
	spin_unlock_irqrestore(&kvm->irqfds.lock, flags);
#endif
	return count;
}

static u32 count_ioeventfds(struct kvm *kvm)
{
	u32 count = 0;

	for (int at = 0; at < KVM_NR_BUSES; at++) {
		const struct kvm_io_bus *bus = srcu_dereference(kvm->buses[at], &kvm->srcu);

		/* What is on this one is on the MMIO bus as well. */
		if (bus && at != KVM_FAST_MMIO_BUS)
			count += READ_ONCE(bus->ioeventfd_count);
	}
	return count;
}

static u32 count_devices(struct kvm *kvm)
{
	struct kvm_device *device;
	u32 count = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(device, &kvm->devices, vm_node)
		count++;
	rcu_read_unlock();
	return count;
}

/*
 * Fills in of @to what @what asks for. Does not sleep. KVM changes what is seen here at any time: each
 * number was right at some moment of the call.
 */
void portcullis_kvm_look(struct kvm *kvm, u32 what, struct portcullis_kvm_looks *to)
{
	int srcu = srcu_read_lock(&kvm->srcu);

	if (what & WHAT_VCPUS)
		to->vcpus = READ_ONCE(kvm->created_vcpus);
	if (what & WHAT_MEMORY)
		to->memory = count_bytes(kvm);
	if (what & WHAT_MEMSLOTS)
		to->memslots = count_memslots(kvm);
	if (what & WHAT_IRQFDS)
		to->irqfds = count_irqfds(kvm);
	if (what & WHAT_IOEVENTFDS)
		to->ioeventfds = count_ioeventfds(kvm);
	if (what & WHAT_DEVICES)
		to->devices = count_devices(kvm);
#ifdef CONFIG_X86
	if (what & WHAT_TYPE)
		to->type = kvm->arch.vm_type;
	if (what & WHAT_IRQCHIP)
		switch (READ_ONCE(kvm->arch.irqchip_mode)) {
		case KVM_IRQCHIP_NONE:
			to->irqchip = 0;
			break;
#ifdef CONFIG_KVM_IOAPIC
		case KVM_IRQCHIP_KERNEL:
			to->irqchip = 1;
			break;
#endif
		case KVM_IRQCHIP_SPLIT:
			to->irqchip = 2;
			break;
		}
#endif
	if (what & WHAT_RUNNING) {
		struct kvm_vcpu *vcpu;
		unsigned long at;

		kvm_for_each_vcpu(at, vcpu, kvm) {
			to->has_entered |= portcullis_kvm_vcpu_has_entered(vcpu);
			/* From before it enters the guest, but not where it is told not to. */
			to->is_in_run |= portcullis_kvm_vcpu_is_in_run(vcpu);
		}
	}
	srcu_read_unlock(&kvm->srcu, srcu);
}

/*
 * The bytes of the slot that the field `slot` of a struct kvm_userspace_memory_region names, 0 without
 * one. Does not sleep.
 */
u64 portcullis_kvm_slot(struct kvm *kvm, u32 slot)
{
	u32 space = slot >> 16, id = slot & 0xffff;
	const struct kvm_memory_slot *found;
	u64 bytes = 0;
	int srcu;

	if (space >= kvm_arch_nr_memslot_as_ids(kvm) || id >= KVM_USER_MEM_SLOTS)
		return 0;
	srcu = srcu_read_lock(&kvm->srcu);
	found = id_to_memslot(__kvm_memslots(kvm, space), id);
	if (found)
		bytes = (u64)found->npages << PAGE_SHIFT;
	srcu_read_unlock(&kvm->srcu, srcu);
	return bytes;
}

/*
 * How many coalesced zones there are; negative where that cannot be told. KVM copies to its caller's
 * memory under this lock: only a caller of the same VM may wait for it.
 */
s64 portcullis_kvm_zones(struct kvm *kvm, bool wait)
{
	s64 count = 0;
#ifdef CONFIG_KVM_MMIO
	if (wait)
		mutex_lock(&kvm->slots_lock);
	else if (!mutex_trylock(&kvm->slots_lock))
		return -EBUSY;
	count = list_count_nodes(&kvm->coalesced_zones);
	mutex_unlock(&kvm->slots_lock);
#endif
	return count;
}

/* Whether a task was the last to run one of the vCPUs. Does not sleep. */
bool portcullis_kvm_runs(struct kvm *kvm, struct task_struct *task)
{
	const struct pid *pid = task_pid(task);
	struct kvm_vcpu *vcpu;
	unsigned long at;

	/* Compared, not followed: a vCPU has a reference to its own. */
	kvm_for_each_vcpu(at, vcpu, kvm)
		if (READ_ONCE(vcpu->pid) == pid)
			return true;
	return false;
}

/* The only address space from which the VM may be called. Compared, not followed. */
const struct mm_struct *portcullis_kvm_mm(const struct kvm *kvm)
{
	return kvm->mm;
}

/* Whether it has been in the guest and come back. */
bool portcullis_kvm_vcpu_has_entered(const struct kvm_vcpu *vcpu)
{
#ifdef CONFIG_X86
	return READ_ONCE(vcpu->stat.exits) != 0;
#else
	return READ_ONCE(vcpu->pid) != NULL;
#endif
}

/* Whether it is in the guest, or on its way there. */
bool portcullis_kvm_vcpu_is_in_run(const struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->wants_to_run);
}

/* The thread that was the last to run it, with a reference, or NULL. Does not sleep. */
struct pid *portcullis_kvm_vcpu_thread(struct kvm_vcpu *vcpu)
{
	struct pid *pid;

	read_lock(&vcpu->pid_lock);
	pid = get_pid(vcpu->pid);
	read_unlock(&vcpu->pid_lock);
	return pid;
}

#else /* Nobody has a file of KVM's. */

struct kvm *portcullis_kvm_of(const struct file *file, enum portcullis_kvm_file kind)
{
	return NULL;
}

bool portcullis_kvm_is_one(const struct kvm *kvm)
{
	return false;
}

bool portcullis_kvm_vcpu_is_one(const struct kvm_vcpu *vcpu)
{
	return false;
}

void portcullis_kvm_look(struct kvm *kvm, u32 what, struct portcullis_kvm_looks *to)
{
}

u64 portcullis_kvm_slot(struct kvm *kvm, u32 slot)
{
	return 0;
}

s64 portcullis_kvm_zones(struct kvm *kvm, bool wait)
{
	return 0;
}

bool portcullis_kvm_runs(struct kvm *kvm, struct task_struct *task)
{
	return false;
}

const struct mm_struct *portcullis_kvm_mm(const struct kvm *kvm)
{
	return NULL;
}

bool portcullis_kvm_vcpu_has_entered(const struct kvm_vcpu *vcpu)
{
	return false;
}

bool portcullis_kvm_vcpu_is_in_run(const struct kvm_vcpu *vcpu)
{
	return false;
}

struct pid *portcullis_kvm_vcpu_thread(struct kvm_vcpu *vcpu)
{
	return NULL;
}

#endif
