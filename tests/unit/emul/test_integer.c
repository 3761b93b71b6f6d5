// SPDX-License-Identifier: MIT
/*
 * Integer instructions that the host cannot be asked about: those that 64-bit mode
 * has not got, the 16- and 32-bit modes, and results that the manuals spell out.
 * Table-driven; every case runs as generic and as resolved form.
 */
#include "harness.h"

struct alu_case {
	const char *name;
	enum x86_mode mode;
	uint64_t rax, rbx, eflags;	/* before; eflags: status flags */
	uint64_t want_rax, want_flags;
	uint64_t mask;			/* flags that are compared */
	uint8_t n, code[8];
};

#define CF X86_EFLAGS_CF
#define PF X86_EFLAGS_PF
#define AF X86_EFLAGS_AF
#define ZF X86_EFLAGS_ZF
#define SF X86_EFLAGS_SF
#define OF X86_EFLAGS_OF
#define ALL X86_EFLAGS_STATUS
#define P32 X86_MODE_PROT32
#define P16 X86_MODE_PROT16
#define P64 X86_MODE_PROT64
#define REAL X86_MODE_REAL
#define BYTES(...) sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ }

/* clang-format off */
static const struct alu_case cases[] = {
	/* SDM Vol. 2A, the examples of DAA and DAS. */
	{ "daa 79+35", P32, 0xae, 0, 0, 0x14, CF | AF | PF, CF|AF|PF|ZF|SF, BYTES(0x27) },
	{ "daa none", P32, 0x42, 0, 0, 0x42, PF, CF|AF|PF|ZF|SF, BYTES(0x27) },
	{ "daa carry in", P32, 0x12, 0, CF, 0x72, CF | PF, CF|AF|PF|ZF|SF, BYTES(0x27) },
	{ "das 35-47", P32, 0xee, 0, CF | AF, 0x88, CF | AF | SF | PF, CF|AF|PF|ZF|SF, BYTES(0x2f) },
	{ "aaa adjust", P32, 0x010b, 0, 0, 0x0201, CF | AF, CF|AF, BYTES(0x37) },
	{ "aaa keep", P32, 0x0135, 0, 0, 0x0105, 0, CF|AF, BYTES(0x37) },
	{ "aas adjust", P32, 0x02fe, 0, AF, 0x0108, CF | AF, CF|AF, BYTES(0x3f) },
	{ "aam", P32, 0x4f, 0, 0, 0x0709, PF, PF|ZF|SF, BYTES(0xd4, 10) },
	{ "aam 16", P32, 0x4f, 0, 0, 0x040f, PF, PF|ZF|SF, BYTES(0xd4, 16) },
	{ "aad", P32, 0x0709, 0, 0, 0x4f, 0, PF|ZF|SF, BYTES(0xd5, 10) },
	{ "salc", P32, 0x1200, 0, CF, 0x12ff, CF, ALL, BYTES(0xd6) },
	/* Default sizes by mode. */
	{ "inc ax in 16", P16, 0x1ffff, 0, 0, 0x10000, ZF | PF | AF, ALL, BYTES(0x40) },
	{ "inc eax in 16", P16, 0x1ffff, 0, 0, 0x20000, PF | AF, ALL, BYTES(0x66, 0x40) },
	{ "inc eax in 32", P32, 0xffffffff, 0, CF, 0, ZF | PF | AF | CF, ALL, BYTES(0x40) },
	{ "dec keeps cf", P32, 1, 0, CF, 0, ZF | PF | CF, ALL, BYTES(0x48) },
	{ "add in real", REAL, 0xffff, 1, 0, 0, CF | ZF | PF | AF, ALL, BYTES(0x01, 0xd8) },
	{ "mov imm16", REAL, 0xaaaa5555, 0, 0, 0xaaaa1234, 0, 0, BYTES(0xb8, 0x34, 0x12) },
	{ "cwde in 32", P32, 0x8000, 0, 0, 0xffff8000, 0, 0, BYTES(0x98) },
	{ "cbw in 16", P16, 0x80, 0, 0, 0xff80, 0, 0, BYTES(0x98) },
	{ "mov ah", P64, 0x1111, 0x2200, 0, 0x2211, 0, 0, BYTES(0x88, 0xfc) },
	{ "mov spl->al", P64, 0x1111, 0, 0, 0x1100, 0, 0, BYTES(0x40, 0x88, 0xe0) },
	{ "nop keeps rax", P64, ~0ull, 0, 0, ~0ull, 0, 0, BYTES(0x90) },
	{ "mov eax zeroes", P64, ~0ull, ~0ull, 0, 0xffffffff, 0, 0, BYTES(0x89, 0xd8) },
	{ "mov ax merges", P64, ~0ull, 0, 0, 0xffffffffffff0000, 0, 0, BYTES(0x66, 0x89, 0xd8) },
	{ "cmov false zeroes", P64, ~0ull, 1, 0, 0xffffffff, 0, ALL, BYTES(0x0f, 0x44, 0xc3) },
	{ "shl 0 keeps flags", P64, 1, 0, ALL, 1, ALL, ALL, BYTES(0x48, 0xc1, 0xe0, 0x40) },
	{ "shl eax,32 zeroes", P64, ~0ull, 0, ALL, 0xffffffff, ALL, ALL, BYTES(0xc1, 0xe0, 0x20) },
	{ "shl al,31", P64, 0xff, 0, 0, 0, ZF | PF, ZF|PF|SF, BYTES(0xc0, 0xe0, 0x1f) },
	{ "sar ax,31", P64, 0x8000, 0, 0, 0xffff, CF | SF | PF, CF|ZF|PF|SF, BYTES(0x66, 0xc1, 0xf8, 0x1f) },
	{ "rcl al,9 is none", P64, 0x81, 0, CF, 0x81, CF, CF, BYTES(0xc0, 0xd0, 0x09) },
	{ "bt reg modulo", P64, 2, 65, 0, 2, CF, CF, BYTES(0x48, 0x0f, 0xa3, 0xd8) },
	{ "bswap", P64, 0x0102030405060708, 0, 0, 0x0807060504030201, 0, 0, BYTES(0x48, 0x0f, 0xc8) },
	{ "lea 16-bit address", P32, 0, 0xfffff, 0, 0x0001, 0, 0, BYTES(0x67, 0x8d, 0x47, 0x02) },
	{ "lea 32-bit address", P64, 0, 0x1ffffffff, 0, 1, 0, 0, BYTES(0x67, 0x48, 0x8d, 0x43, 0x02) },
};
/* clang-format on */

static void run_case(const struct alu_case *t, bool fast)
{
	struct vm *vm = vm_new(t->mode);
	int rc;

	vm->fast = fast;
	vm->c.gpr[X86_RAX] = t->rax;
	vm->c.gpr[X86_RBX] = t->rbx;
	vm->c.gpr[X86_RSP] = 0x7f00;
	vm->c.eflags |= t->eflags;
	rc = vm_run(vm, t->code, t->n);
	if (rc || vm->c.gpr[X86_RAX] != t->want_rax ||
	    (vm->c.eflags & t->mask) != (t->want_flags & t->mask))
		fail_msg("%s (fast %d): rc %d rax %lx flags %lx", t->name, fast,
			 rc, vm->c.gpr[X86_RAX], vm->c.eflags);
	assert_int_equal(vm->c.rip, VM_CODE + t->n);
	vm_free(vm);
}

static void test_table(void **state)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		run_case(&cases[i], false);
		run_case(&cases[i], true);
	}
}

/* A faulting instruction leaves registers, flags and rip alone. */
#define assert_untouched(vm, saved)					\
	do {								\
		assert_memory_equal((vm)->c.gpr, (saved).gpr, sizeof((saved).gpr)); \
		assert_int_equal((vm)->c.eflags, (saved).eflags);	\
		assert_int_equal((vm)->c.rip, (saved).rip);		\
	} while (0)

static void test_divide_errors(void **state)
{
	static const struct {
		uint64_t rdx, rax, rbx;
		uint8_t n, code[4];
	} bad[] = {
		{ 0, 1, 0, BYTES(0xf6, 0xf3) },			/* div bl, 0 */
		{ 0, 0x100, 1, BYTES(0xf6, 0xf3) },		/* quotient 100h */
		{ 1, 0, 1, BYTES(0x48, 0xf7, 0xf3) },		/* 2^64 / 1 */
		{ ~0ull, 1ull << 63, ~0ull, BYTES(0x48, 0xf7, 0xfb) }, /* min / -1 */
		{ 0xffffffff, 0x80000000, 0xffffffff, BYTES(0xf7, 0xfb) },
		{ 0, 0x8000, 0xff, BYTES(0xf6, 0xfb) },
	};
	struct x86_emulate_ctxt saved;
	struct vm *vm = vm_new(P64);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		vm_reset_seen(vm);
		vm->c.gpr[X86_RDX] = bad[i].rdx;
		vm->c.gpr[X86_RAX] = bad[i].rax;
		vm->c.gpr[X86_RBX] = bad[i].rbx;
		saved = vm->c;
		assert_fault(vm_run(vm, bad[i].code, bad[i].n), vm, X86_DE);
		assert_false(vm->c.exception.has_error_code);
		assert_untouched(vm, saved);
	}
	vm_free(vm);
	vm = vm_new(P32);
	saved = vm->c;
	assert_fault(VM_RUN(vm, 0xd4, 0x00), vm, X86_DE);	/* aam 0 */
	assert_untouched(vm, saved);
	vm_free(vm);
}

static void test_idiv_extremes(void **state)
{
	struct vm *vm = vm_new(P64);

	vm->c.gpr[X86_RDX] = ~0ull;
	vm->c.gpr[X86_RAX] = 1ull << 63;
	vm->c.gpr[X86_RBX] = 1;
	assert_int_equal(VM_RUN(vm, 0x48, 0xf7, 0xfb), X86EMUL_CONTINUE);
	assert_int_equal(vm->c.gpr[X86_RAX], 1ull << 63);
	assert_int_equal(vm->c.gpr[X86_RDX], 0);
	vm_free(vm);
}

/* Bit offsets in a register reach beyond the operand, in both directions. */
static void test_bit_offset_moves_operand(void **state)
{
	struct vm *vm = vm_new(P64);

	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.gpr[X86_RAX] = 1000;
	assert_int_equal(VM_RUN(vm, 0x48, 0x0f, 0xab, 0x06), 0); /* bts [rsi], rax */
	assert_int_equal(vm_get(vm, VM_DATA + 1000 / 8, 1), 1);
	assert_false(vm->c.eflags & CF);
	vm->c.gpr[X86_RAX] = -1ull;
	assert_int_equal(VM_RUN(vm, 0xf0, 0x0f, 0xbb, 0x06), 0); /* lock btc, -1 */
	assert_int_equal(vm_get(vm, VM_DATA - 4, 4), 0x80000000);
	/* 16-bit offsets are signed 16-bit numbers. */
	vm->c.gpr[X86_RAX] = 0xfff0;
	assert_int_equal(VM_RUN(vm, 0x66, 0x0f, 0xab, 0x06), 0);
	assert_int_equal(vm_get(vm, VM_DATA - 2, 2), 0x8001);
	/* An immediate is taken modulo the size and moves nothing. */
	assert_int_equal(VM_RUN(vm, 0x0f, 0xba, 0x2e, 0x21), 0); /* bts dword, 33 */
	assert_int_equal(vm_get(vm, VM_DATA, 4), 2);
	vm_free(vm);
}

static void test_cmpxchg16b(void **state)
{
	struct vm *vm = vm_new(P64);
	struct x86_emulate_ctxt saved;

	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.gpr[X86_RAX] = 5;
	vm->c.gpr[X86_RBX] = 7;
	vm->c.gpr[X86_RCX] = 9;
	assert_int_equal(VM_RUN(vm, 0x48, 0x0f, 0xc7, 0x0e), 0);
	assert_false(vm->c.eflags & ZF);
	assert_int_equal(vm->c.gpr[X86_RAX], 0);
	assert_int_equal(VM_RUN(vm, 0xf0, 0x48, 0x0f, 0xc7, 0x0e), 0);
	assert_true(vm->c.eflags & ZF);
	assert_int_equal(vm_get(vm, VM_DATA, 8), 7);
	assert_int_equal(vm_get(vm, VM_DATA + 8, 8), 9);
	/* Misaligned: #GP(0). */
	vm->c.gpr[X86_RSI] = VM_DATA + 8;
	saved = vm->c;
	assert_fault_code(VM_RUN(vm, 0x48, 0x0f, 0xc7, 0x0e), vm, X86_GP, 0);
	assert_untouched(vm, saved);
	/* Before the address is looked at: not #SS, as measured. */
	vm->c.gpr[X86_RBP] = (1ull << 63) + 8;
	assert_fault_code(VM_RUN(vm, 0x48, 0x0f, 0xc7, 0x4d, 0x00), vm, X86_GP, 0);
	vm->c.gpr[X86_RBP] = 1ull << 63;
	assert_fault_code(VM_RUN(vm, 0x48, 0x0f, 0xc7, 0x4d, 0x00), vm, X86_SS_FAULT, 0);
	/* CMPXCHG8B does not care. */
	vm->c.gpr[X86_RSI] = VM_DATA + 3;
	assert_int_equal(VM_RUN(vm, 0x0f, 0xc7, 0x0e), 0);
	vm_free(vm);
}

/* A read-modify-write of a page that cannot be written faults as a write, with
 * no trace; a CMPXCHG that would fail, too. */
static void test_write_fault_leaves_no_trace(void **state)
{
	static const struct { uint8_t n, code[5]; } insns[] = {
		{ BYTES(0x48, 0x01, 0x06) },		/* add [rsi], rax */
		{ BYTES(0xf0, 0x48, 0x01, 0x06) },
		{ BYTES(0x48, 0xff, 0x06) },		/* inc [rsi] */
		{ BYTES(0x48, 0x89, 0x06) },		/* mov [rsi], rax */
		{ BYTES(0x48, 0x87, 0x06) },		/* xchg */
		{ BYTES(0x48, 0x0f, 0xc1, 0x06) },	/* xadd */
		{ BYTES(0x48, 0x0f, 0xb1, 0x1e) },	/* cmpxchg */
		{ BYTES(0x48, 0x0f, 0xc7, 0x0e) },	/* cmpxchg16b */
		{ BYTES(0x0f, 0x94, 0x06) },		/* setz */
		{ BYTES(0x48, 0xd3, 0x26) },		/* shl [rsi], cl */
		{ BYTES(0x8f, 0x06) },			/* pop [rsi] */
	};
	struct x86_emulate_ctxt saved;
	struct vm *vm = vm_new(P64);
	unsigned i, fast;

	for (fast = 0; fast < 2; fast++)
		for (i = 0; i < ARRAY_SIZE(insns); i++) {
			vm_reset_seen(vm);
			vm->fast = fast;
			vm->c.gpr[X86_RSI] = VM_DATA;
			vm->c.gpr[X86_RAX] = ~0ull;
			vm->c.gpr[X86_RCX] = 0;		/* also: shl by 0 */
			vm_put(vm, VM_DATA, 0x1122, 8);
			vm_protect(vm, VM_DATA, VM_PROT_R);
			saved = vm->c;
			assert_fault_code(vm_run(vm, insns[i].code, insns[i].n),
					  vm, X86_PF, X86_PFERR_P | X86_PFERR_W);
			assert_int_equal(vm->c.exception.address, VM_DATA);
			assert_untouched(vm, saved);
			assert_int_equal(vm_get(vm, VM_DATA, 8), 0x1122);
		}
	vm_free(vm);
}

/* Half of the operand is in a page that is not there. */
static void test_page_crossing_fault(void **state)
{
	struct vm *vm = vm_new(P64);

	vm->fast = true;
	vm->c.gpr[X86_RSI] = VM_DATA + 0xffc;
	vm->c.gpr[X86_RAX] = 0x1122334455667788;
	assert_int_equal(VM_RUN(vm, 0x48, 0x89, 0x06), 0);
	assert_int_equal(vm_get(vm, VM_DATA + 0xffc, 8), 0x1122334455667788);
	vm_protect(vm, VM_DATA + 0x1000, 0);
	vm->c.gpr[X86_RAX] = 0;
	assert_fault_code(VM_RUN(vm, 0x48, 0x89, 0x06), vm, X86_PF, X86_PFERR_W);
	assert_int_equal(vm->c.exception.address, VM_DATA + 0x1000);
	assert_int_equal(vm_get(vm, VM_DATA + 0xffc, 4), 0x55667788);
	vm_free(vm);
}

/* A locked instruction whose memory changes under it starts over with what is
 * there, flags and operands included. */
static unsigned interferences;

static int interfering_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la,
			       void *old, const void *val, unsigned bytes,
			       bool *done)
{
	struct vm *vm = (struct vm *)c;

	if (interferences) {
		interferences--;
		vm_put(vm, la, vm_get(vm, la, bytes) + 1, bytes);
	}
	*done = !memcmp(vm->mem + la, old, bytes);
	memcpy(*done ? (void *)(vm->mem + la) : old,
	       *done ? val : vm->mem + la, bytes);
	return X86EMUL_CONTINUE;
}

static void test_locked_retries(void **state)
{
	struct vm *vm = vm_new(P64);

	vm_no_tlb(vm);
	vm->ops.cmpxchg = interfering_cmpxchg;
	interferences = 3;
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm->c.gpr[X86_RAX] = 0x10;
	vm->c.eflags |= CF;
	assert_int_equal(VM_RUN(vm, 0xf0, 0x48, 0x11, 0x06), 0);  /* lock adc */
	assert_int_equal(vm_get(vm, VM_DATA, 8), 0x10 + 1 + 3);
	assert_int_equal(interferences, 0);
	interferences = 2;
	assert_int_equal(VM_RUN(vm, 0xf0, 0x48, 0x0f, 0xc1, 0x06), 0); /* xadd */
	assert_int_equal(vm->c.gpr[X86_RAX], 0x14 + 2);
	assert_int_equal(vm_get(vm, VM_DATA, 8), 0x26);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_divide_errors),
		cmocka_unit_test(test_idiv_extremes),
		cmocka_unit_test(test_bit_offset_moves_operand),
		cmocka_unit_test(test_cmpxchg16b),
		cmocka_unit_test(test_write_fault_leaves_no_trace),
		cmocka_unit_test(test_page_crossing_fault),
		cmocka_unit_test(test_locked_retries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
