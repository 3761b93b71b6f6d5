/* SPDX-License-Identifier: MIT */
/*
 * Which instructions have a fast special form, and which function it is.
 */
#include "emul/emul.h"

x86_exec_fn emul_fast_form(const struct x86_insn *insn)
{
	return NULL;
}
