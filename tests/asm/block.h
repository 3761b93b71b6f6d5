/* SPDX-License-Identifier: MIT */
/* The block that a snippet reads its registers from and leaves its results in. */
#ifndef ANYKVM_TESTS_ASM_BLOCK_H
#define ANYKVM_TESTS_ASM_BLOCK_H

/* Offsets; the C view is below. GPRs in the encoding's order, RSP unused. */
#define BLK_IN		0
#define BLK_IN_FLAGS	128
#define BLK_OUT		136
#define BLK_OUT_FLAGS	264
#define BLK_IN_FX	512
#define BLK_OUT_FX	1024
#define BLK_MEM		1536
#define BLK_SIZE	2048

#define DONE_PORT	0xf4

/* What a snippet needs: a register of CPUID << 8 | bit. */
#define FEATURE_C1	0x100	/* leaf 1, ECX */
#define FEATURE_B7	0x200	/* leaf 7, EBX */
#define FEATURE_C81	0x300	/* leaf 0x80000001, ECX */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct block {
	uint64_t in[16], in_flags, out[16], out_flags, pad[30];
	uint8_t in_fx[512], out_fx[512], mem[512];
};

struct snippet {
	uint32_t name, code;	/* offsets from asm_begin */
	uint32_t undefined;	/* flags that are not compared */
	uint32_t feature;	/* 0: none */
};

extern const uint8_t asm_begin[], asm_end[], asm_run[], asm_guest[];
extern const struct snippet asm_snippets[], asm_snippets_end[];
#endif
#endif
