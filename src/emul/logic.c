/* SPDX-License-Identifier: MIT */
/*
 * Logic: AND OR XOR NOT TEST.
 *
 * OF and CF are cleared, AF is what the host leaves; NOT has no flags at all.
 */
#include "emul/by_size.h"

HANDLER_BINARY(and)
HANDLER_BINARY(or)
HANDLER_BINARY(xor)
HANDLER_FLAGS(test)

int em_not(struct x86_emulate_ctxt *c)
{
	c->dst.val = ~c->dst.val;
	return X86EMUL_CONTINUE;
}
