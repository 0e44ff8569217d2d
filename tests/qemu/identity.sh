# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Each trick by which a process could pass for another: it gets no other profile, and an honest VMM keeps its own.
#
# Each profile has a badge: the errno with which it refuses a call that is good for nothing else.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
insert
chmod 666 /dev/kvm
mkdir -p /usr/bin /opt /srv
honest=/usr/bin/qemu-system-x86_64 trick=/srv/trick
for path in $honest $trick /srv/other /usr/bin/qemu-system-i386; do cp /client "$path"; done
chmod 755 /usr /usr/bin /srv /usr/bin/* /srv/*

# badges ERRNO PROFILE-LINE... [-- ERRNO PROFILE-LINE...]...: a policy of these profiles; `other` has EILSEQ.
badges() {
	{
		echo "policy badges version 1"
		while [ $# -gt 0 ]; do
			badge=$1
			shift
			echo "profile with-$badge"
			while [ $# -gt 0 ] && [ "$1" != -- ]; do
				echo "    match $1"
				shift
			done
			[ $# -eq 0 ] || shift
			worn
		done
		badge=EILSEQ
		echo "profile other"
		worn
		echo "end"
	} >/tmp/policy
	must client write $gate/policy /tmp/policy --expect ok >/dev/null
}
worn() {
	echo "    default allow"
	echo "    deny kvm KVM_GET_API_VERSION errno $badge"
	echo "    deny kvm-vm KVM_CHECK_EXTENSION errno $badge"
	echo "    deny kvm-vcpu KVM_GET_MP_STATE errno $badge"
	echo "    deny kvm-device KVM_HAS_DEVICE_ATTR errno $badge"
}

# wears BADGE PROGRAM [STEP...]: whoever takes these steps and then opens /dev/kvm gets this badge, there and
# on what it makes.
wears() {
	wanted=$1 program=$2
	shift 2
	as "$program" "$@" kvm "use -> $wanted" vm "use vm -> $wanted" vcpu "use vcpu -> $wanted" \
		device "use device -> $wanted"
}
by_exe() { badges EXDEV "exe $honest"; }

# --- The program --------------------------------------------------------------------------------

by_exe
wears EXDEV $honest
wears EILSEQ $trick
ok "an honest VMM has its profile, on each kind of file, and others have not"

wears EILSEQ $trick 'comm qemu-system-x86' 'comm-file qemu-system-x86'
badges EXDEV "exe $honest, /srv/other" 'comm qemu-system-x8, qemu-system-x86, other' -- EDOM 'comm trick'
wears EILSEQ $trick 'comm other'
wears EDOM $trick
wears EXDEV /srv/other
vmm keeps /srv/other
told keeps ok kvm
told keeps EXDEV use
told keeps ok comm trick
told keeps EXDEV use
told keeps ok vm
told keeps EXDEV use vm
leave keeps
vmm late $trick
told late ok kvm
told late EDOM use
told late ok comm other
told late EDOM use
leave late
by_exe
ok "comm: a name makes no program another, and does not count once a file was used"

ln -s $trick /srv/qemu-system-x86_64
wears EILSEQ /srv/qemu-system-x86_64
ln -s /proc/self/exe /srv/self
wears EILSEQ $trick 'exec /proc/self/exe'
wears EILSEQ $trick 'exec /srv/self'
wears EXDEV $honest 'exec /proc/self/exe'
wears EXDEV $trick "exec /proc/self/root$honest"
ok "/proc/self/exe, symbolic links and other ways to name a file: the file itself counts"

# replaced NAME WAY LATER [STEP...]: WAY makes /proc/PID/exe the honest program, and that does not help. The badge
# of who then executes the honest program is LATER.
replaced() {
	name=$1 way=$2 later=$3
	shift 3
	vmm "$name" $trick
	for step in "$@"; do tell "$name" "$step"; done
	told "$name" ok unmap-exe
	told "$name" ok "$way" $honest
	[ "$(readlink /proc/$pid/exe)" = $honest ] || fail "$way did not work: $(readlink /proc/$pid/exe)"
	told "$name" ok kvm
	told "$name" EILSEQ use
	told "$name" ok vm
	told "$name" EILSEQ use vm
	# The child has memory of its own, with the same mark.
	told "$name" EILSEQ fork use
	told "$name" ok fork
	told "$name" ok kvm
	told "$name" EILSEQ use
	told "$name" "inherited: ok" exec $honest
	told "$name" ok kvm
	told "$name" "$later" use
	leave "$name"
}
replaced set exe-file EXDEV
ok "PR_SET_MM_EXE_FILE"
replaced map exe-map EXDEV
ok "PR_SET_MM_MAP"
replaced ns exe-map EILSEQ 'uid 1000' "exec $trick" userns
ok "PR_SET_MM_MAP by root of an own user namespace"
# A program that was opened for an interpreter, by the rules of a user namespace, which anybody can make. What
# rule it is that opens it can be said by one who lives outside.
must modprobe binfmt_misc
mkdir -p /srv/formats
# forged NAME EXTENSION: a VMM that says that such a file is its program.
forged() {
	rm -f /tmp/socket /tmp/go "/tmp/honest.$2"
	ln -s $honest "/tmp/honest.$2"
	vmm "$1" $trick
	told "$1" ok unmap-exe
	: >/tmp/forger
	unshare -Umr sh -c "mount -t binfmt_misc none /srv/formats && echo ':first:E::forged::/client:O' >/srv/formats/register &&
		echo inside \$\$ && until [ -e /tmp/go ]; do usleep 10000; done &&
		exec /tmp/honest.$2 act 'send /tmp/socket program'" >/tmp/forger 2>&1 &
	forger=$!
	until_says /tmp/forger inside "no rules of a user namespace"
	inside=$(sed -n 's/^inside //p' /tmp/forger)
	echo ':second:E::relay::/tmp/honest.forged:F' >"/proc/$inside/root/srv/formats/register" ||
		fail "no rule from outside"
	: >/tmp/go
	tell "$1" receive /tmp/socket program
	[ "$answer" = "ok 0" ] || fail "no program was forged: $answer: $(cat /tmp/forger)"
	wait $forger
	[ "$(readlink /proc/$pid/exe)" = $honest ] || fail "the trick did not work: $(readlink /proc/$pid/exe)"
	told "$1" ok kvm
	told "$1" EILSEQ use
	told "$1" ok vm
	told "$1" EILSEQ use vm
	leave "$1"
}
forged opened-inside forged
forged opened-outside relay
ok "PR_SET_MM_MAP with a program that binfmt_misc has had opened for an interpreter"
wears EILSEQ $honest userns
wears EILSEQ $trick userns "exec $honest"
ok "who lives in a user namespace of its own has no program: there it may have one run and another shown"
vmm used $honest
told used ok kvm
told used EXDEV use
told used ok unmap-exe
told used ok exe-file $trick
told used EXDEV use
told used ok kvm
told used EILSEQ use
leave used
ok "who replaces its program loses its profile, but for files used before"

# In namespaces of mounts, own and of an own user.
for way in -m -Umr; do
	unshare $way sh -c "mount --bind $trick $honest && exec $honest act kvm 'use -> EILSEQ' vm 'use vm -> EILSEQ'" \
		>/tmp/out 2>&1 || fail "a bind mount over the program ($way): $(cat /tmp/out)"
	mkdir -p /srv/fake/bin
	cp /client /srv/fake/bin/qemu-system-x86_64
	unshare $way sh -c "mount --bind /srv/fake /usr && exec $honest act kvm 'use -> EILSEQ'" \
		>/tmp/out 2>&1 || fail "a bind mount over its folder ($way): $(cat /tmp/out)"
	unshare $way sh -c "mount -t tmpfs none /usr && mkdir /usr/bin && cp /client $honest &&
		exec $honest act kvm 'use -> EILSEQ'" >/tmp/out 2>&1 || fail "a tmpfs over its folder ($way): $(cat /tmp/out)"
done
unshare -m $honest act kvm 'use -> EXDEV' >/tmp/out 2>&1 || fail "a namespace of mounts alone: $(cat /tmp/out)"
ok "bind mounts and file systems over the program's path, in own namespaces of mounts"

mkdir -p /srv/jail/usr/bin /srv/jail/dev /srv/jail/proc
cp /client /srv/jail$honest
mknod -m 666 /srv/jail/dev/kvm c 10 232
must chroot /srv/jail $honest act kvm 'use -> EILSEQ' vm 'use vm -> EILSEQ' >/tmp/out 2>&1
badges EXDEV "exe $honest" -- EDOM "exe /srv/jail/usr/bin/qemu-*"
must chroot /srv/jail $honest act kvm 'use -> EDOM' vm 'use vm -> EDOM' >/tmp/out 2>&1
by_exe
ok "chroot: the path on the host counts"

cat >/srv/jail/pivot <<-'PIVOT'
	#!/bin/busybox sh
	# On a file system of its own, and then pivoted into another one.
	set -e
	p=/bin/busybox
	$p mkdir -p /inner/usr/bin /inner/dev /inner/old /inner/bin
	$p mount -t tmpfs inner /inner
	$p mkdir -p /inner/usr/bin /inner/dev /inner/old
	$p cp /usr/bin/qemu-system-x86_64 /inner/usr/bin/
	$p cp $p /inner/
	$p mknod /inner/dev/kvm c 10 232
	/usr/bin/qemu-system-x86_64 act kvm 'use -> EILSEQ' vm 'use vm -> EILSEQ'
	$p pivot_root /inner /inner/old
	cd /
	/usr/bin/qemu-system-x86_64 act kvm 'use -> EILSEQ' vm 'use vm -> EILSEQ'
	/busybox umount -l /old
	/usr/bin/qemu-system-x86_64 act kvm 'use -> EILSEQ' vm 'use vm -> EILSEQ'
PIVOT
unshare -m sh -c "
	mkdir /srv/new && mount -t tmpfs new /srv/new && cp -a /srv/jail/. /srv/new &&
	mkdir -p /srv/new/bin && cp /bin/busybox /srv/new/bin/busybox &&
	cd /srv/new && mount --move . / && exec chroot . /bin/busybox sh /pivot" >/tmp/out 2>&1 ||
	fail "pivot_root: $(cat /tmp/out)"
ok "an own root, by mount --move and by pivot_root, with the program at the same path"

for name in qemu-system-x86_64 $honest ..$honest "../..$honest"; do
	wears EILSEQ $trick "exec-memfd $name"
done
ok "memfd_create and fexecve"

ln $trick /srv/hard-qemu-system-x86_64
wears EILSEQ /srv/hard-qemu-system-x86_64
ln $honest /srv/hard
wears EILSEQ /srv/hard
rm /srv/hard
ok "hard links: the name by which it was started counts"

mkdir -p /srv/own/bin
cp /client /srv/own/bin/x
vmm renamed /srv/own/bin/x
mv /srv/own/bin/x /srv/own/bin/qemu-system-x86_64
told renamed ok kvm
told renamed EILSEQ use
leave renamed
cp /client "$honest (deleted)"
wears EILSEQ "$honest (deleted)"
rm "$honest (deleted)"
ok "renamed while it runs; called as if it were deleted"

vmm old $honest
told old ok kvm
told old EXDEV use
told old ok vm
cp /client /usr/bin/new && mv /usr/bin/new $honest
told old EXDEV use vm
by_exe
told old EXDEV use
told old EXDEV use vm
told old ok kvm
told old EXDEV use
told old ok vm
wears EXDEV $honest
rm $honest
by_exe
told old EXDEV use vm
told old ok kvm
told old EXDEV use
leave old
cp /client $honest
ok "the program of a VMM is replaced, then deleted, under policies that change: it keeps its profile"

# --- Users, groups, control groups --------------------------------------------------------------

badges EXDEV 'uid 0' 'gid 0' -- EDOM 'uid 1000' -- ENOANO 'gid 1000'
vmm drops $trick
told drops ok kvm
told drops EXDEV use
told drops ok vm
told drops ok gid 1000
told drops EXDEV use
told drops ok kvm
told drops ENOANO use
told drops ok uid 1000
told drops EXDEV use vm
told drops ENOANO use
told drops ok vm
told drops ENOANO use vm
told drops ok kvm
told drops EDOM use
leave drops
wears EDOM $trick kvm 'uid 1000' 'use -> EDOM'
ok "user and group count when a file is first used; who drops them later keeps what it had"

mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup /sys/fs/cgroup || fail "no cgroup2"
mkdir -p /sys/fs/cgroup/vmm/one /sys/fs/cgroup/else
badges EXDEV 'cgroup /vmm/*'
wears EXDEV $trick 'cgroup /sys/fs/cgroup/vmm/one'
wears EILSEQ $trick 'cgroup /sys/fs/cgroup/vmm'
wears EILSEQ $trick
vmm moved $trick
told moved ok cgroup /sys/fs/cgroup/vmm/one
told moved ok kvm
told moved EXDEV use
told moved ok cgroup /sys/fs/cgroup/else
told moved EXDEV use
told moved ok vm
told moved EXDEV use vm
told moved ok kvm
told moved EILSEQ use
told moved ok cgroup /sys/fs/cgroup/vmm/one
told moved EILSEQ use
leave moved
# A namespace of control groups shows another path, and the host's counts.
vmm nested $trick
told nested ok cgroup /sys/fs/cgroup/else
told nested ok namespaces
told nested ok fork
told nested ok kvm
told nested EILSEQ use
leave nested
ok "the control group in which a file is first used counts, by its path on the host"

badges EXDEV 'uid 0' -- EDOM 'uid 1000'
vmm container $trick
told container ok uid 1000
told container "inherited: ok" exec $trick
told container ok namespaces
told container ok fork
told container ok kvm
told container EDOM use
told container ok vm
told container EDOM use vm
made=$(grep -c ' uid=1000 ' $gate/vms)
[ "$made" -eq 1 ] || fail "the container's VM is not shown by the host's numbers: $(cat $gate/vms)"
is_vm "$(grep ' uid=1000 ' $gate/vms)" exe=- comm=trick
inside=$(sed -n 's/.* pid=\([0-9]*\) .*/\1/p' $gate/vms)
[ "$(readlink "/proc/$inside/exe")" = $trick ] || fail "$inside is no pid of the host"
leave container
ok "a container with its own users, processes and mounts: the host's numbers count"

# --- Files that change hands --------------------------------------------------------------------

badges EXDEV "exe $honest" -- EDOM "exe /srv/other"
vmm gives $honest
vmm takes /srv/other
told gives ok kvm
hand gives takes kvm
told takes EDOM use
told gives EDOM use
ok "a file that was handed on before its first use has the profile of who used it"
told gives ok kvm
told gives EXDEV use
told gives ok vm
told gives ok vcpu
for what in kvm vm vcpu; do hand gives takes $what; done
told takes EXDEV use
# KVM itself answers EIO to all but the process that made the VM; so does the gate, and nothing counts.
told takes EIO use vm
told takes EIO use vcpu
told gives EXDEV use vm
told gives EXDEV use vcpu
by_exe
told takes EIO use vm
told gives EXDEV use vm
leave gives
told takes EXDEV use
told takes EIO use vm
told takes EIO use vcpu
leave takes
ok "a file that was used keeps its profile in other hands, and when its maker is gone; a VM serves nobody but its maker"

# A VM from before the module, none of whose files its maker has: until he comes back to one.
must rmmod portcullis
vmm gives $honest
vmm takes /srv/other
for step in kvm vm vcpu; do told gives ok "$step"; done
hand gives takes vm
told gives ok close vm
told gives ok queue vcpu
insert
badges EXDEV "exe $honest" -- EDOM "exe /srv/other"
told takes EIO use vm
told gives ok unqueue vcpu
told gives EXDEV use vcpu
told gives EXDEV use vcpu
leave gives takes
ok "who only has another's VM does not speak for its maker"

badges EXDEV "exe $honest" -- EDOM "exe /srv/other"
as $honest kvm 'use -> EXDEV' vm vcpu 'use vcpu -> EXDEV' 'fork use vm -> EIO' 'fork use -> EXDEV' fork \
	'use vcpu -> EIO' kvm 'use -> EXDEV'
ok "fork"
as $honest kvm 'use -> EXDEV' vm vcpu 'use vcpu -> EXDEV' 'exec /srv/other' 'use -> EXDEV' 'use vm -> EIO' \
	'use vcpu -> EIO' kvm 'use -> EDOM'
as $honest kvm 'exec /srv/other' 'use -> EDOM'
as /srv/other kvm 'use -> EDOM' vm "exec $honest" 'use vm -> EIO' 'use -> EDOM' kvm 'use -> EXDEV'
ok "exec of another program: files that were used keep their profile, others get that of who uses them"

# --- Others -------------------------------------------------------------------------------------

policy "policy traced version 1
profile vmm
    match exe $honest
    default allow
    deny kvm-vm KVM_CHECK_EXTENSION if thread.traced == 1 errno EDEADLK
profile other
    default deny errno EILSEQ
end"
vmm victim $honest
told victim ok kvm
told victim ok vm
told victim ok use vm
mkfifo /tmp/hold
$trick trace $pid </tmp/hold >/tmp/tracing 2>&1 &
tracer=$!
exec 6>/tmp/hold
until_says /tmp/tracing tracing "nobody traces"
told victim EDEADLK use vm
exec 6>&-
wait $tracer || fail "the tracer: $(cat /tmp/tracing)"
told victim ok use vm
leave victim
ok "who traces a VMM makes calls of it that can be told by thread.traced"

badges EXDEV "exe $honest, /usr/bin/compat32"
as $honest kvm 'use kvm compat -> EXDEV' vm 'use vm compat -> EXDEV'
as $trick kvm 'use kvm compat -> EILSEQ' vm 'use vm compat -> EILSEQ'
cp /compat32 /usr/bin/compat32
for row in /usr/bin/compat32:EXDEV /compat32:EILSEQ; do
	answer=$(${row%:*} try kvm KVM_GET_API_VERSION)
	case $answer in "errno ${row#*:} "*) ;; *) fail "${row%:*}: $answer" ;; esac
done
ok "32-bit callers are told apart as others are"

must rmmod portcullis
wears_none() { as $trick kvm use vm 'use vm' vcpu 'use vcpu'; }
wears_none
ok "after the module: nobody asks"
