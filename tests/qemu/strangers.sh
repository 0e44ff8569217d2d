# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Other people's kprobes at the same functions, and descriptors that outlive the module.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
tracing=/sys/kernel/tracing
[ -e $tracing/kprobe_events ] || mount -t tracefs tracefs $tracing
must test -e $tracing/kprobe_events

stranger_comes() {
	echo 'p:stranger kvm_vm_ioctl' >$tracing/kprobe_events || fail "no kprobe event could be made"
	echo 1 >$tracing/events/kprobes/stranger/enable || fail "the kprobe event could not be enabled"
}
stranger_goes() {
	echo 0 >$tracing/events/kprobes/stranger/enable
	echo >$tracing/kprobe_events
}
# seen: the stranger has seen calls of ours.
seen() { grep -q 'stranger:' $tracing/trace || fail "the stranger's probe saw nothing"; }
ours_come() {
	insert
	rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
	expect EACCES kvm-vm KVM_CREATE_IRQCHIP
	expect ok kvm-vm KVM_CHECK_EXTENSION 0
}
site() { sed -n 's/^site: kvm_vm_ioctl .*state=\([a-z]*\).*/\1/p' $gate/status; }

stranger_comes
ours_come
[ "$(site)" = shared ] || fail "the site is $(site), not shared"
seen
stranger_goes
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
must rmmod portcullis
cat /sys/kernel/debug/kprobes/list
must client boot --text "stranger came first, and went first"
ok "a stranger came first, and went first"

stranger_comes
ours_come
must rmmod portcullis
expect ok kvm-vm KVM_CREATE_IRQCHIP
stranger_goes
must client boot --text "stranger came first, and went last"
ok "a stranger came first, and went last"

ours_come
[ "$(site)" = armed ] || fail "the site is $(site), not armed"
stranger_comes
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
must rmmod portcullis
expect ok kvm-vm KVM_CREATE_IRQCHIP
stranger_goes
ok "a stranger came last, and went last"

ours_come
stranger_comes
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
stranger_goes
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
must rmmod portcullis
ok "a stranger came last, and went first"

insert
must client keep-path $gate/status
[ ! -e $gate ] || fail "the module did not go"
must client boot --text "still alive"
ok "a descriptor with O_PATH finds nothing after the module has gone"
