# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What other scenarios do, on a kernel in which KASAN, lockdep, DEBUG_ATOMIC_SLEEP and PROVE_RCU
# watch. The guest's init looks for their complaints.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES' 'deny kvm-vm KVM_CREATE_VCPU if arg == 3'
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
expect EPERM kvm-vm KVM_CREATE_VCPU 3
rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 7 errno EXDEV' \
	'deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 1) errno EDOM' \
	'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
for place in '' @absent @half-absent.2; do
	expect EXDEV kvm-vm KVM_SET_USER_MEMORY_REGION valid,0.4=7$place
	expect ok kvm-vm KVM_SET_USER_MEMORY_REGION valid$place
	expect EDOM kvm-vcpu KVM_SET_CPUID2 zero,0.4=3,48.4=1$place
done
expect EFAULT kvm-vm KVM_SET_USER_MEMORY_REGION valid@unmapped
must client boot --text "under watch"
client write $gate/check /tmp/policy --read-back >/dev/null || fail "check took no text"
for file in status counters policy enforce schema; do cat $gate/$file >/dev/null; done
for file in /policies/bad/*.policy; do client write $gate/policy "$file" >/dev/null 2>&1; done
printf 0 >$gate/enforce
expect ok kvm-vm KVM_CREATE_IRQCHIP
printf 1 >$gate/enforce
client write $gate/policy /tmp/policy --drop-cap --expect EPERM >/dev/null
ok "every file was used"

is_gate alive
armed 6
printf 0 >/sys/kernel/debug/kprobes/enabled
soon "the gate is dead: no probe fires" "Kprobes globally disabled"
expect ok kvm-vm KVM_CREATE_IRQCHIP
printf 1 >/sys/kernel/debug/kprobes/enabled
soon "the gate is alive again" "Kprobes globally enabled"
is_gate alive
armed 6
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
ok "the gate died and came back"

client storm --threads 4 --vcpus 2 --seconds 800 --on kvm-vm:KVM_CREATE_IRQCHIP \
	--on kvm-vm:KVM_CHECK_EXTENSION:0 --on kvm-vcpu:KVM_GET_REGS:valid \
	--on kvm-vcpu:KVM_SET_CPUID2:zero,0.4=3 --on kvm-vm:KVM_SET_GSI_ROUTING:bad >/tmp/storm 2>&1 &
storm=$!

all_at_once() {
	rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EXDEV'
	must rmmod portcullis
	insert
	rules 'deny kvm-vcpu KVM_GET_REGS errno EDOM' 'deny kvm-vm KVM_SET_GSI_ROUTING if count(entries) > 9' \
		'deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 1) errno EDOM'
}
rounds_until "$1" 4 all_at_once
kill $storm || fail "the storm had ended before"
wait $storm || fail "$(cat /tmp/storm)"
cat /tmp/storm
must rmmod kvm_amd
must rmmod kvm
must rmmod portcullis
ok "$rounds rounds of loading, unloading and new policies under fire"
