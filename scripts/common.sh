# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What every script here shares: where things are, how to speak, how to fail.
# Sourced, never run.

set -euo pipefail
export LC_ALL=C

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${PORTCULLIS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/portcullis}

cache=$(realpath -m "$cache")
case $top$cache in
*[[:space:]:,]*)
	echo "error: make cannot work in a folder whose path has a blank, a colon or a comma: $top, $cache" >&2
	echo "       Move the checkout, or set PORTCULLIS_CACHE to another folder." >&2
	exit 1
	;;
esac

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'
else
	bold='' red='' plain=''
fi

# say TEXT: progress goes to standard error, so that standard output stays a result.
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }

# die TEXT [HINT]: a sentence that says what is wrong, and one that says what to do.
die() {
	printf '%serror:%s %s\n' "$red" "$plain" "$1" >&2
	[ $# -lt 2 ] || printf '       %s\n' "$2" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" -eq 0 ] ||
		die "this needs root: it makes a Debian root with mmdebstrap and enters it with chroot." \
			"Run it again as root, or with sudo."
}

# need_space GIB: a build that dies of a full disk half way costs an hour.
need_space() {
	local free
	mkdir -p "$cache"
	free=$(df --output=avail -k "$cache" | tail -n 1)
	[ "$free" -ge $(($1 * 1024 * 1024)) ] ||
		die "$cache has $((free / 1024 / 1024)) GiB free, and this step needs $1." \
			"Free some space, or set PORTCULLIS_CACHE to a folder on a larger disk."
}

# locked NAME: hold the lock NAME until this shell ends; a second run waits for the first.
locked() {
	mkdir -p "$cache/locks"
	exec {lock}>"$cache/locks/$1"
	flock -n "$lock" || {
		say "waiting for another run that is making $1"
		flock "$lock"
	}
}

# step TITLE LOG COMMAND...: run COMMAND with its output in LOG, say how long it took; on failure
# show the end of LOG.
step() {
	local title=$1 log=$2 began=$SECONDS ticker code
	shift 2
	mkdir -p "$(dirname "$log")"
	say "$title (log: $log)"
	# Its sleep outlives the ticker: it must hold neither the lock nor a caller's pipe.
	(
		exec >/dev/null
		[ -z "${lock:-}" ] || exec {lock}>&-
		while sleep 60 >/dev/null 2>&1; do say "... still busy: $title, $((SECONDS - began)) s"; done
	) &
	ticker=$!
	# Neither `if` nor `||`: they would switch `set -e` off inside COMMAND.
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1 </dev/null
	code=$?
	set -e
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	if [ "$code" -ne 0 ]; then
		tail -n 30 "$log" | sed 's/^/    | /' >&2
		die "this step failed: $title" "The whole log is $log; the same command tries again from this step."
	fi
	say "done in $((SECONDS - began)) s: $title"
}

# key FILE-OR-TEXT...: twelve hex digits that change when a build's inputs do.
key() { printf '%s\n' "$@" | sha256sum | cut -c1-12; }
