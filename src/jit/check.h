/* SPDX-License-Identifier: MIT */
/* What the files of lock-step (check.c) share: one stretch, run twice and compared. */
#ifndef ANYKVM_JIT_CHECK_H
#define ANYKVM_JIT_CHECK_H

#include "jit/jit.h"

#define CHECK_MAX_STEPS	(1u << 16)
#define CHECK_MAX_WRITES (1u << 17)
#define CHECK_MAX_ENTRIES 1024
#define CHECK_BYTES	(8ul << 20)	/* of written memory */
#define CHECK_MAX_STOPS	64
#define CHECK_SEALS	1024
#define CHECK_MAX_DIFFS	8
#define CHECK_TEXT	(32u << 10)
#define CHECK_CLASSES	(1u << 14)
#define CHECK_SEEN	(1u << 14)

/* The processor's own state beside ctxt. */
#define REST_FROM	offsetof(struct hw_cpu, dr)
#define REST_BYTES	(offsetof(struct hw_cpu, in_guest) - REST_FROM)

/* All of the state, between two instructions. */
struct check_moment {
	struct x86_emulate_ctxt c;
	uint8_t rest[REST_BYTES];
	struct hw_exit exit;
	uint32_t activity;
	bool exits;		/* exit is valid */
	bool fault;		/* an exception was delivered by the last instruction */
	bool loaded;		/* the FPU state is in registers */
	bool image;		/* fpu is the FPU state; else it is as at the beginning */
	struct x86_fpu fpu;
};

/* An instruction of the interpreter's run. */
struct check_step {
	uint64_t rip;
	uint64_t mark;		/* of the general registers behind it */
	uint16_t op;		/* enum x86_op */
	uint8_t  len;
	bool     jump;		/* a JMP that a block may go on behind */
	uint8_t  undefined;	/* status flags that it or others left undefined: FLAG_* */
};

/* Something that the interpreter has written. */
struct check_write {
	uint64_t la;
	void *p;
	uint32_t n;
	uint32_t at;		/* in old, new, now */
};

/* Memory that differs. */
struct check_diff {
	uint64_t la;
	uint32_t n;
	uint8_t want[16], got[16];
};

/* A translation that begins where the stretch ends: it is not entered. */
struct check_stop {
	struct jit_block *b;
	uint32_t code;
	uint8_t bytes[JIT_CHECK_ENTRY], call[JIT_CHECK_ENTRY];
};

/* A page that may be written, as the interpreter has left it. */
struct check_seal {
	uint64_t la;
	hva_t host;
	uint8_t bytes[PAGE_SIZE];
};

struct check_class {
	const struct x86_insn *insn;
	uint8_t mode;
	uint8_t bytes[X86_MAX_INSN_LEN];
	bool outside;
};

struct jit_check {
	struct jit *j;
	/* The block that the stretch begins with; how the last one asked for it. */
	uint64_t rip, next_rip;
	hva_t host;
	uint8_t variant, loc, next_loc, next_plain;
	bool ways;
	bool comparing;
	bool stopped;		/* before an instruction that is not compared */
	bool pushed;		/* ... which may have stored its return address */
	bool cut;		/* it is too much for one stretch */
	bool again;		/* the writes have been noted */
	uint32_t turn;
	uint32_t arrive, enter_host;	/* stubs */
	uint32_t stop_host, stop_mem;
	uintptr_t fn[HW_JIT_FNS];	/* as they are without lock-step */

	/* Where a stretch of several blocks may end (check_interp.c). */
	uint32_t length;	/* about so many instructions; 0: one block */
	uint32_t good;		/* the last step behind which it may, */
	uint32_t jumped;	/* and the last JMP behind which it better does not */
	uint32_t slack;		/* steps that translated code makes without entering a block */
	uint32_t at;		/* the last step behind which it was at the end's rip */
	uint32_t seen_at[CHECK_SEEN], stretch;	/* rips of stretch number ... */

	struct check_moment begin, end, got;
	struct check_step step[CHECK_MAX_STEPS + 1];	/* step[0]: the beginning */
	uint32_t nr;		/* steps after it */
	struct check_write write[CHECK_MAX_WRITES];
	uint32_t nr_writes, bytes;
	/* Page-table entries in which walks have set accessed and dirty bits. */
	const char *entry[CHECK_MAX_ENTRIES];
	uint32_t nr_entries;
	bool walked;		/* one of them is among the writes */
	/* What was there before; what the interpreter, and the translation, have left. */
	uint8_t old[CHECK_BYTES], new[CHECK_BYTES], now[CHECK_BYTES];
	struct check_class class[CHECK_CLASSES];
	struct check_stop stop[CHECK_MAX_STOPS];
	uint32_t nr_stops;
	bool planted;
	hva_t end_host;		/* of the end's rip; 0: unknown */
	hva_t fault_host;	/* where the last instruction is */

	bool sealed;		/* this stretch; check_seal.c */
	uint32_t unsealed;	/* stretches since one was */
	struct check_seal seal[CHECK_SEALS];
	uint32_t nr_seals;

	/* The difference. */
	bool stray;		/* it is where the interpreter has not written */
	struct check_diff diff[CHECK_MAX_DIFFS];
	uint32_t nr_diffs;
	uint32_t want;		/* the step behind which it should be; 0: rip is nowhere */
	struct jit_source code;	/* the first block's lines */
	char text[CHECK_TEXT];
	uint8_t seen[1u << 16];	/* by block: comparisons */
};

/* --- check_interp.c ------------------------------------------------------------------- */

/*
 * The interpreter runs the stretch that begins with @b, and all of it is taken back. False:
 * nothing of it can be compared.
 */
bool check_interpret(struct jit_check *k, const struct jit_block *b);
/* ... its first @nr instructions again. k->end and memory are as they are behind them. */
void check_replay(struct jit_check *k, uint32_t nr);
/* One instruction that is not compared; all of a REP. */
void check_skip(struct hw_cpu *cpu);
/* The state now. */
void check_take(struct jit_check *k, struct check_moment *m);
/* Everything but memory as it was at the beginning. */
void check_rewind(struct jit_check *k);
/* What is in memory where the interpreter has written; memory as @from says. */
void check_copy(struct jit_check *k, uint8_t *to);
void check_put(struct jit_check *k, const uint8_t *from);
/* It is not compared: it cannot be done twice, or is the interpreter's anyway. */
bool check_is_outside(struct jit_check *k, const struct x86_insn *i, uint64_t rip);
/* It may have to be executed again before it is over. */
bool check_is_repeated(const struct x86_insn *i);
/* A number that tells what the general registers hold. */
uint64_t check_mark(const struct x86_emulate_ctxt *c);

/* Where the interpreter was behind step @n. */
static inline uint64_t check_rip_after(const struct jit_check *k, uint32_t n)
{
	return n < k->nr ? k->step[n + 1].rip : k->end.c.rip;
}

/* --- check_enter.c, check_stop.c, check_seal.c, check_compare.c ---------------------------- */

/* The translation at @code, a block with these FL_*, runs. */
void check_enter(struct jit_check *k, uint32_t code, uint8_t flags);
/* Translated code is left, the guest is at @rip: what a C function of it returns. */
uintptr_t check_leave_at(struct hw_cpu *cpu, uint64_t rip);
/* All translations of where the stretch ends lead to FN_ARRIVE, and do not any more. */
void check_plant(struct jit_check *k);
void check_unplant(struct jit_check *k);
uintptr_t check_arrive(struct hw_cpu *cpu, uint64_t t1, uint64_t behind);
/* The translation has run: the state is one that the interpreter had, or the guest is left
 * with a report. */
void check_compare(struct jit_check *k);
/* What is in the pages that may be written is kept; is it still there, but for what the
 * interpreter has written? */
void check_seal(struct jit_check *k);
bool check_seals_hold(struct jit_check *k);

static inline uint8_t *check_shadow(struct check_moment *m)
{
	return &m->rest[offsetof(struct hw_cpu, shadow) - REST_FROM];
}

/* --- check_report.c --------------------------------------------------------------------- */

/* Fields of hw_cpu that must agree. */
struct check_field {
	const char *name;
	uint32_t at, bytes, each;
};
extern const struct check_field check_fields[];
extern const unsigned check_nr_fields;
/* Where the field at @at of hw_cpu is in a moment. */
const void *check_field_at(const struct check_moment *m, uint32_t at);
bool check_bytes_same(const void *a, const void *b, uint32_t n);
/* The parts of the FPU state that must agree. */
bool check_fpu_same(const struct x86_fpu *a, const struct x86_fpu *b);
bool check_exits_same(const struct hw_exit *a, const struct hw_exit *b);

#endif
