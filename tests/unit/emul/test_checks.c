// SPDX-License-Identifier: MIT
/*
 * What the driver and the segment accessors refuse, and in which order: features,
 * privilege, VM exits, segment type and limit, canonical addresses; and the time
 * stamp, CPUID and waiting instructions, which have checks of their own.
 */
#include "harness.h"

static struct vm *user(enum x86_mode mode)
{
	struct vm *vm = vm_new(mode);

	vm->c.seg[X86_SS].ar |= X86_AR_DPL;
	emul_update_mode(&vm->c);
	return vm;
}

static void no_feature(struct vm *vm, enum x86_feature f)
{
	vm->features[f / 64] &= ~(1ull << (f % 64));
}

static void test_missing_feature(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned fast;

	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		no_feature(vm, X86_FEATURE_CMOV);
		no_feature(vm, X86_FEATURE_POPCNT);
		no_feature(vm, X86_FEATURE_BMI2);
		no_feature(vm, X86_FEATURE_RDTSCP);
		assert_fault(VM_RUN(vm, 0x0f, 0x44, 0xc3), vm, X86_UD);
		assert_fault(VM_RUN(vm, 0xf3, 0x0f, 0xb8, 0xc3), vm, X86_UD);
		assert_fault(VM_RUN(vm, 0xc4, 0xe3, 0x7b, 0xf0, 0xc3, 1), vm,
			     X86_UD);
		assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xf9), vm, X86_UD);
		assert_int_equal(vm->c.rip, VM_CODE);
	}
	/* TZCNT and LZCNT without the feature are BSF and BSR. */
	vm->c.gpr[X86_RBX] = 0x10;
	vm->c.gpr[X86_RAX] = 0x55;
	assert_int_equal(VM_RUN(vm, 0xf3, 0x0f, 0xbd, 0xc3), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 27);
	no_feature(vm, X86_FEATURE_LZCNT);
	assert_int_equal(VM_RUN(vm, 0xf3, 0x0f, 0xbd, 0xc3), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 4);
	vm_free(vm);
}

/* #UD, then #GP for privilege, then the VM exit. */
static void test_order_of_checks(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->trip = X86_INTERCEPT_HLT;
	assert_int_equal(VM_RUN(vm, 0xf4), X86EMUL_INTERCEPTED);
	assert_int_equal(vm->tripped, X86_INTERCEPT_HLT);
	assert_int_equal(vm->c.rip, VM_CODE);
	vm_free(vm);
	vm = user(X86_MODE_PROT64);
	vm->trip = X86_INTERCEPT_HLT;
	assert_fault_code(VM_RUN(vm, 0xf4), vm, X86_GP, 0);
	assert_int_equal(vm->tripped, X86_INTERCEPT_NONE);
	vm->trip = X86_INTERCEPT_RDTSC;
	vm->c.cr4 |= X86_CR4_TSD;
	assert_fault_code(VM_RUN(vm, 0x0f, 0x31), vm, X86_GP, 0);
	vm->c.cr4 &= ~X86_CR4_TSD;
	assert_int_equal(VM_RUN(vm, 0x0f, 0x31), X86EMUL_INTERCEPTED);
	vm->trip = X86_INTERCEPT_MWAIT;
	assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xc9), vm, X86_UD);
	no_feature(vm, X86_FEATURE_RDRAND);
	vm->trip = X86_INTERCEPT_RDRAND;
	assert_fault(VM_RUN(vm, 0x0f, 0xc7, 0xf0), vm, X86_UD);
	vm_free(vm);
}

static void test_counters(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RAX] = vm->c.gpr[X86_RDX] = ~0ull;
	assert_int_equal(VM_RUN(vm, 0x0f, 0x31), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 0x9abcdef0);
	assert_int_equal(vm->c.gpr[X86_RDX], 0x12345678);
	assert_int_equal(VM_RUN(vm, 0x0f, 0x01, 0xf9), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 0x77);
	vm->c.gpr[X86_RCX] = 2;
	assert_int_equal(VM_RUN(vm, 0x0f, 0x33), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 2);
	assert_int_equal(vm->c.gpr[X86_RDX], 0x11);
	vm->c.gpr[X86_RAX] = 0xff00000001;
	vm->c.gpr[X86_RCX] = 7;
	assert_int_equal(VM_RUN(vm, 0x0f, 0xa2), 0);	/* cpuid */
	assert_int_equal(vm->c.gpr[X86_RAX], 0x11);
	assert_int_equal(vm->c.gpr[X86_RBX], 2);
	assert_int_equal(vm->c.gpr[X86_RCX], 0x33);
	assert_int_equal(vm->c.gpr[X86_RDX], 8);
	vm_free(vm);
	vm = user(X86_MODE_PROT64);
	assert_fault_code(VM_RUN(vm, 0x0f, 0x33), vm, X86_GP, 0); /* no PCE */
	vm_free(vm);
}

static void test_monitor(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RAX] = VM_DATA;
	assert_int_equal(VM_RUN(vm, 0x0f, 0x01, 0xc8), 0);
	assert_int_equal(vm->trip_arg, VM_DATA);
	vm->c.gpr[X86_RCX] = 1;
	assert_fault_code(VM_RUN(vm, 0x0f, 0x01, 0xc8), vm, X86_GP, 0);
	vm->c.gpr[X86_RCX] = 2;
	assert_fault_code(VM_RUN(vm, 0x0f, 0x01, 0xc9), vm, X86_GP, 0);
	vm->c.gpr[X86_RCX] = 0;
	vm_protect(vm, VM_DATA, 0);
	assert_fault_code(VM_RUN(vm, 0x0f, 0x01, 0xc8), vm, X86_PF, 0);
	vm_free(vm);
}

/* Callbacks that an owner has not got: unhandleable, nothing happens. */
static void test_missing_callback(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->ops.hlt = NULL;
	vm->ops.pio_in = NULL;
	vm->ops.cpuid = NULL;
	assert_int_equal(VM_RUN(vm, 0xf4), X86EMUL_UNHANDLEABLE);
	assert_int_equal(VM_RUN(vm, 0xec), X86EMUL_UNHANDLEABLE);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xa2), X86EMUL_UNHANDLEABLE);
	vm_no_tlb(vm);
	vm->ops.read = NULL;
	vm->c.gpr[X86_RSI] = VM_DATA;
	assert_int_equal(VM_RUN(vm, 0x8b, 0x06), X86EMUL_UNHANDLEABLE);
	assert_int_equal(vm->c.rip, VM_CODE);
	vm_free(vm);
}

/* --- segments ------------------------------------------------------------------ */

static const uint8_t load[] = { 0x8b, 0x03 };		/* mov eax, [ebx] */
static const uint8_t store[] = { 0x89, 0x03 };		/* mov [ebx], eax */
static const uint8_t load_ss[] = { 0x36, 0x8b, 0x03 };
static const uint8_t store_cs[] = { 0x2e, 0x89, 0x03 };
static const uint8_t load_cs[] = { 0x2e, 0x8b, 0x03 };

static void test_limits(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);
	unsigned fast;

	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		vm->c.seg[X86_DS].limit = vm->c.seg[X86_SS].limit = VM_DATA + 3;
		emul_update_mode(&vm->c);
		vm->c.gpr[X86_RBX] = VM_DATA;
		assert_int_equal(vm_run(vm, load, 2), 0);
		vm->c.gpr[X86_RBX] = VM_DATA + 1;
		vm_reset_seen(vm);
		assert_fault_code(vm_run(vm, load, 2), vm, X86_GP, 0);
		assert_fault_code(vm_run(vm, store, 2), vm, X86_GP, 0);
		assert_fault_code(vm_run(vm, load_ss, 3), vm, X86_SS_FAULT, 0);
		/* A segment of 4 GiB has no end: addresses wrap. */
		vm->c.seg[X86_DS].limit = 0xffffffff;
		emul_update_mode(&vm->c);
		vm->c.gpr[X86_RBX] = 0xfffffffe;
		assert_fault(vm_run(vm, load, 2), vm, X86_PF);
	}
	vm_free(vm);
}

static void test_expand_down(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.seg[X86_DS].ar |= X86_AR_CE;
	vm->c.seg[X86_DS].limit = VM_DATA - 1;
	emul_update_mode(&vm->c);
	vm->c.gpr[X86_RBX] = VM_DATA;
	assert_int_equal(vm_run(vm, load, 2), 0);
	vm->c.gpr[X86_RBX] = VM_DATA - 1;
	assert_fault_code(vm_run(vm, load, 2), vm, X86_GP, 0);
	/* Without B its upper bound is FFFF. */
	vm->c.seg[X86_DS].ar &= ~X86_AR_DB;
	vm->c.gpr[X86_RBX] = 0xfffd;
	assert_fault_code(vm_run(vm, load, 2), vm, X86_GP, 0);
	vm->c.gpr[X86_RBX] = 0xfffc;
	assert_int_equal(vm_run(vm, load, 2), 0);
	vm_free(vm);
}

static void test_types(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.gpr[X86_RBX] = VM_DATA;
	assert_int_equal(vm_run(vm, load_cs, 3), 0);
	assert_fault_code(vm_run(vm, store_cs, 3), vm, X86_GP, 0);
	vm->c.seg[X86_CS].ar &= ~X86_AR_RW;	/* execute-only */
	assert_fault_code(vm_run(vm, load_cs, 3), vm, X86_GP, 0);
	vm->c.seg[X86_DS].ar &= ~X86_AR_RW;	/* read-only */
	emul_update_mode(&vm->c);
	assert_int_equal(vm_run(vm, load, 2), 0);
	assert_fault_code(vm_run(vm, store, 2), vm, X86_GP, 0);
	vm->c.seg[X86_DS].ar = X86_AR_UNUSABLE;	/* null */
	emul_update_mode(&vm->c);
	assert_fault_code(vm_run(vm, load, 2), vm, X86_GP, 0);
	vm_free(vm);
	/* Real-address mode checks the limit only. */
	vm = vm_new(X86_MODE_REAL);
	vm->c.gpr[X86_RBX] = VM_DATA;
	assert_int_equal(VM_RUN(vm, 0x2e, 0x89, 0x07), 0); /* mov cs:[bx], ax */
	vm_free(vm);
}

static void test_bases(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned fast;

	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		vm_put(vm, VM_DATA + 0x40, 0x1111, 4);
		vm_put(vm, VM_DATA, 0x2222, 4);
		vm->c.seg[X86_DS].base = vm->c.seg[X86_GS].base = 0x40;
		vm->c.gpr[X86_RBX] = VM_DATA;
		assert_int_equal(vm_run(vm, load, 2), 0);
		assert_int_equal(vm->c.gpr[X86_RAX], 0x2222);	/* DS has none */
		assert_int_equal(VM_RUN(vm, 0x65, 0x8b, 0x03), 0);
		assert_int_equal(vm->c.gpr[X86_RAX], 0x1111);
	}
	vm_free(vm);
	vm = vm_new(X86_MODE_REAL);
	vm->c.seg[X86_DS].base = 0x20000;
	vm_put(vm, 0x20000 + 0x1234, 0xbeef, 2);
	assert_int_equal(VM_RUN(vm, 0xa1, 0x34, 0x12), 0);	/* mov ax, moffs */
	assert_int_equal(vm->c.gpr[X86_RAX], 0xbeef);
	vm_free(vm);
}

static void test_canonical(void **state)
{
	static const uint64_t bad[] = {
		1ull << 47, (1ull << 47) - 3, 0xffff7fffffffffff, 1ull << 63,
		0xffff7ffffffffffd,
	};
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned i, fast;

	for (fast = 0; fast < 2; fast++)
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			vm->fast = fast;
			vm->c.gpr[X86_RBX] = bad[i];
			assert_fault_code(vm_run(vm, load, 2), vm, X86_GP, 0);
			assert_fault_code(vm_run(vm, store, 2), vm, X86_GP, 0);
			vm->c.gpr[X86_RSP] = bad[i] + 8;
			if (i == 0 || i == 3)
				assert_fault_code(VM_RUN(vm, 0x50), vm,
						  X86_SS_FAULT, 0);
		}
	/* Canonical, but nobody's: the owner's #PF. */
	vm->c.gpr[X86_RBX] = 0xffff800000000000;
	assert_fault_code(vm_run(vm, load, 2), vm, X86_PF, 0);
	/* LA57 moves the border. */
	vm->c.cr4 |= X86_CR4_LA57;
	vm->c.gpr[X86_RBX] = 1ull << 50;
	assert_fault_code(vm_run(vm, load, 2), vm, X86_PF, 0);
	vm_free(vm);
}

static void test_rip_relative(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned fast;

	vm_put(vm, VM_CODE + 7 + 0x100, 0xcafe, 8);
	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		vm_reset_seen(vm);
		assert_int_equal(VM_RUN(vm, 0x48, 0x8b, 0x05, 0, 1, 0, 0), 0);
		assert_int_equal(vm->c.gpr[X86_RAX], 0xcafe);
		/* With an immediate behind it: still from the next instruction. */
		vm_reset_seen(vm);
		vm_put(vm, VM_CODE + 11 + 0x200, 0, 8);
		assert_int_equal(VM_RUN(vm, 0x48, 0xc7, 0x05, 0, 2, 0, 0,
					0x78, 0x56, 0x34, 0x12), 0);
		assert_int_equal(vm_get(vm, VM_CODE + 11 + 0x200, 8), 0x12345678);
	}
	vm_free(vm);
}

/* Outside 64-bit mode rip has 32 bits. */
static void test_rip_wraps(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);
	unsigned fast;

	for (fast = 0; fast < 2; fast++) {
		vm->fast = fast;
		vm->c.rip = 0xfffffffe;
		assert_int_equal(VM_RUN(vm, 0x89, 0xc0), 0);
		assert_int_equal(vm->c.rip, 0);
	}
	vm_free(vm);
}

static void test_implemented(void **state)
{
	assert_true(x86_op_implemented(X86_OP_ADD));
	assert_true(x86_op_implemented(X86_OP_MOVS));
	assert_false(x86_op_implemented(X86_NR_OPS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_feature),
		cmocka_unit_test(test_order_of_checks),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_missing_callback),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_expand_down),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_rip_relative),
		cmocka_unit_test(test_rip_wraps),
		cmocka_unit_test(test_implemented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
