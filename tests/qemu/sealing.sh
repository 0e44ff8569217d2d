# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The window with a judged argument is attacked by name; arguments in memory of every kind.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
milliseconds=${1:-300}

load_kvm
modprobe vfio_iommu_type1 && modprobe vfio_pci && {
	echo vfio-pci >/sys/bus/pci/devices/0000:00:04.0/driver_override
	echo 0000:00:04.0 >/sys/bus/pci/drivers_probe
}
lost=0
must client attack --ordinary >/tmp/ordinary
sed 's/^/    /' /tmp/ordinary
harmed=$(sed -n 's/^\([0-9]*\) of .* harm an ordinary page$/\1/p' /tmp/ordinary)
[ "${harmed:-0}" -ge 20 ] || fail "only $harmed attacks harm an ordinary page: the others prove nothing"
ok "what the attacks do to an ordinary page"

# A pool of two huge pages.
echo 2 >/proc/sys/vm/nr_hugepages 2>/dev/null
must client slow >/tmp/slow-without
sed 's/^/    /' /tmp/slow-without

insert
rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 9 errno EXDEV' \
	'deny kvm-vm KVM_CREATE_DEVICE if type == 9 errno EXDEV'
must client slow >/tmp/slow-with
if ! diff /tmp/slow-without /tmp/slow-with >/tmp/difference; then
	sed 's/^/    /' /tmp/difference
	lost=$((lost + 1))
	echo "    LOST: arguments in memory of every kind"
else
	ok "$(wc -l </tmp/slow-with) kinds of memory: each is answered as without the module"
fi

client attack --rules >/tmp/attack-rules
set --
while read -r rule; do set -- "$@" "$rule"; done </tmp/attack-rules
rules "$@"

# attacks WHAT COMMAND...: prints what it says.
attacks() {
	what=$1
	shift
	client attack "$@" >/tmp/attacks 2>/tmp/trouble
	code=$?
	sed 's/^/    /' /tmp/attacks
	if [ $code -eq 0 ]; then
		ok "$what: $(grep -c '^ok' /tmp/attacks) attacks, $(grep -c '^skipped' /tmp/attacks) skipped"
	else
		lost=$((lost + 1))
		echo "    LOST: $what: $(cat /tmp/trouble)"
	fi
}
client attack --list-fresh >/tmp/fresh
while read -r name; do attacks "$name" --fresh "$name"; done </tmp/fresh
attacks "while no call is made" --
attacks "while a call waits in its handler" --held
attacks "while another thread makes calls" --hammer "$milliseconds"
[ $lost -eq 0 ] || fail "$lost rounds were lost"
expect EXDEV kvm-vm KVM_SET_USER_MEMORY_REGION valid,4.4=1 --compat
expect ok kvm-vm KVM_SET_USER_MEMORY_REGION valid --compat
ok "32-bit calls of a 64-bit process"
client attack --cling >/tmp/cling 2>&1 &
cling=$!
client attack --cling >/tmp/cling-too 2>&1 &
cling_too=$!
for said in /tmp/cling /tmp/cling-too; do until_says $said clinging "no window to cling to"; done
must rmmod portcullis
wait $cling || fail "$(cat /tmp/cling)"
wait $cling_too || fail "$(cat /tmp/cling-too)"
for said in /tmp/cling /tmp/cling-too; do
	grep -q 'moved; empty\|gone' $said || fail "a window that was held: $(cat $said)"
	sed -n 's/^/    /; 2p' $said
done
ok "windows that somebody wants to keep: the module goes, and nothing of it stays"
