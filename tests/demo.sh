# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The demonstration's part in the guest, which plays the hypervisor host.

# shellcheck source=tests/qemu/vmm.sh
. /vmm.sh

say() { printf '\n== %s\n' "$*"; }
run() { echo "  # $*"; "$@" 2>&1 | sed 's/^/  /'; }

# attempt SURFACE COMMAND [ARGUMENT]: what an attacker in the VMM tries.
attempt() {
	printf '  %-44s %s\n' "$1 $2 ${3:-}" "$(client try "$@" 2>&1 | tail -n 1)"
}

# injected ANSWER CALL: the same, in QEMU's own process.
injected() {
	# shellcheck disable=SC2086  # words
	answer=$(client inject "$vmm" $2 --expect "$1" 2>&1) || fail "in QEMU: $2: $answer (expected: $1)"
	printf '  %-44s %s\n' "$2" "$answer"
}

say "1. A hypervisor host: Debian's stock kernel $KERNEL, with KVM."
load_kvm
run ls -l /dev/kvm

say "2. Portcullis is loaded. Every ioctl handler of KVM has its probe."
run insmod /portcullis.ko
grep '^site:' $gate/status | sed 's/^site: //; s/^/  /'
armed 6

say "3. Strict: QEMU alone may open the gate, may call what it needs, and less once its guest runs."
grep -E -A 4 '^profile|while setup$|KVM_SET_CPUID2.*ran' /files/qemu.policy | grep -E 'profile|match|default|while|ran ==' |
	cut -c 1-120 | sed 's/^/  | /'
run cp /files/qemu.policy $gate/policy

say "4. A real VMM, Debian's QEMU, boots a real VM through the gate. It notices nothing."
share_usr
qemu demo -nic none
until_in /tmp/demo.serial 'Hello from inside'
grep 'Hello from inside' /tmp/demo.serial | sed 's/^/  /'
echo "  calls that went through the gate: $(sed -n 's/^command .* calls=\([0-9]*\) .*/\1/p' $gate/counters |
	awk '{ n += $1 } END { print n }'), denied: $(denials)"
[ "$(denials)" -eq 0 ] || fail "QEMU was refused something"
echo "  What is known of the VM:"
sed 's/ [a-z-]*=-//g' $gate/vms | tr ' ' '\n' | awk '{ line = line "  " $0 } length(line) > 84 { print line; line = "" }
	END { print line }' | sed 's/^/  /'

say "5. The guest has broken out into QEMU, and makes QEMU call what it did not need, or needs no more."
for line in 'kvm KVM_CREATE_VM 1' 'kvm KVM_CREATE_VM 0 --by-vcpu' 'kvm-vm KVM_CREATE_DEVICE zero,0.4=4' \
	'kvm-vm KVM_ENABLE_CAP zero,0.4=188,8.8=1' 'kvm-vm KVM_SET_PIT zero' 'kvm-vcpu KVM_SET_CPUID2 zero' \
	'kvm-vcpu KVM_SET_NESTED_STATE zero'; do
	injected EPERM "$line"
done
echo "  and what QEMU needs for its work, which goes on:"
injected ok 'kvm-vcpu KVM_GET_REGS'
echo off >&6
wait "$vmm" || fail "QEMU did not end well: $(cat /tmp/demo.says)"
echo "  And who is no QEMU:"
attempt kvm KVM_CREATE_VM 0
expect EACCES kvm KVM_CREATE_VM 0

say "6. The counters tell."
grep '^command.*denied=[1-9]' $gate/counters | sed 's/^/  /'
grep -q '^command.*denied=[1-9]' $gate/counters || fail "no denial was counted"

say "7. A vulnerability in KVM_CREATE_VCPU with high ids is published. One rule closes it, at once."
cat >/tmp/strict.policy <<'POLICY'
policy demo version 2

profile other
    default allow
    deny kvm-vm KVM_CREATE_VCPU if arg >= 4  errno EINVAL  reason "CVE of the day"
end
POLICY
sed 's/^/  | /' /tmp/strict.policy
run cp /tmp/strict.policy $gate/policy
attempt kvm-vm KVM_CREATE_VCPU 1
attempt kvm-vm KVM_CREATE_VCPU 64
expect EINVAL kvm-vm KVM_CREATE_VCPU 64
expect ok kvm-vm KVM_CREATE_VCPU 1

say "8. The kernel was patched: the policy is replaced again, and the same call passes."
sed -e '/KVM_CREATE_VCPU/d' -e 's/version 2/version 3/' /tmp/strict.policy >/tmp/open.policy
run cp /tmp/open.policy $gate/policy
attempt kvm-vm KVM_CREATE_VCPU 64
expect ok kvm-vm KVM_CREATE_VCPU 64

say "9. An admin's slip is refused with its place, and the policy before stays."
sed 's/version 2/version 4/; s/KVM_CREATE_VCPU if/KVM_CRAETE_VCPU if/' /tmp/strict.policy >/tmp/slip.policy
run cp /tmp/slip.policy $gate/policy
grep -A4 '^last load' $gate/status | sed 's/^/  /'
grep -q '^policy: demo version 3$' $gate/status || fail "the policy before did not stay"
grep -q '5:17:' $gate/status || fail "the slip was not named with its place"

say "10. Done. Portcullis is unloaded, as quietly as it was loaded."
run rmmod portcullis
[ ! -e $gate ] || fail "the folder is still there"
echo
