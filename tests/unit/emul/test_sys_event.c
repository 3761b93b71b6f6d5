// SPDX-License-Identifier: MIT
/*
 * Event delivery: each check of the gate, the code segment, the stack and the
 * target with its exception and error code (EXT included), and the stack images of
 * the deliveries that succeed: IVT, 16- and 32-bit gates, vm86, long mode, IST.
 */
#include "sysenv.h"

#define HANDLER		0x12340u
#define RET_RIP		0x10123u

struct ev_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t type;		/* enum x86_event_type */
	void (*setup)(void);
	uint8_t vec;
	uint16_t ec;
};

static int deliver(uint8_t type, uint8_t vector, bool has_ec, uint32_t ec)
{
	const struct x86_event ev = {
		.vector = vector, .type = type, .has_error_code = has_ec,
		.error_code = ec, .return_rip = RET_RIP,
	};

	env_snapshot();
	return emul_deliver_event(&env.c, &ev);
}

static uint16_t code0(void)
{
	return env.c.efer & X86_EFER_LMA ? SEL_CODE64_0 : SEL_CODE0;
}

#define PF_RW	(X86_PFERR_P | X86_PFERR_W)

/* The vector of all rows. */
#define V	0x21
#define IDT_EC	(V * 8 + 2)

static void gate_ok(void)
{
	env_idt(V, code0(), HANDLER, X86_INTR_GATE32, 3, 0);
}

static void idt_short(void)
{
	gate_ok();
	env.c.idt.limit = V * (env.c.efer & X86_EFER_LMA ? 16 : 8) + 6;
}

static void gate_type_0(void)
{
	env_idt(V, code0(), HANDLER, 0, 3, 0);
}

static void gate_type_call(void)
{
	env_idt(V, code0(), HANDLER, X86_CALL_GATE32, 3, 0);
}

static void gate_type_16(void)
{
	env_idt(V, code0(), HANDLER, X86_INTR_GATE16, 3, 0);
}

static void gate_type_task(void)
{
	env_idt(V, SEL_TSS_B, 0, X86_TASK_GATE, 3, 0);
}

static void gate_dpl_0(void)
{
	env_idt(V, code0(), HANDLER, X86_INTR_GATE32, 0, 0);
}

static void gate_absent(void)
{
	env_idt(V, code0(), HANDLER, X86_INTR_GATE32 | GATE_ABSENT, 3, 0);
}

static void gate_dpl_0_absent(void)
{
	env_idt(V, code0(), HANDLER, X86_INTR_GATE32 | GATE_ABSENT, 0, 0);
}

#define GATE_TO(fn, sel)						\
static void fn(void)							\
{									\
	env_idt(V, sel, HANDLER, X86_INTR_GATE32, 3, 0);		\
}
GATE_TO(cs_null, 3)
GATE_TO(cs_beyond, SEL_BEYOND | 3)
GATE_TO(cs_data, SEL_DATA0)
GATE_TO(cs_system, SEL_TSS)
GATE_TO(cs_outer, SEL_CODE3)
GATE_TO(cs_absent, SEL_CODE_NP)
GATE_TO(cs_32, SEL_CODE0)
GATE_TO(cs_conf3, SEL_CONF3)
GATE_TO(cs_conf0, SEL_CONF0)
GATE_TO(cs_level1, SEL_CODE1)
GATE_TO(cs_ldt, 0x0c)

static void rip_beyond(void)
{
	env_idt(V, SEL_SMALL, HANDLER, X86_INTR_GATE32, 3, 0);
}

static void rip_not_canonical(void)
{
	env_idt(V, SEL_CODE64_0, 1ull << 47, X86_INTR_GATE32, 3, 0);
}

static void tss_short(void)
{
	gate_ok();
	env.c.seg[X86_TR].limit = 8;
}

static void tss_ss(uint16_t sel)
{
	gate_ok();
	env_put(ENV_TSS + 8, sel, 2);
}

#define TSS_SS(fn, sel) static void fn(void) { tss_ss(sel); }
TSS_SS(ss_null, 0)
TSS_SS(ss_beyond, SEL_BEYOND)
TSS_SS(ss_rpl, SEL_DATA0 | 3)
TSS_SS(ss_dpl, SEL_DATA3 & ~3)
TSS_SS(ss_readonly, SEL_RODATA0)
TSS_SS(ss_code, SEL_CODE0)
TSS_SS(ss_absent, SEL_DATA_NP)

static void ss_no_room(void)
{
	gate_ok();
	env_desc(SEL_FREE, 0, ENV_STACK0 - 0x20, 0x4093);
	env_put(ENV_TSS + 8, SEL_FREE, 2);
}

static void same_no_room(void)
{
	gate_ok();
	env.c.seg[X86_SS].limit = 0x100;
}

static void stack_page_absent(void)
{
	gate_ok();
	env.prot[ENV_STACK0 >> 12] = PG_ABSENT;
}

static void stack_page_readonly(void)
{
	gate_ok();
	env.prot[ENV_STACK0 >> 12] = PG_RO | PG_SUPERVISOR;
}

static void rsp0_not_canonical(void)
{
	gate_ok();
	env_put(ENV_TSS + 4, 1ull << 50, 8);
}

static void rsp_not_canonical(void)
{
	gate_ok();
	env.c.gpr[X86_RSP] = 1ull << 50;
}

static void ist_beyond(void)
{
	env_idt(V, SEL_CODE64_0, HANDLER, X86_INTR_GATE32, 3, 1);
	env.c.seg[X86_TR].limit = 0x2a;
}

static void idt_page_absent(void)
{
	gate_ok();
	env.prot[ENV_IDT >> 12] = PG_ABSENT;
}

static void task_ldt(void)
{
	env_idt(V, SEL_TSS_B | 4, 0, X86_TASK_GATE, 3, 0);
}

static void task_beyond(void)
{
	env_idt(V, SEL_BEYOND, 0, X86_TASK_GATE, 3, 0);
}

static void task_busy(void)
{
	env_idt(V, SEL_TSS, 0, X86_TASK_GATE, 3, 0);
}

static void task_absent(void)
{
	gate_type_task();
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x67, 0x0009);
}

static void task_short(void)
{
	gate_type_task();
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x66, 0x0089);
}

#define EXT	X86_EVENT_EXTINT
#define SOFT	X86_EVENT_SOFT_INT

/* clang-format off */
static const struct ev_row faults[] = {
	{ "event: beyond the IDT, external",   ENV_PROT, 0, EXT,  idt_short, X86_GP, IDT_EC + 1 },
	{ "event: beyond the IDT, INT n",      ENV_PROT, 0, SOFT, idt_short, X86_GP, IDT_EC },
	{ "event: beyond the IDT, INT3",       ENV_PROT, 0, X86_EVENT_SOFT_EXC, idt_short, X86_GP, IDT_EC },
	{ "event: beyond the IDT, ICEBP",      ENV_PROT, 0, X86_EVENT_PRIV_EXC, idt_short, X86_GP, IDT_EC + 1 },
	{ "event: beyond the IDT, exception",  ENV_PROT, 0, X86_EVENT_EXCEPTION, idt_short, X86_GP, IDT_EC + 1 },
	{ "event: beyond the IDT, NMI",        ENV_PROT, 0, X86_EVENT_NMI, idt_short, X86_GP, IDT_EC + 1 },
	{ "event: beyond the IDT, long",       ENV_LONG, 3, EXT,  idt_short, X86_GP, IDT_EC + 1 },
	{ "event: gate type 0",                ENV_PROT, 0, EXT,  gate_type_0, X86_GP, IDT_EC + 1 },
	{ "event: call gate in the IDT",       ENV_PROT, 0, EXT,  gate_type_call, X86_GP, IDT_EC + 1 },
	{ "event: 16-bit gate, long",          ENV_LONG, 0, EXT,  gate_type_16, X86_GP, IDT_EC + 1 },
	{ "event: task gate, long",            ENV_LONG, 0, EXT,  gate_type_task, X86_GP, IDT_EC + 1 },
	{ "event: INT n below the gate's DPL", ENV_PROT, 3, SOFT, gate_dpl_0, X86_GP, IDT_EC },
	{ "event: INT3 below the gate's DPL",  ENV_LONG, 3, X86_EVENT_SOFT_EXC, gate_dpl_0, X86_GP, IDT_EC },
	{ "event: gate not present",           ENV_PROT, 0, EXT,  gate_absent, X86_NP, IDT_EC + 1 },
	{ "event: gate not present, INT n",    ENV_LONG, 3, SOFT, gate_absent, X86_NP, IDT_EC },
	{ "event: DPL is checked before P",    ENV_PROT, 3, SOFT, gate_dpl_0_absent, X86_GP, IDT_EC },
	{ "event: IDT page absent",            ENV_PROT, 0, EXT,  idt_page_absent, X86_PF, 0 },
	{ "event: null CS",                    ENV_PROT, 0, EXT,  cs_null, X86_GP, 1 },
	{ "event: null CS, INT n",             ENV_LONG, 3, SOFT, cs_null, X86_GP, 0 },
	{ "event: CS beyond the GDT",          ENV_PROT, 0, EXT,  cs_beyond, X86_GP, SEL_BEYOND + 1 },
	{ "event: CS in an LDT not there",     ENV_PROT, 0, SOFT, cs_ldt, X86_GP, 0x0c },
	{ "event: CS is data",                 ENV_PROT, 0, EXT,  cs_data, X86_GP, SEL_DATA0 + 1 },
	{ "event: CS is a TSS",                ENV_PROT, 0, SOFT, cs_system, X86_GP, SEL_TSS },
	{ "event: CS of an outer level",       ENV_PROT, 0, EXT,  cs_outer, X86_GP, (SEL_CODE3 & ~3) + 1 },
	{ "event: CS not present",             ENV_PROT, 0, EXT,  cs_absent, X86_NP, SEL_CODE_NP + 1 },
	{ "event: CS not 64-bit, long",        ENV_LONG, 0, EXT,  cs_32, X86_GP, SEL_CODE0 + 1 },
	{ "event: CS not 64-bit, compat",      ENV_COMPAT, 3, SOFT, cs_32, X86_GP, SEL_CODE0 },
	{ "event: vm86 to conforming",         ENV_VM86, 3, EXT,  cs_conf0, X86_GP, SEL_CONF0 + 1 },
	{ "event: vm86 to conforming of 3",    ENV_VM86, 3, EXT,  cs_conf3, X86_GP, (SEL_CONF3 & ~3) + 1 },
	{ "event: vm86 to level 1",            ENV_VM86, 3, EXT,  cs_level1, X86_GP, (SEL_CODE1 & ~3) + 1 },
	{ "event: vm86 to level 3",            ENV_VM86, 3, SOFT, cs_outer, X86_GP, SEL_CODE3 & ~3 },
	{ "event: target beyond CS",           ENV_PROT, 0, EXT,  rip_beyond, X86_GP, 1 },
	{ "event: target beyond CS, inner",    ENV_PROT, 3, SOFT, rip_beyond, X86_GP, 0 },
	{ "event: target not canonical",       ENV_LONG, 3, EXT,  rip_not_canonical, X86_GP, 1 },
	{ "event: TSS too short",              ENV_PROT, 3, EXT,  tss_short, X86_TS, SEL_TSS + 1 },
	{ "event: TSS too short, long",        ENV_LONG, 3, SOFT, tss_short, X86_TS, SEL_TSS },
	{ "event: null SS in the TSS",         ENV_PROT, 3, EXT,  ss_null, X86_TS, 1 },
	{ "event: SS beyond the GDT",          ENV_PROT, 3, EXT,  ss_beyond, X86_TS, SEL_BEYOND + 1 },
	{ "event: SS with another RPL",        ENV_PROT, 3, EXT,  ss_rpl, X86_TS, SEL_DATA0 + 1 },
	{ "event: SS with another DPL",        ENV_PROT, 3, SOFT, ss_dpl, X86_TS, SEL_DATA3 & ~3 },
	{ "event: SS read-only",               ENV_PROT, 3, EXT,  ss_readonly, X86_TS, SEL_RODATA0 + 1 },
	{ "event: SS is code",                 ENV_PROT, 3, EXT,  ss_code, X86_TS, SEL_CODE0 + 1 },
	{ "event: SS not present",             ENV_PROT, 3, EXT,  ss_absent, X86_SS_FAULT, SEL_DATA_NP + 1 },
	{ "event: SS null, from vm86",         ENV_VM86, 3, EXT,  ss_null, X86_TS, 1 },
	{ "event: no room on the new stack",   ENV_PROT, 3, EXT,  ss_no_room, X86_SS_FAULT, SEL_FREE + 1 },
	{ "event: no room on this stack",      ENV_PROT, 0, EXT,  same_no_room, X86_SS_FAULT, 1 },
	{ "event: no room, INT n",             ENV_PROT, 0, SOFT, same_no_room, X86_SS_FAULT, 0 },
	{ "event: RSP0 not canonical",         ENV_LONG, 3, EXT,  rsp0_not_canonical, X86_SS_FAULT, 1 },
	{ "event: RSP not canonical",          ENV_LONG, 0, SOFT, rsp_not_canonical, X86_SS_FAULT, 0 },
	{ "event: IST beyond the TSS",         ENV_LONG, 0, EXT,  ist_beyond, X86_TS, SEL_TSS + 1 },
	{ "event: stack page absent",          ENV_LONG, 3, EXT,  stack_page_absent, X86_PF, X86_PFERR_W },
	{ "event: stack page read-only",       ENV_PROT, 3, EXT,  stack_page_readonly, X86_PF, X86_PFERR_W | X86_PFERR_P },
	{ "event: task gate into the LDT",     ENV_PROT, 3, EXT,  task_ldt, X86_GP, (SEL_TSS_B | 4) + 1 },
	{ "event: task gate beyond the GDT",   ENV_PROT, 0, SOFT, task_beyond, X86_GP, SEL_BEYOND },
	{ "event: task gate to a busy TSS",    ENV_PROT, 0, EXT,  task_busy, X86_GP, SEL_TSS + 1 },
	{ "event: task gate, TSS not present", ENV_PROT, 0, EXT,  task_absent, X86_NP, SEL_TSS_B + 1 },
	{ "event: task gate, TSS too short",   ENV_PROT, 0, SOFT, task_short, X86_TS, SEL_TSS_B },
};
/* clang-format on */

static void test_fault(void **state)
{
	const struct ev_row *r = *state;

	env_init(r->mode, r->cpl);
	r->setup();
	assert_fault(deliver(r->type, V, false, 0), r->vec, r->ec);
	env_assert_unchanged();
}

/* --- real-address mode -------------------------------------------------------------- */

#define FLAGS_SET	(X86_EFLAGS_IF | X86_EFLAGS_TF | X86_EFLAGS_NT |	\
			 X86_EFLAGS_AC | X86_EFLAGS_CF | X86_EFLAGS_FIXED)

static void test_real(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.idt.base = 0;
	env.c.eflags = FLAGS_SET;
	env.c.gpr[X86_RSP] = 0x12340008;
	env_put(V * 4, 0x4567, 2);
	env_put(V * 4 + 2, 0x2000, 2);
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, 0x4567);
	assert_int_equal(env.c.seg[X86_CS].selector, 0x2000);
	assert_int_equal(env.c.seg[X86_CS].base, 0x20000);
	assert_int_equal(env.c.gpr[X86_RSP], 0x12340002);
	assert_int_equal(env_get(6, 2), FLAGS_SET & 0xffff);
	assert_int_equal(env_get(4, 2), ENV_CODE >> 4);
	assert_int_equal(env_get(2, 2), RET_RIP & 0xffff);
	assert_int_equal(env.c.eflags, X86_EFLAGS_NT | X86_EFLAGS_CF |
			 X86_EFLAGS_FIXED);
}

/* The frame wraps at 64K and never touches what lies above. */
static void test_real_stack_wraps(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.idt.base = 0x3000;
	env.c.gpr[X86_RSP] = 2;
	env.c.seg[X86_SS].base = 0x40000;
	env_put(0x50000, 0x5a5a5a5a, 4);
	env_put(0x3000 + V * 4, 0x1000, 2);
	assert_int_equal(deliver(EXT, V, true, 0x77), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RSP], 0xfffc);
	assert_int_equal(env_get(0x40000, 2), X86_EFLAGS_FIXED);
	assert_int_equal(env_get(0x4fffe, 2), ENV_CODE >> 4);
	assert_int_equal(env_get(0x4fffc, 2), RET_RIP & 0xffff);
	assert_int_equal(env_get(0x50000, 4), 0x5a5a5a5a);
}

static void test_real_faults(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.idt.limit = V * 4 + 2;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_PROPAGATE_FAULT);
	assert_int_equal(env.c.exception.vector, X86_GP);
	env_assert_unchanged();
	env_init(ENV_REAL, 0);
	env.c.gpr[X86_RSP] = 3;		/* a word at offset FFFF */
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_PROPAGATE_FAULT);
	assert_int_equal(env.c.exception.vector, X86_SS_FAULT);
	env_assert_unchanged();
}

/* A frame that wraps is probed: half a frame is never left behind. */
static void test_real_split_fault(void **state)
{
	static const uint8_t pages[] = { 0x40, 0x4f };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		env_init(ENV_REAL, 0);
		env.c.seg[X86_SS].base = 0x40000;
		env.c.gpr[X86_RSP] = 2;
		env.prot[pages[i]] = PG_RO;
		env_put(V * 4, 0x20001000, 4);
		assert_fault(deliver(EXT, V, false, 0), X86_PF, PF_RW);
		env_assert_unchanged();
	}
}

/* --- protected mode ------------------------------------------------------------------- */

static void expect32(uint32_t top, const uint32_t *vals, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(env_get(top - 4 * (i + 1), 4), vals[i]);
	assert_int_equal(env.c.gpr[X86_RSP], top - 4 * n);
}

static void test_prot_same(void **state)
{
	const uint32_t flags = FLAGS_SET | X86_EFLAGS_RF;
	const uint32_t want[] = { flags, SEL_CODE0, RET_RIP };

	env_init(ENV_PROT, 0);
	gate_ok();
	env.c.eflags = flags;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	expect32(ENV_STACK0, want, 3);
	assert_int_equal(env.c.rip, HANDLER);
	assert_int_equal(env.c.next_rip, HANDLER);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CODE0);
	assert_int_equal(env.c.eflags, X86_EFLAGS_AC | X86_EFLAGS_CF |
			 X86_EFLAGS_FIXED);
	assert_true(env.mem[ENV_GDT + SEL_CODE0 + 5] & 1);
}

static void test_prot_trap_gate_keeps_if(void **state)
{
	env_init(ENV_PROT, 0);
	env_idt(V, SEL_CODE0, HANDLER, X86_TRAP_GATE32, 0, 0);
	env.c.eflags = FLAGS_SET;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	assert_true(env.c.eflags & X86_EFLAGS_IF);
	assert_false(env.c.eflags & (X86_EFLAGS_TF | X86_EFLAGS_NT));
}

static void test_prot_inner(void **state)
{
	const uint32_t want[] = { SEL_DATA3, ENV_STACK3, FLAGS_SET |
				  X86_EFLAGS_RF, SEL_CODE3, RET_RIP, 0x5678 };

	env_init(ENV_PROT, 3);
	env_idt(X86_GP, SEL_CODE0, HANDLER, X86_INTR_GATE32, 0, 0);
	env.c.eflags = FLAGS_SET;
	assert_int_equal(deliver(X86_EVENT_EXCEPTION, X86_GP, true, 0x5678),
			 X86EMUL_CONTINUE);
	expect32(ENV_STACK0, want, 6);
	assert_int_equal(env.c.cpl, 0);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CODE0);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
	assert_int_equal(env.c.seg[X86_DS].selector, SEL_DATA3);
	assert_true(env.mem[ENV_GDT + SEL_DATA0 + 5] & 1);
}

static void test_prot_inner_to_1(void **state)
{
	env_init(ENV_PROT, 3);
	cs_level1();
	assert_int_equal(deliver(SOFT, V, false, 0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 1);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CODE1);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA1);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK1 - 20);
}

static void test_prot_conforming_stays(void **state)
{
	env_init(ENV_PROT, 3);
	cs_conf0();
	assert_int_equal(deliver(SOFT, V, false, 0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 3);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CONF0 | 3);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3 - 12);
}

static void test_prot_gate16(void **state)
{
	env_init(ENV_PROT, 3);
	env_idt(V, SEL_CODE0, 0xabcd2340, X86_TRAP_GATE16, 3, 0);
	env.c.gpr[X86_RSP] = 0x1234bf00 & 0xffff;
	assert_int_equal(deliver(X86_EVENT_EXCEPTION, V, true, 0x9abc),
			 X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, 0x2340);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 12);
	assert_int_equal(env_get(ENV_STACK0 - 2, 2), SEL_DATA3);
	assert_int_equal(env_get(ENV_STACK0 - 4, 2), 0xbf00);
	assert_int_equal(env_get(ENV_STACK0 - 6, 2), X86_EFLAGS_FIXED);
	assert_int_equal(env_get(ENV_STACK0 - 8, 2), SEL_CODE3);
	assert_int_equal(env_get(ENV_STACK0 - 10, 2), RET_RIP & 0xffff);
	assert_int_equal(env_get(ENV_STACK0 - 12, 2), 0x9abc);
}

static void test_tss16_stack(void **state)
{
	env_init(ENV_PROT, 3);
	gate_ok();
	env.c.seg[X86_TR].ar = 0x83;
	env_put(ENV_TSS + 2, ENV_STACK0, 2);
	env_put(ENV_TSS + 4, SEL_DATA0, 2);
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 20);
}

static void test_prot_stack16(void **state)
{
	env_init(ENV_PROT, 0);
	gate_ok();
	env_load(X86_SS, SEL_DATA16);
	env.c.gpr[X86_RSP] = 0xdead8f00;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RSP], 0xdead8f00 - 12);
	assert_int_equal(env_get(0x8f00 - 12, 4), RET_RIP);
}

static void test_expand_down_stack(void **state)
{
	env_init(ENV_PROT, 0);
	gate_ok();
	env_desc(SEL_FREE, 0, ENV_STACK0 - 13, 0x4097);
	env_load(X86_SS, SEL_FREE);
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	env_init(ENV_PROT, 0);
	gate_ok();
	env_desc(SEL_FREE, 0, ENV_STACK0 - 12, 0x4097);
	env_load(X86_SS, SEL_FREE);
	assert_fault(deliver(EXT, V, false, 0), X86_SS_FAULT, 1);
	env_assert_unchanged();
}

static void test_rf_image(void **state)
{
	struct x86_event ev = { .type = X86_EVENT_EXCEPTION,
				.vector = X86_UD, .return_rip = RET_RIP };
	static const struct { uint8_t type, vector; bool injected, rf; } t[] = {
		{ X86_EVENT_EXCEPTION, X86_UD, false, true },
		{ X86_EVENT_EXCEPTION, X86_PF, false, true },
		{ X86_EVENT_EXCEPTION, X86_PF, true, false },
		{ X86_EVENT_EXCEPTION, X86_DB, false, false },
		{ X86_EVENT_EXCEPTION, X86_DF, false, false },
		{ X86_EVENT_SOFT_INT, X86_GP, false, false },
		{ X86_EVENT_EXTINT, 0x20, false, false },
		{ X86_EVENT_SOFT_EXC, X86_BP, false, false },
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		env_init(ENV_LONG, 0);
		env_idt(t[i].vector, SEL_CODE64_0, HANDLER, X86_INTR_GATE32, 0, 0);
		ev.type = t[i].type;
		ev.vector = t[i].vector;
		ev.injected = t[i].injected;
		assert_int_equal(emul_deliver_event(&env.c, &ev),
				 X86EMUL_CONTINUE);
		assert_int_equal(!!(env_get(ENV_STACK0 - 24, 8) & X86_EFLAGS_RF),
				 t[i].rf);
	}
}

/* --- vm86 ----------------------------------------------------------------------------- */

static void vm86(void)
{
	unsigned i;

	env_init(ENV_VM86, 3);
	env.c.gpr[X86_RSP] = 0xff00;
	for (i = X86_ES; i <= X86_GS; i++)
		if (i != X86_CS)
			env.c.seg[i].selector = 0x100 + i;
}

static void test_vm86_to_0(void **state)
{
	uint32_t want[] = { 0x100 + X86_GS, 0x100 + X86_FS, 0x100 + X86_DS,
			    0x100 + X86_ES, 0x100 + X86_SS, 0xff00,
			    0, ENV_CODE >> 4, RET_RIP };

	vm86();
	gate_ok();
	want[6] = env.c.eflags;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	expect32(ENV_STACK0, want, 9);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
	assert_int_equal(env.c.cpl, 0);
	assert_false(env.c.eflags & X86_EFLAGS_VM);
	assert_int_equal(env.c.seg[X86_GS].selector, 0);
	assert_true(env.c.seg[X86_DS].ar & X86_AR_UNUSABLE);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
}

static void test_vm86_int_iopl(void **state)
{
	vm86();
	gate_ok();
	env.c.eflags &= ~X86_EFLAGS_IOPL;
	assert_fault(RUN(0xcd, V), X86_GP, 0);
	env_assert_unchanged();
	assert_int_equal(env.swints, 0);
	env.c.eflags |= X86_EFLAGS_IOPL;
	assert_int_equal(RUN(0xcd, V), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 0);
	assert_int_equal(env.c.rip, HANDLER);
	assert_int_equal(env_get(ENV_STACK0 - 36, 4), 0x102);
}

/* INT3 needs no IOPL, only the gate. */
static void test_vm86_int3(void **state)
{
	vm86();
	env.c.eflags &= ~X86_EFLAGS_IOPL;
	env_idt(X86_BP, SEL_CODE0, HANDLER, X86_TRAP_GATE32, 3, 0);
	assert_int_equal(RUN(0xcc), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, HANDLER);
}

/* VME: the bitmap sends the interrupt to the 8086 program's own vector. */
static void test_vme_redirect(void **state)
{
	vm86();
	env.c.eflags = (env.c.eflags & ~X86_EFLAGS_IOPL) | X86_EFLAGS_VIF;
	env.c.cr4 |= X86_CR4_VME;
	env_put(ENV_TSS + 0x66, 0x88, 2);
	env_put(V * 4, 0x1111, 2);
	env_put(V * 4 + 2, 0x2222, 2);
	assert_int_equal(RUN(0xcd, V), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_VM86);
	assert_int_equal(env.c.rip, 0x1111);
	assert_int_equal(env.c.seg[X86_CS].selector, 0x2222);
	assert_false(env.c.eflags & X86_EFLAGS_VIF);
	assert_int_equal(env_get(0xff00 - 2, 2), 0x3202);
	/* With its bit set: #GP(0). */
	vm86();
	env.c.eflags &= ~X86_EFLAGS_IOPL;
	env.c.cr4 |= X86_CR4_VME;
	env_put(ENV_TSS + 0x66, 0x88, 2);
	env_put(ENV_TSS + 0x68 + V / 8, 1 << (V & 7), 1);
	assert_fault(RUN(0xcd, V), X86_GP, 0);
	env_assert_unchanged();
}

/* --- long mode ------------------------------------------------------------------------- */

static void expect64(uint32_t top, const uint64_t *vals, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		assert_int_equal(env_get(top - 8 * (i + 1), 8), vals[i]);
	assert_int_equal(env.c.gpr[X86_RSP], top - 8 * n);
}

static void test_long_inner(void **state)
{
	const uint64_t want[] = { SEL_DATA3, ENV_STACK3 + 5,
				  FLAGS_SET | X86_EFLAGS_RF, SEL_CODE64_3,
				  RET_RIP, 6 };

	env_init(ENV_LONG, 3);
	env_idt(X86_PF, SEL_CODE64_0, HANDLER, X86_INTR_GATE32, 0, 0);
	env.c.gpr[X86_RSP] = ENV_STACK3 + 5;
	env_put(ENV_TSS + 4, ENV_STACK0 + 9, 8);	/* aligned down */
	env.c.eflags = FLAGS_SET;
	assert_int_equal(deliver(X86_EVENT_EXCEPTION, X86_PF, true, 6),
			 X86EMUL_CONTINUE);
	expect64(ENV_STACK0, want, 6);
	assert_int_equal(env.c.cpl, 0);
	assert_int_equal(env.c.mode, X86_MODE_PROT64);
	assert_int_equal(env.c.seg[X86_SS].selector, 0);
	assert_true(env.c.seg[X86_SS].ar & X86_AR_UNUSABLE);
	assert_int_equal(env.c.stack_size, 8);
}

static void test_long_same_aligns(void **state)
{
	const uint64_t want[] = { SEL_DATA0, ENV_STACK0 - 3, X86_EFLAGS_FIXED,
				  SEL_CODE64_0, RET_RIP };

	env_init(ENV_LONG, 0);
	gate_ok();
	env.c.gpr[X86_RSP] = ENV_STACK0 - 3;
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	expect64(ENV_STACK0 - 16, want, 5);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
}

static void test_long_ist(void **state)
{
	const uint64_t want[] = { SEL_DATA0, ENV_STACK0, X86_EFLAGS_FIXED,
				  SEL_CODE64_0, RET_RIP };

	env_init(ENV_LONG, 0);
	env_idt(X86_NMI, SEL_CODE64_0, 0xffff800000001234ull, X86_INTR_GATE32,
		0, 1);
	assert_int_equal(deliver(X86_EVENT_NMI, X86_NMI, false, 0),
			 X86EMUL_CONTINUE);
	expect64(ENV_IST1, want, 5);
	assert_int_equal(env.c.rip, 0xffff800000001234ull);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
	assert_false(env.c.seg[X86_SS].ar & X86_AR_UNUSABLE);
}

static void test_compat_to_long(void **state)
{
	const uint64_t want[] = { SEL_DATA3, ENV_STACK3, X86_EFLAGS_FIXED,
				  SEL_CODE3, RET_RIP };

	env_init(ENV_COMPAT, 3);
	gate_ok();
	assert_int_equal(deliver(EXT, V, false, 0), X86EMUL_CONTINUE);
	expect64(ENV_STACK0, want, 5);
	assert_int_equal(env.c.mode, X86_MODE_PROT64);
}

/* --- the instructions ------------------------------------------------------------------- */

static void test_int_n(void **state)
{
	env_init(ENV_LONG, 3);
	gate_ok();
	assert_int_equal(RUN(0xcd, V), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, HANDLER);
	assert_int_equal(env.swint_vector, V);
	assert_int_equal(env_get(ENV_STACK0 - 40, 8), ENV_CODE + 2);
}

static void test_int_intercept(void **state)
{
	env_init(ENV_LONG, 3);
	gate_ok();
	env.intercept_on = X86_INTERCEPT_SWINT;
	assert_int_equal(RUN(0xcd, V), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, V);
	env_assert_unchanged();
}

static void test_into(void **state)
{
	env_init(ENV_PROT, 0);
	env_idt(X86_OF, SEL_CODE0, HANDLER, X86_TRAP_GATE32, 0, 0);
	assert_int_equal(RUN(0xce), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, ENV_CODE + 1);
	env.c.eflags |= X86_EFLAGS_OF;
	assert_int_equal(RUN(0xce), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, HANDLER);
	env_init(ENV_LONG, 0);
	assert_fault(RUN(0xce), X86_UD, 0);
}

/* ICEBP is not subject to the gate's DPL; INT 1 is. */
static void test_icebp(void **state)
{
	env_init(ENV_LONG, 3);
	env_idt(X86_DB, SEL_CODE64_0, HANDLER, X86_INTR_GATE32, 0, 0);
	assert_fault(RUN(0xcd, 1), X86_GP, X86_DB * 8 + 2);
	env_assert_unchanged();
	assert_int_equal(RUN(0xf1), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, HANDLER);
}

int main(void)
{
	static const struct CMUnitTest single[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_real_stack_wraps),
		cmocka_unit_test(test_real_faults),
		cmocka_unit_test(test_real_split_fault),
		cmocka_unit_test(test_prot_same),
		cmocka_unit_test(test_prot_trap_gate_keeps_if),
		cmocka_unit_test(test_prot_inner),
		cmocka_unit_test(test_prot_inner_to_1),
		cmocka_unit_test(test_prot_conforming_stays),
		cmocka_unit_test(test_prot_gate16),
		cmocka_unit_test(test_tss16_stack),
		cmocka_unit_test(test_prot_stack16),
		cmocka_unit_test(test_expand_down_stack),
		cmocka_unit_test(test_rf_image),
		cmocka_unit_test(test_vm86_to_0),
		cmocka_unit_test(test_vm86_int_iopl),
		cmocka_unit_test(test_vm86_int3),
		cmocka_unit_test(test_vme_redirect),
		cmocka_unit_test(test_long_inner),
		cmocka_unit_test(test_long_same_aligns),
		cmocka_unit_test(test_long_ist),
		cmocka_unit_test(test_compat_to_long),
		cmocka_unit_test(test_int_n),
		cmocka_unit_test(test_int_intercept),
		cmocka_unit_test(test_into),
		cmocka_unit_test(test_icebp),
	};
	static struct CMUnitTest tests[128];
	size_t n = ARRAY_SIZE(single);

	memcpy(tests, single, sizeof(single));
	ENV_ROWS(tests, n, faults, test_fault);
	return _cmocka_run_group_tests("events", tests, n, NULL, NULL);
}
