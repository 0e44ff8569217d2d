# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# vhost-net on a tap: refusals, and packets of a guest that arrive beside them.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
must modprobe vhost_net
must modprobe tun
must ifconfig lo up
use vhost-net
ok "without the module: $steps"
insert
grep -q '^site: .* surface=vhost-net .*state=armed' $gate/status || fail "vhost-net is not armed"

for door in '' --compat; do
	# shellcheck disable=SC2086  # no word, or one
	set -- $door
	# In/out and input commands with conditions that no call meets.
	rules 'deny vhost-net VHOST_SET_FEATURES if value has 0x8000000000000000 errno EXDEV' \
		'deny vhost-net VHOST_GET_VRING_BASE if index == 99 errno EXDEV' \
		'deny vhost-net VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE if num == 99 errno EXDEV' \
		'deny vhost-net VHOST_SET_VRING_ADDR if desc_user_addr == 1 errno EXDEV' \
		'deny vhost-net VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL if fd == 99 errno EXDEV' \
		'deny vhost-net VHOST_SET_MEM_TABLE if any regions (userspace_addr == 1) errno EXDEV' \
		'deny vhost-net VHOST_NET_SET_BACKEND if fd == 99 errno EXDEV'
	use vhost-net "$@"
	denied 0
	ok "$* conditions that nothing meets: $steps"

	rules 'deny vhost-net VHOST_SET_MEM_TABLE if any regions (guest_phys_addr == 0x900000) errno EDOM' \
		'deny vhost-net VHOST_GET_VRING_BASE if index == 1 errno EXDEV'
	use vhost-net "$@" --refused memory-second:EDOM --refused get-base-1:EXDEV
	denied 2
	ok "$* fields: memory that was refused stays unknown, and packets go on from the rest"

	rules 'deny vhost-net VHOST_NET_SET_BACKEND errno EACCES' 'deny vhost-net VHOST_GET_FEATURES errno EDOM'
	use vhost-net "$@" --refused backend-0:EACCES --refused backend-1:EACCES --refused get-features:EDOM
	denied 3
	ok "$* commands: the queues stand still"

	rules 'deny vhost-net VHOST_NET_SET_BACKEND if index == 0 errno EACCES'
	use vhost-net "$@" --refused backend-0:EACCES
	denied 1
	ok "$* one queue of two: it stands still, and the other runs"
done

rules 'deny vhost-net VHOST_SET_FEATURES if value has 0x100000000 errno EDOM' \
	'deny vhost-net VHOST_GET_VRING_BASE errno EACCES'
[ "$(compat32 try vhost-net VHOST_SET_OWNER)" = 'ok 0' ] || fail "compat32: no owner"
[ "$(compat32 try vhost-net VHOST_GET_FEATURES)" = 'ok 0' ] || fail "compat32: no features"
[ "$(compat32 try vhost-net VHOST_GET_VRING_BASE)" = 'errno EACCES (13)' ] || fail "compat32: a base"
ok "compat32"

rules 'deny vhost-net *'
printf 0 >$gate/enforce
use vhost-net
[ "$(counter 'rule line=4' would-deny)" -eq "${steps% steps}" ] || fail "not every step would be denied"
ok "permissive: $steps, all of which would be denied"
must rmmod portcullis
use vhost-net
ok "after the module: $steps"
