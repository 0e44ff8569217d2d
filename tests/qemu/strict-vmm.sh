# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A VMM like Firecracker under its strict policy: no refusal in its life, and attacks from inside.

# shellcheck source=tests/qemu/vmm.sh
. /vmm.sh
load_kvm
insert
mkdir -p /usr/bin
cp /microvm /usr/bin/
must client write $gate/policy /files/microvm.policy --expect ok >/dev/null

# life PROGRAM OPTION...: the VMM does all of its work.
life() {
	"$@" >/tmp/says 2>&1 || {
		cat /tmp/says >&9
		fail "$*"
	}
	grep -q 'the guest has done its work' /tmp/says || fail "$*: the guest did not"
}
for how in '' --restore; do
	# shellcheck disable=SC2086  # no word, or one
	life /usr/bin/microvm $how
	[ "$(denials)" -eq 0 ] || fail "microvm $how: calls were refused"
	ok "${how:-a new one}: $(sed -n 's/^microvm: paused/paused/p' /tmp/says), and no refusal"
done

# Those are Firecracker's.
[ "$(unused /files/microvm.policy)" = 'KVM_CHECK_EXTENSION KVM_GET_XSAVE2 KVM_SET_GSI_ROUTING ' ] ||
	fail "nobody needs: $(unused /files/microvm.policy)"
ok "nothing is allowed that it does not call"

/microvm >/tmp/says 2>&1 && fail "the same program by another path was let in"
[ "$(denials)" -eq 1 ] || fail "its first call was not refused: $(cat /tmp/says)"
expect EACCES kvm KVM_CREATE_VM 0
ok "the same program by another path has no say, nor has another program"

before=$(denials)
attacked_early /usr/bin/firecracker EPERM
[ "$(denials)" -eq $((before + attacked)) ] || fail "not each of $attacked attacks was counted once"
ok "$attacked attacks while it is set up, each refused and counted"

# stay: starts one whose guest has done its work, and which stays. Sets $vmm; ended by `leave`.
stay() {
	rm -f /tmp/end
	mkfifo /tmp/end
	/usr/bin/microvm --stay </tmp/end >/tmp/says 2>&1 &
	vmm=$!
	exec 7>/tmp/end
	until_says /tmp/says 'the guest has done its work' "microvm did not finish"
}
leave() {
	exec 7>&-
	wait "$vmm" || fail "microvm did not end well: $(cat /tmp/says)"
}

# Closed besides, for a VMM that makes everything before its guest runs.
more='kvm-vm KVM_CREATE_VCPU 2
kvm-vm KVM_SET_USER_MEMORY_REGION zero,0.4=1,16.8=0
kvm-vm KVM_IRQFD zero
kvm-vm KVM_IOEVENTFD zero
kvm-vm KVM_SET_GSI_ROUTING zero
kvm-vm KVM_SET_IRQCHIP zero
kvm-vm KVM_SET_PIT2 zero
kvm-vm KVM_SET_CLOCK zero
kvm-vm KVM_REGISTER_COALESCED_MMIO zero
kvm-vcpu KVM_SET_REGS zero
kvm-vcpu KVM_SET_SREGS zero
kvm-vcpu KVM_SET_SREGS2 zero
kvm-vcpu KVM_SET_MSRS zero
kvm-vcpu KVM_SET_LAPIC zero
kvm-vcpu KVM_SET_MP_STATE zero
kvm-vcpu KVM_SET_VCPU_EVENTS zero
kvm-vcpu KVM_SET_XSAVE zero
kvm-vcpu KVM_SET_ONE_REG zero
kvm-vcpu KVM_SMI
kvm-vcpu KVM_NMI'

stay
before=$(denials)
attacked EPERM "$more"
[ "$(denials)" -eq $((before + attacked)) ] || fail "not each of $attacked attacks was counted once"
for command in KVM_GET_REGS KVM_GET_SREGS; do
	must client inject "$vmm" kvm-vcpu $command --expect ok >/dev/null
done
must client inject "$vmm" kvm-vm KVM_GET_CLOCK --expect ok >/dev/null
leave
ok "$attacked attacks from inside, each refused and counted, and its snapshot can still be taken"

# The limit counts the VMs of the profile: this one, and no other.
sed 's/limit vms .*/limit vms 1 errno EMFILE/' /files/microvm.policy >/tmp/one.policy
must client write $gate/policy /tmp/one.policy --expect ok >/dev/null
stay
must client inject "$vmm" kvm KVM_CREATE_VM 0 --expect EMFILE >/dev/null
must client inject "$vmm" kvm KVM_CREATE_VM 0 --anew --expect EMFILE >/dev/null
leave
life /usr/bin/microvm
ok "one VM is the limit: no second one, and another when the first has gone"

# Without a policy the attacks reach KVM: what refused them was the policy.
rules
attacked_early /usr/bin/firecracker not:EPERM
stay
attacked not:EPERM "$more"
leave
ok "without the policy none of them is refused with EPERM"
must rmmod portcullis
