# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The sites follow every module, in any order, two at once, and no open of a device comes first.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh

# The modules that have sites, how many, and what is loaded to get them.
table='kvm 6 kvm_amd
vfio 3 vfio_pci
vhost_net 1 vhost_net
vhost_vsock 1 vhost_vsock
vhost_scsi 1 vhost_scsi
vhost_vdpa 1 vhost_vdpa
ccp 1 ccp'

# The module that makes a device, the device, an ioctl that the policy refuses, its errno, and one
# that it allows.
doors='kvm_amd /dev/kvm 0xae00 EACCES 0xae04
vfio /dev/vfio/vfio 0x3b64 EDOM 0x3b65
vhost_net /dev/vhost-net 0x8008af00 EXDEV 0xaf01
vhost_vsock /dev/vhost-vsock 0x8008af00 ENODATA 0xaf01
vhost_scsi /dev/vhost-scsi 0x8008af00 ENOSR 0xaf01'

close_doors() {
	rules 'deny kvm KVM_GET_API_VERSION errno EACCES' \
		'deny vfio-container VFIO_GET_API_VERSION errno EDOM' \
		'deny vfio-group VFIO_GROUP_GET_STATUS errno ENOTBLK' \
		'deny vhost-net VHOST_GET_FEATURES errno EXDEV' 'deny vhost-vsock VHOST_GET_FEATURES errno ENODATA' \
		'deny vhost-scsi VHOST_GET_FEATURES errno ENOSR' 'deny sev * errno ENOTUNIQ'
}

is_loaded() { grep -q "^$1 " /proc/modules; }

# unload MODULE...: as soon as nobody has its device open, and with it what was loaded for it or needs it.
unload() {
	for gone in "$@"; do
		case $gone in
		kvm_amd) gone='kvm_amd kvm' ;;
		ccp) gone='kvm_amd kvm ccp' ;;
		vfio_pci) gone='vfio_pci vfio_pci_core vfio_iommu_type1 vfio' ;;
		esac
		for each in $gone; do
			tries=0
			while is_loaded "$each" && ! rmmod "$each" 2>/tmp/rmmod; do
				tries=$((tries + 1))
				[ $tries -lt 300 ] || fail "rmmod $each: $(cat /tmp/rmmod)"
				usleep 20000
			done
		done
	done
}

# states: each site is armed if its module is loaded, and absent if it is not.
states() {
	echo "$table" | while read -r module sites _; do
		state=absent n=$sites
		! is_loaded "$module" || state=armed
		found=$(grep -c "^site: .* module=$module .*state=$state" $gate/status)
		[ "$found" -eq "$n" ] || fail "$1: $found of $n sites of $module are $state"
	done || exit 1
}

# answers: what is loaded refuses what it must, to callers of both kinds, and nothing else.
answers() {
	echo "$doors" | while read -r module device denied errno allowed; do
		is_loaded "$module" || continue
		for width in '' --compat; do
			# shellcheck disable=SC2086  # an option, or none
			out=$(client knock "$device" "$denied" $width --expect "$errno" 2>&1) ||
				fail "$1: $device $denied $width: $out (expected: $errno)"
			# shellcheck disable=SC2086
			out=$(client knock "$device" "$allowed" $width --expect ok 2>&1) ||
				fail "$1: $device $allowed $width: $out (expected: ok)"
		done
	done || exit 1
}

all=$(echo "$table" | cut -d' ' -f3)

# --- Before and after ------------------------------------------------------------------------

for module in $all; do must modprobe "$module"; done
insert
close_doors
states "loaded before"
answers "loaded before"
[ "$(grep -c '^site: .*state=armed' $gate/status)" -eq 14 ] || fail "a site of this kernel is not armed"
grep '^site: ' $gate/status
ok "loaded before portcullis: every site is armed, callers of both word sizes are refused"

for module in $all; do
	unload "$module"
	states "without $module"
	must modprobe "$module"
	states "$module again"
	answers "$module again"
done
ok "each unloaded and loaded again: absent, armed"

# vfio-pci drives a device from its init on, when it is loaded again.
echo vfio-pci >/sys/bus/pci/devices/0000:00:04.0/driver_override
group=/dev/vfio/$(basename "$(readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group)")
# An init that fails after its module has come.
modprobe kvm_intel 2>/dev/null && fail "kvm_intel was loaded on an AMD processor"
states "kvm_intel was not loaded"
answers "kvm_intel was not loaded"

# --- In any order ----------------------------------------------------------------------------

shuffled() { echo "$all" | shuf; }
any_order() {
	for module in $(shuffled); do unload "$module"; states "unloaded in any order"; done
	! [ $((rounds % 2)) -eq 1 ] || { must rmmod portcullis; insert; close_doors; }
	for module in $(shuffled); do must modprobe "$module"; states "loaded in any order"; done
	answers "loaded in any order"
}
rounds_until 5 4 any_order
ok "$rounds rounds in any order"

# --- At once -----------------------------------------------------------------------------------

# at_once COMMAND...: each command is a string.
at_once() {
	for command in "$@"; do sh -c "$command" & pids="$pids $!"; done
	for pid in $pids; do wait "$pid" || failed=y; done
	pids=''
}
side_by_side() {
	# shellcheck disable=SC2086
	unload $all
	failed=''
	at_once 'modprobe kvm_amd' 'modprobe vfio_pci' 'modprobe vhost_net' 'modprobe vhost_vsock' \
		'modprobe vhost_scsi' 'modprobe vhost_vdpa' 'modprobe ccp'
	[ -z "$failed" ] || fail "a module could not be loaded beside others"
	states "loaded side by side"
	answers "loaded side by side"
	# The gate is opened and closed while modules come and go.
	unload kvm_amd vhost_vsock ccp
	at_once 'rmmod portcullis' 'modprobe vhost_vsock' 'rmmod vhost_scsi' 'modprobe kvm_amd'
	unload vhost_vsock kvm_amd
	at_once 'insmod /portcullis.ko' 'modprobe vhost_scsi' 'modprobe vhost_vsock' 'modprobe kvm_amd' \
		'modprobe ccp' 'rmmod vhost_net'
	[ -z "$failed" ] || fail "a module could not be loaded or unloaded beside portcullis"
	close_doors
	states "loaded while the gate was closed"
	answers "loaded while the gate was closed"
}
rounds_until 5 4 side_by_side
ok "$rounds rounds of modules that come and go at once, portcullis among them"

# --- Nobody comes first ------------------------------------------------------------------------

# race MODULE THREADS DOOR...: threads spin on open(2) while the module comes and goes.
race() {
	module=$1 threads=$2
	shift 2
	unload "$module"
	client race --arrivals 6 --threads "$threads" "$@" >/tmp/race 2>&1 &
	race=$!
	rounds_until "$((storm / 10))" 6 come_and_go
	kill $race || fail "the race for $module was over before: $(cat /tmp/race)"
	wait $race || fail "$module: $(cat /tmp/race)"
	sed "s/^/$rounds times: /" /tmp/race
	states "after the race for $module"
}
come_and_go() {
	must modprobe "$module"
	usleep 50000
	unload "$module"
}
storm=$1
# shellcheck disable=SC2086
unload $all
race kvm_amd 2 --on /dev/kvm:0xae00:EACCES:both
race vfio_pci 2 --on /dev/vfio/vfio:0x3b64:EDOM:both
# One process may have a group open at a time.
race vfio_pci 1 --on "$group:0x3b67:ENOTBLK:both"
race vhost_net 2 --on /dev/vhost-net:0x8008af00:EXDEV:both
race vhost_vsock 2 --on /dev/vhost-vsock:0x8008af00:ENODATA:both
race vhost_scsi 2 --on /dev/vhost-scsi:0x8008af00:ENOSR:both
ok "no thread that spins on open(2) has got at a device before its site was armed"
