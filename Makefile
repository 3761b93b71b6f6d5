# SPDX-License-Identifier: MIT
# A thin front of Meson: every target is one line that a person could have typed.
# What a machine lacks is installed by scripts/setup.sh, which each target asks first.

BUILD	?= build
KERNEL	?= build/guest/vmlinuz
INITRD	?= build/guest/initramfs.gz
APPEND	?= console=ttyS0 bench.mode=shell
RUNFLAGS ?= --mem 512 --cpus 1
SETUP	:= scripts/setup.sh

.DEFAULT_GOAL := all
.PHONY: all run test lint guest bench difftest seqtest asan tsan fuzz install clean help setup

all: setup ## build the release into build/
	@scripts/build.sh $(BUILD)

run: all guest ## boot the Debian kernel to a shell in this terminal (Ctrl-A x quits)
	@$(BUILD)/anykvm run $(RUNFLAGS) --kernel $(KERNEL) --initrd $(INITRD) --append '$(APPEND)'

test: ## everything that CI runs: gcc, clang, all suites, sanitizers, layering
	@$(SETUP) build test guest
	@scripts/guest.sh
	@scripts/test.sh $(SUITES)

lint: ## formatting of new files, layering, self-contained headers, function sizes, cppcheck, clang-tidy
	@$(SETUP) build test lint
	@scripts/lint.sh

guest: ## fetch Debian's kernel and make the initramfs: build/guest/
	@$(SETUP) guest
	@scripts/guest.sh

bench: all guest ## print the table of bench/README.md (QEMU beside it where installed)
	@$(SETUP) bench
	@bench/run.py --build $(BUILD) $(BENCHFLAGS)

difftest: setup ## every instruction against this processor (SEED=1 COUNT=1000 DIFFFLAGS=)
	@scripts/build.sh $(BUILD)
	@$(BUILD)/tests/diff/difftest --seed $(or $(SEED),1) --count $(or $(COUNT),1000) $(DIFFFLAGS)

seqtest: setup ## random sequences on interpreter, translator and this processor (SEED=1 COUNT=100000)
	@scripts/build.sh $(BUILD)
	@$(BUILD)/tests/diff/seqtest --seed $(or $(SEED),1) --count $(or $(COUNT),100000) $(DIFFFLAGS)

asan: ## build with ASan and UBSan into build-asan/ and run the unit, asm, guest and api suites
	@$(SETUP) build test
	@scripts/test.sh asan

tsan: ## build with ThreadSanitizer into build-tsan/ and run the guests with several vCPUs
	@$(SETUP) build test
	@scripts/tsan.sh

fuzz: ## run each fuzzer for FUZZ_SECONDS (default 30)
	@$(SETUP) build test
	@scripts/fuzz.sh

install: all ## install below the prefix Meson was set up with (DESTDIR is honoured)
	@meson install -C $(BUILD) --no-rebuild

clean: ## remove every build folder but the fetched guest kernel
	@rm -rf build-gcc build-clang build-asan build-tsan build-fuzz
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} + 2>/dev/null || true

setup:
	@$(SETUP) build

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
