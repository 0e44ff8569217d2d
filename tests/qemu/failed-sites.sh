# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A site that cannot be armed says why, by errno and sentence; one that can is armed before init's first line.
#
# With modules that stand in for the kernel's own: tests/stand-ins.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh

deny_all() {
	rules 'deny iommufd * errno EACCES' 'deny vhost-scsi * errno EACCES' 'deny vhost-vdpa * errno EACCES'
}

# site SYMBOL PATTERN: what status says of it.
site() {
	grep "^site: $1 " $gate/status | grep -q "$2" || fail "$1: $(grep "^site: $1 " $gate/status)"
}

# log PATTERN: the kernel's log says so since the round has begun.
log() {
	dmesg | sed -n "/round $order begins/,\$p" | grep -q "portcullis: .*$1" || fail "the kernel's log does not say: $1"
}

stand_in() { must insmod "/files/$1.ko"; }
passes() { must client knock "$1" 0x8008af00 --expect ok >/dev/null; }
refused() { must client knock "$1" 0x8008af00 --expect EACCES >/dev/null; }

for order in before after; do
	echo "round $order begins" >/dev/kmsg
	[ $order = after ] || for module in iommufd vhost_scsi vhost_vdpa; do stand_in $module; done
	insert
	deny_all
	[ $order = before ] || for module in iommufd vhost_scsi vhost_vdpa; do stand_in $module; done

	site iommufd_fops_ioctl 'state=failed error=EINVAL why="the kernel allows no probe at this function'
	log 'iommufd_fops_ioctl: the probe could not be put in place (EINVAL): its calls pass unseen'
	passes /dev/iommu
	ok "loaded $order: a function that no probe may be put at: failed, EINVAL, why"

	site vhost_scsi_ioctl 'state=absent why="its module is loaded and has no such function'
	log 'vhost_scsi:vhost_scsi_ioctl: its module is loaded and has no such function'
	passes /dev/vhost-scsi
	ok "loaded $order: a handler with another name: absent, why"

	site vhost_vdpa_unlocked_ioctl 'state=armed'
	refused /dev/vhost-vdpa-0
	if [ $order = after ]; then
		[ "$(cat /sys/module/vhost_vdpa/parameters/first)" -eq -13 ] ||
			fail "at the beginning of init the handler answered $(cat /sys/module/vhost_vdpa/parameters/first)"
		ok "loaded after: refused at the beginning of init already"
	fi
	grep -q 'state=failed' $gate/status || fail "no site has failed"
	site sev_ioctl 'state=absent$'
	[ $order = after ] || log 'sites: 1 armed, 13 absent, 1 failed'

	must rmmod portcullis
	passes /dev/vhost-vdpa-0
	echo 1 >/sys/module/vhost_vdpa/parameters/take || fail "the stand-in could not take its function"
	insert
	deny_all
	site vhost_vdpa_unlocked_ioctl 'state=failed error=EBUSY why="ftrace does not send its calls here: a livepatch'
	passes /dev/vhost-vdpa-0
	ok "a function that a livepatch has: failed, EBUSY, why"
	echo 0 >/sys/module/vhost_vdpa/parameters/take
	must rmmod portcullis
	insert
	deny_all
	site vhost_vdpa_unlocked_ioctl 'state=armed'
	refused /dev/vhost-vdpa-0
	ok "armed when that is gone and portcullis is loaded again"

	for module in iommufd vhost_scsi vhost_vdpa; do must rmmod $module; done
	for symbol in iommufd_fops_ioctl vhost_scsi_ioctl vhost_vdpa_unlocked_ioctl; do
		site $symbol 'state=absent$'
	done
	ok "without these modules: absent, and no failure is kept"
	must rmmod portcullis
done

insert
must modprobe vhost_scsi
site vhost_scsi_ioctl 'state=armed'
ok "the kernel's own module: armed"
