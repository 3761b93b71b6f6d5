// SPDX-License-Identifier: MIT
/*
 * String instructions and port I/O: iteration boundaries, limits, wrap-around,
 * overlap, I/O permission and counts. What a plain REP computes is compared with the
 * host in test_host_diff.c.
 */
#include "harness.h"

static const uint8_t rep_movsb[] = { 0xf3, 0xa4 };
static const uint8_t rep_movsq[] = { 0xf3, 0x48, 0xa5 };
static const uint8_t rep_stosq[] = { 0xf3, 0x48, 0xab };
static const uint8_t repe_cmpsb[] = { 0xf3, 0xa6 };
static const uint8_t repne_scasb[] = { 0xf2, 0xae };
static const uint8_t repe_scasq[] = { 0xf3, 0x48, 0xaf };
static const uint8_t repne_cmpsw[] = { 0x66, 0xf2, 0xa7 };
static const uint8_t rep_insb[] = { 0xf3, 0x6c };
static const uint8_t rep_outsd[] = { 0xf3, 0x6f };

static void set_regs(struct vm *vm, uint64_t rsi, uint64_t rdi, uint64_t rcx)
{
	vm_reset_seen(vm);
	vm->c.gpr[X86_RSI] = rsi;
	vm->c.gpr[X86_RDI] = rdi;
	vm->c.gpr[X86_RCX] = rcx;
}

/* A fault in the middle: the registers tell of the iterations done, rip stays. */
static void fault_boundary(struct vm *vm)
{
	unsigned i;

	for (i = 0; i < 64; i++)
		vm_put(vm, VM_DATA + 0xfe0 + i, i + 1, 1);
	vm_protect(vm, VM_DATA + 0x1000, 0);
	set_regs(vm, VM_DATA + 0xfe0, VM_DATA + 0x4000, 64);
	assert_fault_code(vm_run(vm, rep_movsb, 2), vm, X86_PF, 0);
	assert_int_equal(vm->c.exception.address, VM_DATA + 0x1000);
	assert_int_equal(vm->c.gpr[X86_RCX], 32);
	assert_int_equal(vm->c.gpr[X86_RSI], VM_DATA + 0x1000);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0x4020);
	assert_int_equal(vm->c.rip, VM_CODE);
	assert_int_equal(vm_get(vm, VM_DATA + 0x401f, 2), 32);
	/* The page comes; the instruction goes on and completes. */
	vm_protect(vm, VM_DATA + 0x1000, VM_PROT_R | VM_PROT_W);
	assert_int_equal(vm_run(vm, rep_movsb, 2), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 0);
	assert_int_equal(vm->c.rip, VM_CODE + 2);
	assert_int_equal(vm_get(vm, VM_DATA + 0x403f, 1), 64);
	/* An element that is half there. */
	vm_protect(vm, VM_DATA + 0x5000, 0);
	set_regs(vm, VM_DATA, VM_DATA + 0x4fec, 8);
	assert_fault_code(vm_run(vm, rep_movsq, 3), vm, X86_PF, X86_PFERR_W);
	assert_int_equal(vm->c.gpr[X86_RCX], 6);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0x4ffc);
	vm_protect(vm, VM_DATA + 0x5000, VM_PROT_R | VM_PROT_W);
}

static void test_fault_at_boundary(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	fault_boundary(vm);
	vm_free(vm);
	vm = vm_new(X86_MODE_PROT64);
	vm_no_tlb(vm);
	fault_boundary(vm);
	vm_free(vm);
}

static void test_rep_limit(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.rep_limit = 100;
	vm->c.gpr[X86_RAX] = 0x0101010101010101;
	set_regs(vm, 0, VM_DATA, 250);
	assert_int_equal(vm_run(vm, rep_stosq, 3), 0);
	assert_int_equal(vm->c.rip, VM_CODE);
	assert_int_equal(vm->c.gpr[X86_RCX], 150);
	assert_int_equal(vm_get(vm, VM_DATA + 800, 8), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 792, 8), 0x0101010101010101);
	assert_int_equal(vm_run(vm, rep_stosq, 3), 0);
	assert_int_equal(vm_run(vm, rep_stosq, 3), 0);
	assert_int_equal(vm->c.rip, VM_CODE + 3);
	assert_int_equal(vm->c.gpr[X86_RCX], 0);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 2000);
	/* Without a limit a call is bounded all the same. */
	vm->c.rep_limit = 0;
	set_regs(vm, VM_DATA, VM_DATA, ~0ull);
	assert_int_equal(VM_RUN(vm, 0xf3, 0xac), X86EMUL_CONTINUE);
	assert_int_equal(vm->c.rip, VM_CODE);
	assert_true(vm->c.gpr[X86_RCX] > 1ull << 63);
	vm_free(vm);
}

static void test_count_zero_does_nothing(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	uint64_t flags;

	vm_protect(vm, VM_DATA, 0);
	set_regs(vm, VM_DATA, VM_DATA, 0);
	vm->c.eflags |= X86_EFLAGS_STATUS;
	flags = vm->c.eflags;
	assert_int_equal(vm_run(vm, repe_cmpsb, 2), 0);
	assert_int_equal(vm->c.eflags, flags);
	assert_int_equal(vm->c.gpr[X86_RSI], VM_DATA);
	/* With a 32-bit address size only ECX counts. */
	vm->c.gpr[X86_RCX] = 1ull << 32;
	vm->c.vendor_amd = true;
	assert_int_equal(VM_RUN(vm, 0x67, 0xf3, 0xa4), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 1ull << 32);
	/* Intel's processors cut the registers nevertheless. */
	vm->c.vendor_amd = false;
	vm->c.rip = VM_CODE;
	assert_int_equal(VM_RUN(vm, 0x67, 0xf3, 0xa4), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 0);
	vm_free(vm);
}

/* 16-bit addresses wrap at 64K, in both directions. */
static void test_address_wrap(void **state)
{
	struct vm *vm = vm_new(X86_MODE_REAL);

	vm->c.gpr[X86_RAX] = 0x77;
	set_regs(vm, 0, 0xfffc, 8);
	assert_int_equal(VM_RUN(vm, 0xf3, 0xaa), 0);
	assert_int_equal(vm->c.gpr[X86_RDI], 4);
	assert_int_equal(vm_get(vm, 0xfffc, 4), 0x77777777);
	assert_int_equal(vm_get(vm, 0, 4), 0x77777777);
	assert_int_equal(vm_get(vm, 4, 1), 0);
	assert_int_equal(vm_get(vm, 0x10000, 1), 0);
	vm->c.eflags |= X86_EFLAGS_DF;
	vm->c.gpr[X86_RAX] = 0x55;
	set_regs(vm, 0, 3, 8);
	assert_int_equal(VM_RUN(vm, 0xf3, 0xaa), 0);
	assert_int_equal(vm->c.gpr[X86_RDI], 0xfffb);
	assert_int_equal(vm_get(vm, 0xfffc, 4), 0x55555555);
	assert_int_equal(vm_get(vm, 0xfffb, 1), 0);
	/* A word at FFFF is beyond the limit: #GP, nothing moves. */
	vm->c.eflags &= ~(uint64_t)X86_EFLAGS_DF;
	set_regs(vm, 0, 0xfffd, 4);
	assert_fault_code(VM_RUN(vm, 0xf3, 0xab), vm, X86_GP, 0);
	assert_int_equal(vm->c.gpr[X86_RDI], 0xffff);
	assert_int_equal(vm->c.gpr[X86_RCX], 3);
	vm_free(vm);
}

/* REPE ends where the operands differ, with flags of that comparison. */
static void test_repe_cmps(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	memset(vm->mem + VM_DATA, 7, 100);
	memset(vm->mem + VM_DATA + 0x100, 7, 100);
	vm->mem[VM_DATA + 0x100 + 50] = 8;
	set_regs(vm, VM_DATA, VM_DATA + 0x100, 100);
	assert_int_equal(vm_run(vm, repe_cmpsb, 2), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 49);
	assert_true(vm->c.eflags & X86_EFLAGS_CF);
	assert_false(vm->c.eflags & X86_EFLAGS_ZF);
	vm_free(vm);
}

/* Scans over several pages, in both directions and all sizes. */
static void test_scan(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	memset(vm->mem + VM_DATA, 0x5a, 0x3000);
	vm->mem[VM_DATA + 0x2345] = 0;
	vm->c.gpr[X86_RAX] = 0xffffff00;
	set_regs(vm, 0, VM_DATA + 3, ~0ull);
	assert_int_equal(vm_run(vm, repne_scasb, 2), 0);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0x2346);
	assert_int_equal(vm->c.gpr[X86_RCX], ~0ull - 0x2343);
	assert_true(vm->c.eflags & X86_EFLAGS_ZF);
	/* To the end without a hit: the last comparison's flags. */
	set_regs(vm, 0, VM_DATA, 0x2345);
	assert_int_equal(vm_run(vm, repne_scasb, 2), 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 0);
	assert_int_equal(vm->c.eflags & X86_EFLAGS_STATUS,
			 X86_EFLAGS_STATUS & ~(X86_EFLAGS_ZF | X86_EFLAGS_OF));
	/* Down. */
	vm->c.eflags |= X86_EFLAGS_DF;
	vm->c.gpr[X86_RAX] = 0x5a5a5a5a5a5a5a5a;
	set_regs(vm, 0, VM_DATA + 0x2ff8, 0x400);
	assert_int_equal(vm_run(vm, repe_scasq, 3), 0);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0x2338);
	assert_int_equal(vm->c.gpr[X86_RCX], 0x400 - 0x198);
	assert_false(vm->c.eflags & X86_EFLAGS_ZF);
	/* Words of which one crosses a page. */
	vm->c.eflags &= ~(uint64_t)X86_EFLAGS_DF;
	memset(vm->mem + VM_DATA + 0x4000, 0xa5, 0x2000);
	vm_put(vm, VM_DATA + 0x4000 + 0x1801, 0x5a5a, 2);
	set_regs(vm, VM_DATA + 1, VM_DATA + 0x4001, 0x1000);
	assert_int_equal(vm_run(vm, repne_cmpsw, 3), 0);
	assert_int_equal(vm->c.gpr[X86_RSI], VM_DATA + 0x1803);
	assert_int_equal(vm->c.gpr[X86_RCX], 0x1000 - 0xc01);
	vm_free(vm);
}

/* A scan that a fault ends has its registers moved and its flags as they were. */
static void test_scan_faults(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm_protect(vm, VM_DATA + 0x2000, 0);
	vm->c.gpr[X86_RAX] = 1;
	set_regs(vm, 0, VM_DATA + 0x10, 0x4000);
	vm->c.eflags |= X86_EFLAGS_STATUS;
	assert_fault_code(vm_run(vm, repne_scasb, 2), vm, X86_PF, 0);
	assert_int_equal(vm->c.exception.address, VM_DATA + 0x2000);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0x2000);
	assert_int_equal(vm->c.gpr[X86_RCX], 0x4000 - 0x1ff0);
	assert_int_equal(vm->c.eflags & X86_EFLAGS_STATUS, X86_EFLAGS_STATUS);
	vm_free(vm);
}

/* The segment limit ends a run inside a page: the bulk path must see it too. */
static void test_limit_inside_run(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.seg[X86_ES].limit = VM_DATA + 0x10;
	emul_update_mode(&vm->c);
	set_regs(vm, VM_STACK, VM_DATA, 32);
	assert_fault_code(vm_run(vm, rep_movsb, 2), vm, X86_GP, 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 32 - 17);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 17);
	vm_free(vm);
}

/* The override moves rSI's segment, never rDI's. */
static void test_segment_override(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.seg[X86_FS].base = 0x100;
	emul_update_mode(&vm->c);
	vm_put(vm, VM_DATA + 0x100, 0xab, 1);
	set_regs(vm, VM_DATA, VM_DATA + 0x800, 1);
	assert_int_equal(VM_RUN(vm, 0x64, 0xa4), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 0x800, 1), 0xab);
	vm_free(vm);
}

/* --- ports ----------------------------------------------------------------------- */

static void test_in_out(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RAX] = 0x1122334455667788;
	assert_int_equal(VM_RUN(vm, 0xe6, 0x80), 0);		/* out 80h, al */
	assert_int_equal(vm->io_port, 0x80);
	assert_int_equal(vm->io_size, 1);
	assert_int_equal(vm->io_log[0], 0x88);
	vm->c.gpr[X86_RDX] = 0xf0cf8;
	assert_int_equal(VM_RUN(vm, 0xef), 0);			/* out dx, eax */
	assert_int_equal(vm->io_port, 0x0cf8);
	assert_int_equal(vm->io_size, 4);
	vm->io_bytes = 1;
	assert_int_equal(VM_RUN(vm, 0xed), 0);			/* in eax, dx */
	assert_int_equal(vm->c.gpr[X86_RAX], 0x04030201);
	vm->c.gpr[X86_RAX] = ~0ull;
	assert_int_equal(VM_RUN(vm, 0x66, 0xed), 0);		/* in ax, dx */
	assert_int_equal(vm->c.gpr[X86_RAX], 0xffffffffffff0605);
	/* The owner wants user space: nothing moves. */
	vm_reset_seen(vm);
	vm->io_result = X86EMUL_IO_NEEDED;
	vm->c.gpr[X86_RAX] = 1;
	assert_int_equal(VM_RUN(vm, 0xec), X86EMUL_IO_NEEDED);
	assert_int_equal(vm->c.gpr[X86_RAX], 1);
	assert_int_equal(vm->c.rip, VM_CODE);
	vm_free(vm);
}

static void test_rep_ins_batches(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.gpr[X86_RDX] = 0x1f0;
	set_regs(vm, 0, VM_DATA + 0xff0, 40);
	while (vm->c.rip == VM_CODE)
		assert_int_equal(vm_run(vm, rep_insb, 2), 0);
	assert_int_equal(vm->io_count, 40);
	assert_int_equal(vm->io_calls, 2);	/* one a page */
	assert_int_equal(vm_get(vm, VM_DATA + 0xff0 + 39, 1), 39);
	assert_int_equal(vm->c.gpr[X86_RDI], VM_DATA + 0xff0 + 40);
	/* The owner takes fewer. */
	vm->io_max = 3;
	set_regs(vm, VM_DATA, 0, 8);
	while (vm->c.rip == VM_CODE)
		assert_int_equal(vm_run(vm, rep_outsd, 2), 0);
	assert_int_equal(vm->io_calls, 3);
	assert_int_equal(vm->io_bytes, 32);
	assert_memory_equal(vm->io_log, vm->mem + VM_DATA, 32);
	vm_free(vm);
}

/* A destination that cannot be written is found before the port is read. */
static void test_ins_probes_first(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm_protect(vm, VM_DATA, VM_PROT_R);
	set_regs(vm, 0, VM_DATA, 4);
	assert_fault_code(vm_run(vm, rep_insb, 2), vm, X86_PF,
			  X86_PFERR_P | X86_PFERR_W);
	assert_int_equal(vm->io_calls, 0);
	assert_int_equal(vm->c.gpr[X86_RCX], 4);
	vm_free(vm);
}

/* CPL above IOPL: the bitmap decides, each port of an access. */
static void test_io_bitmap(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.seg[X86_SS].ar |= X86_AR_DPL;
	vm->c.seg[X86_TR].base = 0x20000;
	vm->c.seg[X86_TR].limit = 0x68 + 0x20;
	emul_update_mode(&vm->c);
	assert_int_equal(vm->c.cpl, 3);
	vm_put(vm, 0x20000 + 102, 0x68, 2);
	memset(vm->mem + 0x20068, 0xff, 0x21);
	vm_put(vm, 0x20068 + 0x60 / 8, 0xfe, 1);	/* port 60h only */
	assert_int_equal(VM_RUN(vm, 0xe4, 0x60), 0);
	assert_fault_code(VM_RUN(vm, 0xe4, 0x61), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0x66, 0xe5, 0x60), vm, X86_GP, 0);
	/* Beyond the TSS: denied. */
	vm->c.gpr[X86_RDX] = 0x3f8;
	assert_fault_code(VM_RUN(vm, 0xec), vm, X86_GP, 0);
	/* A 16-bit TSS has no bitmap. */
	vm->c.seg[X86_TR].ar = X86_AR_P | X86_TSS16_BUSY;
	assert_fault_code(VM_RUN(vm, 0xe4, 0x60), vm, X86_GP, 0);
	/* IOPL 3 needs none. */
	vm->c.eflags |= X86_EFLAGS_IOPL;
	assert_int_equal(VM_RUN(vm, 0xec), 0);
	vm_free(vm);
}

/* The VM exit comes after the permission check and before memory. */
static void test_io_exit_order(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->trip = X86_INTERCEPT_IO;
	vm_protect(vm, VM_DATA, 0);
	vm->c.gpr[X86_RDX] = 0x1f0;
	set_regs(vm, 0, VM_DATA, 4);
	assert_int_equal(vm_run(vm, rep_insb, 2), X86EMUL_INTERCEPTED);
	assert_int_equal(vm->trip_arg, 0x1f0);
	assert_int_equal(vm->io_calls, 0);
	assert_int_equal(vm->c.rip, VM_CODE);
	vm->c.seg[X86_SS].ar |= X86_AR_DPL;
	emul_update_mode(&vm->c);
	vm_put(vm, 102, 0xffff, 2);	/* no bitmap */
	vm->tripped = X86_INTERCEPT_NONE;
	assert_fault_code(vm_run(vm, rep_insb, 2), vm, X86_GP, 0);
	assert_int_equal(vm->tripped, X86_INTERCEPT_NONE);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault_at_boundary),
		cmocka_unit_test(test_rep_limit),
		cmocka_unit_test(test_count_zero_does_nothing),
		cmocka_unit_test(test_address_wrap),
		cmocka_unit_test(test_repe_cmps),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_faults),
		cmocka_unit_test(test_limit_inside_run),
		cmocka_unit_test(test_segment_override),
		cmocka_unit_test(test_in_out),
		cmocka_unit_test(test_rep_ins_batches),
		cmocka_unit_test(test_ins_probes_first),
		cmocka_unit_test(test_io_bitmap),
		cmocka_unit_test(test_io_exit_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
