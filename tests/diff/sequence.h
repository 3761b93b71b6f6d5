/* SPDX-License-Identifier: MIT */
/*
 * A random sequence of instructions: steps, some of which transfer control to the
 * begin of another step. Steps can be taken away, and the rest is still code.
 */
#ifndef ANYKVM_TESTS_DIFF_SEQUENCE_H
#define ANYKVM_TESTS_DIFF_SEQUENCE_H

#include "case.h"

#define SEQ_MAX_STEPS	40
#define SEQ_MAX_BYTES	(SEQ_MAX_STEPS * 24)
/* The loops' counters, 32 bits each. */
#define SEQ_COUNTER	(ARENA_DATA2 + 0xfe0)

enum seq_link {
	SEQ_PLAIN,
	SEQ_REL8, SEQ_REL32,	/* @to's distance from the end of the step */
	SEQ_ABS32,		/* @to's address */
};

struct seq_step {
	uint8_t code[20];	/* before the link */
	uint8_t len;		/* 0: taken away */
	uint8_t link;		/* enum seq_link */
	uint8_t to;		/* step; the number of steps: the end */
};

struct sequence {
	struct seq_step step[SEQ_MAX_STEPS];
	unsigned nr;
};

/* Finds the rows of the table that sequences are made of; after host_init(). */
void sequence_init(void);
/* How many they are; how many are left out because this host lacks them. */
unsigned sequence_rows(bool code32);
unsigned sequence_absent_rows(void);
/* Draws a sequence for t->mode, and t->in and t->mem to begin with. */
void sequence_make(struct sequence *s, struct tcase *t);
/* The bytes of @s at @rip. 0: a step is too far from its target. */
unsigned sequence_bytes(const struct sequence *s, uint64_t rip, uint8_t *code);

#endif
