#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh - builds the fuzzers of fuzz/ with clang's libFuzzer and runs each for
# FUZZ_SECONDS (default 30). A finding is left in build-fuzz/ and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-30}
dir=build-fuzz
[ -f "$dir/build.ninja" ] || CC=clang meson setup "$dir" -Dfuzz=true \
	-Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
ninja -C "$dir" --quiet fuzzers
bad=0 count=0
for f in "$dir"/fuzz/fuzz-*; do
	[ -f "$f" ] && [ -x "$f" ] || continue
	name=$(basename "$f")
	count=$((count + 1))
	echo "== $name for $seconds s"
	# New inputs go to the first folder, seeds come from the second.
	corpora=("$dir/corpus/$name")
	mkdir -p "${corpora[0]}"
	[ ! -d "fuzz/corpus/${name#fuzz-}" ] || corpora+=("fuzz/corpus/${name#fuzz-}")
	"$f" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 \
		-artifact_prefix="$dir/$name-" "${corpora[@]}" || bad=$((bad + 1))
done
[ "$count" -gt 0 ] || { echo "fuzz: there are no fuzzers in fuzz/"; exit 1; }
echo "fuzz: $count fuzzers, $bad with findings"
[ "$bad" -eq 0 ]
