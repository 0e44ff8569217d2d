# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The module comes and goes under a storm of ioctls, with a vCPU in KVM_RUN.
# Nobody may end up in code that is gone.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
client spin --seconds 500 >/tmp/spin 2>&1 &
spin=$!
client storm --threads 4 --vcpus 2 --seconds 500 --on kvm-vm:KVM_GET_PIT:zero \
	--on kvm-vm:KVM_CHECK_EXTENSION:0 --on kvm-vcpu:KVM_SET_CPUID:zero --on kvm-vcpu:KVM_GET_REGS:valid \
	--on kvm-vcpu:KVM_SET_CPUID2:zero,0.4=3 \
	>/tmp/storm 2>&1 &
storm=$!

come_and_go() {
	insert
	# Long enough for calls to be refused in each round.
	usleep 100000
	# From here on the calls with an array are deferred.
	rules 'deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 0) errno EDOM'
	usleep 100000
	must rmmod portcullis
}
rounds_until "${1:-40}" 6 come_and_go
kill $storm $spin || fail "the storm or the vCPU had ended before"
wait $storm || fail "the storm: $(cat /tmp/storm)"
wait $spin || fail "the vCPU in KVM_RUN: $(cat /tmp/spin)"
cat /tmp/storm
grep -q 'KVM_GET_PIT.*EPERM=[1-9]' /tmp/storm || fail "no call was ever refused: the test proved nothing"
grep -q 'KVM_SET_CPUID2.*EDOM=[1-9]' /tmp/storm || fail "no deferred call was ever refused: the test proved nothing"
grep -E 'KVM_CHECK_EXTENSION|KVM_GET_REGS' /tmp/storm | grep -E 'E[A-Z0-9]+=' && fail "a call that no rule denies was refused"
must client boot --text "still here"
ok "$rounds rounds of loading and unloading under fire"
