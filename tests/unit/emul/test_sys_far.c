// SPDX-License-Identifier: MIT
/*
 * Far JMP, CALL, RET and IRET: each check of the target, the gate, the return
 * frame and the new stack with its fault, and the transfers that succeed with
 * their stack images and flags.
 */
#include "sysenv.h"

#define TARGET		0x12340u
#define DATA_PTR	ENV_DATA

enum far_op { OP_JMP, OP_CALL, OP_RET, OP_IRET };

struct far_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t op;		/* enum far_op */
	uint16_t sel;
	void (*setup)(void);
	uint8_t vec;
	uint16_t ec;
};

/* m16:32 through [RBX]: the form that all modes have. */
static int run_jmp_call(bool call, uint16_t sel, uint32_t off)
{
	env_put(DATA_PTR, off, 4);
	env_put(DATA_PTR + 4, sel, 2);
	env.c.gpr[X86_RBX] = DATA_PTR;
	return call ? RUN(0xff, 0x1b) : RUN(0xff, 0x2b);
}

static unsigned ret_width(void)
{
	return env.c.mode == X86_MODE_PROT64 ? 8 : 4;
}

static int run_retf(void)
{
	return ret_width() == 8 ? RUN(0x48, 0xcb) : RUN(0xcb);
}

static int run_iret(void)
{
	return ret_width() == 8 ? RUN(0x48, 0xcf) : RUN(0xcf);
}

static void put_frame(const uint64_t *vals, unsigned n)
{
	unsigned i, w = ret_width();

	for (i = 0; i < n; i++)
		env_put(env.c.gpr[X86_RSP] + i * w, vals[i], w);
}

static void nothing(void)
{
}

static void gate(uint16_t target, uint64_t off, unsigned type, unsigned dpl)
{
	env_gate(SEL_GATE, target, off, type, dpl, 0);
}

#define G32	X86_CALL_GATE32
#define GATE_TO(fn, target, off, type, dpl) \
	static void fn(void) { gate(target, off, type, dpl); }
/* clang-format off */
GATE_TO(g_dpl0,     SEL_CODE0,    TARGET, G32, 0)
GATE_TO(g_absent,   SEL_CODE0,    TARGET, G32 | GATE_ABSENT, 3)
GATE_TO(g_null,     0,            TARGET, G32, 3)
GATE_TO(g_beyond,   SEL_BEYOND,   TARGET, G32, 3)
GATE_TO(g_data,     SEL_DATA0,    TARGET, G32, 3)
GATE_TO(g_outer,    SEL_CODE3,    TARGET, G32, 3)
GATE_TO(g_code_np,  SEL_CODE_NP,  TARGET, G32, 3)
GATE_TO(g_code0,    SEL_CODE0,    TARGET, G32, 3)
GATE_TO(g_small,    SEL_SMALL,    TARGET, G32, 3)
GATE_TO(g_g16,      SEL_CODE0,    TARGET, X86_CALL_GATE16, 3)
GATE_TO(g_64,       SEL_CODE64_0, TARGET, G32, 3)
GATE_TO(g_noncanon, SEL_CODE64_0, 1ull << 47, G32, 3)
GATE_TO(g_intr,     SEL_CODE0,    TARGET, X86_INTR_GATE32, 3)
/* clang-format on */

static void g_upper(void)
{
	g_64();
	env_put(ENV_GDT + SEL_GATE + 12, 0x0100, 4);
}

static void g_cut_off(void)
{
	g_64();
	env.c.gdt.limit = SEL_GATE + 8;
}

static void g_tss_short(void)
{
	g_code0();
	env.c.seg[X86_TR].limit = 8;
}

static void inner_ss(uint16_t sel)
{
	g_code0();
	env_put(ENV_TSS + 8, sel, 2);
}

#define INNER_SS(fn, sel) static void fn(void) { inner_ss(sel); }
INNER_SS(ss_null, 0)
INNER_SS(ss_beyond, SEL_BEYOND)
INNER_SS(ss_rpl, SEL_DATA0 | 1)
INNER_SS(ss_dpl, SEL_DATA3 & ~3)
INNER_SS(ss_readonly, SEL_RODATA0)
INNER_SS(ss_absent, SEL_DATA_NP)

static void ss_room(void)
{
	env_desc(SEL_FREE, 0, 0x100, 0x4093);
	inner_ss(SEL_FREE);
}

static void no_room(void)
{
	env.c.seg[X86_SS].limit = 0x100;
}

static void stack_ro(void)
{
	env.prot[ENV_STACK0 >> 12] = PG_RO;
}

static void task_gate0(void)
{
	env_gate(SEL_GATE, SEL_TSS_B, 0, X86_TASK_GATE, 0, 0);
}

static void task_gate_absent(void)
{
	env_gate(SEL_GATE, SEL_TSS_B, 0, X86_TASK_GATE | GATE_ABSENT, 3, 0);
}

static void task_gate_busy(void)
{
	env_gate(SEL_GATE, SEL_TSS, 0, X86_TASK_GATE, 3, 0);
}

static void tss_absent(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x67, 0x0009);
}

static void tss_short(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x66, 0x0089);
}

/* clang-format off */
static const struct far_row transfers[] = {
	{ "JMP null",                      ENV_PROT, 0, OP_JMP,  0,            nothing, X86_GP, 0 },
	{ "JMP beyond",                    ENV_PROT, 0, OP_JMP,  SEL_BEYOND|2, nothing, X86_GP, SEL_BEYOND },
	{ "JMP to data",                   ENV_PROT, 0, OP_JMP,  SEL_DATA0,    nothing, X86_GP, SEL_DATA0 },
	{ "JMP to an LDT",                 ENV_PROT, 0, OP_JMP,  SEL_LDT,      nothing, X86_GP, SEL_LDT },
	{ "JMP RPL above CPL",             ENV_PROT, 0, OP_JMP,  SEL_CODE0|3,  nothing, X86_GP, SEL_CODE0 },
	{ "JMP to an inner level",         ENV_PROT, 3, OP_JMP,  SEL_CODE0,    nothing, X86_GP, SEL_CODE0 },
	{ "JMP to an outer level",         ENV_PROT, 0, OP_JMP,  SEL_CODE3&~3, nothing, X86_GP, SEL_CODE3&~3 },
	{ "JMP conforming of an outer level", ENV_PROT, 0, OP_JMP, SEL_CONF3,  nothing, X86_GP, SEL_CONF3&~3 },
	{ "JMP not present",               ENV_PROT, 0, OP_JMP,  SEL_CODE_NP,  nothing, X86_NP, SEL_CODE_NP },
	{ "JMP beyond the limit",          ENV_PROT, 0, OP_JMP,  SEL_SMALL,    nothing, X86_GP, 0 },
	{ "JMP to L and D",                ENV_LONG, 0, OP_JMP,  SEL_BADLD,    nothing, X86_GP, SEL_BADLD },
	{ "JMP to a TSS in long mode",     ENV_LONG, 0, OP_JMP,  SEL_TSS_B,    nothing, X86_GP, SEL_TSS_B },
	{ "CALL null",                     ENV_PROT, 3, OP_CALL, 3,            nothing, X86_GP, 0 },
	{ "CALL beyond",                   ENV_LONG, 0, OP_CALL, SEL_BEYOND,   nothing, X86_GP, SEL_BEYOND },
	{ "CALL to data",                  ENV_PROT, 0, OP_CALL, SEL_DATA0,    nothing, X86_GP, SEL_DATA0 },
	{ "CALL to an inner level",        ENV_PROT, 3, OP_CALL, SEL_CODE0|3,  nothing, X86_GP, SEL_CODE0 },
	{ "CALL not present",              ENV_PROT, 0, OP_CALL, SEL_CODE_NP,  nothing, X86_NP, SEL_CODE_NP },
	{ "CALL no room",                  ENV_PROT, 0, OP_CALL, SEL_CODE0,    no_room, X86_SS_FAULT, 0 },
	{ "CALL room before limit",        ENV_PROT, 0, OP_CALL, SEL_SMALL,    no_room, X86_SS_FAULT, 0 },
	{ "CALL stack page read-only",     ENV_PROT, 0, OP_CALL, SEL_CODE0,    stack_ro, X86_PF, X86_PFERR_P | X86_PFERR_W },
	/* gates */
	{ "JMP gate DPL below CPL",        ENV_PROT, 3, OP_JMP,  SEL_GATE,     g_dpl0, X86_GP, SEL_GATE },
	{ "JMP gate DPL below RPL",        ENV_PROT, 0, OP_JMP,  SEL_GATE|3,   g_dpl0, X86_GP, SEL_GATE },
	{ "JMP gate not present",          ENV_PROT, 3, OP_JMP,  SEL_GATE,     g_absent, X86_NP, SEL_GATE },
	{ "JMP gate to null",              ENV_PROT, 3, OP_JMP,  SEL_GATE,     g_null, X86_GP, 0 },
	{ "JMP gate to an inner level",    ENV_PROT, 3, OP_JMP,  SEL_GATE,     g_code0, X86_GP, SEL_CODE0 },
	{ "JMP interrupt gate",            ENV_PROT, 0, OP_JMP,  SEL_GATE,     g_intr, X86_GP, SEL_GATE },
	{ "CALL gate DPL below CPL",       ENV_PROT, 3, OP_CALL, SEL_GATE,     g_dpl0, X86_GP, SEL_GATE },
	{ "CALL gate not present",         ENV_PROT, 3, OP_CALL, SEL_GATE,     g_absent, X86_NP, SEL_GATE },
	{ "CALL gate to null",             ENV_PROT, 3, OP_CALL, SEL_GATE,     g_null, X86_GP, 0 },
	{ "CALL gate beyond",              ENV_PROT, 3, OP_CALL, SEL_GATE,     g_beyond, X86_GP, SEL_BEYOND },
	{ "CALL gate to data",             ENV_PROT, 3, OP_CALL, SEL_GATE,     g_data, X86_GP, SEL_DATA0 },
	{ "CALL gate to an outer level",   ENV_PROT, 0, OP_CALL, SEL_GATE,     g_outer, X86_GP, SEL_CODE3&~3 },
	{ "CALL gate, code not present",   ENV_PROT, 0, OP_CALL, SEL_GATE,     g_code_np, X86_NP, SEL_CODE_NP },
	{ "CALL gate beyond the limit",    ENV_PROT, 3, OP_CALL, SEL_GATE,     g_small, X86_GP, 0 },
	{ "CALL gate, TSS too short",      ENV_PROT, 3, OP_CALL, SEL_GATE,     g_tss_short, X86_TS, SEL_TSS },
	{ "CALL gate, null SS",            ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_null, X86_TS, 0 },
	{ "CALL gate, SS beyond",          ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_beyond, X86_TS, SEL_BEYOND },
	{ "CALL gate, SS RPL",             ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_rpl, X86_TS, SEL_DATA0 },
	{ "CALL gate, SS DPL",             ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_dpl, X86_TS, SEL_DATA3&~3 },
	{ "CALL gate, SS read-only",       ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_readonly, X86_TS, SEL_RODATA0 },
	{ "CALL gate, SS not present",     ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_absent, X86_SS_FAULT, SEL_DATA_NP },
	{ "CALL gate, no room",            ENV_PROT, 3, OP_CALL, SEL_GATE,     ss_room, X86_SS_FAULT, SEL_FREE },
	{ "CALL gate in long mode to 32-bit code", ENV_LONG, 3, OP_CALL, SEL_GATE, g_code0, X86_GP, SEL_CODE0 },
	{ "CALL 16-bit gate in long mode", ENV_LONG, 3, OP_CALL, SEL_GATE,     g_g16, X86_GP, SEL_GATE },
	{ "CALL gate, upper half's type",  ENV_LONG, 3, OP_CALL, SEL_GATE,     g_upper, X86_GP, SEL_GATE },
	{ "CALL gate, upper half cut off", ENV_LONG, 3, OP_CALL, SEL_GATE,     g_cut_off, X86_GP, SEL_GATE },
	{ "CALL gate not canonical",       ENV_LONG, 3, OP_CALL, SEL_GATE,     g_noncanon, X86_GP, 0 },
	/* tasks */
	{ "JMP TSS DPL",                   ENV_PROT, 3, OP_JMP,  SEL_TSS_B,    nothing, X86_GP, SEL_TSS_B },
	{ "JMP TSS busy",                  ENV_PROT, 0, OP_JMP,  SEL_TSS,      nothing, X86_GP, SEL_TSS },
	{ "JMP TSS not present",           ENV_PROT, 0, OP_JMP,  SEL_TSS_B,    tss_absent, X86_NP, SEL_TSS_B },
	{ "JMP TSS too short",             ENV_PROT, 0, OP_JMP,  SEL_TSS_B,    tss_short, X86_TS, SEL_TSS_B },
	{ "CALL task gate DPL",            ENV_PROT, 3, OP_CALL, SEL_GATE,     task_gate0, X86_GP, SEL_GATE },
	{ "CALL task gate not present",    ENV_PROT, 0, OP_CALL, SEL_GATE,     task_gate_absent, X86_NP, SEL_GATE },
	{ "CALL task gate busy",           ENV_PROT, 3, OP_CALL, SEL_GATE,     task_gate_busy, X86_GP, SEL_TSS },
};
/* clang-format on */

static void test_transfer_fault(void **state)
{
	const struct far_row *r = *state;

	env_init(r->mode, r->cpl);
	r->setup();
	assert_fault(run_jmp_call(r->op == OP_CALL, r->sel, TARGET), r->vec,
		     r->ec);
	env_assert_unchanged();
	assert_int_equal(env.task_switches, 0);
}

/* --- returns ------------------------------------------------------------------------ */

struct ret_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t op;
	uint64_t rip;
	uint16_t cs;
	uint16_t ss;		/* where SS:RSP are popped */
	uint8_t vec;
	uint16_t ec;
};

/* clang-format off */
static const struct ret_row returns[] = {
	{ "RET null CS",              ENV_PROT, 0, OP_RET, TARGET, 0,            0, X86_GP, 0 },
	{ "RET beyond",               ENV_PROT, 0, OP_RET, TARGET, SEL_BEYOND,   0, X86_GP, SEL_BEYOND },
	{ "RET to data",              ENV_PROT, 0, OP_RET, TARGET, SEL_DATA0,    0, X86_GP, SEL_DATA0 },
	{ "RET to an inner level",    ENV_PROT, 3, OP_RET, TARGET, SEL_CODE0,    0, X86_GP, SEL_CODE0 },
	{ "RET DPL is not RPL",       ENV_PROT, 0, OP_RET, TARGET, SEL_CODE0|3,  0, X86_GP, SEL_CODE0 },
	{ "RET conforming DPL above RPL", ENV_PROT, 0, OP_RET, TARGET, (SEL_CONF3&~3)|1, 0, X86_GP, SEL_CONF3&~3 },
	{ "RET not present",          ENV_PROT, 0, OP_RET, TARGET, SEL_CODE_NP,  0, X86_NP, SEL_CODE_NP },
	{ "RET beyond the limit",     ENV_PROT, 0, OP_RET, TARGET, SEL_SMALL,    0, X86_GP, 0 },
	{ "RET L and D",              ENV_LONG, 0, OP_RET, TARGET, SEL_BADLD,    0, X86_GP, SEL_BADLD },
	{ "RET not canonical",        ENV_LONG, 0, OP_RET, 1ull<<47, SEL_CODE64_0, 0, X86_GP, 0 },
	{ "RET outer, null SS",       ENV_PROT, 0, OP_RET, TARGET, SEL_CODE3,    3, X86_GP, 0 },
	{ "RET outer, SS beyond",     ENV_PROT, 0, OP_RET, TARGET, SEL_CODE3,    SEL_BEYOND|3, X86_GP, SEL_BEYOND },
	{ "RET outer, SS RPL",        ENV_PROT, 0, OP_RET, TARGET, SEL_CODE3,    SEL_DATA3&~3, X86_GP, SEL_DATA3&~3 },
	{ "RET outer, SS DPL",        ENV_PROT, 0, OP_RET, TARGET, SEL_CODE3,    SEL_DATA0|3, X86_GP, SEL_DATA0 },
	{ "RET outer, SS read-only",  ENV_PROT, 0, OP_RET, TARGET, SEL_CODE3,    SEL_RO3, X86_GP, SEL_RO3&~3 },
	{ "RET outer, 64-bit, null SS at 3", ENV_LONG, 0, OP_RET, TARGET, SEL_CODE64_3, 3, X86_GP, 0 },
	{ "IRET null CS",             ENV_PROT, 0, OP_IRET, TARGET, 2,           0, X86_GP, 0 },
	{ "IRET beyond",              ENV_LONG, 0, OP_IRET, TARGET, SEL_BEYOND,  0, X86_GP, SEL_BEYOND },
	{ "IRET to data",             ENV_PROT, 0, OP_IRET, TARGET, SEL_DATA0,   0, X86_GP, SEL_DATA0 },
	{ "IRET to an inner level",   ENV_PROT, 3, OP_IRET, TARGET, SEL_CODE0,   0, X86_GP, SEL_CODE0 },
	{ "IRET DPL is not RPL",      ENV_PROT, 0, OP_IRET, TARGET, SEL_CODE0|3, 0, X86_GP, SEL_CODE0 },
	{ "IRET not present",         ENV_PROT, 0, OP_IRET, TARGET, SEL_CODE_NP, 0, X86_NP, SEL_CODE_NP },
	{ "IRET beyond the limit",    ENV_PROT, 0, OP_IRET, TARGET, SEL_SMALL,   0, X86_GP, 0 },
	{ "IRET outer, null SS",      ENV_PROT, 0, OP_IRET, TARGET, SEL_CODE3,   0, X86_GP, 0 },
	{ "IRET outer, SS RPL",       ENV_PROT, 0, OP_IRET, TARGET, SEL_CODE3,   SEL_DATA0, X86_GP, SEL_DATA0 },
	{ "IRET outer, SS not present", ENV_PROT, 0, OP_IRET, TARGET, SEL_CODE1, SEL_DATA_NP|1, X86_GP, SEL_DATA_NP },
	{ "IRET same, SS not present", ENV_LONG, 0, OP_IRET, TARGET, SEL_CODE64_0, SEL_DATA_NP, X86_SS_FAULT, SEL_DATA_NP },
	{ "IRET not canonical",       ENV_LONG, 0, OP_IRET, 1ull<<47, SEL_CODE64_0, SEL_DATA0, X86_GP, 0 },
	{ "IRET 64-bit, null SS at 3", ENV_LONG, 0, OP_IRET, TARGET, SEL_CODE64_3, 3, X86_GP, 0 },
	{ "IRET null SS to compat",   ENV_LONG, 0, OP_IRET, TARGET, SEL_CODE0,   0, X86_GP, 0 },
	{ "IRET null SS with RPL",    ENV_LONG, 0, OP_IRET, TARGET, SEL_CODE64_0, 1, X86_GP, 0 },
};
/* clang-format on */

static void test_return_fault(void **state)
{
	const struct ret_row *r = *state;
	uint64_t ret[] = { r->rip, r->cs, ENV_STACK3, r->ss };
	uint64_t iret[] = { r->rip, r->cs, 0x202, ENV_STACK3, r->ss };

	env_init(r->mode, r->cpl);
	env.c.gpr[X86_RSP] -= 0x40;
	if (r->op == OP_RET) {
		put_frame(ret, 4);
		assert_fault(run_retf(), r->vec, r->ec);
	} else {
		put_frame(iret, 5);
		assert_fault(run_iret(), r->vec, r->ec);
	}
	env_assert_unchanged();
	assert_int_equal(env.iret_done, 0);
}

/* --- what succeeds: JMP, CALL ------------------------------------------------------- */

static void expect_cs(uint16_t sel, uint64_t rip, unsigned cpl)
{
	assert_int_equal(env.c.seg[X86_CS].selector, sel);
	assert_int_equal(env.c.rip, rip);
	assert_int_equal(env.c.cpl, cpl);
}

static void test_jmp(void **state)
{
	env_init(ENV_PROT, 0);
	assert_int_equal(run_jmp_call(false, SEL_CODE0, TARGET), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_true(env.mem[ENV_GDT + SEL_CODE0 + 5] & 1);
	env_init(ENV_PROT, 3);		/* RPL is ignored, conforming keeps CPL */
	assert_int_equal(run_jmp_call(false, SEL_CONF0, TARGET), 0);
	expect_cs(SEL_CONF0 | 3, TARGET, 3);
	env_init(ENV_PROT, 3);
	assert_int_equal(run_jmp_call(false, SEL_CODE3 & ~3, TARGET), 0);
	expect_cs(SEL_CODE3, TARGET, 3);
}

static void test_jmp_immediate(void **state)
{
	env_init(ENV_PROT, 0);
	assert_fault(RUN(0xea, 0x40, 0x23, 0x01, 0x00, SEL_CODE16, 0), X86_GP, 0);
	env_assert_unchanged();
	assert_int_equal(RUN(0xea, 0x40, 0x23, 0x01, 0x00, SEL_CODE0, 0), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
}

static void test_jmp_opsize_16(void **state)
{
	env_init(ENV_PROT, 0);
	assert_int_equal(RUN(0x66, 0xea, 0x34, 0x12, SEL_CODE16, 0), 0);
	expect_cs(SEL_CODE16, 0x1234, 0);
	assert_int_equal(env.c.mode, X86_MODE_PROT16);
}

static void test_jmp_real(void **state)
{
	env_init(ENV_REAL, 0);
	assert_int_equal(RUN(0xea, 0x34, 0x12, 0x00, 0x30), 0);
	assert_int_equal(env.c.seg[X86_CS].selector, 0x3000);
	assert_int_equal(env.c.seg[X86_CS].base, 0x30000);
	assert_int_equal(env.c.rip, 0x1234);
	env_init(ENV_REAL, 0);
	assert_fault(RUN(0x66, 0xea, 0, 0, 1, 0, 0, 0x30), X86_GP, 0);
	env_assert_unchanged();
}

/* Real -> protected: PE is set, CS follows by the far JMP. */
static void test_jmp_enters_protected(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.gpr[X86_RAX] = X86_CR0_PE;
	assert_int_equal(RUN(0x0f, 0x22, 0xc0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_PROT16);
	assert_int_equal(RUN(0x66, 0xea, 0x40, 0x23, 1, 0, SEL_CODE0, 0), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
}

static void test_jmp_compat_to_64(void **state)
{
	env_init(ENV_COMPAT, 0);
	assert_int_equal(run_jmp_call(false, SEL_CODE64_0, TARGET), 0);
	expect_cs(SEL_CODE64_0, TARGET, 0);
	assert_int_equal(env.c.mode, X86_MODE_PROT64);
}

static void test_jmp_rexw(void **state)
{
	env_init(ENV_LONG, 0);
	env_put(DATA_PTR, 0xffff800000001000ull, 8);
	env_put(DATA_PTR + 8, SEL_CODE64_0, 2);
	env.c.gpr[X86_RBX] = DATA_PTR;
	assert_int_equal(RUN(0x48, 0xff, 0x2b), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE64_0, 0xffff800000001000ull, 0);
	env_put(DATA_PTR + 4, SEL_CODE64_0, 2);
	env.c.rip = ENV_CODE;
	env.c.vendor_amd = true;	/* m16:32 */
	assert_int_equal(RUN(0x48, 0xff, 0x2b), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE64_0, 0x1000, 0);
}

static void test_call(void **state)
{
	env_init(ENV_PROT, 0);
	assert_int_equal(run_jmp_call(true, SEL_CODE0, TARGET), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 8);
	assert_int_equal(env_get(ENV_STACK0 - 4, 4), SEL_CODE0);
	assert_int_equal(env_get(ENV_STACK0 - 8, 4), ENV_CODE + 2);
}

/* As measured: two pushes, then the target; what was pushed stays. */
static void test_call_faults_behind_its_pushes(void **state)
{
	env_init(ENV_PROT, 0);
	assert_fault(run_jmp_call(true, SEL_SMALL, TARGET), X86_GP, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0);
	assert_int_equal(env_get(ENV_STACK0 - 4, 4), SEL_CODE0);
	assert_int_equal(env_get(ENV_STACK0 - 8, 4), ENV_CODE + 2);
	/* CS in one page, EIP in the one below, which cannot be written. */
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RSP] = (ENV_STACK0 & ~0xfffu) + 4;
	env.prot[(ENV_STACK0 >> 12) - 1] = PG_RO;
	assert_fault(run_jmp_call(true, SEL_CODE0, TARGET), X86_PF, X86_PFERR_P | X86_PFERR_W);
	assert_int_equal(env.c.gpr[X86_RSP], (ENV_STACK0 & ~0xfffu) + 4);
	assert_int_equal(env_get(ENV_STACK0 & ~0xfffu, 4), SEL_CODE0);
}

static void test_call_16_from_32(void **state)
{
	env_init(ENV_PROT, 0);
	assert_int_equal(RUN(0x66, 0x9a, 0x34, 0x12, SEL_CODE16, 0), 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 4);
	assert_int_equal(env_get(ENV_STACK0 - 2, 2), SEL_CODE0);
	assert_int_equal(env_get(ENV_STACK0 - 4, 2), (ENV_CODE + 6) & 0xffff);
}

static void test_call_real_wraps(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.seg[X86_SS].base = 0x40000;
	env.c.gpr[X86_RSP] = 2;
	assert_int_equal(RUN(0x9a, 0x34, 0x12, 0x00, 0x30), 0);
	assert_int_equal(env.c.gpr[X86_RSP], 0xfffe);
	assert_int_equal(env_get(0x40000, 2), ENV_CODE >> 4);
	assert_int_equal(env_get(0x4fffe, 2), 0x105);
}

static void test_call_gate_same(void **state)
{
	env_init(ENV_PROT, 0);
	gate(SEL_CODE0, TARGET, G32, 0);
	assert_int_equal(run_jmp_call(true, SEL_GATE, 0xffff), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 8);
}

static void test_call_gate_params(void **state)
{
	static const uint32_t want[] = { SEL_DATA3, ENV_STACK3, 33, 22, 11,
					 SEL_CODE3, ENV_CODE + 2 };
	unsigned i;

	env_init(ENV_PROT, 3);
	env_gate(SEL_GATE, SEL_CODE0, TARGET, G32, 3, 3);
	for (i = 0; i < 3; i++)
		env_put(ENV_STACK3 + 4 * i, 11 * (i + 1), 4);
	assert_int_equal(run_jmp_call(true, SEL_GATE | 3, 0), 0);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 28);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(env_get(ENV_STACK0 - 4 * (i + 1), 4), want[i]);
	/* and back, dropping them on both stacks */
	env_put(env.c.gpr[X86_RSP], TARGET, 4);
	assert_int_equal(RUN(0xca, 12, 0), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE3, TARGET, 3);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3 + 12);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA3);
}

/* 31 parameters are more than one access; a hole in the stack leaves no trace. */
static void test_call_gate_31_params(void **state)
{
	unsigned i;

	env_init(ENV_PROT, 3);
	env_gate(SEL_GATE, SEL_CODE0, TARGET, G32, 3, 31);
	env_put(ENV_TSS + 4, 0x8040, 4);
	env.prot[7] = PG_ABSENT;
	assert_fault(run_jmp_call(true, SEL_GATE | 3, 0), X86_PF, X86_PFERR_W);
	env_assert_unchanged();
	env.prot[7] = 0;		/* the piece that is written last */
	env.prot[8] = PG_RO;
	assert_fault(run_jmp_call(true, SEL_GATE | 3, 0), X86_PF,
		     X86_PFERR_W | X86_PFERR_P);
	env_assert_unchanged();
	env_init(ENV_PROT, 3);
	env_gate(SEL_GATE, SEL_CODE0, TARGET, G32, 3, 31);
	for (i = 0; i < 31; i++)
		env_put(ENV_STACK3 + 4 * i, 0x100 + i, 4);
	assert_int_equal(run_jmp_call(true, SEL_GATE | 3, 0), 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 4 * 35);
	for (i = 0; i < 31; i++)
		assert_int_equal(env_get(ENV_STACK0 - 4 * 33 + 4 * i, 4),
				 0x100 + i);
}

static void test_call_gate16(void **state)
{
	env_init(ENV_PROT, 3);
	env_gate(SEL_GATE, SEL_CODE0, TARGET, X86_CALL_GATE16, 3, 1);
	env_put(ENV_STACK3, 0x7788, 2);
	assert_int_equal(run_jmp_call(true, SEL_GATE | 3, 0), 0);
	expect_cs(SEL_CODE0, TARGET & 0xffff, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 10);
	assert_int_equal(env_get(ENV_STACK0 - 6, 2), 0x7788);
}

static void test_call_gate64(void **state)
{
	static const uint64_t want[] = { SEL_DATA3, ENV_STACK3, SEL_CODE64_3,
					 ENV_CODE + 2 };
	unsigned i;

	env_init(ENV_LONG, 3);
	env_gate(SEL_GATE, SEL_CODE64_0, 0xffff800000002000ull, G32, 3, 5);
	assert_int_equal(run_jmp_call(true, SEL_GATE | 3, 0), 0);
	expect_cs(SEL_CODE64_0, 0xffff800000002000ull, 0);
	assert_int_equal(env.c.seg[X86_SS].selector, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 - 32);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(env_get(ENV_STACK0 - 8 * (i + 1), 8), want[i]);
}

static void test_task_doors(void **state)
{
	env_init(ENV_PROT, 0);
	assert_int_equal(run_jmp_call(false, SEL_TSS_B, 0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.task_sel, SEL_TSS_B);
	assert_int_equal(env.task_reason, TASK_SWITCH_JMP);
	env_init(ENV_PROT, 3);
	env_gate(SEL_GATE, SEL_TSS_B, 0, X86_TASK_GATE, 3, 0);
	assert_int_equal(run_jmp_call(true, SEL_GATE, 0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.task_sel, SEL_TSS_B);
	assert_int_equal(env.task_reason, TASK_SWITCH_CALL);
	env_assert_unchanged();
}

/* --- what succeeds: RET, IRET ---------------------------------------------------------- */

static void test_ret_same(void **state)
{
	env_init(ENV_PROT, 0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE0 }, 2);
	assert_int_equal(RUN(0xca, 8, 0), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 + 16);
}

static void test_ret_real(void **state)
{
	env_init(ENV_REAL, 0);
	env.c.gpr[X86_RSP] = 0x50fffe;	/* the frame wraps, the upper half stays */
	env.c.seg[X86_SS].base = 0x40000;
	env_put(0x4fffe, 0x1234, 2);
	env_put(0x40000, 0x3000, 2);
	assert_int_equal(RUN(0xcb), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, 0x1234);
	assert_int_equal(env.c.seg[X86_CS].base, 0x30000);
	assert_int_equal(env.c.gpr[X86_RSP], 0x500002);
}

/* Data segments that the outer level may not see become null. */
static void test_ret_outer_nulls(void **state)
{
	env_init(ENV_PROT, 0);
	env_load(X86_ES, SEL_DATA0);
	env_load(X86_DS, SEL_DATA3);
	env_load(X86_FS, SEL_CONF0);
	env_load(X86_GS, SEL_CODE0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE3, ENV_STACK3,
				      SEL_DATA3 }, 4);
	assert_int_equal(RUN(0xcb), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE3, TARGET, 3);
	assert_int_equal(env.c.seg[X86_ES].selector, 0);
	assert_true(env.c.seg[X86_ES].ar & X86_AR_UNUSABLE);
	assert_int_equal(env.c.seg[X86_DS].selector, SEL_DATA3);
	assert_int_equal(env.c.seg[X86_FS].selector, SEL_CONF0);
	assert_int_equal(env.c.seg[X86_GS].selector, 0);
}

/* A 16-bit stack gets SP only: the upper half of ESP is the kernel's. */
static void test_iret_16bit_stack(void **state)
{
	env_init(ENV_PROT, 0);
	env_desc(SEL_FREE, 0, 0xffff, 0x00f3);
	env.c.gpr[X86_RSP] = ENV_STACK0 - 0x40;
	put_frame((const uint64_t[]){ TARGET, SEL_CODE3, 0x202, 0x7777bf00,
				      SEL_FREE | 3 }, 5);
	env.c.seg[X86_SS].base = 0;
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RSP], 0xbf00);
	assert_int_equal(env.c.stack_size, 2);
}

static void test_iret_same_prot(void **state)
{
	env_init(ENV_PROT, 0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE0, 0x7fd7 }, 3);
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE0, TARGET, 0);
	assert_int_equal(env.c.eflags, 0x7fd7);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK0 + 12);
	assert_int_equal(env.iret_done, 1);
}

struct flags_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	uint8_t iopl;
	bool op16;
	uint32_t want;		/* after popping all ones into 0 */
};

#define F_ANY	(X86_EFLAGS_STATUS | X86_EFLAGS_TF | X86_EFLAGS_DF | \
		 X86_EFLAGS_NT | X86_EFLAGS_FIXED)
#define F_32	(X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)
#define F_ALL0	(F_ANY | F_32 | X86_EFLAGS_IF | X86_EFLAGS_IOPL | \
		 X86_EFLAGS_VIF | X86_EFLAGS_VIP)

/* clang-format off */
static const struct flags_row iret_flags[] = {
	{ "IRET flags CPL 0",          ENV_LONG, 0, 0, false, F_ALL0 },
	{ "IRET flags CPL 0, 16-bit",  ENV_LONG, 0, 0, true,  F_ANY | X86_EFLAGS_IF | X86_EFLAGS_IOPL },
	{ "IRET flags CPL 3",          ENV_LONG, 3, 0, false, F_ANY | F_32 },
	{ "IRET flags CPL 3, IOPL 3",  ENV_LONG, 3, 3, false, F_ANY | F_32 | X86_EFLAGS_IF | X86_EFLAGS_IOPL },
	{ "IRET flags CPL 1, IOPL 1",  ENV_PROT, 1, 1, false, F_ANY | F_32 | X86_EFLAGS_IF | BIT(12) },
	{ "IRET flags CPL 1, IOPL 0",  ENV_PROT, 1, 0, true,  F_ANY },
	{ "IRET flags real mode",      ENV_REAL, 0, 0, false, F_ANY | X86_EFLAGS_IF | X86_EFLAGS_IOPL },
	{ "IRET flags vm86",           ENV_VM86, 3, 3, false, F_ANY | X86_EFLAGS_IF | X86_EFLAGS_IOPL | X86_EFLAGS_VM },
};
/* clang-format on */

/* rip, cs, all flags, rsp, ss in elements of @w. */
static void put_iret_frame(unsigned w)
{
	const struct x86_emulate_ctxt *c = &env.c;
	const uint64_t at = c->gpr[X86_RSP];

	env_put(at, c->rip, w);
	env_put(at + w, c->seg[X86_CS].selector, w);
	env_put(at + 2 * w, ~0ull & ~(c->efer & X86_EFER_LMA ? 0 :
				      (uint64_t)X86_EFLAGS_VM), w);
	env_put(at + 3 * w, at, w);
	env_put(at + 4 * w, c->seg[X86_SS].selector, w);
}

static void test_iret_flags(void **state)
{
	const struct flags_row *r = *state;
	const bool real = r->mode == ENV_REAL || r->mode == ENV_VM86;
	int rc;

	env_init(r->mode, r->cpl);
	env.c.eflags = (env.c.eflags & X86_EFLAGS_VM) | X86_EFLAGS_FIXED |
		       (uint64_t)r->iopl << 12;
	env.c.gpr[X86_RSP] -= real ? -0x4000 : 0x40;
	put_iret_frame(real || r->op16 ? 2 : r->mode == ENV_LONG ? 8 : 4);
	if (real)
		rc = RUN(0xcf);
	else if (r->op16)
		rc = RUN(0x66, 0xcf);
	else
		rc = run_iret();
	assert_int_equal(rc, X86EMUL_CONTINUE);
	assert_int_equal(env.c.eflags, r->want);
	assert_int_equal(env.iret_done, 1);
}

static void test_iret_long_outer(void **state)
{
	env_init(ENV_LONG, 0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE64_3, 0x202, ENV_STACK3,
				      SEL_DATA3 }, 5);
	assert_int_equal(run_iret(), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE64_3, TARGET, 3);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3);
	assert_int_equal(env.c.eflags, 0x202);
	assert_int_equal(env.c.seg[X86_DS].selector, 0);
}

static void test_iret_long_same_pops_ss(void **state)
{
	env_init(ENV_LONG, 0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE64_0, 2, ENV_IST1, 0 }, 5);
	assert_int_equal(run_iret(), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE64_0, TARGET, 0);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_IST1);
	assert_int_equal(env.c.seg[X86_SS].selector, 0);
}

static void test_iret_long_to_compat(void **state)
{
	env_init(ENV_LONG, 0);
	put_frame((const uint64_t[]){ TARGET, SEL_CODE3, 2,
				      0xffffffff0000bf00ull, SEL_DATA3 }, 5);
	assert_int_equal(run_iret(), X86EMUL_CONTINUE);
	expect_cs(SEL_CODE3, TARGET, 3);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
	assert_int_equal(env.c.gpr[X86_RSP], 0xbf00);
}

static void test_iret_long_nt(void **state)
{
	env_init(ENV_LONG, 0);
	env.c.eflags |= X86_EFLAGS_NT;
	assert_fault(run_iret(), X86_GP, 0);
	env_assert_unchanged();
}

static void test_iret_to_vm86(void **state)
{
	const uint64_t frame[] = { 0x1234, 0x2000, 0x23202, 0xfff0, 0x1111,
				   0x2222, 0x3333, 0x4444, 0x5555 };

	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RSP] -= 0x40;
	put_frame(frame, 9);
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_VM86);
	assert_int_equal(env.c.cpl, 3);
	assert_int_equal(env.c.rip, 0x1234);
	assert_int_equal(env.c.seg[X86_CS].base, 0x20000);
	assert_int_equal(env.c.seg[X86_SS].base, 0x11110);
	assert_int_equal(env.c.seg[X86_ES].base, 0x22220);
	assert_int_equal(env.c.seg[X86_DS].base, 0x33330);
	assert_int_equal(env.c.seg[X86_FS].base, 0x44440);
	assert_int_equal(env.c.seg[X86_GS].base, 0x55550);
	assert_int_equal(env.c.seg[X86_GS].limit, 0xffff);
	assert_int_equal(env.c.gpr[X86_RSP], 0xfff0);
	assert_int_equal(env.c.eflags, 0x23202);
}

static void test_iret_to_vm86_faults(void **state)
{
	env_init(ENV_PROT, 0);
	env.c.gpr[X86_RSP] -= 0x40;
	put_frame((const uint64_t[]){ 0x10000, 0, 0x20002 }, 3);
	assert_fault(RUN(0xcf), X86_GP, 0);
	env_assert_unchanged();
	/* At CPL 3 the VM bit means nothing. */
	env_init(ENV_PROT, 3);
	env.c.gpr[X86_RSP] -= 0x40;
	put_frame((const uint64_t[]){ TARGET, SEL_CODE3, 0x20002 }, 3);
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
}

static void test_iret_vm86_iopl(void **state)
{
	env_init(ENV_VM86, 3);
	env.c.eflags &= ~X86_EFLAGS_IOPL;
	assert_fault(RUN(0xcf), X86_GP, 0);
	env_assert_unchanged();
	/* VME, 16-bit: VIF takes IF's place. */
	env.c.cr4 |= X86_CR4_VME;
	env.c.gpr[X86_RSP] = 0x6000;
	env_put(0x6000, 0x1234, 2);
	env_put(0x6002, 0x2000, 2);
	env_put(0x6004, 0x0202, 2);
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_true(env.c.eflags & X86_EFLAGS_VIF);
	assert_false(env.c.eflags & X86_EFLAGS_IF);
	assert_int_equal(env.c.gpr[X86_RSP], 0x6006);
}

static void test_iret_stack_fault(void **state)
{
	env_init(ENV_PROT, 0);
	env.c.seg[X86_SS].limit = ENV_STACK0 + 10;
	assert_fault(RUN(0xcf), X86_SS_FAULT, 0);
	env_assert_unchanged();
	env_init(ENV_LONG, 0);
	env.c.gpr[X86_RSP] = 0x8ff0;
	env.prot[9] = PG_ABSENT;
	assert_fault(run_iret(), X86_PF, 0);
	assert_int_equal(env.c.exception.address, 0x9000);
	env_assert_unchanged();
}

int main(void)
{
	static const struct CMUnitTest single[] = {
		cmocka_unit_test(test_jmp),
		cmocka_unit_test(test_jmp_immediate),
		cmocka_unit_test(test_jmp_opsize_16),
		cmocka_unit_test(test_jmp_real),
		cmocka_unit_test(test_jmp_enters_protected),
		cmocka_unit_test(test_jmp_compat_to_64),
		cmocka_unit_test(test_jmp_rexw),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_call_faults_behind_its_pushes),
		cmocka_unit_test(test_call_16_from_32),
		cmocka_unit_test(test_call_real_wraps),
		cmocka_unit_test(test_call_gate_same),
		cmocka_unit_test(test_call_gate_params),
		cmocka_unit_test(test_call_gate_31_params),
		cmocka_unit_test(test_call_gate16),
		cmocka_unit_test(test_call_gate64),
		cmocka_unit_test(test_task_doors),
		cmocka_unit_test(test_ret_same),
		cmocka_unit_test(test_ret_real),
		cmocka_unit_test(test_ret_outer_nulls),
		cmocka_unit_test(test_iret_16bit_stack),
		cmocka_unit_test(test_iret_same_prot),
		cmocka_unit_test(test_iret_long_outer),
		cmocka_unit_test(test_iret_long_same_pops_ss),
		cmocka_unit_test(test_iret_long_to_compat),
		cmocka_unit_test(test_iret_long_nt),
		cmocka_unit_test(test_iret_to_vm86),
		cmocka_unit_test(test_iret_to_vm86_faults),
		cmocka_unit_test(test_iret_vm86_iopl),
		cmocka_unit_test(test_iret_stack_fault),
	};
	static struct CMUnitTest tests[160];
	size_t n = ARRAY_SIZE(single);

	memcpy(tests, single, sizeof(single));
	ENV_ROWS(tests, n, transfers, test_transfer_fault);
	ENV_ROWS(tests, n, returns, test_return_fault);
	ENV_ROWS(tests, n, iret_flags, test_iret_flags);
	return _cmocka_run_group_tests("transfers", tests, n, NULL, NULL);
}
