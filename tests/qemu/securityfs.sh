# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Who may write, and how: the contract of the files in securityfs.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'
cp $gate/policy /tmp/before
cp $gate/policy /tmp/good

# refused WHAT ERRNO OPTION...: a write with OPTION is refused with ERRNO and changes nothing.
refused() {
	what=$1 errno=$2
	shift 2
	client write $gate/policy /tmp/good --expect "$errno" "$@" >/tmp/answer 2>&1 ||
		fail "$what: $(cat /tmp/answer)"
	[ "$(sed -n 's/^revision: //p' $gate/status)" = 2 ] || fail "$what: the revision has changed"
	ok "$what: $errno"
}
refused "a writer without CAP_MAC_ADMIN" EPERM --drop-cap
refused "a writer that has it in a user namespace of its own only" EPERM --userns
# Somebody without the right neither hides the last diagnosis nor fills the log.
for try in 3 4 5; do refused "try $try" EPERM --drop-cap; done
grep -q '^last load: accepted$' $gate/status || fail "a write without the right is in status"
said=$(dmesg | grep -c 'a write was refused (EPERM), try')
[ "$said" -eq 3 ] || fail "of 5 writes without the right $said were printed, not the 1st, 2nd and 4th"
ok "refusals for the lack of CAP_MAC_ADMIN: not in status, and ever more seldom in the log"
refused "a write at an offset" EINVAL --at 7
refused "a text in two pieces" EBADMSG --chunk 40
client write $gate/policy /tmp/good --twice --expect EBUSY >/tmp/answer 2>&1 || fail "twice: $(cat /tmp/answer)"
[ "$(sed -n 's/^revision: //p' $gate/status)" = 3 ] || fail "of two writes not exactly one counted"
ok "a second write on one open file: EBUSY"
must client write $gate/policy /tmp/good --drop-after-open --expect ok >/dev/null
ok "the opener's capability counts: dropping it after open(2) takes nothing away"
for option in --drop-cap --userns; do
	printf 0 | client write $gate/enforce - $option --expect EPERM >/tmp/answer 2>&1 || fail "enforce: $(cat /tmp/answer)"
done
[ "$(cat $gate/enforce)" = 1 ] || fail "the mode has changed"
ok "enforce: EPERM in the same cases"

grep -q '^schema: [1-9][0-9]* commands; unknown to it: none; not in this kernel: none$' $gate/status ||
	fail "status says something else of the schema: $(grep ^schema $gate/status)"
ok "the schema has the ioctls of this kernel's headers, and status says so"

# check: the same, and nothing changes whatever is written.
cp $gate/status /tmp/status
for row in 'EPERM --drop-cap' 'EPERM --userns' 'EINVAL --at 7' 'EBUSY --twice'; do
	# shellcheck disable=SC2086  # the option and its value
	client write $gate/check /tmp/good --expect $row >/tmp/answer 2>&1 || fail "check, $row: $(cat /tmp/answer)"
done
head -c 2097152 /dev/zero | tr '\0' '#' >/tmp/long
must client write $gate/check /tmp/long --expect EFBIG >/dev/null
printf 'policy x version 1\nprofile other\n    deflaut allow\nend\n' >/tmp/bad
must client write $gate/check /tmp/bad --read-back --expect ok >/tmp/answer
grep -q '^3:5: .*default' /tmp/answer || fail "check does not tell the mistake: $(cat /tmp/answer)"
must client write $gate/check /tmp/good --read-back --expect ok >/tmp/answer
[ "$(sed 1d /tmp/answer)" = ok ] || fail "check of a good policy: $(cat /tmp/answer)"
exec 5<>$gate/check
dd if=/tmp/bad bs=1M >&5 2>/dev/null || fail "a shell could not write to check"
grep -q '^3:5' <&5 || fail "a shell could not read the answer"
exec 5>&-
[ -z "$(cat $gate/check)" ] || fail "check answers who has not asked"
cmp -s $gate/status /tmp/status || fail "a dry run changed something: $(diff /tmp/status $gate/status)"
ok "check: refuses what policy refuses, answers on the same open file, changes nothing"

# schema
for line in 'surface kvm-vm guarded=yes' 'surface sev guarded=yes' \
	'command KVM_SET_USER_MEMORY_REGION surface=kvm-vm number=0x4020ae46 .*argument=struct size=32 ' \
	'command KVM_CHECK_EXTENSION surface=kvm-vm ' 'command KVM_CHECK_EXTENSION surface=kvm number=' \
	'field KVM_SET_USER_MEMORY_REGION memory_size layout=all offset=16 width=8 kind=unsigned' \
	'field KVM_SET_CPUID2 entries layout=all offset=8 kind=array stride=40 counted-by=0:4 limit=' \
	'element KVM_SET_CPUID2 entries.index layout=all offset=4 width=4 kind=unsigned' \
	'field KVM_IOEVENTFD fd layout=all offset=20 width=4 kind=signed' \
	'field KVM_X86_SET_MSR_FILTER ranges layout=compat offset=4 kind=array stride=16 count=16' \
	'variant KVM_MEMORY_ENCRYPT_OP data.launch_start ' 'constant KVM_MEM_READONLY value=0x2$'; do
	grep -q "^$line" $gate/schema || fail "schema has no line: $line"
done
grep -vE '^(surface|command|field|element|variant|constant) [A-Za-z0-9_-]+ ([a-z_0-9.A-Z]+ )?[a-z-]+=' $gate/schema &&
	fail "schema has a line of another kind"
lines=$(wc -l <$gate/schema)
[ "$(sort -u $gate/schema | wc -l)" -eq "$lines" ] || fail "schema says something twice"
# Each read writes it anew: pieces of any size must fit.
cat $gate/schema >/tmp/whole
for size in 4096 9973 1M; do
	dd if=$gate/schema bs=$size 2>/dev/null | cmp -s - /tmp/whole || fail "schema reads differently in pieces of $size"
done
client write $gate/schema /tmp/good >/tmp/answer 2>&1 && fail "schema took a write"
ok "schema: $lines lines, $(wc -c </tmp/whole) bytes"

for row in policy:600 check:600 enforce:600 status:400 counters:400 schema:444; do
	mode=$(stat -c %a $gate/${row%:*})
	[ "$mode" = "${row#*:}" ] || fail "${row%:*} has mode $mode"
done
for file in status counters; do
	client write $gate/$file /tmp/good >/tmp/answer 2>&1 && fail "$file took a write"
done
ok "modes are as documented; what is read-only takes no write"

for file in policy enforce status counters; do
	[ "$(tail -c 1 $gate/$file | od -An -tx1 | tr -d ' ')" = 0a ] || fail "$file does not end in a newline"
	# Read in bytes of one: what a reader sees is what was true when it opened the file.
	dd if=$gate/$file bs=1 2>/dev/null | cmp -s - $gate/$file || fail "$file reads differently in small pieces"
done
ok "each file ends in a newline, and reads the same in pieces of one byte"

# As the README says: dd writes a long text in one piece, cat in several.
{
	head -c 300000 /dev/zero | tr '\0' '#'
	echo
	cat /tmp/good
} >/tmp/long
cat /tmp/long >$gate/policy 2>/dev/null && fail "a text in pieces was taken"
must dd if=/tmp/long of=$gate/policy bs=1M 2>/dev/null
cmp -s $gate/policy /tmp/long || fail "300 KB did not read back as they were written"
must cp /tmp/good $gate/policy
ok "a text of 300 KB by dd, a short one by cp"

# What was opened before stays what it was when the policy changes between two reads.
cp $gate/policy /tmp/whole
exec 5<$gate/policy
dd bs=1 count=10 <&5 >/tmp/seen 2>/dev/null
rules 'deny kvm-vm KVM_CREATE_VCPU errno EDOM'
cmp -s $gate/policy /tmp/whole && fail "the policy did not change"
cat <&5 >>/tmp/seen
exec 5<&-
cmp -s /tmp/seen /tmp/whole || fail "a reader saw two policies in one"
ok "a reader sees one moment, whatever is loaded meanwhile"

exec 5<$gate/status
rmmod portcullis 2>/dev/null && fail "the module went while one of its files was open"
exec 5<&-
must rmmod portcullis
[ ! -e $gate ] || fail "the folder is still there"
ok "an open file holds the module"
