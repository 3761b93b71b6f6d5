#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh [NAME ...] - builds the harnesses of fuzz/ with clang's libFuzzer and runs
# each (or those named: decode emulate guest ...) for FUZZ_SECONDS (30), JOBS (2) at a
# time. The last line is "N passed, N failed".
#
# The corpus begins with fuzz/mkcorpus.py's seeds and grows from run to run in
# build-fuzz/corpus/NAME. The input of a finding is left as build-fuzz/NAME-crash-...,
# what was printed as build-fuzz/NAME.log; run it again with
#	build-fuzz/fuzz/fuzz-NAME build-fuzz/NAME-crash-...
set -uo pipefail
cd "$(dirname "$0")/.."
dir=build-fuzz
seconds=${FUZZ_SECONDS:-30}
jobs=${JOBS:-2}

build() {
	if [ ! -f "$dir/build.ninja" ]; then
		CC=clang meson setup "$dir" -Dbuildtype=debugoptimized -Dfuzz=true \
			-Db_sanitize=address,undefined -Db_lundef=false >"/tmp/fuzz.$$" 2>&1 || {
			cat "/tmp/fuzz.$$" >&2
			rm -rf "/tmp/fuzz.$$" "$dir"
			return 1
		}
		rm -f "/tmp/fuzz.$$"
	fi
	ninja -C "$dir" -j"$jobs" --quiet fuzzers
}

# One harness: its line, and its result in $dir/NAME.ok.
run() { # NAME
	local name=$1 log=$dir/$1.log ok=$dir/$1.ok t=$SECONDS
	rm -f "$ok"
	if timeout $((seconds + 60)) "$dir/fuzz/fuzz-$name" -max_total_time="$seconds" \
			-entropic=0 -max_len=512 -timeout=20 -print_final_stats=1 \
			-artifact_prefix="$dir/$name-" "$dir/corpus/$name" >"$log" 2>&1; then
		touch "$ok"
		echo "   $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
			"inputs, $((SECONDS - t)) s"
	else
		echo "   FAILED: $name"
		grep -a -m 12 'FINDING\|ERROR\|runtime error\|^ *#[0-9].* in \|Test unit' "$log"
	fi
}

build || { echo "fuzz: the build failed"; echo "0 passed, 1 failed"; exit 1; }
fuzz/mkcorpus.py "$dir/corpus"
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
if [ $# -eq 0 ]; then
	set -- $(cd "$dir/fuzz" && ls | sed -n 's/^fuzz-\([a-z]*\)$/\1/p')
fi
[ $# -gt 0 ] || { echo "fuzz: there are no harnesses"; echo "0 passed, 1 failed"; exit 1; }
echo "== fuzzing for $seconds s each: $*"
for name in "$@"; do
	while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	run "$name" &
done
wait
passed=0
for name in "$@"; do
	[ ! -f "$dir/$name.ok" ] || passed=$((passed + 1))
done
echo "$passed passed, $(($# - passed)) failed"
[ "$passed" -eq $# ]
