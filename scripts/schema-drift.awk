# SPDX-License-Identifier: GPL-2.0
#
# schema-drift: which ioctls only the schema has, and which only this kernel's headers, in Rust.
# Reads rust/policy/schema/layout.c, then the macros that the compiler has seen behind it.

FNR == NR {
	if (match($0, /^(NUMBER|OTHER)\([A-Z0-9_]+/)) {
		name = substr($0, RSTART, RLENGTH)
		sub(/.*\(/, "", name)
		known[name] = ++names
		order[names] = name
	}
	next
}

$1 == "#define" && $2 ~ /^(KVM|VFIO|IOMMU|VHOST|SEV)_[A-Z0-9_]+$/ && $3 ~ /^_IO[RW]*\(/ {
	here[$2] = 1
	if (!($2 in known))
		unknown = unknown "\"" $2 "\", "
}

END {
	for (i = 1; i <= names; i++)
		if (!(order[i] in here))
			missing = missing "\"" order[i] "\", "
	print "pub(crate) const UNKNOWN: &[&str] = &[" unknown "];"
	print "pub(crate) const MISSING: &[&str] = &[" missing "];"
}
