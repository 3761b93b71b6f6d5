#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# build.sh DIR [MESON-OPTION ...] - sets DIR up when it is not yet, and builds it.
# CC chooses the compiler of a new DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1; shift
if [ ! -f "$dir/build.ninja" ]; then
	meson setup "$dir" "$@" > "/tmp/meson-setup.$$" 2>&1 || {
		cat "/tmp/meson-setup.$$" >&2; rm -f "/tmp/meson-setup.$$"; exit 1
	}
	rm -f "/tmp/meson-setup.$$"
fi
exec ninja -C "$dir" --quiet
