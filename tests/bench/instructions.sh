# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Instructions of one ioctl, all variants in one boot: of KVM_CHECK_EXTENSION on a VM, of two whose fields
# are looked at, and of KVM_RUN under a strict profile. The machine counts one tick an instruction, so the
# figures repeat to the digit.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm

# measure NAME OPTION...: prints `bench NAME INSTRUCTIONS`.
measure() {
	name=$1
	shift
	must client bench --name "$name" "$@" >/tmp/bench
	sed 's/^/bench /' /tmp/bench
}

# many N: a policy with N rules about other commands.
many() {
	{
		echo "policy many version 1"
		echo "profile other"
		echo "    default allow"
		i=0
		while [ $i -lt "$1" ]; do
			printf '    deny kvm-vm 0x%08x\n' $((0x5000ae00 + i))
			i=$((i + 1))
		done
		echo "end"
	} >/tmp/many
	must client write $gate/policy /tmp/many --expect ok >/dev/null
}

# A slot that is there already, and arrays of 20 and of 40 entries.
region=kvm-vm:KVM_SET_USER_MEMORY_REGION:valid
cpuid=kvm-vcpu:KVM_SET_CPUID2:zero,0.4
# KVM_RUN of a guest that has run, and is not entered again.
run='--on kvm-vcpu:KVM_RUN --leave'

measure bare
measure bare-memory-region --on $region
measure bare-cpuid2-20-entries --on $cpuid=20
measure bare-cpuid2-40-entries --on $cpuid=40
# shellcheck disable=SC2086  # several words, here and below
measure bare-run $run
measure unguarded-bare --on tty
measure seccomp-7 --seccomp 7
measure seccomp-24 --seccomp 24
measure seccomp-64 --seccomp 64
must insmod /files/empty_kprobe.ko
measure empty-kprobe
measure empty-kprobe-memory-region --on $region
# shellcheck disable=SC2086
measure empty-kprobe-run $run
must rmmod empty_kprobe
insert
measure builtin
measure unguarded-builtin --on tty
many 10
measure other-rules-10
many 1000
measure other-rules-1000
{
	echo "policy own version 1"
	echo "profile other"
	echo "    default allow"
	i=0
	while [ $i -lt 20 ]; do
		echo "    deny kvm-vm KVM_CHECK_EXTENSION if arg == $((100000 + i))"
		i=$((i + 1))
	done
	echo "end"
} >/tmp/own
must client write $gate/policy /tmp/own --expect ok >/dev/null
measure own-rules-20

{
	echo "policy fields version 1"
	echo "profile other"
	echo "    default allow"
	echo "    allow kvm-vm KVM_SET_USER_MEMORY_REGION if slot < 32 and flags subset KVM_MEM_LOG_DIRTY_PAGES|KVM_MEM_READONLY and guest_phys_addr aligned 4K and memory_size <= 64G and userspace_addr >= 4K"
	echo "    deny  kvm-vm KVM_SET_USER_MEMORY_REGION"
	echo "    deny  kvm-vcpu KVM_SET_CPUID2 if any entries (function == 0x80000001)"
	echo "end"
} >/tmp/fields
must client write $gate/policy /tmp/fields --expect ok >/dev/null
measure memory-region-5-fields --on $region
measure cpuid2-20-entries-any --on $cpuid=20
measure cpuid2-40-entries-any --on $cpuid=40

# A strict profile: nothing but what a VMM needs, phases, limits, and rules that ask what a VM has done.
{
	echo "policy strict version 1"
	echo "profile vmm"
	echo "    match exe /client"
	echo "    match uid 0"
	echo "    default deny"
	echo "    limit vms 2000"
	echo "    limit vcpus 64"
	echo "    limit vcpus 4096 per profile"
	echo "    limit memory 64G"
	echo "    limit memslots 512"
	echo "    limit irqfds 64"
	echo "    limit ioeventfds 64"
	echo "    limit zones 16"
	echo "    limit devices 2"
	echo "    limit KVM_SET_USER_MEMORY_REGION 1000/s"
	echo "    allow kvm      KVM_GET_API_VERSION, KVM_CHECK_EXTENSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE"
	echo "    allow kvm-vm   KVM_CREATE_VCPU, KVM_CREATE_DEVICE while setup"
	echo "    allow kvm-vm   KVM_SET_USER_MEMORY_REGION if flags subset KVM_MEM_LOG_DIRTY_PAGES|KVM_MEM_READONLY"
	echo "    allow kvm-vm   KVM_CHECK_EXTENSION, KVM_IRQFD, KVM_IOEVENTFD"
	echo "    allow kvm-vcpu KVM_GET_SREGS, KVM_SET_SREGS, KVM_SET_REGS while setup"
	echo "    deny  kvm-vcpu KVM_SET_CPUID2 while running"
	echo "    allow kvm-vcpu KVM_RUN"
	echo "profile other"
	echo "    default deny"
	echo "end"
} >/tmp/strict
must client write $gate/policy /tmp/strict --expect ok >/dev/null
# shellcheck disable=SC2086
measure strict-run $run
# shellcheck disable=SC2086
measure strict-run-10-vms $run --vms 9
# shellcheck disable=SC2086
measure strict-run-1000-vms $run --vms 999
