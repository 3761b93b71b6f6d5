/* SPDX-License-Identifier: MIT */
/*
 * VEX and EVEX (SDM Vol. 2A, "Intel Advanced Vector Extensions", "Intel AVX-512
 * Encoding"): their fields, and the rules that come with them.
 *
 * Both hold REX's bits inverted, the mandatory prefix and the map. EVEX adds a
 * fifth bit to three register numbers (R', V', and X where ModRM.rm is a vector
 * register), a mask, zeroing, and one bit b that is broadcast with a memory operand
 * and rounding or suppressed exceptions without. Its 8-bit displacement counts in
 * units of the memory operand ("Compressed Displacement (disp8*N) Support").
 *
 * Which of it an instruction may use is in the row (EV_*); whatever else is there
 * makes it undefined. Outside 64-bit mode there are 8 registers of each kind.
 */
#include "isa/parser.h"

#define VEX_P1_W	BIT(7)	/* byte 2 of C4, P1 of EVEX */
#define VEX_P1_L	BIT(2)
#define EVEX_P0_R2	BIT(4)
#define EVEX_P0_FIXED0	BIT(3)
#define EVEX_P0_MAP	0x07u
#define EVEX_P1_FIXED1	BIT(2)
#define EVEX_P2_V2	BIT(3)

/* Legacy prefixes that cannot stand before VEX and EVEX. */
static bool has_bad_prefix(const struct x86_insn *insn, const struct parser *p)
{
	return p->rex || (insn->prefix & (PFX_LOCK | PFX_REP | PFX_REPNE |
					  PFX_OPSIZE));
}

/* W, vvvv and pp, which are the same in both. */
static void common_fields(struct x86_insn *insn, struct parser *p, uint8_t byte)
{
	p->w = byte >> 7;
	p->pfx = insn->pp = byte & 3;	/* pp counts as KEY_PFX does */
	insn->vvvv = ~(byte >> 3) & 15;
	if (p->w)
		insn->prefix |= PFX_REX_W;
}

bool x86_parse_vex(struct x86_insn *insn, struct parser *p)
{
	const uint8_t *b = p->buf + p->pos;
	bool three = b[0] == 0xc4, bad = has_bad_prefix(insn, p);
	uint8_t last = three ? b[2] : b[1] & ~VEX_P1_W;
	unsigned map = three ? b[1] & 0x1f : X86_MAP_0F;

	p->pos += three ? 3 : 2;
	p->rex = ~(three ? b[1] >> 5 : (b[1] >> 5 & REX_R) | 3) & 7;
	if (!p->m64)
		p->rex = 0;
	common_fields(insn, p, last);
	p->l = !!(last & VEX_P1_L);
	insn->prefix |= PFX_VEX;
	insn->veclen = p->l ? 32 : 16;
	if (bad || map < X86_MAP_0F || map > X86_MAP_0F3A)
		return false;
	p->table = map + SEL_VEX;
	insn->map = map;
	insn->opcode = p->buf[p->pos++];
	return true;
}

bool x86_parse_evex(struct x86_insn *insn, struct parser *p)
{
	static const uint8_t maps[8] = { 0, X86_MAP_0F, X86_MAP_0F38,
					 X86_MAP_0F3A, 0, X86_MAP_5, X86_MAP_6 };
	const uint8_t *b = p->buf + p->pos + 1;
	unsigned map = maps[b[0] & EVEX_P0_MAP];
	bool bad = has_bad_prefix(insn, p) || (b[0] & EVEX_P0_FIXED0) ||
		   !(b[1] & EVEX_P1_FIXED1) ||
		   (!p->m64 && !(b[2] & EVEX_P2_V2));

	p->pos += 4;
	p->rex = p->m64 ? ~(b[0] >> 5) & 7 : 0;
	p->r2 = p->m64 && !(b[0] & EVEX_P0_R2);
	p->v2 = !(b[2] & EVEX_P2_V2);
	common_fields(insn, p, b[1]);
	insn->evex = b[2] & ~EVEX_P2_V2;
	insn->prefix |= PFX_EVEX;
	p->l = FIELD_GET(INSN_EVEX_LL, insn->evex);
	insn->veclen = 16 << MIN(p->l, 2);
	if (bad || !map)
		return false;
	p->table = map + SEL_EVEX;
	insn->map = map;
	insn->opcode = p->buf[p->pos++];
	return true;
}

/* N of disp8*N. */
static int64_t displacement_unit(const struct x86_insn *insn,
				 const struct row_info *ri)
{
	unsigned n;

	if (insn->row->evex & EV_PACK)
		return x86_elem_bytes(insn->row);
	n = ri->mem == NO_MEM ? 0 : x86_opnd_bytes(insn, ri->mem);
	return n ? n : 1;
}

void x86_evex_registers(struct x86_insn *insn, const struct parser *p,
			const struct row_info *ri)
{
	insn->reg |= p->r2 << 4;
	if (insn->mod == 3) {
		if (ri->flags & RI_RM_V)
			insn->rm |= (p->rex & REX_X) << 3;
		if ((insn->evex & INSN_EVEX_B) && !(insn->row->evex & EV_BIGN))
			insn->veclen = 64;
	} else if (insn->mod == 1) {
		insn->disp *= displacement_unit(insn, ri);
	}
	if (insn->row->attr & I_VSIB)
		insn->index |= p->v2 << 4;
	else
		insn->vvvv |= p->v2 << 4;
}

/* z, b and aaa against the row. */
static bool evex_is_allowed(const struct x86_insn *insn)
{
	const struct opcode *row = insn->row;
	unsigned evex = insn->evex, ev = row->evex;
	bool b = evex & INSN_EVEX_B, mem = insn->mod != 3;

	if (evex & INSN_EVEX_AAA ? !(ev & EV_K) : ev & EV_KREQ)
		return false;
	if ((evex & INSN_EVEX_Z) &&
	    (!(ev & EV_Z) || !(evex & INSN_EVEX_AAA) ||
	     (mem && row->access & ACC_W)))
		return false;
	if (b && !(ev & (mem ? EV_BC : EV_ER | EV_SAE | EV_BIGN)))
		return false;
	return (evex & INSN_EVEX_LL) != INSN_EVEX_LL || (b && !mem);
}

/* Gathers: destination, index and, with VEX, mask are three registers. */
static bool vsib_is_valid(const struct x86_insn *insn, uint8_t vvvv)
{
	if (insn->mod == 3 || (insn->modrm & 7) != X86_RSP || insn->adsize == 2)
		return false;
	if (insn->row->access & ACC_W)
		return true;
	if (insn->reg == insn->index)
		return false;
	return (insn->prefix & PFX_EVEX) ||
	       (insn->reg != vvvv && insn->index != vvvv);
}

static bool is_distinct(const struct x86_insn *insn, uint8_t vvvv,
			const struct row_info *ri)
{
	return !((ri->flags & RI_VVVV) && insn->reg == vvvv) &&
	       !(insn->mod == 3 && insn->reg == insn->rm);
}

bool x86_vex_is_valid(const struct x86_insn *insn, const struct parser *p,
		      const struct row_info *ri)
{
	const struct opcode *row = insn->row;
	uint8_t vvvv = p->m64 ? insn->vvvv : insn->vvvv & 7;

	if (insn->vvvv && !(ri->flags & RI_VVVV))
		return false;
	if ((ri->flags & RI_VVVV_K) && vvvv > 7)
		return false;
	if (insn->reg > ((ri->flags & RI_REG_K) ? 7 :
			 (ri->flags & RI_REG_G) ? 15 : 31))
		return false;
	if ((insn->prefix & PFX_EVEX) && !evex_is_allowed(insn))
		return false;
	if ((row->attr & I_VSIB) && !vsib_is_valid(insn, vvvv))
		return false;
	return !(row->evex & EV_DIST) || is_distinct(insn, vvvv, ri);
}
