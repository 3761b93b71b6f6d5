/* SPDX-License-Identifier: MIT */
/*
 * What must agree in lock-step (check.c), and the text about what does not: the block's
 * instructions and bytes, each field with the interpreter's value and the translator's,
 * and the command that shows the host code. The text is made after the guest has been
 * left: it may use the C library.
 */
#include <stdarg.h>
#include <stdio.h>

#include "jit/check.h"

#define WAY	256	/* instructions */
#define NOP	0x90

#define FIELD(name, field)							\
	{ name, offsetof(struct hw_cpu, field), sizeof(((struct hw_cpu *)0)->field), 0 }
#define ARRAY(name, field)							\
	{ name, offsetof(struct hw_cpu, field), sizeof(((struct hw_cpu *)0)->field), \
	  sizeof(((struct hw_cpu *)0)->field[0]) }
/* Without the padding behind the selector. */
#define SEGMENT(name, nr)							\
	{ name, offsetof(struct hw_cpu, c.seg[nr]),				\
	  offsetof(struct x86_segment, selector) + 2, 0 }

/* clang-format off */
const struct check_field check_fields[] = {
	ARRAY("gpr", c.gpr), FIELD("rip", c.rip), FIELD("eflags", c.eflags),
	SEGMENT("es", X86_ES), SEGMENT("cs", X86_CS), SEGMENT("ss", X86_SS),
	SEGMENT("ds", X86_DS), SEGMENT("fs", X86_FS), SEGMENT("gs", X86_GS),
	SEGMENT("ldtr", X86_LDTR), SEGMENT("tr", X86_TR),
	FIELD("gdt.base", c.gdt.base), FIELD("gdt.limit", c.gdt.limit),
	FIELD("idt.base", c.idt.base), FIELD("idt.limit", c.idt.limit),
	FIELD("cr0", c.cr0), FIELD("cr2", c.cr2), FIELD("cr3", c.cr3), FIELD("cr4", c.cr4),
	FIELD("efer", c.efer), FIELD("xcr0", c.xcr0), FIELD("mode", c.mode),
	FIELD("cpl", c.cpl), FIELD("stack_size", c.stack_size), FIELD("flat", c.flat),
	ARRAY("dr", dr), FIELD("dr6", dr6), FIELD("dr7", dr7), FIELD("msr", msr),
	ARRAY("pdptr", pdptr), FIELD("shadow", shadow),
	FIELD("nmi_blocked", nmi_blocked), FIELD("pending_nmi", pending_nmi),
	FIELD("pending_db", pending_db),
};
/* clang-format on */
const unsigned check_nr_fields = ARRAY_SIZE(check_fields);

const void *check_field_at(const struct check_moment *m, uint32_t at)
{
	return at < sizeof(m->c) ? (const char *)&m->c + at :
				   (const char *)m->rest + (at - REST_FROM);
}

/* Most of the time of a comparison is here: eight at a time. */
bool check_bytes_same(const void *one, const void *other, uint32_t n)
{
	const uint8_t *a = one, *b = other;
	uint64_t x, y;

	for (; n >= 8; n -= 8, a += 8, b += 8) {
		__builtin_memcpy(&x, a, 8);
		__builtin_memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	return !n || !__builtin_memcmp(a, b, n);
}

/* The header between them tells what is in its initial state, which nobody sees. */
static const struct { const char *name; uint32_t at, end; } fpu_parts[] = {
	{ "x87 control", 0, 24 }, { "mxcsr", 24, 28 }, { "x87 registers", 32, 160 },
	{ "xmm", 160, 416 }, { "extended state", 576, X86_FPU_SIZE },
};

bool check_fpu_same(const struct x86_fpu *a, const struct x86_fpu *b)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(fpu_parts); i++)
		if (!check_bytes_same(a->area + fpu_parts[i].at, b->area + fpu_parts[i].at,
				      fpu_parts[i].end - fpu_parts[i].at))
			return false;
	return true;
}

bool check_exits_same(const struct hw_exit *a, const struct hw_exit *b)
{
	return a->id == b->id && a->arg == b->arg && a->val == b->val &&
	       a->gpr == b->gpr && a->exc.vector == b->exc.vector &&
	       a->exc.has_error_code == b->exc.has_error_code &&
	       a->exc.error_code == b->exc.error_code &&
	       a->exc.address == b->exc.address && a->exc.nested == b->exc.nested &&
	       a->exc.exit == b->exc.exit && a->exc.gpa == b->exc.gpa &&
	       a->exc_type == b->exc_type && a->la == b->la &&
	       a->la_valid == b->la_valid && a->ea == b->ea &&
	       a->by_insn == b->by_insn && a->next_rip == b->next_rip &&
	       a->vectoring == b->vectoring;
}

/* --- the text ------------------------------------------------------------------------ */

static __printf(2, 3) void say(struct jit_check *k, const char *fmt, ...)
{
	size_t n = __builtin_strlen(k->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(k->text + n, sizeof(k->text) - n, fmt, ap);
	va_end(ap);
}

/* Little-endian, the highest byte first. */
static void say_bytes(struct jit_check *k, const uint8_t *p, unsigned n)
{
	unsigned i;

	for (i = MIN(n, 18u); i--;)
		say(k, "%02x", p[i]);
}

static void say_differing(struct jit_check *k, const char *name, int i, const uint8_t *want,
			  const uint8_t *got, unsigned n)
{
	if (!__builtin_memcmp(want, got, n))
		return;
	for (; n > 18 && *want == *got; n--)
		want++, got++;
	say(k, i < 0 ? "  %s: " : "  %s[%d]: ", name, i);
	say_bytes(k, want, n);
	say(k, ", translated ");
	say_bytes(k, got, n);
	say(k, "\n");
}

static void say_fields(struct jit_check *k, const struct check_moment *want)
{
	const struct check_field *f;
	unsigned i, each;

	for (f = check_fields; f < check_fields + check_nr_fields; f++) {
		each = f->each ? f->each : f->bytes;
		for (i = 0; i < f->bytes / each; i++)
			say_differing(k, f->name, f->each ? (int)i : -1,
				      check_field_at(want, f->at + i * each),
				      check_field_at(&k->got, f->at + i * each), each);
	}
}

static void say_fpu(struct jit_check *k, const struct check_moment *want)
{
	unsigned i;

	if (want->loaded != k->got.loaded)
		say(k, "  FPU state in registers: %d, translated %d\n", want->loaded,
		    k->got.loaded);
	if (!want->image || !k->got.image)
		return;
	for (i = 0; i < ARRAY_SIZE(fpu_parts); i++)
		say_differing(k, fpu_parts[i].name, -1,
			      want->fpu.area + fpu_parts[i].at,
			      k->got.fpu.area + fpu_parts[i].at,
			      fpu_parts[i].end - fpu_parts[i].at);
}

static void say_exit(struct jit_check *k, const struct check_moment *want)
{
	if (want->exits != k->got.exits)
		say(k, "  exit: %d, translated %d\n", want->exits, k->got.exits);
	else if (want->exits && !check_exits_same(&want->exit, &k->got.exit))
		say(k, "  exit: %d (%llx, %llx), translated %d (%llx, %llx)\n",
		    want->exit.id, (unsigned long long)want->exit.arg,
		    (unsigned long long)want->exit.la, k->got.exit.id,
		    (unsigned long long)k->got.exit.arg,
		    (unsigned long long)k->got.exit.la);
}

static void say_memory(struct jit_check *k)
{
	const struct check_diff *d;

	for (d = k->diff; d < k->diff + k->nr_diffs; d++) {
		say(k, "  memory at %llx: ", (unsigned long long)d->la);
		say_bytes(k, d->want, d->n);
		say(k, ", translated ");
		say_bytes(k, d->got, d->n);
		say(k, "\n");
	}
}

static void say_insn(struct jit_check *k, uint64_t rip, unsigned len, const char *what)
{
	const uint8_t *bytes = k->code.bytes + (rip & ~PAGE_MASK);
	unsigned n;

	say(k, "  %llx ", (unsigned long long)rip);
	for (n = 0; n < len; n++)
		say(k, " %02x", bytes[n]);
	say(k, "  %s\n", what);
}

/* What the block is made of, and where it is in the page: @own, a byte each. */
static void say_insns(struct jit_check *k, uint8_t *own, unsigned *from, unsigned *to)
{
	struct jit *j = k->j;
	const struct jit_insn *n;
	unsigned at;

	j->rip = k->rip;
	j->host = k->host;
	j->variant = k->variant;
	j->mode = k->begin.c.mode;
	if (!k->ways || !jit_ways_find(j, &k->code))
		jit_discover(j, &k->code);
	*from = k->rip & ~PAGE_MASK;
	*to = j->nr ? *from : PAGE_SIZE;
	if (!j->nr) {
		say_insn(k, k->rip, *to - *from, "?");
		__builtin_memset(own + *from, 1, *to - *from);
	}
	for (n = j->insn; n < j->insn + j->nr; n++) {
		say_insn(k, n->rip, n->i.len, n->i.row->mnemonic);
		at = n->rip & ~PAGE_MASK;
		__builtin_memset(own + at, 1, n->i.len);
		*from = MIN(*from, at);
		*to = MAX(*to, at + n->i.len);
	}
}

/* What is between its parts does not matter. */
static void say_block(struct jit_check *k)
{
	unsigned begin = k->rip & ~PAGE_MASK, from, to, at;
	uint8_t own[PAGE_SIZE] = { 0 };

	say_insns(k, own, &from, &to);
	say(k, "  host code: anykvm insn");
	if (from < begin)
		say(k, " --begin %u", begin - from);
	say(k, " --translate '");
	for (at = from; at < to; at++)
		say(k, "%s%02x", at > from ? " " : "", own[at] ? k->code.bytes[at] : NOP);
	say(k, "'\n");
}

/* The last blocks that the interpreter went through. */
static void say_way(struct jit_check *k)
{
	uint32_t last = k->want ? k->want : k->nr, n, from = last > WAY ? last - WAY : 0;

	say(k, "  the way:");
	for (n = from + 1; n <= last; n++)
		if (n == from + 1 || k->step[n].rip != k->step[n - 1].rip + k->step[n - 1].len)
			say(k, " %llx", (unsigned long long)k->step[n].rip);
	say(k, "\n");
}

static void say_where(struct jit_check *k)
{
	if (k->length)
		say(k, "jit_check: a translation in the %u instructions from the block at %llx on is wrong\n",
		    k->nr, (unsigned long long)k->rip);
	else
		say(k, "jit_check: the translation of the block at %llx is wrong (variant %x)\n",
		    (unsigned long long)k->rip, k->variant);
	say_block(k);
	if (k->length)
		say_way(k);
}

const char *jit_check_failure(struct hw_cpu *cpu)
{
	struct jit_check *k = cpu->jit.jit->check;

	k->text[0] = 0;
	say_where(k);
	if (k->stray) {
		say(k, "  what the interpreter has not written:\n");
		say_memory(k);
	} else if (k->want) {
		say(k, "  behind %u of its instructions:\n", k->want);
		say_fields(k, &k->end);
		say_fpu(k, &k->end);
		say_exit(k, &k->end);
		say_memory(k);
	} else {
		say(k, "  translated code is at %llx; the interpreter was never there, and ends at %llx\n",
		    (unsigned long long)k->got.c.rip, (unsigned long long)k->end.c.rip);
		say_fields(k, &k->end);
	}
	return k->text;
}
