// SPDX-License-Identifier: MIT
/*
 * The ways into long mode and out of it: every combination of CR0.PG, CR4.PAE and
 * EFER.LME with every kind of CS and TR that counts; what may not be changed while it is
 * active, in compatibility and in 64-bit mode; from real mode in one step, and back. SDM
 * Vol. 3A, "Initializing IA-32e Mode", "IA-32e Mode Operation"; SDM Vol. 2, "MOV-Move to/from
 * Control Registers", "WRMSR"; APM Vol. 2, "Long-Mode Initialization Example", "Leaving Long
 * Mode".
 *
 * The guest is a 32-bit one; its code goes on in compatibility mode. activate.S has
 * what is not 32-bit code.
 */
#include "lib/checks.h"
#include "activate.h"

struct attempt attempt;

static uint32_t dir[1024] __attribute__((aligned(4096)));
static uint64_t pml4[512] __attribute__((aligned(4096))), pdpt[512] __attribute__((aligned(4096)));
static uint64_t pdpt_pae[4] __attribute__((aligned(32))), pd[512] __attribute__((aligned(4096)));
static uint64_t idt64[64] __attribute__((aligned(16)));
static uint64_t tss16[16], cr4_base;

#define CR4_LA57	BIT(12)
#define PROTECTED	"protected"
#define COMPATIBILITY	"compatibility"

static void tables_init(void)
{
	for (ulong i = 0; i < 512; i++)
		pd[i] = i << 21 | PTE_P | PTE_W | PTE_PS;
	for (ulong i = 0; i < 1024; i++)
		dir[i] = i << 22 | PTE_P | PTE_W | PTE_PS;
	pdpt[0] = (ulong)pd | PTE_P | PTE_W;
	pml4[0] = (ulong)pdpt | PTE_P | PTE_W;
	pdpt_pae[0] = (ulong)pd | PTE_P;
}

static void idt64_init(void)
{
	for (unsigned v = 0; v < 32; v++) {
		const ulong to = (ulong)fault64 + 32 * v;

		idt64[2 * v] = (to & 0xffff) | SEL_64 << 16 | (uint64_t)0x8e << 40 | (uint64_t)(to >> 16) << 48;
	}
}

static void load_idt(bool is64)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed))
		p = { is64 ? sizeof(idt64) - 1 : sizeof(idt) - 1, is64 ? (ulong)idt64 : (ulong)idt };

	asm volatile("lidt %0" : : "m"(p) : "memory");
}

static void on_fault(struct regs *r)
{
	attempt.vector = r->vector;
	attempt.error = r->error;
	attempt.ip = r->eip;
	r->eip = attempt.resume;
}

static void gdt_init(void)
{
	gdt[SEL_64 / 8] = descriptor(0, 0xfffff, 0xa09b);
	gdt[SEL_LD / 8] = descriptor(0, 0xfffff, 0xe09b);
	gdt[SEL_16 / 8] = descriptor(0, 0xfffff, 0x809b);
	gdt[SEL_TSS16 / 8] = descriptor((ulong)tss16, 0x2b, SYS(TSS16));
}

static void load_tr(unsigned sel)
{
	gdt[sel / 8] &= ~(1ull << 41);
	asm volatile("ltr %w0" : : "r"(sel) : "memory");
}

static uint32_t efer(void)
{
	return rdmsr(MSR_EFER);
}

static bool active(void)
{
	return efer() & EFER_LMA;
}

static void set_lme(bool on)
{
	wrmsr(MSR_EFER, on ? efer() | EFER_LME : efer() & ~(uint64_t)EFER_LME);
}

/* Protected mode without paging, whatever of paging is on. */
static void to_protected(void)
{
	write_cr4(read_cr4() & ~CR4_PCIDE);
	write_cr0(read_cr0() & ~CR0_PG);
	load_idt(false);
	load_tr(TSS_SEL);
	set_lme(false);
	write_cr4(cr4_base | CR4_PSE);
}

/* Before paging is switched on: the tables go with what the mode will be. */
static void prepare(bool lme, bool pae)
{
	to_protected();
	write_cr4(cr4_base | CR4_PSE | (pae ? CR4_PAE : 0));
	write_cr3(!pae ? (ulong)dir : lme ? (ulong)pml4 : (ulong)pdpt_pae);
	set_lme(lme);
}

static void to_compatibility(void)
{
	prepare(true, true);
	write_cr0(read_cr0() | CR0_PG);
	load_idt(true);
}

static void met(const char *mode, const char *insn, const char *cond, unsigned vector,
		uint32_t error)
{
	check_met(mode, insn, cond, vector, error, attempt.vector, attempt.error);
}

/* @insn in EAX, ECX, EDX; what it met is in attempt. */
static void run(const struct text *t, uint32_t ax, uint32_t cx, uint32_t dx)
{
	attempt.vector = NO_EXC;
	attempt.error = 0;
	asm volatile("call run_text" : "+a"(ax), "+c"(cx), "+d"(dx)
		     : "b"(t) : "esi", "edi", "memory", "cc");
}

/* --- paging goes on ---------------------------------------------------------------------------- */

static const struct { const char *name; const struct text *mov_cr0; bool l; } segments[] = {
	{ "CS of 32 bits", &mov_cr0_32, false }, { "CS of 16 bits", &mov_cr0_16, false },
	{ "CS with L", &mov_cr0_l, true }, { "CS with L and D", &mov_cr0_ld, true },
};

static char *append(char *p, const char *s)
{
	while (*s)
		*p++ = *s++;
	*p = 0;
	return p;
}

static void activation(bool lme, bool pae, unsigned k, bool tr16)
{
	unsigned expect = NO_EXC;
	char name[96], *p;
	bool on;

	p = append(name, lme ? "sets PG, LME set, " : "sets PG, LME clear, ");
	p = append(append(p, pae ? "PAE set, " : "PAE clear, "), segments[k].name);
	p = append(p, tr16 ? ", TR of 16 bits" : "");
	if (lme && (!pae || segments[k].l || tr16))
		expect = GP;
	prepare(lme, pae);
	if (tr16)
		load_tr(SEL_TSS16);
	run(segments[k].mov_cr0, read_cr0() | CR0_PG, 0, 0);
	on = active();
	met(PROTECTED, "MOV to CR0", name, expect, 0);
	append(p, ": LMA and PG");
	check_that(PROTECTED, "MOV to CR0", name, on == (lme && expect == NO_EXC) &&
		   !(read_cr0() & CR0_PG) == (expect != NO_EXC));
	if (on)
		load_idt(true);
	to_protected();
}

static void test_activation(void)
{
	for (unsigned i = 0; i < 32; i++)
		activation(i & 1, i & 2, i >> 2 & 3, i >> 4);
}

/* PDPTEs are loaded, and looked at, when PAE paging begins and when CR3 changes. */
static void test_pdptes(void)
{
	static const struct { const char *name; uint64_t bits; } rows[] = {
		{ "a PDPTE with R/W", PTE_W }, { "a PDPTE with U/S", PTE_U }, { "a PDPTE with bit 5", BIT(5) },
		{ "a PDPTE with PS", PTE_PS }, { "a PDPTE with bit 8", BIT(8) },
		{ "a PDPTE with bit 63", 1ull << 63 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		prepare(false, true);
		pdpt_pae[1] = (ulong)pd | PTE_P | rows[i].bits;
		run(&mov_cr0_32, read_cr0() | CR0_PG, 0, 0);
		met(PROTECTED, "MOV to CR0", rows[i].name, GP, 0);
		pdpt_pae[1] = 0;
		write_cr0(read_cr0() | CR0_PG);
		pdpt_pae[1] = (ulong)pd | PTE_P | rows[i].bits;
		run(&mov_cr4_32, read_cr4() ^ CR4_PGE, 0, 0);
		met(PROTECTED, "MOV to CR4", rows[i].name, GP, 0);
		/* With nested paging they are read at each walk. */
		if (is_amd()) {
			check_skip(PROTECTED, "MOV to CR3", rows[i].name);
		} else {
			run(&mov_cr3_32, read_cr3(), 0, 0);
			met(PROTECTED, "MOV to CR3", rows[i].name, GP, 0);
		}
		pdpt_pae[1] = rows[i].bits;
		run(&mov_cr3_32, read_cr3(), 0, 0);
		pdpt_pae[1] = 0;
		check_met(PROTECTED, "MOV to CR3", "a PDPTE that is not present, whatever else it has", NO_EXC,
			  0, attempt.vector, attempt.error);
	}
	to_protected();
}

/* --- paging is on ----------------------------------------------------------------------------------- */

static void wrmsr_efer(const struct text *t, uint32_t v)
{
	run(t, v, MSR_EFER, 0);
}

static void test_legacy(void)
{
	for (unsigned pae = 0; pae < 2; pae++) {
		prepare(false, pae);
		write_cr0(read_cr0() | CR0_PG);
		wrmsr_efer(&wrmsr_32, efer() | EFER_LME);
		met(PROTECTED, "WRMSR", pae ? "EFER, sets LME, PAE paging is on" :
		    "EFER, sets LME, 32-bit paging is on", GP, 0);
		wrmsr_efer(&wrmsr_32, efer() | EFER_NX);
		met(PROTECTED, "WRMSR", pae ? "EFER, sets NXE, PAE paging is on" :
		    "EFER, sets NXE, 32-bit paging is on", NO_EXC, 0);
		wrmsr(MSR_EFER, efer() & ~(uint64_t)EFER_NX);
		run(&mov_cr0_32, read_cr0() & ~CR0_PE, 0, 0);
		met(PROTECTED, "MOV to CR0", pae ? "clears PE, PAE paging is on" :
		    "clears PE, 32-bit paging is on", GP, 0);
	}
	prepare(false, false);
	write_cr0(read_cr0() | CR0_PG);
	run(&mov_cr4_32, read_cr4() | CR4_PAE, 0, 0);	/* the directory is no PDPT */
	met(PROTECTED, "MOV to CR4", "sets PAE, 32-bit paging is on, bad PDPTEs", GP, 0);
	to_protected();
	wrmsr_efer(&wrmsr_32, efer() | EFER_LME);
	met(PROTECTED, "WRMSR", "EFER, sets LME, paging is off", NO_EXC, 0);
	check_that(PROTECTED, "WRMSR", "EFER, sets LME: LMA stays clear", !active());
	wrmsr_efer(&wrmsr_32, efer() & ~(uint32_t)EFER_LME);
	met(PROTECTED, "WRMSR", "EFER, clears LME, paging is off", NO_EXC, 0);
}

/* What long mode does not let go of. */
static void locked(const char *mode, const struct text *cr0, const struct text *cr4,
		   const struct text *msr)
{
	wrmsr_efer(msr, efer() & ~(uint32_t)EFER_LME);
	met(mode, "WRMSR", "EFER, clears LME, long mode is active", GP, 0);
	wrmsr_efer(msr, efer());
	met(mode, "WRMSR", "EFER, LME stays, long mode is active", NO_EXC, 0);
	wrmsr_efer(msr, efer() | EFER_NX);
	met(mode, "WRMSR", "EFER, sets NXE, long mode is active", NO_EXC, 0);
	run(cr4, read_cr4() & ~CR4_PAE, 0, 0);
	met(mode, "MOV to CR4", "clears PAE, long mode is active", GP, 0);
	run(cr4, read_cr4() ^ CR4_LA57, 0, 0);
	met(mode, "MOV to CR4", "changes LA57, long mode is active", GP, 0);
	run(cr4, read_cr4() ^ CR4_PGE, 0, 0);
	met(mode, "MOV to CR4", "changes PGE, long mode is active", NO_EXC, 0);
	run(cr0, read_cr0() & ~CR0_PE, 0, 0);
	met(mode, "MOV to CR0", "clears PE, long mode is active", GP, 0);
	check_that(mode, "MOV to CR0", "clears PE, long mode is active: nothing has changed", active());
}

static void test_active(void)
{
	to_compatibility();
	locked(COMPATIBILITY, &mov_cr0_32, &mov_cr4_32, &wrmsr_32);
	to_compatibility();
	locked("64-bit", &mov_cr0_64, &mov_cr4_64, &wrmsr_64);
	run(&mov_cr0_64, read_cr0() & ~CR0_PG, 0, 0);
	met("64-bit", "MOV to CR0", "clears PG", GP, 0);
	run(&mov_cr0_64, read_cr0() & ~(CR0_PG | CR0_PE), 0, 0);
	met("64-bit", "MOV to CR0", "clears PG and PE", GP, 0);
	run(&mov_cr0_64, read_cr0() | CR0_TS, 0, 0);
	met("64-bit", "MOV to CR0", "sets TS", NO_EXC, 0);
	write_cr0(read_cr0() & ~CR0_TS);
	if (!has_c1(17)) {
		check_skip(COMPATIBILITY, "MOV to CR0", "clears PG, PCIDE set");
		check_skip("64-bit", "MOV to CR0", "clears PG, PCIDE set");
		return;
	}
	write_cr4(read_cr4() | CR4_PCIDE);
	run(&mov_cr0_32, read_cr0() & ~CR0_PG, 0, 0);
	met(COMPATIBILITY, "MOV to CR0", "clears PG, PCIDE set", GP, 0);
	run(&mov_cr0_64, read_cr0() & ~CR0_PG, 0, 0);
	met("64-bit", "MOV to CR0", "clears PG, PCIDE set", GP, 0);
}

/* --- and off ------------------------------------------------------------------------------------------ */

static void test_leaving(void)
{
	to_compatibility();
	run(&mov_cr0_32, read_cr0() & ~CR0_PG, 0, 0);
	load_idt(false);
	met(COMPATIBILITY, "MOV to CR0", "clears PG", NO_EXC, 0);
	check_that(COMPATIBILITY, "MOV to CR0", "clears PG: LMA is clear, LME stays",
		   (efer() & (EFER_LMA | EFER_LME)) == EFER_LME);
	write_cr0(read_cr0() | CR0_PG);
	check_that(PROTECTED, "MOV to CR0", "sets PG again, LME has stayed: long mode", active());
	load_idt(true);
	run(&mov_cr0_16, read_cr0() & ~CR0_PG, 0, 0);
	load_idt(false);
	met(COMPATIBILITY, "MOV to CR0", "clears PG, CS of 16 bits", NO_EXC, 0);
	check_that(COMPATIBILITY, "MOV to CR0", "clears PG, CS of 16 bits: LMA is clear", !active());
	run(&mov_cr4_32, read_cr4() & ~CR4_PAE, 0, 0);
	met(PROTECTED, "MOV to CR4", "clears PAE, LME set, paging is off", NO_EXC, 0);
	run(&mov_cr0_32, read_cr0() | CR0_PG, 0, 0);
	met(PROTECTED, "MOV to CR0", "sets PG again without PAE", GP, 0);
	set_lme(false);
	run(&mov_cr4_32, read_cr4() ^ CR4_LA57, 0, 0);
	met(PROTECTED, "MOV to CR4", "changes LA57, paging is off", has_c7(16) ? NO_EXC : GP, 0);
	to_protected();
	run(&mov_cr4_32, read_cr4() | CR4_PCIDE, 0, 0);
	met(PROTECTED, "MOV to CR4", "sets PCIDE, paging is off", GP, 0);
	prepare(false, true);
	write_cr0(read_cr0() | CR0_PG);
	run(&mov_cr4_32, read_cr4() | CR4_PCIDE, 0, 0);
	met(PROTECTED, "MOV to CR4", "sets PCIDE, PAE paging is on", GP, 0);
	to_protected();
}

/* --- real mode ----------------------------------------------------------------------------------------- */

/* Down to real mode, where CR0 is made @cr0; back in what that makes. */
static uint32_t through_real(uint32_t cr0)
{
	memcpy((void *)REAL_BASE, real_begin, real_end - real_begin);
	attempt.vector = NO_EXC;
	return real_trip(cr0);
}

static void real_case(bool lme, bool pae, const char *cond)
{
	const uint32_t want = read_cr0() | CR0_PG | CR0_PE;
	const unsigned expect = lme && !pae ? GP : NO_EXC;

	prepare(lme, pae);
	through_real(want);
	if (active())
		load_idt(true);
	check_met("real", "MOV to CR0", cond, expect, 0, attempt.vector, 0);
	check_that("real", "MOV to CR0", cond, active() == (lme && expect == NO_EXC) &&
		   !(read_cr0() & CR0_PG) == (expect != NO_EXC));
	to_protected();
}

static void test_real(void)
{
	uint32_t msw;

	for (unsigned from = 0; from < 2; from++) {
		if (from)
			to_compatibility();
		to_protected();
		msw = through_real(read_cr0());
		check_that(from ? COMPATIBILITY : PROTECTED, "MOV to CR0", "clears PG, then PE: real mode",
			   !(msw & 1) && attempt.vector == NO_EXC);
		check_that("real", "MOV to CR0", from ? "sets PE, after long mode" : "sets PE", read_cr0() & CR0_PE);
	}
	real_case(false, false, "sets PE and PG at once, 32-bit paging");
	real_case(false, true, "sets PE and PG at once, PAE paging");
	real_case(true, false, "sets PE and PG at once, LME without PAE");
	real_case(true, true, "sets PE and PG at once, long mode");
	prepare(true, true);
	load_tr(SEL_TSS16);
	through_real(read_cr0() | CR0_PG);
	check_met("real", "MOV to CR0", "sets PE and PG at once, LME, TR of 16 bits", GP, 0, attempt.vector, 0);
	to_protected();
}

int main(void)
{
	checks_init();
	cr4_base = read_cr4();
	tables_init();
	idt64_init();
	gdt_init();
	set_handler(GP, on_fault);
	test_activation();
	test_pdptes();
	test_legacy();
	test_active();
	test_leaving();
	test_real();
	return 0;
}
