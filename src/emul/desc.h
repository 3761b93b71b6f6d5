/* SPDX-License-Identifier: MIT */
/*
 * Descriptors: reading them from their tables, the checks that more than one
 * family makes, and the small accessors of the system families (segment.c
 * far.c iret.c event.c task.c dtable.c syscall.c sysreg.c virt.c).
 *
 * Functions that return int return enum x86emul. Error codes are built from a
 * selector by sel_ec(); @ext is the EXT bit that event delivery adds, 0
 * elsewhere. Nothing here changes registers.
 */
#ifndef ANYKVM_EMUL_DESC_H
#define ANYKVM_EMUL_DESC_H

#include "emul/emul.h"

/* The handlers, as handlers.def lists them. */
#define HANDLER(op, fn, how) int fn(struct x86_emulate_ctxt *c);
#include "emul/handlers.def"
#undef HANDLER

/* Calls the owner; a member that is not there is X86EMUL_UNHANDLEABLE. */
#define sys_call(c, op, ...)						\
	((c)->ops->op ? (c)->ops->op((c), ##__VA_ARGS__) : X86EMUL_UNHANDLEABLE)

/* Implicit supervisor accesses (SDM Vol. 3A, "Determination of Access Rights"). */
static inline int sys_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
			   unsigned bytes)
{
	return c->ops->read(c, la, val, bytes, ACC_SYSTEM);
}

static inline int sys_write(struct x86_emulate_ctxt *c, uint64_t la,
			    const void *val, unsigned bytes)
{
	return c->ops->write(c, la, val, bytes, ACC_SYSTEM);
}

static inline bool is_long_mode(const struct x86_emulate_ctxt *c)
{
	return c->efer & X86_EFER_LMA;
}

static inline bool is_protected(const struct x86_emulate_ctxt *c)
{
	return c->mode >= X86_MODE_PROT16;
}

static inline bool is_null_sel(uint16_t sel)
{
	return !(sel & ~X86_SEL_RPL);
}

static inline uint32_t sel_ec(uint16_t sel, uint32_t ext)
{
	return (sel & ~X86_SEL_RPL) | ext;
}

/* A descriptor as it stands in memory. */
struct sys_desc {
	uint64_t la;		/* its linear address */
	uint32_t lo, hi;
	uint32_t base_hi;	/* bits 63:32 of a 16-byte one's base or offset */
	uint16_t sel;		/* the selector that led to it */
};

static inline unsigned desc_type(const struct sys_desc *d)
{
	return d->hi >> 8 & 0xf;
}

static inline unsigned desc_dpl(const struct sys_desc *d)
{
	return d->hi >> 13 & 3;
}

/* @d->hi with the layout of struct x86_segment.ar. */
static inline uint32_t desc_ar(const struct sys_desc *d)
{
	return d->hi >> 8 & 0xf0ff;
}

static inline bool desc_present(const struct sys_desc *d)
{
	return desc_ar(d) & X86_AR_P;
}

static inline bool desc_is_system(const struct sys_desc *d)
{
	return !(desc_ar(d) & X86_AR_S);
}

static inline bool desc_is_code(const struct sys_desc *d)
{
	return (desc_ar(d) & (X86_AR_S | X86_AR_CODE)) ==
	       (X86_AR_S | X86_AR_CODE);
}

static inline bool desc_is_conforming(const struct sys_desc *d)
{
	return desc_ar(d) & X86_AR_CE;
}

static inline bool desc_is_writable_data(const struct sys_desc *d)
{
	return (desc_ar(d) & (X86_AR_S | X86_AR_CODE | X86_AR_RW)) ==
	       (X86_AR_S | X86_AR_RW);
}

/* Data, or code that can be read. */
static inline bool desc_is_readable(const struct sys_desc *d)
{
	return (desc_ar(d) & X86_AR_S) &&
	       (desc_ar(d) & (X86_AR_CODE | X86_AR_RW)) != X86_AR_CODE;
}

static inline bool desc_is_tss_avail(const struct sys_desc *d)
{
	return desc_is_system(d) &&
	       (desc_type(d) == X86_TSS16 || desc_type(d) == X86_TSS32);
}

static inline bool desc_is_tss_busy(const struct sys_desc *d)
{
	return desc_is_system(d) && (desc_type(d) == X86_TSS16_BUSY ||
				     desc_type(d) == X86_TSS32_BUSY);
}

/* Gates. */
static inline uint16_t gate_sel(const struct sys_desc *d)
{
	return d->lo >> 16;
}

static inline uint64_t gate_offset(const struct sys_desc *d)
{
	uint64_t off = (d->lo & 0xffff) | (uint64_t)d->base_hi << 32;

	return desc_type(d) & 8 ? off | (d->hi & 0xffff0000) : off;
}

static inline unsigned gate_param_count(const struct sys_desc *d)
{
	return d->hi & 0x1f;
}

/*
 * Reads the 8-byte descriptor of @sel. Beyond its table, or in an LDT that is
 * not there: @vector with @sel's error code. A null selector is not special
 * here; callers have looked.
 */
int desc_read(struct x86_emulate_ctxt *c, uint16_t sel, uint8_t vector,
	      uint32_t ext, struct sys_desc *d);

/* As desc_read, but a selector beyond its table gives *@found = false. */
int desc_peek(struct x86_emulate_ctxt *c, uint16_t sel, struct sys_desc *d,
	      bool *found);

/*
 * In IA-32e mode system descriptors (LDT, TSS, call gate) have 16 bytes: reads
 * the other half of @d. Beyond the table, or a type field that is not zero in
 * it: @vector. Nothing in legacy mode.
 */
int desc_read_upper(struct x86_emulate_ctxt *c, uint8_t vector, uint32_t ext,
		    struct sys_desc *d);

/*
 * Sets the accessed bit of a code or data segment; sets or clears a TSS's busy
 * bit. One byte is written, so that only the type field's own byte can race with
 * another processor (see desc.c).
 */
int desc_set_accessed(struct x86_emulate_ctxt *c, struct sys_desc *d);
int desc_set_busy(struct x86_emulate_ctxt *c, struct sys_desc *d, bool busy);

/* The hidden part that loading @d gives, with selector @sel: the accessed bit is
 * set in it whether or not it has been set in memory yet. */
void desc_to_segment(const struct sys_desc *d, uint16_t sel,
		     struct x86_segment *s);

/* What a null selector gives: unusable, base 0. @dpl only matters for SS. */
void null_segment(uint16_t sel, unsigned dpl, struct x86_segment *s);

/* What a load in real-address or virtual-8086 mode gives. */
void real_segment(const struct x86_emulate_ctxt *c, enum x86_seg seg,
		  uint16_t sel, struct x86_segment *s);

/*
 * The checks of code segments. Each reads the descriptor of @sel and leaves it
 * in @d; the accessed bit is not yet set.
 *   jump:	the target of a direct far JMP or CALL, given that @d (already
 *		read) is a code segment
 *   return:	where RET, IRET go: @sel's RPL is the level to return to
 */
int code_check_jump(struct x86_emulate_ctxt *c, const struct sys_desc *d);
int code_check_return(struct x86_emulate_ctxt *c, uint16_t sel,
		      struct sys_desc *d);

/* True where @cs with L set makes 64-bit mode. */
static inline bool code_is_64(const struct x86_emulate_ctxt *c,
			      const struct x86_segment *cs)
{
	return is_long_mode(c) && (cs->ar & X86_AR_L);
}

/* @rip within @cs, or canonical: else #GP(@ext). */
int code_check_rip(struct x86_emulate_ctxt *c, const struct x86_segment *cs,
		   uint64_t rip, uint32_t ext);

/* EFLAGS is what it shall be, @old what it was: tells the owner. */
void eflags_commit(struct x86_emulate_ctxt *c, uint64_t old);

/*
 * The checks of SS for privilege level @cpl, by what loads it: #GP or #TS is
 * @vector; a segment that is not present is #SS. The null selector is the
 * callers'.
 */
int stack_check_desc(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		     unsigned vector_ext, struct sys_desc *d);
/* @vector_ext: vector in bits 7:0, the EXT bit in bit 8. */
#define VECTOR_EXT(vector, ext) ((vector) | (ext) << 8)

/*
 * The checks of DS, ES, FS, GS for @cpl: #GP/#TS (@vector) and #NP. Not null.
 */
int data_check_desc(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		    uint8_t vector, struct sys_desc *d);

/* What protected-mode returns do to data segments that the outer level may not
 * see: they become null (SDM Vol. 3A, "Returning from a Called Procedure"). */
int null_outer_segments(struct x86_emulate_ctxt *c, unsigned cpl);

/*
 * What loading @sel into @seg (not CS) at CPL @cpl gives, with the checks of MOV
 * Sreg: #GP, #SS, #NP. The accessed bit has been set; nothing else has changed.
 */
int segment_prepare(struct x86_emulate_ctxt *c, enum x86_seg seg, uint16_t sel,
		    struct x86_segment *s);

/* Commits @s through the owner and recomputes the mode. */
int segment_commit(struct x86_emulate_ctxt *c, enum x86_seg seg,
		   const struct x86_segment *s);

struct tss_stack {
	uint64_t sp;
	uint16_t ss;		/* IA-32e mode: null, with @cpl as RPL */
};

/*
 * The stack that a TSS holds for level @cpl (legacy: SS too; IA-32e mode: RSPn,
 * or ISTn when @ist is not 0). Beyond the TSS's limit: #TS(TSS, @ext).
 */
int tss_stack(struct x86_emulate_ctxt *c, unsigned cpl, unsigned ist,
	      uint32_t ext, struct tss_stack *out);

#endif
