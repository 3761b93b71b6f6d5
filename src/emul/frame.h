/* SPDX-License-Identifier: MIT */
/*
 * Stack frames: several pushes or pops as one, on the current stack or on one
 * that has not been switched to yet.
 *
 * A far transfer must find out that its frame fits, and that its pages can be
 * written, before it changes anything; and the frame goes to a stack that is
 * not yet SS:RSP. So a frame is pushed through a view: room is checked first
 * (frame_room), then everything is written (frame_push), and RSP changes last
 * (frame_commit).
 */
#ifndef ANYKVM_EMUL_FRAME_H
#define ANYKVM_EMUL_FRAME_H

#include "emul/desc.h"
#include "emul/mem.h"

/* The longest: 31 parameters, SS, ESP, CS, EIP of a call gate. */
#define FRAME_MAX	36

struct stack_view {
	struct x86_segment ss;
	uint64_t sp;
	uint8_t  size;	/* width of the stack pointer: 2, 4, 8 (64-bit mode) */
	uint8_t  acc;	/* ACC_* of its accesses */
	uint32_t ec;	/* error code of its #SS */
};

/* The current stack; #SS(@ec). */
void frame_current(const struct x86_emulate_ctxt *c, uint32_t ec,
		   struct stack_view *v);

/*
 * The stack that the TSS has for level @cpl (or IST @ist), with the checks that
 * calls to inner levels make: #TS, #SS, error codes with EXT @ext. In legacy
 * mode @d is the descriptor of its SS, whose accessed bit the caller sets with
 * inner_accessed() when nothing else can fail.
 */
int frame_inner(struct x86_emulate_ctxt *c, unsigned cpl, unsigned ist,
		uint32_t ext, struct stack_view *v, struct sys_desc *d);
int inner_accessed(struct x86_emulate_ctxt *c, struct sys_desc *d);

/* Stack pointer width that @ss gives under code segment @cs. */
uint8_t frame_size(const struct x86_emulate_ctxt *c,
		   const struct x86_segment *ss, const struct x86_segment *cs);

/* @n elements of @width bytes (2, 4, 8) can be pushed, as far as segmentation
 * goes: else #SS(v->ec). */
int frame_room(struct x86_emulate_ctxt *c, const struct stack_view *v,
	       unsigned n, unsigned width);
/* Pushes vals[0], vals[1], ...: all or none. Includes frame_room. Moves v->sp. */
int frame_push(struct x86_emulate_ctxt *c, struct stack_view *v,
	       const uint64_t *vals, unsigned n, unsigned width);
/* Pops vals[0], vals[1], ... and moves v->sp. */
int frame_pop(struct x86_emulate_ctxt *c, struct stack_view *v,
	      uint64_t *vals, unsigned n, unsigned width);
/* The same where the last of them is a selector, of which Intel reads 2 bytes. */
int frame_pop_selector(struct x86_emulate_ctxt *c, struct stack_view *v,
		       uint64_t *vals, unsigned n, unsigned width);

/* RSP becomes v->sp, in v->size bytes (a 32-bit one zeroes the upper half, a
 * 16-bit one leaves the rest). */
void frame_commit(struct x86_emulate_ctxt *c, const struct stack_view *v);

/* v->sp moved by @delta within its width. */
void frame_move(struct stack_view *v, int64_t delta);

#endif
