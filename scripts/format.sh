#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# format.sh FILE... - what clang-format would change, as a diff.
for f in "$@"; do clang-format "$f" | diff -u "$f" - ; done
