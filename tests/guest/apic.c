// SPDX-License-Identifier: MIT
/*
 * One processor's interrupts: local APIC registers, IPIs to itself, priorities,
 * timers in all modes, HLT, NMI and its blocking, STI and MOV SS shadows, I/O APIC
 * and 8259 fed by the PIT and by GSIs, x2APIC mode last, as there is no way back
 * but through off.
 */
#include "lib/guest64.h"

#define V1	0x41
#define V2	0x62
#define VT	0x83

static volatile unsigned order[8], nr_order;

static void note_order(struct regs *r)
{
	order[nr_order++ & 7] = r->vector;
	apic_eoi();
}

static void self_ipi(unsigned vector)
{
	apic_icr(0, 0x40000 | vector);
}

static void test_registers(void)
{
	ulong cr8;

	report_eq(rdmsr(MSR_APIC_BASE), 0xfee00900, "APIC base of the boot processor");
	report_eq(apic_read(APIC_ID) >> 24, 0, "APIC id");
	report_eq(apic_read(APIC_LVR) & 0xf0, 0x10, "version of an integrated APIC");
	report_eq(apic_read(APIC_SPIV), 0xff, "SPIV after reset");
	/* KVM starts the boot processor with the 8259 wired through. */
	report_eq(apic_read(APIC_LVT0), 0x700, "LVT0 after reset is ExtINT");
	apic_write(APIC_LVT0, 0x700);
	report_eq(apic_read(APIC_LVT0), 0x10700, "LVTs are masked while disabled");
	apic_enable();
	apic_write(APIC_TPR, 0x50);
	report_eq(apic_read(APIC_TPR), 0x50, "TPR");
	report_eq(apic_read(APIC_PPR), 0x50, "PPR follows TPR");
	asm volatile("mov %%cr8, %0" : "=r"(cr8));
	report_eq(cr8, 5, "CR8 is TPR's upper half");
	asm volatile("mov %0, %%cr8" : : "r"(0xaul));
	report_eq(apic_read(APIC_TPR), 0xa0, "and writes it");
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
	apic_write(APIC_ESR, 0);
	apic_icr(0, 0x40000 | 5);
	apic_write(APIC_ESR, 0);
	report(apic_read(APIC_ESR) & 0x60, "an IPI of vector 5 is an error");
	apic_write(APIC_ESR, 0);
	apic_write(APIC_ESR, 0);
	report_eq(apic_read(APIC_ESR), 0, "ESR clears");
	apic_write(APIC_LDR, 0x01000000);
	report_eq(apic_read(APIC_LDR), 0x01000000, "LDR");
}

static void test_self_ipi(void)
{
	count_interrupts(V1);
	self_ipi(V1);
	report(apic_bit(APIC_IRR, V1), "with IF 0 an IPI waits in IRR");
	report_eq(irq_count[V1], 0, "... undelivered");
	sti_nop();
	cli();
	report_eq(irq_count[V1], 1, "it is delivered with IF 1");
	report(!apic_bit(APIC_IRR, V1) && !apic_bit(APIC_ISR, V1), "EOI ends it");
	self_ipi(V1);
	self_ipi(V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 2, "IRR holds one of a vector");
	apic_icr(0, 0x00000 | V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 3, "physical destination");
	apic_icr(1, 0x00800 | V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 4, "logical destination");
	apic_icr(2, 0x00800 | V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 4, "another logical destination");
	apic_icr(0xff, V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 5, "broadcast");
	apic_icr(0, 0xc0000 | V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 5, "all but self");
}

static void test_priority(void)
{
	set_handler(V1, note_order);
	set_handler(V2, note_order);
	nr_order = 0;
	self_ipi(V1);
	self_ipi(V2);
	sti_nop();
	cli();
	report(nr_order == 2 && order[0] == V2 && order[1] == V1,
	       "the higher vector comes first");
	nr_order = 0;
	asm volatile("mov %0, %%cr8" : : "r"(4ul));
	self_ipi(V1);
	self_ipi(V2);
	sti_nop();
	report(nr_order == 1 && order[0] == V2, "TPR holds its class back");
	asm volatile("mov %0, %%cr8; nop" : : "r"(3ul));
	cli();
	report(nr_order == 2 && order[1] == V1, "a lower CR8 lets it through");
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
}

/* --- shadows ---------------------------------------------------------------------------- */

static volatile ulong seen_rip;

static void note_rip(struct regs *r)
{
	seen_rip = r->rip;
	apic_eoi();
}

static void test_shadows(void)
{
	ulong at;

	set_handler(V1, note_rip);
	self_ipi(V1);
	asm volatile("lea 1f(%%rip), %0; sti; nop; 1: nop; cli" : "=r"(at) : : "memory");
	report_eq(seen_rip, at, "an interrupt waits for the instruction after STI");
	self_ipi(V1);
	seen_rip = 0;
	asm volatile("sti; cli; nop" : : : "memory");
	report_eq(seen_rip, 0, "STI; CLI lets nothing in");
	asm volatile("lea 1f(%%rip), %0; sti; mov %%ss, %%ecx; mov %%ecx, %%ss; nop; "
		     "1: nop; cli" : "=r"(at) : : "rcx", "memory");
	report(seen_rip && seen_rip <= at, "MOV SS does not lose it");
	set_handler(UD, NULL);
	TRY("mov %%ss, %%eax; mov %%eax, %%ss; ud2", : : : "rax");
	report_exc(UD, 0, "an exception is not held back by MOV SS");
}

/* --- HLT and NMI -------------------------------------------------------------------------- */

static volatile unsigned nmis, nmi_depth, nmi_max;
static volatile bool nmi_again;

static void on_nmi(struct regs *r)
{
	if (++nmi_depth > nmi_max)
		nmi_max = nmi_depth;
	nmis++;
	if (nmi_again) {
		nmi_again = false;
		outl(0, PORT_NMI);
		for (int i = 0; i < 100; i++)
			pause();
	}
	nmi_depth--;
}

static void test_nmi(void)
{
	set_handler(NMI, on_nmi);
	outl(0, PORT_NMI);
	report_eq(nmis, 1, "an NMI comes with IF 0");
	nmi_again = true;
	outl(0, PORT_NMI);
	report_eq(nmis, 3, "one in a handler comes after IRET");
	report_eq(nmi_max, 1, "... and not before");
	nmis = 0;
	apic_icr(0, 0x00400);
	report_eq(nmis, 1, "NMI by IPI");
	asm volatile("int $2" : : : "memory");
	report_eq(nmis, 2, "INT 2 calls the handler");
	outl(0, PORT_NMI);
	report_eq(nmis, 3, "... without blocking");
}

static void test_halt(void)
{
	count_interrupts(V1);
	self_ipi(V1);
	sti_hlt();
	cli();
	report_eq(irq_count[V1], 1, "STI; HLT wakes by a waiting interrupt");
	count_interrupts(VT);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, VT);
	apic_write(APIC_TMICT, 1000000);
	sti_hlt();
	cli();
	report_eq(irq_count[VT], 1, "HLT wakes by a timer");
}

/* --- timers ----------------------------------------------------------------------------------- */

static void test_timers(void)
{
	uint64_t t0, t1, deadline;
	unsigned n;

	count_interrupts(VT);
	apic_write(APIC_TDCR, 0xb);		/* divide by 1 */
	apic_write(APIC_LVTT, VT);
	apic_write(APIC_TMICT, 5000000);	/* 5 ms of a 1 GHz bus */
	n = apic_read(APIC_TMCCT);
	report(n && n <= 5000000, "the current count runs");
	report(wait_interrupts(VT, 1), "one-shot timer");
	report_eq(apic_read(APIC_TMCCT), 0, "... ends at 0");
	for (int i = 0; i < 100000; i++)
		pause();
	sti_nop();
	cli();
	report_eq(irq_count[VT], 1, "... and does not come again");
	apic_write(APIC_LVTT, VT | 1 << 17);
	apic_write(APIC_TMICT, 2000000);
	report(wait_interrupts(VT, 5), "periodic timer");
	apic_write(APIC_TMICT, 0);
	sti_nop();
	cli();
	n = irq_count[VT];
	for (int i = 0; i < 10000; i++)
		pause();
	sti_nop();
	cli();
	report_eq(irq_count[VT], n, "initial count 0 stops it");
	apic_write(APIC_LVTT, VT | 1 << 16);
	apic_write(APIC_TMICT, 1000);
	for (int i = 0; i < 100000 && apic_read(APIC_TMCCT); i++)
		pause();
	sti_nop();
	cli();
	report_eq(irq_count[VT], n, "a masked timer is silent");

	if (!has_c1(24)) {
		for (unsigned i = 0; i < 5; i++)
			report_skip("TSC deadline %d", i);
		return;
	}
	count_interrupts(VT);
	apic_write(APIC_LVTT, VT | 2 << 17);
	asm volatile("mfence" : : : "memory");
	t0 = rdtsc();
	deadline = t0 + 10000000;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	report_eq(rdmsr(MSR_TSC_DEADLINE), deadline, "TSC deadline reads back");
	report(wait_interrupts(VT, 1), "TSC deadline");
	t1 = rdtsc();
	report(t1 >= deadline, "... not before it is due");
	report_eq(rdmsr(MSR_TSC_DEADLINE), 0, "... is disarmed then");
	wrmsr(MSR_TSC_DEADLINE, t0);
	report(wait_interrupts(VT, 2), "a deadline in the past comes at once");
	apic_write(APIC_LVTT, 0x10000);
}

/* --- I/O APIC, 8259, PIT --------------------------------------------------------------------------- */

#define IOAPIC	0xfec00000ul

static uint32_t ioapic_read(unsigned reg)
{
	*(volatile uint32_t *)IOAPIC = reg;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

static void ioapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC = reg;
	*(volatile uint32_t *)(IOAPIC + 0x10) = v;
}

static void ioapic_route(unsigned pin, uint32_t lo)
{
	ioapic_write(0x11 + 2 * pin, 0);
	ioapic_write(0x10 + 2 * pin, lo);
}

/* Channel 0 as a rate generator of some 1000 Hz. */
static void start_pit(void)
{
	outb(0x34, 0x43);
	outb(1193 & 0xff, 0x40);
	outb(1193 >> 8, 0x40);
}

static void on_level(struct regs *r)
{
	irq_count[r->vector]++;
	outl(20, PORT_IRQ_LEVEL);	/* GSI 20 down */
	apic_eoi();
}

static void on_level_kept(struct regs *r)
{
	if (++irq_count[r->vector] == 3)
		outl(20, PORT_IRQ_LEVEL);
	apic_eoi();
}

static void test_ioapic(void)
{
	report_eq(ioapic_read(1) >> 16 & 0xff, 23, "24 pins");
	count_interrupts(V1);
	ioapic_route(20, V1);
	outl(20, PORT_IRQ_PULSE);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 1, "edge-triggered GSI");
	ioapic_route(20, V1 | 1 << 16);
	outl(20, PORT_IRQ_PULSE);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 1, "a masked pin is silent");
	ioapic_route(20, V2 | 1 << 15);
	irq_count[V2] = 0;
	set_handler(V2, on_level);
	outl(20 | 1 << 8, PORT_IRQ_LEVEL);
	sti_nop();
	cli();
	report_eq(irq_count[V2], 1, "level-triggered GSI");
	report(!(ioapic_read(0x10 + 40) & 1 << 14), "EOI clears remote IRR");
	irq_count[V2] = 0;
	set_handler(V2, on_level_kept);
	outl(20 | 1 << 8, PORT_IRQ_LEVEL);
	for (int i = 0; i < 5; i++) {
		sti_nop();
		cli();
	}
	report_eq(irq_count[V2], 3, "a line that stays up comes again after EOI");
	ioapic_route(20, 1 << 16);
	outl(20, PORT_IRQ_LEVEL);
	/* GSI 0 is pin 0 until a client says otherwise. */
	count_interrupts(V1);
	ioapic_route(0, V1);
	start_pit();
	report(wait_interrupts(V1, 3), "PIT through the I/O APIC");
	ioapic_route(0, 1 << 16);
}

static volatile unsigned pic_irqs;

static void on_pic(struct regs *r)
{
	pic_irqs++;
	outb(0x20, 0x20);
}

static bool wait_pic(unsigned n)
{
	uint64_t end = rdtsc() + 20000000000ull;

	sti();
	while (pic_irqs < n && rdtsc() < end)
		pause();
	cli();
	return pic_irqs >= n;
}

static void test_8259(void)
{
	static const struct { uint16_t port; uint8_t v; } init[] = {
		{ 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 4 }, { 0x21, 1 },
		{ 0xa0, 0x11 }, { 0xa1, 0x38 }, { 0xa1, 2 }, { 0xa1, 1 },
		{ 0x21, 0xfe }, { 0xa1, 0xff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
		outb(init[i].v, init[i].port);
	report_eq(inb(0x21), 0xfe, "the 8259's mask reads back");
	set_handler(0x30, on_pic);
	apic_write(APIC_LVT0, 0x700);	/* ExtINT */
	start_pit();	/* forgets the ticks that nobody has acknowledged */
	report(wait_pic(3), "PIT through the 8259");
	outb(0xff, 0x21);
	sti_nop();
	cli();
	pic_irqs = 0;
	outb(0x0a, 0x20);
	for (int i = 0; i < 1000000 && !(inb(0x20) & 1); i++)
		pause();
	report(inb(0x20) & 1, "a masked request waits in IRR");
	report_eq(pic_irqs, 0, "... and there only");
	outb(0xfe, 0x21);
	apic_write(APIC_LVT0, 0x10000);
	for (int i = 0; i < 1000; i++) {
		sti_nop();
		cli();
	}
	report_eq(pic_irqs, 0, "LVT0 masked: nothing comes through");
	outb(0x30, 0x43);	/* stop the PIT: mode 0, count not yet written */
	outb(0xff, 0x21);
	set_handler(0x30, NULL);
}

/* --- x2APIC ------------------------------------------------------------------------------------------ */

static void test_x2apic(void)
{
	TRY("rdmsr", : : "c"(0x802) : "rax", "rdx");
	report_exc(GP, 0, "x2APIC MSRs outside x2APIC mode");
	if (!has_c1(21)) {
		for (unsigned i = 0; i < 9; i++)
			report_skip("x2APIC %d", i);
		return;
	}
	apic_x2apic();
	report_eq(rdmsr(MSR_APIC_BASE), 0xfee00d00, "x2APIC mode");
	report_eq(apic_read(APIC_ID), 0, "x2APIC id");
	report_eq(apic_read(APIC_LDR), 1, "LDR is derived from the id");
	count_interrupts(V1);
	wrmsr(0x83f, V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 1, "SELF IPI");
	apic_icr(0, V1);
	sti_nop();
	cli();
	report_eq(irq_count[V1], 2, "ICR in one write");
	TRY("wrmsr", : : "c"(0x802), "a"(0), "d"(0));
	report_exc(GP, 0, "the id is read-only");
	TRY("rdmsr", : : "c"(0x80b) : "rax", "rdx");
	report_exc(GP, 0, "EOI is write-only");
	TRY("wrmsr", : : "c"(0x80b), "a"(1), "d"(0));
	report_exc(GP, 0, "EOI takes 0 alone");
	TRY("wrmsr", : : "c"(MSR_APIC_BASE), "a"(0xfee00900), "d"(0));
	report_exc(GP, 0, "x2APIC to xAPIC is no transition");
}

int main(void)
{
	test_registers();
	test_self_ipi();
	test_priority();
	test_shadows();
	test_nmi();
	test_halt();
	test_timers();
	test_ioapic();
	test_8259();
	test_x2apic();
	return 0;
}
