# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Debian's QEMU under its strict policy: hotplug, reset, migration, no refusal; and attacks from inside.

# shellcheck source=tests/qemu/vmm.sh
. /vmm.sh
load_kvm
must modprobe vhost_net
must modprobe tun
insert
must client write $gate/policy /files/qemu.policy --expect ok >/dev/null
attacked_early /usr/bin/qemu-system-client EPERM
ok "$attacked attacks while a VM is set up, each refused"

# VMs from before the policy: one that runs without an APIC in the kernel, as none can under it; and one that a
# vCPU can be plugged into, but none of Hyper-V's.
rules
cp /client /usr/bin/qemu-system-client
vmm old /usr/bin/qemu-system-client
told old ok kvm
for board in 'use vm' irqchip; do
	for step in vm "$board" 'memory 0 1M' vcpu 'ready 0' 'run-elsewhere 0'; do told old ok "$step"; done
done
must client write $gate/policy /files/qemu.policy --expect ok >/dev/null
told old ok pick 0
told old EPERM vcpu
told old ok pick 1
told old ok close vcpus
told old ok vcpu
told old EPERM call kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000001,20.4=0x31237648
told old ok call kvm-vcpu KVM_SET_CPUID2 zero,0.4=1,8.4=0x40000001,20.4=1
leave old
wait "$pid"
rm /usr/bin/qemu-system-client
ok "while VMs run: no vCPU without an APIC, no Hyper-V for one that is plugged in"
share_usr

# step TEXT: what was done worked, and nothing was refused meanwhile.
step() {
	[ "$(denials)" -eq "$before" ] || fail "$*: calls were refused"
	ok "$* ($(seconds) s)"
}

before=$(denials)

# A PC with a display, a disk and a network card, as `qemu-system-x86_64` makes it.
disk=/tmp/disk
dd if=/dev/zero of=$disk bs=1024 count=1024 2>/dev/null
cp $disk $disk-2
machine() {
	vm=$1
	shift
	qemu "$vm" -smp 1,maxcpus=2 -drive file=$disk,format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk \
		-netdev tap,id=net,ifname=tap0,script=no,downscript=no,vhost=on -device virtio-net-pci,netdev=net "$@"
	must ifconfig tap0 10.0.0.1 up
}
hello='Hello from inside'

machine one
until_in /tmp/one.serial "$hello"
[ "$(counter 'command vhost-net VHOST_NET_SET_BACKEND' calls)" -gt 0 ] || fail "vhost-net is not used"
step "QEMU boots Debian's kernel"
ask disk vda "disk: written to vda"
ask ping 10.0.0.1 "ping: 10.0.0.1"
step "its disk and its network work"

qmp '{"execute": "blockdev-add", "arguments": {"node-name": "second", "driver": "raw",
	"file": {"driver": "file", "filename": "/tmp/disk-2"}}}'
qmp '{"execute": "device_add", "arguments": {"driver": "virtio-blk-pci", "drive": "second", "id": "disk2", "addr": "6"}}'
ask disk vdb "disk: written to vdb"
qmp '{"execute": "device_del", "arguments": {"id": "disk2"}}'
until_in /tmp/one.qmp '"DEVICE_DELETED".*"device": "disk2"'
step "a disk is plugged in and out"
qmp '{"execute": "netdev_add", "arguments": {"type": "tap", "id": "net2", "ifname": "tap1", "script": "no",
	"downscript": "no", "vhost": true}}'
qmp '{"execute": "device_add", "arguments": {"driver": "virtio-net-pci", "netdev": "net2", "id": "card2", "addr": "7"}}'
ask link eth1 "link: eth1"
step "a network card is plugged in"
qmp '{"execute": "device_add", "arguments": {"driver": "host-x86_64-cpu", "id": "cpu2", "socket-id": 0, "core-id": 1,
	"thread-id": 0}}'
ask cpu 1 "cpus: 0-1"
step "a processor is plugged in"

qmp '{"execute": "stop"}'
qmp '{"execute": "cont"}'
ask disk vda "disk: written to vda"
step "it is paused, and goes on"
qmp '{"execute": "system_reset"}'
until_in /tmp/one.serial "$hello" 2
step "it is reset, and boots again"

qmp '{"execute": "migrate", "arguments": {"uri": "file:/tmp/state"}}'
until [ "${status:-}" = completed ]; do
	usleep 200000
	qmp '{"execute": "query-migrate"}'
	status=$(tail -n 1 /tmp/one.qmp | sed -n 's/.*"status": "\([a-z-]*\)".*/\1/p')
	[ "$status" != failed ] || fail "the migration failed"
done
qmp '{"execute": "quit"}'
wait "$vmm" || fail "QEMU did not end well: $(cat /tmp/one.says)"
step "it is migrated to a file: $(stat -c %s /tmp/state) bytes"

machine two -incoming file:/tmp/state \
	-netdev tap,id=net2,ifname=tap1,script=no,downscript=no,vhost=on \
	-device virtio-net-pci,netdev=net2,id=card2,addr=7 \
	-device host-x86_64-cpu,id=cpu2,socket-id=0,core-id=1,thread-id=0
until_in /tmp/two.qmp '"RESUME"'
ask disk vda "disk: written to vda"
ask ping 10.0.0.1 "ping: 10.0.0.1"
ask cpu 1 "cpus: 0-1"
step "another QEMU takes it over, and it goes on there"

# NMIs are for admins; an eventfd tells of an overflow of a log that QEMU has memory for.
[ "$(unused /files/qemu.policy)" = 'KVM_NMI VHOST_SET_LOG_FD ' ] || fail "nobody needs: $(unused /files/qemu.policy)"
ok "nothing is allowed that it does not call"

# The last are VHOST_NEW_WORKER, VHOST_SET_VRING_ENDIAN, and what QEMU calls otherwise: backend features, memory
# table, a ring's number of entries, address, base, kick, features. Of those, VIRTIO_F_ACCESS_PLATFORM: alone,
# beside VIRTIO_F_VERSION_1, in an array.
attacked EPERM 'kvm-vm KVM_CREATE_VCPU 100 --by-vcpu
kvm-vm KVM_GET_DIRTY_LOG zero,0.4=600
kvm-vm KVM_REGISTER_COALESCED_MMIO zero,8.4=0x40000
kvm-vm KVM_SET_IRQCHIP zero,0.4=3
kvm-vm KVM_SET_CLOCK zero,8.4=4
kvm-vcpu KVM_SET_SREGS2 zero,264.8=0x1000
kvm-vcpu KVM_SET_SREGS zero
kvm-vcpu KVM_SET_MP_STATE zero,0.4=9
kvm-vcpu KVM_SET_MSRS zero,0.4=1,8.4=0x480,16.8=1
/dev/vhost-net 0x8004af08
/dev/vhost-net 0x4008af13 zero
/dev/vhost-net 0x4008af25 zero,0.8=4
/dev/vhost-net 0x4008af03 zero,0.4=510
/dev/vhost-net 0x4008af10 zero,0.4=2,4.4=256
/dev/vhost-net 0x4008af10 zero,4.4=2048
/dev/vhost-net 0x4028af11 zero,0.4=2
/dev/vhost-net 0x4028af11 zero,4.4=2
/dev/vhost-net 0x4008af12 zero,0.4=2
/dev/vhost-net 0x4008af20 zero,0.4=2
/dev/vhost-net 0x4008af00 zero,0.8=0x200000000
/dev/vhost-net 0x4008af00 zero,0.8=0x300000000
/dev/vhost-net 0x4008af83 zero,0.8=1,8.8=0x200000000'
[ "$(denials)" -eq $((before + attacked)) ] || fail "not each of $attacked attacks was counted once"
ask disk vda "disk: written to vda"
[ "$(denials)" -eq $((before + attacked)) ] || fail "QEMU itself was refused something"
ok "$attacked attacks from inside, each refused and counted, and the VM goes on"

expect EACCES kvm KVM_GET_API_VERSION
ok "nobody else has a say"

echo off >&6
wait "$vmm" || fail "QEMU did not end well: $(cat /tmp/two.says)"
ok "it is switched off"
must rmmod portcullis
