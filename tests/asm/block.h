/* SPDX-License-Identifier: MIT */
/* The block that a snippet reads its registers from and leaves its results in. */
#ifndef ANYKVM_TESTS_ASM_BLOCK_H
#define ANYKVM_TESTS_ASM_BLOCK_H

/* Offsets; the C view is below. GPRs in the encoding's order, RSP unused. */
#define BLK_IN		0
#define BLK_IN_FLAGS	128
#define BLK_OUT		136
#define BLK_OUT_FLAGS	264
#define BLK_STACK	272
#define BLK_SAVED	280
#define BLK_FAR		288
#define BLK_DATA	294
#define BLK_IN_FX	512
#define BLK_OUT_FX	1024
#define BLK_MEM		1536
#define BLK_SIZE	2048

#define DONE_PORT	0xf4
#define AT_BLOCK	0x20000	/* from the copied code's beginning */

/* What a snippet needs: a register of CPUID << 8 | bit. */
#define FEATURE_C1	0x100	/* leaf 1, ECX */
#define FEATURE_B7	0x200	/* leaf 7, EBX */
#define FEATURE_C81	0x300	/* leaf 0x80000001, ECX */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct block {
	uint64_t in[16], in_flags, out[16], out_flags;
	/* Of asm_compat: RSP there and here, the snippet, data segments. */
	uint64_t stack, saved;
	uint32_t far_offset;
	uint16_t far_selector, data;
	uint64_t pad[27];
	uint8_t in_fx[512], out_fx[512], mem[512];
};

struct snippet {
	int32_t name, code;	/* offsets from here */
	uint32_t bits;		/* 64; 32, 16: compatibility mode */
	uint32_t undefined;	/* flags that are not compared */
	uint32_t feature;	/* 0: none */
};

extern const uint8_t asm_run[], asm_guest[], asm_compat[];
/* The sections, by their linker's names. */
extern const uint8_t __start_asm_text[], __stop_asm_text[];
extern const struct snippet __start_asm_rows[], __stop_asm_rows[];

/* Selectors of compatibility mode: Linux's own, and those of an LDT of ours. */
#define SEL_CODE32	0x23
#define SEL_DATA32	0x2b
#define SEL_CODE64	0x33
#define SEL_CODE16	0x0f
#define SEL_DATA16	0x17
#endif
#endif
