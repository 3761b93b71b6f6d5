/* SPDX-License-Identifier: MIT */
/* What RET far and IRET have in common. */
#ifndef ANYKVM_EMUL_FAR_H
#define ANYKVM_EMUL_FAR_H

#include "emul/frame.h"

/*
 * A return, from the popped CS:RIP to the commit. The caller fills the first
 * part; far_return_prepare() checks, pops SS:RSP where the level changes, and
 * fills the rest; nothing has changed then but accessed bits.
 */
struct far_return {
	struct stack_view v;	/* behind what has been popped */
	uint64_t rip;
	uint16_t cs_sel;
	uint8_t  width;
	uint16_t release;	/* bytes of parameters that RET drops */
	bool     new_stack;	/* SS:RSP are popped whatever the level (IRET in
				 * 64-bit mode) */

	uint8_t  cpl;
	struct x86_segment cs, ss;
	uint64_t stack[2];	/* RSP, SS as popped */
};

int far_return_prepare(struct x86_emulate_ctxt *c, struct far_return *r);
int far_return_commit(struct x86_emulate_ctxt *c, struct far_return *r);

/* CS and next_rip; what is checked has been. */
int far_commit(struct x86_emulate_ctxt *c, const struct x86_segment *cs,
	       uint64_t rip);

/* CS of a transfer in real-address or virtual-8086 mode: #GP(0) beyond it. */
int far_real_target(struct x86_emulate_ctxt *c, uint16_t sel, uint64_t off,
		    struct x86_segment *cs);

#endif
