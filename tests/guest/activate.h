/* SPDX-License-Identifier: MIT */
/* What activate.c and activate.S share. */
#ifndef ANYKVM_TESTS_GUEST_ACTIVATE_H
#define ANYKVM_TESTS_GUEST_ACTIVATE_H

#define SEL_64		0x38	/* code with L */
#define SEL_LD		0x40	/* with L and D: of 32 bits outside long mode */
#define SEL_16		0x48	/* with neither */
#define SEL_TSS16	0x50
#define REAL_BASE	0x7000	/* where the code of real mode is copied to */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* An instruction that may fault: then the next one is at @resume. */
extern struct attempt {
	uint32_t vector, error, ip, resume;
} attempt;

/* An instruction in a code segment of its own. */
struct text { uint32_t ip, sel, resume; };
extern const struct text mov_cr0_32, mov_cr0_16, mov_cr0_l, mov_cr0_ld, mov_cr0_64, mov_cr3_32,
	mov_cr4_32, mov_cr4_64, wrmsr_32, wrmsr_64;

extern const uint8_t fault64[], real_begin[], real_end[];
uint32_t real_trip(uint32_t cr0);	/* the MSW that it has had there */
#endif
#endif
