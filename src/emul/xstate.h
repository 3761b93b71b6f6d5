/* SPDX-License-Identifier: MIT */
/* The components of an XSAVE area beyond x87 and SSE: where they are. */
#ifndef ANYKVM_EMUL_XSTATE_H
#define ANYKVM_EMUL_XSTATE_H

#include "base/types.h"

#define XSTATE_NR	20	/* that an image of X86_FPU_SIZE could hold */
#define XSTATE_PKRU	9
#define XSTATE_EXTENDED	576	/* legacy region and header */
#define XSTATE_COMPACT	BIT_ULL(63)	/* of XCOMP_BV */

struct xstate {
	uint32_t size;		/* bytes; 0: there is no such component */
	uint32_t offset;	/* in the standard form */
	bool aligned;		/* to 64 in the compacted form */
	bool host;		/* the host's processor has it too */
};

/* Component @i, 2 to XSTATE_NR - 1. Any thread. */
const struct xstate *xstate(unsigned i);
/* Where component @i is in an area of the form that @xcomp_bv says. */
unsigned xstate_at(unsigned i, uint64_t xcomp_bv);
/* Up to the end of the last component, @rfbm's, in the form of @xcomp_bv. */
unsigned xstate_area_bytes(uint64_t rfbm, uint64_t xcomp_bv);

#endif
