// SPDX-License-Identifier: MIT
/*
 * Task switches: by JMP, CALL, INT and IRET, to a TSS and through task gates; every
 * check of SDM Vol. 3A, "Task Switching" (its table "Exception Conditions Checked
 * During a Task Switch") with its error code; what is saved and loaded; 16-bit TSSs;
 * nesting; a double fault through a task gate.
 *
 * Faults that belong to the new task are met at its CPL 3, with the stack that its
 * own TSS has for CPL 0.
 */
#include "lib/checks.h"

static struct { uint32_t off; uint16_t sel; } __attribute__((packed)) task_ptr
	asm("task_ptr_mem") __attribute__((used));

CODE(jmp_task, "ljmp *task_ptr_mem");
CODE(call_task, "lcall *task_ptr_mem");
CODE(int_task, "int $0x90");
CODE(iret_task, "iret");
CODE(task_end, "");
CODE(bad_push, "push %eax");
CODE(ud_task, "ud2");

enum { BY_JMP, BY_CALL, BY_JMP_GATE, BY_CALL_GATE, BY_INT, BY_IRET, NR_WAYS };
enum { GATE_SLOT = 0, SEG_SLOT = 2, LDT_SLOT = 8 };
#define VEC_TASK	0x90

static const char *const way_name[] = { "JMP to a TSS", "CALL of a TSS", "JMP to a task gate",
	"CALL of a task gate", "INT by a task gate", "IRET with NT" };

struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si,
		 di, es, cs, ss, ds, ldt;
};
static struct tss16 task16;

static void put_tss(uint16_t sel, const void *base, unsigned limit, unsigned access)
{
	gdt[sel / 8] = descriptor((uint32_t)base, limit, access);
}

/* The second task: CPL 3, at the end of a case at once. */
static void init_task(bool busy)
{
	memset(&task, 0, sizeof(task));
	task.eip = (uint32_t)task_end.at[0];
	task.eflags = 2;
	task.esp = (uint32_t)user_stack_top - 256;
	task.cs = USER_CS;
	task.ds = task.es = task.ss = task.fs = task.gs = USER_DS;
	task.ss0 = KERNEL_DS;
	task.esp0 = (uint32_t)task_stack_top;
	task.iomap = sizeof(task);
	put_tss(TASK_SEL, &task, sizeof(task) - 1, SYS(busy ? TSS32_BUSY : TSS32));
	put_gate(GATE_SLOT, TASK_SEL, 0, SYS(TASK_GATE) | DPL(3), 0);
	idt[VEC_TASK] = gdt[SLOT(GATE_SLOT) / 8];
	put_system(LDT_SLOT, (ulong)ldt, sizeof(ldt) - 1, SYS(LDT));
	tss.link = TASK_SEL;
	asm volatile("lldt %w0" : : "r"(0));
}

/* Back to the first task, whatever the case has left. */
static void restore(void)
{
	gdt[TASK_SEL / 8] &= ~(2ull << 40);
	put_tss(TSS_SEL, &tss, sizeof(tss) - 1, SYS(TSS32));
	asm volatile("ltr %w0; clts" : : "r"(TSS_SEL));
}

static uint16_t way_sel(unsigned way)
{
	return way == BY_JMP || way == BY_CALL ? TASK_SEL : SLOT(GATE_SLOT);
}

static void switch_from(unsigned way, unsigned cpl, uint16_t sel)
{
	static const struct code *const code[] = { &jmp_task, &call_task, &jmp_task, &call_task,
		&int_task, &iret_task };
	struct state s;

	state_init(&s, NATIVE, cpl, code[way]);
	s.ax = 0x1234;
	s.flags |= way == BY_IRET ? FL_NT : 0;
	task_ptr.sel = sel;
	enter(&s);
}

static void try_switch(unsigned way, const char *cond, unsigned vector, uint32_t error)
{
	switch_from(way, 0, way_sel(way));
	restore();
	check("protected", way_name[way], cond, vector, error);
}

/* --- the checks of the old task --------------------------------------------------------- */

static void test_descriptor(unsigned way)
{
	const bool iret = way == BY_IRET;

	init_task(iret);
	try_switch(way, "goes through", NO_EXC, 0);
	init_task(!iret);
	try_switch(way, iret ? "the TSS is not busy" : "the TSS is busy", iret ? TS : GP, TASK_SEL);
	init_task(iret);
	gdt[TASK_SEL / 8] &= ~((uint64_t)A_P << 40);
	try_switch(way, "the TSS is not present", NP, TASK_SEL);
	init_task(iret);
	put_tss(TASK_SEL, &task, 0x66, SYS(iret ? TSS32_BUSY : TSS32));
	try_switch(way, "the TSS's limit is below 67h", TS, TASK_SEL);
	init_task(iret);
	put_tss(TASK_SEL, &task, 0x2a, SYS(iret ? TSS16_BUSY : TSS16));
	try_switch(way, "a 16-bit TSS's limit is below 2Bh", TS, TASK_SEL);
	/* The outgoing one. */
	init_task(iret);
	put_tss(TSS_SEL, &tss, 0x5e, SYS(TSS32));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
	try_switch(way, "the old TSS's limit is too small", TS, TSS_SEL);
}

/* What leads to the TSS: @sel in the gate, or the link. */
static void name_tss(unsigned way, uint16_t sel)
{
	tss.link = sel;
	put_gate(GATE_SLOT, sel, 0, SYS(TASK_GATE) | DPL(3), 0);
	idt[VEC_TASK] = gdt[SLOT(GATE_SLOT) / 8];
}

static void test_names(unsigned way)
{
	const unsigned vector = way == BY_IRET ? TS : GP;

	if (way == BY_JMP || way == BY_CALL)
		return;
	init_task(way == BY_IRET);
	name_tss(way, 0);
	try_switch(way, "the TSS's selector is null", vector, 0);
	name_tss(way, 0x2000);
	try_switch(way, "the TSS's selector is beyond the GDT's limit", vector, 0x2000);
	init_task(way == BY_IRET);
	ldt[0] = gdt[TASK_SEL / 8];
	asm volatile("lldt %w0" : : "r"(SLOT(LDT_SLOT)));
	name_tss(way, LDT_SEL(0));
	try_switch(way, "the TSS's selector has TI", vector, LDT_SEL(0));
	name_tss(way, KERNEL_DS);
	try_switch(way, "the TSS is a data segment", vector, KERNEL_DS);
	name_tss(way, SLOT(LDT_SLOT));
	try_switch(way, "the TSS is an LDT", vector, SLOT(LDT_SLOT));
}

static void test_privilege(unsigned way)
{
	const char *m = "protected", *insn = way_name[way];

	if (way == BY_IRET)
		return;
	init_task(false);
	if (way == BY_INT) {
		idt[VEC_TASK] &= ~(3ull << 45);
		switch_from(way, 3, 0);
		restore();
		check(m, insn, "the gate's DPL < CPL", GP, VEC_TASK * 8 + 2);
		init_task(false);
		idt[VEC_TASK] &= ~((uint64_t)A_P << 40);
		try_switch(way, "the gate is not present", NP, VEC_TASK * 8 + 2);
		return;
	}
	gdt[TASK_SEL / 8] |= 1ull << 45;
	gdt[SLOT(GATE_SLOT) / 8] &= ~(2ull << 45);	/* DPL 1, both */
	switch_from(way, 3, way_sel(way) | 3);
	check(m, insn, "DPL 1 < CPL 3", GP, way_sel(way));
	switch_from(way, 0, way_sel(way) | 2);
	check(m, insn, "DPL 1 < RPL 2", GP, way_sel(way));
	switch_from(way, 1, way_sel(way) | 1);
	restore();
	check(m, insn, "DPL 1 = CPL 1", NO_EXC, 0);
	init_task(false);
	ldt[0] = gdt[way_sel(way) / 8];
	asm volatile("lldt %w0" : : "r"(SLOT(LDT_SLOT)));
	switch_from(way, 0, LDT_SEL(0));
	restore();
	/* Gates may be local, TSSs not. */
	check(m, insn, "its descriptor is in the LDT",
	      way == BY_JMP || way == BY_CALL ? GP : NO_EXC, LDT_SEL(0));
	if (way == BY_JMP_GATE || way == BY_CALL_GATE) {
		init_task(false);
		gdt[SLOT(GATE_SLOT) / 8] &= ~((uint64_t)A_P << 40);
		try_switch(way, "the gate is not present", NP, SLOT(GATE_SLOT));
	}
}

/* --- the checks of the new task ------------------------------------------------------------ */

enum field { F_CS, F_SS, F_DS, F_ES, F_FS, F_GS, F_LDT };
static const char *const field_name[] = { "CS", "SS", "DS", "ES", "FS", "GS", "LDT" };

static void set_field(enum field f, uint16_t sel)
{
	uint32_t *const where[] = { &task.cs, &task.ss, &task.ds, &task.es, &task.fs, &task.gs,
		&task.ldt };

	*where[f] = sel;
}

/* clang-format off */
static const struct field_row {
	const char *cond;
	enum field field;
	unsigned access, rpl, vector;	/* SEG_SLOT holds it */
} field_rows[] = {
	{ "good code",				F_CS, CODE_XR | DPL(3), 3, NO_EXC },
	{ "conforming code, DPL < RPL",		F_CS, CODE_CR, 3, NO_EXC },
	{ "data",				F_CS, DATA_RW | DPL(3), 3, TS },
	{ "a system segment",			F_CS, SYS(LDT) | DPL(3), 3, TS },
	{ "non-conforming code, DPL < RPL",	F_CS, CODE_XR | DPL(1), 3, TS },
	{ "conforming code, DPL > RPL",		F_CS, CODE_CR | DPL(3), 2, TS },
	{ "code not present",			F_CS, (CODE_XR | DPL(3)) & ~A_P, 3, NP },
	{ "conforming code not present",	F_CS, CODE_CR & ~A_P, 3, NP },
	{ "good data",				F_SS, DATA_RW | DPL(3), 3, NO_EXC },
	{ "read-only data",			F_SS, DATA_R | DPL(3), 3, TS },
	{ "code",				F_SS, CODE_XR | DPL(3), 3, TS },
	{ "a system segment",			F_SS, SYS(LDT) | DPL(3), 3, TS },
	{ "DPL < CPL",				F_SS, DATA_RW, 3, TS },
	{ "RPL < CPL",				F_SS, DATA_RW | DPL(3), 0, TS },
	{ "not present",			F_SS, (DATA_RW | DPL(3)) & ~A_P, 3, SS },
	{ "read-only data",			F_DS, DATA_R | DPL(3), 3, NO_EXC },
	{ "execute-only code",			F_DS, CODE_X | DPL(3), 3, TS },
	{ "conforming code, DPL < CPL",		F_DS, CODE_CR, 3, NO_EXC },
	{ "a system segment",			F_DS, SYS(LDT) | DPL(3), 3, TS },
	{ "DPL < CPL",				F_DS, DATA_RW, 3, TS },
	{ "non-conforming code, DPL < CPL",	F_DS, CODE_XR, 3, TS },
	{ "not present",			F_DS, (DATA_RW | DPL(3)) & ~A_P, 3, NP },
	{ "execute-only code",			F_ES, CODE_X | DPL(3), 3, TS },
	{ "not present",			F_ES, (DATA_RW | DPL(3)) & ~A_P, 3, NP },
	{ "DPL < CPL",				F_FS, DATA_RW, 3, TS },
	{ "not present",			F_FS, (DATA_RW | DPL(3)) & ~A_P, 3, NP },
	{ "DPL < CPL",				F_GS, DATA_RW, 3, TS },
	{ "not present",			F_GS, (DATA_RW | DPL(3)) & ~A_P, 3, NP },
	{ "good",				F_LDT, SYS(LDT), 0, NO_EXC },
	{ "data",				F_LDT, DATA_RW, 0, TS },
	{ "a TSS",				F_LDT, SYS(TSS32), 0, TS },
	{ "not present",			F_LDT, LDT, 0, TS },
};
/* clang-format on */

static void check_field(unsigned way, enum field f, const char *cond, unsigned vector,
			uint32_t error)
{
	char name[80], *p = name;

	for (const char *s = "the new "; *s; s++)
		*p++ = *s;
	for (const char *s = field_name[f]; *s; s++)
		*p++ = *s;
	*p++ = ' ';
	*p++ = 'i';
	*p++ = 's';
	*p++ = ' ';
	for (const char *s = cond; *s && p < name + sizeof(name) - 1; s++)
		*p++ = *s;
	*p = 0;
	try_switch(way, name, vector, error);
}

static void field_selector(unsigned way, enum field f, uint16_t sel, const char *cond,
			   unsigned vector)
{
	init_task(way == BY_IRET);
	set_field(f, sel);
	check_field(way, f, cond, vector, sel & ~3);
}

static void test_fields(unsigned way)
{
	for (unsigned i = 0; i < ARRAY_SIZE(field_rows); i++) {
		const struct field_row *r = &field_rows[i];

		init_task(way == BY_IRET);
		if (r->access & A_S)
			put_flat(SEG_SLOT, r->access);
		else
			put_system(SEG_SLOT, (ulong)ldt, 0x67, r->access);
		set_field(r->field, SLOT(SEG_SLOT) | r->rpl);
		check_field(way, r->field, r->cond, r->vector, SLOT(SEG_SLOT));
	}
	for (enum field f = F_CS; f <= F_LDT; f++) {
		field_selector(way, f, f == F_LDT ? 0 : 3, "null", f == F_CS || f == F_SS ? TS : NO_EXC);
		field_selector(way, f, 0x2003, "beyond the GDT's limit", TS);
		field_selector(way, f, LDT_SEL(1) | 3, f == F_LDT ? "local" : "in the LDT, which is null",
			       TS);
	}
	init_task(way == BY_IRET);
	gdt[SLOT(SEG_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR | DPL(3));
	task.cs = SLOT(SEG_SLOT) | 3;
	task.eip = 0x1000;
	try_switch(way, "the new EIP is beyond CS's limit", GP, 0);
	check_that("protected", way_name[way], "a fault of the new task saves its CS and EIP",
		   stop.s.cs == task.cs && stop.s.ip == 0x1000);
}

/* --- what a switch does -------------------------------------------------------------------- */

static unsigned access_of(uint16_t sel)
{
	return gdt[sel / 8] >> 40 & 0xff;
}

static void test_effects(unsigned way)
{
	const char *m = "protected", *insn = way_name[way];
	const bool nests = way == BY_CALL || way == BY_CALL_GATE || way == BY_INT;
	const bool iret = way == BY_IRET;
	unsigned old, new;

	init_task(iret);
	task.eax = 0x55aa;
	task.link = 0x7777;
	tss.eflags = tss.eip = tss.eax = tss.cs = 0;
	switch_from(way, 0, way_sel(way));
	old = access_of(TSS_SEL);
	new = access_of(TASK_SEL);
	check_that(m, insn, "CR0.TS is set", read_cr0() & CR0_TS);
	restore();
	check_that(m, insn, "busy bits of both", new == SYS(TSS32_BUSY) &&
		   old == (unsigned)SYS(nests ? TSS32_BUSY : TSS32));
	check_that(m, insn, "NT in the new EFLAGS", !!(stop.s.flags & FL_NT) == nests);
	check_that(m, insn, "the link of the new TSS",
		   (uint16_t)task.link == (nests ? TSS_SEL : 0x7777));
	check_that(m, insn, "the old registers are in the old TSS", tss.eax == 0x1234 &&
		   (uint16_t)tss.cs == KERNEL_CS && (uint16_t)tss.ss == KERNEL_DS &&
		   tss.esp == (uint32_t)check_stack_top - 64);
	check_that(m, insn, "the old EIP is that of the next instruction",
		   tss.eip > (uint32_t)task_end.at[0] - 0x100 && tss.eip != 0 &&
		   *(uint8_t *)(tss.eip) == 0xcd);
	check_that(m, insn, "NT in the old TSS is clear", !(tss.eflags & FL_NT));
	check_that(m, insn, "the new registers are loaded",
		   stop.s.ax == 0x55aa && stop.s.cs == USER_CS && stop.s.sp == task.esp);
}

CODE(fpu_task, "fnop");
CODE(read_high, "mov 0x40000000, %eax");

/* The FPU's state is neither saved nor loaded: CR0.TS tells the new task to. */
static void test_fpu(unsigned way)
{
	uint32_t in[4] = { 1, 2, 3, 4 }, out[4] = { 0 };

	write_cr4(read_cr4() | CR4_OSFXSR);
	asm volatile("clts; movups %0, %%xmm5" : : "m"(in));
	init_task(way == BY_IRET);
	task.eip = (uint32_t)fpu_task.at[0];
	try_switch(way, "an FPU instruction of the new task", NM, 0);
	asm volatile("movups %%xmm5, %0" : "=m"(out));
	check_that("protected", way_name[way], "XMM registers stay",
		   !memcmp(in, out, sizeof(in)));
}

/* Two address spaces that differ at 1 GiB. */
static uint32_t page_dir[2][1024] __attribute__((aligned(4096)));

static void test_cr3(unsigned way)
{
	for (unsigned d = 0; d < 2; d++) {
		for (unsigned i = 0; i < 1024; i++)
			page_dir[d][i] = i << 22 | PTE_P | PTE_W | PTE_U | PTE_PS;
		page_dir[d][0x100] = (5 + d) << 22 | PTE_P | PTE_W | PTE_U | PTE_PS;
		*(volatile uint32_t *)((5 + d) << 22) = 0x1111 * (d + 1);
	}
	init_task(way == BY_IRET);
	task.eip = (uint32_t)read_high.at[0];
	task.cr3 = (uint32_t)page_dir[1];
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((uint32_t)page_dir[0]);
	write_cr0(read_cr0() | CR0_PG);
	switch_from(way, 0, way_sel(way));
	restore();
	check_that("protected", way_name[way], "CR3 is that of the new task",
		   stop.vector == NO_EXC && stop.s.ax == 0x2222 && read_cr3() == task.cr3);
	write_cr0(read_cr0() & ~CR0_PG);
	write_cr4(read_cr4() & ~CR4_PSE);
}

static volatile unsigned db_dr6, db_eip;

static void note_db(struct regs *r)
{
	ulong dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	db_dr6 = dr6;
	db_eip = r->eip;
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0));
}

static void test_debug(unsigned way)
{
	ulong dr7;

	init_task(way == BY_IRET);
	task.trap = 1;
	db_dr6 = db_eip = 0;
	set_handler(DB, note_db);
	asm volatile("mov %0, %%dr7" : : "r"(0x555));
	switch_from(way, 0, way_sel(way));
	asm volatile("mov %%dr7, %0" : "=r"(dr7));
	asm volatile("mov %0, %%dr7" : : "r"(0x400));
	set_handler(DB, NULL);
	restore();
	check_that("protected", way_name[way], "T in the new TSS: #DB before its first instruction",
		   db_dr6 & BIT(15) && db_eip == task.eip);
	check_that("protected", way_name[way], "clears DR7's local enables", (dr7 & 0x155) == 0);
}

static void test_vm86(unsigned way)
{
	static const uint8_t code[] = { 0xcd, 0x81 };

	memcpy((void *)0x6000, code, sizeof(code));
	init_task(way == BY_IRET);
	task.eflags = 2 | FL_VM | FL_IOPL;
	task.cs = 0x600;
	task.eip = 0;
	task.ss = 0x10;
	task.esp = 0x6f00;
	task.ds = 0x1234;
	task.ldt = 0;
	switch_from(way, 0, way_sel(way));
	restore();
	check_that("protected", way_name[way], "to a virtual-8086 task", stop.vector == NO_EXC &&
		   stop.s.flags & FL_VM && stop.s.cs == 0x600 && stop.s.ip == 2 &&
		   stop.s.ss == 0x10 && (uint16_t)stop.s.sp == 0x6f00);
}

static void test_tss16(unsigned way)
{
	const bool iret = way == BY_IRET;

	init_task(iret);
	memcpy((void *)0x6000, task_end.at[0], 2);
	memset(&task16, 0, sizeof(task16));
	task16 = (struct tss16){ .ip = 0x6000, .flags = 2, .ax = 0xbeef, .sp = 0x7000,
		.cs = USER_CS, .ss = USER_DS, .ds = USER_DS, .es = USER_DS, .ss0 = KERNEL_DS,
		.sp0 = 0x7800 };
	put_tss(TASK_SEL, &task16, sizeof(task16) - 1, SYS(iret ? TSS16_BUSY : TSS16));
	switch_from(way, 0, way_sel(way));
	restore();
	check_that("protected", way_name[way], "to a 16-bit TSS", stop.vector == NO_EXC &&
		   (uint16_t)stop.s.ax == 0xbeef && stop.s.cs == USER_CS && stop.s.ip == 0x6002 &&
		   stop.s.fs == 0 && stop.s.gs == 0);
}

/* A 16-bit task that is left again: its TSS has 16-bit fields. */
static void test_from_tss16(void)
{
	struct state s;

	init_task(false);
	memset(&task16, 0, sizeof(task16));
	task16.ss0 = KERNEL_DS;
	task16.sp0 = 0x7800;
	put_tss(TSS_SEL, &task16, sizeof(task16) - 1, SYS(TSS16));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
	state_init(&s, NATIVE, 0, &call_task);
	s.ax = 0x12345678;
	task_ptr.sel = TASK_SEL;
	enter(&s);
	restore();
	check_that("protected", "CALL of a TSS", "from a 16-bit TSS", stop.vector == NO_EXC &&
		   task16.ax == 0x5678 && task16.cs == KERNEL_CS && (uint16_t)task.link == TSS_SEL &&
		   task16.ip == (uint16_t)((ulong)call_task.at[0] + 6));
}

/* --- exceptions through task gates --------------------------------------------------------- */

static void exception_task(unsigned vector, const struct code *code, ulong sp, const char *cond,
			   bool has_code)
{
	const uint64_t old = idt[vector];
	struct state s;

	init_task(false);
	task.cs = KERNEL_CS;
	task.ss = task.ds = task.es = task.fs = task.gs = KERNEL_DS;
	task.esp = (uint32_t)task_stack_top - 1024;
	idt[vector] = gdt[SLOT(GATE_SLOT) / 8];
	state_init(&s, NATIVE, 0, code);
	s.sp = sp;
	enter(&s);
	idt[vector] = old;
	restore();
	check_that("protected", "exception by a task gate", cond, stop.vector == NO_EXC &&
		   stop.s.sp == task.esp - (has_code ? 4 : 0) && stop.s.flags & FL_NT &&
		   tss.eip == (uint32_t)code->at[0] && tss.esp == sp &&
		   (!has_code || *(uint32_t *)stop.s.sp == 0));
}

static void test_exceptions(void)
{
	const uint64_t old = idt[UD];

	exception_task(UD, &ud_task, (ulong)check_stack_top - 64, "#UD: no error code, EIP of UD2",
		       false);
	init_task(true);
	idt[UD] = gdt[SLOT(GATE_SLOT) / 8];
	enter(&(struct state){ .ip = (ulong)ud_task.at[0], .cs = KERNEL_CS, .ss = KERNEL_DS,
		.ds = KERNEL_DS, .es = KERNEL_DS, .sp = (ulong)check_stack_top - 64, .flags = 2 });
	idt[UD] = old;
	restore();
	check("protected", "exception by a task gate", "#UD, the TSS is busy: EXT", GP, TASK_SEL | 1);
}

CODE(int3_task, "int3");
CODE(into_task, "movb $0x7f, %al; incb %al; into");
CODE(int1_task, ".byte 0xf1");
CODE(div_task, "xor %ecx, %ecx; div %ecx");

/* What the old task goes on with: behind a trap, at a fault. */
static void test_saved_eip(void)
{
	static const struct { unsigned vec; const struct code *code; unsigned off; const char *cond; }
		rows[] = {
		{ BP, &int3_task, 1, "INT3: the old EIP is behind it" },
		{ OF, &into_task, 5, "INTO: the old EIP is behind it" },
		{ DB, &int1_task, 1, "INT1: the old EIP is behind it" },
		{ DE, &div_task, 2, "#DE: the old EIP is its own" },
	};
	struct state s;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const uint64_t old = idt[rows[i].vec];
		/* Of INT1 AMD's exit does not tell: docs/errata.md. */
		unsigned off = rows[i].vec == DB && is_amd() ? 0 : rows[i].off;

		init_task(false);
		idt[rows[i].vec] = gdt[SLOT(GATE_SLOT) / 8];
		state_init(&s, NATIVE, 3, rows[i].code);
		tss.eip = 0;
		enter(&s);
		idt[rows[i].vec] = old;
		restore();
		if (tss.eip != s.ip + off)
			note("eip %x, begun at %lx:", tss.eip, s.ip);
		check_that("protected", "exception by a task gate", rows[i].cond,
			   stop.vector == NO_EXC && tss.eip == s.ip + off);
	}
}

/* Faults of a task that an exception has switched to: EXT is set. */
static void test_ext(void)
{
	static const struct { enum field field; unsigned access, vector; const char *cond; } rows[] = {
		{ F_CS, DATA_RW | DPL(3), TS, "the new CS is data: EXT" },
		{ F_CS, (CODE_XR | DPL(3)) & ~A_P, NP, "the new CS is not present: EXT" },
		{ F_SS, DATA_R | DPL(3), TS, "the new SS is read-only: EXT" },
		{ F_SS, (DATA_RW | DPL(3)) & ~A_P, SS, "the new SS is not present: EXT" },
		{ F_DS, (DATA_RW | DPL(3)) & ~A_P, NP, "the new DS is not present: EXT" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const uint64_t old = idt[UD];
		struct state s;

		init_task(false);
		put_flat(SEG_SLOT, rows[i].access);
		set_field(rows[i].field, SLOT(SEG_SLOT) | 3);
		idt[UD] = gdt[SLOT(GATE_SLOT) / 8];
		state_init(&s, NATIVE, 3, &ud_task);
		enter(&s);
		idt[UD] = old;
		restore();
		check("protected", "exception by a task gate", rows[i].cond, rows[i].vector,
		      SLOT(SEG_SLOT) | 1);
	}
}

/* #SS at CPL 0 has no room for its frame: #DF, in its own task, code 0. */
static void test_double_fault(void)
{
	const uint64_t old = idt[DF];
	struct state s;

	init_task(false);
	task.cs = KERNEL_CS;
	task.ss = task.ds = task.es = task.fs = task.gs = KERNEL_DS;
	task.esp = (uint32_t)task_stack_top - 1024;
	idt[DF] = gdt[SLOT(GATE_SLOT) / 8];
	gdt[SLOT(SEG_SLOT) / 8] = descriptor(0, 0xfff, DATA_DOWN);
	state_init(&s, NATIVE, 0, &bad_push);
	s.ss = SLOT(SEG_SLOT);
	s.sp = 0x1002;
	enter(&s);
	idt[DF] = old;
	restore();
	check_that("protected", "#DF", "#SS, and #SS again: a task gate's task, error code 0",
		   stop.vector == NO_EXC && stop.s.sp == task.esp - 4 &&
		   *(uint32_t *)stop.s.sp == 0);
	check_that("protected", "#DF", "the old TSS has the state of the fault",
		   tss.eip == (uint32_t)bad_push.at[0] && tss.esp == 0x1002 &&
		   (uint16_t)tss.ss == SLOT(SEG_SLOT));
}

int main(void)
{
	checks_init();
	for (unsigned way = 0; way < NR_WAYS; way++) {
		test_descriptor(way);
		test_names(way);
		test_privilege(way);
		test_fields(way);
		test_effects(way);
		test_fpu(way);
		test_cr3(way);
		test_debug(way);
		test_vm86(way);
		test_tss16(way);
	}
	test_from_tss16();
	test_exceptions();
	test_saved_eip();
	test_ext();
	test_double_fault();
	return 0;
}
