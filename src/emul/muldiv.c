/* SPDX-License-Identifier: MIT */
/*
 * Multiplication and division: MUL IMUL DIV IDIV MULX.
 *
 * The one-operand forms work on AX (bytes) or rDX:rAX. A product's CF and OF say
 * that the upper half matters, the other flags are what the host leaves, and so are
 * those of DIV and IDIV. These raise #DE for a divisor of 0 and for a quotient that
 * does not fit; the check comes before the division, so that the host never faults.
 */
#include "emul/by_size.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

/* rDX:rAX, or AH:AL, as one number of 2 * @bytes bytes. */
static u128 get_pair(const struct x86_emulate_ctxt *c, unsigned bytes)
{
	uint64_t mask = emul_mask(bytes);

	if (bytes == 1)
		return (uint16_t)c->gpr[X86_RAX];
	return (u128)(c->gpr[X86_RDX] & mask) << (8 * bytes) |
	       (c->gpr[X86_RAX] & mask);
}

static void set_pair(struct x86_emulate_ctxt *c, uint64_t lo, uint64_t hi,
		     unsigned bytes)
{
	if (bytes == 1) {
		emul_set_gpr(c, X86_RAX, (uint8_t)lo | (uint8_t)hi << 8, 2);
		return;
	}
	emul_set_gpr(c, X86_RAX, lo, bytes);
	emul_set_gpr(c, X86_RDX, hi, bytes);
}

/* lo, hi, packed flags of @op (mul, imul) on rAX; flags go in, too. */
#define MULTIPLY(op, bits, m)						\
static void op##_##bits(struct x86_emulate_ctxt *c, uint##bits##_t s)	\
{									\
	uint16_t ax = alu_pack(c->eflags);				\
	uint##bits##_t a = c->gpr[X86_RAX], d;				\
									\
	__asm__(FLAGS_FROM_AX "mov %" m "[a], %" m "1\n\t"		\
		#op " %" m "[s]\n\tmov %" m "1, %" m "[a]\n\t"		\
		FLAGS_TO_AX						\
		: [a] "+r"(a), "+a"(ax), "=&d"(d) : [s] "r"(s) : "cc");	\
	alu_set_flags(&c->eflags, ax);					\
	set_pair(c, a, d, bits / 8);					\
}

#define MULTIPLY8(op)							\
static void op##_8(struct x86_emulate_ctxt *c, uint8_t s)		\
{									\
	uint16_t ax = alu_pack(c->eflags), r;				\
	uint8_t a = c->gpr[X86_RAX];					\
									\
	__asm__(FLAGS_FROM_AX "movb %[a], %%al\n\t" #op "b %[s]\n\t"	\
		"movw %%ax, %[r]\n\t" FLAGS_TO_AX			\
		: [r] "=&r"(r), "+a"(ax) : [a] "q"(a), [s] "q"(s) : "cc"); \
	alu_set_flags(&c->eflags, ax);					\
	emul_set_gpr(c, X86_RAX, r, 2);					\
}

/* clang-format off */
MULTIPLY8(mul)         MULTIPLY8(imul)
MULTIPLY(mul, 16, "w") MULTIPLY(imul, 16, "w")
MULTIPLY(mul, 32, "k") MULTIPLY(imul, 32, "k")
MULTIPLY(mul, 64, "q") MULTIPLY(imul, 64, "q")
/* clang-format on */

int emul_mul(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes)
{
	switch (bytes) {
	case 1:
		mul_8(c, v);
		break;
	case 2:
		mul_16(c, v);
		break;
	case 4:
		mul_32(c, v);
		break;
	default:
		mul_64(c, v);
		break;
	}
	return X86EMUL_CONTINUE;
}

int emul_imul(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes)
{
	switch (bytes) {
	case 1:
		imul_8(c, v);
		break;
	case 2:
		imul_16(c, v);
		break;
	case 4:
		imul_32(c, v);
		break;
	default:
		imul_64(c, v);
		break;
	}
	return X86EMUL_CONTINUE;
}

int em_mul(struct x86_emulate_ctxt *c)
{
	return emul_mul(c, c->dst.val, c->dst.bytes);
}

int em_imul1(struct x86_emulate_ctxt *c)
{
	return emul_imul(c, c->dst.val, c->dst.bytes);
}

/* dst *= src, or dst = src * src2. */
int em_imul(struct x86_emulate_ctxt *c)
{
	bool three = c->src2.type != OPERAND_NONE;
	uint64_t a = three ? c->src2.val : c->dst.val;

	BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, imul, a, c->src.val,
		     &c->eflags);
	return X86EMUL_CONTINUE;
}

/* dst:src = rDX * src2, no flags. */
int em_mulx(struct x86_emulate_ctxt *c)
{
	unsigned bytes = c->dst.bytes;
	u128 p = (u128)(c->gpr[X86_RDX] & emul_mask(bytes)) * c->src2.val;

	c->src.val = p;
	c->dst.val = p >> (8 * bytes);
	return X86EMUL_CONTINUE;
}

/* rDX:rAX by @s, which is known not to fault; flags go in, too. */
#define DIVIDE(op, bits, m)						\
static void op##_##bits(struct x86_emulate_ctxt *c, uint##bits##_t s)	\
{									\
	uint16_t ax = alu_pack(c->eflags);				\
	uint##bits##_t a = c->gpr[X86_RAX], d = c->gpr[X86_RDX];	\
									\
	__asm__(FLAGS_FROM_AX "mov %" m "[a], %" m "1\n\t"		\
		#op " %" m "[s]\n\tmov %" m "1, %" m "[a]\n\t"		\
		FLAGS_TO_AX						\
		: [a] "+r"(a), "+a"(ax), "+d"(d) : [s] "r"(s) : "cc");	\
	alu_set_flags(&c->eflags, ax);					\
	set_pair(c, a, d, bits / 8);					\
}

#define DIVIDE8(op)							\
static void op##_8(struct x86_emulate_ctxt *c, uint8_t s)		\
{									\
	uint16_t ax = alu_pack(c->eflags), r = c->gpr[X86_RAX];		\
									\
	__asm__(FLAGS_FROM_AX "movw %[r], %%ax\n\t" #op "b %[s]\n\t"	\
		"movw %%ax, %[r]\n\t" FLAGS_TO_AX			\
		: [r] "+r"(r), "+a"(ax) : [s] "q"(s) : "cc");		\
	alu_set_flags(&c->eflags, ax);					\
	emul_set_gpr(c, X86_RAX, r, 2);					\
}

/* clang-format off */
DIVIDE8(div)         DIVIDE8(idiv)
DIVIDE(div, 16, "w") DIVIDE(idiv, 16, "w")
DIVIDE(div, 32, "k") DIVIDE(idiv, 32, "k")
DIVIDE(div, 64, "q") DIVIDE(idiv, 64, "q")
/* clang-format on */

int emul_div(struct x86_emulate_ctxt *c, uint64_t d, unsigned bytes)
{
	if ((uint64_t)(get_pair(c, bytes) >> (8 * bytes)) >= d)	/* also d = 0 */
		return emul_de(c);
	switch (bytes) {
	case 1:
		div_8(c, d);
		break;
	case 2:
		div_16(c, d);
		break;
	case 4:
		div_32(c, d);
		break;
	default:
		div_64(c, d);
		break;
	}
	return X86EMUL_CONTINUE;
}

/* The quotient's magnitude is below 2^(bits - 1), or, when negative, is that. */
static bool idiv_fits(const struct x86_emulate_ctxt *c, int64_t d, unsigned bytes)
{
	unsigned pad = 128 - 16 * bytes;
	s128 n = (s128)(get_pair(c, bytes) << pad) >> pad;
	u128 un = n < 0 ? -(u128)n : (u128)n;
	uint64_t ud = d < 0 ? -(uint64_t)d : (uint64_t)d;
	bool neg = (n < 0) != (d < 0);

	return un < ((u128)ud << (8 * bytes - 1)) + (neg ? ud : 0);
}

int emul_idiv(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes)
{
	if (!idiv_fits(c, emul_sext(v, bytes), bytes))	/* also v = 0 */
		return emul_de(c);
	switch (bytes) {
	case 1:
		idiv_8(c, v);
		break;
	case 2:
		idiv_16(c, v);
		break;
	case 4:
		idiv_32(c, v);
		break;
	default:
		idiv_64(c, v);
		break;
	}
	return X86EMUL_CONTINUE;
}

int em_div(struct x86_emulate_ctxt *c)
{
	return emul_div(c, c->dst.val, c->dst.bytes);
}

int em_idiv(struct x86_emulate_ctxt *c)
{
	return emul_idiv(c, c->dst.val, c->dst.bytes);
}
