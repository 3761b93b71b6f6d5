/* SPDX-License-Identifier: MIT */
/*
 * Bits: BT BTS BTR BTC, BSF BSR TZCNT LZCNT POPCNT, BSWAP, BMI1 and BMI2, CRC32.
 *
 * A bit offset in a register reaches beyond a memory operand: the driver has moved
 * the operand's address already (HOW_BITS), here the offset is modulo the size.
 * BSF and BSR of 0 leave the destination alone, all 64 bits of it, on both
 * vendors' processors. TZCNT and LZCNT are BSF and BSR for a guest that has not
 * got them (SDM Vol. 2B, "TZCNT"). A guest has an extension only when the host
 * has it, so the host's instruction is there to be used.
 */
#include "emul/by_size.h"

#define HANDLER_WIDE(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, op, c->dst.val,	\
		     c->src.val, &c->eflags);				\
	return X86EMUL_CONTINUE;					\
}

HANDLER_WIDE(bt)
HANDLER_WIDE(bts)
HANDLER_WIDE(btr)
HANDLER_WIDE(btc)
HANDLER_WIDE(popcnt)

#define HANDLER_SCAN(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, op, c->dst.val,	\
		     c->src.val, &c->eflags);				\
	if (!c->src.val)						\
		c->wb &= ~WB_DST;					\
	return X86EMUL_CONTINUE;					\
}

HANDLER_SCAN(bsf)
HANDLER_SCAN(bsr)

int em_tzcnt(struct x86_emulate_ctxt *c)
{
	if (!emul_has(c, X86_FEATURE_BMI1))
		return em_bsf(c);
	BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, tzcnt, c->dst.val, c->src.val,
		     &c->eflags);
	return X86EMUL_CONTINUE;
}

int em_lzcnt(struct x86_emulate_ctxt *c)
{
	if (!emul_has(c, X86_FEATURE_LZCNT))
		return em_bsr(c);
	BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, lzcnt, c->dst.val, c->src.val,
		     &c->eflags);
	return X86EMUL_CONTINUE;
}

int em_bswap(struct x86_emulate_ctxt *c)
{
	uint32_t v = c->dst.val;

	switch (c->dst.bytes) {
	case 2:
		/* Undefined (SDM Vol. 2A, "BSWAP"): what the host makes of it. */
		__asm__(".byte 0x66\n\tbswap %%eax" : "+a"(v));
		c->dst.val = v;
		break;
	case 4:
		c->dst.val = __builtin_bswap32(v);
		break;
	default:
		c->dst.val = __builtin_bswap64(c->dst.val);
		break;
	}
	return X86EMUL_CONTINUE;
}

/* dst = op(src, src2), flags in and out, 4 or 8 bytes. */
#define BMI(op, bits, m)						\
static uint64_t op##_##bits(uint##bits##_t a, uint##bits##_t b,		\
			    uint64_t *eflags)				\
{									\
	uint16_t ax = alu_pack(*eflags);				\
	uint##bits##_t d;						\
									\
	__asm__(FLAGS_FROM_AX #op " %" m "[b], %" m "[a], %" m "[d]\n\t" \
		FLAGS_TO_AX						\
		: [d] "=&r"(d), "+a"(ax) : [a] "r"(a), [b] "r"(b) : "cc"); \
	alu_set_flags(eflags, ax);					\
	return d;							\
}

#define HANDLER_BMI(op)							\
BMI(op, 32, "k")							\
BMI(op, 64, "q")							\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	c->dst.val = c->dst.bytes == 8 ?				\
		op##_64(c->src.val, c->src2.val, &c->eflags) :		\
		op##_32(c->src.val, c->src2.val, &c->eflags);		\
	return X86EMUL_CONTINUE;					\
}

HANDLER_BMI(andn)
HANDLER_BMI(bextr)
HANDLER_BMI(bzhi)
HANDLER_BMI(pdep)
HANDLER_BMI(pext)

/* dst = op(src). */
#define HANDLER_BMI1(op)						\
ALU_INOUT(op, op, 32, "k")						\
ALU_INOUT(op, op, 64, "q")						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	c->dst.val = c->dst.bytes == 8 ?				\
		alu_##op##64(0, c->src.val, &c->eflags) :		\
		alu_##op##32(0, c->src.val, &c->eflags);		\
	return X86EMUL_CONTINUE;					\
}

HANDLER_BMI1(blsi)
HANDLER_BMI1(blsmsk)
HANDLER_BMI1(blsr)

int em_crc32(struct x86_emulate_ctxt *c)
{
	uint64_t crc = (uint32_t)c->dst.val, s = c->src.val;

	switch (c->src.bytes) {
	case 1:
		__asm__("crc32b %b1, %k0" : "+r"(crc) : "q"(s));
		break;
	case 2:
		__asm__("crc32w %w1, %k0" : "+r"(crc) : "r"(s));
		break;
	case 4:
		__asm__("crc32l %k1, %k0" : "+r"(crc) : "r"(s));
		break;
	default:
		__asm__("crc32q %1, %0" : "+r"(crc) : "r"(s));
		break;
	}
	c->dst.val = crc;
	return X86EMUL_CONTINUE;
}
