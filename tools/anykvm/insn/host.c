// SPDX-License-Identifier: MIT
/*
 * The host's side: state goes in and comes out through signal frames.
 *
 * An INT3 of our own enters the handler, which replaces the interrupted context by
 * the one wanted - general registers, flags, CS (Linux honours a compatibility-mode
 * code segment there), the XSAVE image - and returns from the signal into the
 * instruction. Behind it and all around is INT3, so that the second signal comes
 * when it is done; a fault is a second signal too. The handler then stores the
 * context and puts our own back. No register is lost to a trampoline.
 *
 * What signal frames do not hold - DS, ES, FS, GS, the FS and GS bases - is written
 * at the end of the first handler and read at the start of the second. FS is our own
 * thread's pointer: nothing may use it in between, therefore the handlers call nothing
 * that does. Linux tells the vector, the error code and CR2 in the frame.
 *
 * RF is the processor's own business in saved flags and is dropped.
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/access.h"
#include "insn/host.h"

#define HWCAP2_FSGSBASE_BIT BIT(1)
#define STACK_BYTES	(256 * 1024)
#define CODE_BYTES	(2 * PAGE_SIZE)
#define FX_BYTES	512

static volatile enum { IDLE, ENTER, RUNNING } phase;
static const struct insn_state *run_in;
static struct insn_state *run_out;
static greg_t own_gregs[NGREG];
static uint64_t trapno, trap_error, trap_cr2;
static uint64_t own_fs, own_gs;
static bool fsgsbase, has_16bit;

/* --- segments ------------------------------------------------------------------ */

#define READ_SEG(name)							\
static __force_inline uint16_t read_##name(void)			\
{									\
	uint16_t v;							\
									\
	__asm__ volatile("mov %%" #name ", %0" : "=r"(v));		\
	return v;							\
}
#define WRITE_SEG(name)							\
static __force_inline void write_##name(uint16_t v)			\
{									\
	__asm__ volatile("mov %0, %%" #name : : "r"(v));		\
}
READ_SEG(ds) READ_SEG(es) READ_SEG(fs) READ_SEG(gs)
WRITE_SEG(ds) WRITE_SEG(es) WRITE_SEG(fs) WRITE_SEG(gs)

static __force_inline uint64_t rd_fs(void)
{
	uint64_t v;

	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

static __force_inline uint64_t rd_gs(void)
{
	uint64_t v;

	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}

static __force_inline void wr_fs(uint64_t v)
{
	__asm__ volatile("wrfsbase %0" : : "r"(v));
}

static __force_inline void wr_gs(uint64_t v)
{
	__asm__ volatile("wrgsbase %0" : : "r"(v));
}

/* Selectors first: loading one changes the base. */
static __force_inline void load_segments(const struct insn_state *s)
{
	write_ds(s->sel[X86_DS]);
	write_es(s->sel[X86_ES]);
	write_gs(s->sel[X86_GS]);
	if (!fsgsbase)
		return;
	if (!s->sel[X86_GS])
		wr_gs(s->gs_base);
	if (s->sel[X86_FS])
		write_fs(s->sel[X86_FS]);
	else
		wr_fs(s->fs_base);
}

static __force_inline void store_segments(struct insn_state *s)
{
	s->sel[X86_DS] = read_ds();
	s->sel[X86_ES] = read_es();
	s->sel[X86_FS] = read_fs();
	s->sel[X86_GS] = read_gs();
	if (fsgsbase) {
		s->fs_base = rd_fs();
		s->gs_base = rd_gs();
		if (s->sel[X86_FS])
			write_fs(0);
		wr_fs(own_fs);
	}
	write_ds(USER_DS);
	write_es(USER_DS);
	if (s->sel[X86_GS])
		write_gs(0);
	if (fsgsbase)
		wr_gs(own_gs);
}

/* --- contexts ------------------------------------------------------------------- */

static const uint8_t greg_of[X86_NR_GPRS] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

#define CS_OF(gregs)	((uint16_t)(gregs)[REG_CSGSFS])
#define SS_OF(gregs)	((uint16_t)((gregs)[REG_CSGSFS] >> 48))

static void load_context(ucontext_t *uc, const struct insn_state *s)
{
	greg_t *g = uc->uc_mcontext.gregs;
	uint8_t *x = (uint8_t *)uc->uc_mcontext.fpregs;
	uint64_t mask = fpu_mask();
	unsigned i;

	memcpy(own_gregs, g, sizeof(own_gregs));
	for (i = 0; i < X86_NR_GPRS; i++)
		g[greg_of[i]] = s->gpr[i];
	g[REG_RIP] = s->rip;
	g[REG_EFL] = s->eflags;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000) |
			s->sel[X86_CS] | (uint64_t)s->sel[X86_SS] << 48;
	/* Bytes 464-511 are the kernel's; MXCSR_MASK too. */
	memcpy(x, s->fpu.area, 28);
	memcpy(x + 32, s->fpu.area + 32, 416 - 32);
	memcpy(x + FX_BYTES, &mask, 8);
	memcpy(x + FX_BYTES + 64, s->fpu.area + FX_BYTES + 64,
	       X86_FPU_SIZE - FX_BYTES - 64 < 2688 - 576 ?
	       X86_FPU_SIZE - FX_BYTES - 64 : 2688 - 576);
}

static void store_context(ucontext_t *uc, struct insn_state *s)
{
	greg_t *g = uc->uc_mcontext.gregs;
	uint8_t *x = (uint8_t *)uc->uc_mcontext.fpregs;
	unsigned i;

	for (i = 0; i < X86_NR_GPRS; i++)
		s->gpr[i] = g[greg_of[i]];
	s->rip = g[REG_RIP];
	s->eflags = g[REG_EFL] & ~(uint64_t)X86_EFLAGS_RF;
	s->sel[X86_CS] = CS_OF(g);
	s->sel[X86_SS] = SS_OF(g);
	/* The kernel's IRET makes every null selector 0. */
	for (i = 0; i < X86_NR_USER_SEGS; i++)
		s->sel[i] = s->sel[i] & ~3 ? s->sel[i] : 0;
	memcpy(s->fpu.area, x, 2688);
	fpu_normalize(&s->fpu);
	trapno = g[REG_TRAPNO];
	trap_error = g[REG_ERR];
	trap_cr2 = g[REG_CR2];
	/* Back home, the FPU as after initialization. */
	memcpy(g, own_gregs, sizeof(own_gregs));
	memset(x + FX_BYTES, 0, 8);
	memcpy(x + 24, &(uint32_t){ X86_MXCSR_INIT }, 4);
}

/* No thread pointer here, before store_segments() and after load_segments(). */
static void on_signal(int sig, siginfo_t *si, void *ucontext)
{
	(void)si;
	/* AC, NT and the like are still the instruction's. */
	__asm__ volatile("pushq $0x202\n\tpopfq" : : : "cc", "memory");
	switch (phase) {
	case ENTER:
		phase = RUNNING;
		load_context(ucontext, run_in);
		load_segments(run_in);
		return;
	case RUNNING:
		store_segments(run_out);
		store_context(ucontext, run_out);
		phase = IDLE;
		return;
	default:
		if (!host_access_fixup(ucontext))
			signal(sig, SIG_DFL);
	}
}

static bool take_signals(void)
{
	static const int sigs[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction sa = {
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
		.sa_sigaction = on_signal,
	};
	stack_t ss = { .ss_size = STACK_BYTES };
	unsigned i;

	ss.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL))
		return false;
	host_access_owned();
	for (i = 0; i < ARRAY_SIZE(sigs); i++)
		if (sigaction(sigs[i], &sa, NULL))
			return false;
	return true;
}

static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static bool set_ldt(unsigned nr, unsigned contents, uint32_t base, uint32_t limit,
		    bool pages)
{
	struct user_desc d = {
		.entry_number = nr, .contents = contents, .base_addr = base,
		.limit = limit, .limit_in_pages = pages, .useable = 1,
	};

	return !syscall(SYS_modify_ldt, 1, &d, sizeof(d));
}

bool host_init(void)
{
	stay_on_one_cpu();
	fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &own_fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &own_gs);
	has_16bit = set_ldt(USER_CS16 / 8, MODIFY_LDT_CONTENTS_CODE, 0, 0xfffff,
			    true) &&
		    set_ldt(USER_DS16 / 8, MODIFY_LDT_CONTENTS_DATA, ARENA_BASE,
			    USER_DS16_LIMIT, false);
	memset(arena_at(ARENA_CODE), 0xcc, CODE_BYTES);
	return take_signals();
}

/* --- the LDT ---------------------------------------------------------------------- */

#define LDT_WRITE	0x11	/* of modify_ldt() */
#define FLAT		0xfffff
/* Pages up to, or beyond, the first one of the arena's data. */
#define HALF		(ARENA_DATA >> PAGE_SHIFT)

enum { DATA, DOWN, CODE, CONFORMING };

/* clang-format off */
static const struct { uint32_t limit; uint8_t contents; bool read_exec_only, d, absent; }
	ldt_rows[HOST_LDT_ENTRIES] = {
	{ FLAT,			DATA, false, true, false },
	{ FLAT,			DATA, true,  true, false },
	{ HALF - 0x100,		DOWN, false, true, false },
	{ HALF - 0x100,		DOWN, true,  true, false },
	{ HALF,			DATA, false, true, false },
	{ HALF,			DOWN, false, true, false },
	{ HALF,			DATA, false, false, false },
	{ FLAT,			CODE, false, true, false },
	{ FLAT,			CODE, true,  true, false },
	{ FLAT,			CODE, false, false, false },
	{ HALF,			CODE, false, true, false },
	{ FLAT,			DATA, false, true, true },
	{ FLAT,			CODE, false, true, true },
	{ FLAT,			CONFORMING, false, true, true },
};
/* clang-format on */

/* What Linux makes of row @n: accessed, DPL 3, page granularity. */
static uint64_t ldt_descriptor(unsigned n)
{
	const uint64_t type = 1 | !ldt_rows[n].read_exec_only << 1 |
			      ldt_rows[n].contents << 2;
	const uint64_t ar = type | 0x70 | !ldt_rows[n].absent << 7 | 0x8000 |
			    ldt_rows[n].d << 14;

	return (ldt_rows[n].limit & 0xffff) | ar << 40 |
	       (uint64_t)(ldt_rows[n].limit & 0xf0000) << 32;
}

unsigned host_ldt(uint64_t *table)
{
	unsigned n;

	for (n = 0; n < HOST_LDT_ENTRIES; n++) {
		struct user_desc d = {
			.entry_number = HOST_LDT_FIRST + n, .limit = ldt_rows[n].limit,
			.seg_32bit = ldt_rows[n].d, .limit_in_pages = 1,
			.contents = ldt_rows[n].contents,
			.read_exec_only = ldt_rows[n].read_exec_only,
			.seg_not_present = ldt_rows[n].absent,
		};

		if (syscall(SYS_modify_ldt, LDT_WRITE, &d, sizeof(d)))
			return 0;
		table[n] = ldt_descriptor(n);
	}
	return n;
}

bool host_has_16bit(void)
{
	return has_16bit;
}

bool host_has_fsgsbase(void)
{
	return fsgsbase;
}

/* --- features -------------------------------------------------------------------- */

enum { A, B, C, D };

static const struct { uint32_t leaf, subleaf; uint8_t reg, bit; } features[] = {
	{ 0, 0, 0, 0 },
#define FEATURE(name, leaf, subleaf, reg, bit) { leaf, subleaf, reg, bit },
#include "x86/features.def"
#undef FEATURE
};

static bool cpuid_has(unsigned f)
{
	uint32_t r[4];

	if (!__get_cpuid_count(features[f].leaf, features[f].subleaf, &r[A],
			       &r[B], &r[C], &r[D]))
		return false;
	return r[features[f].reg] >> features[f].bit & 1;
}

const uint64_t *host_features(void)
{
	static uint64_t set[(X86_NR_FEATURES + 63) / 64];
	unsigned f;

	if (!set[0])
		for (f = 1; f < X86_NR_FEATURES; f++)
			if (cpuid_has(f))
				set[f / 64] |= BIT_ULL(f % 64);
	return set;
}

bool host_has(enum x86_feature f)
{
	return f == X86_FEATURE_NONE || (host_features()[f / 64] >> (f % 64) & 1);
}

/* --- the run ---------------------------------------------------------------------- */

/* A branch to where nothing can be fetched has been executed nevertheless. */
static bool is_fetch_fault(const struct insn_state *in,
			   const struct insn_state *out)
{
	return (trapno == X86_PF && trap_cr2 == out->rip && out->rip != in->rip &&
		out->rip - in->rip >= X86_MAX_INSN_LEN);
}

static void judge(size_t n, const struct insn_state *in, struct insn_state *out,
		  struct insn_result *res)
{
	*res = (struct insn_result){ .end = END_FAULT, .vector = trapno };
	if (trapno == X86_BP && out->rip - 1 - in->rip >= n &&
	    arena_rights(out->rip - 1) & ARENA_X &&
	    *arena_at(out->rip - 1) == 0xcc) {
		out->rip--;
		res->end = END_DONE;
	} else if ((trapno == X86_DB && in->eflags & X86_EFLAGS_TF) ||
		   is_fetch_fault(in, out)) {
		res->end = END_DONE;
	} else if (trapno == X86_DB || trapno == X86_BP || trapno == X86_OF) {
		res->end = END_TRAP;
	} else if (trapno == X86_PF) {
		res->address = trap_cr2;
		res->error_code = trap_error;
	} else if (trapno == X86_GP || trapno == X86_NP || trapno == X86_TS ||
		   trapno == X86_SS_FAULT) {
		res->error_code = trap_error;
	}
	if (res->end == END_DONE)
		res->vector = 0;
}

void host_run(const uint8_t *bytes, size_t n, const struct insn_state *in,
	      struct insn_state *out, struct insn_result *res)
{
	uint8_t *code = arena_at(in->rip);

	memcpy(code, bytes, n);
	run_in = in;
	run_out = out;
	phase = ENTER;
	__asm__ volatile("int3" : : : "memory", "cc", "xmm0", "xmm1", "xmm2",
			 "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
			 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	judge(n, in, out, res);
	memset(code, 0xcc, n);
}
