// SPDX-License-Identifier: MIT
/*
 * Descriptors: reads from GDT and LDT, the checks of code, stack and data
 * segments that several families share, stacks in the TSS.
 *
 * The checks stand in the order of the pseudo-code of MOV, JMP, CALL, RET and
 * IRET in SDM Vol. 2, because the order decides which fault a guest sees when
 * several apply. All table accesses are implicit supervisor accesses.
 *
 * Accessed and busy bits: a processor sets them with a locked read-modify-write.
 * ops->cmpxchg has the privilege of the CPL and cannot reach a table that
 * belongs to the supervisor, so one byte is written with ACC_SYSTEM instead. The
 * byte holds P, DPL, S and the type; a guest that changes these fields of a
 * descriptor on one processor while another loads it can lose the change, which
 * no kernel does without its own locking. Writes that would change nothing are
 * not made, so that read-only tables with their bits set work.
 */
#include "emul/desc.h"

/* Linear addresses wrap at 4G unless 64 bits of base mean something. */
static uint64_t table_la(const struct x86_emulate_ctxt *c, uint64_t base,
			 uint32_t off)
{
	return is_long_mode(c) ? base + off : (uint32_t)(base + off);
}

/* Where [index of @sel, + @bytes) is; false when beyond the table. */
static bool table_locate(const struct x86_emulate_ctxt *c, uint16_t sel,
			 unsigned bytes, uint64_t *la)
{
	const struct x86_segment *ldt = &c->seg[X86_LDTR];
	const uint32_t off = sel & 0xfff8u;
	uint64_t base = c->gdt.base;
	uint32_t limit = c->gdt.limit;

	if (sel & X86_SEL_TI) {
		if (ldt->ar & X86_AR_UNUSABLE)
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	if (off + bytes - 1 > limit)
		return false;
	*la = table_la(c, base, off);
	return true;
}

int desc_peek(struct x86_emulate_ctxt *c, uint16_t sel, struct sys_desc *d,
	      bool *found)
{
	uint32_t raw[2];
	int rc;

	d->sel = sel;
	d->base_hi = 0;
	*found = table_locate(c, sel, 8, &d->la);
	if (!*found)
		return X86EMUL_CONTINUE;
	rc = sys_read(c, d->la, raw, sizeof(raw));
	if (rc)
		return rc;
	d->lo = raw[0];
	d->hi = raw[1];
	return X86EMUL_CONTINUE;
}

int desc_read(struct x86_emulate_ctxt *c, uint16_t sel, uint8_t vector,
	      uint32_t ext, struct sys_desc *d)
{
	bool found;
	int rc = desc_peek(c, sel, d, &found);

	if (!rc && !found)
		return emul_fault_code(c, vector, sel_ec(sel, ext));
	return rc;
}

int desc_read_upper(struct x86_emulate_ctxt *c, uint8_t vector, uint32_t ext,
		    struct sys_desc *d)
{
	uint32_t raw[2];
	uint64_t la;
	int rc;

	if (!is_long_mode(c))
		return X86EMUL_CONTINUE;
	if (!table_locate(c, d->sel, 16, &la))
		return emul_fault_code(c, vector, sel_ec(d->sel, ext));
	rc = sys_read(c, la + 8, raw, sizeof(raw));
	if (rc)
		return rc;
	if (raw[1] & 0x1f00)
		return emul_fault_code(c, vector, sel_ec(d->sel, ext));
	d->base_hi = raw[0];
	return X86EMUL_CONTINUE;
}

static int desc_write_type(struct x86_emulate_ctxt *c, struct sys_desc *d,
			   uint32_t hi)
{
	const uint8_t byte = hi >> 8;
	int rc = c->ops->write(c, d->la + 5, &byte, 1,
			       ACC_SYSTEM | ACC_WRITE | ACC_LOCKED);

	if (!rc)
		d->hi = hi;
	return rc;
}

int desc_set_accessed(struct x86_emulate_ctxt *c, struct sys_desc *d)
{
	const uint32_t hi = d->hi | X86_AR_A << 8;

	return hi == d->hi ? X86EMUL_CONTINUE : desc_write_type(c, d, hi);
}

int desc_set_busy(struct x86_emulate_ctxt *c, struct sys_desc *d, bool busy)
{
	const uint32_t bit = (X86_TSS16_BUSY ^ X86_TSS16) << 8;
	const uint32_t hi = busy ? d->hi | bit : d->hi & ~bit;

	return hi == d->hi ? X86EMUL_CONTINUE : desc_write_type(c, d, hi);
}

void desc_to_segment(const struct sys_desc *d, uint16_t sel,
		     struct x86_segment *s)
{
	uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);

	s->ar = desc_ar(d);
	if (s->ar & X86_AR_S)
		s->ar |= X86_AR_A;
	s->limit = s->ar & X86_AR_G ? limit << 12 | 0xfff : limit;
	s->base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000) |
		  (uint64_t)d->base_hi << 32;
	s->selector = sel;
}

void null_segment(uint16_t sel, unsigned dpl, struct x86_segment *s)
{
	s->base = 0;
	s->limit = 0;
	s->ar = X86_AR_UNUSABLE | FIELD_PREP(X86_AR_DPL, dpl);
	s->selector = sel;
}

/*
 * Real-address mode keeps limit and attributes ("unreal" mode lives on that)
 * unless there are none to keep. SDM Vol. 3B, "Real-Address Mode" and
 * "Virtual-8086 Mode".
 */
void real_segment(const struct x86_emulate_ctxt *c, enum x86_seg seg,
		  uint16_t sel, struct x86_segment *s)
{
	const uint32_t ar = X86_AR_P | X86_AR_S | X86_AR_RW | X86_AR_A;

	*s = c->seg[seg];
	s->selector = sel;
	s->base = (uint64_t)sel << 4;
	if (c->eflags & X86_EFLAGS_VM) {
		s->limit = 0xffff;
		s->ar = ar | X86_AR_DPL;
	} else if (s->ar & X86_AR_UNUSABLE) {
		s->limit = 0xffff;
		s->ar = ar;
	}
}

/* L and D together have no meaning in IA-32e mode. */
static bool code_bad_size(const struct x86_emulate_ctxt *c,
			  const struct sys_desc *d)
{
	const uint32_t both = X86_AR_L | X86_AR_DB;

	return is_long_mode(c) && (desc_ar(d) & both) == both;
}

int code_check_jump(struct x86_emulate_ctxt *c, const struct sys_desc *d)
{
	const uint32_t ec = sel_ec(d->sel, 0);
	const unsigned dpl = desc_dpl(d);
	bool bad = code_bad_size(c, d);

	if (desc_is_conforming(d))
		bad |= dpl > c->cpl;
	else
		bad |= (d->sel & X86_SEL_RPL) > c->cpl || dpl != c->cpl;
	if (bad)
		return emul_gp(c, ec);
	return desc_present(d) ? X86EMUL_CONTINUE : emul_np(c, ec);
}

int code_check_return(struct x86_emulate_ctxt *c, uint16_t sel,
		      struct sys_desc *d)
{
	const unsigned rpl = sel & X86_SEL_RPL;
	const uint32_t ec = sel_ec(sel, 0);
	int rc;

	if (is_null_sel(sel))
		return emul_gp(c, 0);
	rc = desc_read(c, sel, X86_GP, 0, d);
	if (rc)
		return rc;
	if (!desc_is_code(d) || rpl < c->cpl || code_bad_size(c, d))
		return emul_gp(c, ec);
	if (desc_is_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl)
		return emul_gp(c, ec);
	return desc_present(d) ? X86EMUL_CONTINUE : emul_np(c, ec);
}

int code_check_rip(struct x86_emulate_ctxt *c, const struct x86_segment *cs,
		   uint64_t rip, uint32_t ext)
{
	const bool ok = code_is_64(c, cs) ? emul_is_canonical(c, rip) :
					    rip <= cs->limit;

	return ok ? X86EMUL_CONTINUE : emul_gp(c, ext);
}

int stack_check_desc(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		     unsigned vector_ext, struct sys_desc *d)
{
	const uint8_t vector = vector_ext;
	const uint32_t ext = vector_ext >> 8;
	const uint32_t ec = sel_ec(sel, ext);
	int rc = desc_read(c, sel, vector, ext, d);

	if (rc)
		return rc;
	if ((sel & X86_SEL_RPL) != cpl || !desc_is_writable_data(d) ||
	    desc_dpl(d) != cpl)
		return emul_fault_code(c, vector, ec);
	return desc_present(d) ? X86EMUL_CONTINUE : emul_ss(c, ec);
}

int data_check_desc(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		    uint8_t vector, struct sys_desc *d)
{
	const uint32_t ec = sel_ec(sel, 0);
	int rc = desc_read(c, sel, vector, 0, d);

	if (rc)
		return rc;
	if (!desc_is_readable(d))
		return emul_fault_code(c, vector, ec);
	if (!desc_is_code(d) || !desc_is_conforming(d)) {
		const unsigned dpl = desc_dpl(d);

		if ((sel & X86_SEL_RPL) > dpl || cpl > dpl)
			return emul_fault_code(c, vector, ec);
	}
	return desc_present(d) ? X86EMUL_CONTINUE : emul_np(c, ec);
}

void eflags_commit(struct x86_emulate_ctxt *c, uint64_t old)
{
	if ((old ^ c->eflags) & ~(uint64_t)X86_EFLAGS_STATUS &&
	    c->ops->eflags_changed)
		c->ops->eflags_changed(c);
}

/* Visible from @cpl: conforming code, or DPL not below it. */
static bool segment_visible(const struct x86_segment *s, unsigned cpl)
{
	const uint32_t conforming = X86_AR_S | X86_AR_CODE | X86_AR_CE;

	if (s->ar & X86_AR_UNUSABLE)
		return is_null_sel(s->selector);
	return (s->ar & conforming) == conforming ||
	       FIELD_GET(X86_AR_DPL, s->ar) >= cpl;
}

int null_outer_segments(struct x86_emulate_ctxt *c, unsigned cpl)
{
	static const uint8_t segs[] = { X86_ES, X86_FS, X86_GS, X86_DS };
	unsigned i;
	int rc = X86EMUL_CONTINUE;

	for (i = 0; i < ARRAY_SIZE(segs) && !rc; i++) {
		struct x86_segment s;

		if (segment_visible(&c->seg[segs[i]], cpl))
			continue;
		null_segment(0, 0, &s);
		rc = sys_call(c, set_segment, segs[i], &s);
	}
	return rc;
}

/* Layout of the stacks in a TSS: SDM Vol. 3A, "Task-State Segment (TSS)",
 * "16-Bit Task-State Segment (TSS)", "Task Management in 64-bit Mode". */
int tss_stack(struct x86_emulate_ctxt *c, unsigned cpl, unsigned ist,
	      uint32_t ext, struct tss_stack *out)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	const bool lm = is_long_mode(c), tss32 = tr->ar & 8;
	unsigned off, bytes;
	uint8_t raw[8] = { 0 };
	int rc;

	if (lm) {
		off = ist ? 0x1c + 8 * ist : 4 + 8 * cpl;
		bytes = 8;
	} else {
		off = tss32 ? 4 + 8 * cpl : 2 + 4 * cpl;
		bytes = tss32 ? 6 : 4;
	}
	if ((tr->ar & X86_AR_UNUSABLE) || off + bytes - 1 > tr->limit)
		return emul_ts(c, sel_ec(tr->selector, ext));
	rc = sys_read(c, table_la(c, tr->base, off), raw, bytes);
	if (rc)
		return rc;
	if (lm) {
		__builtin_memcpy(&out->sp, raw, 8);
		out->ss = cpl;
		return X86EMUL_CONTINUE;
	}
	out->sp = raw[0] | raw[1] << 8;
	if (tss32)
		out->sp |= (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
	out->ss = raw[bytes - 2] | raw[bytes - 1] << 8;
	return X86EMUL_CONTINUE;
}
