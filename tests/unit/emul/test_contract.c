// SPDX-License-Identifier: MIT
/*
 * The emulator's contract under hostile input: random instructions of the integer and
 * system families with random registers, segments, descriptor tables and control
 * registers. Nothing crashes (run it under ASan), the result is one of the enum, and
 * an instruction that did not complete has left general registers, rip, flags and
 * segments as they were; string instructions may be at an iteration boundary.
 */
#include "harness.h"
#include "random.h"

#define RUNS 600000u

static unsigned completed, faulted;

static bool is_string(const struct x86_insn *i)
{
	return i->row->attr & I_REP;
}

static void random_system(struct x86_emulate_ctxt *c)
{
	c->gdt.base = rnd() & 7 ? 0x10000 : random_value();
	c->gdt.limit = rnd();
	c->idt.base = rnd() & 7 ? 0x11000 : random_value();
	c->idt.limit = rnd();
	c->seg[X86_TR].base = 0x12000 + rnd() % 0x1000;
	c->seg[X86_TR].limit = rnd() % 0x200;
	c->seg[X86_LDTR].base = 0x14000;
	c->seg[X86_LDTR].limit = rnd() % 0x1000;
	c->seg[X86_LDTR].ar = rnd() & 1 ? X86_AR_UNUSABLE : X86_AR_P | X86_LDT;
	c->cr4 ^= rnd() & (X86_CR4_TSD | X86_CR4_PCE | X86_CR4_UMIP |
			   X86_CR4_FSGSBASE | X86_CR4_VME | X86_CR4_PVI);
	c->eflags |= rnd() & (X86_EFLAGS_IOPL | X86_EFLAGS_IF | X86_EFLAGS_NT);
	if (c->mode >= X86_MODE_PROT16 && rnd() & 1)
		c->seg[X86_SS].ar |= X86_AR_DPL;
	else if (c->mode >= X86_MODE_PROT16)
		c->seg[X86_SS].ar &= ~(uint32_t)X86_AR_DPL;
}

static void randomize(struct vm *vm)
{
	struct x86_emulate_ctxt *c = &vm->c;
	unsigned i;

	for (i = 0; i < 16; i++)
		c->gpr[i] = random_value();
	if (c->mode != X86_MODE_PROT64)
		for (i = 0; i < 16; i++)
			c->gpr[i] = i < 8 ? (uint32_t)c->gpr[i] : 0;
	c->eflags = (c->eflags & X86_EFLAGS_VM) | X86_EFLAGS_FIXED |
		    (rnd() & (X86_EFLAGS_STATUS | X86_EFLAGS_DF));
	random_segments(c);
	random_system(c);
	emul_update_mode(c);
	c->rip = VM_CODE;
	c->rep_limit = 64;
	memset(&c->exception, 0xee, sizeof(c->exception));
}

static void check_untouched(const struct vm *vm,
			    const struct x86_emulate_ctxt *was, int rc)
{
	const struct x86_emulate_ctxt *c = &vm->c;
	bool bad;

	if (is_string(&vm->insn))
		bad = c->rip != was->rip;
	else
		bad = c->rip != was->rip || c->eflags != was->eflags ||
		      memcmp(c->gpr, was->gpr, sizeof(c->gpr)) ||
		      memcmp(c->seg, was->seg, sizeof(c->seg));
	if (rc == X86EMUL_PROPAGATE_FAULT && c->exception.vector > X86_CP)
		bad = true;
	if (bad)
		fail_msg("%s (%02x %02x %02x %02x) mode %u: rc %d vector %u left a trace",
			 vm->insn.row->mnemonic, vm->insn.bytes[0],
			 vm->insn.bytes[1], vm->insn.bytes[2],
			 vm->insn.bytes[3], was->mode, rc, c->exception.vector);
}

static void one(struct vm *vm)
{
	struct x86_emulate_ctxt was;
	uint8_t code[X86_MAX_INSN_LEN];
	int rc;

	random_code(code);
	if (x86_decode(&vm->insn, code, sizeof(code), vm->c.mode) !=
	    X86_DECODE_OK || vm->insn.row->op >= X86_OP_X87)
		return;
	randomize(vm);
	vm->c.insn = &vm->insn;
	was = vm->c;
	rc = rnd() & 1 ? x86_emulate_insn(&vm->c) :
			 x86_emulate_resolve(&vm->insn)(&vm->c);
	assert_in_range(rc, X86EMUL_CONTINUE, X86EMUL_HOST_ERROR);
	if (rc == X86EMUL_CONTINUE) {
		completed++;
	} else {
		faulted++;
		check_untouched(vm, &was, rc);
	}
}

static void run_mode(enum x86_mode mode, unsigned runs)
{
	struct vm *vm = vm_new(mode);
	struct x86_emulate_ctxt fresh = vm->c;
	unsigned i;

	for (i = 0; i < RANDOM_MEM; i++)
		vm->mem[i] = rnd();
	for (i = RANDOM_MEM / PAGE_SIZE; i < ARRAY_SIZE(vm->prot); i++)
		vm->prot[i] = 0;
	vm->prot[0xa] = VM_PROT_R;
	vm->prot[0xc] = 0;
	while (runs--) {
		one(vm);
		vm->c = fresh;	/* an instruction may have changed the mode */
		vm->io_bytes = 0;
	}
	vm_free(vm);
}

static void test_contract(void **state)
{
	run_mode(X86_MODE_PROT64, RUNS / 3);
	run_mode(X86_MODE_PROT32, RUNS / 3);
	run_mode(X86_MODE_PROT16, RUNS / 9);
	run_mode(X86_MODE_REAL, RUNS / 9);
	run_mode(X86_MODE_VM86, RUNS / 9);
	/* Both kinds have been seen in number. */
	assert_true(completed > RUNS / 10);
	assert_true(faulted > RUNS / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
