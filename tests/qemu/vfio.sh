# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A device passed through by container and group: refusals, and DMA and interrupts beside them.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
must modprobe vfio_iommu_type1
pass_through
use vfio
ok "without the module: $steps"
insert
for surface in vfio-container vfio-group vfio-device; do
	grep -q "^site: .* surface=$surface .*state=armed" $gate/status || fail "$surface is not armed"
done

# Each in/out command has conditions in force that no call meets: what the handler writes back must
# reach the caller all the same.
no_hit() {
	rules 'deny vfio-container VFIO_CHECK_EXTENSION if arg == 99 errno EXDEV' \
		'deny vfio-container VFIO_SET_IOMMU if arg == 99 errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_GET_INFO if argsz == 1 errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_MAP_DMA if vaddr == 1 and flags has 0x80 errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_UNMAP_DMA if size == 1 errno EXDEV' \
		'deny vfio-group VFIO_GROUP_GET_STATUS if argsz == 1 errno EXDEV' \
		'deny vfio-group VFIO_GROUP_SET_CONTAINER if value == 99 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_INFO if argsz == 1 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_REGION_INFO if index == 99 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_IRQ_INFO if index == 99 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_SET_IRQS if index == 99 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_FEATURE if argsz == 1 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_PCI_HOT_RESET_INFO if argsz == 1 errno EXDEV'
}

for door in '' --compat; do
	# shellcheck disable=SC2086  # no word, or one
	set -- $door
	no_hit
	use vfio "$@"
	denied 0
	ok "$* conditions that nothing meets: $steps"

	rules 'deny vfio-container VFIO_IOMMU_MAP_DMA if iova == 0x200000 errno EDOM' \
		'deny vfio-container VFIO_IOMMU_GET_INFO if argsz > 24 errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_REGION_INFO if index == VFIO_PCI_BAR1_REGION_INDEX errno ENOANO' \
		'deny vfio-device VFIO_DEVICE_SET_IRQS if index == VFIO_PCI_MSI_IRQ_INDEX errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_GET_IRQ_INFO if index == VFIO_PCI_MSI_IRQ_INDEX errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_FEATURE if flags has VFIO_DEVICE_FEATURE_PROBE errno EACCES' \
		'deny vfio-container VFIO_IOMMU_UNMAP_DMA if iova == 0x100000 errno EILSEQ'
	use vfio "$@" --refused map-second:EDOM --refused iommu-info-long:EXDEV --refused bar1-info:ENOANO \
		--refused msi:EXDEV --refused msi-info:EXDEV --refused feature:EACCES --refused unmap:EILSEQ
	denied 7
	ok "$* fields: no DMA where none was mapped, no interrupt, and the rest works"

	rules 'deny vfio-container VFIO_CHECK_EXTENSION, VFIO_IOMMU_UNMAP_DMA errno EDOM' \
		'deny vfio-group VFIO_GROUP_GET_STATUS errno EXDEV' \
		'deny vfio-device VFIO_DEVICE_RESET errno EACCES' \
		'deny vfio-device VFIO_DEVICE_GET_PCI_HOT_RESET_INFO errno EBADE'
	use vfio "$@" --refused extension:EDOM --refused unmap:EDOM --refused unmap-second:EDOM \
		--refused status-before:EXDEV --refused status-after:EXDEV --refused reset:EACCES \
		--refused hot-reset-info:EBADE
	denied 7
	ok "$* commands: nothing was reset, nothing unmapped"
done

# A true 32-bit process.
rules 'deny vfio-container VFIO_CHECK_EXTENSION if arg == 3 errno EDOM'
for call in 'VFIO_GET_API_VERSION:ok 0' 'VFIO_CHECK_EXTENSION 1:ok 1' 'VFIO_CHECK_EXTENSION 3:errno EDOM (33)'; do
	# shellcheck disable=SC2086  # a number and an argument
	answer=$(compat32 try vfio-container ${call%%:*})
	[ "$answer" = "${call#*:}" ] || fail "compat32 ${call%%:*}: $answer"
done
ok "compat32"

rules 'deny vfio-container VFIO_IOMMU_MAP_DMA if size > 0' 'deny vfio-device *' 'deny vfio-group *'
printf 0 >$gate/enforce
use vfio
[ "$(counter 'rule line=4' would-deny)" -eq 2 ] || fail "would-deny is not 2"
[ "$(counter 'rule line=5' would-deny)" -ge 10 ] || fail "of a device nothing would be denied"
ok "permissive: $steps"
must rmmod portcullis
use vfio
ok "after the module: $steps"
