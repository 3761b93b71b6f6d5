/* SPDX-License-Identifier: MIT */
/*
 * Gathers and scatters: VGATHER with VEX, whose mask is a vector, and with EVEX, whose
 * mask is an opmask register, and VSCATTER.
 *
 * Unlike anything else they may fault half way: elements are done from the lowest to
 * the highest, each leaves the mask when it is done, and a fault finds the
 * destination and the mask as far as the instruction has come, so that it goes on
 * there when it is run again (SDM Vol. 2, "VPGATHERDD/VPGATHERDQ"). An element that
 * user space must serve is no guest fault but ends the run in the same way: the owner
 * runs it once more, from there.
 *
 * Vector registers are moved to memory and back, whole; the rest is plain code.
 */
#include "emul/simd.h"

struct gather {
	struct fpu_buf data, index, mask;	/* mask: VEX only */
	uint64_t need;		/* elements still to do */
	uint64_t beyond;	/* mask bits that no element has */
	unsigned n;		/* of them, altogether */
	unsigned bytes;		/* of one */
	unsigned index_bytes;
	bool evex;
	bool any;		/* one has been done */
};

/* VMOVDQU or VMOVDQU64 between vector register @reg and @buf, with all its bits. */
static int move(struct x86_emulate_ctxt *c, bool store, unsigned reg,
		struct fpu_buf *buf)
{
	struct stub_regs r = { .mem = buf };
	uint8_t opcode = store ? 0x7f : 0x6f, modrm = (reg & 7) << 3 | X86_RDI;
	struct host_insn vex = {
		.bytes = { 0xc4, reg & 8 ? 0x61 : 0xe1, 0x7e, opcode, modrm },
		.len = 5,
	};
	struct host_insn evex = {
		.bytes = { 0x62, (reg & 8 ? 0 : 0x80) | 0x60 |
			   (reg & 16 ? 0 : 0x10) | 1, 0xfe, 0x48, opcode, modrm },
		.len = 6,
	};

	return simd_run(c, c->insn->row->attr & I_EVEX ? &evex : &vex, &r);
}

/* Element @k of @buf, of 4 or 8 @bytes, sign-extended. */
static uint64_t get(const struct fpu_buf *buf, unsigned k, unsigned bytes)
{
	return bytes == 4 ? (uint64_t)(int64_t)((const int32_t *)buf->b)[k] :
			    ((const uint64_t *)buf->b)[k];
}

static void set(struct fpu_buf *buf, unsigned k, unsigned bytes, uint64_t v)
{
	if (bytes == 4)
		((uint32_t *)buf->b)[k] = v;
	else
		((uint64_t *)buf->b)[k] = v;
}

static int element_la(struct x86_emulate_ctxt *c, const struct gather *g,
		      unsigned k, unsigned acc, uint64_t *la)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = i->disp;

	if (i->base != X86_REG_NONE)
		ea += c->gpr[i->base];
	ea += get(&g->index, k, g->index_bytes) << i->scale;
	return emul_linearize(c, i->seg, emul_trunc_ea(i, ea), g->bytes, acc, la);
}

static int load_element(struct x86_emulate_ctxt *c, struct gather *g, unsigned k)
{
	uint64_t la, v;
	int rc = element_la(c, g, k, 0, &la);

	if (!rc)
		rc = emul_read_la(c, la, &v, g->bytes, ACC_UNALIGNED);
	if (!rc)
		set(&g->data, k, g->bytes, v);
	return rc;
}

static int store_element(struct x86_emulate_ctxt *c, struct gather *g, unsigned k)
{
	uint64_t la;
	int rc = element_la(c, g, k, ACC_WRITE, &la);

	return rc ? rc : emul_write_la(c, la, get(&g->data, k, g->bytes), g->bytes,
				       ACC_WRITE | ACC_UNALIGNED);
}

/* The signs of all that the vector has, be they an element's or not. */
static uint64_t signs(const struct gather *g, unsigned veclen)
{
	uint64_t mask = 0;
	unsigned k;

	for (k = 0; k < veclen / g->bytes; k++)
		mask |= (uint64_t)(g->mask.b[(k + 1) * g->bytes - 1] >> 7) << k;
	return mask;
}

static int get_mask(struct x86_emulate_ctxt *c, struct gather *g)
{
	const struct x86_insn *i = c->insn;
	uint64_t mask;
	int rc;

	if (g->evex) {
		rc = avx_get_opmask(c, i->evex & INSN_EVEX_AAA, &mask);
	} else {
		rc = move(c, true, i->vvvv, &g->mask);
		mask = signs(g, i->veclen);
	}
	g->need = mask & ((1ull << g->n) - 1);
	g->beyond = mask & ~g->need;
	return rc;
}

/* Registers into @g. */
static int begin(struct x86_emulate_ctxt *c, struct gather *g)
{
	const struct x86_insn *i = c->insn;
	int rc = avx_check(c);

	if (rc)
		return rc;
	g->evex = i->row->attr & I_EVEX;
	g->any = false;
	g->bytes = x86_elem_bytes(i->row);
	g->index_bytes = i->opcode & 1 ? 8 : 4;
	g->n = i->veclen / MAX(g->bytes, g->index_bytes);
	rc = move(c, true, i->reg, &g->data);
	if (!rc)
		rc = move(c, true, i->index, &g->index);
	return rc ? rc : get_mask(c, g);
}

static int work(struct x86_emulate_ctxt *c, struct gather *g,
		int (*element)(struct x86_emulate_ctxt *c, struct gather *g,
			       unsigned k))
{
	unsigned k;
	int rc;

	for (; g->need; g->need &= g->need - 1) {
		k = __builtin_ctzll(g->need);
		rc = element(c, g, k);
		if (rc)
			return rc;
		g->any = true;
	}
	return X86EMUL_CONTINUE;
}

static void zero_from(struct fpu_buf *buf, unsigned at)
{
	for (; at < sizeof(buf->b); at++)
		buf->b[at] = 0;
}

/* The mask as it is now: what is still needed; when all is done it is zero. */
static int put_mask(struct x86_emulate_ctxt *c, struct gather *g)
{
	const struct x86_insn *i = c->insn;
	uint64_t mask = g->need ? g->need | g->beyond : 0;
	unsigned k;

	if (g->evex)
		return avx_set_opmask(c, i->evex & INSN_EVEX_AAA, mask);
	for (k = 0; k < i->veclen / g->bytes; k++)
		set(&g->mask, k, g->bytes, mask >> k & 1 ? ~0ull : 0);
	zero_from(&g->mask, i->veclen);
	return move(c, false, i->vvvv, &g->mask);
}

/* Whether registers change, after @rc: done, or some of it. With VEX a fault finds the
 * elements of the mask all ones or zero. */
static bool is_visible(const struct gather *g, int rc)
{
	switch (rc) {
	case X86EMUL_CONTINUE:
		return true;
	case X86EMUL_PROPAGATE_FAULT:
		return g->any || !g->evex;
	default:
		return rc == X86EMUL_IO_NEEDED && g->any;
	}
}

int em_vgather(struct x86_emulate_ctxt *c)
{
	struct gather g;
	int rc = begin(c, &g), rc2 = X86EMUL_CONTINUE;

	if (rc)
		return rc;
	rc = work(c, &g, load_element);
	if (!is_visible(&g, rc))
		return rc;
	zero_from(&g.data, rc ? c->insn->veclen : g.n * g.bytes);
	if (!rc || g.any)
		rc2 = move(c, false, c->insn->reg, &g.data);
	if (!rc2)
		rc2 = put_mask(c, &g);
	return rc2 ? rc2 : rc;
}

int em_vscatter(struct x86_emulate_ctxt *c)
{
	struct gather g;
	int rc = begin(c, &g), rc2 = X86EMUL_CONTINUE;

	if (rc)
		return rc;
	rc = work(c, &g, store_element);
	if (is_visible(&g, rc))
		rc2 = put_mask(c, &g);
	return rc2 ? rc2 : rc;
}
