# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# An argument that is rewritten while the kernel looks at it: what is checked is what is used.
#
# Arguments: how often each value is met where calls are fast, and where they are slow; then the
# races' names, or a pattern of them. Where /files/unsealed.ko is, a module that judges what the
# handler then reads again, its breaches are counted first.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
fast=$1 slow=$2 pattern=${3:-.}

load_kvm
for module in vhost_net vhost_vsock vhost_scsi iommufd tun; do modprobe $module 2>/dev/null; done
# A device to pass through: QEMU's edu.
modprobe vfio_iommu_type1 && modprobe vfio_pci && {
	echo vfio-pci >/sys/bus/pci/devices/0000:00:04.0/driver_override
	echo 0000:00:04.0 >/sys/bus/pci/drivers_probe
}
client rewrite --list | grep -e "$pattern" >/tmp/races || fail "no race is called $pattern"

# race_all FAST SLOW [OPTION...]: runs every race; sets $absent, $quiet and $failed.
race_all() {
	fast_now=$1 slow_now=$2 absent=0 quiet=0 failed=0 began=$(seconds)
	shift 2
	printf '    %-56s %8s %8s %8s %8s %8s\n' race calls refused passed breaches calls/s
	while read -r name pace <&3; do
		rules "$(client rewrite "$name" --rule)"
		calls=$fast_now
		[ "$pace" = fast ] || calls=$slow_now
		client rewrite "$name" --calls "$calls" --seconds "$((60 + calls / 100))" "$@" >/tmp/line 2>/tmp/trouble
		code=$?
		sed 's/^/    /' /tmp/line
		case $code in
		0) ;;
		3) absent=$((absent + 1)); echo "    skipped: $name: $(cat /tmp/trouble)" ;;
		*)
			if grep -q 'there was no breach' /tmp/trouble; then
				quiet=$((quiet + 1))
			else
				failed=$((failed + 1))
				echo "    FAIL: $name: $(cat /tmp/trouble)"
			fi
			;;
		esac
	done 3</tmp/races
	took=$(($(seconds) - began))
}

all=$(wc -l </tmp/races)
if [ -e /files/unsealed.ko ]; then
	must insmod /files/unsealed.ko
	rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 9'
	grep -q '^judged on: .* at entry only [1-9]' $gate/status || fail "status does not say what is judged at entry only"
	grep -q '^warning: this module was built without sealing' $gate/status || fail "no warning for a rule that can be raced"
	echo "a module that judges a copy, and lets the handler read the argument again:"
	race_all "$((fast < 300 ? fast : 300))" "$((slow < 50 ? slow : 50))" --breaches
	[ $failed -eq 0 ] || fail "$failed of $all races could not be run"
	must rmmod portcullis
	echo "$((all - absent - quiet)) races show breaches, $quiet none, $absent are absent here; $took s"
	[ "$((all - absent - quiet))" -gt "$quiet" ] || fail "the races would not see a breach: they prove nothing"
fi

insert
rules 'deny kvm-vm KVM_SET_USER_MEMORY_REGION if slot == 9'
grep -q '^judged on: .* at entry only 0$' $gate/status || fail "status tells of arguments judged at entry only"
! grep -q '^warning' $gate/status || fail "a rule about a field is warned of"
echo "the module:"
race_all "$fast" "$slow"
[ $failed -eq 0 ] || fail "$failed of $all races were lost"
[ $absent -lt "$all" ] || fail "nothing was raced"
ok "$((all - absent)) races without a breach, $absent absent here; $took s"
must rmmod portcullis
