// SPDX-License-Identifier: MIT
/*
 * seqtest: random sequences of instructions, in 64-bit and in 32-bit code, on the
 * interpreter, the translator and the host's processor. See docs/testing.md.
 *
 * A case follows from the seed and its number. So many of them as BATCH says are one
 * child process, which a wrong one of them can end; the guests live as long as it, so
 * that the translator meets new code where other code has been.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "insn/host.h"
#include "isa/text.h"
#include "options.h"
#include "sequence.h"
#include "trio.h"

#define BATCH		1000
#define CHILD_SECONDS	120

static struct options {
	unsigned long seed, count, first;
	unsigned long mode;		/* 32, 64, 0: both */
	unsigned long show;
	bool wrong;			/* one engine is given other code */
} opt = { .seed = 1, .count = 100000, .show = 5 };

/* Of all children. */
static struct tally {
	unsigned long nr;		/* of the case that runs */
	unsigned long done, faults, not_run, insns, different, blocks;
} *tally;

static const char *const engines[] = { "interpreter", "translator", "translator, again",
				       "translator with exact flags" };

/* --- one case -------------------------------------------------------------------------- */

struct attempt {
	struct tcase t;
	struct sequence q;
	struct trio r;
	enum trio_engine who;
	uint8_t code[SEQ_MAX_BYTES], wrong[SEQ_MAX_BYTES];
	unsigned n;
};

static const char flip[6] = "\x81\xf5\0\0\0\1";	/* xor ebp, 1 << 24 */

static void put_flip(struct sequence *q)
{
	struct seq_step *s = &q->step[rnd() % q->nr];

	memcpy(s->code, flip, sizeof(flip));
	s->len = sizeof(flip);
	s->link = SEQ_PLAIN;
}

/* The engine that is wrong flips another bit. */
static void damage(struct attempt *a)
{
	uint8_t *at;

	memcpy(a->wrong, a->code, a->n);
	at = memmem(a->wrong, a->n, flip, sizeof(flip));
	if (at)
		at[5] = 2;
}

static enum verdict try(struct attempt *a)
{
	a->n = sequence_bytes(&a->q, a->t.in.rip, a->code);
	if (!a->n)
		return NOT_RUN;
	if (opt.wrong)
		damage(a);
	return trio_run(&a->t, a->code, a->n, opt.wrong ? a->wrong : NULL, &a->r, &a->who);
}

/* --- reduction --------------------------------------------------------------------------- */

/* @b is @a with something less. */
static bool keep_if_differs(struct attempt *a, struct attempt *b)
{
	if (try(b) != DIFFER)
		return false;
	*a = *b;
	return true;
}

static void shrink_state(struct attempt *a)
{
	static struct attempt b;
	unsigned k;

	b = *a;
	fpu_init_state(&b.t.in.fpu);
	keep_if_differs(a, &b);
	b = *a;
	memset(b.t.mem, 0, sizeof(b.t.mem));
	keep_if_differs(a, &b);
	for (k = 0; k < X86_NR_GPRS; k++) {
		b = *a;
		b.t.in.gpr[k] = 0;
		if (a->t.in.gpr[k])
			keep_if_differs(a, &b);
	}
	b = *a;
	b.t.in.eflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF;
	keep_if_differs(a, &b);
}

static void shrink_attempt(struct attempt *a)
{
	static struct attempt b;
	unsigned k, less;

	do {
		for (less = 0, k = 0; k < a->q.nr; k++) {
			if (!a->q.step[k].len)
				continue;
			b = *a;
			b.q.step[k].len = 0;
			less += keep_if_differs(a, &b);
		}
	} while (less);
	shrink_state(a);
}

/* --- the report ---------------------------------------------------------------------------- */

static void print_code(const struct attempt *a)
{
	unsigned at, k;
	struct x86_insn i;
	char text[96];

	for (at = 0; at < a->n; at += i.len) {
		if (x86_decode(&i, a->code + at, a->n - at, a->t.mode) != X86_DECODE_OK)
			break;
		x86_insn_text(i.bytes, i.len, a->t.mode, a->t.in.rip + at, text, sizeof(text));
		printf("    %lx ", a->t.in.rip + at);
		for (k = 0; k < i.len; k++)
			printf(" %02x", i.bytes[k]);
		printf("  %s\n", text);
	}
}

static void report_attempt(unsigned long nr, const struct attempt *a)
{
	unsigned k;

	printf("DIFFERENCE of the %s: seqtest --seed %lu --first %lu --count 1 --mode %d\n",
	       engines[MIN(a->who, TRIO_JIT_EXACT)], opt.seed, nr,
	       a->t.mode == X86_MODE_PROT64 ? 64 : 32);
	print_code(a);
	printf("    rip=%lx rflags=%lx", a->t.in.rip, a->t.in.eflags);
	for (k = 0; k < X86_NR_GPRS; k++)
		printf(" %lx", a->t.in.gpr[k]);
	print_fpu(&a->t);
	print_memory(&a->t);
	printf("\n");
	print_differences(&a->t, engines[MIN(a->who, TRIO_JIT_EXACT)],
			  &a->r.guest[MIN(a->who, TRIO_JIT_EXACT)], &a->r.host);
	fflush(stdout);
}

/* --- cases by number --------------------------------------------------------------------------- */

static enum x86_mode mode_of(unsigned long nr)
{
	if (opt.mode)
		return opt.mode == 64 ? X86_MODE_PROT64 : X86_MODE_PROT32;
	return nr % 3 ? X86_MODE_PROT64 : X86_MODE_PROT32;
}

static void count(const struct attempt *a, enum verdict v)
{
	if (v == NOT_RUN) {
		tally->not_run++;
		return;
	}
	tally->insns += a->q.nr;
	tally->different += v == DIFFER;
	tally->done += a->r.host.res.end == END_DONE;
	tally->faults += a->r.host.res.end != END_DONE;
}

static void run_one(unsigned long nr)
{
	static struct attempt a, b;
	enum verdict v;

	tally->nr = nr;
	rnd_seed(opt.seed * 1000000007 + nr);
	a.t.mode = mode_of(nr);
	sequence_make(&a.q, &a.t);
	if (opt.wrong)
		put_flip(&a.q);
	v = try(&a);
	count(&a, v);
	if (v != DIFFER || tally->different > opt.show)
		return;
	b = a;
	/* What only the state of its process shows is reported as it is. */
	if (try(&b) == DIFFER)
		shrink_attempt(&b);
	else
		b = a, printf("not again by itself: --first %lu --count %lu\n",
			      nr / BATCH * BATCH, nr % BATCH + 1);
	report_attempt(nr, &b);
}

struct batch {
	unsigned long from, to;
};

static void run_batch(void *arg)
{
	const struct batch *b = arg;
	unsigned long nr;

	trio_init();
	for (nr = b->from; nr < b->to; nr++)
		run_one(nr);
	tally->blocks += trio_blocks();
}

static void batch_in_child(unsigned long from, unsigned long to)
{
	struct batch b = { from, to };
	int sig = child_run("seqtest", CHILD_SECONDS, run_batch, &b);

	if (!sig)
		return;
	printf("DIFFERENCE: the child was ended by signal %d: seqtest --seed %lu --first %lu --count 1\n",
	       sig, opt.seed, tally->nr);
	tally->different++;
}

static int run_all(void)
{
	unsigned long at = opt.first, end = opt.first + opt.count, next;

	for (; at < end; at = next) {
		next = MIN((at / BATCH + 1) * BATCH, end);
		batch_in_child(at, next);
		if (isatty(2))
			fprintf(stderr, "\r%lu of %lu, %lu differences ", next - opt.first,
				opt.count, tally->different);
	}
	printf("seqtest: seed %lu, %lu sequences of %lu instructions (%lu to their end, %lu "
	       "with a fault or trap, %lu others not run), %lu differences\n",
	       opt.seed, tally->done + tally->faults, tally->insns, tally->done,
	       tally->faults, tally->not_run, tally->different);
	printf("rows of the table: %u in 64-bit code, %u in 32-bit code; %u left out, as this "
	       "host lacks them; %lu blocks translated\n", sequence_rows(false),
	       sequence_rows(true), sequence_absent_rows(), tally->blocks);
	if (!tally->blocks)
		return 2;
	if (opt.wrong)
		return tally->different < opt.count / 4;
	return tally->different != 0;
}

/* --- command line ------------------------------------------------------------------------------- */

static const char help[] =
	"usage: seqtest [--seed N] [--first N] [--count N] [--mode 32|64] [--show N]\n"
	"               [--wrong interp|jit]\n\n"
	"Runs random sequences of instructions by the interpreter, by the translator and\n"
	"on this processor and compares all they leave behind.\n\n"
	"  --seed N    which random cases (1)\n"
	"  --first N   the number of the first (0)\n"
	"  --count N   how many (100000)\n"
	"  --mode M    only 64-bit, or only 32-bit code\n"
	"  --show N    how many differences are reduced and shown (5)\n"
	"  --wrong E   gives that engine other code than the others: status 0 if that is found\n\n"
	"Exit status: 0 no difference, 1 differences, 2 cannot run.\n";

static bool set_wrong(const char *engine)
{
	opt.wrong = true;
	trio_wrong_for = !strcmp(engine, "interp") ? TRIO_INTERP : TRIO_JIT;
	if (trio_wrong_for == TRIO_INTERP || !strcmp(engine, "jit"))
		return true;
	fprintf(stderr, "seqtest: --wrong: there is no engine '%s'\n", engine);
	return false;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "count", required_argument, NULL, 'c' },
		{ "first", required_argument, NULL, 'f' }, { "mode", required_argument, NULL, 'm' },
		{ "show", required_argument, NULL, 'n' }, { "wrong", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	unsigned long v = 0;
	int o;

	while ((o = next_option(argc, argv, options, "scfmn", &v)) != -1) {
		switch (o) {
		case 's': opt.seed = v; break;
		case 'c': opt.count = v; break;
		case 'f': opt.first = v; break;
		case 'm': opt.mode = v; break;
		case 'n': opt.show = v; break;
		case 'w':
			if (!set_wrong(optarg))
				return 2;
			break;
		case 'h': fputs(help, stdout); exit(0);
		default: return 2;
		}
	}
	if (opt.count && (!opt.mode || opt.mode == 32 || opt.mode == 64))
		return 0;
	fputs("seqtest: --count is at least 1, --mode 32 or 64\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	if (!arena_init() || !host_init()) {
		fputs("seqtest: no executable memory below 2 GiB, or no signals\n", stderr);
		return 2;
	}
	sequence_init();
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		return 2;
	return run_all();
}
