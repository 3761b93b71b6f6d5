/* SPDX-License-Identifier: MIT */
/*
 * The x87/SSE/AVX state of one processor: an XSAVE area in the standard
 * format (SDM Vol. 1, "XSAVE Area"), with the host's own component offsets.
 */
#ifndef ANYKVM_X86_FPU_H
#define ANYKVM_X86_FPU_H

#include "base/types.h"

#define X86_FPU_SIZE	4096	/* all components through AVX-512 and PKRU */

#define X86_XCR0_X87	BIT_ULL(0)
#define X86_XCR0_SSE	BIT_ULL(1)
#define X86_XCR0_AVX	BIT_ULL(2)
#define X86_XCR0_AVX512	(BIT_ULL(5) | BIT_ULL(6) | BIT_ULL(7))
#define X86_XCR0_PKRU	BIT_ULL(9)

/* The legacy region: what FXSAVE64 writes. */
struct x86_fxsave {
	uint16_t fcw, fsw;
	uint8_t  ftw, rsvd;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	struct { uint8_t b[16]; } st[8];
	struct { uint8_t b[16]; } xmm[16];
	uint8_t  pad[96];
};

struct x86_fpu {
	union {
		struct x86_fxsave fx;
		uint8_t area[X86_FPU_SIZE];
	};
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct x86_fxsave) == 512, "FXSAVE area");

#define X86_FCW_INIT	0x37f
#define X86_MXCSR_INIT	0x1f80

#endif
