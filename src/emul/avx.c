/* SPDX-License-Identifier: MIT */
/*
 * AVX, AVX-512 and the opmask instructions, each run on the host with its own opcode
 * as simd.c does it: VSIMD, VMASKMOV and VZERO. Gathers are in avx_gather.c.
 *
 * What is different from SSE: state and features decide more (avx_check()), only
 * moves that say so want alignment, and with a mask the elements that it excludes
 * are neither loaded nor stored, and cannot fault (avx_mem.c). Some instructions
 * shuffle before they mask: those access all their memory (EV_NF).
 *
 * Registers of the stub are the guest's, which outside 64-bit mode has the first 8.
 * There W says nothing about general registers; in the stub, which is 64-bit code, it
 * must then be 0.
 */
#include "emul/simd.h"

#define XCR0_YMM	(X86_XCR0_SSE | X86_XCR0_AVX)
#define XCR0_ZMM	(XCR0_YMM | X86_XCR0_AVX512)

/* --- checks --------------------------------------------------------------------- */

static bool is_opmask(const struct opcode *row)
{
	return row->feature == X86_FEATURE_AVX512F ||
	       row->feature == X86_FEATURE_AVX512BW ||
	       row->feature == X86_FEATURE_AVX512DQ;
}

static bool has_vex(const struct x86_emulate_ctxt *c)
{
	const struct opcode *row = c->insn->row;
	uint64_t need = is_opmask(row) ? XCR0_ZMM : XCR0_YMM;

	return (c->xcr0 & need) == need && emul_has(c, X86_FEATURE_AVX) &&
	       (!(row->attr & I_YMM) || c->insn->veclen < 32 ||
		emul_has(c, X86_FEATURE_AVX2));
}

static bool has_evex(const struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;

	return (c->xcr0 & XCR0_ZMM) == XCR0_ZMM &&
	       emul_has(c, X86_FEATURE_AVX512F) &&
	       (i->veclen == 64 || (i->row->evex & EV_S) ||
		emul_has(c, X86_FEATURE_AVX512VL));
}

int avx_check(struct x86_emulate_ctxt *c)
{
	bool evex = c->insn->row->attr & I_EVEX;

	if (!(c->cr4 & X86_CR4_OSXSAVE) || !(evex ? has_evex(c) : has_vex(c)))
		return emul_ud(c);
	return c->cr0 & X86_CR0_TS ? emul_nm(c) : X86EMUL_CONTINUE;
}

/* --- the stub's encoding ---------------------------------------------------------- */

/* W, where it is not about general registers that the mode does not have. */
static bool stub_w(const struct x86_insn *i)
{
	int k;

	if (!(i->prefix & PFX_REX_W) || i->mode == X86_MODE_PROT64)
		return i->prefix & PFX_REX_W;
	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		uint8_t kind = i->row->opnd[k].kind;

		if (kind == OPK_E || kind == OPK_G || kind == OPK_R)
			return false;
	}
	/* VPCMPESTRx: W sizes rAX and rDX. */
	return i->map != X86_MAP_0F3A || (i->opcode & 0xfc) != 0x60;
}

static void put_vex(struct host_insn *h, const struct x86_insn *i, uint8_t reg,
		    uint8_t rm)
{
	simd_put(h, 0xc4);
	simd_put(h, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | i->map);
	simd_put(h, stub_w(i) << 7 | (~i->vvvv & 15) << 3 |
		    (i->veclen == 32) << 2 | i->pp);
}

static void put_evex(struct host_insn *h, const struct x86_insn *i, uint8_t reg,
		     uint8_t rm)
{
	simd_put(h, 0x62);
	simd_put(h, (reg & 8 ? 0 : 0x80) | (rm & 16 ? 0 : 0x40) |
		    (rm & 8 ? 0 : 0x20) | (reg & 16 ? 0 : 0x10) | i->map);
	simd_put(h, stub_w(i) << 7 | (~i->vvvv & 15) << 3 | 4 | i->pp);
	simd_put(h, i->evex | (i->vvvv & 16 ? 0 : 8));
}

static bool has_imm(const struct x86_insn *i)
{
	return simd_has_imm(i) || i->row->opnd[3].kind == OPK_L;
}

void avx_build(const struct x86_insn *i, int gpr, struct host_insn *h)
{
	uint8_t kind = gpr < 0 ? OPK_NONE : i->row->opnd[gpr].kind;
	uint8_t reg = kind == OPK_G ? X86_RAX : i->reg;
	uint8_t rm = i->mod != 3 ? X86_RDI :
		     kind == OPK_E || kind == OPK_R ? X86_RAX : i->rm;
	uint8_t imm = i->imm;

	*h = (struct host_insn){ .len = 0 };
	if (i->row->attr & I_EVEX)
		put_evex(h, i, reg, rm);
	else
		put_vex(h, i, reg, rm);
	simd_put(h, i->opcode);
	simd_put(h, (i->mod == 3 ? 0xc0 : 0) | (reg & 7) << 3 | (rm & 7));
	if (!has_imm(i))
		return;
	/* A register in bits 7:4: 8-15 only in 64-bit mode. */
	if (i->row->opnd[3].kind == OPK_L && i->mode != X86_MODE_PROT64)
		imm &= 0x7f;
	simd_put(h, imm);
}

/* KMOV between opmask @k and rAX; of 16 bits where there are no more. */
static int move_opmask(struct x86_emulate_ctxt *c, uint8_t opcode, uint8_t modrm,
		       struct stub_regs *r)
{
	bool wide = emul_has(c, X86_FEATURE_AVX512BW);
	struct host_insn h = {
		.bytes = { 0xc4, 0xe1, wide ? 0xfb : 0x78, opcode, modrm },
		.len = 5,
	};

	return simd_run(c, &h, r);
}

int avx_get_opmask(struct x86_emulate_ctxt *c, unsigned k, uint64_t *val)
{
	struct stub_regs r = { .mem = NULL };
	int rc = move_opmask(c, 0x93, 0xc0 | k, &r);

	*val = r.rax;
	return rc;
}

int avx_set_opmask(struct x86_emulate_ctxt *c, unsigned k, uint64_t val)
{
	struct stub_regs r = { .rax = val };

	return move_opmask(c, 0x92, 0xc0 | k << 3, &r);
}

/* --- VSIMD ---------------------------------------------------------------------- */

/* Memory in elements, those in @e, or in one piece at @la. */
struct operand {
	bool elements;
	struct avx_elements e;
	uint64_t la;
	unsigned n;
};

static bool is_elementwise(const struct x86_insn *i)
{
	uint16_t ev = i->row->evex;

	return (i->evex & INSN_EVEX_AAA) && (ev & EV_ELEM) &&
	       (!(ev & EV_NF) || (i->row->access & ACC_W));
}

/* Whatever of it is there. */
static uint64_t operand_la(const struct x86_emulate_ctxt *c)
{
	uint64_t base = emul_is_64bit(c) && c->insn->seg < X86_FS ? 0 :
			c->seg[c->insn->seg].base;

	return base + emul_ea(c);
}

/* Aligned moves want it of the whole operand, if the mask leaves any of it. */
static int check_alignment(struct x86_emulate_ctxt *c, unsigned n)
{
	return operand_la(c) & (n - 1) ? emul_gp(c, 0) : X86EMUL_CONTINUE;
}

/* A store under a mask that wants the right to write all of it. */
static int probe_whole(struct x86_emulate_ctxt *c, const struct operand *o)
{
	struct avx_elements all = { ~0ull >> (64 - o->n / o->e.bytes), o->e.bytes };

	return avx_probe_store(c, &all, true);
}

static int prepare(struct x86_emulate_ctxt *c, int mem, bool stores,
		   struct operand *o)
{
	const struct x86_insn *i = c->insn;
	unsigned acc = stores ? ACC_WRITE : 0;
	uint64_t mask;
	int rc;

	o->n = x86_opnd_bytes(i, mem);
	o->elements = is_elementwise(i);
	if (!o->elements)
		return fpu_image_la(c, o->n, i->row->attr & I_ALIGN ? o->n : 1,
				    acc, &o->la);
	rc = avx_get_opmask(c, i->evex & INSN_EVEX_AAA, &mask);
	if (rc)
		return rc;
	avx_masked_elements(i, mem, mask, &o->e);
	/* Larger ones are not aligned by EFLAGS.AC. */
	if (o->e.need && o->n <= 8 && !(i->row->attr & I_NOAC) &&
	    x86_checks_alignment(c)) {
		rc = avx_check_segment(c, &o->e, acc);
		if (!rc)
			rc = x86_check_access(c, operand_la(c), o->n, acc);
	}
	if (rc)
		return rc;
	if (i->row->evex & EV_NF)
		return probe_whole(c, o);
	return i->row->attr & I_ALIGN && o->e.need ? check_alignment(c, o->n) :
						     X86EMUL_CONTINUE;
}

static int execute(struct x86_emulate_ctxt *c, int gpr, struct stub_regs *r)
{
	struct host_insn h;
	int rc;

	simd_registers_in(c, gpr, r);
	avx_build(c->insn, gpr, &h);
	rc = simd_run(c, &h, r);
	return rc;
}

static int load(struct x86_emulate_ctxt *c, int mem, struct fpu_buf *buf)
{
	struct operand o;
	int rc = prepare(c, mem, false, &o);

	if (rc || !o.n)
		return rc;
	if (o.elements)
		return avx_load(c, buf, &o.e);
	return c->insn->row->attr & I_NOAC ? fpu_read_la(c, o.la, buf->b, o.n) :
					     fpu_load(c, buf, o.la, o.n);
}

/* After the instruction: VCVTPS2PH's own exceptions come before the store's. */
static int store(struct x86_emulate_ctxt *c, int mem, const struct fpu_buf *buf)
{
	struct operand o;
	int rc = prepare(c, mem, true, &o);

	if (rc || !o.n)
		return rc;
	if (o.elements)
		return avx_store(c, buf, &o.e);
	return c->insn->row->attr & I_NOAC ? fpu_write_la(c, o.la, buf->b, o.n) :
					     fpu_store(c, buf, o.la, o.n);
}

int em_vsimd(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	int gpr = simd_gpr_operand(i), mem = simd_mem_operand(i);
	struct fpu_buf buf = { { 0 } };
	struct stub_regs r = { .flags = i->row->flags_written,
			       .rflags = c->eflags, .mem = &buf };
	bool stores = mem >= 0 && (i->row->opnd[mem].access & OPA_W);
	int rc = avx_check(c);

	if (!rc && mem >= 0 && !stores)
		rc = load(c, mem, &buf);
	if (!rc)
		rc = execute(c, gpr, &r);
	if (!rc && stores)
		rc = store(c, mem, &buf);
	if (!rc)
		simd_registers_out(c, gpr, &r);
	return rc;
}

/* --- VMASKMOV -------------------------------------------------------------------- */

/* The signs of vector register vvvv's elements: VMOVMSKPS or VMOVMSKPD. */
static int vector_mask(struct x86_emulate_ctxt *c, uint64_t *mask)
{
	const struct x86_insn *i = c->insn;
	struct stub_regs r = { .mem = NULL };
	struct host_insn h = {
		.bytes = { 0xc4, i->vvvv & 8 ? 0xc1 : 0xe1,
			   0x78 | (i->veclen == 32) << 2 |
			   ((i->row->evex & EV_ELEM) == EV_E64),
			   0x50, 0xc0 | (i->vvvv & 7) },
		.len = 5,
	};
	int rc = simd_run(c, &h, &r);

	*mask = r.rax;
	return rc;
}

int em_vmaskmov(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	struct avx_elements e = { .bytes = x86_elem_bytes(i->row) };
	struct fpu_buf buf = { { 0 } };
	struct stub_regs r = { .mem = &buf };
	bool stores = i->row->opnd[0].access && i->row->opnd[0].kind == OPK_M;
	int rc = avx_check(c);

	if (!rc)
		rc = vector_mask(c, &e.need);
	if (!rc && !stores)
		rc = avx_load(c, &buf, &e);
	if (!rc)
		rc = execute(c, -1, &r);
	if (!rc && stores)
		rc = avx_store(c, &buf, &e);
	return rc;
}

/* --- VZEROUPPER, VZEROALL ---------------------------------------------------------- */

/* Outside 64-bit mode registers 8-15 stay as they are. */
static void zero_upper_8(void)
{
	__asm__ volatile("vmovaps %xmm0, %xmm0; vmovaps %xmm1, %xmm1\n\t"
			 "vmovaps %xmm2, %xmm2; vmovaps %xmm3, %xmm3\n\t"
			 "vmovaps %xmm4, %xmm4; vmovaps %xmm5, %xmm5\n\t"
			 "vmovaps %xmm6, %xmm6; vmovaps %xmm7, %xmm7");
}

static void zero_all_8(void)
{
	__asm__ volatile("vpxor %xmm0, %xmm0, %xmm0; vpxor %xmm1, %xmm1, %xmm1\n\t"
			 "vpxor %xmm2, %xmm2, %xmm2; vpxor %xmm3, %xmm3, %xmm3\n\t"
			 "vpxor %xmm4, %xmm4, %xmm4; vpxor %xmm5, %xmm5, %xmm5\n\t"
			 "vpxor %xmm6, %xmm6, %xmm6; vpxor %xmm7, %xmm7, %xmm7");
}

int em_vzero(struct x86_emulate_ctxt *c)
{
	bool all = c->insn->veclen == 32, m64 = emul_is_64bit(c);
	int rc = avx_check(c);

	if (rc)
		return rc;
	fpu_get(c);
	if (all && m64)
		__asm__ volatile("vzeroall");
	else if (m64)
		__asm__ volatile("vzeroupper");
	else if (all)
		zero_all_8();
	else
		zero_upper_8();
	fpu_put(c);
	return X86EMUL_CONTINUE;
}
