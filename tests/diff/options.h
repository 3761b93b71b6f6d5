/* SPDX-License-Identifier: MIT */
/* Command lines of the tests against the host's processor. */
#ifndef TESTS_DIFF_OPTIONS_H
#define TESTS_DIFF_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

/* The whole of @s as a number, decimal or 0x...; false: it is none, or too large. */
bool option_number(const char *s, unsigned long *v);

/*
 * The next of @options as getopt_long() has it, -1 at the end. What cannot be taken is told
 * and answers '?': an unknown option, a word that is none, an option of @numbers whose
 * argument is no number. *@v: the number.
 */
int next_option(int argc, char **argv, const struct option *options, const char *numbers,
		unsigned long *v);

#endif
