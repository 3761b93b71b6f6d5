// SPDX-License-Identifier: MIT
/*
 * PKRU: RDPKRU and WRPKRU (SDM Vol. 2, "RDPKRU", "WRPKRU"). What the keys forbid is
 * the page walk's business; its owner hears of each change.
 */
#include "emul/emul.h"

void emul_set_pkru(struct x86_emulate_ctxt *c, uint32_t val)
{
	const bool changed = c->pkru != val;

	c->pkru = val;
	if (changed && c->ops->pkru_changed)
		c->ops->pkru_changed(c);
}

int em_rdpkru(struct x86_emulate_ctxt *c)
{
	if (!(c->cr4 & X86_CR4_PKE))
		return emul_ud(c);
	if ((uint32_t)c->gpr[X86_RCX])
		return emul_gp(c, 0);
	c->gpr[X86_RAX] = c->pkru;
	c->gpr[X86_RDX] = 0;
	return X86EMUL_CONTINUE;
}

int em_wrpkru(struct x86_emulate_ctxt *c)
{
	if (!(c->cr4 & X86_CR4_PKE))
		return emul_ud(c);
	if ((uint32_t)c->gpr[X86_RCX] || (uint32_t)c->gpr[X86_RDX])
		return emul_gp(c, 0);
	emul_set_pkru(c, c->gpr[X86_RAX]);
	return X86EMUL_CONTINUE;
}
