# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A device passed through by its own file and iommufd, and by iommufd in the place of a container.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
must modprobe iommufd
pass_through
use iommufd
ok "without the module: $steps"
insert
for surface in iommufd vfio-group vfio-device; do
	grep -q "^site: .* surface=$surface .*state=armed" $gate/status || fail "$surface is not armed"
done

# Each in/out command has conditions in force that no call meets: what the handler writes back must
# reach the caller all the same.
rules 'deny iommufd IOMMU_DESTROY if id == 0xffffffff errno EXDEV' \
	'deny iommufd IOMMU_IOAS_ALLOC if flags == 99 errno EXDEV' \
	'deny iommufd IOMMU_IOAS_IOVA_RANGES if ioas_id == 0xffffffff errno EXDEV' \
	'deny iommufd IOMMU_IOAS_MAP if user_va == 1 errno EXDEV' \
	'deny iommufd IOMMU_IOAS_UNMAP if length == 1 errno EXDEV' \
	'deny iommufd IOMMU_HWPT_ALLOC if data_type == 99 errno EXDEV' \
	'deny iommufd IOMMU_GET_HW_INFO if data_len == 99 errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT if argsz == 1 errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_DETACH_IOMMUFD_PT if argsz == 1 errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_IRQ_INFO if index == 99 errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_SET_IRQS if index == 99 errno EXDEV'
use iommufd
denied 0
ok "conditions that nothing meets: $steps"

rules 'deny iommufd IOMMU_IOAS_MAP if iova == 0x200000 errno EDOM' \
	'deny iommufd IOMMU_IOAS_UNMAP if iova == 0x100000 errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_SET_IRQS if index == VFIO_PCI_MSI_IRQ_INDEX errno EACCES'
use iommufd --refused map-second:EDOM --refused unmap:EXDEV --refused msi:EACCES
denied 3
ok "fields: no DMA where none was mapped, DMA where nothing was unmapped, and the rest works"

rules 'deny iommufd IOMMU_GET_HW_INFO errno EDOM' 'deny iommufd IOMMU_IOAS_IOVA_RANGES errno EXDEV' \
	'deny vfio-device VFIO_DEVICE_RESET errno EACCES' 'deny iommufd IOMMU_DESTROY errno EILSEQ'
use iommufd --refused hw-info:EDOM --refused ranges:EXDEV --refused reset:EACCES \
	--refused destroy:EILSEQ --refused destroy-hwpt:EILSEQ
denied 5
ok "commands: nothing was told, reset or destroyed"

# Iommufd in the place of a container is judged as one: as /dev/vfio/vfio, which this kernel has from
# iommufd, and as /dev/iommu, which a group takes for a container as well.
for container in /dev/vfio/vfio /dev/iommu; do
	rules 'deny vfio-container VFIO_IOMMU_GET_INFO if argsz == 1 errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_MAP_DMA if vaddr == 1 errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_UNMAP_DMA if size == 1 errno EXDEV' \
		'deny vfio-group VFIO_GROUP_GET_STATUS if argsz == 1 errno EXDEV' \
		'deny iommufd *'
	use vfio --container $container
	denied 0
	ok "$container: conditions that nothing meets: $steps"
	rules 'deny vfio-container VFIO_IOMMU_MAP_DMA if iova == 0x200000 errno EDOM' \
		'deny vfio-container VFIO_CHECK_EXTENSION errno EXDEV' \
		'deny vfio-container VFIO_IOMMU_UNMAP_DMA if iova == 0x100000 errno EILSEQ'
	use vfio --container $container --refused map-second:EDOM --refused extension:EXDEV --refused unmap:EILSEQ
	denied 3
	ok "$container: fields and commands"
done
printf '%s\n' 'policy test version 1' 'profile other' 'default allow' 'deny iommufd VFIO_IOMMU_MAP_DMA' end >/tmp/wrong
client write $gate/check /tmp/wrong --read-back >/tmp/diagnosis 2>&1
grep -q 'vfio-container' /tmp/diagnosis || fail "the diagnosis does not lead to vfio-container: $(cat /tmp/diagnosis)"
ok "a rule about iommufd's copy of them is refused"

# --- A limit, and the ways around it ------------------------------------------------------------

# Two address spaces, 1 and 2; a page is mapped in the first, eight beside one another.
spaces() {
	vmm one
	told one ok iommufd
	told one 'ok 2' times 2 iommufd IOMMU_IOAS_ALLOC zero,0.4=12
	told one 'ok 8' times 8 iommufd IOMMU_IOAS_MAP "$page,32.8=0x1%000"
}
page=zero,0.4=40,4.4=7,8.4=1,16.8=0x10000,24.8=4096
copy=zero,0.4=40,4.4=7,8.4=2,12.4=1,16.8=0x8000,24.8=0x2%0000,32.8=0x10000
small_pages=zero,0.4=24,4.4=1,12.4=1
large_pages=$small_pages,16.8=1
ask_pages=$small_pages,8.2=1
ask_space=zero,0.4=12
set_space=$ask_space,4.4=2,8.2=1
no_space=$ask_space,8.2=2

# Each of them works where there is no limit.
rules 'limit vms 1'
spaces
told one 'ok 8' times 8 iommufd IOMMU_IOAS_COPY $copy
told one ok iommufd IOMMU_OPTION $small_pages
told one ok iommufd IOMMU_VFIO_IOAS $set_space
told one ok iommufd IOMMU_VFIO_IOAS $no_space
leave one
rules 'limit mappings 16 errno EDQUOT'
spaces
told one 'ok 0' times 8 iommufd IOMMU_IOAS_COPY $copy
told one EDQUOT iommufd IOMMU_OPTION $small_pages
told one EDQUOT iommufd IOMMU_VFIO_IOAS $set_space
told one EDQUOT iommufd IOMMU_VFIO_IOAS $no_space
told one ok iommufd IOMMU_OPTION $large_pages
told one ok iommufd IOMMU_OPTION $ask_pages
told one ENODEV iommufd IOMMU_VFIO_IOAS $ask_space
told one 'ok 8' times 20 iommufd IOMMU_IOAS_MAP "$page,32.8=0x2%000"
told one ENOENT iommufd IOMMU_IOAS_UNMAP zero,0.4=24,4.4=1,8.8=0x10800,16.8=0x100000
told one EDQUOT iommufd IOMMU_IOAS_MAP "$page,32.8=0x300000"
told one ok iommufd IOMMU_IOAS_UNMAP zero,0.4=24,4.4=1,8.8=0x10000,16.8=0x2000
told one 'ok 2' times 3 iommufd IOMMU_IOAS_MAP "$page,32.8=0x3%0000"
[ "$(counter 'rule line=4' denied)" -eq 25 ] || fail "the limit has refused $(counter 'rule line=4' denied) calls"
leave one
for container in /dev/vfio/vfio /dev/iommu; do
	vmm one
	told one EDQUOT container $container 1
	leave one
	vmm one
	told one ok container $container
	told one 'ok 16' times 20 map 0x1%000
	told one ENOENT unmap 0x10800
	told one EDQUOT map 0x200000
	told one 'ok 2' times 2 unmap 0x1%000
	# The container's space is number 1: what is unmapped there was mapped by the container, and not by the
	# command that leaves the place to the kernel.
	told one ok map 0x100000
	told one ok iommufd IOMMU_IOAS_MAP zero,0.4=40,4.4=6,8.4=1,16.8=0x10000,24.8=4096
	told one ok iommufd IOMMU_IOAS_UNMAP zero,0.4=24,4.4=1,8.8=0x100000,16.8=4096
	told one ok unmap 0x100000
	told one ok map 0x100000
	told one EDQUOT iommufd IOMMU_IOAS_MAP zero,0.4=40,4.4=6,8.4=1,16.8=0x10000,24.8=4096
	leave one
done
ok "a limit of mappings: nothing leads around it"

# Iommufd answers no 32-bit process; a device's own file does.
rules 'deny iommufd * errno EDOM'
[ "$(compat32 try iommufd IOMMU_IOAS_ALLOC)" = 'errno ENOTTY (25)' ] || fail "compat32: an address space"
[ "$(compat32 try vfio-container VFIO_GET_API_VERSION)" = 'errno ENOTTY (25)' ] || fail "compat32: a version"
denied_before=$(counter 'rule line=4' denied)
[ "$denied_before" -eq 0 ] || fail "a 32-bit call of iommufd reached its handler"
ok "no 32-bit process reaches iommufd"

rules 'deny iommufd * errno EDOM' 'deny vfio-device * errno EDOM'
printf 0 >$gate/enforce
use iommufd
[ "$(counter 'rule line=4' would-deny)" -ge 9 ] || fail "of iommufd too little would be denied"
ok "permissive: $steps"
must rmmod portcullis
use iommufd
ok "after the module: $steps"
