# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A policy is replaced under a storm of ioctls on all vCPUs: none is judged by half of one.
# Two policies agree on nothing but being whole: every call gets the errno of one of them.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert

# Each policy takes two rules to cover all arguments, after some bulk: a call that saw half of one
# would get through, or get the errno of its default.
whole() {
	echo "policy storm-$1 version 1"
	echo "profile other"
	echo "    default allow"
	i=0
	while [ $i -lt 200 ]; do
		echo "    deny kvm-vm 0x$(printf %08x $((0x50000000 + i))) errno ENOSYS"
		i=$((i + 1))
	done
	for surface in kvm-vm kvm-vcpu; do
		echo "    deny $surface 0xdead if arg < 100 errno $1"
		echo "    deny $surface 0xdead if arg >= 100 errno $1"
	done
	echo "end"
}
whole EXDEV >/tmp/a
whole EDOM >/tmp/b
must client write $gate/policy /tmp/a --expect ok >/dev/null

client storm --threads 4 --vcpus 2 --seconds 20 --on kvm-vm:0xdead:1 --on kvm-vcpu:0xdead:200 \
	--on kvm-vcpu:0xdead:1 --only EXDEV,EDOM --both >/tmp/storm 2>&1 &
storm=$!
loads=0
while kill -0 $storm 2>/dev/null; do
	for text in /tmp/b /tmp/a; do
		must client write $gate/policy $text --expect ok >/dev/null
		loads=$((loads + 1))
	done
done
wait $storm || fail "$(cat /tmp/storm)"
cat /tmp/storm
revision=$(sed -n 's/^revision: //p' $gate/status)
[ "$revision" -eq $((loads + 2)) ] || fail "revision $revision after $loads replacements"
[ $loads -ge 20 ] || fail "only $loads replacements: the storm met too few"
# Across all those policies no call is lost from the counts: an unknown number is `other`, and the
# policies' own numbers are added to it when they go.
rules
counted=$(( $(counter 'command kvm-vm other' denied) + $(counter 'command kvm-vcpu other' denied) ))
made=$(sed -n 's/^total[^0-9]*\([0-9]*\).*/\1/p' /tmp/storm)
[ "$counted" -eq "$made" ] || fail "$made calls were refused, $counted are counted"
ok "$loads replacements under $made calls: none was judged by half a policy, none is uncounted"
