/* SPDX-License-Identifier: MIT */
/*
 * Handlers from alu.h's functions: choose by the size of dst at run time. For the
 * generic handlers, which all have the same few shapes.
 */
#ifndef ANYKVM_EMUL_BY_SIZE_H
#define ANYKVM_EMUL_BY_SIZE_H

#include "emul/alu.h"
#include "emul/emul.h"

/* r = alu_<op><bits>(args) for @bytes; no byte form where WIDE. */
#define BY_SIZE_WIDE(r, bytes, op, ...)					\
	do {								\
		switch (bytes) {					\
		case 2:							\
			r alu_##op##16(__VA_ARGS__);			\
			break;						\
		case 4:							\
			r alu_##op##32(__VA_ARGS__);			\
			break;						\
		default:						\
			r alu_##op##64(__VA_ARGS__);			\
			break;						\
		}							\
	} while (0)

#define BY_SIZE(r, bytes, op, ...)					\
	do {								\
		if ((bytes) == 1)					\
			r alu_##op##8(__VA_ARGS__);			\
		else							\
			BY_SIZE_WIDE(r, bytes, op, __VA_ARGS__);	\
	} while (0)

/* dst = dst op src. */
#define HANDLER_BINARY(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	BY_SIZE(c->dst.val =, c->dst.bytes, op, c->dst.val, c->src.val,	\
		&c->eflags);						\
	return X86EMUL_CONTINUE;					\
}

/* Flags of dst op src. */
#define HANDLER_FLAGS(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	BY_SIZE(, c->dst.bytes, op, c->dst.val, c->src.val, &c->eflags); \
	return X86EMUL_CONTINUE;					\
}

/* dst = op dst. */
#define HANDLER_UNARY(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	BY_SIZE(c->dst.val =, c->dst.bytes, op, c->dst.val, &c->eflags); \
	return X86EMUL_CONTINUE;					\
}

#endif
