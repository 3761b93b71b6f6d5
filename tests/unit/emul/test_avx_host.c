// SPDX-License-Identifier: MIT
/*
 * Every row with VEX or EVEX that the host has, against the host: random encodings
 * made from the row, random registers, masks, MXCSR and memory, once emulated and
 * once straight on the host. General registers, status flags, the whole XSAVE image,
 * memory and the kind of fault must agree, also after a fault.
 *
 * Memory is two pages, of which one may be gone or read-only; the operand is near
 * their border, so that elements which a mask excludes lie where they would fault.
 * The host's run is XRSTOR, the instruction, XSAVE in one piece of code; a signal goes
 * on behind the instruction.
 *
 * ANYKVM_AVX_CASES: cases a row; ANYKVM_AVX_SEED: another sequence.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <ucontext.h>

#include "avx_owner.h"
#include "host_run.h"
#include "isa/rows.h"
#include "random.h"

extern void *host_run_code;

static struct state {
	struct x86_fpu fpu;
	uint64_t in[2], out[2];		/* rAX, rDX around XRSTOR and XSAVE */
} start, want;

static uint8_t *pages, before[2 * PAGE_SIZE], emulated[2 * PAGE_SIZE];
static int prot[2];
static unsigned after;			/* offset of the code behind the insn */
static int seen_signal;
static uint64_t seen_address;
static unsigned faults;

static uint64_t value(void)
{
	static const uint64_t edge[] = {
		0, 1, ~0ull, 0x3ff0000000000000, 0x7ff0000000000000,
		0x7ff8000000000000, 0x3f8000003f800000, 0x7f8000007f800000,
		0x8000000000000000, 0x0010000000000000, 0x4000000000000000,
		0x3c00c0007c00fc00, 0x0001800003ff7e00, 0x4041424344454647,
		0xfff0000000000001, 0xff80000100000001,
	};

	return rnd() % 3 ? rnd() : edge[rnd() % ARRAY_SIZE(edge)];
}

static uint64_t mask_value(void)
{
	switch (rnd() % 6) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return 1ull << rnd() % 16;
	case 3:
		return rnd() & 0xff;
	default:
		return rnd();
	}
}

static void fill(uint8_t *to, unsigned n)
{
	uint64_t v;
	unsigned i;

	for (i = 0; i < n; i += 8) {
		v = value();
		memcpy(to + i, &v, 8);
	}
}

static void random_state(void)
{
	unsigned i, k, at, size;
	uint64_t v;

	memset(&start.fpu, 0, sizeof(start.fpu));
	start.fpu.fx.fcw = X86_FCW_INIT;
	start.fpu.fx.mxcsr = X86_MXCSR_INIT | (rnd() & 0xe03f);
	if (rnd() % 4 == 0)
		start.fpu.fx.mxcsr ^= rnd() & 0x1f80;
	fill((uint8_t *)start.fpu.fx.xmm, 256);
	*avx_xstate_bv(&start.fpu) = avx_components;
	for (i = 2; i < 8; i++) {
		if (!(avx_components >> i & 1))
			continue;
		at = avx_component(i, &size);
		if (i != 5) {
			fill(start.fpu.area + at, size);
			continue;
		}
		for (k = 0; k < size; k += 8) {
			v = mask_value();
			memcpy(start.fpu.area + at + k, &v, 8);
		}
	}
	fill(before, sizeof(before));
}

/* The bytes of vector register @nr that are at @at in it. */
static uint8_t *vector_byte(unsigned nr, unsigned at)
{
	unsigned size;

	if (nr >= 16)
		return start.fpu.area + avx_component(7, &size) + (nr - 16) * 64 + at;
	if (at < 16)
		return start.fpu.fx.xmm[nr].b + at;
	if (at < 32)
		return start.fpu.area + avx_component(2, &size) + nr * 16 + at - 16;
	return start.fpu.area + avx_component(6, &size) + nr * 32 + at - 32;
}

/* Indices of a gather stay near its base. */
static void small_indices(const struct x86_insn *i)
{
	unsigned bytes = i->opcode & 1 ? 8 : 4, k;
	int64_t v;

	for (k = 0; k < (unsigned)MAX(i->veclen, 32); k += bytes) {
		v = (int64_t)(rnd() % 32) - 16;
		memcpy(vector_byte(i->index, k), &v, bytes);
	}
}

/* --- encodings ----------------------------------------------------------------- */

static unsigned any_of(uint32_t set, unsigned n)
{
	unsigned k;

	do
		k = rnd() % n;
	while (set && !(set >> k & 1));
	return k;
}

static uint8_t random_modrm(const struct opcode *row, uint32_t when)
{
	uint8_t m = any_of(when & 0xff, 8) << 3;
	bool mem = when & MEM || (!(when & REG) && rnd() & 1);

	if (!mem)
		return 0xc0 | m | rnd() % 8;
	return 0x40 | m | (row->attr & I_VSIB ? X86_RSP : X86_RSI);
}

static unsigned make(unsigned id, uint8_t *b)
{
	const struct opcode *row = x86_rows[id];
	uint32_t when = x86_row_places[id].when, opc = x86_row_places[id].opcode;
	unsigned esc = opc >> 8, pp = any_of(when >> 16 & 15, 4), n = 0;
	uint8_t map = esc == 0x0f38 ? 2 : esc == 0x0f3a ? 3 : esc == 0x0f ? 1 : esc >> 8;
	bool w = when & (W0 | W1) ? !!(when & W1) : rnd() & 1;
	uint8_t modrm = random_modrm(row, when);
	uint8_t high = rnd() & 0xf0;
	uint8_t vvvv = rnd() & 1 ? 0x78 : rnd() & 0x78;

	if (modrm < 0xc0)
		high |= 0x20;		/* B: the base is rSI */
	if (row->attr & I_VEX) {
		b[n++] = 0xc4;
		b[n++] = ((high | (modrm < 0xc0 ? 0x40 : 0)) & 0xe0) | map;
		b[n++] = w << 7 | vvvv | any_of(when >> 26 & 3, 2) << 2 | pp;
	} else {
		b[n++] = 0x62;
		b[n++] = high | map;
		b[n++] = w << 7 | vvvv | 4 | pp;
		b[n++] = any_of(when >> 26 & 7, 3) << 5 | (rnd() & 0x88) |
			 (rnd() & 1 ? 0 : rnd() & 7) | (rnd() % 3 ? 0 : 0x10);
	}
	b[n++] = opc;
	b[n++] = modrm;
	if (row->attr & I_VSIB)
		b[n++] = rnd() << 6 | (rnd() & 7) << 3 | X86_RSI;
	if (modrm < 0xc0)
		b[n++] = (int)(rnd() % 4) - 1;
	b[n++] = rnd();
	return n;
}

/* Not a register that the test itself needs; decoded as this row. */
static bool is_usable(const struct x86_insn *i, unsigned id)
{
	if (i->row->id != id)
		return false;
	if ((i->row->attr & I_EVEX) && i->veclen < 64 && !(i->row->evex & EV_S) &&
	    !host_has_feature(X86_FEATURE_AVX512VL))
		return false;
	return !has_taken_operand(i);
}

/* --- memory --------------------------------------------------------------------- */

static int page_fault(struct x86_emulate_ctxt *c, uint64_t at)
{
	c->exception = (struct x86_exception){
		.vector = X86_PF, .has_error_code = true, .address = at,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

static int check(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes, int need)
{
	uint64_t at, base = (uintptr_t)pages;

	for (at = la; at < la + bytes; at++) {
		if (at < base || at >= base + 2 * PAGE_SIZE)
			return page_fault(c, at);
		if (!(prot[(at - base) / PAGE_SIZE] & need))
			return page_fault(c, at);
	}
	return X86EMUL_CONTINUE;
}

static int op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc)
{
	int rc = check(c, la, bytes, acc & ACC_WRITE ? PROT_WRITE : PROT_READ);

	if (!rc)
		memcpy(val, (void *)la, bytes);
	return rc;
}

static int op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc)
{
	int rc = check(c, la, bytes, PROT_WRITE);

	if (!rc)
		memcpy((void *)la, val, bytes);
	return rc;
}

static void protect(int first, int second)
{
	prot[0] = first;
	prot[1] = second;
	mprotect(pages, PAGE_SIZE, first);
	mprotect(pages + PAGE_SIZE, PAGE_SIZE, second);
}

static void unprotect(void)
{
	mprotect(pages, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void random_protection(void)
{
	static const int other[] = { PROT_NONE, PROT_READ };
	unsigned k = rnd() % 8;

	if (k > 2)
		protect(PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE);
	else if (k)
		protect(PROT_READ | PROT_WRITE, other[rnd() & 1]);
	else
		protect(other[rnd() & 1], PROT_READ | PROT_WRITE);
}

/* --- the host -------------------------------------------------------------------- */

static void on_signal(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t at = uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)host_run_code;

	if (at >= PAGE_SIZE) {
		fpu_on_signal(sig, si, ctx);
		return;
	}
	seen_signal = sig;
	seen_address = sig == SIGSEGV && si->si_code > 0 &&
		       si->si_code != SI_KERNEL ? (uintptr_t)si->si_addr : 0;
	uc->uc_mcontext.gregs[REG_RIP] += after - at;
}

static void take_signals(void)
{
	static const int sigs[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER };
	unsigned i;

	sa.sa_sigaction = on_signal;
	for (i = 0; i < ARRAY_SIZE(sigs); i++)
		assert_int_equal(sigaction(sigs[i], &sa, NULL), 0);
}

static void on_host(struct host_regs *r, const uint8_t *insn, unsigned n)
{
	/* mov eax, mask; xor edx would change flags: mov edx, 0; xrstor64 [r15];
	 * rax and rdx from in[] */
	static const uint8_t load[] = {
		0xb8, AVX_XCR0, 0, 0, 0, 0xba, 0, 0, 0, 0, 0x49, 0x0f, 0xae, 0x2f,
		0x49, 0x8b, 0x87, 0x00, 0x10, 0, 0, 0x49, 0x8b, 0x97, 0x08, 0x10, 0, 0,
	};
	/* The same backwards: out[], xsave64 [r14], out[] again. */
	static const uint8_t save[] = {
		0x49, 0x89, 0x87, 0x10, 0x10, 0, 0, 0x49, 0x89, 0x97, 0x18, 0x10, 0, 0,
		0xb8, AVX_XCR0, 0, 0, 0, 0xba, 0, 0, 0, 0, 0x49, 0x0f, 0xae, 0x26,
		0x49, 0x8b, 0x87, 0x10, 0x10, 0, 0, 0x49, 0x8b, 0x97, 0x18, 0x10, 0, 0,
	};
	uint8_t code[128];

	_Static_assert(offsetof(struct state, in) == 0x1000, "in the code");
	start.in[0] = r->gpr[X86_RAX];
	start.in[1] = r->gpr[X86_RDX];
	memset(&want.fpu, 0, sizeof(want.fpu));
	memcpy(code, load, sizeof(load));
	memcpy(code + sizeof(load), insn, n);
	memcpy(code + sizeof(load) + n, save, sizeof(save));
	after = sizeof(load) + n;
	r->gpr[X86_R14] = (uintptr_t)&want.fpu;
	r->gpr[X86_R15] = (uintptr_t)&start;
	seen_signal = 0;
	avx_save(&fpu_host);
	host_run(r, code, sizeof(load) + n + sizeof(save));
	avx_restore(&fpu_host);
}

/* --- one case --------------------------------------------------------------------- */

static int signal_of(int rc, const struct x86_exception *e)
{
	if (rc == X86EMUL_CONTINUE)
		return 0;
	switch (e->vector) {
	case X86_UD:
		return SIGILL;
	case X86_XM:
		return SIGFPE;
	case X86_PF:
	case X86_GP:
		return SIGSEGV;
	default:
		return -1;
	}
}

static bool fpu_differs(void)
{
	avx_normalize(&want.fpu);
	avx_normalize(&fpu_guest);
	return want.fpu.fx.mxcsr != fpu_guest.fx.mxcsr ||
	       memcmp(want.fpu.fx.xmm, fpu_guest.fx.xmm, 256) ||
	       memcmp(want.fpu.area + 576, fpu_guest.area + 576,
		      sizeof(want.fpu.area) - 576);
}

static void report(const struct vm *vm, const struct host_regs *r, int rc)
{
	const struct x86_insn *i = &vm->insn;
	unsigned k;

	for (k = 0; k < i->len; k++)
		fprintf(stderr, "%02x ", i->bytes[k]);
	for (k = 0; k < 16; k++)
		if (vm->c.gpr[k] != r->gpr[k])
			fprintf(stderr, "gpr %u: %lx, host %lx\n", k,
				vm->c.gpr[k], r->gpr[k]);
	for (k = 0; k < 2 * PAGE_SIZE && emulated[k] == pages[k]; k++)
		;
	if (k < 2 * PAGE_SIZE)
		fprintf(stderr, "memory at border %+d\n", (int)(k - PAGE_SIZE));
	for (k = 24; k < 4096; k++)
		if (fpu_guest.area[k] != want.fpu.area[k]) {
			fprintf(stderr, "image at %u: %02x, host %02x, was %02x\n",
				k, fpu_guest.area[k], want.fpu.area[k],
				start.fpu.area[k]);
			if (!getenv("ANYKVM_AVX_VERBOSE"))
				break;
		}
	fprintf(stderr, "%s mod %u veclen %u evex %02x: rc %d vector %u at %lx, host signal %d at %lx; "
		"rsi border%+ld, flags %lx/%lx, prot %d %d\n",
		i->row->mnemonic, i->mod, i->veclen, i->evex, rc,
		vm->c.exception.vector, vm->c.exception.address, seen_signal,
		seen_address,
		(long)(r->gpr[X86_RSI] - (uintptr_t)pages - PAGE_SIZE),
		vm->c.eflags, r->eflags, prot[0], prot[1]);
}

static bool agree(struct vm *vm, struct host_regs *r, int rc)
{
	unsigned k;

	for (k = X86_R14; k <= X86_R15; k++)
		vm->c.gpr[k] = r->gpr[k];
	vm->c.gpr[X86_RSP] = r->gpr[X86_RSP];
	return signal_of(rc, &vm->c.exception) == seen_signal &&
	       !memcmp(vm->c.gpr, r->gpr, sizeof(r->gpr)) &&
	       !((vm->c.eflags ^ r->eflags) & X86_EFLAGS_STATUS) &&
	       !memcmp(emulated, pages, 2 * PAGE_SIZE) && !fpu_differs() &&
	       (!seen_address || vm->c.exception.vector != X86_PF ||
		((vm->c.exception.address ^ seen_address) & PAGE_MASK) == 0);
}

static bool one(struct vm *vm, const struct x86_insn *i)
{
	struct host_regs in = { .eflags = 2 | (rnd() & X86_EFLAGS_STATUS) }, r;
	unsigned k;
	int rc;

	random_state();
	if (i->row->attr & I_VSIB)
		small_indices(i);
	for (k = 0; k < 16; k++)
		in.gpr[k] = value();
	in.gpr[X86_RSI] = (uintptr_t)pages + PAGE_SIZE +
			  (rnd() & 1 ? 64 * (rnd() % 5) : rnd() % 320) - 160;

	memcpy(pages, before, sizeof(before));
	memcpy(vm->c.gpr, in.gpr, sizeof(in.gpr));
	vm->c.eflags = in.eflags;
	vm->c.rip = VM_CODE;
	memset(&vm->c.exception, 0, sizeof(vm->c.exception));
	fpu_guest = start.fpu;
	random_protection();
	rc = vm_run(vm, i->bytes, i->len);
	unprotect();
	memcpy(emulated, pages, sizeof(emulated));

	memcpy(pages, before, sizeof(before));
	r = in;
	protect(prot[0], prot[1]);
	on_host(&r, i->bytes, i->len);
	unprotect();
	faults += !!seen_signal;
	if (agree(vm, &r, rc))
		return true;
	report(vm, &r, rc);
	return false;
}

static unsigned long env_number(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

static bool is_ours(const struct opcode *row)
{
	return (row->op == X86_OP_VSIMD || row->op == X86_OP_VMASKMOV ||
		row->op == X86_OP_VGATHER || row->op == X86_OP_VSCATTER) &&
	       host_has_feature(row->feature) &&
	       (!(row->attr & I_YMM) || host_has_feature(X86_FEATURE_AVX2)) &&
	       (!(row->attr & I_EVEX) || avx_components == AVX_XCR0);
}

/* Up to @cases of row @id; how many disagreed. */
static unsigned run_row(struct vm *vm, unsigned id, unsigned long cases)
{
	unsigned long k, done = 0;
	unsigned bad = 0;
	struct x86_insn i;
	uint8_t b[16];

	for (k = 0; k < 200 * cases && done < cases && bad < 3; k++) {
		make(id, b);
		if (x86_decode(&i, b, 15, X86_MODE_PROT64) || !is_usable(&i, id))
			continue;
		done++;
		bad += !one(vm, &i);
	}
	if (done < cases && !bad) {
		fprintf(stderr, "%s: %lu cases only\n", x86_rows[id]->mnemonic, done);
		bad++;
	}
	return bad;
}

static void agrees_with_the_host(void **state)
{
	unsigned long cases = env_number("ANYKVM_AVX_CASES", 60);
	struct vm *vm = avx_vm(X86_MODE_PROT64);
	unsigned id, rows = 0, bad = 0;

	rnd_state ^= env_number("ANYKVM_AVX_SEED", 0) * 0x9e3779b97f4a7c15;
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	vm_no_tlb(vm);
	vm->identity = true;
	vm->ops.read = op_read;
	vm->ops.write = op_write;
	take_signals();
	for (id = 0; id < x86_nr_rows && bad < 40; id++) {
		if (!is_ours(x86_rows[id]))
			continue;
		rows++;
		bad += run_row(vm, id, cases);
	}
	fprintf(stderr, "%u rows, %u faults\n", rows, faults);
	assert_int_equal(bad, 0);
	assert_true(rows > 300);
	assert_true(faults > rows);
	munmap(pages, 2 * PAGE_SIZE);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_host),
	};

	if (!avx_host()) {
		fprintf(stderr, "the host has no AVX\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
