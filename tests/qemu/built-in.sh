# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A handler that is built in, one that the kernel was built without, and iommufd, which comes and goes.
#
# On the test kernel: vhost-vsock is built in, vfio.ko has no container, iommufd is a module.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh

site() {
	grep "^site: $1 " $gate/status | grep -q "$2" || fail "$1: $(grep "^site: $1 " $gate/status)"
}
loaded() { grep -q "^$1 " /proc/modules; }
unload() {
	tries=0
	while ! rmmod "$1" 2>/tmp/rmmod; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || fail "rmmod $1: $(cat /tmp/rmmod)"
		usleep 20000
	done
}

# --- Built in ----------------------------------------------------------------------------------

! loaded vhost_vsock && [ -c /dev/vhost-vsock ] || fail "vhost-vsock is not built in"
insert
site vhost_vsock_dev_ioctl state=armed
site vhost_net_ioctl 'state=absent$'
rules 'deny vhost-vsock VHOST_GET_FEATURES errno ENODATA' 'deny vhost-net VHOST_GET_FEATURES errno EXDEV' \
	'deny iommufd IOMMU_DESTROY errno EDOM'
for width in '' --compat; do
	# shellcheck disable=SC2086  # an option, or none
	must client knock /dev/vhost-vsock 0x8008af00 $width --expect ENODATA >/dev/null
	# shellcheck disable=SC2086
	must client knock /dev/vhost-vsock 0xaf01 $width --expect ok >/dev/null
done
must modprobe vhost_net
site vhost_net_ioctl state=armed
site vhost_vsock_dev_ioctl state=armed
must client knock /dev/vhost-net 0x8008af00 --expect EXDEV >/dev/null
unload vhost_net
site vhost_net_ioctl 'state=absent$'
must client knock /dev/vhost-vsock 0x8008af00 --expect ENODATA >/dev/null
ok "a handler that is built in is armed at once, and stays while a module of its kind comes and goes"
must rmmod portcullis
must client knock /dev/vhost-vsock 0x8008af00 --expect EFAULT >/dev/null
insert
must client knock /dev/vhost-vsock 0x8008af00 --expect EFAULT >/dev/null
rules 'deny vhost-vsock VHOST_GET_FEATURES errno ENODATA' 'deny iommufd IOMMU_DESTROY errno EDOM'
must client knock /dev/vhost-vsock 0x8008af00 --expect ENODATA >/dev/null
ok "taken away and put back with portcullis"

# --- Not in this kernel --------------------------------------------------------------------------

must modprobe vfio_pci
site vfio_group_fops_unl_ioctl state=armed
site vfio_device_fops_unl_ioctl state=armed
site vfio_fops_unl_ioctl 'state=absent why="its module is loaded and has no such function'
dmesg | grep -q 'portcullis: vfio:vfio_fops_unl_ioctl: its module is loaded and has no such function' ||
	fail "the kernel's log does not say that vfio has no container"
unload vfio_pci
unload vfio_pci_core
unload vfio
site vfio_fops_unl_ioctl 'state=absent$'
ok "vfio without its container: two sites are armed, the third says why it is absent"

# --- iommufd -------------------------------------------------------------------------------------

# A 32-bit caller does not reach its handler: there is no compat slot. /dev/vfio/vfio is iommufd's here.
! loaded iommufd || unload iommufd
client race --arrivals 6 --on /dev/iommu:0x3b80:EDOM --on /dev/vfio/vfio:0x3b80:EDOM >/tmp/race 2>&1 &
race=$!
come_and_go() {
	must modprobe iommufd
	site iommufd_fops_ioctl state=armed
	unload iommufd
	site iommufd_fops_ioctl 'state=absent$'
}
rounds_until "$(($1 / 10))" 6 come_and_go
kill $race || fail "the race was over before: $(cat /tmp/race)"
wait $race || fail "$(cat /tmp/race)"
sed "s/^/$rounds times: /" /tmp/race
must modprobe iommufd
must client knock /dev/iommu 0x3b80 --expect EDOM >/dev/null
must client knock /dev/iommu 0x3b64 --expect ok >/dev/null
must client knock /dev/iommu 0x3b80 --compat --expect ENOTTY >/dev/null
ok "iommufd comes and goes: no thread that spins on open(2) has got at it before its site was armed"

rules
client side-door fault-queue | grep -q '^open: ' || fail "a fault queue cannot be made"
rules 'deny iommufd IOMMU_FAULT_QUEUE_ALLOC errno EDOM'
client side-door fault-queue | grep -q '^shut: IOMMU_FAULT_QUEUE_ALLOC: errno EDOM' || fail "a fault queue can be made"
ok "a fault queue is open, and shut by refusing IOMMU_FAULT_QUEUE_ALLOC"
