# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Others at the guarded handlers: kprobes that come later, tracers, calls that are missed.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
tracing=/sys/kernel/tracing
[ -e $tracing/kprobe_events ] || mount -t tracefs tracefs $tracing
must test -e $tracing/kprobe_events
must insmod /files/provoke/provoke.ko
provoke() { printf '%s' "$2" >/sys/module/provoke/parameters/"$1" || fail "$1 could not be provoked"; }
is() {
	[ "$(state "$1")" = "$2" ] || fail "$1 is $(state "$1"), not $2"
	is_gate alive
}

insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
is kvm_vm_ioctl armed

mark "stranger"
echo 'p:stranger kvm_vm_ioctl' >$tracing/kprobe_events || fail "no kprobe event could be made"
echo 1 >$tracing/events/kprobes/stranger/enable
soon "kvm_vm_ioctl: another kprobe has come" "mark: stranger"
is kvm_vm_ioctl shared
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
[ "$(counter gate shared)" -eq 1 ] || fail "shared is not 1"
sleep 1
[ "$(said "another kprobe has come")" -eq 1 ] || fail "the log says it more than once"
echo 0 >$tracing/events/kprobes/stranger/enable
echo >$tracing/kprobe_events
is kvm_vm_ioctl armed
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
ok "a kprobe that comes later is seen, counted and told once; armed again when it has gone"

mark "hider"
provoke hide 1
soon "kvm_vm_ioctl: another kprobe has come" "mark: hider"
expect ok kvm-vm KVM_CREATE_IRQCHIP
is kvm_vm_ioctl shared
provoke hide 0
is kvm_vm_ioctl armed
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
ok "one that hides calls from the probes behind it is seen as well"

mark "miss"
provoke miss 3
soon "kvm_dev_ioctl: a call passed unseen" "mark: miss"
dmesg | grep -q 'KVM_GET_API_VERSION answered 12' || fail "the handler was not called"
grep -q '^site: kvm_dev_ioctl .*missed=3 ' $gate/status || fail "missed is not 3"
[ "$(counter gate missed)" -eq 3 ] || fail "missed is not 3 in counters"
provoke miss 2
sleep 1
grep -q '^site: kvm_dev_ioctl .*missed=5 ' $gate/status || fail "missed is not 5"
[ "$(counter gate missed)" -eq 5 ] || fail "missed is not 5 in counters"
[ "$(said "a call passed unseen")" -eq 1 ] || fail "the log says it more than once"
must rmmod kvm_amd
must rmmod kvm
load_kvm
grep -q '^site: kvm_dev_ioctl .*missed=0 ' $gate/status || fail "missed is not 0 at the new site"
[ "$(counter gate missed)" -eq 5 ] || fail "counters has lost what was missed"
is_gate alive
ok "calls inside another kprobe's handler pass unseen: each is counted, the first is told"

trace() {
	echo "$1" >$tracing/set_ftrace_filter
	echo function >$tracing/current_tracer || fail "no function could be traced"
}
mark "tracer"
trace kvm_vm_ioctl
soon "kvm_vm_ioctl: somebody else has come through ftrace" "mark: tracer"
is kvm_vm_ioctl traced
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
grep -q kvm_vm_ioctl $tracing/trace || fail "the tracer saw nothing"
[ "$(counter gate traced)" -eq 1 ] || fail "traced is not 1"
echo nop >$tracing/current_tracer
is kvm_vm_ioctl armed
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
ok "a tracer of one handler is seen; armed again when it has gone"

trace "kvm_vm_ioctl
portcullis_canary_ioctl"
sleep 1
is kvm_vm_ioctl armed
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
echo nop >$tracing/current_tracer
sleep 1
is kvm_vm_ioctl armed
[ "$(counter gate traced)" -eq 1 ] || fail "traced is not 1 any more"
grep -q kvm_dev_ioctl $tracing/enabled_functions || fail "the list of traced functions is no witness"
[ "$(said "the gate is")" -eq 0 ] || fail "the log tells of a gate that was never dead"
ok "a tracer of the handler and the canary is no reason for doubt"

trace kvm_vm_ioctl
must rmmod portcullis
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
is kvm_vm_ioctl traced
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
echo nop >$tracing/current_tracer
is kvm_vm_ioctl armed
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
must rmmod portcullis
ok "loaded after a tracer, armed when it has gone"
