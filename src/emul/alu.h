/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic with flags, done by the host's own instructions: what a processor
 * leaves in undefined flags is what the host leaves there. Used by the generic
 * handlers (by size at run time) and by the fast forms (size fixed).
 *
 * Status flags come out with LAHF and SETO and go in with SAHF and an addition
 * that overflows: both are much cheaper than PUSHF and POPF. "Packed" flags are
 * the pair in AX: AH as SAHF wants it, AL the overflow flag as 0 or 1.
 */
#ifndef ANYKVM_EMUL_ALU_H
#define ANYKVM_EMUL_ALU_H

#include "base/types.h"
#include "x86/regs.h"

#define FLAGS_TO_AX	"lahf\n\tseto %%al\n\t"
#define FLAGS_FROM_AX	"addb $0x7f, %%al\n\tsahf\n\t"

static __force_inline uint16_t alu_pack(uint64_t eflags)
{
	return (uint8_t)eflags << 8 | (eflags >> 11 & 1);
}

static __force_inline uint64_t alu_unpack(uint16_t ax)
{
	return ax >> 8 | (uint64_t)(uint8_t)ax << 11;
}

/* All status flags from packed @ax; LAHF's bit 1 is EFLAGS' fixed one. */
static __force_inline void alu_set_flags(uint64_t *eflags, uint16_t ax)
{
	*eflags = (*eflags & ~(uint64_t)X86_EFLAGS_STATUS) | alu_unpack(ax);
}

/* Those in @mask only. */
static __force_inline void alu_set_some(uint64_t *eflags, uint16_t ax,
					uint64_t mask)
{
	*eflags = (*eflags & ~mask) | (alu_unpack(ax) & mask);
}

/* d = d op s, all status flags. */
#define ALU_BINARY(op, bits, m)						\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint##bits##_t s, uint64_t *eflags)		\
{									\
	uint16_t ax;							\
									\
	__asm__(#op " %" m "[s], %" m "[d]\n\t" FLAGS_TO_AX		\
		: [d] "+q"(d), "=a"(ax) : [s] "q"(s) : "cc");		\
	alu_set_flags(eflags, ax);					\
	return d;							\
}

/* Those that also read the carry. */
#define ALU_CARRY(op, bits, m)						\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint##bits##_t s, uint64_t *eflags)		\
{									\
	uint32_t f = *eflags;						\
	uint16_t ax;							\
									\
	__asm__("btl $0, %[f]\n\t"					\
		#op " %" m "[s], %" m "[d]\n\t" FLAGS_TO_AX		\
		: [d] "+q"(d), "=a"(ax) : [s] "q"(s), [f] "r"(f)	\
		: "cc");						\
	alu_set_flags(eflags, ax);					\
	return d;							\
}

/* cmp and test: flags only. */
#define ALU_FLAGS(op, bits, m)						\
static __force_inline void alu_##op##bits(				\
	uint##bits##_t d, uint##bits##_t s, uint64_t *eflags)		\
{									\
	uint16_t ax;							\
									\
	__asm__(#op " %" m "[s], %" m "[d]\n\t" FLAGS_TO_AX		\
		: "=a"(ax) : [d] "q"(d), [s] "q"(s) : "cc");		\
	alu_set_flags(eflags, ax);					\
}

/* One operand; @keep: flags that stay. */
#define ALU_UNARY(op, bits, m, keep)					\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint64_t *eflags)				\
{									\
	uint16_t ax;							\
									\
	__asm__(#op " %" m "[d]\n\t" FLAGS_TO_AX			\
		: [d] "+q"(d), "=a"(ax) : : "cc");			\
	alu_set_some(eflags, ax, X86_EFLAGS_STATUS & ~(keep));		\
	return d;							\
}

/* Shifts and rotates by CL that do not read the carry; @mask: the flags that they
 * write. @n is not 0 modulo 32 (64). */
#define ALU_SHIFT(op, bits, m, mask)					\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint8_t n, uint64_t *eflags)			\
{									\
	uint16_t ax;							\
									\
	__asm__(#op " %%cl, %" m "[d]\n\t" FLAGS_TO_AX			\
		: [d] "+q"(d), "=a"(ax) : "c"(n) : "cc");		\
	alu_set_some(eflags, ax, mask);					\
	return d;							\
}

/* RCL, RCR. Flags go in whole, because which of them a count leaves alone is the
 * instruction's matter. */
#define ALU_ROTATE_CARRY(op, bits, m)					\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint8_t n, uint64_t *eflags)			\
{									\
	uint16_t ax = alu_pack(*eflags);				\
									\
	__asm__(FLAGS_FROM_AX #op " %%cl, %" m "[d]\n\t" FLAGS_TO_AX	\
		: [d] "+q"(d), "+a"(ax) : "c"(n) : "cc");		\
	alu_set_flags(eflags, ax);					\
	return d;							\
}

#define ALU_DSHIFT(op, bits, m)						\
static __force_inline uint##bits##_t alu_##op##bits(			\
	uint##bits##_t d, uint##bits##_t s, uint8_t n, uint64_t *eflags) \
{									\
	uint16_t ax = alu_pack(*eflags);				\
									\
	__asm__(FLAGS_FROM_AX #op " %%cl, %" m "[s], %" m "[d]\n\t"	\
		FLAGS_TO_AX						\
		: [d] "+r"(d), "+a"(ax) : "c"(n), [s] "r"(s) : "cc");	\
	alu_set_flags(eflags, ax);					\
	return d;							\
}

#define ALU_SIZE(bits, m)						\
	ALU_BINARY(add, bits, m) ALU_BINARY(sub, bits, m)		\
	ALU_BINARY(and, bits, m) ALU_BINARY(or, bits, m)		\
	ALU_BINARY(xor, bits, m)					\
	ALU_CARRY(adc, bits, m) ALU_CARRY(sbb, bits, m)			\
	ALU_FLAGS(cmp, bits, m) ALU_FLAGS(test, bits, m)		\
	ALU_UNARY(inc, bits, m, X86_EFLAGS_CF)				\
	ALU_UNARY(dec, bits, m, X86_EFLAGS_CF)				\
	ALU_UNARY(neg, bits, m, 0)					\
	ALU_SHIFT(shl, bits, m, X86_EFLAGS_STATUS)			\
	ALU_SHIFT(shr, bits, m, X86_EFLAGS_STATUS)			\
	ALU_SHIFT(sar, bits, m, X86_EFLAGS_STATUS)			\
	ALU_SHIFT(rol, bits, m, X86_EFLAGS_CF | X86_EFLAGS_OF)		\
	ALU_SHIFT(ror, bits, m, X86_EFLAGS_CF | X86_EFLAGS_OF)		\
	ALU_ROTATE_CARRY(rcl, bits, m) ALU_ROTATE_CARRY(rcr, bits, m)

/* Instructions that have no byte form; d = d op s with all flags in and out. */
#define ALU_INOUT(name, op, bits, m)					\
static __force_inline uint##bits##_t alu_##name##bits(			\
	uint##bits##_t d, uint##bits##_t s, uint64_t *eflags)		\
{									\
	uint16_t ax = alu_pack(*eflags);				\
									\
	__asm__(FLAGS_FROM_AX #op " %" m "[s], %" m "[d]\n\t" FLAGS_TO_AX \
		: [d] "+r"(d), "+a"(ax) : [s] "r"(s) : "cc");		\
	alu_set_flags(eflags, ax);					\
	return d;							\
}

#define ALU_SIZE_WIDE(bits, m)						\
	ALU_DSHIFT(shld, bits, m) ALU_DSHIFT(shrd, bits, m)		\
	ALU_INOUT(imul, imul, bits, m)					\
	ALU_INOUT(bt, bt, bits, m) ALU_INOUT(bts, bts, bits, m)		\
	ALU_INOUT(btr, btr, bits, m) ALU_INOUT(btc, btc, bits, m)	\
	ALU_INOUT(bsf, bsf, bits, m) ALU_INOUT(bsr, bsr, bits, m)	\
	ALU_INOUT(tzcnt, tzcnt, bits, m)				\
	ALU_INOUT(lzcnt, lzcnt, bits, m)				\
	ALU_INOUT(popcnt, popcnt, bits, m)

/* clang-format off */
ALU_SIZE(8, "b") ALU_SIZE(16, "w") ALU_SIZE(32, "k") ALU_SIZE(64, "q")
ALU_SIZE_WIDE(16, "w") ALU_SIZE_WIDE(32, "k") ALU_SIZE_WIDE(64, "q")
/* clang-format on */

/* The condition @cc of Jcc, SETcc, CMOVcc (the opcode's low four bits). */
static __force_inline bool alu_cond(uint64_t f, unsigned cc)
{
	bool sf = f & X86_EFLAGS_SF, of = f & X86_EFLAGS_OF, r;

	switch (cc >> 1 & 7) {
	case 0:
		r = of;
		break;
	case 1:
		r = f & X86_EFLAGS_CF;
		break;
	case 2:
		r = f & X86_EFLAGS_ZF;
		break;
	case 3:
		r = f & (X86_EFLAGS_CF | X86_EFLAGS_ZF);
		break;
	case 4:
		r = sf;
		break;
	case 5:
		r = f & X86_EFLAGS_PF;
		break;
	case 6:
		r = sf != of;
		break;
	default:
		r = (f & X86_EFLAGS_ZF) || sf != of;
		break;
	}
	return r ^ (cc & 1);
}

#endif
