#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# setup.sh [GROUP ...] - installs, with apt, the packages of these groups that are
# not there yet. Groups: build test guest lint bench. Silent when nothing is missing.
set -euo pipefail

declare -A packages=(
	[build]="meson ninja-build gcc libc6-dev pkg-config libzydis-dev libcmocka-dev"
	[test]="clang libclang-rt-14-dev python3 qemu-system-x86"
	[guest]="busybox-static gcc libc6-dev python3"
	[lint]="clang-format clang-tidy cppcheck python3"
	[bench]="gcc libc6-dev binutils python3 util-linux qemu-system-x86"
)

die() { echo "setup: $*" >&2; exit 1; }

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for group in "${@:-build}"; do
	[ -n "${packages[$group]:-}" ] || die "no such group: $group"
	for p in ${packages[$group]}; do
		command -v dpkg-query >/dev/null ||
			die "this is no Debian system; please install: ${packages[$group]}"
		is_installed "$p" || missing+=("$p")
	done
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null ||
		die "not root and no sudo; please install: ${missing[*]}"
	as_root=(sudo)
fi
install_missing() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

echo "setup: installing ${missing[*]}" >&2
# The package lists are only fetched when those that are here do not do.
install_missing 2>/dev/null || {
	"${as_root[@]}" apt-get update -q >&2
	install_missing || die "could not install: ${missing[*]}"
}
