/* SPDX-License-Identifier: MIT */
/*
 * Lock-step: stores of the translation where the interpreter has not stored (check.c).
 *
 * For the first execution of a block, and now and then, what is in every page that the TLB
 * allows to be written is kept as the interpreter has left it; behind the translation it must
 * be the same. That is where a store goes that has computed its address wrongly or should not
 * have been: translated code has no other addresses than those that the TLB gives. Accessed
 * and dirty bits may have come.
 */
#include "base/access.h"
#include "jit/check.h"

#define MARKS	0x60	/* accessed, dirty */

static hva_t page_of(const struct x86_tlb_entry *e)
{
	return (e->tag[X86_TLB_WRITE] & PAGE_MASK) + e->addend;
}

void check_seal(struct jit_check *k)
{
	const struct x86_tlb_entry *e = k->j->cpu->tlb_entries;
	struct check_seal *s = k->seal;
	unsigned i;

	for (i = 0; i < HW_TLB_SIZE && s < k->seal + CHECK_SEALS; i++, e++) {
		if (e->tag[X86_TLB_WRITE] == X86_TLB_NONE)
			continue;
		s->la = e->tag[X86_TLB_WRITE] & PAGE_MASK;
		s->host = page_of(e);
		if (!host_copy_in(s->bytes, (const void *)s->host, PAGE_SIZE))
			s++;
	}
	k->nr_seals = s - k->seal;
}

static bool is_written(const struct jit_check *k, hva_t at)
{
	const struct check_write *w;

	for (w = k->write; w < k->write + k->nr_writes; w++)
		if (at - (hva_t)w->p < w->n)
			return true;
	return false;
}

static bool byte_same(const struct jit_check *k, const struct check_seal *s, unsigned i,
		      uint8_t now)
{
	uint8_t other = s->bytes[i] ^ now;

	return !other || (!(i & 3) && !(other & ~MARKS) && (now & other) == other) ||
	       is_written(k, s->host + i);
}

static bool page_same(struct jit_check *k, const struct check_seal *s)
{
	struct check_diff *d = &k->diff[0];
	uint8_t now[PAGE_SIZE];
	unsigned i;

	if (host_copy_in(now, (const void *)s->host, PAGE_SIZE) ||
	    check_bytes_same(s->bytes, now, PAGE_SIZE))
		return true;
	for (i = 0; i < PAGE_SIZE; i++) {
		if (byte_same(k, s, i, now[i]))
			continue;
		d->la = s->la + i;
		d->n = MIN(PAGE_SIZE - i, sizeof(d->want));
		__builtin_memcpy(d->want, s->bytes + i, d->n);
		__builtin_memcpy(d->got, now + i, d->n);
		k->nr_diffs = 1;
		return false;
	}
	return true;
}

bool check_seals_hold(struct jit_check *k)
{
	const struct check_seal *s;

	for (s = k->seal; s < k->seal + k->nr_seals; s++)
		if (!page_same(k, s))
			return false;
	return true;
}
