/* SPDX-License-Identifier: MIT */
/*
 * Protection keys (SDM Vol. 3A, "Protection Keys"): the page fault that the rights in
 * PKRU and IA32_PKRS make, who obeys them, that a change of rights is seen at once and
 * in loops that have been translated, XSAVE's component, the instructions' own faults.
 */
#include "emul/xstate.h"
#include "guest.h"
#include "hw/core.h"
#include "x86/msr.h"

#define KEY(n)	((uint64_t)(n) << 59)
#define AD(n)	(1u << 2 * (n))
#define WD(n)	(2u << 2 * (n))

/* Touches the page that EBX is at, as often as ESI says: AL bit 0, a read; bit 1, a
 * write. */
GUEST_CODE(touch, 64,
	   "1: test $1, %al; jz 2f; mov (%rbx), %edx\n"
	   "2: test $2, %al; jz 3f; movl $7, (%rbx)\n"
	   "3: dec %esi; jnz 1b; hlt");
/* ECX = 0, EDX = 0: EAX into PKRU, and then the page is read. */
GUEST_CODE(wrpkru_read, 64, "wrpkru; mov (%rbx), %edx; hlt");
GUEST_CODE(wrpkru_alone, 64, "wrpkru; hlt");
GUEST_CODE(rdpkru_alone, 64, "rdpkru; hlt");
/* Takes the right away and gives it back in each of ESI turns. */
GUEST_CODE(toggle, 64,
	   "xor %ecx, %ecx; xor %edx, %edx\n"
	   "1: mov $0x30, %eax; wrpkru; xor %eax, %eax; wrpkru\n"
	   "addl $1, (%rbx); dec %esi; jnz 1b; mov $0x10, %eax; wrpkru\n"
	   "addl $1, (%rbx); hlt");

static void start(struct guest *g, void (*mode)(struct guest *), uint64_t cr4)
{
	mode(g);
	g->c->cr4 |= cr4;
	memset(g->c->gpr, 0, 3 * sizeof(*g->c->gpr));
	g->c->gpr[X86_RBX] = G_DATA;
	g->c->gpr[X86_RSI] = 1;
	g->c->pkru = 0;
	g->cpu->msr.pkrs = 0;
	/* HLT is the supervisor's. */
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_HLT);
	hw_tlb_flush_all(g->cpu);
}

/* The error code of the page fault that the run ended with; -1: there was none. */
static int fault(struct guest *g)
{
	guest_run(g);
	if (guest_vector(g) != X86_PF)
		return -1;
	assert_int_equal(g->c->cr2, G_DATA);
	return guest_u64(g, g->c->gpr[X86_RSP]);
}

static int touch_page(struct guest *g, unsigned how)
{
	GUEST_LOAD(g, touch);
	g->c->gpr[X86_RAX] = how;
	return fault(g);
}

static void user_obeys_pkru(void **state)
{
	static const struct {
		uint32_t pkru;
		unsigned how;
		int code;
	} cases[] = {
		{ 0, 3, -1 },
		{ AD(5), 1, X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U },
		{ AD(5), 2, X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U | X86_PFERR_W },
		{ WD(5), 1, -1 },
		{ WD(5), 2, X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U | X86_PFERR_W },
		{ WD(5), 3, X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U | X86_PFERR_W },
		{ (uint32_t)~(AD(5) | WD(5) | AD(0) | WD(0)), 3, -1 },
	};
	struct guest *g = *state;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		start(g, guest_user, X86_CR4_PKE);
		*guest_pte(g, G_DATA) |= KEY(5);
		g->c->pkru = cases[i].pkru;
		assert_int_equal(touch_page(g, cases[i].how), cases[i].code);
		/* Without CR4.PKE the key means nothing. */
		start(g, guest_user, 0);
		*guest_pte(g, G_DATA) |= KEY(5);
		g->c->pkru = cases[i].pkru;
		assert_int_equal(touch_page(g, cases[i].how), -1);
	}
}

/* The supervisor obeys AD on the user's pages, and WD with CR0.WP. */
static void supervisor_obeys_pkru_on_user_pages(void **state)
{
	struct guest *g = *state;

	start(g, guest_long, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(1) | PTE_U;
	g->c->pkru = AD(1);
	assert_int_equal(touch_page(g, 1), X86_PFERR_PK | X86_PFERR_P);
	start(g, guest_long, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(1) | PTE_U;
	g->c->pkru = WD(1);
	assert_int_equal(touch_page(g, 3), X86_PFERR_PK | X86_PFERR_P | X86_PFERR_W);
	start(g, guest_long, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(1) | PTE_U;
	g->c->pkru = WD(1);
	g->c->cr0 &= ~X86_CR0_WP;
	assert_int_equal(touch_page(g, 3), -1);
	/* Its own pages are not PKRU's. */
	start(g, guest_long, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(1);
	g->c->pkru = ~0u;
	assert_int_equal(touch_page(g, 3), -1);
}

static void supervisor_pages_obey_pkrs(void **state)
{
	struct guest *g = *state;

	start(g, guest_long, X86_CR4_PKS);
	*guest_pte(g, G_DATA) |= KEY(15);
	g->cpu->msr.pkrs = AD(15);
	assert_int_equal(touch_page(g, 1), X86_PFERR_PK | X86_PFERR_P);
	start(g, guest_long, X86_CR4_PKS);
	*guest_pte(g, G_DATA) |= KEY(15);
	g->cpu->msr.pkrs = WD(15);
	assert_int_equal(touch_page(g, 3), X86_PFERR_PK | X86_PFERR_P | X86_PFERR_W);
	start(g, guest_long, X86_CR4_PKS);
	*guest_pte(g, G_DATA) |= KEY(15) | PTE_U;
	g->cpu->msr.pkrs = ~0u & ~3u;
	assert_int_equal(touch_page(g, 3), -1);
}

/* Code is fetched whatever its key forbids. */
static void keys_do_not_forbid_fetches(void **state)
{
	struct guest *g = *state;

	start(g, guest_user, X86_CR4_PKE);
	*guest_pte(g, G_CODE) |= KEY(5);
	g->c->pkru = AD(5) | WD(5);
	assert_int_equal(touch_page(g, 3), -1);
}

static void wrpkru_takes_effect_at_once(void **state)
{
	struct guest *g = *state;

	start(g, guest_user, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(2);
	GUEST_LOAD(g, wrpkru_read);
	g->c->gpr[X86_RAX] = 0xffffffff00000000ull | AD(2);
	assert_int_equal(fault(g), X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U);
	assert_int_equal(g->c->pkru, AD(2));
}

static void loops_see_each_change(void **state)
{
	struct guest *g = *state;

	start(g, guest_user, X86_CR4_PKE);
	*guest_pte(g, G_DATA) |= KEY(2);
	GUEST_LOAD(g, toggle);
	g->c->gpr[X86_RSI] = 20000;
	assert_int_equal(fault(g), X86_PFERR_PK | X86_PFERR_P | X86_PFERR_U |
			 X86_PFERR_W);
	assert_int_equal((uint32_t)guest_u64(g, G_DATA), 20000);
}

static void instructions_fault(void **state)
{
	struct guest *g = *state;

	start(g, guest_user, 0);
	GUEST_LOAD(g, wrpkru_alone);
	guest_run(g);
	assert_int_equal(guest_vector(g), X86_UD);
	start(g, guest_user, X86_CR4_PKE);
	GUEST_LOAD(g, wrpkru_alone);
	g->c->gpr[X86_RDX] = 1;
	guest_run(g);
	assert_int_equal(guest_vector(g), X86_GP);
	start(g, guest_user, X86_CR4_PKE);
	GUEST_LOAD(g, rdpkru_alone);
	g->c->gpr[X86_RCX] = 1;
	guest_run(g);
	assert_int_equal(guest_vector(g), X86_GP);
	start(g, guest_long, X86_CR4_PKE);
	GUEST_LOAD(g, rdpkru_alone);
	g->c->gpr[X86_RDX] = g->c->gpr[X86_RAX] = ~0ull;
	g->c->pkru = 0x80000001;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 0x80000001);
	assert_int_equal(g->c->gpr[X86_RDX], 0);
}

static void pkrs_is_a_register_of_32_bits(void **state)
{
	struct guest *g = *state;
	uint64_t v;

	guest_long(g);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_IA32_PKRS, BIT_ULL(32)), -22);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_IA32_PKRS, 0x55555554), 0);
	assert_int_equal(hw_guest_rdmsr(g->cpu, MSR_IA32_PKRS, &v), 0);
	assert_int_equal(v, 0x55555554);
}

static int set_cr4(struct guest *g, uint64_t bit)
{
	return hw_set_cr(g->c, 4, g->c->cr4 | bit);
}

/* AMD has PKU and no PKS. */
static void amd_has_no_pkrs(void **state)
{
	struct guest *g = *state;
	uint64_t v;

	guest_long(g);
	assert_int_equal(hw_guest_rdmsr(g->cpu, MSR_IA32_PKRS, &v), -22);
	assert_int_equal(set_cr4(g, X86_CR4_PKE), X86EMUL_CONTINUE);
	assert_int_equal(set_cr4(g, X86_CR4_PKS), X86EMUL_PROPAGATE_FAULT);
}

/* --- XSAVE's component ------------------------------------------------------------- */

GUEST_CODE(xsave_pkru, 64,
	   "mov $0x200, %eax; xor %edx, %edx; xsave64 (%rbx)\n"
	   "xor %ecx, %ecx; inc %ecx; xgetbv; hlt");
GUEST_CODE(xrstor_pkru, 64,
	   "mov $0x200, %eax; xor %edx, %edx; xrstor64 (%rbx); hlt");

static bool start_xsave(struct guest *g)
{
	if (!(hw_xcr0_model() & X86_XCR0_PKRU))
		return false;
	start(g, guest_long, X86_CR4_PKE | X86_CR4_OSXSAVE);
	g->c->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_PKRU;
	memset(g->mem + G_DATA, 0, 4096);
	return true;
}

static void xsave_has_pkru(void **state)
{
	struct guest *g = *state;
	unsigned at = xstate(XSTATE_PKRU)->offset;

	if (!start_xsave(g))
		skip();
	GUEST_LOAD(g, xsave_pkru);
	g->c->pkru = 0x12345678;
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA + at), 0x12345678);
	assert_int_equal(guest_u64(g, G_DATA + 512), X86_XCR0_PKRU);
	assert_int_equal(g->c->gpr[X86_RAX] & X86_XCR0_PKRU, X86_XCR0_PKRU);

	start_xsave(g);
	memset(g->mem + G_DATA + at, 0xff, 8);
	guest_hlt(g);
	/* Initial state is 0: saved, and not in use. */
	assert_int_equal(guest_u64(g, G_DATA + at), 0);
	assert_int_equal(guest_u64(g, G_DATA + 512), 0);
	assert_int_equal(g->c->gpr[X86_RAX] & X86_XCR0_PKRU, 0);
}

static void xrstor_loads_pkru(void **state)
{
	struct guest *g = *state;
	unsigned at = xstate(XSTATE_PKRU)->offset;
	uint64_t bv = X86_XCR0_PKRU;
	uint32_t v = 0xc0000000;

	if (!start_xsave(g))
		skip();
	GUEST_LOAD(g, xrstor_pkru);
	memcpy(g->mem + G_DATA + at, &v, 4);
	memcpy(g->mem + G_DATA + 512, &bv, 8);
	g->c->pkru = 1;
	guest_hlt(g);
	assert_int_equal(g->c->pkru, 0xc0000000);
	/* What the image does not have becomes initial. */
	start_xsave(g);
	memcpy(g->mem + G_DATA + at, &v, 4);
	g->c->pkru = 1;
	guest_hlt(g);
	assert_int_equal(g->c->pkru, 0);
}

static void cpuid_says_where(void **state)
{
	uint32_t out[4];

	if (!(hw_xcr0_model() & X86_XCR0_PKRU))
		skip();
	assert_true(hw_cpuid_model(false, 0xd, 9, out));
	assert_int_equal(out[0], 8);
	assert_int_equal(out[1], xstate(XSTATE_PKRU)->offset);
	assert_true(hw_xsave_size(hw_xcr0_model(), false) >= out[1] + 8);
	assert_int_equal(hw_xsave_size(3 | X86_XCR0_PKRU, true), 576 + 8);
}

#define T(f)	cmocka_unit_test_setup_teardown(f, guest_setup_intel, guest_teardown)
#define T_AMD(f) cmocka_unit_test_setup_teardown(f, guest_setup_amd, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(user_obeys_pkru), T_AMD(user_obeys_pkru),
		T(supervisor_obeys_pkru_on_user_pages),
		T(supervisor_pages_obey_pkrs),
		T(keys_do_not_forbid_fetches),
		T(wrpkru_takes_effect_at_once), T_AMD(wrpkru_takes_effect_at_once),
		T(loops_see_each_change),
		T(instructions_fault),
		T(pkrs_is_a_register_of_32_bits),
		T_AMD(amd_has_no_pkrs),
		T(xsave_has_pkru),
		T(xrstor_loads_pkru),
		T(cpuid_says_where),
	};

	host_access_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
