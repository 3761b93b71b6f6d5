/* SPDX-License-Identifier: MIT */
/*
 * Lock-step: the translator against the interpreter (jit_check). For each stretch of code
 * that is about to run
 *   1. the interpreter runs it from the present state (check_interp.c). Each write to
 *      memory is noted before it happens (hw_cpu.watched), and of each instruction where
 *      it was and a number for what it left in the general registers: a step.
 *   2. Memory, registers and FPU state go back to what they were.
 *   3. The translation runs from the same state (check_enter.c).
 *   4. The state, and memory where the interpreter has written, are what they were at the
 *      end of the first run, or behind one of its steps, or the translator is wrong
 *      (check_compare.c).
 *
 * A stretch is one block without anything that leads to others (jit_check_length=0), or
 * about so many instructions, with links, return stack and table of targets; then
 * translations differ from those without lock-step by room at their entry, by RDTSC, which
 * ends a block, and by loops, which have fewer turns between two looks at requests.
 *
 * The translation may stop early (a request, a dropped page, an instruction that it
 * leaves to the interpreter): that is why there are steps. If it has done nothing
 * the interpreter does one instruction that counts as jit_unchecked.
 *
 * Left out, as it cannot be done twice or is the interpreter's anyway: JIT_EXEC_END,
 * and what check_is_outside() names. An exception is delivered and an exit recorded in
 * both runs, and compared. The value of RDTSC must lie between that of the interpreter and
 * now.
 *
 * Not compared:
 *   - status flags that nobody can see (jit/regs.c), also in an exception's frame, and
 *     those that a division leaves undefined, and all behind a write to the block's own
 *     page;
 *   - accessed and dirty bits, and the TLB: the interpreter's walks set them, and they
 *     stay, as a processor's speculative walks would, but where the stretch has written the
 *     entry itself: then the translation begins with an empty TLB;
 *   - writes by the translation where the interpreter has not written, but the first time
 *     that a block is run and one of 257 times (check_seal.c), if it ends where the
 *     interpreter has ended;
 *   - exits in place, which this mode does without.
 *
 * The client must not write guest memory on another thread meanwhile: one vCPU, and no
 * device that does. A kick that comes between the runs makes the stretch begin again. The
 * guest's time stands still but for step 3 and what is not compared (base/hold.h).
 *
 * What differs ends hw_run(): hw_check_failure() has the text (check_report.c).
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/access.h"
#include "base/hold.h"
#include "jit/check.h"

#define RUN_TURNS	256
#define ALWAYS		8	/* comparisons of a block before it is one of many */
#define SEAL_EVERY	257	/* stretches that are not new: no multiple of a loop's */

int jit_check_create(struct jit *j)
{
	struct jit_check *k;

	if (!j->cpu->cfg.jit_check)
		return 0;
	k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (k == MAP_FAILED)
		return -ENOMEM;
	k->j = j;
	k->length = j->cpu->cfg.jit_check_length;
	j->check = k;
	return 0;
}

void jit_check_destroy(struct jit *j)
{
	if (j->check)
		munmap(j->check, sizeof(*j->check));
	j->check = NULL;
}

/* What is not compared, and takes the guest's time. */
static void go_without(struct jit_check *k, void (*run)(struct hw_cpu *cpu))
{
	time_release();
	run(k->j->cpu);
	time_hold();
}

/* Is this execution of @b compared? */
static bool chosen(struct jit_check *k, const struct jit_block *b)
{
	uint8_t *seen = &k->seen[(b - k->j->blocks) % sizeof(k->seen)];
	uint32_t every = k->j->cpu->cfg.jit_check;

	k->sealed = !*seen || ++k->unsealed >= SEAL_EVERY;
	if (k->sealed)
		k->unsealed = 0;
	if (*seen < ALWAYS) {
		++*seen;
		return true;
	}
	return ++k->turn % every == 0;
}

static void check_block(struct jit_check *k, const struct jit_block *b)
{
	uint32_t code = b->code;
	uint8_t flags = b->flags;

	k->rip = b->rip;
	k->host = b->host;
	k->variant = b->variant;
	k->ways = b->ways;
	k->j->mode = k->j->cpu->c.mode;
	/* The report is about what was translated: the block may change itself. */
	k->code.page = k->host & PAGE_MASK;
	k->code.have = 0;
	jit_source_get(&k->code, ~0ull >> (63 - b->last_line) & ~0ull << b->first_line);
	k->comparing = chosen(k, b);
	if (!k->comparing) {
		check_enter(k, code, flags);
		return;
	}
	if (!check_interpret(k, b)) {
		go_without(k, check_skip);
		return;
	}
	check_enter(k, code, flags);
	check_compare(k);
}

/* The block at rip, as the last one that asked for it wants to enter it. */
static struct jit_block *next_block(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	bool asked = k->next_rip == cpu->c.rip;
	struct jit_block *b;

	jit_refresh(cpu);
	b = jit_get_block(cpu, asked && k->next_loc ? k->next_loc : FL_MEM,
			  asked ? k->next_plain : 0);
	k->next_loc = k->next_plain = 0;
	return b;
}

static bool one_turn(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	struct jit_block *b;

	if (!jit_is_translated(cpu) || jit_after_fork(k->j)) {
		go_without(k, hw_interp);
		return false;
	}
	b = next_block(k);
	if (b) {
		check_block(k, b);
	} else if (k->j->refused) {
		k->j->refused = false;
		go_without(k, hw_interp);
	} else {
		go_without(k, hw_interp_stretch);
	}
	return true;
}

void jit_check_run(struct hw_cpu *cpu)
{
	struct jit_check *k = cpu->jit.jit->check;
	unsigned turns = RUN_TURNS;

	time_hold();
	while (one_turn(k) && !READ_ONCE(cpu->request) && --turns)
		;
	time_release();
}
