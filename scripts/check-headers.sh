#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check-headers.sh - every header compiles on its own, included twice.
set -uo pipefail
cd "$(dirname "$0")/.."
check_one() {
	printf '#include "%s"\n#include "%s"\n' "$1" "$1" |
		gcc -x c -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror \
			-Wno-unused-parameter -Isrc -Iinclude -I"$(dirname "$1")" -Itools/anykvm -I. -
}
bad=0 count=0
while read -r header; do
	count=$((count + 1))
	check_one "$header" || { echo "$header: does not stand on its own"; bad=$((bad + 1)); }
done < <(find src tools include -name '*.h' | LC_ALL=C sort)
echo "headers: $count, $bad not self-contained"
[ "$bad" -eq 0 ]
