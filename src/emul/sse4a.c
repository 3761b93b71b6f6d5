/* SPDX-License-Identifier: MIT */
/*
 * SSE4A (APM Vol. 4, "EXTRQ", "INSERTQ", "MOVNTSD", "MOVNTSS"): computed here and not
 * on the host's units, which need not be AMD's.
 *
 * Bit fields are in the low quadword; what the manual leaves undefined - the high
 * quadword of the result, a field that passes bit 63 - is zero.
 */
#include "emul/mem.h"
#include "emul/simd.h"

/* A host instruction with XMM register @x in ModRM.reg and rAX in ModRM.rm; @imm: -1
 * where there is none. */
static int with_rax(struct x86_emulate_ctxt *c, uint16_t map, uint8_t opcode,
		    unsigned x, int imm, uint64_t *rax)
{
	struct stub_regs r = { .rax = *rax };
	struct host_insn h = { .len = 0 };
	int rc;

	simd_put(&h, 0x66);
	simd_put(&h, 0x48 | (x & 8) >> 1);
	simd_put(&h, 0x0f);
	if (map)
		simd_put(&h, map);
	simd_put(&h, opcode);
	simd_put(&h, 0xc0 | (x & 7) << 3);
	if (imm >= 0)
		simd_put(&h, imm);
	rc = simd_run(c, &h, &r);
	*rax = r.rax;
	return rc;
}

static int get_low(struct x86_emulate_ctxt *c, unsigned x, uint64_t *v)
{
	return with_rax(c, 0, 0x7e, x, -1, v);		/* MOVQ */
}

static int get_high(struct x86_emulate_ctxt *c, unsigned x, uint64_t *v)
{
	return with_rax(c, 0x3a, 0x16, x, 1, v);	/* PEXTRQ */
}

static int set_low(struct x86_emulate_ctxt *c, unsigned x, uint64_t v)
{
	return with_rax(c, 0, 0x6e, x, -1, &v);		/* MOVQ */
}

static bool has_immediates(const struct x86_insn *i)
{
	return i->opcode == 0x78;
}

/* A length of 0 is 64. */
static uint64_t field_mask(unsigned length)
{
	return ~0ull >> ((64 - length) & 63);
}

int em_extrq(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	unsigned dst = has_immediates(i) ? i->rm : i->reg;
	uint64_t v = 0, how = (i->imm & 63) | (i->imm2 & 63) << 8;
	int rc = fpu_check_sse(c);

	if (!rc && !has_immediates(i))
		rc = get_low(c, i->rm, &how);
	if (!rc)
		rc = get_low(c, dst, &v);
	return rc ? rc : set_low(c, dst, v >> (how >> 8 & 63) &
				 field_mask(how & 63));
}

int em_insertq(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t src = 0, dst = 0, how = (i->imm & 63) | (i->imm2 & 63) << 8, mask;
	int rc = fpu_check_sse(c);

	if (!rc && !has_immediates(i))
		rc = get_high(c, i->rm, &how);
	if (!rc)
		rc = get_low(c, i->rm, &src);
	if (!rc)
		rc = get_low(c, i->reg, &dst);
	if (rc)
		return rc;
	mask = field_mask(how & 63);
	how = how >> 8 & 63;
	return set_low(c, i->reg, (dst & ~(mask << how)) | (src & mask) << how);
}

int em_movnts(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t v = 0;
	int rc = fpu_check_sse(c);

	if (!rc)
		rc = get_low(c, i->reg, &v);
	return rc ? rc : emul_write(c, i->seg, emul_ea(c), v,
				    x86_opnd_bytes(i, 0));
}
