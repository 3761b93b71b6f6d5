// SPDX-License-Identifier: MIT
/*
 * Eight processors: INIT and SIPI, interrupts between processors in every delivery mode,
 * destination mode and shorthand, in xAPIC and x2APIC mode; what a SIPI does to one that
 * runs; XMM and YMM state, page mappings and atomics of all. SDM Vol. 3A, "Issuing
 * Interprocessor Interrupts", "Determining IPI Destination".
 *
 * The others halt until an interrupt comes; each counts what it gets.
 */
#include "lib/guest64.h"

#define N	8
#define VEC	0x61

static volatile unsigned got[N], nmis[N], serving;
static volatile bool quit;
static void (*volatile job)(unsigned cpu);
static volatile unsigned job_nr, job_done;

static bool x2apic(void) { return rdmsr(MSR_APIC_BASE) & BIT(10); }

static unsigned cpu_id(void)
{
	uint32_t id = apic_read(APIC_ID);

	return x2apic() ? id : id >> 24;
}

static void on_vec(struct regs *r)
{
	__atomic_add_fetch(&got[cpu_id()], 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void on_nmi(struct regs *r)
{
	__atomic_add_fetch(&nmis[cpu_id()], 1, __ATOMIC_SEQ_CST);
}

/* An interrupt that only wakes, so that a job is looked for. */
static void on_wake(struct regs *r) { apic_eoi(); }
#define WAKE	0x62

static void serve(void *p)
{
	unsigned id, seen = job_nr;

	if (p)
		apic_x2apic();
	else
		apic_enable();
	id = cpu_id();
	if (!p)
		apic_write(APIC_LDR, 1u << (24 + id));
	__atomic_add_fetch(&serving, 1, __ATOMIC_SEQ_CST);
	while (!quit) {
		sti_hlt();
		cli();
		if (seen != job_nr) {
			seen = job_nr;
			job(id);
			__atomic_add_fetch(&job_done, 1, __ATOMIC_SEQ_CST);
		}
	}
}

static bool wait_for(volatile unsigned *v, unsigned n)
{
	uint64_t end = rdtsc() + 40000000000ull;

	sti();
	while (*v < n && rdtsc() < end)
		pause();
	cli();
	return *v >= n;
}

static void serve_all(bool x2)
{
	serving = 0;
	quit = false;
	for (unsigned i = 1; i < N; i++)
		on_cpu_async(i, serve, (void *)(ulong)x2);
	if (x2)
		apic_x2apic();
	else
		apic_write(APIC_LDR, 1u << 24);
	wait_for(&serving, N - 1);
}

static void serve_end(void)
{
	quit = true;
	apic_icr(0, 0xc0000 | WAKE);	/* all but self */
	for (unsigned i = 1; i < N; i++)
		wait_cpu(i);
}

/* --- who gets it ----------------------------------------------------------------------------- */

static void clear(void)
{
	for (unsigned i = 0; i < N; i++)
		got[i] = nmis[i] = 0;
}

static unsigned total(volatile unsigned *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N; i++)
		n += v[i];
	return n;
}

/* Waits until @n have come, and a while for more. */
static void settle(volatile unsigned *v, unsigned n)
{
	uint64_t end = rdtsc() + 20000000000ull;

	sti();
	while (total(v) < n && rdtsc() < end)
		pause();
	end = rdtsc() + 2000000;
	while (rdtsc() < end)
		pause();
	cli();
}

static bool exactly(volatile unsigned *v, unsigned mask)
{
	for (unsigned i = 0; i < N; i++)
		if (v[i] != (mask >> i & 1))
			return false;
	return true;
}

static unsigned weight(unsigned mask)
{
	unsigned n = 0;

	for (; mask; mask >>= 1)
		n += mask & 1;
	return n;
}

static void send(const char *cond, uint32_t dest, uint32_t lo, unsigned mask)
{
	clear();
	apic_icr(dest, lo | VEC);
	settle(got, weight(mask));
	if (!exactly(got, mask))
		note("got %u %u %u %u %u %u %u %u", got[0], got[1], got[2], got[3], got[4], got[5],
		     got[6], got[7]);
	report(exactly(got, mask), "64-bit: IPI: %s: holds", cond);
}

#define LOGICAL		0x800
#define NMI_MODE	0x400
#define LOWEST		0x100
#define TO_SELF		0x40000
#define TO_ALL		0x80000
#define TO_OTHERS	0xc0000

static void test_physical(const char *mode, uint32_t everyone)
{
	char name[40];

	for (unsigned i = 0; i < N; i++) {
		char *p = name;

		for (const char *s = mode; *s; s++)
			*p++ = *s;
		for (const char *s = ", physical, to "; *s; s++)
			*p++ = *s;
		*p++ = '0' + i;
		*p = 0;
		send(name, i, 0, 1u << i);
	}
	if (everyone == 0xff) {
		send("xAPIC, physical, everyone", everyone, 0, 0xff);
		send("xAPIC, physical, an id that nobody has", 0x23, 0, 0);
		send("xAPIC, to self", 0, TO_SELF, 1);
		send("xAPIC, to all", 0, TO_ALL, 0xff);
		send("xAPIC, to all others", 0, TO_OTHERS, 0xfe);
	} else {
		send("x2APIC, physical, everyone", everyone, 0, 0xff);
		send("x2APIC, physical, an id that nobody has", 0x123, 0, 0);
		send("x2APIC, to self", 0, TO_SELF, 1);
		send("x2APIC, to all", 0, TO_ALL, 0xff);
		send("x2APIC, to all others", 0, TO_OTHERS, 0xfe);
	}
}

static void test_lowest(const char *name, uint32_t dest)
{
	bool one = true;

	for (unsigned i = 0; i < 2 * N; i++) {
		clear();
		apic_icr(dest, LOGICAL | LOWEST | VEC);
		settle(got, 1);
		one &= total(got) == 1;
	}
	report(one, "64-bit: IPI: %s, lowest priority: one of all each time: holds", name);
}

static void test_nmi(const char *name, uint32_t dest, uint32_t lo, unsigned mask)
{
	clear();
	apic_icr(dest, lo | NMI_MODE);
	settle(nmis, weight(mask));
	report(exactly(nmis, mask) && !total(got), "64-bit: IPI: %s: holds", name);
}

static void test_errors(void)
{
	apic_write(APIC_ESR, 0);
	apic_icr(1, 5);
	apic_write(APIC_ESR, 0);
	report(apic_read(APIC_ESR) & BIT(5), "64-bit: IPI: a vector below 16: send illegal vector: holds");
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	clear();
	apic_icr(3, 0x300 | VEC);
	settle(got, 0);
	report(!total(got), "64-bit: IPI: a reserved delivery mode: holds");
}

/* --- jobs of all --------------------------------------------------------------------------------- */

static void run_job(void (*fn)(unsigned))
{
	job_done = 0;
	job = fn;
	barrier();
	job_nr++;
	apic_icr(0, TO_OTHERS | WAKE);
	fn(0);
	wait_for(&job_done, N - 1);
}

static volatile uint64_t counter;

static void add_locked(unsigned cpu)
{
	for (unsigned i = 0; i < 500; i++)
		asm volatile("lock incq %0" : "+m"(counter) : : "memory", "cc");
}

static volatile unsigned vector_ok;

/* A value of its own in XMM0 to XMM15, halts of others in between. */
static void keep_xmm(unsigned cpu)
{
	uint64_t v = 0x1111111111111111ull * (cpu + 1), a = 0, b = 0;

	asm volatile("movq %0, %%xmm0; punpcklqdq %%xmm0, %%xmm0; movaps %%xmm0, %%xmm15"
		     : : "r"(v));
	for (unsigned i = 0; i < 200; i++)
		pause();
	apic_icr(0, TO_SELF | WAKE);
	sti_nop();
	cli();
	asm volatile("movq %%xmm0, %0; movhlps %%xmm15, %%xmm1; movq %%xmm1, %1"
		     : "=r"(a), "=r"(b));
	if (a == v && b == v)
		__atomic_add_fetch(&vector_ok, 1, __ATOMIC_SEQ_CST);
}

static void read_page(unsigned cpu)
{
	invlpg((void *)SCRATCH_VA);
	if (*(volatile uint32_t *)SCRATCH_VA == 0x5678)
		__atomic_add_fetch(&vector_ok, 1, __ATOMIC_SEQ_CST);
}

static void test_jobs(void)
{
	const uint64_t flags = PTE_P | PTE_W | PTE_U;

	counter = 0;
	run_job(add_locked);
	report_eq(counter, 500 * N, "64-bit: LOCK INC: on eight processors: holds");
	vector_ok = 0;
	run_job(keep_xmm);
	report_eq(vector_ok, N, "64-bit: XMM: each processor has its own: holds");
	scratch_map(0, flags);
	*(volatile uint32_t *)scratch_frame(0) = 0x1234;
	*(volatile uint32_t *)scratch_frame(1) = 0x5678;
	*scratch_entry(0, 1) = scratch_frame(1) | flags;
	vector_ok = 0;
	run_job(read_page);
	report_eq(vector_ok, N, "64-bit: INVLPG: a mapping changed for eight processors: holds");
}

/* --- INIT, SIPI ------------------------------------------------------------------------------------ */

static void test_init(void)
{
	extern volatile uint32_t nr_started;
	volatile unsigned *started = &nr_started;

	/* One that runs takes no SIPI. */
	clear();
	apic_icr(5, 0x4600 | 8);
	settle(got, 0);
	report_eq(*started, N, "64-bit: IPI: SIPI without INIT: ignored: holds");
	nr_started = 4;		/* it becomes number 4 again, on that stack */
	apic_icr(4, 0x4500);
	apic_icr(4, 0x4600 | 8);
	wait_for(started, 5);
	report_eq(*started, 5, "64-bit: IPI: INIT and SIPI: one starts anew: holds");
	send("to the other six after it", 0xee, LOGICAL, 0xee);
}

int main(void)
{
	set_handler(VEC, on_vec);
	set_handler(WAKE, on_wake);
	set_handler(NMI, on_nmi);
	report(smp_start(N - 1), "64-bit: IPI: INIT and SIPI start seven: holds");
	serve_all(false);
	test_physical("xAPIC", 0xff);
	send("xAPIC, flat, one", 0x20, LOGICAL, 0x20);
	send("xAPIC, flat, every other", 0xaa, LOGICAL, 0xaa);
	send("xAPIC, flat, all", 0xff, LOGICAL, 0xff);
	test_lowest("xAPIC", 0xff);
	test_nmi("xAPIC, NMI to one", 6, 0, 0x40);
	test_nmi("xAPIC, NMI to all others", 0, TO_OTHERS, 0xfe);
	test_errors();
	test_jobs();
	test_init();
	serve_end();
	serve_all(true);
	test_physical("x2APIC", 0xffffffff);
	send("x2APIC, cluster 0, one", 0x80, LOGICAL, 0x80);
	send("x2APIC, cluster 0, some", 0x35, LOGICAL, 0x35);
	send("x2APIC, cluster 1: nobody", 0x10001, LOGICAL, 0);
	test_lowest("x2APIC", 0xff);
	test_nmi("x2APIC, NMI to one", 3, 0, 8);
	serve_end();
	return 0;
}
