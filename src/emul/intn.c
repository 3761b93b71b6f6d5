// SPDX-License-Identifier: MIT
/*
 * INT n, INT3, INTO, ICEBP: the part before the IDT.
 *
 * In virtual-8086 mode INT n needs IOPL 3, unless VME redirects it to the 8086
 * program; INT3, INTO and ICEBP never do (SDM Vol. 3B, "Class 3 - Software
 * Interrupt Handling in Virtual-8086 Mode"). The gate's DPL is event delivery's.
 * The owner delivers, so that it can note the event for a fault on the way.
 */
#include "emul/desc.h"
#include "emul/event.h"

static int int_allowed(struct x86_emulate_ctxt *c, uint8_t vector)
{
	bool redirected;
	int rc;

	if (c->mode != X86_MODE_VM86 || emul_iopl(c) == 3)
		return X86EMUL_CONTINUE;
	rc = event_vme_redirected(c, vector, &redirected);
	if (rc)
		return rc;
	return redirected ? X86EMUL_CONTINUE : emul_gp(c, 0);
}

int em_int(struct x86_emulate_ctxt *c)
{
	const uint8_t vector = c->insn->imm;
	int rc = int_allowed(c, vector);

	if (!rc)
		rc = emul_intercept(c, X86_INTERCEPT_SWINT, vector, 0);
	return rc ? rc : sys_call(c, software_interrupt, vector, X86_INTR_SOFT);
}

int em_int3(struct x86_emulate_ctxt *c)
{
	return sys_call(c, software_interrupt, X86_BP, X86_INTR_INT3);
}

int em_into(struct x86_emulate_ctxt *c)
{
	if (!(c->eflags & X86_EFLAGS_OF))
		return X86EMUL_CONTINUE;
	return sys_call(c, software_interrupt, X86_OF, X86_INTR_INTO);
}

int em_icebp(struct x86_emulate_ctxt *c)
{
	return sys_call(c, software_interrupt, X86_DB, X86_INTR_ICEBP);
}
