// SPDX-License-Identifier: MIT
/*
 * x87, MMX and SSE instructions against the host's processor: random encodings of
 * every row, random registers, FPU state and memory, once emulated and once straight
 * on the host. All registers, status flags, the FXSAVE image and memory must agree;
 * only the pointers to the last x87 instruction are the emulator's own.
 *
 * The host's run is FXRSTOR, the instruction, FXSAVE in one piece of code, so that
 * no compiled code sees the state.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emul/host_stub.h"
#include "fpu_owner.h"
#include "host_run.h"
#include "random.h"

#define BUF_SIZE 512

static uint8_t buffer[BUF_SIZE] __attribute__((aligned(64)));
static uint8_t before[BUF_SIZE], emulated[BUF_SIZE];
static struct x86_fxsave start __attribute__((aligned(16)));
static struct x86_fxsave want __attribute__((aligned(16)));

static uint64_t value(void)
{
	static const uint64_t edge[] = {
		0, 1, ~0ull, 0x3ff0000000000000, 0x7ff0000000000000,
		0x7ff8000000000000, 0x3f8000003f800000, 0x7f8000007f800000,
		0x8000000000000000, 0x0010000000000000, 0x4000000000000000,
	};

	return rnd() % 3 ? rnd() : edge[rnd() % ARRAY_SIZE(edge)];
}

static void random_state(void)
{
	uint64_t v;
	unsigned i;

	memset(&start, 0, sizeof(start));
	start.fcw = 0x37f | (rnd() & 0xc00);
	start.fsw = rnd() & 0x7f3f;
	start.ftw = rnd() % 3 ? rnd() : 0xff;
	start.mxcsr = X86_MXCSR_INIT | (rnd() & 0xe03f);
	for (i = 0; i < 8; i++) {
		v = value();
		memcpy(start.st[i].b, &v, 8);
		v = rnd() & 1 ? 0x3ff0 + rnd() % 64 : rnd() & 0xffff;
		memcpy(start.st[i].b + 8, &v, 2);
	}
	for (i = 0; i < 32; i++) {
		v = value();
		memcpy(start.xmm[i / 2].b + i % 2 * 8, &v, 8);
	}
	for (i = 0; i < BUF_SIZE; i += 8) {
		v = value();
		memcpy(before + i, &v, 8);
	}
}

/* Random bytes of one instruction, operands at [rsi + disp8]. */
static unsigned make(uint8_t *b)
{
	static const uint8_t pfx[] = { 0x66, 0xf2, 0xf3 };
	unsigned n = 0, kind = rnd() % 8;

	if (kind == 0) {
		b[n++] = 0xd8 + rnd() % 8;
	} else {
		if (rnd() % 4)
			b[n++] = pfx[rnd() % 3];
		if (rnd() & 1)
			b[n++] = 0x40 | (rnd() & 0xd);
		b[n++] = 0x0f;
		if (kind > 4)
			b[n++] = kind & 1 ? 0x38 : 0x3a;
		b[n++] = rnd();
	}
	b[n] = rnd();
	if (b[n] < 0xc0) {
		b[n] = 0x40 | (b[n] & 0x38) | X86_RSI;
		b[++n] = rnd() % 8 * 16;
	}
	b[++n] = rnd();
	return n + 1;
}

/* The registers that the test itself needs must not be operands. */
static bool is_usable(const struct x86_insn *i)
{
	if (i->row->op != X86_OP_SIMD && i->row->op != X86_OP_X87)
		return false;
	/* REX.B; or the random opcode was an escape, and what follows shifted. */
	if (i->mod != 3 && (i->base != X86_RSI || i->index != X86_REG_NONE ||
			    i->disp < 0 || i->disp & 15 || i->adsize != 8))
		return false;
	return !has_taken_operand(i);
}

static bool host_has(enum x86_feature f)
{
	static const struct { uint32_t leaf, sub, reg, bit; } where[] = {
		{ 0 },
#define A 0
#define B 1
#define C 2
#define D 3
#define FEATURE(name, leaf, sub, reg, bit) { leaf, sub, reg, bit },
#include "x86/features.def"
#undef FEATURE
	};
	uint32_t r[4];

	if (f == X86_FEATURE_NONE)
		return true;
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "0"(where[f].leaf), "2"(where[f].sub));
	return r[where[f].reg] >> where[f].bit & 1;
}

static void on_host(struct host_regs *r, const uint8_t *insn, unsigned n)
{
	static const uint8_t load[] = { 0x49, 0x0f, 0xae, 0x0f };
	static const uint8_t save[] = { 0x49, 0x0f, 0xae, 0x06 };
	uint8_t code[32];

	memcpy(code, load, 4);
	memcpy(code + 4, insn, n);
	memcpy(code + 4 + n, save, 4);
	r->gpr[X86_R14] = (uintptr_t)&want;
	r->gpr[X86_R15] = (uintptr_t)&start;
	__asm__ volatile("fxsave64 %0" : "=m"(fpu_host.fx));
	host_run(r, code, n + 8);
	__asm__ volatile("fxrstor64 %0" : : "m"(fpu_host.fx));
}

static void clear_pointers(struct x86_fxsave *fx)
{
	fx->fip = 0;
	fx->fdp = 0;
	fx->fop = 0;
}

static void one(struct vm *vm, const struct x86_insn *i)
{
	struct host_regs in = { .eflags = 2 | (rnd() & X86_EFLAGS_STATUS) }, r;
	unsigned k;
	int rc;

	random_state();
	for (k = 0; k < 16; k++)
		in.gpr[k] = value();
	in.gpr[X86_RSI] = (uintptr_t)buffer + 128;

	memcpy(buffer, before, BUF_SIZE);
	memcpy(vm->c.gpr, in.gpr, sizeof(in.gpr));
	vm->c.eflags = in.eflags;
	vm->c.rip = VM_CODE;
	fpu_guest.fx = start;
	rc = vm_run(vm, i->bytes, i->len);
	memcpy(emulated, buffer, BUF_SIZE);

	memcpy(buffer, before, BUF_SIZE);
	r = in;
	on_host(&r, i->bytes, i->len);
	clear_pointers(&want);
	clear_pointers(&fpu_guest.fx);
	vm->c.gpr[X86_R14] = r.gpr[X86_R14];
	vm->c.gpr[X86_R15] = r.gpr[X86_R15];
	vm->c.gpr[X86_RSP] = r.gpr[X86_RSP];
	if (rc || memcmp(vm->c.gpr, r.gpr, sizeof(r.gpr)) ||
	    ((vm->c.eflags ^ r.eflags) & X86_EFLAGS_STATUS) ||
	    memcmp(&fpu_guest.fx, &want, 416) ||
	    memcmp(emulated, buffer, BUF_SIZE)) {
		for (k = 0; k < i->len; k++)
			fprintf(stderr, "%02x ", i->bytes[k]);
		fail_msg("%s: %d vector %u, gpr %d flags %lx/%lx fx %d mem %d",
			 i->row->mnemonic, rc, vm->c.exception.vector,
			 memcmp(vm->c.gpr, r.gpr, sizeof(r.gpr)), vm->c.eflags,
			 r.eflags, memcmp(&fpu_guest.fx, &want, 416),
			 memcmp(emulated, buffer, BUF_SIZE));
	}
}

static void agrees_with_the_host(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	static uint16_t seen[4096];
	unsigned k, rows = 0, missed = 0;
	uint8_t bytes[16];
	struct x86_insn i;

	vm->identity = true;
	for (k = 0; k < 400000; k++) {
		make(bytes);
		if (x86_decode(&i, bytes, 15, X86_MODE_PROT64) ||
		    !is_usable(&i) || seen[i.row->id] >= 120 ||
		    !host_has(i.row->feature))
			continue;
		if (!seen[i.row->id]++)
			rows++;
		one(vm, &i);
	}
	for (k = 0; k < x86_nr_rows; k++)
		if ((x86_rows[k]->op == X86_OP_SIMD ||
		     x86_rows[k]->op == X86_OP_X87) && !seen[k] &&
		    host_has(x86_rows[k]->feature)) {
			fprintf(stderr, "never met: %s\n", x86_rows[k]->mnemonic);
			missed++;
		}
	assert_int_equal(missed, 0);
	assert_true(rows > 450);
	vm_free(vm);
}

/* --- faults ------------------------------------------------------------------ */

static void checks_of_control_registers(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	vm->c.cr0 |= X86_CR0_TS;
	assert_fault(VM_RUN(vm, 0x0f, 0x58, 0xc1), vm, X86_NM);	/* ADDPS */
	assert_fault(VM_RUN(vm, 0x0f, 0xfc, 0xc1), vm, X86_NM);	/* PADDB mm */
	assert_fault(VM_RUN(vm, 0x0f, 0x77), vm, X86_NM);	/* EMMS */
	vm->c.cr0 ^= X86_CR0_TS | X86_CR0_EM;
	assert_fault(VM_RUN(vm, 0x0f, 0x58, 0xc1), vm, X86_UD);
	assert_fault(VM_RUN(vm, 0x0f, 0xfc, 0xc1), vm, X86_UD);
	vm->c.cr0 ^= X86_CR0_EM;
	vm->c.cr4 &= ~X86_CR4_OSFXSR;
	assert_fault(VM_RUN(vm, 0x0f, 0x58, 0xc1), vm, X86_UD);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xfc, 0xc1), X86EMUL_CONTINUE);
	vm_free(vm);
}

static void alignment(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);

	vm->c.gpr[X86_RSI] = VM_DATA + 8;
	assert_fault_code(VM_RUN(vm, 0x0f, 0x28, 0x06), vm, X86_GP, 0);	/* MOVAPS */
	assert_fault_code(VM_RUN(vm, 0x66, 0x0f, 0xfe, 0x06), vm, X86_GP, 0);
	assert_fault_code(VM_RUN(vm, 0x0f, 0x29, 0x06), vm, X86_GP, 0);
	assert_int_equal(VM_RUN(vm, 0x0f, 0x10, 0x06), X86EMUL_CONTINUE);
	vm_free(vm);
}

/* A store that faults, and a load: nothing has changed. */
static void page_faults(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	struct x86_fpu old;

	fpu_guest.fx.xmm[0].b[3] = 7;
	vm->c.gpr[X86_RSI] = VM_DATA;
	vm_protect(vm, VM_DATA, VM_PROT_R);
	old = fpu_guest;
	assert_fault(VM_RUN(vm, 0x0f, 0x29, 0x06), vm, X86_PF);
	assert_memory_equal(old.fx.xmm, fpu_guest.fx.xmm, 256);
	/* An MMX store that faults has not taken the x87 registers either. */
	fpu_guest.fx.fsw = 3 << 11;
	assert_fault(VM_RUN(vm, 0x0f, 0x7f, 0x06), vm, X86_PF);
	assert_int_equal(fpu_guest.fx.fsw, 3 << 11);
	assert_int_equal(fpu_guest.fx.ftw, 0);
	vm_protect(vm, VM_DATA, 0);
	assert_fault(VM_RUN(vm, 0x0f, 0x28, 0x06), vm, X86_PF);
	assert_memory_equal(old.fx.xmm, fpu_guest.fx.xmm, 256);
	vm_free(vm);
}

static void unmasked_simd_exception(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	static const double one = 1;

	memcpy(fpu_guest.fx.xmm[0].b, &one, 8);
	fpu_guest.fx.mxcsr = X86_MXCSR_INIT & ~0x200u;	/* divide by zero */
	assert_fault(VM_RUN(vm, 0xf2, 0x0f, 0x5e, 0xc1), vm, X86_XM);
	assert_memory_equal(fpu_guest.fx.xmm[0].b, &one, 8);
	assert_true(fpu_guest.fx.mxcsr & 4);
	vm->c.cr4 &= ~X86_CR4_OSXMMEXCPT;
	assert_fault(VM_RUN(vm, 0xf2, 0x0f, 0x5e, 0xc1), vm, X86_UD);
	vm_free(vm);
}

/* --- the others ----------------------------------------------------------------- */

static void mxcsr(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT32);

	vm->c.gpr[X86_RSI] = VM_DATA;
	vm_put(vm, VM_DATA, 0x7f80, 4);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x16), X86EMUL_CONTINUE);
	assert_int_equal(fpu_guest.fx.mxcsr, 0x7f80);
	assert_int_equal(VM_RUN(vm, 0x0f, 0xae, 0x5e, 0x04), X86EMUL_CONTINUE);
	assert_int_equal(vm_get(vm, VM_DATA + 4, 4), 0x7f80);
	vm_put(vm, VM_DATA, 0x17f80, 4);
	assert_fault_code(VM_RUN(vm, 0x0f, 0xae, 0x16), vm, X86_GP, 0);
	assert_int_equal(fpu_guest.fx.mxcsr, 0x7f80);
	vm_free(vm);
}

static void maskmov(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	unsigned i;

	for (i = 0; i < 16; i++) {
		fpu_guest.fx.xmm[1].b[i] = i + 1;
		fpu_guest.fx.xmm[2].b[i] = i % 3 ? 0 : 0x80;
		vm_put(vm, VM_DATA + 3 + i, 0xee, 1);
	}
	vm->c.gpr[X86_RDI] = VM_DATA + 3;
	assert_int_equal(VM_RUN(vm, 0x66, 0x0f, 0xf7, 0xca), X86EMUL_CONTINUE);
	for (i = 0; i < 16; i++)
		assert_int_equal(vm_get(vm, VM_DATA + 3 + i, 1),
				 i % 3 ? 0xee : i + 1);
	vm->c.gpr[X86_RDI] = VM_MEM_SIZE;
	assert_fault(VM_RUN(vm, 0x66, 0x0f, 0xf7, 0xca), vm, X86_PF);
	vm_free(vm);
}

/* More encodings than there are stubs: still the right answers. */
static void more_encodings_than_stubs(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	unsigned imm, d, s;
	uint32_t got;

	for (d = 0; d < 16; d++)
		for (s = 0; s < 5; s++)
			for (imm = 0; imm < 256; imm++) {
				fpu_reset(vm);
				fpu_guest.fx.xmm[s].b[0] = imm;
				fpu_guest.fx.xmm[s].b[4 * (imm & 3)] = 0x5a;
				/* PSHUFD xmm, xmm, imm */
				assert_int_equal(VM_RUN(vm, 0x66,
					0x40 | d >> 3 << 2, 0x0f, 0x70,
					0xc0 | (d & 7) << 3 | s, imm), 0);
				memcpy(&got, fpu_guest.fx.xmm[d].b, 4);
				assert_int_equal(got, 0x5a);
			}
	vm_free(vm);
}

/* --- processes and threads ------------------------------------------------------ */

/* 256 encodings of PSHUFHW that @dst picks, each twice; whether all were right. */
static bool shuffles_are_right(struct vm *vm, unsigned dst)
{
	unsigned imm, again;

	for (again = 0; again < 2; again++)
		for (imm = 0; imm < 256; imm++) {
			fpu_reset(vm);
			memset(fpu_guest.fx.xmm[dst].b, 0, 16);
			fpu_guest.fx.xmm[1].b[8 + 2 * (imm & 3)] = 0xa5;
			if (VM_RUN(vm, 0xf3, 0x0f, 0x70, 0xc1 | dst << 3, imm) ||
			    fpu_guest.fx.xmm[dst].b[8] != 0xa5)
				return false;
		}
	return true;
}

/* After fork() both processes make new stubs and have the old ones. */
static void fork_has_its_own_stubs(void **state)
{
	struct vm *vm = fpu_vm(X86_MODE_PROT64);
	int status;
	pid_t pid;

	assert_true(shuffles_are_right(vm, 2));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(!(shuffles_are_right(vm, 3) && shuffles_are_right(vm, 2)));
	assert_true(shuffles_are_right(vm, 4));
	assert_true(shuffles_are_right(vm, 2));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(shuffles_are_right(vm, 3));
	vm_free(vm);
}

static void *run_stubs(void *arg)
{
	struct host_insn h = { .len = 4 };
	struct stub_regs *r = arg;
	struct host_stub stub;
	uintptr_t bad = 0;
	unsigned k;

	/* lea eax, [rcx + k]: an instruction that needs no FPU. */
	for (k = 0; k < 128; k++) {
		memcpy(h.bytes, (uint8_t[]){ 0x67, 0x8d, 0x41, k }, 4);
		r->rcx = 1000;
		if (host_stub_get(&h, &stub))
			return (void *)1;
		if (host_stub_run(&stub, r) || r->rax != 1000 + k)
			bad++;
		host_stub_put(&stub);
	}
	return (void *)bad;
}

static void threads_share_stubs(void **state)
{
	struct stub_regs regs[4] = { 0 };
	pthread_t t[4];
	void *bad;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, run_stubs,
						&regs[i]), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_host),
		cmocka_unit_test(checks_of_control_registers),
		cmocka_unit_test(alignment),
		cmocka_unit_test(page_faults),
		cmocka_unit_test(unmasked_simd_exception),
		cmocka_unit_test(mxcsr),
		cmocka_unit_test(maskmov),
		cmocka_unit_test(fork_has_its_own_stubs),
		cmocka_unit_test(threads_share_stubs),
		cmocka_unit_test(more_encodings_than_stubs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
