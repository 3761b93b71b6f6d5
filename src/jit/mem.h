/* SPDX-License-Identifier: MIT */
/* What mem.c (checks), miss.c (those that fail) and operand.c share. */
#ifndef ANYKVM_JIT_MEM_H
#define ANYKVM_JIT_MEM_H

#include "jit/jit.h"

#define SLOT_OFF(i, field) ((uint32_t)(offsetof(struct hw_cpu, jit.slot) +	\
			    (i) * sizeof(struct hw_jit_slot) +		\
			    offsetof(struct hw_jit_slot, field)))

static inline bool in_one_place(const struct jit_addr *a)
{
	return a->fixed && a->seg == X86_SEG_NONE;
}

/* Base, index and displacement of the host's operand can do it. */
static inline bool is_composable(const struct jit_addr *a)
{
	return a->adsize == 8 && (!a->fixed || a->la == (uint64_t)(int32_t)a->la);
}

/* The check of @g, whose first byte is at @lo, for an access of kind @own: may lead to @s. */
struct jit_miss *jit_miss_add(struct jit *j, const struct jit_addr *lo,
			      const struct jit_group *g, unsigned own,
			      struct jit_slow *s);
/* The TLB's entry for the @bytes at @lo is at T2: returns the jump that is taken if not. */
uint32_t jit_probe_tlb(struct jit *j, const struct jit_addr *lo, unsigned bytes,
		       unsigned kind);
/* The first access of @g, of kind @own: checks it, or off to @s. */
void jit_open_group(struct jit *j, const struct jit_addr *a, struct jit_group *g,
		    int64_t at, unsigned own, struct jit_slow *s);

#endif
