# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Rules on fields of the argument: in memory that is there, that comes late, and that never comes.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert

REGION=KVM_SET_USER_MEMORY_REGION

# deferred: how many calls were sent to where one may sleep.
deferred() { counter 'argument deferred' calls; }

# defers N COMMAND...: the command makes so many deferred calls.
defers() {
	wanted=$1 before_defers=$(deferred)
	shift
	"$@"
	[ $(($(deferred) - before_defers)) -eq "$wanted" ] ||
		fail "$*: $(($(deferred) - before_defers)) deferred calls, not $wanted"
}

# troubles KIND FIELD N COMMAND...: the command makes KIND's FIELD in counters grow by N.
troubles() {
	kind=$1 field=$2 wanted=$3 before_trouble=$(counter "argument $1" "$2")
	shift 3
	"$@"
	now=$(($(counter "argument $kind" "$field") - before_trouble))
	[ "$now" -eq "$wanted" ] || fail "$*: $kind $field grew by $now, not $wanted"
}

# --- A value that a rule denies, and one beside it ---------------------------------------------

rules "deny kvm-vm $REGION if flags any-of KVM_MEM_READONLY errno EDOM" \
	"deny kvm-vm $REGION if guest_phys_addr + memory_size > 4M errno ERANGE" \
	"deny kvm-vm $REGION if slot in {7..9} errno EXDEV"
# The first call of a process makes its window, where one may sleep; the others are judged in the probe.
defers 1 expect ok kvm-vm $REGION valid
defers 1 expect EDOM kvm-vm $REGION valid,4.4=2
defers 1 expect ok kvm-vm $REGION valid,4.4=1
defers 1 must client bench --name short --batches 10 --on kvm-vm:$REGION:valid >/dev/null
expect ERANGE kvm-vm $REGION valid,8.8=0x3f1000
expect ERANGE kvm-vm $REGION valid,8.8=0xfffffffffffff000
expect ok kvm-vm $REGION valid,8.8=0x3f0000
expect ok kvm-vm $REGION valid,0.4=6
expect EXDEV kvm-vm $REGION valid,0.4=7
expect EXDEV kvm-vm $REGION valid,0.4=9
expect ok kvm-vm $REGION valid,0.4=10
[ "$(counter "command kvm-vm $REGION" denied)" -eq 5 ] || fail "5 denials were not counted as 5"
ok "$REGION: flags, a sum, a set of slots"

rules 'deny kvm-vm KVM_IRQFD if gsi >= 24 errno EDOM' \
	'deny kvm-vm KVM_IOEVENTFD if len == 2 and flags has KVM_IOEVENTFD_FLAG_PIO errno EXDEV'
expect not:EDOM kvm-vm KVM_IRQFD valid
expect EDOM kvm-vm KVM_IRQFD valid,4.4=24
expect EXDEV kvm-vm KVM_IOEVENTFD valid
expect ok kvm-vm KVM_IOEVENTFD valid,16.4=4
ok "KVM_IRQFD, KVM_IOEVENTFD"

rules 'deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 0x40000000 and ebx has 0x4) errno EDOM'
expect ok kvm-vcpu KVM_SET_CPUID2 valid
defers 1 expect EDOM kvm-vcpu KVM_SET_CPUID2 zero,0.4=3,88.4=0x40000000,104.4=5
defers 1 expect ok kvm-vcpu KVM_SET_CPUID2 zero,0.4=3,88.4=0x40000000,104.4=3
expect ok kvm-vcpu KVM_SET_CPUID2 zero,0.4=3,88.4=0x40000000,64.4=4
# The entry is there, and the caller says that there are less.
expect ok kvm-vcpu KVM_SET_CPUID2 zero,0.4=2,88.4=0x40000000,104.4=4
expect ok kvm-vcpu KVM_SET_CPUID2 zero
troubles too-big denied 1 expect E2BIG kvm-vcpu KVM_SET_CPUID2 zero,0.4=257
troubles too-big denied 1 expect E2BIG kvm-vcpu KVM_SET_CPUID2 zero,0.4=0xffffffff
ok "KVM_SET_CPUID2: any entry, no entry, more than the kernel takes"

rules 'deny kvm-vcpu KVM_SET_MSRS if any entries (index == 0x10 and data != 0) errno EXDEV'
expect ok kvm-vcpu KVM_SET_MSRS valid
expect EXDEV kvm-vcpu KVM_SET_MSRS valid,16.8=1
expect EXDEV kvm-vcpu KVM_SET_MSRS valid,0.4=2,24.4=0x10,32.8=9
client try kvm-vcpu KVM_SET_MSRS valid | grep -q '^ok 1$' || fail "one MSR was not set"
ok "KVM_SET_MSRS"

rules 'deny kvm-vm KVM_SET_GSI_ROUTING if any entries (u.msi.address_lo < 0xfee00000) errno ERANGE' \
	'deny kvm-vm KVM_SET_GSI_ROUTING if count(entries) > 2 errno EDOM'
expect not:ERANGE kvm-vm KVM_SET_GSI_ROUTING valid
expect ERANGE kvm-vm KVM_SET_GSI_ROUTING valid,24.4=0xfed00000
expect EDOM kvm-vm KVM_SET_GSI_ROUTING zero,0.4=3,24.4=0xfee00000,72.4=0xfee00000,120.4=0xfee00000
ok "KVM_SET_GSI_ROUTING: a member of a union in an array, a count"

rules 'deny kvm-vm KVM_ENABLE_CAP if cap == KVM_CAP_X86_USER_SPACE_MSR and args[0] != 0 errno EDOM'
expect ok kvm-vm KVM_ENABLE_CAP valid
expect EDOM kvm-vm KVM_ENABLE_CAP valid,8.8=1
expect not:EDOM kvm-vm KVM_ENABLE_CAP valid,0.4=1,8.8=1
rules 'deny kvm-vcpu KVM_SET_XSAVE if region[128] any-of 0x4 errno EXDEV'
# 512 and more bytes are too many for a probe.
defers 1 expect ok kvm-vcpu KVM_SET_XSAVE valid,512.4=3
defers 1 expect EXDEV kvm-vcpu KVM_SET_XSAVE valid,512.4=7
rules 'deny kvm-vm KVM_X86_SET_MSR_FILTER if any ranges (base == 0x174 and nmsrs > 0) errno ERANGE'
expect ok kvm-vm KVM_X86_SET_MSR_FILTER zero,40.4=0x174
expect ERANGE kvm-vm KVM_X86_SET_MSR_FILTER zero,40.4=0x174,36.4=8
expect not:ERANGE kvm-vm KVM_X86_SET_MSR_FILTER zero,40.4=0x175,36.4=8
ok "KVM_ENABLE_CAP, KVM_SET_XSAVE, KVM_X86_SET_MSR_FILTER"

# --- 32-bit callers, whose structs look different ----------------------------------------------

rules 'deny kvm-vm KVM_GET_DIRTY_LOG if slot == 0 and dirty_bitmap > 0xffff errno EXDEV' \
	'deny kvm-vm KVM_X86_SET_MSR_FILTER if any ranges (base == 0x174 and nmsrs > 0) errno ERANGE'
compat() {
	want=$1
	shift
	answer=$(compat32 try "$@")
	case $answer in "$want"*) ;; *) fail "a 32-bit process, $*: $answer, not $want" ;; esac
}
compat 'errno EXDEV' kvm-vm KVM_GET_DIRTY_LOG dirtylog
compat 'errno ERANGE' kvm-vm KVM_X86_SET_MSR_FILTER msrfilter
rules 'deny kvm-vm KVM_GET_DIRTY_LOG if slot != 0 errno EXDEV' \
	'deny kvm-vm KVM_X86_SET_MSR_FILTER if any ranges (base != 0x174 and nmsrs > 0) errno ERANGE'
compat ok kvm-vm KVM_GET_DIRTY_LOG dirtylog
compat ok kvm-vm KVM_X86_SET_MSR_FILTER msrfilter
expect ok kvm-vm KVM_GET_DIRTY_LOG valid
expect EXDEV kvm-vm KVM_GET_DIRTY_LOG valid,0.4=1
# The pointer of a 32-bit caller ends where the padding begins.
rules 'deny kvm-vm KVM_GET_DIRTY_LOG if dirty_bitmap < 0xfffffffe errno EXDEV'
for place in '' @absent; do
	expect EXDEV kvm-vm KVM_GET_DIRTY_LOG valid,12.4=1$place --compat
	expect not:EXDEV kvm-vm KVM_GET_DIRTY_LOG valid,12.4=1$place
done
rules 'deny kvm-vm KVM_GET_DIRTY_LOG if slot == 0 errno EXDEV' \
	"deny kvm-vm $REGION if slot == 1 errno ERANGE" \
	'deny kvm-vcpu KVM_SET_CPUID2 if count(entries) == 3 errno EDOM'
expect EXDEV kvm-vm KVM_GET_DIRTY_LOG valid@absent --compat
# The client makes a memslot for itself first, with 64 bits: each of both has its first call.
defers 2 expect ERANGE kvm-vm $REGION valid@half-absent.2 --compat
defers 2 expect ok kvm-vm $REGION valid,0.4=2@half-absent.2 --compat
expect EDOM kvm-vcpu KVM_SET_CPUID2 zero,0.4=3 --compat
ok "32-bit callers: their own layouts, through both handlers"

# --- Memory that comes when it is touched ------------------------------------------------------

rules "deny kvm-vm $REGION if slot == 7 errno EXDEV" \
	"deny kvm-vm $REGION if memory_size > 64K errno ERANGE"
for place in absent half-absent.8 half-absent.17; do
	before=$(counter "command kvm-vm $REGION" calls)
	# The client makes a memslot for itself as well, its first call.
	defers 2 expect ok kvm-vm $REGION valid@$place
	[ $(($(counter "command kvm-vm $REGION" calls) - before)) -eq 2 ] ||
		fail "$place: a deferred call was not counted once"
	defers 2 expect EXDEV kvm-vm $REGION valid,0.4=7@$place
	defers 2 expect ERANGE kvm-vm $REGION valid,16.8=0x11000@$place
done
ok "an argument on a page that was never touched, or half on it: judged all the same"

mkfifo /tmp/in /tmp/out
client session </tmp/in >/tmp/out 2>&1 &
exec 3>/tmp/in 4</tmp/out
ask() {
	echo "$1" >&3
	read -r answer <&4
	case $answer in "$2"*) ;; *) fail "session: $1 -> $answer, not $2" ;; esac
}
ask open ok
ask "try kvm-vm KVM_GET_DIRTY_LOG valid,0.4=1" errno
defers 1 ask "try kvm-vm $REGION valid,4.4=1@absent" ok
ask "try kvm-vm KVM_GET_DIRTY_LOG valid,0.4=1" ok
defers 1 ask "try kvm-vm $REGION valid,16.8=0@absent" ok
ask "try kvm-vm KVM_GET_DIRTY_LOG valid,0.4=1" errno
echo quit >&3
exec 3>&- 4<&-
ok "a deferred call that is allowed has its effect"

# --- Memory that never comes -------------------------------------------------------------------

for address in bad valid@unmapped valid@half-unmapped.16 0x7fffffffeff0 0x7ffffffff000 \
	0xffffffffffffffff 0xfffffffffffffff0 0xffffffff81000000 8 0; do
	troubles unreadable denied 1 expect EFAULT kvm-vm $REGION $address
done
rules "deny kvm-vm KVM_SET_GSI_ROUTING if any entries (gsi == 1)"
troubles unreadable denied 1 expect EFAULT kvm-vm KVM_SET_GSI_ROUTING zero,0.4=2@half-unmapped.24
troubles unreadable denied 1 expect EFAULT kvm-vm KVM_SET_GSI_ROUTING zero,0.4=2@half-unmapped.2
# The handler would have refused the flags, and not looked further.
troubles unreadable denied 1 expect EFAULT kvm-vm KVM_SET_GSI_ROUTING zero,0.4=2,4.4=1@half-unmapped.24
troubles too-big denied 1 expect E2BIG kvm-vm KVM_SET_GSI_ROUTING zero,0.4=5000
# What no rule looks at need not be there.
troubles unreadable denied 0 expect not:EXDEV kvm-vm KVM_SET_GSI_ROUTING zero@half-unmapped.8
rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION2 if slot == 9 errno EXDEV'
troubles unreadable denied 0 expect EFAULT kvm-vm KVM_SET_USER_MEMORY_REGION2 valid@half-unmapped.16
# Where the memory ends before what a handler may read, and a rule looks at the state as well.
rules 'deny kvm-vcpu KVM_SET_XSAVE if region[0] == 0x11223344 and vm.vcpus >= 1 errno EXDEV'
for first in 0x11223344 0 1; do
	want=EXDEV
	[ $first = 0x11223344 ] || want=not:EXDEV
	for place in '' @half-unmapped.4096 @absent; do
		troubles unreadable denied 0 expect $want kvm-vcpu KVM_SET_XSAVE zero,0.4=$first$place
	done
done
ok "no memory at all, half of it, kernel memory, the end of the address space: EFAULT, counted"

# --- Permissive --------------------------------------------------------------------------------

rules "deny kvm-vm $REGION if slot == 1 errno EXDEV" \
	'deny kvm-vm KVM_SET_GSI_ROUTING if any entries (gsi == 1)' \
	'deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 1) errno EDOM'
printf 0 >$gate/enforce
expect ok kvm-vm $REGION valid
expect ok kvm-vm $REGION valid@absent
[ "$(counter 'rule line=4' would-deny)" -eq 2 ] || fail "2 calls that would be denied were not counted"
[ "$(counter 'rule line=4' denied)" -eq 0 ] || fail "a call was counted as denied in permissive mode"
troubles unreadable would-deny 1 expect EFAULT kvm-vm $REGION bad
troubles unreadable denied 0 expect EFAULT kvm-vm $REGION bad
# These are the handlers' own errors.
troubles unreadable would-deny 1 expect EINVAL kvm-vm KVM_SET_GSI_ROUTING zero,0.4=2,4.4=1@half-unmapped.24
troubles too-big would-deny 1 expect EINVAL kvm-vm KVM_SET_GSI_ROUTING zero,0.4=5000
troubles too-big would-deny 1 expect E2BIG kvm-vcpu KVM_SET_CPUID2 zero,0.4=300
printf 1 >$gate/enforce
ok "permissive: what would be refused goes on, and is counted"

# --- Others who look at the same function ------------------------------------------------------

tracing=/sys/kernel/tracing
[ -e $tracing/kprobe_events ] || mount -t tracefs tracefs $tracing
rules "deny kvm-vm $REGION if slot == 7 errno EXDEV"
traced() {
	defers 2 expect ok kvm-vm $REGION valid@absent
	defers 2 expect EXDEV kvm-vm $REGION valid,0.4=7@absent
}
if [ -e $tracing/kprobe_events ]; then
	echo 'r:stranger kvm_vm_ioctl' >$tracing/kprobe_events || fail "no kretprobe could be made"
	echo 1 >$tracing/events/kprobes/stranger/enable || fail "the kretprobe could not be enabled"
	traced
	grep -q 'stranger:' $tracing/trace || fail "the kretprobe saw nothing"
	echo 0 >$tracing/events/kprobes/stranger/enable
	echo >$tracing/kprobe_events
else
	echo "this kernel has no kprobe events"
fi
if grep -q function_graph $tracing/available_tracers 2>/dev/null; then
	echo kvm_vm_ioctl >$tracing/set_ftrace_filter
	echo function_graph >$tracing/current_tracer
	traced
	grep -q kvm_vm_ioctl $tracing/trace || fail "the tracer saw nothing"
	echo nop >$tracing/current_tracer
	echo >$tracing/set_ftrace_filter
else
	echo "this kernel has no function graph tracer"
fi
ok "with tracers that put another return address on the stack"

# --- A call that waits for its argument --------------------------------------------------------

# stall ARGUMENT: a call whose argument does not come, until `serve`.
stall() {
	rm -f /tmp/hold /tmp/stall
	mkfifo /tmp/hold
	client stall --on "kvm-vm:$REGION:$1" </tmp/hold >/tmp/stall 2>&1 &
	stall=$!
	exec 5>/tmp/hold
	until_says /tmp/stall stalled "the call did not stall"
}
# serve ANSWER: lets the argument come.
serve() {
	exec 5>&-
	wait $stall || fail "$(cat /tmp/stall)"
	tail -n 1 /tmp/stall | grep -q "^$1" || fail "the stalled call: $(tail -n 1 /tmp/stall), not $1"
}

rules "deny kvm-vm $REGION if slot == 1 errno EXDEV"
stall valid@stuck.0
began=$(seconds)
for errno in ERANGE EBUSY EDOM; do rules "deny kvm-vm $REGION if slot == 1 errno $errno"; done
[ $(($(seconds) - began)) -lt 20 ] || fail "three loads took $(($(seconds) - began)) s beside a stalled call"
serve 'errno EDOM'
ok "a stalled call holds no load up, and is judged by the policy of the end"

stall valid@stuck.0
kill -9 $stall
wait $stall 2>/dev/null
exec 5>&-
[ "$(counter 'argument unreadable' denied)" -gt 0 ] || fail "the call of a dead task is not counted"
ok "a fatal signal ends the wait"

# going: rmmod is under way, and has to wait.
going() {
	rmmod portcullis 2>/tmp/rmmod 5>&- &
	going=$!
	sleep 3
	kill -0 $going 2>/dev/null || fail "rmmod did not wait: $1 ($(cat /tmp/rmmod))"
	grep -q '^portcullis ' /proc/modules || fail "the module has gone: $1"
}
# gone: rmmod has come to its end.
gone() {
	wait $going || fail "rmmod failed: $(cat /tmp/rmmod)"
	[ ! -e $gate ] || fail "the module did not go"
}

stall valid@stuck.2
going "a call waits for what a rule looks at"
serve 'errno EDOM'
gone
ok "rmmod waits for a call that waits for its argument"

insert
# The handler reads more than the rule does, and is to find it beside what was judged.
rules "deny kvm-vm $REGION if slot == 7 errno EDOM"
stall valid@stuck.8
going "a call waits for what its handler alone looks at"
serve ok
gone
ok "rmmod waits for a call that has been judged and waits for the rest of its argument"

insert
rules "deny kvm-vm $REGION if slot == 1 errno EXDEV"
stall valid@stuck.0
going "a call waits, whose task is about to die"
kill -9 $stall
wait $stall 2>/dev/null
exec 5>&-
gone
ok "rmmod goes on when the task dies"

# --- Policies come and go under deferred calls -------------------------------------------------

insert
whole() {
	echo "policy fields-$1 version 1"
	echo "profile other"
	echo "    default allow"
	for low in 1 2; do
		echo "    deny kvm-vcpu KVM_SET_CPUID2 if all entries (function in {$low..0xfff}) errno $1"
	done
	echo "    deny kvm-vcpu KVM_SET_CPUID2 if no entries (function == 0) errno $1"
	echo "    deny kvm-vcpu KVM_SET_CPUID2 if any entries (function == 0) errno $1"
	echo "end"
}
whole EXDEV >/tmp/a
whole EDOM >/tmp/b
must client write $gate/policy /tmp/a --expect ok >/dev/null
client storm --threads 4 --vcpus 2 --seconds 500 --on kvm-vcpu:KVM_SET_CPUID2:zero,0.4=40 \
	--on kvm-vcpu:KVM_SET_CPUID2:zero,0.4=3,8.4=1,48.4=1,88.4=1 --only EXDEV,EDOM --both >/tmp/storm 2>&1 &
storm=$!
replace_twice() {
	for text in /tmp/b /tmp/a; do must client write $gate/policy $text --expect ok >/dev/null; done
}
rounds_until 10 8 replace_twice
loads=$((2 * rounds))
kill $storm || fail "the storm had ended before"
wait $storm || fail "$(cat /tmp/storm)"
cat /tmp/storm
counted=$(counter 'command kvm-vcpu KVM_SET_CPUID2' denied)
made=$(sed -n 's/^total[^0-9]*\([0-9]*\).*/\1/p' /tmp/storm)
[ "$counted" -eq "$made" ] || fail "$made calls were refused, $counted are counted"
[ "$(deferred)" -eq "$made" ] || fail "$made calls were deferred, $(deferred) are counted"
ok "$loads replacements under $made deferred calls: none judged by half a policy, none uncounted"

must rmmod portcullis
