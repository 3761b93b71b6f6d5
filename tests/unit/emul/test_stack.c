// SPDX-License-Identifier: MIT
/*
 * The stack, near transfers and flags: sizes by mode, what a fault leaves, who may
 * change IF and IOPL.
 */
#include "harness.h"

#define IF X86_EFLAGS_IF
#define TF X86_EFLAGS_TF
#define IOPL X86_EFLAGS_IOPL
#define RSP(vm) ((vm)->c.gpr[X86_RSP])

static const enum x86_mode modes[] = { X86_MODE_PROT16, X86_MODE_PROT32,
				       X86_MODE_PROT64 };

static struct vm *user(enum x86_mode mode)
{
	struct vm *vm = vm_new(mode);

	vm->c.seg[X86_SS].ar |= X86_AR_DPL;
	emul_update_mode(&vm->c);
	assert_int_equal(vm->c.cpl, 3);
	return vm;
}

static void test_push_pop(void **state)
{
	static const uint8_t want[] = { 2, 4, 8 };
	unsigned m, fast;

	for (m = 0; m < 3; m++)
		for (fast = 0; fast < 2; fast++) {
			struct vm *vm = vm_new(modes[m]);

			vm->fast = fast;
			vm->c.gpr[X86_RAX] = 0x8877665544332211;
			vm->c.gpr[X86_RBX] = ~0ull;
			assert_int_equal(VM_RUN(vm, 0x50), 0);
			assert_int_equal(RSP(vm), VM_STACK - want[m]);
			assert_int_equal(VM_RUN(vm, 0x5b), 0);
			assert_int_equal(RSP(vm), VM_STACK);
			assert_int_equal(vm->c.gpr[X86_RBX],
					 m == 2 ? 0x8877665544332211 :
					 m == 1 ? 0x44332211 : 0xffffffffffff2211);
			/* A sign-extended byte. */
			assert_int_equal(VM_RUN(vm, 0x6a, 0x80), 0);
			assert_int_equal(vm_get(vm, RSP(vm), want[m]),
					 m == 2 ? (uint64_t)-128 :
					 m == 1 ? 0xffffff80 : 0xff80);
			vm_free(vm);
		}
}

/* PUSH RSP pushes the old value, POP RSP has the last word, and POP to [RSP]
 * addresses with the incremented RSP. */
static void test_push_pop_sp(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	assert_int_equal(VM_RUN(vm, 0x54), 0);
	assert_int_equal(vm_get(vm, VM_STACK - 8, 8), VM_STACK);
	vm_put(vm, RSP(vm), 0x1234, 8);
	assert_int_equal(VM_RUN(vm, 0x5c), 0);
	assert_int_equal(RSP(vm), 0x1234);
	RSP(vm) = VM_STACK;
	vm_put(vm, VM_STACK, 0xabcd, 8);
	assert_int_equal(VM_RUN(vm, 0x8f, 0x44, 0x24, 0x10), 0); /* pop [rsp+16] */
	assert_int_equal(vm_get(vm, VM_STACK + 24, 8), 0xabcd);
	vm_free(vm);
}

static void test_pusha_popa(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);
	unsigned i;

	for (i = 0; i < 8; i++)
		if (i != X86_RSP)
			vm->c.gpr[i] = 0x100 + i;
	assert_int_equal(VM_RUN(vm, 0x60), 0);
	assert_int_equal(RSP(vm), VM_STACK - 32);
	assert_int_equal(vm_get(vm, VM_STACK - 4, 4), 0x100);
	assert_int_equal(vm_get(vm, VM_STACK - 20, 4), VM_STACK);
	assert_int_equal(vm_get(vm, VM_STACK - 32, 4), 0x107);
	vm_put(vm, VM_STACK - 20, 0xdead, 4);	/* ESP's image is not used */
	memset(vm->c.gpr, 0, 8 * 4);
	assert_int_equal(VM_RUN(vm, 0x61), 0);
	assert_int_equal(RSP(vm), VM_STACK);
	assert_int_equal(vm->c.gpr[X86_RDI], 0x107);
	/* A fault on the way leaves ESP. */
	RSP(vm) = 0x9010;
	vm_protect(vm, 0x8000, 0);
	assert_fault_code(VM_RUN(vm, 0x60), vm, X86_PF, X86_PFERR_W);
	assert_int_equal(RSP(vm), 0x9010);
	vm_free(vm);
}

static void test_enter_leave(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RBP] = 0x6000;
	assert_int_equal(VM_RUN(vm, 0xc8, 0x20, 0x00, 0x00), 0);
	assert_int_equal(vm->c.gpr[X86_RBP], VM_STACK - 8);
	assert_int_equal(RSP(vm), VM_STACK - 8 - 0x20);
	assert_int_equal(vm_get(vm, VM_STACK - 8, 8), 0x6000);
	assert_int_equal(VM_RUN(vm, 0xc9), 0);
	assert_int_equal(RSP(vm), VM_STACK);
	assert_int_equal(vm->c.gpr[X86_RBP], 0x6000);
	/* Level 3 copies two frame pointers and pushes the new one. */
	vm_put(vm, 0x6000 - 8, 0xaaaa, 8);
	vm_put(vm, 0x6000 - 16, 0xbbbb, 8);
	assert_int_equal(VM_RUN(vm, 0xc8, 0x00, 0x00, 0x03), 0);
	assert_int_equal(vm_get(vm, VM_STACK - 16, 8), 0xaaaa);
	assert_int_equal(vm_get(vm, VM_STACK - 24, 8), 0xbbbb);
	assert_int_equal(vm_get(vm, VM_STACK - 32, 8), VM_STACK - 8);
	assert_int_equal(RSP(vm), VM_STACK - 32);
	vm_free(vm);
}

/* A fault in the middle of several pushes leaves nothing of those before it. */
static void test_many_pushes_leave_no_trace(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm_put(vm, 0x9000, 0x1111111122222222, 8);
	RSP(vm) = 0x9008;
	vm->c.gpr[X86_RBP] = 0xa000;
	vm_protect(vm, 0x8000, 0);
	assert_fault_code(VM_RUN(vm, 0x60), vm, X86_PF, X86_PFERR_W);
	assert_fault_code(VM_RUN(vm, 0xc8, 0x00, 0x00, 0x03), vm, X86_PF,
			  X86_PFERR_W);
	assert_int_equal(vm_get(vm, 0x9000, 8), 0x1111111122222222);
	assert_int_equal(RSP(vm), 0x9008);
	assert_int_equal(vm->c.gpr[X86_RBP], 0xa000);
	/* Also where it is an enclosing frame that cannot be read. */
	RSP(vm) = 0x9800;
	vm->c.gpr[X86_RBP] = 0x9004;
	vm_put(vm, 0x97f8, 0x3333333344444444, 8);
	assert_fault_code(VM_RUN(vm, 0xc8, 0x00, 0x00, 0x03), vm, X86_PF, 0);
	assert_int_equal(vm_get(vm, 0x97f8, 8), 0x3333333344444444);
	vm_free(vm);
}

/* SP wraps within 64K on a 16-bit stack and leaves the rest of ESP alone. */
static void test_sp_wraps(void **state)
{
	struct vm *vm = vm_new(X86_MODE_REAL);

	RSP(vm) = 0xabcd0000;
	vm->c.gpr[X86_RAX] = 0x1234;
	assert_int_equal(VM_RUN(vm, 0x50), 0);
	assert_int_equal(RSP(vm), 0xabcdfffe);
	assert_int_equal(vm_get(vm, 0xfffe, 2), 0x1234);
	/* SP = 1: the word would straddle the end: #SS. */
	RSP(vm) = 1;
	assert_fault_code(VM_RUN(vm, 0x50), vm, X86_SS_FAULT, 0);
	assert_int_equal(RSP(vm), 1);
	vm_free(vm);
}

static void test_call_ret(void **state)
{
	unsigned m, fast;

	for (m = 0; m < 3; m++)
		for (fast = 0; fast < 2; fast++) {
			struct vm *vm = vm_new(modes[m]);
			int rc;

			vm->fast = fast;
			rc = m ? VM_RUN(vm, 0xe8, 0x10, 0, 0, 0) :
				 VM_RUN(vm, 0xe8, 0x10, 0);
			assert_int_equal(rc, 0);
			assert_int_equal(vm->c.rip, VM_CODE + (m ? 5 : 3) + 0x10);
			assert_int_equal(VM_RUN(vm, 0xc3), 0);
			assert_int_equal(vm->c.rip, VM_CODE + (m ? 5 : 3));
			assert_int_equal(RSP(vm), VM_STACK);
			vm_free(vm);
		}
}

/* A target that is not there: #GP(0), and nothing is pushed or popped. */
static void test_bad_targets(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned fast;

	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		vm->c.gpr[X86_RAX] = 1ull << 47;
		assert_fault_code(VM_RUN(vm, 0xff, 0xd0), vm, X86_GP, 0);
		assert_fault_code(VM_RUN(vm, 0xff, 0xe0), vm, X86_GP, 0);
		vm_put(vm, VM_STACK, 1ull << 63, 8);
		assert_fault_code(VM_RUN(vm, 0xc3), vm, X86_GP, 0);
		assert_int_equal(RSP(vm), VM_STACK);
		assert_int_equal(vm->c.rip, VM_CODE);
	}
	vm_free(vm);
	vm = vm_new(X86_MODE_PROT32);
	vm->c.seg[X86_CS].limit = VM_CODE + 0x100;
	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		assert_fault_code(VM_RUN(vm, 0xe8, 0, 2, 0, 0), vm, X86_GP, 0);
		assert_int_equal(RSP(vm), VM_STACK);
		assert_int_equal(VM_RUN(vm, 0xeb, 0x40), 0);
		vm_reset_seen(vm);
	}
	vm_free(vm);
}

static void test_conditions(void **state)
{
	/* What each condition says of these flags: bit per condition. */
	static const struct { uint64_t flags; uint16_t true_; } t[] = {
		{ 0,		  0xaaaa },
		{ X86_EFLAGS_CF,  0xaa66 },
		{ X86_EFLAGS_ZF,  0x6a5a },
		{ X86_EFLAGS_SF,  0x59aa },
		{ X86_EFLAGS_PF,  0xa6aa },
		{ X86_EFLAGS_OF,  0x5aa9 },
		{ X86_EFLAGS_OF | X86_EFLAGS_SF, 0xa9a9 },
	};
	unsigned i, cc, fast;

	for (i = 0; i < ARRAY_SIZE(t); i++)
		for (cc = 0; cc < 16; cc++)
			for (fast = 0; fast < 2; fast++) {
				struct vm *vm = vm_new(X86_MODE_PROT64);
				uint64_t want = t[i].true_ >> cc & 1;

				vm->fast = fast;
				vm->c.eflags |= t[i].flags;
				assert_int_equal(VM_RUN(vm, 0x70 + cc, 0x20), 0);
				if (vm->c.rip != VM_CODE + 2 + 0x20 * want)
					fail_msg("flags %lx cc %u",
						 t[i].flags, cc);
				assert_int_equal(VM_RUN(vm, 0x0f, 0x90 + cc,
							0xc0), 0);
				assert_int_equal(vm->c.gpr[X86_RAX], want);
				vm_free(vm);
			}
}

static void test_loop(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RCX] = 2;
	assert_int_equal(VM_RUN(vm, 0xe2, 0xfe), 0);
	assert_int_equal(vm->c.rip, VM_CODE);
	assert_int_equal(VM_RUN(vm, 0xe2, 0xfe), 0);
	assert_int_equal(vm->c.rip, VM_CODE + 2);
	assert_int_equal(vm->c.gpr[X86_RCX], 0);
	/* ECX only, and the upper half is cleared. */
	vm->c.gpr[X86_RCX] = 0xff00000000;
	assert_int_equal(VM_RUN(vm, 0x67, 0xe3, 0x10), 0);
	assert_int_equal(vm->c.rip, VM_CODE + 2 + 3 + 0x10);
	assert_int_equal(VM_RUN(vm, 0x67, 0xe0, 0x10), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 0xffffffff);
	vm_free(vm);
}

static void test_bound(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm_put(vm, VM_DATA, (uint32_t)-5, 4);
	vm_put(vm, VM_DATA + 4, 5, 4);
	vm->c.gpr[X86_RBX] = VM_DATA;
	vm->c.gpr[X86_RAX] = (uint32_t)-5;
	assert_int_equal(VM_RUN(vm, 0x62, 0x03), 0);
	vm->c.gpr[X86_RAX] = 6;
	assert_fault(VM_RUN(vm, 0x62, 0x03), vm, X86_BR);
	vm_free(vm);
}

/* --- flags -------------------------------------------------------------------- */

static void test_popf_privileges(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm_put(vm, VM_STACK, 0xffffffff, 8);
	assert_int_equal(VM_RUN(vm, 0x9d), 0);
	assert_int_equal(vm->c.eflags, 0x247fd7);
	assert_int_equal(vm->eflags_changes, 1);
	/* PUSHF does not show RF and VM. */
	vm->c.eflags |= X86_EFLAGS_RF;
	assert_int_equal(VM_RUN(vm, 0x9c), 0);
	assert_int_equal(vm_get(vm, VM_STACK, 8), 0x247fd7);
	vm_free(vm);

	vm = user(X86_MODE_PROT64);
	vm_put(vm, VM_STACK, 0xffffffff, 8);
	assert_int_equal(VM_RUN(vm, 0x9d), 0);
	assert_int_equal(vm->c.eflags & (IF | IOPL), 0);
	assert_true(vm->c.eflags & TF);
	/* CPL <= IOPL: IF, still not IOPL. */
	vm->c.eflags = X86_EFLAGS_FIXED | IOPL;
	RSP(vm) = VM_STACK;
	vm_put(vm, VM_STACK, IF, 8);
	assert_int_equal(VM_RUN(vm, 0x9d), 0);
	assert_int_equal(vm->c.eflags, X86_EFLAGS_FIXED | IOPL | IF);
	vm_free(vm);
}

static void test_cli_sti(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	assert_int_equal(VM_RUN(vm, 0xfb), 0);
	assert_int_equal(vm->c.shadow, X86_SHADOW_STI);
	assert_true(vm->c.eflags & IF);
	vm->c.shadow = 0;
	assert_int_equal(VM_RUN(vm, 0xfb), 0);	/* IF was set: no shadow */
	assert_int_equal(vm->c.shadow, 0);
	assert_int_equal(VM_RUN(vm, 0xfa), 0);
	assert_false(vm->c.eflags & IF);
	vm_free(vm);
	vm = user(X86_MODE_PROT32);
	assert_fault_code(VM_RUN(vm, 0xfa), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0xfb), vm, X86_GP, 0);
	vm->c.cr4 |= X86_CR4_PVI;
	assert_int_equal(VM_RUN(vm, 0xfb), 0);
	assert_true(vm->c.eflags & X86_EFLAGS_VIF);
	assert_false(vm->c.eflags & IF);
	vm->c.eflags |= X86_EFLAGS_VIP;
	assert_fault_code(VM_RUN(vm, 0xfb), vm, X86_GP, 0);
	vm_free(vm);
}

static void test_vm86_flags(void **state)
{
	struct vm *vm = vm_new(X86_MODE_VM86);

	assert_fault_code(VM_RUN(vm, 0x9c), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0x9d), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0xfa), vm, X86_GP, 0);
	vm->c.eflags |= IOPL;
	assert_int_equal(VM_RUN(vm, 0x9c), 0);
	assert_int_equal(VM_RUN(vm, 0xfa), 0);
	/* VME: VIF for IF, IOPL 3 in the image; only with 16 bits. */
	vm->c.eflags = X86_EFLAGS_FIXED | X86_EFLAGS_VM | X86_EFLAGS_VIF;
	vm->c.cr4 |= X86_CR4_VME;
	assert_int_equal(VM_RUN(vm, 0x9c), 0);
	assert_int_equal(vm_get(vm, RSP(vm), 2), 0x3202);
	assert_fault_code(VM_RUN(vm, 0x66, 0x9c), vm, X86_GP, 0);
	assert_int_equal(VM_RUN(vm, 0xfa), 0);
	assert_false(vm->c.eflags & X86_EFLAGS_VIF);
	vm_free(vm);
}

static void test_clac_lahf(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	assert_int_equal(VM_RUN(vm, 0x0f, 0x01, 0xcb), 0);	/* stac */
	assert_true(vm->c.eflags & X86_EFLAGS_AC);
	assert_int_equal(vm->eflags_changes, 1);
	vm->c.gpr[X86_RAX] = 0xff00;
	assert_int_equal(VM_RUN(vm, 0x9e), 0);
	assert_int_equal(vm->c.eflags & 0xff, 0xd7);
	/* Without the feature: #UD in 64-bit mode. */
	vm->features[X86_FEATURE_LAHF_LM / 64] &=
		~(1ull << (X86_FEATURE_LAHF_LM % 64));
	assert_fault(VM_RUN(vm, 0x9e), vm, X86_UD);
	vm_free(vm);
	vm = user(X86_MODE_PROT64);
	assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xca), vm, X86_UD);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_push_pop),
		cmocka_unit_test(test_push_pop_sp),
		cmocka_unit_test(test_pusha_popa),
		cmocka_unit_test(test_enter_leave),
		cmocka_unit_test(test_many_pushes_leave_no_trace),
		cmocka_unit_test(test_sp_wraps),
		cmocka_unit_test(test_call_ret),
		cmocka_unit_test(test_bad_targets),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_popf_privileges),
		cmocka_unit_test(test_cli_sti),
		cmocka_unit_test(test_vm86_flags),
		cmocka_unit_test(test_clac_lahf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
