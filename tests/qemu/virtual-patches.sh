# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Each virtual patch refuses its forbidden shape, by its own rule, and lets the nearest legal one by.
#
# With arguments, only these CVEs.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
patches=/files/virtual-patches

load_kvm
for module in vhost_net vhost_vsock vhost_scsi vhost_vdpa iommufd; do modprobe $module 2>/dev/null; done
modprobe vfio_iommu_type1 && pass_through
insert

# answer SHAPE SIDE: sets $answer; fails with 3 where this machine lacks the device.
answer() {
	answer=$(client shape "$1" "$2" 2>/tmp/trouble)
	code=$?
	case $code in
	0) ;;
	3) return 3 ;;
	*) fail "$1, $2: $(cat /tmp/trouble)" ;;
	esac
}

# denials: all calls that were denied since the module was loaded.
denials() { awk '/^command / { sub(/.* denied=/, ""); n += $1 } END { print n + 0 }' $gate/counters; }

# deciders: the lines of the rules that have denied a call since the policy was loaded.
deciders() { sed -n 's/^rule line=\([0-9]*\) .* denied=[1-9].*/\1/p' $gate/counters | tr '\n' ' '; }

# guarded SURFACE: fails where this version has no site for it.
guarded() {
	grep "^site: .* surface=$1 " $gate/status >/tmp/sites || return 1
	grep -q 'state=\(armed\|shared\)' /tmp/sites || fail "the sites of $1 are not armed"
}

# no_warning NAME: of the policy in force.
no_warning() {
	grep -q '^last load: accepted$' $gate/status || fail "$1: $(sed -n '/^last load/,$p' $gate/status)"
}

skip() { echo "skipped: $*"; skipped=$((skipped + 1)); }

# --- Every file has a shape, and every shape a file --------------------------------------------

client shape --list >/tmp/list || fail "no list of shapes"
files=0
for file in "$patches"/*.policy; do
	cve=$(basename "$file" .policy) files=$((files + 1))
	grep -q "^$cve\." /tmp/list || fail "$cve.policy has no shape"
	grep -q "^policy $cve version" "$file" || fail "$cve.policy calls itself something else"
	for section in "# $cve" '# Closes: ' '# Costs: '; do
		grep -q "^$section" "$file" || fail "$cve.policy does not say: $section"
	done
done
while read -r shape surface; do
	[ -e "$patches/${shape%%.*}.policy" ] || fail "the shape $shape belongs to no file"
done </tmp/list
for surface in kvm kvm-vm kvm-vcpu; do
	guarded $surface || fail "$surface is not guarded"
done
ok "$files files, $(wc -l </tmp/list) shapes"
[ $# -eq 0 ] || {
	for cve in "$@"; do grep "^$cve\." /tmp/list || fail "there is no $cve"; done >/tmp/wanted
	mv /tmp/wanted /tmp/list
}

# --- What the kernel itself answers ------------------------------------------------------------

rules
skipped=0 absent=' '
mkdir -p /tmp/before
while read -r shape surface <&3; do
	for side in forbidden legal; do
		if answer "$shape" $side; then
			echo "$answer" >"/tmp/before/$shape.$side"
		else
			absent="$absent${shape%%.*}:$surface "
			skip "$shape: $(cat /tmp/trouble)"
			break
		fi
	done
	[ ! -e "/tmp/before/$shape.legal" ] ||
		printf '    %-34s %-26s %s\n' "$shape" "$(cat "/tmp/before/$shape.forbidden")" \
			"$(cat "/tmp/before/$shape.legal")"
done 3</tmp/list
[ "$(denials)" -eq 0 ] || fail "without a virtual patch $(denials) calls were denied"
ok "without the policies nothing is refused by the gate"

# --- What the policies change ------------------------------------------------------------------

# try_shape CVE SHAPE: with the policy of CVE in force.
try_shape() {
	so_far=$(denials)
	must client write $gate/policy "$patches/$1.policy" --expect ok >/dev/null
	answer "$2" forbidden
	[ $(($(denials) - so_far)) -eq 1 ] || fail "$2: the forbidden call was answered with $answer, and $(($(denials) - so_far)) calls were denied"
	line=$(deciders)
	line=${line% }
	rule=$(sed -n "${line}p" "$patches/$1.policy")
	errno=$(echo "$rule" | sed -n 's/.* errno \([A-Z0-9]*\).*/\1/p')
	case $rule in
	*limit\ memory*) errno=${errno:-ENOMEM} ;;
	*limit*) errno=${errno:-ENOSPC} ;;
	*) errno=${errno:-EPERM} ;;
	esac
	case $answer in
	"errno $errno "*) ;;
	*) fail "$2: the rule says $errno, and the VMM saw $answer" ;;
	esac
	echo "$line" >>/tmp/decided
	answer "$2" legal
	[ "$(denials)" -eq $((so_far + 1)) ] || fail "$2: the legal call was denied by the rule in line $(deciders)"
	[ "$answer" = "$(cat "/tmp/before/$2.legal")" ] ||
		fail "$2: the legal call is answered with $answer, and was with $(cat "/tmp/before/$2.legal")"
}

tried=0
for file in "$patches"/*.policy; do
	cve=$(basename "$file" .policy)
	grep "^$cve\." /tmp/list >/tmp/here || continue
	must client write $gate/policy "$file" --expect ok >/dev/null
	no_warning "$cve.policy"
	: >/tmp/decided
	tried_here=0
	while read -r shape surface <&3; do
		[ -e "/tmp/before/$shape.legal" ] || continue
		if guarded "$surface"; then
			try_shape "$cve" "$shape"
			tried_here=$((tried_here + 1))
		else
			skip "$shape: this version has no site for $surface"
		fi
	done 3</tmp/here
	# A rule that no shape has met is a rule that nobody knows to work.
	# What limits mappings is about containers, in this kernel.
	grep -nE '^ *(deny|limit) ' "$file" | sed -e 's/limit mappings/limit vfio-container/' \
		-e 's/^\([0-9]*\): *[a-z]* *\([^ ]*\).*/\1 \2/' >/tmp/rules
	while read -r line surface; do
		case $absent in *" $cve:$surface "*) continue ;; esac
		guarded "$surface" || continue
		grep -qx "$line" /tmp/decided || fail "$cve.policy: no shape has met the rule in line $line"
	done </tmp/rules
	[ $tried_here -eq 0 ] || ok "$cve: $tried_here shapes, $(sort -u /tmp/decided | wc -l) rules"
	tried=$((tried + tried_here))
done
[ $tried -ge 50 ] || [ $# -gt 0 ] || fail "only $tried shapes were tried"
echo "$tried shapes tried, $skipped skipped"

rules
must client boot --text "still alive"
ok "a VM boots after all that"
