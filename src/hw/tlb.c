/* SPDX-License-Identifier: MIT */
/*
 * The TLB: linear page -> host page, with the rights of the context that asks.
 *
 * One direct-mapped array (struct x86_tlb_entry, emul/emulate.h) is shared by
 * all contexts; an entry's tags carry the key of the context they were filled
 * for. A context is a space (CR3 with PCID, ASID/VPID, second-dimension root,
 * paging bits) and who accesses (supervisor, supervisor with SMAP suspended,
 * user). Keys are handed out in order and never used twice before the array has
 * been cleared; so
 *   - a change of CPL or of AC is a change of key, and nothing is lost;
 *   - a flush forgets a space, whose next use gets new keys;
 *   - MOV CR3 with PCID finds the space that it left.
 * Keys run out after 2047: then everything is cleared.
 *
 * INVLPG drops the page's slot whoever filled it, global or not. Entries are
 * 4 KiB whatever the guest's page size; an INVLPG into the range where large
 * pages have been seen looks at the whole array.
 *
 * Invariant: a tag says "allowed"; X86_TLB_WRITE is there only when the guest's
 * and the second dimension's leaves are dirty, so that the first write walks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/core.h"
#include "hw/tlb.h"

#define ENV_CR0	(X86_CR0_PG | X86_CR0_WP | X86_CR0_PE)
#define ENV_CR4	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_LA57 | X86_CR4_SMEP | \
		 X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_PKS | X86_CR4_PCIDE)
#define ENV_EFER (X86_EFER_NX | X86_EFER_LMA)

int hw_tlb_create(struct hw_cpu *cpu)
{
	cpu->tlb = cpu->tlb_entries;
	cpu->tlb_priv = calloc(1, sizeof(*cpu->tlb_priv) + HW_TLB_SIZE);
	if (!cpu->tlb_priv)
		return -ENOMEM;
	cpu->tlb_priv->cur = cpu->tlb_priv->space;
	cpu->tlb_priv->gpa_gen = 1;
	hw_tlb_flush_all(cpu);
	return 0;
}

void hw_tlb_destroy(struct hw_cpu *cpu)
{
	free(cpu->tlb_priv);
}

/* --- keys and spaces --------------------------------------------------------- */

/* Empties the array and takes every key back. */
static void clear_entries(struct hw_cpu *cpu)
{
	struct hw_tlb *t = cpu->tlb_priv;
	unsigned i, k;

	for (i = 0; i < HW_TLB_SIZE; i++)
		for (k = 0; k < 3; k++)
			cpu->tlb[i].tag[k] = X86_TLB_NONE;
	memset(t->level, 0, HW_TLB_SIZE);
	for (i = 0; i < HW_NR_SPACES; i++)
		memset(t->space[i].key, 0, sizeof(t->space[i].key));
	t->large_lo = ~0ull;
	t->large_hi = 0;
	t->huge = false;
	/* Key 1 is nobody's, and 0 with page 0 would be X86_TLB_NONE. */
	t->next_key = 3;
	if (cpu->jit_ops)
		cpu->jit_ops->keys_reset(cpu);
}

static enum hw_tlb_who who_runs(const struct x86_emulate_ctxt *c);

static uint16_t context_key(struct hw_cpu *cpu, enum hw_tlb_who who)
{
	struct hw_tlb *t = cpu->tlb_priv;
	uint16_t *key = &t->cur->key[who];

	if (unlikely(!*key)) {
		if (t->next_key >= PAGE_SIZE) {
			clear_entries(cpu);
			cpu->win_len = 0;
			/* The context in use has lost its key too. */
			if (who != who_runs(&cpu->c))
				cpu->c.tlb_key =
					context_key(cpu, who_runs(&cpu->c));
		}
		*key = t->next_key;
		t->next_key += 2;
	}
	return *key;
}

static uint64_t space_env(const struct x86_emulate_ctxt *c)
{
	return (c->cr4 & ENV_CR4) | (c->cr0 & ENV_CR0) << 32 |
	       (c->efer & ENV_EFER) << 26;
}

static bool space_is(const struct hw_space *s, const struct hw_cpu *cpu)
{
	return s->valid && s->cr3 == cpu->c.cr3 &&
	       s->env == space_env(&cpu->c) && s->asid == cpu->ctl.asid &&
	       s->tdp_root == cpu->ctl.tdp_root &&
	       s->tdp_format == cpu->ctl.tdp_format;
}

static struct hw_space *space_find(struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_tlb *t = cpu->tlb_priv;
	struct hw_space *s;

	for (s = t->space; s < t->space + HW_NR_SPACES; s++)
		if (space_is(s, cpu))
			return s;
	s = &t->space[t->victim++ % HW_NR_SPACES];
	memset(s, 0, sizeof(*s));
	s->valid = true;
	s->cr3 = c->cr3;
	s->env = space_env(c);
	s->format = paging_format(c->cr0, c->cr4, c->efer);
	s->flags[0] = paging_flags(c->cr0, c->cr4, c->efer, false) | PAGING_1G;
	s->flags[1] = paging_flags(c->cr0, c->cr4, c->efer, true) | PAGING_1G;
	s->asid = cpu->ctl.asid;
	s->tdp_root = cpu->ctl.tdp_root;
	s->tdp_format = cpu->ctl.tdp_format;
	return s;
}

/* Who the guest is now, as far as explicit accesses go. */
static enum hw_tlb_who who_runs(const struct x86_emulate_ctxt *c)
{
	if (c->cpl == 3)
		return HW_TLB_USER;
	return c->eflags & X86_EFLAGS_AC ? HW_TLB_SUPER_AC : HW_TLB_SUPER;
}

static enum hw_tlb_who who_accesses(const struct x86_emulate_ctxt *c,
				    unsigned acc)
{
	if (acc & ACC_SYSTEM)
		return HW_TLB_SUPER;
	return acc & ACC_USER ? HW_TLB_USER : who_runs(c);
}

/* Accesses that must be seen one by one: ops.c looks at them. */
static bool must_see(const struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	return cpu->db_data || (c->cpl == 3 && (c->eflags & X86_EFLAGS_AC) &&
				(c->cr0 & X86_CR0_AM));
}

void hw_tlb_context(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_tlb *t = cpu->tlb_priv;
	uint16_t key;

	if (unlikely(!space_is(t->cur, cpu)))
		t->cur = space_find(cpu);
	if (unlikely(t->tdp_root != cpu->ctl.tdp_root)) {
		t->tdp_root = cpu->ctl.tdp_root;
		hw_walk_flush(cpu);
	}
	key = context_key(cpu, who_runs(c));
	if (c->tlb_key != key)
		cpu->win_len = 0;
	c->tlb_key = key;
	if (unlikely(must_see(cpu))) {
		c->tlb = x86_tlb_empty;
		c->tlb_mask = 0;
	} else {
		c->tlb = cpu->tlb;
		c->tlb_mask = HW_TLB_SIZE - 1;
	}
}

/* --- flushes -------------------------------------------------------------------- */

/* The context in use may be gone: gives it new keys. */
static void flushed(struct hw_cpu *cpu)
{
	cpu->stats.tlb_flushes++;
	cpu->win_len = 0;
	hw_tlb_context(cpu);
}

void hw_tlb_flush_all(struct hw_cpu *cpu)
{
	unsigned i;

	for (i = 0; i < HW_NR_SPACES; i++)
		cpu->tlb_priv->space[i].valid = false;
	hw_walk_flush(cpu);
	clear_entries(cpu);
	flushed(cpu);
}

void hw_tlb_flush_asid(struct hw_cpu *cpu, uint16_t asid, bool globals)
{
	unsigned i;

	/* Global entries are not shared between spaces: dropping them with the
	 * others is allowed ("Caching Translation Information"). */
	for (i = 0; i < HW_NR_SPACES; i++)
		if (cpu->tlb_priv->space[i].asid == asid)
			cpu->tlb_priv->space[i].valid = false;
	/* An ASID's nested translations are its own; VPIDs share EPT's. */
	if (cpu->ctl.tdp_npt)
		hw_walk_flush(cpu);
	flushed(cpu);
}

void hw_tlb_flush_pcid(struct hw_cpu *cpu, uint16_t pcid)
{
	bool pcide = cpu->c.cr4 & X86_CR4_PCIDE;
	struct hw_space *s = cpu->tlb_priv->space;
	unsigned i;

	for (i = 0; i < HW_NR_SPACES; i++, s++)
		if (s->asid == cpu->ctl.asid &&
		    (!pcide || (s->cr3 & X86_CR3_PCID) == pcid))
			s->valid = false;
	flushed(cpu);
}

static void drop_slot(struct hw_cpu *cpu, unsigned i)
{
	unsigned k;

	for (k = 0; k < 3; k++)
		cpu->tlb[i].tag[k] = X86_TLB_NONE;
	cpu->tlb_priv->level[i] = 0;
}

/* The bytes of a guest page: 4-MiB ones are dropped by halves of 4 MiB. */
static uint64_t level_mask(unsigned level)
{
	return level >= 3 ? ~(BIT_ULL(30) - 1) : ~(BIT_ULL(22) - 1);
}

static void flush_large(struct hw_cpu *cpu, uint64_t la)
{
	const uint8_t *level = cpu->tlb_priv->level;
	unsigned i, k;

	for (i = 0; i < HW_TLB_SIZE; i++) {
		if (level[i] < 2)
			continue;
		for (k = 0; k < 3; k++)
			if (!((cpu->tlb[i].tag[k] ^ la) & level_mask(level[i])))
				drop_slot(cpu, i);
	}
}

void hw_tlb_flush_page(struct hw_cpu *cpu, uint64_t la)
{
	const struct hw_tlb *t = cpu->tlb_priv;
	bool large = la >= t->large_lo && la <= t->large_hi;

	drop_slot(cpu, (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1));
	if (large)
		flush_large(cpu, la);
	if (cpu->jit_ops)
		cpu->jit_ops->page_flushed(cpu, la, !large ? PAGE_SHIFT :
					   t->huge ? 30 : 22);
	cpu->win_len = 0;
}

/* --- fills ------------------------------------------------------------------------ */

/* The kinds of access, a bit each, that @who may do to the page. */
static unsigned kinds_allowed(const struct hw_cpu *cpu, const struct hw_walk *w,
			      enum hw_tlb_who who)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	bool read = true, write = w->prot & PAGING_WRITE;
	bool exec = w->prot & PAGING_EXEC;

	if (!(c->cr0 & X86_CR0_PG)) {
		write = exec = true;
	} else if (who == HW_TLB_USER) {
		if (!(w->prot & PAGING_USER))
			return 0;
	} else {
		write |= !(c->cr0 & X86_CR0_WP);
		if (w->prot & PAGING_USER) {
			exec &= !(c->cr4 & X86_CR4_SMEP);
			if (who == HW_TLB_SUPER && (c->cr4 & X86_CR4_SMAP))
				read = write = false;
		}
	}
	read &= !!(w->tdp_rights & PAGING_READ);
	write &= w->dirty && read && (w->tdp_rights & PAGING_WRITE);
	exec &= !!(w->tdp_rights & PAGING_EXEC);
	return read << X86_TLB_READ | write << X86_TLB_WRITE |
	       exec << X86_TLB_FETCH;
}

static void note_large(struct hw_tlb *t, uint64_t la, unsigned level)
{
	uint64_t lo = la & level_mask(level);
	uint64_t hi = la | ~level_mask(level);

	t->large_lo = MIN(t->large_lo, lo);
	t->large_hi = MAX(t->large_hi, hi);
	t->huge |= level >= 3;
}

static unsigned walk_access(unsigned kind, enum hw_tlb_who who)
{
	static const uint8_t access[] = {
		[X86_TLB_READ] = PAGING_READ,
		[X86_TLB_WRITE] = PAGING_WRITE,
		[X86_TLB_FETCH] = PAGING_EXEC,
	};

	return access[kind] | (who == HW_TLB_USER ? PAGING_USER : 0);
}

static __noinline int tlb_fill(struct hw_cpu *cpu, uint64_t la, unsigned kind,
			       enum hw_tlb_who who, void **host)
{
	unsigned i = (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1), k, kinds;
	struct hw_tlb *t = cpu->tlb_priv;
	struct x86_tlb_entry *e = &cpu->tlb[i];
	uint64_t tag = (la & PAGE_MASK) | context_key(cpu, who);
	struct hw_walk w;
	int rc;

	rc = hw_walk(cpu, la, walk_access(kind, who), who == HW_TLB_SUPER_AC, &w);
	if (rc != X86EMUL_CONTINUE) {
		/* A fault leaves no translation behind for its address. */
		drop_slot(cpu, i);
		return rc;
	}
	cpu->stats.tlb_fills++;
	kinds = w.keys ? 0 : kinds_allowed(cpu, &w, who);
	kinds |= BIT(kind);
	/* Writes to code must be seen: ops.c tells code.c of each. */
	if (unlikely(kinds & BIT(X86_TLB_WRITE)) && hw_code_is(w.hpa))
		kinds &= ~(unsigned)BIT(X86_TLB_WRITE);
	for (k = 0; k < 3; k++)
		e->tag[k] = kinds & BIT(k) ? tag : X86_TLB_NONE;
	e->addend = (w.hpa & PAGE_MASK) - (la & PAGE_MASK);
	t->level[i] = w.level;
	if (w.level > 1)
		note_large(t, la, w.level);
	if (kind == X86_TLB_FETCH && cpu->jit_ops)
		cpu->jit_ops->mapped(cpu, w.hpa & PAGE_MASK);
	*host = (void *)(uintptr_t)w.hpa;
	return X86EMUL_CONTINUE;
}

int hw_tlb_access(struct hw_cpu *cpu, uint64_t la, unsigned kind, unsigned acc,
		  void **host)
{
	const struct x86_tlb_entry *e =
		&cpu->tlb[(la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1)];
	enum hw_tlb_who who = who_accesses(&cpu->c, acc);
	uint16_t key = cpu->tlb_priv->cur->key[who];

	if (likely(key && e->tag[kind] == ((la & PAGE_MASK) | key))) {
		*host = (void *)(la + e->addend);
		return X86EMUL_CONTINUE;
	}
	return tlb_fill(cpu, la, kind, who, host);
}

bool hw_tlb_protect(struct hw_cpu *cpu, hva_t page)
{
	struct x86_tlb_entry *e = cpu->tlb_entries;
	bool any = false;

	for (; e < cpu->tlb_entries + HW_TLB_SIZE; e++) {
		if (e->tag[X86_TLB_WRITE] == X86_TLB_NONE)
			continue;
		if (page && (e->tag[X86_TLB_WRITE] & PAGE_MASK) + e->addend != page)
			continue;
		e->tag[X86_TLB_WRITE] = X86_TLB_NONE;
		any = true;
	}
	return any;
}

int hw_fetch_host(struct hw_cpu *cpu, uint64_t la, hva_t *host)
{
	void *p;
	int rc = hw_tlb_access(cpu, la, X86_TLB_FETCH, 0, &p);

	*host = (uintptr_t)p;
	return rc;
}
