# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What scenarios with real VMMs share. Sourced by them, in the place of lib.sh.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh

# --- Debian's QEMU as the VMM, for scenarios with `--share` and what scripts/inside makes ---------------

# share_usr: Debian's programs stand where a host has them.
share_usr() {
	mkdir -p /usr
	mount --bind /share/usr /usr
	ln -s usr/lib64 /lib64
}

# qemu NAME OPTION...: starts QEMU, which talks QMP and has the VM's serial line in files. Sets $vmm.
#
# Without asynchronous page faults in the VM: the emulated processor still tells of the exception that
# such a fault is when the VM next touches a device, and KVM gives up (exit_int_info of the VMCB).
qemu() {
	name=$1
	shift
	mkfifo "/tmp/$name-qmp.in" "/tmp/$name-qmp.out" "/tmp/$name-serial.in" "/tmp/$name-serial.out"
	tr -d '\r' >"/tmp/$name.qmp" <"/tmp/$name-qmp.out" &
	tr -d '\r' >"/tmp/$name.serial" <"/tmp/$name-serial.out" &
	/usr/bin/qemu-system-x86_64 -accel kvm -cpu host,-svm -m 256M -display none \
		-chardev "pipe,id=qmp,path=/tmp/$name-qmp" -mon chardev=qmp,mode=control \
		-chardev "pipe,id=serial,path=/tmp/$name-serial" -serial chardev:serial \
		-kernel /files/vmlinuz -initrd /files/inside.cpio \
		-append "console=ttyS0 quiet panic=-1 loglevel=0 no-kvmapf" "$@" >"/tmp/$name.says" 2>&1 &
	vmm=$!
	# Both ends: opening them does not wait.
	exec 5<>"/tmp/$name-qmp.in" 6<>"/tmp/$name-serial.in"
	: >>"/tmp/$name.qmp"
	: >>"/tmp/$name.serial"
	until_in "/tmp/$name.qmp" '"QMP"'
	qmp '{"execute": "qmp_capabilities"}'
}

# until_in FILE TEXT [TIMES]: waits for QEMU to say something, so many times in all.
until_in() {
	tries=0
	while [ "$(grep -c -- "$2" "$1")" -lt "${3:-1}" ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || {
			tail -n 30 "/tmp/$name.says" "/tmp/$name.serial" "/tmp/$name.qmp" >&9
			fail "QEMU does not say: $2"
		}
		usleep 200000
	done
}

# qmp COMMAND: has QEMU carry a command out. Its answer is the last line of the file.
qmp() {
	answers=$(grep -c -E '"(return|error)":' "/tmp/$name.qmp")
	echo "$1" >&5
	until_in "/tmp/$name.qmp" '"\(return\|error\)":' $((answers + 1))
	! tail -n 1 "/tmp/$name.qmp" | grep '"error"' >&9 || fail "QEMU: $1"
}

# ask WORD WHAT ANSWER: has the VM do something.
ask() {
	answers=$(grep -c -- "inside the VM | $3" "/tmp/$name.serial")
	echo "$1 $2" >&6
	until_in "/tmp/$name.serial" "inside the VM | $3" $((answers + 1))
}

# unused POLICY: the commands that the policy allows by name and that nobody has called, sorted.
unused() {
	sed -n 's/^ *allow *\([a-z-]*\) *\([A-Z]\)/\1 \2/p' "$1" | sed 's/ while .*//; s/ if .*//; s/,//g' |
		while read -r surface commands; do
			for command in $commands; do
				line=$(grep "^command $surface $command " $gate/counters) || line='calls=0 denied=0'
				calls=${line##*calls=} denied=${line##*denied=}
				[ "${calls%% *}" -gt "${denied%% *}" ] || echo "$command"
			done
		done | sort -u | tr '\n' ' '
}

# --- A VMM that was broken into ------------------------------------------------------------------------

# attacks: calls that no VMM makes whose guest runs, one a line: a file, a command, an argument.
attacks() {
	cat <<-LIST
		kvm KVM_CREATE_VM 1
		kvm KVM_CREATE_VM 1 --anew
		kvm KVM_CREATE_VM 0 --by-vcpu
		kvm-vm KVM_CREATE_VCPU 4095
		kvm-vm KVM_CREATE_DEVICE zero,0.4=4
		kvm-vm KVM_CREATE_IRQCHIP
		kvm-vm KVM_CREATE_PIT2 zero
		kvm-vm KVM_SET_TSS_ADDR 0xfffbd000
		kvm-vm KVM_ENABLE_CAP zero,0.4=188,8.8=1
		kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=600,16.8=4096
		kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=5,4.4=4,16.8=4096
		kvm-vm KVM_SET_PIT zero
		kvm-vm KVM_X86_SET_MSR_FILTER zero
		kvm-vm KVM_XEN_HVM_CONFIG zero
		kvm-vm KVM_HYPERV_EVENTFD zero
		kvm-vm KVM_MEMORY_ENCRYPT_OP zero
		kvm-vm KVM_IRQFD zero,4.4=5000
		kvm-vm KVM_IOEVENTFD zero,20.4=0xffffffff
		kvm-vm KVM_SET_GSI_ROUTING zero,0.4=1,12.4=5
		kvm-vm 0x5000ae10
		kvm-vcpu KVM_SET_CPUID2 zero
		kvm-vcpu KVM_SET_CPUID zero
		kvm-vcpu KVM_SET_TSC_KHZ 1000
		kvm-vcpu KVM_ENABLE_CAP zero,0.4=188
		kvm-vcpu KVM_SET_NESTED_STATE zero
		kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0xc0000080,16.8=0x1d01
		kvm-vcpu KVM_SET_GUEST_DEBUG zero
	LIST
}

# early_attacks: calls that no VMM makes while it sets a VM up. Those that say so, behind its interrupt
# controller, without which no vCPU is made.
early_attacks() {
	cat <<-LIST
		kvm KVM_CREATE_VM 1
		kvm KVM_CREATE_VM 4
		kvm KVM_GET_DEVICE_ATTR zero,4.4=1
		kvm-vm KVM_CREATE_VCPU 4095 --irqchip
		kvm-vm KVM_CREATE_VCPU 0
		kvm-vm KVM_CREATE_PIT2 zero,0.4=2
		kvm-vm KVM_CREATE_DEVICE zero,0.4=4
		kvm-vm KVM_ENABLE_CAP zero,0.4=143,8.8=1
		kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=600,16.8=4096
		kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=1,4.4=4,16.8=4096
		kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=1,8.8=0xfffffffff000,16.8=4096
		kvm-vm KVM_IRQFD zero,4.4=5000
		kvm-vm KVM_IRQFD zero,8.4=2
		kvm-vm KVM_IOEVENTFD zero,20.4=0xffffffff
		kvm-vm KVM_IOEVENTFD zero,24.4=8
		kvm-vm KVM_SET_GSI_ROUTING zero,0.4=1,12.4=4
		kvm-vm KVM_XEN_HVM_CONFIG zero
		kvm-vm KVM_MEMORY_ENCRYPT_OP zero
		kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=1,28.4=0x20 --irqchip
		kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x80000001,28.4=4 --irqchip
		kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000001,20.4=0x31237648 --irqchip
		kvm-vcpu KVM_SET_CPUID2 zero,0.4=2,8.4=1,48.4=0x40000001,60.4=0x31237648 --irqchip
		kvm-vcpu KVM_SET_CPUID zero,0.4=1,8.4=0x40000001,12.4=0x31237648 --irqchip
		kvm-vcpu KVM_SET_SREGS zero,264.8=0x1000 --irqchip
		kvm-vcpu KVM_SET_SREGS2 zero,264.8=0x1000 --irqchip
		kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0xc0000080,16.8=0x1d01 --irqchip
		kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0xc0010117,16.8=4096 --irqchip
		kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0x40000000,16.8=1 --irqchip
		kvm-vcpu KVM_SET_NESTED_STATE zero --irqchip
		kvm-vcpu KVM_ENABLE_CAP zero,0.4=123 --irqchip
	LIST
}

# attacked_early PROGRAM ANSWER: the client makes these calls, as that program, and one that is none. Sets $attacked.
attacked_early() {
	mkdir -p "${1%/*}"
	cp /client "$1"
	early_attacks >/tmp/attacks
	attacked=0
	while read -r line; do
		# shellcheck disable=SC2086  # words
		out=$("$1" try $line --expect "$2" 2>&1) || fail "at first: $line: $out (expected: $2)"
		attacked=$((attacked + 1))
	done </tmp/attacks
	# Hyper-V's signature in the leaf before its own means nothing.
	must "$1" try kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000000,20.4=0x31237648 --irqchip --expect ok >/dev/null
	rm "$1"
}

# attacked ANSWER LINES: makes these calls in $vmm, and more; each is answered so. Sets $attacked.
attacked() {
	want=$1 attacked=0
	{
		attacks
		echo "$2"
	} >/tmp/attacks
	while read -r line; do
		# shellcheck disable=SC2086  # words
		out=$(client inject "$vmm" $line --expect "$want" 2>&1) || fail "in the VMM: $line: $out (expected: $want)"
		attacked=$((attacked + 1))
	done </tmp/attacks
}
