/* SPDX-License-Identifier: MIT */
/*
 * Of the assembler files with snippets: flags, and the macros that open a snippet and
 * write its row. The code of all is one section, asm_text, which is copied as it is;
 * the rows are another, asm_rows, whose offsets count from the row's own fields.
 */
#ifndef ANYKVM_TESTS_ASM_SNIP_H
#define ANYKVM_TESTS_ASM_SNIP_H

#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800
#define ARITH (CF | PF | AF | ZF | SF | OF)

	.macro SNIP_BEGIN name:vararg
8:	.asciz "\name"
9:
	.pushsection asm_rows, "a"
	.long 8b - ., 9b - .
	.popsection
	.endm
	.macro SNIP_ROW bits, undefined, feature
	.pushsection asm_rows, "a"
	.long \bits, \undefined, \feature
	.popsection
	.endm

#endif
