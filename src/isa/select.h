/* SPDX-License-Identifier: MIT */
/*
 * From an opcode byte to its row: a table lookup, then as many steps as the
 * opcode has distinctions (ModRM.reg, mandatory prefix, mode, ...).
 *
 * Built once, before main(), from the rows' places; constant from then on.
 */
#ifndef ANYKVM_ISA_SELECT_H
#define ANYKVM_ISA_SELECT_H

#include "isa/insn.h"

/*
 * What rows can be told apart by, as one number; FIELD_SHIFT of each mask is the
 * shift that nodes use.
 */
#define KEY_REG		0x0007u	/* ModRM.reg */
#define KEY_RM		0x0038u	/* ModRM.rm; no ModRM: the opcode's low bits */
#define KEY_PFX		0x00c0u	/* 0 none, 1 66, 2 F3, 3 F2 */
#define KEY_MOD3	0x0100u	/* ModRM.mod == 3 */
#define KEY_M64		0x0200u	/* 64-bit mode */
#define KEY_W		0x0400u
#define KEY_L		0x1800u	/* EVEX.L'L, VEX.L */
#define KEY_B		0x2000u	/* REX.B */

/* mask == 0: a leaf, next is the row's id or ROW_NONE. Else the next node is at
 * next + (key >> shift & mask). */
struct sel_node {
	uint16_t next;
	uint8_t shift, mask;
};
#define ROW_NONE	0xffff

/* What follows the row's ModRM. */
enum imm_kind {
	IMM_NONE, IMM_BU, IMM_BS, IMM_W, IMM_Z, IMM_V, IMM_FAR, IMM_MOFFS,
	IMM_ENTER, IMM_2B, IMM_NR
};

/* What the decoder wants to know of a row, derived from its operands. */
struct row_info {
	uint8_t imm;		/* enum imm_kind */
	uint16_t flags;		/* RI_* */
	uint8_t reg_mask;	/* 7: REX.R has no say (MMX, segments) */
	uint8_t rm_mask;
	uint8_t mem;		/* which operand ModRM makes memory, if any does */
};
#define NO_MEM		0xff
#define RI_REGONLY	BIT(0)	/* MOV CR, DR: mod is taken as 3 */
#define RI_Y		BIT(1)	/* operand size by W alone: 4 or 8 */
#define RI_TAKES_66	BIT(2)	/* 66 is part of the opcode */
#define RI_MAX4		BIT(3)	/* I/O: operand size is at most 4 */
#define RI_CHECK_REG	BIT(4)	/* control, debug, segment: not all exist */
#define RI_VVVV		BIT(5)	/* has an operand in VEX.vvvv */
#define RI_REG_K	BIT(6)	/* ModRM.reg is an opmask, */
#define RI_REG_G	BIT(7)	/* ... a general register */
#define RI_VVVV_K	BIT(8)	/* VEX.vvvv is an opmask */
#define RI_RM_V		BIT(9)	/* ModRM.rm is a vector register */

/* Tables: enum x86_map, + SEL_VEX or SEL_EVEX for VEX- and EVEX-encoded. */
#define SEL_VEX		4
#define SEL_EVEX	8
#define SEL_TABLES	15

extern struct sel_node x86_sel_root[SEL_TABLES][256];
extern uint8_t x86_sel_modrm[SEL_TABLES][256];	/* bool: has ModRM */
extern struct sel_node x86_sel_nodes[];
extern struct row_info x86_row_info[];

#endif
