/* SPDX-License-Identifier: MIT */
/*
 * What the subcommands of the anykvm command share: how a subcommand looks, and
 * the options that set up the library (--vendor, --engine, --param, --trace,
 * --stats), which "run" applies in this process and "exec" hands to another.
 */
#ifndef ANYKVM_TOOLS_CLI_H
#define ANYKVM_TOOLS_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#define EXIT_USAGE 2

/* Each gets argv[0] = its own name and answers the exit status. */
int cmd_run(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_params(int argc, char **argv);
int cmd_insn(int argc, char **argv);

/* Options of the library, as they were given. */
struct lib_options {
	char params[1024];	/* "vendor=amd,ept=1": valid names and values */
	const char *trace;	/* file, or NULL */
	const char *events;	/* tracepoints, comma-separated; NULL: all */
	bool stats;
	bool any;		/* any of them was given */
};

/* Values of getopt_long() for them; a subcommand's own start at OPT_OWN. */
enum { OPT_VENDOR = 256, OPT_ENGINE, OPT_PARAM, OPT_TRACE, OPT_EVENTS, OPT_STATS,
       OPT_OWN = 512 };

/* clang-format off */
#define LIB_LONG_OPTIONS						\
	{ "vendor",       required_argument, NULL, OPT_VENDOR },	\
	{ "engine",       required_argument, NULL, OPT_ENGINE },	\
	{ "param",        required_argument, NULL, OPT_PARAM },		\
	{ "trace",        required_argument, NULL, OPT_TRACE },		\
	{ "trace-events", required_argument, NULL, OPT_EVENTS },	\
	{ "stats",        no_argument,       NULL, OPT_STATS }
/* clang-format on */

extern const char lib_options_help[];

/*
 * Takes option @opt with @arg when it is one of the above; parameters are set in
 * this process's library at once, which checks them. 0: taken. 1: not one of
 * them. -1: bad, and a message has been printed.
 */
int lib_option(struct lib_options *o, int opt, const char *arg);

/* "anykvm: MESSAGE" to standard error; its value is EXIT_USAGE. */
int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
