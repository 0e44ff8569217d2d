# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A new VM's fd is exchanged or taken away before its maker has it: no VM becomes another, and none is overlooked.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert

# number: which is the VM of $pid.
number() { vm_of "$pid" | sed 's/^vm=\([0-9]*\) .*/\1/'; }

# --- A VM that runs, in the place of a new one --------------------------------------------------

rules 'deny kvm-vm KVM_CHECK_EXTENSION while running errno EXDEV'
vmm swaps
for step in kvm vm 'memory 0 1M' vcpu 'ready 0 count'; do told swaps ok "$step"; done
told swaps ok use vm
told swaps ok spin 0
told swaps EXDEV use vm
first=$(number)
swapped=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	tell swaps swap 20
	case $answer in 'ok '*) swapped=$((swapped + ${answer#ok })) ;; *) fail "swap 20: $answer" ;; esac
	told swaps EXDEV use vm
	[ "$(number)" = "$first" ] || fail "VM $first is $(number) after $swapped swaps: $(cat $gate/vms)"
done
[ $swapped -gt 0 ] || fail "no new VM was exchanged in time"
is_vm "$(vm_of "$pid")" phase=running vcpus=1 memslots=1
vms 1
told swaps EINTR stop 0
told swaps ok close all
vms 0
leave swaps
ok "a VM that runs was put in the place of $swapped new ones, and is known as before"

# --- A VM whose fd was moved --------------------------------------------------------------------

rules 'limit vms 2 errno EMFILE'
vmm hides
told hides ok kvm
hidden=0
while [ $hidden -lt 60 ]; do
	told hides ok hide
	# It must not be the maker's file alone that remembers.
	told hides ok close kvm
	told hides ok kvm
	told hides 'ok 1' times 3 vm
	told hides EMFILE hide
	vms 2
	told hides EMFILE vm
	told hides ok pick 0
	told hides ok vcpu
	vms 2
	is_vm "$(vm_of "$pid")" vcpus=1 profile=other comm=client exe=/client
	told hides ok close vms
	vms 0
	hidden=$((hidden + 1))
done
leave hides
ok "a VM whose fd was moved counts and is shown, $hidden times"
