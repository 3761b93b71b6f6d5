/* SPDX-License-Identifier: MIT */
/*
 * From the run loop into translated code, and the C functions that it calls.
 *
 * While translated code runs the guest's registers are in the host's; a stub stores
 * them before it calls C and loads them after. The status flags are in
 * hw_jit_state.flags then, and go to eflags (jit_status_in_eflags()) before anything
 * looks at the guest's state; what C may have changed comes back in jit_refresh().
 *
 * Each function returns an address: where to go on; 0 from FN_EXEC: after the
 * instruction. Whenever there is something to be done that translated code does not
 * do (a request, a context that is not translated, cold code) that is the stub which
 * leaves, and hw_run() takes it from there.
 *
 * Not translated: every mode but 64-bit mode and 32-bit code in flat segments; 5-level
 * paging; single steps (hw_run() does not come here); accesses that must be seen one by
 * one; a guest with the VMX-preemption timer on, whose interpreter looks at the clock.
 */
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hold.h"
#include "base/tsc.h"
#include "emul/alu.h"
#include "jit/jit.h"

#define RUN_TURNS	64	/* before hw_run() looks around */
#define RELINK		16	/* a link for so many lookups */
#define HWCAP2_FSGSBASE	BIT(1)
#define ARCH_SET_GS	0x1001
#define ARCH_GET_GS	0x1004

static bool is_code32(const struct x86_emulate_ctxt *c)
{
	return c->mode == X86_MODE_PROT32;
}

/* All but FS and GS, which operands have bases for (mem.c). */
static bool is_flat32(const struct x86_emulate_ctxt *c)
{
	const uint8_t need = BIT(X86_ES) | BIT(X86_SS) | BIT(X86_DS);
	const struct x86_segment *cs = &c->seg[X86_CS];

	return is_code32(c) && c->stack_size == 4 && (c->flat & need) == need &&
	       !cs->base && cs->limit == UINT32_MAX;
}

bool jit_is_translated(const struct hw_cpu *cpu)
{
	return (cpu->c.mode == X86_MODE_PROT64 || is_flat32(&cpu->c)) &&
	       cpu->c.tlb == cpu->tlb_entries &&
	       !(cpu->c.cr4 & (X86_CR4_LA57 | X86_CR4_LAM_SUP)) &&
	       !(cpu->c.cr3 & X86_CR3_LAM) &&
	       cpu->ctl.preemption_deadline == UINT64_MAX;
}

void jit_status_in_eflags(struct hw_cpu *cpu)
{
	alu_set_flags(&cpu->c.eflags, cpu->jit.flags);
}

/* What the control block, which is the same for a whole run, leaves to the guest. */
static void refresh_free(struct hw_cpu *cpu)
{
	const struct hw_ctl *ctl = &cpu->ctl;
	struct jit_free *f = &cpu->jit.jit->free;

	f->sti = !ctl->host_if && !hw_ctl_has(ctl, X86_INTERCEPT_INTR_WINDOW);
	f->popf = !hw_ctl_has(ctl, X86_INTERCEPT_POPF);
	f->tsc = !ctl->tsc_multiplier &&
		 !hw_ctl_has(ctl, X86_INTERCEPT_RDTSC) &&
		 !hw_ctl_has(ctl, X86_INTERCEPT_RDTSCP);
	/* A control of VMX's hides RDTSCP. */
	f->tscp = cpu->c.features[X86_FEATURE_RDTSCP / 64] >>
		  (X86_FEATURE_RDTSCP % 64) & 1;
	f->pushf = !hw_ctl_has(ctl, X86_INTERCEPT_PUSHF);
	__builtin_memset(cpu->jit.base_at, 0, sizeof(cpu->jit.base_at));
}

#define XCR0_YMM	(X86_XCR0_SSE | X86_XCR0_AVX)
#define XCR0_ZMM	(XCR0_YMM | X86_XCR0_AVX512)

static void refresh_fpu(struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	bool live = cpu->fpu_loaded && !(c->cr0 & X86_CR0_TS), xsave;

	if (!live) {
		__builtin_memset(cpu->jit.fpu_ready, 0, sizeof(cpu->jit.fpu_ready));
		return;
	}
	xsave = c->cr4 & X86_CR4_OSXSAVE;
	cpu->jit.fpu_ready[HW_JIT_SSE] = c->cr4 & X86_CR4_OSFXSR && !(c->cr0 & X86_CR0_EM);
	cpu->jit.fpu_ready[HW_JIT_X87] = !(c->cr0 & X86_CR0_EM) && c->fpu_ptr.valid &&
					 c->fpu_ptr.masked;
	cpu->jit.fpu_ready[HW_JIT_YMM] = xsave && (c->xcr0 & XCR0_YMM) == XCR0_YMM;
	cpu->jit.fpu_ready[HW_JIT_ZMM] = xsave && (c->xcr0 & XCR0_ZMM) == XCR0_ZMM;
}

/* Any base will do: addresses wrap. */
static bool is_whole(const struct x86_segment *s)
{
	const uint32_t mask = X86_AR_UNUSABLE | X86_AR_P | X86_AR_S | X86_AR_CODE |
			      X86_AR_CE | X86_AR_RW;

	return s->limit == UINT32_MAX &&
	       (s->ar & mask) == (X86_AR_P | X86_AR_S | X86_AR_RW);
}

/* Of 64-bit code, or such as @calls says, at @cpl. */
static struct hw_jit_rights rights(const struct hw_cpu *cpu, unsigned cpl, bool calls)
{
	const struct jit_free *f = &cpu->jit.jit->free;
	bool sti = !cpl && f->sti && !cpu->ctl.v_irq;
	bool tsc = f->tsc && !(cpl && cpu->c.cr4 & X86_CR4_TSD);

	return (struct hw_jit_rights){
		.cli = !cpl, .sti = sti, .popf = sti && f->popf, .pushf = f->pushf,
		.tsc = tsc, .tscp = tsc && f->tscp,
		.syscall = cpl == 3 && calls, .sysret = sti && calls,
	};
}

/* SYSCALL and SYSRET to 64-bit code do what level.c does for them. */
static bool may_call(const struct x86_emulate_ctxt *c)
{
	return c->mode == X86_MODE_PROT64 && c->efer & X86_EFER_SCE &&
	       c->features[X86_FEATURE_SYSCALL / 64] >> (X86_FEATURE_SYSCALL % 64) & 1;
}

uintptr_t jit_levels(struct hw_cpu *cpu, uint64_t t1, uint64_t t2)
{
	bool calls = may_call(&cpu->c) && *cpu->level_key[0] && *cpu->level_key[1];
	unsigned who;

	for (who = 0; who < HW_JIT_WHO; who++) {
		struct hw_jit_level *l = &cpu->jit.level[who];
		uint64_t key = *cpu->level_key[who];

		l->key = key << 32;
		l->link_epoch = cpu->jit.jit->link_generation << 12 | key;
		l->ok = rights(cpu, who ? 3 : 0, calls);
		if (unlikely(cpu->jit.slot_key[who] != key))
			jit_slots_new_key(cpu, who, key);
	}
	cpu->jit.ok = rights(cpu, cpu->c.cpl, calls);
	cpu->jit.levels = true;
	return 0;
}

void jit_void_levels(struct hw_cpu *cpu)
{
	unsigned who;

	cpu->jit.levels = true;
	cpu->jit.ok.syscall = cpu->jit.ok.sysret = 0;
	for (who = 0; who < HW_JIT_WHO; who++)
		cpu->jit.level[who].ok.syscall = cpu->jit.level[who].ok.sysret = 0;
}

/* Who runs what; targets and return stack are for one of them. */
static void refresh_context(struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t key = c->tlb_key << 32;

	cpu->jit.who = c->cpl == 3;
	cpu->jit.levels = false;
	cpu->jit.ok = rights(cpu, c->cpl, false);
	if (unlikely(cpu->jit.slot_key[cpu->jit.who] != c->tlb_key))
		jit_slots_new_key(cpu, cpu->jit.who, c->tlb_key);
	cpu->jit.context = cpu->jit.who;
	if (is_code32(c)) {
		cpu->jit.context |= JIT_CODE32;
		key |= JIT_KEY_CODE32;
		cpu->jit.seg_ok[0] = is_whole(&c->seg[X86_FS]);
		cpu->jit.seg_ok[1] = is_whole(&c->seg[X86_GS]);
	}
	if (cpu->jit.key != key) {
		cpu->jit.key = key;
		cpu->target_key = key >> 32;
		cpu->jit.unwind = true;
	}
}

void jit_refresh(struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	cpu->jit.tsc_add = cpu->ctl.tsc_offset - cpu->tsc_base + time_tsc_add();
	cpu->link_epoch = cpu->jit.jit->link_generation << 12 | c->tlb_key;
	cpu->jit.flags = alu_pack(c->eflags);
	refresh_fpu(cpu);
	refresh_context(cpu);
}

/* Counts executions of cold code: is it time? */
static bool is_hot(struct jit *j, hva_t host)
{
	uint8_t *heat = jit_cold(j, host);

	if (!*heat)
		return true;
	--*heat;
	return false;
}

/* Where the instruction pointer wraps, or reaches CS's limit, the interpreter knows. */
static bool is_at_the_end(const struct x86_emulate_ctxt *c)
{
	return is_code32(c) && c->rip >= UINT32_MAX - PAGE_SIZE;
}

struct jit_block *jit_get_block(struct hw_cpu *cpu, uint8_t loc, uint8_t plain)
{
	struct jit *j = cpu->jit.jit;
	uint64_t rip = cpu->c.rip, start;
	struct jit_block *b;
	hva_t host;

	if (!is_canonical(rip, false) || is_at_the_end(&cpu->c) ||
	    hw_fetch_host(cpu, rip, &host) != X86EMUL_CONTINUE)
		return NULL;
	/* What is cold has no block, or does not need it. */
	if (!is_hot(j, host))
		return NULL;
	jit_page_check(j, host);
	b = jit_block_find(j, rip, host, loc, cpu->jit.context | plain);
	if (b)
		return b;
	start = host_rdtsc();
	b = hw_code_is_hot(host) ? NULL :
		jit_translate(j, rip, host, loc, cpu->jit.context | plain);
	cpu->stats.jit_cycles += host_rdtsc() - start;
	j->refused = !b;
	return b;
}

/* The code for rip with the flags in memory, or 0. */
static uintptr_t code_for_rip(struct hw_cpu *cpu)
{
	struct jit *j = cpu->jit.jit;
	const struct hw_jit_targets *t = &cpu->jit.hash;
	unsigned i = jit_target_index(cpu->c.rip);
	struct jit_block *b;

	if ((t->rip[i] == cpu->c.rip && t->key[i] == cpu->jit.key) ||
	    jit_target_again(j, cpu->c.rip))
		return t->code[i];
	cpu->stats.jit_lookups++;
	b = jit_get_block(cpu, FL_MEM, 0);
	if (!b)
		return 0;
	/* A walk may have changed the context's key. */
	jit_refresh(cpu);
	jit_target_set(j, cpu->c.rip, b);
	return (uintptr_t)j->rx + b->code;
}

/*
 * Is there a request? If not the limit is in force again that hw_set_request() takes
 * away; it sets its bit first, we look at the bits last.
 */
static bool requested(struct hw_cpu *cpu)
{
	if (READ_ONCE(cpu->jit.stack_limit) != cpu->jit.jit->stack_limit)
		__atomic_exchange_n(&cpu->jit.stack_limit,
				    cpu->jit.jit->stack_limit, __ATOMIC_SEQ_CST);
	return READ_ONCE(cpu->request);
}

/* State is in memory and complete; where to go on. */
static uintptr_t go_on(struct hw_cpu *cpu)
{
	struct jit *j = cpu->jit.jit;
	uintptr_t code = 0;

	jit_refresh(cpu);
	if (!requested(cpu) && jit_is_translated(cpu))
		code = code_for_rip(cpu);
	return code ? code : (uintptr_t)j->rx + j->leave;
}

/* The instruction at rip; @nr: it is number @nr - 1 of jit.execs, 0: find it. */
static int exec(struct hw_cpu *cpu, uint32_t nr)
{
	struct jit *j = cpu->jit.jit;
	const struct jit_exec *e = j->execs + nr - 1;
	int rc;

	cpu->stats.jit_execs++;
	rc = nr ? hw_exec_insn(cpu, &e->insn, e->form) : hw_interp_insn(cpu);
	cpu->walked.valid = false;
	if (unlikely(j->left) && cpu->c.insn)
		jit_left_add(j, cpu->c.insn, !nr);
	return rc;
}

bool jit_exec(struct hw_cpu *cpu, uint64_t rip, uint32_t nr)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t gen = cpu->jit.slot_gen;
	bool fpu = cpu->fpu_loaded;
	int rc;

	jit_status_in_eflags(cpu);
	c->rip = rip;
	if (cpu->jit.faulted) {
		cpu->jit.faulted = false;
		hw_fault(cpu);
		return false;
	}
	rc = exec(cpu, nr);
	if (unlikely(rc != X86EMUL_CONTINUE) || unlikely(READ_ONCE(cpu->request)) ||
	    unlikely(c->rip != rip + c->insn->len) || unlikely(!jit_is_translated(cpu)))
		return false;
	jit_refresh(cpu);
	/* Its own block may be what is void, or what it has checked of groups or the
	 * FPU's state. */
	return likely(!cpu->jit.unwind) && likely(gen == cpu->jit.slot_gen) &&
	       likely(cpu->fpu_loaded >= fpu);
}

static uintptr_t fn_exec(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	return jit_exec(cpu, rip, nr) ? 0 : go_on(cpu);
}

static uintptr_t fn_exec_end(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	jit_status_in_eflags(cpu);
	cpu->c.rip = rip;
	exec(cpu, nr);
	return go_on(cpu);
}

static uintptr_t fn_go(struct hw_cpu *cpu, uint64_t rip)
{
	jit_status_in_eflags(cpu);
	cpu->c.rip = rip;
	return go_on(cpu);
}

/*
 * The jump whose rel32 is at @site wants to go to @rip in its own page. LINK_HOST:
 * its flags are in the host's register there, and the stub puts them back.
 */
static uintptr_t fn_link(struct hw_cpu *cpu, uint64_t rip, uint64_t site)
{
	struct jit *j = cpu->jit.jit;
	uint32_t rel32 = site & ~(LINK_HOST | LINK_PLAIN | LINK_BACK);
	uint8_t loc = site & LINK_HOST ? FL_HOST : FL_MEM;
	uint8_t plain = site & LINK_PLAIN ? JIT_PLAIN : 0;
	uint32_t generation = j->generation;
	struct jit_block *b = NULL;
	bool link = true;

	jit_status_in_eflags(cpu);
	cpu->c.rip = rip;
	jit_refresh(cpu);
	if (!requested(cpu) && jit_is_translated(cpu))
		b = jit_get_block(cpu, loc, plain);
	if (b && site & LINK_BACK && !jit_is_head(j, b->host)) {
		link = jit_head_seen(j, b->host);
		if (link) {
			jit_retranslate(j, b->code);
			b = jit_get_block(cpu, loc, plain);
		}
	}
	if (!b)
		return (uintptr_t)j->rx + j->leave;
	jit_refresh(cpu);
	if (link && generation == j->generation)
		jit_link_near(j, rel32, b->code);
	return (uintptr_t)j->rx + b->code;
}

/* As fn_go(), and the jump to another page at @site is linked. */
static uintptr_t fn_far(struct hw_cpu *cpu, uint64_t rip, uint64_t site)
{
	struct jit *j = cpu->jit.jit;
	uint32_t generation = j->generation;
	uintptr_t code = fn_go(cpu, rip);

	cpu->jit.relink = RELINK;
	if (generation == j->generation && code != (uintptr_t)j->rx + j->leave)
		jit_link_far(j, site, code - (uintptr_t)j->rx);
	return code;
}

void jit_helpers_init(struct hw_cpu *cpu)
{
	struct jit *j = cpu->jit.jit;

	cpu->jit.fn[FN_EXEC] = (uintptr_t)fn_exec;
	cpu->jit.fn[FN_EXEC_END] = (uintptr_t)fn_exec_end;
	cpu->jit.fn[FN_GO] = (uintptr_t)fn_go;
	cpu->jit.fn[FN_LINK] = (uintptr_t)fn_link;
	cpu->jit.fn[FN_VARY] = (uintptr_t)jit_slot_spent;
	cpu->jit.fn[FN_WALK] = (uintptr_t)jit_walk;
	cpu->jit.fn[FN_FAR] = (uintptr_t)fn_far;
	cpu->jit.fn[FN_IS_LONG] = (uintptr_t)jit_loop_is_long;
	cpu->jit.fn[FN_CACHE] = (uintptr_t)jit_cache_link;
	cpu->jit.fn[FN_LEVELS] = (uintptr_t)jit_levels;
	cpu->jit.fn[FN_GIVE_BACK] = (uintptr_t)hw_tlb_give_back;
	if ((uintptr_t)cpu + sizeof(*cpu) <= INT32_MAX)
		j->base = (uintptr_t)cpu;
	else
		j->fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
	emit_stubs(j);
	jit_check_init(cpu);
}

static __noinline long arch_prctl(long code, uintptr_t arg)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(SYS_arch_prctl), "D"(code), "S"(arg)
			 : "rcx", "r11", "memory");
	return ret;
}

void jit_enter(struct hw_cpu *cpu, uintptr_t code)
{
	struct jit *j = cpu->jit.jit;
	void (*stub)(struct hw_cpu *cpu, uintptr_t code) =
		(void (*)(struct hw_cpu *, uintptr_t))(j->rx + j->enter);
	bool by_call = !j->base && !j->fsgsbase;
	uint64_t gs = 0;

	j->stack_limit = (uintptr_t)__builtin_frame_address(0) - JIT_STACK_BYTES;
	cpu->jit.unwind = false;
	if (requested(cpu))
		return;
	cpu->stats.jit_entries++;
	if (by_call) {
		arch_prctl(ARCH_GET_GS, (uintptr_t)&gs);
		arch_prctl(ARCH_SET_GS, (uintptr_t)cpu);
	}
	stub(cpu, code);
	if (by_call)
		arch_prctl(ARCH_SET_GS, gs);
	jit_status_in_eflags(cpu);
}

void jit_run(struct hw_cpu *cpu)
{
	unsigned turns = RUN_TURNS;
	uintptr_t code;

	if (cpu->jit.jit->entry_seen != cpu->stats.entries) {
		cpu->jit.jit->entry_seen = cpu->stats.entries;
		refresh_free(cpu);
	}
	if (unlikely(cpu->jit.jit->check)) {
		jit_check_run(cpu);
		return;
	}
	do {
		if (!jit_is_translated(cpu) || jit_after_fork(cpu->jit.jit)) {
			hw_interp(cpu);
			return;
		}
		jit_refresh(cpu);
		code = code_for_rip(cpu);
		if (code) {
			jit_enter(cpu, code);
		} else if (cpu->jit.jit->refused) {
			/* Not soon translated. */
			cpu->jit.jit->refused = false;
			hw_interp(cpu);
		} else {
			hw_interp_stretch(cpu);
		}
	} while (!READ_ONCE(cpu->request) && --turns);
}

const struct hw_jit_ops hw_jit = {
	.create = jit_create,
	.destroy = jit_destroy,
	.run = jit_run,
	.keys_reset = jit_keys_reset,
	.key_changed = jit_void_levels,
	.page_flushed = jit_page_flushed,
	.forget = jit_forget,
	.take_back = jit_take_back,
	.protect = jit_protect,
	.drop = jit_drop,
	.mapped = jit_mapped,
	.left_next = jit_left_next,
	.will_write = jit_check_will_write,
	.entry_marked = jit_check_entry_marked,
	.failure = jit_check_failure,
};
