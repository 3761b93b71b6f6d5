/* SPDX-License-Identifier: MIT */
/*
 * MMX and SSE instructions, each run on the host with its own opcode: SIMD, and the
 * few that are not of that form (MASKMOV, LDMXCSR, STMXCSR, EMMS). The rest with VEX
 * and EVEX is in avx.c.
 *
 * The stub keeps the mandatory prefix, the vector registers and the immediate.
 * A memory operand becomes a buffer, a general register becomes rAX, whose value
 * goes in and out. Order: CR0 and CR4, pending #MF for MMX, alignment, memory read,
 * execute, memory write, general registers and flags. No instruction here changes
 * a register and stores to memory, so that a store that faults leaves no trace; but
 * MMX instructions mark the x87 registers as in use, and probe for their store first.
 *
 * An unmasked SIMD exception comes back from the host as #XM, or #UD for a guest
 * without CR4.OSXMMEXCPT; the flags in MXCSR are then the host's doing.
 */
#include "emul/simd.h"

/* --- checks ------------------------------------------------------------------ */

/* CVTPI2PS and CVTPI2PD from memory have no MMX register. */
static bool is_mmx(const struct x86_insn *i)
{
	return i->row->attr & I_FPU &&
	       !(i->map == X86_MAP_0F && i->opcode == 0x2a && i->mod != 3);
}

static int check(struct x86_emulate_ctxt *c, uint32_t attr)
{
	bool pending;
	int rc;

	if (attr & (I_VEX | I_EVEX))
		return avx_check(c);
	rc = attr & I_SSE ? fpu_check_sse(c) : fpu_check_mmx(c);
	if (rc || !is_mmx(c->insn))
		return rc;
	fpu_get(c);	/* #MF comes before what memory raises */
	pending = fpu_is_pending();
	fpu_put(c);
	return pending ? emul_fault(c, X86_MF) : X86EMUL_CONTINUE;
}

static int simd_fault(struct x86_emulate_ctxt *c, int vector)
{
	if (vector == X86_XM && !(c->cr4 & X86_CR4_OSXMMEXCPT))
		return emul_ud(c);
	return emul_fault(c, vector);
}

/* --- the stub's encoding -------------------------------------------------------- */

static bool is_gpr(uint8_t kind)
{
	return kind == OPK_G || kind == OPK_E || kind == OPK_R;
}

int simd_gpr_operand(const struct x86_insn *i)
{
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		uint8_t kind = i->row->opnd[k].kind;

		if (kind == OPK_G || (is_gpr(kind) && i->mod == 3))
			return k;
	}
	return -1;
}

int simd_mem_operand(const struct x86_insn *i)
{
	static const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_M) |
				      BIT_ULL(OPK_Q) | BIT_ULL(OPK_W) |
				      BIT_ULL(OPK_KM);
	int k;

	if (i->mod == 3)
		return -1;
	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return k;
	return -1;
}

static uint8_t mandatory_prefix(const struct x86_insn *i)
{
	return i->prefix & PFX_REPNE ? 0xf2 : i->prefix & PFX_REP ? 0xf3 :
	       i->prefix & PFX_OPSIZE ? 0x66 : 0;
}

bool simd_has_imm(const struct x86_insn *i)
{
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (i->row->opnd[k].kind == OPK_I)
			return true;
	return false;
}

static void build(const struct x86_insn *i, int gpr, struct host_insn *h)
{
	uint8_t kind = gpr < 0 ? OPK_NONE : i->row->opnd[gpr].kind;
	uint8_t reg = kind == OPK_G ? X86_RAX : i->reg;
	uint8_t rm = i->mod != 3 ? X86_RDI :
		     is_gpr(kind) && kind != OPK_G ? X86_RAX : i->rm;
	bool w = i->mode == X86_MODE_PROT64 && (i->prefix & PFX_REX_W);
	uint8_t rex = w << 3 | (reg >> 3) << 2 | rm >> 3;

	*h = (struct host_insn){ .len = 0 };
	if (mandatory_prefix(i))
		simd_put(h, mandatory_prefix(i));
	if (rex)
		simd_put(h, 0x40 | rex);
	simd_put(h, 0x0f);
	if (i->map != X86_MAP_0F)
		simd_put(h, i->map == X86_MAP_0F38 ? 0x38 : 0x3a);
	simd_put(h, i->opcode);
	simd_put(h, (i->mod == 3 ? 0xc0 : 0) | (reg & 7) << 3 | (rm & 7));
	if (simd_has_imm(i))
		simd_put(h, i->imm);
}

/* --- SIMD ---------------------------------------------------------------------- */

/* PCMPESTRM, PCMPESTRI: lengths in rAX and rDX; PCMPxSTRI: index to rCX. */
static bool is_pcmpstr(const struct x86_insn *i)
{
	return i->map == X86_MAP_0F3A && (i->opcode & 0xfc) == 0x60;
}

int simd_run(struct x86_emulate_ctxt *c, const struct host_insn *h,
	     struct stub_regs *r)
{
	struct host_stub stub;
	int vector;

	if (host_stub_get(h, &stub))
		return X86EMUL_UNHANDLEABLE;
	fpu_get(c);
	if (is_mmx(c->insn) && fpu_is_pending())
		vector = X86_MF;
	else
		vector = host_stub_run(&stub, r);
	fpu_put(c);
	host_stub_put(&stub);
	return vector ? simd_fault(c, vector) : X86EMUL_CONTINUE;
}

static int run(struct x86_emulate_ctxt *c, int gpr, struct stub_regs *r)
{
	struct host_insn h;

	if (c->insn->row->attr & I_VEX)
		avx_build(c->insn, gpr, &h);
	else
		build(c->insn, gpr, &h);
	return simd_run(c, &h, r);
}

void simd_registers_in(const struct x86_emulate_ctxt *c, int gpr,
			    struct stub_regs *r)
{
	const struct x86_insn *i = c->insn;

	if (is_pcmpstr(i)) {
		r->rax = c->gpr[X86_RAX];
		r->rdx = c->gpr[X86_RDX];
	} else if (gpr >= 0) {
		r->rax = c->gpr[i->row->opnd[gpr].kind == OPK_G ? i->reg :
				i->rm];
	}
}

void simd_registers_out(struct x86_emulate_ctxt *c, int gpr,
			const struct stub_regs *r)
{
	const struct x86_insn *i = c->insn;
	const struct opcode *row = i->row;

	if (row->flags_written)
		emul_set_flags(c, row->flags_written, r->rflags);
	if (is_pcmpstr(i) && (i->opcode & 1))
		emul_set_gpr(c, X86_RCX, r->rcx, 4);
	if (gpr >= 0 && (row->opnd[gpr].access & OPA_W))
		emul_set_gpr(c, row->opnd[gpr].kind == OPK_G ? i->reg : i->rm,
			     r->rax, x86_opnd_bytes(i, gpr));
}

int em_simd(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	int gpr = simd_gpr_operand(i), mem = simd_mem_operand(i);
	struct fpu_buf buf = { { 0 } };
	struct stub_regs r = { .flags = i->row->flags_written,
			       .rflags = c->eflags, .mem = &buf };
	unsigned n = mem < 0 ? 0 : x86_opnd_bytes(i, mem);
	bool stores = mem >= 0 && (i->row->opnd[mem].access & OPA_W);
	uint64_t la = 0;
	int rc = check(c, i->row->attr);

	if (!rc && n)
		rc = fpu_image_la(c, n, i->row->attr & I_ALIGN ? n : 1,
				  stores ? ACC_WRITE : 0, &la);
	if (!rc && n && !stores)
		rc = fpu_load(c, &buf, la, n);
	else if (!rc && n && (i->row->attr & I_FPU))
		rc = emul_read_bytes_la(c, la, buf.b, n,
					ACC_WRITE | ACC_PROBE);
	if (rc)
		return rc;
	simd_registers_in(c, gpr, &r);
	rc = run(c, gpr, &r);
	if (!rc && stores)
		rc = fpu_store(c, &buf, la, n);
	if (!rc)
		simd_registers_out(c, gpr, &r);
	return rc;
}

/* --- MASKMOV ------------------------------------------------------------------- */

/*
 * Which bytes are written shows when the host's MASKMOV runs over two backgrounds:
 * a byte that comes out the same both times was. rDI is the stub's own.
 */
int em_maskmov(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	unsigned n = i->row->attr & I_FPU ? 8 : 16, from, to;
	struct fpu_buf zeros = { { 0 } }, ones;
	uint8_t whole[16];
	struct stub_regs r = { .mem = &zeros };
	uint64_t la;
	int rc = check(c, i->row->attr);

	if (!rc)
		rc = emul_linearize(c, i->seg, emul_trunc_ea(i, c->gpr[X86_RDI]),
				    n, ACC_WRITE, &la);
	if (!rc)
		rc = emul_check_aligned(c, la, 8, ACC_WRITE);
	if (!rc)
		rc = run(c, -1, &r);
	for (from = 0; from < sizeof(ones.b); from++)
		ones.b[from] = 0xff;
	r.mem = &ones;
	if (!rc)
		rc = run(c, -1, &r);
	/* All of the memory is touched, whatever is written of it. */
	if (!rc)
		rc = emul_read_bytes_la(c, la, whole, n,
					ACC_WRITE | ACC_PROBE);
	for (from = 0; !rc && from < n; from = to + 1) {
		for (to = from; to < n && zeros.b[to] == ones.b[to]; to++)
			;
		if (to > from)
			rc = fpu_write_la(c, la + from, zeros.b + from, to - from);
	}
	return rc;
}

/* --- control --------------------------------------------------------------------- */

int em_ldmxcsr(struct x86_emulate_ctxt *c)
{
	uint64_t la, val;
	uint32_t mxcsr;
	int rc = check(c, c->insn->row->attr);

	if (!rc)
		rc = emul_linearize_operand(c, 4, 0, &la);
	if (!rc)
		rc = emul_read_la(c, la, &val, 4, 0);
	if (rc)
		return rc;
	mxcsr = val;
	if (mxcsr & fpu_mxcsr_reserved())
		return emul_gp(c, 0);
	fpu_get(c);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	fpu_put(c);
	return X86EMUL_CONTINUE;
}

int em_stmxcsr(struct x86_emulate_ctxt *c)
{
	uint32_t mxcsr;
	uint64_t la;
	int rc = check(c, c->insn->row->attr);

	if (!rc)
		rc = emul_linearize_operand(c, 4, ACC_WRITE, &la);
	if (rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	fpu_put(c);
	return emul_write_la(c, la, mxcsr, 4, ACC_WRITE);
}

int em_emms(struct x86_emulate_ctxt *c)
{
	bool pending;
	int rc = fpu_check_mmx(c);

	if (rc)
		return rc;
	fpu_get(c);
	pending = fpu_is_pending();
	if (!pending)
		__asm__ volatile("emms");
	fpu_put(c);
	return pending ? emul_fault(c, X86_MF) : X86EMUL_CONTINUE;
}
