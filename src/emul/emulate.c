/* SPDX-License-Identifier: MIT */
/*
 * The driver: x86_emulate_insn(). Its steps, and what a handler may rely on,
 * are in emul.h.
 *
 * Nothing here knows a family. The driver checks what the row says, in the
 * order of SDM Vol. 3A, "Priority Among Concurrent Events" and Vol. 3C,
 * "Relative Priority of Faults and VM Exits": #UD, then #GP for privilege, then
 * the VM exit, then memory. It undoes eflags where a handler has set them and
 * the write-back then faults.
 */
#include "emul/mem.h"


int __cold emul_fault(struct x86_emulate_ctxt *c, enum x86_vector vector)
{
	c->exception = (struct x86_exception){ .vector = vector };
	return X86EMUL_PROPAGATE_FAULT;
}

int __cold emul_fault_code(struct x86_emulate_ctxt *c, enum x86_vector vector,
			   uint32_t error_code)
{
	c->exception = (struct x86_exception){
		.vector = vector,
		.has_error_code = true,
		.error_code = error_code,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

void emul_change_eflags(struct x86_emulate_ctxt *c, uint64_t mask, uint64_t val)
{
	uint64_t old = c->eflags;

	emul_set_flags(c, mask, val);
	c->eflags |= X86_EFLAGS_FIXED;
	if ((old ^ c->eflags) & ~(uint64_t)X86_EFLAGS_STATUS &&
	    c->ops->eflags_changed)
		c->ops->eflags_changed(c);
}

/* Rules of the row that raise #UD. */
static bool is_undefined(const struct x86_emulate_ctxt *c,
			 const struct opcode *row)
{
	if (row->feature && !emul_has(c, row->feature))
		return true;
	if (row->attr & (I_INV64 | I_ONLY64)) {
		uint32_t bad = emul_is_64bit(c) ? I_INV64 : I_ONLY64;

		if (row->attr & bad)
			return true;
	}
	if (row->attr & I_PROT && emul_is_real_like(c))
		return true;
	return row->attr & I_UNDEF;
}

static int check(struct x86_emulate_ctxt *c, const struct opcode *row,
		 uint8_t how)
{
	if (is_undefined(c, row))
		return emul_ud(c);
	if (row->attr & I_PRIV && c->cpl)
		return emul_gp(c, 0);
	if (row->intercept && !(how & HOW_ICPT))
		return emul_intercept(c, row->intercept, 0, 0);
	return X86EMUL_CONTINUE;
}

static int run_with_operands(struct x86_emulate_ctxt *c,
			     const struct emul_handler *h)
{
	uint64_t eflags = c->eflags;
	int rc = emul_fetch_operands(c, h->how);

	if (rc)
		return rc;
	if (c->dst.type == OPERAND_MEM &&
	    (c->insn->prefix & PFX_LOCK || h->how & HOW_LOCKED))
		return emul_locked(c, h->fn);
	rc = h->fn(c);
	if (rc)
		return rc;
	rc = emul_writeback(c);
	if (rc)
		c->eflags = eflags;
	return rc;
}

int x86_emulate_insn(struct x86_emulate_ctxt *c)
{
	const struct opcode *row = c->insn->row;
	const struct emul_handler *h = &emul_handlers[row->op];
	int rc;

	if (unlikely(!h->fn))
		return X86EMUL_UNHANDLEABLE;
	c->next_rip = c->rip + c->insn->len;
	if (!emul_is_64bit(c))
		c->next_rip = (uint32_t)c->next_rip;
	if (row->attr & (I_INV64 | I_ONLY64 | I_PROT | I_PRIV | I_UNDEF) ||
	    row->feature || row->intercept) {
		rc = check(c, row, h->how);
		if (rc)
			return rc;
	}
	rc = h->how & HOW_SELF ? h->fn(c) : run_with_operands(c, h);
	if (likely(rc == X86EMUL_CONTINUE))
		c->rip = c->next_rip;
	return rc;
}

x86_exec_fn x86_emulate_resolve(const struct x86_insn *insn)
{
	x86_exec_fn fn = emul_fast_form(insn);

	return fn ? fn : x86_emulate_insn;
}
