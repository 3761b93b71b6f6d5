/* SPDX-License-Identifier: MIT */
/* The assembler (emit.c): a part of jit.h, which includes it. */
#ifndef ANYKVM_JIT_EMIT_H
#define ANYKVM_JIT_EMIT_H

#include "jit/jit.h"

static inline void e8(struct jit *j, uint8_t v)
{
	j->rw[j->pos++] = v;
}

static inline void e32(struct jit *j, uint32_t v)
{
	__builtin_memcpy(j->rw + j->pos, &v, 4);
	j->pos += 4;
}

static inline void e64(struct jit *j, uint64_t v)
{
	__builtin_memcpy(j->rw + j->pos, &v, 8);
	j->pos += 8;
}

#define CPU_OFF(field)	((uint32_t)offsetof(struct hw_cpu, field))
#define SEG_BASE_OFF(s)	((uint32_t)(CPU_OFF(c.seg[0].base) +			\
				    (s) * sizeof(struct x86_segment)))
#define GPR_OFF(r)	((uint32_t)(offsetof(struct hw_cpu, c.gpr) + 8 * (r)))

/* gs:[disp] is what is at @disp in the hw_cpu: through GS, or at its address (jit.base).
 * op reg, gs:[disp] and op reg, gs:[T2 + disp]; @bytes 1 to 8 of the register. A
 * store or load is a matter of @op; two-byte opcodes are 0x0fxx. */
void emit_cpu(struct jit *j, unsigned op, unsigned reg, uint32_t disp,
	      unsigned bytes);
void emit_cpu_t2(struct jit *j, unsigned op, unsigned reg, uint32_t disp,
		 unsigned bytes);
/* op reg, gs:[T2 * 8 + disp]; 64 bits. */
void emit_cpu_t2x8(struct jit *j, unsigned op, unsigned reg, uint32_t disp);
/* op reg, rm; both registers. */
void emit_rr(struct jit *j, unsigned op, unsigned reg, unsigned rm,
	     unsigned bytes);
/* A host memory operand: base + index << scale + disp. */
struct jit_mem {
	uint8_t base, index;	/* host registers; index: or NO_INDEX */
	uint8_t scale;
	int32_t disp;
};

#define NO_INDEX 0xff

/* Its share of an encoding: REX.X and REX.B; ModRM, SIB and displacement. @evex: a
 * displacement of 8 bits would be multiplied. */
static inline unsigned jit_mem_rex(const struct jit_mem *m)
{
	return (m->index == NO_INDEX ? 0 : m->index >> 3 << 1) | m->base >> 3;
}
void emit_modrm(struct jit *j, unsigned reg, const struct jit_mem *m, bool evex);
/* op reg, @m; 4 or 8 bytes; 8; a word of the guest's mode. */
void emit_mem_bytes(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m,
		    unsigned bytes);
void emit_mem(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m);
void emit_mem_word(struct jit *j, unsigned op, unsigned reg, const struct jit_mem *m);
/* op reg, [base + disp] */
void emit_rm(struct jit *j, unsigned op, unsigned reg, unsigned base,
	     int32_t disp);
/* The guest's RSP += @by; no flags. */
void emit_move_rsp(struct jit *j, int32_t by);
void emit_mov_imm(struct jit *j, unsigned reg, uint64_t v);
void emit_mov_rr(struct jit *j, unsigned to, unsigned from);
void emit_load(struct jit *j, unsigned reg, uint32_t disp);	/* 64 bits */
void emit_store(struct jit *j, unsigned reg, uint32_t disp);
/* Jumps to a known place; those whose place is told later return the position of
 * their rel32. @cc: condition, CC_ALWAYS, or CC_CALL: a call. */
#define CC_O	0
#define CC_ALWAYS 16
#define CC_CALL	17
#define CC_E	4
#define CC_NE	5
#define CC_BE	6
#define CC_A	7
#define CC_S	8
#define CC_NS	9
void emit_jump(struct jit *j, unsigned cc, uint32_t to);
uint32_t emit_jump_later(struct jit *j, unsigned cc);
void emit_patch(struct jit *j, uint32_t rel32, uint32_t to);
/* op reg, imm; @digit of opcode 83; @w: 64 bits. */
void emit_alu_imm(struct jit *j, unsigned digit, unsigned reg, int32_t v, bool w);
/* Flags between RFLAGS and jit_state.flags; @scratch is overwritten. */
void emit_flags_save(struct jit *j, unsigned scratch);
void emit_flags_load(struct jit *j, unsigned scratch);
/* The same where CF is all that is needed. */
void emit_carry_save(struct jit *j);
void emit_carry_load(struct jit *j, unsigned scratch);
/* A stub: @fn says where to go on. @host: the flags are in RFLAGS here, and there. */
uint32_t emit_link(struct jit *j, bool host, unsigned fn);
/* The stubs at the start of the code area. */
void emit_stubs(struct jit *j);

#endif
