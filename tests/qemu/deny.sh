# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A denied call gets the errno of its rule; other calls are judged on their own.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert

expect ok kvm-vm KVM_CREATE_IRQCHIP
rules 'deny kvm-vm KVM_CREATE_IRQCHIP'
expect EPERM kvm-vm KVM_CREATE_IRQCHIP
ok "a rule without an errno answers EPERM"

for errno in EACCES ENOTTY EINVAL EHWPOISON; do
	rules "deny kvm-vm KVM_CREATE_IRQCHIP errno $errno"
	expect $errno kvm-vm KVM_CREATE_IRQCHIP
done
ok "a rule's errno is what the VMM sees"

rules 'deny kvm-vm 0xae60 errno EBUSY' 'deny kvm-vm 0xdeadbeef errno EXDEV'
expect EBUSY kvm-vm KVM_CREATE_IRQCHIP
expect EXDEV kvm-vm 0xdeadbeef
expect ENOTTY kvm-vm 0xdeadbeee
expect not:EXDEV kvm-vcpu 0xdeadbeef
ok "numbers, known to the schema and unknown, on their surface only"

rules 'deny kvm-vm KVM_CREATE_VCPU if arg in {3, 5..7} errno EDOM' \
	'deny kvm KVM_CHECK_EXTENSION if arg has 0x10 errno ERANGE'
expect ok kvm-vm KVM_CREATE_VCPU 2
expect EDOM kvm-vm KVM_CREATE_VCPU 3
expect ok kvm-vm KVM_CREATE_VCPU 4
expect EDOM kvm-vm KVM_CREATE_VCPU 7
expect ok kvm-vm KVM_CREATE_VCPU 8
expect ERANGE kvm KVM_CHECK_EXTENSION 0x10
expect ok kvm KVM_CHECK_EXTENSION 0x20
expect ok kvm-vm KVM_CHECK_EXTENSION 0x10
ok "conditions on the argument"

# The client itself needs KVM_GET_SREGS, KVM_SET_SREGS and KVM_SET_REGS.
rules 'allow kvm-vcpu KVM_RUN, KVM_GET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_SET_REGS' \
	'deny kvm-vcpu * errno ENOSYS'
expect ok kvm-vcpu KVM_GET_REGS valid
expect ENOSYS kvm-vcpu KVM_GET_FPU valid
expect ENOSYS kvm-vcpu 0xdeadbeef
expect ok kvm-vm KVM_CREATE_IRQCHIP
ok "the first rule that matches decides; * is the rest of a surface"

rules 'deny KVM_HAS_DEVICE_ATTR errno ENXIO'
expect ENXIO kvm-device KVM_HAS_DEVICE_ATTR valid
expect ENXIO kvm-vcpu KVM_HAS_DEVICE_ATTR valid
rules 'deny kvm-device KVM_HAS_DEVICE_ATTR errno ENFILE'
expect ENFILE kvm-device KVM_HAS_DEVICE_ATTR valid
expect not:ENFILE kvm-vcpu KVM_HAS_DEVICE_ATTR valid
ok "a name alone is every surface that has it; the device surface is guarded"

policy 'policy strict version 1
profile other
    default deny errno ECONNREFUSED
    allow kvm KVM_GET_API_VERSION
end'
expect ok kvm KVM_GET_API_VERSION
expect ECONNREFUSED kvm KVM_CREATE_VM 0
ok "default deny"

rules 'deny kvm-vm KVM_CREATE_IRQCHIP'
before=$(counter "command kvm-vm KVM_CREATE_IRQCHIP" denied)
expect EPERM kvm-vm KVM_CREATE_IRQCHIP
expect EPERM kvm-vm KVM_CREATE_IRQCHIP
after=$(counter "command kvm-vm KVM_CREATE_IRQCHIP" denied)
[ $((after - before)) -eq 2 ] || fail "2 denials were counted as $((after - before))"
[ "$(counter 'rule line=4' denied)" -eq 2 ] || fail "the rule in line 4 did not count 2 denials"
ok "denials are counted, per command since loading and per rule since the policy's loading"

rules 'audit kvm-vm KVM_CREATE_IRQCHIP' 'deny kvm-vm KVM_CREATE_IRQCHIP errno EBUSY'
expect EBUSY kvm-vm KVM_CREATE_IRQCHIP
[ "$(counter 'rule line=4' calls)" -eq 1 ] || fail "the audit rule did not count"
[ "$(counter 'rule line=5' denied)" -eq 1 ] || fail "the rule behind the audit rule did not decide"
ok "audit counts and goes on"

# KVM_SET_TSC_KHZ cuts its argument to 32 bits, KVM_SET_TSS_ADDR does not.
rules 'deny kvm-vcpu KVM_SET_TSC_KHZ if arg == 1000 errno EDOM' \
	'deny kvm-vm KVM_SET_TSS_ADDR if arg == 0x1000 errno EXDEV'
expect EDOM kvm-vcpu KVM_SET_TSC_KHZ 1000
expect EDOM kvm-vcpu KVM_SET_TSC_KHZ 0x1000003e8
expect not:EDOM kvm-vcpu KVM_SET_TSC_KHZ 0x1000003e9
expect EXDEV kvm-vm KVM_SET_TSS_ADDR 0x1000
expect not:EXDEV kvm-vm KVM_SET_TSS_ADDR 0x100001000
ok "arg has as many bits as the handler looks at"

# Nothing else shows whether the probes are IPMODIFY users of ftrace (the empty post-handler): R I.
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
for handler in kvm_dev_ioctl kvm_vm_compat_ioctl kvm_vm_ioctl kvm_vcpu_compat_ioctl kvm_vcpu_ioctl \
	kvm_device_ioctl; do
	grep "^$handler " /sys/kernel/tracing/enabled_functions >/tmp/flags || fail "ftrace does not know of $handler"
	grep -q ') R I' /tmp/flags || fail "no IPMODIFY: $(cat /tmp/flags)"
done
ok "a BPF trampoline or a livepatch cannot step past a probe"

must client boot --text "still alive"
ok "a VM boots after all that"
