/* SPDX-License-Identifier: MIT */
/* What the files about loops share beside jit.h. */
#ifndef ANYKVM_JIT_TURNS_H
#define ANYKVM_JIT_TURNS_H

#include "jit/jit.h"

/* --- loop.c ------------------------------------------------------------------------- */

/* What @g's first byte is at when the loop begins; T1 is its offset in its page: for how
 * many turns does it stay there? */
struct jit_addr jit_loop_first_byte(const struct jit_group *g);
void jit_loop_count(struct jit *j, const struct jit_group *g);
/* On to the next turn, unless all that have been counted are done. */
void jit_loop_turn(struct jit *j);

/* --- ends.c ------------------------------------------------------------------------- */

/* Does its counter tell when it ends? */
void jit_loop_find_end(struct jit *j);
/* T1 = turns after this one, until then, or as many as have been counted, if that is less. */
void jit_loop_count_to_end(struct jit *j);
/* @n comes next: if it is the comparison that may wait, on to the next turn. */
void jit_loop_before(struct jit *j, const struct jit_insn *n);

/* --- mates.c ------------------------------------------------------------------------ */

/* Which groups of the loop are in one page. */
void jit_mates_find(struct jit *j);
/* @leader has been checked, T1 is its offset in its page: so are some of its mates, and the
 * turns of these and its own are counted. False: none are. */
bool jit_mates_enter(struct jit *j, struct jit_group *leader);
/* @g, whose first byte is at @lo and whose leader has been checked: it is in the same page, at
 * offset T1, or off to the plain variant. */
void jit_check_mate(struct jit *j, const struct jit_addr *lo, struct jit_group *g);

#endif
