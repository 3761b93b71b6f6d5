/* SPDX-License-Identifier: MIT */
/*
 * struct x86_emulate_ops over the processor: memory. The other callbacks are in
 * sysops.c (the table is there), cr.c, dr.c, intercept.c and fpu.c.
 *
 * The emulator's accessors look into the TLB themselves and come here when it
 * has no answer: a miss, a page crossing, an implicit supervisor access, more
 * than 8 bytes, or when every access must be seen (data breakpoints, alignment
 * checks), because then hw_tlb_context() shows them an empty TLB.
 *
 * Both pages of an access are translated before anything moves. A host page
 * that is gone ends the instruction with X86EMUL_HOST_ERROR.
 */
#include <string.h>

#include "base/access.h"
#include "hw/ops.h"

/* An access in at most two pieces. */
struct span {
	void *p[2];
	unsigned n[2];
};

static uint64_t next_page(const struct x86_emulate_ctxt *c, uint64_t la)
{
	uint64_t next = (la & PAGE_MASK) + PAGE_SIZE;

	return c->mode == X86_MODE_PROT64 ? next : (uint32_t)next;
}

static int span_get(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		    unsigned acc, struct span *s)
{
	unsigned kind = acc & ACC_WRITE ? X86_TLB_WRITE :
			acc & ACC_FETCH ? X86_TLB_FETCH : X86_TLB_READ;
	unsigned room = PAGE_SIZE - (la & ~PAGE_MASK);
	struct hw_cpu *cpu = hw_of(c);
	int rc = x86_check_alignment(c, la, bytes, acc);

	s->n[0] = MIN(bytes, room);
	s->n[1] = bytes - s->n[0];
	if (rc == X86EMUL_CONTINUE)
		rc = hw_tlb_access(cpu, la, kind, acc, &s->p[0]);
	if (rc == X86EMUL_CONTINUE && unlikely(s->n[1]))
		rc = hw_tlb_access(cpu, next_page(c, la), kind, acc, &s->p[1]);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (unlikely(cpu->db_data) && !(acc & (ACC_SYSTEM | ACC_FETCH)))
		hw_db_check(cpu, la, bytes, acc & ACC_WRITE, false);
	return X86EMUL_CONTINUE;
}

/* For who may undo the write. */
static void will_write(struct hw_cpu *cpu, uint64_t la, const struct span *s)
{
	if (likely(!cpu->watched))
		return;
	cpu->jit_ops->will_write(cpu, la, s->p[0], s->n[0]);
	if (s->n[1])
		cpu->jit_ops->will_write(cpu, la + s->n[0], s->p[1], s->n[1]);
}

/* The span has been stored to: was it code? */
static void span_written(struct hw_cpu *cpu, const struct span *s)
{
	if (unlikely(cpu->watched))
		return;
	hw_code_written(cpu, (uintptr_t)s->p[0], s->n[0]);
	if (unlikely(s->n[1]))
		hw_code_written(cpu, (uintptr_t)s->p[1], s->n[1]);
}

/* Guest memory in and out, each natural size as one host access. */
static int piece_in(void *val, const void *p, unsigned n)
{
	uint64_t q;
	uint32_t d;
	uint16_t w;

	switch (n) {
	case 1:
		return host_read_8(p, val);
	case 2:
		if (host_read_16(p, &w))
			return -EFAULT;
		__builtin_memcpy(val, &w, 2);
		return 0;
	case 4:
		if (host_read_32(p, &d))
			return -EFAULT;
		__builtin_memcpy(val, &d, 4);
		return 0;
	case 8:
		if (host_read_64(p, &q))
			return -EFAULT;
		__builtin_memcpy(val, &q, 8);
		return 0;
	}
	return host_copy_in(val, p, n);
}

static int piece_out(void *p, const void *val, unsigned n)
{
	uint64_t q;
	uint32_t d;
	uint16_t w;

	switch (n) {
	case 1:
		return host_write_8(p, *(const uint8_t *)val);
	case 2:
		__builtin_memcpy(&w, val, 2);
		return host_write_16(p, w);
	case 4:
		__builtin_memcpy(&d, val, 4);
		return host_write_32(p, d);
	case 8:
		__builtin_memcpy(&q, val, 8);
		return host_write_64(p, q);
	}
	return host_copy_out(p, val, n);
}

int hw_op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
	       unsigned bytes, unsigned acc)
{
	struct hw_cpu *cpu = hw_of(c);
	struct span s;
	int rc;

	if (unlikely(hw_is_device(cpu, la, X86_TLB_READ)) &&
	    hw_in_place_read(cpu, la, val, bytes, acc))
		return X86EMUL_CONTINUE;
	rc = span_get(c, la, bytes, acc, &s);
	if (unlikely(rc == X86EMUL_PROPAGATE_FAULT && c->exception.nested) &&
	    hw_in_place_read(cpu, la, val, bytes, acc))
		return X86EMUL_CONTINUE;
	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (unlikely(piece_in(val, s.p[0], s.n[0])))
		return hw_host_fault(cpu, s.p[0]);
	if (unlikely(s.n[1]) &&
	    piece_in((char *)val + s.n[0], s.p[1], s.n[1]))
		return hw_host_fault(cpu, s.p[1]);
	return X86EMUL_CONTINUE;
}

int hw_op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		unsigned bytes, unsigned acc)
{
	struct hw_cpu *cpu = hw_of(c);
	struct span s;
	int rc;

	if (unlikely(hw_is_device(cpu, la, X86_TLB_WRITE)) &&
	    hw_in_place_write(cpu, la, val, bytes, acc))
		return X86EMUL_CONTINUE;
	rc = span_get(c, la, bytes, acc | ACC_WRITE, &s);
	if (unlikely(rc == X86EMUL_PROPAGATE_FAULT && c->exception.nested) &&
	    hw_in_place_write(cpu, la, val, bytes, acc))
		return X86EMUL_CONTINUE;
	if (rc != X86EMUL_CONTINUE)
		return rc;
	will_write(hw_of(c), la, &s);
	if (unlikely(piece_out(s.p[0], val, s.n[0])))
		return hw_host_fault(cpu, s.p[0]);
	if (unlikely(s.n[1]) &&
	    piece_out(s.p[1], (const char *)val + s.n[0], s.n[1]))
		return hw_host_fault(cpu, s.p[1]);
	span_written(cpu, &s);
	return X86EMUL_CONTINUE;
}

static int locked_cmpxchg(void *p, void *old, const void *val, unsigned bytes,
			  bool *done)
{
	uint64_t n[2];

	switch (bytes) {
	case 1:
		return host_cmpxchg_8(p, old, *(const uint8_t *)val, done);
	case 2:
		__builtin_memcpy(n, val, 2);
		return host_cmpxchg_16(p, old, n[0], done);
	case 4:
		__builtin_memcpy(n, val, 4);
		return host_cmpxchg_32(p, old, n[0], done);
	case 8:
		__builtin_memcpy(n, val, 8);
		return host_cmpxchg_64(p, old, n[0], done);
	default:
		__builtin_memcpy(n, val, 16);
		return host_cmpxchg_128(p, old, n, done);
	}
}

/*
 * Locked across two pages that are not neighbours in the host: no host
 * instruction does that at once. The first piece is taken with a compare of its
 * own; another processor can see the halves apart (docs/errata.md).
 */
static int split_cmpxchg(struct x86_emulate_ctxt *c, const struct span *s,
			 void *old, const void *val, bool *done)
{
	uint8_t now[16] = { 0 };
	unsigned i;

	*done = true;
	for (i = 0; i < 2; i++)
		if (host_copy_in(now + (i ? s->n[0] : 0), s->p[i], s->n[i]))
			return hw_host_fault(hw_of(c), s->p[i]);
	for (i = 0; i < s->n[0] + s->n[1]; i++)
		*done &= now[i] == ((uint8_t *)old)[i];
	for (i = 0; i < s->n[0] + s->n[1]; i++)
		((uint8_t *)old)[i] = now[i];
	for (i = 0; *done && i < 2; i++)
		if (host_copy_out(s->p[i], (const char *)val +
				  (i ? s->n[0] : 0), s->n[i]))
			return hw_host_fault(hw_of(c), s->p[i]);
	return X86EMUL_CONTINUE;
}

int hw_op_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
		  const void *val, unsigned bytes, bool *done)
{
	struct span s;
	int rc;

	rc = span_get(c, la, bytes, ACC_WRITE | ACC_LOCKED, &s);
	if (rc != X86EMUL_CONTINUE)
		return rc;
	will_write(hw_of(c), la, &s);
	if (unlikely(s.n[1]) && (char *)s.p[0] + s.n[0] != s.p[1]) {
		rc = split_cmpxchg(c, &s, old, val, done);
		span_written(hw_of(c), &s);
		return rc;
	}
	if (unlikely(bytes == 16 && ((uintptr_t)s.p[0] & 15)))
		return X86EMUL_UNHANDLEABLE;
	if (unlikely(locked_cmpxchg(s.p[0], old, val, bytes, done)))
		return hw_host_fault(hw_of(c), s.p[0]);
	span_written(hw_of(c), &s);
	return X86EMUL_CONTINUE;
}

void *hw_op_host_ptr(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc)
{
	unsigned kind = acc & ACC_WRITE ? X86_TLB_WRITE : X86_TLB_READ;
	struct x86_exception saved = c->exception;
	struct hw_cpu *cpu = hw_of(c);
	void *p;

	if (c->tlb == x86_tlb_empty || !bytes ||
	    ((la ^ (la + bytes - 1)) & PAGE_MASK))
		return NULL;
	/* Writes to code are seen one by one. */
	if (hw_tlb_access(cpu, la, kind, acc, &p) == X86EMUL_CONTINUE)
		return (acc & ACC_WRITE) && hw_code_is((uintptr_t)p) ? NULL : p;
	c->exception = saved;
	return NULL;
}
