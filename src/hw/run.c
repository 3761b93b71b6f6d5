/* SPDX-License-Identifier: MIT */
/*
 * The run loop: fetch, look up, execute.
 *
 * Decoded instructions are cached by the host address of their first byte. A
 * cached one is used only when host memory still holds its bytes, so code that
 * is modified by whomever (the guest, another processor, a device of the client)
 * is never executed stale, and nothing has to be tracked. rip becomes a host
 * address through the fetch window (state.h): one subtraction and one compare
 * stand for page, rights and CS limit. Near the end of a page, and after every
 * change of context, fetch_careful() does it step by step.
 *
 * Entries are filled in a ring, in the order of first execution, so that code that
 * runs straight on has its entries side by side for the host's prefetchers; the
 * oldest is overwritten. An index by hash finds an entry; one that has been
 * overwritten meanwhile is told by its tag.
 *
 * Each entry remembers which one ran after it. The guess is checked against rip
 * like any entry, but it makes the next entry's address known without waiting for
 * rip and the hash of it: what bounds the loop is then the guest's own chain of
 * dependencies.
 *
 * The fast loop looks at nothing but the result of the instruction and
 * cpu->request; all that could happen between two instructions sets a bit there
 * (events.c). Instructions that may change who runs, or open an interrupt
 * shadow, are executed through wrappers (hw_exec_system, exec_shadow) put into the
 * cache entry, so that the others pay nothing for them. A budget bounds how long
 * the loop runs without looking at the preemption timer.
 *
 * When TF, RF, an interrupt shadow, instruction breakpoints or the monitor trap
 * flag are in force, step() runs one instruction with their rules.
 */
#include <errno.h>
#include <string.h>

#include "base/access.h"
#include "hw/core.h"

#define RUN_BUDGET	4096	/* instructions between two looks around */
#define FETCH_ROOM	16	/* bytes that a lookup may read */

/* --- wrappers ------------------------------------------------------------------- */

static int exec_shadow(struct x86_emulate_ctxt *c)
{
	int rc;

	c->shadow = 0;
	rc = x86_emulate_insn(c);
	if (rc == X86EMUL_CONTINUE)
		hw_flags_changed(c);
	if (rc == X86EMUL_CONTINUE && c->shadow) {
		hw_of(c)->shadow = c->shadow;
		hw_set_request(hw_of(c), HW_REQ_EVENT);
	}
	return rc;
}

static bool is_system(enum x86_op op)
{
	static const uint16_t ops[] = {
		X86_OP_IRET, X86_OP_SYSCALL, X86_OP_SYSRET, X86_OP_SYSENTER,
		X86_OP_SYSEXIT, X86_OP_JMP_FAR, X86_OP_CALL_FAR,
		X86_OP_RET_FAR, X86_OP_POPF, X86_OP_CLAC, X86_OP_STAC,
		X86_OP_INT, X86_OP_INT3, X86_OP_INTO, X86_OP_ICEBP,
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i] == op)
			return true;
	return false;
}

static x86_exec_fn resolve(const struct x86_insn *insn)
{
	x86_exec_fn form = hw_transfer_form(insn);

	if (!form)
		form = hw_in_place_form(insn);
	if (form)
		return form;
	if (insn->row->attr & I_SHADOW)
		return exec_shadow;
	if (is_system(insn->row->op))
		return hw_exec_system;
	return x86_emulate_resolve(insn);
}

/* --- decoded-instruction cache ----------------------------------------------------- */

/* Where the number of the entry for @host is. */
static __force_inline uint32_t *icache_index(const struct hw_cpu *cpu,
					     uintptr_t host)
{
	/* Instructions are about 4 bytes apart: spread by a multiplication. */
	uint32_t h = (uint32_t)host * 0x9e3779b1u;

	return &cpu->icache_index[h >> (32 - HW_ICACHE_INDEX_BITS)];
}

static __force_inline struct hw_icache_entry *
icache_lookup(const struct hw_cpu *cpu, uintptr_t host)
{
	return &cpu->icache[*icache_index(cpu, host)];
}

static uint64_t low_bytes(unsigned n)
{
	return n >= 8 ? ~0ull : BIT_ULL(8 * n) - 1;
}

/* Fills @e from c->insn-to-be in e->insn. */
static void icache_set(struct hw_icache_entry *e, uint64_t tag)
{
	uint8_t b[16] = { 0 };
	unsigned len = e->insn.len;

	__builtin_memcpy(b, e->insn.bytes, X86_MAX_INSN_LEN);
	__builtin_memcpy(&e->bytes, b, 8);
	__builtin_memcpy(&e->bytes_hi, b + 8, 8);
	e->mask = low_bytes(len);
	e->mask_hi = len > 8 ? low_bytes(len - 8) : 0;
	e->bytes &= e->mask;
	e->bytes_hi &= e->mask_hi;
	e->exec = resolve(&e->insn);
	e->next = e;
	e->tag = tag;
}

/* Makes @e the entry of its address; the ring moves on. */
static void icache_keep(struct hw_cpu *cpu, struct hw_icache_entry *e)
{
	uint64_t host = e->tag << 8 >> 8;	/* without the mode */
	uint32_t nr = e - cpu->icache;

	*icache_index(cpu, host) = nr;
	if (nr == cpu->icache_pos)
		cpu->icache_pos = (nr + 1) & ((1u << HW_ICACHE_BITS) - 1);
}

/* --- fetch ---------------------------------------------------------------------------- */

/* Where rip is, in linear terms, and how many bytes CS's limit leaves. */
static int fetch_address(struct x86_emulate_ctxt *c, uint64_t *la,
			 uint64_t *limit)
{
	const struct x86_segment *cs = &c->seg[X86_CS];

	*limit = ~0ull;
	*la = c->rip;
	if (c->mode == X86_MODE_PROT64)
		return is_canonical(*la, c->cr4 & X86_CR4_LA57) ?
			X86EMUL_CONTINUE : hw_gp(c);
	if (c->rip > cs->limit)
		return hw_gp(c);
	*limit = cs->limit - c->rip + 1;
	*la = (uint32_t)(cs->base + c->rip);
	return X86EMUL_CONTINUE;
}

/* Opens the window on the page at @la, whose byte there is at @host. */
static void open_window(struct hw_cpu *cpu, uint64_t la, uintptr_t host,
			uint64_t limit)
{
	uint64_t in_page = la & ~PAGE_MASK;
	uint64_t len = PAGE_SIZE - FETCH_ROOM + 1;

	if (limit < PAGE_SIZE) {
		/* The limit ends in this page or the next: stay clear of it. */
		uint64_t end = in_page + limit;

		if (end < FETCH_ROOM)
			return;
		len = MIN(len, end - FETCH_ROOM + 1);
	}
	cpu->win_start = cpu->c.rip - in_page;
	cpu->win_host = host - in_page;
	cpu->win_mode = (uint64_t)cpu->c.mode << 56 | BIT_ULL(63);
	cpu->win_len = len;
}

static int decode_error(struct x86_emulate_ctxt *c, enum x86_decode_result r)
{
	return r == X86_DECODE_TOO_LONG || r == X86_DECODE_TRUNCATED ?
		hw_gp(c) : hw_ud(c);
}

/* A full fetch is two overlapping quadwords, a short one byte by byte. */
static int copy_code(uint8_t *buf, const void *host, unsigned n)
{
	const uint8_t *p = host;
	uint64_t a, b;
	unsigned i;

	if (likely(n == X86_MAX_INSN_LEN)) {
		if (host_read_64(p, &a) || host_read_64(p + 7, &b))
			return -EFAULT;
		__builtin_memcpy(buf, &a, 8);
		__builtin_memcpy(buf + 7, &b, 8);
		return 0;
	}
	for (i = 0; i < n; i++)
		if (host_read_8(p + i, &buf[i]))
			return -EFAULT;
	return 0;
}

/*
 * Up to 15 bytes at @la into @buf: those in the first page, and when @both those
 * in the next one too. enum x86emul.
 */
static int fetch_bytes(struct hw_cpu *cpu, uint64_t la, uint8_t *buf,
		       unsigned want, bool both, void **first)
{
	unsigned room = PAGE_SIZE - (la & ~PAGE_MASK);
	unsigned n = MIN(want, room);
	uint64_t next = la + room;
	void *p;
	int rc;

	rc = hw_tlb_access(cpu, la, X86_TLB_FETCH, 0, first);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (copy_code(buf, *first, n))
		return hw_host_fault(cpu, *first);
	if (!both || want <= n)
		return X86EMUL_CONTINUE;
	if (cpu->c.mode != X86_MODE_PROT64)
		next = (uint32_t)next;
	rc = hw_tlb_access(cpu, next, X86_TLB_FETCH, 0, &p);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (copy_code(buf + n, p, want - n))
		return hw_host_fault(cpu, p);
	return X86EMUL_CONTINUE;
}

/*
 * Does @e hold the instruction that @buf's first @n bytes begin with? One that reaches
 * into the next page, as the bytes so far then say, has the rest of @want fetched.
 */
static int entry_matches(struct hw_cpu *cpu, const struct hw_icache_entry *e,
			 uint64_t la, uint8_t *buf, unsigned n, unsigned want,
			 bool *match)
{
	unsigned len = e->insn.len;
	void *host;
	int rc;

	*match = !memcmp(e->insn.bytes, buf, MIN(len, n));
	if (likely(len <= n) || !*match)
		return X86EMUL_CONTINUE;
	cpu->stats.careful_fetches++;
	rc = fetch_bytes(cpu, la, buf, want, true, &host);
	*match = len <= want && !memcmp(e->insn.bytes, buf, len);
	return rc;
}

/*
 * The instruction at rip, whatever is in the way. The second page is touched
 * only by instructions that reach into it, so that its faults are theirs.
 */
static __noinline int fetch_careful(struct hw_cpu *cpu,
				    struct hw_icache_entry **out)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint8_t buf[X86_MAX_INSN_LEN];
	struct hw_icache_entry *e;
	enum x86_decode_result r;
	uint64_t la, limit, tag;
	unsigned want, n;
	bool match;
	void *host;
	int rc;

	/* Until there is one, no instruction is at work. */
	c->insn = NULL;
	rc = fetch_address(c, &la, &limit);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	want = MIN(limit, X86_MAX_INSN_LEN);
	n = MIN(want, PAGE_SIZE - (la & ~PAGE_MASK));
	rc = fetch_bytes(cpu, la, buf, n, false, &host);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	open_window(cpu, la, (uintptr_t)host, limit);
	tag = (uintptr_t)host ^ ((uint64_t)c->mode << 56 | BIT_ULL(63));
	e = icache_lookup(cpu, (uintptr_t)host);
	*out = e;
	if (e->tag == tag) {
		rc = entry_matches(cpu, e, la, buf, n, want, &match);
		if (rc != X86EMUL_CONTINUE || match)
			return rc;
	}
	/* Other bytes at the same place reuse its entry. */
	if (e->tag != tag)
		e = *out = &cpu->icache[cpu->icache_pos];
	e->tag = 0;
	cpu->stats.decodes++;
	r = x86_decode(&e->insn, buf, n, c->mode);
	if (r == X86_DECODE_TRUNCATED && n < want) {
		cpu->stats.careful_fetches++;
		rc = fetch_bytes(cpu, la, buf, want, true, &host);
		if (rc != X86EMUL_CONTINUE)
			return rc;
		r = x86_decode(&e->insn, buf, want, c->mode);
	}
	if (r != X86_DECODE_OK)
		return decode_error(c, r);
	icache_set(e, tag);
	icache_keep(cpu, e);
	return X86EMUL_CONTINUE;
}

static __force_inline bool bytes_same(const struct hw_icache_entry *e,
				      const void *host)
{
	uint64_t q;

	if (unlikely(host_read_64(host, &q)) || ((q ^ e->bytes) & e->mask))
		return false;
	if (likely(!e->mask_hi))
		return true;
	return !host_read_64((const char *)host + 8, &q) &&
	       !((q ^ e->bytes_hi) & e->mask_hi);
}

/* --- execution ---------------------------------------------------------------------------- */

/* An instruction ended otherwise than well. */
static __noinline void not_continue(struct hw_cpu *cpu, int rc)
{
	struct x86_emulate_ctxt *c = &cpu->c;

	cpu->db_match = 0;
	/* A handler that failed half way may have left a derived state. */
	emul_update_mode(c);
	hw_tlb_context(cpu);
	switch (rc) {
	case X86EMUL_PROPAGATE_FAULT:
		hw_exception(cpu, &c->exception);
		break;
	case X86EMUL_INTERCEPTED:
	case X86EMUL_HOST_ERROR:
	case X86EMUL_RETRY_INSTR:
		break;
	default:
		cpu->stats.unhandled++;
		hw_ud(c);
		hw_exception(cpu, &c->exception);
		break;
	}
}

/*
 * The entry for rip, which ran after @prev: the guess, the cache, or decoded.
 * enum x86emul.
 */
static __force_inline int fetch(struct hw_cpu *cpu, struct hw_icache_entry *prev,
				struct hw_icache_entry **out)
{
	uint64_t off = cpu->c.rip - cpu->win_start;
	uintptr_t host = cpu->win_host + off;
	struct hw_icache_entry *e = prev->next;
	int rc;

	if (unlikely(off >= cpu->win_len))
		goto careful;
	if (unlikely(e->tag != (host ^ cpu->win_mode))) {
		e = icache_lookup(cpu, host);
		if (unlikely(e->tag != (host ^ cpu->win_mode)))
			goto careful;
		prev->next = e;
	}
	*out = e;
	if (likely(bytes_same(e, (const void *)host)))
		return X86EMUL_CONTINUE;
careful:
	rc = fetch_careful(cpu, out);
	if (rc == X86EMUL_CONTINUE)
		prev->next = *out;
	return rc;
}

/* Runs until something needs attention. */
static void run_fast(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_icache_entry *e = cpu->icache;
	unsigned left = RUN_BUDGET;
	int rc;

	do {
		rc = fetch(cpu, e, &e);
		if (unlikely(rc != X86EMUL_CONTINUE))
			goto out;
		c->insn = &e->insn;
		rc = e->exec(c);
		if (unlikely(rc != X86EMUL_CONTINUE))
			goto out;
	} while (likely(!READ_ONCE(cpu->request)) && likely(--left));
	cpu->stats.instructions += RUN_BUDGET - left + !!left;
	return;
out:
	cpu->stats.instructions += RUN_BUDGET - left;
	not_continue(cpu, rc);
}

void hw_interp(struct hw_cpu *cpu)
{
	run_fast(cpu);
}

int hw_interp_peek(struct hw_cpu *cpu, const struct x86_insn **insn, x86_exec_fn *form)
{
	struct hw_icache_entry *e = cpu->icache;
	int rc = fetch(cpu, e, &e);

	*insn = &e->insn;
	*form = e->exec;
	return rc;
}

int hw_interp_insn(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_icache_entry *e = cpu->icache;
	int rc = fetch(cpu, e, &e);

	if (rc == X86EMUL_CONTINUE) {
		c->insn = &e->insn;
		rc = e->exec(c);
	}
	cpu->stats.interpreted++;
	if (rc != X86EMUL_CONTINUE)
		not_continue(cpu, rc);
	return rc;
}

x86_exec_fn hw_exec_form(const struct x86_insn *insn)
{
	return resolve(insn);
}

int hw_exec_insn(struct hw_cpu *cpu, const struct x86_insn *insn, x86_exec_fn form)
{
	int rc;

	cpu->c.insn = insn;
	rc = form(&cpu->c);
	cpu->stats.interpreted++;
	if (unlikely(rc != X86EMUL_CONTINUE))
		not_continue(cpu, rc);
	return rc;
}

void hw_interp_stretch(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct hw_icache_entry *e = cpu->icache;
	unsigned left = RUN_BUDGET;
	int rc;

	do {
		rc = fetch(cpu, e, &e);
		if (rc == X86EMUL_CONTINUE) {
			c->insn = &e->insn;
			rc = e->exec(c);
		}
		if (unlikely(rc != X86EMUL_CONTINUE)) {
			not_continue(cpu, rc);
			break;
		}
	} while (!READ_ONCE(cpu->request) && --left &&
		 !(e->insn.row->attr & I_JUMP));
	cpu->stats.interpreted += RUN_BUDGET - left;
}

/* Did TF's trap come with this instruction? "Single-Step Exception Condition":
 * not after one that loaded SS, nor after a delivery, which clears TF. */
static bool traps(const struct hw_cpu *cpu, uint64_t flags, uint64_t next)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	enum x86_op op = c->insn->row->op;

	if (!(flags & X86_EFLAGS_TF) || (cpu->shadow & X86_SHADOW_MOV_SS))
		return false;
	if (op == X86_OP_INT || op == X86_OP_INT3 || op == X86_OP_INTO ||
	    op == X86_OP_ICEBP)
		return c->rip == next && (c->eflags & X86_EFLAGS_TF);
	if (op == X86_OP_SYSCALL || op == X86_OP_SYSRET || op == X86_OP_SYSENTER)
		return c->eflags & X86_EFLAGS_TF;
	/* DEBUGCTL.BTF: branches only. */
	return !(cpu->msr.debugctl & BIT(1)) || c->rip != next;
}

/* One instruction with the rules that the fast loop has no time for. */
static void step(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t flags = c->eflags, rip = c->rip, next;
	uint8_t shadow = cpu->shadow;
	struct hw_icache_entry *e;
	int rc;

	cpu->mtf_pending = cpu->ctl.mtf;
	rc = fetch_careful(cpu, &e);
	if (rc != X86EMUL_CONTINUE) {
		not_continue(cpu, rc);
		return;
	}
	c->insn = &e->insn;
	next = rip + e->insn.len;
	if (flags & X86_EFLAGS_TF)
		c->rep_limit = 1;
	c->shadow = 0;
	rc = e->exec(c);
	c->rep_limit = hw_rep_limit(cpu);
	if (rc != X86EMUL_CONTINUE) {
		not_continue(cpu, rc);
		return;
	}
	cpu->stats.instructions++;
	/* A shadow lasts for one instruction and is not renewed by the next. */
	cpu->shadow = c->shadow & ~shadow;
	/* RF covers one instruction; IRET loads it for the one after. */
	if ((flags & X86_EFLAGS_RF) && c->rip != rip &&
	    c->insn->row->op != X86_OP_IRET)
		c->eflags &= ~(uint64_t)X86_EFLAGS_RF;
	if (traps(cpu, flags, next))
		cpu->pending_db |= X86_DR6_BS;
	hw_set_request(cpu, HW_REQ_EVENT);
}

static void enter(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;

	cpu->stats.entries++;
	cpu->in_guest = true;
	cpu->host_error = cpu->check_failed = false;
	cpu->db_match = 0;
	cpu->mtf_pending = false;
	hw_clear_request(cpu, HW_REQ_EXIT);
	if (unlikely(cpu->in_place.kept))
		hw_in_place_forget(cpu);
	c->insn = NULL;
	emul_update_mode(c);
	hw_dr7_changed(cpu);
	if (!cpu->ctl.asid)
		hw_tlb_flush_asid(cpu, 0, true);
	cpu->win_len = 0;
	hw_tlb_context(cpu);
	if (cpu->jit_ops)
		hw_code_sync(cpu, false);
}

void hw_run(struct hw_cpu *cpu)
{
	enter(cpu);
	if (cpu->ctl.inject_valid) {
		hw_inject(cpu);
		/* A trap-flag exit follows an injection at once. */
		cpu->mtf_pending = cpu->ctl.mtf;
	}
	while (!hw_boundary(cpu)) {
		if (unlikely(cpu->step))
			step(cpu);
		else if (cpu->jit_ops)
			cpu->jit_ops->run(cpu);
		else
			run_fast(cpu);
	}
	hw_clear_request(cpu, HW_REQ_EXIT);
	cpu->last_insn = cpu->c.insn;
	cpu->in_guest = false;
	cpu->stats.exits++;
	if (cpu->jit_ops)
		hw_code_sync(cpu, true);
	hw_fpu_leave(cpu);
}
