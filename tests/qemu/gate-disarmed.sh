# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# All kprobes of the kernel are switched off behind the module's back, and on again.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
kprobes=/sys/kernel/debug/kprobes/enabled
must test -e $kprobes
dead="the gate is dead: no probe fires, no ioctl is checked"
alive="the gate is alive again"
off() { printf 0 >$kprobes || fail "kprobes could not be switched off"; }
on() { printf 1 >$kprobes || fail "kprobes could not be switched on"; }
disarmed() {
	n=$(grep -c 'state=disarmed' $gate/status)
	[ "$n" -eq "$1" ] || fail "$n sites are disarmed, not $1"
}

load_kvm
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
is_gate alive
armed 6
# Of KVM, and of what it brings along.
all=$(grep -c "^site: .*state=armed" $gate/status)
[ "$(said "the gate is")" -eq 0 ] || fail "the log tells of a gate that was never dead"
ok "the gate is alive"

off
soon "$dead" "Kprobes globally disabled"
ok "the log says that it is dead, after $late ms"
expect ok kvm-vm KVM_CREATE_IRQCHIP
is_gate "dead: no probe fires, no ioctl is checked"
disarmed "$all"
[ "$(counter gate unanswered)" -eq 1 ] || fail "unanswered is not 1"
[ "$(counter gate disarmed)" -eq "$all" ] || fail "disarmed is not $all"
sleep 2
[ "$(said "$dead")" -eq 1 ] || fail "the log says it more than once"
[ "$(said "fires no more")" -eq 0 ] || fail "the log tells of each site"
ok "so it is: a denied call passes; status and counters say so, the log said it once"

must rmmod kvm_amd
must rmmod kvm
load_kvm
expect ok kvm-vm KVM_CREATE_IRQCHIP
disarmed "$all"
ok "the sites of a module that comes now are not taken for armed"

on
soon "$alive" "Kprobes globally enabled"
ok "the log says that it is alive again, after $late ms"
is_gate alive
armed 6
# Of KVM, and of what it brings along.
all=$(grep -c "^site: .*state=armed" $gate/status)
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
[ "$(said "$alive")" -eq 1 ] || fail "the log says it more than once"

off
soon "$dead" "Kprobes globally disabled"
[ "$(said "$dead")" -eq 2 ] || fail "the log does not tell of the second time"
must rmmod portcullis
on
expect ok kvm-vm KVM_CREATE_IRQCHIP
must client boot --text "unloaded in the dark"
ok "unloaded while kprobes are off"

off
insert
is_gate "dead: no probe fires, no ioctl is checked"
[ "$(said "$dead")" -eq 3 ] || fail "the log says nothing"
ok "loaded while kprobes are off: it says so at once"
on
soon "$alive" "Kprobes globally enabled"
armed 6
# Of KVM, and of what it brings along.
all=$(grep -c "^site: .*state=armed" $gate/status)
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
must client boot --text "back to life"
ok "and lives when they are on"

rules 'limit vcpus 2 per profile errno EUSERS'
for name in stays goes; do
	vmm $name
	for step in kvm vm 'memory 0 1M' vcpu; do told "$name" ok "$step"; done
done
[ "$(grep -c '^vm=' $gate/vms)" -eq 2 ] || fail "vms does not show two VMs"
told goes EUSERS vcpu
off
leave goes
grep -q '^vm=.* vcpus=1 ' $gate/vms || fail "vms does not show the VM that is there"
grep -q '^vm=.* vcpus=- ' $gate/vms || fail "vms looks into a VM whose end nobody saw"
sleep 1
on
sleep 1
[ "$(grep -c '^vm=' $gate/vms)" -eq 1 ] || fail "vms shows a VM that is gone"
grep -q '^vm=.* vcpus=1 ' $gate/vms || fail "vms does not show the VM that was there all the time"
told stays ok use vm
vmm comes
told comes ok kvm
told comes ok vm
told comes 'ok 1' times 3 vcpu
leave stays comes
must rmmod portcullis
ok "a VM whose end nobody saw is not looked into, and forgotten when the gate lives again"
