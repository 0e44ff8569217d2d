# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The sites follow kvm.ko: loaded after the module, unloaded, loaded again.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
insert
armed 0
ok "without kvm no site is armed, and status says absent"
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EACCES'

for round in 1 2 3; do
	load_kvm
	armed 6
	expect EACCES kvm-vm KVM_CREATE_IRQCHIP
	expect ok kvm-vm KVM_CHECK_EXTENSION 0
	# Other modules come and go, and one whose init fails: kvm's sites are none of their business.
	must modprobe tun
	must rmmod tun
	modprobe kvm_intel 2>/dev/null
	armed 6
	expect EACCES kvm-vm KVM_CREATE_IRQCHIP
	must rmmod kvm_amd
	must rmmod kvm
	armed 0
	ok "round $round: armed with kvm, denying, absent without it"
done

load_kvm
must rmmod portcullis
expect ok kvm-vm KVM_CREATE_IRQCHIP
insert
rules 'deny kvm-vm KVM_CREATE_IRQCHIP errno EBUSY'
expect EBUSY kvm-vm KVM_CREATE_IRQCHIP
ok "loaded again after kvm"

must rmmod kvm_amd
must rmmod kvm
must rmmod portcullis
load_kvm
expect ok kvm-vm KVM_CREATE_IRQCHIP
ok "unloaded in the other order"
