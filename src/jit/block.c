/* SPDX-License-Identifier: MIT */
/*
 * One block: discovery, and the order of its parts.
 *
 * A block begins anywhere and ends with a transfer that is not a Jcc, with an
 * instruction after which anything may be different, at the end of its page, or when
 * it is long. A Jcc is a way out in the middle; a JMP to another place of the page is
 * followed, once. An instruction that crosses into the
 * next page is a block of its own. Its bytes there belong to no registered page: the
 * block begins with a comparison of them, where the TLB has the page for fetches, and
 * the interpreter does the instruction if they are others.
 *
 * The page is registered (hw/code.c) before the bytes are used: they are read once
 * to find the length and once more after that, and must be the same, so that a
 * write that comes in between is either seen or told of.
 */
#include "base/access.h"
#include "jit/jit.h"
#include "jit/turns.h"

static bool ends_block(enum jit_class c)
{
	return c == JIT_EXEC_END || c > JIT_JCC;
}

bool jit_source_get(struct jit_source *s, uint64_t lines)
{
	unsigned at;

	for (lines &= ~s->have; lines; lines &= lines - 1) {
		at = __builtin_ctzll(lines) << HW_LINE_SHIFT;
		if (host_copy_in(s->bytes + at, (const void *)(s->page + at),
				 1u << HW_LINE_SHIFT))
			return false;
		s->have |= lines & -lines;
	}
	return true;
}

bool jit_decode(struct jit *j, struct jit_source *s, uint64_t rip, struct jit_insn *n)
{
	unsigned at = rip & ~PAGE_MASK;
	unsigned room = MIN(PAGE_SIZE - at, (unsigned)X86_MAX_INSN_LEN);

	if ((rip ^ j->rip) & PAGE_MASK || !jit_source_get(s, hw_code_lines(at, room)) ||
	    x86_decode(&n->i, s->bytes + at, room, j->mode) != X86_DECODE_OK)
		return false;
	n->rip = rip;
	n->next = rip + n->i.len;
	n->label = false;
	n->to = JIT_OUT;
	jit_classify(j, n);
	return true;
}

const struct jit_insn *jit_insn_at(const struct jit *j, uint64_t rip)
{
	const struct jit_insn *n;

	for (n = j->insn; n < j->insn + j->nr; n++)
		if (n->rip == rip)
			return n;
	return NULL;
}

/* @n is a jump inside of the page, to what the block does not have: it goes on there. */
static bool follow(struct jit *j, struct jit_insn *n)
{
	uint64_t to = n->class == JIT_JMP ? jit_target_of(n) : 0;

	if (n->class != JIT_JMP || (to ^ j->rip) & PAGE_MASK || jit_insn_at(j, to) || to == j->not_behind)
		return false;
	n->class = JIT_NOTHING;
	n->next = to;
	j->follows = true;
	return true;
}

void jit_discover(struct jit *j, struct jit_source *s)
{
	uint64_t rip = j->rip;

	j->nr = 0;
	j->tail = 0;
	j->follows = false;
	while (j->nr < JIT_MAX_INSNS) {
		struct jit_insn *n = &j->insn[j->nr];

		if (!jit_decode(j, s, rip, n))
			break;
		j->nr++;
		follow(j, n);
		rip = n->next;
		/* In lock-step what the clock says is compared by itself. */
		if (ends_block(n->class) || (j->check && n->class == JIT_RDTSC))
			break;
	}
	/* Nothing may come between STI and the instruction after it. */
	if (j->nr && j->insn[j->nr - 1].class == JIT_STI)
		j->insn[j->nr - 1].class = JIT_EXEC_END;
}

static void lea(struct jit *j, struct jit_insn *n)
{
	unsigned h = jit_host_reg(n->i.reg), dst = h == IN_MEM ? T1 : h;
	struct jit_addr a;

	jit_operand_addr(n, &a);
	a.seg = X86_SEG_NONE;
	jit_ea(j, &a, dst, n->i.opsize == 8);
	if (h == IN_MEM)
		emit_store(j, T1, GPR_OFF(n->i.reg));
}

static void raw(struct jit *j, struct jit_insn *n)
{
	unsigned k;

	jit_flags_need(j, n);
	for (k = 0; k < n->i.len; k++)
		e8(j, n->i.bytes[k]);
	jit_flags_done(j, n);
}

static void exec(struct jit *j, struct jit_insn *n)
{
	j->fpu_checked = j->seg_checked = 0;
	jit_exec_insn(j, n, n->class == JIT_EXEC_END);
}

static void nothing(struct jit *j, struct jit_insn *n)
{
}

static void (*const emitters[])(struct jit *j, struct jit_insn *n) = {
	[JIT_EXEC] = exec, [JIT_EXEC_END] = exec, [JIT_SAME] = jit_same,
	[JIT_NOTHING] = nothing, [JIT_RAW] = raw, [JIT_LEA] = lea,
	[JIT_SWAPGS] = jit_swapgs, [JIT_STAC] = jit_stac, [JIT_CLAC] = jit_clac,
	[JIT_FSGSBASE] = jit_fsgsbase, [JIT_DF] = jit_df,
	[JIT_FROM_SREG] = jit_from_sreg,
	[JIT_CLI] = jit_cli_sti, [JIT_STI] = jit_cli_sti,
	[JIT_PUSHF] = jit_pushf, [JIT_POPF] = jit_popf,
	[JIT_PUSH] = jit_push, [JIT_POP] = jit_pop, [JIT_LEAVE] = jit_leave,
	[JIT_STRING] = jit_string, [JIT_X87] = jit_x87,
	[JIT_BIT_STRING] = jit_bit_string, [JIT_RDTSC] = jit_rdtsc,
	[JIT_CPUID] = jit_cpuid, [JIT_RDMSR] = jit_rdmsr,
	[JIT_WRMSR] = jit_wrmsr,
	[JIT_JCC] = jit_jcc, [JIT_LOOP] = jit_loop, [JIT_JMP] = jit_jmp,
	[JIT_CALL] = jit_call, [JIT_RET] = jit_ret,
	[JIT_JMP_IND] = jit_indirect, [JIT_CALL_IND] = jit_call_indirect,
	[JIT_SERIALIZE] = jit_serialize, [JIT_SYSCALL] = jit_syscall,
	[JIT_SYSRET] = jit_sysret,
};

/* insn[0] goes on in the next page: are its bytes there still the same? */
static void check_tail(struct jit *j)
{
	const struct jit_insn *n = &j->insn[0];
	unsigned len = n->i.len - j->tail;
	uint64_t la = j->rip + len;
	uint32_t at = (la >> PAGE_SHIFT & (HW_TLB_SIZE - 1)) *
		      sizeof(struct x86_tlb_entry);
	struct jit_slow *s, *other;
	unsigned k, bytes;

	jit_flags_free(j, jit_live_before(n));
	s = jit_slow_add(j, SLOW_EXEC_END, n->rip);
	other = jit_slow_add(j, SLOW_TAIL, n->rip);
	emit_mov_imm(j, T1, la);
	emit_cpu(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_cpu(j, 0x3b, T1, TLB_OFF(tag[X86_TLB_FETCH]) + at, 8);
	jit_slow_jump(j, s, CC_NE);
	emit_mov_imm(j, T1, la);
	emit_cpu(j, 0x03, T1, TLB_OFF(addend) + at, 8);
	for (k = 0; k < j->tail; k += bytes) {
		bytes = j->tail - k >= 4 ? 4 : 1;
		jit_may_fault(j, s);
		e8(j, 0x41), e8(j, bytes == 4 ? 0x81 : 0x80);	/* cmp [T1 + k], imm */
		e8(j, 0x78 | (T1 & 7)), e8(j, k);
		for (unsigned b = 0; b < bytes; b++)
			e8(j, n->i.bytes[len + k + b]);
		jit_slow_jump(j, other, CC_NE);
	}
}

/* Code that C runs in, or goes on elsewhere, without a struct jit_slow. */
static bool goes_away(enum jit_class c)
{
	return c <= JIT_EXEC_END || c == JIT_STRING || c >= JIT_JCC;
}

/* Its emitter writes T1 where it makes an operand, and says so. */
static bool keeps_t1(const struct jit_insn *n)
{
	switch (n->class) {
	case JIT_SAME:
	case JIT_NOTHING:
	case JIT_RAW:
	case JIT_POP:
	case JIT_JCC:
		return true;
	case JIT_PUSH:
		return n->i.mod == 3;
	case JIT_LEA:
		return n->i.reg < X86_R13 &&
		       (n->i.base < X86_R13 || n->i.base >= X86_NR_GPRS);
	default:
		return false;
	}
}

/* On behind @n, which is not the last one or ends no block. */
static void go_on(struct jit *j, const struct jit_insn *n)
{
	bool inside = j->loop.inside;

	if (inside)
		jit_loop_leave(j);
	j->loop.inside = false;
	jit_goto(j, CC_ALWAYS, n->next);
	j->loop.inside = inside;
}

static void emit_insns(struct jit *j)
{
	const struct jit_insn *last = NULL;
	unsigned k;

	j->t1 = 0;
	for (k = 0; k < j->nr; k++) {
		j->cur = &j->insn[k];
		j->cur->code = j->pos;
		if (j->cur->label)
			jit_label(j, j->cur);
		if (goes_away(j->cur->class))
			jit_fip_flush(j);
		j->keeps_t1 = keeps_t1(j->cur);
		if (!j->keeps_t1)
			j->t1 = 0;
		jit_loop_before(j, j->cur);
		emitters[j->cur->class](j, j->cur);
		last = j->cur;
		if (jit_falls_out(j, last))
			go_on(j, last);
	}
	j->end = j->pos;
	jit_fip_flush(j);
	if (!last) {
		/* Undefined, or the next page cannot be had. */
		jit_flags_free(j, FLAG_ALL);
		emit_mov_imm(j, T1, j->rip);
		emit_jump(j, CC_ALWAYS, j->exec_end);
	} else if (!ends_block(last->class)) {
		go_on(j, last);
	}
	j->loop.inside = false;
}

static void emit_block(struct jit *j)
{
	if (j->tail)
		check_tail(j);
	if (j->loop.on && jit_loop_first(j)) {
		emit_insns(j);
		jit_loop_first_end(j);
	}
	if (j->loop.on)
		jit_loop_enter(j);
	emit_insns(j);
	j->out = j->pos;
	jit_slow_emit(j);
}

/* The instruction at the end of the page, which goes on in the next one. */
static void discover_crossing(struct jit *j, const struct jit_source *s)
{
	unsigned room = PAGE_SIZE - (j->rip & ~PAGE_MASK);
	struct jit_insn *n = &j->insn[0];
	uint8_t buf[X86_MAX_INSN_LEN];
	hva_t host;

	if (room >= sizeof(buf) || !is_canonical(j->rip + room, false) ||
	    hw_fetch_host(j->cpu, j->rip + room, &host) != X86EMUL_CONTINUE ||
	    host_copy_in(buf + room, (const void *)host, sizeof(buf) - room))
		return;
	__builtin_memcpy(buf, s->bytes + (j->rip & ~PAGE_MASK), room);
	if (x86_decode(&n->i, buf, sizeof(buf), j->mode) !=
	    X86_DECODE_OK || n->i.len <= room)
		return;
	n->rip = j->rip;
	n->next = n->rip + n->i.len;
	n->label = false;
	n->to = JIT_OUT;
	jit_classify(j, n);
	if (n->class == JIT_STI)
		n->class = JIT_EXEC_END;
	j->nr = 1;
	j->tail = n->i.len - room;
}

/* Is memory still what the instructions were decoded from? */
static bool same_code(const struct jit *j)
{
	const struct jit_insn *n;
	uint8_t again[X86_MAX_INSN_LEN];
	unsigned len;

	for (n = j->insn; n < j->insn + j->nr; n++) {
		len = n->i.len - j->tail;
		if (host_copy_in(again, (const void *)jit_insn_host(j, n), len) ||
		    __builtin_memcmp(again, n->i.bytes, len))
			return false;
	}
	return true;
}

/*
 * The instructions of the block, @ways: of a loop with several; false: they cannot be had, or
 * may not be translated.
 */
static bool read_code(struct jit *j, bool ways)
{
	struct jit_source s;

	s.page = j->host & PAGE_MASK;
	s.have = 0;
	if (!jit_source_get(&s, hw_code_lines(j->host, X86_MAX_INSN_LEN)))
		return false;
	j->tail = 0;
	if (ways && !jit_ways_find(j, &s))
		return false;
	if (!ways)
		jit_discover(j, &s);
	if (!j->nr)
		discover_crossing(j, &s);
	return hw_code_add(j->cpu, s.page, jit_code_lines(j)) && same_code(j);
}

static unsigned guest_bytes(const struct jit *j)
{
	const struct jit_insn *n;
	unsigned bytes = 0;

	for (n = j->insn; n < j->insn + j->nr; n++)
		bytes += n->i.len;
	return bytes;
}

/* For --stats; no flag is touched. */
static void count_run(struct jit *j)
{
	emit_load(j, T2, CPU_OFF(stats.jit_runs));
	emit_rm(j, 0x8d, T2, T2, 1);			/* lea */
	emit_store(j, T2, CPU_OFF(stats.jit_runs));
}

/* What is known before code is emitted; false: there is no such block. */
static bool prepare(struct jit *j, uint8_t loc, bool ways)
{
	if (!read_code(j, ways))
		return false;
	j->looked_ahead = false;
	j->loop.ways = ways;
	jit_loop_plan(j);
	jit_liveness(j);
	j->entry = j->nr && !jit_live_before(&j->insn[0]) ? FL_MEM | FL_HOST : loc;
	j->loc = j->entry == loc ? loc : FL_MEM;
	if (j->entry != (FL_MEM | FL_HOST) && !jit_loop_keeps_carry(j))
		jit_loop_off(j);
	return !ways || j->loop.on;
}

struct jit_block *jit_translate(struct jit *j, uint64_t rip, hva_t host,
				uint8_t loc, uint8_t variant)
{
	struct hw_stats *stats = &j->cpu->stats;
	struct jit_block *b;

	if (j->flush_wanted)
		jit_flush(j);
	if (jit_full(j))
		jit_make_room(j);
	j->rip = rip;
	j->host = host;
	j->variant = variant;
	j->mode = variant & JIT_CODE32 ? X86_MODE_PROT32 : X86_MODE_PROT64;
	if (!(jit_ways_may(j) && prepare(j, loc, true)) &&
	    !prepare(j, loc, false))
		return NULL;
	j->nr_slow = j->nr_miss = 0;
	j->fpu_checked = j->seg_checked = 0;
	j->fip = 0;
	jit_tombstone(j, rip, j->entry == FL_HOST);
	j->code = j->pos;
	if (j->check)
		jit_check_entry(j);
	if (j->cpu->cfg.jit_count)
		count_run(j);
	emit_block(j);
	b = jit_block_new(j);
	if (!b)
		return NULL;
	if (j->check)
		jit_check_new_block(j, b);
	stats->jit_blocks++;
	stats->jit_loops += j->loop.on;
	stats->jit_way_loops += j->loop.on && j->loop.ways;
	stats->jit_guest_bytes += guest_bytes(j);
	stats->jit_host_bytes += j->pos - j->code;
	return b;
}
