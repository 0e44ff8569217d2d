# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# 1,000 VMs come and go in 8 processes under new policies and readers of vms, on the test kernel.
# Nothing is left of them: no line, no reference, no memory.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
each=${1:-125}
leaks=/sys/kernel/debug/kmemleak
[ -e $leaks ] || fail "this kernel has no kmemleak: boot it with kmemleak=on"
load_kvm
# What the kernel itself leaks meanwhile is nobody's fault here.
client churn --threads 1 --vms 3 --vcpus 2 --run >/tmp/churn || fail "the churn alone"
echo scan >$leaks
echo clear >$leaks
insert
mkdir -p /opt
cp /client /opt/vmm

# Two policies that ask for everything that is kept of a VM.
whole() {
	echo "policy storm-$1 version 1"
	for profile in 'vmm:exe /opt/*' 'client:exe /client'; do
		echo "profile ${profile%%:*}"
		echo "    match ${profile#*:}"
		echo "    default allow"
		echo "    limit vms 500"
		echo "    limit vcpus 16"
		echo "    limit vcpus 2000 per profile"
		echo "    limit memory 1G per profile"
		echo "    limit kvm-vm * 100000/s"
		echo "    deny kvm-vm KVM_CREATE_VCPU while running errno $1"
		echo "    deny kvm-vm KVM_CREATE_PIT2 if vm.did(KVM_CREATE_IRQCHIP) == 0 errno $1"
		echo "    deny kvm-vcpu KVM_SET_SREGS if vcpu.ran == 1 errno $1"
	done
	echo "profile other"
	echo "    default allow"
	echo "end"
}
whole EXDEV >/tmp/a
whole EDOM >/tmp/b
must client write $gate/policy /tmp/a --expect ok >/dev/null

storms=
for process in 1 2 3 4 5 6 7 8; do
	program=/client
	[ $((process % 2)) -eq 0 ] || program=/opt/vmm
	$program churn --threads 1 --vms "$each" --vcpus 2 --run >/tmp/churn-$process 2>&1 &
	storms="$storms $!"
done
loads=0 reads=0 most=0
any_left() { for storm in $storms; do kill -0 "$storm" 2>/dev/null && return 0; done; return 1; }
while any_left; do
	for text in /tmp/b /tmp/a; do
		must client write $gate/policy $text --expect ok >/dev/null
		loads=$((loads + 1))
		cat $gate/vms >/tmp/vms
		awk 'NF != 26 || $1 !~ /^vm=[0-9]+$/ || $26 !~ /^last-denial=/ { exit 1 }' /tmp/vms || fail "a line of vms: $(cat /tmp/vms)"
		n=$(wc -l </tmp/vms)
		[ "$n" -le 8 ] || fail "8 processes have one VM each, and vms has $n: $(cat /tmp/vms)"
		[ "$n" -le "$most" ] || most=$n
		reads=$((reads + 1))
	done
done
process=0 made=0
for storm in $storms; do
	process=$((process + 1))
	wait "$storm" || fail "process $process: $(cat /tmp/churn-$process)"
	made=$((made + $(sed -n 's/^\([0-9]*\) VMs$/\1/p' /tmp/churn-$process)))
done
[ $made -eq $((8 * each)) ] || fail "$made VMs came and went, not $((8 * each))"
[ $loads -ge 10 ] || fail "only $loads policies: the storm met too few"
[ "$most" -ge 2 ] || fail "vms never had two lines at once: nobody read it in time"
[ -z "$(cat $gate/vms)" ] || fail "vms is not empty: $(cat $gate/vms)"
ok "$made VMs came and went in 8 processes, under $loads policies; vms was read $reads times, and is empty"

# none_lost WHEN: an object is called leaked when a scan has not found it and it is some seconds old.
none_lost() {
	for _ in 1 2 3; do
		usleep 6000000
		echo scan >$leaks
	done
	! grep -q . $leaks || fail "memory is lost, $1: $(head -n 60 $leaks)"
}

# Twice: while the module is there its functions have names, and what only it knows of is found.
none_lost "while the module is there"
must rmmod portcullis
ok "the module goes"
must rmmod kvm_amd
must rmmod kvm
ok "KVM goes: nobody holds it"

none_lost "without the module"
ok "kmemleak finds nothing"
