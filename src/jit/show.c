// SPDX-License-Identifier: MIT
/*
 * A translation part by part: show.h.
 *
 * The bytes stand in a page of their own at the same offset as in the guest's, so
 * that the block is found, registered and ended as it would be there. What is behind
 * them is no instruction in 64-bit mode.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "jit/jit.h"
#include "jit/show.h"

#define NO_INSN	0x06		/* PUSH ES */

/* --- names ------------------------------------------------------------------------ */

struct field {
	const char *name;
	uint32_t at, bytes, each;	/* of an element; 0: no array */
};

#define SIZE_OF(field)	((uint32_t)sizeof(((struct hw_cpu *)0)->field))
#define ONE(field)	{ #field, CPU_OFF(field), SIZE_OF(field), 0 }
#define ARRAY(field)	{ #field, CPU_OFF(field), SIZE_OF(field), SIZE_OF(field[0]) }

static const struct field fields[] = {
	ARRAY(c.gpr), ARRAY(c.seg), ONE(c.eflags), ONE(c.tlb_key), ONE(c.fpu_ptr),
	ONE(c.owner), ONE(link_epoch), ONE(request), ONE(target_key), ONE(msr.kernel_gs_base),
	ONE(msr.tsc_aux),
	{ "tlb.tag", TLB_OFF(tag), 24, 8 },
	{ "tlb.addend", TLB_OFF(addend), 8, 0 },
	ONE(jit.key), ONE(jit.tmp), ONE(jit.tsc_add), ONE(jit.host_gs), ONE(jit.host_sp),
	ONE(jit.turns), ONE(jit.first), ARRAY(jit.enters), ONE(jit.last),
	ARRAY(jit.lent), ARRAY(jit.made), ARRAY(jit.addend),
	ONE(jit.stack_limit), ONE(jit.rep), ARRAY(jit.fn), ONE(jit.relink), ONE(jit.recache),
	ONE(jit.flags), ARRAY(jit.fpu_ready), ONE(jit.ok.tsc), ONE(jit.ok.tscp),
	ONE(jit.ok.cli), ONE(jit.ok.sti), ONE(jit.ok.pushf), ONE(jit.ok.popf),
	ONE(jit.unwind), ARRAY(jit.hash.rip), ARRAY(jit.hash.key), ARRAY(jit.hash.code),
};

bool jit_field_name(const struct jit *jit, const struct x86_insn *i, char *buf,
		    unsigned size)
{
	uint32_t disp = (uint32_t)i->disp - jit->base, rest;
	const struct field *f;
	int n;

	if (i->mod == 3 || (!jit->base && i->seg != X86_GS))
		return false;
	for (f = fields; f < fields + ARRAY_SIZE(fields); f++) {
		rest = disp - f->at;
		if (rest >= f->bytes)
			continue;
		n = f->each ? snprintf(buf, size, "%s[%u]", f->name, rest / f->each) :
			      snprintf(buf, size, "%s", f->name);
		rest = f->each ? rest % f->each : rest;
		if (rest && (unsigned)n < size)
			snprintf(buf + n, size - n, "+0x%x", rest);
		return true;
	}
	return false;
}

#define STUB(name)	{ #name, offsetof(struct jit, name) }

const char *jit_stub_name(const struct jit *j, uint32_t at)
{
	static const struct { const char *name; size_t field; } stubs[] = {
		STUB(leave), STUB(exec), STUB(exec_end), STUB(kept), STUB(kept_end),
		STUB(exec_ret), STUB(link_host), STUB(link_mem), STUB(go),
		STUB(go_host), STUB(far), STUB(ret_miss), STUB(walk), STUB(is_long),
		STUB(syscall), STUB(sysret),
		STUB(recache), STUB(cache_jump), STUB(cache_call[0]), STUB(cache_call[1]),
		STUB(fill[0][0]), STUB(fill[0][1]), STUB(fill[1][0]), STUB(fill[1][1]),
	};
	const uint32_t *rep = &j->rep[0][0][0];
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(stubs); k++)
		if (*(const uint32_t *)((const char *)j + stubs[k].field) == at)
			return stubs[k].name;
	for (k = 0; k < sizeof(j->rep) / sizeof(*rep); k++)
		if (rep[k] && rep[k] == at)
			return "rep";
	return NULL;
}

/* --- the parts of a block --------------------------------------------------------- */

/* Tells of what is between @from and @to. */
static void piece(const struct jit *j, struct jit_piece p, uint32_t from, uint32_t to,
		  jit_piece_fn fn, void *arg)
{
	p.jit = j;
	p.code = j->rw + from;
	p.at = from;
	p.len = to - from;
	p.first = from == j->code && p.rip == j->rip &&
		  (p.kind == JIT_PIECE_INSN || p.kind == JIT_PIECE_FIRST);
	fn(arg, &p);
}

/* The misses come first of what is out of line. */
static void miss_pieces(const struct jit *j, jit_piece_fn fn, void *arg)
{
	const struct jit_miss *m = j->miss, *last = m + j->nr_miss - 1;
	uint32_t end = j->nr_slow ? j->slow[0].code : j->pos;

	for (; m <= last; m++)
		if (m->code < (m == last ? end : m[1].code))
			piece(j, (struct jit_piece){ .kind = JIT_PIECE_SLOW,
							.rip = m->rip },
			      m->code, m == last ? end : m[1].code, fn, arg);
}

static bool is_data(const struct jit_slow *s)
{
	return s->kind == SLOW_CONST || s->kind == SLOW_CACHED;
}

static void pieces(const struct jit *j, jit_piece_fn fn, void *arg)
{
	const struct jit_insn *n = j->insn, *last = &j->insn[j->nr - 1];
	const struct jit_slow *s = j->slow, *end = s + j->nr_slow;
	uint32_t begin = j->loop.on ? j->loop.enter : j->code;

	if (begin > j->code)
		piece(j, (struct jit_piece){ .kind = JIT_PIECE_FIRST, .rip = j->rip },
		      j->code, begin, fn, arg);
	for (; n <= last; n++)
		piece(j, (struct jit_piece){ .rip = n->rip, .guest_len = n->i.len },
		      n == j->insn ? begin : n->code, n == last ? j->end : n[1].code,
		      fn, arg);
	if (j->out > j->end)
		piece(j, (struct jit_piece){ .kind = JIT_PIECE_END,
						.rip = last->rip + last->i.len },
		      j->end, j->out, fn, arg);
	miss_pieces(j, fn, arg);
	for (; s < end; s++)
		piece(j, (struct jit_piece){ .kind = is_data(s) ? JIT_PIECE_DATA :
							JIT_PIECE_SLOW, .rip = s->rip },
		      s->code, s + 1 == end ? j->pos : s[1].code, fn, arg);
}

/* Marks what the block is made of, in its page; false: something is behind @end. */
static bool mark_shown(const struct jit *j, uint8_t *shown, uint64_t end)
{
	const struct jit_insn *n;

	for (n = j->insn; n < j->insn + j->nr; n++) {
		if (n->rip + n->i.len > end)
			return false;
		__builtin_memset(shown + (n->rip & ~PAGE_MASK), 1, n->i.len);
	}
	return true;
}

/* The block at @rip, and those of what it is not made of up to @end. */
static int blocks(struct jit *j, const uint8_t *page, uint64_t rip, uint64_t end,
		  jit_piece_fn fn, void *arg)
{
	uint8_t shown[PAGE_SIZE] = { 0 };

	for (; rip < end; rip++) {
		if (shown[rip & ~PAGE_MASK])
			continue;
		if (!jit_translate(j, rip, (hva_t)page + (rip & ~PAGE_MASK),
				   FL_MEM, j->cpu->jit.context))
			return -ENOMEM;
		if (!j->nr || j->tail || !mark_shown(j, shown, end))
			return -EINVAL;
		pieces(j, fn, arg);
	}
	return 0;
}

int jit_show(const uint8_t *bytes, unsigned n, unsigned begin, uint64_t rip,
	     jit_piece_fn fn, void *arg)
{
	const struct hw_config cfg = { .jit = &hw_jit };
	unsigned at = rip & ~PAGE_MASK;
	struct hw_cpu *cpu;
	uint8_t *page;
	int rc = -ENOMEM;

	if (n > PAGE_SIZE - at || begin >= n)
		return -EINVAL;
	page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -ENOMEM;
	__builtin_memset(page, NO_INSN, PAGE_SIZE);
	__builtin_memcpy(page + at, bytes, n);
	cpu = hw_cpu_create(&cfg);
	if (cpu) {
		hw_set_features(cpu, hw_features_model());
		cpu->jit.jit->head_jumps = 0;
		rc = blocks(cpu->jit.jit, page, rip + begin, rip + n, fn, arg);
		hw_cpu_destroy(cpu);
	}
	munmap(page, PAGE_SIZE);
	return rc;
}
