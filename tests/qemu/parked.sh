# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# A VMM that keeps a lock of KVM's for as long as it likes: the module comes, works and goes all the same.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm

# goes_on COMMAND...: it succeeds within some seconds. What waits for KVM's lock cannot be killed, so that nobody
# may wait for it.
goes_on() {
	rm -f /tmp/code
	("$@" >/tmp/out 2>&1; echo $? >/tmp/code.new; mv /tmp/code.new /tmp/code) &
	tries=0
	until [ -e /tmp/code ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "waits for a lock that a VMM keeps: $*"
		usleep 100000
	done
	[ "$(cat /tmp/code)" -eq 0 ] || fail "$*: $(cat /tmp/out)"
}

# park, unpark: a VMM keeps the lock of its VM's memory slots, and gives it back. Sets $parked.
park() {
	rm -f /tmp/hold
	mkfifo /tmp/hold
	client park </tmp/hold >/tmp/parked 2>&1 &
	parked=$!
	exec 6>/tmp/hold
	until_says /tmp/parked parked "nobody keeps a lock"
}
unpark() {
	! grep -q ok /tmp/parked || fail "the lock was given back before: $(cat /tmp/parked)"
	exec 6>&-
	wait $parked || fail "the VMM that kept the lock: $(cat /tmp/parked)"
}

# Policies that ask for all that a VM has.
cat >/tmp/limits <<'POLICY'
policy limits version 1
profile vmm
    match exe /client
    default allow
    limit zones 4
    limit memslots 4
    limit memory 64M per profile
profile other
    default deny
end
POLICY
sed 's/zones 4/zones 5/; s/limits/others/' /tmp/limits >/tmp/others

park
goes_on insmod /portcullis.ko
ok "the module comes while a lock is kept"
for policy in limits others; do goes_on client write $gate/policy /tmp/$policy --expect ok; done
ok "policies are put in force"
goes_on cat $gate/vms
is_vm "$(cat /tmp/out)" pid=$parked exe=/client profile=vmm phase=setup memslots=1 created=-
goes_on cat $gate/status $gate/counters
ok "the VM is shown"
goes_on client act kvm vm 'memory 0 1M' 'zone 0xe00000' vcpu 'ready 0' 'run 0'
ok "another VMM works"
goes_on rmmod portcullis
unpark
ok "the module goes"

# The same where the module has seen the VM being made.
goes_on insmod /portcullis.ko
goes_on client write $gate/policy /tmp/limits --expect ok
park
for policy in others limits; do goes_on client write $gate/policy /tmp/$policy --expect ok; done
goes_on cat $gate/vms
is_vm "$(cat /tmp/out)" pid=$parked exe=/client profile=vmm phase=setup memslots=1
goes_on client act kvm vm 'memory 0 1M' 'zone 0xe00000' vcpu 'ready 0' 'run 0'
unpark
goes_on rmmod portcullis
ok "a VM that was made under a policy"
