# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# vhost-vsock: refusals, and a connection from the host to a guest beside them.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
must modprobe vhost_vsock
use vhost-vsock
ok "without the module: $steps"
insert
grep -q '^site: .* surface=vhost-vsock .*state=armed' $gate/status || fail "vhost-vsock is not armed"

for door in '' --compat; do
	# shellcheck disable=SC2086  # no word, or one
	set -- $door
	# In/out and input commands with conditions that no call meets.
	rules 'deny vhost-vsock VHOST_SET_FEATURES, VHOST_VSOCK_SET_GUEST_CID if value == 99 errno EXDEV' \
		'deny vhost-vsock VHOST_VSOCK_SET_RUNNING if value == 99 errno EXDEV' \
		'deny vhost-vsock VHOST_GET_VRING_BASE if index == 99 errno EXDEV' \
		'deny vhost-vsock VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE if num == 99 errno EXDEV' \
		'deny vhost-vsock VHOST_SET_VRING_ADDR if desc_user_addr == 1 errno EXDEV' \
		'deny vhost-vsock VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL if fd == 99 errno EXDEV' \
		'deny vhost-vsock VHOST_SET_MEM_TABLE if any regions (userspace_addr == 1) errno EXDEV'
	use vhost-vsock "$@"
	denied 0
	ok "$* conditions that nothing meets: $steps"

	rules 'deny vhost-vsock VHOST_VSOCK_SET_GUEST_CID if value == 53 errno EDOM' \
		'deny vhost-vsock VHOST_GET_VRING_BASE if index == 1 errno EXDEV'
	use vhost-vsock "$@" --refused cid-second:EDOM --refused get-base-1:EXDEV
	denied 2
	ok "$* fields: the guest keeps its address, and is heard and answered there"

	rules 'deny vhost-vsock VHOST_VSOCK_SET_RUNNING errno EACCES'
	use vhost-vsock "$@" --refused run:EACCES
	denied 1
	ok "$* commands: the queue stands still, and nobody is reached"
done

rules 'deny vhost-vsock VHOST_VSOCK_SET_GUEST_CID if value == 0 errno EDOM'
[ "$(compat32 try vhost-vsock VHOST_SET_OWNER)" = 'ok 0' ] || fail "compat32: no owner"
[ "$(compat32 try vhost-vsock VHOST_VSOCK_SET_GUEST_CID)" = 'errno EDOM (33)' ] || fail "compat32: a CID"
ok "compat32"

rules 'deny vhost-vsock *'
printf 0 >$gate/enforce
use vhost-vsock
[ "$(counter 'rule line=4' would-deny)" -eq "${steps% steps}" ] || fail "not every step would be denied"
ok "permissive: $steps, all of which would be denied"
must rmmod portcullis
use vhost-vsock
ok "after the module: $steps"
