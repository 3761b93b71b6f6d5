#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh - builds the fuzzers of fuzz/ with clang's libFuzzer and runs each for
# FUZZ_SECONDS (default 30). A finding is left in build-fuzz/ and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
CC=clang scripts/build.sh build-fuzz -Dbuildtype=debugoptimized \
	-Db_sanitize=address,undefined -Db_lundef=false -Dfuzzers=true
bad=0 count=0
for f in build-fuzz/fuzz/fuzz-*; do
	[ -f "$f" ] && [ -x "$f" ] || continue
	count=$((count + 1))
	echo "== $(basename "$f") for $seconds s"
	mkdir -p "build-fuzz/corpus/$(basename "$f")"
	"$f" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 \
		-artifact_prefix=build-fuzz/ "build-fuzz/corpus/$(basename "$f")" || bad=$((bad + 1))
done
[ "$count" -gt 0 ] || { echo "fuzz: there are no fuzzers in fuzz/"; exit 1; }
echo "fuzz: $count fuzzers, $bad with findings"
[ "$bad" -eq 0 ]
