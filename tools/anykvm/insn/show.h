/* SPDX-License-Identifier: MIT */
/* The decoded form of an instruction, for people or as one JSON object. */
#ifndef ANYKVM_TOOLS_INSN_SHOW_H
#define ANYKVM_TOOLS_INSN_SHOW_H

#include "isa/insn.h"

struct show {
	bool json;
	bool first;		/* no member of the object has been written yet */
};

void show_begin(struct show *s);
void show_end(struct show *s);
/* With JSON only: a list or an object inside, '[' or '{'; @name: NULL in a list. */
void show_open(struct show *s, const char *name, char bracket);
void show_close(struct show *s, char bracket);
/* A member, or a line; @fmt is the value. */
void show_text(struct show *s, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void show_number(struct show *s, const char *name, int64_t v);

/* All that the decoder and the tables say of @insn at @rip. */
void show_insn(struct show *s, const struct x86_insn *insn, uint64_t rip);

#endif
