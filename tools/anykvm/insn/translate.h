/* SPDX-License-Identifier: MIT */
/* `anykvm insn --translate`. */
#ifndef ANYKVM_TOOLS_INSN_TRANSLATE_H
#define ANYKVM_TOOLS_INSN_TRANSLATE_H

#include "insn/show.h"

/* Where the first byte stands: a page begins. */
#define INSN_TRANSLATE_RIP	0x20001000ul

/* Shows what the translator makes of the @n bytes, all of which are instructions of 64-bit
 * mode, from number @begin on. 0, or -errno with a message. */
int insn_translate(struct show *s, const uint8_t *bytes, unsigned n, unsigned begin);

#endif
