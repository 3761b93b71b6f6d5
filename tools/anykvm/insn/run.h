/* SPDX-License-Identifier: MIT */
/* `anykvm insn --run`. */
#ifndef ANYKVM_TOOLS_INSN_RUN_H
#define ANYKVM_TOOLS_INSN_RUN_H

#include "insn/show.h"

/*
 * Executes @insn in the emulator and on the host with the settings @args
 * ("rax=12", "rflags=202", "fs.base=0", "gs=2b", "fpu+18=1f80", "mem=ADDR:HEX") and
 * shows what has changed and what differs. 0, or -EINVAL with a message for a
 * setting that is none, -ENOTSUP where this system cannot.
 */
int insn_run(struct show *s, const struct x86_insn *insn, int n, char **args);
/* Where the instruction stands unless "rip=" says otherwise. */
#define INSN_RUN_RIP	0x20001800ul

#endif
