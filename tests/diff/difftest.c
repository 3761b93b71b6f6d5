// SPDX-License-Identifier: MIT
/*
 * difftest: every row of the instruction table, in 64-bit mode and in compatibility
 * mode (32- and 16-bit code segments), on the emulator and on the host's processor. See docs/testing.md.
 *
 * Each row and mode is a child process: what a wrong emulator makes the host do can
 * end that process, and no other. Results come back through shared memory. The cases
 * follow from seed, row and mode alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "case.h"
#include "child.h"
#include "insn/host.h"
#include "insn/machine.h"
#include "options.h"

#define NR_MODES	3
#define CHILD_SECONDS	20

static const enum x86_mode modes[NR_MODES] = {
	X86_MODE_PROT64, X86_MODE_PROT32, X86_MODE_PROT16
};
static const unsigned bits[NR_MODES] = { 64, 32, 16 };

struct tally {
	unsigned long cases, done, not_run, different;
	bool unencodable;
};

static struct options {
	unsigned long seed, count;
	unsigned long mode;		/* 16, 32, 64, 0: all */
	const char *row;		/* mnemonic or number */
	unsigned long show;		/* differences shown a row and mode */
	bool verbose;
} opt = { .seed = 1, .count = 1000, .show = 1 };

static struct tally (*tallies)[NR_MODES];

/* --- one row in one mode ------------------------------------------------------------ */

static void run_row(unsigned id, unsigned mode, struct tally *y)
{
	static struct tcase t, small;
	static struct run r;
	unsigned long tries = opt.count * 30 + 2000;

	rnd_seed(opt.seed * 100003 + id * NR_MODES + mode);
	while (y->cases < opt.count && tries--) {
		t.mode = modes[mode];
		if (!encode(&t, id)) {
			y->unencodable = !y->cases;
			return;
		}
		prepare(&t);
		switch (run_case(&t, &r)) {
		case NOT_RUN:
			y->not_run++;
			continue;
		case DIFFER:
			if (y->different++ < opt.show) {
				small = t;
				if (r.emul.res.end != END_UNHANDLED)
					shrink(&small, &r);
				report(&small, &r);
			}
			break;
		case AGREE:
			y->done += r.host.res.end == END_DONE;
		}
		y->cases++;
		/* A broken row need not be shown a thousand times. */
		if (y->different >= 20)
			return;
	}
}

struct work {
	unsigned id, mode;
};

static void do_work(void *arg)
{
	const struct work *w = arg;

	run_row(w->id, w->mode, &tallies[w->id][w->mode]);
}

static void row_in_child(unsigned id, unsigned mode)
{
	struct tally *y = &tallies[id][mode];
	struct work w = { id, mode };
	int sig = child_run("difftest", CHILD_SECONDS, do_work, &w);

	if (sig) {
		printf("DIFFERENCE %s (%s) row %u: the %u-bit child was ended by "
		       "signal %d after %lu cases\n", x86_rows[id]->mnemonic,
		       row_place_text(id), id, bits[mode], sig, y->cases);
		y->different++;
	}
}

static bool is_named(unsigned id)
{
	unsigned long n;

	return !opt.row || !strcmp(opt.row, x86_rows[id]->mnemonic) ||
	       (option_number(opt.row, &n) && n == id);
}

static bool is_wanted(unsigned id, unsigned mode)
{
	uint32_t bad = modes[mode] == X86_MODE_PROT64 ? I_INV64 : I_ONLY64;

	if (opt.mode && opt.mode != bits[mode])
		return false;
	if (modes[mode] == X86_MODE_PROT16 && !host_has_16bit())
		return false;
	return is_named(id) && !(x86_rows[id]->attr & bad);
}

/* --- totals --------------------------------------------------------------------------- */

static void progress(unsigned id, unsigned long cases, unsigned long different)
{
	if (isatty(2) && (id % 8 == 0 || id + 1 == x86_nr_rows))
		fprintf(stderr, "\r%u/%u rows, %lu cases, %lu differences ", id,
			x86_nr_rows, cases, different);
}

static const char *why_not(unsigned id)
{
	const char *why = no_oracle(id);
	unsigned m;

	if (why)
		return why;
	for (m = 0; m < NR_MODES; m++)
		if (tallies[id][m].cases)
			return NULL;
	for (m = 0; m < NR_MODES; m++)
		if (tallies[id][m].unencodable)
			return "no encoding in these modes";
	return "no case that the host may run";
}

/* Executed, only refused (no case completed), and the rest with the reasons. */
static bool print_coverage(void)
{
	unsigned id, m, executed = 0, refused = 0, left = 0, all = 0;

	for (id = 0; id < x86_nr_rows; id++) {
		unsigned long done = 0;
		const char *why;

		if (!is_wanted(id, 0) && !is_wanted(id, 1) && !is_wanted(id, 2))
			continue;
		all++;
		why = why_not(id);
		for (m = 0; m < NR_MODES; m++)
			done += tallies[id][m].done;
		executed += !why;
		refused += !why && !done;
		left += !!why;
		if (why)
			printf("not covered: %4u %-12s %-24s %s\n", id,
			       x86_rows[id]->mnemonic, row_place_text(id), why);
		else if (!done)
			printf("only faults: %4u %-12s %-24s %s\n", id,
			       x86_rows[id]->mnemonic, row_place_text(id),
			       x86_rows[id]->attr & I_PRIV ?
			       "privileged" : "refused to user mode");
	}
	printf("coverage: %u of %u rows executed (%u of them raise faults only), "
	       "%u not covered\n", executed, all, refused, left);
	return executed > 0;
}

static int run_all(void)
{
	unsigned long cases = 0, different = 0, ran = 0;
	unsigned id, m;

	for (id = 0; id < x86_nr_rows; id++) {
		for (m = 0; m < NR_MODES; m++) {
			if (!is_wanted(id, m) || no_oracle(id))
				continue;
			row_in_child(id, m);
			ran++;
			cases += tallies[id][m].cases;
			different += tallies[id][m].different;
			if (opt.verbose)
				printf("%4u %-12s %u-bit: %lu cases, %lu completed, "
				       "%lu not run, %lu different\n", id,
				       x86_rows[id]->mnemonic, bits[m],
				       tallies[id][m].cases, tallies[id][m].done,
				       tallies[id][m].not_run,
				       tallies[id][m].different);
		}
		progress(id, cases, different);
	}
	if (isatty(2))
		fprintf(stderr, "\n");
	if (!host_has_16bit())
		printf("16-bit code is not covered: this host has no modify_ldt()\n");
	if (!print_coverage())
		return 2;
	printf("difftest: seed %lu, %lu rows by mode, %lu cases, %lu differences\n",
	       opt.seed, ran, cases, different);
	return different != 0;
}

/* --- command line ------------------------------------------------------------------------ */

static const char help[] =
	"usage: difftest [--seed N] [--count N] [--mode 16|32|64] [--row NAME|NUMBER]\n"
	"                [--show N] [--verbose]\n\n"
	"Executes every instruction that user mode may execute in the emulator and on\n"
	"this processor and compares all they leave behind.\n\n"
	"  --seed N    which random cases (1)\n"
	"  --count N   cases for each row and mode (1000)\n"
	"  --mode M    only 64-bit mode, or only compatibility mode of 32 or 16 bits\n"
	"  --row R     only the rows of a mnemonic, or the row of a number\n"
	"  --show N    how many differences of a row are shown (1)\n"
	"  --verbose   a line for each row\n\n"
	"Exit status: 0 no difference, 1 differences, 2 cannot run.\n";

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "mode", required_argument, NULL, 'm' },
		{ "row", required_argument, NULL, 'r' },
		{ "show", required_argument, NULL, 'n' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	unsigned long v = 0;
	int o;

	while ((o = next_option(argc, argv, options, "scmn", &v)) != -1) {
		switch (o) {
		case 's': opt.seed = v; break;
		case 'c': opt.count = v; break;
		case 'm': opt.mode = v; break;
		case 'n': opt.show = v; break;
		case 'r': opt.row = optarg; break;
		case 'v': opt.verbose = true; break;
		case 'h': fputs(help, stdout); exit(0);
		default: return 2;
		}
	}
	if (opt.count && (!opt.mode || opt.mode == 16 || opt.mode == 32 || opt.mode == 64))
		return 0;
	fputs("difftest: --count is at least 1, --mode 16, 32 or 64\n", stderr);
	return 2;
}

static bool any_row(void)
{
	unsigned id = 0;

	while (id < x86_nr_rows && !is_named(id))
		id++;
	return id < x86_nr_rows;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv)) {
		fputs(help, stderr);
		return 2;
	}
	if (opt.row && !any_row()) {
		fprintf(stderr, "difftest: no row is called %s\n", opt.row);
		return 2;
	}
	if (!arena_init() || !host_init()) {
		fputs("difftest: no executable memory below 2 GiB, or no signals\n",
		      stderr);
		return 2;
	}
	machine_init();
	tallies = mmap(NULL, x86_nr_rows * sizeof(*tallies),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tallies == MAP_FAILED)
		return 2;
	return run_all();
}
