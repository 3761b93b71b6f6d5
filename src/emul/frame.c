// SPDX-License-Identifier: MIT
/*
 * Stack frames pushed and popped as a whole.
 *
 * A frame is laid out in a buffer in memory order and transferred in pieces. As
 * a rule it is contiguous in linear memory and up to 64 bytes long, and then it
 * is one callback, which checks both pages before it writes: nothing can be left
 * half done. A frame that wraps (at 64K or 4G) or is longer is probed first,
 * piece by piece, with reads that claim write access, and then written.
 *
 * Limits are checked for the range, or for each element when the stack pointer
 * wraps: SDM Vol. 3A, "Limit Checking". In 64-bit mode addresses must be
 * canonical instead, and the segment has no say.
 */
#include "emul/frame.h"

#define PIECE_MAX	64

void frame_current(const struct x86_emulate_ctxt *c, uint32_t ec,
		   struct stack_view *v)
{
	v->ss = c->seg[X86_SS];
	v->sp = c->gpr[X86_RSP];
	v->size = c->stack_size;
	v->acc = 0;
	v->ec = ec;
}

static int inner_ss(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		    uint32_t ext, struct sys_desc *d)
{
	if (is_null_sel(sel))
		return emul_ts(c, ext);
	return stack_check_desc(c, sel, cpl, VECTOR_EXT(X86_TS, ext), d);
}

/* From CPL 3 inwards the accesses are the supervisor's although ctxt.cpl still
 * says 3. They are explicit ones: EFLAGS.AC suspends SMAP for them. */
int frame_inner(struct x86_emulate_ctxt *c, unsigned cpl, unsigned ist,
		uint32_t ext, struct stack_view *v, struct sys_desc *d)
{
	struct tss_stack ts;
	int rc = tss_stack(c, cpl, ist, ext, &ts);

	if (rc)
		return rc;
	v->sp = ts.sp;
	v->acc = c->cpl == 3 && cpl < 3 ? ACC_INNER : 0;
	v->ec = sel_ec(ts.ss, ext);
	if (is_long_mode(c)) {
		null_segment(ts.ss, cpl, &v->ss);
		v->size = 8;
		return X86EMUL_CONTINUE;
	}
	rc = inner_ss(c, ts.ss, cpl, ext, d);
	if (rc)
		return rc;
	desc_to_segment(d, ts.ss, &v->ss);
	v->size = v->ss.ar & X86_AR_DB ? 4 : 2;
	return X86EMUL_CONTINUE;
}

int inner_accessed(struct x86_emulate_ctxt *c, struct sys_desc *d)
{
	return is_long_mode(c) ? X86EMUL_CONTINUE : desc_set_accessed(c, d);
}

uint8_t frame_size(const struct x86_emulate_ctxt *c,
		   const struct x86_segment *ss, const struct x86_segment *cs)
{
	if (code_is_64(c, cs))
		return 8;
	return ss->ar & X86_AR_DB ? 4 : 2;
}

static uint64_t frame_offset(const struct stack_view *v, uint64_t sp)
{
	return sp & emul_mask(v->size);
}

void frame_move(struct stack_view *v, int64_t delta)
{
	v->sp = emul_merge(v->sp, v->sp + delta, v->size);
}

void frame_commit(struct x86_emulate_ctxt *c, const struct stack_view *v)
{
	emul_set_gpr(c, X86_RSP, v->sp, v->size);
}

/* [off, off + n) inside the limit; @off + @n may exceed 32 bits. */
static bool limit_ok(const struct x86_segment *s, uint64_t off, unsigned n)
{
	const uint64_t last = off + n - 1;

	if (!(s->ar & X86_AR_CE) || (s->ar & X86_AR_CODE))
		return last <= s->limit || s->limit == UINT32_MAX;
	return off > s->limit &&
	       last <= (s->ar & X86_AR_DB ? 0xffffffffull : 0xffffull);
}

/* [low, low + bytes) does not pass the top of the stack pointer's range. */
static bool frame_is_straight(const struct stack_view *v, uint64_t low,
			      unsigned bytes)
{
	return low + bytes - 1 >= low && low + bytes - 1 <= emul_mask(v->size);
}

static bool room_legacy(const struct stack_view *v, uint64_t low, unsigned n,
			unsigned width)
{
	unsigned i;

	if (v->ss.ar & X86_AR_UNUSABLE)
		return false;
	if (frame_is_straight(v, low, n * width))
		return limit_ok(&v->ss, low, n * width);
	for (i = 0; i < n; i++)
		if (!limit_ok(&v->ss, frame_offset(v, low + i * width), width))
			return false;
	return true;
}

static uint64_t frame_la(const struct stack_view *v, uint64_t off)
{
	return v->size == 8 ? off : (uint32_t)(v->ss.base + off);
}

/* Elements are aligned alike, so the first one's alignment is all of theirs. */
static int check_aligned(struct x86_emulate_ctxt *c, const struct stack_view *v,
			 uint64_t low, unsigned width)
{
	return emul_check_aligned(c, frame_la(v, low), width, v->acc);
}

static int check_at(struct x86_emulate_ctxt *c, const struct stack_view *v,
		    uint64_t low, unsigned n, unsigned width)
{
	bool ok;

	if (v->size == 8)
		ok = emul_is_canonical(c, low) &&
		     emul_is_canonical(c, low + n * width - 1);
	else
		ok = room_legacy(v, low, n, width);
	return ok ? X86EMUL_CONTINUE : emul_ss(c, v->ec);
}

int frame_room(struct x86_emulate_ctxt *c, const struct stack_view *v,
	       unsigned n, unsigned width)
{
	return check_at(c, v, frame_offset(v, v->sp - n * width), n, width);
}

enum xfer { XFER_READ, XFER_PROBE, XFER_WRITE };

struct frame_io {
	const struct stack_view *v;
	uint64_t low;		/* offset of the first byte */
	uint8_t *buf;
	unsigned bytes;
	unsigned piece;		/* most bytes a transfer may have */
};

/* Quadwords where there is nothing else: the frames of 64-bit mode. */
static int copy_in(uint8_t *buf, const uint8_t *p, unsigned bytes)
{
	unsigned i;

	if (bytes & 7)
		return host_copy_in(buf, p, bytes);
	for (i = 0; i < bytes; i += 8) {
		uint64_t v;

		if (host_read_64(p + i, &v))
			return -EFAULT;
		__builtin_memcpy(buf + i, &v, 8);
	}
	return 0;
}

static int copy_out(uint8_t *p, const uint8_t *buf, unsigned bytes)
{
	unsigned i;

	if (bytes & 7)
		return host_copy_out(p, buf, bytes);
	for (i = 0; i < bytes; i += 8) {
		uint64_t v;

		__builtin_memcpy(&v, buf + i, 8);
		if (host_write_64(p + i, v))
			return -EFAULT;
	}
	return 0;
}

/* Straight on host memory, where the translation cache has it. */
static bool xfer_fast(const struct x86_emulate_ctxt *c, uint64_t la,
		      uint8_t *buf, unsigned bytes, enum xfer what)
{
	void *p = emul_tlb(c, la, bytes, what == XFER_READ ? X86_TLB_READ :
							     X86_TLB_WRITE);

	if (!p)
		return false;
	switch (what) {
	case XFER_READ:
		return !copy_in(buf, p, bytes);
	case XFER_WRITE:
		return !copy_out(p, buf, bytes);
	default:
		return true;
	}
}

static int xfer_piece(struct x86_emulate_ctxt *c, const struct frame_io *io,
		      unsigned at, unsigned bytes, enum xfer what)
{
	const unsigned acc = io->v->acc | ACC_UNALIGNED;
	const uint64_t la = frame_la(io->v, frame_offset(io->v, io->low + at));
	uint8_t scratch[PIECE_MAX];

	if (!(acc & ACC_UNCACHED) &&
	    xfer_fast(c, la, io->buf + at, bytes, what))
		return X86EMUL_CONTINUE;
	switch (what) {
	case XFER_READ:
		return emul_read_bytes_la(c, la, io->buf + at, bytes, acc);
	case XFER_PROBE:
		return emul_read_bytes_la(c, la, scratch, bytes,
					  acc | ACC_WRITE);
	default:
		return emul_write_bytes_la(c, la, io->buf + at, bytes, acc);
	}
}

static int xfer(struct x86_emulate_ctxt *c, const struct frame_io *io,
		enum xfer what)
{
	unsigned at, bytes;
	int rc = X86EMUL_CONTINUE;

	for (at = 0; at < io->bytes && !rc; at += bytes) {
		bytes = MIN(io->piece, io->bytes - at);
		rc = xfer_piece(c, io, at, bytes, what);
	}
	return rc;
}

static void frame_io_init(struct frame_io *io, const struct stack_view *v,
			  uint64_t low, uint8_t *buf, unsigned n,
			  unsigned width)
{
	const uint64_t la = frame_la(v, low);

	io->v = v;
	io->low = low;
	io->buf = buf;
	io->bytes = n * width;
	if (v->size == 8)
		io->piece = PIECE_MAX;
	else if (la + io->bytes - 1 > UINT32_MAX)
		io->piece = 1;
	else
		io->piece = frame_is_straight(v, low, io->bytes) ? PIECE_MAX :
								   width;
}

static void store_element(uint8_t *p, uint64_t val, unsigned width)
{
	__builtin_memcpy(p, &val, width);
}

int frame_push(struct x86_emulate_ctxt *c, struct stack_view *v,
	       const uint64_t *vals, unsigned n, unsigned width)
{
	const uint64_t low = frame_offset(v, v->sp - n * width);
	uint8_t buf[FRAME_MAX * 8];
	struct frame_io io;
	unsigned i;
	int rc = frame_room(c, v, n, width);

	if (!rc)
		rc = check_aligned(c, v, low, width);
	if (rc)
		return rc;
	for (i = 0; i < n; i++)
		store_element(buf + (n - 1 - i) * width, vals[i], width);
	frame_io_init(&io, v, low, buf, n, width);
	if (io.piece < io.bytes)
		rc = xfer(c, &io, XFER_PROBE);
	if (!rc)
		rc = xfer(c, &io, XFER_WRITE);
	if (!rc)
		frame_move(v, -(int64_t)(n * width));
	return rc;
}

int frame_pop(struct x86_emulate_ctxt *c, struct stack_view *v,
	      uint64_t *vals, unsigned n, unsigned width)
{
	const uint64_t low = frame_offset(v, v->sp);
	uint8_t buf[FRAME_MAX * 8];
	struct frame_io io;
	unsigned i;
	int rc = check_at(c, v, low, n, width);

	if (!rc)
		rc = check_aligned(c, v, low, width);
	if (rc)
		return rc;
	frame_io_init(&io, v, low, buf, n, width);
	rc = xfer(c, &io, XFER_READ);
	if (rc)
		return rc;
	for (i = 0; i < n; i++) {
		vals[i] = 0;
		__builtin_memcpy(&vals[i], buf + i * width, width);
	}
	frame_move(v, n * width);
	return X86EMUL_CONTINUE;
}

/* Intel's processors read 2 bytes of the selector's slot, and those first. */
int frame_pop_selector(struct x86_emulate_ctxt *c, struct stack_view *v,
		       uint64_t *vals, unsigned n, unsigned width)
{
	struct stack_view top = *v;
	int rc;

	if (c->vendor_amd)
		return frame_pop(c, v, vals, n, width);
	frame_move(&top, (n - 1) * width);
	rc = frame_pop(c, &top, &vals[n - 1], 1, 2);
	if (!rc)
		rc = frame_pop(c, v, vals, n - 1, width);
	if (!rc)
		frame_move(v, width);
	return rc;
}
