/* SPDX-License-Identifier: MIT */
/*
 * Memory under a mask (SDM Vol. 2A, "Masked Load and Store", the exception classes
 * with fault suppression): only elements that the mask includes are accessed, and
 * only they can fault, by page, by limit or by canonicality.
 *
 * The alignment of elements is not checked, that of a whole operand of 2, 4 or 8 bytes
 * is (avx.c). Neighbouring elements are one access. A store first looks at all of them:
 * those on two pages must both be writable before the first is written.
 */
#include "emul/simd.h"

/* Elements [at, at + n). */
struct run {
	unsigned at, n;
};

static bool next_run(const struct avx_elements *e, struct run *r)
{
	uint64_t left;

	r->at += r->n;
	left = r->at < 64 ? e->need >> r->at : 0;
	if (!left)
		return false;
	r->at += __builtin_ctzll(left);
	left = ~(e->need >> r->at);
	r->n = left ? __builtin_ctzll(left) : 64;
	return true;
}

static int linearize_run(struct x86_emulate_ctxt *c, const struct avx_elements *e,
			 const struct run *r, unsigned acc, uint64_t *la)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = emul_ea(c) + r->at * e->bytes;

	/* In 64-bit mode the address size is the first byte's affair, as measured. */
	if (!emul_is_64bit(c))
		ea = emul_trunc_ea(i, ea);
	return emul_linearize(c, i->seg, ea, r->n * e->bytes, acc, la);
}

int avx_check_segment(struct x86_emulate_ctxt *c, const struct avx_elements *e,
		      unsigned acc)
{
	struct run r = { 0, 0 };
	uint64_t la;
	int rc = X86EMUL_CONTINUE;

	while (!rc && next_run(e, &r))
		rc = linearize_run(c, e, &r, acc, &la);
	return rc;
}

static bool is_one_access(unsigned bytes)
{
	return bytes <= 8 && !(bytes & (bytes - 1));
}

static int read_run(struct x86_emulate_ctxt *c, uint64_t la, uint8_t *to,
		    unsigned bytes)
{
	uint64_t v;
	int rc;

	if (!is_one_access(bytes))
		return fpu_read_la(c, la, to, bytes);
	rc = emul_read_la(c, la, &v, bytes, ACC_UNALIGNED);
	for (; !rc && bytes--; v >>= 8)
		*to++ = v;
	return rc;
}

static int write_run(struct x86_emulate_ctxt *c, uint64_t la, const uint8_t *from,
		     unsigned bytes)
{
	uint64_t v = 0;
	unsigned k;

	if (!is_one_access(bytes))
		return fpu_write_la(c, la, from, bytes);
	for (k = bytes; k--; )
		v = v << 8 | from[k];
	return emul_write_la(c, la, v, bytes, ACC_WRITE | ACC_UNALIGNED);
}

int avx_load(struct x86_emulate_ctxt *c, struct fpu_buf *buf,
	     const struct avx_elements *e)
{
	struct run r = { 0, 0 };
	uint64_t la;
	int rc = X86EMUL_CONTINUE;

	while (!rc && next_run(e, &r)) {
		rc = linearize_run(c, e, &r, 0, &la);
		if (!rc)
			rc = read_run(c, la, buf->b + r.at * e->bytes,
				      r.n * e->bytes);
	}
	return rc;
}

int avx_probe_store(struct x86_emulate_ctxt *c, const struct avx_elements *e,
		    bool pages)
{
	struct run r = { 0, 0 };
	uint64_t la, last, first = 0, v;
	bool any = false;
	int rc = X86EMUL_CONTINUE;

	while (!rc && next_run(e, &r)) {
		rc = linearize_run(c, e, &r, ACC_WRITE, &la);
		if (rc)
			break;
		if (!any)
			first = la;
		any = true;
		last = la + r.n * e->bytes - 1;
		if (!pages && ((first ^ last) & PAGE_MASK) == 0)
			continue;
		rc = emul_read_la(c, la, &v, 1, ACC_WRITE | ACC_PROBE);
		if (!rc && ((la ^ last) & PAGE_MASK))
			rc = emul_read_la(c, emul_is_64bit(c) ? last :
					  (uint32_t)last, &v, 1,
					  ACC_WRITE | ACC_PROBE);
	}
	return rc;
}

int avx_store(struct x86_emulate_ctxt *c, const struct fpu_buf *buf,
	      const struct avx_elements *e)
{
	struct run r = { 0, 0 };
	uint64_t la;
	int rc = avx_probe_store(c, e, false);

	while (!rc && next_run(e, &r)) {
		rc = linearize_run(c, e, &r, ACC_WRITE, &la);
		if (!rc)
			rc = write_run(c, la, buf->b + r.at * e->bytes,
				       r.n * e->bytes);
	}
	return rc;
}

static uint64_t low_bits(unsigned n)
{
	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* Bytes of the memory operand without broadcasting, which is what the mask has
 * bits for. */
static unsigned whole_bytes(const struct x86_insn *i, int mem)
{
	struct x86_insn plain;

	if (!insn_is_broadcast(i))
		return x86_opnd_bytes(i, mem);
	plain = *i;
	plain.evex &= ~INSN_EVEX_B;
	return x86_opnd_bytes(&plain, mem);
}

/* @mask folded to @n bits: each element in memory is used for several. */
static uint64_t fold(uint64_t mask, unsigned n)
{
	uint64_t need = 0;

	for (; mask; mask = n < 64 ? mask >> n : 0)
		need |= mask & low_bits(n);
	return need;
}

void avx_masked_elements(const struct x86_insn *i, int mem, uint64_t mask,
			 struct avx_elements *e)
{
	unsigned bytes = x86_elem_bytes(i->row), n = whole_bytes(i, mem) / bytes;

	e->bytes = bytes;
	if (i->row->evex & EV_PACK)
		e->need = low_bits(__builtin_popcountll(mask & low_bits(n)));
	else if (i->row->evex & EV_DUP)
		e->need = fold(mask & low_bits(i->veclen / bytes), n);
	else if (insn_is_broadcast(i))
		e->need = !!(mask & low_bits(n));
	else
		e->need = mask & low_bits(n);
}
