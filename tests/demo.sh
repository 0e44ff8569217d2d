# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The demonstration's part in the guest, which plays the hypervisor host.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh

say() { printf '\n== %s\n' "$*"; }
run() { echo "  # $*"; "$@" 2>&1 | sed 's/^/  /'; }

# attempt SURFACE COMMAND [ARGUMENT]: what an attacker in the VMM tries.
attempt() {
	printf '  %-44s %s\n' "$1 $2 ${3:-}" "$(client try "$@" 2>&1 | tail -n 1)"
}

say "1. A hypervisor host: Debian's stock kernel $KERNEL, with KVM."
load_kvm
run ls -l /dev/kvm

say "2. Portcullis is loaded. Every ioctl handler of KVM has its probe."
run insmod /portcullis.ko
grep '^site:' $gate/status | sed 's/^site: //; s/^/  /'
armed 6

say "3. A real VMM, Debian's QEMU, boots a real VM through the gate. It notices nothing."
mount --bind /dev /share/dev
mount -t proc proc /share/proc
mount -t tmpfs tmp /share/tmp
cp /files/vmlinuz /files/inside.cpio /share/tmp/
chroot /share qemu-system-x86_64 -accel kvm -cpu host -m 256M -nic none -display none -monitor none \
	-no-reboot -serial stdio -kernel /tmp/vmlinuz -initrd /tmp/inside.cpio \
	-append "console=ttyS0 quiet panic=-1 loglevel=0" </dev/null >/tmp/qemu 2>&1
code=$?
tr -d '\r' </tmp/qemu | grep 'inside the VM' || { cat /tmp/qemu; fail "the VM did not speak (QEMU's exit code: $code)"; }
echo "  calls that went through the gate: $(sed -n 's/^command .* calls=\([0-9]*\) .*/\1/p' $gate/counters |
	awk '{ n += $1 } END { print n }'), denied: $(sed -n 's/^command .* denied=\([0-9]*\) .*/\1/p' $gate/counters |
	awk '{ n += $1 } END { print n }')"
[ "$(sed -n 's/^command .* denied=\([0-9]*\) .*/\1/p' $gate/counters | awk '{ n += $1 } END { print n }')" -eq 0 ] ||
	fail "QEMU was refused something"

say "4. A guest has broken out into its VMM, and tries what the policy forbids."
attempt kvm-vcpu KVM_SET_CPUID zero
attempt kvm-vm KVM_SET_PIT zero
attempt kvm KVM_CREATE_VM 1
echo "  and what it needs for its work, which goes on:"
attempt kvm KVM_CREATE_VM 0
attempt kvm-vm KVM_CREATE_VCPU 1
expect EPERM kvm-vcpu KVM_SET_CPUID zero
expect EPERM kvm-vm KVM_SET_PIT zero
expect EPERM kvm KVM_CREATE_VM 1

say "5. The counters tell."
grep 'denied=[1-9]' $gate/counters | sed 's/^/  /'
grep -q 'denied=[1-9]' $gate/counters || fail "no denial was counted"

say "6. A vulnerability in KVM_CREATE_VCPU with high ids is published. One rule closes it, at once."
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

say "7. The kernel was patched: the policy is replaced again, and the same call passes."
sed -e '/KVM_CREATE_VCPU/d' -e 's/version 2/version 3/' /tmp/strict.policy >/tmp/open.policy
run cp /tmp/open.policy $gate/policy
attempt kvm-vm KVM_CREATE_VCPU 64
expect ok kvm-vm KVM_CREATE_VCPU 64

say "8. An admin's slip is refused with its place, and the policy before stays."
sed 's/version 2/version 4/; s/KVM_CREATE_VCPU if/KVM_CRAETE_VCPU if/' /tmp/strict.policy >/tmp/slip.policy
run cp /tmp/slip.policy $gate/policy
grep -A4 '^last load' $gate/status | sed 's/^/  /'
grep -q '^policy: demo version 3$' $gate/status || fail "the policy before did not stay"
grep -q '5:17:' $gate/status || fail "the slip was not named with its place"

say "9. Done. Portcullis is unloaded, as quietly as it was loaded."
run rmmod portcullis
[ ! -e $gate ] || fail "the folder is still there"
echo
