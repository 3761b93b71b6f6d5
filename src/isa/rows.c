/* SPDX-License-Identifier: MIT */
/*
 * The rows: every map_*.def file expanded into one array of struct opcode, and a
 * second one that says where each row stands in the opcode maps.
 *
 * The files are read three times, always in the order of all_maps.def, so that a
 * row's number is its position. What selects a row at run time is built from the
 * places by select.c; nothing here is ever written.
 */
#include "isa/avx_rows.h"

#define UNPAREN(...) __VA_ARGS__

/* An operand column may be empty: "+ 0" makes a number of nothing. */
#define ROW_BODY(mn, o, at, feat, icpt, fr, fw, ev, a, b, c, d, ...)	\
	{								\
		.mnemonic = mn, .op = X86_OP_##o, .attr = at,		\
		.feature = X86_FEATURE_##feat,				\
		.intercept = X86_INTERCEPT_##icpt,			\
		.access = ACCESS1(a + 0) | ACCESS1(b + 0) |		\
			  ACCESS1(c + 0) | ACCESS1(d + 0),		\
		.flags_read = fr, .flags_written = fw,			\
		.opnd = { OPERAND_INIT(a + 0), OPERAND_INIT(b + 0),	\
			  OPERAND_INIT(c + 0), OPERAND_INIT(d + 0) },	\
		.id = __COUNTER__ - FIRST_ID - 1,			\
		.evex = ev,						\
	},
#define ROW_BODY1(...) ROW_BODY(__VA_ARGS__)

#define ROW(opc, when, mn, op, ops, at, fr, fw) \
	ROW_BODY1(mn, op, at, NONE, NONE, fr, fw, 0, UNPAREN ops, 0, 0, 0, 0)
#define ROWX(opc, when, mn, op, ops, at, feat, icpt, fr, fw) \
	ROW_BODY1(mn, op, at, feat, icpt, fr, fw, 0, UNPAREN ops, 0, 0, 0, 0)
#define ROWE(opc, when, mn, op, ops, at, feat, icpt, fr, fw, ev) \
	ROW_BODY1(mn, op, at, feat, icpt, fr, fw, ev, UNPAREN ops, 0, 0, 0, 0)

enum { FIRST_ID = __COUNTER__ };

static const struct opcode rows[] = {
#include "isa/all_maps.def"
};

#undef ROW
#undef ROWX
#undef ROWE

enum { FIRST_PTR = __COUNTER__ };

#define ROW(...) &rows[__COUNTER__ - FIRST_PTR - 1],
#define ROWX ROW
#define ROWE ROW

const struct opcode *const x86_rows[] = {
#include "isa/all_maps.def"
};

#undef ROW
#undef ROWX
#undef ROWE

const unsigned x86_nr_rows = ARRAY_SIZE(rows);

#define ROW(opc, w, ...) { .opcode = opc, .when = w },
#define ROWX ROW
#define ROWE ROW

const struct row_place x86_row_places[] = {
#include "isa/all_maps.def"
};
