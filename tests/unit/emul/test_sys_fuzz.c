// SPDX-License-Identifier: MIT
/*
 * Hostile tables: the system families over random descriptors, gates, TSSs,
 * stacks, page rights and registers. What must hold whatever the guest does:
 *
 *   - every call ends in CONTINUE, a fault, or an exit, and touches no memory but
 *     through the callbacks (the sanitizers look);
 *   - after a fault nothing has changed but accessed bits, unless a task switch
 *     had begun;
 *   - after CONTINUE the derived state is what the registers say, the CPL is
 *     CS.RPL outside real mode, and RIP is canonical and inside CS.
 *
 * Deterministic: a fixed seed, a fixed number of rounds.
 */
#include "sysenv.h"

#ifdef ANYKVM_SANITIZE
#define ROUNDS	1500
#else
#define ROUNDS	6000
#endif

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 16;
}

static bool chance(unsigned percent)
{
	return rnd() % 100 < percent;
}

/* A selector in or just behind the GDT, any RPL, now and then the LDT. */
static uint16_t rnd_sel(void)
{
	return (rnd() % 0x110 & ~7u) | (chance(10) ? 4 : 0) | rnd() % 4;
}

static void rnd_tables(void)
{
	unsigned i, n = rnd() % 12;

	for (i = 0; i < n; i++)		/* any bits anywhere */
		env.mem[ENV_GDT + rnd() % 0x100] = rnd();
	for (i = 0; i < n; i++)		/* types */
		env.mem[ENV_GDT + (rnd() % 0x20) * 8 + 5] = 0x80 | rnd();
	for (i = 0; i < 0x80; i++)
		env_idt(i, rnd_sel(), ENV_CODE + rnd() % 0x1000,
			chance(80) ? 6 + (rnd() & 9) : rnd() & 0x8f, rnd() % 4,
			chance(20) ? rnd() & 7 : 0);
	if (chance(30))
		env.prot[rnd() % 0x14] = rnd() & 7;
	if (chance(30))
		env_put(ENV_TSS + 4 * (rnd() % 26), rnd_sel(), 2);
	if (chance(20))
		env.c.seg[X86_TR].limit = rnd() % 0x70;
	if (chance(20))
		env.c.gdt.limit = rnd() % 0x100;
	for (i = 0x20; i < 0x60; i += 4)
		env_put(ENV_TSS_B + i, i < 0x48 ? rnd() : rnd_sel(), 4);
}

static void rnd_state(void)
{
	struct x86_emulate_ctxt *c = &env.c;
	unsigned i;

	env_init(rnd() % 5, chance(50) ? 0 : 3);
	env.do_task_switch = chance(50);
	c->vendor_amd = chance(50);
	rnd_tables();
	c->eflags |= rnd() & 0x3c4dd5 & ~(chance(70) ? X86_EFLAGS_NT : 0u);
	if (chance(15))
		c->gpr[X86_RSP] = rnd() & 0xffff;
	if (chance(10))
		c->gpr[X86_RSP] ^= 1ull << (rnd() % 64);
	for (i = 0; i < 12; i++)	/* what RET and IRET may pop */
		env_put((c->gpr[X86_RSP] & 0x1ffff) + i * (2u << rnd() % 3),
			chance(60) ? rnd_sel() : rnd(), 4);
	c->gpr[X86_RAX] = rnd_sel();
	c->gpr[X86_RCX] = rnd();
	c->gpr[X86_RDX] = rnd();
	c->gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA, ENV_CODE, 4);
	env_put(ENV_DATA + 4, rnd_sel(), 2);
	env.star = (uint64_t)rnd() << 32 | rnd();
	emul_update_mode(c);
}

/* clang-format off */
static const uint8_t code[][4] = {
	{ 2, 0x8e, 0xd0 }, { 2, 0x8e, 0xd8 }, { 2, 0x8e, 0xe8 },	/* MOV Sreg */
	{ 1, 0x07 }, { 1, 0x17 }, { 2, 0x0f, 0xa1 },			/* POP Sreg */
	{ 2, 0xff, 0x2b }, { 2, 0xff, 0x1b },				/* JMP, CALL far */
	{ 3, 0x66, 0xff, 0x1b }, { 3, 0x48, 0xff, 0x1b },
	{ 1, 0xcb }, { 2, 0x66, 0xcb }, { 2, 0x48, 0xcb }, { 3, 0xca, 8, 0 },
	{ 1, 0xcf }, { 2, 0x66, 0xcf }, { 2, 0x48, 0xcf },		/* IRET */
	{ 2, 0xcd, 0x21 }, { 1, 0xcc }, { 1, 0xf1 },			/* INT */
	{ 3, 0x0f, 0x00, 0xd0 }, { 3, 0x0f, 0x00, 0xd8 },		/* LLDT, LTR */
	{ 3, 0x0f, 0x02, 0xc8 }, { 3, 0x0f, 0x03, 0xc8 },		/* LAR, LSL */
	{ 3, 0x0f, 0xb2, 0x0b },					/* LSS */
	{ 2, 0x0f, 0x05 }, { 2, 0x0f, 0x07 }, { 2, 0x0f, 0x34 }, { 2, 0x0f, 0x35 },
};
/* clang-format on */

static int act(void)
{
	const unsigned n = rnd() % (ARRAY_SIZE(code) + 8);
	struct x86_event ev = { .vector = rnd() & 0x7f, .type = rnd() % 6,
				.has_error_code = chance(30),
				.error_code = rnd() & 0xffff,
				.return_rip = ENV_CODE };

	if (n < ARRAY_SIZE(code)) {
		/* 48 is DEC outside 64-bit mode. */
		if (code[n][1] == 0x48 && env.c.mode != X86_MODE_PROT64)
			return X86EMUL_INTERCEPTED;
		return env_run(code[n] + 1, code[n][0]);
	}
	env_snapshot();
	return emul_deliver_event(&env.c, &ev);
}

/* Pushes one by one: those before a fault stay. */
static bool is_call_far(const struct x86_insn *i)
{
	return i && i->row && i->row->op == X86_OP_CALL_FAR;
}

static void check_consistent(void)
{
	struct x86_emulate_ctxt *c = &env.c;
	const uint8_t mode = c->mode, cpl = c->cpl, size = c->stack_size;

	emul_update_mode(c);
	assert_int_equal(c->mode, mode);
	assert_int_equal(c->cpl, cpl);
	assert_int_equal(c->stack_size, size);
	assert_true(c->eflags & X86_EFLAGS_FIXED);
	if (mode == X86_MODE_PROT64) {
		assert_true(c->vendor_amd || is_canonical(c->rip, false));
	} else {
		assert_int_equal(c->rip >> 32, 0);
	}
	if (mode >= X86_MODE_PROT16) {
		assert_int_equal(c->seg[X86_CS].selector & 3, cpl);
		assert_true((c->seg[X86_SS].ar & X86_AR_UNUSABLE) ||
			    (c->seg[X86_SS].selector & 3) == cpl);
	}
}

static void test_hostile(void **state)
{
	unsigned i, done = 0, faults = 0;

	for (i = 0; i < ROUNDS; i++) {
		int rc;

		rnd_state();
		rc = act();
		if (rc == X86EMUL_CONTINUE) {
			check_consistent();
			done++;
		} else if (rc == X86EMUL_PROPAGATE_FAULT) {
			assert_true(env.c.exception.vector < 32);
			if (is_call_far(env.c.insn))
				env_forgive_pushes(16);
			if (!env.task_switches)
				env_assert_unchanged();
			faults++;
		} else {
			assert_int_equal(rc, X86EMUL_INTERCEPTED);
		}
	}
	/* The generator must reach both ends. */
	assert_true(done > ROUNDS / 20);
	assert_true(faults > ROUNDS / 20);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests_name("hostile tables", tests, NULL, NULL);
}
