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

# counter LINE-PATTERN FIELD: a figure from counters; 0 for what is not there.
counter() {
	sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" $gate/counters | grep -m 1 . || echo 0
}

# armed N: N sites are armed.
armed() {
	n=$(grep -c 'state=armed' $gate/status)
	[ "$n" -eq "$1" ] || fail "$n sites are armed, not $1"
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
