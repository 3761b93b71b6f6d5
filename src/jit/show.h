/* SPDX-License-Identifier: MIT */
/*
 * What the translator makes of given bytes, for people: `anykvm insn --translate`. The
 * one header of jit/ for those outside of the silicon.
 */
#ifndef ANYKVM_JIT_SHOW_H
#define ANYKVM_JIT_SHOW_H

#include "base/types.h"

struct jit;
struct x86_insn;

enum jit_piece_kind {
	JIT_PIECE_INSN,		/* what was made of the instruction at @rip */
	JIT_PIECE_FIRST,	/* turns of a loop before its checks; its first instruction */
	JIT_PIECE_END,		/* the block has no transfer at its end: on to @rip */
	JIT_PIECE_SLOW,		/* out of line, for @rip */
	JIT_PIECE_DATA,		/* no code: the constant @rip, or what a jump at @rip knows */
};

/* A part of a block's translation. */
struct jit_piece {
	enum jit_piece_kind kind;
	uint64_t rip;
	unsigned guest_len;	/* INSN: bytes at @rip, else 0 */
	const uint8_t *code;	/* valid during the call */
	unsigned len;		/* may be 0 */
	uint32_t at;		/* its offset in the code area */
	bool first;		/* a block begins here */
	const struct jit *jit;
};

typedef void (*jit_piece_fn)(void *arg, const struct jit_piece *piece);

/*
 * Translates the @n bytes at @rip from number @begin on as 64-bit code that is entered
 * with its flags in memory, on a processor of its own with all features of this host, and
 * calls @fn for each part, in the order in which they are in memory. What is behind @begin
 * and not in the first block makes others. Nothing is executed.
 *
 * 0; -EINVAL: they are not all whole, defined instructions, do not end in @rip's page, or
 * are no more than @begin;
 * -ENOMEM. After an error @fn may have seen the blocks before it. Any thread.
 */
int jit_show(const uint8_t *bytes, unsigned n, unsigned begin, uint64_t rip,
	     jit_piece_fn fn, void *arg);

/* The field of the processor that host instruction @i of @jit's code has for its operand,
 * in words of the source ("c.gpr[14]"), into @buf. False: none, or none that is known. */
bool jit_field_name(const struct jit *jit, const struct x86_insn *i, char *buf,
		    unsigned size);
/* The stub at offset @at of @jit's code area; NULL: none begins there. */
const char *jit_stub_name(const struct jit *jit, uint32_t at);

#endif
