// SPDX-License-Identifier: MIT
/*
 * A resolved form does what the generic form does: random instructions in every
 * mode, on two machines in the same random state, one runs x86_emulate_insn(), the
 * other what x86_emulate_resolve() gives. Result, registers, flags, segments, fault
 * and memory must agree, for good addresses and bad ones. Nothing may crash.
 *
 * The second test asks that the forms that matter are there at all, and that the
 * random ones have met each of them.
 */
#include "harness.h"
#include "random.h"

#define RUNS	400000u

static unsigned seen[X86_NR_OPS];

static void random_state(struct vm *a, struct vm *b)
{
	struct x86_emulate_ctxt *c = &a->c;
	unsigned i;

	for (i = 0; i < 16; i++)
		c->gpr[i] = random_value();
	if (c->mode != X86_MODE_PROT64)
		for (i = 0; i < 16; i++)
			c->gpr[i] = i < 8 ? (uint32_t)c->gpr[i] : 0;
	c->rip = rnd() & 7 || c->mode <= X86_MODE_VM86 ? VM_CODE :
		 c->mode == X86_MODE_PROT64 ? 0x7ffffffffff0 : 0xfffffff8;
	c->eflags = (c->eflags & X86_EFLAGS_VM) | X86_EFLAGS_FIXED |
		    (rnd() & (X86_EFLAGS_STATUS | X86_EFLAGS_DF));
	random_segments(c);
	emul_update_mode(c);
	c->rep_limit = 64;
	c->shadow = 0;
	memset(&c->exception, 0, sizeof(c->exception));
	b->c = *c;
	b->c.ops = &b->ops;
	b->c.features = b->features;
	b->c.tlb = b->tlb;
}

static bool is_same(const struct vm *a, const struct vm *b, int ra, int rb)
{
	return ra == rb && a->c.rip == b->c.rip &&
	       a->c.eflags == b->c.eflags && a->c.shadow == b->c.shadow &&
	       a->c.exception.vector == b->c.exception.vector &&
	       a->c.exception.error_code == b->c.exception.error_code &&
	       a->c.exception.address == b->c.exception.address &&
	       !memcmp(a->c.gpr, b->c.gpr, sizeof(a->c.gpr)) &&
	       !memcmp(a->mem, b->mem, RANDOM_MEM);
}

/* Instructions whose effect is not only in the context, or that are slow. */
static bool is_other(const struct x86_insn *i)
{
	return i->row->op >= X86_OP_NOP && i->row->op != X86_OP_NOP;
}

static void describe(const struct vm *a, const struct vm *b, int ra, int rb)
{
	unsigned i;

	fprintf(stderr, "%s in mode %u:", a->insn.row->mnemonic, a->insn.mode);
	for (i = 0; i < a->insn.len; i++)
		fprintf(stderr, " %02x", a->insn.bytes[i]);
	fprintf(stderr, "\n  rc %d/%d rip %lx/%lx eflags %lx/%lx vector %u/%u\n",
		ra, rb, a->c.rip, b->c.rip, a->c.eflags, b->c.eflags,
		a->c.exception.vector, b->c.exception.vector);
	for (i = 0; i < 16; i++)
		if (a->c.gpr[i] != b->c.gpr[i])
			fprintf(stderr, "  gpr%u %lx/%lx\n", i, a->c.gpr[i],
				b->c.gpr[i]);
}

static void one(struct vm *a, struct vm *b)
{
	uint8_t code[X86_MAX_INSN_LEN];
	x86_exec_fn fn;
	int ra, rb;

	random_code(code);
	if (x86_decode(&a->insn, code, sizeof(code), a->c.mode) !=
	    X86_DECODE_OK || is_other(&a->insn))
		return;
	fn = x86_emulate_resolve(&a->insn);
	if (fn == x86_emulate_insn)
		return;
	seen[a->insn.row->op]++;
	b->insn = a->insn;
	random_state(a, b);
	/* Both caches know the pages as often as not. */
	if (rnd() % 16 == 0) {
		vm_flush_tlb(a);
		b->c.tlb_key = a->c.tlb_key;
	}
	a->c.insn = &a->insn;
	b->c.insn = &b->insn;
	ra = x86_emulate_insn(&a->c);
	rb = fn(&b->c);
	if (!is_same(a, b, ra, rb)) {
		describe(a, b, ra, rb);
		fail();
	}
}

static void run_mode(enum x86_mode mode, unsigned runs)
{
	struct vm *a = vm_new(mode), *b = vm_new(mode);
	unsigned i;

	for (i = 0; i < RANDOM_MEM; i++)
		a->mem[i] = b->mem[i] = rnd();
	for (i = RANDOM_MEM / PAGE_SIZE; i < ARRAY_SIZE(a->prot); i++)
		a->prot[i] = b->prot[i] = 0;
	a->prot[0xa] = b->prot[0xa] = VM_PROT_R;
	a->prot[0xc] = b->prot[0xc] = 0;
	while (runs--)
		one(a, b);
	vm_free(a);
	vm_free(b);
}

static void test_fast_is_generic(void **state)
{
	run_mode(X86_MODE_PROT64, RUNS / 2);
	run_mode(X86_MODE_PROT32, RUNS / 4);
	run_mode(X86_MODE_PROT16, RUNS / 12);
	run_mode(X86_MODE_REAL, RUNS / 12);
	run_mode(X86_MODE_VM86, RUNS / 12);
}

/* Runs after the test above. */
static void test_all_forms_were_met(void **state)
{
	static const uint16_t ops[] = {
		X86_OP_ADD, X86_OP_ADC, X86_OP_SUB, X86_OP_SBB, X86_OP_CMP,
		X86_OP_INC, X86_OP_DEC, X86_OP_NEG, X86_OP_AND, X86_OP_OR,
		X86_OP_XOR, X86_OP_NOT, X86_OP_TEST, X86_OP_SHL, X86_OP_SHR,
		X86_OP_SAR, X86_OP_ROL, X86_OP_ROR, X86_OP_IMUL, X86_OP_BT, X86_OP_MUL,
		X86_OP_IMUL1, X86_OP_DIV, X86_OP_IDIV, X86_OP_BSF, X86_OP_BSR,
		X86_OP_BTS, X86_OP_BTR, X86_OP_BTC, X86_OP_MOV, X86_OP_MOVZX,
		X86_OP_MOVSX, X86_OP_LEA, X86_OP_XCHG, X86_OP_XADD,
		X86_OP_CMPXCHG, X86_OP_CMOVCC, X86_OP_SETCC, X86_OP_CBW,
		X86_OP_CWD, X86_OP_PUSH, X86_OP_POP, X86_OP_LEAVE, X86_OP_JMP,
		X86_OP_CALL, X86_OP_RET, X86_OP_JCC, X86_OP_NOP,
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (seen[ops[i]] < 100)
			fail_msg("%s: %u", x86_op_name(ops[i]), seen[ops[i]]);
}

/* What has rules of the driver's has no form that forgets them. */
static void test_no_form_forgets(void **state)
{
	static const struct { uint8_t n, code[4]; } t[] = {
		{ 1, { 0xf4 } },			/* hlt: privilege */
		{ 2, { 0x0f, 0x31 } },			/* rdtsc: intercept */
		{ 2, { 0x0f, 0x0b } },			/* ud2 */
		{ 3, { 0x0f, 0xc7, 0xf0 } },		/* rdrand: feature */
		{ 3, { 0x0f, 0x00, 0xd0 } },		/* lldt */
		{ 2, { 0x0f, 0xa2 } },			/* cpuid: intercept */
		{ 2, { 0xf3, 0x90 } },			/* pause: intercept */
		{ 1, { 0x9d } },			/* popf: intercept */
	};
	struct x86_insn insn;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(x86_decode(&insn, t[i].code, t[i].n,
					    X86_MODE_PROT64), X86_DECODE_OK);
		assert_ptr_equal(x86_emulate_resolve(&insn), x86_emulate_insn);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fast_is_generic),
		cmocka_unit_test(test_all_forms_were_met),
		cmocka_unit_test(test_no_form_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
