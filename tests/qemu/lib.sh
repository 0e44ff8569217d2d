# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# What scenarios share. Sourced by them, in the guest.

gate=/sys/kernel/security/portcullis

# What fail says must be seen, wherever the output of the command that failed goes.
exec 9>&1

# fail TEXT: ends the scenario.
fail() {
	{
		echo "FAIL: $*"
		[ ! -e $gate/status ] || sed 's/^/    status | /' $gate/status
		[ ! -e $gate/counters ] || sed 's/^/    counters | /' $gate/counters
	} >&9
	exit 1
}

# ok TEXT: tells what has just been shown.
ok() { echo "ok: $*"; }

# must COMMAND...: the command succeeds.
must() { "$@" || fail "this failed: $*"; }

# load_kvm: real KVM, as the emulated processor offers it.
load_kvm() { must modprobe kvm_amd; [ -c /dev/kvm ] || fail "there is no /dev/kvm"; }

# pass_through: gives QEMU's edu devices to vfio-pci, for a VMM to take.
pass_through() {
	must modprobe vfio_pci
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor" "$device/device" | tr '\n' ' ')" = "0x1234 0x11e8 " ] || continue
		echo vfio-pci >"$device/driver_override"
		echo "${device##*/}" >/sys/bus/pci/drivers_probe
	done
	[ -n "$(find /sys/bus/pci/drivers/vfio-pci -name '0000:*')" ] || fail "vfio-pci drives no device"
}

# insert [PARAMETER...]: loads the module.
insert() { must insmod /portcullis.ko "$@"; }

# policy TEXT: puts a policy in force.
policy() { printf '%s\n' "$1" >/tmp/policy; must client write $gate/policy /tmp/policy --expect ok >/dev/null; }

# rules LINE...: puts a policy with these rules and `default allow` in force.
rules() {
	{
		echo "policy test version 1"
		echo "profile other"
		echo "    default allow"
		for rule in "$@"; do echo "    $rule"; done
		echo "end"
	} >/tmp/policy
	must client write $gate/policy /tmp/policy --expect ok >/dev/null
}

# expect RESULT SURFACE COMMAND [ARGUMENT...]: makes an ioctl and compares its result.
expect() {
	want=$1
	shift
	out=$(client try "$@" --expect "$want" 2>&1) || fail "$*: $out (expected: $want)"
}

# use DEVICE [OPTION...]: uses a device from the first call to the last byte. Sets $steps.
use() {
	client device "$@" >/tmp/use 2>&1 || {
		sed 's/^/    device | /' /tmp/use >&9
		fail "client device $*"
	}
	steps=$(tail -n 1 /tmp/use)
}

# denied N [FIELD]: the rules in force have denied N calls together, and each of them one at least if N
# is not 0. With FIELD would-deny: would have.
denied() {
	field=${2:-denied}
	grep '^rule .* action=deny ' $gate/counters | sed "s/.* $field=\([0-9]*\).*/\1/" >/tmp/denied
	n=$(awk '{ n += $1 } END { print n + 0 }' /tmp/denied)
	[ "$n" -eq "$1" ] || fail "$field is $n in all, not $1"
	[ "$1" -eq 0 ] || ! grep -qx 0 /tmp/denied || fail "a rule has denied nothing"
}

# counter LINE-PATTERN FIELD: a figure from counters; 0 for what is not there.
counter() {
	sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" $gate/counters | grep -m 1 . || echo 0
}

# armed N: N sites of KVM are armed. (Where kvm_amd brings ccp along, that has one, too.)
armed() {
	n=$(grep -c '^site: .* module=kvm .*state=armed' $gate/status)
	[ "$n" -eq "$1" ] || fail "$n sites of kvm are armed, not $1"
}

# state SYMBOL: what status says of a site.
state() { sed -n "s/^site: $1 .*state=\([a-z]*\).*/\1/p" $gate/status; }

# is_gate TEXT: what status says of the gate.
is_gate() { grep -q "^gate: $1\$" $gate/status || fail "the gate is not '$1'"; }

# mark TEXT: puts a line into the kernel's log.
mark() { echo "mark: $1" >/dev/kmsg; }

# said TEXT: how often the kernel's log has it.
said() { dmesg | grep -cF "$1"; }

# soon TEXT MARK: waits for TEXT in the kernel's log, at most a second after MARK, the last of each.
# It reads no file of the module: what it waits for comes by itself.
soon() {
	# A machine that has other things to do is late with everything: how late with a sleep like that of
	# the module, it says itself.
	before_nap=$(cut -d' ' -f1 /proc/uptime | tr -d .)
	usleep 400000
	late_nap=$((($(cut -d' ' -f1 /proc/uptime | tr -d .) - before_nap) * 10 - 400))
	within=$((1000 + 3 * late_nap))
	tries=0
	while :; do
		late=$(dmesg | sed 's/^\[ *\([0-9.]*\)\]/\1/' | awk -v text="$1" -v mark="$2" '
			index($0, mark) { since = $1; found = 0 }
			index($0, text) && since && !found { found = 1; print_late = $1 - since }
			END { if (found) printf "%d\n", print_late * 1000 }')
		[ -z "$late" ] || break
		tries=$((tries + 1))
		[ $tries -lt 30 ] || fail "the log does not say: $1"
		usleep 100000
	done
	[ "$late" -le $within ] || fail "the log says it $late ms after '$2', not within $within: $1"
}

# until_says FILE TEXT OTHERWISE: waits until FILE has TEXT, ten seconds at most.
until_says() {
	tries=0
	until grep -q "$2" "$1"; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || fail "$3: $(cat "$1")"
		usleep 50000
	done
}

# seconds: since the guest has booted.
seconds() { cut -d. -f1 /proc/uptime; }

# rounds_until SECONDS LEAST COMMAND...: repeats COMMAND for so long, and at least so often: how much
# a guest gets done in a second depends on what else the machine is doing. Sets $rounds.
rounds_until() {
	end=$(($(seconds) + $1)) least=$2 rounds=0
	shift 2
	while [ $rounds -lt "$least" ] || [ "$(seconds)" -lt $end ]; do
		"$@"
		rounds=$((rounds + 1))
	done
}

# denials: how many calls were refused since the module came.
denials() { sed -n 's/^command .* denied=\([0-9]*\) .*/\1/p' $gate/counters | awk '{ n += $1 } END { print n + 0 }'; }

# act STEP...: a VMM takes these steps, and each is answered as it says: `client act --help`.
act() { as client "$@"; }

# as PROGRAM STEP...: the same, run as another program.
as() {
	program=$1
	shift
	out=$("$program" act "$@" 2>&1) || fail "$program: $out"
}

# vmm NAME [COMMAND...]: starts a VMM that takes a step whenever it is told to. COMMAND is the client, or
# begins what becomes the client. Sets $pid.
vmm() {
	name=$1
	shift
	[ $# -gt 0 ] || set -- client
	rm -f "/tmp/$name.in"
	mkfifo "/tmp/$name.in"
	: >"/tmp/$name.out"
	"$@" act --listen <>"/tmp/$name.in" >"/tmp/$name.out" 2>&1 &
	pid=$!
	# Waits until somebody has opened it, and then until that is no shell any more. A child that ends just
	# then interrupts it.
	until echo sleep 0 >"/tmp/$name.in"; do usleep 10000; done 2>/dev/null
	answered "$name" 0 "sleep 0"
	[ "$answer" = "ok 0" ] || fail "$name: $answer"
}

# tell NAME STEP: sets $answer.
tell() {
	name=$1
	shift
	lines=$(wc -l <"/tmp/$name.out")
	# Opened so, it waits for nobody, should the VMM have gone.
	echo "$*" 1<>"/tmp/$name.in"
	answered "$name" "$lines" "$*"
}

# answered NAME LINES STEP: waits until it has said more than LINES.
answered() {
	tries=0
	while [ "$(wc -l <"/tmp/$1.out")" -le "$2" ]; do
		usleep 10000
		tries=$((tries + 1))
		[ $tries -lt 3000 ] || fail "$1 does not answer: $3"
	done
	answer=$(tail -n 1 "/tmp/$1.out")
}

# hand FROM TO WHAT: one VMM gives another an open file, over a UNIX socket.
hand() {
	rm -f /tmp/socket
	before=$(wc -l <"/tmp/$2.out")
	echo "receive /tmp/socket $3" 1<>"/tmp/$2.in"
	told "$1" ok send /tmp/socket "$3"
	answered "$2" "$before" "receive $3"
	[ "$answer" = "ok 0" ] || fail "$2: receive $3: $answer"
}

# told NAME RESULT STEP: the step is answered with RESULT: ok, `ok 3`, ENAME.
told() {
	who=$1 want=$2
	shift 2
	tell "$who" "$@"
	case $answer in
	"$want" | "$want "* | "errno $want "*) ;;
	*) fail "$who: $*: $answer (expected: $want)" ;;
	esac
}

# leave NAME...: these end.
leave() { for name in "$@"; do echo quit 1<>"/tmp/$name.in"; done; }

# vm_of PID [N]: the line of the VM that PID has made, of its N-th.
vm_of() { grep " pid=$1 " $gate/vms | sed -n "${2:-1}p"; }

# is_vm LINE KEY=VALUE...: the line of a VM says so.
is_vm() {
	line=$1
	shift
	for pair in "$@"; do
		case " $line " in
		*" $pair "*) ;;
		*) fail "of a VM, not $pair: $line" ;;
		esac
	done
}

# vms N: so many VMs are known, soon: the last fd of one may be closed by a process that is ending.
vms() {
	tries=0
	while [ "$(wc -l <$gate/vms)" -ne "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "$(wc -l <$gate/vms) VMs are known, not $1: $(cat $gate/vms)"
		usleep 50000
	done
}
