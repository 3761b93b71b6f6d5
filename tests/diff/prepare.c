// SPDX-License-Identifier: MIT
/*
 * The state that a case begins with.
 *
 * All registers are random; then the memory operand is given an address (place())
 * and the registers or the displacement that make it are solved for. What an
 * instruction takes from fixed registers, from the stack, or in a form that pure
 * chance would not hit is prepared by op, in the table at the end.
 */
#include <string.h>

#include "case.h"
#include "insn/host.h"

#define NO_LA	(~0ull)

/* --- memory ------------------------------------------------------------------------ */

static uint8_t *mem_at(struct tcase *t, uint64_t la)
{
	return t->mem + (la - ARENA_MEM);
}

static bool in_mem(uint64_t la, unsigned n)
{
	return la - ARENA_MEM < ARENA_MEM_BYTES - n;
}

static void poke(struct tcase *t, uint64_t la, uint64_t v, unsigned n)
{
	if (in_mem(la, n))
		memcpy(mem_at(t, la), &v, n);
}

/* An address for @n bytes: mostly good, at all alignments, often at the end of a
 * page or beyond. */
static uint64_t place(unsigned n)
{
	unsigned into = n ? rnd() % (n + 1) : 0;

	switch (rnd() % 20) {
	case 0:
	case 1:
		return ARENA_DATA + PAGE_SIZE - into;
	case 2:
		return ARENA_DATA + 2 * PAGE_SIZE - into;
	case 3:
		return ARENA_DATA - into;
	case 4:
		return ARENA_RO + rnd() % (PAGE_SIZE - 64);
	case 5:
		return ARENA_DATA2 - into;
	case 6:
		return ARENA_DATA2 + PAGE_SIZE - into;
	case 7:
		return one_in(2) ? ARENA_BASE + rnd() % PAGE_SIZE :
				   ARENA_CODE + rnd() % (2 * PAGE_SIZE - 64);
	case 8:
		return ARENA_BASE + USER_DS16_LIMIT + 1 - into;
	default:
		return ARENA_DATA + 512 + rnd() % (2 * PAGE_SIZE - 1024);
	}
}

static uint64_t place_aligned(unsigned n, unsigned align)
{
	uint64_t la = place(n);

	return align > 1 && rnd() % 8 ? la & ~(uint64_t)(align - 1) : la;
}

/* Where there is nothing but success. */
static uint64_t place_good(unsigned n)
{
	return ARENA_DATA + 1024 + rnd() % (2 * PAGE_SIZE - 2048 - n % 1024);
}

/* In the code around the instruction: INT3. */
static uint64_t code_target(const struct tcase *t)
{
	return one_in(8) ? place(1) :
	       one_in(4) ? ARENA_CODE + rnd() % (2 * PAGE_SIZE) :
			   t->in.rip + X86_MAX_INSN_LEN + rnd() % 400;
}

/* --- the address of the memory operand ------------------------------------------------ */

uint64_t base_of(const struct tcase *t, unsigned seg)
{
	if (t->mode != X86_MODE_PROT64)
		return t->in.sel[seg] == USER_DS16 ? ARENA_BASE : 0;
	if (seg == X86_FS && !t->in.sel[X86_FS])
		return t->in.fs_base;
	return seg == X86_GS && !t->in.sel[X86_GS] ? t->in.gs_base : 0;
}

static uint64_t seg_base(const struct tcase *t)
{
	return base_of(t, t->insn.seg);
}

/* A stack segment of 16 bits has the low half of the pointer. */
static bool has_16bit_stack(const struct tcase *t)
{
	return t->in.sel[X86_SS] == USER_DS16;
}

uint64_t stack_top(const struct tcase *t)
{
	uint64_t sp = t->in.gpr[X86_RSP];

	return has_16bit_stack(t) ? ARENA_BASE + (uint16_t)sp : sp;
}

/* The value of RSP or RBP that points to @la. */
static uint64_t stack_pointer(const struct tcase *t, uint64_t la)
{
	return has_16bit_stack(t) ? (la & 0xffff) | (rnd() & 0xffff0000) : la;
}

static uint64_t low_mask(unsigned bytes)
{
	return ~0ull >> (64 - 8 * bytes);
}

/* Puts @v into the low @bytes of a register; above them anything. */
static void set_reg(struct tcase *t, unsigned reg, uint64_t v, unsigned bytes)
{
	uint64_t m = low_mask(bytes);

	if (t->mode != X86_MODE_PROT64)
		m |= ~0xffffffffull;
	t->in.gpr[reg] = (v & m) | (t->in.gpr[reg] & ~m);
	if (t->mode != X86_MODE_PROT64)
		t->in.gpr[reg] = (uint32_t)t->in.gpr[reg];
}

/* Indices of a gather or scatter: close together, the size of either kind. */
static void vector_indices(struct tcase *t)
{
	unsigned v = t->insn.index, k;
	uint64_t q;

	for (k = 0; k < 8; k++) {
		q = rnd() % 256;
		if (one_in(3))
			q = -q;
		if (v >= 16)
			memcpy(t->in.fpu.area + 1664 + (v - 16) * 64 + k * 8, &q, 8);
		else if (k < 2)
			memcpy(t->in.fpu.fx.xmm[v].b + k * 8, &q, 8);
		else if (k < 4)
			memcpy(t->in.fpu.area + 576 + v * 16 + (k - 2) * 8, &q, 8);
		else
			memcpy(t->in.fpu.area + 1152 + v * 32 + (k - 4) * 8, &q, 8);
	}
}

/* Solves base + (index << scale) + disp = @ea. */
static void aim(struct tcase *t, uint64_t ea)
{
	const struct x86_insn *i = &t->insn;
	unsigned b = i->base, x = i->index;

	if (i->row->attr & I_VSIB) {
		vector_indices(t);
		x = X86_REG_NONE;
	}
	if (b == X86_RIP) {
		patch_disp(t, ea - (t->in.rip + i->len));
	} else if (b == X86_REG_NONE && x == X86_REG_NONE) {
		patch_disp(t, ea);
	} else if (b == X86_REG_NONE) {
		set_reg(t, x, (ea - i->disp) >> i->scale, i->adsize);
		patch_disp(t, ea - (t->in.gpr[x] << i->scale));
	} else if (b == x) {
		set_reg(t, b, (ea - i->disp) / (1 + (1u << i->scale)), i->adsize);
		if (t->disp_bytes == i->adsize)
			patch_disp(t, ea - t->in.gpr[b] * (1 + (1u << i->scale)));
	} else {
		if (x != X86_REG_NONE)
			ea -= t->in.gpr[x] << i->scale;
		set_reg(t, b, ea - i->disp, i->adsize);
	}
}

static int mem_opnd(const struct x86_insn *i)
{
	static const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_M) |
				      BIT_ULL(OPK_Q) | BIT_ULL(OPK_W) |
				      BIT_ULL(OPK_KM);
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return k;
	return -1;
}

static unsigned wanted_alignment(const struct x86_insn *i, unsigned n)
{
	switch (i->row->op) {
	case X86_OP_XSAVE: case X86_OP_XSAVEC: case X86_OP_XSAVEOPT:
	case X86_OP_XRSTOR: case X86_OP_MOVDIR64B:
		return 64;
	case X86_OP_FXSAVE: case X86_OP_FXRSTOR: case X86_OP_CMPXCHG8B:
		return 16;
	default:
		return i->row->attr & I_ALIGN ? n : one_in(3) ? 8 : 1;
	}
}

/* Gives the memory operand an address; NO_LA where there is none. */
static uint64_t place_operand(struct tcase *t)
{
	const struct x86_insn *i = &t->insn;
	int k = mem_opnd(i);
	unsigned n = k < 0 ? 0 : x86_opnd_bytes(i, k);
	uint64_t la;

	if (i->mod == 3)
		return NO_LA;
	if (!n)
		n = 512;
	la = place_aligned(n, wanted_alignment(i, n));
	if (t->mode == X86_MODE_PROT64 && i->adsize == 8 && one_in(48))
		la ^= 1ull << (47 + rnd() % 16);	/* not canonical */
	aim(t, la - seg_base(t));
	return la;
}

/* --- registers ------------------------------------------------------------------------ */

static void segments_of_16_bits(struct insn_state *s)
{
	unsigned i;

	s->sel[X86_CS] = USER_CS16;
	for (i = X86_ES; i < X86_NR_USER_SEGS; i++)
		if (s->sel[i] == USER_DS && rnd() % 4)
			s->sel[i] = USER_DS16;
}

static void random_segments(struct tcase *t)
{
	struct insn_state *s = &t->in;
	bool m64 = t->mode == X86_MODE_PROT64;

	memset(s->sel, 0, sizeof(s->sel));
	s->sel[X86_CS] = m64 ? USER_CS64 : USER_CS32;
	s->sel[X86_SS] = s->sel[X86_DS] = s->sel[X86_ES] = USER_DS;
	if (!m64 && rnd() & 3)
		s->sel[X86_GS] = USER_DS;
	if (t->mode == X86_MODE_PROT16)
		segments_of_16_bits(s);
	/* Limits and types that some accesses meet. */
	if (t->mode == X86_MODE_PROT32 && one_in(8))
		s->sel[one_in(2) ? X86_ES : X86_DS] = HOST_LDT_SEL(rnd() % HOST_LDT_DATA);
	if (t->mode == X86_MODE_PROT32 && one_in(8))
		s->sel[X86_GS] = HOST_LDT_SEL(rnd() % HOST_LDT_DATA);
	if (host_has_fsgsbase() && !s->sel[X86_GS]) {
		s->gs_base = one_in(3) ? 0 : rnd() & 0x7ffffffff000 >> rnd() % 32;
		s->fs_base = one_in(3) ? 0 : rnd() % 0x10000;
	}
	/* A base that is loaded with a selector is the descriptor's: 0. */
	if (s->sel[X86_GS])
		s->gs_base = 0;
}

static void random_registers(struct tcase *t)
{
	struct insn_state *s = &t->in;
	unsigned i;

	for (i = 0; i < X86_NR_GPRS; i++) {
		s->gpr[i] = rnd_value();
		if (t->mode != X86_MODE_PROT64)
			s->gpr[i] = i < 8 ? (uint32_t)s->gpr[i] : 0;
	}
	/* Not at the first byte of the page, sometimes across two. */
	s->rip = one_in(8) ? ARENA_CODE + PAGE_SIZE - rnd() % 16 :
			     ARENA_CODE + 0x800 + rnd() % 0x100;
	s->eflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF |
		    (rnd() & X86_EFLAGS_STATUS);
	if (one_in(4))
		s->eflags |= X86_EFLAGS_DF;
	if (one_in(32))
		s->eflags |= X86_EFLAGS_TF;
	if (one_in(16))
		s->eflags |= X86_EFLAGS_AC;
}

static void random_x87(struct x86_fxsave *fx)
{
	unsigned i;

	fx->fcw = 0x7f | (rnd() & 0xf00);
	if (one_in(5))
		fx->fcw &= ~(rnd() & 0x3f);
	fx->fsw = rnd() & 0x7f00;
	if (one_in(4))
		fx->fsw |= rnd() & 0x7f;
	if (one_in(12))		/* stack faults are of one kind or another */
		fx->fsw |= 0x41;
	if (fx->fsw & ~fx->fcw & 0x3f)
		fx->fsw |= 0x8080;
	if (fx->fsw & 0x8000 && rnd() % 4) /* mostly none waits */
		fx->fsw &= ~0x80bf;
	fx->ftw = rnd() & 1 ? 0xff : rnd() & 1 ? rnd() : 0;
	fx->fop = rnd() & 0x7ff;
	fx->fip = (uint32_t)rnd();
	fx->fdp = (uint32_t)rnd();
	for (i = 0; i < 8; i++)
		if (one_in(3)) {
			rnd_elements(fx->st[i].b, 8);
			memset(fx->st[i].b + 8, 0xff, 2);
		} else {
			rnd_real80(fx->st[i].b);
		}
}

void prepare_fpu(struct tcase *t)
{
	struct x86_fpu *f = &t->in.fpu;
	uint64_t mask = fpu_mask();

	fpu_init_state(f);
	random_x87(&f->fx);
	f->fx.mxcsr = X86_MXCSR_INIT | (rnd() & 0x6000);
	if (one_in(4))
		f->fx.mxcsr |= rnd() & 0x807f;	/* FZ, DAZ, flags */
	if (one_in(6))
		f->fx.mxcsr &= ~(rnd() & 0x1f80);
	rnd_elements(f->fx.xmm[0].b, 256);
	if (mask & X86_XCR0_AVX)
		rnd_elements(f->area + 576, 256);
	if ((mask & X86_XCR0_AVX512) == X86_XCR0_AVX512) {
		rnd_elements(f->area + 1088, 64);
		rnd_elements(f->area + 1152, 1536);
	}
}

/* --- by op ------------------------------------------------------------------------------ */

static void prep_div(struct tcase *t, uint64_t la)
{
	(void)la;
	switch (rnd() % 3) {
	case 0:
		t->in.gpr[X86_RDX] = 0;
		break;
	case 1:
		t->in.gpr[X86_RDX] = (int64_t)t->in.gpr[X86_RAX] < 0 ? ~0ull : 0;
	}
	if (one_in(2))
		t->in.gpr[X86_RDX] >>= rnd() % 64;
	if (t->mode != X86_MODE_PROT64)
		t->in.gpr[X86_RDX] = (uint32_t)t->in.gpr[X86_RDX];
}

static void prep_string(struct tcase *t, uint64_t la)
{
	uint64_t a = place(rnd() % 64), b = one_in(3) ? a + rnd() % 64 - 32 :
							  place(rnd() % 64);
	unsigned ad = t->insn.adsize;

	(void)la;
	set_reg(t, X86_RSI, a - seg_base(t), ad);
	set_reg(t, X86_RDI, b - base_of(t, X86_ES), ad);
	set_reg(t, X86_RCX, one_in(8) ? rnd() % 600 : rnd() % 20, ad);
	if (one_in(2) && in_mem(a, 64) && in_mem(b, 64)) {
		memset(mem_at(t, a), 0x5a, 64);
		memset(mem_at(t, b), 0x5a, 64);
		if (one_in(2))
			t->in.gpr[X86_RAX] = 0x5a5a5a5a5a5a5a5a;
		if (one_in(2))
			*mem_at(t, a + rnd() % 64) = 1;
	}
	if (t->mode != X86_MODE_PROT64)
		t->in.gpr[X86_RAX] = (uint32_t)t->in.gpr[X86_RAX];
}

static void prep_cmpxchg(struct tcase *t, uint64_t la)
{
	if (la == NO_LA || one_in(2))
		return;
	poke(t, la, t->in.gpr[X86_RAX], t->insn.opsize);
	if (t->insn.row->op == X86_OP_CMPXCHG8B) {
		unsigned half = t->insn.row->opnd[0].size == OPS_dq ? 8 : 4;

		poke(t, la, t->in.gpr[X86_RAX], half);
		poke(t, la + half, t->in.gpr[X86_RDX], half);
	}
}

/* A bit offset moves the operand: a few bytes, for most. */
static void prep_bt(struct tcase *t, uint64_t la)
{
	unsigned reg = t->insn.reg;

	if (la == NO_LA || t->insn.row->opnd[1].kind != OPK_G ||
	    reg == t->insn.base || reg == t->insn.index)
		return;
	set_reg(t, reg, rnd() % 4096 - 2048, t->insn.opsize);
}

static void prep_xlat(struct tcase *t, uint64_t la)
{
	(void)la;
	set_reg(t, X86_RBX, place(1) - seg_base(t) -
		(t->in.gpr[X86_RAX] & 0xff), t->insn.adsize);
}

static void prep_maskmov(struct tcase *t, uint64_t la)
{
	(void)la;
	set_reg(t, X86_RDI, place(16) - seg_base(t), t->insn.adsize);
}

static void prep_movdir64b(struct tcase *t, uint64_t la)
{
	if (t->insn.reg != t->insn.base && t->insn.reg != t->insn.index)
		set_reg(t, t->insn.reg, place_aligned(64, 64) -
			base_of(t, X86_ES), t->insn.adsize);
	(void)la;
}

static uint64_t any_selector(void)
{
	static const uint16_t sel[] = { 0, 3, USER_DS, USER_DS, USER_DS & ~3,
					USER_CS32, USER_CS64, 0x10, 0x18, 0x7b,
					USER_CS16, USER_DS16, 0x17, 0x63, 0x80 };

	if (rnd() & 1)
		return HOST_LDT_SEL(rnd() % (HOST_LDT_ENTRIES + 1));
	return sel[rnd() % ARRAY_SIZE(sel)];
}

static uint16_t any_code_selector(void)
{
	static const uint16_t sel[] = { USER_CS64, USER_CS32, USER_CS16 };

	return sel[rnd() % (host_has_16bit() ? 3 : 2)];
}

/* What POP, RET, IRET and the like find on the stack. */
static void fill_stack(struct tcase *t, uint64_t sp)
{
	unsigned n = t->insn.opsize, k;
	bool m64 = t->mode == X86_MODE_PROT64;

	switch (t->insn.row->op) {
	case X86_OP_RET:
		poke(t, sp, code_target(t), n);
		break;
	case X86_OP_RET_FAR:
	case X86_OP_IRET:
		poke(t, sp, code_target(t), n);
		poke(t, sp + n, one_in(4) ? any_selector() :
					    any_code_selector(), n);
		poke(t, sp + 2 * n, rnd() & 0xcd5, n);
		poke(t, sp + 3 * n, place_good(8), n);
		poke(t, sp + 4 * n, one_in(4) ? any_selector() : USER_DS, n);
		t->in.eflags &= ~(uint64_t)X86_EFLAGS_TF;
		break;
	case X86_OP_POP_SREG:
		poke(t, sp, any_selector(), n);
		break;
	case X86_OP_POPF:
		poke(t, sp, rnd(), n);
		break;
	default:
		for (k = 0; k < 4 && !m64; k++)
			poke(t, sp + k * n, rnd_value(), n);
	}
}

static void prep_stack(struct tcase *t, uint64_t la)
{
	uint64_t sp = place(32);

	(void)la;
	if (t->insn.mod != 3 && (t->insn.base == X86_RSP || t->insn.index == X86_RSP))
		return;
	t->in.gpr[X86_RSP] = stack_pointer(t, sp);
	fill_stack(t, sp);
	if (t->insn.row->op == X86_OP_LEAVE || t->insn.row->op == X86_OP_ENTER)
		t->in.gpr[X86_RBP] = stack_pointer(t, place(8) + rnd() % 16);
	if (t->insn.row->op == X86_OP_ENTER && rnd() % 4)
		t->in.gpr[X86_RSP] = stack_pointer(t, place_good(1024) + 800);
}

/* The frame's size comes first in ENTER. */
static void prep_enter(struct tcase *t, uint64_t la)
{
	struct tcase keep = *t;

	t->bytes[t->insn.len - 3] = rnd();
	t->bytes[t->insn.len - 2] = one_in(8) ? rnd() : 0;
	t->bytes[t->insn.len - 1] = one_in(2) ? 0 : rnd() % 40;
	if (x86_decode(&t->insn, t->bytes, t->insn.len, t->mode))
		*t = keep;
	prep_stack(t, la);
}

/* The target of a near branch: in a register, in memory or relative. */
static void prep_branch(struct tcase *t, uint64_t la)
{
	const struct x86_insn *i = &t->insn;
	uint64_t to = code_target(t);

	if (i->row->attr & I_STACK)
		prep_stack(t, la);
	if (i->row->opnd[0].kind == OPK_J) {
		if (i->row->opnd[0].size != OPS_b)
			patch_imm(t, to - (t->in.rip + i->len));
		set_reg(t, X86_RCX, rnd() % 3, i->adsize);
	} else if (la != NO_LA) {
		poke(t, la, to, i->opsize);
	} else if (i->rm != X86_RSP) {
		t->in.gpr[i->rm] = to;
	}
}

static void prep_far(struct tcase *t, uint64_t la)
{
	const struct x86_insn *i = &t->insn;
	uint16_t sel = one_in(4) ? any_selector() : any_code_selector();
	uint64_t to = code_target(t);

	if (i->row->attr & I_STACK)
		prep_stack(t, la);
	if (la != NO_LA) {
		poke(t, la, to, i->opsize);
		poke(t, la + i->opsize, sel, 2);
	} else if (i->row->opnd[0].kind == OPK_A) {
		memcpy(t->bytes + i->len - 2, &sel, 2);
		memcpy(t->bytes + i->len - 2 - i->opsize, &to, i->opsize);
		x86_decode(&t->insn, t->bytes, i->len, t->mode);
	}
}

static void prep_selector(struct tcase *t, uint64_t la)
{
	const struct x86_insn *i = &t->insn;
	uint16_t sel = one_in(8) ? rnd() : any_selector();
	unsigned at = i->row->op == X86_OP_LFP ? i->opsize : 0;

	if (i->row->op == X86_OP_POP_SREG)
		prep_stack(t, la);
	else if (la != NO_LA)
		poke(t, la + at, sel, 2);
	else if (i->mod == 3)
		set_reg(t, i->rm, sel, 2);
}

static void prep_moffs(struct tcase *t)
{
	if (t->insn.row->opnd[0].kind == OPK_O ||
	    t->insn.row->opnd[1].kind == OPK_O)
		patch_imm(t, place(8) - seg_base(t));
}

static void prep_mxcsr(struct tcase *t, uint64_t la)
{
	if (la != NO_LA)
		poke(t, la, rnd() & (one_in(8) ? ~0u : 0xffff), 4);
}

/* Components that the host has and the emulator does not (tiles) are not asked for. */
static uint64_t known_components(uint64_t rfbm)
{
	uint32_t low, high;

	if (!host_has(X86_FEATURE_OSXSAVE))
		return rfbm;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return rfbm & ~(((uint64_t)high << 32 | low) & ~fpu_mask());
}

/* An environment, an FXSAVE or XSAVE image at @la. */
static void prep_image(struct tcase *t, uint64_t la)
{
	struct x86_fpu f = t->in.fpu;
	uint64_t bv = one_in(8) ? rnd() : rnd() & fpu_mask();
	unsigned op = t->insn.row->op;
	unsigned n = op == X86_OP_FXRSTOR ? 464 : op == X86_OP_XRSTOR ? 2688 : 0;

	t->in.gpr[X86_RDX] = one_in(4) ? rnd() : 0;
	t->in.gpr[X86_RAX] = known_components(one_in(4) ? (uint32_t)rnd() :
							  rnd() & 0xff);
	if (t->mode != X86_MODE_PROT64)
		t->in.gpr[X86_RDX] = (uint32_t)t->in.gpr[X86_RDX];
	if (la == NO_LA || !n || one_in(16) || !in_mem(la, n))
		return;
	random_x87(&f.fx);
	f.fx.mxcsr = rnd() & (one_in(8) ? ~0u : 0xffff);
	memset(f.area + 512, 0, 64);
	memcpy(f.area + 512, &bv, 8);
	memcpy(mem_at(t, la), f.area, n);
}

static void prep_fldenv(struct tcase *t, uint64_t la)
{
	unsigned n = t->insn.opsize == 2 ? 2 : 4;
	uint16_t fcw = 0x7f | (rnd() & 0xf00);

	if (la == NO_LA)
		return;
	if (one_in(4))
		fcw = rnd();
	poke(t, la, fcw, n);
	poke(t, la + n, rnd() & (one_in(3) ? 0xffff : 0x7f00), n);
	poke(t, la + 2 * n, rnd(), n);
}

static void prep_fldcw(struct tcase *t, uint64_t la)
{
	if (la != NO_LA && t->insn.opcode == 0xd9 && t->insn.modrm >> 3 == 5)
		poke(t, la, 0x7f | rnd(), 2);
	if (la != NO_LA && t->insn.row->opnd[0].size == OPS_t &&
	    in_mem(la, 16))
		rnd_real80(mem_at(t, la));
}

static void prep_cpuid(struct tcase *t, uint64_t la)
{
	(void)la;
	t->in.gpr[X86_RAX] = rnd() % 0x20 | (one_in(4) ? 0x80000000 : 0);
	t->in.gpr[X86_RCX] = rnd() % 4;
}

static void prep_xgetbv(struct tcase *t, uint64_t la)
{
	(void)la;
	t->in.gpr[X86_RCX] = one_in(3) ? (uint32_t)rnd_value() : rnd() % 2;
}

static void prep_bound(struct tcase *t, uint64_t la)
{
	uint64_t v = t->in.gpr[t->insn.reg];

	if (la == NO_LA || one_in(4))
		return;
	poke(t, la, v - rnd() % 3, t->insn.opsize);
	poke(t, la + t->insn.opsize, v + rnd() % 4 - 1, t->insn.opsize);
}

static const struct {
	uint16_t op;
	void (*prep)(struct tcase *t, uint64_t la);
} by_op[] = {
	/* clang-format off */
	{ X86_OP_DIV, prep_div }, { X86_OP_IDIV, prep_div },
	{ X86_OP_MOVS, prep_string }, { X86_OP_CMPS, prep_string },
	{ X86_OP_STOS, prep_string }, { X86_OP_LODS, prep_string },
	{ X86_OP_SCAS, prep_string }, { X86_OP_INS, prep_string },
	{ X86_OP_OUTS, prep_string },
	{ X86_OP_CMPXCHG, prep_cmpxchg }, { X86_OP_CMPXCHG8B, prep_cmpxchg },
	{ X86_OP_BT, prep_bt }, { X86_OP_BTS, prep_bt },
	{ X86_OP_BTR, prep_bt }, { X86_OP_BTC, prep_bt },
	{ X86_OP_XLAT, prep_xlat }, { X86_OP_MASKMOV, prep_maskmov },
	{ X86_OP_MOVDIR64B, prep_movdir64b },
	{ X86_OP_PUSH, prep_stack }, { X86_OP_POP, prep_stack },
	{ X86_OP_PUSHA, prep_stack }, { X86_OP_POPA, prep_stack },
	{ X86_OP_PUSHF, prep_stack }, { X86_OP_POPF, prep_stack },
	{ X86_OP_ENTER, prep_enter }, { X86_OP_LEAVE, prep_stack },
	{ X86_OP_PUSH_SREG, prep_stack }, { X86_OP_POP_SREG, prep_selector },
	{ X86_OP_RET, prep_stack }, { X86_OP_RET_FAR, prep_stack },
	{ X86_OP_IRET, prep_stack },
	{ X86_OP_JMP, prep_branch }, { X86_OP_CALL, prep_branch },
	{ X86_OP_JCC, prep_branch }, { X86_OP_LOOP, prep_branch },
	{ X86_OP_LOOPE, prep_branch }, { X86_OP_LOOPNE, prep_branch },
	{ X86_OP_JCXZ, prep_branch },
	{ X86_OP_JMP_FAR, prep_far }, { X86_OP_CALL_FAR, prep_far },
	{ X86_OP_MOV_SREG, prep_selector }, { X86_OP_LFP, prep_selector },
	{ X86_OP_LAR, prep_selector }, { X86_OP_LSL, prep_selector },
	{ X86_OP_VERR, prep_selector }, { X86_OP_VERW, prep_selector },
	{ X86_OP_LDMXCSR, prep_mxcsr }, { X86_OP_FXRSTOR, prep_image },
	{ X86_OP_XRSTOR, prep_image }, { X86_OP_XSAVE, prep_image },
	{ X86_OP_XSAVEC, prep_image }, { X86_OP_XSAVEOPT, prep_image },
	{ X86_OP_FLDENV, prep_fldenv }, { X86_OP_FRSTOR, prep_fldenv },
	{ X86_OP_X87, prep_fldcw }, { X86_OP_CPUID, prep_cpuid },
	{ X86_OP_XGETBV, prep_xgetbv }, { X86_OP_BOUND, prep_bound },
	/* clang-format on */
};

void prepare(struct tcase *t)
{
	static bool filled;
	uint64_t la;
	unsigned k;

	if (!filled || one_in(256)) {
		rnd_elements(t->mem, sizeof(t->mem));
		filled = true;
	}
	random_registers(t);
	random_segments(t);
	prepare_fpu(t);
	la = place_operand(t);
	if (la != NO_LA && in_mem(la, 64))
		rnd_elements(mem_at(t, la), 64);
	prep_moffs(t);
	for (k = 0; k < ARRAY_SIZE(by_op); k++)
		if (by_op[k].op == t->insn.row->op)
			by_op[k].prep(t, la);
	/* How much of a gather is done between two traps is the processor's. */
	if (t->insn.row->attr & I_VSIB || t->insn.row->op == X86_OP_POPF ||
	    t->insn.row->op == X86_OP_ICEBP || t->insn.row->op == X86_OP_IRET)
		t->in.eflags &= ~(uint64_t)X86_EFLAGS_TF;
}
