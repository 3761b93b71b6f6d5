/* SPDX-License-Identifier: MIT */
/* Random instruction sequences for CPL 3, in 64-bit mode or as 32-bit code. */
#ifndef ANYKVM_TESTS_JIT_GENERATE_H
#define ANYKVM_TESTS_JIT_GENERATE_H

#include "../../diff/random.h"
#include "isa/insn.h"

/* What the sequences are for from now on. */
void generate_for(enum x86_mode mode);

/* One instruction of the user level that is deterministic and goes on to the next;
 * its length, at most 17. */
unsigned generate_insn(uint8_t *code);
/* Bytes of what ends a loop: DEC, JNZ, HLT. */
#define LOOP_END 14
/*
 * About @n instructions, some under a Jcc that skips them, some two in the other order with
 * JMPs around them, as a loop that runs until the
 * counter (32 bits) at @counter is 0; then HLT. The length.
 */
unsigned generate_loop(uint8_t *code, unsigned n, uint32_t counter);
/*
 * A loop of RCX turns, then HLT: accesses at RSI, RDI, RBX and R13, with R9 as index,
 * most of which each turn moves by a constant. The length.
 */
unsigned generate_walk(uint8_t *code);
/* The same with branches over parts of a turn, several jumps back, ways out, inner loops and
 * what is no part of a loop; perhaps entered in the middle. At most WAYS_BYTES. */
#define WAYS_BYTES 4096
unsigned generate_ways(uint8_t *code);

#endif
