/* SPDX-License-Identifier: MIT */
/*
 * The table from enum x86_op to its handler, made from handlers.def.
 *
 * An op without a function there (NULL) is not implemented: x86_op_implemented()
 * says so and the driver answers X86EMUL_UNHANDLEABLE. At present every op has one;
 * what is not emulated is not in the rows, and the decoder's answer is #UD.
 */
#include "emul/emul.h"

/* clang-format off */
const struct emul_handler emul_handlers[X86_NR_OPS] = {
#define HANDLER(op, fn, how) [X86_OP_##op] = { fn, how },
#include "emul/handlers.def"
#undef HANDLER
};

enum {
#define HANDLER(op, fn, how) LINE_##op,
#include "emul/handlers.def"
#undef HANDLER
	NR_LINES
};
/* clang-format on */

_Static_assert((int)NR_LINES == (int)X86_NR_OPS, "handlers.def: one line per op");

bool x86_op_implemented(enum x86_op op)
{
	return (unsigned)op < X86_NR_OPS && emul_handlers[op].fn;
}
