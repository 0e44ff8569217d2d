# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Files that were opened before the module was loaded are guarded as well.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
load_kvm
mkfifo /tmp/in /tmp/out
client session </tmp/in >/tmp/out 2>&1 &
exec 3>/tmp/in 4</tmp/out

ask() {
	echo "$1" >&3
	read -r answer <&4
	echo "session: $1 -> $answer"
}

ask open
ask "try kvm-vm KVM_CHECK_EXTENSION 0"
case $answer in ok*) ;; *) fail "before loading: $answer" ;; esac

insert
rules 'deny kvm-vm KVM_CHECK_EXTENSION errno EACCES' 'deny kvm KVM_CHECK_EXTENSION errno EBUSY' \
	'deny kvm-vcpu KVM_GET_REGS errno EXDEV' 'deny kvm-device KVM_HAS_DEVICE_ATTR errno ENOSYS'
for row in 'kvm-vm KVM_CHECK_EXTENSION 0:EACCES' 'kvm KVM_CHECK_EXTENSION 0:EBUSY' \
	'kvm-vcpu KVM_GET_REGS valid:EXDEV' 'kvm-device KVM_HAS_DEVICE_ATTR valid:ENOSYS'; do
	ask "try ${row%:*}"
	case $answer in "errno ${row##*:}"*) ;; *) fail "${row%:*}: $answer" ;; esac
done
ok "the four kinds of file that were open before are guarded"

ask run
case $answer in ok* | guest* | exit*) ;; *) fail "the guest does not run any more: $answer" ;; esac
ok "the VM that ran before goes on"

must rmmod portcullis
ask "try kvm-vm KVM_CHECK_EXTENSION 0"
case $answer in ok*) ;; *) fail "after unloading: $answer" ;; esac
ok "after unloading, nothing stands in the way"
echo quit >&3
