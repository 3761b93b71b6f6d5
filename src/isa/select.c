/* SPDX-License-Identifier: MIT */
/*
 * Builds the decoder's selection tables from the rows' places.
 *
 * For each opcode the rows that stand there are split by one distinction after
 * the other, in the order of dims[], as long as any of them asks for it; what is
 * left in a cell is decided by order: the first row wins. The result is a small
 * tree per opcode with the roots in a table by map and opcode, as the manuals'
 * opcode maps and their groups are.
 *
 * Runs as a constructor: tables are complete before main() and before any thread,
 * and never change. The number of nodes is known when the rows are: overflow is a
 * mistake in this folder and traps at the first start.
 */
#include "isa/rows.h"
#include "isa/select.h"

#define MAX_ROWS	4096
#define MAX_NODES	49152
#define MAX_HERE	64	/* rows that share an opcode byte */

struct sel_node x86_sel_root[SEL_TABLES][256];
uint8_t x86_sel_modrm[SEL_TABLES][256];
struct sel_node x86_sel_nodes[MAX_NODES];
struct row_info x86_row_info[MAX_ROWS];
static unsigned nr_nodes;

/* A distinction: key field, and where the allowed values stand in when. */
static const struct dim {
	uint16_t key;
	uint8_t when_shift, values;
	uint8_t value[8];	/* bit in when, by key value */
} dims[] = {
	/* clang-format off */
	{ KEY_M64,  22, 2, { 0, 1 } },
	{ KEY_PFX,  16, 4, { 0, 1, 2, 3 } },
	{ KEY_MOD3, 20, 2, { 0, 1 } },
	{ KEY_REG,  0,  8, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ KEY_RM,   8,  8, { 0, 1, 2, 3, 4, 5, 6, 7 } },
	{ KEY_W,    24, 2, { 0, 1 } },
	{ KEY_L,    26, 3, { 0, 1, 2, 7 } },	/* 3 has no bit */
	{ KEY_B,    29, 1, { 0, 7 } },	/* B0 only: 1 has no bit */
	/* clang-format on */
};

static uint32_t dim_bits(const struct dim *d, uint32_t when)
{
	return when >> d->when_shift & ((1u << d->values) - 1);
}

struct cell {
	uint16_t row[MAX_HERE];
	unsigned n;
};

static void split(struct sel_node *node, const struct cell *c, unsigned depth);

/* The children of a node that distinguishes by @d. */
static void branch(struct sel_node *node, const struct cell *c, unsigned depth)
{
	const struct dim *d = &dims[depth];
	unsigned shift = FIELD_SHIFT(d->key), mask = d->key >> shift, v, i;
	struct cell sub;

	if (nr_nodes + mask + 1 > MAX_NODES)
		__builtin_trap();
	node->next = nr_nodes;
	node->shift = shift;
	node->mask = mask;
	nr_nodes += mask + 1;
	for (v = 0; v <= mask; v++) {
		sub.n = 0;
		for (i = 0; i < c->n; i++) {
			uint32_t when = x86_row_places[c->row[i]].when;
			uint32_t bits = dim_bits(d, when);

			if (!bits || bits >> d->value[v] & 1)
				sub.row[sub.n++] = c->row[i];
		}
		split(&x86_sel_nodes[node->next + v], &sub, depth + 1);
	}
}

static void split(struct sel_node *node, const struct cell *c, unsigned depth)
{
	unsigned i;

	for (; depth < ARRAY_SIZE(dims); depth++) {
		for (i = 0; i < c->n; i++)
			if (dim_bits(&dims[depth],
				     x86_row_places[c->row[i]].when))
				break;
		if (i < c->n) {
			branch(node, c, depth);
			return;
		}
	}
	node->mask = 0;
	node->next = c->n ? c->row[0] : ROW_NONE;
}

static unsigned place_table(unsigned row)
{
	uint32_t map = (x86_row_places[row].opcode & 0xffffff) >> 8;
	unsigned t = map == 0x0f ? X86_MAP_0F : map == 0x0f38 ? X86_MAP_0F38 :
		     map == 0x0f3a ? X86_MAP_0F3A : map == 0x0500 ? X86_MAP_5 :
		     map == 0x0600 ? X86_MAP_6 : X86_MAP_1B;
	uint32_t attr = x86_rows[row]->attr;

	return t + (attr & I_EVEX ? SEL_EVEX : attr & I_VEX ? SEL_VEX : 0);
}

/* --- row_info -------------------------------------------------------------- */

#define KINDS_MODRM (BIT_ULL(OPK_C) | BIT_ULL(OPK_D) | BIT_ULL(OPK_E) |	\
		     BIT_ULL(OPK_G) | BIT_ULL(OPK_M) | BIT_ULL(OPK_N) |	\
		     BIT_ULL(OPK_P) | BIT_ULL(OPK_Q) | BIT_ULL(OPK_R) |	\
		     BIT_ULL(OPK_S) | BIT_ULL(OPK_U) | BIT_ULL(OPK_V) |	\
		     BIT_ULL(OPK_W) | BIT_ULL(OPK_K) | BIT_ULL(OPK_KM) |	\
		     BIT_ULL(OPK_KR))
#define KINDS_CRDRSR (BIT_ULL(OPK_C) | BIT_ULL(OPK_D) | BIT_ULL(OPK_S))
#define KINDS_VVVV (BIT_ULL(OPK_B) | BIT_ULL(OPK_H) | BIT_ULL(OPK_KV))
#define WHEN_MODRM (0xffffu | MEM | REG)

static uint64_t row_kinds(const struct opcode *row)
{
	uint64_t kinds = 0;
	unsigned i;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		kinds |= BIT_ULL(row->opnd[i].kind);
	return kinds;
}

static enum imm_kind opnd_imm(const struct x86_opnd *o)
{
	if (o->kind == OPK_A)
		return IMM_FAR;
	if (o->kind == OPK_O)
		return IMM_MOFFS;
	if (o->kind == OPK_L)
		return IMM_BU;
	if (o->kind != OPK_I && o->kind != OPK_J)
		return IMM_NONE;
	switch (o->size) {
	case OPS_b:
		return o->reg || o->kind == OPK_J ? IMM_BS : IMM_BU;
	case OPS_w:
		return IMM_W;
	case OPS_z:
		return IMM_Z;
	default:
		return IMM_V;
	}
}

static uint8_t row_imm(const struct opcode *row)
{
	uint8_t imm = IMM_NONE;
	unsigned i;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		if (opnd_imm(&row->opnd[i]) != IMM_NONE) {
			if (imm != IMM_NONE)
				return imm == IMM_W ? IMM_ENTER : IMM_2B;
			imm = opnd_imm(&row->opnd[i]);
		}
	return imm;
}

static uint16_t row_flags(const struct opcode *row, uint64_t kinds, uint32_t when)
{
	uint16_t flags = 0;
	unsigned i;

	if (kinds & (BIT_ULL(OPK_C) | BIT_ULL(OPK_D)))
		flags |= RI_REGONLY;
	if (kinds & KINDS_CRDRSR)
		flags |= RI_CHECK_REG;
	if (kinds & KINDS_VVVV)
		flags |= RI_VVVV;
	if (kinds & BIT_ULL(OPK_K))
		flags |= RI_REG_K;
	if (kinds & BIT_ULL(OPK_G))
		flags |= RI_REG_G;
	if (kinds & BIT_ULL(OPK_KV))
		flags |= RI_VVVV_K;
	if (kinds & (BIT_ULL(OPK_U) | BIT_ULL(OPK_W)))
		flags |= RI_RM_V;
	if ((when & (NP | P66 | PF3 | PF2)) == P66)
		flags |= RI_TAKES_66;
	for (i = 0; i < X86_MAX_OPERANDS; i++) {
		const struct x86_opnd *o = &row->opnd[i];

		/* CRC32's first is a y, but its source is by prefix. */
		if (o->size == OPS_y && row->op != X86_OP_CRC32)
			flags |= RI_Y;
		if (o->size == OPS_z && (o->kind == OPK_REG ||
					 o->kind == OPK_X || o->kind == OPK_Y))
			flags |= RI_MAX4;
	}
	return flags;
}

/* The operand that is memory unless mod is 3; NO_MEM: none. */
static uint8_t row_mem(const struct opcode *row)
{
	uint8_t i;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		if (MEM_KINDS >> row->opnd[i].kind & 1 &&
		    row->opnd[i].kind != OPK_O)
			return i;
	return NO_MEM;
}

static void fill_info(unsigned id)
{
	const struct opcode *row = x86_rows[id];
	struct row_info *ri = &x86_row_info[id];
	uint64_t kinds = row_kinds(row);

	ri->mem = row_mem(row);
	ri->imm = row_imm(row);
	ri->flags = row_flags(row, kinds, x86_row_places[id].when);
	ri->reg_mask = kinds & (BIT_ULL(OPK_P) | BIT_ULL(OPK_S)) ? 7 : 0xff;
	ri->rm_mask = kinds & (BIT_ULL(OPK_N) | BIT_ULL(OPK_Q) | BIT_ULL(OPK_ST) |
			       BIT_ULL(OPK_KM) | BIT_ULL(OPK_KR)) ? 7 : 0xff;
}

static bool row_has_modrm(unsigned id)
{
	return (row_kinds(x86_rows[id]) & KINDS_MODRM) ||
	       (x86_row_places[id].when & WHEN_MODRM);
}

static __attribute__((constructor)) void isa_select_init(void)
{
	static struct cell cells[SEL_TABLES][256];	/* too big to stand on a stack */
	unsigned id, t, o, n;

	if (x86_nr_rows > MAX_ROWS)
		__builtin_trap();
	for (id = 0; id < x86_nr_rows; id++) {
		uint32_t opc = x86_row_places[id].opcode;

		fill_info(id);
		t = place_table(id);
		for (n = 0; n <= opc >> 24; n++) {
			struct cell *c = &cells[t][(opc + n) & 0xff];

			if (c->n == MAX_HERE)
				__builtin_trap();
			c->row[c->n++] = id;
			if (row_has_modrm(id))
				x86_sel_modrm[t][(opc + n) & 0xff] = 1;
		}
	}
	for (t = 0; t < SEL_TABLES; t++)
		for (o = 0; o < 256; o++)
			split(&x86_sel_root[t][o], &cells[t][o], 0);
}
