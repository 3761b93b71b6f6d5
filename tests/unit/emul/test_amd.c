// SPDX-License-Identifier: MIT
/*
 * What is AMD's: SSE4A and CLZERO, with the results written down by hand, for no host
 * of the other vendor can be asked; and that what CPUID never shows is #UD whatever
 * the features say.
 */
#include "fpu_owner.h"
#include "isa/rows.h"

static void set_xmm(unsigned x, uint64_t low, uint64_t high)
{
	memcpy(fpu_guest.fx.xmm[x].b, &low, 8);
	memcpy(fpu_guest.fx.xmm[x].b + 8, &high, 8);
}

static uint64_t low_of(unsigned x)
{
	uint64_t v;

	memcpy(&v, fpu_guest.fx.xmm[x].b, 8);
	return v;
}

static void extrq_takes_a_field(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	set_xmm(1, 0x123456789abcdef0, ~0ull);
	assert_int_equal(VM_RUN(vm, 0x66, 0x0f, 0x78, 0xc1, 16, 8), 0);
	assert_true(low_of(1) == 0xbcde);
	/* Length 0 is 64 bits. */
	set_xmm(9, 0x123456789abcdef0, 0);
	assert_int_equal(VM_RUN(vm, 0x66, 0x41, 0x0f, 0x78, 0xc1, 0, 0), 0);
	assert_true(low_of(9) == 0x123456789abcdef0);
	/* Length in bits 5:0, index in bits 13:8 of the other register. */
	set_xmm(2, 12 | 4 << 8, 0);
	assert_int_equal(VM_RUN(vm, 0x66, 0x44, 0x0f, 0x79, 0xca), 0);
	assert_true(low_of(9) == 0xdef);
	assert_true(low_of(2) == (12 | 4 << 8));
	vm_free(vm);
}

static void insertq_replaces_a_field(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	set_xmm(1, ~0ull, 0);
	set_xmm(2, 0xabcd, 8 | 4 << 8);
	assert_int_equal(VM_RUN(vm, 0xf2, 0x0f, 0x78, 0xca, 16, 32), 0);
	assert_true(low_of(1) == 0xffffabcdffffffff);
	/* The field is in the high quadword of the source. */
	assert_int_equal(VM_RUN(vm, 0xf2, 0x0f, 0x79, 0xca), 0);
	assert_true(low_of(1) == 0xffffabcdfffffcdf);
	vm_free(vm);
}

static void movnts_stores_a_scalar(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	set_xmm(10, 0x1122334455667788, ~0ull);
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm_put(vm, VM_DATA, ~0ull, 8);
	assert_int_equal(VM_RUN(vm, 0xf3, 0x44, 0x0f, 0x2b, 0x16), 0);
	assert_true(vm_get(vm, VM_DATA, 8) == 0xffffffff55667788);
	assert_int_equal(VM_RUN(vm, 0xf2, 0x44, 0x0f, 0x2b, 0x16), 0);
	assert_true(vm_get(vm, VM_DATA, 8) == 0x1122334455667788);
	vm_protect(vm, VM_DATA, VM_PROT_R);
	vm_flush_tlb(vm);
	assert_fault(VM_RUN(vm, 0xf2, 0x44, 0x0f, 0x2b, 0x16), vm, X86_PF);
	vm_free(vm);
}

static void sse4a_obeys_cr0_and_cr4(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	vm->c.cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
	assert_fault(VM_RUN(vm, 0x66, 0x0f, 0x79, 0xc1), vm, X86_UD);
	vm->c.cr4 |= X86_CR4_OSFXSR;
	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, 0xf2, 0x0f, 0x79, 0xc1), vm, X86_NM);
	assert_fault(VM_RUN(vm, 0xf3, 0x0f, 0x2b, 0x06), vm, X86_NM);
	vm->c.cr0 &= ~(uint64_t)X86_CR0_TS;
	vm->features[X86_FEATURE_SSE4A / 64] &= ~BIT_ULL(X86_FEATURE_SSE4A % 64);
	assert_fault(VM_RUN(vm, 0x66, 0x0f, 0x79, 0xc1), vm, X86_UD);
	vm_free(vm);
}

static void clzero_clears_a_line(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	unsigned i;

	for (i = 0; i < 192; i += 8)
		vm_put(vm, VM_DATA + i, ~0ull, 8);
	vm->c.gpr[X86_RAX] = VM_DATA + 64 + 63;
	assert_int_equal(VM_RUN(vm, 0x0f, 0x01, 0xfc), 0);
	for (i = 0; i < 192; i += 8)
		assert_true(vm_get(vm, VM_DATA + i, 8) == (i / 64 == 1 ? 0 : ~0ull));
	assert_true(vm->c.gpr[X86_RAX] == VM_DATA + 64 + 63);
	/* The address size cuts rAX. */
	vm->c.gpr[X86_RAX] |= 1ull << 40;
	assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xfc), vm, X86_PF);
	assert_int_equal(VM_RUN(vm, 0x67, 0x0f, 0x01, 0xfc), 0);
	vm->features[X86_FEATURE_CLZERO / 64] &= ~BIT_ULL(X86_FEATURE_CLZERO % 64);
	assert_fault(VM_RUN(vm, 0x67, 0x0f, 0x01, 0xfc), vm, X86_UD);
	vm_free(vm);
}

static void absent_instructions_are_undefined(void **state)
{
	static const struct { uint8_t n, bytes[6]; } codes[] = {
		{ 3, { 0x0f, 0x01, 0xfa } },			/* MONITORX */
		{ 3, { 0x0f, 0x01, 0xfd } },			/* RDPRU */
		{ 3, { 0x0f, 0x01, 0xfe } },			/* INVLPGB */
		{ 4, { 0xf3, 0x0f, 0x01, 0xff } },		/* PSMASH */
		{ 6, { 0xc7, 0xf8, 1, 0, 0, 0 } },		/* XBEGIN */
		{ 3, { 0xc6, 0xf8, 1 } },			/* XABORT */
		{ 3, { 0x0f, 0x01, 0xd6 } },			/* XTEST */
		{ 4, { 0xf3, 0x0f, 0x01, 0xef } },		/* STUI */
		{ 6, { 0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0 } },	/* HRESET */
		{ 5, { 0xf3, 0x0f, 0x38, 0xdc, 0x06 } },	/* AESENC128KL */
		{ 5, { 0xf2, 0x0f, 0x38, 0xf8, 0x06 } },	/* ENQCMD */
		{ 4, { 0xf3, 0x0f, 0xae, 0xe0 } },		/* PTWRITE */
		{ 4, { 0x0f, 0x38, 0xf6, 0x06 } },		/* WRSS */
		{ 2, { 0x0f, 0x37 } },				/* GETSEC */
	};
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	unsigned i;

	vm->c.gpr[X86_RSI] = VM_DATA;
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		assert_fault(vm_run(vm, codes[i].bytes, codes[i].n), vm, X86_UD);
		assert_int_equal(vm->insn.row->op, X86_OP_INVALID);
		assert_int_equal(vm->reads + vm->writes, 0);
	}
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extrq_takes_a_field),
		cmocka_unit_test(insertq_replaces_a_field),
		cmocka_unit_test(movnts_stores_a_scalar),
		cmocka_unit_test(sse4a_obeys_cr0_and_cr4),
		cmocka_unit_test(clzero_clears_a_line),
		cmocka_unit_test(absent_instructions_are_undefined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
