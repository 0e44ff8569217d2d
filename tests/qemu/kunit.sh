# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The KUnit suites of the module, which run when it is loaded into a kernel with CONFIG_KUNIT=y.

# shellcheck source=tests/qemu/lib.sh
. /lib.sh
insert
dmesg | sed -n 's/^\(\[[^]]*\] \)\?//; /KTAP version/,$p' | tee /tmp/ktap
totals=$(grep -c '^# Totals\|^ *# Totals' /tmp/ktap)
suites=$(grep -c '^ok [0-9]* \|^not ok [0-9]* ' /tmp/ktap)
tests=$(grep -c '^ *ok [0-9]* [a-z]' /tmp/ktap)
[ "$suites" -ge 2 ] || fail "only $suites suites ran (totals: $totals)"
[ "$tests" -ge 30 ] || fail "only $tests tests ran"
grep -q 'not ok' /tmp/ktap && fail "a suite failed"
ok "$suites suites, $tests tests"
must rmmod portcullis
