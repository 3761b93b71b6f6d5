#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# test.sh [SUITE ...|asan] - the project's tests.
#
# Without an argument, everything CI wants: the layering check, the gcc build and
# all its suites, the clang build, the unit, asm, guest and api suites (over the C API) under
# ASan and UBSan, guests with several vCPUs under TSan, and each fuzzer for a short while.
# With suites (unit asm diff guest api check boot): those, on the gcc build. asan: that part
# only. The last line is "N passed, N failed". JOBS: how many at a time (2).
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-2}
passed=0 failed=0 skipped=0
begun=$SECONDS

# A build or a check: one case. What it prints is shown when it fails, too late
# to scroll for otherwise.
step() { # NAME COMMAND...
	local name=$1 t=$SECONDS; shift
	echo "== $name"
	if "$@"; then
		passed=$((passed + 1))
		echo "   $((SECONDS - t)) s"
		return 0
	fi
	failed=$((failed + 1))
	echo "   FAILED: $name"
	return 1
}

suites() { # DIR SUITE...
	local dir=$1 log counts args=(); shift
	for s in "$@"; do args+=(--suite "$s"); done
	echo "== tests of $dir: $*"
	rm -f "$dir/meson-logs/testlog.json"
	meson test -C "$dir" --no-rebuild --num-processes "$jobs" \
		--print-errorlogs ${args[@]+"${args[@]}"}
	log=$dir/meson-logs/testlog.json
	if [ ! -s "$log" ]; then
		echo "   FAILED: no test of the suites $* has run"
		failed=$((failed + 1))
		return
	fi
	counts=($(scripts/count-tests.py "$log"))
	passed=$((passed + counts[0]))
	failed=$((failed + counts[1]))
	skipped=$((skipped + counts[2]))
}

build_gcc() { CC=gcc scripts/build.sh build; }
build_clang() { CC=clang scripts/build.sh build-clang; }
build_asan() {
	CC=clang scripts/build.sh build-asan -Dbuildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false
}

fuzz() {
	FUZZ_SECONDS=${FUZZ_SECONDS:-20} scripts/fuzz.sh
}

asan() {
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1
	export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1
	step "build with ASan and UBSan" build_asan && suites build-asan unit asm guest api
}

everything() {
	step "layering" scripts/check-layers.py
	step "build with clang" build_clang
	step "build with gcc" build_gcc && suites build unit asm diff guest api check boot
	asan
	step "ThreadSanitizer" scripts/tsan.sh
	step "fuzzers" fuzz
}

finish() {
	echo "time: $((SECONDS - begun)) s"
	if [ "$skipped" -gt 0 ]; then
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ "$failed" -eq 0 ]
}

case "${1:-}" in
"") everything ;;
asan) asan ;;
*) step "build with gcc" build_gcc && suites build "$@" ;;
esac
finish
