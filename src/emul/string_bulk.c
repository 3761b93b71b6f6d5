/* SPDX-License-Identifier: MIT */
/*
 * REP MOVS, STOS, CMPS and SCAS by the host's own instruction, a page run at a time.
 *
 * A run is what lies inside one page of each operand. The host does it with the
 * guest's element size and direction on the guest's own memory, so overlapping
 * operands give what the processor gives, whatever their distance. The host's
 * instruction is in the exception table with itself as the landing: a host fault
 * ends it with the iterations not done in RCX, and the next iteration, done the
 * slow way, reports the fault.
 *
 * The flags of CMPS and SCAS are those of the host's last comparison. A scan that a
 * host fault has ended did not end by itself: ZF says so to the REP loop.
 */
#include "emul/alu.h"
#include "emul/str.h"

/* Bytes of the page from @la on (DF: down to the page's start, with the element
 * of @size at @la as the first). */
static uint64_t bytes_in_page(uint64_t la, unsigned size, bool down)
{
	uint64_t off = la & ~PAGE_MASK;

	if (!down)
		return PAGE_SIZE - off;
	return off + size <= PAGE_SIZE ? off + size : 0;
}

/* Elements until the index register wraps. */
static uint64_t until_wrap(const struct x86_insn *i, uint64_t ea, bool down)
{
	unsigned size = emul_string_size(i);

	if (i->adsize == 8)
		return ~0ull;
	if (down)
		return ea / size + 1;
	return (emul_mask(i->adsize) - ea + 1) / size;
}

void *emul_string_run(struct x86_emulate_ctxt *c, unsigned seg, unsigned reg,
		      unsigned acc, uint64_t *n)
{
	const struct x86_insn *i = c->insn;
	bool down = c->eflags & X86_EFLAGS_DF;
	uint64_t ea = emul_trunc_ea(i, c->gpr[reg]), la, low, max;
	unsigned size = emul_string_size(i), bytes;
	char *p;

	max = MIN(*n, until_wrap(i, ea, down));
	/* Where the first element is; where the whole run starts. A limit is
	 * checked for the run: one that does not fit is left to the slow way. */
	if (!max || emul_linearize(c, seg, ea, size, acc, &la))
		return NULL;
	max = MIN(max, bytes_in_page(la, size, down) / size);
	if (!max)
		return NULL;
	bytes = max * size;
	low = down ? bytes - size : 0;
	if (emul_linearize(c, seg, ea - low, bytes, acc, &la))
		return NULL;
	p = emul_tlb(c, la, bytes, acc & ACC_WRITE ? X86_TLB_WRITE :
						     X86_TLB_READ);
	if (!p && c->ops->host_ptr)
		p = c->ops->host_ptr(c, la, bytes, acc);
	if (!p)
		return NULL;
	*n = max;
	return p + low;
}

#define REP(insn, down)							\
	do {								\
		if (down)						\
			__asm__ volatile("std\n1: rep " insn "\n2: cld\n" \
					 HOST_EX_TABLE("1b", "2b")	\
					 : REP_OPERANDS);		\
		else							\
			__asm__ volatile("1: rep " insn "\n2:\n"	\
					 HOST_EX_TABLE("1b", "2b")	\
					 : REP_OPERANDS);		\
	} while (0)

#define BY_SIZE(run, name, size, down)					\
	do {								\
		switch (size) {						\
		case 1:							\
			run(name "b", down);				\
			break;						\
		case 2:							\
			run(name "w", down);				\
			break;						\
		case 4:							\
			run(name "l", down);				\
			break;						\
		default:						\
			run(name "q", down);				\
			break;						\
		}							\
	} while (0)

/* Both return the iterations done. */
static uint64_t host_rep_movs(void *dst, const void *src, uint64_t n,
			      unsigned size, bool down)
{
	uint64_t left = n;

#define REP_OPERANDS "+D"(dst), "+S"(src), "+c"(left) : : "memory", "cc"
	BY_SIZE(REP, "movs", size, down);
#undef REP_OPERANDS
	return n - left;
}

static uint64_t host_rep_stos(void *dst, uint64_t val, uint64_t n,
			      unsigned size, bool down)
{
	uint64_t left = n;

#define REP_OPERANDS "+D"(dst), "+c"(left) : "a"(val) : "memory", "cc"
	BY_SIZE(REP, "stos", size, down);
#undef REP_OPERANDS
	return n - left;
}

/* Below this the slow way is as fast. */
#define BULK_MIN 4

uint64_t emul_movs_bulk(struct x86_emulate_ctxt *c, uint64_t max)
{
	bool down = c->eflags & X86_EFLAGS_DF;
	uint64_t n = max;
	void *src, *dst;

	if (max < BULK_MIN)
		return 0;
	src = emul_string_run(c, c->insn->seg, X86_RSI, 0, &n);
	if (!src)
		return 0;
	dst = emul_string_run(c, X86_ES, X86_RDI, ACC_WRITE, &n);
	if (!dst)
		return 0;
	n = host_rep_movs(dst, src, n, c->insn->opsize, down);
	emul_string_advance(c, X86_RSI, n);
	emul_string_advance(c, X86_RDI, n);
	return n;
}

uint64_t emul_stos_bulk(struct x86_emulate_ctxt *c, uint64_t max)
{
	bool down = c->eflags & X86_EFLAGS_DF;
	uint64_t n = max;
	void *dst;

	if (max < BULK_MIN)
		return 0;
	dst = emul_string_run(c, X86_ES, X86_RDI, ACC_WRITE, &n);
	if (!dst)
		return 0;
	n = host_rep_stos(dst, c->gpr[X86_RAX], n, c->insn->opsize, down);
	emul_string_advance(c, X86_RDI, n);
	return n;
}

/* --- comparisons ------------------------------------------------------------------- */

/* A scan at work. */
struct scan {
	const void *si, *di;
	uint64_t left;
	uint64_t ax;		/* [IN] SCAS's operand, [OUT] flags as alu.h packs them */
	uint8_t faulted;
};

#define SCAN(insn, down)						\
	do {								\
		if (down)						\
			__asm__ volatile("movb $1, %b[faulted]\n"	\
				 "std\n1: " insn "\n"			\
				 "movb $0, %b[faulted]\n"		\
				 "2: cld\n" FLAGS_TO_AX			\
				 HOST_EX_TABLE("1b", "2b")		\
				 : SCAN_OPERANDS);			\
		else							\
			__asm__ volatile("movb $1, %b[faulted]\n"	\
				 "1: " insn "\n"			\
				 "movb $0, %b[faulted]\n"		\
				 "2: " FLAGS_TO_AX			\
				 HOST_EX_TABLE("1b", "2b")		\
				 : SCAN_OPERANDS);			\
	} while (0)

#define SCAN_OPERANDS	"+D"(s->di), "+S"(s->si), "+c"(s->left),	\
			"+a"(s->ax), [faulted] "=&q"(s->faulted)	\
			: : "memory", "cc"

static void host_cmps(struct scan *s, unsigned size, bool down, bool repne)
{
	if (repne)
		BY_SIZE(SCAN, "repne cmps", size, down);
	else
		BY_SIZE(SCAN, "repe cmps", size, down);
}

static void host_scas(struct scan *s, unsigned size, bool down, bool repne)
{
	if (repne)
		BY_SIZE(SCAN, "repne scas", size, down);
	else
		BY_SIZE(SCAN, "repe scas", size, down);
}

/* @n iterations were wanted: flags; returns how many were done. */
static uint64_t end_scan(struct x86_emulate_ctxt *c, const struct scan *s,
			 uint64_t n)
{
	bool repne = c->insn->prefix & PFX_REPNE;

	if (!s->faulted)
		alu_set_flags(&c->eflags, s->ax);
	else if (repne)
		c->eflags &= ~(uint64_t)X86_EFLAGS_ZF;
	else
		c->eflags |= X86_EFLAGS_ZF;
	return n - s->left;
}

uint64_t emul_cmps_bulk(struct x86_emulate_ctxt *c, uint64_t max)
{
	struct scan s = { .ax = 0 };
	uint64_t n = max;

	if (max < BULK_MIN)
		return 0;
	s.di = emul_string_run(c, X86_ES, X86_RDI, 0, &n);
	if (!s.di)
		return 0;
	s.si = emul_string_run(c, c->insn->seg, X86_RSI, 0, &n);
	if (!s.si)
		return 0;
	s.left = n;
	host_cmps(&s, c->insn->opsize, c->eflags & X86_EFLAGS_DF,
		  c->insn->prefix & PFX_REPNE);
	n = end_scan(c, &s, n);
	emul_string_advance(c, X86_RSI, n);
	emul_string_advance(c, X86_RDI, n);
	return n;
}

uint64_t emul_scas_bulk(struct x86_emulate_ctxt *c, uint64_t max)
{
	struct scan s = { .ax = c->gpr[X86_RAX] };
	uint64_t n = max;

	if (max < BULK_MIN)
		return 0;
	s.di = emul_string_run(c, X86_ES, X86_RDI, 0, &n);
	if (!s.di)
		return 0;
	s.left = n;
	host_scas(&s, c->insn->opsize, c->eflags & X86_EFLAGS_DF,
		  c->insn->prefix & PFX_REPNE);
	n = end_scan(c, &s, n);
	emul_string_advance(c, X86_RDI, n);
	return n;
}
