/* SPDX-License-Identifier: MIT */
/*
 * Port I/O: IN OUT INS OUTS, and who may do it.
 *
 * Order of the checks: IOPL and the TSS's bitmap (#GP), the VM exit, memory, the
 * port. INS has its destination probed for writing before the port is read, since
 * what a device has given cannot be given back.
 *
 * Repeated INS and OUTS move as many elements at a time as lie in one page and as
 * the owner takes (pio_in and pio_out with a count). An owner that answers
 * X86EMUL_IO_NEEDED sees the same request again when it runs the instruction
 * again: nothing has moved by then.
 */
#include "emul/str.h"

/* SDM Vol. 1, "I/O Permission Bit Map": two bytes are always read, and both must
 * be inside the TSS. */
static int check_bitmap(struct x86_emulate_ctxt *c, uint16_t port,
			unsigned bytes)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	unsigned type = tr->ar & X86_AR_TYPE, need = (1u << bytes) - 1;
	uint64_t base = 0, bits = 0, offset;
	int rc;

	if (tr->ar & X86_AR_UNUSABLE || tr->limit < 103 ||
	    (type != X86_TSS32_BUSY && type != X86_TSS32))
		return emul_gp(c, 0);
	rc = emul_read_la(c, tr->base + 102, &base, 2, ACC_SYSTEM);
	if (rc)
		return rc;
	offset = base + port / 8;
	if (offset + 1 > tr->limit)
		return emul_gp(c, 0);
	rc = emul_read_la(c, tr->base + offset, &bits, 2, ACC_SYSTEM);
	if (rc)
		return rc;
	return bits >> (port & 7) & need ? emul_gp(c, 0) : X86EMUL_CONTINUE;
}

int emul_io_permitted(struct x86_emulate_ctxt *c, uint16_t port, unsigned bytes)
{
	if (c->mode == X86_MODE_REAL)
		return X86EMUL_CONTINUE;
	if (c->mode != X86_MODE_VM86 && c->cpl <= emul_iopl(c))
		return X86EMUL_CONTINUE;
	return check_bitmap(c, port, bytes);
}

/* Permission, then the VM exit. */
static int begin(struct x86_emulate_ctxt *c, uint16_t port, unsigned bytes)
{
	int rc = emul_io_permitted(c, port, bytes);

	return rc ? rc : emul_intercept(c, X86_INTERCEPT_IO, port, 0);
}

static int pio_in(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		  void *val, unsigned *count)
{
	if (!c->ops->pio_in)
		return X86EMUL_UNHANDLEABLE;
	return c->ops->pio_in(c, port, size, val, count);
}

static int pio_out(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		   const void *val, unsigned *count)
{
	if (!c->ops->pio_out)
		return X86EMUL_UNHANDLEABLE;
	return c->ops->pio_out(c, port, size, val, count);
}

static unsigned io_size(const struct x86_emulate_ctxt *c)
{
	return MIN(c->insn->opsize, 4);
}

/* The port operand of IN (1) and OUT (0). */
static uint16_t io_port(const struct x86_emulate_ctxt *c, unsigned opnd)
{
	if (c->insn->row->opnd[opnd].kind == OPK_I)
		return (uint8_t)c->insn->imm;
	return c->gpr[X86_RDX];
}

int em_in(struct x86_emulate_ctxt *c)
{
	uint16_t port = io_port(c, 1);
	unsigned size = io_size(c), count = 1;
	uint64_t val = 0;
	int rc = begin(c, port, size);

	if (!rc)
		rc = pio_in(c, port, size, &val, &count);
	if (rc == X86EMUL_CONTINUE)
		emul_set_gpr(c, X86_RAX, val, size);
	return rc;
}

int em_out(struct x86_emulate_ctxt *c)
{
	uint16_t port = io_port(c, 0);
	unsigned size = io_size(c), count = 1;
	uint64_t val = c->gpr[X86_RAX];
	int rc = begin(c, port, size);

	return rc ? rc : pio_out(c, port, size, &val, &count);
}

/* --- INS, OUTS ----------------------------------------------------------------- */

#define IO_BUF 1024

/* Elements to ask for at once, and where in the host they are; NULL and 1 where
 * memory is not plain. */
static void *io_run(struct x86_emulate_ctxt *c, unsigned seg, unsigned reg,
		    unsigned acc, uint64_t *n)
{
	void *p = NULL;

	*n = MIN(*n, IO_BUF / io_size(c));
	if (c->eflags & X86_EFLAGS_DF)
		*n = 1;
	if (*n)
		p = emul_string_run(c, seg, reg, acc, n);
	if (!p)
		*n = 1;
	return p;
}

/* @n INS elements at most; *@n what has been done. */
static int ins_some(struct x86_emulate_ctxt *c, uint64_t *n)
{
	uint64_t ea = emul_trunc_ea(c->insn, c->gpr[X86_RDI]), la, probe;
	unsigned size = io_size(c), count;
	uint64_t buf[IO_BUF / 8];
	void *p = io_run(c, X86_ES, X86_RDI, ACC_WRITE, n);
	int rc;

	rc = emul_linearize(c, X86_ES, ea, size, ACC_WRITE, &la);
	if (!rc && !p)
		rc = emul_read_la(c, la, &probe, size,
				  ACC_WRITE | ACC_PROBE);
	if (rc)
		return rc;
	count = *n;
	buf[0] = 0;
	rc = pio_in(c, c->gpr[X86_RDX], size, buf, &count);
	if (rc)
		return rc;
	if (count > *n)
		return X86EMUL_UNHANDLEABLE;
	*n = count;
	if (!count || (p && !host_copy_out(p, buf, (size_t)count * size)))
		return X86EMUL_CONTINUE;
	*n = 1;		/* not plain memory, or it is gone: the owner tells */
	return emul_write_la(c, la, buf[0], size, ACC_WRITE);
}

static int outs_some(struct x86_emulate_ctxt *c, uint64_t *n)
{
	uint64_t ea = emul_trunc_ea(c->insn, c->gpr[X86_RSI]);
	unsigned size = io_size(c), count;
	uint64_t buf[IO_BUF / 8];
	void *p = io_run(c, c->insn->seg, X86_RSI, 0, n);
	int rc = X86EMUL_CONTINUE;

	if (!p || host_copy_in(buf, p, *n * size)) {
		*n = 1;
		rc = emul_read(c, c->insn->seg, ea, &buf[0], size, 0);
	}
	if (rc)
		return rc;
	count = *n;
	rc = pio_out(c, c->gpr[X86_RDX], size, buf, &count);
	if (!rc && count > *n)
		return X86EMUL_UNHANDLEABLE;
	*n = count;
	return rc;
}

static int io_string(struct x86_emulate_ctxt *c, unsigned reg,
		     int (*some)(struct x86_emulate_ctxt *c, uint64_t *n))
{
	bool rep = c->insn->prefix & (PFX_REP | PFX_REPNE);
	uint64_t n = 1;
	int rc;

	if (rep) {
		n = emul_rep_count(c);
		if (c->rep_limit)
			n = MIN(n, c->rep_limit);
	}
	if (!n)		/* permission comes before the count */
		return emul_io_permitted(c, c->gpr[X86_RDX], io_size(c));
	rc = begin(c, c->gpr[X86_RDX], io_size(c));
	if (!rc)
		rc = some(c, &n);
	if (rc)
		return rc;
	emul_string_advance(c, reg, n);
	if (!rep && !n)		/* the owner wants to be asked again */
		return X86EMUL_RETRY_INSTR;
	if (rep) {
		emul_rep_done(c, n);
		if (emul_rep_count(c))
			emul_rep_stop(c);
	}
	return X86EMUL_CONTINUE;
}

int em_ins(struct x86_emulate_ctxt *c)
{
	return io_string(c, X86_RDI, ins_some);
}

int em_outs(struct x86_emulate_ctxt *c)
{
	return io_string(c, X86_RSI, outs_some);
}
