/* SPDX-License-Identifier: MIT */
/*
 * Names of the lists in ops.def and features.def, for people: logs, tests and
 * traces. Out of range is "?", so that a damaged value can be printed.
 */
#include "isa/insn.h"

static const char *const op_names[] = {
#define OP(name) #name,
#include "isa/ops.def"
#undef OP
};

static const char *const feature_names[] = {
	"NONE",
#define FEATURE(name, leaf, subleaf, reg, bit) #name,
#include "x86/features.def"
#undef FEATURE
};

const char *x86_op_name(enum x86_op op)
{
	return (unsigned)op < ARRAY_SIZE(op_names) ? op_names[op] : "?";
}

const char *x86_feature_name(enum x86_feature f)
{
	return (unsigned)f < ARRAY_SIZE(feature_names) ? feature_names[f] : "?";
}
