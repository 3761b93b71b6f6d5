// SPDX-License-Identifier: MIT
/*
 * Work under interrupts at random points.
 *
 * Each function of torture.S is run once with interrupts off; then again and again
 * under a timer of random periods until enough interrupts have come in, and every
 * time it must end as it did at first: registers, flags, x87, SSE, AVX, memory.
 * The handlers do what handlers do, and worse: save, destroy and restore vector
 * state, take the FPU away (CR0.TS), unmap pages that are in use, flush TLBs,
 * let interrupts nest, send interrupts to the other processors. Every processor
 * does all of this at the same time, on memory of its own; processor 0 also at CPL 3.
 */
#include "lib/guest64.h"

#define NR_PROCESSORS	4	/* at most; one report each */

#define TIMER_VECTOR	0x50	/* + processor */
#define IPI_VECTOR	0x60
#define INTERRUPTS	1500	/* for each function */
#define TSC_LIMIT	20000000000ull	/* then what came must do */
#define PAGES		4	/* of each processor, at SCRATCH_VA */
#define BYTES		(2 * 4096 - 160)
#define NEST_MAX	3
#define NR_RIPS		256

struct state {
	uint64_t gpr[16];
	uint64_t flags;
	uint16_t fsw, fcw;
	uint32_t mxcsr;
	uint64_t rounds, unused;
	uint8_t x87[160];
	uint8_t vec[32][64];
	uint64_t masks[8];
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct state, vec) == 320, "torture.S");

void work_integer(struct state *s);
void work_string(struct state *s);
void work_x87(struct state *s);
void work_sse(struct state *s);
void work_avx(struct state *s);
void work_avx512(struct state *s);
void trash_vectors(void);
void trash_avx(void);

static struct processor {
	uint64_t seed;
	unsigned interrupts, faults, taken, nest, rips;
	uint64_t rip_seen[NR_RIPS];
	bool armed;
	struct state begin, want, got;
	uint8_t area[NEST_MAX + 1][4096] __attribute__((aligned(64)));
} processors[NR_PROCESSORS];

static unsigned nr_cpus;
static uint64_t xcr0;		/* 0: no XSAVE */

static uint64_t rnd(struct processor *p)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	p->seed ^= p->seed << 17;
	return p->seed * 0x2545f4914f6cdd1dull >> 16;
}

/* --- handlers ---------------------------------------------------------------------- */

static void next_timer(struct processor *p)
{
	unsigned shift = rnd(p) % 12;

	apic_write(APIC_TMICT, 100 + (rnd(p) & ((16u << shift) - 1)));
}

static void xsave(void *area)
{
	asm volatile("xsave64 (%0)" : : "r"(area), "a"((uint32_t)xcr0),
		     "d"((uint32_t)(xcr0 >> 32)) : "memory");
}

static void xrstor(const void *area)
{
	asm volatile("xrstor64 (%0)" : : "r"(area), "a"((uint32_t)xcr0),
		     "d"((uint32_t)(xcr0 >> 32)) : "memory");
}

/* As a kernel that uses vectors itself would. */
static void destroy_vectors(struct processor *p)
{
	uint8_t *area = p->area[p->nest];

	asm volatile("clts");
	if (xcr0 && (rnd(p) & 1)) {
		xsave(area);
		if (xcr0 & 4)
			trash_avx();
		else
			trash_vectors();
		xrstor(area);
		return;
	}
	asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
	trash_vectors();
	asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

static unsigned page_of(const struct processor *p)
{
	return (p - processors) * PAGES;
}

static void unmap_one(struct processor *p)
{
	unsigned n = page_of(p) + rnd(p) % PAGES;

	*scratch_entry(n, 1) &= ~(uint64_t)PTE_P;
	invlpg((void *)(SCRATCH_VA + n * 4096));
	p->taken++;
}

static void on_page_fault(struct regs *r)
{
	uint64_t off = read_cr2() - SCRATCH_VA;
	unsigned n = off >> 12;

	if (off >= SCRATCH_PAGES * 4096ul || (*scratch_entry(n, 1) & PTE_P))
		panic("#PF at %lx, cr2 %lx", r->rip, read_cr2());
	processors[n / PAGES].faults++;
	*scratch_entry(n, 1) |= PTE_P;
}

static void on_no_fpu(struct regs *r)
{
	asm volatile("clts");
}

static void let_nest(struct processor *p)
{
	if (p->nest == NEST_MAX)
		return;
	p->nest++;
	next_timer(p);
	sti();
	for (unsigned i = rnd(p) & 127; i; i--)
		pause();
	cli();
	p->nest--;
}

static void mischief(struct processor *p, const struct regs *r)
{
	switch (rnd(p) % 12) {
	case 0: case 1: destroy_vectors(p); break;
	case 2: write_cr0(read_cr0() | CR0_TS); break;
	case 3: case 4: unmap_one(p); break;
	case 5: flush_tlb(); break;
	case 6: invlpg((void *)r->rip); break;
	case 7: invlpg((void *)r->rsp); break;
	case 8: let_nest(p); break;
	case 9:
		if (nr_cpus > 1)
			apic_icr(rnd(p) % nr_cpus, IPI_VECTOR + (p - processors));
		break;
	}
}

static void note_rip(struct processor *p, uint64_t rip)
{
	uint64_t *slot = &p->rip_seen[rip % NR_RIPS];

	p->rips += *slot != rip && !*slot;
	*slot = rip;
}

static void on_timer(struct regs *r)
{
	struct processor *p = &processors[r->vector - TIMER_VECTOR];

	p->interrupts++;
	apic_eoi();
	note_rip(p, r->rip);
	mischief(p, r);
	if (p->armed)
		next_timer(p);
}

/* The sender's vector says nothing of who is here: it only costs state. */
static void on_ipi(struct regs *r)
{
	apic_eoi();
	flush_tlb();
}

/* --- running ------------------------------------------------------------------------ */

static void begin_state(struct processor *p)
{
	uint64_t *q = (uint64_t *)&p->begin;

	for (unsigned i = 0; i < sizeof(p->begin) / 8; i++)
		q[i] = rnd(p) << 16 ^ rnd(p);
	p->begin.flags = 2 | (p->begin.flags & 0x8d5);
	p->begin.rounds = 40;
	for (unsigned i = 0; i < 8; i++) {
		/* 1 <= x < 2 */
		p->begin.x87[16 * i + 7] |= 0x80;
		p->begin.x87[16 * i + 8] = 0xff;
		p->begin.x87[16 * i + 9] = 0x3f;
	}
}

/* Memory for work_string: two pages from, two pages to. */
static void begin_memory(struct processor *p)
{
	uint64_t base = SCRATCH_VA + page_of(p) * 4096, v = 1;

	p->begin.gpr[6] = base + 3;
	p->begin.gpr[7] = base + 2 * 4096 + 77;
	p->begin.gpr[1] = BYTES;
	for (unsigned i = 0; i < 2 * 4096; i += 8)
		*(uint64_t *)(base + i) = v = v * 6364136223846793005ull + 1;
}

struct job {
	void (*fn)(struct state *s);
	const char *name;
	struct processor *p;
	bool user, memory;
	volatile unsigned runs, wrong, last;
};

static uint64_t call_user(void *arg)
{
	struct job *j = arg;

	j->fn(&j->p->got);
	return 0;
}

static void run_once(struct job *j)
{
	struct processor *p = j->p;

	p->got = p->begin;
	p->got.flags |= read_flags() & FL_IF;
	if (j->user)
		run_user(call_user, j);
	else
		j->fn(&p->got);
	p->got.flags &= ~(uint64_t)FL_IF;
}

static void compare(struct job *j)
{
	const uint64_t *want = (const uint64_t *)&j->p->want;
	const uint64_t *got = (const uint64_t *)&j->p->got;

	for (unsigned i = 0; i < sizeof(struct state) / 8; i++) {
		if (want[i] == got[i])
			continue;
		j->wrong++;
		j->last = i;
		return;
	}
}

static void torture(void *arg)
{
	struct job *j = arg;
	struct processor *p = j->p;
	uint64_t end = rdtsc() + TSC_LIMIT;

	cli();
	if (j->memory)
		begin_memory(p);
	run_once(j);
	p->want = p->got;
	p->interrupts = 0;
	p->armed = true;
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, TIMER_VECTOR + (p - processors));
	next_timer(p);
	sti();
	while (p->interrupts < INTERRUPTS && rdtsc() < end) {
		run_once(j);
		j->runs++;
		compare(j);
	}
	cli();
	p->armed = false;
	apic_write(APIC_LVTT, BIT(16));
}

static void run_job(const struct job *like)
{
	static struct job jobs[NR_PROCESSORS];
	unsigned wrong = 0, least = ~0u, i;

	for (i = 0; i < nr_cpus; i++) {
		jobs[i] = *like;
		jobs[i].p = &processors[i];
		begin_state(&processors[i]);
	}
	for (i = 1; i < nr_cpus; i++)
		on_cpu_async(i, torture, &jobs[i]);
	torture(&jobs[0]);
	for (i = 1; i < nr_cpus; i++)
		wait_cpu(i);
	for (i = 0; i < nr_cpus; i++) {
		wrong += jobs[i].wrong;
		if (jobs[i].wrong)
			note("processor %u: quadword %u differs in %u of %u runs", i,
			     jobs[i].last, jobs[i].wrong, jobs[i].runs);
		if (processors[i].interrupts < least)
			least = processors[i].interrupts;
	}
	report_eq(wrong, 0, "%s%s: the same under interrupts", like->name,
		  like->user ? " at CPL 3" : "");
	report(least >= INTERRUPTS / 10, "%s%s: interrupts came in", like->name,
	       like->user ? " at CPL 3" : "");
}

static void run_both(void (*fn)(struct state *s), const char *name, bool has)
{
	unsigned cpus = nr_cpus;

	if (!has) {
		for (unsigned i = 0; i < 4; i++)
			report_skip("%s", name);
		return;
	}
	struct job j = { .fn = fn, .name = name, .memory = fn == work_string };

	run_job(&j);
	/* Only the first processor has a TSS. */
	j.user = true;
	nr_cpus = 1;
	run_job(&j);
	nr_cpus = cpus;
}

/* --- set-up ----------------------------------------------------------------------- */

static void enable_xsave(void *arg)
{
	uint64_t all = cpuid(0xd, 0).a & 0xe7;

	write_cr4(read_cr4() | CR4_OSXSAVE);
	asm volatile("xsetbv" : : "c"(0), "a"((uint32_t)all), "d"(0));
	xcr0 = all;
}

static void set_up(void)
{
	nr_cpus = cpuid(1, 0).b >> 16 & 0xff;
	report(smp_start(nr_cpus - 1), "every processor starts");
	set_handler(PF, on_page_fault);
	set_handler(NM, on_no_fpu);
	for (unsigned i = 0; i < nr_cpus; i++) {
		processors[i].seed = 0x1234567 * (i + 1);
		set_handler(TIMER_VECTOR + i, on_timer);
		set_handler(IPI_VECTOR + i, on_ipi);
		if (i)
			on_cpu(i, (void (*)(void *))apic_enable, NULL);
	}
	for (unsigned n = 0; n < SCRATCH_PAGES; n++)
		scratch_map(n, PTE_P | PTE_W | PTE_U);
	if (!has_c1(26))
		return;
	for (unsigned i = 1; i < nr_cpus; i++)
		on_cpu(i, enable_xsave, NULL);
	enable_xsave(NULL);
}

/* An access to each page that has gone away faults, once. */
static bool each_comes_back(struct processor *p)
{
	unsigned n, faults;

	asm volatile("cli");
	for (n = page_of(p); n < page_of(p) + PAGES; n++) {
		volatile uint8_t *page = (volatile uint8_t *)(SCRATCH_VA + n * 4096ul);

		page[0] = n;
		faults = p->faults;
		*scratch_entry(n, 1) &= ~(uint64_t)PTE_P;
		invlpg((void *)page);
		if (page[0] != (uint8_t)n || p->faults != faults + 1)
			return false;
	}
	return true;
}

int main(void)
{
	unsigned faults = 0, taken = 0;

	set_up();
	run_both(work_integer, "integer", true);
	run_both(work_string, "strings", true);
	run_both(work_x87, "x87", true);
	run_both(work_sse, "SSE", true);
	run_both(work_avx, "AVX2", (xcr0 & 4) && has_b7(5));
	run_both(work_avx512, "AVX-512", (xcr0 & 0xe0) && has_b7(16));
	for (unsigned i = 0; i < nr_cpus; i++) {
		faults += processors[i].faults;
		taken += processors[i].taken;
		/* Translated code takes them where it looks, a few places of each function. */
		report(processors[i].rips > 10,
		       "processor %u was interrupted in many places", i);
	}
	for (unsigned i = nr_cpus; i < NR_PROCESSORS; i++)
		report_skip("processor %u", i);
	/* How many are used before the next interrupt is the host's. */
	report(faults && faults <= taken && each_comes_back(&processors[0]),
	       "pages that went away came back");
	return 0;
}
