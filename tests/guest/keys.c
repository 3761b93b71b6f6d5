// SPDX-License-Identifier: MIT
/*
 * Protection keys: which accesses PKRU and IA32_PKRS deny, to which pages, and what the
 * error code says; RDPKRU and WRPKRU. SDM Vol. 3A, "Protection Keys", "Determination of
 * Access Rights", "Page-Fault Exceptions"; SDM Vol. 2, "RDPKRU", "WRPKRU".
 */
#include "lib/window.h"

#define CR4_PKE		BIT(22)
#define CR4_PKS		BIT(24)
#define MSR_PKRS	0x6e1
#define KEY(k)		((ulong)(k) << 59)
#define AD(k)		(1u << (2 * (k)))
#define WD(k)		(2u << (2 * (k)))
#define PF_PK		0x20u
#define HAVE_PKU	has_c7(3)
#define HAVE_PKS	has_c7(31)

static uint8_t kernel_data[256] __attribute__((aligned(64)));
static struct state s;

CODE(ld, "mov (%ebx), %eax");
CODE(st, "mov %eax, (%ebx)");
CODE(rmw, "lock; incl (%ebx)");
CODE(rep_stos, "mov %ebx, %edi; mov $4, %ecx; rep stosl");
CODE(movups_st, "movups %xmm0, (%ebx)");
CODE(mov_ds, "mov %eax, %ds");
CODE(rdpkru, ".byte 0x0f, 0x01, 0xee");
CODE(wrpkru, ".byte 0x0f, 0x01, 0xef");
/* Denied, allowed by WRPKRU, and denied again. */
CODE(switching, "xor %ecx, %ecx; xor %edx, %edx; xor %eax, %eax; .byte 0x0f, 0x01, 0xef; mov (%ebx), %esi;"
     "mov $4, %eax; .byte 0x0f, 0x01, 0xef; mov (%ebx), %esi");

static void set_pkru(uint32_t v)
{
	asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"(v), "c"(0), "d"(0) : "memory");
}

/* Who may access what: @flags of the window's pages, CPL, CR0.WP. */
/* clang-format off */
static const struct row {
	const char *cond;
	uint32_t rights;	/* PKRU, or PKRS */
	ulong flags;
	unsigned cpl;
	bool wp;
	const struct code *code;
	unsigned vector;
	uint32_t error;
} user_rows[] = {
#define UP	(PTE_U | PTE_W)
	{ "nothing denied, CPL 3, a load",		0, UP | KEY(1), 3, true, &ld, NO_EXC, 0 },
	{ "nothing denied, CPL 3, a store",		0, UP | KEY(1), 3, true, &st, NO_EXC, 0 },
	{ "AD, CPL 3, a load",				AD(1), UP | KEY(1), 3, true, &ld, PF, 0x25 },
	{ "AD, CPL 3, a store",				AD(1), UP | KEY(1), 3, true, &st, PF, 0x27 },
	{ "AD, CPL 3, a locked read-modify-write",	AD(1), UP | KEY(1), 3, true, &rmw, PF, 0x27 },
	{ "AD, CPL 3, REP STOS",			AD(1), UP | KEY(1), 3, true, &rep_stos, PF, 0x27 },
	{ "AD, CPL 3, MOVUPS",				AD(1), UP | KEY(1), 3, true, &movups_st, PF, 0x27 },
	{ "AD, CPL 3, a load, WP clear",		AD(1), UP | KEY(1), 3, false, &ld, PF, 0x25 },
	{ "WD, CPL 3, a load",				WD(1), UP | KEY(1), 3, true, &ld, NO_EXC, 0 },
	{ "WD, CPL 3, a store",				WD(1), UP | KEY(1), 3, true, &st, PF, 0x27 },
	{ "WD, CPL 3, a locked read-modify-write",	WD(1), UP | KEY(1), 3, true, &rmw, PF, 0x27 },
	{ "WD, CPL 3, a store, WP clear",		WD(1), UP | KEY(1), 3, false, &st, PF, 0x27 },
	{ "AD and WD, CPL 3, a load",			AD(1) | WD(1), UP | KEY(1), 3, true, &ld, PF, 0x25 },
	{ "AD, CPL 0, a load",				AD(1), UP | KEY(1), 0, true, &ld, PF, 0x21 },
	{ "AD, CPL 0, a store",				AD(1), UP | KEY(1), 0, true, &st, PF, 0x23 },
	{ "AD, CPL 0, a store, WP clear",		AD(1), UP | KEY(1), 0, false, &st, PF, 0x23 },
	{ "WD, CPL 0, a load",				WD(1), UP | KEY(1), 0, true, &ld, NO_EXC, 0 },
	{ "WD, CPL 0, a store, WP set",			WD(1), UP | KEY(1), 0, true, &st, PF, 0x23 },
	{ "WD, CPL 0, a store, WP clear",		WD(1), UP | KEY(1), 0, false, &st, NO_EXC, 0 },
	{ "AD, CPL 1, a load",				AD(1), UP | KEY(1), 1, true, &ld, PF, 0x21 },
	{ "AD of another key",				AD(2), UP | KEY(1), 3, true, &st, NO_EXC, 0 },
	{ "AD of all other keys",			~AD(1) & ~WD(1) & ~3u, UP | KEY(1), 3, true, &st, NO_EXC, 0 },
	{ "AD of key 15",				AD(15), UP | KEY(15), 3, true, &ld, PF, 0x25 },
	{ "AD of key 0",				AD(0), UP, 3, true, &ld, PF, 0x25 },
	{ "AD, CPL 0, a page of the supervisor",	AD(1), PTE_W | KEY(1), 0, true, &st, NO_EXC, 0 },
	{ "AD, CPL 3, a page of the supervisor",	AD(1), PTE_W | KEY(1), 3, true, &ld, PF, 5 },
	{ "WD, CPL 3, a store to a read-only page",	WD(1), PTE_U | KEY(1), 3, true, &st, PF, 0x27 },
	{ "AD, CPL 3, a load of a read-only page",	AD(1), PTE_U | KEY(1), 3, true, &ld, PF, 0x25 },
	{ "AD, CPL 3, a load of an NX page",		AD(1), UP | KEY(1) | PTE_NX, 3, true, &ld, PF, 0x25 },
}, super_rows[] = {
	{ "PKS, AD, CPL 0, a load",			AD(1), PTE_W | KEY(1), 0, true, &ld, PF, 0x21 },
	{ "PKS, AD, CPL 0, a store",			AD(1), PTE_W | KEY(1), 0, true, &st, PF, 0x23 },
	{ "PKS, AD, CPL 1, a load",			AD(1), PTE_W | KEY(1), 1, true, &ld, PF, 0x21 },
	{ "PKS, WD, CPL 0, a load",			WD(1), PTE_W | KEY(1), 0, true, &ld, NO_EXC, 0 },
	{ "PKS, WD, CPL 0, a store, WP set",		WD(1), PTE_W | KEY(1), 0, true, &st, PF, 0x23 },
	{ "PKS, WD, CPL 0, a store, WP clear",		WD(1), PTE_W | KEY(1), 0, false, &st, NO_EXC, 0 },
	{ "PKS, AD of another key",			AD(2), PTE_W | KEY(1), 0, true, &st, NO_EXC, 0 },
	{ "PKS, AD, CPL 0, a user page",		AD(1), UP | KEY(1), 0, true, &st, NO_EXC, 0 },
	{ "PKS, AD, CPL 3, a user page",		AD(1), UP | KEY(1), 3, true, &st, NO_EXC, 0 },
};
/* clang-format on */

/* The page of the case's code, and of the tests' data, is the user's as well. */
static void run_row(enum mode mode, const struct row *r)
{
	const ulong code = (ulong)r->code->at[mode] / WINDOW_PAGE;
	const uint64_t old = *window_entry(code);

	window_set(r->flags);
	*window_entry(code) |= PTE_U | (r->rights & AD(0) ? KEY(2) : 0);
	flush_tlb();
	state_init(&s, mode, r->cpl, r->code);
	s.bx = WINDOW_DATA;
	write_cr0(r->wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
	enter(&s);
	write_cr0(read_cr0() | CR0_WP);
	*window_entry(code) = old;
	window_set(UP);
}

static void with_pkru(enum mode mode, const struct row *r, bool pke)
{
	write_cr4(read_cr4() | CR4_PKE);
	set_pkru(r->rights);
	if (!pke)
		write_cr4(read_cr4() & ~CR4_PKE);
	run_row(mode, r);
	write_cr4(read_cr4() | CR4_PKE);
	set_pkru(0);
	write_cr4(read_cr4() & ~CR4_PKE);
}

static void test_user(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(user_rows); i++) {
		const struct row *r = &user_rows[i];

		if (!HAVE_PKU) {
			check_skip(mode_name(mode), "PKU", r->cond);
			continue;
		}
		with_pkru(mode, r, true);
		check(mode_name(mode), "PKU", r->cond, r->vector, r->error);
	}
	if (!HAVE_PKU) {
		check_skip(mode_name(mode), "PKU", "PKE clear, AD, CPL 3, a load");
		check_skip(mode_name(mode), "PKU", "PKE clear, a read-only page, CPL 3, a store");
		return;
	}
	with_pkru(mode, &(struct row){ NULL, AD(1), UP | KEY(1), 3, true, &ld, 0, 0 }, false);
	check(mode_name(mode), "PKU", "PKE clear, AD, CPL 3, a load", NO_EXC, 0);
	with_pkru(mode, &(struct row){ NULL, AD(1), PTE_U | KEY(1), 3, true, &st, 0, 0 }, false);
	check(mode_name(mode), "PKU", "PKE clear, a read-only page, CPL 3, a store", PF, 7);
}

static void test_super(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(super_rows); i++) {
		const struct row *r = &super_rows[i];

		if (!HAVE_PKS) {
			check_skip(mode_name(mode), "PKS", r->cond);
			continue;
		}
		write_cr4(read_cr4() | CR4_PKS);
		wrmsr(MSR_PKRS, r->rights);
		run_row(mode, r);
		wrmsr(MSR_PKRS, 0);
		write_cr4(read_cr4() & ~CR4_PKS);
		check(mode_name(mode), "PKS", r->cond, r->vector, r->error);
	}
}

/* Descriptor tables are read by the supervisor, and the keys are asked all the same. */
static void implicit_case(enum mode mode, const char *insn, const char *cond, bool pks, bool here)
{
	uint64_t *d = (uint64_t *)WINDOW_DATA;

	if (!here) {
		check_skip(mode_name(mode), insn, cond);
		return;
	}
	d[0] = descriptor(0, 0xfffff, (DATA_RW | FLAT) | DPL(3));
	put_system(8, (ulong)d, 7, SYS(LDT));
	asm volatile("lldt %w0" : : "r"(SLOT(8)));
	state_init(&s, mode, 3, &mov_ds);
	s.ax = LDT_SEL(0) | 3;
	*window_entry((ulong)mov_ds.at[mode] / WINDOW_PAGE) |= PTE_U;
	window_set(PTE_W | (pks ? 0 : PTE_U) | KEY(1));
	write_cr4(read_cr4() | (pks ? CR4_PKS : CR4_PKE));
	if (pks)
		wrmsr(MSR_PKRS, AD(1));
	else
		set_pkru(AD(1));
	enter(&s);
	if (pks)
		wrmsr(MSR_PKRS, 0);
	else
		set_pkru(0);
	write_cr4(read_cr4() & ~(CR4_PKS | CR4_PKE));
	*window_entry((ulong)mov_ds.at[mode] / WINDOW_PAGE) &= ~(window_pte)PTE_U;
	window_set(UP);
	asm volatile("lldt %w0" : : "r"(0));
	check(mode_name(mode), insn, cond, PF, PF_PK | 1);
}

/* --- RDPKRU, WRPKRU ---------------------------------------------------------------------------- */

static void insn_case(enum mode mode, const struct code *code, const char *insn, const char *cond,
		      unsigned cpl, ulong cx, ulong dx, unsigned vector)
{
	if (!HAVE_PKU) {
		check_skip(mode_name(mode), insn, cond);
		return;
	}
	write_cr4(read_cr4() | CR4_PKE);
	set_pkru(0);
	window_state(&s, mode, cpl, code, kernel_data);
	s.ax = 0;
	s.cx = cx;
	s.dx = dx;
	enter(&s);
	write_cr4(read_cr4() & ~CR4_PKE);
	check(mode_name(mode), insn, cond, vector, 0);
}

static void test_insns(enum mode mode)
{
	const ulong high = is_64bit(mode) ? BIT(32) : 0;

	for (unsigned cpl = 0; cpl < 4; cpl += 3) {
		insn_case(mode, &rdpkru, "RDPKRU", cpl ? "CPL 3, ECX = 0" : "CPL 0, ECX = 0", cpl, 0, 7, NO_EXC);
		insn_case(mode, &rdpkru, "RDPKRU", cpl ? "CPL 3, ECX = 1" : "CPL 0, ECX = 1", cpl, 1, 0, GP);
		insn_case(mode, &wrpkru, "WRPKRU", cpl ? "CPL 3, ECX = EDX = 0" : "CPL 0, ECX = EDX = 0", cpl, 0, 0,
			  NO_EXC);
		insn_case(mode, &wrpkru, "WRPKRU", cpl ? "CPL 3, ECX = 1" : "CPL 0, ECX = 1", cpl, 1, 0, GP);
		insn_case(mode, &wrpkru, "WRPKRU", cpl ? "CPL 3, EDX = 1" : "CPL 0, EDX = 1", cpl, 0, 1, GP);
	}
	insn_case(mode, &rdpkru, "RDPKRU", "upper half of RCX", 3, high, high, NO_EXC);
	if (HAVE_PKU)
		check_that(mode_name(mode), "RDPKRU", "RAX is PKRU, RDX is 0", !stop.s.ax && !stop.s.dx);
	else
		check_skip(mode_name(mode), "RDPKRU", "RAX is PKRU, RDX is 0");
	window_state(&s, mode, 3, &wrpkru, kernel_data);
	enter(&s);
	check(mode_name(mode), "WRPKRU", "CR4.PKE clear", UD, 0);
	if (!HAVE_PKU) {
		check_skip(mode_name(mode), "WRPKRU", "allows, and denies, the next access");
		return;
	}
	write_cr4(read_cr4() | CR4_PKE);
	window_set(UP | KEY(1));
	window_state(&s, mode, 3, &switching, kernel_data);
	enter(&s);
	set_pkru(0);
	write_cr4(read_cr4() & ~CR4_PKE);
	window_set(UP);
	check(mode_name(mode), "WRPKRU", "allows, and denies, the next access", PF, 0x25);
}

static void test_pkrs_msr(void)
{
	if (!HAVE_PKS) {
		check_skip("64-bit", "WRMSR", "IA32_PKRS, a bit of the upper half");
		check_skip("64-bit", "WRMSR", "IA32_PKRS, all of the lower half");
		return;
	}
	TRY("wrmsr", : : "a"(0), "d"(1), "c"(MSR_PKRS));
	check_met("64-bit", "WRMSR", "IA32_PKRS, a bit of the upper half", GP, 0, exc.vector, exc.error);
	TRY("wrmsr", : : "a"(~0u), "d"(0), "c"(MSR_PKRS));
	check_met("64-bit", "WRMSR", "IA32_PKRS, all of the lower half", NO_EXC, 0, exc.vector, exc.error);
	wrmsr(MSR_PKRS, 0);
}

static void test_cpuid(void)
{
	bool off = has_c7(4), on;

	if (!HAVE_PKU) {
		check_skip("64-bit", "CPUID", "OSPKE is CR4.PKE");
		return;
	}
	write_cr4(read_cr4() | CR4_PKE);
	on = has_c7(4);
	write_cr4(read_cr4() & ~CR4_PKE);
	check_that("64-bit", "CPUID", "OSPKE is CR4.PKE", on && !off);
}

int main(void)
{
	checks_init();
	window_init();
	for (enum mode mode = NATIVE; mode <= COMPAT; mode++) {
		test_user(mode);
		test_super(mode);
		implicit_case(mode, "MOV DS", "PKU, AD: the LDT's page", false, HAVE_PKU);
		implicit_case(mode, "MOV DS", "PKS, AD: the LDT's page", true, HAVE_PKS);
		test_insns(mode);
	}
	test_pkrs_msr();
	test_cpuid();
	return 0;
}
