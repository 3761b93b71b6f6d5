// SPDX-License-Identifier: MIT
/*
 * The emulator's owner: machine.h.
 *
 * Memory is the arena, by its second mapping: rights are looked up in its table, as
 * the host's page tables have them. An access elsewhere (unless it is a hole that the
 * host has too) ends the run as END_WILD.
 *
 * The descriptor table is Linux's as user mode can see it: what LAR and LSL tell of
 * each selector of the host's GDT; the others are descriptors of DPL 0. The LDT is
 * what host_init() has put there. INT n finds
 * gates of DPL 3 for 3 and 4 only.
 *
 * The FPU: between get_fpu and put_fpu the image of the state is in the host's
 * registers, and ours aside.
 */
#include <cpuid.h>
#include <string.h>

#include "emul/emulate.h"
#include "insn/host.h"
#include "insn/machine.h"

#define GDT_AT		0xfffffe0000001000ull	/* no one reads it but we */
#define GDT_ENTRIES	16
#define TSS_AT		0xfffffe0000003000ull
#define LDT_AT		0xfffffe0000005000ull
#define LDT_ENTRIES	(HOST_LDT_FIRST + HOST_LDT_ENTRIES)
#define MAX_ITERATIONS	20000

static struct machine {
	struct x86_emulate_ctxt c;	/* first */
	struct x86_emulate_ops ops;
	struct x86_tlb_entry tlb[16];
	uint64_t gdt[GDT_ENTRIES], ldt[LDT_ENTRIES];
	struct x86_fpu *fpu;		/* the guest's */
	struct x86_fpu own;
	bool wild;
	bool trap;			/* a software interrupt was taken */
} m;

static uint64_t first_gdt[GDT_ENTRIES], first_ldt[LDT_ENTRIES];

/* --- memory ---------------------------------------------------------------------- */

static int page_fault(struct x86_emulate_ctxt *c, uint64_t la, unsigned acc)
{
	c->exception = (struct x86_exception){
		.vector = X86_PF, .has_error_code = true, .address = la,
		.error_code = X86_PFERR_U |
			      (arena_rights(la) ? X86_PFERR_P : 0) |
			      (acc & ACC_WRITE ? X86_PFERR_W : 0),
	};
	return X86EMUL_PROPAGATE_FAULT;
}

static int check_page(struct x86_emulate_ctxt *c, uint64_t la, unsigned acc)
{
	unsigned need = acc & ACC_WRITE ? ARENA_W : ARENA_R;

	if (!arena_rights(la) && !arena_is_hole(la))
		m.wild = true;
	return arena_rights(la) & need ? X86EMUL_CONTINUE :
					 page_fault(c, la, acc);
}

static uint64_t wrap(const struct x86_emulate_ctxt *c, uint64_t la)
{
	return c->mode == X86_MODE_PROT64 ? la : (uint32_t)la;
}

static int check(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		 unsigned acc)
{
	uint64_t last = wrap(c, la + bytes - 1);
	int rc = x86_check_alignment(c, la, bytes, acc);

	if (!rc)
		rc = check_page(c, la, acc);
	if (!rc && (la ^ last) & PAGE_MASK)
		rc = check_page(c, last & PAGE_MASK, acc);
	return rc;
}

static void fill_tlb(struct x86_emulate_ctxt *c, uint64_t la, unsigned acc)
{
	uint64_t page = la & PAGE_MASK;
	struct x86_tlb_entry *e;

	/* With AC every access must be seen. */
	if (c->tlb == x86_tlb_empty || acc & ACC_USER ||
	    c->eflags & X86_EFLAGS_AC)
		return;
	e = &c->tlb[(la >> PAGE_SHIFT) & c->tlb_mask];
	e->tag[X86_TLB_READ] = page | c->tlb_key;
	e->tag[X86_TLB_WRITE] = arena_rights(la) & ARENA_W ?
				page | c->tlb_key : X86_TLB_NONE;
	e->addend = (uintptr_t)arena_at(page) - page;
}

/* Descriptors, and the TSS, whose I/O bitmap begins behind its limit. */
static uint8_t *system_at(uint64_t la, unsigned bytes, bool write)
{
	static uint8_t tss[0x68];

	if (la - GDT_AT <= sizeof(m.gdt) - bytes)
		return (uint8_t *)m.gdt + (la - GDT_AT);
	if (la - LDT_AT <= sizeof(m.ldt) - bytes)
		return (uint8_t *)m.ldt + (la - LDT_AT);
	if (la - TSS_AT <= sizeof(tss) - bytes && !write) {
		memset(tss, 0xff, sizeof(tss));
		return tss + (la - TSS_AT);
	}
	m.wild = true;
	return NULL;
}

static int op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc)
{
	unsigned first = MIN(bytes, PAGE_SIZE - (la & ~PAGE_MASK));
	int rc;

	if (acc & ACC_SYSTEM) {
		const uint8_t *p = system_at(la, bytes, false);

		if (p)
			memcpy(val, p, bytes);
		return p ? X86EMUL_CONTINUE : X86EMUL_UNHANDLEABLE;
	}
	rc = check(c, la, bytes, acc);
	if (rc)
		return rc;
	memcpy(val, arena_at(la), first);
	memcpy((uint8_t *)val + first, arena_at(wrap(c, la + first)),
	       bytes - first);
	fill_tlb(c, la, acc);
	return X86EMUL_CONTINUE;
}

static int op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc)
{
	unsigned first = MIN(bytes, PAGE_SIZE - (la & ~PAGE_MASK));
	int rc;

	if (acc & ACC_SYSTEM) {
		uint8_t *p = system_at(la, bytes, true);

		if (p)
			memcpy(p, val, bytes);
		return p ? X86EMUL_CONTINUE : X86EMUL_UNHANDLEABLE;
	}
	rc = check(c, la, bytes, acc | ACC_WRITE);
	if (rc)
		return rc;
	memcpy(arena_at(la), val, first);
	memcpy(arena_at(wrap(c, la + first)), (const uint8_t *)val + first,
	       bytes - first);
	fill_tlb(c, la, acc);
	return X86EMUL_CONTINUE;
}

static int op_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
		      const void *val, unsigned bytes, bool *done)
{
	uint8_t *p;
	int rc;

	/* The descriptor's accessed bit. */
	if (la >= GDT_AT && !(p = system_at(la, bytes, true)))
		return X86EMUL_UNHANDLEABLE;
	rc = la >= GDT_AT ? 0 : check(c, la, bytes, ACC_WRITE);
	if (rc)
		return rc;
	if (la < GDT_AT)
		p = arena_at(la);
	*done = !memcmp(p, old, bytes);
	if (*done)
		memcpy(p, val, bytes);
	else
		memcpy(old, p, bytes);
	return X86EMUL_CONTINUE;
}

static void *op_host_ptr(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
			 unsigned acc)
{
	unsigned need = acc & ACC_WRITE ? ARENA_W : ARENA_R;

	(void)bytes;
	if (c->tlb == x86_tlb_empty || !(arena_rights(la) & need))
		return NULL;
	return arena_at(la);
}

/* --- the rest of the processor ----------------------------------------------------- */

static int op_set_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			  const struct x86_segment *s)
{
	c->seg[seg] = *s;
	emul_update_mode(c);
	return X86EMUL_CONTINUE;
}

static int op_cpuid(struct x86_emulate_ctxt *c, uint32_t *eax, uint32_t *ebx,
		    uint32_t *ecx, uint32_t *edx)
{
	(void)c;
	__asm__ volatile("cpuid" : "+a"(*eax), "=b"(*ebx), "+c"(*ecx),
			 "=d"(*edx));
	return X86EMUL_CONTINUE;
}

static int op_get_tsc(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux)
{
	uint32_t lo, hi;

	(void)c;
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(*aux));
	*tsc = (uint64_t)hi << 32 | lo;
	return X86EMUL_CONTINUE;
}

static int op_ok(struct x86_emulate_ctxt *c)
{
	(void)c;
	return X86EMUL_CONTINUE;
}

static int op_software_interrupt(struct x86_emulate_ctxt *c, uint8_t vector,
				 enum x86_intr_kind kind)
{
	bool gate3 = kind != X86_INTR_SOFT || vector == X86_BP ||
		     vector == X86_OF;

	m.trap = gate3;
	c->exception = (struct x86_exception){
		.vector = gate3 ? vector : X86_GP,
		.has_error_code = !gate3,
		.error_code = gate3 ? 0 : vector << 3 | 2,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

static void op_get_fpu(struct x86_emulate_ctxt *c)
{
	uint64_t mask = fpu_mask();

	(void)c;
	__asm__ volatile("xsave64 %0\n\txrstor64 %1"
			 : "+m"(m.own) : "m"(*m.fpu),
			   "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)));
}

static void op_put_fpu(struct x86_emulate_ctxt *c)
{
	uint64_t mask = fpu_mask();

	__asm__ volatile("xsave64 %0\n\txrstor64 %1"
			 : "+m"(*m.fpu) : "m"(m.own),
			   "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32)));
	emul_fpu_saved(c);
}

static const struct x86_emulate_ops machine_ops = {
	.read = op_read,
	.write = op_write,
	.cmpxchg = op_cmpxchg,
	.host_ptr = op_host_ptr,
	.set_segment = op_set_segment,
	.cpuid = op_cpuid,
	.get_tsc = op_get_tsc,
	.pause = op_ok,
	.software_interrupt = op_software_interrupt,
	.get_fpu = op_get_fpu,
	.put_fpu = op_put_fpu,
};

/* --- descriptors --------------------------------------------------------------------- */

static bool lar(uint16_t sel, uint32_t *ar, uint32_t *limit)
{
	bool ok;

	__asm__ volatile("lar %2, %0\n\tsetz %1" : "=&r"(*ar), "=q"(ok)
			 : "r"((uint32_t)sel) : "cc");
	if (ok)
		__asm__ volatile("lsl %2, %0\n\tsetz %1"
				 : "=&r"(*limit), "=q"(ok)
				 : "r"((uint32_t)sel) : "cc");
	return ok;
}

static uint64_t descriptor(uint32_t ar, uint32_t limit)
{
	if (ar >> 23 & 1)
		limit >>= 12;
	return (limit & 0xffff) | (uint64_t)(ar & 0xf0ff00) << 32 |
	       (uint64_t)(limit & 0xf0000) << 32;
}

static void probe_gdt(void)
{
	uint32_t ar, limit;
	unsigned i;

	for (i = 1; i < GDT_ENTRIES; i++) {
		if (lar(i * 8 + 3, &ar, &limit))
			first_gdt[i] = descriptor(ar, limit);
		else if (i < 4)
			first_gdt[i] = descriptor(0xc09300, ~0u);
	}
}

static void probe_ldt(void)
{
	uint32_t ar, limit;
	unsigned n;

	if (!host_has_16bit())
		return;
	if (lar(USER_CS16, &ar, &limit))
		first_ldt[USER_CS16 / 8] = descriptor(ar, limit);
	if (lar(USER_DS16, &ar, &limit))
		first_ldt[USER_DS16 / 8] = descriptor(ar, limit) |
			(ARENA_BASE & 0xffffff) << 16 | ARENA_BASE >> 24 << 56;
	n = host_ldt(first_ldt + HOST_LDT_FIRST);
	m.c.seg[X86_LDTR] = (struct x86_segment){
		.base = LDT_AT, .limit = (HOST_LDT_FIRST + n) * 8 - 1,
		.ar = X86_AR_P | X86_LDT, .selector = 0x48 };
}

/* The hidden part of @seg, from its selector. */
static void load_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			 const struct insn_state *in)
{
	uint16_t sel = in->sel[seg];
	uint64_t d = sel & 4 ? first_ldt[sel / 8 % LDT_ENTRIES] :
			       first_gdt[sel / 8 % GDT_ENTRIES];
	uint32_t ar = d >> 40 & 0xf0ff;
	uint32_t limit = (d & 0xffff) | (d >> 32 & 0xf0000);

	c->seg[seg] = (struct x86_segment){
		.selector = sel, .ar = ar,
		.base = (d >> 16 & 0xffffff) | d >> 56 << 24,
		.limit = ar & X86_AR_G ? limit << 12 | 0xfff : limit,
	};
	if (!(sel & ~3))
		c->seg[seg].ar = X86_AR_UNUSABLE;
	if (seg == X86_FS && !sel)
		c->seg[seg].base = in->fs_base;
	if (seg == X86_GS && !sel)
		c->seg[seg].base = in->gs_base;
}

/* --- runs ------------------------------------------------------------------------------ */

void machine_init(void)
{
	uint32_t lo, hi;

	probe_gdt();
	m.ops = machine_ops;
	m.c.ops = &m.ops;
	m.c.features = host_features();
	m.c.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE |
		  X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
	m.c.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT |
		  X86_CR4_OSXSAVE;
	if (host_has_fsgsbase())
		m.c.cr4 |= X86_CR4_FSGSBASE;
	if (host_has(X86_FEATURE_UMIP))
		m.c.cr4 |= X86_CR4_UMIP;
	m.c.efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	m.c.xcr0 = (uint64_t)hi << 32 | lo;
	m.c.gdt = (struct x86_dtable){ GDT_AT, sizeof(m.gdt) - 1 };
	m.c.seg[X86_LDTR].ar = X86_AR_UNUSABLE;
	probe_ldt();
	m.c.seg[X86_TR] = (struct x86_segment){
		.base = TSS_AT, .limit = 0x67,
		.ar = X86_AR_P | X86_TSS32_BUSY, .selector = 0x40 };
}

static void load(bool fast, const struct insn_state *in, struct insn_state *out)
{
	struct x86_emulate_ctxt *c = &m.c;
	unsigned s;

	*out = *in;
	memcpy(m.gdt, first_gdt, sizeof(m.gdt));
	memcpy(m.ldt, first_ldt, sizeof(m.ldt));
	memcpy(c->gpr, in->gpr, sizeof(c->gpr));
	c->rip = in->rip;
	c->eflags = in->eflags;
	for (s = 0; s < X86_NR_USER_SEGS; s++)
		load_segment(c, s, in);
	emul_update_mode(c);
	m.fpu = &out->fpu;
	c->fpu = &out->fpu;
	c->fpu_ptr.valid = false;
	c->rep_limit = in->eflags & X86_EFLAGS_TF ? 1 : 0;
	c->shadow = 0;
	m.wild = m.trap = false;
	memset(&c->exception, 0, sizeof(c->exception));
	c->tlb = fast && !(in->eflags & X86_EFLAGS_AC) ? m.tlb : x86_tlb_empty;
	c->tlb_mask = c->tlb == m.tlb ? ARRAY_SIZE(m.tlb) - 1 : 0;
	c->tlb_key = 1;
	memset(m.tlb, 0, sizeof(m.tlb));
}

static void unload(struct insn_state *out, struct insn_result *res, int rc)
{
	struct x86_emulate_ctxt *c = &m.c;
	unsigned s;

	*res = (struct insn_result){ .end = END_DONE };
	if (rc == X86EMUL_PROPAGATE_FAULT) {
		*res = (struct insn_result){
			.end = m.trap ? END_TRAP : END_FAULT,
			.vector = c->exception.vector,
			.error_code = c->exception.error_code,
			.address = c->exception.vector == X86_PF ?
				   c->exception.address : 0 };
	} else if (rc) {
		res->end = END_UNHANDLED;
	}
	memcpy(out->gpr, c->gpr, sizeof(c->gpr));
	out->rip = m.trap ? c->next_rip : c->rip;
	out->eflags = c->eflags & ~(uint64_t)X86_EFLAGS_RF;
	for (s = 0; s < X86_NR_USER_SEGS; s++)
		out->sel[s] = c->seg[s].selector & ~3 ? c->seg[s].selector : 0;
	out->fs_base = c->seg[X86_FS].base;
	out->gs_base = c->seg[X86_GS].base;
	fpu_normalize(&out->fpu);
	if (m.wild)
		res->end = END_WILD;
}

void machine_run(const struct x86_insn *insn, bool fast,
		 const struct insn_state *in, struct insn_state *out,
		 struct insn_result *res)
{
	x86_exec_fn fn = fast ? x86_emulate_resolve(insn) : x86_emulate_insn;
	unsigned n = 0;
	int rc;

	load(fast, in, out);
	m.c.insn = insn;
	do
		rc = fn(&m.c);
	while (rc == X86EMUL_CONTINUE && m.c.rip == in->rip && !m.c.rep_limit &&
	       insn->row->attr & I_REP && ++n < MAX_ITERATIONS);
	unload(out, res, rc);
}
