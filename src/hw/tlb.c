/* SPDX-License-Identifier: MIT */
/*
 * The TLB: linear page -> host page, with the rights of the context that asks.
 *
 * One direct-mapped array (struct x86_tlb_entry, emul/emulate.h) is shared by
 * all contexts; an entry's tags carry the key of the context they were filled
 * for. A context is a space (CR3 with PCID, ASID/VPID, second-dimension root,
 * paging bits, protection-key rights) and whether the user or the supervisor accesses. Keys are handed
 * out in order and never used twice before the array has been cleared; so
 *   - a change of CPL is a change of key, and nothing is lost;
 *   - a flush takes a space's keys, and its next use gets new ones;
 *   - MOV CR3 with PCID finds the space that it left.
 * Keys run out after 2047: then everything is cleared.
 *
 * Global pages. Two processes have one kernel, and two keys for it would fight over
 * every slot. So the supervisor's key is shared by all spaces that differ in CR3
 * only. Under it, pages that are not global belong to the space in use: local[]
 * lists their slots, which are emptied when the space changes. A space whose
 * supervisor executes such a page, or has data in too many, is no such space (a
 * kernel without global pages): it gets a key of its own, as if nothing were shared.
 *
 * SMAP. Between STAC and CLAC the supervisor may use the user's pages, for a moment
 * and a page or two. It does so under the key that it has anyway: the user's slot is
 * lent (lent[]), and has the user's tags back when SMAP is in force again.
 *
 * An entry that loses its slot is kept aside for a while: victims.c.
 *
 * The present space's page tables that walks have found (struct hw_structure) are
 * forgotten by every flush, and INVLPG.
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
		 X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_PKS | X86_CR4_PCIDE | \
		 X86_CR4_PGE)
#define ENV_EFER (X86_EFER_NX | X86_EFER_LMA)

int hw_tlb_create(struct hw_cpu *cpu)
{
	cpu->tlb = cpu->tlb_entries;
	cpu->tlb_priv = calloc(1, sizeof(*cpu->tlb_priv) + HW_TLB_SIZE);
	if (!cpu->tlb_priv)
		return -ENOMEM;
	cpu->tlb_priv->cur = cpu->tlb_priv->space;
	cpu->tlb_priv->gpa_gen = cpu->tlb_priv->structure_gen = 1;
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
	hw_victims_drop(t);
	for (i = 0; i < HW_NR_SPACES; i++)
		memset(t->space[i].key, 0, sizeof(t->space[i].key));
	t->shared.key[HW_TLB_SUPER] = 0;
	t->nr_local = cpu->nr_lent = 0;
	hw_in_place_unmap(cpu);
	t->large_lo = ~0ull;
	t->large_hi = 0;
	t->huge = false;
	/* Key 1 is nobody's, and 0 with page 0 would be X86_TLB_NONE. */
	t->next_key = 3;
	if (cpu->jit_ops)
		cpu->jit_ops->keys_reset(cpu);
}

static enum hw_tlb_who who_runs(const struct x86_emulate_ctxt *c);

static unsigned key_of(enum hw_tlb_who who)
{
	return who == HW_TLB_USER ? HW_TLB_USER : HW_TLB_SUPER;
}

/* Do the spaces differ in CR3 only? */
static bool spaces_alike(const struct hw_space *a, const struct hw_space *b)
{
	return a->env == b->env && a->pkr == b->pkr && a->asid == b->asid &&
	       a->tdp_root == b->tdp_root && a->tdp_format == b->tdp_format;
}

static uint16_t *key_place(struct hw_tlb *t, unsigned k)
{
	if (k == HW_TLB_USER || t->cur->private)
		return &t->cur->key[k];
	if (unlikely(t->alike != t->cur)) {
		if (!spaces_alike(&t->shared, t->cur)) {
			t->shared = *t->cur;
			t->shared.key[k] = 0;
			t->nr_local = 0;
		}
		t->alike = t->cur;
	}
	return &t->shared.key[k];
}

static uint16_t context_key(struct hw_cpu *cpu, enum hw_tlb_who who)
{
	struct hw_tlb *t = cpu->tlb_priv;
	uint16_t *key = key_place(t, key_of(who));

	if (unlikely(!*key)) {
		if (t->next_key >= PAGE_SIZE) {
			clear_entries(cpu);
			cpu->win_len = 0;
			/* The context in use has lost its key too. */
			if (key_of(who) != key_of(who_runs(&cpu->c)))
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

static uint64_t space_pkr(const struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t pkr = 0;

	if (unlikely(c->cr4 & X86_CR4_PKE))
		pkr = c->pkru;
	if (unlikely(c->cr4 & X86_CR4_PKS))
		pkr |= cpu->msr.pkrs << 32;
	return pkr;
}

static bool space_is(const struct hw_space *s, const struct hw_cpu *cpu)
{
	return s->valid && s->cr3 == cpu->c.cr3 &&
	       s->env == space_env(&cpu->c) && s->pkr == space_pkr(cpu) &&
	       s->asid == cpu->ctl.asid &&
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
	t->alike = NULL;
	memset(s, 0, sizeof(*s));
	s->valid = true;
	s->cr3 = c->cr3;
	s->env = space_env(c);
	s->pkr = space_pkr(cpu);
	s->format = paging_format(c->cr0, c->cr4, c->efer);
	s->flags[0] = paging_flags(c->cr0, c->cr4, c->efer, false) | PAGING_1G;
	s->flags[1] = paging_flags(c->cr0, c->cr4, c->efer, true) | PAGING_1G;
	s->asid = cpu->ctl.asid;
	s->tdp_root = cpu->ctl.tdp_root;
	s->tdp_format = cpu->ctl.tdp_format;
	return s;
}

static enum hw_tlb_who supervisor(const struct x86_emulate_ctxt *c)
{
	return c->eflags & X86_EFLAGS_AC ? HW_TLB_SUPER_AC : HW_TLB_SUPER;
}

/* Who the guest is now, as far as explicit accesses go. */
static enum hw_tlb_who who_runs(const struct x86_emulate_ctxt *c)
{
	return c->cpl == 3 ? HW_TLB_USER : supervisor(c);
}

static enum hw_tlb_who who_accesses(const struct x86_emulate_ctxt *c,
				    unsigned acc)
{
	if (acc & ACC_SYSTEM)
		return HW_TLB_SUPER;
	if (acc & ACC_INNER)
		return supervisor(c);
	return acc & ACC_USER ? HW_TLB_USER : who_runs(c);
}

/* --- slots ------------------------------------------------------------------------ */

/* Whatever has been made of translations of @la's page (~0: any) goes. */
static void forget(struct hw_cpu *cpu, uint64_t la)
{
	if (cpu->jit_ops)
		cpu->jit_ops->forget(cpu, la);
}

static void take_back(struct hw_cpu *cpu, uint64_t la)
{
	if (cpu->jit_ops)
		cpu->jit_ops->take_back(cpu, la);
}

static void forget_lent(struct hw_cpu *cpu, unsigned slot)
{
	struct hw_tlb *t = cpu->tlb_priv;
	unsigned i;

	for (i = 0; i < cpu->nr_lent; i++) {
		if (t->lent[i].slot != slot)
			continue;
		take_back(cpu, t->lent[i].tag);
		t->lent[i--] = t->lent[--cpu->nr_lent];
	}
}

static void drop_slot(struct hw_cpu *cpu, unsigned i)
{
	unsigned k;

	for (k = 0; k < 3; k++)
		cpu->tlb[i].tag[k] = X86_TLB_NONE;
	hw_victim_drop(cpu->tlb_priv, i);
	cpu->tlb_priv->level[i] = 0;
	if (unlikely(cpu->nr_lent))
		forget_lent(cpu, i);
}

/* The supervisor's pages that are this space's only, while the key is shared. */
static void drop_local(struct hw_cpu *cpu)
{
	struct hw_tlb *t = cpu->tlb_priv;

	hw_in_place_unmap(cpu);
	if (t->nr_local)
		forget(cpu, ~0ull);
	while (t->nr_local)
		drop_slot(cpu, t->local[--t->nr_local]);
}

static void drop_lent(struct hw_cpu *cpu)
{
	struct hw_tlb *t = cpu->tlb_priv;

	while (cpu->nr_lent)
		drop_slot(cpu, t->lent[0].slot);
}

/* The slot is the user's again, unless it has become another's meanwhile. */
static void give_back(struct hw_cpu *cpu, const struct hw_lent *l)
{
	struct x86_tlb_entry *e = &cpu->tlb[l->slot];

	take_back(cpu, l->tag);
	if (e->addend != l->addend || (e->tag[X86_TLB_READ] != l->tag &&
				       e->tag[X86_TLB_WRITE] != l->tag))
		return;
	memcpy(e->tag, l->user, sizeof(e->tag));
}

void hw_tlb_give_back(struct hw_cpu *cpu)
{
	struct hw_tlb *t = cpu->tlb_priv;

	while (cpu->nr_lent)
		give_back(cpu, &t->lent[--cpu->nr_lent]);
}

/* @e, slot @i, has become the supervisor's; @user: the user's tags. */
static void lend(struct hw_cpu *cpu, unsigned i, uint64_t tag,
		 const uint64_t user[3])
{
	struct hw_tlb *t = cpu->tlb_priv;
	struct hw_lent *l;

	forget_lent(cpu, i);
	if (cpu->nr_lent == HW_NR_LENT) {
		give_back(cpu, &t->lent[0]);
		t->lent[0] = t->lent[--cpu->nr_lent];
	}
	l = &t->lent[cpu->nr_lent++];
	l->tag = tag;
	l->addend = cpu->tlb[i].addend;
	l->slot = i;
	memcpy(l->user, user, sizeof(l->user));
}

bool hw_tlb_is_lent(const struct hw_cpu *cpu, unsigned slot)
{
	const struct hw_tlb *t = cpu->tlb_priv;
	unsigned i;

	for (i = 0; i < cpu->nr_lent; i++)
		if (t->lent[i].slot == slot)
			return true;
	return false;
}

/* --- the context ------------------------------------------------------------------ */

/* Accesses that must be seen one by one: ops.c looks at them. */
static bool must_see(const struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	return cpu->db_data || cpu->watched || x86_checks_alignment(c);
}

static void change_space(struct hw_cpu *cpu)
{
	drop_lent(cpu);
	drop_local(cpu);
	hw_structures_flush(cpu);
	cpu->tlb_priv->cur = space_find(cpu);
	cpu->win_len = 0;
}

void hw_tlb_context(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_tlb *t = cpu->tlb_priv;
	uint16_t key;

	if (unlikely(cpu->nr_lent) && who_runs(c) != HW_TLB_SUPER_AC)
		hw_tlb_give_back(cpu);
	if (unlikely(!space_is(t->cur, cpu)))
		change_space(cpu);
	if (unlikely(t->tdp_root != cpu->ctl.tdp_root)) {
		t->tdp_root = cpu->ctl.tdp_root;
		hw_walk_flush(cpu);
	}
	key = context_key(cpu, who_runs(c));
	cpu->level_key[HW_TLB_SUPER] = key_place(t, HW_TLB_SUPER);
	cpu->level_key[HW_TLB_USER] = key_place(t, HW_TLB_USER);
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

void hw_tlb_level_changed(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint16_t key = *cpu->level_key[key_of(who_runs(c))];

	if (unlikely(!key) || must_see(cpu) || c->tlb != cpu->tlb) {
		hw_tlb_context(cpu);
		return;
	}
	if (unlikely(cpu->nr_lent) && who_runs(c) != HW_TLB_SUPER_AC)
		hw_tlb_give_back(cpu);
	if (c->tlb_key != key)
		cpu->win_len = 0;
	c->tlb_key = key;
}

/* --- flushes -------------------------------------------------------------------- */

/* The context in use may be gone: gives it new keys. */
static void flushed(struct hw_cpu *cpu)
{
	cpu->stats.tlb_flushes++;
	hw_structures_flush(cpu);
	cpu->win_len = 0;
	hw_tlb_context(cpu);
}

static void forget_space(struct hw_space *s)
{
	memset(s->key, 0, sizeof(s->key));
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
	struct hw_tlb *t = cpu->tlb_priv;
	struct hw_space *s;

	drop_lent(cpu);
	for (s = t->space; s < t->space + HW_NR_SPACES; s++) {
		if (s->asid != asid)
			continue;
		forget_space(s);
		s->private &= !globals;
	}
	if (globals && t->shared.asid == asid) {
		forget_space(&t->shared);
		t->nr_local = 0;
	}
	drop_local(cpu);
	/* An ASID's nested translations are its own; VPIDs share EPT's. */
	if (cpu->ctl.tdp_npt)
		hw_walk_flush(cpu);
	flushed(cpu);
}

void hw_tlb_flush_pcid(struct hw_cpu *cpu, uint16_t pcid)
{
	bool pcide = cpu->c.cr4 & X86_CR4_PCIDE;
	struct hw_tlb *t = cpu->tlb_priv;
	struct hw_space *s;

	drop_lent(cpu);
	drop_local(cpu);
	for (s = t->space; s < t->space + HW_NR_SPACES; s++)
		if (s->asid == cpu->ctl.asid &&
		    (!pcide || (s->cr3 & X86_CR3_PCID) == pcid))
			forget_space(s);
	flushed(cpu);
}

static void flush_large(struct hw_cpu *cpu, uint64_t la)
{
	const uint8_t *level = cpu->tlb_priv->level;
	unsigned i, k;

	hw_victims_flush_large(cpu->tlb_priv, la);
	for (i = 0; i < HW_TLB_SIZE; i++) {
		if (level[i] < 2)
			continue;
		for (k = 0; k < 3; k++)
			if (!((cpu->tlb[i].tag[k] ^ la) & hw_level_mask(level[i])))
				drop_slot(cpu, i);
	}
	forget(cpu, ~0ull);
}

void hw_tlb_flush_page(struct hw_cpu *cpu, uint64_t la)
{
	const struct hw_tlb *t = cpu->tlb_priv;
	bool large = la >= t->large_lo && la <= t->large_hi;

	drop_slot(cpu, (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1));
	hw_in_place_unmap(cpu);
	hw_structures_flush(cpu);
	forget(cpu, la);
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
	if (w->pk & HW_PK_AD)
		read = write = false;
	if (w->pk & HW_PK_WD && (who == HW_TLB_USER || c->cr0 & X86_CR0_WP))
		write = false;
	read &= !!(w->tdp_rights & PAGING_READ);
	write &= w->dirty && read && (w->tdp_rights & PAGING_WRITE);
	exec &= !!(w->tdp_rights & PAGING_EXEC);
	return read << X86_TLB_READ | write << X86_TLB_WRITE |
	       exec << X86_TLB_FETCH;
}

static void note_large(struct hw_tlb *t, uint64_t la, unsigned level)
{
	uint64_t lo = la & hw_level_mask(level);
	uint64_t hi = la | ~hw_level_mask(level);

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

/*
 * The slot is the user's, for this kind of access: then the supervisor may do the
 * same to the page while SMAP is suspended (but execute it), and no walk is needed.
 */
static bool borrow(struct hw_cpu *cpu, unsigned i, uint64_t page, unsigned kind)
{
	struct x86_tlb_entry *e = &cpu->tlb[i];
	uint16_t key = cpu->tlb_priv->cur->key[HW_TLB_USER];
	uint64_t tag = page | context_key(cpu, HW_TLB_SUPER_AC);
	uint64_t user[3];
	unsigned k;

	if (kind == X86_TLB_FETCH || !key || e->tag[kind] != (page | key))
		return false;
	memcpy(user, e->tag, sizeof(user));
	for (k = 0; k < X86_TLB_FETCH; k++)
		e->tag[k] = user[k] == (page | key) ? tag : X86_TLB_NONE;
	e->tag[X86_TLB_FETCH] = X86_TLB_NONE;
	lend(cpu, i, tag, user);
	return true;
}

/* The supervisor's key may not be shared by this space. */
static void make_private(struct hw_cpu *cpu)
{
	drop_lent(cpu);
	drop_local(cpu);
	cpu->tlb_priv->cur->private = true;
	cpu->tlb_priv->cur->key[HW_TLB_SUPER] = 0;
	hw_tlb_context(cpu);
	if (cpu->jit_ops)
		cpu->jit_ops->key_changed(cpu);
}

/*
 * A page that is not global comes under the shared key: notes that, or sees that
 * this space does not share it. The kinds that may be cached.
 */
static unsigned note_local(struct hw_cpu *cpu, const struct hw_walk *w,
			   unsigned i, unsigned kind, unsigned kinds)
{
	struct hw_tlb *t = cpu->tlb_priv;

	if (kind == X86_TLB_FETCH ||
	    (t->nr_local == HW_NR_LOCAL && !(w->prot & PAGING_USER))) {
		make_private(cpu);
		return kinds;
	}
	if (t->nr_local == HW_NR_LOCAL)
		drop_local(cpu);
	t->local[t->nr_local++] = i;
	return kinds & ~(unsigned)BIT(X86_TLB_FETCH);
}

static void set_tags(uint64_t tags[3], unsigned kinds, uint64_t tag)
{
	unsigned k;

	for (k = 0; k < 3; k++)
		tags[k] = kinds & BIT(k) ? tag : X86_TLB_NONE;
}

static unsigned writable_bit(hva_t page)
{
	return (page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - HW_WRITABLE_BITS);
}

static void note_writable(struct hw_tlb *t, hva_t page)
{
	unsigned i = writable_bit(page);

	t->writable[i / 64] |= BIT_ULL(i % 64);
}

/* @walked: the kind that the walk was made for. */
static unsigned cached_kinds(const struct hw_cpu *cpu, const struct hw_walk *w,
			     enum hw_tlb_who who, unsigned walked)
{
	unsigned kinds = walked | kinds_allowed(cpu, w, who);

	/* A fetch is a walk of its own: the translator looks at what it finds. */
	if (walked != BIT(X86_TLB_FETCH) && cpu->jit_ops)
		kinds &= ~(unsigned)BIT(X86_TLB_FETCH);
	/* Writes to code must be seen: ops.c tells code.c of each. */
	if (unlikely(kinds & BIT(X86_TLB_WRITE)) && hw_code_is(w->hpa))
		kinds &= ~(unsigned)BIT(X86_TLB_WRITE);
	if (kinds & BIT(X86_TLB_WRITE))
		note_writable(cpu->tlb_priv, w->hpa & PAGE_MASK);
	return kinds;
}

/* The walk's result into slot @i. */
static void tlb_set(struct hw_cpu *cpu, uint64_t la, unsigned kind,
		    enum hw_tlb_who who, const struct hw_walk *w)
{
	unsigned i = (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1), kinds;
	struct hw_tlb *t = cpu->tlb_priv;
	struct x86_tlb_entry *e = &cpu->tlb[i];
	bool smap = who == HW_TLB_SUPER_AC && (cpu->c.cr4 & X86_CR4_SMAP) &&
		    (w->prot & PAGING_USER);
	uint64_t page = la & PAGE_MASK, user[3], tag;

	/* Keys first: when they begin anew all slots are emptied. */
	context_key(cpu, HW_TLB_USER);
	context_key(cpu, who);
	kinds = cached_kinds(cpu, w, who, BIT(kind));
	if (!smap && !w->global && who != HW_TLB_USER && !t->cur->private)
		kinds = note_local(cpu, w, i, kind, kinds);
	tag = page | context_key(cpu, who);
	hw_victim_put(cpu, i, tag);
	set_tags(e->tag, kinds, tag);
	e->addend = (w->hpa & PAGE_MASK) - page;
	t->level[i] = w->level;
	if (w->level > 1)
		note_large(t, la, w->level);
	if (smap) {
		set_tags(user, cached_kinds(cpu, w, HW_TLB_USER, 0),
			 page | context_key(cpu, HW_TLB_USER));
		lend(cpu, i, tag, user);
	}
}

/* The same walk again; of another one nothing is known by then. */
static bool was_walked(struct hw_cpu *cpu, uint64_t la, unsigned kind,
		       enum hw_tlb_who who)
{
	if (likely(!cpu->walked.valid))
		return false;
	cpu->walked.valid = false;
	if (la != cpu->walked.la || kind != cpu->walked.kind || who != who_runs(&cpu->c))
		return false;
	cpu->c.exception = cpu->walked.e;
	return true;
}

void hw_keep_walk(struct hw_cpu *cpu, uint64_t la, unsigned kind)
{
	cpu->walked.valid = true;
	cpu->walked.kind = kind;
	cpu->walked.la = la;
	cpu->walked.e = cpu->c.exception;
}

/* Slot @i has @page now, which it has had, or the user has. */
static bool is_known(struct hw_cpu *cpu, unsigned i, uint64_t page, unsigned kind,
		     enum hw_tlb_who who)
{
	if (hw_victim_bring_back(cpu, i, page, *cpu->level_key[key_of(who)], kind))
		return true;
	if (who != HW_TLB_SUPER_AC)
		return false;
	hw_victim_bring_back(cpu, i, page, *cpu->level_key[HW_TLB_USER], kind);
	return borrow(cpu, i, page, kind);
}

static __noinline int tlb_fill(struct hw_cpu *cpu, uint64_t la, unsigned kind,
			       enum hw_tlb_who who, void **host)
{
	unsigned i = (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1);
	struct hw_walk w;
	int rc;

	if (was_walked(cpu, la, kind, who))
		return X86EMUL_PROPAGATE_FAULT;
	if (is_known(cpu, i, la & PAGE_MASK, kind, who)) {
		*host = (void *)(la + cpu->tlb[i].addend);
		return X86EMUL_CONTINUE;
	}
	rc = hw_walk(cpu, la, walk_access(kind, who), who == HW_TLB_SUPER_AC, &w);
	if (rc != X86EMUL_CONTINUE) {
		/* A fault leaves no translation behind for its address. */
		drop_slot(cpu, i);
		forget(cpu, la);
		return rc;
	}
	cpu->stats.tlb_fills++;
	tlb_set(cpu, la, kind, who, &w);
	if (kind == X86_TLB_FETCH && cpu->jit_ops)
		cpu->jit_ops->mapped(cpu, w.hpa & PAGE_MASK);
	*host = (void *)(uintptr_t)w.hpa;
	return X86EMUL_CONTINUE;
}

/* The entry of @la, if it allows the access. */
static __force_inline const struct x86_tlb_entry *
lookup(const struct hw_cpu *cpu, uint64_t la, unsigned kind, enum hw_tlb_who who)
{
	unsigned i = (la >> PAGE_SHIFT) & (HW_TLB_SIZE - 1);
	const struct x86_tlb_entry *e = &cpu->tlb[i];
	uint16_t key = *key_place(cpu->tlb_priv, key_of(who));

	if (unlikely(!key || e->tag[kind] != ((la & PAGE_MASK) | key)))
		return NULL;
	/* Implicit accesses are not what SMAP is suspended for. */
	if (unlikely(who == HW_TLB_SUPER && cpu->nr_lent) &&
	    hw_tlb_is_lent(cpu, i))
		return NULL;
	return e;
}

int hw_tlb_access(struct hw_cpu *cpu, uint64_t la, unsigned kind, unsigned acc,
		  void **host)
{
	enum hw_tlb_who who = who_accesses(&cpu->c, acc);
	const struct x86_tlb_entry *e = lookup(cpu, la, kind, who);

	if (unlikely(!e))
		return tlb_fill(cpu, la, kind, who, host);
	*host = (void *)(la + e->addend);
	return X86EMUL_CONTINUE;
}

void *hw_tlb_hit(struct hw_cpu *cpu, uint64_t la, unsigned bytes, unsigned kind,
		 unsigned acc)
{
	const struct x86_tlb_entry *e;

	if (cpu->c.tlb != cpu->tlb || ((la ^ (la + bytes - 1)) & PAGE_MASK))
		return NULL;
	e = lookup(cpu, la, kind, who_accesses(&cpu->c, acc));
	return e ? (void *)(la + e->addend) : NULL;
}

/* Takes the write permission for @page (0: any) from the tags @tag; notes another's. */
static bool protect(struct hw_tlb *t, uint64_t *tag, uintptr_t addend, hva_t page)
{
	uint64_t *w = &tag[X86_TLB_WRITE];

	if (*w == X86_TLB_NONE)
		return false;
	if (page && (*w & PAGE_MASK) + addend != page) {
		note_writable(t, (*w & PAGE_MASK) + addend);
		return false;
	}
	*w = X86_TLB_NONE;
	return true;
}

/* The whole array, and what is writable still. */
static bool protect_entries(struct hw_cpu *cpu, hva_t page)
{
	struct x86_tlb_entry *e = cpu->tlb_entries;
	struct hw_tlb *t = cpu->tlb_priv;
	bool any = false;
	unsigned i;

	memset(t->writable, 0, sizeof(t->writable));
	for (; e < cpu->tlb_entries + HW_TLB_SIZE; e++)
		any |= protect(t, e->tag, e->addend, page);
	for (i = 0; i < HW_NR_VICTIMS; i++)
		any |= protect(t, t->victims[i].tag, t->victims[i].addend, page);
	for (i = 0; i < cpu->nr_lent; i++)
		any |= protect(t, t->lent[i].user, t->lent[i].addend, page);
	return any;
}

bool hw_tlb_protect(struct hw_cpu *cpu, hva_t page)
{
	const struct hw_tlb *t = cpu->tlb_priv;
	unsigned i = writable_bit(page);
	bool any = false;

	if (!page || t->writable[i / 64] >> (i % 64) & 1)
		any = protect_entries(cpu, page);
	if (cpu->jit_ops)
		any |= cpu->jit_ops->protect(cpu, page);
	return any;
}

int hw_data_host(struct hw_cpu *cpu, uint64_t la, unsigned kind)
{
	void *p;

	return hw_tlb_access(cpu, la, kind, 0, &p);
}

int hw_fetch_host(struct hw_cpu *cpu, uint64_t la, hva_t *host)
{
	void *p;
	int rc = hw_tlb_access(cpu, la, X86_TLB_FETCH, 0, &p);

	*host = (uintptr_t)p;
	return rc;
}
