// SPDX-License-Identifier: MIT
/*
 * Integer instructions against the host's processor: the same bytes, the same random
 * registers, flags and memory, three times in the emulator (generic, the resolved
 * fast form, the generic without a translation cache) and once on the host. All
 * registers, the status flags and the memory around the operand must agree.
 *
 * Memory operands are at [RSI + disp8] in a buffer; linear addresses are the host's
 * own. RSP is not touched. Flags that an instruction leaves undefined are compared
 * too, since the emulator computes with the host's instruction; the exceptions are
 * in the table.
 */
#include <stdlib.h>

#include "harness.h"
#include "host_run.h"

#define RUNS 400

#define MODRM	BIT(0)		/* any registers, memory or register */
#define IMM8	BIT(1)
#define IMMZ	BIT(2)		/* 2 or 4 by operand size */
#define IMMV	BIT(3)		/* as IMMZ, 8 with REX.W */
#define REGONLY	BIT(4)
#define MEMONLY	BIT(5)
#define NO66	BIT(6)
#define W0ONLY	BIT(7)		/* no REX.W */
#define BYTE	BIT(8)
#define ZREG	BIT(9)		/* register in the opcode's low bits */
#define LOCKABLE BIT(10)	/* LOCK with memory */
#define VEX	BIT(11)		/* code: map, pp, opcode */
#define DIVIDE	BIT(12)		/* may #DE: not run on the host then */
#define STRING	BIT(13)		/* RDI in the buffer as well */
#define REPS	BIT(14)
#define COUNTED	BIT(15)		/* OF is undefined unless the count is 1 */

struct template {
	const char *name;
	uint32_t flags;
	int group;		/* ModRM.reg, -1: any */
	uint64_t undefined;	/* status flags that are not compared */
	uint8_t n, code[4];
};

/* clang-format off */
#define T(name, flags, group, undef, ...) \
	{ name, flags, group, undef, sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ } }
#define ALU(name, opc, lock) \
	T(name, MODRM | BYTE | lock, -1, 0, opc),   T(name, MODRM | lock, -1, 0, opc + 1), \
	T(name, MODRM | BYTE, -1, 0, opc + 2),      T(name, MODRM, -1, 0, opc + 3), \
	T(name, IMM8 | BYTE, -1, 0, opc + 4),       T(name, IMMZ, -1, 0, opc + 5), \
	T(name, MODRM | IMM8 | BYTE | lock, (opc) >> 3, 0, 0x80), \
	T(name, MODRM | IMMZ | lock, (opc) >> 3, 0, 0x81), \
	T(name, MODRM | IMM8 | lock, (opc) >> 3, 0, 0x83)
#define SHIFT(name, g, undef) \
	T(name, MODRM | IMM8 | BYTE | COUNTED, g, undef, 0xc0), \
	T(name, MODRM | IMM8 | COUNTED, g, undef, 0xc1), \
	T(name, MODRM | BYTE, g, undef, 0xd0), T(name, MODRM, g, undef, 0xd1), \
	T(name, MODRM | BYTE | COUNTED, g, undef, 0xd2), \
	T(name, MODRM | COUNTED, g, undef, 0xd3)
#define G3(name, g, fl, undef) \
	T(name, MODRM | BYTE | fl, g, undef, 0xf6), T(name, MODRM | fl, g, undef, 0xf7)
#define CC4(name, fl, a, b) \
	T(name, fl, -1, 0, a, b), T(name, fl, -1, 0, a, b + 1), \
	T(name, fl, -1, 0, a, b + 2), T(name, fl, -1, 0, a, b + 3)
#define CC16(name, fl, a, b) CC4(name, fl, a, b), CC4(name, fl, a, b + 4), \
	CC4(name, fl, a, b + 8), CC4(name, fl, a, b + 12)
#define STATUS X86_EFLAGS_STATUS

static const struct template templates[] = {
	ALU("add", 0x00, LOCKABLE), ALU("or", 0x08, LOCKABLE), ALU("adc", 0x10, LOCKABLE),
	ALU("sbb", 0x18, LOCKABLE), ALU("and", 0x20, LOCKABLE), ALU("sub", 0x28, LOCKABLE),
	ALU("xor", 0x30, LOCKABLE), ALU("cmp", 0x38, 0),
	T("test", MODRM | BYTE, -1, 0, 0x84), T("test", MODRM, -1, 0, 0x85),
	T("test", IMM8 | BYTE, -1, 0, 0xa8), T("test", IMMZ, -1, 0, 0xa9),
	T("test", MODRM | IMM8 | BYTE, 0, 0, 0xf6), T("test", MODRM | IMMZ, 0, 0, 0xf7),
	T("inc", MODRM | BYTE | LOCKABLE, 0, 0, 0xfe), T("inc", MODRM | LOCKABLE, 0, 0, 0xff),
	T("dec", MODRM | BYTE | LOCKABLE, 1, 0, 0xfe), T("dec", MODRM | LOCKABLE, 1, 0, 0xff),
	G3("not", 2, LOCKABLE, 0), G3("neg", 3, LOCKABLE, 0),
	G3("mul", 4, 0, 0), G3("imul", 5, 0, 0),
	G3("div", 6, DIVIDE, STATUS), G3("idiv", 7, DIVIDE, STATUS),
	SHIFT("rol", 0, 0), SHIFT("ror", 1, 0), SHIFT("rcl", 2, 0), SHIFT("rcr", 3, 0),
	SHIFT("shl", 4, X86_EFLAGS_AF), SHIFT("shr", 5, X86_EFLAGS_AF),
	SHIFT("sal", 6, X86_EFLAGS_AF), SHIFT("sar", 7, X86_EFLAGS_AF),
	T("shld", MODRM | IMM8, -1, 0, 0x0f, 0xa4), T("shld", MODRM, -1, 0, 0x0f, 0xa5),
	T("shrd", MODRM | IMM8, -1, 0, 0x0f, 0xac), T("shrd", MODRM, -1, 0, 0x0f, 0xad),
	T("imul2", MODRM, -1, 0, 0x0f, 0xaf), T("imul3", MODRM | IMMZ, -1, 0, 0x69),
	T("imul3", MODRM | IMM8, -1, 0, 0x6b),
	T("bt", MODRM | REGONLY, -1, 0, 0x0f, 0xa3), T("bts", MODRM | REGONLY, -1, 0, 0x0f, 0xab),
	T("btr", MODRM | REGONLY, -1, 0, 0x0f, 0xb3), T("btc", MODRM | REGONLY, -1, 0, 0x0f, 0xbb),
	T("bt", MODRM | IMM8, 4, 0, 0x0f, 0xba), T("bts", MODRM | IMM8 | LOCKABLE, 5, 0, 0x0f, 0xba),
	T("btr", MODRM | IMM8 | LOCKABLE, 6, 0, 0x0f, 0xba),
	T("btc", MODRM | IMM8 | LOCKABLE, 7, 0, 0x0f, 0xba),
	T("bsf", MODRM, -1, 0, 0x0f, 0xbc), T("bsr", MODRM, -1, 0, 0x0f, 0xbd),
	T("tzcnt", MODRM, -1, 0, 0xf3, 0x0f, 0xbc), T("lzcnt", MODRM, -1, 0, 0xf3, 0x0f, 0xbd),
	T("popcnt", MODRM, -1, 0, 0xf3, 0x0f, 0xb8),
	T("bswap", ZREG, -1, 0, 0x0f, 0xc8),
	T("crc32", MODRM | BYTE | NO66, -1, 0, 0xf2, 0x0f, 0x38, 0xf0),
	T("crc32", MODRM, -1, 0, 0xf2, 0x0f, 0x38, 0xf1),
	T("adcx", MODRM | NO66, -1, 0, 0x66, 0x0f, 0x38, 0xf6),
	T("adox", MODRM | NO66, -1, 0, 0xf3, 0x0f, 0x38, 0xf6),
	T("mov", MODRM | BYTE, -1, 0, 0x88), T("mov", MODRM, -1, 0, 0x89),
	T("mov", MODRM | BYTE, -1, 0, 0x8a), T("mov", MODRM, -1, 0, 0x8b),
	T("mov", MODRM | BYTE | IMM8, 0, 0, 0xc6), T("mov", MODRM | IMMZ, 0, 0, 0xc7),
	T("mov", ZREG | BYTE | IMM8, -1, 0, 0xb0), T("mov", ZREG | IMMV, -1, 0, 0xb8),
	T("movzx", MODRM | BYTE, -1, 0, 0x0f, 0xb6), T("movzx", MODRM, -1, 0, 0x0f, 0xb7),
	T("movsx", MODRM | BYTE, -1, 0, 0x0f, 0xbe), T("movsx", MODRM, -1, 0, 0x0f, 0xbf),
	T("movsxd", MODRM, -1, 0, 0x63),
	T("movbe", MODRM | MEMONLY, -1, 0, 0x0f, 0x38, 0xf0),
	T("movbe", MODRM | MEMONLY, -1, 0, 0x0f, 0x38, 0xf1),
	T("movnti", MODRM | MEMONLY | NO66, -1, 0, 0x0f, 0xc3),
	T("lea", MODRM | MEMONLY, -1, 0, 0x8d),
	T("xchg", MODRM | BYTE | LOCKABLE, -1, 0, 0x86), T("xchg", MODRM | LOCKABLE, -1, 0, 0x87),
	T("xchg", ZREG, -1, 0, 0x90),
	T("xadd", MODRM | BYTE | LOCKABLE, -1, 0, 0x0f, 0xc0),
	T("xadd", MODRM | LOCKABLE, -1, 0, 0x0f, 0xc1),
	T("cmpxchg", MODRM | BYTE | LOCKABLE, -1, 0, 0x0f, 0xb0),
	T("cmpxchg", MODRM | LOCKABLE, -1, 0, 0x0f, 0xb1),
	T("cmpxchg8b", MODRM | MEMONLY | LOCKABLE | W0ONLY, 1, 0, 0x0f, 0xc7),
	CC16("cmov", MODRM, 0x0f, 0x40), CC16("set", MODRM | BYTE, 0x0f, 0x90),
	T("cbw", 0, -1, 0, 0x98), T("cwd", 0, -1, 0, 0x99),
	T("clc", 0, -1, 0, 0xf8), T("stc", 0, -1, 0, 0xf9), T("cmc", 0, -1, 0, 0xf5),
	T("lahf", 0, -1, 0, 0x9f), T("sahf", 0, -1, 0, 0x9e),
	T("nop", MODRM, 0, 0, 0x0f, 0x1f),
	T("andn", VEX | MODRM, -1, 0, 2, 0, 0xf2), T("bextr", VEX | MODRM, -1, 0, 2, 0, 0xf7),
	T("blsr", VEX | MODRM, 1, 0, 2, 0, 0xf3), T("blsmsk", VEX | MODRM, 2, 0, 2, 0, 0xf3),
	T("blsi", VEX | MODRM, 3, 0, 2, 0, 0xf3), T("bzhi", VEX | MODRM, -1, 0, 2, 0, 0xf5),
	T("pext", VEX | MODRM, -1, 0, 2, 2, 0xf5), T("pdep", VEX | MODRM, -1, 0, 2, 3, 0xf5),
	T("mulx", VEX | MODRM, -1, 0, 2, 3, 0xf6), T("shlx", VEX | MODRM, -1, 0, 2, 1, 0xf7),
	T("sarx", VEX | MODRM, -1, 0, 2, 2, 0xf7), T("shrx", VEX | MODRM, -1, 0, 2, 3, 0xf7),
	T("rorx", VEX | MODRM | IMM8, -1, 0, 3, 3, 0xf0),
	T("movs", STRING | BYTE, -1, 0, 0xa4), T("movs", STRING, -1, 0, 0xa5),
	T("stos", STRING | BYTE, -1, 0, 0xaa), T("stos", STRING, -1, 0, 0xab),
	T("lods", STRING | BYTE, -1, 0, 0xac), T("lods", STRING, -1, 0, 0xad),
	T("cmps", STRING | BYTE, -1, 0, 0xa6), T("cmps", STRING, -1, 0, 0xa7),
	T("scas", STRING | BYTE, -1, 0, 0xae), T("scas", STRING, -1, 0, 0xaf),
	T("rep movs", STRING | REPS | BYTE, -1, 0, 0xa4), T("rep movs", STRING | REPS, -1, 0, 0xa5),
	T("rep stos", STRING | REPS | BYTE, -1, 0, 0xaa), T("rep stos", STRING | REPS, -1, 0, 0xab),
	T("rep lods", STRING | REPS | BYTE, -1, 0, 0xac),
	T("rep cmps", STRING | REPS | BYTE, -1, 0, 0xa6), T("rep cmps", STRING | REPS, -1, 0, 0xa7),
	T("rep scas", STRING | REPS | BYTE, -1, 0, 0xae), T("rep scas", STRING | REPS, -1, 0, 0xaf),
	T("std; string flag", 0, -1, 0, 0xfd), T("cld", 0, -1, 0, 0xfc),
};
/* clang-format on */

#define BUF_SIZE 12288
#define BUF_MID  6000

static uint8_t *buffer;
static uint8_t before[BUF_SIZE], after[BUF_SIZE];

static uint64_t rnd(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s * 0x2545f4914f6cdd1d;
}

/* Values that are more often interesting than random. */
static uint64_t value(void)
{
	static const uint64_t edge[] = {
		0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, ~0ull,
	};
	unsigned k = rnd() % 8;

	if (k < 2)
		return edge[rnd() % ARRAY_SIZE(edge)];
	if (k < 4)
		return rnd() >> (rnd() % 64);
	return rnd();
}

static unsigned put_vex(uint8_t *p, const struct template *t, unsigned reg,
			unsigned rm, unsigned vvvv, bool w)
{
	p[0] = 0xc4;
	p[1] = (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | t->code[0];
	p[2] = (w ? 0x80 : 0) | (~vvvv & 15) << 3 | t->code[1];
	p[3] = t->code[2];
	return 4;
}

/* A register that is not RSP (4), unless it is AH in a byte instruction. */
static unsigned any_reg(bool rex)
{
	unsigned r;

	do
		r = rnd() % (rex ? 16 : 8);
	while (r == X86_RSP);
	return r;
}

/* Random bytes of an instruction after @t. Returns the length. */
static unsigned make(const struct template *t, uint8_t *out)
{
	uint32_t f = t->flags;
	bool rex = rnd() & 1, w = rex && rnd() & 1 && !(f & W0ONLY);
	bool mem = f & MODRM && !(f & REGONLY) && (f & MEMONLY || rnd() & 1);
	bool o16 = !(f & (BYTE | NO66 | VEX)) && rnd() % 3 == 0;
	unsigned reg = any_reg(rex);
	unsigned rm = mem ? X86_RSI : any_reg(rex), n = 0, k = 0, imm = 0;
	unsigned vvvv = any_reg(true);

	if (f & BYTE && !rex && rnd() % 4 == 0 && f & MODRM) {
		if (t->group < 0 && strcmp(t->name, "movzx") &&
		    strcmp(t->name, "movsx") && strcmp(t->name, "crc32"))
			reg = 4 + rnd() % 4;
		if (!mem)
			rm = 4 + rnd() % 4;	/* AH ... BH */
	}
	if (t->group >= 0)
		reg = t->group;
	if (f & LOCKABLE && mem && rnd() & 1)
		out[n++] = 0xf0;
	if (f & REPS)
		out[n++] = rnd() & 1 ? 0xf2 : 0xf3;
	if (o16)
		out[n++] = 0x66;
	if (f & VEX) {
		if (t->code[0] == 3)
			vvvv = 0;	/* RORX has no such operand */
		n += put_vex(out + n, t, reg, rm, vvvv, w);
	} else {
		/* Mandatory prefixes come before REX. */
		if (t->n > 2 && (t->code[0] == 0xf2 || t->code[0] == 0xf3 ||
				 t->code[0] == 0x66))
			out[n++] = t->code[k++];
		if (rex)
			out[n++] = 0x40 | w << 3 | (reg & 8) >> 1 | (rm & 8) >> 3;
		while (k < t->n)
			out[n++] = t->code[k++];
		if (f & ZREG)
			out[n - 1] |= rm & 7;
	}
	if (f & MODRM) {
		out[n++] = (mem ? 0x40 : 0xc0) | (reg & 7) << 3 | (rm & 7);
		if (mem)
			out[n++] = rnd();
	}
	if (f & IMM8)
		imm = 1;
	else if (f & IMMZ)
		imm = o16 && !w ? 2 : 4;
	else if (f & IMMV)
		imm = w ? 8 : o16 ? 2 : 4;
	while (imm--)
		out[n++] = rnd();
	return n;
}

static void randomize(const struct template *t, struct host_regs *r)
{
	unsigned i;

	for (i = 0; i < 16; i++)
		r->gpr[i] = value();
	r->eflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF |
		    (rnd() & X86_EFLAGS_STATUS);
	for (i = 0; i < BUF_SIZE; i++)
		before[i] = rnd();
	r->gpr[X86_RSI] = (uint64_t)buffer + BUF_MID + rnd() % 16;
	/* Products and quotients with a chance. */
	if (t->flags & DIVIDE && rnd() & 1)
		r->gpr[X86_RDX] = rnd() & 1 ? 0 : ~0ull;
	if (t->flags & STRING) {
		r->gpr[X86_RDI] = r->gpr[X86_RSI] + rnd() % 64 - 32;
		r->gpr[X86_RCX] = rnd() % 3 ? rnd() % 8 : rnd() % 700;
		if (rnd() & 1)
			memset(before, 0x5a, BUF_SIZE);
		if (rnd() & 1)
			r->gpr[X86_RAX] = 0x5a5a5a5a5a5a5a5a;
		if (rnd() & 1)
			r->eflags |= X86_EFLAGS_DF;
	}
	/* CMPXCHG with a chance to succeed. */
	if (!strncmp(t->name, "cmpxchg", 7) && rnd() & 1) {
		memset(before, 0, BUF_SIZE);
		r->gpr[X86_RAX] = r->gpr[X86_RDX] = 0;
	}
}

static int emulate(struct vm *vm, struct host_regs *r, const uint8_t *code,
		   unsigned n)
{
	int rc;

	memcpy(buffer, before, BUF_SIZE);
	memcpy(vm->c.gpr, r->gpr, sizeof(r->gpr));
	vm->c.eflags = r->eflags;
	vm->c.rip = VM_CODE;
	do {
		rc = vm_run(vm, code, n);
	} while (rc == X86EMUL_CONTINUE && vm->c.rip == VM_CODE);
	if (rc == X86EMUL_CONTINUE)
		assert_int_equal(vm->c.rip, VM_CODE + n);
	memcpy(r->gpr, vm->c.gpr, sizeof(r->gpr));
	r->eflags = vm->c.eflags;
	memcpy(after, buffer, BUF_SIZE);
	return rc;
}

static void report(const struct template *t, const uint8_t *code, unsigned n,
		   const struct host_regs *in, const struct host_regs *got,
		   const struct host_regs *want, const char *how)
{
	unsigned i;

	fprintf(stderr, "%s (%s):", t->name, how);
	for (i = 0; i < n; i++)
		fprintf(stderr, " %02x", code[i]);
	fprintf(stderr, "\n");
	for (i = 0; i < 16; i++)
		if (got->gpr[i] != want->gpr[i])
			fprintf(stderr, "  gpr%u in %016lx got %016lx want %016lx\n",
				i, in->gpr[i], got->gpr[i], want->gpr[i]);
	fprintf(stderr, "  eflags in %lx got %lx want %lx\n", in->eflags,
		got->eflags, want->eflags);
	for (i = 0; i < BUF_SIZE; i++)
		if (after[i] != buffer[i]) {
			fprintf(stderr, "  memory +%d: got %02x want %02x\n",
				(int)(i - BUF_MID), after[i], buffer[i]);
			break;
		}
}

/* What is compared of eflags. A host has other OFs for a rotate by an immediate
 * than for one by CL, so an undefined OF is nobody's. */
static uint64_t flags_of(const struct template *t, const uint8_t *code,
			 unsigned n, const struct host_regs *in)
{
	uint64_t mask = (X86_EFLAGS_STATUS | X86_EFLAGS_DF) & ~t->undefined;
	uint8_t count = t->flags & IMM8 ? code[n - 1] : in->gpr[X86_RCX];

	if (t->flags & COUNTED && (count & 63) > 1)
		mask &= ~(uint64_t)X86_EFLAGS_OF;
	return mask;
}

static void compare(const struct template *t, struct vm *vm, const char *how,
		    const uint8_t *code, unsigned n, const struct host_regs *in)
{
	uint64_t mask = flags_of(t, code, n, in);
	struct host_regs got = *in, want = *in;
	int rc = emulate(vm, &got, code, n);

	if (t->flags & DIVIDE && rc == X86EMUL_PROPAGATE_FAULT) {
		assert_int_equal(vm->c.exception.vector, X86_DE);
		assert_memory_equal(got.gpr, in->gpr, sizeof(got.gpr));
		assert_int_equal(got.eflags, in->eflags);
		return;
	}
	assert_int_equal(rc, X86EMUL_CONTINUE);
	memcpy(buffer, before, BUF_SIZE);
	host_run(&want, code, n);
	if (memcmp(got.gpr, want.gpr, sizeof(got.gpr)) ||
	    (got.eflags ^ want.eflags) & mask ||
	    memcmp(after, buffer, BUF_SIZE)) {
		report(t, code, n, in, &got, &want, how);
		fail();
	}
}

static void run_template(const struct template *t, struct vm *vm,
			 struct vm *slow)
{
	struct host_regs in;
	uint8_t code[32];
	unsigned k, n;

	for (k = 0; k < RUNS; k++) {
		n = make(t, code);
		assert_int_equal(x86_decode(&vm->insn, code, n, vm->c.mode),
				 X86_DECODE_OK);
		if (!host_has_feature(vm->insn.row->feature)) {
			print_message("%s: not on this host\n", t->name);
			return;
		}
		randomize(t, &in);
		vm->fast = false;
		compare(t, vm, "generic", code, n, &in);
		vm->fast = true;
		compare(t, vm, "fast", code, n, &in);
		compare(t, slow, "no cache", code, n, &in);
	}
}

static void test_host_agrees(void **state)
{
	struct vm *vm = vm_new(X86_MODE_PROT64), *slow = vm_new(X86_MODE_PROT64);
	unsigned i;

	(void)state;
	buffer = aligned_alloc(4096, BUF_SIZE);
	assert_non_null(buffer);
	vm->identity = slow->identity = true;
	vm_no_tlb(slow);
	for (i = 0; i < ARRAY_SIZE(templates); i++)
		run_template(&templates[i], vm, slow);
	free(buffer);
	vm_free(vm);
	vm_free(slow);
}

/* The comparison itself sees a difference: an emulator that is told other flags. */
static void test_comparison_is_not_blind(void **state)
{
	struct host_regs a = { .eflags = 2 }, b = { .eflags = 2 };
	const uint8_t inc_al[] = { 0xfe, 0xc0 }, dec_al[] = { 0xfe, 0xc8 };

	(void)state;
	host_run(&a, inc_al, sizeof(inc_al));
	host_run(&b, dec_al, sizeof(dec_al));
	assert_int_equal(a.gpr[X86_RAX], 1);
	assert_int_equal(b.gpr[X86_RAX], 0xff);
	assert_int_not_equal(a.eflags & X86_EFLAGS_SF, b.eflags & X86_EFLAGS_SF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_agrees),
		cmocka_unit_test(test_comparison_is_not_blind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
