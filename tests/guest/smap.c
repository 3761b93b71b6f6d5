// SPDX-License-Identifier: MIT
/*
 * SMAP and SMEP with every kind of access: explicit ones of the supervisor, which
 * EFLAGS.AC allows; implicit ones (descriptor tables, TSS), which it does not and which
 * are the supervisor's at CPL 3, too; stacks of inner levels, which are explicit; and
 * fetches by every way to another address. SDM Vol. 3A, "Determination of Access
 * Rights", "Access Rights"; APM Vol. 2, "Supervisor Mode Access Prevention".
 */
#include "lib/window.h"

#define PF_P	1u
#define PF_W	2u
#define PF_U	4u
#define PF_I	0x10u

static uint8_t kernel_data[256] __attribute__((aligned(64)));
static const struct { const char *name; ulong flags; } ac_of[] = {
	{ "AC clear", 0 }, { "AC set", FL_AC },
};
static struct state s;

static void put(char *d, const char *a, const char *b)
{
	while (*a)
		*d++ = *a++;
	while (*b)
		*d++ = *b++;
	*d = 0;
}

/* "@cond, AC clear" or "..., AC set". */
static void check_ac(enum mode mode, const char *insn, const char *cond, unsigned ac,
		     unsigned vector, uint32_t error)
{
	static const char *const tail[] = { ", AC clear", ", AC set" };
	char name[96];

	put(name, cond, tail[ac]);
	check(mode_name(mode), insn, name, vector, error);
}

/* --- explicit accesses ---------------------------------------------------------------------- */

CODE(ld, "mov (%ebx), %eax");
CODE(st, "mov %eax, (%ebx)");
CODE(rmw, "incl (%ebx)");
CODE(locked, "lock; incl (%ebx)");
CODE(cmpx, "cmpxchg %ecx, (%ebx)");
CODE(cmp, "cmp %eax, (%ebx)");
CODE(lods, "mov %ebx, %esi; lodsl");
CODE(stos, "mov %ebx, %edi; stosl");
CODE(movs, "mov %ebx, %esi; mov %ebp, %edi; movsl");
CODE(rep_stos, "mov %ebx, %edi; mov $4, %ecx; rep stosl");
CODE(fld_, "fldl (%ebx)");
CODE(fst_, "fldz; fstpl (%ebx)");
CODE(movups_ld, "movups (%ebx), %xmm0");
CODE(movups_st, "movups %xmm0, (%ebx)");
CODE(fxsave_, "fxsave (%ebx)");
CODE2(xlat, "xor %eax, %eax; xlat", "xor %eax, %eax; .byte 0x67; xlat");
CODE(push_, "mov %ebx, %esp; push $1");
CODE(pop_, "mov %ebx, %esp; pop %ax");
CODE(call_, "mov %ebx, %esp; call 1f; 1:");
CODE(ret_, "mov %ebx, %esp; ret");
CODE(enter_, "mov %ebx, %esp; enter $8, $0");
CODE(leave_, "mov %ebx, %ebp; leave");
CODE(bt_, "btsl $1, (%ebx)");
CODE(sgdt_, "sgdt (%ebx)");
CODE(nopm, "nopl (%ebx)");
CODE(prefetch_, "prefetcht0 (%ebx)");
CODE(clflush_, "clflush (%ebx)");
CODE(lea_, "lea (%ebx), %eax");

/* clang-format off */
static const struct { const char *name; const struct code *code; uint32_t error; unsigned cpl; }
	explicits[] = {
	{ "a load",			&ld, PF_P, 0 },
	{ "a store",			&st, PF_P | PF_W, 0 },
	{ "a read-modify-write",	&rmw, PF_P | PF_W, 0 },
	{ "a locked one",		&locked, PF_P | PF_W, 0 },
	{ "CMPXCHG",			&cmpx, PF_P | PF_W, 0 },
	{ "CMP",			&cmp, PF_P, 0 },
	{ "LODS",			&lods, PF_P, 0 },
	{ "STOS",			&stos, PF_P | PF_W, 0 },
	{ "MOVS",			&movs, PF_P, 0 },
	{ "REP STOS",			&rep_stos, PF_P | PF_W, 0 },
	{ "FLD",			&fld_, PF_P, 0 },
	{ "FSTP",			&fst_, PF_P | PF_W, 0 },
	{ "a load of MOVUPS",		&movups_ld, PF_P, 0 },
	{ "a store of MOVUPS",		&movups_st, PF_P | PF_W, 0 },
	{ "FXSAVE",			&fxsave_, PF_P | PF_W, 0 },
	{ "XLAT",			&xlat, PF_P, 0 },
	{ "BTS",			&bt_, PF_P | PF_W, 0 },
	{ "SGDT",			&sgdt_, PF_P | PF_W, 0 },
	{ "CLFLUSH",			&clflush_, PF_P, 0 },
	{ "CPL 1, a load",		&ld, PF_P, 1 },
	{ "CPL 2, a store",		&st, PF_P | PF_W, 2 },
	{ "CPL 1, PUSH",		&push_, PF_P | PF_W, 1 },
	{ "CPL 1, POP",			&pop_, PF_P, 1 },
	{ "CPL 1, CALL",		&call_, PF_P | PF_W, 1 },
	{ "CPL 1, RET",			&ret_, PF_P, 1 },
	{ "CPL 1, ENTER",		&enter_, PF_P | PF_W, 1 },
	{ "CPL 1, LEAVE",		&leave_, PF_P, 1 },
	{ "NOP m accesses nothing",	&nopm, 0, 0 },
	{ "PREFETCH does not fault",	&prefetch_, 0, 0 },
	{ "LEA accesses nothing",	&lea_, 0, 0 },
};
/* clang-format on */

static void explicit_case(enum mode mode, unsigned i, unsigned ac)
{
	const bool denied = !ac && explicits[i].error;

	state_init(&s, mode, explicits[i].cpl, explicits[i].code);
	s.flags |= ac_of[ac].flags;
	s.bx = WINDOW_DATA;
	s.bp = (ulong)kernel_data;
	*(ulong *)WINDOW_DATA = 0;
	if (explicits[i].code == &ret_)		/* to the code's own end */
		for (const uint8_t *p = ret_.at[mode];; p++)
			if (p[0] == 0xcd && p[1] == VEC_DONE) {
				*(ulong *)WINDOW_DATA = (ulong)p;
				break;
			}
	asm volatile(".byte 0x0f, 0x01, 0xca" : : : "cc");	/* CLAC: @s is ours */
	write_cr4(read_cr4() | CR4_SMAP);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_SMAP);
	check_ac(mode, "SMAP", explicits[i].name, ac, denied ? PF : NO_EXC, explicits[i].error);
}

static void test_explicit(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(explicits); i++)
		for (unsigned ac = 0; ac < 2; ac++)
			explicit_case(mode, i, ac);
}

/* CR0.WP and rights of the page come beside SMAP. */
static void page_case(enum mode mode, const char *cond, ulong flags, bool wp, unsigned cpl,
		      const struct code *code, unsigned vector, uint32_t error)
{
	window_set(flags);
	if (!wp)
		write_cr0(read_cr0() & ~CR0_WP);
	state_init(&s, mode, cpl, code);
	s.flags |= FL_AC;
	s.bx = WINDOW_DATA;
	write_cr4(read_cr4() | CR4_SMAP);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_SMAP);
	write_cr0(read_cr0() | CR0_WP);
	window_set(PTE_W | PTE_U);
	check(mode_name(mode), "SMAP", cond, vector, error);
}

static void test_pages(enum mode mode)
{
	page_case(mode, "AC set, a read-only user page, WP set, a store", PTE_U, true, 0, &st, PF,
		  PF_P | PF_W);
	page_case(mode, "AC set, a read-only user page, WP set, a load", PTE_U, true, 0, &ld, NO_EXC, 0);
	page_case(mode, "AC set, a read-only user page, WP clear, a store", PTE_U, false, 0, &st, NO_EXC,
		  0);
	page_case(mode, "a supervisor page", PTE_W, true, 0, &st, NO_EXC, 0);
	page_case(mode, "a read-only supervisor page, WP clear", 0, false, 0, &st, NO_EXC, 0);
	page_case(mode, "a read-only supervisor page, WP set", 0, true, 0, &st, PF, PF_P | PF_W);
}

/* --- implicit accesses ------------------------------------------------------------------------ */

CODE(mov_ds, "mov %eax, %ds");
CODE(lar_, "lar %eax, %ecx");
CODE(lsl_, "lsl %eax, %ecx");
CODE(verr_, "verr %ax");
CODE(verw_, "verw %ax");
CODE(lfs_, "lfs (%ebx), %edx");
CODE(jmp_far, "ljmpl *(%ebx)");
CODE(call_far, "lcall *(%ebx)");
CODE2(ret_far, "push %eax; push $0; lretl", "ud2");

static const struct { const char *name; const struct code *code; unsigned sel, modes; } by_ldt[] = {
	{ "MOV DS", &mov_ds, 0, 3 },	{ "LAR", &lar_, 0, 3 },		{ "LSL", &lsl_, 0, 3 },
	{ "VERR", &verr_, 0, 3 },	{ "VERW", &verw_, 0, 3 },	{ "LFS", &lfs_, 0, 3 },
	{ "JMP far", &jmp_far, 1, 3 },	{ "CALL far", &call_far, 1, 3 },
	{ "RET far", &ret_far, 1, 2 },	/* a 32-bit push */
};

/* An LDT of data and of code of @cpl, at @at. */
static void put_ldt(ulong at, unsigned cpl)
{
	uint64_t *d = (uint64_t *)at;

	d[0] = descriptor(0, 0xfffff, (DATA_RW | FLAT) | DPL(cpl));
	d[1] = descriptor(0, 0xfffff, (CODE_XR | FLAT) | DPL(cpl));
	put_system(8, at, 15, SYS(LDT));
	asm volatile("lldt %w0" : : "r"(SLOT(8)));
}

static void ldt_case(enum mode mode, unsigned i, unsigned cpl, unsigned ac, ulong at, bool smap)
{
	uint32_t *ptr;

	put_ldt(at, cpl);
	window_state(&s, mode, cpl, by_ldt[i].code, kernel_data);
	s.flags |= ac_of[ac].flags;
	s.ax = LDT_SEL(by_ldt[i].sel) | cpl;
	ptr = (uint32_t *)s.bx;
	ptr[0] = (ulong)by_ldt[i].code->at[COMPAT];
	ptr[1] = s.ax;
	/* Far transfers fault at the descriptor, or when they arrive at CPL 3. */
	if (by_ldt[i].sel && at < WINDOW)
		ptr[0] = ~0u;
	write_cr4(smap ? read_cr4() | CR4_SMAP : read_cr4() & ~CR4_SMAP);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_SMAP);
}

static void test_ldt(enum mode mode)
{
	static const char *const of[] = { "the LDT is the user's, CPL 0", "", "",
		"the LDT is the user's, CPL 3" };

	for (unsigned i = 0; i < ARRAY_SIZE(by_ldt); i++) {
		if (is_64bit(mode) && by_ldt[i].modes == 2)
			continue;
		for (unsigned k = 0; k < 4; k++) {
			ldt_case(mode, i, k & 2 ? 3 : 0, k & 1, WINDOW_DATA + 4096, true);
			check_ac(mode, by_ldt[i].name, of[k & 2 ? 3 : 0], k & 1, PF, PF_P);
		}
		if (by_ldt[i].sel)
			continue;
		ldt_case(mode, i, 3, 0, WINDOW_DATA + 4096, false);
		check(mode_name(mode), by_ldt[i].name, "the LDT is the user's, SMAP clear", NO_EXC, 0);
		ldt_case(mode, i, 3, 0, (ulong)ldt, true);
		check(mode_name(mode), by_ldt[i].name, "the LDT is the supervisor's, CPL 3", NO_EXC, 0);
	}
	asm volatile("lldt %w0" : : "r"(0));
}

/* The accessed bit is written by the supervisor, whatever the CPL. */
static void test_accessed(enum mode mode)
{
	uint64_t *d = (uint64_t *)(WINDOW_DATA + 4096);

	for (unsigned wp = 0; wp < 2; wp++) {
		put_ldt((ulong)d, 3);
		d[0] &= ~(1ull << 40);
		state_init(&s, mode, 3, &mov_ds);
		s.ax = LDT_SEL(0) | 3;
		*window_entry((ulong)mov_ds.at[mode] / WINDOW_PAGE) |= PTE_U;
		window_set(0);
		write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
		enter(&s);
		write_cr0(read_cr0() | CR0_WP);
		*window_entry((ulong)mov_ds.at[mode] / WINDOW_PAGE) &= ~(window_pte)PTE_U;
		window_set(PTE_W | PTE_U);
		check(mode_name(mode), "MOV DS", wp ? "CPL 3, the LDT is read-only, WP set" :
		      "CPL 3, the LDT is read-only, WP clear", wp ? PF : NO_EXC, PF_P | PF_W);
		check_that(mode_name(mode), "MOV DS", wp ? "CPL 3, the LDT is read-only, WP set: not accessed" :
			   "CPL 3, the LDT is read-only, WP clear: accessed", (d[0] >> 40 & 1) == !wp);
	}
	asm volatile("lldt %w0" : : "r"(0));
}

/* --- the tables of events ------------------------------------------------------------------------ */

#define VEC		0x90
#define SPLIT_VEC	0x88	/* gates from here on are in the window */

CODE(int_n, "int $0x90");
CODE(in_, "in $0x20, %al");
CODE(handler, "");

struct table { uint16_t limit; ulong base; } __attribute__((packed));

static void load_idt(ulong base)
{
	struct table p = { sizeof(idt[0]) * 256 - 1, base };

	asm volatile("lidt %0" : : "m"(p));
}

static void run_smap(unsigned ac)
{
	s.flags |= ac_of[ac].flags;
	write_cr4(read_cr4() | CR4_SMAP);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_SMAP);
}

static void test_idt(enum mode mode)
{
	const ulong base = WINDOW - SPLIT_VEC * sizeof(idt[0]);

	memcpy((void *)base, idt, sizeof(idt[0]) * 256);
	for (unsigned k = 0; k < 4; k++) {
		window_state(&s, mode, k & 2 ? 3 : 0, &int_n, kernel_data);
		load_idt(base);
		run_smap(k & 1);
		load_idt((ulong)idt);
		check_ac(mode, "INT n", k & 2 ? "the IDT is the user's, CPL 3" : "the IDT is the user's, CPL 0",
			 k & 1, PF, PF_P);
	}
	check_that(mode_name(mode), "INT n", "the IDT is the user's: CR2 is the gate's address",
		   stop.cr2 == base + VEC * sizeof(idt[0]));
}

static void set_tss(ulong base, uint32_t limit)
{
	gdt[TSS_SEL / 8] = descriptor(base, limit, SYS(TSS32));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

/* VEC's handler is of CPL 1. */
static void gate_to_cpl1(ulong target)
{
	put_flat(0, (HAS_COMPAT ? 0x209b : CODE_XR) | DPL(1));
#ifdef __x86_64__
	idt[VEC] = (struct idt_gate){ .off0 = target, .off1 = target >> 16, .sel = SLOT(0) | 1,
		.attr = SYS(INTR32) | DPL(3) };
#else
	idt[VEC] = gate(SLOT(0) | 1, (void *)target, SYS(INTR32) | DPL(3), 0);
#endif
}

/* The field of level 1 in the user's part of a TSS whose level 0 is the supervisor's. */
static void test_tss(enum mode mode)
{
	const ulong base = WINDOW - 12;

	gate_to_cpl1((ulong)handler.at[NATIVE]);
	memcpy((void *)base, &tss, sizeof(tss));
	for (unsigned ac = 0; ac < 2; ac++) {
		window_state(&s, mode, 3, &int_n, kernel_data);
		set_tss(base, 0x67);
#ifdef __x86_64__
		idt[PF].ist = 0;
#endif
		run_smap(ac);
#ifdef __x86_64__
		idt[PF].ist = 1;
#endif
		set_tss((ulong)&tss, sizeof(tss) - 1);
		check_ac(mode, "INT n", "the TSS's stacks are the user's, CPL 3", ac, PF, PF_P);
	}
	memcpy((void *)(WINDOW - 104), &tss, sizeof(tss));
	for (unsigned ac = 0; ac < 2; ac++) {
		window_state(&s, mode, 3, &in_, kernel_data);
		set_tss(WINDOW - 104, 0x2067);
		run_smap(ac);
		set_tss((ulong)&tss, sizeof(tss) - 1);
		check_ac(mode, "IN", "the I/O map is the user's, CPL 3", ac, PF, PF_P);
	}
}

/* A switch reads the new task's TSS and writes the old one's; KVM does both itself. */
#ifndef __x86_64__
static void task_case(enum mode mode, ulong to, unsigned ac, const char *cond, uint32_t error)
{
	const uint32_t ptr[2] = { 0, SLOT(10) };

	memcpy(kernel_data, ptr, sizeof(ptr));
	gdt[SLOT(10) / 8] = descriptor(to, 0x67, SYS(TSS32));
	state_init(&s, mode, 0, &jmp_far);
	s.bx = (ulong)kernel_data;
	run_smap(ac);
	check_ac(mode, "JMP to a TSS", cond, ac, PF, error);
}

static void test_tasks(enum mode mode)
{
	for (unsigned ac = 0; ac < 2; ac++) {
		task_case(mode, WINDOW_DATA, ac, "the new TSS is the user's", PF_P);
		memcpy((void *)WINDOW_DATA, &tss, sizeof(tss));
		set_tss(WINDOW_DATA, 0x67);
		task_case(mode, (ulong)&task, ac, "the old TSS is the user's", PF_P | PF_W);
		set_tss((ulong)&tss, sizeof(tss) - 1);
	}
}
#else
static void test_tasks(enum mode mode) { }
#endif

/* --- stacks of inner levels ----------------------------------------------------------------------- */

CODE(call_gate, "lcall *(%ebx)");

static void set_stack1(ulong sp)
{
#ifdef __x86_64__
	tss.rsp[1] = sp;
#else
	tss.esp1 = sp;
	tss.ss1 = data_sel(1);
#endif
}

static void test_inner(enum mode mode)
{
	gate_to_cpl1((ulong)handler.at[NATIVE]);
#ifdef __x86_64__
	const ulong old = tss.rsp[1];
#else
	const ulong old = tss.esp1;
#endif
	set_stack1(WINDOW_STACK - 4096);
	for (unsigned ac = 0; ac < 2; ac++) {
		window_state(&s, mode, 3, &int_n, kernel_data);
		run_smap(ac);
		check_ac(mode, "INT n", "from CPL 3 to a stack that is the user's", ac, ac ? NO_EXC : PF,
			 PF_P | PF_W);
		put_gate(2, SLOT(0), (ulong)handler.at[NATIVE], SYS(CALL32) | DPL(3), 0);
		window_state(&s, mode, 3, &call_gate, kernel_data);
		((uint32_t *)s.bx)[0] = 0;
		((uint32_t *)s.bx)[1] = SLOT(2);
		run_smap(ac);
		check_ac(mode, "CALL far", "a gate from CPL 3 to a stack that is the user's", ac,
			 ac ? NO_EXC : PF, PF_P | PF_W);
	}
	set_stack1(old);
}

/* --- SMEP ------------------------------------------------------------------------------------------ */

CODE2(jmp_near, "jmp *%ebx", "jmp *%rbx");
CODE2(call_near, "call *%ebx", "call *%rbx");
CODE2(ret_near, "push %ebx; ret", "push %rbx; ret");
CODE2(iret_, "pushf; push %cs; push %ebx; iretl",
      "mov %rsp, %rcx; push %rax; push %rcx; pushfq; push %rdx; push %rbx; iretq");
CODE2(lret_, "push %cs; push %ebx; lretl", "push %rdx; push %rbx; lretq");
CODE(nothing, "");

static const struct { const char *name; const struct code *code; } ways[] = {
	{ "JMP r", &jmp_near }, { "CALL r", &call_near }, { "RET", &ret_near }, { "IRET", &iret_ },
	{ "RET far", &lret_ },
};

static void smep_case(enum mode mode, unsigned i, unsigned cpl, bool smep)
{
	state_init(&s, mode, cpl, ways[i].code);
	memcpy((void *)WINDOW_CODE, nothing.at[mode], 16);
	s.bx = WINDOW_CODE;
	s.ax = s.ss;
	s.dx = s.cs;
	write_cr4(smep ? read_cr4() | CR4_SMEP : read_cr4() & ~CR4_SMEP);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_SMEP);
}

static void test_smep(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		smep_case(mode, i, 0, true);
		check(mode_name(mode), "SMEP", ways[i].name, PF, PF_P | PF_I);
		check_that(mode_name(mode), "SMEP, at the target", ways[i].name, stop.s.ip == WINDOW_CODE);
		smep_case(mode, i, 1, true);
		check(mode_name(mode), "SMEP, CPL 1", ways[i].name, PF, PF_P | PF_I);
		smep_case(mode, i, 0, false);
		check(mode_name(mode), "SMEP clear", ways[i].name, NO_EXC, 0);
	}
}

/* At CPL 3, and by the gates of interrupts. */
static void test_smep_user(enum mode mode)
{
	const char *m = mode_name(mode);

	memcpy((void *)WINDOW_CODE + 64, nothing.at[NATIVE], 16);
	for (unsigned smep = 0; smep < 2; smep++) {
		write_cr4(smep ? read_cr4() | CR4_SMEP : read_cr4() & ~CR4_SMEP);
		window_state(&s, mode, 3, &nothing, kernel_data);
		enter(&s);
		check(m, "fetch", smep ? "SMEP, CPL 3, a user page" : "CPL 3, a user page", NO_EXC, 0);
		window_state(&s, mode, 3, &jmp_near, kernel_data);
		s.bx = (ulong)nothing.at[mode];
		enter(&s);
		check(m, "fetch", smep ? "SMEP, CPL 3, a supervisor page" : "CPL 3, a supervisor page", PF,
		      PF_P | PF_U | (smep || HAS_COMPAT ? PF_I : 0));
		gate_to_cpl1(WINDOW_CODE + 64);
		window_state(&s, mode, 3, &int_n, kernel_data);
		enter(&s);
		check(m, "INT n", smep ? "SMEP, the handler of CPL 1 is in a user page" :
		      "the handler of CPL 1 is in a user page", smep ? PF : NO_EXC, PF_P | PF_I);
	}
	write_cr4(read_cr4() & ~CR4_SMEP);
}

/* --- control bits that change between two accesses --------------------------------------------------- */

CODE2(ld_cr4_ld, "mov (%ebx), %eax; mov (%ebx), %eax; mov %ecx, %cr4; mov (%ebx), %eax",
      "mov (%rbx), %eax; mov (%rbx), %eax; mov %rcx, %cr4; mov (%rbx), %eax");
CODE2(st_cr0_st, "mov %eax, (%ebx); mov %eax, (%ebx); mov %ecx, %cr0; mov %eax, (%ebx)",
      "mov %eax, (%rbx); mov %eax, (%rbx); mov %rcx, %cr0; mov %eax, (%rbx)");
CODE2(call_cr4_call, "call *%ebx; call *%ebx; mov %ecx, %cr4; call *%ebx",
      "call *%rbx; call *%rbx; mov %rcx, %cr4; call *%rbx");

/* The page is known by then, and what may be done with it. */
static void test_changes(enum mode mode)
{
	const ulong cr0 = read_cr0(), cr4 = read_cr4();
	const char *m = mode_name(mode);

	for (unsigned on = 0; on < 2; on++) {
		state_init(&s, mode, 0, &ld_cr4_ld);
		s.bx = WINDOW_DATA;
		s.cx = on ? cr4 | CR4_SMAP : cr4;
		enter(&s);
		write_cr4(cr4);
		check(m, "memory operand", on ? "SMAP is set between two loads" : "CR4 is written between two loads",
		      on ? PF : NO_EXC, PF_P);
		*(uint8_t *)WINDOW_CODE = 0xc3;
		state_init(&s, mode, 0, &call_cr4_call);
		s.bx = WINDOW_CODE;
		s.cx = on ? cr4 | CR4_SMEP : cr4;
		enter(&s);
		write_cr4(cr4);
		check(m, "fetch", on ? "SMEP is set between two calls" : "CR4 is written between two calls",
		      on ? PF : NO_EXC, PF_P | PF_I);
		window_set(PTE_U);
		write_cr0(cr0 & ~CR0_WP);
		state_init(&s, mode, 0, &st_cr0_st);
		s.bx = WINDOW_DATA;
		s.cx = on ? cr0 | CR0_WP : cr0 & ~CR0_WP;
		enter(&s);
		write_cr0(cr0);
		window_set(PTE_W | PTE_U);
		check(m, "memory operand", on ? "WP is set between two stores" : "CR0 is written between two stores",
		      on ? PF : NO_EXC, PF_P | PF_W);
	}
}

/* --- AC and the instructions that change it ------------------------------------------------------------ */

CODE(stac_ld, ".byte 0x0f, 0x01, 0xcb; mov (%ebx), %eax");
CODE(stac_clac_ld, ".byte 0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca; mov (%ebx), %eax");
CODE2(popf_ld, "push %ecx; popfl; mov (%ebx), %eax", "push %rcx; popfq; mov (%ebx), %eax");
CODE(lock_stac, ".byte 0xf0, 0x0f, 0x01, 0xcb");
CODE(rep_clac, ".byte 0xf3, 0x0f, 0x01, 0xca");
CODE(opsize_stac, ".byte 0x66, 0x0f, 0x01, 0xcb");

static void ac_case(enum mode mode, const char *insn, const char *cond, const struct code *code,
		    ulong cx, unsigned vector, uint32_t error)
{
	state_init(&s, mode, 0, code);
	s.bx = WINDOW_DATA;
	s.cx = cx;
	run_smap(0);
	check(mode_name(mode), insn, cond, vector, error);
}

static void test_ac(enum mode mode)
{
	ac_case(mode, "STAC", "SMAP, then a load of a user page", &stac_ld, 0, NO_EXC, 0);
	ac_case(mode, "CLAC", "SMAP, then a load of a user page", &stac_clac_ld, 0, PF, PF_P);
	ac_case(mode, "POPF", "AC in the image, then a load of a user page, SMAP", &popf_ld, 2 | FL_AC,
		NO_EXC, 0);
	ac_case(mode, "POPF", "no AC in the image, then a load of a user page, SMAP", &popf_ld, 2, PF, PF_P);
	ac_case(mode, "STAC", "LOCK", &lock_stac, 0, UD, 0);
	ac_case(mode, "CLAC", "REP", &rep_clac, 0, UD, 0);
	ac_case(mode, "STAC", "66", &opsize_stac, 0, UD, 0);
}

int main(void)
{
	checks_init();
	write_cr4(read_cr4() | CR4_OSFXSR);
	window_init();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_explicit(mode);
		test_pages(mode);
		test_ldt(mode);
		test_accessed(mode);
		test_idt(mode);
		test_tss(mode);
		test_tasks(mode);
		test_inner(mode);
		test_smep(mode);
		test_smep_user(mode);
		test_changes(mode);
		test_ac(mode);
	}
	return 0;
}
