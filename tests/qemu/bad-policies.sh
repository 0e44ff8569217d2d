# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A text that is no policy changes nothing, and is diagnosed in status and in the log.
# The same files as the engine's own tests, through the real kernel.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
cp $gate/policy /tmp/before

# stays NAME: the policy from above is in force.
stays() {
	cmp -s $gate/policy /tmp/before || fail "$1: the policy has changed"
	[ "$(sed -n 's/^revision: //p' $gate/status)" = 2 ] || fail "$1: the revision has changed"
	expect EACCES kvm-vm KVM_CREATE_IRQCHIP
}

n=0
for file in /policies/bad/*.policy; do
	name=$(basename "$file")
	client write $gate/policy "$file" --expect EBADMSG >/tmp/answer 2>&1 || fail "$name: $(cat /tmp/answer)"
	sed '1,/^last load: refused with EBADMSG$/d' $gate/status >/tmp/diagnosis
	cmp -s /tmp/diagnosis "${file%.policy}.expected" || {
		diff "${file%.policy}.expected" /tmp/diagnosis
		fail "$name: status has another diagnosis"
	}
	# The dry run says the same.
	client write $gate/check "$file" --read-back --expect ok >/tmp/answer 2>&1 || fail "$name: check: $(cat /tmp/answer)"
	sed 1d /tmp/answer | cmp -s - "${file%.policy}.expected" || {
		sed 1d /tmp/answer | diff "${file%.policy}.expected" -
		fail "$name: check has another diagnosis"
	}
	cmp -s $gate/policy /tmp/before || fail "$name: the policy has changed"
	n=$((n + 1))
done
stays "after $n bad policies"
[ $n -ge 40 ] || fail "only $n bad policies were tried"
ok "$n bad policies: each refused with EBADMSG and its exact diagnosis in status and in check"

printf 'policy x version 1\nprofile other\n    deflaut allow\nend\n' >/tmp/bad
must client write $gate/policy /tmp/bad --expect EBADMSG >/dev/null
dmesg | tail -n 6 | grep -q '3:5' || fail "the kernel's log does not say 3:5"
ok "the kernel's log has the diagnosis"

client write $gate/policy /dev/null >/tmp/answer 2>&1
stays "an empty text"
ok "an empty text: $(cat /tmp/answer)"

head -c 2097152 /dev/zero | tr '\0' '#' >/tmp/long
must client write $gate/policy /tmp/long --expect EFBIG >/dev/null
stays "2 MiB"
grep -q '1048576' $gate/status || fail "status does not name the limit"
ok "2 MiB: EFBIG"

head -c 4096 /dev/urandom >/tmp/binary
must client write $gate/policy /tmp/binary --expect EBADMSG >/dev/null
stays "binary"
printf 'policy x version 1\nprofile other\n    default allow\0\nend\n' >/tmp/nul
must client write $gate/policy /tmp/nul --expect EBADMSG >/dev/null
stays "an embedded NUL"
ok "binary and NUL: EBADMSG"

head -c -4 /tmp/before >/tmp/cut
must client write $gate/policy /tmp/cut --expect EBADMSG >/dev/null
stays "a text without its end"
ok "a text that was cut off: EBADMSG"

for file in /policies/good/*.policy; do
	must client write $gate/policy "$file" --expect ok >/dev/null
	cmp -s $gate/policy "$file" || fail "$file: policy does not read back as it was written"
done
grep -q '^last load: accepted$' $gate/status || fail "status does not say that the last load was accepted"
ok "good policies read back to the byte"

n=0
for file in /policies/odd/*.policy; do
	name=$(basename "$file")
	{ echo ok; cat "${file%.policy}.expected"; } >/tmp/wanted
	must client write $gate/check "$file" --read-back --expect ok >/tmp/answer
	sed 1d /tmp/answer | cmp -s - /tmp/wanted || {
		sed 1d /tmp/answer | diff /tmp/wanted -
		fail "$name: check has other warnings"
	}
	must client write $gate/policy "$file" --expect ok >/dev/null
	count=$(grep -c '^[0-9]*:[0-9]*: warning: ' "${file%.policy}.expected")
	sed '1,/^last load: accepted with /d' $gate/status | cmp -s - "${file%.policy}.expected" ||
		fail "$name: status has other warnings"
	grep -Eq "^last load: accepted with $count warnings?\$" $gate/status || fail "$name: $(grep '^last load' $gate/status)"
	grep -m 1 'warning: ' "${file%.policy}.expected" | cut -c1-60 >/tmp/first
	dmesg | tail -n 30 | grep -qFf /tmp/first || fail "$name: the kernel's log has no warning"
	n=$((n + 1))
done
[ $n -ge 5 ] || fail "only $n odd policies were tried"
ok "$n odd policies: accepted, their warnings in check, in status and in the log"

rules 'deny vhost-net VHOST_SET_OWNER' 'deny sev *' 'deny kvm-vm KVM_CREATE_IRQCHIP'
grep -q '^last load: accepted$' $gate/status || fail "every surface is guarded: $(sed -n '/^last load/,$p' $gate/status)"
ok "rules for every surface are taken without a warning"
