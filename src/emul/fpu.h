/* SPDX-License-Identifier: MIT */
/*
 * What fpu*.c, simd.c and xsave.c share: the checks of the control registers, moves
 * of more than 64 bytes, the host's FPU instructions on the live state.
 *
 * Between ops->get_fpu and ops->put_fpu the guest's state is in the host's
 * registers: nothing there but general registers and the instructions below.
 */
#ifndef ANYKVM_EMUL_FPU_H
#define ANYKVM_EMUL_FPU_H

#include "emul/host_stub.h"
#include "emul/mem.h"

/* A buffer for a stub's memory operand, or an image. */
struct fpu_buf {
	uint8_t b[64];
} __attribute__((aligned(64)));

/* #NM or #UD by CR0 and CR4 (SDM Vol. 3A, "Emulation of FPU/MMX Extensions",
 * "Enabling Processors for SSE"). */
static inline int fpu_check_x87(struct x86_emulate_ctxt *c)
{
	return c->cr0 & (X86_CR0_EM | X86_CR0_TS) ? emul_nm(c) : 0;
}

static inline int fpu_check_mmx(struct x86_emulate_ctxt *c)
{
	if (c->cr0 & X86_CR0_EM)
		return emul_ud(c);
	return c->cr0 & X86_CR0_TS ? emul_nm(c) : 0;
}

static inline int fpu_check_sse(struct x86_emulate_ctxt *c)
{
	return c->cr4 & X86_CR4_OSFXSR ? fpu_check_mmx(c) : emul_ud(c);
}

static inline void fpu_get(struct x86_emulate_ctxt *c)
{
	if (c->ops->get_fpu)
		c->ops->get_fpu(c);
}

static inline void fpu_put(struct x86_emulate_ctxt *c)
{
	if (c->ops->put_fpu)
		c->ops->put_fpu(c);
}

static inline uint16_t host_fnstsw(void)
{
	uint16_t sw;

	__asm__ volatile("fnstsw %0" : "=a"(sw));
	return sw;
}

#define FSW_IE BIT(0)
#define FSW_OE BIT(3)
#define FSW_UE BIT(4)
#define FSW_ES BIT(7)

/* State is live: an unmasked x87 exception waits (#MF at the next instruction). */
static inline bool fpu_is_pending(void)
{
	return host_fnstsw() & FSW_ES;
}

/* The host's register state, as FXSAVE64 writes it. */
static inline void host_fxsave(struct x86_fxsave *fx)
{
	__asm__ volatile("fxsave64 %0" : "+m"(*fx));
}

static inline void host_fxrstor(const struct x86_fxsave *fx)
{
	__asm__ volatile("fxrstor64 %0" : : "m"(*fx));
}

/* MXCSR bits that do not exist: loading them is #GP. */
uint32_t fpu_mxcsr_reserved(void);

/*
 * @bytes (any number) at linear address @la, which wraps at 4G outside 64-bit mode.
 * A fault may leave a part stored, as on hardware.
 */
int fpu_read_la(struct x86_emulate_ctxt *c, uint64_t la, void *buf,
		unsigned bytes);
int fpu_write_la(struct x86_emulate_ctxt *c, uint64_t la, const void *buf,
		 unsigned bytes);

/* An operand of 1 to 64 bytes; 1, 2, 4 and 8 are a single access. */
int fpu_load(struct x86_emulate_ctxt *c, struct fpu_buf *buf, uint64_t la,
	     unsigned bytes);
int fpu_store(struct x86_emulate_ctxt *c, const struct fpu_buf *buf, uint64_t la,
	      unsigned bytes);

/* The image operand: linearized for @bytes, #GP(0) unless aligned to @align. */
int fpu_image_la(struct x86_emulate_ctxt *c, unsigned bytes, unsigned align,
		 unsigned acc, uint64_t *la);

#endif
