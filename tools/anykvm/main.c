/* SPDX-License-Identifier: MIT */
/*
 * The anykvm command: a table of subcommands. Each is a file of its own,
 * cmd_NAME.c, with its own help.
 */
#include <stdio.h>
#include <string.h>
#include "cli.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "run", cmd_run, "boot a kernel or run a flat binary in a virtual machine" },
	{ "exec", cmd_exec, "run a KVM client with anykvm in place of /dev/kvm" },
	{ "insn", cmd_insn, "what is known of an instruction, and what it does" },
	{ "params", cmd_params, "list the module parameters" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int help(FILE *to)
{
	fputs("usage: anykvm COMMAND [OPTION]...\n\n"
	      "The Linux KVM API without hardware virtualization and without /dev/kvm.\n\n",
	      to);
	for (unsigned i = 0; i < NR_COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\nanykvm COMMAND --help tells a command's options; "
	      "anykvm --version the version.\n", to);
	return to == stdout ? 0 : EXIT_USAGE;
}

/* getopt's messages begin with what is in place of the program's name. */
static int run(const struct command *c, int argc, char **argv)
{
	static char name[32];

	snprintf(name, sizeof(name), "anykvm %s", c->name);
	argv[0] = name;
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return help(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help"))
		return help(stdout);
	if (!strcmp(argv[1], "--version")) {
		puts("anykvm " ANYKVM_VERSION);
		return 0;
	}
	for (unsigned i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return run(&commands[i], argc - 1, argv + 1);
	return usage_error("%s: no such command (anykvm --help)", argv[1]);
}
