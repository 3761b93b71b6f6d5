#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tsan.sh - guests with several vCPUs on a library that ThreadSanitizer looks at.
#
# The torture, SMC and SMP guests with 2 and 4 vCPUs on both vendors, and the
# translator's unit tests with several processors. A report of the sanitizer fails (exit
# status 66), and so does a guest; but for the torture guest's count of interrupts, which
# is the host's speed. Translated code is not instrumented. One line a program.
set -uo pipefail
cd "$(dirname "$0")/.."
dir=build-tsan
export TSAN_OPTIONS="halt_on_error=1 exitcode=66 history_size=4"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ ! -f $dir/build.ninja ]; then
	CC=clang meson setup $dir -Dbuildtype=debugoptimized -Db_sanitize=thread \
		-Db_lundef=false > "$log" 2>&1 || { cat "$log"; exit 1; }
fi
guests=(guest-torture2 guest-smc guest-smc4 guest-smp)
ninja -C $dir --quiet tests/guest/guest-runner "${guests[@]/#/tests/guest/}" \
	tests/unit/jit/test_flow > "$log" 2>&1 || { cat "$log"; exit 1; }

failed=0
run() { # NAME COMMAND...
	local name=$1 status; shift
	timeout 300 "$@" > "$log" 2>&1
	status=$?
	if [ $status -ne 0 ] && ! only_slow $status; then
		echo "FAIL: $name under TSan (status $status)"
		cat "$log"
		failed=1
	else
		echo "PASS: $name under TSan"
	fi
}

only_slow() { # STATUS
	[ "$1" -eq 1 ] && grep -q '^# .* reports' "$log" &&
		! grep '^FAIL' "$log" | grep -qv 'interrupted in many places'
}

for v in intel amd; do
	export ANYKVM_PARAMS=vendor=$v,engine=jit,jit_threshold=0
	for g in "torture2 2 30" "smc 2 18" "smc4 4 18" "smp 2 18"; do
		set -- $g
		run "guest-$1-$v" $dir/tests/guest/guest-runner -c "$2" -n "$3" $dir/tests/guest/guest-"$1"
	done
done
run jit-flow $dir/tests/unit/jit/test_flow
exit $failed
