// SPDX-License-Identifier: MIT
/*
 * One instruction of the emulator in any state: registers, flags, segments, control
 * registers, page rights and memory from the input, in every mode. What must hold:
 *
 *   - the result is one of enum x86emul; a fault is one of the architecture's;
 *   - after anything but CONTINUE, registers, rip, flags, segments, FPU and memory
 *     are as before; a string instruction may be at an iteration boundary, and
 *     descriptors may have been marked accessed or busy;
 *   - the resolved form of an instruction does what its generic form does.
 *
 * The owner is the one of the unit tests (tests/unit/emul/harness.h), on flat memory
 * of NR_PAGES pages, each with rights of its own; beyond, all is #PF.
 */
#include "base/access.h"
#include "input.h"
#include "unit/emul/fpu_owner.h"

#define NR_PAGES	16u
#define MEM		(NR_PAGES * PAGE_SIZE)

static struct vm *generic[X86_MODE_PROT64 + 1], *fast[X86_MODE_PROT64 + 1];
static struct x86_emulate_ctxt fresh[X86_MODE_PROT64 + 1];
static uint8_t memory[MEM];

static int op_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	*val = nr == 0 ? c->cr0 : nr == 2 ? c->cr2 : nr == 3 ? c->cr3 :
	       nr == 4 ? c->cr4 : 7;
	return X86EMUL_CONTINUE;
}

static int op_set_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	return X86EMUL_CONTINUE;
}

static int op_get_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t *val)
{
	*val = msr * 0x9e3779b97f4a7c15;
	return X86EMUL_CONTINUE;
}

static int op_set_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t val)
{
	return X86EMUL_CONTINUE;
}

static int op_task_switch(struct x86_emulate_ctxt *c, uint16_t sel, int reason,
			  bool has_error_code, uint32_t error_code)
{
	return X86EMUL_INTERCEPTED;
}

static struct vm *new_vm(enum x86_mode mode)
{
	struct vm *vm = vm_new(mode);

	vm->c.fpu = &fpu_guest;
	vm->ops.get_fpu = fpu_owner_get;
	vm->ops.put_fpu = fpu_owner_put;
	vm->ops.get_cr = op_cr;
	vm->ops.set_cr = op_set_cr;
	vm->ops.get_dr = op_cr;
	vm->ops.set_dr = op_set_cr;
	vm->ops.get_msr = op_get_msr;
	vm->ops.set_msr = op_set_msr;
	vm->ops.set_xcr = op_set_msr;
	vm->ops.task_switch = op_task_switch;
	return vm;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	FUZZ_CHECK(!host_access_init());
	for (int m = X86_MODE_REAL; m <= X86_MODE_PROT64; m++) {
		generic[m] = new_vm(m);
		fast[m] = new_vm(m);
		fresh[m] = generic[m]->c;
	}
	return 0;
}

/* --- state from the input -------------------------------------------------------- */

static uint64_t address(struct fuzz_input *in)
{
	return fuzz_value(in, 0) & (fuzz_below(in, 8) ? 0x1fffff : ~0ull);
}

static void random_segments(struct fuzz_input *in, struct x86_emulate_ctxt *c)
{
	bool is64 = c->mode == X86_MODE_PROT64;

	for (unsigned i = X86_ES; i <= X86_GS; i++) {
		struct x86_segment *s = &c->seg[i];
		uint8_t kind = fuzz_u8(in);

		s->selector = fuzz_u16(in);
		if (kind & 1 || (is64 && i >= X86_FS))
			s->base = is64 ? address(in) : (uint32_t)address(in);
		if (c->mode <= X86_MODE_VM86)
			continue;
		if (kind & 2)
			s->limit = fuzz_u16(in);
		if (kind & 4 && i != X86_CS && i != X86_SS)
			s->ar ^= fuzz_below(in, 16) & ~X86_AR_A;
		if (kind & 8 && i == X86_SS)
			s->ar |= X86_AR_DPL;
		if (kind & 16 && i != X86_CS && i != X86_SS)
			s->ar |= X86_AR_UNUSABLE;
	}
	if (c->mode >= X86_MODE_PROT16)
		c->seg[X86_CS].selector = (c->seg[X86_CS].selector & ~3u) |
			(c->seg[X86_SS].ar & X86_AR_DPL ? 3 : 0);
	c->gdt.base = address(in);
	c->gdt.limit = fuzz_u16(in);
	c->idt.base = address(in);
	c->idt.limit = fuzz_u16(in);
	c->seg[X86_TR].base = address(in);
	c->seg[X86_TR].limit = fuzz_u8(in);
	c->seg[X86_LDTR].base = address(in);
	c->seg[X86_LDTR].limit = fuzz_u8(in);
	c->seg[X86_LDTR].ar = fuzz_u8(in) & 1 ? X86_AR_UNUSABLE :
			      X86_AR_P | X86_LDT;
}

static void random_control(struct fuzz_input *in, struct x86_emulate_ctxt *c)
{
	c->cr0 ^= fuzz_u8(in) & (X86_CR0_EM | X86_CR0_TS | X86_CR0_MP | X86_CR0_NE);
	c->cr4 ^= fuzz_u64(in) & (X86_CR4_TSD | X86_CR4_PCE | X86_CR4_UMIP |
		X86_CR4_FSGSBASE | X86_CR4_VME | X86_CR4_PVI | X86_CR4_DE |
		X86_CR4_OSXSAVE | X86_CR4_OSXMMEXCPT);
	c->xcr0 = X86_XCR0_X87 | (fuzz_u8(in) & (X86_XCR0_SSE | X86_XCR0_AVX));
	c->efer ^= fuzz_u8(in) & X86_EFER_SCE;
	c->eflags = (c->eflags & X86_EFLAGS_VM) | X86_EFLAGS_FIXED |
		(fuzz_u64(in) & (X86_EFLAGS_STATUS | X86_EFLAGS_DF | X86_EFLAGS_IF |
				 X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_AC |
				 X86_EFLAGS_TF | X86_EFLAGS_RF));
	c->vendor_amd = fuzz_u8(in) & 1;
}

static void random_state(struct fuzz_input *in, struct x86_emulate_ctxt *c)
{
	bool is64 = c->mode == X86_MODE_PROT64;

	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		c->gpr[i] = is64 ? address(in) : i < 8 ? (uint32_t)address(in) : 0;
	random_control(in, c);
	random_segments(in, c);
	emul_update_mode(c);
	c->rip = fuzz_below(in, 8) || c->mode <= X86_MODE_VM86 ? VM_CODE :
		 is64 ? 0x7ffffffffff0 : 0xfffffff8;
	c->rep_limit = 64;
}

static void random_memory(struct fuzz_input *in, struct vm *vm)
{
	uint64_t s = fuzz_u64(in) | 1;

	for (unsigned i = 0; i < MEM; i += 8) {
		s = s * 6364136223846793005 + 1442695040888963407;
		memcpy(memory + i, &s, 8);
	}
	for (unsigned i = 0; i < 8; i++)
		memory[(fuzz_u16(in)) % MEM] = fuzz_u8(in);
	memset(vm->prot, 0, sizeof(vm->prot));
	memset(vm->prot, VM_PROT_R | VM_PROT_W, NR_PAGES);
	for (unsigned i = fuzz_below(in, 4); i; i--)
		vm->prot[fuzz_below(in, NR_PAGES)] = fuzz_below(in, 2);
}

/* --- what must hold ---------------------------------------------------------------- */

static void describe(const struct vm *vm, int rc, const char *what)
{
	fprintf(stderr, "%s, mode %u, rc %d, vector %u, bytes:", vm->insn.row->mnemonic,
		vm->insn.mode, rc, vm->c.exception.vector);
	for (unsigned i = 0; i < vm->insn.len; i++)
		fprintf(stderr, " %02x", vm->insn.bytes[i]);
	fputc('\n', stderr);
	FUZZ_FAIL("%s", what);
}

/* Stores of several pieces that may fault between two: docs/errata.md. */
static bool stores_in_pieces(const struct x86_insn *i)
{
	static const char *const names[] = { "fxsave", "xsave", "xsaveopt", "xsavec",
		"xsaves", "fnsave", "maskmovq", "maskmovdqu", "call far" };

	for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
		if (!strncmp(i->row->mnemonic, names[k], strlen(names[k])))
			return true;
	return false;
}

static bool same_segments(const struct x86_emulate_ctxt *a,
			  const struct x86_emulate_ctxt *b)
{
	for (unsigned i = 0; i < X86_NR_SEGS; i++) {
		const struct x86_segment *s = &a->seg[i], *t = &b->seg[i];

		if (s->base != t->base || s->limit != t->limit ||
		    s->ar != t->ar || s->selector != t->selector)
			return false;
	}
	return true;
}

/* By number, not from TOP: processors make TOP 0 for MMX before they look for #XM. Not
 * XMM, which code built for the sanitizers uses itself meanwhile. */
static bool same_x87(const struct x86_fpu *a, const struct x86_fpu *b)
{
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(a->fx.st[(i - (a->fx.fsw >> 11)) & 7].b,
			   b->fx.st[(i - (b->fx.fsw >> 11)) & 7].b, 10))
			return false;
	return true;
}

static bool is_memory_kept(const struct vm *vm)
{
	unsigned marks = 0;

	if (!memcmp(vm->mem, memory, MEM))
		return true;
	if (vm->insn.row->attr & I_REP || stores_in_pieces(&vm->insn))
		return true;
	for (unsigned i = 0; i < MEM; i++) {
		uint8_t diff = vm->mem[i] ^ memory[i];

		if (diff & ~3 || (diff && ++marks > 4))
			return false;
	}
	return true;
}

static void check_no_trace(const struct vm *vm, const struct x86_emulate_ctxt *was,
			   const struct x86_fpu *fpu, int rc)
{
	const struct x86_emulate_ctxt *c = &vm->c;

	if (rc == X86EMUL_PROPAGATE_FAULT && c->exception.vector > X86_CP)
		describe(vm, rc, "no such exception");
	if (c->rip != was->rip)
		describe(vm, rc, "rip has moved");
	if (!(vm->insn.row->attr & I_REP) &&
	    (c->eflags != was->eflags || memcmp(c->gpr, was->gpr, sizeof(c->gpr))))
		describe(vm, rc, "registers have changed");
	if (!same_segments(c, was))
		describe(vm, rc, "segments have changed");
	if (!stores_in_pieces(&vm->insn) && !same_x87(&fpu_guest, fpu))
		describe(vm, rc, "FPU registers have changed");
	if (!is_memory_kept(vm))
		describe(vm, rc, "memory has changed");
}

static int run(struct vm *vm, const struct vm *from, x86_exec_fn fn,
	       const struct x86_fpu *fpu)
{
	int rc;

	vm->insn = from->insn;
	memcpy(vm->prot, from->prot, sizeof(vm->prot));
	memcpy(vm->mem, memory, MEM);
	fpu_guest = *fpu;
	vm->c.fpu_ptr.valid = false;
	vm->c.ops = &vm->ops;
	vm->c.features = vm->features;
	vm->c.tlb = vm->tlb;
	vm->c.insn = &vm->insn;
	vm->io_bytes = 0;
	memset(&vm->c.exception, 0, sizeof(vm->c.exception));
	rc = fn(&vm->c);
	if (rc < X86EMUL_CONTINUE || rc > X86EMUL_HOST_ERROR)
		describe(vm, rc, "no such result");
	return rc;
}

static void check_same(const struct vm *a, const struct vm *b, int ra, int rb)
{
	if (ra != rb || a->c.rip != b->c.rip || a->c.eflags != b->c.eflags ||
	    a->c.shadow != b->c.shadow || a->c.mode != b->c.mode ||
	    memcmp(a->c.gpr, b->c.gpr, sizeof(a->c.gpr)) ||
	    !same_segments(&a->c, &b->c) ||
	    memcmp(a->mem, b->mem, MEM))
		describe(b, rb, "the resolved form differs");
	if (ra == X86EMUL_PROPAGATE_FAULT &&
	    (a->c.exception.vector != b->c.exception.vector ||
	     a->c.exception.error_code != b->c.exception.error_code ||
	     a->c.exception.address != b->c.exception.address))
		describe(b, rb, "the resolved form faults differently");
}

static void random_fpu(struct fuzz_input *in, struct x86_fpu *fpu)
{
	memset(fpu, 0, sizeof(*fpu));
	fpu->fx.fcw = X86_FCW_INIT;
	fpu->fx.mxcsr = X86_MXCSR_INIT;
	if (fuzz_below(in, 4))
		return;
	fpu->fx.fcw = fuzz_u16(in) & 0x1f7f;
	fpu->fx.fsw = fuzz_u16(in);
	fpu->fx.ftw = fuzz_u8(in);
	fpu->fx.mxcsr = fuzz_u16(in);
	fuzz_bytes(in, fpu->fx.st[fuzz_below(in, 8)].b, 10);
	fuzz_bytes(in, fpu->fx.xmm[fuzz_below(in, 16)].b, 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in;
	uint8_t code[X86_MAX_INSN_LEN];
	struct x86_emulate_ctxt was;
	struct x86_fpu fpu;
	struct vm *a, *b;
	x86_exec_fn fn;
	int mode, ra, rb;

	fuzz_begin(&in, data, size);
	mode = fuzz_below(&in, X86_MODE_PROT64 + 1);
	fuzz_bytes(&in, code, sizeof(code));
	a = generic[mode];
	b = fast[mode];
	if (x86_decode(&a->insn, code, sizeof(code), mode) != X86_DECODE_OK)
		return -1;
	a->c = fresh[mode];
	random_state(&in, &a->c);
	random_memory(&in, a);
	random_fpu(&in, &fpu);
	a->c.tlb_key = b->c.tlb_key = 1;
	memset(a->tlb, 0, sizeof(a->tlb));
	memset(b->tlb, 0, sizeof(b->tlb));
	a->c.mode = mode;
	was = a->c;
	ra = run(a, a, x86_emulate_insn, &fpu);
	if (ra != X86EMUL_CONTINUE)
		check_no_trace(a, &was, &fpu, ra);
	fn = x86_emulate_resolve(&a->insn);
	if (fn == x86_emulate_insn)
		return 0;
	/* Twice: with the translation cache cold and warm. */
	for (unsigned i = 0; i < 2; i++) {
		b->c = was;
		rb = run(b, a, fn, &fpu);
		check_same(a, b, ra, rb);
	}
	return 0;
}
