/* SPDX-License-Identifier: MIT */
/*
 * What the decoder's two files (decode.c, decode_vex.c) share; private to isa/.
 */
#ifndef ANYKVM_ISA_PARSER_H
#define ANYKVM_ISA_PARSER_H

#include "isa/select.h"

struct parser {
	uint8_t  buf[48];	/* 15 prefixes + opcode 4 + ModRM 6 + imm 9, and room */
	unsigned pos;
	uint8_t  rex;		/* REX, or the same bits from VEX */
	uint8_t  seg;		/* override or X86_SEG_NONE */
	uint8_t  table;		/* of select.h */
	uint8_t  pfx;		/* value of KEY_PFX */
	uint8_t  w, l;
	uint8_t  r2, v2;	/* EVEX.R', V', not inverted */
	bool     m64;
};

#define REX_B 1
#define REX_X 2
#define REX_R 4
#define REX_W 8

/*
 * VEX or EVEX at the parser's position, through the opcode. False: the map, a fixed
 * bit or a prefix before it makes the instruction undefined.
 */
bool x86_parse_vex(struct x86_insn *insn, struct parser *p);
bool x86_parse_evex(struct x86_insn *insn, struct parser *p);

/* Register numbers, vector length and displacement as EVEX extends them. */
void x86_evex_registers(struct x86_insn *insn, const struct parser *p,
			const struct row_info *ri);

/* Whether the row allows what the VEX or EVEX prefix says. */
bool x86_vex_is_valid(const struct x86_insn *insn, const struct parser *p,
		      const struct row_info *ri);

#endif
