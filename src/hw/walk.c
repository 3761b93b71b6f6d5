/* SPDX-License-Identifier: MIT */
/*
 * Address translation: guest linear -> guest physical -> host.
 *
 * paging_walk() walks; this file gives it the tables. Guest tables are read
 * through the second dimension, second-dimension tables straight from the host.
 * Without a second dimension (shadow paging above us) guest tables are at host
 * addresses.
 *
 * Guest-physical translations are cached by page (SDM Vol. 3C, "Caching
 * Translation Information": guest-physical mappings). A cached right is used
 * until hw_walk_flush(); a right that is missing is always looked up again, so
 * that tables which grant more need no flush, and an EPT violation drops what it
 * met. A change of root starts a new generation.
 *
 * Where the vendors differ ("Nested Paging" in APM Vol. 2):
 *
 *                              EPT                          NPT
 *   guest access is            itself (linear user: MBEC)   a user access
 *   guest table is             read; write when A/D is on   written
 *   PDPTEs of PAE paging       registers                    read at each walk
 */
#include <string.h>

#include "base/access.h"
#include "hw/core.h"
#include "hw/tlb.h"

/* --- second dimension ------------------------------------------------------- */

static int host_table_read(void *opaque, uint64_t pa, unsigned bytes,
			   uint64_t *val, struct x86_exception *e)
{
	const void *p = (const void *)(uintptr_t)pa;
	uint32_t v32 = 0;
	int rc;

	if (bytes == 8) {
		rc = host_read_64(p, val);
	} else {
		rc = host_read_32(p, &v32);
		*val = v32;
	}
	if (rc)
		hw_host_fault(opaque, p);
	return rc;
}

static int host_table_cmpxchg(void *opaque, uint64_t pa, unsigned bytes,
			      uint64_t old, uint64_t val, bool *done,
			      struct x86_exception *e)
{
	void *p = (void *)(uintptr_t)pa;
	uint32_t old32 = old;
	int rc;

	if (bytes == 8)
		rc = host_cmpxchg_64(p, &old, val, done);
	else
		rc = host_cmpxchg_32(p, &old32, val, done);
	if (rc)
		hw_host_fault(opaque, p);
	return rc;
}

static const struct paging_ops host_table_ops = {
	.read = host_table_read,
	.cmpxchg = host_table_cmpxchg,
};

static struct hw_gpa_entry *gpa_slot(struct hw_cpu *cpu, uint64_t gpa)
{
	return &cpu->tlb_priv->gpa[(gpa >> PAGE_SHIFT) & (HW_GPA_SIZE - 1)];
}

void hw_walk_flush(struct hw_cpu *cpu)
{
	cpu->tlb_priv->gpa_gen++;
	hw_in_place_unmap(cpu);
	hw_structures_flush(cpu);
}

static bool tdp_is_ept(const struct hw_ctl *ctl)
{
	return ctl->tdp_format == PAGING_EPT4 || ctl->tdp_format == PAGING_EPT5;
}

static uint8_t tdp_rights(const struct hw_ctl *ctl, const struct paging_result *r)
{
	uint8_t rights = r->prot & (PAGING_READ | PAGING_WRITE | PAGING_EXEC);

	if (!r->dirty)
		rights &= ~PAGING_WRITE;
	/* Present means readable where the format has no bit for it. */
	return tdp_is_ept(ctl) ? rights : rights | PAGING_READ;
}

/* Completes what the walker knows of a violation. */
static void tdp_fault(struct hw_cpu *cpu, enum paging_fault f, uint64_t gpa,
		      bool in_walk, struct x86_exception *e)
{
	gpa_slot(cpu, gpa)->gen = 0;
	e->vector = X86_PF;
	e->nested = true;
	e->exit = f;
	e->in_walk = in_walk;
	e->gpa = gpa;
	if (tdp_is_ept(&cpu->ctl) && f == PAGING_FAULT) {
		/* "Exit Qualification for EPT Violations": linear address
		 * valid; of the translation, not of a paging structure. */
		e->error_code |= BIT(7);
		if (!in_walk)
			e->error_code |= BIT(8);
	}
}

static int tdp_walk(struct hw_cpu *cpu, uint64_t gpa, unsigned access,
		    bool in_walk, struct hw_tdp *t, struct x86_exception *e)
{
	const struct hw_ctl *ctl = &cpu->ctl;
	struct paging_walk w;
	struct hw_gpa_entry *s = gpa_slot(cpu, gpa);
	struct paging_result r;
	enum paging_fault f;

	cpu->stats.tdp_walks++;
	w.format = ctl->tdp_format;
	w.flags = ctl->tdp_flags;
	w.root = ctl->tdp_root;
	w.start = NULL;
	w.pdptr = NULL;
	w.maxphyaddr = 52;
	w.pkru = w.pkrs = 0;
	w.ops = &host_table_ops;
	w.opaque = cpu;
	if (!tdp_is_ept(ctl))
		access |= PAGING_USER | (in_walk ? PAGING_WRITE : 0);
	else if (in_walk && (ctl->tdp_flags & PAGING_EPT_AD))
		access |= PAGING_WRITE;
	f = paging_walk(&w, gpa, access, &r, e);
	if (f != PAGING_OK) {
		tdp_fault(cpu, f, gpa, in_walk, e);
		return -1;
	}
	t->hpa = r.pa;
	t->rights = tdp_rights(ctl, &r);
	s->gpa = gpa & PAGE_MASK;
	s->hpa = r.pa & PAGE_MASK;
	s->rights = t->rights;
	s->gen = cpu->tlb_priv->gpa_gen;
	return 0;
}

int hw_tdp_translate(struct hw_cpu *cpu, uint64_t gpa, unsigned access,
		     bool in_walk, struct hw_tdp *t, struct x86_exception *e)
{
	const unsigned rwx = PAGING_READ | PAGING_WRITE | PAGING_EXEC;
	struct hw_gpa_entry *s = gpa_slot(cpu, gpa);
	unsigned need = access & rwx;

	if (cpu->ctl.tdp_format == PAGING_NONE) {
		t->hpa = gpa;
		t->rights = rwx;
		return 0;
	}
	/* A walk of NPT, or of EPT with A/D, writes; the cache must agree. */
	if (in_walk && (!tdp_is_ept(&cpu->ctl) ||
			(cpu->ctl.tdp_flags & PAGING_EPT_AD)))
		need |= PAGING_WRITE;
	if (likely(s->gpa == (gpa & PAGE_MASK) &&
		   s->gen == cpu->tlb_priv->gpa_gen && !(need & ~s->rights))) {
		t->hpa = s->hpa | (gpa & ~PAGE_MASK);
		t->rights = s->rights;
		return 0;
	}
	return tdp_walk(cpu, gpa, access, in_walk, t, e);
}

/* --- guest tables --------------------------------------------------------------- */

static int guest_table_read(void *opaque, uint64_t pa, unsigned bytes,
			    uint64_t *val, struct x86_exception *e)
{
	struct hw_tdp t;

	if (hw_tdp_translate(opaque, pa, PAGING_READ, true, &t, e))
		return -1;
	return host_table_read(opaque, t.hpa, bytes, val, e);
}

static int guest_table_cmpxchg(void *opaque, uint64_t pa, unsigned bytes,
			       uint64_t old, uint64_t val, bool *done,
			       struct x86_exception *e)
{
	struct hw_cpu *cpu = opaque;
	struct hw_tdp t;

	if (hw_tdp_translate(opaque, pa, PAGING_READ | PAGING_WRITE, true, &t, e) ||
	    host_table_cmpxchg(opaque, t.hpa, bytes, old, val, done, e))
		return -1;
	if (unlikely(cpu->watched) && *done)
		cpu->jit_ops->entry_marked(cpu, (void *)(uintptr_t)t.hpa);
	return 0;
}

static const struct paging_ops guest_table_ops = {
	.read = guest_table_read,
	.cmpxchg = guest_table_cmpxchg,
};

/* --- the paging-structure cache --------------------------------------------------- */

static struct hw_structure *structure_slot(struct hw_cpu *cpu, uint64_t la)
{
	return &cpu->tlb_priv->structure[la >> 21 & (HW_NR_STRUCTURES - 1)];
}

/* From the table that maps @la's neighbours, if that is known. What it finds is what a
 * walk from the root would, or a fault, which such a walk has to confirm. */
static bool short_walk(struct hw_cpu *cpu, struct paging_walk *w, uint64_t la,
		       unsigned access, struct paging_result *r)
{
	struct hw_structure *s = structure_slot(cpu, la);
	struct x86_exception e;

	if (s->gen != cpu->tlb_priv->structure_gen || s->region != la >> 21)
		return false;
	w->start = &s->start;
	if (likely(paging_walk(w, la, access, r, &e) == PAGING_OK))
		return true;
	s->gen = 0;
	w->start = NULL;
	return false;
}

static void keep_structure(struct hw_cpu *cpu, const struct paging_walk *w, uint64_t la,
			   const struct paging_result *r)
{
	if (w->format != PAGING_4LEVEL || r->level != 1)
		return;
	*structure_slot(cpu, la) = (struct hw_structure){
		.gen = cpu->tlb_priv->structure_gen, .region = la >> 21,
		.start = { .table = r->pte_pa & PAGE_MASK, .rights = r->upper,
			   .level = 1 },
	};
}

void hw_structures_flush(struct hw_cpu *cpu)
{
	cpu->tlb_priv->structure_gen++;
}

/* What the walk of guest tables found, or why not. */
static int guest_walk(struct hw_cpu *cpu, uint64_t la, unsigned access, bool ac,
		      struct paging_result *r)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	const struct hw_space *space = cpu->tlb_priv->cur;
	struct paging_walk w;
	struct x86_exception e;
	enum paging_fault f;

	if (space->format == PAGING_NONE) {
		r->pa = la;
		r->prot = PAGING_READ | PAGING_WRITE | PAGING_EXEC | PAGING_USER;
		r->dirty = true;
		r->level = 1;
		return X86EMUL_CONTINUE;
	}
	/* Field by field: clearing the structure would cost as much as a level. */
	w.format = space->format;
	w.flags = space->flags[ac];
	w.root = c->cr3;
	w.pdptr = cpu->ctl.tdp_npt ? NULL : cpu->pdptr;
	w.maxphyaddr = cpu->cfg.maxphyaddr;
	w.pkru = c->pkru;
	w.pkrs = cpu->msr.pkrs;
	w.ops = &guest_table_ops;
	w.opaque = cpu;
	w.start = NULL;
	if (short_walk(cpu, &w, la, access, r))
		return X86EMUL_CONTINUE;
	f = paging_walk(&w, la, access, r, &e);
	if (likely(f == PAGING_OK)) {
		keep_structure(cpu, &w, la, r);
		return X86EMUL_CONTINUE;
	}
	if (cpu->host_error)
		return X86EMUL_HOST_ERROR;
	if (f != PAGING_ABORT)
		e.nested = false;
	e.address = la;
	c->exception = e;
	return X86EMUL_PROPAGATE_FAULT;
}

static uint8_t forbidden_by_key(const struct hw_cpu *cpu,
				const struct paging_result *r)
{
	const uint32_t flags = cpu->tlb_priv->cur->flags[0];

	if (likely(!(flags & (PAGING_PKU | PAGING_PKS))) ||
	    cpu->tlb_priv->cur->format == PAGING_NONE)
		return 0;
	if (r->prot & PAGING_USER)
		return flags & PAGING_PKU ? cpu->c.pkru >> 2 * r->pkey & 3 : 0;
	return flags & PAGING_PKS ? cpu->msr.pkrs >> 2 * r->pkey & 3 : 0;
}

int hw_walk(struct hw_cpu *cpu, uint64_t la, unsigned access, bool ac,
	    struct hw_walk *w)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct x86_exception e;
	struct paging_result r;		/* not cleared: this is a hot path */
	struct hw_tdp t;
	int rc;

	if ((c->efer & X86_EFER_LMA) &&
	    unlikely(!is_canonical(la, c->cr4 & X86_CR4_LA57)))
		return hw_gp(c);
	rc = guest_walk(cpu, la, access, ac, &r);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (hw_tdp_translate(cpu, r.pa, access, false, &t, &e)) {
		if (cpu->host_error)
			return X86EMUL_HOST_ERROR;
		e.address = la;
		c->exception = e;
		return X86EMUL_PROPAGATE_FAULT;
	}
	w->hpa = t.hpa;
	w->tdp_rights = t.rights;
	w->prot = r.prot;
	w->dirty = r.dirty;
	w->global = cpu->tlb_priv->cur->format != PAGING_NONE && r.global &&
		    (c->cr4 & X86_CR4_PGE);
	w->level = r.level;
	w->pk = forbidden_by_key(cpu, &r);
	return X86EMUL_CONTINUE;
}

/* SDM Vol. 3A, "PDPTE Registers": bits that must be 0 in a present PDPTE. */
static bool pdpte_is_valid(const struct hw_cpu *cpu, uint64_t e)
{
	uint64_t rsvd = ~GENMASK_ULL(cpu->cfg.maxphyaddr - 1, 0) |
			GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1);

	return !(e & 1) || !(e & rsvd);
}

bool hw_load_pdptrs(struct hw_cpu *cpu, uint64_t cr3)
{
	struct x86_exception e = { 0 };
	uint64_t pdpte[4];
	int i;

	/* An engine comes here before hw_run() has seen the control block. */
	hw_tlb_context(cpu);
	for (i = 0; i < 4; i++) {
		uint64_t pa = (cr3 & 0xffffffe0ull) + 8 * i;

		if (guest_table_read(cpu, pa, 8, &pdpte[i], &e)) {
			/* No linear address goes with it. */
			e.error_code &= ~(BIT(7) | BIT(8));
			cpu->c.exception = e;
			return false;
		}
		if (!pdpte_is_valid(cpu, pdpte[i])) {
			cpu->c.exception.nested = false;
			return false;
		}
	}
	memcpy(cpu->pdptr, pdpte, sizeof(pdpte));
	return true;
}
