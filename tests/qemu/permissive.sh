# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Permissive mode lets everything through and counts what enforcing would refuse.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert permissive=1
[ "$(cat $gate/enforce)" = 0 ] || fail "permissive=1 did not start in permissive mode"
grep -q '^mode: permissive$' $gate/status || fail "status does not say permissive"
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'

expect ok kvm-vm KVM_CREATE_IRQCHIP
expect ok kvm-vm KVM_CREATE_IRQCHIP
[ "$(counter 'rule line=4' would-deny)" -eq 2 ] || fail "would-deny is not 2"
[ "$(counter 'rule line=4' denied)" -eq 0 ] || fail "denied is not 0"
ok "permissive: two calls passed, two are counted as would-deny"

must client write $gate/enforce - --expect ok >/dev/null <<-VALUE
	1
VALUE
[ "$(cat $gate/enforce)" = 1 ] || fail "enforce does not read 1"
expect EACCES kvm-vm KVM_CREATE_IRQCHIP
[ "$(counter 'rule line=4' denied)" -eq 1 ] || fail "denied is not 1"
[ "$(counter 'rule line=4' would-deny)" -eq 2 ] || fail "would-deny is not 2 any more"
ok "enforcing: the same call is refused"

printf 0 >$gate/enforce
expect ok kvm-vm KVM_CREATE_IRQCHIP
for bad in 2 01 yes '' '1 '; do
	printf '%s' "$bad" >/tmp/value
	[ -z "$bad" ] || must client write $gate/enforce /tmp/value --expect not:ok >/dev/null
	[ "$(cat $gate/enforce)" = 0 ] || fail "a bad value '$bad' changed the mode"
done
ok "enforce takes 0 and 1, and nothing else"
