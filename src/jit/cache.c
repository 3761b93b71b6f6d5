/* SPDX-License-Identifier: MIT */
/*
 * The code cache: blocks by (rip, host address), the blocks of a host page, the
 * targets known by rip and context. The memory is area.c's.
 *
 * Validity. A block is made of the bytes at a host address; it is found by rip and
 * host address, so that what address space it is in does not matter. It goes when
 * the page is written (hw/code.c), or when the page is found changed as it is mapped
 * for execution again (jit_page_check()): what the client wrote behind our back.
 * A target in hw_jit_state.hash carries the context's key and is as good as an entry
 * of the TLB with it. So is a link to another page, which carries an epoch, and an entry
 * of the return stack: all three are void when targets are forgotten.
 */
#include "base/access.h"
#include "jit/jit.h"

/* --- targets ---------------------------------------------------------------------- */

static void forget_victims(struct jit *j)
{
	if (!j->victims.any)
		return;
	j->victims.any = false;
	__builtin_memset(j->victims.key, 0, sizeof(j->victims.key));
}

void jit_forget_targets(struct jit *j)
{
	__builtin_memset(j->cpu->jit.hash.key, 0, sizeof(j->cpu->jit.hash.key));
	forget_victims(j);
	__builtin_memset(j->bloom, 0, 1u << JIT_BLOOM_BITS);
	j->cpu->jit.unwind = true;
	j->link_generation++;
	if (j->link_generation >= JIT_MAX_LINK_GENERATION) {
		j->link_generation = JIT_MAX_LINK_GENERATION;
		j->flush_wanted = true;
	}
}

/*
 * Which pages, and which larger ones, have targets, or have had some since all were
 * forgotten (a link outlives its entry): a Bloom filter of two functions. A page that it
 * takes for another costs all targets, and a process may have that page flushed at each
 * fork.
 */
static const uint64_t bloom_factor[] = { 0x9e3779b97f4a7c15ull, 0xc2b2ae3d27d4eb4full };

static uint8_t *bloom_of(struct jit *j, uint64_t rip, unsigned shift, unsigned k)
{
	uint64_t h = (rip >> shift | (uint64_t)shift << 56) * bloom_factor[k];

	return &j->bloom[h >> (64 - JIT_BLOOM_BITS)];
}

static void bloom_add(struct jit *j, uint64_t rip, unsigned shift)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(bloom_factor); k++)
		*bloom_of(j, rip, shift, k) |= BIT(k);
}

static bool may_have_targets(struct jit *j, uint64_t la, unsigned shift)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(bloom_factor); k++)
		if (!(*bloom_of(j, la, shift, k) & BIT(k)))
			return false;
	return true;
}

static unsigned victim_index(uint64_t rip, uint64_t key)
{
	return ((uint32_t)rip * JIT_TARGET_FACTOR >> 16 ^ key >> 33) % JIT_NR_VICTIMS;
}

/* Place @i is for another; what was there becomes a victim. */
static void set_target(struct jit *j, unsigned i, uint64_t rip, uint64_t code)
{
	struct hw_jit_targets *t = &j->cpu->jit.hash;
	struct jit_victims *v = &j->victims;
	unsigned k = victim_index(t->rip[i], t->key[i]);

	if (t->key[i]) {
		v->rip[k] = t->rip[i];
		v->key[k] = t->key[i];
		v->code[k] = t->code[i];
		v->any = true;
	}
	t->rip[i] = rip;
	t->key[i] = j->cpu->jit.key;
	t->code[i] = code;
}

bool jit_target_again(struct jit *j, uint64_t rip)
{
	struct jit_victims *v = &j->victims;
	unsigned k = victim_index(rip, j->cpu->jit.key);

	if (v->rip[k] != rip || v->key[k] != j->cpu->jit.key)
		return false;
	v->key[k] = 0;
	set_target(j, jit_target_index(rip), rip, v->code[k]);
	return true;
}

void jit_target_set(struct jit *j, uint64_t rip, const struct jit_block *b)
{
	set_target(j, jit_target_index(rip), rip, (uintptr_t)j->rx + b->code);
	bloom_add(j, rip, PAGE_SHIFT);
	bloom_add(j, rip, 22);
	bloom_add(j, rip, 30);
}

void jit_keys_reset(struct hw_cpu *cpu)
{
	jit_forget_targets(cpu->jit.jit);
	jit_void_levels(cpu);
	__builtin_memset(cpu->jit.slot_key, 0, sizeof(cpu->jit.slot_key));
	jit_forget(cpu, ~0ull);
}

void jit_page_flushed(struct hw_cpu *cpu, uint64_t la, unsigned shift)
{
	if (may_have_targets(cpu->jit.jit, la, shift))
		jit_forget_targets(cpu->jit.jit);
}

/* --- blocks ------------------------------------------------------------------------- */

static uint32_t *block_chain(struct jit *j, uint64_t rip, hva_t host)
{
	uint64_t h = (host ^ rip << 20) * 0x9e3779b97f4a7c15ull;

	return &j->bhash[h >> (64 - JIT_BHASH_BITS)];
}

static uint32_t *page_chain(struct jit *j, hva_t page)
{
	uint64_t h = (page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull;

	return &j->phash[h >> (64 - JIT_PHASH_BITS)];
}

static struct jit_page *page_find(struct jit *j, hva_t page)
{
	uint32_t i;

	for (i = *page_chain(j, page); i; i = j->pages[i - 1].next)
		if (j->pages[i - 1].host == page)
			return &j->pages[i - 1];
	return NULL;
}

static struct jit_page *page_get(struct jit *j, hva_t page)
{
	struct jit_page *p = page_find(j, page);
	uint32_t *chain = page_chain(j, page);

	if (p)
		return p;
	if (j->free_page) {
		p = &j->pages[j->free_page - 1];
		j->free_page = p->next;
	} else {
		p = &j->pages[j->nr_pages++];
	}
	*p = (struct jit_page){ .host = page, .next = *chain };
	*chain = p - j->pages + 1;
	return p;
}

/* It has no blocks. */
static void page_put(struct jit *j, struct jit_page *p)
{
	uint32_t i = p - j->pages + 1, *at = page_chain(j, p->host);

	while (*at != i)
		at = &j->pages[*at - 1].next;
	*at = p->next;
	p->host = 0;
	p->next = j->free_page;
	j->free_page = i;
}

struct jit_block *jit_block_find(struct jit *j, uint64_t rip, hva_t host,
				 uint8_t loc, uint8_t variant)
{
	struct jit_block *b;
	uint32_t i;

	for (i = *block_chain(j, rip, host); i; i = b->next) {
		b = &j->blocks[i - 1];
		if (b->host == host && b->rip == rip && (b->flags & loc) &&
		    b->variant == variant)
			return b;
	}
	return NULL;
}

struct jit_block *jit_block_next(struct jit *j, uint64_t rip, hva_t host,
				 const struct jit_block *b)
{
	uint32_t i = b ? b->next : *block_chain(j, rip, host);

	for (; i; i = j->blocks[i - 1].next)
		if (j->blocks[i - 1].host == host && j->blocks[i - 1].rip == rip)
			return &j->blocks[i - 1];
	return NULL;
}

/* Its first instruction becomes a jump to its tombstone: jmp rel8. */
static void bury(struct jit *j, const struct jit_block *b)
{
	j->rw[b->code] = 0xeb;
	j->rw[b->code + 1] = -JIT_TOMBSTONE - 2;
}

void jit_drop_block(struct jit *j, struct jit_block *b)
{
	struct hw_jit_targets *t = &j->cpu->jit.hash;
	unsigned at = jit_target_index(b->rip);

	if (t->code[at] == (uintptr_t)j->rx + b->code)
		t->key[at] = 0;
	forget_victims(j);
	bury(j, b);
	b->host = 0;
}

static void drop_page(struct jit *j, struct jit_page *p)
{
	uint32_t i;

	for (i = p->first; i; i = j->blocks[i - 1].page_next) {
		struct jit_block *b = &j->blocks[i - 1];

		if (!b->host)
			continue;
		*jit_cold(j, b->host) = j->cpu->cfg.jit_threshold;
		jit_unmark(j, b->host);
		jit_drop_block(j, b);
	}
	if (p->first) {
		j->cpu->stats.jit_drops++;
		j->cpu->jit.unwind = true;
	}
	p->first = 0;
	p->lines = 0;
	p->check = false;
}

void jit_begin_at(struct jit *j, uint64_t rip, hva_t host)
{
	struct jit_block *b = NULL;

	j->not_behind = rip;
	while ((b = jit_page_next(j, host & PAGE_MASK, b)))
		if (b->host && b->follows)
			jit_drop_block(j, b);
}

/* Does memory still hold what these lines of the page were? */
static bool lines_same(const struct jit *j, const struct jit_page *p,
		       uint64_t lines)
{
	const uint8_t *copy = j->copies[p - j->pages];
	uint64_t now, then;
	unsigned n, k;

	for (; lines; lines &= lines - 1) {
		n = __builtin_ctzll(lines) << HW_LINE_SHIFT;
		for (k = n; k < n + (1u << HW_LINE_SHIFT); k += 8) {
			__builtin_memcpy(&then, copy + k, 8);
			if (host_read_64((const void *)(p->host + k), &now) ||
			    now != then)
				return false;
		}
	}
	return true;
}

uint64_t jit_code_lines(const struct jit *j)
{
	uint64_t lines = hw_code_lines(j->host, 1);
	const struct jit_insn *n;

	for (n = j->insn; n < j->insn + j->nr; n++)
		lines |= hw_code_lines(jit_insn_host(j, n), n->i.len);
	return lines;
}

/*
 * Keeps what the block's @lines hold. A line that has a copy is not copied again: the
 * older blocks are compared with it. False: it has changed, and so may have others that
 * the block has looked at.
 */
static bool add_lines(struct jit *j, struct jit_page *p, uint64_t lines)
{
	uint8_t *copy = j->copies[p - j->pages];
	const struct jit_insn *i;
	uint64_t fresh;
	unsigned n;

	if (!lines_same(j, p, lines & p->lines)) {
		drop_page(j, p);
		if (j->looked_ahead)
			return false;
	}
	for (fresh = lines & ~p->lines; fresh; fresh &= fresh - 1) {
		n = __builtin_ctzll(fresh) << HW_LINE_SHIFT;
		host_copy_in(copy + n,
			     (const void *)(p->host + n), 1u << HW_LINE_SHIFT);
	}
	/* What was translated, whatever memory holds by now. */
	for (i = j->insn; i < j->insn + j->nr; i++)
		__builtin_memcpy(copy + (i->rip & ~PAGE_MASK), i->i.bytes,
				 i->i.len - j->tail);
	p->lines |= lines;
	return true;
}

const uint8_t *jit_page_bytes(struct jit *j, hva_t host, unsigned *room)
{
	const struct jit_page *p = page_find(j, host & PAGE_MASK);
	unsigned at = host & ~PAGE_MASK, end = at;

	*room = 0;
	if (!p)
		return NULL;
	while (end < PAGE_SIZE && end < at + X86_MAX_INSN_LEN &&
	       p->lines >> (end >> HW_LINE_SHIFT) & 1)
		end++;
	*room = end - at;
	j->looked_ahead = true;
	return j->copies[p - j->pages] + at;
}

struct jit_block *jit_page_next(struct jit *j, hva_t page, const struct jit_block *b)
{
	const struct jit_page *p = b ? NULL : page_find(j, page);
	uint32_t i = b ? b->page_next : p ? p->first : 0;

	return i ? &j->blocks[i - 1] : NULL;
}

static void chain_block(struct jit *j, struct jit_block *b, struct jit_page *p)
{
	uint32_t *chain = block_chain(j, b->rip, b->host), i = b - j->blocks + 1;

	b->next = *chain;
	b->page_next = p->first;
	*chain = p->first = i;
}

struct jit_block *jit_block_new(struct jit *j)
{
	struct jit_block *b = &j->blocks[j->nr_blocks];
	struct jit_page *p = page_get(j, j->host & PAGE_MASK);
	uint64_t lines = jit_code_lines(j);

	if (!add_lines(j, p, lines))
		return NULL;
	j->nr_blocks++;
	*b = (struct jit_block){
		.rip = j->rip, .host = j->host, .code = j->code,
		.flags = j->entry, .follows = j->follows, .first_line = __builtin_ctzll(lines),
		.last_line = 63 - __builtin_clzll(lines),
		.ways = j->loop.on && j->loop.ways,
		.nr = j->loop.on ? JIT_CHECK_INSNS : j->nr, .variant = j->variant,
	};
	chain_block(j, b, p);
	return b;
}

void jit_blocks_chain(struct jit *j)
{
	struct jit_page *p;
	unsigned r, i;

	__builtin_memset(j->bhash, 0, sizeof(*j->bhash) << JIT_BHASH_BITS);
	for (i = 0; i < j->nr_pages; i++)
		j->pages[i].first = 0;
	for (r = 0; r < JIT_REGIONS; r++)
		for (i = jit_region_begin(j, r).blocks; i < jit_region_end(j, r).blocks; i++)
			if (j->blocks[i].host)
				chain_block(j, &j->blocks[i],
					    page_find(j, j->blocks[i].host & PAGE_MASK));
	for (p = j->pages; p < j->pages + j->nr_pages; p++)
		if (p->host && !p->first)
			page_put(j, p);
}

/* --- validity --------------------------------------------------------------------- */

void jit_drop(struct hw_cpu *cpu, hva_t page)
{
	struct jit *j = cpu->jit.jit;
	struct jit_page *p;
	uint32_t i;

	if (page) {
		p = page_find(j, page);
		if (p)
			drop_page(j, p);
		return;
	}
	/* The code itself may be running: the memory waits for the next block. */
	for (i = 0; i < j->nr_pages; i++)
		drop_page(j, &j->pages[i]);
	jit_forget_targets(j);
	j->flush_wanted = true;
}

void jit_mapped(struct hw_cpu *cpu, hva_t page)
{
	struct jit_page *p = page_find(cpu->jit.jit, page);

	if (p)
		p->check = true;
}

void jit_page_check(struct jit *j, hva_t host)
{
	struct jit_page *p = page_find(j, host & PAGE_MASK);

	if (!p || !p->check)
		return;
	p->check = false;
	if (!lines_same(j, p, p->lines))
		drop_page(j, p);
}
