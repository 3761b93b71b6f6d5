// SPDX-License-Identifier: MIT
/*
 * x87 around the computing: faults by CR0, pending exceptions, environments in their
 * four formats, FXSAVE and FXRSTOR, the pointers to the last instruction, and that a
 * fault leaves no trace. What instructions compute is test_simd.c's.
 */
#include "fpu_owner.h"

/* FLD1, FLDZ, FDIVP st1, st0: 1 / 0 */
static void divide_by_zero(struct vm *vm)
{
	assert_int_equal(VM_RUN(vm, 0xd9, 0xe8), 0);
	assert_int_equal(VM_RUN(vm, 0xd9, 0xee), 0);
	assert_int_equal(VM_RUN(vm, 0xde, 0xf9), 0);
}

static void unmask(struct vm *vm)
{
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm_put(vm, VM_DATA, 0x37b, 2);
	assert_int_equal(VM_RUN(vm, 0xd9, 0x2e), 0);	/* FLDCW */
}

static void device_not_available(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT32);

	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, 0xd9, 0xe8), vm, X86_NM);
	assert_fault(VM_RUN(vm, 0xdb, 0xe3), vm, X86_NM);	/* FNINIT */
	assert_fault(VM_RUN(vm, 0xdf, 0xe0), vm, X86_NM);	/* FNSTSW AX */
	assert_fault(VM_RUN(vm, 0xd9, 0x36), vm, X86_NM);	/* FNSTENV */
	assert_fault(VM_RUN(vm, 0x0f, 0xae, 0x06), vm, X86_NM);	/* FXSAVE */
	assert_fault(VM_RUN(vm, 0x9b), vm, X86_NM);
	vm->c.cr0 &= ~X86_CR0_MP;
	assert_int_equal(VM_RUN(vm, 0x9b), 0);	/* FWAIT: MP and TS */
	vm->c.cr0 ^= X86_CR0_TS | X86_CR0_EM;
	assert_fault(VM_RUN(vm, 0xd9, 0xe8), vm, X86_NM);
	assert_fault(VM_RUN(vm, 0x0f, 0xae, 0x06), vm, X86_NM);
	vm->c.vendor_amd = true;
	assert_fault(VM_RUN(vm, 0x0f, 0xae, 0x06), vm, X86_UD);
	vm_free(vm);
}

/* An unmasked exception is reported by the next instruction that waits. */
static void pending_exception(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT32);

	unmask(vm);
	divide_by_zero(vm);
	assert_fault(VM_RUN(vm, 0xd9, 0xe8), vm, X86_MF);
	assert_fault(VM_RUN(vm, 0x9b), vm, X86_MF);
	assert_fault(VM_RUN(vm, 0x0f, 0xfc, 0xc1), vm, X86_MF);	/* PADDB */
	assert_fault(VM_RUN(vm, 0x0f, 0x77), vm, X86_MF);	/* EMMS */
	assert_fault(VM_RUN(vm, 0xd9, 0x26), vm, X86_MF);	/* FLDENV */
	assert_int_equal(VM_RUN(vm, 0x0f, 0x58, 0xc1), 0);	/* ADDPS */
	assert_int_equal(VM_RUN(vm, 0xdf, 0xe0), 0);		/* FNSTSW AX */
	assert_int_equal(vm->c.gpr[X86_RAX] & 0x84, 0x84);
	assert_int_equal(VM_RUN(vm, 0xd9, 0x3e), 0);		/* FNSTCW */
	assert_int_equal(VM_RUN(vm, 0xdb, 0xe2), 0);		/* FNCLEX */
	assert_int_equal(VM_RUN(vm, 0xd9, 0xe8), 0);
	vm_free(vm);
}

static void fninit(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	divide_by_zero(vm);
	assert_int_equal(VM_RUN(vm, 0xdb, 0xe3), 0);
	assert_int_equal(fpu_guest.fx.fcw, X86_FCW_INIT);
	assert_int_equal(fpu_guest.fx.fsw, 0);
	assert_int_equal(fpu_guest.fx.ftw, 0);
	assert_int_equal(fpu_guest.fx.fip, 0);
	vm_free(vm);
}

/* The guest sees its own addresses, not those of the code that ran for it. */
static void last_instruction(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	vm->c.rip = 0x1234;
	assert_int_equal(VM_RUN(vm, 0xd9, 0xe8), 0);
	assert_int_equal(fpu_guest.fx.fip, 0x1234);
	/* A control instruction does not count. */
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.rip = 0x2345;
	assert_int_equal(VM_RUN(vm, 0xd9, 0x3e), 0);
	assert_int_equal(fpu_guest.fx.fip, 0x1234);
	/* With an unmasked exception opcode and operand are kept. */
	unmask(vm);
	assert_int_equal(VM_RUN(vm, 0xd9, 0xe8), 0);
	vm_put(vm, VM_DATA + 8, 0, 4);
	vm->c.rip = 0x3456;
	assert_int_equal(VM_RUN(vm, 0xd8, 0x76, 0x08), 0);	/* FDIV [rsi + 8] */
	assert_int_equal(fpu_guest.fx.fip, 0x3456);
	assert_int_equal(fpu_guest.fx.fdp, VM_DATA + 8);
	assert_int_equal(fpu_guest.fx.fop, 0x076);
	vm_free(vm);
}

/* --- environments -------------------------------------------------------------- */

static void environment(enum x86_mode mode, bool o16, unsigned bytes)
{
	struct vm *vm = fpu_vm(mode);
	const uint8_t pfx = o16 == (mode <= X86_MODE_PROT16) ? 0x3e : 0x66;
	uint64_t sw;

	vm->c.gpr[X86_RSI] = vm->c.gpr[X86_RBX] = VM_DATA;
	vm_put(vm, VM_DATA + bytes, 0xa5, 1);
	vm->c.rip = 0x1abc;
	divide_by_zero(vm);
	fpu_guest.fx.fip = 0xabcde;	/* more than 16 bits */
	sw = fpu_guest.fx.fsw;
	assert_int_equal(VM_RUN(vm, pfx, 0xd9, mode <= X86_MODE_PROT16 ? 0x34 :
				0x36), 0);
	assert_int_equal(vm_get(vm, VM_DATA, 2), X86_FCW_INIT);
	assert_int_equal(vm_get(vm, VM_DATA + (o16 ? 2 : 4), 2), sw);
	if (o16)
		assert_int_equal(vm_get(vm, VM_DATA + 6, 2), 0xbcde);
	else if (mode <= X86_MODE_VM86)
		assert_int_equal(vm_get(vm, VM_DATA + 12, 2), 0xbcde);
	else
		assert_int_equal(vm_get(vm, VM_DATA + 12, 4), 0xabcde);
	if (mode <= X86_MODE_VM86)
		assert_int_equal(vm_get(vm, VM_DATA + (o16 ? 8 : 16), 2) >> 12,
				 0xa);
	assert_int_equal(vm_get(vm, VM_DATA + bytes, 1), 0xa5);

	/* Back: everything returns. */
	assert_int_equal(VM_RUN(vm, 0xdb, 0xe3), 0);
	assert_int_equal(VM_RUN(vm, pfx, 0xd9, mode <= X86_MODE_PROT16 ? 0x24 :
				0x26), 0);
	assert_int_equal(fpu_guest.fx.fsw, sw);
	assert_int_equal(fpu_guest.fx.fip, o16 && mode == X86_MODE_PROT32 ?
			 0xbcde : 0xabcde);
	vm_free(vm);
}

static void environments(void **state)
{
	environment(X86_MODE_PROT32, false, 28);
	environment(X86_MODE_PROT32, true, 14);
	environment(X86_MODE_PROT64, false, 28);
	environment(X86_MODE_REAL, false, 28);
	environment(X86_MODE_REAL, true, 14);
	environment(X86_MODE_VM86, true, 14);
}

static void save_and_restore(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT32);
	struct x86_fxsave old;

	vm->c.gpr[X86_RSI] = VM_DATA;
	divide_by_zero(vm);
	assert_int_equal(VM_RUN(vm, 0xd9, 0xeb), 0);	/* FLDPI */
	old = fpu_guest.fx;
	assert_int_equal(VM_RUN(vm, 0xdd, 0x36), 0);	/* FNSAVE */
	assert_int_equal(fpu_guest.fx.fsw, 0);
	assert_int_equal(fpu_guest.fx.ftw, 0);
	assert_memory_equal(vm->mem + VM_DATA + 28, old.st[0].b, 10);
	assert_int_equal(VM_RUN(vm, 0xdd, 0x26), 0);	/* FRSTOR */
	assert_memory_equal(&fpu_guest.fx.fsw, &old.fsw, 3);
	assert_memory_equal(fpu_guest.fx.st, old.st, sizeof(old.st));
	vm_free(vm);
}

/* --- no trace --------------------------------------------------------------------- */

static void faults_leave_no_trace(void **state)
{
	static const uint8_t insns[][2] = {
		{ 0xd9, 0x1e }, { 0xdd, 0x1e }, { 0xdb, 0x3e }, { 0xdf, 0x36 },
		{ 0xd9, 0x36 }, { 0xdd, 0x36 }, { 0xdb, 0x0e },
	};
	unsigned k, tlb;

	for (k = 0; k < 2 * ARRAY_SIZE(insns); k++) {
		struct vm *vm = fpu_vm(X86_MODE_PROT64);
		struct x86_fxsave old;

		tlb = k & 1;
		if (!tlb)
			vm_no_tlb(vm);
		assert_int_equal(VM_RUN(vm, 0xd9, 0xeb), 0);
		/* Across the end of memory. */
		vm->c.gpr[X86_RSI] = VM_MEM_SIZE - 1;
		old = fpu_guest.fx;
		assert_fault(vm_run(vm, insns[k / 2], 2), vm, X86_PF);
		assert_memory_equal(&fpu_guest.fx, &old, 28);
		assert_memory_equal(fpu_guest.fx.st, old.st, sizeof(old.st));
		vm_free(vm);
	}
}

/* --- FXSAVE ------------------------------------------------------------------------ */

static void fxsave_formats(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	unsigned i;

	for (i = 0; i < 256; i++)
		((uint8_t *)fpu_guest.fx.xmm)[i] = i;
	vm->c.gpr[X86_RSI] = VM_DATA;
	memset(vm->mem + VM_DATA, 0xee, 512);
	fpu_guest.fx.fip = 0x123456789abcull;
	assert_int_equal(VM_RUN(vm, 0x48, 0x0f, 0xae, 0x06), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 8, 8), 0x123456789abcull);
	assert_memory_equal(vm->mem + VM_DATA + 160, fpu_guest.fx.xmm, 256);
	assert_int_equal(vm_get(vm, VM_DATA + 464, 8), 0xeeeeeeeeeeeeeeeeull);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x06), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 8, 8), 0x56789abc);
	vm_free(vm);

	/* XMM8-15 are not there in other modes. */
	vm = fpu_vm(X86_MODE_PROT32);
	for (i = 0; i < 256; i++)
		((uint8_t *)fpu_guest.fx.xmm)[i] = i;
	vm->c.gpr[X86_RSI] = VM_DATA;
	memset(vm->mem + VM_DATA, 0xee, 512);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x06), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 288, 8), 0xeeeeeeeeeeeeeeeeull);
	memset(vm->mem + VM_DATA + 160, 0x11, 256);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x0e), 0);
	assert_int_equal(fpu_guest.fx.xmm[7].b[0], 0x11);
	assert_int_equal(fpu_guest.fx.xmm[8].b[0], 128);
	vm_free(vm);
}

static void fxrstor_refuses(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	vm->c.gpr[X86_RSI] = VM_DATA + 8;
	assert_fault_code(VM_RUN(vm, 0x0f, 0xae, 0x06), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0x0f, 0xae, 0x0e), vm, X86_GP, 0);
	vm->c.gpr[X86_RSI] = VM_DATA;
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x06), 0);
	vm_put(vm, VM_DATA + 24, 0xffff0000, 4);
	vm_put(vm, VM_DATA, 0, 2);
	assert_fault_code(VM_RUN(vm, 0x0f, 0xae, 0x0e), vm, X86_GP, 0);
	assert_int_equal(fpu_guest.fx.fcw, X86_FCW_INIT);
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE;
	assert_fault(VM_RUN(vm, 0x0f, 0xae, 0x0e), vm, X86_PF);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_not_available),
		cmocka_unit_test(pending_exception),
		cmocka_unit_test(fninit),
		cmocka_unit_test(last_instruction),
		cmocka_unit_test(environments),
		cmocka_unit_test(save_and_restore),
		cmocka_unit_test(faults_leave_no_trace),
		cmocka_unit_test(fxsave_formats),
		cmocka_unit_test(fxrstor_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
