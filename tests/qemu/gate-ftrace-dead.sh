# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Ftrace kills itself, as it does when it finds a fault, and the probes with it.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
must insmod /files/provoke/provoke.ko
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
is_gate alive

mark "kill"
printf 1 >/sys/module/provoke/parameters/kill_ftrace || fail "ftrace lives"
soon "the gate is dead: no probe fires, no ioctl is checked" "mark: kill"
ok "the log says that the gate is dead, after $late ms"
expect ok kvm-vm KVM_CREATE_IRQCHIP
is_gate "dead: no probe fires, no ioctl is checked"
armed 0
[ "$(state kvm_vm_ioctl)" = disarmed ] || fail "kvm_vm_ioctl is $(state kvm_vm_ioctl), not disarmed"
[ "$(counter gate unanswered)" -eq 1 ] || fail "unanswered is not 1"
sleep 1
[ "$(said "the gate is dead")" -eq 1 ] || fail "the log says it more than once"
ok "so it is: a denied call passes, though nothing of the code has changed"

must rmmod portcullis
must client boot --text "no gate at all"
insert
is_gate "dead: no probe fires, no ioctl is checked"
[ "$(state kvm_vm_ioctl)" = failed ] || fail "kvm_vm_ioctl is $(state kvm_vm_ioctl), not failed"
must rmmod portcullis
ok "loaded again, it says that no probe can be put in place"
