// SPDX-License-Identifier: MIT
/*
 * Encodings of a row, from where it stands (isa/rows.h): prefixes that it needs and
 * others that it must not mind, REX, VEX or EVEX, opcode, ModRM with every form of
 * address, and random bytes behind for the immediates.
 *
 * What comes out is only a proposal: the decoder says whether it is this row, and the
 * next one is tried otherwise. The rules of a row need not be known here a second
 * time.
 */
#include <stdio.h>
#include <string.h>

#include "case.h"
#include "isa/rows.h"

#define TRIES 4000

struct enc {
	uint8_t b[32];
	unsigned n;
};

static void put(struct enc *e, uint8_t byte)
{
	e->b[e->n++] = byte;
}

/* One of the set bits of @set, or of [0, n) when it is empty. */
static unsigned any_of(uint32_t set, unsigned n)
{
	unsigned k;

	do
		k = rnd() % n;
	while (set && !(set >> k & 1));
	return k;
}

static void legacy_prefixes(struct enc *e, const struct opcode *row,
			    enum x86_mode mode, uint32_t when, bool vector)
{
	static const uint8_t segs[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned set = when >> 16 & 15;

	if (one_in(5))
		put(e, segs[rnd() % 6]);
	if (one_in(mode == X86_MODE_PROT64 ? 6 : mode == X86_MODE_PROT16 ? 3 : 24))
		put(e, 0x67);
	if (vector)
		return;
	if (set)
		set = mandatory[any_of(set, 4)];
	if (set != 0x66 && one_in(4))
		put(e, 0x66);
	if (row->attr & I_LOCK && one_in(3))
		put(e, 0xf0);
	if (set)
		put(e, set);
	else if (row->attr & I_REP ? rnd() % 3 : one_in(20))
		put(e, 0xf2 + (rnd() & 1));
}

static bool bit_of(uint32_t when, uint32_t zero, uint32_t one)
{
	return when & (zero | one) ? (when & one) && (!(when & zero) || rnd() & 1) :
				     rnd() & 1;
}

static unsigned vex_map(uint32_t opc)
{
	switch (opc >> 8) {
	case 0x0f:
		return X86_MAP_0F;
	case 0x0f38:
		return X86_MAP_0F38;
	case 0x0f3a:
		return X86_MAP_0F3A;
	default:
		return opc >> 16;
	}
}

static unsigned any_pp(uint32_t when)
{
	return when >> 16 & 15 ? any_of(when >> 16 & 15, 4) : rnd() & 3;
}

static void vex(struct enc *e, enum x86_mode mode, uint32_t opc, uint32_t when)
{
	bool w = bit_of(when, W0, W1), l = bit_of(when, L0, L1);
	unsigned vvvv = rnd() & 1 ? 15 : rnd() & 15;
	unsigned rxb = mode == X86_MODE_PROT64 ? rnd() & 7 : 7;

	if (!w && vex_map(opc) == X86_MAP_0F && (rxb & 3) == 3 && rnd() & 1) {
		put(e, 0xc5);
		put(e, (rxb & 4) << 5 | vvvv << 3 | l << 2 | any_pp(when));
		return;
	}
	put(e, 0xc4);
	put(e, rxb << 5 | vex_map(opc));
	put(e, w << 7 | vvvv << 3 | l << 2 | any_pp(when));
}

static void evex(struct enc *e, enum x86_mode mode, uint32_t opc, uint32_t when)
{
	unsigned rxbr = mode == X86_MODE_PROT64 ? rnd() & 15 : 15;
	unsigned vvvv = one_in(3) ? 15 : rnd() & 15;
	unsigned aaa = one_in(3) ? 0 : rnd() & 7;
	bool w = bit_of(when, W0, W1), v2 = mode != X86_MODE_PROT64 || rnd() % 3;
	unsigned ll = when & (L0 | L1 | L2) ? any_of(when >> 26 & 7, 3) :
					      rnd() % 3;

	put(e, 0x62);
	put(e, rxbr << 4 | vex_map(opc));
	put(e, w << 7 | vvvv << 3 | 4 | any_pp(when));
	put(e, (unsigned)(aaa && one_in(3)) << 7 | ll << 5 |
	       (unsigned)one_in(4) << 4 | v2 << 3 | aaa);
}

static void opcode_bytes(struct enc *e, enum x86_mode mode, uint32_t opc,
			 uint32_t when)
{
	if (mode == X86_MODE_PROT64 && (when & W1 || rnd() & 1))
		put(e, 0x40 | (unsigned)bit_of(when, W0, W1) << 3 | (rnd() & 7));
	if (opc > 0xff)
		put(e, 0x0f);
	if (opc > 0xffff)
		put(e, opc >> 8);
}

/* ModRM as the row's place wants it; memory is a little more frequent. */
static uint8_t modrm(uint32_t when)
{
	unsigned mod = when & MEM ? rnd() % 3 : when & REG ? 3 :
		       one_in(3) ? 3 : rnd() % 4;
	unsigned reg = when & 0xff ? any_of(when & 0xff, 8) : rnd() & 7;
	unsigned rm = when >> 8 & 0xff ? any_of(when >> 8 & 0xff, 8) :
		      one_in(4) ? 4 : rnd() & 7;

	return mod << 6 | reg << 3 | rm;
}

static void propose(struct tcase *t, unsigned id, struct enc *e)
{
	const struct opcode *row = x86_rows[id];
	uint32_t when = x86_row_places[id].when;
	uint32_t opc = x86_row_places[id].opcode;
	bool vector = row->attr & (I_VEX | I_EVEX);

	opc = (opc & 0xffffff) + rnd() % ((opc >> 24) + 1);
	e->n = 0;
	legacy_prefixes(e, row, t->mode, when, vector);
	if (row->attr & I_EVEX)
		evex(e, t->mode, opc, when);
	else if (vector)
		vex(e, t->mode, opc, when);
	else
		opcode_bytes(e, t->mode, opc, when);
	put(e, opc);
	t->modrm_at = e->n;
	put(e, modrm(when));
	while (e->n < X86_MAX_INSN_LEN + 9)
		put(e, rnd());
}

/* Where the displacement is. */
static void find_disp(struct tcase *t)
{
	const struct x86_insn *i = &t->insn;
	unsigned rm = i->modrm & 7, at = t->modrm_at + 1u;

	t->disp_bytes = 0;
	t->disp_at = at;
	if (i->mod == 3)
		return;
	if (i->adsize == 2) {
		t->disp_bytes = i->mod == 1 ? 1 : i->mod == 2 || rm == 6 ? 2 : 0;
		return;
	}
	if (rm == 4) {
		t->disp_at++;
		if (i->mod == 0 && (t->bytes[at] & 7) == 5)
			t->disp_bytes = 4;
	} else if (i->mod == 0 && rm == 5) {
		t->disp_bytes = 4;
	}
	if (i->mod)
		t->disp_bytes = i->mod == 1 ? 1 : 4;
}

static bool accept(struct tcase *t, const struct enc *e, unsigned id)
{
	if (x86_decode(&t->insn, e->b, e->n, t->mode) != X86_DECODE_OK ||
	    t->insn.row->id != id)
		return false;
	memcpy(t->bytes, t->insn.bytes, sizeof(t->bytes));
	find_disp(t);
	return true;
}

bool encode(struct tcase *t, unsigned id)
{
	struct enc e;
	unsigned k;

	for (k = 0; k < TRIES; k++) {
		propose(t, id, &e);
		if (accept(t, &e, id))
			return true;
	}
	return false;
}

bool encode_address(struct tcase *t, unsigned base, int32_t disp)
{
	unsigned id = t->insn.row->id, at = t->disp_at + t->disp_bytes, k;
	struct enc e = { .n = t->modrm_at };

	memcpy(e.b, t->bytes, e.n);
	put(&e, 0x80 | (t->insn.modrm & 0x38) | base);
	for (k = 0; k < 4; k++)
		put(&e, disp >> 8 * k);
	while (at < t->insn.len)
		put(&e, t->bytes[at++]);
	return accept(t, &e, id);
}

static bool redecode(struct tcase *t, unsigned at, uint64_t v, unsigned n)
{
	const struct opcode *row = t->insn.row;
	unsigned len = t->insn.len;

	memcpy(t->bytes + at, &v, n);
	return x86_decode(&t->insn, t->bytes, len, t->mode) == X86_DECODE_OK &&
	       t->insn.row == row && t->insn.len == len;
}

bool patch_disp(struct tcase *t, int64_t disp)
{
	return t->disp_bytes >= 2 &&
	       redecode(t, t->disp_at, disp, t->disp_bytes);
}

/* The last bytes of the instruction. */
bool patch_imm(struct tcase *t, uint64_t imm)
{
	const struct x86_insn *i = &t->insn;
	unsigned n = i->opsize > 4 ? 4 : i->opsize, k;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		const struct x86_opnd *o = &i->row->opnd[k];

		if (o->kind == OPK_O)
			n = i->adsize;
		else if ((o->kind == OPK_I || o->kind == OPK_J) && o->size == OPS_b)
			n = 1;
		else if (o->kind == OPK_I && o->size == OPS_w)
			n = 2;
	}
	return redecode(t, i->len - n, imm, n);
}

const char *row_place_text(unsigned id)
{
	static const char *const pfx[] = { "NP", "66", "F3", "F2" };
	static char buf[64];
	uint32_t opc = x86_row_places[id].opcode, when = x86_row_places[id].when;
	unsigned k, n;

	n = snprintf(buf, sizeof(buf), "%s%02x",
		     x86_rows[id]->attr & I_EVEX ? "evex." :
		     x86_rows[id]->attr & I_VEX ? "vex." : "", opc & 0xffffff);
	for (k = 0; k < 8; k++)
		if (when >> k & 1)
			n += snprintf(buf + n, sizeof(buf) - n, " /%u", k);
	for (k = 0; k < 4; k++)
		if (when >> (16 + k) & 1)
			n += snprintf(buf + n, sizeof(buf) - n, " %s", pfx[k]);
	if (when & (MEM | REG))
		snprintf(buf + n, sizeof(buf) - n, when & MEM ? " mem" : " reg");
	return buf;
}
