// SPDX-License-Identifier: MIT
/*
 * Two processors: start, IPIs, shared memory and atomics, TLB shootdown by IPI, code
 * that the other one changes, kvmclock and TSC on both.
 */
#include "lib/guest64.h"

#define V1	0x41
#define ROUNDS	2000

static volatile uint32_t cell;

static void store_id(void *p) { *(volatile uint32_t *)p = apic_read(APIC_ID) >> 24; }

static void wait_one(void *p)
{
	unsigned n = irq_count[V1];

	cell = 1;
	wait_interrupts(V1, n + 1);
}

static void halt_once(void *p)
{
	cell = 1;
	sti_hlt();
	cli();
	cell = 2;
}

static void wait_cell(uint32_t v)
{
	uint64_t end = rdtsc() + 20000000000ull;

	while (cell != v && rdtsc() < end)
		pause();
}

static void test_ipi(void)
{
	static const struct { const char *name; uint32_t dest, lo; } ipis[] = {
		{ "physical", 1, 0 }, { "logical", 2, 0x800 },
		{ "all but self", 0, 0xc0000 }, { "lowest priority", 2, 0x900 },
	};
	volatile uint32_t id = 99;

	on_cpu(1, store_id, (void *)&id);
	report_eq(id, 1, "the second processor has APIC id 1");
	count_interrupts(V1);
	on_cpu(1, (void (*)(void *))apic_enable, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(ipis); i++) {
		unsigned n = irq_count[V1];

		cell = 0;
		on_cpu_async(1, wait_one, NULL);
		wait_cell(1);
		apic_icr(ipis[i].dest, ipis[i].lo | V1);
		wait_cpu(1);
		report_eq(irq_count[V1] - n, 1, "IPI: %s", ipis[i].name);
	}
	cell = 0;
	on_cpu_async(1, halt_once, NULL);
	wait_cell(1);
	for (int i = 0; i < 10000; i++)
		pause();
	report_eq(cell, 1, "HLT halts");
	apic_icr(1, V1);
	wait_cell(2);
	report_eq(cell, 2, "an IPI wakes it");
	wait_cpu(1);
}

static void set_ldr(void *p) { apic_write(APIC_LDR, 0x02000000); }

/* --- atomics ------------------------------------------------------------------------------- */

static volatile uint64_t counter[16] __attribute__((aligned(64)));

static void add_locked(void *p)
{
	for (int i = 0; i < ROUNDS * 10; i++)
		asm volatile("lock incq %0" : "+m"(*(volatile uint64_t *)p) : : "cc");
}

static void add_cmpxchg(void *p)
{
	volatile uint64_t *c = p;

	for (int i = 0; i < ROUNDS * 10; i++) {
		uint64_t old = *c;

		while (!__atomic_compare_exchange_n(c, &old, old + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
	}
}

static void add_spin(void *p)
{
	static volatile uint32_t lock;

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t v = 1;

		for (;;) {
			asm volatile("xchg %0, %1" : "+r"(v), "+m"(lock) : : "memory");
			if (!v)
				break;
			pause();
		}
		*(volatile uint64_t *)p += 1;
		barrier();
		lock = 0;
	}
}

static void both(void (*fn)(void *), volatile void *arg)
{
	on_cpu_async(1, fn, (void *)arg);
	fn((void *)arg);
	wait_cpu(1);
}

static void test_atomics(void)
{
	both(add_locked, &counter[0]);
	report_eq(counter[0], ROUNDS * 20, "LOCK INC on both");
	counter[0] = 0;
	both(add_cmpxchg, &counter[0]);
	report_eq(counter[0], ROUNDS * 20, "LOCK CMPXCHG on both");
	counter[0] = 0;
	both(add_spin, &counter[0]);
	report_eq(counter[0], ROUNDS * 2, "a spin lock by XCHG");
	both(add_locked, (char *)counter + 60);
	report_eq(*(uint64_t *)((char *)counter + 60), ROUNDS * 20,
		  "LOCK INC across a cache line");
}

/* --- code that another processor changes ----------------------------------------------------- */

/* MOV $imm32, %eax; RET, aligned so that the immediate is written at once. */
static uint8_t code[16] __attribute__((aligned(16))) = {
	0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3 };
static volatile uint32_t asked, answered;

static void run_code(void *p)
{
	uint32_t (*volatile fn)(void) = (uint32_t (*)(void))(ulong)code;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		while (asked != i)
			pause();
		asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
		answered = fn();
	}
}

static void test_cross_modify(void)
{
	uint32_t wrong = 0;

	on_cpu_async(1, run_code, NULL);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		*(volatile uint32_t *)(code + 4) = i;
		asked = i;
		for (;;) {
			uint32_t v = answered;

			if (v == i)
				break;
			wrong += v != i - 1;
			pause();
		}
	}
	wait_cpu(1);
	report_eq(wrong, 0, "code changed by the other processor");
}

/* Without any protocol: each run sees one of the two values. */
static volatile bool stop;

static void flip_code(void *p)
{
	while (!stop) {
		*(volatile uint32_t *)(code + 4) = 0x11111111;
		*(volatile uint32_t *)(code + 4) = 0x22222222;
	}
}

static void test_cross_modify_racing(void)
{
	uint32_t (*volatile fn)(void) = (uint32_t (*)(void))(ulong)code;
	unsigned bad = 0;

	*(volatile uint32_t *)(code + 4) = 0x11111111;
	on_cpu_async(1, flip_code, NULL);
	for (int i = 0; i < ROUNDS * 20; i++) {
		uint32_t v = fn();

		bad += v != 0x11111111 && v != 0x22222222;
	}
	stop = true;
	wait_cpu(1);
	report_eq(bad, 0, "an immediate that changes under it is old or new");
}

/* --- TLB shootdown ------------------------------------------------------------------------------ */

static volatile uint32_t seen[2];

static void read_scratch(void *p) { seen[0] = *(volatile uint32_t *)SCRATCH_VA; }
static void flush_and_read(void *p)
{
	invlpg((void *)SCRATCH_VA);
	seen[1] = *(volatile uint32_t *)SCRATCH_VA;
}

static void test_shootdown(void)
{
	*(volatile uint32_t *)scratch_frame(0) = 10;
	*(volatile uint32_t *)scratch_frame(1) = 20;
	scratch_map(0, PTE_P | PTE_W);
	on_cpu(1, read_scratch, NULL);
	*scratch_entry(0, 1) = scratch_frame(1) | PTE_P;
	on_cpu(1, flush_and_read, NULL);
	report(seen[0] == 10 && seen[1] == 20, "a mapping changed for both");
}

/* --- clocks -------------------------------------------------------------------------------------- */

static volatile uint64_t last_tsc;
static volatile uint32_t turn, backwards;

/* The two take turns; each must see a TSC not before the other's last. */
static void tsc_turns(void *p)
{
	uint32_t me = (ulong)p;

	for (int i = 0; i < ROUNDS; i++) {
		while (turn != me)
			pause();
		uint64_t t = rdtsc();

		if (t < last_tsc)
			backwards++;
		last_tsc = t;
		turn = !me;
	}
}

static void test_tsc(void)
{
	on_cpu_async(1, tsc_turns, (void *)1);
	tsc_turns((void *)0);
	wait_cpu(1);
	report_eq(backwards, 0, "the TSC is one for both");
}

/* --- INIT again ------------------------------------------------------------------------------------ */

static void spin_forever(void *p)
{
	cell = 1;
	for (;;)
		pause();
}

static void test_init(void)
{
	extern volatile uint32_t nr_started;
	uint64_t end;

	cell = 0;
	on_cpu_async(1, spin_forever, NULL);
	wait_cell(1);
	report_eq(cell, 1, "the second processor is busy");
	nr_started = 1;
	apic_icr(1, 0x4500);
	apic_icr(1, 0x4600 | 8);
	end = rdtsc() + 20000000000ull;
	while (nr_started == 1 && rdtsc() < end)
		pause();
	report_eq(nr_started, 2, "INIT and SIPI start it anew");
}

int main(void)
{
	report(smp_start(1), "INIT and SIPI start the second processor");
	apic_write(APIC_LDR, 0x01000000);
	on_cpu(1, set_ldr, NULL);
	test_ipi();
	test_atomics();
	test_cross_modify();
	test_cross_modify_racing();
	test_shootdown();
	test_tsc();
	test_init();
	return 0;
}
