/* SPDX-License-Identifier: MIT */
/*
 * Instructions as text, for people: traces, dumps, test reports. Not part of the
 * run path (it may call the C library and use vector registers), therefore its own
 * library: depend on isa_text_dep.
 */
#ifndef ANYKVM_ISA_TEXT_H
#define ANYKVM_ISA_TEXT_H

#include "base/types.h"
#include "x86/regs.h"

/*
 * Writes the instruction at @bytes (at most @n of them) in Intel syntax to @buf.
 *
 * @rip		[IN] its address: relative targets are written as absolute
 * @buf		[OUT] text, always terminated when @size > 0; "(bad)" where the
 *		bytes are not an instruction
 *
 * The instruction's length in bytes; -EINVAL where there is none (also when the
 * bytes are too few). Any thread, no locks.
 */
int x86_insn_text(const uint8_t *bytes, size_t n, enum x86_mode mode,
		  uint64_t rip, char *buf, size_t size);

#endif
