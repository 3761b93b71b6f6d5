/* SPDX-License-Identifier: MIT */
/*
 * Segmented guest memory for the handlers: effective addresses, segment checks,
 * and accessors with the translation cache inlined (struct x86_tlb_entry).
 *
 * Three levels:
 *   emul_ea()         the instruction's effective address
 *   emul_linearize()  segment:offset -> linear, with all segment checks
 *   emul_*_la()       linear memory
 * and emul_read/emul_write, which do the last two at once. Every function
 * returns enum x86emul; a fault is in c->exception.
 */
#ifndef ANYKVM_EMUL_MEM_H
#define ANYKVM_EMUL_MEM_H

#include "base/access.h"
#include "emul/emul.h"

/* --- addresses --------------------------------------------------------------- */

static __force_inline uint64_t emul_trunc_ea(const struct x86_insn *i,
					     uint64_t ea)
{
	if (i->adsize == 8)
		return ea;
	return i->adsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/* The effective address of the ModRM operand, of the right width. RIP-relative
 * addresses count from next_rip. (MOV moffs: the offset is insn->imm.) */
static __force_inline uint64_t emul_ea(const struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = i->disp;

	if (i->base == X86_RIP)
		ea += c->next_rip;
	else if (i->base != X86_REG_NONE)
		ea += c->gpr[i->base];
	if (i->index != X86_REG_NONE)
		ea += c->gpr[i->index] << i->scale;
	return emul_trunc_ea(i, ea);
}

/* The segment checks, out of line: everything but a flat segment. */
int emul_linearize_slow(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
			unsigned bytes, unsigned acc, uint64_t *la);

/*
 * @seg:@ea -> *@la for an access of @bytes with @acc (ACC_WRITE, ACC_FETCH
 * matter). #GP(0), or #SS(0) for SS: canonical in 64-bit mode, else presence,
 * type, limit.
 *
 * @seg	enum x86_seg, or X86_SEG_NONE: @ea is linear
 */
static __force_inline int emul_linearize(struct x86_emulate_ctxt *c,
					 unsigned seg, uint64_t ea,
					 unsigned bytes, unsigned acc,
					 uint64_t *la)
{
	if (seg < X86_FS || seg == X86_SEG_NONE) {
		if (likely(c->mode == X86_MODE_PROT64)) {
			/* Inside the lower half, far from its end. */
			if (likely(ea + (1ull << 47) < (1ull << 48) - 64)) {
				*la = ea;
				return X86EMUL_CONTINUE;
			}
		} else if ((c->flat >> (seg & 7) & 1) &&
			   likely(ea + bytes - 1 <= 0xffffffff)) {
			*la = ea;
			return X86EMUL_CONTINUE;
		}
	}
	return emul_linearize_slow(c, seg, ea, bytes, acc, la);
}

/* The memory operand of the instruction. */
static __force_inline int emul_linearize_operand(struct x86_emulate_ctxt *c,
						 unsigned bytes, unsigned acc,
						 uint64_t *la)
{
	return emul_linearize(c, c->insn->seg, emul_ea(c), bytes, acc, la);
}

/* --- linear memory ------------------------------------------------------------ */

/* Where @la is in the host, if [la, la + bytes) is inside one page that the
 * cache has for accesses of @kind. NULL: ask the owner. */
static __force_inline void *emul_tlb(const struct x86_emulate_ctxt *c,
				     uint64_t la, unsigned bytes, int kind)
{
	const struct x86_tlb_entry *e =
		&c->tlb[(la >> PAGE_SHIFT) & c->tlb_mask];

	if (likely(e->tag[kind] == (((la + bytes - 1) & PAGE_MASK) | c->tlb_key)))
		return (void *)(la + e->addend);
	return NULL;
}

/* Accesses that the cache's tags do not speak of. */
#define ACC_UNCACHED	(ACC_SYSTEM | ACC_USER | ACC_INNER)

/* Through the owner's callbacks. */
int emul_read_slow(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc);
int emul_write_slow(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc);

/*
 * #AC(0) when @la is not a multiple of @align (a power of 2) and the access @acc is
 * subject to the check: for operands whose alignment is not that of one access (SDM
 * Vol. 3A, "Alignment Check Exception", has them). Their accesses have ACC_UNALIGNED.
 */
int emul_check_aligned(struct x86_emulate_ctxt *c, uint64_t la, unsigned align,
		       unsigned acc);

#define EMUL_ACCESS(bits)						\
static __force_inline int emul_read##bits##_la(				\
	struct x86_emulate_ctxt *c, uint64_t la, uint##bits##_t *val,	\
	unsigned acc)							\
{									\
	if (likely(!(acc & ACC_UNCACHED))) {				\
		void *p = emul_tlb(c, la, bits / 8, acc & ACC_WRITE ?	\
				   X86_TLB_WRITE : X86_TLB_READ);	\
									\
		if (likely(p) && likely(!host_read_##bits(p, val)))	\
			return X86EMUL_CONTINUE;			\
	}								\
	return emul_read_slow(c, la, val, bits / 8, acc);		\
}									\
static __force_inline int emul_write##bits##_la(			\
	struct x86_emulate_ctxt *c, uint64_t la, uint##bits##_t val,	\
	unsigned acc)							\
{									\
	uint##bits##_t v = val;						\
									\
	if (likely(!(acc & ACC_UNCACHED))) {				\
		void *p = emul_tlb(c, la, bits / 8, X86_TLB_WRITE);	\
									\
		if (likely(p) && likely(!host_write_##bits(p, val)))	\
			return X86EMUL_CONTINUE;			\
	}								\
	return emul_write_slow(c, la, &v, bits / 8, acc | ACC_WRITE);	\
}

EMUL_ACCESS(8)
EMUL_ACCESS(16)
EMUL_ACCESS(32)
EMUL_ACCESS(64)
#undef EMUL_ACCESS

/* LOCK CMPXCHG of 1, 2, 4 or 8 bytes. @old [IN/OUT], @done [OUT]. */
int emul_cmpxchg_la(struct x86_emulate_ctxt *c, uint64_t la, uint64_t *old,
		    uint64_t val, unsigned bytes, bool *done);

/* 1, 2, 4 or 8 bytes, zero-extended into *@val. */
static inline int emul_read_la(struct x86_emulate_ctxt *c, uint64_t la,
			       uint64_t *val, unsigned bytes, unsigned acc)
{
	union { uint8_t b; uint16_t w; uint32_t d; uint64_t q; } v = { .q = 0 };
	int rc;

	switch (bytes) {
	case 1:
		rc = emul_read8_la(c, la, &v.b, acc);
		break;
	case 2:
		rc = emul_read16_la(c, la, &v.w, acc);
		break;
	case 4:
		rc = emul_read32_la(c, la, &v.d, acc);
		break;
	default:
		rc = emul_read64_la(c, la, &v.q, acc);
		break;
	}
	if (rc == X86EMUL_CONTINUE)
		*val = v.q;
	return rc;
}

static inline int emul_write_la(struct x86_emulate_ctxt *c, uint64_t la,
				uint64_t val, unsigned bytes, unsigned acc)
{
	switch (bytes) {
	case 1:
		return emul_write8_la(c, la, val, acc);
	case 2:
		return emul_write16_la(c, la, val, acc);
	case 4:
		return emul_write32_la(c, la, val, acc);
	default:
		return emul_write64_la(c, la, val, acc);
	}
}

/* Any size from 1 to 64 bytes. */
static inline int emul_read_bytes_la(struct x86_emulate_ctxt *c, uint64_t la,
				     void *buf, unsigned bytes, unsigned acc)
{
	return emul_read_slow(c, la, buf, bytes, acc);
}

static inline int emul_write_bytes_la(struct x86_emulate_ctxt *c, uint64_t la,
				      const void *buf, unsigned bytes,
				      unsigned acc)
{
	return emul_write_slow(c, la, buf, bytes, acc | ACC_WRITE);
}

/* --- segmented memory ---------------------------------------------------------- */

/* 1, 2, 4 or 8 bytes at @seg:@ea. */
static inline int emul_read(struct x86_emulate_ctxt *c, unsigned seg,
			    uint64_t ea, uint64_t *val, unsigned bytes,
			    unsigned acc)
{
	uint64_t la;
	int rc = emul_linearize(c, seg, ea, bytes, acc, &la);

	return rc ? rc : emul_read_la(c, la, val, bytes, acc);
}

static inline int emul_write(struct x86_emulate_ctxt *c, unsigned seg,
			     uint64_t ea, uint64_t val, unsigned bytes)
{
	uint64_t la;
	int rc = emul_linearize(c, seg, ea, bytes, ACC_WRITE, &la);

	return rc ? rc : emul_write_la(c, la, val, bytes, ACC_WRITE);
}

/* 1 to 64 bytes at @seg:@ea. */
static inline int emul_read_bytes(struct x86_emulate_ctxt *c, unsigned seg,
				  uint64_t ea, void *buf, unsigned bytes,
				  unsigned acc)
{
	uint64_t la;
	int rc = emul_linearize(c, seg, ea, bytes, acc, &la);

	return rc ? rc : emul_read_slow(c, la, buf, bytes, acc);
}

static inline int emul_write_bytes(struct x86_emulate_ctxt *c, unsigned seg,
				   uint64_t ea, const void *buf, unsigned bytes)
{
	uint64_t la;
	int rc = emul_linearize(c, seg, ea, bytes, ACC_WRITE, &la);

	return rc ? rc : emul_write_slow(c, la, buf, bytes, ACC_WRITE);
}

/* A far pointer at @seg:@ea: an offset of @width bytes, and then the selector behind
 * it, each with its own checks. */
int emul_read_far_ptr(struct x86_emulate_ctxt *c, unsigned seg, uint64_t ea,
		      unsigned width, uint64_t *off, uint16_t *sel);

/* --- the stack ------------------------------------------------------------------ */

/* @sp moved by @delta within the width of the stack pointer. */
static __force_inline uint64_t emul_sp_add(const struct x86_emulate_ctxt *c,
					   uint64_t sp, int64_t delta)
{
	if (likely(c->stack_size == 8))
		return sp + delta;
	if (c->stack_size == 4)
		return (uint32_t)(sp + delta);
	return (sp & ~0xffffull) | (uint16_t)(sp + delta);
}

/* What of @sp addresses the stack. */
static __force_inline uint64_t emul_sp_offset(const struct x86_emulate_ctxt *c,
					      uint64_t sp)
{
	if (likely(c->stack_size == 8))
		return sp;
	return c->stack_size == 4 ? (uint32_t)sp : (uint16_t)sp;
}

/*
 * Push and pop at a stack pointer of the caller's, for instructions that push
 * or pop more than once: RSP changes when all has gone well.
 *
 * @sp	[IN/OUT] a whole RSP; moves when the access has succeeded
 */
static inline int emul_push_at(struct x86_emulate_ctxt *c, uint64_t *sp,
			       uint64_t val, unsigned bytes)
{
	uint64_t new = emul_sp_add(c, *sp, -(int64_t)bytes);
	int rc = emul_write(c, X86_SS, emul_sp_offset(c, new), val, bytes);

	if (rc == X86EMUL_CONTINUE)
		*sp = new;
	return rc;
}

static inline int emul_pop_at(struct x86_emulate_ctxt *c, uint64_t *sp,
			      uint64_t *val, unsigned bytes)
{
	int rc = emul_read(c, X86_SS, emul_sp_offset(c, *sp), val, bytes, 0);

	if (rc == X86EMUL_CONTINUE)
		*sp = emul_sp_add(c, *sp, bytes);
	return rc;
}

/* Single push and pop: RSP moves when the access has succeeded. */
static inline int emul_push(struct x86_emulate_ctxt *c, uint64_t val,
			    unsigned bytes)
{
	return emul_push_at(c, &c->gpr[X86_RSP], val, bytes);
}

static inline int emul_pop(struct x86_emulate_ctxt *c, uint64_t *val,
			   unsigned bytes)
{
	return emul_pop_at(c, &c->gpr[X86_RSP], val, bytes);
}

#endif
