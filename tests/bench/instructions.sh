# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Instructions of one KVM_CHECK_EXTENSION on a VM, all variants in one boot. The machine counts one
# tick an instruction, so the figures repeat to the digit.

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

measure bare
measure unguarded-bare --on tty
measure seccomp-7 --seccomp 7
measure seccomp-24 --seccomp 24
measure seccomp-64 --seccomp 64
must insmod /files/empty_kprobe.ko
measure empty-kprobe
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
