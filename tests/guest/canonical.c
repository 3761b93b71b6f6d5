// SPDX-License-Identifier: MIT
/*
 * Addresses that are not canonical, at every kind of access in 64-bit mode: #GP(0), #SS(0)
 * where the stack is addressed, before any #PF; targets of branches; the last bytes of
 * the two halves; what does not fault at all. SDM Vol. 1, "Canonical Addressing"; SDM Vol.
 * 3A, "Stack Fault", "General Protection"; APM Vol. 2, "Canonical Address Form".
 */
#include "lib/checks.h"

/* Built a second time by canonical57.c, for 5-level paging. */
#ifdef FIVE_LEVELS
#define WIDTH		57
#define SUFFIX		", 5 levels"
#else
#define WIDTH		48
#define SUFFIX		""
#endif
#define LOW_END		(1ul << (WIDTH - 1))	/* the first address beyond the lower half */
#define HIGH		(~0ul << (WIDTH - 1))	/* the first of the upper half */
#define M		"64-bit"

static struct state s;
static uint8_t mem[256] asm("mem") __attribute__((used, aligned(64)));
static bool absent;		/* the processor has no such paging */

#define X(name, text)	CODE2(name, "ud2", text)
X(ld8, "mov (%rbx), %al");
X(ld16, "mov (%rbx), %ax");
X(ld64, "mov (%rbx), %rax");
X(st32, "mov %eax, (%rbx)");
X(rmw, "lock; incl (%rbx)");
X(ld_disp, "mov 0x1000(%rbx), %eax");
X(ld_index, "mov (%rbx,%rsi,8), %eax");
X(ld_sp, "mov %rbx, %rsp; mov (%rsp), %rax");
X(ld_sp_disp, "mov %rbx, %rsp; mov 8(%rsp), %rax");
X(st_bp, "mov %rbx, %rbp; mov %eax, (%rbp)");
X(push_, "mov %rbx, %rsp; push %rax");
X(pop_, "mov %rbx, %rsp; pop %rax");
X(push_m, "push (%rbx)");
X(pop_m, "pop (%rbx)");
X(call_, "mov %rbx, %rsp; call 1f; 1:");
X(ret_, "mov %rbx, %rsp; ret");
X(enter_, "mov %rbx, %rsp; enter $8, $0");
X(leave_, "mov %rbx, %rbp; leave");
X(pushf_, "mov %rbx, %rsp; pushfq");
X(lods_, "mov %rbx, %rsi; lodsb");
X(stos_, "mov %rbx, %rdi; stosl");
X(movs_, "mov $mem, %rsi; mov %rbx, %rdi; movsl");
X(rep_movs, "mov $4, %ecx; mov %rbx, %rsi; mov $mem, %rdi; rep movsb");
X(rep_stos, "mov $8, %ecx; mov %rbx, %rdi; rep stosb");
X(rep_zero, "xor %ecx, %ecx; mov %rbx, %rdi; rep stosb");
X(xlat_, "xor %eax, %eax; xlat");
X(movups_, "movups (%rbx), %xmm0");
X(movaps_, "movaps (%rbx), %xmm0");
X(fxsave_, "fxsave (%rbx)");
X(fld_, "fldt (%rbx)");
X(cmpxchg16b_, "cmpxchg16b (%rbx)");
X(bt_, "bt %rsi, (%rbx)");
X(lfs_, "lfs (%rbx), %eax");
X(jmp_m, "jmp *(%rbx)");
X(ldmxcsr_, "ldmxcsr (%rbx)");
X(clflush_, "clflush (%rbx)");
X(lea_, "lea (%rbx), %rax");
X(nop_, "nopl (%rbx)");
X(prefetch_, "prefetcht0 (%rbx)");
X(cmov_, "xor %eax, %eax; cmovnz (%rbx), %eax");
X(addr32, "mov (%ebx), %eax");
X(fs_ld, "mov %fs:(%rbx), %eax");
X(gs_sp, "mov %rbx, %rsp; mov %gs:(%rsp), %eax");

/* clang-format off */
static const struct {
	const char *insn, *cond;
	const struct code *code;
	ulong address;
	unsigned vector;
	uint32_t error;
} rows[] = {
#define USER_LD 4
#define USER_ST 6
	{ "memory operand", "a byte beyond the lower half",		&ld8, LOW_END, GP, 0 },
	{ "memory operand", "a byte before the upper half",		&ld8, HIGH - 1, GP, 0 },
	{ "memory operand", "the first byte of the upper half",		&ld8, HIGH, PF, USER_LD },
	{ "memory operand", "a word out of the lower half",		&ld16, LOW_END - 1, GP, 0 },
	{ "memory operand", "a quadword out of the lower half by a byte", &ld64, LOW_END - 7, GP, 0 },
	{ "memory operand", "the last quadword of the lower half",	&ld64, LOW_END - 8, NO_EXC, 0 },
	{ "memory operand", "a word into the upper half",		&ld16, HIGH - 1, GP, 0 },
	{ "memory operand", "bit 63 alone",				&ld64, 1ul << 63, GP, 0 },
	{ "memory operand", "bit 57 alone",				&ld64, 1ul << 57, GP, 0 },
	{ "memory operand", "bit 47 alone",				&ld64, 1ul << 47, WIDTH == 57 ? PF : GP, WIDTH == 57 ? USER_LD : 0 },
	{ "memory operand", "a store",					&st32, LOW_END, GP, 0 },
	{ "memory operand", "a store out of the lower half by a byte",	&st32, LOW_END - 3, GP, 0 },
	{ "memory operand", "a locked read-modify-write",		&rmw, LOW_END, GP, 0 },
	{ "memory operand", "by its displacement",			&ld_disp, LOW_END - 0x1000, GP, 0 },
	{ "memory operand", "by its index",				&ld_index, LOW_END - 8, GP, 0 },
	{ "memory operand", "RSP: #SS",					&ld_sp, LOW_END, SS, 0 },
	{ "memory operand", "RSP and a displacement, out of the lower half", &ld_sp_disp, LOW_END - 9, SS, 0 },
	{ "memory operand", "RSP, the last quadword",			&ld_sp, LOW_END - 8, NO_EXC, 0 },
	{ "memory operand", "RSP, a quadword out of the lower half",	&ld_sp, LOW_END - 4, SS, 0 },
	{ "memory operand", "RBP, a store: #SS",			&st_bp, LOW_END, SS, 0 },
	{ "memory operand", "32-bit address: it is zero-extended",	&addr32, LOW_END | 0x100000, NO_EXC, 0 },
	{ "memory operand", "FS: the sum counts",			&fs_ld, LOW_END - 0x1000, GP, 0 },
	{ "memory operand", "FS: the sum wraps",			&fs_ld, -0x1000ul + 0x100000, NO_EXC, 0 },
	{ "memory operand", "GS: and RSP",				&gs_sp, LOW_END - 0x1000, GP, 0 },
	{ "PUSH", "RSP is not canonical",				&push_, HIGH - 8, SS, 0 },
	{ "PUSH", "RSP is the end of the lower half",			&push_, LOW_END, NO_EXC, 0 },
	{ "PUSH", "RSP is 4 beyond the lower half",			&push_, LOW_END + 4, SS, 0 },
	{ "POP", "RSP is not canonical",				&pop_, LOW_END, SS, 0 },
	{ "POP", "out of the lower half",				&pop_, LOW_END - 4, SS, 0 },
	{ "PUSH m", "the operand",					&push_m, LOW_END, GP, 0 },
	{ "POP m", "the operand",					&pop_m, LOW_END, GP, 0 },
	{ "CALL", "RSP is not canonical",				&call_, HIGH - 8, SS, 0 },
	{ "RET", "RSP is not canonical",				&ret_, LOW_END, SS, 0 },
	{ "ENTER", "RSP is not canonical",				&enter_, HIGH - 8, SS, 0 },
	{ "LEAVE", "RBP is not canonical",				&leave_, LOW_END, SS, 0 },
	{ "PUSHF", "RSP is not canonical",				&pushf_, HIGH - 8, SS, 0 },
	{ "LODSB", "RSI",						&lods_, LOW_END, GP, 0 },
	{ "STOSD", "RDI, out of the lower half",			&stos_, LOW_END - 2, GP, 0 },
	{ "MOVSD", "RDI",						&movs_, LOW_END, GP, 0 },
	{ "REP MOVSB", "RSI",						&rep_movs, LOW_END, GP, 0 },
	{ "REP STOSB", "RDI comes to the end of the lower half",	&rep_stos, LOW_END - 3, GP, 0 },
	{ "REP STOSB", "a count of 0",					&rep_zero, LOW_END, NO_EXC, 0 },
	{ "XLAT", "RBX",						&xlat_, LOW_END, GP, 0 },
	{ "MOVUPS", "out of the lower half",				&movups_, LOW_END - 8, GP, 0 },
	{ "MOVAPS", "not canonical",					&movaps_, LOW_END, GP, 0 },
	{ "FXSAVE", "not canonical",					&fxsave_, LOW_END, GP, 0 },
	{ "FXSAVE", "out of the lower half",				&fxsave_, LOW_END - 256, GP, 0 },
	{ "FLD", "10 bytes out of the lower half",			&fld_, LOW_END - 8, GP, 0 },
	{ "CMPXCHG16B", "not canonical",				&cmpxchg16b_, LOW_END, GP, 0 },
	{ "BT", "by the bit's offset",					&bt_, LOW_END - 8, GP, 0 },
	{ "LFS", "the operand",						&lfs_, LOW_END - 4, GP, 0 },
	{ "JMP m", "the operand",					&jmp_m, LOW_END, GP, 0 },
	{ "LDMXCSR", "the operand",					&ldmxcsr_, LOW_END, GP, 0 },
	{ "CLFLUSH", "not canonical",					&clflush_, LOW_END, GP, 0 },
	{ "CMOVNZ", "not canonical, does not move",			&cmov_, LOW_END, GP, 0 },
	{ "LEA", "not canonical",					&lea_, LOW_END, NO_EXC, 0 },
	{ "NOP m", "not canonical",					&nop_, LOW_END, NO_EXC, 0 },
	{ "PREFETCH", "not canonical",					&prefetch_, LOW_END, NO_EXC, 0 },
};
/* clang-format on */

static char *append(char *p, const char *text)
{
	while (*text)
		*p++ = *text++;
	*p = 0;
	return p;
}

static void result(const char *insn, const char *cond, const char *more, unsigned vector, uint32_t error)
{
	char name[120];

	append(append(append(name, cond), more), SUFFIX);
	if (absent)
		check_skip(M, insn, name);
	else
		check(M, insn, name, vector, error);
}

static void run(const struct state *st)
{
	if (!absent)
		enter(st);
}

static void test_rows(unsigned cpl)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		state_init(&s, NATIVE, cpl, rows[i].code);
		s.bx = rows[i].address;
		s.si = 64 * 8;		/* a bit beyond, as BT's */
		s.fs = s.gs = SLOT(0) | 3;
		run(&s);
		result(rows[i].insn, rows[i].cond, cpl ? ", CPL 3" : ", CPL 0", rows[i].vector,
		       rows[i].error & (cpl ? 7 : 3));
	}
}

/* --- branches ------------------------------------------------------------------------------------ */

X(jmp_r, "jmp *%rbx");
X(call_r, "call *%rbx");
X(ret_r, "push %rbx; ret");
X(ret_n, "push %rbx; ret $8");
X(jmp_mem, "mov %rbx, mem; jmp *mem");
X(call_mem, "mov %rbx, mem; call *mem");
X(lret_, "push %rax; push %rbx; lretq");

static void test_branches(void)
{
	static const struct { const char *name; const struct code *code; unsigned before; } to[] = {
		{ "JMP r", &jmp_r, 0 }, { "CALL r", &call_r, 0 }, { "RET", &ret_r, 1 }, { "RET n", &ret_n, 1 },
		{ "JMP m", &jmp_mem, 8 }, { "CALL m", &call_mem, 8 }, { "RET far", &lret_, 2 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(to); i++)
		for (unsigned k = 0; k < 2; k++) {
			state_init(&s, NATIVE, 3, to[i].code);
			s.bx = k ? HIGH - 1 : LOW_END;
			s.ax = s.cs;
			run(&s);
			if (stop.vector == GP && stop.s.ip != s.ip + to[i].before)
				stop.vector = 0xfe;
			result(to[i].name, k ? "to before the upper half" : "to beyond the lower half", "", GP, 0);
		}
}

/* Bytes at the very end of the lower half, entered at @off before it. */
static void at_end(const char *bytes, unsigned len, const char *insn, const char *cond, ulong ip)
{
	if (!absent)
		memcpy((void *)(LOW_END - len), bytes, len);
	state_init(&s, NATIVE, 3, &jmp_r);
	s.ip = LOW_END - len;
	s.cx = 5;
	run(&s);
	if (stop.vector == GP && stop.s.ip != ip) {
		note("at %lx:", stop.s.ip);
		stop.vector = 0xfe;
	}
	result(insn, cond, "", GP, 0);
}

static void test_end(void)
{
	at_end("\x90", 1, "fetch", "goes on beyond the lower half", LOW_END);
	at_end("\xb8\x00", 2, "fetch", "an instruction across the end of the lower half", LOW_END - 2);
	at_end("\xeb\x00", 2, "JMP rel", "to the byte beyond the lower half", LOW_END - 2);
	at_end("\xeb\x10\x90\x90", 4, "JMP rel", "to beyond the lower half", LOW_END - 4);
	at_end("\x75\x7f", 2, "Jcc", "taken, to beyond the lower half", LOW_END - 2);
	at_end("\x74\x7f", 2, "Jcc", "not taken, goes on beyond the lower half", LOW_END);
	at_end("\xe8\x00\x00\x00\x00", 5, "CALL rel", "to the byte beyond the lower half", LOW_END - 5);
	at_end("\xe2\x7f", 2, "LOOP", "taken, to beyond the lower half", LOW_END - 2);
}

/* --- what takes addresses in another way ------------------------------------------------------------ */

static void met(const char *insn, const char *cond, unsigned vector)
{
	stop.vector = exc.vector;
	stop.error = exc.error;
	result(insn, cond, "", vector, 0);
}

static const struct { const char *name; uint32_t msr; bool intel; } msrs[] = {
	{ "FS_BASE", MSR_FS_BASE, false }, { "GS_BASE", MSR_GS_BASE, false },
	{ "KERNEL_GS_BASE", MSR_KERNEL_GS_BASE, false }, { "LSTAR", MSR_LSTAR, false },
	{ "CSTAR", MSR_CSTAR, false }, { "SYSENTER_EIP", MSR_SYSENTER_EIP, true },
	{ "SYSENTER_ESP", MSR_SYSENTER_ESP, true },
};

static void test_msrs(void)
{
	const struct { const char *name; ulong v; bool ok; } values[] = {
		{ ", beyond the lower half", LOW_END, false }, { ", the lower half's last", LOW_END - 1, true },
		{ ", before the upper half", HIGH - 1, false }, { ", the upper half's first", HIGH, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		const uint64_t old = rdmsr(msrs[i].msr);

		for (unsigned k = 0; k < ARRAY_SIZE(values); k++) {
			const bool ok = values[k].ok || (msrs[i].intel && is_amd());

			TRY("wrmsr", : : "c"(msrs[i].msr), "a"((uint32_t)values[k].v), "d"(values[k].v >> 32));
			stop.vector = exc.vector;
			stop.error = exc.error;
			result("WRMSR", msrs[i].name, values[k].name, ok ? NO_EXC : GP, 0);
			wrmsr(msrs[i].msr, old);
		}
	}
}

static void test_others(void)
{
	const struct { uint16_t limit; ulong base; } __attribute__((packed)) low = { 0xff, LOW_END },
		high = { 0xff, HIGH - 1 };

	TRY("lgdt %0", : : "m"(low));
	met("LGDT", "a base beyond the lower half", GP);
	TRY("lidt %0", : : "m"(high));
	met("LIDT", "a base before the upper half", GP);
	TRY("invlpg (%0)", : : "r"(LOW_END));
	met("INVLPG", "not canonical", NO_EXC);
	TRY("mov %0, %%dr0", : : "r"(LOW_END));
	met("MOV to DR0", "not canonical", NO_EXC);
	TRY("mov %0, %%cr2", : : "r"(LOW_END));
	met("MOV to CR2", "not canonical", NO_EXC);
	stop.vector = read_cr2() == LOW_END ? NO_EXC : 0xfe;
	result("MOV to CR2", "not canonical, it is kept", "", NO_EXC, 0);
	asm volatile("mov %0, %%dr0" : : "r"(0ul));
	state_init(&s, NATIVE, 0, &lea_);
	s.ip = LOW_END;
	run(&s);
	result("IRET", "RIP beyond the lower half", "", GP, 0);
	state_init(&s, NATIVE, 0, &lea_);
	s.sp = LOW_END;
	run(&s);
	result("IRET", "RSP beyond the lower half", "", NO_EXC, 0);
}

/* --- tables -------------------------------------------------------------------------------------------- */

#define ALL	(PTE_P | PTE_W | PTE_U)

#ifdef FIVE_LEVELS
#define CR4_LA57 BIT(12)

/* Out of long mode, and back with a level more: the tables' root is @cr3. */
void to_five_levels(ulong cr3);
asm(".globl to_five_levels\n"
    "to_five_levels:\n"
    "	pushq $0x18; pushq $1f; lretq\n"
    "	.code32\n"
    "1:	mov %cr0, %eax; btr $31, %eax; mov %eax, %cr0\n"
    "	mov %cr4, %ecx; bts $12, %ecx; mov %ecx, %cr4\n"
    "	mov %edi, %cr3; bts $31, %eax; mov %eax, %cr0\n"
    "	ljmp $0x08, $2f\n"
    "	.code64\n"
    "2:	ret\n");

static uint64_t *root(void)
{
	uint64_t *pml5 = alloc_page(), *top = alloc_page();

	absent = !has_c7(16);
	if (absent)
		return pml4;
	pml5[0] = (ulong)pml4 | ALL;
	pml5[255] = (ulong)top | ALL;
	to_five_levels((ulong)pml5);
	return &top[511 - 255];
}
#else
static uint64_t *root(void) { return pml4; }
#endif

int main(void)
{
	uint64_t *t[3];

	checks_init();
	for (unsigned i = 0; i < 3; i++)
		t[i] = alloc_page();
	t[0][511] = (ulong)t[1] | ALL;
	t[1][511] = (ulong)t[2] | ALL;
	t[2][511] = (ulong)alloc_page() | ALL;
	root()[255] = (ulong)t[0] | ALL;
	flush_tlb();
	gdt[SLOT(0) / 8] = descriptor(0x1000, 0, DATA_RW | DPL(3));
	test_rows(3);
	test_rows(0);
	test_branches();
	test_end();
	test_msrs();
	test_others();
	return 0;
}
