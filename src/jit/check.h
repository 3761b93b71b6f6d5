/* SPDX-License-Identifier: MIT */
/* What the files of lock-step (check.c) share: one block's comparison. */
#ifndef ANYKVM_JIT_CHECK_H
#define ANYKVM_JIT_CHECK_H

#include "jit/jit.h"

#define CHECK_MAX_WRITES (1u << 17)
#define CHECK_BYTES	(8ul << 20)	/* of written memory */
#define CHECK_MAX_DIFFS	8
#define CHECK_TEXT	8192

/* The processor's own state beside ctxt. */
#define REST_FROM	offsetof(struct hw_cpu, dr)
#define REST_BYTES	(offsetof(struct hw_cpu, in_guest) - REST_FROM)

/* The state between two instructions, or after the last. */
struct check_moment {
	struct x86_emulate_ctxt c;
	uint8_t rest[REST_BYTES];
	struct hw_exit exit;
	uint32_t activity;
	bool exits;		/* exit is valid */
	bool fault;		/* an exception was delivered by the last instruction */
	bool loaded;		/* the FPU state was in registers */
	uint32_t writes;	/* of memory, so far */
	uint32_t image;		/* of the FPU state; 0: as at the beginning */
	/* The instruction before it. */
	uint64_t rip;
	uint16_t op;		/* enum x86_op */
	uint8_t  undefined;	/* status flags that it or others left undefined: FLAG_* */
};

/* Something that the interpreter has written. */
struct check_write {
	uint64_t la;
	void *p;
	uint32_t n;
	uint32_t at;		/* in old, new, got */
};

/* Memory that differs. */
struct check_diff {
	uint64_t la;
	uint32_t n;
	uint8_t want[16], got[16];
};

struct jit_check {
	struct jit *j;
	/* Where the block is that is compared; how the last one asked for it. */
	uint64_t rip, next_rip;
	hva_t host;
	uint32_t len;
	uint8_t variant, loc, next_loc, next_plain;
	bool comparing;
	bool stopped;		/* before an instruction that is not compared */
	bool pushed;		/* ... which may have stored its return address */
	bool cut;		/* too much was written */
	uint32_t turn;
	uint32_t arrive, enter_host;	/* stubs */

	struct check_moment m[JIT_CHECK_INSNS + 2];	/* m[0]: the beginning */
	uint32_t nr;		/* moments after it */
	uint32_t nr_images;
	struct check_moment got;
	struct x86_fpu image[JIT_CHECK_INSNS + 3], got_image;
	struct check_write write[CHECK_MAX_WRITES];
	uint32_t nr_writes, bytes;
	uint8_t old[CHECK_BYTES], new[CHECK_BYTES], now[CHECK_BYTES];

	/* The difference. */
	struct check_diff diff[CHECK_MAX_DIFFS];
	uint32_t nr_diffs;
	const struct check_moment *want;	/* NULL: rip is nowhere */
	uint8_t code[PAGE_SIZE];		/* the block's bytes */
	char text[CHECK_TEXT];
	uint8_t seen[1u << 16];	/* by block: comparisons */
};

/* --- check_interp.c ------------------------------------------------------------------- */

/* The interpreter runs up to @max instructions, and all of it is taken back. */
void check_interpret(struct jit_check *k, unsigned max);
/* One instruction that is not compared; all of a REP. */
void check_skip(struct hw_cpu *cpu);
/* The state now, but for that of the FPU, which is what it was at the beginning if it is
 * untouched. */
void check_take(struct jit_check *k, struct check_moment *m);
bool check_fpu_untouched(const struct hw_cpu *cpu);
/* Everything but memory as it was at the beginning. */
void check_rewind(struct jit_check *k);
/* Memory as it was before write @first; what is there since; what the first @nr left. */
void check_undo(struct jit_check *k, uint32_t first);
void check_copy(struct jit_check *k, uint8_t *to, uint32_t first);
void check_put(struct jit_check *k, const uint8_t *from, uint32_t nr);
/* It is not compared: it cannot be done twice, or is the interpreter's anyway. */
bool check_is_outside(struct jit *j, const struct x86_insn *i, uint64_t rip);
/* It may have to be executed again before it is over. */
bool check_is_repeated(const struct x86_insn *i);

/* --- check_enter.c, check_compare.c -------------------------------------------------------- */

/* The translation at @code, a block with these FL_*, runs. */
void check_enter(struct jit_check *k, uint32_t code, uint8_t flags);
/* ... and has run: the state is a moment's, or the guest is left with a report. */
void check_compare(struct jit_check *k);

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
