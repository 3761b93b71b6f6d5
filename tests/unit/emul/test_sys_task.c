// SPDX-License-Identifier: MIT
/*
 * Task switches: a round trip with every field of both TSSs, JMP, CALL, IRET and
 * gates with their busy bits, links and NT, 16-bit TSSs, vm86 tasks, the faults
 * before the switch (no trace) and those of the new task (its state is there).
 */
#include "sysenv.h"

#define B_EIP		0x13000u
#define B_STACK		0x9e00u
#define A_RET		(ENV_CODE + 7)

/* Fields of a 32-bit TSS. */
enum { T_LINK = 0, T_CR3 = 0x1c, T_EIP = 0x20, T_EFLAGS = 0x24, T_EAX = 0x28,
       T_ES = 0x48, T_CS = 0x4c, T_SS = 0x50, T_DS = 0x54, T_FS = 0x58,
       T_GS = 0x5c, T_LDT = 0x60, T_TRAP = 0x64 };

static void put_b(unsigned off, uint32_t val)
{
	env_put(ENV_TSS_B + off, val, 4);
}

static uint8_t type_of(uint16_t sel)
{
	return env.mem[ENV_GDT + sel + 5] & 0xf;
}

/* Task B: level 0, flat, registers 0x1000 + n. */
static void task_init(void)
{
	unsigned i;

	env_init(ENV_PROT, 0);
	env.do_task_switch = 1;
	for (i = 0; i < 8; i++) {
		env.c.gpr[i] = 0xa000 + i;
		put_b(T_EAX + 4 * i, 0x1000 + i);
	}
	env.c.gpr[X86_RSP] = ENV_STACK0;
	put_b(T_EAX + 4 * X86_RSP, B_STACK);
	put_b(T_CR3, 0x77000);
	put_b(T_EIP, B_EIP);
	put_b(T_EFLAGS, 0x202);
	put_b(T_ES, SEL_DATA3);
	put_b(T_CS, SEL_CODE0);
	put_b(T_SS, SEL_DATA0);
	put_b(T_DS, SEL_DATA0);
	put_b(T_FS, 0);
	put_b(T_GS, SEL_DATA3);
}

static int do_switch(int reason)
{
	env.c.next_rip = A_RET;
	env_snapshot();
	return emulator_task_switch(&env.c, SEL_TSS_B, reason, false, 0);
}

static void expect_b(void)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		assert_int_equal(env.c.gpr[i], i == X86_RSP ? B_STACK : 0x1000 + i);
	assert_int_equal(env.c.rip, B_EIP);
	assert_int_equal(env.c.next_rip, B_EIP);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CODE0);
	assert_int_equal(env.c.seg[X86_SS].selector, SEL_DATA0);
	assert_int_equal(env.c.seg[X86_ES].selector, SEL_DATA3);
	assert_int_equal(env.c.seg[X86_GS].selector, SEL_DATA3);
	assert_true(env.c.seg[X86_FS].ar & X86_AR_UNUSABLE);
	assert_int_equal(env.c.seg[X86_TR].selector, SEL_TSS_B);
	assert_int_equal(env.c.seg[X86_TR].base, ENV_TSS_B);
	assert_int_equal(env.c.seg[X86_TR].ar & 0xf, X86_TSS32_BUSY);
	assert_true(env.c.cr0 & X86_CR0_TS);
	assert_int_equal(type_of(SEL_TSS_B), X86_TSS32_BUSY);
}

static void expect_a_saved(void)
{
	unsigned i;

	assert_int_equal(env_get(ENV_TSS + T_EIP, 4), A_RET);
	assert_int_equal(env_get(ENV_TSS + T_EFLAGS, 4), X86_EFLAGS_FIXED);
	for (i = 0; i < 8; i++)
		assert_int_equal(env_get(ENV_TSS + T_EAX + 4 * i, 4),
				 i == X86_RSP ? ENV_STACK0 : 0xa000 + i);
	assert_int_equal(env_get(ENV_TSS + T_ES, 2), SEL_DATA0);
	assert_int_equal(env_get(ENV_TSS + T_CS, 2), SEL_CODE0);
	assert_int_equal(env_get(ENV_TSS + T_GS, 2), SEL_DATA0);
}

static void test_jmp(void **state)
{
	task_init();
	env.c.cr0 &= ~X86_CR0_TS;
	assert_int_equal(do_switch(TASK_SWITCH_JMP), X86EMUL_CONTINUE);
	expect_b();
	expect_a_saved();
	assert_int_equal(type_of(SEL_TSS), X86_TSS32);
	assert_int_equal(env.c.eflags, 0x202);
	assert_int_equal(env_get(ENV_TSS_B + T_LINK, 2), 0);
	assert_int_equal(env.c.cr3, 0);		/* paging is off */
}

static void test_call_and_iret(void **state)
{
	unsigned i;

	task_init();
	assert_int_equal(do_switch(TASK_SWITCH_CALL), X86EMUL_CONTINUE);
	expect_b();
	expect_a_saved();
	assert_int_equal(type_of(SEL_TSS), X86_TSS32_BUSY);
	assert_int_equal(env.c.eflags, 0x202 | X86_EFLAGS_NT);
	assert_int_equal(env_get(ENV_TSS_B + T_LINK, 2), SEL_TSS);
	/* and back, by the instruction */
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_int_equal(env.task_sel, SEL_TSS);
	assert_int_equal(env.task_reason, TASK_SWITCH_IRET);
	assert_int_equal(env.c.rip, A_RET);
	for (i = 0; i < 8; i++)
		assert_int_equal(env.c.gpr[i], i == X86_RSP ? ENV_STACK0 :
							      0xa000 + i);
	assert_int_equal(env.c.seg[X86_TR].selector, SEL_TSS);
	assert_int_equal(type_of(SEL_TSS), X86_TSS32_BUSY);
	assert_int_equal(type_of(SEL_TSS_B), X86_TSS32);
	assert_int_equal(env_get(ENV_TSS_B + T_EFLAGS, 4), 0x202);
	assert_int_equal(env_get(ENV_TSS_B + T_EIP, 4), B_EIP + 1);
	assert_int_equal(env.c.eflags, X86_EFLAGS_FIXED);
	assert_int_equal(env.iret_done, 1);
}

/* The far CALL itself: the old EIP is the next instruction's. */
static void test_call_instruction(void **state)
{
	task_init();
	assert_int_equal(RUN(0x9a, 0, 0, 0, 0, SEL_TSS_B, 0), X86EMUL_CONTINUE);
	expect_b();
	expect_a_saved();
}

/* EXT: not for INT n. */
static void test_faults_of_an_events_task(void **state)
{
	task_init();
	put_b(T_SS, SEL_DATA0 | 1);
	env.c.next_rip = A_RET;
	assert_fault(emulator_task_switch(&env.c, SEL_TSS_B, TASK_SWITCH_GATE,
					  false, 0), X86_TS, SEL_DATA0);
	task_init();
	put_b(T_SS, SEL_DATA0 | 1);
	env.c.next_rip = A_RET;
	assert_fault(emulator_task_switch(&env.c, SEL_TSS_B, TASK_SWITCH_EVENT,
					  false, 0), X86_TS, SEL_DATA0 | 1);
}

static void test_gate_error_code(void **state)
{
	struct x86_event ev = { .vector = X86_GP, .has_error_code = true,
				.type = X86_EVENT_EXCEPTION,
				.error_code = 0x1234, .return_rip = A_RET };

	task_init();
	env_idt(X86_GP, SEL_TSS_B, 0, X86_TASK_GATE, 0, 0);
	assert_int_equal(emul_deliver_event(&env.c, &ev), X86EMUL_CONTINUE);
	assert_int_equal(env.task_reason, TASK_SWITCH_EVENT);
	assert_int_equal(env.c.gpr[X86_RSP], B_STACK - 4);
	assert_int_equal(env_get(B_STACK - 4, 4), 0x1234);
	assert_true(env.c.eflags & X86_EFLAGS_NT);
	assert_int_equal(env.c.rip, B_EIP);
	env.c.gpr[X86_RSP] = B_STACK;
	expect_b();
	expect_a_saved();
}

static void test_cr3_with_paging(void **state)
{
	task_init();
	env.c.cr0 |= X86_CR0_PG;
	assert_int_equal(do_switch(TASK_SWITCH_JMP), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cr3, 0x77000);
}

static void test_ldt(void **state)
{
	task_init();
	put_b(T_LDT, SEL_LDT);
	env_put(ENV_LDT + 8, 0x0000ffff, 4);
	env_put(ENV_LDT + 12, 0x00cf9200, 4);
	put_b(T_FS, 0x0c);
	assert_int_equal(do_switch(TASK_SWITCH_JMP), X86EMUL_CONTINUE);
	assert_int_equal(env.c.seg[X86_LDTR].selector, SEL_LDT);
	assert_int_equal(env.c.seg[X86_FS].selector, 0x0c);
	assert_false(env.c.seg[X86_FS].ar & X86_AR_UNUSABLE);
}

static void test_to_level_3(void **state)
{
	task_init();
	put_b(T_CS, SEL_CODE3);
	put_b(T_SS, SEL_DATA3);
	put_b(T_DS, 0);
	assert_int_equal(do_switch(TASK_SWITCH_JMP), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 3);
	assert_int_equal(env.c.seg[X86_CS].selector, SEL_CODE3);
}

static void test_to_vm86(void **state)
{
	task_init();
	put_b(T_EFLAGS, 0x23202);
	put_b(T_CS, 0x2000);
	put_b(T_SS, 0x3000);
	put_b(T_EIP, 0x123);
	assert_int_equal(do_switch(TASK_SWITCH_JMP), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_VM86);
	assert_int_equal(env.c.cpl, 3);
	assert_int_equal(env.c.seg[X86_CS].base, 0x20000);
	assert_int_equal(env.c.seg[X86_SS].base, 0x30000);
	assert_int_equal(env.c.seg[X86_SS].ar, 0xf3);
}

static void test_tss16(void **state)
{
	unsigned i;

	task_init();
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x2b, 0x0081);
	env_put(ENV_TSS_B + 0x0e, 0x4567, 2);
	env_put(ENV_TSS_B + 0x10, 0x0202, 2);
	for (i = 0; i < 8; i++)
		env_put(ENV_TSS_B + 0x12 + 2 * i, 0x1000 + i, 2);
	env_put(ENV_TSS_B + 0x22, 0, 2);
	env_put(ENV_TSS_B + 0x24, SEL_CODE0, 2);
	env_put(ENV_TSS_B + 0x26, SEL_DATA0, 2);
	env_put(ENV_TSS_B + 0x28, SEL_DATA3, 2);
	env_put(ENV_TSS_B + 0x2a, 0, 2);
	assert_int_equal(do_switch(TASK_SWITCH_CALL), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, 0x4567);
	assert_int_equal(env.c.eflags, 0x202 | X86_EFLAGS_NT);
	for (i = 0; i < 8; i++)
		assert_int_equal(env.c.gpr[i] & 0xffff, 0x1000 + i);
	assert_int_equal(env.c.seg[X86_DS].selector, SEL_DATA3);
	assert_int_equal(env.c.seg[X86_FS].selector, 0);
	assert_int_equal(type_of(SEL_TSS_B), X86_TSS16_BUSY);
	expect_a_saved();
	/* back: the 16-bit TSS keeps 16 bits, and nothing beyond its end */
	env_put(ENV_TSS_B + 0x2a, 0x5a5a, 2);
	env.c.rip = ENV_CODE;
	assert_int_equal(RUN(0xcf), X86EMUL_CONTINUE);
	assert_int_equal(env.c.rip, A_RET);
	assert_int_equal(env_get(ENV_TSS_B + 0x0e, 2), (ENV_CODE + 1) & 0xffff);
	assert_int_equal(env_get(ENV_TSS_B + 0x2a, 2), 0x5a5a);
	assert_int_equal(type_of(SEL_TSS_B), X86_TSS16);
}

static void test_debug(void **state)
{
	task_init();
	put_b(T_TRAP, 1);
	env.dr[7] = 0x55 | 0x400;
	assert_fault(do_switch(TASK_SWITCH_JMP), X86_DB, 0);
	assert_int_equal(env.c.exception.address, X86_DR6_BT);
	expect_b();
	assert_int_equal(env.dr[7], 0x400);
}

static void test_long_mode_has_none(void **state)
{
	env_init(ENV_LONG, 0);
	env_snapshot();
	assert_fault(emulator_task_switch(&env.c, SEL_TSS_B, TASK_SWITCH_JMP,
					  false, 0), X86_GP, SEL_TSS_B);
	env_assert_unchanged();
}

/* --- before the switch: no trace ------------------------------------------------------ */

struct task_row {
	const char *name;
	int reason;
	void (*setup)(void);
	uint8_t vec;
	uint16_t ec;
};

static void b_busy(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x67, 0x008b);
}

static void b_absent(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x67, 0x0009);
}

static void b_short(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x66, 0x0089);
}

static void b_short_busy(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x66, 0x008b);
}

static void b_data(void)
{
	env_desc(SEL_TSS_B, ENV_TSS_B, 0x67, 0x0093);
}

static void nothing(void)
{
}

static void a_short(void)
{
	env.c.seg[X86_TR].limit = 0x50;
}

static void a_page_ro(void)
{
	env.prot[ENV_TSS >> 12] = PG_RO;
}

static void b_page_absent(void)
{
	env.prot[ENV_TSS_B >> 12] = PG_ABSENT;
}

static void b_page_ro(void)
{
	env.prot[ENV_TSS_B >> 12] = PG_RO;
}

static void gdt_ro(void)
{
	env.prot[ENV_GDT >> 12] = PG_RO;
}

#define PF_RW (X86_PFERR_P | X86_PFERR_W)

/* clang-format off */
static const struct task_row before[] = {
	{ "task: JMP to a busy TSS",      TASK_SWITCH_JMP,  b_busy,   X86_GP, SEL_TSS_B },
	{ "task: JMP to data",            TASK_SWITCH_JMP,  b_data,   X86_GP, SEL_TSS_B },
	{ "task: CALL, not present",      TASK_SWITCH_CALL, b_absent, X86_NP, SEL_TSS_B },
	{ "task: CALL, too short",        TASK_SWITCH_CALL, b_short,  X86_TS, SEL_TSS_B },
	{ "task: IRET to an available TSS", TASK_SWITCH_IRET, nothing, X86_TS, SEL_TSS_B },
	{ "task: IRET, too short",        TASK_SWITCH_IRET, b_short_busy, X86_TS, SEL_TSS_B },
	{ "task: old TSS too short",      TASK_SWITCH_JMP,  a_short,  X86_TS, SEL_TSS },
	{ "task: old TSS read-only",      TASK_SWITCH_JMP,  a_page_ro, X86_PF, PF_RW },
	{ "task: new TSS absent",         TASK_SWITCH_JMP,  b_page_absent, X86_PF, 0 },
	{ "task: link read-only",         TASK_SWITCH_CALL, b_page_ro, X86_PF, PF_RW },
	{ "task: GDT read-only",          TASK_SWITCH_JMP,  gdt_ro,   X86_PF, PF_RW },
};
/* clang-format on */

static void test_before(void **state)
{
	const struct task_row *r = *state;

	task_init();
	r->setup();
	assert_fault(do_switch(r->reason), r->vec, r->ec);
	env_assert_unchanged();
}

/* --- after it: the new task's ------------------------------------------------------------ */

struct after_row {
	const char *name;
	uint8_t field;
	uint16_t sel;
	uint8_t vec;
	uint16_t ec;
};

/* clang-format off */
static const struct after_row after[] = {
	{ "task: LDT in the LDT",         T_LDT, SEL_LDT | 4,  X86_TS, SEL_LDT | 4 },
	{ "task: LDT beyond",             T_LDT, SEL_BEYOND,   X86_TS, SEL_BEYOND },
	{ "task: LDT is data",            T_LDT, SEL_DATA0,    X86_TS, SEL_DATA0 },
	{ "task: LDT not present",        T_LDT, SEL_FREE,     X86_TS, SEL_FREE },
	{ "task: null CS",                T_CS,  0,            X86_TS, 0 },
	{ "task: CS beyond",              T_CS,  SEL_BEYOND,   X86_TS, SEL_BEYOND },
	{ "task: CS is data",             T_CS,  SEL_DATA0,    X86_TS, SEL_DATA0 },
	{ "task: CS DPL is not RPL",      T_CS,  SEL_CODE0 | 3, X86_TS, SEL_CODE0 },
	{ "task: CS not present",         T_CS,  SEL_CODE_NP,  X86_NP, SEL_CODE_NP },
	{ "task: null SS",                T_SS,  0,            X86_TS, 0 },
	{ "task: SS RPL",                 T_SS,  SEL_DATA3,    X86_TS, SEL_DATA3 & ~3 },
	{ "task: SS DPL",                 T_SS,  SEL_DATA3 & ~3, X86_TS, SEL_DATA3 & ~3 },
	{ "task: SS read-only",           T_SS,  SEL_RODATA0,  X86_TS, SEL_RODATA0 },
	{ "task: SS not present",         T_SS,  SEL_DATA_NP,  X86_SS_FAULT, SEL_DATA_NP },
	{ "task: DS beyond",              T_DS,  SEL_BEYOND,   X86_TS, SEL_BEYOND },
	{ "task: ES execute-only",        T_ES,  SEL_XCODE0,   X86_TS, SEL_XCODE0 },
	{ "task: FS RPL above DPL",       T_FS,  SEL_DATA0 | 3, X86_TS, SEL_DATA0 },
	{ "task: GS not present",         T_GS,  SEL_DATA_NP,  X86_NP, SEL_DATA_NP },
	{ "task: EIP beyond CS",          T_CS,  SEL_SMALL,    X86_GP, 0 },
};
/* clang-format on */

static void test_after(void **state)
{
	const struct after_row *r = *state;

	task_init();
	env_desc(SEL_FREE, ENV_LDT, 0xff, 0x0002);
	put_b(r->field, r->sel);
	assert_fault(do_switch(TASK_SWITCH_CALL), r->vec, r->ec);
	expect_a_saved();
	assert_int_equal(env.c.seg[X86_TR].selector, SEL_TSS_B);
	assert_int_equal(env.c.rip, B_EIP);
	assert_int_equal(env.c.gpr[X86_RAX], 0x1000);
	assert_int_equal(env.c.seg[X86_CS].selector, r->field == T_CS ? r->sel :
								SEL_CODE0);
	assert_int_equal(env.c.seg[X86_GS].selector, r->field == T_GS ? r->sel :
								SEL_DATA3);
	assert_int_equal(type_of(SEL_TSS_B), X86_TSS32_BUSY);
}

static void test_iret_link(void **state)
{
	task_init();
	env.c.eflags |= X86_EFLAGS_NT;
	env_put(ENV_TSS, SEL_TSS_B | 4, 2);
	assert_fault(RUN(0xcf), X86_TS, SEL_TSS_B | 4);
	env_assert_unchanged();
	env_put(ENV_TSS, SEL_BEYOND, 2);
	assert_fault(RUN(0xcf), X86_TS, SEL_BEYOND);
	env_put(ENV_TSS, SEL_TSS_B, 2);
	assert_fault(RUN(0xcf), X86_TS, SEL_TSS_B);
	env_assert_unchanged();
	assert_int_equal(env.iret_done, 0);
}

/* No room for the error code: #SS(0) of the new task. */
static void test_gate_no_room(void **state)
{
	task_init();
	env_desc(SEL_FREE, 0, 0x100, 0x4093);
	put_b(T_SS, SEL_FREE);
	env.c.next_rip = A_RET;
	assert_fault(emulator_task_switch(&env.c, SEL_TSS_B, TASK_SWITCH_GATE,
					  true, 0x11), X86_SS_FAULT, 0);
	assert_int_equal(env.c.gpr[X86_RSP], B_STACK);
	assert_int_equal(env.c.rip, B_EIP);
}

int main(void)
{
	static const struct CMUnitTest single[] = {
		cmocka_unit_test(test_jmp),
		cmocka_unit_test(test_call_and_iret),
		cmocka_unit_test(test_call_instruction),
		cmocka_unit_test(test_faults_of_an_events_task),
		cmocka_unit_test(test_gate_error_code),
		cmocka_unit_test(test_cr3_with_paging),
		cmocka_unit_test(test_ldt),
		cmocka_unit_test(test_to_level_3),
		cmocka_unit_test(test_to_vm86),
		cmocka_unit_test(test_tss16),
		cmocka_unit_test(test_debug),
		cmocka_unit_test(test_long_mode_has_none),
		cmocka_unit_test(test_iret_link),
		cmocka_unit_test(test_gate_no_room),
	};
	static struct CMUnitTest tests[64];
	size_t n = ARRAY_SIZE(single);

	memcpy(tests, single, sizeof(single));
	ENV_ROWS(tests, n, before, test_before);
	ENV_ROWS(tests, n, after, test_after);
	return _cmocka_run_group_tests("tasks", tests, n, NULL, NULL);
}
