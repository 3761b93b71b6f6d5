/* SPDX-License-Identifier: MIT */
/*
 * A case of the differential test: an instruction of a row, the state it begins
 * with and the memory that it finds. Everything is drawn from one generator, so that
 * a seed, a row and a mode give the same cases again.
 */
#ifndef ANYKVM_TESTS_DIFF_CASE_H
#define ANYKVM_TESTS_DIFF_CASE_H

#include "insn/state.h"
#include "isa/insn.h"
#include "random.h"

struct tcase {
	uint8_t bytes[X86_MAX_INSN_LEN];
	struct x86_insn insn;
	enum x86_mode mode;		/* PROT16, PROT32, PROT64 */
	struct insn_state in;
	uint8_t mem[ARENA_MEM_BYTES];	/* from ARENA_MEM */
	/* Of the encoding, while it is made. */
	uint8_t modrm_at, disp_at, disp_bytes, imm_at;
};

/* --- encode.c ------------------------------------------------------------------- */

/* An encoding of row @id that the decoder takes for it: bytes and insn. False:
 * none was found. */
bool encode(struct tcase *t, unsigned id);
/* Gives its ModRM operand in memory the address of register @base + @disp, if it has
 * one. False: it is another row then. */
bool encode_address(struct tcase *t, unsigned base, int32_t disp);
/* Patches the displacement, or the immediate, of the encoding, decodes again. */
bool patch_disp(struct tcase *t, int64_t disp);
bool patch_imm(struct tcase *t, uint64_t imm);
/* Where the row stands: text for reports, "0f38 f6 /r 66". */
const char *row_place_text(unsigned id);

/* --- prepare.c ------------------------------------------------------------------ */

/* Registers, flags, FPU state and memory for t->insn: operands lie in the arena,
 * with many alignments, across its pages, and outside of what may be accessed. */
void prepare(struct tcase *t);
/* The FPU state of it alone. */
void prepare_fpu(struct tcase *t);

/* The linear base of a segment; where the stack pointer points. */
uint64_t base_of(const struct tcase *t, unsigned seg);
uint64_t stack_top(const struct tcase *t);

/* --- oracle.c ------------------------------------------------------------------- */

/* Why no oracle covers the row at all; NULL: one does. */
const char *no_oracle(unsigned id);
/* Cases that must not reach the host although their row may. */
bool is_forbidden(const struct tcase *t);

struct masks {
	uint64_t gpr[X86_NR_GPRS];	/* bits not compared */
	uint64_t eflags;
	bool memory;			/* bytes that a fault left behind */
	uint32_t span;			/* CR2 may be any of so many bytes */
	bool top, tags;			/* FSW.TOP, FTW */
};
struct outcome;
/* What of @t cannot agree, by the table of known deviations: @host is how it ended
 * there. */
void known_deviation(const struct tcase *t, const struct outcome *host,
		     struct masks *m);

/* --- compare.c ------------------------------------------------------------------ */

enum verdict { AGREE, DIFFER, NOT_RUN };

struct outcome {
	struct insn_state state;
	struct insn_result res;
	uint8_t mem[ARENA_MEM_BYTES];
};

struct run {
	struct outcome host, emul;	/* emul: the form that differs, if one */
	bool fast;			/* it was the fast form */
};

/* Do the two agree in all but what known_deviation() says? */
bool same_outcome(const struct tcase *t, const struct outcome *emul,
		  const struct outcome *host);
/* What differs; @who is the first. */
void print_differences(const struct tcase *t, const char *who,
		       const struct outcome *emul, const struct outcome *host);
/* Memory and FPU state of @t as settings for `anykvm insn --run`. */
void print_fpu(const struct tcase *t);
void print_memory(const struct tcase *t);
/* t->mem to the arena, and from there. */
void memory_in(const struct tcase *t);
void memory_out(uint8_t *mem);
/* Runs @t on both. NOT_RUN: the emulator says that it would leave the arena. */
enum verdict run_case(const struct tcase *t, struct run *r);
/* Makes @t as small as it can be with run_case() still saying DIFFER. */
void shrink(struct tcase *t, struct run *r);
/* The case, what differs, and the command that shows it again. */
void report(const struct tcase *t, const struct run *r);

#endif
