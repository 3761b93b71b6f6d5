/* SPDX-License-Identifier: MIT */
/*
 * The emulator's side: an owner of an emulator context whose guest is a process of
 * Linux in user mode, CPL 3, with the arena as its memory and the host's features.
 */
#ifndef ANYKVM_TOOLS_INSN_MACHINE_H
#define ANYKVM_TOOLS_INSN_MACHINE_H

#include "isa/insn.h"
#include "insn/state.h"

/* After host_init() and arena_init(). */
void machine_init(void);

/*
 * Runs @insn, decoded for the mode of @in's CS, at @in->rip.
 *
 * @fast	[IN] the resolved form, with a translation cache; else the generic
 *		one without
 * @out		[OUT] the state after it
 * @res		[OUT] END_WILD where it would reach outside of the arena: memory
 *		and state then are of no use
 *
 * A REP goes to its end, but with EFLAGS.TF does one iteration.
 */
void machine_run(const struct x86_insn *insn, bool fast,
		 const struct insn_state *in, struct insn_state *out,
		 struct insn_result *res);

#endif
