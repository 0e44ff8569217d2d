# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A livepatch of a guarded handler: before the module, after it, and while kprobes are off.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
patch_comes() { insmod /files/provoke/livepatch.ko; }
patch_goes() {
	printf 0 >/sys/kernel/livepatch/livepatch/enabled || fail "the livepatch could not be switched off"
	tries=0
	while [ -e /sys/kernel/livepatch/livepatch ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "the livepatch does not go"
		usleep 100000
	done
	must rmmod livepatch
}
# What the patched function answers to everything.
must patch_comes
expect ENOANO kvm-vm KVM_CREATE_IRQCHIP

insert
[ "$(state kvm_vm_ioctl)" = failed ] || fail "kvm_vm_ioctl is $(state kvm_vm_ioctl), not failed"
grep -q '^site: kvm_vm_ioctl .*error=EBUSY' $gate/status || fail "status does not say EBUSY"
is_gate "dead: calls pass unseen at 1 site"
[ "$(said "the gate is dead: calls pass unseen at 1 site")" -eq 1 ] || fail "the log says nothing"
armed 5
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES' 'deny kvm KVM_GET_EMULATED_CPUID errno EXDEV'
expect ENOANO kvm-vm KVM_CREATE_IRQCHIP
expect EXDEV kvm KVM_GET_EMULATED_CPUID zero
must rmmod portcullis
patch_goes
ok "a livepatch that was first keeps its function, and the gate says that it is open there"

insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
is_gate alive
patch_comes 2>/tmp/refused && fail "the livepatch was let in"
grep -qi 'busy' /tmp/refused || fail "it was refused otherwise: $(cat /tmp/refused)"
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
is_gate alive
armed 6
ok "a livepatch that comes later is refused, and the gate stays"

printf 0 >/sys/kernel/debug/kprobes/enabled
soon "the gate is dead: no probe fires" "Kprobes globally disabled"
must patch_comes
printf 1 >/sys/kernel/debug/kprobes/enabled 2>/dev/null
soon "the gate is dead: calls pass unseen at 1 site" "Kprobes globally enabled"
expect ENOANO kvm-vm KVM_CREATE_IRQCHIP
[ "$(state kvm_vm_ioctl)" = disarmed ] || fail "kvm_vm_ioctl is $(state kvm_vm_ioctl), not disarmed"
is_gate "dead: calls pass unseen at 1 site"
armed 5
ok "a livepatch that comes while kprobes are off keeps its function: the gate says so, after $late ms"
# The module stays: the kernel's count of such probes is wrong now, and it warns when one goes.
