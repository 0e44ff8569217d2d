# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Each limit: so many pass and no more, also when eight threads want the last one at once.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
must modprobe vfio_iommu_type1
pass_through
insert

# limited N: the limit in line 4 has refused N calls.
limited() {
	n=$(counter 'rule line=4' denied)
	[ "$n" -eq "$1" ] || fail "the limit has refused $n calls, not $1"
}

# raced N STEP...: in ten VMs, one after the other; of the eight threads of a race N succeed.
raced() {
	succeed=$1
	shift
	vmm racers
	told racers ok kvm
	for _ in 0 1 2 3 4 5 6 7 8 9; do
		told racers ok vm
		for step in "$@"; do
			case $step in
			race*) told racers "ok $succeed" "$step" ;;
			*) told racers ok "$step" ;;
			esac
		done
		told racers ok close vms
	done
	leave racers
	ok "eight threads at once, ten times: $succeed pass: $*"
}

# --- Of each VM ---------------------------------------------------------------------------------

# one_vm LIMIT ERRNO BEFORE...: begins the VMM `one`, with a VM, under a limit.
one_vm() {
	rules "limit $1 errno $2"
	shift 2
	vmm one
	told one ok kvm
	told one ok vm
	for step in "$@"; do told one ok "$step"; done
}

one_vm 'vcpus 4' E2BIG
told one 'ok 4' times 6 vcpu
told one E2BIG vcpu
limited 3
told one ok vm
told one 'ok 4' times 5 vcpu
limited 4
leave one
one_vm 'vcpus 2' E2BIG
told one ok vcpu 1
told one EEXIST vcpu 1
told one ok vcpu 0
told one E2BIG vcpu 2
leave one
ok "vcpus: for each VM; what KVM refuses does not count"

one_vm 'memslots 3' EMLINK
told one 'ok 3' times 5 memory 1% 64K
told one EMLINK memory 20 4K
told one EMLINK memory2 20 4K
limited 4
told one ok memory 10 64K
told one ok memory 11 0
told one ok memory2 20 4K
told one EMLINK memory 21 4K
told one ok memory 20 0
told one ok memory 21 4K
leave one
ok "memslots: one that is there may be set again, one that was taken away makes room"

one_vm 'memory 8M' EDQUOT 'memory 0 1M' 'memory 1 4M'
told one EDQUOT memory 2 4M
told one ok memory2 2 3M
told one EDQUOT memory 3 4K
told one EDQUOT memory2 3 4K
told one ok memory 2 3M
told one ok memory 1 0
told one EDQUOT memory 3 4100K
told one ok memory 3 4M
told one EDQUOT memory 4 64G 0x1000000000
limited 5
leave one
ok "memory: to the byte, by both commands"

one_vm 'irqfds 3' ENFILE irqchip
told one 'ok 3' times 5 irqfd %
told one ENFILE irqfd 9
limited 3
told one ok no-irqfd 1
told one ok irqfd 9
told one ENFILE irqfd 10
leave one
ok "irqfds"

one_vm 'ioeventfds 3' ENFILE
told one 'ok 3' times 5 ioeventfd 0x5%0
told one ENFILE ioeventfd 0x600
limited 3
told one ok no-ioeventfd 0x510
told one ok ioeventfd 0x600
told one ENFILE ioeventfd 0x602
leave one
ok "ioeventfds"

one_vm 'zones 3' ENOSPC
told one 'ok 3' times 5 zone 0xe0%000
told one ENOSPC zone 0xe0010000
limited 3
told one ok no-zone 0xe01000
told one ok zone 0xe0010000
told one ENOSPC zone 0xe0020000
leave one
ok "zones"

# KVM itself makes no second one of this kind, and says EBUSY.
one_vm 'devices 1' EMFILE
told one 'ok 1' times 3 device
told one EMFILE device
limited 3
told one ok call kvm-vm KVM_CREATE_DEVICE zero,0.4=4,8.4=1
told one ok vm
told one ok device
leave one
ok "devices: asking whether one can be made (KVM_CREATE_DEVICE_TEST) is no device"

one_vm 'mappings 3' EDQUOT container
told one 'ok 3' times 5 map 0x10%000
told one EDQUOT map 0x200000
limited 3
told one ok unmap 0x101000
told one ok map 0x200000
told one EDQUOT map 0x201000
told one ok unmap 0x200000
told one ok unmap 0x100000
told one 'ok 2' times 3 map 0x30%000
leave one
ok "mappings of a VFIO container"

# The handler reads less than the caller says there is.
one_vm 'mappings 3' EDQUOT container
told one 'ok 3' times 5 map-cut 0x10%000
told one EDQUOT map-cut 0x200000
told one EDQUOT map 0x200000
limited 4
leave one
rules 'limit mappings 100' 'deny vfio-container VFIO_IOMMU_MAP_DMA if iova == 0x200000 errno EDOM'
vmm one
told one ok container
told one EDOM map-cut 0x200000
told one ok map-cut 0x201000
leave one
ok "mappings whose argument ends where the memory does"

# An unmapping that begins inside a mapping: version 1 of type 1 says that it has succeeded, and takes
# nothing away; version 2 says that it has failed.
one_vm 'mappings 3' EDQUOT container
told one ok map 0x100000 8K
told one 'ok 2' times 2 map 0x20%000
told one EINVAL unmap 0x101000 16M
told one EDQUOT map 0x300000
leave one
vmm one
told one EDQUOT container /dev/vfio/vfio 1
limited 2
leave one
rules
vmm one
told one ok container /dev/vfio/vfio 1
rules 'limit mappings 3 errno EDQUOT'
told one ok map 0x100000 8K
told one 'ok 2' times 2 map 0x20%000
told one ok unmap 0x101000 16M
told one EDQUOT map 0x300000
told one ok unmap 0x100000 4K
told one ok map 0x300000
told one EDQUOT map 0x301000
leave one
ok "mappings: none is gone that an unmapping has cut, and version 1 is refused"

# --- Of a profile -------------------------------------------------------------------------------

rules 'limit vms 3 errno EMFILE'
vmm one
told one ok kvm
told one 'ok 3' times 5 vm
told one EMFILE vm
client act kvm 'vm -> EMFILE' >/tmp/out 2>&1 || fail "another process: $(cat /tmp/out)"
limited 4
told one ok pick 0
told one ok close all
must client act kvm vm 'vm -> EMFILE' >/tmp/out
told one ok vm
told one EMFILE vm
told one ok close vms
told one 'ok 3' times 5 vm
leave one
ok "vms: of all processes, and one that is gone makes room at once"

cp /client /tmp/other-vmm
policy "policy profiles version 1
profile vmm
    match exe /tmp/other-vmm
    default allow
    limit vcpus 6 per profile errno EUSERS
    limit memory 8M per profile errno EDQUOT
    limit vms 4 errno EMFILE
profile other
    default allow
    limit vms 2 errno ENFILE
    limit vcpus 3 errno E2BIG
end"
vmm one /tmp/other-vmm
told one ok kvm
told one ok vm
vmm two /tmp/other-vmm
told two ok kvm
told two ok vm
told one 'ok 4' times 4 vcpu
told two 'ok 2' times 3 vcpu
told two EUSERS vcpu
told one EUSERS vcpu
told one ok memory 0 1M
told two ok memory 1 6M
told one EDQUOT memory 1 2M
told one ok memory 1 1M
told one EDQUOT memory 2 4K
told two ok memory 1 0
told one ok memory 2 4K
vmm stranger
told stranger ok kvm
told stranger 'ok 2' times 3 vm
told stranger 'ok 3' times 4 vcpu
told one 'ok 2' times 3 vm
told one ok pick 0
told one ok close all
told two 'ok 4' times 5 vcpu
leave one two stranger
ok "per profile: over all VMs of all its processes, and of no other profile"

# Several VMs want the last one of their profile, and none looks at another's.
rules 'limit vcpus 5 per profile errno EUSERS' 'limit memory 3M per profile errno EDQUOT' 'limit vms 4 errno EMFILE'
vmm racers
told racers ok kvm
rounds=0
while [ $rounds -lt 50 ]; do
	told racers 'ok 4' race 8 vm
	told racers 'ok 5' race-vms 8 vcpu
	told racers 'ok 3' race-vms 8 memory 1% 1M
	told racers ok close vms
	rounds=$((rounds + 1))
done
leave racers
ok "per profile: four VMs at once, $rounds times"

# What there is counts from the first call on that is judged by a policy: also where nothing has asked for it before.
deny_vcpus='deny kvm-vm KVM_CREATE_VCPU errno EACCES'
vmm late
told late ok kvm
told late ok vm
rounds=0
while [ $rounds -lt 20 ]; do
	rules
	vmm early
	told early ok kvm
	told early ok vm
	told early 'ok 3' times 3 vcpu
	rules "$deny_vcpus"
	lines=$(wc -l </tmp/late.out)
	echo "times 20000 vcpu" 1<>/tmp/late.in
	rules 'limit vcpus 3 per profile errno EUSERS'
	[ "$(wc -l </tmp/late.out)" -eq "$lines" ] || fail "the calls were over before the policy came"
	rules "$deny_vcpus"
	answered late "$lines" 'times 20000 vcpu'
	[ "$answer" = 'ok 0' ] || fail "$answer of another VM's vCPUs while policies came and went"
	leave early
	vms 1
	rounds=$((rounds + 1))
done
leave late
ok "per profile: what there was before the policy, from its first call on, $rounds times"

# --- Rates --------------------------------------------------------------------------------------

# A minute is longer than this takes: what is limited by the minute does not come back here.
one_vm 'kvm-vm KVM_CHECK_EXTENSION 5/min' EAGAIN
told one 'ok 5' times 50 use vm
limited 45
told one EAGAIN use vm
told one EAGAIN use vm compat
told one ok vm
told one 'ok 5' times 50 use vm
told one ok use kvm
told one ok call kvm KVM_CHECK_EXTENSION 0
leave one
ok "a rate by the minute, for each VM"

one_vm 'KVM_GET_API_VERSION, KVM_CHECK_EXTENSION 20/s' EBUSY
began=$(cut -d' ' -f1 /proc/uptime | tr -d .)
tell one times 200 use kvm
ended=$(cut -d' ' -f1 /proc/uptime | tr -d .)
passed=${answer#ok }
{ [ "$passed" -ge 20 ] && [ "$passed" -le $((20 + 20 * (ended - began + 100) / 100)) ]; } ||
	fail "$passed of 200 calls passed in $((ended - began)) hundredths"
limited $((200 - passed))
usleep 1200000
told one ok use kvm
vmm other
told other ok kvm
told other 'ok 20' times 20 use kvm
leave one other
ok "a rate by the second, for each open file: $passed of 200 passed, and more a second later"

# --- Races --------------------------------------------------------------------------------------

rules 'limit vcpus 4 errno E2BIG'
raced 4 'race 8 vcpu'
raced 1 vcpu vcpu vcpu 'race 8 vcpu'
rules 'limit memory 4M errno EDQUOT' 'limit memslots 6 errno EMLINK'
raced 4 'race 8 memory 1% 1M'
raced 6 'race 8 memory 1% 64K'
rules 'limit irqfds 3 errno ENFILE' 'limit ioeventfds 2 errno ENFILE' 'limit zones 5 errno ENFILE'
raced 3 irqchip 'race 8 irqfd %'
raced 2 'race 8 ioeventfd 0x5%0'
raced 5 'race 8 zone 0xe0%000'
rules 'limit vms 4 errno EMFILE'
raced 3 'race 8 vm'
rules 'limit vcpus 5 per profile errno EUSERS' 'limit memory 3M per profile errno EDQUOT'
raced 5 vm 'race 8 vcpu'
raced 3 vm 'race 8 memory 1% 1M'
rules 'limit kvm-vm KVM_CHECK_EXTENSION 4/min errno EAGAIN'
raced 4 'race 8 use vm'
# Of the threads that run a vCPU first, one was.
rules 'deny kvm-vcpu KVM_RUN if vcpu.foreign == 1 errno EXDEV'
for _ in 1 2 3 4 5; do raced 1 'memory 0 1M' vcpu 'ready 0' 'race 8 call kvm-vcpu KVM_RUN 0'; done
rules 'limit mappings 3 errno EDQUOT'
vmm racers
told racers ok container
told racers 'ok 3' race 8 map 0x10%000
leave racers
ok "mappings raced for"

# --- Permissive, and no limit -------------------------------------------------------------------

rules 'limit vcpus 2 errno E2BIG'
printf 0 >$gate/enforce
vmm one
told one ok kvm
told one ok vm
told one 'ok 5' times 5 vcpu
[ "$(counter 'rule line=4' would-deny)" -eq 3 ] || fail "would-deny is not 3"
printf 1 >$gate/enforce
told one E2BIG vcpu
rules 'limit vcpus 7 errno E2BIG'
told one 'ok 2' times 5 vcpu
rules
told one 'ok 5' times 5 vcpu
leave one
ok "permissive: counted as would-deny; another policy counts what is there already"
