# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Doors that are no ioctl: each is open, and shut by refusing the ioctl that leads there, where one does.
#
# The rows of the table in Documentation/threat-model.rst that say so.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
must modprobe vhost_net
must modprobe vhost_scsi
must modprobe vfio_iommu_type1
must modprobe vfio_pci
echo vfio-pci >/sys/bus/pci/devices/0000:00:04.0/driver_override
echo 0000:00:04.0 >/sys/bus/pci/drivers_probe
insert

# door NAME: goes there, and sets $door to how it went.
door() {
	door=$(client side-door "$1" 2>&1) || fail "$1: $door"
}
open() { door "$1"; case $door in "open: "*) ;; *) fail "$1: $door, and it should be open" ;; esac; }
shut() { door "$1"; [ "$door" = "shut: $2" ] || fail "$1: $door (expected: $2)"; }

# Each line: the door, the step that is refused, and the rules that refuse it, with bars between them.
table='dirty-ring;KVM_ENABLE_CAP;deny kvm-vm KVM_ENABLE_CAP if cap in {KVM_CAP_DIRTY_LOG_RING, KVM_CAP_DIRTY_LOG_RING_ACQ_REL} errno EDOM
coalesced-ring;KVM_REGISTER_COALESCED_MMIO;deny kvm-vm KVM_REGISTER_COALESCED_MMIO errno EDOM
stats-fd;KVM_GET_STATS_FD;deny KVM_GET_STATS_FD errno EDOM
guest-memfd;KVM_CREATE_GUEST_MEMFD;deny kvm-vm KVM_CREATE_GUEST_MEMFD errno EDOM
irqfd;KVM_IRQFD;deny kvm-vm KVM_IRQFD errno EDOM
ioeventfd;KVM_IOEVENTFD;deny kvm-vm KVM_IOEVENTFD errno EDOM
vhost-iotlb;VHOST_SET_FEATURES;deny vhost-net VHOST_SET_FEATURES if value has 0x200000000 errno EDOM|deny vhost-net VHOST_SET_FEATURES_ARRAY if any features (element has 0x200000000) errno EDOM
vhost-worker;VHOST_NEW_WORKER;deny vhost-scsi VHOST_NEW_WORKER errno EDOM
vfio-config;VFIO_GROUP_GET_DEVICE_FD;deny vfio-group VFIO_GROUP_GET_DEVICE_FD errno EDOM
vfio-config;VFIO_SET_IOMMU;deny vfio-container VFIO_SET_IOMMU errno EDOM
passed-fd;KVM_CHECK_EXTENSION;deny kvm-vm KVM_CHECK_EXTENSION errno EDOM'

rules
for name in $(echo "$table" | cut -d';' -f1 | uniq); do
	open "$name"
	echo "    $name: $door"
done
ok "without a rule each is open"

echo "$table" >/tmp/table
while IFS=';' read -r name step text <&3; do
	first=${text%%|*} second=
	[ "$first" = "$text" ] || second=${text#*|}
	rules "$first" ${second:+"$second"}
	grep -q '^last load: accepted$' $gate/status || fail "$name: $(sed -n '/^last load/,$p' $gate/status)"
	shut "$name" "$step: errno EDOM (33)"
	# What has nothing to do with it goes on.
	[ "$name" = passed-fd ] || must client boot --text "without $name" >/dev/null
	[ "$name" = stats-fd ] || open stats-fd
	rules
	open "$name"
done 3</tmp/table
ok "refusing the ioctl that leads there shuts each, and nothing else"

# What no rule but one about KVM_RUN can shut: the page that KVM_RUN reads and writes.
rules 'deny kvm-vcpu KVM_SET_REGS errno EDOM'
open sync-regs
[ "$(counter 'command kvm-vcpu KVM_SET_REGS' denied)" -ge 1 ] || fail "KVM_SET_REGS was not refused"
rules 'deny kvm-vcpu KVM_RUN errno EDOM'
shut sync-regs "KVM_RUN: errno EDOM (33)"
ok "refusing KVM_SET_REGS does not keep registers from being set in kvm_run: that takes KVM_RUN"
