/* SPDX-License-Identifier: MIT */
/*
 * x87 instructions: X87 (every one that computes, loads or stores), FWAIT, FNSTSW AX,
 * FNINIT, FNCLEX. Environments are in fpu_env.c, images in fpu_state.c.
 *
 * X87 runs the guest's own opcode on the host with the memory operand replaced by a
 * buffer. Its order: CR0, pending #MF, memory read, execute, memory write. An
 * instruction that stores and pops has changed the stack when its store faults:
 * unless the translation cache vouches for the page the state is put aside before.
 *
 * The instruction pointers of the guest are kept in ctxt.fpu_ptr. As on processors
 * that say so in CPUID (FDP_EXCPTN_ONLY, "deprecates FPU CS and DS"), selectors are
 * 0, and FDP and FOP change only with an unmasked exception. CR0.NE = 0 is not
 * FERR# and IRQ 13 but #MF too: docs/errata.md.
 */
#include "base/access.h"
#include "emul/fpu.h"

#define PIECE	64u	/* of a longer image */

uint32_t fpu_mxcsr_reserved(void)
{
	static uint32_t mask;
	uint32_t m = READ_ONCE(mask);
	struct x86_fxsave fx __attribute__((aligned(16)));

	if (!m) {
		fx.mxcsr_mask = 0;
		host_fxsave(&fx);
		m = fx.mxcsr_mask ? fx.mxcsr_mask : 0xffbf;
		WRITE_ONCE(mask, m);
	}
	return ~m;
}

static uint64_t wrap_la(const struct x86_emulate_ctxt *c, uint64_t la)
{
	return emul_is_64bit(c) ? la : (uint32_t)la;
}

/* 16 bytes straight from, or to, memory that the translation cache has; neither side
 * need be aligned. */
static bool read16_cached(struct x86_emulate_ctxt *c, uint64_t la, void *buf)
{
	const char *p = emul_tlb(c, la, 16, X86_TLB_READ);
	uint64_t q[2];

	if (!p || host_read_64(p, &q[0]) || host_read_64(p + 8, &q[1]))
		return false;
	__builtin_memcpy(buf, q, sizeof(q));
	return true;
}

static bool write16_cached(struct x86_emulate_ctxt *c, uint64_t la,
			   const void *buf)
{
	char *p = emul_tlb(c, la, 16, X86_TLB_WRITE);
	uint64_t q[2];

	__builtin_memcpy(q, buf, sizeof(q));
	return p && !host_write_64(p, q[0]) && !host_write_64(p + 8, q[1]);
}

/* Where the @n of @bytes are that lie in @la's page, if they are more than a piece. NULL:
 * they are moved in pieces, which find out what is in the way. */
static void *in_page(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc, unsigned *n)
{
	*n = MIN(bytes, PAGE_SIZE - (la & ~PAGE_MASK));
	return *n > PIECE && c->ops->host_ptr ? c->ops->host_ptr(c, la, *n, acc) : NULL;
}

int fpu_read_la(struct x86_emulate_ctxt *c, uint64_t la, void *buf,
		unsigned bytes)
{
	unsigned n, done;
	void *p;
	int rc;

	if (bytes == 16 && read16_cached(c, la, buf))
		return X86EMUL_CONTINUE;
	for (done = 0; done < bytes; done += n) {
		p = in_page(c, wrap_la(c, la + done), bytes - done, 0, &n);
		if (p && !host_copy_in((uint8_t *)buf + done, p, n))
			continue;
		n = MIN(bytes - done, PIECE);
		rc = emul_read_bytes_la(c, wrap_la(c, la + done),
					(uint8_t *)buf + done, n,
					ACC_UNALIGNED);
		if (rc)
			return rc;
	}
	return X86EMUL_CONTINUE;
}

/* An image of many pieces leaves nothing behind when its end cannot be written. */
static int probe_ends(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes)
{
	uint64_t v;
	int rc = emul_read_la(c, la, &v, 1, ACC_WRITE | ACC_PROBE);

	return rc ? rc : emul_read_la(c, wrap_la(c, la + bytes - 1), &v, 1,
				      ACC_WRITE | ACC_PROBE);
}

int fpu_write_la(struct x86_emulate_ctxt *c, uint64_t la, const void *buf,
		 unsigned bytes)
{
	unsigned n, done;
	void *p;
	int rc;

	if (bytes == 16 && write16_cached(c, la, buf))
		return X86EMUL_CONTINUE;
	rc = bytes > PIECE ? probe_ends(c, la, bytes) : X86EMUL_CONTINUE;
	if (rc)
		return rc;
	for (done = 0; done < bytes; done += n) {
		p = in_page(c, wrap_la(c, la + done), bytes - done, ACC_WRITE, &n);
		if (p && !host_copy_out(p, (const uint8_t *)buf + done, n))
			continue;
		n = MIN(bytes - done, PIECE);
		rc = emul_write_bytes_la(c, wrap_la(c, la + done),
					 (const uint8_t *)buf + done, n,
					 ACC_WRITE | ACC_UNALIGNED);
		if (rc)
			return rc;
	}
	return X86EMUL_CONTINUE;
}

/* @bytes of an operand: those that are one access are one, the rest as above. */
int fpu_load(struct x86_emulate_ctxt *c, struct fpu_buf *buf, uint64_t la,
	     unsigned bytes)
{
	if (bytes > 8)
		return fpu_read_la(c, la, buf->b, bytes);
	return emul_read_la(c, la, (uint64_t *)buf->b, bytes, 0);
}

int fpu_store(struct x86_emulate_ctxt *c, const struct fpu_buf *buf, uint64_t la,
	      unsigned bytes)
{
	if (bytes > 8)
		return fpu_write_la(c, la, buf->b, bytes);
	return emul_write_la(c, la, *(const uint64_t *)buf->b, bytes, ACC_WRITE);
}

static bool is_misaligned(const struct x86_emulate_ctxt *c, unsigned align)
{
	unsigned seg = c->insn->seg;

	if (emul_is_64bit(c))
		return seg < X86_FS && emul_ea(c) & (align - 1);
	return (c->seg[seg].base + emul_ea(c)) & (align - 1);
}

/* An area (not an SSE operand) off its doublewords is the alignment check's, if that
 * is on, whether or not the segment can be written to. */
static int check_doublewords(struct x86_emulate_ctxt *c)
{
	uint64_t la;

	if (likely(!x86_checks_alignment(c)) || c->insn->row->attr & I_ALIGN ||
	    emul_linearize_operand(c, 4, 0, &la))
		return X86EMUL_CONTINUE;
	return emul_check_aligned(c, la, 4, 0);
}

int fpu_image_la(struct x86_emulate_ctxt *c, unsigned bytes, unsigned align,
		 unsigned acc, uint64_t *la)
{
	int rc = align > 1 ? check_doublewords(c) : X86EMUL_CONTINUE;

	if (rc)
		return rc;
	rc = emul_linearize_operand(c, bytes, acc, la);
	/* Of SSE operands alignment comes first, of areas after their first
	 * doubleword. */
	if (rc && is_misaligned(c, align) &&
	    (c->insn->row->attr & I_ALIGN ||
	     !emul_linearize_operand(c, 4, acc, la)))
		return emul_gp(c, 0);
	if (rc)
		return rc;
	return *la & (align - 1) ? emul_gp(c, 0) : X86EMUL_CONTINUE;
}

/* --- X87 -------------------------------------------------------------------- */

/* The opcode escape, and the forms that neither wait for exceptions (1) nor count
 * as the last instruction (2): by D8-DF, memory or not, reg. */
static bool is_control(const struct x86_insn *i)
{
	unsigned reg = i->modrm >> 3 & 7;

	if (i->mod == 3)	/* FNENI, FNDISI, FNSETPM */
		return i->opcode == 0xdb && reg == 4;
	return (i->opcode == 0xd9 && (reg == 5 || reg == 7)) ||
	       (i->opcode == 0xdd && reg == 7);
}

static bool waits(const struct x86_insn *i)
{
	/* FLDCW is the one control instruction that waits. */
	return !is_control(i) ||
	       (i->opcode == 0xd9 && i->mod != 3 && (i->modrm >> 3 & 7) == 5);
}

static void build(const struct x86_insn *i, struct host_insn *h)
{
	*h = (struct host_insn){
		.bytes = { i->opcode, i->mod == 3 ? i->modrm :
			   (i->modrm & 0x38) | X86_RDI },
		.len = 2,
	};
}

#define FCW_MASKS 0x3f

/*
 * The state is live: volatile reads, lest a compiler that has vector registers (a
 * build with sanitizers) copies with them. @before: the state in which the
 * instruction found the registers, whose pointers were the guest's for the last time:
 * the stub replaces them.
 */
static void track(struct x86_emulate_ctxt *c, const struct x86_fxsave *before,
		  uint64_t ea, uint16_t fsw)
{
	struct x86_fpu_pointers *p = &c->fpu_ptr;
	const struct x86_insn *i = c->insn;

	if (!p->valid) {
		p->valid = true;
		p->fop = READ_ONCE(before->fop);
		p->fip = READ_ONCE(before->fip);
		p->fdp = READ_ONCE(before->fdp);
	}
	if (is_control(i))
		return;
	p->fip = c->rip;
	if (!(fsw & FSW_ES))
		return;
	p->fop = (i->opcode & 7) << 8 | i->modrm;
	if (i->mod != 3)
		p->fdp = ea;
}

static uint16_t host_fnstcw(void)
{
	uint16_t cw;

	__asm__ volatile("fnstcw %0" : "=m"(cw));
	return cw;
}

/*
 * The state is live. An unmasked invalid operation, overflow or underflow keeps a
 * result from memory (SDM Vol. 1, "x87 FPU Exception Handling"); none was there
 * before.
 */
static bool is_suppressed(void)
{
	uint16_t fsw = host_fnstsw();

	return fsw & FSW_ES && fsw & ~host_fnstcw() & (FSW_IE | FSW_OE | FSW_UE);
}

/* The state is made live for the stub alone: memory belongs to the owner, whose code
 * may use vector registers. @before: gets the state before, if it is @wanted. */
static int execute(struct x86_emulate_ctxt *c, struct stub_regs *r,
		   struct x86_fxsave *before, bool wanted, bool *suppressed)
{
	uint64_t ea = emul_ea(c);
	struct host_stub stub;
	struct host_insn h;
	int rc;

	build(c->insn, &h);
	if (host_stub_get(&h, &stub))
		return X86EMUL_UNHANDLEABLE;
	fpu_get(c);
	if (wanted || !c->fpu_ptr.valid)
		host_fxsave(before);
	rc = host_stub_run(&stub, r);
	if (!rc)
		track(c, before, ea, host_fnstsw());
	c->fpu_ptr.masked = (~host_fnstcw() & FCW_MASKS) == 0;
	if (!is_control(c->insn))
		*suppressed = is_suppressed();
	fpu_put(c);
	host_stub_put(&stub);
	return rc ? emul_fault(c, rc) : X86EMUL_CONTINUE;
}

/* Runs it, and stores @n bytes if it writes memory. */
static int run_x87(struct x86_emulate_ctxt *c, struct fpu_buf *buf, uint64_t la,
		   unsigned n)
{
	struct x86_fxsave before __attribute__((aligned(16)));
	struct x86_fpu_pointers ptr = c->fpu_ptr;
	const struct opcode *row = c->insn->row;
	struct stub_regs r = { .flags = row->flags_read | row->flags_written,
			       .rflags = c->eflags, .mem = buf };
	bool sure = !n || emul_tlb(c, la, n, X86_TLB_WRITE), suppressed = false;
	int rc = execute(c, &r, &before, !sure, &suppressed);

	if (rc)
		return rc;
	if (row->flags_written)
		emul_set_flags(c, row->flags_written, r.rflags);
	if (n && !suppressed)
		rc = fpu_store(c, buf, la, n);
	if (rc && !sure) {
		fpu_get(c);
		host_fxrstor(&before);
		c->fpu_ptr = ptr;
		fpu_put(c);
	}
	return rc;
}

/* The operand of a store cannot be addressed: runs it, and undoes that unless an
 * unmasked exception keeps the result back, which comes first. */
static bool is_kept_back(struct x86_emulate_ctxt *c)
{
	struct x86_fxsave before __attribute__((aligned(16)));
	struct x86_fpu_pointers ptr = c->fpu_ptr;
	struct x86_exception e = c->exception;
	struct fpu_buf buf;
	struct stub_regs r = { .mem = &buf };
	bool suppressed = false;

	if (execute(c, &r, &before, true, &suppressed) || suppressed)
		return suppressed;
	fpu_get(c);
	host_fxrstor(&before);
	c->fpu_ptr = ptr;
	fpu_put(c);
	c->exception = e;
	return false;
}

static bool is_pending(struct x86_emulate_ctxt *c)
{
	bool pending;

	fpu_get(c);
	pending = fpu_is_pending();
	fpu_put(c);
	return pending;
}

/* Ten bytes are eight, whose alignment counts, and then two: as measured. */
static int x87_la(struct x86_emulate_ctxt *c, unsigned n, unsigned acc, uint64_t *la)
{
	int rc;

	if (unlikely(n == 10 && x86_checks_alignment(c))) {
		rc = emul_linearize_operand(c, 8, acc, la);
		if (!rc)
			rc = emul_check_aligned(c, *la, 8, acc);
		if (rc)
			return rc;
	}
	return emul_linearize_operand(c, n, acc, la);
}

int em_x87(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	bool store = i->row->opnd[0].access & OPA_W;
	struct fpu_buf buf = { { 0 } };
	uint64_t la = 0;
	unsigned n = 0;
	int rc = fpu_check_x87(c);

	if (rc)
		return rc;
	if (waits(i) && is_pending(c))
		return emul_fault(c, X86_MF);
	if (i->mod != 3) {
		n = x86_opnd_bytes(i, 0);
		rc = x87_la(c, n, store ? ACC_WRITE : 0, &la);
		if (!rc && !store)
			rc = fpu_load(c, &buf, la, n);
	}
	if (rc && store && is_kept_back(c))
		rc = X86EMUL_CONTINUE;	/* nothing was to be stored there */
	else if (!rc)
		rc = run_x87(c, &buf, la, store ? n : 0);
	return rc;
}

/* --- without a stub ----------------------------------------------------------- */

int em_fwait(struct x86_emulate_ctxt *c)
{
	if ((c->cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		return emul_nm(c);
	return is_pending(c) ? emul_fault(c, X86_MF) : X86EMUL_CONTINUE;
}

int em_fnstsw_ax(struct x86_emulate_ctxt *c)
{
	int rc = fpu_check_x87(c);

	if (rc)
		return rc;
	fpu_get(c);
	emul_set_gpr(c, X86_RAX, host_fnstsw(), 2);
	fpu_put(c);
	return X86EMUL_CONTINUE;
}

int em_fninit(struct x86_emulate_ctxt *c)
{
	int rc = fpu_check_x87(c);

	if (rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("fninit");
	c->fpu_ptr.valid = false;
	fpu_put(c);
	return X86EMUL_CONTINUE;
}

int em_fnclex(struct x86_emulate_ctxt *c)
{
	int rc = fpu_check_x87(c);

	if (rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("fnclex");
	fpu_put(c);
	return X86EMUL_CONTINUE;
}
