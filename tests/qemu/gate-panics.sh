# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# With panic_if_dead=1 the host stops when the gate is dead, and not before.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
# Without it a dead gate is a warning.
insert
printf 0 >/sys/kernel/debug/kprobes/enabled
soon "the gate is dead: no probe fires" "Kprobes globally disabled"
printf 1 >/sys/kernel/debug/kprobes/enabled
soon "the gate is alive again" "Kprobes globally enabled"
must rmmod portcullis

insert panic_if_dead=1
is_gate alive
# Modules that come and go, while somebody is looking all the time.
while usleep 10000; do cat $gate/status >/dev/null; done &
reader=$!
for round in 1 2 3; do
	must rmmod kvm_amd
	must rmmod kvm
	load_kvm
	echo "round $round"
done
kill $reader
is_gate alive
armed 6
[ "$(said "the gate is dead")" -eq 1 ] || fail "the log tells of a gate that was not dead"
ok "the host lives as long as the gate does, also while modules come and go"
echo "now the gate dies"
printf 0 >/sys/kernel/debug/kprobes/enabled
sleep 5
fail "the host lives, and the gate does not"
