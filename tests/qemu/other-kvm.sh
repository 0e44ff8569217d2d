# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A module that was built for another KVM: it looks into no VM, says so, and refuses what it would have to.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert_other() { must insmod /files/other-kvm.ko "$@"; }
told_once() {
	[ "$(said "KVM was built from other headers than this module")" -eq 1 ] || fail "the log does not say it once"
}

# A VM from before the module, and one from after.
vmm before
for step in kvm vm 'memory 0 1M' vcpu 'ready 0 count'; do told before ok "$step"; done
insert_other
told_once
vms 0
vmm after
for step in kvm vm 'memory 0 1M' vcpu 'ready 0 count' 'use vm' 'use vcpu'; do told after ok "$step"; done
after=$pid
vms 1
is_vm "$(vm_of "$after")" vcpus=- memslots=- memory=- type=- devices=- irqfds=-
must client boot --text "a guest"
ok "under the builtin policy VMs live, and vms shows nothing that would have to be looked at"

rules 'limit vcpus 4' 'limit memory 4M per profile' 'deny kvm-vm KVM_CREATE_DEVICE while running'
for name in before after; do
	told "$name" EBADF use vm
	told "$name" EBADF use vcpu
	told "$name" EBADF vcpu
	told "$name" EBADF run 0
	told "$name" EBADF memory 0 64K
done
told after ok use kvm
vms 1
is_vm "$(vm_of "$after")" vcpus=- memslots=- memory=-
ok "where a policy asks what a VM is like, its calls are refused: EBADF"

printf 0 >$gate/enforce
for name in before after; do
	told "$name" ok use vm
	told "$name" ok use vcpu
	told "$name" ok spin 0
done
must rmmod portcullis
for name in before after; do told "$name" EINTR stop 0; done
told_once
ok "in permissive mode they are let through, and unloading waits for no guest"

insert
rules 'limit vcpus 2'
told after ok vcpu
told after ENOSPC vcpu
is_vm "$(vm_of "$after")" vcpus=2 memslots=1
leave before after
ok "the module that was built for this KVM knows them"
