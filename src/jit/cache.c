/* SPDX-License-Identifier: MIT */
/*
 * The code cache and its tables: blocks by (rip, host address), the blocks of a host
 * page, the targets known by rip and context.
 *
 * Code memory is one memfd, mapped twice: written through one mapping, executed
 * through the other. It fills from start to end; when it is full everything that this
 * processor has translated is forgotten (jit_flush) and it begins anew; nobody else
 * waits. jit_cache= says how large it is, and with it the tables. Dropped blocks leave
 * their code behind until then, so that code which is still running when its page is
 * dropped runs to its end. A flush happens only while no translated code is to be
 * returned to: FN_EXEC never translates.
 *
 * Validity. A block is made of the bytes at a host address; it is found by rip and
 * host address, so that what address space it is in does not matter. It goes when
 * the page is written (hw/code.c), or when the page is found changed as it is mapped
 * for execution again (jit_page_check()): what the client wrote behind our back.
 * A target in hw_jit_state.hash carries the context's key and is as good as an entry
 * of the TLB with it. So is a link to another page, which carries an epoch, and an entry
 * of the return stack: all three are void when targets are forgotten.
 *
 * fork(): the memfd would be shared with the child. A page that the kernel wipes at
 * fork tells a child that it is one; it begins with a code area of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/access.h"
#include "jit/jit.h"

#define LINE_SHIFT	6

static void *anonymous(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_code(struct jit *j)
{
	int fd = memfd_create("anykvm-jit", MFD_CLOEXEC);
	void *rw = MAP_FAILED, *rx = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, jit_code_bytes(j))) {
		rw = mmap(NULL, jit_code_bytes(j), PROT_READ | PROT_WRITE,
			  MAP_SHARED, fd, 0);
		rx = mmap(NULL, jit_code_bytes(j), PROT_READ | PROT_EXEC,
			  MAP_SHARED, fd, 0);
	}
	if (fd >= 0)
		close(fd);
	j->rw = rw == MAP_FAILED ? NULL : rw;
	j->rx = rx == MAP_FAILED ? NULL : rx;
	return j->rw && j->rx ? 0 : -ENOMEM;
}

/* All tables in one mapping; what is not touched costs nothing. */
static size_t place_tables(struct jit *j, uint8_t *p)
{
	size_t n = 0;

#define PLACE(field, count)						\
	do {								\
		if (p)							\
			j->field = (void *)(p + n);			\
		n += (sizeof(*j->field) * (size_t)(count) + 63) & ~63ul; \
	} while (0)
	PLACE(blocks, j->mib * JIT_BLOCKS_A_MIB);
	PLACE(pages, j->mib * JIT_PAGES_A_MIB);
	PLACE(faults, j->mib * JIT_FAULTS_A_MIB);
	PLACE(execs, j->mib * JIT_EXECS_A_MIB);
	PLACE(bhash, 1u << JIT_BHASH_BITS);
	PLACE(phash, 1u << JIT_PHASH_BITS);
	PLACE(heat, 1u << JIT_HEAT_BITS);
	PLACE(bloom, 1u << JIT_BLOOM_BITS);
	PLACE(sites, j->mib * JIT_FAULTS_A_MIB);
	PLACE(varying, 1u << JIT_VARY_BITS);
	PLACE(copies, j->mib * JIT_PAGES_A_MIB);
	if (j->cpu->cfg.jit_count)
		PLACE(left, 2 * x86_nr_rows);
#undef PLACE
	return n;
}

static void unmap_code(struct jit *j)
{
	if (j->rx)
		munmap(j->rx, jit_code_bytes(j));
	if (j->rw)
		munmap(j->rw, jit_code_bytes(j));
	j->rx = j->rw = NULL;
}

int jit_after_fork(struct jit *j)
{
	if (likely(*j->here))
		return 0;
	unmap_code(j);
	if (map_code(j))
		return -ENOMEM;
	*j->here = 1;
	j->pos = 0;
	emit_stubs(j, j->fsgsbase);
	jit_flush(j);
	return 0;
}

static void destroy(struct jit *j)
{
	unmap_code(j);
	if (j->here)
		munmap(j->here, PAGE_SIZE);
	if (j->tables)
		munmap(j->tables, place_tables(j, j->tables));
	munmap(j, sizeof(*j));
}

int jit_create(struct hw_cpu *cpu)
{
	struct jit *j = anonymous(sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->cpu = cpu;
	j->mib = cpu->cfg.jit_cache ? cpu->cfg.jit_cache : JIT_CACHE_MIB;
	j->tables = anonymous(place_tables(j, NULL));
	j->here = anonymous(PAGE_SIZE);
	if (!j->tables || !j->here || map_code(j) ||
	    madvise(j->here, PAGE_SIZE, MADV_WIPEONFORK)) {
		destroy(j);
		return -ENOMEM;
	}
	*j->here = 1;
	place_tables(j, j->tables);
	cpu->jit.jit = j;
	jit_slots_create(cpu);
	jit_helpers_init(cpu);
	jit_faults_add(j);
	return 0;
}

void jit_destroy(struct hw_cpu *cpu)
{
	jit_faults_remove(cpu->jit.jit);
	destroy(cpu->jit.jit);
	cpu->jit.jit = NULL;
}

/* --- targets ---------------------------------------------------------------------- */

static void forget_targets(struct jit *j)
{
	__builtin_memset(j->cpu->jit.hash.tag, 0, sizeof(j->cpu->jit.hash.tag));
	__builtin_memset(j->bloom, 0, 1u << JIT_BLOOM_BITS);
	j->cpu->jit.unwind = true;
	j->link_generation++;
	if (j->link_generation >= JIT_MAX_LINK_GENERATION) {
		j->link_generation = JIT_MAX_LINK_GENERATION;
		j->flush_wanted = true;
	}
}

/* Which pages, and which larger ones, have targets. */
static uint8_t *bloom_of(struct jit *j, uint64_t rip, unsigned shift)
{
	uint64_t h = (rip >> shift | (uint64_t)shift << 56) * 0x9e3779b97f4a7c15ull;

	return &j->bloom[h >> (64 - JIT_BLOOM_BITS)];
}

void jit_target_set(struct jit *j, uint64_t rip, const struct jit_block *b)
{
	struct hw_jit_targets *t = &j->cpu->jit.hash;
	unsigned i = jit_target_index(rip);

	t->tag[i] = rip ^ j->cpu->jit.key;
	t->code[i] = (uintptr_t)j->rx + b->code;
	*bloom_of(j, rip, PAGE_SHIFT) = 1;
	*bloom_of(j, rip, 22) = 1;
	*bloom_of(j, rip, 30) = 1;
}

void jit_keys_reset(struct hw_cpu *cpu)
{
	forget_targets(cpu->jit.jit);
	__builtin_memset(cpu->jit.slot_key, 0, sizeof(cpu->jit.slot_key));
	jit_forget(cpu, ~0ull);
}

void jit_page_flushed(struct hw_cpu *cpu, uint64_t la, unsigned shift)
{
	if (*bloom_of(cpu->jit.jit, la, shift))
		forget_targets(cpu->jit.jit);
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
	p = &j->pages[j->nr_pages++];
	*p = (struct jit_page){ .host = page, .next = *chain };
	*chain = j->nr_pages;
	return p;
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

/* Its first instruction becomes a jump to its tombstone: jmp rel8. */
static void bury(struct jit *j, const struct jit_block *b)
{
	j->rw[b->code] = 0xeb;
	j->rw[b->code + 1] = -JIT_TOMBSTONE - 2;
}

static void drop_block(struct jit *j, struct jit_block *b)
{
	struct hw_jit_targets *t = &j->cpu->jit.hash;
	unsigned at = jit_target_index(b->rip);

	if (t->code[at] == (uintptr_t)j->rx + b->code)
		t->tag[at] = 0;
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
		/* Code that changes is not translated at once again. */
		*jit_heat(j, b->host) = 0;
		drop_block(j, b);
	}
	if (p->first) {
		j->cpu->stats.jit_drops++;
		j->cpu->jit.unwind = true;
	}
	p->first = 0;
	p->lines = 0;
	p->check = false;
}

/* Does memory still hold what these lines of the page were? */
static bool lines_same(const struct jit *j, const struct jit_page *p,
		       uint64_t lines)
{
	const uint8_t *copy = j->copies[p - j->pages];
	uint64_t now, then;
	unsigned n, k;

	for (; lines; lines &= lines - 1) {
		n = __builtin_ctzll(lines) << LINE_SHIFT;
		for (k = n; k < n + (1u << LINE_SHIFT); k += 8) {
			__builtin_memcpy(&then, copy + k, 8);
			if (host_read_64((const void *)(p->host + k), &now) ||
			    now != then)
				return false;
		}
	}
	return true;
}

/*
 * Keeps what the block's lines hold. A line that has a copy is not copied again: the
 * older blocks are compared with it. False: it has changed, and so may have others that
 * the block has looked at.
 */
static bool add_lines(struct jit *j, struct jit_page *p)
{
	unsigned first = (j->host & ~PAGE_MASK) >> LINE_SHIFT;
	unsigned last = ((j->host & ~PAGE_MASK) + (j->len ? j->len - 1 : 0)) >>
			LINE_SHIFT;
	uint64_t lines = ~0ull >> (63 - last) & ~0ull << first, fresh;
	uint8_t *copy = j->copies[p - j->pages];
	unsigned n;

	if (!lines_same(j, p, lines & p->lines)) {
		drop_page(j, p);
		if (j->looked_ahead)
			return false;
	}
	for (fresh = lines & ~p->lines; fresh; fresh &= fresh - 1) {
		n = __builtin_ctzll(fresh) << LINE_SHIFT;
		host_copy_in(copy + n,
			     (const void *)(p->host + n), 1u << LINE_SHIFT);
	}
	/* What was translated, whatever memory holds by now. */
	copy += j->host & ~PAGE_MASK;
	for (n = 0; n < j->nr; copy += j->insn[n++].i.len)
		__builtin_memcpy(copy, j->insn[n].i.bytes,
				 j->insn[n].i.len - j->tail);
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
	       p->lines >> (end >> LINE_SHIFT) & 1)
		end++;
	*room = end - at;
	j->looked_ahead = true;
	return j->copies[p - j->pages] + at;
}

struct jit_block *jit_block_new(struct jit *j)
{
	struct jit_block *b = &j->blocks[j->nr_blocks];
	uint32_t *chain = block_chain(j, j->rip, j->host);
	struct jit_page *p = page_get(j, j->host & PAGE_MASK);

	if (!add_lines(j, p))
		return NULL;
	j->nr_blocks++;
	*b = (struct jit_block){
		.rip = j->rip, .host = j->host,
		.code = j->code, .next = *chain, .page_next = p->first,
		.len = j->len, .flags = j->entry, .variant = j->variant,
	};
	*chain = p->first = j->nr_blocks;
	return b;
}

bool jit_full(const struct jit *j)
{
	return j->pos + JIT_BLOCK_ROOM > jit_code_bytes(j) ||
	       j->nr_blocks == j->mib * JIT_BLOCKS_A_MIB ||
	       j->nr_pages == j->mib * JIT_PAGES_A_MIB ||
	       j->nr_execs + JIT_MAX_INSNS > j->mib * JIT_EXECS_A_MIB ||
	       j->nr_faults + 4 * JIT_MAX_INSNS > j->mib * JIT_FAULTS_A_MIB ||
	       j->nr_sites + JIT_MAX_MISS > j->mib * JIT_FAULTS_A_MIB;
}

void jit_flush(struct jit *j)
{
	j->cpu->stats.jit_flushes += !j->flush_wanted;
	j->flush_wanted = false;
	j->generation++;
	j->pos = j->start;
	j->nr_blocks = j->nr_pages = j->nr_execs = 0;
	j->nr_faults = j->nr_stub_faults;
	j->nr_sites = 0;
	j->link_generation = 0;
	__builtin_memset(j->bhash, 0, sizeof(*j->bhash) << JIT_BHASH_BITS);
	__builtin_memset(j->phash, 0, sizeof(*j->phash) << JIT_PHASH_BITS);
	forget_targets(j);
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
	forget_targets(j);
	j->flush_wanted = true;
}

void jit_retranslate(struct jit *j, uint32_t pc)
{
	uint32_t lo = 0, hi = j->nr_blocks, end;
	struct jit_block *b, *fresh, old;

	/* Blocks are in the order of their code. */
	while (hi - lo > 1) {
		uint32_t mid = (lo + hi) / 2;

		if (j->blocks[mid].code <= pc)
			lo = mid;
		else
			hi = mid;
	}
	b = &j->blocks[lo];
	/* It is running: no flush now. */
	if (!hi || !b->host || j->flush_wanted || jit_full(j))
		return;
	old = *b;
	drop_block(j, b);
	fresh = jit_translate(j, old.rip, old.host,
			      old.flags & FL_HOST ? FL_HOST : FL_MEM,
			      old.variant);
	if (!fresh || fresh->flags != old.flags)
		return;
	/* Jumps that are linked to the old one: its tombstone leads to the new one. */
	end = j->pos;
	j->pos = old.code - JIT_TOMBSTONE;
	emit_jump(j, CC_ALWAYS, fresh->code);
	j->pos = end;
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
