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

/* A stub made ready by host_stub_get(). */
struct host_stub {
	const void *code;
	bool spare;		/* the area is full: the lock is held */
};

/*
 * Makes @insn ready to be run. 0, or -ENOMEM when there is no executable memory.
 * Any thread; between get and put the caller does nothing but host_stub_run() and
 * what moves the FPU state.
 */
int host_stub_get(const struct host_insn *insn, struct host_stub *stub);

/*
 * Runs it once. The guest's FPU state is in the host's registers; nothing but the
 * instruction touches them.
 *
 * 0, or the vector of the fault that the host raised on it (X86_XM, X86_MF, X86_UD);
 * then registers are as the processor leaves them.
 */
int host_stub_run(const struct host_stub *stub, struct stub_regs *regs);

void host_stub_put(const struct host_stub *stub);

#endif
