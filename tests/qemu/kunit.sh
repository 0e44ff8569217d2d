# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The KUnit suites of the module, which run when it is loaded into a kernel with CONFIG_KUNIT=y.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
insert
# The suites of the kernel's own Rust code have run while it booted: only ours count.
dmesg | sed 's/^\[[^]]*\] //' | sed -n '/Subtest: portcullis_/,$p' | tee /tmp/ktap
for suite in portcullis_engine portcullis_facts portcullis_known portcullis_life portcullis_module; do
	grep -q "^ok [0-9]* $suite\$" /tmp/ktap || fail "the suite $suite did not run, or failed"
done
tests=$(grep -c '^    ok [0-9]* [a-z]' /tmp/ktap)
[ "$tests" -ge 50 ] || fail "only $tests tests ran"
grep 'not ok' /tmp/ktap && fail "a test failed"
ok "5 suites, $tests tests"
must rmmod portcullis
