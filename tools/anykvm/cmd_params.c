/* SPDX-License-Identifier: MIT */
/*
 * anykvm params: every module parameter with its value (as ANYKVM_PARAMS and
 * --param leave it) and its meaning, a line each.
 */
#include <getopt.h>
#include <stdio.h>
#include "anykvm/anykvm.h"
#include "cli.h"

static const char help[] =
	"usage: anykvm params [--param NAME=VALUE]...\n\n"
	"Lists the module parameters: name, value, meaning. They are set with\n"
	"--param NAME=VALUE on run and exec, or ANYKVM_PARAMS=NAME=VALUE,... in the\n"
	"environment of any client.\n";

static int list(void)
{
	const char *name, *desc;
	char value[64];

	for (unsigned i = 0;
	     anykvm_param_get(i, &name, &desc, value, sizeof(value)); i++)
		printf("%-28s %-10s %s\n", name, value, desc);
	return 0;
}

int cmd_params(int argc, char **argv)
{
	static const struct option options[] = {
		LIB_LONG_OPTIONS, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct lib_options lib = { .params = "" };
	int o;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (o == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (o == '?' || lib_option(&lib, o, optarg))
			return EXIT_USAGE;
	}
	if (optind < argc)
		return usage_error("params takes no argument");
	return list();
}
