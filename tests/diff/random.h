/* SPDX-License-Identifier: MIT */
/* Random numbers and operands of the tests that compare; see random.c. */
#ifndef ANYKVM_TESTS_DIFF_RANDOM_H
#define ANYKVM_TESTS_DIFF_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

void rnd_seed(uint64_t seed);
uint64_t rnd(void);
/* 1 of @n. */
bool one_in(unsigned n);
/* An integer that is more often interesting than random. */
uint64_t rnd_value(void);
/* @n bytes (a multiple of 8) as numbers of several kinds: integers, reals of each
 * format with their special values, small ones. */
void rnd_elements(uint8_t *p, unsigned n);
/* An x87 register. */
void rnd_real80(uint8_t *p);

#endif
