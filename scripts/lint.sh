#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# lint.sh - everything about the sources that needs no run. Each check runs, also
# after one that failed; the exit status tells if any did.
# TIDY=0 leaves clang-tidy out (it takes minutes).
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

check() { # NAME COMMAND...
	local name=$1; shift
	echo "== $name"
	"$@" || failed+=("$name")
}

sources() { find src tools tests fuzz -name '*.c' | LC_ALL=C sort; }

# The style is the kernel's as a person writes it; the tool's opinion on continued
# lines and tables is worth a look, not a failure.
format() {
	local n
	n=$(sources | xargs clang-format --dry-run 2>&1 | grep -c 'warning: code should') || true
	echo "clang-format would touch $n places (scripts/format.sh FILE shows them)"
}

run_cppcheck() {
	cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr \
		--suppressions-list=scripts/cppcheck-suppressions --error-exitcode=1 \
		-j2 -Isrc -Iinclude -D__x86_64__ src tools
}

# .clang-tidy and tests/.clang-tidy say which checks, and why not the others. The fuzzers
# are not in that build.
tidy() {
	CC=clang scripts/build.sh build-clang >/dev/null || return 1
	find src tools tests -name '*.c' | LC_ALL=C sort |
		xargs -P2 -n8 clang-tidy -p build-clang --quiet 2>/dev/null
}

check layers scripts/check-layers.py
check style scripts/check-style.py
check headers scripts/check-headers.sh
check formatting format
check cppcheck run_cppcheck
[ "${TIDY:-1}" = 0 ] || check clang-tidy tidy

if [ ${#failed[@]} -gt 0 ]; then
	echo "lint: failed: ${failed[*]}"
	exit 1
fi
echo "lint: all clean"
