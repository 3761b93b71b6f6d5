/* SPDX-License-Identifier: MIT */
/*
 * Victims: entries of the TLB that have lost their slots to others.
 *
 * Processes of one program use the same addresses by turns, and so does a program whose
 * data is as far apart as the TLB is large. What loses its slot is kept aside, by slot (several
 * share a place), and comes back instead of a walk.
 *
 * A victim is as good as the entry was: it goes whenever its slot is emptied, and whatever
 * looks at the whole array (a flush of a large page, hw_tlb_protect()) looks at these too.
 * What it said of fetches is lost, because the translator wants to see those. An entry that
 * is lent is never one: its tags are not its own.
 */
#include "hw/core.h"
#include "hw/tlb.h"

static void drop(struct hw_victim *v)
{
	v->tag[X86_TLB_READ] = v->tag[X86_TLB_WRITE] = X86_TLB_NONE;
}

static struct hw_victim *victim_of(struct hw_tlb *t, unsigned slot)
{
	return &t->victims[slot % HW_NR_VICTIMS];
}

void hw_victims_drop(struct hw_tlb *t)
{
	unsigned i;

	for (i = 0; i < HW_NR_VICTIMS; i++)
		drop(&t->victims[i]);
}

void hw_victim_drop(struct hw_tlb *t, unsigned slot)
{
	drop(victim_of(t, slot));
}

void hw_victims_flush_large(struct hw_tlb *t, uint64_t la)
{
	struct hw_victim *v;
	unsigned k;

	for (v = t->victims; v < t->victims + HW_NR_VICTIMS; v++)
		for (k = 0; k < ARRAY_SIZE(v->tag); k++)
			if (v->level > 1 && !((v->tag[k] ^ la) & hw_level_mask(v->level)))
				drop(v);
}

void hw_victim_put(struct hw_cpu *cpu, unsigned slot, uint64_t tag)
{
	const struct x86_tlb_entry *e = &cpu->tlb_entries[slot];
	struct hw_victim *v = victim_of(cpu->tlb_priv, slot);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(v->tag); k++) {
		if (v->tag[k] == tag)
			drop(v);
		if (e->tag[k] == tag)
			return;
	}
	if ((e->tag[X86_TLB_READ] == X86_TLB_NONE && e->tag[X86_TLB_WRITE] == X86_TLB_NONE) ||
	    (cpu->nr_lent && hw_tlb_is_lent(cpu, slot)))
		return;
	v->tag[X86_TLB_READ] = e->tag[X86_TLB_READ];
	v->tag[X86_TLB_WRITE] = e->tag[X86_TLB_WRITE];
	v->addend = e->addend;
	v->level = cpu->tlb_priv->level[slot];
}

bool hw_victim_bring_back(struct hw_cpu *cpu, unsigned slot, uint64_t page, uint16_t key,
			  unsigned kind)
{
	struct hw_victim v = *victim_of(cpu->tlb_priv, slot);
	struct x86_tlb_entry *e = &cpu->tlb_entries[slot];

	if (kind == X86_TLB_FETCH || !key || v.tag[kind] != (page | key))
		return false;
	hw_victim_put(cpu, slot, page | key);
	e->tag[X86_TLB_READ] = v.tag[X86_TLB_READ];
	e->tag[X86_TLB_WRITE] = v.tag[X86_TLB_WRITE];
	e->tag[X86_TLB_FETCH] = X86_TLB_NONE;
	e->addend = v.addend;
	cpu->tlb_priv->level[slot] = v.level;
	return true;
}
