#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# guest.sh - makes build/guest/: vmlinuz (Debian's cloud kernel, fetched with apt
# and unpacked, never installed) and initramfs.gz (busybox and bench/guest).
# What is there and newer than its sources stays; REFETCH=1 fetches again.
set -euo pipefail
cd "$(dirname "$0")/.."
out=build/guest
busybox=${BUSYBOX:-/bin/busybox}
mkdir -p "$out"

die() { echo "guest: $*" >&2; exit 1; }

# The metapackage depends on the package of the present kernel.
kernel_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/.*Depends: \(linux-image-6\.1\.[^ ]*\)$/\1/p' | head -n 1
}

update_lists() {
	echo "guest: fetching the package lists" >&2
	if [ "$(id -u)" -eq 0 ]; then apt-get update -q >&2; else sudo apt-get update -q >&2; fi
}

fetch_kernel() {
	local package
	package=$(kernel_package)
	if [ -z "$package" ]; then
		update_lists
		package=$(kernel_package)
	fi
	[ -n "$package" ] || die "apt knows no linux-image-cloud-amd64 with a 6.1 kernel"
	echo "guest: fetching $package" >&2
	fetch_dir=$(mktemp -d "$PWD/$out/fetch.XXXXXX")
	trap 'rm -rf "$fetch_dir"' EXIT
	download() { (cd "$fetch_dir" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2); }
	download || {
		# The lists name a version that is gone from the mirror.
		update_lists
		package=$(kernel_package)
		download || die "could not download $package"
	}
	dpkg-deb -x "$fetch_dir"/*.deb "$fetch_dir/root"
	mv "$fetch_dir/root/boot/vmlinuz-${package#linux-image-}" "$out/vmlinuz"
	echo "$package" > "$out/package"
}

if [ ! -s "$out/vmlinuz" ] || [ -n "${REFETCH:-}" ]; then
	fetch_kernel
fi
make -s -C bench/guest OUT="$PWD/$out"
bench/guest/mkinitramfs.py "$busybox" "$out" "$out/initramfs.gz"
