// SPDX-License-Identifier: MIT
/*
 * A case on both processors, what differs, and its reduction.
 *
 * The emulator goes first: when it would touch anything but the arena, or branch into
 * the tested instruction itself, the host never sees the case. Reduction tries simpler
 * inputs one after the other and keeps each with which there still is a difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "insn/host.h"
#include "insn/machine.h"
#include "isa/text.h"

#define FSW_TOP 0x3800

/* --- differences -------------------------------------------------------------------- */

/* The address of a page fault, or of one at another byte of the same operand, whose
 * page may be there. */
static bool same_address(const struct insn_result *a, const struct insn_result *b,
			 const struct masks *m)
{
	int32_t apart = a->address - b->address;	/* may have wrapped at 4 GiB */

	if (a->address == b->address)
		return a->error_code == b->error_code;
	return m->span && (unsigned)abs(apart) < m->span &&
	       ((a->error_code ^ b->error_code) & ~X86_PFERR_P) == 0;
}

static bool same_result(const struct insn_result *a, const struct insn_result *b,
			const struct masks *m)
{
	return a->end == b->end && a->vector == b->vector &&
	       same_address(a, b, m);
}

static bool same_fpu(const struct x86_fpu *a, const struct x86_fpu *b,
		     const struct masks *m)
{
	uint16_t top = m->top ? FSW_TOP : 0;
	unsigned i, da = 0, db = 0;

	/* Registers are numbered from TOP. */
	if (m->top) {
		da = a->fx.fsw >> 11;
		db = b->fx.fsw >> 11;
	}
	for (i = 0; i < 8; i++)
		if (memcmp(a->fx.st[(i - da) & 7].b, b->fx.st[(i - db) & 7].b, 10))
			return false;
	return a->fx.fcw == b->fx.fcw &&
	       !((a->fx.fsw ^ b->fx.fsw) & ~top) &&
	       a->fx.mxcsr == b->fx.mxcsr &&
	       (a->fx.ftw == b->fx.ftw || m->tags) &&
	       !memcmp(a->area + 5, b->area + 5, 19) &&
	       !memcmp(a->area + 160, b->area + 160, 2688 - 160);
}

static bool same_registers(const struct insn_state *a, const struct insn_state *b,
			   const struct masks *m)
{
	unsigned i;

	for (i = 0; i < X86_NR_GPRS; i++)
		if ((a->gpr[i] ^ b->gpr[i]) & ~m->gpr[i])
			return false;
	return a->rip == b->rip && !((a->eflags ^ b->eflags) & ~m->eflags) &&
	       !memcmp(a->sel, b->sel, sizeof(a->sel)) &&
	       (!host_has_fsgsbase() || (a->fs_base == b->fs_base &&
					 a->gs_base == b->gs_base));
}

bool same_outcome(const struct tcase *t, const struct outcome *emul,
		  const struct outcome *host)
{
	struct masks m;

	known_deviation(t, host, &m);
	return same_result(&emul->res, &host->res, &m) &&
	       same_registers(&emul->state, &host->state, &m) &&
	       same_fpu(&emul->state.fpu, &host->state.fpu, &m) &&
	       (m.memory || !memcmp(emul->mem, host->mem, sizeof(emul->mem)));
}

/* --- the runs ------------------------------------------------------------------------ */

/* Guard pages have no bytes of interest: only what can be accessed is moved. */
void memory_in(const struct tcase *t)
{
	memcpy(arena_at(ARENA_MEM), t->mem, 2 * PAGE_SIZE);
	memcpy(arena_at(ARENA_RO), t->mem + 3 * PAGE_SIZE, 2 * PAGE_SIZE);
}

void memory_out(uint8_t *mem)
{
	memcpy(mem, arena_at(ARENA_MEM), 2 * PAGE_SIZE);
	memset(mem + 2 * PAGE_SIZE, 0, PAGE_SIZE);
	memcpy(mem + 3 * PAGE_SIZE, arena_at(ARENA_RO), 2 * PAGE_SIZE);
}

static void emulate(const struct tcase *t, bool fast, struct outcome *o)
{
	/* Code can be read as data. */
	memcpy(arena_at(t->in.rip), t->bytes, t->insn.len);
	memory_in(t);
	machine_run(&t->insn, fast, &t->in, &o->state, &o->res);
	memory_out(o->mem);
	memset(arena_at(t->in.rip), 0xcc, t->insn.len);
}

/* The branch's target is INT3, or nowhere. */
static bool target_is_known(const struct tcase *t, const struct outcome *o)
{
	uint64_t rip = o->state.rip;

	if (o->res.end != END_DONE || rip == t->in.rip + t->insn.len)
		return true;
	if (rip == t->in.rip)	/* one iteration of many */
		return t->in.eflags & X86_EFLAGS_TF && t->insn.row->attr & I_REP;
	if (rip - t->in.rip < t->insn.len)
		return false;
	return arena_rights(rip) || arena_is_hole(rip);
}

enum verdict run_case(const struct tcase *t, struct run *r)
{
	static struct outcome fast;

	if (is_forbidden(t))
		return NOT_RUN;
	emulate(t, false, &r->emul);
	if (r->emul.res.end == END_WILD || !target_is_known(t, &r->emul))
		return NOT_RUN;
	emulate(t, true, &fast);
	if (fast.res.end == END_WILD)
		return NOT_RUN;
	memory_in(t);
	host_run(t->bytes, t->insn.len, &t->in, &r->host.state, &r->host.res);
	memory_out(r->host.mem);
	r->fast = false;
	if (!same_outcome(t, &r->emul, &r->host))
		return DIFFER;
	if (same_outcome(t, &fast, &r->host))
		return AGREE;
	r->fast = true;
	r->emul = fast;
	return DIFFER;
}

/* --- reduction -------------------------------------------------------------------------- */

static bool keep_if_differs(struct tcase *t, const struct tcase *simpler,
			    struct run *r)
{
	static struct run trial;

	if (!memcmp(t, simpler, sizeof(*t)) ||
	    run_case(simpler, &trial) != DIFFER)
		return false;
	*t = *simpler;
	*r = trial;
	return true;
}

static void shrink_registers(struct tcase *t, struct run *r)
{
	static const uint64_t plain[] = { 0, 1, 0xff };
	static struct tcase s;
	unsigned i, k;

	for (i = 0; i < X86_NR_GPRS; i++)
		for (k = 0; k < ARRAY_SIZE(plain); k++) {
			s = *t;
			s.in.gpr[i] = plain[k];
			if (t->in.gpr[i] <= plain[k] ||
			    keep_if_differs(t, &s, r))
				break;
		}
	for (i = 0; i < 22; i++) {
		s = *t;
		if (BIT(i) != X86_EFLAGS_FIXED && BIT(i) != X86_EFLAGS_IF)
			s.in.eflags &= ~(uint64_t)BIT(i);
		keep_if_differs(t, &s, r);
	}
	s = *t;
	s.in.fs_base = s.in.gs_base = 0;
	keep_if_differs(t, &s, r);
}

/* A range of bytes becomes zero, halves of it when that is too much. */
static void shrink_bytes(struct tcase *t, struct run *r, size_t at, size_t n)
{
	static struct tcase s;
	const uint8_t *p = (const uint8_t *)t + at;
	size_t i;

	for (i = 0; i < n && !p[i]; i++)
		;
	if (i == n)
		return;
	s = *t;
	memset((uint8_t *)&s + at, 0, n);
	if (keep_if_differs(t, &s, r) || n <= 8)
		return;
	shrink_bytes(t, r, at, n / 2);
	shrink_bytes(t, r, at + n / 2, n - n / 2);
}

static void shrink_fpu(struct tcase *t, struct run *r)
{
	static struct tcase s;

	s = *t;
	fpu_init_state(&s.in.fpu);
	if (keep_if_differs(t, &s, r))
		return;
	s = *t;
	s.in.fpu.fx.mxcsr = X86_MXCSR_INIT;
	keep_if_differs(t, &s, r);
	s = *t;
	s.in.fpu.fx.fcw = X86_FCW_INIT;
	s.in.fpu.fx.fsw = 0;
	keep_if_differs(t, &s, r);
	shrink_bytes(t, r, offsetof(struct tcase, in.fpu.area) + 4, 20);
	shrink_bytes(t, r, offsetof(struct tcase, in.fpu.area) + 32, 384);
	shrink_bytes(t, r, offsetof(struct tcase, in.fpu.area) + 576, 2112);
}

void shrink(struct tcase *t, struct run *r)
{
	shrink_bytes(t, r, offsetof(struct tcase, mem), sizeof(t->mem));
	shrink_fpu(t, r);
	shrink_registers(t, r);
}

/* --- the report --------------------------------------------------------------------------- */

static const char *const gpr_names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
	"r10", "r11", "r12", "r13", "r14", "r15",
};

static const char *const seg_names[] = { "es", "cs", "ss", "ds", "fs", "gs" };

static void print_end(const char *who, const struct outcome *o)
{
	static const char *const ends[] = { "done", "fault", "trap",
					    "not emulated", "wild" };

	printf("    %-9s %s", who, ends[o->res.end]);
	if (o->res.end == END_FAULT || o->res.end == END_TRAP)
		printf(" vector %u error code %x", o->res.vector,
		       o->res.error_code);
	if (o->res.vector == X86_PF)
		printf(" cr2 %lx", o->res.address);
	printf(" rip %lx\n", o->state.rip);
}

static void diff(const char *name, uint64_t in, uint64_t emul, uint64_t host)
{
	if (emul != host)
		printf("    %-9s was %016lx is %016lx host %016lx\n", name,
		       in, emul, host);
}

static void diff_bytes(const char *name, const uint8_t *in, const uint8_t *emul,
		       const uint8_t *host, size_t n, size_t base)
{
	char label[32];
	uint64_t v[3];
	unsigned shown = 0;
	size_t i;

	for (i = 0; i + 8 <= n && shown < 8; i += 8) {
		if (!memcmp(emul + i, host + i, 8))
			continue;
		memcpy(&v[0], in + i, 8);
		memcpy(&v[1], emul + i, 8);
		memcpy(&v[2], host + i, 8);
		snprintf(label, sizeof(label), "%s+%zx", name, base + i);
		diff(label, v[0], v[1], v[2]);
		shown++;
	}
}

void print_differences(const struct tcase *t, const char *who,
		       const struct outcome *emul, const struct outcome *host)
{
	const struct insn_state *e = &emul->state, *h = &host->state;
	unsigned i;

	print_end(who, emul);
	print_end("host", host);
	for (i = 0; i < X86_NR_GPRS; i++)
		diff(gpr_names[i], t->in.gpr[i], e->gpr[i], h->gpr[i]);
	diff("rflags", t->in.eflags, e->eflags, h->eflags);
	for (i = 0; i < X86_NR_USER_SEGS; i++)
		diff(seg_names[i], t->in.sel[i], e->sel[i], h->sel[i]);
	diff("fs.base", t->in.fs_base, e->fs_base, h->fs_base);
	diff("gs.base", t->in.gs_base, e->gs_base, h->gs_base);
	diff_bytes("fpu", t->in.fpu.area, e->fpu.area, h->fpu.area, 2688, 0);
	diff_bytes("mem", t->mem, emul->mem, host->mem, sizeof(t->mem),
		   ARENA_MEM);
}

void print_memory(const struct tcase *t)
{
	unsigned i, k, shown = 0;

	for (i = 0; i < sizeof(t->mem) && shown < 64; i += 8) {
		for (k = 0; k < 8 && !t->mem[i + k]; k++)
			;
		if (k == 8)
			continue;
		printf(" mem=%lx:", ARENA_MEM + i);
		for (k = 0; k < 8; k++)
			printf("%02x", t->mem[i + k]);
		shown++;
	}
}

void print_fpu(const struct tcase *t)
{
	struct x86_fpu init;
	unsigned i;
	uint64_t v;

	fpu_init_state(&init);
	for (i = 0; i < 2688; i += 8) {
		if (!memcmp(init.area + i, t->in.fpu.area + i, 8))
			continue;
		memcpy(&v, t->in.fpu.area + i, 8);
		printf(" fpu+%x=%lx", i, v);
	}
}

void report(const struct tcase *t, const struct run *r)
{
	char text[96];
	unsigned i;

	x86_insn_text(t->bytes, t->insn.len, t->mode, t->in.rip, text,
		      sizeof(text));
	printf("DIFFERENCE %s (%s) row %u: %s\n    anykvm insn --mode %d --run '",
	       t->insn.row->mnemonic, row_place_text(t->insn.row->id),
	       t->insn.row->id, text, t->mode == X86_MODE_PROT64 ? 64 : t->mode == X86_MODE_PROT32 ? 32 : 16);
	for (i = 0; i < t->insn.len; i++)
		printf("%s%02x", i ? " " : "", t->bytes[i]);
	printf("' rip=%lx rflags=%lx", t->in.rip, t->in.eflags);
	for (i = 0; i < X86_NR_GPRS; i++)
		if (t->in.gpr[i])
			printf(" %s=%lx", gpr_names[i], t->in.gpr[i]);
	if (t->in.fs_base || t->in.gs_base)
		printf(" fs.base=%lx gs.base=%lx", t->in.fs_base, t->in.gs_base);
	for (i = 0; i < X86_NR_USER_SEGS; i++)
		if (i != X86_CS && t->in.sel[i] != (i < X86_FS ? USER_DS : 0))
			printf(" %s=%x", seg_names[i], t->in.sel[i]);
	print_fpu(t);
	print_memory(t);
	printf("\n");
	print_differences(t, r->fast ? "fast form" : "emulator", &r->emul, &r->host);
}
