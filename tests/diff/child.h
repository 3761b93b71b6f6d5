/* SPDX-License-Identifier: MIT */
/* Cases in a process of their own: what a wrong emulator makes the host do ends no other. */
#ifndef TESTS_DIFF_CHILD_H
#define TESTS_DIFF_CHILD_H

/*
 * Runs fn(arg) in a child with the arena in its memory, for @seconds at most; what it
 * prints comes before what follows here. Returns the signal that ended it, or 0. Where
 * there can be no child the program @name ends with status 2.
 */
int child_run(const char *name, unsigned seconds, void (*fn)(void *arg), void *arg);

#endif
