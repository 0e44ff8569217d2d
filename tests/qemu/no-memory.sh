# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Each single request for memory is refused: by a judged call, or by a policy. Nothing is lost.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
faults=/sys/kernel/debug
[ -e $faults/failslab ] || fail "this kernel refuses no memory"
# Also where one could wait for it, by single pages, and without a stack trace each time.
for kind in failslab fail_page_alloc; do
	printf N >$faults/$kind/ignore-gfp-wait
	printf 0 >$faults/$kind/verbose
done
printf 0 >$faults/fail_page_alloc/min-order

# refused WHO STEP: each request of the step is refused, and at least one makes it fail. Sets $answer.
refused() {
	who=$1
	shift
	told "$who" ok each-refused "$@"
	[ "$answer" != 'ok 0' ] || fail "$*: nobody was refused memory"
	echo "    $*: failed ${answer#ok } times"
}

load_kvm
vmm loader
insert
# strict N: a policy by which everything is asked, that of profile `vmm` with so many vCPUs.
strict() {
	cat >/tmp/strict <<-POLICY
		policy strict version 1
		profile vmm
		    match exe /client
		    default allow
		    limit vms 3 errno EMFILE
		    limit vcpus $1 per profile errno EUSERS
		    limit vcpus 7 errno E2BIG
		    limit memory 8M per profile errno EDQUOT
		    limit memslots 3 errno EMLINK
		    limit zones 2 errno ENOSPC
		    limit kvm-vm * 100000/s
		    deny kvm-vm KVM_CREATE_PIT2 if vm.did(KVM_CREATE_IRQCHIP) == 0 errno EXDEV
		    deny kvm-vcpu KVM_SET_SREGS if vcpu.ran == 1 errno EXDEV
		profile other
		    default deny
		end
	POLICY
}
strict 5
rules 'deny kvm KVM_GET_API_VERSION errno EXDEV'
revision() { sed -n 's/^revision: //p' $gate/status; }
before=$(revision)
# Most of what it asks for can come from elsewhere.
told loader ok each-refused write $gate/policy /tmp/strict
[ "$(revision)" -gt "$before" ] || fail "the revision is still $before"
told loader ok kvm
told loader ok use kvm
rules 'deny kvm KVM_GET_API_VERSION errno EXDEV'
told loader EXDEV use kvm
ok "a policy is in force whole or not at all"

# The same anew under each policy: what is known of a VM by the one before does not count.
again() {
	strict "$1"
	must client write $gate/policy /tmp/strict --expect ok >/dev/null
}
again 5
vmm vmm
told vmm ok kvm
refused vmm call kvm KVM_CHECK_EXTENSION 0
refused vmm vm
told vmm ok close vms
vms 0
told vmm ok vm
again 5
refused vmm memory 0 1M
refused vmm memory 1 64K
refused vmm irqchip
refused vmm pit
refused vmm vcpu
refused vmm irqfd 3
refused vmm ioeventfd 0x500
refused vmm zone 0xe00000
refused vmm device
is_vm "$(cat $gate/vms)" devices=1 memslots=2 memory=1114112 irqfds=1 ioeventfds=1 zones=1 profile=vmm
ok "calls on a VM"

# What has failed counts for nothing.
told vmm ok close vms
vms 0
told vmm 'ok 3' times 5 vm
told vmm 'ok 5' times 9 vcpu
told vmm EUSERS vcpu
told vmm 'ok 3' times 5 memory 1% 64K
told vmm EMLINK memory 20 64K
told vmm ok pick 0
told vmm EDQUOT memory 10 8M
vms 3
told vmm ok close vms
ok "the limits hold as ever"

# A vCPU that nothing is known of yet, because nobody has asked: its KVM_RUN needs memory before KVM does.
fresh() {
	rules
	told vmm ok vcpu
	told vmm ok ready "$1" count
	again 5
}
told vmm ok vm
told vmm ok memory 0 1M
fresh 0
before=$(counter 'argument no-memory' denied)
told vmm ENOMEM spin-refused 0
[ "$(counter 'argument no-memory' denied)" -eq $((before + 1)) ] || fail "KVM had no memory, not the gate"
told vmm ok spin 0
told vmm EINTR stop 0
ok "a KVM_RUN for which there is no memory is refused"
fresh 1
printf 0 >$gate/enforce
told vmm ok spin-refused 1
[ "$(counter 'argument no-memory' would-deny)" -gt 0 ] || fail "there was memory"
must rmmod portcullis
told vmm EINTR stop 1
leave vmm loader
ok "in permissive mode it runs all the same, and unloading waits for no guest"
