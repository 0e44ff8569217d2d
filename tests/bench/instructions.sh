# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Instructions of one ioctl, all variants in one boot: of KVM_CHECK_EXTENSION on a VM, and of two
# whose fields are looked at. The machine counts one tick an instruction, so the figures repeat to the
# digit.

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

measure bare
measure bare-memory-region --on $region
measure bare-cpuid2-20-entries --on $cpuid=20
measure bare-cpuid2-40-entries --on $cpuid=40
measure unguarded-bare --on tty
measure seccomp-7 --seccomp 7
measure seccomp-24 --seccomp 24
measure seccomp-64 --seccomp 64
must insmod /files/empty_kprobe.ko
measure empty-kprobe
measure empty-kprobe-memory-region --on $region
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
