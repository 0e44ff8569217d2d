# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The builtin policy disturbs no VMM, and each call is counted.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert
armed 6

must client boot --text "hello from inside"
ok "a VM boots, and prints from inside"
must client boot --vcpus 2 --text "two of us"
ok "a VM with two vCPUs boots"

grep -q 'denied=[1-9]' $gate/counters && fail "something was denied"
grep -q 'would-deny=[1-9]' $gate/counters && fail "something would have been denied"
runs=$(counter "command kvm-vcpu KVM_RUN" calls)
[ "$runs" -gt 0 ] || fail "KVM_RUN was not counted"
[ "$(counter "command kvm KVM_CREATE_VM" calls)" -eq 2 ] || fail "KVM_CREATE_VM was not counted twice"
[ "$(counter "command kvm-vm KVM_CREATE_VCPU" calls)" -eq 3 ] || fail "KVM_CREATE_VCPU was not counted three times"
ok "the calls are counted: KVM_RUN $runs times, KVM_CREATE_VM 2, KVM_CREATE_VCPU 3"

for command in KVM_GET_PIT KVM_SET_PIT; do expect EPERM kvm-vm $command zero; done
expect EPERM kvm-vcpu KVM_SET_CPUID zero
expect EPERM kvm KVM_CREATE_VM 1
expect ok kvm KVM_CREATE_VM 0
ok "what the builtin policy closes is closed"
