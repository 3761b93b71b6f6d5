/* SPDX-License-Identifier: MIT */
/*
 * Slots (struct hw_jit_slot): the page that a place used last.
 *
 * A slot is filled from the TLB by a stub (emit.c), for the kind of access and the
 * who of its half and set. It holds no longer than the TLB's entry might: a flush, a
 * fault, a page that becomes code, a new key for the who empty it. That an entry
 * makes room for another page does not matter to it.
 *
 * A place whose pages vary would fill its slot all the time, and mispredict. A slot
 * has a budget of fills; where it is used up in a short time the place is marked, and
 * its block is translated again. Most of the accesses may be to one page (a table that
 * lies across a page's end), so that the place is sticky first: what misses asks the TLB
 * and leaves the slot alone while its score is good. Hits make that better, misses worse.
 * If its budget is used up again the place looks at the TLB itself from then on.
 *
 * A place whose group's check fails again and again has each access by itself then.
 */
#include "jit/jit.h"

#define BUDGET		256
#define FILL_CYCLES	1500	/* between two fills that nobody minds */
#define FAILS		64	/* so many in a short time are too many */
#define FAIL_CYCLES	8000
#define TAILS		8	/* other bytes in the second page */
#define TAIL_CYCLES	1000000

static struct hw_jit_slot *slot_of(struct hw_cpu *cpu, unsigned i)
{
	return &cpu->jit.slot[i];
}

static void empty(struct hw_cpu *cpu, unsigned i)
{
	struct hw_jit_slot *s = slot_of(cpu, i);

	s->lo = HW_JIT_NO_PAGE;
	s->addend = 0;
	s->host = HW_JIT_NO_PAGE;
	s->score = 0;
	cpu->jit.filled[i / 64] &= ~BIT_ULL(i % 64);
}

static unsigned kind_of(unsigned i)
{
	return i % HW_JIT_SLOTS / (HW_JIT_SLOTS / 2);
}

/* Empties those slots in [from, to) that are @la's page; ~0: all. */
static void empty_some(struct hw_cpu *cpu, unsigned from, unsigned to, uint64_t la)
{
	uint64_t word;
	unsigned w, i;

	for (w = from / 64; w < to / 64; w++) {
		for (word = cpu->jit.filled[w]; word; word &= word - 1) {
			i = w * 64 + __builtin_ctzll(word);
			if (la == ~0ull ||
			    slot_of(cpu, i)->lo == (la & PAGE_MASK))
				empty(cpu, i);
		}
	}
}

void jit_forget(struct hw_cpu *cpu, uint64_t la)
{
	cpu->jit.slot_gen++;
	empty_some(cpu, 0, HW_JIT_WHO * HW_JIT_SLOTS, la);
}

void jit_take_back(struct hw_cpu *cpu, uint64_t la)
{
	cpu->jit.slot_gen++;
	if (cpu->jit.low_filled || (int64_t)la < 0)
		empty_some(cpu, 0, HW_JIT_SLOTS, la);
}

bool jit_protect(struct hw_cpu *cpu, hva_t page)
{
	bool any = false;
	uint64_t word;
	unsigned w, i;

	cpu->jit.slot_gen++;
	for (w = 0; w < ARRAY_SIZE(cpu->jit.filled); w++) {
		if (kind_of(w * 64) != X86_TLB_WRITE)
			continue;
		for (word = cpu->jit.filled[w]; word; word &= word - 1) {
			i = w * 64 + __builtin_ctzll(word);
			if (page && slot_of(cpu, i)->host != page)
				continue;
			empty(cpu, i);
			any = true;
		}
	}
	return any;
}

void jit_slots_new_key(struct hw_cpu *cpu, unsigned who, uint64_t key)
{
	cpu->jit.slot_key[who] = key;
	cpu->jit.slot_gen++;
	cpu->jit.low_filled &= who == 1;
	empty_some(cpu, who * HW_JIT_SLOTS, (who + 1) * HW_JIT_SLOTS, ~0ull);
}

void jit_slots_create(struct hw_cpu *cpu)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cpu->jit.slot); i++)
		empty(cpu, i);
}

/*
 * Accesses to the stack share one slot, those to one page of data at fixed addresses
 * another, whatever blocks they are in; loops have slots of their own in turn.
 */
static unsigned preferred(struct jit *j, const struct jit_group *g)
{
	uint64_t page = g->lo >> PAGE_SHIFT;

	if (g->stack)
		return 0;
	if (g->fixed)
		return 1 + (page * 0x9e3779b97f4a7c15ull >> 58);
	return 65 + j->next_slot[g->kind]++ % (HW_JIT_SLOTS / 2 - 65);
}

uint32_t jit_slot_new(struct jit *j, const struct jit_group *g)
{
	unsigned i = preferred(j, g), at;

	do {
		at = g->kind * (HW_JIT_SLOTS / 2) + i++ % (HW_JIT_SLOTS / 2);
	} while (j->slots_used[at / 64] >> (at % 64) & 1);
	j->slots_used[at / 64] |= BIT_ULL(at % 64);
	return j->cpu->jit.who * HW_JIT_SLOTS + at;
}

/* c.exception is a #PF that nobody wants to know the instruction of. */
static bool goes_to_guest(const struct hw_cpu *cpu)
{
	const struct hw_ctl *ctl = &cpu->ctl;

	return cpu->c.exception.vector == X86_PF && !cpu->c.exception.nested &&
	       !(ctl->exceptions & BIT(X86_PF)) && !ctl->pf_error_mask &&
	       !ctl->pf_error_match;
}

/* --- places whose pages vary, or whose groups fail ------------------------------------- */

#define MARK_VARIES	BIT(0)
#define MARK_FAILS	BIT(1)
#define MARK_LONG	BIT(5)
#define MARK_STICKY	BIT(6)
#define MARK_MANY	BIT(7)
#define MARK_PARTED	BIT(8)
#define MARK_HEAD	BIT(10)
#define MARK_SHORT	BIT(9)	/* a loop with several ways is not one: it is left */
#define MARK_COUNT	0x1cu	/* blocks that were made anew because it varies */
#define MARK_ONE	BIT(2)

static uint16_t *mark_of(const struct jit *j, hva_t place)
{
	return &j->marks[(place * 0x9e3779b97f4a7c15ull) >> (64 - JIT_MARK_BITS)];
}

bool jit_varies(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_VARIES;
}

bool jit_sticks(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_STICKY;
}

bool jit_fails(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_FAILS;
}

bool jit_parted(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_PARTED;
}

bool jit_is_long(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_LONG;
}

bool jit_has_many(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_MANY;
}

void jit_mark_many(struct jit *j, hva_t place)
{
	*mark_of(j, place) |= MARK_MANY;
}

bool jit_is_head(const struct jit *j, hva_t place)
{
	return !j->head_jumps || *mark_of(j, place) & MARK_HEAD;
}

bool jit_is_short(const struct jit *j, hva_t place)
{
	return *mark_of(j, place) & MARK_SHORT;
}

bool jit_head_seen(struct jit *j, hva_t place)
{
	struct jit_head *h = &j->heads[place * 0x9e3779b97f4a7c15ull >> 32 &
				       (JIT_NR_HEADS - 1)];

	if (h->place != place)
		*h = (struct jit_head){ .place = place };
	if (++h->count < j->head_jumps)
		return false;
	*mark_of(j, place) |= MARK_HEAD;
	return true;
}

void jit_unmark(struct jit *j, hva_t place)
{
	*mark_of(j, place) = 0;
}

static const struct jit_site *site_at(const struct jit *j, uint32_t pc)
{
	unsigned r = jit_region_of(j, pc);
	uint32_t first = jit_region_begin(j, r).sites;

	return jit_at(j->sites + first, jit_region_end(j, r).sites - first,
		      sizeof(*j->sites), pc);
}

/* Marks the place of @site, whose slot is filled all the time; false: it stays as it is. */
static bool varies(struct hw_cpu *cpu, const struct jit_site *site)
{
	uint16_t *mark = mark_of(cpu->jit.jit, site->place);

	/* No slot is what comes after that, in each of its blocks. */
	if (site->sticky) {
		*mark &= ~MARK_STICKY;
		return true;
	}
	if ((*mark & MARK_COUNT) == MARK_COUNT)
		return false;
	cpu->stats.jit_varying += !(*mark & MARK_VARIES);
	/* The instruction may be in several blocks, some older than the mark. */
	if (!(*mark & MARK_VARIES))
		*mark |= MARK_VARIES | MARK_STICKY;
	*mark += MARK_ONE;
	return true;
}

uintptr_t jit_slot_spent(struct hw_cpu *cpu, uint64_t la, uint64_t which)
{
	struct jit *j = cpu->jit.jit;
	const struct jit_site *site =
		site_at(j, cpu->jit.site - (uintptr_t)j->rx);
	uint64_t now = hw_host_tsc();
	bool soon = now - j->slot_since[which] < BUDGET * FILL_CYCLES;

	slot_of(cpu, which)->budget = BUDGET;
	j->slot_since[which] = now;
	if (soon && site && varies(cpu, site)) {
		jit_retranslate(j, site->pc);
		/* A loop leaves for the new one when it looks. */
		hw_set_request(cpu, HW_REQ_EVENT);
	}
	return la;
}

/* One more event at @place: how many there have been for so many @cycles. */
static uint32_t fails(struct jit *j, hva_t place, uint64_t cycles)
{
	struct jit_fails *f = &j->fails[place % JIT_NR_FAILS];
	uint64_t now = hw_host_tsc();

	if (f->place != place || now - f->since > cycles)
		*f = (struct jit_fails){ .place = place, .since = now };
	return ++f->count;
}

/* The check at @site has failed. If it does so most of the time it is not made any more:
 * @mark. */
static void failed(struct hw_cpu *cpu, const struct jit_site *site, uint16_t mark)
{
	struct jit *j = cpu->jit.jit;

	cpu->stats.jit_group_fails++;
	if (fails(j, site->place, FAILS * FAIL_CYCLES) < FAILS ||
	    *mark_of(j, site->place) & mark)
		return;
	*mark_of(j, site->place) |= mark;
	cpu->stats.jit_failing++;
	jit_retranslate(j, site->pc);
}

/* The instruction at @site crosses into a page whose bytes are others now: its block is made
 * anew, unless they change all the time. */
static void tail_changed(struct hw_cpu *cpu, const struct jit_site *site)
{
	struct jit *j = cpu->jit.jit;

	if (fails(j, site->place, TAILS * TAIL_CYCLES) <= TAILS)
		jit_retranslate(j, site->pc);
}

static bool walk(struct hw_cpu *cpu, uint64_t la, uint64_t what)
{
	const struct x86_tlb_entry *e =
		&cpu->tlb_entries[la >> PAGE_SHIFT & (HW_TLB_SIZE - 1)];
	uint64_t gen = cpu->jit.slot_gen, key = cpu->c.tlb_key;
	unsigned bytes = (uint16_t)what;
	int rc;

	if (!is_canonical(la, false) || (la & ~PAGE_MASK) + bytes > PAGE_SIZE ||
	    hw_is_device(cpu, la, !!(what & WALK_OWN)))
		return false;
	rc = hw_data_host(cpu, la, !!(what & WALK_OWN));
	if (rc != X86EMUL_CONTINUE) {
		cpu->jit.faulted = what & WALK_FAULT &&
				   rc == X86EMUL_PROPAGATE_FAULT && goes_to_guest(cpu);
		if (rc == X86EMUL_PROPAGATE_FAULT && cpu->c.exception.nested &&
		    !(what & WALK_SITE))
			hw_keep_walk(cpu, la, !!(what & WALK_OWN));
		return false;
	}
	return gen == cpu->jit.slot_gen && key == cpu->c.tlb_key &&
	       e->tag[!!(what & WALK_KIND)] == ((la & PAGE_MASK) | key);
}

uintptr_t jit_loop_is_long(struct hw_cpu *cpu, uint64_t is_long, uint64_t t2)
{
	struct jit *j = cpu->jit.jit;
	const struct jit_site *site =
		site_at(j, cpu->jit.walk_from - (uintptr_t)j->rx);

	if (site && !(*mark_of(j, site->place) & (MARK_LONG | MARK_SHORT))) {
		*mark_of(j, site->place) |= is_long ? MARK_LONG : MARK_SHORT;
		if (is_long)
			cpu->stats.jit_long_loops++;
		else
			cpu->stats.jit_short_loops++;
		jit_retranslate(j, site->pc);
	}
	return 0;
}

uintptr_t jit_walk(struct hw_cpu *cpu, uint64_t la, uint64_t what)
{
	struct jit *j = cpu->jit.jit;
	const struct jit_site *site = NULL;

	if (!(what & (WALK_MATE | WALK_TAIL)) && walk(cpu, la, what))
		return 0;
	if (what & WALK_SITE)
		site = site_at(j, cpu->jit.walk_from - (uintptr_t)j->rx);
	if (site && what & WALK_TAIL)
		tail_changed(cpu, site);
	else if (site)
		failed(cpu, site, what & WALK_MATE ? MARK_PARTED : MARK_FAILS);
	return 1;
}
