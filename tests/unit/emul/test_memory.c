// SPDX-License-Identifier: MIT
/*
 * Memory that misbehaves, and instructions with addresses of their own: host memory
 * that has gone while the translation cache still points at it, an owner that has to
 * ask user space, XLAT, MOVDIR64B, CLFLUSH, RDRAND.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>

#include "base/access.h"
#include "harness.h"
#include "host_run.h"

#define GONE 0x40000u		/* a page that is unmapped from the host */

static int gone(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		unsigned bytes, unsigned acc)
{
	return X86EMUL_HOST_ERROR;
}

static int gone_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		      unsigned bytes, unsigned acc)
{
	return X86EMUL_HOST_ERROR;
}

static int gone_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
			const void *val, unsigned bytes, bool *done)
{
	return X86EMUL_HOST_ERROR;
}

#define INSN(...) { sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ } }

/* Each finds its page in the cache, and no memory behind it. */
static void test_host_memory_gone(void **state)
{
	static const struct { uint8_t n, code[6]; } insns[] = {
		INSN(0x48, 0x8b, 0x06), INSN(0x48, 0x89, 0x06),
		INSN(0x8a, 0x06), INSN(0x66, 0x89, 0x06),
		INSN(0x48, 0x01, 0x06), INSN(0x48, 0x03, 0x06),
		INSN(0xff, 0x06), INSN(0x0f, 0xb6, 0x06),
		INSN(0xf0, 0x48, 0x01, 0x06), INSN(0xf0, 0x83, 0x06, 0x01),
		INSN(0xf0, 0xff, 0x0e), INSN(0xf0, 0xf6, 0x16),
		INSN(0xf0, 0x0f, 0xc1, 0x06), INSN(0xf0, 0x0f, 0xb1, 0x06),
		INSN(0x87, 0x06), INSN(0x48, 0x0f, 0xc7, 0x0e),
		INSN(0x0f, 0xc7, 0x0e), INSN(0xff, 0x16), INSN(0xff, 0x36),
		INSN(0xf3, 0xa4), INSN(0xf3, 0x48, 0xab), INSN(0xa6),
	};
	struct vm *vm = vm_new(X86_MODE_PROT64);
	struct x86_emulate_ctxt was;
	unsigned i, fast;
	uint64_t v;

	host_access_init();
	assert_int_equal(vm->ops.write(&vm->c, GONE, &v, 8, 0), 0);
	assert_int_equal(munmap(vm->mem + GONE, PAGE_SIZE), 0);
	vm->ops.read = gone;
	vm->ops.write = gone_write;
	vm->ops.cmpxchg = gone_cmpxchg;
	for (fast = 0; fast < 2; fast++)
		for (i = 0; i < ARRAY_SIZE(insns); i++) {
			vm->fast = fast;
			vm->c.gpr[X86_RSI] = vm->c.gpr[X86_RDI] = GONE + 64;
			vm->c.gpr[X86_RCX] = 16;
			was = vm->c;
			assert_int_equal(vm_run(vm, insns[i].code, insns[i].n),
					 X86EMUL_HOST_ERROR);
			assert_int_equal(vm->c.rip, VM_CODE);
			assert_memory_equal(vm->c.gpr, was.gpr, sizeof(was.gpr));
			assert_int_equal(vm->c.eflags, was.eflags);
		}
	vm_free(vm);
}

/* The bulk copy ends where memory does, and tells how far it has come. */
static void test_bulk_copy_into_nothing(void **state)
{
	static const uint8_t rep_movsb[] = { 0xf3, 0xa4 };
	struct vm *vm = vm_new(X86_MODE_PROT64);
	uint64_t v = 0;

	host_access_init();
	assert_int_equal(vm->ops.write(&vm->c, GONE, &v, 8, 0), 0);
	assert_int_equal(munmap(vm->mem + GONE, PAGE_SIZE), 0);
	vm->ops.write = gone_write;
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.gpr[X86_RDI] = GONE - 100;
	vm->c.gpr[X86_RCX] = 300;
	memset(vm->mem + VM_DATA, 0x42, 300);
	assert_int_equal(vm_run(vm, rep_movsb, 2), X86EMUL_HOST_ERROR);
	assert_int_equal(vm->c.gpr[X86_RCX], 200);
	assert_int_equal(vm->c.gpr[X86_RDI], GONE);
	assert_int_equal(vm_get(vm, GONE - 1, 1), 0x42);
	vm_free(vm);
}

/* An owner that must ask user space first: nothing has happened, and the same
 * instruction completes when it can answer. */
static bool answered;

static int mmio_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		     unsigned bytes, unsigned acc)
{
	if (!answered)
		return X86EMUL_IO_NEEDED;
	memset(val, 0x5a, bytes);
	return X86EMUL_CONTINUE;
}

static void test_io_needed(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	struct x86_emulate_ctxt was;

	vm_no_tlb(vm);
	vm->ops.read = mmio_read;
	vm->c.gpr[X86_RSI] = 0xfee00000;
	was = vm->c;
	answered = false;
	assert_int_equal(VM_RUN(vm, 0x03, 0x06), X86EMUL_IO_NEEDED);
	assert_memory_equal(vm->c.gpr, was.gpr, sizeof(was.gpr));
	assert_int_equal(vm->c.eflags, was.eflags);
	assert_int_equal(vm->c.rip, VM_CODE);
	answered = true;
	assert_int_equal(VM_RUN(vm, 0x03, 0x06), X86EMUL_CONTINUE);
	assert_int_equal(vm->c.gpr[X86_RAX], 0x5a5a5a5a);
	vm_free(vm);
}

static void test_xlat(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT32);

	vm->c.seg[X86_FS].base = 0x100;
	emul_update_mode(&vm->c);
	vm->c.gpr[X86_RBX] = VM_DATA;
	vm->c.gpr[X86_RAX] = 0x11223380;
	vm_put(vm, VM_DATA + 0x80, 0x77, 1);
	vm_put(vm, VM_DATA + 0x177, 0x99, 1);
	assert_int_equal(VM_RUN(vm, 0xd7), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 0x11223377);
	assert_int_equal(VM_RUN(vm, 0x64, 0xd7), 0);
	assert_int_equal(vm->c.gpr[X86_RAX], 0x11223399);
	vm_free(vm);
}

static void test_movdir64b(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	memset(vm->mem + VM_DATA, 0x33, 64);
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.gpr[X86_RAX] = VM_DATA + 0x100;
	assert_int_equal(VM_RUN(vm, 0x66, 0x0f, 0x38, 0xf8, 0x06), 0);
	assert_memory_equal(vm->mem + VM_DATA + 0x100, vm->mem + VM_DATA, 64);
	vm->c.gpr[X86_RAX]++;
	assert_fault_code(VM_RUN(vm, 0x66, 0x0f, 0x38, 0xf8, 0x06), vm,
			  X86_GP, 0);
	vm_free(vm);
}

static void test_address_checks(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	vm->c.gpr[X86_RSI] = VM_DATA;
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x3e), 0);	/* clflush */
	vm_protect(vm, VM_DATA, 0);
	assert_fault_code(VM_RUN(vm, 0x0f, 0xae, 0x3e), vm, X86_PF, 0);
	assert_int_equal(VM_RUN(vm, 0x0f, 0x18, 0x0e), 0);	/* prefetch */
	vm_free(vm);
}

static void test_rdrand(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);

	if (!host_has_feature(X86_FEATURE_RDRAND))
		skip();
	vm->c.gpr[X86_RAX] = ~0ull;
	vm->c.eflags |= X86_EFLAGS_STATUS;
	assert_int_equal(VM_RUN(vm, 0x0f, 0xc7, 0xf0), 0);
	assert_int_equal(vm->c.gpr[X86_RAX] >> 32, 0);
	assert_int_equal(vm->c.eflags & X86_EFLAGS_STATUS & ~X86_EFLAGS_CF, 0);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_memory_gone),
		cmocka_unit_test(test_bulk_copy_into_nothing),
		cmocka_unit_test(test_io_needed),
		cmocka_unit_test(test_xlat),
		cmocka_unit_test(test_movdir64b),
		cmocka_unit_test(test_address_checks),
		cmocka_unit_test(test_rdrand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
