/* SPDX-License-Identifier: MIT */
/*
 * Multiplication and division: MUL IMUL DIV IDIV MULX.
 *
 * The one-operand forms work on AX (bytes) or rDX:rAX. A product's CF and OF say
 * that the upper half matters, the other flags are what the host leaves. DIV and
 * IDIV raise #DE for a divisor of 0 and for a quotient that does not fit; the
 * check comes before the division, so that the host never faults. Their flags
 * are undefined; they stay as they were.
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

/* 128 by 64 bits; the quotient is known to fit. */
static uint64_t divide(u128 n, uint64_t d, uint64_t *rem)
{
	uint64_t q;

	__asm__("divq %[d]" : "=a"(q), "=d"(*rem)
		: "a"((uint64_t)n), "d"((uint64_t)(n >> 64)), [d] "r"(d)
		: "cc");
	return q;
}

int emul_div(struct x86_emulate_ctxt *c, uint64_t d, unsigned bytes)
{
	u128 n = get_pair(c, bytes);
	uint64_t q, rem;

	if ((uint64_t)(n >> (8 * bytes)) >= d)	/* also d = 0 */
		return emul_de(c);
	q = divide(n, d, &rem);
	set_pair(c, q, rem, bytes);
	return X86EMUL_CONTINUE;
}

int emul_idiv(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes)
{
	unsigned pad = 128 - 16 * bytes;
	s128 n = (s128)(get_pair(c, bytes) << pad) >> pad;
	int64_t d = emul_sext(v, bytes);
	u128 un = n < 0 ? -(u128)n : (u128)n;
	uint64_t ud = d < 0 ? -(uint64_t)d : (uint64_t)d, q, rem;
	bool neg = (n < 0) != (d < 0);

	if (!ud || un >> 64 >= ud)
		return emul_de(c);
	q = divide(un, ud, &rem);
	/* The most negative quotient exists, its opposite does not. */
	if (q > (emul_mask(bytes) >> 1) + neg)
		return emul_de(c);
	set_pair(c, neg ? -q : q, n < 0 ? -rem : rem, bytes);
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
