/* SPDX-License-Identifier: MIT */
/*
 * MONITOR and MWAIT, UMONITOR, UMWAIT and TPAUSE: who may, with what in which register,
 * and whether a fault or the exit comes first (SDM Vol. 2, "MONITOR", "MWAIT", "TPAUSE").
 */
#include "guest.h"
#include "x86/msr.h"

#define NONCANON	0x800000000000ull

GUEST_CODE(monitor, 64, "monitor; hlt");
GUEST_CODE(monitor_fs, 64, "fs monitor; hlt");
GUEST_CODE(mwait, 64, "mwait; hlt");
GUEST_CODE(umonitor, 64, ".byte 0xf3, 0x0f, 0xae, 0xf3; hlt");	/* RBX */
GUEST_CODE(umwait, 64, "stc; .byte 0xf2, 0x0f, 0xae, 0xf3; hlt");
GUEST_CODE(tpause, 64, "stc; .byte 0x66, 0x0f, 0xae, 0xf3; hlt");

#define LOAD(g, mode, code) (mode(g), GUEST_LOAD(g, code), clear(g))

static void clear(struct guest *g)
{
	memset(g->c->gpr, 0, 4 * sizeof(*g->c->gpr));
	g->c->gpr[X86_RAX] = g->c->gpr[X86_RBX] = G_DATA;
	hw_tlb_flush_all(g->cpu);
}

static int vector(struct guest *g)
{
	guest_run(g);
	return guest_vector(g);
}

static void lose(struct guest *g, enum x86_feature f)
{
	g->cpu->features[f / 64] &= ~BIT_ULL(f % 64);
}

static void monitor_faults(void **state)
{
	struct guest *g = *state;

	LOAD(g, guest_long, monitor);
	assert_int_equal(vector(g), -1);
	LOAD(g, guest_long, monitor);
	g->c->gpr[X86_RCX] = 1;
	assert_int_equal(vector(g), X86_GP);
	LOAD(g, guest_long, monitor);
	g->c->gpr[X86_RCX] = BIT_ULL(32);	/* ECX is 0 */
	assert_int_equal(vector(g), -1);
	LOAD(g, guest_long, monitor);
	g->c->gpr[X86_RAX] = NONCANON;
	assert_int_equal(vector(g), X86_GP);
	LOAD(g, guest_long, monitor);
	*guest_pte(g, G_DATA) = 0;
	assert_int_equal(vector(g), X86_PF);
	assert_int_equal(g->c->cr2, G_DATA);
	LOAD(g, guest_long, monitor_fs);
	g->c->seg[X86_FS].base = NONCANON;
	assert_int_equal(vector(g), X86_GP);
	LOAD(g, guest_user, monitor);
	assert_int_equal(vector(g), X86_UD);
	lose(g, X86_FEATURE_MONITOR);
	LOAD(g, guest_long, monitor);
	assert_int_equal(vector(g), X86_UD);
}

static void mwait_faults(void **state)
{
	struct guest *g = *state;

	LOAD(g, guest_long, mwait);
	g->c->gpr[X86_RCX] = 1;			/* interrupts break, though masked */
	assert_int_equal(vector(g), -1);
	LOAD(g, guest_long, mwait);
	g->c->gpr[X86_RCX] = 2;
	assert_int_equal(vector(g), X86_GP);
	LOAD(g, guest_user, mwait);
	assert_int_equal(vector(g), X86_UD);
	lose(g, X86_FEATURE_MONITOR);
	LOAD(g, guest_long, mwait);
	assert_int_equal(vector(g), X86_UD);
}

/* #UD for CPL before the exit; operands behind it on Intel, before it on AMD. */
static void exits(void **state)
{
	struct guest *g = *state;

	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_MONITOR);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_MWAIT);
	LOAD(g, guest_long, monitor);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_MONITOR);
	assert_int_equal(g->c->rip, G_CODE);
	LOAD(g, guest_long, mwait);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_MWAIT);
	LOAD(g, guest_user, monitor);
	assert_int_equal(vector(g), X86_UD);
	LOAD(g, guest_long, monitor);
	g->c->gpr[X86_RCX] = 1;
	assert_int_equal(guest_run(g)->id, g->amd ? X86_INTERCEPT_HLT :
						    X86_INTERCEPT_MONITOR);
	LOAD(g, guest_long, mwait);
	g->c->gpr[X86_RCX] = 2;
	assert_int_equal(guest_run(g)->id, g->amd ? X86_INTERCEPT_HLT :
						    X86_INTERCEPT_MWAIT);
}

static void user_waits(struct guest *g, const char *code, const char *end)
{
	guest_long(g);
	guest_put(g, G_CODE, code, end);
	clear(g);
	g->c->gpr[X86_RBX] = 1;
	assert_int_equal(vector(g), -1);
	/* Not ended by the limit. */
	assert_int_equal(g->c->eflags & X86_EFLAGS_STATUS, 0);
	guest_long(g);
	g->c->gpr[X86_RBX] = 2;
	assert_int_equal(vector(g), X86_GP);
	guest_user(g);
	hw_tlb_flush_all(g->cpu);
	g->c->gpr[X86_RBX] = 0;
	assert_int_equal(vector(g), X86_GP);	/* the HLT behind it */
	assert_int_not_equal(guest_u64(g, g->c->gpr[X86_RSP] + 8), G_CODE + 1);
	guest_user(g);
	g->c->cr4 |= X86_CR4_TSD;
	assert_int_equal(vector(g), X86_GP);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP] + 8), G_CODE + 1);
}

static void umwait_and_tpause(void **state)
{
	struct guest *g = *state;
	uint64_t v;

	user_waits(g, umwait, umwait_end);
	user_waits(g, tpause, tpause_end);
	LOAD(g, guest_long, umonitor);
	assert_int_equal(vector(g), -1);
	LOAD(g, guest_long, umonitor);
	g->c->gpr[X86_RBX] = NONCANON;
	assert_int_equal(vector(g), X86_GP);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_IA32_UMWAIT_CONTROL, 0x30d41), 0);
	assert_int_equal(hw_guest_rdmsr(g->cpu, MSR_IA32_UMWAIT_CONTROL, &v), 0);
	assert_int_equal(v, 0x30d41);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_IA32_UMWAIT_CONTROL, 2), -22);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_IA32_UMWAIT_CONTROL, BIT_ULL(32)),
			 -22);
	lose(g, X86_FEATURE_WAITPKG);
	LOAD(g, guest_long, tpause);
	assert_int_equal(vector(g), X86_UD);
}

static void cpuid_has_it(void **state)
{
	uint32_t out[4];

	assert_true(hw_cpuid_model(false, 1, 0, out));
	assert_true(out[2] & BIT(3));
	assert_true(hw_cpuid_model(false, 5, 0, out));
	assert_int_equal(out[0], 64);
	assert_int_equal(out[2], 3);
	hw_cpuid_model(false, 7, 0, out);
	assert_true(out[2] & BIT(5));
	hw_cpuid_model(true, 7, 0, out);
	assert_false(out[2] & BIT(5));
}

#define T(f)	cmocka_unit_test_setup_teardown(f, guest_setup_intel, guest_teardown)
#define T_AMD(f) cmocka_unit_test_setup_teardown(f, guest_setup_amd, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(monitor_faults), T_AMD(monitor_faults),
		T(mwait_faults), T_AMD(mwait_faults),
		T(exits), T_AMD(exits),
		T(umwait_and_tpause),
		T(cpuid_has_it),
	};

	host_access_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
