/* SPDX-License-Identifier: MIT */
/*
 * Transfers between privilege levels in 64-bit mode, the way operating systems do
 * them all day: SYSCALL, SYSRET, IRET, INT, SWAPGS, STAC, CLAC, and the delivery of an
 * event through the IDT.
 *
 * Each form does what the emulator's handler does (emul/syscall.c, iret.c, event.c)
 * when every check passes and all memory is in the TLB. In any other case (a fault,
 * an intercept, another mode, a descriptor that has not been accessed yet, TF, NT, a
 * blocked NMI) it changes nothing, and the general code starts over: that is the
 * only place where faults are made.
 *
 * Descriptors, gates and stacks are read each time: a hit in the TLB costs less than
 * knowing when a copy is stale.
 *
 * RF that IRET loads covers the next instruction against instruction breakpoints.
 * While none is armed it is left out, because an instruction with RF is run by
 * itself (docs/errata.md).
 */
#include "base/access.h"
#include "emul/desc.h"
#include "hw/core.h"

#define AR_CODE64	0xa09bu	/* flat, DPL 0 */
#define AR_DATA		0xc093u
#define AR_DPL3		0x60u
#define STAR_SYSCALL	32	/* shifts of the selectors */
#define STAR_SYSRET	48
#define SYSRET_FLAGS	0x3c7fd7ull	/* all but RF, VM and the reserved ones */
#define IRET_FLAGS	(X86_EFLAGS_STATUS | X86_EFLAGS_DF | X86_EFLAGS_IF |	\
			 X86_EFLAGS_IOPL | X86_EFLAGS_AC | X86_EFLAGS_ID |	\
			 X86_EFLAGS_VIF | X86_EFLAGS_VIP)
#define GATE_ATTR(lo)	((lo) >> 40 & 0x9f)	/* P, S, type */
#define GATE_INTR	0x8e
#define GATE_TRAP	0x8f

static bool is_intercepted(const struct hw_cpu *cpu, const struct x86_insn *i)
{
	return i->row->intercept && hw_ctl_has(&cpu->ctl, i->row->intercept);
}

static struct x86_segment flat(uint16_t sel, uint32_t ar)
{
	return (struct x86_segment){ .selector = sel, .limit = UINT32_MAX, .ar = ar };
}

/* CS, SS, rip and @flags are the new level's. */
static int finish(struct hw_cpu *cpu, uint64_t flags)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	bool opens = (flags & ~c->eflags) & X86_EFLAGS_IF;

	c->eflags = flags;
	emul_update_cpl64(c);
	hw_tlb_level_changed(cpu);
	if (opens && hw_waits_for_if(cpu))
		hw_set_request(cpu, HW_REQ_EVENT);
	return X86EMUL_CONTINUE;
}

/* --- SYSCALL, SYSRET ----------------------------------------------------------- */

static bool syscall_usual(const struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	return c->mode == X86_MODE_PROT64 && (c->efer & X86_EFER_SCE) &&
	       !(c->eflags & (X86_EFLAGS_TF | X86_EFLAGS_RF)) &&
	       hw_has(c->features, X86_FEATURE_SYSCALL);
}

static int exec_syscall(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	uint16_t sel = (cpu->msr.star >> STAR_SYSCALL) & ~X86_SEL_RPL;
	uint64_t old = c->eflags;

	if (!syscall_usual(cpu))
		return hw_exec_system(c);
	c->gpr[X86_RCX] = c->rip + c->insn->len;
	c->gpr[X86_R11] = old;
	c->seg[X86_SS] = flat(sel + 8, AR_DATA);
	c->seg[X86_CS] = flat(sel, AR_CODE64);
	c->rip = cpu->msr.lstar;
	return finish(cpu, (old & ~cpu->msr.sfmask) | X86_EFLAGS_FIXED);
}

/* TF that SYSRET loads traps right behind it: IRET and POPF leave one instruction. */
static int sysret_careful(struct hw_cpu *cpu)
{
	int rc = hw_exec_system(&cpu->c);

	if (rc == X86EMUL_CONTINUE && (cpu->c.eflags & X86_EFLAGS_TF))
		cpu->pending_db |= X86_DR6_BS;
	return rc;
}

static int exec_sysret(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	uint16_t sel = cpu->msr.star >> STAR_SYSRET;
	uint64_t flags = (c->gpr[X86_R11] & SYSRET_FLAGS) | X86_EFLAGS_FIXED;

	if (!syscall_usual(cpu) || c->cpl || c->insn->opsize != 8 ||
	    (flags & X86_EFLAGS_TF) ||
	    !is_canonical(c->gpr[X86_RCX], c->cr4 & X86_CR4_LA57))
		return sysret_careful(cpu);
	c->seg[X86_SS] = flat((sel + 8) | 3, AR_DATA | AR_DPL3);
	c->seg[X86_CS] = flat((sel + 16) | 3, AR_CODE64 | AR_DPL3);
	c->rip = c->gpr[X86_RCX];
	return finish(cpu, flags);
}

/* --- SWAPGS, STAC, CLAC ----------------------------------------------------------- */

static int exec_swapgs(struct x86_emulate_ctxt *c)
{
	uint64_t *kernel = &hw_of(c)->msr.kernel_gs_base, user;

	if (c->mode != X86_MODE_PROT64 || c->cpl ||
	    !hw_has(c->features, X86_FEATURE_LM))
		return x86_emulate_insn(c);
	user = c->seg[X86_GS].base;
	c->seg[X86_GS].base = *kernel;
	*kernel = user;
	c->rip += c->insn->len;
	return X86EMUL_CONTINUE;
}

static int exec_ac(struct x86_emulate_ctxt *c)
{
	bool set = c->insn->row->op == X86_OP_STAC;

	if (c->mode != X86_MODE_PROT64 || c->cpl ||
	    !hw_has(c->features, X86_FEATURE_SMAP))
		return hw_exec_system(c);
	c->eflags = set ? c->eflags | X86_EFLAGS_AC :
			  c->eflags & ~(uint64_t)X86_EFLAGS_AC;
	hw_tlb_level_changed(hw_of(c));
	c->rip += c->insn->len;
	return X86EMUL_CONTINUE;
}

/* --- memory and descriptors ------------------------------------------------------- */

static bool read_words(struct hw_cpu *cpu, uint64_t la, unsigned n, unsigned acc,
		       uint64_t *out)
{
	const uint64_t *p;
	unsigned i;

	p = hw_tlb_hit(cpu, la, 8 * n, X86_TLB_READ, acc);
	for (i = 0; p && i < n; i++)
		if (host_read_64(p + i, &out[i]))
			return false;
	return p;
}

/* The descriptor of @sel in the GDT: code or data, present, accessed. */
static bool read_desc(struct hw_cpu *cpu, uint16_t sel, struct sys_desc *d)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t raw;

	if ((sel & X86_SEL_TI) || is_null_sel(sel) || (sel | 7u) > c->gdt.limit ||
	    !read_words(cpu, c->gdt.base + (sel & ~7u), 1, ACC_SYSTEM, &raw))
		return false;
	*d = (struct sys_desc){ .lo = raw, .hi = raw >> 32, .sel = sel };
	return (desc_ar(d) & (X86_AR_S | X86_AR_P | X86_AR_A)) ==
	       (X86_AR_S | X86_AR_P | X86_AR_A);
}

/* 64-bit code that is not conforming. */
static bool read_code(struct hw_cpu *cpu, uint16_t sel, struct sys_desc *d)
{
	return read_desc(cpu, sel, d) && desc_is_code(d) && !desc_is_conforming(d) &&
	       (desc_ar(d) & (X86_AR_L | X86_AR_DB)) == X86_AR_L;
}

/* --- IRET ----------------------------------------------------------------------- */

static bool iret_ss(struct hw_cpu *cpu, uint16_t sel, unsigned cpl,
		    struct x86_segment *ss)
{
	struct sys_desc d;

	if ((sel & X86_SEL_RPL) != cpl)
		return false;
	if (is_null_sel(sel)) {
		null_segment(sel, cpl, ss);
		return cpl != 3;
	}
	if (!read_desc(cpu, sel, &d) || !desc_is_writable_data(&d) ||
	    desc_dpl(&d) != cpl)
		return false;
	desc_to_segment(&d, sel, ss);
	return true;
}

/* Data segments that the outer level may keep. */
static bool data_visible(const struct x86_emulate_ctxt *c)
{
	static const uint8_t segs[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(segs); i++) {
		const struct x86_segment *s = &c->seg[segs[i]];

		if (s->ar & X86_AR_UNUSABLE ? !is_null_sel(s->selector) :
					      FIELD_GET(X86_AR_DPL, s->ar) != 3)
			return false;
	}
	return true;
}

static bool iret_usual(const struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	return c->mode == X86_MODE_PROT64 && !c->cpl && c->insn->opsize == 8 &&
	       !(c->eflags & (X86_EFLAGS_NT | X86_EFLAGS_TF | X86_EFLAGS_RF)) &&
	       !cpu->nmi_blocked && !is_intercepted(cpu, c->insn);
}

/* A fault of IRET's own: events.c unblocks NMIs for it. */
static int iret_careful(struct hw_cpu *cpu)
{
	int rc = hw_exec_system(&cpu->c);

	cpu->iret_faulted = rc == X86EMUL_PROPAGATE_FAULT && cpu->nmi_blocked;
	return rc;
}

static int exec_iret(struct x86_emulate_ctxt *c)
{
	enum { RIP, CS, FLAGS, RSP, SS, NR };
	struct hw_cpu *cpu = hw_of(c);
	struct x86_segment ss;
	struct sys_desc d;
	uint64_t v[NR], drop = X86_EFLAGS_TF | X86_EFLAGS_NT;
	unsigned cpl;

	if (cpu->db_exec)
		drop |= X86_EFLAGS_RF;
	if (!iret_usual(cpu) ||
	    !read_words(cpu, c->gpr[X86_RSP], NR, 0, v) || (v[FLAGS] & drop) ||
	    !is_canonical(v[RIP], c->cr4 & X86_CR4_LA57) ||
	    !read_code(cpu, v[CS], &d))
		return iret_careful(cpu);
	cpl = v[CS] & X86_SEL_RPL;
	if (desc_dpl(&d) != cpl || (cpl && !data_visible(c)) ||
	    !iret_ss(cpu, v[SS], cpl, &ss))
		return iret_careful(cpu);
	c->seg[X86_SS] = ss;
	desc_to_segment(&d, v[CS], &c->seg[X86_CS]);
	c->gpr[X86_RSP] = v[RSP];
	c->rip = v[RIP];
	return finish(cpu, (c->eflags & ~(uint64_t)IRET_FLAGS) |
			   (v[FLAGS] & IRET_FLAGS));
}

/* --- delivery -------------------------------------------------------------------- */

/* What is known before anything is written. */
struct passage {
	struct sys_desc code;
	uint64_t rip, sp;
	uint64_t clear;		/* flags that the gate clears */
	unsigned cpl, acc;	/* the handler's; of the pushes */
	bool inner;
};

static bool is_software(const struct x86_event *ev)
{
	return ev->type == X86_EVENT_SOFT_INT || ev->type == X86_EVENT_SOFT_EXC;
}

/* The stack of the TSS: IST @ist, or that of the handler's level. */
static bool tss_sp(struct hw_cpu *cpu, unsigned ist, struct passage *p)
{
	const struct x86_segment *tr = &cpu->c.seg[X86_TR];
	unsigned off = ist ? 0x24 + 8 * (ist - 1) : 4 + 8 * p->cpl;

	return !(tr->ar & X86_AR_UNUSABLE) && off + 7 <= tr->limit &&
	       read_words(cpu, tr->base + off, 1, ACC_SYSTEM, &p->sp);
}

static bool find_passage(struct hw_cpu *cpu, const struct x86_event *ev,
			 struct passage *p)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	unsigned off = ev->vector * 16u, attr, ist;
	uint64_t gate[2];

	if (c->mode != X86_MODE_PROT64 || off + 15 > c->idt.limit ||
	    !read_words(cpu, c->idt.base + off, 2, ACC_SYSTEM, gate))
		return false;
	attr = GATE_ATTR(gate[0]);
	if ((attr != GATE_INTR && attr != GATE_TRAP) ||
	    (is_software(ev) && (gate[0] >> 45 & 3) < c->cpl))
		return false;
	p->rip = (gate[0] & 0xffff) | (gate[0] >> 48 << 16) | gate[1] << 32;
	if (!is_canonical(p->rip, c->cr4 & X86_CR4_LA57) ||
	    !read_code(cpu, gate[0] >> 16, &p->code))
		return false;
	p->cpl = desc_dpl(&p->code);
	p->inner = p->cpl < c->cpl;
	p->acc = c->cpl == 3 && p->inner ? ACC_INNER : 0;
	p->clear = X86_EFLAGS_TF | X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_VM |
		   (attr == GATE_INTR ? X86_EFLAGS_IF : 0);
	p->sp = c->gpr[X86_RSP];
	ist = gate[0] >> 32 & 7;
	return p->cpl <= c->cpl &&
	       ((!p->inner && !ist) || tss_sp(cpu, ist, p));
}

static bool push_frame(struct hw_cpu *cpu, const struct x86_event *ev,
		       struct passage *p)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	const uint64_t frame[] = {
		ev->error_code, ev->return_rip, c->seg[X86_CS].selector,
		c->eflags, c->gpr[X86_RSP], c->seg[X86_SS].selector,
	};
	unsigned skip = !ev->has_error_code, n = ARRAY_SIZE(frame) - skip, i;
	uint64_t *to;

	p->sp = (p->sp & ~15ull) - 8 * n;
	to = hw_tlb_hit(cpu, p->sp, 8 * n, X86_TLB_WRITE, p->acc);
	for (i = n; to && i--;)
		if (host_write_64(to + i, frame[skip + i]))
			return false;
	return to;
}

bool hw_deliver_fast(struct hw_cpu *cpu, const struct x86_event *ev)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct passage p;

	if (!find_passage(cpu, ev, &p) || !push_frame(cpu, ev, &p))
		return false;
	if (p.inner)
		null_segment(p.cpl, p.cpl, &c->seg[X86_SS]);
	desc_to_segment(&p.code, (p.code.sel & ~X86_SEL_RPL) | p.cpl,
			&c->seg[X86_CS]);
	c->gpr[X86_RSP] = p.sp;
	c->rip = p.rip;
	finish(cpu, c->eflags & ~p.clear);
	return true;
}

static int exec_int(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	struct x86_event ev = {
		.vector = c->insn->imm, .type = X86_EVENT_SOFT_INT,
		.return_rip = c->rip + c->insn->len,
	};

	if ((c->eflags & (X86_EFLAGS_TF | X86_EFLAGS_RF)) ||
	    hw_ctl_has(&cpu->ctl, X86_INTERCEPT_SWINT) || !hw_deliver_fast(cpu, &ev))
		return hw_exec_system(c);
	hw_delivered(cpu, &ev);
	return X86EMUL_CONTINUE;
}

/* --- the table ------------------------------------------------------------------- */

x86_exec_fn hw_transfer_form(const struct x86_insn *insn)
{
	switch (insn->row->op) {
	case X86_OP_SYSCALL:
		return exec_syscall;
	case X86_OP_SYSRET:
		return exec_sysret;
	case X86_OP_IRET:
		return exec_iret;
	case X86_OP_INT:
		return exec_int;
	case X86_OP_SWAPGS:
		return exec_swapgs;
	case X86_OP_STAC:
	case X86_OP_CLAC:
		return exec_ac;
	default:
		return NULL;
	}
}
