// SPDX-License-Identifier: MIT
/*
 * Linear-address masking: which bits of which pointers do not count, for which accesses,
 * and which must be canonical all the same; the control bits. SDM Vol. 3A, "Linear-Address
 * Masking"; SDM Vol. 2, "MOV-Move to/from Control Registers".
 */
#include "lib/traps.h"

#define M		"64-bit"
#define CR3_LAM_U57	BIT(61)
#define CR3_LAM_U48	BIT(62)
#define CR4_LAM_SUP	BIT(28)
#define HAVE_LAM	(cpuid(7, 0).a >= 1 && cpuid(7, 1).a >> 26 & 1)
#define TAG(n)		((ulong)(n) << 57)
#define SUPER_VA	0xffff800000000000ul	/* a page of the upper half */

static struct state s;
static ulong cr3;
static uint64_t cell[8] asm("cell") __attribute__((used, aligned(64)));

enum { U57 = 1, U48 = 2, SUP = 4 };

#define X(name, text)	CODE2(name, "ud2", text)
X(ld, "mov (%rbx), %rax");
X(st, "mov %rax, (%rbx)");
X(rmw, "lock; incq (%rbx)");
X(push_, "mov %rbx, %rsp; push %rax; mov %rsp, %rcx");
X(pop_, "mov %rbx, %rsp; pop %rax");
X(ld_sp, "mov %rbx, %rsp; mov (%rsp), %rax");
X(movs_, "mov %rbx, %rsi; lea 8(%rbx), %rdi; movsq");
X(rep_stos, "mov %rbx, %rdi; mov $3, %ecx; xor %eax, %eax; rep stosq");
X(movups_, "movups (%rbx), %xmm0");
X(cmpxchg16b_, "cmpxchg16b (%rbx)");
X(lgdt_, "sgdt (%rbx); lgdt (%rbx)");
X(jmp_m, "lea 1f(%rip), %rax; mov %rax, cell; jmp *(%rbx); ud2; 1:");
X(jmp_r, "jmp *%rbx");
X(ret_, "push %rbx; ret");
X(lea_, "lea (%rbx), %rax");

/* clang-format off */
static const struct {
	const char *cond;
	const struct code *code;
	unsigned how, cpl;
	ulong tag;		/* xor'ed to the address */
	bool super;		/* an address of the upper half */
	unsigned vector;
} rows[] = {
	{ "off, a load with bit 62",			&ld, 0, 3, BIT(62), false, GP },
	{ "off, a load with bit 57",			&ld, 0, 3, BIT(57), false, GP },
	{ "U57, a load with bits 62:57",		&ld, U57, 3, TAG(0x3f), false, NO_EXC },
	{ "U57, a load with bit 57",			&ld, U57, 3, BIT(57), false, NO_EXC },
	{ "U57, a load with bit 56",			&ld, U57, 3, BIT(56), false, GP },
	{ "U57, a load with bit 48",			&ld, U57, 3, BIT(48), false, GP },
	{ "U57, a load with bit 63",			&ld, U57, 3, BIT(63), false, GP },
	{ "U48, a load with bits 62:48",		&ld, U48, 3, 0x7fff000000000000ul, false, NO_EXC },
	{ "U48, a load with bit 48",			&ld, U48, 3, BIT(48), false, NO_EXC },
	{ "U48, a load with bit 47",			&ld, U48, 3, BIT(47), false, GP },
	{ "U48, a load with bit 63",			&ld, U48, 3, BIT(63), false, GP },
	{ "U57 and U48: U57 counts, a load with bit 50", &ld, U57 | U48, 3, BIT(50), false, GP },
	{ "U57, a store",				&st, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, a locked read-modify-write",		&rmw, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, PUSH",					&push_, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, POP",					&pop_, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, a load by RSP with bit 56: #SS",	&ld_sp, U57, 3, BIT(56), false, SS },
	{ "U57, MOVS",					&movs_, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, REP STOS",				&rep_stos, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, MOVUPS",				&movups_, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, CMPXCHG16B",				&cmpxchg16b_, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, SGDT and LGDT's operand",		&lgdt_, U57, 0, TAG(5), false, NO_EXC },
	{ "U57, JMP m: the pointer's address",		&jmp_m, U57, 3, TAG(5), false, NO_EXC },
	{ "U57, JMP r: the target is not masked",	&jmp_r, U57, 3, TAG(5), false, GP },
	{ "U57, RET: the target is not masked",		&ret_, U57, 3, TAG(5), false, GP },
	{ "U57, CPL 0, a user's pointer",		&ld, U57, 0, TAG(5), false, NO_EXC },
	{ "U57 alone, CPL 0, a supervisor's pointer",	&ld, U57, 0, TAG(5), true, GP },
	{ "SUP alone, CPL 0, a user's pointer",		&ld, SUP, 0, TAG(5), false, GP },
	{ "SUP, CPL 0, a load without bits 62:48",	&ld, SUP, 0, 0x7fff000000000000, true, NO_EXC },
	{ "SUP, CPL 0, a load without bit 47",		&ld, SUP, 0, BIT(47), true, GP },
	{ "SUP, CPL 0, a store",			&st, SUP, 0, BIT(60), true, NO_EXC },
	{ "SUP, CPL 3, a supervisor's pointer",		&ld, SUP, 3, BIT(60), true, NO_EXC },
	{ "off, CPL 0, a load without bit 60",		&ld, 0, 0, BIT(60), true, GP },
};
/* clang-format on */

static void set_how(unsigned how)
{
	write_cr4(how & SUP ? read_cr4() | CR4_LAM_SUP : read_cr4() & ~CR4_LAM_SUP);
	write_cr3(cr3 | (how & U57 ? CR3_LAM_U57 : 0) | (how & U48 ? CR3_LAM_U48 : 0));
}

static void run(const struct code *code, unsigned how, unsigned cpl, ulong address)
{
	state_init(&s, NATIVE, cpl, code);
	s.bx = address;
	set_how(how);
	enter(&s);
	set_how(0);
}

static void test_rows(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const ulong base = rows[i].super ? SUPER_VA + 64 : (ulong)cell;

		if (!HAVE_LAM) {
			check_skip(M, "LAM", rows[i].cond);
			continue;
		}
		run(rows[i].code, rows[i].how, rows[i].cpl, base ^ rows[i].tag);
		check(M, "LAM", rows[i].cond, rows[i].vector, 0);
	}
}

static void holds(const char *cond, bool ok)
{
	if (HAVE_LAM)
		check_that(M, "LAM", cond, ok);
	else
		check_skip(M, "LAM", cond);
}

static void test_details(void)
{
	const ulong tagged = (ulong)cell | TAG(9), away = SUPER_VA + 0x200000;

	if (HAVE_LAM) {
		cell[0] = 0x1234;
		run(&ld, U57, 3, tagged);
	}
	holds("a load goes to the address without its tag", stop.s.ax == 0x1234);
	if (HAVE_LAM)
		run(&push_, U57, 3, tagged + 16);
	holds("PUSH leaves the tag in RSP", stop.s.cx == tagged + 8);
	if (HAVE_LAM)
		run(&lea_, U57, 3, tagged);
	holds("LEA does not mask", stop.s.ax == tagged);
	if (HAVE_LAM)
		run(&ld, SUP, 0, away ^ BIT(58));
	holds("CR2 has the address without its tag", stop.vector == PF && stop.cr2 == away);
	if (HAVE_LAM) {
		state_init(&s, NATIVE, 3, &st);
		s.bx = tagged;
		set_how(U57);
		run_db(&s, (ulong)cell, 2 | 1 << 16 | 2 << 18);
		set_how(0);
	}
	holds("a data breakpoint sees the address without its tag", db.count == 1);
	if (HAVE_LAM) {
		set_how(U57);
		TRY("invlpg (%0)", : : "r"(tagged));
		set_how(0);
	}
	holds("INVLPG with a tag does not fault", exc.vector == NO_EXC);
}

static void test_control(void)
{
	const bool have = HAVE_LAM;

	TRY("mov %0, %%cr3", : : "r"(cr3 | CR3_LAM_U57));
	check_met(M, "MOV to CR3", "LAM_U57", have ? NO_EXC : GP, 0, exc.vector, exc.error);
	holds("CR3 reads LAM_U57 back", (read_cr3() & CR3_LAM_U57) != 0);
	TRY("mov %0, %%cr3", : : "r"(cr3 | CR3_LAM_U48));
	check_met(M, "MOV to CR3", "LAM_U48", have ? NO_EXC : GP, 0, exc.vector, exc.error);
	write_cr3(cr3);
	TRY("mov %0, %%cr3", : : "r"(cr3 | BIT(60)));
	check_met(M, "MOV to CR3", "bit 60", GP, 0, exc.vector, exc.error);
	TRY("mov %0, %%cr4", : : "r"(read_cr4() | CR4_LAM_SUP));
	check_met(M, "MOV to CR4", "LAM_SUP", have ? NO_EXC : GP, 0, exc.vector, exc.error);
	write_cr4(read_cr4() & ~CR4_LAM_SUP);
}

int main(void)
{
	uint64_t *pdpt_high, *pd_high;

	checks_init();
	cr3 = read_cr3();
	pdpt_high = alloc_page();
	pd_high = alloc_page();
	pml4[256] = (ulong)pdpt_high | PTE_P | PTE_W | PTE_U;
	pdpt_high[0] = (ulong)pd_high | PTE_P | PTE_W | PTE_U;
	pd_high[0] = 0x1800000 | PTE_P | PTE_W | PTE_U | PTE_PS;
	flush_tlb();
	test_rows();
	test_details();
	test_control();
	return 0;
}
