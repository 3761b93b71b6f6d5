// SPDX-License-Identifier: MIT
/*
 * AVX and AVX-512 around their results, which are test_avx_host.c's: what control
 * registers and features forbid, faults under masks by page and by segment limit,
 * VZEROUPPER and VZEROALL, modes without registers 8-31, gathers that go on after a
 * fault.
 */
#include "avx_owner.h"

static bool has_avx512(void)
{
	return avx_components == AVX_XCR0;
}

/* Byte @at of vector register @nr (0-15) in the guest's image. */
static uint8_t *vec(unsigned nr, unsigned at)
{
	unsigned size;

	if (at < 16)
		return &fpu_guest.fx.xmm[nr].b[at];
	if (at < 32)
		return fpu_guest.area + avx_component(2, &size) + nr * 16 + at - 16;
	return fpu_guest.area + avx_component(6, &size) + nr * 32 + at - 32;
}

static void put_dwords(unsigned nr, const int32_t *v, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		memcpy(vec(nr, 4 * k), &v[k], 4);
}

static int32_t dword(unsigned nr, unsigned k)
{
	int32_t v;

	memcpy(&v, vec(nr, 4 * k), 4);
	return v;
}

static void set_opmask(unsigned k, uint64_t v)
{
	unsigned size;

	memcpy(fpu_guest.area + avx_component(5, &size) + 8 * k, &v, 8);
}

static uint64_t opmask(unsigned k)
{
	unsigned size;
	uint64_t v;

	memcpy(&v, fpu_guest.area + avx_component(5, &size) + 8 * k, 8);
	return v;
}

/* All registers have bits set. */
static struct vm *machine(enum x86_mode mode)
{
	struct vm *vm = avx_vm(mode);
	unsigned nr, at;

	*avx_xstate_bv(&fpu_guest) = avx_components;
	for (nr = 0; nr < 16; nr++)
		for (at = 0; at < (has_avx512() ? 64 : 32); at++)
			*vec(nr, at) = 0x40 + nr;
	vm->c.gpr[X86_RSI] = VM_DATA;
	return vm;
}

#define VADDPS		0xc5, 0xfc, 0x58, 0xc1		/* ymm0, ymm0, ymm1 */
#define EVEX_VADDPS	0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1
#define EVEX_VADDPS256	0x62, 0xf1, 0x7c, 0x28, 0x58, 0xc1
#define VPADDD256	0xc5, 0xfd, 0xfe, 0xc1
#define KMOVW		0xc5, 0xf8, 0x93, 0xc1		/* eax, k1 */
#define VLDMXCSR	0xc5, 0xf8, 0xae, 0x16

static void take(struct vm *vm, enum x86_feature f)
{
	vm->features[f / 64] &= ~BIT_ULL(f % 64);
}

static void state_that_is_not_enabled(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, VADDPS), vm, X86_NM);
	assert_fault(VM_RUN(vm, VLDMXCSR), vm, X86_NM);
	vm->c.cr0 ^= X86_CR0_TS;
	/* VEX minds neither EM nor OSFXSR. */
	vm->c.cr0 |= X86_CR0_EM;
	vm->c.cr4 &= ~X86_CR4_OSFXSR;
	assert_int_equal(VM_RUN(vm, VADDPS), X86EMUL_CONTINUE);
	vm->c.cr4 &= ~X86_CR4_OSXSAVE;
	assert_fault(VM_RUN(vm, VADDPS), vm, X86_UD);
	assert_fault(VM_RUN(vm, VLDMXCSR), vm, X86_UD);
	assert_fault(VM_RUN(vm, 0xc5, 0xf8, 0x77), vm, X86_UD);
	/* #UD comes before #NM. */
	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, VADDPS), vm, X86_UD);
	vm->c.cr0 ^= X86_CR0_TS;
	vm->c.cr4 |= X86_CR4_OSXSAVE;
	vm->c.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
	assert_fault(VM_RUN(vm, VADDPS), vm, X86_UD);
	vm->c.xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
	assert_int_equal(VM_RUN(vm, VADDPS), X86EMUL_CONTINUE);
	assert_fault(VM_RUN(vm, EVEX_VADDPS), vm, X86_UD);
	assert_fault(VM_RUN(vm, KMOVW), vm, X86_UD);
	vm_free(vm);
}

static void features_that_are_not_there(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	take(vm, X86_FEATURE_AVX2);
	assert_fault(VM_RUN(vm, VPADDD256), vm, X86_UD);
	assert_int_equal(VM_RUN(vm, 0xc5, 0xf9, 0xfe, 0xc1), X86EMUL_CONTINUE);
	take(vm, X86_FEATURE_AVX);
	assert_fault(VM_RUN(vm, VADDPS), vm, X86_UD);
	/* VAESENC needs AVX beside AES. */
	assert_fault(VM_RUN(vm, 0xc4, 0xe2, 0x79, 0xdc, 0xc1), vm, X86_UD);
	if (has_avx512()) {
		assert_int_equal(VM_RUN(vm, EVEX_VADDPS256), X86EMUL_CONTINUE);
		take(vm, X86_FEATURE_AVX512VL);
		assert_fault(VM_RUN(vm, EVEX_VADDPS256), vm, X86_UD);
		assert_int_equal(VM_RUN(vm, EVEX_VADDPS), X86EMUL_CONTINUE);
		/* Scalars and rounding do not ask for it. */
		assert_int_equal(VM_RUN(vm, 0x62, 0xf1, 0x7e, 0x08, 0x58, 0xc1),
				 X86EMUL_CONTINUE);
		assert_int_equal(VM_RUN(vm, 0x62, 0xf1, 0x7c, 0x18, 0x58, 0xc1),
				 X86EMUL_CONTINUE);
	}
	vm_free(vm);
}

static void alignment(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	vm->c.gpr[X86_RSI] = VM_DATA + 16;
	assert_int_equal(VM_RUN(vm, 0xc5, 0xf8, 0x28, 0x06), X86EMUL_CONTINUE);
	assert_fault_code(VM_RUN(vm, 0xc5, 0xfc, 0x28, 0x06), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0xc5, 0xfd, 0xe7, 0x06), vm, X86_GP, 0);
	vm->c.gpr[X86_RSI] = VM_DATA + 1;
	assert_int_equal(VM_RUN(vm, 0xc5, 0xfc, 0x58, 0x06), X86EMUL_CONTINUE);
	vm_free(vm);
}

static void unmasked_exception(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);
	static const int32_t one[8] = { 0x3f800000 }, zero[8];

	put_dwords(0, one, 8);
	put_dwords(1, zero, 8);
	fpu_guest.fx.mxcsr = X86_MXCSR_INIT & ~0x200u;
	/* VDIVSS xmm0, xmm0, xmm1 */
	assert_fault(VM_RUN(vm, 0xc5, 0xfa, 0x5e, 0xc1), vm, X86_XM);
	assert_int_equal(dword(0, 0), one[0]);
	vm->c.cr4 &= ~X86_CR4_OSXMMEXCPT;
	assert_fault(VM_RUN(vm, 0xc5, 0xfa, 0x5e, 0xc1), vm, X86_UD);
	vm_free(vm);
}

static void zeroing(enum x86_mode mode, unsigned zeroed)
{
	struct vm *vm = machine(mode);
	unsigned nr;

	assert_int_equal(VM_RUN(vm, 0xc5, 0xf8, 0x77), X86EMUL_CONTINUE);
	avx_normalize(&fpu_guest);
	for (nr = 0; nr < 16; nr++) {
		assert_int_equal(*vec(nr, 15), 0x40 + nr);
		assert_int_equal(*vec(nr, 16), nr < zeroed ? 0 : 0x40 + nr);
		if (has_avx512())
			assert_int_equal(*vec(nr, 63),
					 nr < zeroed ? 0 : 0x40 + nr);
	}
	assert_int_equal(VM_RUN(vm, 0xc5, 0xfc, 0x77), X86EMUL_CONTINUE);
	avx_normalize(&fpu_guest);
	for (nr = 0; nr < 16; nr++)
		assert_int_equal(*vec(nr, 0), nr < zeroed ? 0 : 0x40 + nr);
	vm_free(vm);
}

static void zeroupper_and_zeroall(void **state)
{
	zeroing(X86_MODE_PROT64, 16);
	zeroing(X86_MODE_PROT32, 8);
}

/* VMASKMOVPS at the end of memory, and over a page that is read-only. */
static void vector_mask_keeps_faults_away(void **state)
{
	static const int32_t first2[8] = { -1, -1 }, third[8] = { 0, 0, -1 };
	struct vm *vm = machine(X86_MODE_PROT64);

	put_dwords(1, first2, 8);
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE - 8;
	vm_put(vm, VM_MEM_SIZE - 8, 0x2222222211111111, 8);
	/* load ymm2, store ymm3 */
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2c, 0x16), 0);
	assert_int_equal(dword(2, 0), 0x11111111);
	assert_int_equal(dword(2, 1), 0x22222222);
	assert_int_equal(dword(2, 2), 0);
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2e, 0x1e), 0);
	assert_int_equal(vm_get(vm, VM_MEM_SIZE - 8, 8), 0x4343434343434343);
	put_dwords(1, third, 8);
	assert_fault(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2c, 0x16), vm, X86_PF);
	assert_int_equal(vm->c.exception.address, VM_MEM_SIZE);

	/* Two elements on the second page, one of them allowed: nothing is stored
	 * on the first page before the second has been looked at. */
	vm->c.gpr[X86_RSI] = VM_DATA + PAGE_SIZE - 8;
	vm_put(vm, VM_DATA + PAGE_SIZE - 8, 0x77, 8);
	vm_protect(vm, VM_DATA + PAGE_SIZE, VM_PROT_R);
	put_dwords(1, (const int32_t[8]){ -1, 0, -1 }, 8);
	assert_fault(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2e, 0x1e), vm, X86_PF);
	assert_int_equal(vm_get(vm, VM_DATA + PAGE_SIZE - 8, 8), 0x77);
	vm_free(vm);
}

/* VMASKMOVPS with an address of 32 bits: the elements behind the first go on beyond 4 GiB. */
static void masked_elements_do_not_wrap_at_4g(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	put_dwords(1, (const int32_t[8]){ 0, -1 }, 8);
	vm->c.gpr[X86_RSI] = 0xfffffffc;
	assert_fault(VM_RUN(vm, 0x67, 0xc4, 0xe2, 0x75, 0x2c, 0x16), vm, X86_PF);
	assert_int_equal(vm->c.exception.address, 1ull << 32);
	vm_free(vm);
}

static void segment_limit_under_mask(void **state)
{
	static const int32_t first2[8] = { -1, -1 };
	struct vm *vm = machine(X86_MODE_PROT32);

	vm->c.seg[X86_DS].limit = VM_DATA + 7;
	emul_update_mode(&vm->c);
	put_dwords(1, first2, 8);
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2c, 0x16), 0);
	put_dwords(1, (const int32_t[8]){ 0, 0, -1 }, 8);
	assert_fault_code(VM_RUN(vm, 0xc4, 0xe2, 0x75, 0x2c, 0x16), vm, X86_GP, 0);
	vm_free(vm);
}

static void opmask_keeps_faults_away(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	if (!has_avx512()) {
		vm_free(vm);
		skip();
	}
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE - 8;
	set_opmask(1, 3);
	/* VMOVDQU32 zmm2{k1}{z}, [rsi]; [rsi]{k1}, zmm3; VPEXPANDD zmm2{k1}{z} */
	assert_int_equal(VM_RUN(vm, 0x62, 0xf1, 0x7e, 0xc9, 0x6f, 0x16), 0);
	assert_int_equal(dword(2, 15), 0);
	assert_int_equal(VM_RUN(vm, 0x62, 0xf1, 0x7e, 0x49, 0x7f, 0x1e), 0);
	assert_int_equal(vm_get(vm, VM_MEM_SIZE - 8, 8), 0x4343434343434343);
	set_opmask(1, 0x8001);		/* two elements, in the last 8 bytes */
	assert_int_equal(VM_RUN(vm, 0x62, 0xf2, 0x7d, 0xc9, 0x89, 0x16), 0);
	assert_int_equal(dword(2, 15), 0x43434343);
	assert_int_equal(dword(2, 1), 0);
	assert_fault(VM_RUN(vm, 0x62, 0xf1, 0x7e, 0xc9, 0x6f, 0x16), vm, X86_PF);
	/* A broadcast element is accessed if any element wants it. */
	vm->c.gpr[X86_RSI] = VM_MEM_SIZE;
	assert_fault(VM_RUN(vm, 0x62, 0xf1, 0x7c, 0x59, 0x58, 0x16), vm, X86_PF);
	set_opmask(1, 0x10000);		/* there is no element 16 */
	assert_int_equal(VM_RUN(vm, 0x62, 0xf1, 0x7c, 0x59, 0x58, 0x16), 0);
	/* Unpacking looks at all of it. */
	assert_fault(VM_RUN(vm, 0x62, 0xf1, 0x7d, 0x49, 0x62, 0x16), vm, X86_PF);
	vm_free(vm);
}

/* A gather faults half way, has done what it has done, and goes on. */
static void gather_goes_on(void **state)
{
	static const int32_t index[4] = { 0, PAGE_SIZE, 4, 8 };
	struct vm *vm = machine(X86_MODE_PROT64);
	unsigned k;

	for (k = 0; k < 4; k++)
		vm_put(vm, VM_DATA + index[k], 0x1000 + k, 4);
	put_dwords(1, index, 4);
	put_dwords(2, (const int32_t[4]){ -1, -1, 0, -1 }, 4);
	vm_protect(vm, VM_DATA + PAGE_SIZE, 0);
	/* VPGATHERDD xmm0, [rsi + xmm1], xmm2 */
	assert_fault(VM_RUN(vm, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e), vm, X86_PF);
	assert_int_equal(vm->c.rip, VM_CODE);
	assert_int_equal(dword(0, 0), 0x1000);
	assert_int_equal(dword(2, 0), 0);
	assert_int_equal(dword(2, 1), -1);
	vm_protect(vm, VM_DATA + PAGE_SIZE, VM_PROT_R);
	vm_put(vm, VM_DATA, 0x9999, 4);	/* not read again */
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e), 0);
	assert_int_equal(dword(0, 0), 0x1000);
	assert_int_equal(dword(0, 1), 0x1001);
	assert_int_equal(dword(0, 2), 0x40404040);
	assert_int_equal(dword(0, 3), 0x1003);
	assert_int_equal(dword(2, 3), 0);
	vm_free(vm);
}

/* Memory that user space serves: each read is asked for, and then answered. */
static struct {
	uint64_t asked, answered;
	unsigned answers;
} device;

static int device_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		       unsigned bytes, unsigned acc)
{
	uint32_t v = la;

	if (device.asked != la) {
		device.asked = la;
		return X86EMUL_IO_NEEDED;
	}
	device.asked = 0;
	device.answers++;
	memcpy(val, &v, bytes);
	return X86EMUL_CONTINUE;
}

/* Each element is asked for once, and only one of them at a time. */
static void gather_from_a_device(void **state)
{
	static const int32_t index[4] = { 0x10, 0x20, 0x30, 0x40 };
	struct vm *vm = machine(X86_MODE_PROT64);
	unsigned k;

	vm_no_tlb(vm);
	vm->ops.read = device_read;
	memset(&device, 0, sizeof(device));
	put_dwords(1, index, 4);
	put_dwords(2, (const int32_t[4]){ -1, -1, -1, -1 }, 4);
	for (k = 0; k < 4; k++) {
		assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e),
				 X86EMUL_IO_NEEDED);
		assert_int_equal(vm->c.rip, VM_CODE);
		assert_int_equal(device.answers, k);
		assert_int_equal(dword(2, k), -1);
	}
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e), 0);
	assert_int_equal(device.answers, 4);
	for (k = 0; k < 4; k++) {
		assert_int_equal(dword(0, k), VM_DATA + index[k]);
		assert_int_equal(dword(2, k), 0);
	}
	vm_free(vm);
}

static void scatter_goes_on(void **state)
{
	static const int32_t index[16] = { 0, PAGE_SIZE, 8 };
	struct vm *vm = machine(X86_MODE_PROT64);

	if (!has_avx512()) {
		vm_free(vm);
		skip();
	}
	put_dwords(1, index, 16);
	set_opmask(1, 7);
	vm_protect(vm, VM_DATA + PAGE_SIZE, VM_PROT_R);
	/* VPSCATTERDD [rsi + zmm1]{k1}, zmm0 */
	assert_fault(VM_RUN(vm, 0x62, 0xf2, 0x7d, 0x49, 0xa0, 0x04, 0x0e), vm,
		     X86_PF);
	assert_int_equal(opmask(1), 6);
	assert_int_equal(vm_get(vm, VM_DATA, 4), 0x40404040);
	assert_int_equal(vm_get(vm, VM_DATA + 8, 4), 0);
	vm_protect(vm, VM_DATA + PAGE_SIZE, VM_PROT_R | VM_PROT_W);
	assert_int_equal(VM_RUN(vm, 0x62, 0xf2, 0x7d, 0x49, 0xa0, 0x04, 0x0e), 0);
	avx_normalize(&fpu_guest);
	assert_int_equal(opmask(1), 0);
	assert_int_equal(vm_get(vm, VM_DATA + PAGE_SIZE, 4), 0x40404040);
	assert_int_equal(vm_get(vm, VM_DATA + 8, 4), 0x40404040);
	vm_free(vm);
}

/* Outside 64-bit mode W does not make general registers longer. */
static void w_outside_64bit_mode(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT32);

	vm->c.gpr[X86_RAX] = 0x1122334455667788;
	/* VMOVD xmm0, eax with W = 1 */
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe1, 0xf9, 0x6e, 0xc0), 0);
	avx_normalize(&fpu_guest);
	assert_int_equal(dword(0, 0), 0x55667788);
	assert_int_equal(dword(0, 1), 0);
	/* VBLENDVPS: bit 7 of the immediate names no register. */
	assert_int_equal(VM_RUN(vm, 0xc4, 0xe3, 0x71, 0x4a, 0xc2, 0xa0), 0);
	vm_free(vm);
}

static void mxcsr_with_vex(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	vm_put(vm, VM_DATA, 0x7f80, 4);
	assert_int_equal(VM_RUN(vm, VLDMXCSR), X86EMUL_CONTINUE);
	assert_int_equal(fpu_guest.fx.mxcsr, 0x7f80);
	vm_put(vm, VM_DATA, 0x17f80, 4);
	assert_fault_code(VM_RUN(vm, VLDMXCSR), vm, X86_GP, 0);
	vm_free(vm);
}

static void vmaskmovdqu(void **state)
{
	struct vm *vm = machine(X86_MODE_PROT64);

	memset(vec(2, 0), 0, 16);
	*vec(2, 3) = 0x80;
	vm->c.gpr[X86_RDI] = VM_MEM_SIZE - 16;
	vm_put(vm, VM_MEM_SIZE - 16, 0, 8);
	assert_int_equal(VM_RUN(vm, 0xc5, 0xf9, 0xf7, 0xca), X86EMUL_CONTINUE);
	assert_int_equal(vm_get(vm, VM_MEM_SIZE - 16, 8), 0x41000000);
	/* No mask keeps its faults away. */
	vm->c.gpr[X86_RDI] = VM_MEM_SIZE - 4;
	assert_fault(VM_RUN(vm, 0xc5, 0xf9, 0xf7, 0xca), vm, X86_PF);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_that_is_not_enabled),
		cmocka_unit_test(features_that_are_not_there),
		cmocka_unit_test(alignment),
		cmocka_unit_test(unmasked_exception),
		cmocka_unit_test(zeroupper_and_zeroall),
		cmocka_unit_test(vector_mask_keeps_faults_away),
		cmocka_unit_test(masked_elements_do_not_wrap_at_4g),
		cmocka_unit_test(segment_limit_under_mask),
		cmocka_unit_test(opmask_keeps_faults_away),
		cmocka_unit_test(gather_goes_on),
		cmocka_unit_test(gather_from_a_device),
		cmocka_unit_test(scatter_goes_on),
		cmocka_unit_test(w_outside_64bit_mode),
		cmocka_unit_test(mxcsr_with_vex),
		cmocka_unit_test(vmaskmovdqu),
	};

	if (!avx_host()) {
		fprintf(stderr, "the host has no AVX\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
