// SPDX-License-Identifier: MIT
/* options.h: getopt_long() that says what it cannot take. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

bool option_number(const char *s, unsigned long *v)
{
	char *end;

	errno = 0;
	*v = strtoul(s, &end, 0);
	return isdigit((unsigned char)*s) && !*end && !errno;
}

int next_option(int argc, char **argv, const struct option *options, const char *numbers,
		unsigned long *v)
{
	int o, index = -1;

	o = getopt_long(argc, argv, "h", options, &index);
	if (o == -1 && optind < argc) {
		fprintf(stderr, "%s: what is '%s'?\n", argv[0], argv[optind]);
		return '?';
	}
	if (o > 0 && strchr(numbers, o) && !option_number(optarg, v)) {
		fprintf(stderr, "%s: --%s: '%s' is not a number\n", argv[0],
			options[index].name, optarg);
		return '?';
	}
	return o;
}
