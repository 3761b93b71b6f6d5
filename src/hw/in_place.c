/* SPDX-License-Identifier: MIT */
/*
 * Exits in place: CPUID, RDMSR, WRMSR and MOV to and from a device's page, answered by
 * the hypervisor without leaving the guest (hw.h, struct hw_in_place_ops).
 *
 * An exit costs a hundred times what such an answer does: state into the VMCS or VMCB,
 * out of translated code and the run loop, and all of it back. So where the exit would
 * be recorded the hypervisor is asked first. If it declines, or nobody may be asked now,
 * the general code does the instruction, and leaves.
 *
 * Answers that it says to keep stand until hw_run() is next entered, or an MSR is
 * written in place; translated code looks them up by itself (jit/in_place.c). Each use
 * counts as an exit all the same.
 *
 * A page at which an access was done in place is remembered as the TLB remembers pages:
 * under the context's key, and dropped with any flush. The walk of the guest's tables is
 * saved by that, not the question: the hypervisor may decline the next access.
 *
 * The hypervisor is not built without vector registers: a guest's live FPU state goes
 * to memory first, as at an exit, and back when the guest next needs it.
 */
#include "hw/core.h"
#include "x86/msr.h"

void hw_set_in_place(struct hw_cpu *cpu, const struct hw_in_place_ops *ops,
		     void *owner, uint64_t *exits)
{
	/* In lock-step an exit is an exit, which can be done twice. */
	cpu->in_place.ops = cpu->cfg.jit_check ? NULL : ops;
	cpu->in_place.owner = owner;
	cpu->in_place.exits = exits;
}

static bool may_ask(const struct hw_cpu *cpu)
{
	return cpu->in_place.ops && !cpu->step && !READ_ONCE(cpu->request);
}

static bool done(struct hw_cpu *cpu, enum hw_in_place r)
{
	*cpu->in_place.exits += r != HW_LEAVE;
	return r != HW_LEAVE;
}

/* --- answers --------------------------------------------------------------------- */

static struct hw_kept_cpuid *kept_cpuid(struct hw_cpu *cpu, uint32_t leaf)
{
	return &cpu->in_place.cpuid[leaf % HW_NR_KEPT];
}

static struct hw_kept_msr *kept_msr(struct hw_cpu *cpu, uint32_t msr)
{
	return &cpu->in_place.msr[msr % HW_NR_KEPT];
}

void hw_in_place_forget(struct hw_cpu *cpu)
{
	unsigned i;

	cpu->in_place.kept = false;
	for (i = 0; i < HW_NR_KEPT; i++) {
		cpu->in_place.cpuid[i].leaf = i + 1;
		cpu->in_place.msr[i].msr = i + 1;
	}
}

static void keep_cpuid(struct hw_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		       const uint32_t out[4])
{
	struct hw_kept_cpuid *k = kept_cpuid(cpu, leaf);

	cpu->in_place.kept = true;
	k->leaf = leaf;
	k->subleaf = subleaf;
	__builtin_memcpy(k->out, out, sizeof(k->out));
}

static bool ask_cpuid(struct hw_cpu *cpu, uint32_t leaf, uint32_t subleaf,
		      uint32_t out[4])
{
	const struct hw_kept_cpuid *k = kept_cpuid(cpu, leaf);
	enum hw_in_place r;

	if (k->leaf == leaf && k->subleaf == subleaf) {
		__builtin_memcpy(out, k->out, sizeof(k->out));
		return done(cpu, HW_DONE);
	}
	hw_fpu_leave(cpu);
	r = cpu->in_place.ops->cpuid(cpu->in_place.owner, leaf, subleaf, out);
	if (r == HW_DONE_KEEP)
		keep_cpuid(cpu, leaf, subleaf, out);
	return done(cpu, r);
}

static bool ask_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val)
{
	struct hw_kept_msr *k = kept_msr(cpu, msr);
	enum hw_in_place r;

	if (k->msr == msr) {
		*val = k->val;
		return done(cpu, HW_DONE);
	}
	hw_fpu_leave(cpu);
	r = cpu->in_place.ops->rdmsr(cpu->in_place.owner, msr, val);
	if (r == HW_DONE_KEEP) {
		cpu->in_place.kept = true;
		*k = (struct hw_kept_msr){ .msr = msr, .val = *val };
	}
	return done(cpu, r);
}

static bool ask_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t val)
{
	enum hw_in_place r;

	hw_fpu_leave(cpu);
	r = cpu->in_place.ops->wrmsr(cpu->in_place.owner, msr, val);
	if (cpu->in_place.kept)
		hw_in_place_forget(cpu);
	return done(cpu, r);
}

/* --- instructions ---------------------------------------------------------------- */

static int next(struct x86_emulate_ctxt *c)
{
	c->rip += c->insn->len;
	if (c->mode != X86_MODE_PROT64)
		c->rip = (uint32_t)c->rip;
	return X86EMUL_CONTINUE;
}

static int exec_cpuid(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	uint32_t out[4];

	if (!may_ask(cpu) || !hw_ctl_has(&cpu->ctl, X86_INTERCEPT_CPUID) ||
	    !ask_cpuid(cpu, c->gpr[X86_RAX], c->gpr[X86_RCX], out))
		return x86_emulate_insn(c);
	c->gpr[X86_RAX] = out[0];
	c->gpr[X86_RBX] = out[1];
	c->gpr[X86_RCX] = out[2];
	c->gpr[X86_RDX] = out[3];
	return next(c);
}

static bool msr_usual(const struct hw_cpu *cpu)
{
	return !cpu->c.cpl && hw_has(cpu->c.features, X86_FEATURE_MSR);
}

static int exec_rdmsr(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	const uint32_t msr = c->gpr[X86_RCX];
	uint64_t val;

	if (!msr_usual(cpu) || !may_ask(cpu) || !hw_msr_exits(cpu, msr, false) ||
	    !ask_rdmsr(cpu, msr, &val))
		return x86_emulate_insn(c);
	c->gpr[X86_RAX] = (uint32_t)val;
	c->gpr[X86_RDX] = val >> 32;
	return next(c);
}

static uint64_t *base_of(struct hw_cpu *cpu, uint32_t msr)
{
	if (msr == MSR_KERNEL_GS_BASE)
		return &cpu->msr.kernel_gs_base;
	return &cpu->c.seg[msr == MSR_FS_BASE ? X86_FS : X86_GS].base;
}

/* Those that systems write at each switch of a process, without an exit. */
static bool write_base(struct hw_cpu *cpu, uint32_t msr, uint64_t val)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t *base;

	if (msr < MSR_FS_BASE || msr > MSR_KERNEL_GS_BASE ||
	    c->mode != X86_MODE_PROT64 || !is_canonical(val, c->cr4 & X86_CR4_LA57) ||
	    hw_msr_exits(cpu, msr, true))
		return false;
	base = base_of(cpu, msr);
	*base = val;
	/* Translated code does the next by itself: jit/in_place.c. */
	cpu->jit.base_at[msr - MSR_FS_BASE] = (uintptr_t)base - (uintptr_t)cpu;
	return true;
}

static int exec_wrmsr(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	const uint32_t msr = c->gpr[X86_RCX];
	uint64_t val = c->gpr[X86_RDX] << 32 | (uint32_t)c->gpr[X86_RAX];

	if (msr_usual(cpu) &&
	    (write_base(cpu, msr, val) ||
	     (may_ask(cpu) && hw_msr_exits(cpu, msr, true) &&
	      ask_wrmsr(cpu, msr, val))))
		return next(c);
	return x86_emulate_insn(c);
}

x86_exec_fn hw_in_place_form(const struct x86_insn *insn)
{
	switch (insn->row->op) {
	case X86_OP_CPUID:
		return exec_cpuid;
	case X86_OP_RDMSR:
		return exec_rdmsr;
	case X86_OP_WRMSR:
		return exec_wrmsr;
	default:
		return NULL;
	}
}

/* --- memory ---------------------------------------------------------------------- */

void hw_in_place_unmap(struct hw_cpu *cpu)
{
	cpu->in_place.page[X86_TLB_READ].tag = X86_TLB_NONE;
	cpu->in_place.page[X86_TLB_WRITE].tag = X86_TLB_NONE;
}

/*
 * Where the access goes; false: nobody is asked. Only MOV: its one access is all that
 * it does. The fault's own, not one of the walk of guest tables.
 */
static bool device_address(struct hw_cpu *cpu, uint64_t la, unsigned bytes,
			   unsigned kind, uint64_t *gpa)
{
	const struct x86_exception *e = &cpu->c.exception;

	if (!may_ask(cpu) || cpu->db_data || bytes > 8 || !cpu->c.insn ||
	    cpu->c.insn->row->op != X86_OP_MOV ||
	    (la & ~PAGE_MASK) + bytes > PAGE_SIZE)
		return false;
	if (hw_is_device(cpu, la, kind))
		*gpa = cpu->in_place.page[kind].gpa | (la & ~PAGE_MASK);
	else if (e->nested && !e->in_walk)
		*gpa = e->gpa;
	else
		return false;
	return true;
}

/* Protection keys and SMAP are looked at access by access. */
static void remember(struct hw_cpu *cpu, uint64_t la, unsigned kind, uint64_t gpa)
{
	if (cpu->c.cr4 & (X86_CR4_PKE | X86_CR4_PKS) || cpu->c.eflags & X86_EFLAGS_AC)
		return;
	cpu->in_place.page[kind] = (struct hw_device_page){
		.tag = (la & PAGE_MASK) | cpu->c.tlb_key, .gpa = gpa & PAGE_MASK };
}

bool hw_in_place_read(struct hw_cpu *cpu, uint64_t la, void *val, unsigned bytes,
		      unsigned acc)
{
	enum hw_in_place r;
	uint64_t gpa;

	if (acc || !device_address(cpu, la, bytes, X86_TLB_READ, &gpa))
		return false;
	hw_fpu_leave(cpu);
	r = cpu->in_place.ops->read(cpu->in_place.owner, gpa, bytes, val);
	if (!done(cpu, r))
		return false;
	remember(cpu, la, X86_TLB_READ, gpa);
	return true;
}

bool hw_in_place_write(struct hw_cpu *cpu, uint64_t la, const void *val,
		       unsigned bytes, unsigned acc)
{
	enum hw_in_place r;
	uint64_t gpa;

	if (acc & ~ACC_WRITE || !device_address(cpu, la, bytes, X86_TLB_WRITE, &gpa))
		return false;
	hw_fpu_leave(cpu);
	r = cpu->in_place.ops->write(cpu->in_place.owner, gpa, bytes, val);
	if (!done(cpu, r))
		return false;
	remember(cpu, la, X86_TLB_WRITE, gpa);
	return true;
}

/* --- kicks ----------------------------------------------------------------------- */

bool hw_in_place_kick(struct hw_cpu *cpu, bool open, int *vector)
{
	const struct hw_exits_in_place *p = &cpu->in_place;
	enum hw_in_place r;

	if (!p->ops || !p->ops->kick || cpu->ctl.mtf || cpu->pending_db ||
	    (cpu->c.eflags & X86_EFLAGS_TF))
		return false;
	*vector = -1;
	hw_fpu_leave(cpu);
	r = p->ops->kick(p->owner, open, vector);
	return done(cpu, r);
}
