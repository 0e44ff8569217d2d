# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The file vms against what clients know they did: every field, VMs from before the module, 100 at once.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
must modprobe vfio_iommu_type1
pass_through
mkdir -p /srv /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup || fail "no cgroup2"
mkdir /sys/fs/cgroup/guests

# hundredths: since the guest has booted.
hundredths() { cut -d' ' -f1 /proc/uptime | tr -d .; }

# field KEY: of $line.
field() { echo "$line" | tr ' ' '\n' | sed -n "s/^$1=//p"; }

# within KEY FROM TO: the time is not before FROM and not after TO, in hundredths of a second.
within() {
	time=$(field "$1")
	case $time in *.???) ;; *) fail "$1 is no time in seconds with three decimals: $line" ;; esac
	time=$(echo "$time" | tr -d . | sed 's/^0*//')
	{ [ "$time" -ge $(($2 * 10)) ] && [ "$time" -le $(($3 * 10 + 10)) ]; } ||
		fail "$1 is $time ms since boot, not between $2 and $3 hundredths: $line"
}

# more KEY N STEP...: so much is KEY greater after these steps of $who.
more() {
	key=$1 by=$2
	shift 2
	line=$(vm_of "$whose" "$nth")
	before=$(field "$key")
	for step in "$@"; do tell "$who" "$step"; done
	line=$(vm_of "$whose" "$nth")
	[ $(($(field "$key") - before)) -eq "$by" ] || fail "$key was $before, and $by was to come: $line"
}

# --- VMs from before the module -----------------------------------------------------------------

vmm set-up
before_set_up=$pid
for step in kvm vm irqchip 'memory 0 1M' 'memory 1 3M' vcpu vcpu vcpu device 'irqfd 4' 'ioeventfd 0x500'; do
	told set-up ok "$step"
done
vmm ran
before_ran=$pid
for step in kvm vm 'memory 0 2M' vcpu vcpu 'ready 1 count' 'spin 1'; do told ran ok "$step"; done
vmm maker
before_maker=$pid
for step in kvm vm 'memory 0 1M' vcpu 'ready 0' 'run 0'; do told maker ok "$step"; done
vmm holder
before_holder=$pid
hand maker holder vm
leave maker
wait "$before_maker"

insert
policy "policy watched version 1
profile vmm
    match exe /srv/**
    default allow
    deny kvm-vm KVM_CHECK_EXTENSION errno EDOM
profile other
    default allow
    deny kvm-vm KVM_CREATE_PIT2 while running errno EDOM
end"
vms 3
is_vm "$(vm_of "$before_set_up")" uid=0 gid=0 profile=other phase=setup type=0 vcpus=3 memslots=2 memory=$((4 << 20)) \
	irqchip=kernel devices=1 vfio-files=0 irqfds=1 ioeventfds=1 zones=0 created=- exe=/client comm=client
is_vm "$(vm_of "$before_ran")" phase=running vcpus=2 memslots=1 memory=$((2 << 20)) irqchip=none created=- exe=/client
[ "$(grep -c ' vcpus=1 ' $gate/vms)" -eq 1 ] || fail "the VM whose maker is gone: $(cat $gate/vms)"
is_vm "$(grep ' vcpus=1 ' $gate/vms)" phase=running memslots=1 memory=$((1 << 20)) created=-
ok "VMs that were there before the module: one being set up, one that runs, one whose maker is gone"
who=set-up whose=$before_set_up nth=1
more calls 3 'use vm' 'use vcpu' 'use device'
more vcpus 1 vcpu
more irqfds -1 'no-irqfd 4'
told ran EINTR stop 1
leave set-up holder
wait "$before_set_up" "$before_holder"
told ran ok close all
vms 0
ok "they go on, are counted from now on, and are forgotten when their last file is closed"
leave ran

# --- Field by field -----------------------------------------------------------------------------

cp /client '/srv/a VMM'
vmm fields '/srv/a VMM'
whose=$pid who=fields nth=1
told fields ok cgroup /sys/fs/cgroup/guests
told fields ok gid 2000
told fields ok comm 'a\040b\011\012\134\377c'
told fields ok kvm
began=$(hundredths)
told fields ok vm
ended=$(hundredths)
line=$(vm_of "$whose")
is_vm "$line" 'comm=a\040b\011\012\134\377c' 'exe=/srv/a\040VMM' uid=0 gid=2000 cgroup=/guests profile=vmm phase=setup \
	type=0 vcpus=0 memslots=0 memory=0 irqchip=none devices=0 vfio-files=0 irqfds=0 ioeventfds=0 zones=0 \
	denied=0 would-deny=0 last-denial=-
within created "$began" "$ended"
label=$(tr -d '\0\n' <"/proc/$whose/attr/current" 2>/dev/null | sed 's/ /\\040/g')
is_vm "$line" "label=${label:--}"
ok "of a VM that was just made: who made it, when, and nothing else"

more irqchip 0 'use vm'
told fields ok split
is_vm "$(vm_of "$whose")" irqchip=split
more vcpus 2 vcpu 'vcpu 5'
more memslots 1 'memory 0 1M'
more memory $((3 << 20)) 'memory 7 3M'
more memory $((-(3 << 20))) 'memory 7 0'
more memslots 3 'memory 1 4K' 'memory 2 4K' 'memory 3 4K'
more memslots -2 'memory 1 0' 'memory 3 0'
more devices 1 device
more irqfds 2 'irqfd 3' 'irqfd 5'
more irqfds -1 'no-irqfd 3'
more ioeventfds 3 'ioeventfd 0x500' 'ioeventfd 0x502' 'ioeventfd 0x504'
more ioeventfds -1 'no-ioeventfd 0x502'
more zones 2 'zone 0xd0000000' 'zone 0xd0002000'
more zones -1 'no-zone 0xd0000000'
ok "what succeeded counts, and what was taken away again does not"
more vcpus 0 'vcpu 5'
more memslots 0 'memory 9 4095' 'memory 0 1M'
more ioeventfds 0 'ioeventfd 0x500'
more zones 0 'no-zone 0xee000000'
ok "what KVM refused does not count"
told fields ok container
more vfio-files 1 vfio-file
more vfio-files -1 no-vfio-file
told fields ok close devices
ok "VFIO files"

more calls 1 'use vcpu'
more calls 5 'times 5 use vcpu'
began=$(hundredths)
more denied 2 'use vm' 'use vm'
ended=$(hundredths)
more calls 1 'use vm'
within last-denial "$began" "$(hundredths)"
began=$(hundredths)
more denied 0 'use vcpu'
within last-call "$began" "$(hundredths)"
printf 0 >$gate/enforce
more would-deny 1 'use vm'
more denied 0 'use vm'
printf 1 >$gate/enforce
ok "calls, denials, and when the last ones were"

told fields ok ready 0
more vcpus 0 'leave 0'
is_vm "$(vm_of "$whose")" phase=setup
told fields ok run 0
is_vm "$(vm_of "$whose")" phase=running
ok "the phase"

nth=2
told fields ok vm
is_vm "$(vm_of "$whose" 2)" vcpus=0 phase=setup calls=0
more calls 1 'use vm'
told fields ok pick 0
nth=1
more calls 1 'use vcpu'
[ "$(vm_of "$whose" 1 | cut -d' ' -f1)" != "$(vm_of "$whose" 2 | cut -d' ' -f1)" ] || fail "two VMs have one number"
ok "two VMs of one process"
told fields ok close vm
vms 2
told fields ok close vcpus
vms 1
leave fields
wait "$whose"
vms 0
ok "a vCPU's file keeps its VM"

# --- A policy that does not ask -----------------------------------------------------------------

rules
vmm plain
told plain ok kvm
told plain ok vm
told plain ok use vm
is_vm "$(vm_of "$pid")" calls=- last-call=- denied=0 last-denial=-
rules 'deny kvm-vm KVM_CREATE_PIT2 while setup errno EDOM'
told plain ok use vm
told plain EDOM pit
line=$(vm_of "$pid")
case $(field calls) in [1-9]*) ;; *) fail "calls are not counted where phases ask: $line" ;; esac
is_vm "$line" denied=1 would-deny=0
leave plain
ok "calls are counted where the policy asks which VM they are on"

# KVM lets only its maker use a VM. What others try with its files is nothing that the VM has done.
rules 'limit kvm-vm KVM_CHECK_EXTENSION 5/min errno EAGAIN' 'deny kvm-vm KVM_CREATE_PIT2 while setup errno EDOM' \
	'deny kvm-vcpu KVM_RUN if vcpu.foreign == 1 errno EXDEV' 'deny kvm-vcpu KVM_GET_MP_STATE if vcpu.foreign == 1 errno EXDEV'
vmm owns
owner=$pid
vmm holds
for step in kvm vm 'memory 0 1M' vcpu 'ready 0'; do told owns ok "$step"; done
for what in vm vcpu; do hand owns holds $what; done
before=$(vm_of "$owner")
for _ in 1 2 3 4 5 6 7 8 9 10; do
	told holds EIO use vm
	told holds EIO pit
	told holds EIO use vcpu
	told holds EIO run 0
done
[ "$(vm_of "$owner")" = "$before" ] || fail "of a VM, after calls of another process: $(vm_of "$owner"), not $before"
is_vm "$before" denied=0 would-deny=0 phase=setup
told owns ok run 0
told owns EXDEV run-elsewhere 0
told owns 'ok 5' times 50 use vm
told holds EIO run 0
told owns ok run 0
told owns ok use vcpu
leave owns holds
ok "who merely holds a VM's files gets EIO, counts neither as its calls nor for its rates, and runs no vCPU"

# --- Many ---------------------------------------------------------------------------------------

vmm many
told many ok kvm
told many 'ok 100' times 100 vm
[ "$(wc -l <$gate/vms)" -eq 100 ] || fail "of 100 VMs $(wc -l <$gate/vms) are shown"
sed 's/^vm=\([0-9]*\) .*/\1/' $gate/vms | awk '$1 <= last { exit 1 } { last = $1 }' || fail "the numbers do not grow"
keys=$(tr ' ' '\n' <$gate/vms | sed 's/=.*//' | head -n 26 | tr '\n' ' ')
[ "$keys" = 'vm pid comm exe uid gid cgroup label profile phase type vcpus memslots memory irqchip devices vfio-files irqfds ioeventfds zones calls denied would-deny created last-call last-denial ' ] ||
	fail "other keys: $keys"
awk 'NF != 26 { exit 1 }' $gate/vms || fail "a line has more or less than 26 fields"
dd if=$gate/vms bs=7 2>/dev/null >/tmp/pieces
cmp -s $gate/vms /tmp/pieces || fail "vms reads differently in pieces of 7 bytes"
exec 5<$gate/vms
dd bs=1 count=100 <&5 >/tmp/seen 2>/dev/null
told many ok close vms
[ "$(wc -l <$gate/vms)" -eq 0 ] || fail "of closed VMs $(wc -l <$gate/vms) are shown"
cat <&5 >>/tmp/seen
exec 5<&-
cmp -s /tmp/seen /tmp/pieces || fail "a reader saw two moments in one"
ok "100 VMs, their numbers and keys, and a reader that sees one moment"
leave many
[ "$(stat -c %a $gate/vms)" = 400 ] || fail "vms has mode $(stat -c %a $gate/vms)"
client write $gate/vms /tmp/policy >/tmp/answer 2>&1 && fail "vms took a write"
must rmmod portcullis
must client boot --text "after the module"
ok "modes, and after the module"
