# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# 32-bit callers: what only the compat handlers take, and what runs through both.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert

must compat32 try kvm-vm KVM_GET_DIRTY_LOG dirtylog
rules 'deny kvm-vm KVM_GET_DIRTY_LOG if compat == 1 errno EACCES' \
	'deny kvm-vm KVM_GET_DIRTY_LOG errno EBUSY'
case $(compat32 try kvm-vm KVM_GET_DIRTY_LOG dirtylog) in
"errno EACCES"*) ;;
*) fail "a 32-bit process: $(compat32 try kvm-vm KVM_GET_DIRTY_LOG dirtylog)" ;;
esac
expect EBUSY kvm-vm KVM_GET_DIRTY_LOG valid
expect EACCES kvm-vm KVM_GET_DIRTY_LOG valid --compat
ok "KVM_GET_DIRTY_LOG: a 32-bit process, a 64-bit one, a 64-bit one through the 32-bit entry"

rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EXDEV' 'deny kvm-vcpu KVM_GET_REGS errno ENXIO' \
	'deny kvm KVM_GET_API_VERSION errno ENFILE' 'deny kvm-device KVM_HAS_DEVICE_ATTR errno EDOM' \
	'deny kvm-vcpu KVM_SET_SIGNAL_MASK errno ERANGE'
expect EXDEV kvm-vm KVM_CREATE_IRQCHIP --compat
expect ENXIO kvm-vcpu KVM_GET_REGS valid --compat
expect ENFILE kvm KVM_GET_API_VERSION --compat
expect EDOM kvm-device KVM_HAS_DEVICE_ATTR valid --compat
expect ERANGE kvm-vcpu KVM_SET_SIGNAL_MASK valid --compat
[ "$(counter 'rule line=4' denied)" -eq 1 ] || fail "one refused call was not counted once"
ok "every surface, through the 32-bit entry"

# 0x4104aec6 is what KVM_X86_SET_MSR_FILTER is called with by a 32-bit process.
rules 'deny kvm-vm KVM_X86_SET_MSR_FILTER errno EDOM'
expect EDOM kvm-vm 0x4104aec6 zero --compat
expect EDOM kvm-vm KVM_X86_SET_MSR_FILTER zero
ok "a rule on a name covers the number that 32-bit callers use"

rules
before=$(counter "command kvm-vm KVM_CHECK_EXTENSION" calls)
expect ok kvm-vm KVM_CHECK_EXTENSION 0 --compat
after=$(counter "command kvm-vm KVM_CHECK_EXTENSION" calls)
[ $((after - ${before:-0})) -eq 1 ] ||
	fail "a call through both handlers was counted $((after - ${before:-0})) times"
ok "a call that runs through both handlers is counted once"
