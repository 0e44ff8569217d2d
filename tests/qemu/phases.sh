# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Setup and running: what begins the second, what does not, for each vCPU, and under policies that change.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm

by_phase() {
	rules 'deny kvm-vm KVM_CHECK_EXTENSION while running errno EXDEV' 'deny kvm-vm KVM_GET_CLOCK while setup errno EDOM' \
		'deny kvm-device KVM_HAS_DEVICE_ATTR while running errno EXDEV' \
		'deny kvm-vcpu KVM_GET_MP_STATE if vcpu.ran == 1 errno EBUSY' \
		'deny kvm-vm KVM_CREATE_VCPU, KVM_CREATE_DEVICE, KVM_ENABLE_CAP while running errno ENOANO' "$@"
}

# in_setup NAME, running NAME: what the rules say of its VM.
in_setup() {
	told "$1" ok use vm
	told "$1" EDOM call kvm-vm KVM_GET_CLOCK zero
}
running() {
	told "$1" EXDEV use vm
	told "$1" ok call kvm-vm KVM_GET_CLOCK zero
}

# made NAME [STEP...]: a VMM with a VM of two vCPUs and a device.
made() {
	name=$1
	shift
	vmm "$name"
	for step in kvm vm 'memory 0 1M' vcpu vcpu device 'ready 0' 'ready 1 count' "$@"; do told "$name" ok "$step"; done
}

# --- From before the module ---------------------------------------------------------------------

made old-set-up
made old-left
told old-left EINTR leave 0
made old-ran 'run 0'
made old-runs 'spin 1'
insert
by_phase
in_setup old-set-up
in_setup old-left
running old-ran
running old-runs
told old-ran EBUSY use vcpu 0
told old-ran ok use vcpu 1
told old-runs EBUSY use vcpu 1
told old-runs ok use vcpu 0
told old-runs EINTR stop 1
running old-runs
told old-set-up ok run 0
running old-set-up
leave old-set-up old-left old-ran old-runs
ok "VMs that were there before the module: one that runs already is running at once"

# --- What begins it -----------------------------------------------------------------------------

made vm
in_setup vm
told vm ok use device
told vm EINTR leave 0
told vm EINTR leave 1
told vm ok use vcpu 0
in_setup vm
ok "a KVM_RUN that fails before it enters the guest leaves the VM in setup"
told vm ok vcpu
told vm ok run 0
running vm
told vm EXDEV use device
told vm EBUSY use vcpu 0
told vm ok use vcpu 1
for step in vcpu device 'cap 1'; do told vm ENOANO "$step"; done
told vm EINTR leave 0
told vm EINTR leave 1
running vm
told vm EBUSY use vcpu 0
told vm ok use vcpu 1
told vm ok 'spin 1'
told vm EBUSY use vcpu 1
told vm EINTR stop 1
running vm
told vm EXDEV use vm compat
ok "the first that enters it begins the running phase, which never ends; each vCPU has its own"

told vm ok vm
in_setup vm
told vm ok pick 0
running vm
ok "two VMs of one process are in two phases"

vmm waits
for step in kvm vm 'memory 0 1M' irqchip vcpu vcpu device 'wait 1'; do told waits ok "$step"; done
running waits
# It would wait for the KVM_RUN, and be carried out when the guest has run.
told waits EBUSY use vcpu 1
told waits ok use vcpu 0
told waits EINTR stop 1
told waits ok use vcpu 1
in_setup waits
leave waits
ok "a KVM_RUN that waits for another vCPU to start its own counts while it lasts, for the VM and its vCPU"

rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION2 if vm.slot != 0 errno EXDEV'
vmm slots
told slots ok kvm
told slots ok vm
for way in memory memory2; do
	told slots ok $way 1 64K
	told slots EXDEV $way 1 64K
	told slots EXDEV $way 1 0
	told slots ok $way 2 64K
	rules
	told slots ok memory 1 0
	told slots ok memory 2 0
	rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION2 if vm.slot != 0 errno EXDEV'
done
leave slots
by_phase
ok "a rule that looks at nothing but whether a slot is there"

made flies
in_setup flies
told flies ok spin 1
running flies
told flies EBUSY use vcpu 1
told flies ok use vcpu 0
told flies EINTR leave 0
running flies
vmm taker
hand flies taker vm
told taker EIO use vm
told flies EINTR stop 1
running flies
told flies EBUSY use vcpu 1
leave taker
ok "the first KVM_RUN is under way: other threads see it at once, and other processes may not call, and still when it was interrupted"

made refused
by_phase 'deny kvm-vcpu KVM_RUN errno ETIME'
told refused ETIME run 0
in_setup refused
told refused ok use vcpu 0
printf 0 >$gate/enforce
told refused ok run 0
printf 1 >$gate/enforce
by_phase
running refused
ok "a KVM_RUN that the policy refuses begins nothing; one that it would refuse does"

# --- Policies and the module change -------------------------------------------------------------

rules
told flies ok use vm
made blind
told blind ok run 0
made blind-set-up
by_phase
running flies
running blind
in_setup blind-set-up
told blind EBUSY use vcpu 0
told blind ok use vcpu 1
rules 'deny kvm-vm KVM_CHECK_EXTENSION if vm.running == 1 errno ERANGE' \
	'deny kvm-vm KVM_GET_CLOCK if vm.running == 0 errno EDOM'
told blind ERANGE use vm
told blind-set-up ok use vm
told blind-set-up EDOM call kvm-vm KVM_GET_CLOCK zero
told blind-set-up ok run 0
told blind-set-up ERANGE use vm
ok "what ran under a policy that did not ask is known to the next"

must rmmod portcullis
told flies ok use vm
made between 'run 0'
insert
by_phase
running flies
running blind
running between
leave vm flies refused blind blind-set-up between
ok "what ran before the module came again is known to it"

by_phase
must client boot --vcpus 2 --text "in phases"
ok "a VM boots"
