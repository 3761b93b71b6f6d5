// SPDX-License-Identifier: MIT
/* States to enter, descriptors, and the names of cases: see checks.h. */
#include "checks.h"

struct stop stop;
uint64_t ldt[LDT_SLOTS];

extern struct state enter_state;
void enter_asm(void);
void enter_leave(void) __attribute__((noreturn));

#define GDT_RINGS	(SLOT(NR_SLOTS) / 8)	/* code, 32-bit code, data of CPL 1, of 2 */

static bool entered;

#ifdef __x86_64__
static const uint16_t flat_code[2][2] = { { KERNEL_CS, USER_CS }, { KERNEL_CS32, USER_CS32 } };
#else
static const uint16_t flat_code[2][2] = { { KERNEL_CS, USER_CS }, { KERNEL_CS, USER_CS } };
#endif

uint16_t code_sel(enum mode mode, unsigned cpl)
{
	if (cpl == 0 || cpl == 3)
		return flat_code[mode][cpl == 3];
	return (GDT_RINGS + 3 * (cpl - 1) + mode) * 8 | cpl;
}

uint16_t data_sel(unsigned cpl)
{
	if (cpl == 0 || cpl == 3)
		return cpl ? USER_DS : KERNEL_DS;
	return (GDT_RINGS + 3 * (cpl - 1) + 2) * 8 | cpl;
}

const char *mode_name(enum mode mode)
{
	if (!HAS_COMPAT)
		return "protected";
	return mode == COMPAT ? "compatibility" : "64-bit";
}

void put_flat(unsigned slot, unsigned access)
{
	gdt[SLOT(slot) / 8] = descriptor(0, 0xfffff, access | FLAT);
}

void put_system(unsigned slot, ulong base, uint32_t limit, unsigned access)
{
	uint64_t *d = &gdt[SLOT(slot) / 8];

	d[0] = descriptor(base, limit, access);
#ifdef __x86_64__
	d[1] = base >> 32;
#endif
}

void put_gate(unsigned slot, uint16_t sel, ulong off, unsigned access, unsigned params)
{
	uint64_t *d = &gdt[SLOT(slot) / 8];

	d[0] = (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 |
	       (uint64_t)access << 40 | (uint64_t)(off >> 16 & 0xffff) << 48;
#ifdef __x86_64__
	d[1] = off >> 32;
#endif
}

static void rings_init(void)
{
	for (unsigned cpl = 1; cpl < 3; cpl++) {
		uint64_t *d = &gdt[GDT_RINGS + 3 * (cpl - 1)];

		d[0] = descriptor(0, 0xfffff, (HAS_COMPAT ? 0xa09b : 0xc09b) | DPL(cpl));
		d[1] = descriptor(0, 0xfffff, 0xc09b | DPL(cpl));
		d[2] = descriptor(0, 0xfffff, 0xc093 | DPL(cpl));
	}
}

#ifdef __x86_64__
uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(access & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(access >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

static void stop_registers(const struct regs *r, struct state *s)
{
	*s = (struct state){ .ax = r->rax, .cx = r->rcx, .dx = r->rdx, .bx = r->rbx,
		.bp = r->rbp, .si = r->rsi, .di = r->rdi, .ip = r->rip, .cs = r->cs,
		.flags = r->rflags, .sp = r->rsp, .ss = r->ss };
	asm volatile("mov %%ds, %0; mov %%es, %1" : "=r"(s->ds), "=r"(s->es));
	asm volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(s->fs), "=r"(s->gs));
}

/* An IST for every vector: whatever the case does to its stack. */
static void stacks_init(void)
{
	for (unsigned v = 0; v < 256; v++)
		idt[v].ist = 1;
	idt[VEC_DONE].attr |= 3 << 5;
	tss.rsp[1] = tss.rsp[2] = (ulong)kernel_stack_top;
}
#else
static void stop_registers(const struct regs *r, struct state *s)
{
	bool inner = (r->cs & 3) || (r->eflags & FL_VM);

	*s = (struct state){ .ax = r->eax, .cx = r->ecx, .dx = r->edx, .bx = r->ebx,
		.bp = r->ebp, .si = r->esi, .di = r->edi, .ip = r->eip,
		.cs = (uint16_t)r->cs,		.flags = r->eflags, .ds = (uint16_t)r->ds, .es = (uint16_t)r->es,
		.sp = inner ? r->esp : (ulong)&r->esp };
	if (inner)
		s->ss = (uint16_t)r->ss;
	else
		asm volatile("mov %%ss, %0" : "=r"(s->ss));
	asm volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(s->fs), "=r"(s->gs));
}

static void stacks_init(void)
{
	idt[VEC_DONE] |= 3ull << 45;
	tss.esp1 = tss.esp2 = (ulong)task_stack_top;	/* not that of exceptions */
	tss.ss1 = data_sel(1);
	tss.ss2 = data_sel(2);
}
#endif

static bool enter_stopped(const struct regs *r);

void checks_init(void)
{
	rings_init();
	stacks_init();
	set_stop_hook(enter_stopped);
}

void state_init(struct state *s, enum mode mode, unsigned cpl, const struct code *c)
{
	memset(s, 0, sizeof(*s));
	s->cs = code_sel(mode, cpl);
	s->ss = s->ds = s->es = data_sel(cpl);
	s->ip = (ulong)c->at[mode];
	s->sp = (ulong)(cpl ? user_stack_top : check_stack_top) - 64;
	s->flags = 2;
}

void enter(const struct state *s)
{
	enter_state = *s;
	entered = true;
	enter_asm();
}

/* Called with every exception and VEC_DONE: does not return when inside enter(). */
static bool enter_stopped(const struct regs *r)
{
	if (!entered)
		return false;
	entered = false;
	stop.vector = r->vector == VEC_DONE ? NO_EXC : r->vector;
	stop.error = r->error;
	stop.cr2 = read_cr2();
	stop_registers(r, &stop.s);
	enter_leave();
}

/* --- names ------------------------------------------------------------------------------ */

static const char *const fault_name[] = {
	[DE] = "#DE", [DB] = "#DB", [NMI] = "NMI", [BP] = "#BP", [OF] = "#OF", [BR] = "#BR",
	[UD] = "#UD", [NM] = "#NM", [DF] = "#DF", [TS] = "#TS", [NP] = "#NP", [SS] = "#SS",
	[GP] = "#GP", [PF] = "#PF", [MF] = "#MF", [AC] = "#AC", [XM] = "#XM",
};

static const char *name_of(unsigned vector)
{
	if (vector == NO_EXC)
		return "no fault";
	return vector < ARRAY_SIZE(fault_name) && fault_name[vector] ? fault_name[vector] : "?";
}

static bool has_error(unsigned vector)
{
	return vector == DF || (vector >= TS && vector <= PF) || vector == AC;
}

void check_met(const char *mode, const char *insn, const char *cond, unsigned vector,
	       uint32_t error, unsigned met, uint32_t met_error)
{
	bool ok = met == vector && (!has_error(vector) || met_error == error);

	if (!ok)
		note("met %s(%x) at %lx:%lx, cr2 %lx:", name_of(met), met_error, stop.s.cs,
		     stop.s.ip, stop.cr2);
	if (has_error(vector))
		report(ok, "%s: %s: %s: %s(%x)", mode, insn, cond, name_of(vector), error);
	else
		report(ok, "%s: %s: %s: %s", mode, insn, cond, name_of(vector));
}

void check(const char *mode, const char *insn, const char *cond, unsigned vector,
	   uint32_t error)
{
	check_met(mode, insn, cond, vector, error, stop.vector, stop.error);
}

void check_that(const char *mode, const char *insn, const char *cond, bool ok)
{
	report(ok, "%s: %s: %s: holds", mode, insn, cond);
}

void check_skip(const char *mode, const char *insn, const char *cond)
{
	report_skip("%s: %s: %s: not here", mode, insn, cond);
}

bool row_applies(unsigned vendor)
{
	return vendor == BOTH || (vendor == AMD) == is_amd();
}
