/* SPDX-License-Identifier: MIT */
/*
 * Code memory and the tables that belong to it.
 *
 * Code memory is one memfd, mapped twice: written through one mapping, executed
 * through the other. jit_cache= says how large it is, and with it the tables. Behind the
 * stubs it is divided into JIT_REGIONS regions, each with its part of the tables. They are
 * filled in turn; before one is filled again what is in it is evicted, so that most of what
 * this processor has translated stays; nobody else waits. Dropped blocks leave their code
 * behind until then, so that code which is still running when its page is dropped runs to
 * its end. An eviction happens only while no translated code is to be returned to:
 * FN_EXEC never translates.
 *
 * What leads into a region that is evicted: jumps between blocks of a page, which are
 * linked for good. Where source and target are in two regions the link is noted
 * (struct jit_cross), and led back to where it led before. Everything else (links to
 * other pages, targets in the table, the return stack) is void when targets are forgotten.
 *
 * fork(): the memfd would be shared with the child. A page that the kernel wipes at
 * fork tells a child that it is one; it begins with a code area of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "jit/jit.h"

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

/* All tables in one mapping; what is not touched costs nothing. The stubs' faults come
 * first. */
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
	PLACE(faults, JIT_STUB_FAULTS + j->mib * JIT_FAULTS_A_MIB);
	PLACE(execs, j->mib * JIT_EXECS_A_MIB);
	PLACE(bhash, 1u << JIT_BHASH_BITS);
	PLACE(phash, 1u << JIT_PHASH_BITS);
	PLACE(cold, 1u << JIT_COLD_BITS);
	PLACE(bloom, 1u << JIT_BLOOM_BITS);
	PLACE(sites, j->mib * JIT_FAULTS_A_MIB);
	PLACE(nears, j->mib * JIT_NEARS_A_MIB);
	PLACE(marks, 1u << JIT_MARK_BITS);
	PLACE(cross, j->mib * JIT_CROSS_A_MIB);
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

/* --- regions ---------------------------------------------------------------------- */

static uint32_t region_bytes(const struct jit *j)
{
	return (jit_code_bytes(j) - j->start) / JIT_REGIONS & ~63u;
}

unsigned jit_region_of(const struct jit *j, uint32_t pc)
{
	return MIN((pc - j->start) / region_bytes(j), JIT_REGIONS - 1);
}

struct jit_marks jit_region_begin(const struct jit *j, unsigned r)
{
	return (struct jit_marks){
		.pos = j->start + r * region_bytes(j),
		.blocks = r * (j->mib * JIT_BLOCKS_A_MIB / JIT_REGIONS),
		.faults = JIT_STUB_FAULTS + r * (j->mib * JIT_FAULTS_A_MIB / JIT_REGIONS),
		.execs = r * (j->mib * JIT_EXECS_A_MIB / JIT_REGIONS),
		.sites = r * (j->mib * JIT_FAULTS_A_MIB / JIT_REGIONS),
		.nears = r * (j->mib * JIT_NEARS_A_MIB / JIT_REGIONS),
	};
}

struct jit_marks jit_region_end(const struct jit *j, unsigned r)
{
	if (r != j->region)
		return j->ends[r];
	return (struct jit_marks){
		.pos = j->pos, .blocks = j->nr_blocks, .faults = j->nr_faults,
		.execs = j->nr_execs, .sites = j->nr_sites, .nears = j->nr_nears,
	};
}

/*
 * The region is full: hardly anything is written there until it is its turn again. The
 * mapping for writing gives its pages back, which the other one has; they were resident
 * twice.
 */
static void finish(struct jit *j)
{
	uintptr_t from = (uintptr_t)j->rw + jit_region_begin(j, j->region).pos;
	uintptr_t to = (uintptr_t)j->rw + j->pos;

	j->ends[j->region] = jit_region_end(j, j->region);
	from = (from + PAGE_SIZE - 1) & PAGE_MASK;
	if (to > from)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* What is emitted from now on goes to region @r, behind @at. */
static void continue_at(struct jit *j, unsigned r, struct jit_marks at)
{
	j->region = r;
	j->pos = at.pos;
	j->nr_blocks = at.blocks;
	j->nr_faults = at.faults;
	j->nr_execs = at.execs;
	j->nr_sites = at.sites;
	j->nr_nears = at.nears;
}

bool jit_full(const struct jit *j)
{
	struct jit_marks to = jit_region_begin(j, j->region + 1);

	return j->pos + JIT_BLOCK_ROOM > to.pos || j->nr_blocks == to.blocks ||
	       j->nr_execs + JIT_MAX_INSNS > to.execs ||
	       j->nr_faults + 4 * JIT_MAX_INSNS > to.faults ||
	       j->nr_sites + 2 * JIT_MAX_MISS > to.sites ||
	       j->nr_nears + JIT_MAX_SLOW > to.nears ||
	       (!j->free_page && j->nr_pages == j->mib * JIT_PAGES_A_MIB);
}

/* The regions are empty. */
static void reset(struct jit *j)
{
	unsigned r;

	j->generation++;
	for (r = 0; r < JIT_REGIONS; r++)
		j->ends[r] = jit_region_begin(j, r);
	continue_at(j, 0, j->ends[0]);
	j->nr_pages = j->free_page = j->nr_cross = 0;
	j->link_generation = 0;
	__builtin_memset(j->bhash, 0, sizeof(*j->bhash) << JIT_BHASH_BITS);
	__builtin_memset(j->phash, 0, sizeof(*j->phash) << JIT_PHASH_BITS);
	jit_forget_targets(j);
}

void jit_flush(struct jit *j)
{
	j->cpu->stats.jit_flushes++;
	j->flush_wanted = false;
	reset(j);
}

/* --- links from region to region ------------------------------------------------------ */

void jit_link_near(struct jit *j, uint32_t site, uint32_t code)
{
	unsigned from = jit_region_of(j, site), to = jit_region_of(j, code);
	struct jit_cross *x = &j->cross[j->nr_cross];
	uint32_t rel;

	if (from != to) {
		if (j->nr_cross == j->mib * JIT_CROSS_A_MIB)
			return;
		__builtin_memcpy(&rel, j->rw + site, 4);
		*x = (struct jit_cross){ .site = site, .before = site + 4 + rel,
					 .from = from, .to = to };
		j->nr_cross++;
	}
	emit_patch(j, site, code);
	j->cpu->stats.jit_links++;
}

/* No link leads into region @r any more. */
static void unlink_region(struct jit *j, unsigned r)
{
	uint32_t i, kept = 0;

	for (i = 0; i < j->nr_cross; i++) {
		struct jit_cross x = j->cross[i];

		if (x.to == r)
			emit_patch(j, x.site, x.before);
		else if (x.from != r)
			j->cross[kept++] = x;
	}
	j->nr_cross = kept;
}

/* What is not used all the time is not translated at once again. */
static void cool(struct jit *j, uint32_t from, uint32_t to)
{
	for (; from < to; from++)
		if (j->blocks[from].host)
			*jit_cold(j, j->blocks[from].host) = JIT_COOLED;
}

static void evict(struct jit *j, unsigned r)
{
	struct jit_marks begin = jit_region_begin(j, r), end = j->ends[r];

	cool(j, begin.blocks, end.blocks);
	j->ends[r] = begin;
	j->cpu->stats.jit_evictions += begin.blocks != end.blocks;
	unlink_region(j, r);
	jit_blocks_chain(j);
}

void jit_make_room(struct jit *j)
{
	unsigned n, r;

	j->generation++;
	for (n = 0; n < JIT_REGIONS && jit_full(j); n++) {
		r = (j->region + 1) % JIT_REGIONS;
		finish(j);
		evict(j, r);
		continue_at(j, r, j->ends[r]);
	}
	if (jit_full(j))
		jit_flush(j);
	else
		jit_forget_targets(j);
}

/* --- life ------------------------------------------------------------------------- */

int jit_after_fork(struct jit *j)
{
	if (likely(*j->here))
		return 0;
	unmap_code(j);
	if (map_code(j))
		return -ENOMEM;
	*j->here = 1;
	j->pos = 0;
	emit_stubs(j);
	reset(j);
	return 0;
}

static void destroy(struct jit *j)
{
	unmap_code(j);
	jit_check_destroy(j);
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
	j->head_jumps = cpu->cfg.jit_check ? 0 : JIT_HEAD_JUMPS;
	j->first_turns = cpu->cfg.jit_check ? 1 : JIT_FIRST_TURNS;
	j->mib = cpu->cfg.jit_cache ? cpu->cfg.jit_cache : JIT_CACHE_MIB;
	j->tables = anonymous(place_tables(j, NULL));
	j->here = anonymous(PAGE_SIZE);
	if (!j->tables || !j->here || map_code(j) ||
	    madvise(j->here, PAGE_SIZE, MADV_WIPEONFORK) || jit_check_create(j)) {
		destroy(j);
		return -ENOMEM;
	}
	*j->here = 1;
	place_tables(j, j->tables);
	if (cpu->cfg.jit_threshold)
		__builtin_memset(j->cold, cpu->cfg.jit_threshold, 1u << JIT_COLD_BITS);
	cpu->jit.jit = j;
	jit_slots_create(cpu);
	jit_helpers_init(cpu);
	reset(j);
	jit_faults_add(j);
	return 0;
}

void jit_destroy(struct hw_cpu *cpu)
{
	jit_faults_remove(cpu->jit.jit);
	destroy(cpu->jit.jit);
	cpu->jit.jit = NULL;
}
