/* SPDX-License-Identifier: MIT */
/*
 * Runs one instruction of the guest's on the host processor, from a stub that holds
 * its encoding. For x87, MMX and SSE instructions, whose semantics are thereby the
 * host's own.
 */
#ifndef ANYKVM_EMUL_HOST_STUB_H
#define ANYKVM_EMUL_HOST_STUB_H

#include "base/types.h"

/* An instruction for 64-bit mode. What it may name: vector, MMX and x87 registers
 * (the guest's), rax, rcx, rdx, and memory at [rdi]. */
struct host_insn {
	uint8_t bytes[15];
	uint8_t len;
};

struct stub_regs {
	uint64_t rax, rcx, rdx;		/* [IN/OUT] */
	bool flags;			/* [IN] it reads or writes status flags */
	uint64_t rflags;		/* [IN] status flags, [OUT] all; if @flags */
	void *mem;			/* [IN] rdi: 64 bytes, 64-byte aligned */
};

/*
 * Runs @insn once. The guest's FPU state is in the host's registers.
 *
 * 0; the vector of the fault that the host raised on it (X86_XM, X86_MF, X86_UD),
 * then registers are as the processor leaves them; or -ENOMEM when there is no
 * executable memory. Any thread; no vector register but @insn's is touched.
 */
int host_insn_run(const struct host_insn *insn, struct stub_regs *regs);

#endif
