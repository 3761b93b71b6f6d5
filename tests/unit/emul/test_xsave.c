// SPDX-License-Identifier: MIT
/*
 * XSAVE and its relatives: images compared with those that the host's own XSAVE makes
 * of the same state, restores of images that it made, headers that must be refused,
 * components that the guest does not have.
 */
#include "fpu_owner.h"

#define AREA VM_DATA		/* 64-byte aligned */

static uint32_t ymm_offset;
static bool wide;

/* Whole states, AVX included, move here. */
static void xget(struct x86_emulate_ctxt *c)
{
	__asm__ volatile("xsave64 %0" : "+m"(fpu_host) : "a"(7), "d"(0));
	__asm__ volatile("xrstor64 %0" : : "m"(*c->fpu), "a"(7), "d"(0));
}

static void xput(struct x86_emulate_ctxt *c)
{
	__asm__ volatile("xsave64 %0" : "+m"(*c->fpu) : "a"(7), "d"(0));
	emul_fpu_saved(c);
	__asm__ volatile("xrstor64 %0" : : "m"(fpu_host), "a"(7), "d"(0));
}

static uint64_t *header(void)
{
	return (uint64_t *)(fpu_guest.area + 512);
}

static struct vm *xvm(enum x86_mode mode)
{
	struct vm *vm = fpu_vm(mode);
	uint32_t a = 0xd, b, c = 2, d;
	unsigned i;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	ymm_offset = b;
	vm->ops.get_fpu = xget;
	vm->ops.put_fpu = xput;
	vm->c.cr4 |= X86_CR4_OSXSAVE;
	vm->c.xcr0 = 7;
	header()[0] = 7;
	for (i = 0; i < 256; i++) {
		((uint8_t *)fpu_guest.fx.xmm)[i] = i;
		fpu_guest.area[ymm_offset + i] = ~i;
	}
	vm->c.gpr[X86_RSI] = AREA;
	vm->c.gpr[X86_RAX] = 7;
	vm->c.gpr[X86_RDX] = 0;
	memset(vm->mem + AREA, 0, 4096);
	return vm;
}

static bool host_has_avx(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c >> 27 & 1 && c >> 28 & 1;
}

/* With REX.W the host may work on the area itself (xsave_in_place.c). */
#define RUN(vm, ...)	(wide ? VM_RUN(vm, 0x48, __VA_ARGS__) : VM_RUN(vm, __VA_ARGS__))
#define XSAVE	0x0f, 0xae, 0x26
#define XRSTOR	0x0f, 0xae, 0x2e
#define XSAVEOPT 0x0f, 0xae, 0x36
#define XSAVEC	0x0f, 0xc7, 0x26

static void whole_image(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);
	static struct x86_fpu old;
	unsigned i;

	assert_int_equal(VM_RUN(vm, 0x48, XSAVE), 0);
	old = fpu_guest;	/* as the host has saved it */
	assert_memory_equal(vm->mem + AREA, &old.fx, 416);
	assert_int_equal(vm_get(vm, AREA + 512, 8), header()[0]);
	assert_memory_equal(vm->mem + AREA + ymm_offset, old.area + ymm_offset, 256);

	for (i = 0; i < 256; i++)
		fpu_guest.area[160 + i] = fpu_guest.area[ymm_offset + i] = 0;
	assert_int_equal(VM_RUN(vm, 0x48, XRSTOR), 0);
	assert_memory_equal(old.fx.xmm, fpu_guest.fx.xmm, 256);
	assert_memory_equal(old.area + ymm_offset, fpu_guest.area + ymm_offset, 256);
	vm_free(vm);
}

/* Only what is asked for moves, and XSTATE_BV keeps the rest. */
static void parts(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);

	memset(vm->mem + AREA, 0x77, 1024);
	vm_put(vm, AREA + 512, 0x3, 8);
	vm->c.gpr[X86_RAX] = 4;
	assert_int_equal(RUN(vm, XSAVE), 0);
	assert_int_equal(vm_get(vm, AREA, 2), 0x7777);
	assert_int_equal(vm_get(vm, AREA + 24, 4), X86_MXCSR_INIT);
	assert_int_equal(vm_get(vm, AREA + 160, 8), 0x7777777777777777ull);
	assert_memory_equal(vm->mem + AREA + ymm_offset,
			    fpu_guest.area + ymm_offset, 256);
	assert_int_equal(vm_get(vm, AREA + 512, 8), 7);
	/* What XCR0 does not have is not there. */
	memset(vm->mem + AREA, 0x77, 1024);
	vm_put(vm, AREA + 512, 0, 8);
	vm->c.xcr0 = 3;
	vm->c.gpr[X86_RAX] = ~0ull;
	vm->c.gpr[X86_RDX] = ~0ull;
	assert_int_equal(RUN(vm, XSAVE), 0);
	assert_int_equal(vm_get(vm, AREA + ymm_offset, 8), 0x7777777777777777ull);
	assert_int_equal(vm_get(vm, AREA + 512, 8) & 4, 0);
	vm_free(vm);
}

static void initial_components(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);

	assert_int_equal(RUN(vm, XSAVE), 0);
	/* AVX in its initial state: XRSTOR clears, whatever the area holds. */
	vm_put(vm, AREA + 512, 3, 8);
	assert_int_equal(RUN(vm, XRSTOR), 0);
	assert_int_equal(header()[0] & 4, 0);
	/* XSAVEOPT leaves it alone, XSAVE writes zeros. */
	vm_put(vm, AREA + ymm_offset, 0x1122, 2);
	assert_int_equal(RUN(vm, XSAVEOPT), 0);
	assert_int_equal(vm_get(vm, AREA + ymm_offset, 2), 0x1122);
	assert_int_equal(vm_get(vm, AREA + 512, 8) & 4, 0);
	assert_int_equal(RUN(vm, XSAVE), 0);
	assert_int_equal(vm_get(vm, AREA + ymm_offset, 2), 0);
	vm_free(vm);
}

static void compacted(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);
	static struct x86_fpu old;

	vm->c.gpr[X86_RAX] = 6;
	assert_int_equal(RUN(vm, XSAVEC), 0);
	assert_int_equal(vm_get(vm, AREA + 512, 8), 6);
	assert_int_equal(vm_get(vm, AREA + 520, 8), 6 | 1ull << 63);
	assert_memory_equal(vm->mem + AREA + 576, fpu_guest.area + ymm_offset, 256);
	old = fpu_guest;
	memset(fpu_guest.area + ymm_offset, 0, 256);
	memset(fpu_guest.fx.xmm, 0, 256);
	assert_int_equal(RUN(vm, XRSTOR), 0);
	assert_memory_equal(old.fx.xmm, fpu_guest.fx.xmm, 256);
	assert_memory_equal(old.area + ymm_offset, fpu_guest.area + ymm_offset, 256);
	vm_free(vm);
}

static void registers_of_64bit_mode(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT32);

	memset(vm->mem + AREA, 0x77, 1024);
	vm_put(vm, AREA + 512, 0, 8);
	assert_int_equal(VM_RUN(vm, XSAVE), 0);
	assert_int_equal(vm_get(vm, AREA + 288, 2), 0x7777);
	assert_int_equal(vm_get(vm, AREA + ymm_offset + 128, 2), 0x7777);
	memset(vm->mem + AREA + 512, 0, 64);	/* all components initial */
	vm_put(vm, AREA + 24, X86_MXCSR_INIT, 4);
	assert_int_equal(VM_RUN(vm, XRSTOR), 0);
	assert_int_equal(fpu_guest.fx.xmm[7].b[1], 0);
	assert_int_equal(fpu_guest.fx.xmm[8].b[1], 129);
	assert_int_equal(fpu_guest.area[ymm_offset + 127], 0);
	assert_int_equal(fpu_guest.area[ymm_offset + 128], 127);
	vm_free(vm);
}

static void refusals(void **state)
{
	static const struct { unsigned at, bytes; uint64_t v; } bad[] = {
		{ 512, 8, 8 },			/* not in XCR0 */
		{ 520, 8, 1 },			/* XCOMP_BV without bit 63 */
		{ 520, 8, 1ull << 63 | 8 },
		{ 520, 8, 1ull << 63 | 3 },	/* XSTATE_BV not within */
		{ 528, 1, 1 },
		{ 24, 4, 0x80000000 },		/* MXCSR */
	};
	struct vm *vm = xvm(X86_MODE_PROT64);
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(bad); k++) {
		memset(vm->mem + AREA, 0, 1024);
		vm_put(vm, AREA + 24, X86_MXCSR_INIT, 4);
		vm_put(vm, AREA + 512, 7, 8);
		vm_put(vm, AREA + bad[k].at, bad[k].v, bad[k].bytes);
		assert_fault_code(RUN(vm, XRSTOR), vm, X86_GP, 0);
		assert_int_equal(fpu_guest.fx.xmm[1].b[0], 16);
	}
	vm->c.gpr[X86_RSI] = AREA + 32;
	assert_fault_code(VM_RUN(vm, XSAVE), vm, X86_GP, 0);
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE;
	assert_fault(VM_RUN(vm, XSAVE), vm, X86_PF);
	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, XRSTOR), vm, X86_NM);
	vm->c.cr4 &= ~X86_CR4_OSXSAVE;
	assert_fault(VM_RUN(vm, XSAVE), vm, X86_UD);
	assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xee), vm, X86_UD);	/* RDPKRU */
	assert_fault(VM_RUN(vm, 0x0f, 0x01, 0xef), vm, X86_UD);
	vm_free(vm);
}

/* --- in place -------------------------------------------------------------------- */

static unsigned asked;		/* how often the area was asked for */
static uint64_t kept;		/* a page that is not lent; 0: none */

static void *lend_area(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		       unsigned acc)
{
	struct vm *vm = container_of(c, struct vm, c);

	assert_true(bytes && (la & ~PAGE_MASK) + bytes <= PAGE_SIZE);
	asked++;
	return (la & PAGE_MASK) == kept ? NULL : vm->mem + la;
}

/* An area over the end of a page; by way of an image, in one page or the other by pieces,
 * the same comes out. */
static void over_the_end_of_a_page(void **state)
{
	static const struct { uint64_t kept; unsigned save, restore; } way[] = {
		{ 0, 2, 2 }, { AREA + 0x1000, 5, 5 }, { AREA, 5, 5 },
	};
	struct vm *vm = xvm(X86_MODE_PROT64);
	static struct x86_fpu old;
	unsigned k;

	vm->ops.host_ptr = lend_area;
	vm->c.gpr[X86_RSI] = AREA + 0x1000 - 640;
	for (k = 0; k < ARRAY_SIZE(way); k++) {
		asked = 0;
		kept = way[k].kept;
		memset(vm->mem + AREA, 0x77, 0x2000);
		memset(vm->mem + AREA + 0x1000 - 128, 0, 64);
		vm->c.gpr[X86_RAX] = 6;
		assert_int_equal(VM_RUN(vm, 0x48, XSAVEC), 0);
		assert_int_equal(asked, way[k].save);
		assert_int_equal(vm_get(vm, AREA + 0x1000 - 128, 8), 6);
		assert_memory_equal(vm->mem + AREA + 0x1000 - 64,
				    fpu_guest.area + ymm_offset, 256);
		/* XSAVEC leaves x87's part alone, and what is behind the area. */
		assert_int_equal(vm_get(vm, AREA + 0x1000 - 640, 8),
				 0x7777777777777777ull);
		assert_int_equal(vm_get(vm, AREA + 0x1000 + 192, 8),
				 0x7777777777777777ull);
		old = fpu_guest;
		memset(fpu_guest.area + ymm_offset, 0, 256);
		memset(fpu_guest.fx.xmm, 0, 256);
		assert_int_equal(VM_RUN(vm, 0x48, XRSTOR), 0);
		assert_int_equal(asked, way[k].save + way[k].restore);
		assert_memory_equal(old.fx.xmm, fpu_guest.fx.xmm, 256);
		assert_memory_equal(old.area + ymm_offset,
				    fpu_guest.area + ymm_offset, 256);
	}
	kept = 0;
	vm_free(vm);
}

/* The host has executed the guest's x87 instructions: its FIP is no guest's business. */
static void pointers_of_the_host_stay_there(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);

	vm->ops.host_ptr = lend_area;
	vm->c.fpu_ptr = (struct x86_fpu_pointers){
		.valid = true, .fip = 0x1234, .fdp = 0x5678, .fop = 0x123 };
	fpu_guest.fx.fip = 0x7fff00001111;
	asked = 0;
	assert_int_equal(VM_RUN(vm, 0x48, XSAVE), 0);
	/* For parts of an image: ST, XMM, YMM. */
	assert_int_equal(asked, 3);
	assert_int_equal(vm_get(vm, AREA + 8, 8), 0x1234);
	assert_int_equal(vm_get(vm, AREA + 16, 8), 0x5678);
	/* Without x87 nothing of it is seen. */
	vm->c.fpu_ptr.valid = true;
	vm->c.gpr[X86_RAX] = 6;
	memset(vm->mem + AREA, 0x77, 24);
	assert_int_equal(VM_RUN(vm, 0x48, XSAVE), 0);
	assert_int_equal(asked, 4);
	assert_int_equal(vm_get(vm, AREA + 8, 8), 0x7777777777777777ull);
	vm_free(vm);
}

static void area_that_is_gone(void **state)
{
	struct vm *vm = xvm(X86_MODE_PROT64);

	assert_int_equal(VM_RUN(vm, 0x48, XSAVE), 0);
	vm_put(vm, AREA + 24, 0x80000000, 4);	/* the host's #GP */
	assert_fault_code(VM_RUN(vm, 0x48, XRSTOR), vm, X86_GP, 0);
	assert_int_equal(fpu_guest.fx.xmm[1].b[0], 16);
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE;
	assert_fault(VM_RUN(vm, 0x48, XSAVE), vm, X86_PF);
	assert_fault(VM_RUN(vm, 0x48, XRSTOR), vm, X86_PF);
	vm_free(vm);
}

static int narrow_operand(void **state)
{
	wide = false;
	return 0;
}

static int wide_operand(void **state)
{
	fpu_take_signals();
	wide = true;
	return 0;
}

#define BOTH(f)							\
	cmocka_unit_test_setup(f, narrow_operand),		\
	cmocka_unit_test_setup(f, wide_operand)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_image),
		BOTH(parts),
		BOTH(initial_components),
		BOTH(compacted),
		cmocka_unit_test(registers_of_64bit_mode),
		BOTH(refusals),
		cmocka_unit_test(over_the_end_of_a_page),
		cmocka_unit_test(pointers_of_the_host_stay_there),
		cmocka_unit_test_setup(area_that_is_gone, wide_operand),
	};

	if (!host_has_avx()) {
		fprintf(stderr, "the host has no AVX to save\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
