/* SPDX-License-Identifier: MIT */
/*
 * Code pages: which host memory holds code that some processor has translated, so
 * that a write to it reaches every translation. One registry for the process.
 *
 * Writes are seen because the TLB gives no write permission for a code page
 * (tlb.c): each write then takes the slow path of ops.c, which calls
 * hw_code_written() after the bytes have changed. A registered page knows which
 * of its 64-byte lines were translated; a write beside them changes nothing.
 *
 * Processors tell each other by a log. Each has seen it up to code_seq and reads on
 * when HW_REQ_CODE is set, before it runs guest code, and when it stops:
 *
 *   NEW page	somebody is about to translate code of it. Others take back their
 *		write permissions; one that had any, and ran, may have written
 *		since the translation was made: it answers with DIRTY.
 *   DIRTY page	it has been written: its translations go.
 *
 * So a stale translation lives until its owner's next look at requests, and never
 * longer: x86 asks no more of code that another processor modifies. The pages are
 * not reference counted; a page stays registered until it is written.
 *
 * Lookups take no lock: entries are never emptied. A page that is written again
 * and again is refused for a while, and interpreted.
 */
#include "hw/core.h"

#define REG_BITS	16
#define REG_SIZE	(1u << REG_BITS)
#define REG_PROBES	64		/* then the page is refused */
#define LOG_SIZE	256
#define HOT_WRITES	32
#define HOT_TSC		(1ull << 27)	/* tens of milliseconds */

struct code_page {
	hva_t page;		/* 0: never used */
	uint64_t lines;		/* 0: no code now; the entry can be reused */
	uint64_t hot_until;	/* TSC */
	uint32_t writes;
};

enum news_kind { NEWS_NEW, NEWS_DIRTY };

struct news {
	hva_t page;		/* 0: all pages */
	enum news_kind kind;
	const struct hw_cpu *from;
};

static struct code_page registry[REG_SIZE];
static struct news log[LOG_SIZE];
static uint64_t log_seq;		/* of the next entry */
static struct hw_cpu *cpus;
static uint32_t locked;

static void lock(void)
{
	while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
}

static void unlock(void)
{
	__atomic_store_n(&locked, 0, __ATOMIC_RELEASE);
}

static unsigned slot_of(hva_t page)
{
	return (page >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - REG_BITS);
}

static struct code_page *find(hva_t page)
{
	unsigned i = slot_of(page), n;

	for (n = 0; n < REG_PROBES; n++) {
		struct code_page *p = &registry[(i + n) % REG_SIZE];
		hva_t is = __atomic_load_n(&p->page, __ATOMIC_ACQUIRE);

		if (is == page)
			return p;
		if (!is)
			return NULL;
	}
	return NULL;
}

/* Lock held. NULL: no room. */
static struct code_page *make(hva_t page)
{
	unsigned i = slot_of(page), n;

	for (n = 0; n < REG_PROBES; n++) {
		struct code_page *p = &registry[(i + n) % REG_SIZE];

		if (p->lines)
			continue;
		p->writes = 0;
		WRITE_ONCE(p->hot_until, 0);
		__atomic_store_n(&p->page, page, __ATOMIC_RELEASE);
		return p;
	}
	return NULL;
}

/* Lock held. NULL: no room. */
static struct code_page *find_or_make(hva_t page)
{
	struct code_page *p = find(page);

	return p ? p : make(page);
}

/* Lock held. */
static void tell(struct hw_cpu *from, hva_t page, enum news_kind kind)
{
	struct hw_cpu *cpu;

	log[log_seq % LOG_SIZE] = (struct news){ page, kind, from };
	__atomic_store_n(&log_seq, log_seq + 1, __ATOMIC_RELEASE);
	for (cpu = cpus; cpu; cpu = cpu->code_next)
		if (cpu != from)
			hw_set_request(cpu, HW_REQ_CODE);
}

void hw_code_attach(struct hw_cpu *cpu)
{
	lock();
	cpu->code_seq = log_seq;
	cpu->code_next = cpus;
	cpus = cpu;
	unlock();
}

void hw_code_detach(struct hw_cpu *cpu)
{
	struct hw_cpu **p = &cpus;

	lock();
	while (*p != cpu)
		p = &(*p)->code_next;
	*p = cpu->code_next;
	unlock();
}

bool hw_code_is(hva_t at)
{
	const struct code_page *p;

	if (likely(!READ_ONCE(cpus)))
		return false;
	p = find(at & PAGE_MASK);
	return p && READ_ONCE(p->lines);
}

bool hw_code_is_hot(hva_t at)
{
	const struct code_page *p = find(at & PAGE_MASK);
	uint64_t until = p ? READ_ONCE(p->hot_until) : 0;

	return until && hw_host_tsc() <= until;
}

bool hw_code_add(struct hw_cpu *cpu, hva_t page, uint64_t lines)
{
	struct code_page *p;
	bool ok = false, is_new = false;

	lock();
	p = find_or_make(page);
	if (p && (!p->hot_until || hw_host_tsc() > p->hot_until)) {
		if (p->hot_until)
			p->writes = 0;
		WRITE_ONCE(p->hot_until, 0);
		is_new = !p->lines;
		__atomic_store_n(&p->lines, p->lines | lines,
				 __ATOMIC_SEQ_CST);
		if (is_new)
			tell(cpu, page, NEWS_NEW);
		ok = true;
	}
	unlock();
	if (is_new)
		hw_tlb_protect(cpu, page);
	return ok;
}

/* Lock held: @p is not code any more. */
static void dirty(struct hw_cpu *cpu, struct code_page *p)
{
	__atomic_store_n(&p->lines, 0, __ATOMIC_SEQ_CST);
	if (++p->writes >= HOT_WRITES)
		WRITE_ONCE(p->hot_until, hw_host_tsc() + HOT_TSC);
	tell(cpu, p->page, NEWS_DIRTY);
}

void hw_code_written(struct hw_cpu *cpu, hva_t at, unsigned len)
{
	struct code_page *p;
	bool mine = false;

	if (likely(!READ_ONCE(cpus)))
		return;
	/* The bytes before the look: who registers the page reads them after. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (likely(!hw_code_is(at)))
		return;
	lock();
	p = find(at & PAGE_MASK);
	if (p && (p->lines & hw_code_lines(at, len))) {
		dirty(cpu, p);
		mine = true;
	}
	unlock();
	if (mine && cpu && cpu->jit_ops) {
		cpu->jit_ops->drop(cpu, at & PAGE_MASK);
		/* Translated code that runs now may be of the page. */
		hw_set_request(cpu, HW_REQ_EVENT);
	}
}

void hw_memory_written(hva_t at, unsigned len)
{
	hw_code_written(NULL, at, len);
}

/* This processor had write permission for @page (0: for some). */
static void may_have_written(struct hw_cpu *cpu, hva_t page)
{
	struct code_page *p;

	lock();
	p = page ? find(page) : NULL;
	if (p)
		dirty(cpu, p);
	else
		tell(cpu, page, NEWS_DIRTY);
	unlock();
	cpu->jit_ops->drop(cpu, page);
}

static void take(struct hw_cpu *cpu, const struct news *n, bool ran)
{
	if (n->from == cpu)
		return;
	if (n->kind == NEWS_DIRTY)
		cpu->jit_ops->drop(cpu, n->page);
	else if (hw_tlb_protect(cpu, n->page) && ran)
		may_have_written(cpu, n->page);
}

void hw_code_sync(struct hw_cpu *cpu, bool ran)
{
	uint64_t seq;
	struct news n;

	if (likely(__atomic_load_n(&log_seq, __ATOMIC_ACQUIRE) == cpu->code_seq &&
		   !(READ_ONCE(cpu->request) & HW_REQ_CODE)))
		return;
	__atomic_and_fetch(&cpu->request, ~HW_REQ_CODE, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&log_seq, __ATOMIC_ACQUIRE) != cpu->code_seq) {
		lock();
		seq = log_seq;
		if (seq - cpu->code_seq > LOG_SIZE) {
			cpu->code_seq = seq;
			unlock();
			/* Too much has happened: nothing is sure any more. */
			cpu->jit_ops->drop(cpu, 0);
			if (hw_tlb_protect(cpu, 0) && ran)
				may_have_written(cpu, 0);
			continue;
		}
		n = log[cpu->code_seq++ % LOG_SIZE];
		unlock();
		take(cpu, &n, ran);
	}
}
