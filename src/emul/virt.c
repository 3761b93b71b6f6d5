// SPDX-License-Identifier: MIT
/*
 * VMX and SVM instructions, as far as they are the same for every owner: #UD,
 * privilege and the VM exit. What they do is ops->virt_insn.
 *
 *	VMX	#UD (mode, CR4.VMXE), VM exit, #GP(0) at CPL > 0, effect
 *	SVM	#UD (mode, EFER.SVME), #GP(0) at CPL > 0, #VMEXIT, effect
 *
 * SDM Vol. 3C, "Instructions That Cause VM Exits Unconditionally"; APM Vol. 2,
 * "Enabling SVM" and "Instruction Intercepts". VMFUNC has no privilege. VMCALL
 * and VMMCALL leave at any CPL; where nobody intercepts, they are hypercalls of
 * the owner, or #UD.
 *
 * The decoder's rows carry no intercept for these; virt_rows gives it by opcode.
 */
#include "emul/desc.h"

enum { ANY_PREFIX = 0xff };

struct virt_row {
	uint8_t map, opcode;
	uint8_t modrm;		/* 0F 01: the whole byte; 0F C7: reg */
	uint8_t pfx;		/* PFX_* of 66 and F3, or ANY_PREFIX */
	uint8_t id;		/* enum x86_intercept */
};

/* clang-format off */
static const struct virt_row virt_rows[] = {
	{ X86_MAP_0F,   0x01, 0xc2, ANY_PREFIX, X86_INTERCEPT_VMLAUNCH },
	{ X86_MAP_0F,   0x01, 0xc3, ANY_PREFIX, X86_INTERCEPT_VMRESUME },
	{ X86_MAP_0F,   0x01, 0xc4, ANY_PREFIX, X86_INTERCEPT_VMXOFF },
	{ X86_MAP_0F,   0x01, 0xd4, ANY_PREFIX, X86_INTERCEPT_VMFUNC },
	{ X86_MAP_0F,   0x01, 0xd8, ANY_PREFIX, X86_INTERCEPT_VMRUN },
	{ X86_MAP_0F,   0x01, 0xda, ANY_PREFIX, X86_INTERCEPT_VMLOAD },
	{ X86_MAP_0F,   0x01, 0xdb, ANY_PREFIX, X86_INTERCEPT_VMSAVE },
	{ X86_MAP_0F,   0x01, 0xdc, ANY_PREFIX, X86_INTERCEPT_STGI },
	{ X86_MAP_0F,   0x01, 0xdd, ANY_PREFIX, X86_INTERCEPT_CLGI },
	{ X86_MAP_0F,   0x01, 0xde, ANY_PREFIX, X86_INTERCEPT_SKINIT },
	{ X86_MAP_0F,   0x01, 0xdf, ANY_PREFIX, X86_INTERCEPT_INVLPGA },
	{ X86_MAP_0F,   0x78, 0,    ANY_PREFIX, X86_INTERCEPT_VMREAD },
	{ X86_MAP_0F,   0x79, 0,    ANY_PREFIX, X86_INTERCEPT_VMWRITE },
	{ X86_MAP_0F,   0xc7, 6,    0,          X86_INTERCEPT_VMPTRLD },
	{ X86_MAP_0F,   0xc7, 6,    PFX_OPSIZE, X86_INTERCEPT_VMCLEAR },
	{ X86_MAP_0F,   0xc7, 6,    PFX_REP,    X86_INTERCEPT_VMXON },
	{ X86_MAP_0F,   0xc7, 7,    0,          X86_INTERCEPT_VMPTRST },
	{ X86_MAP_0F38, 0x80, 0,    ANY_PREFIX, X86_INTERCEPT_INVEPT },
	{ X86_MAP_0F38, 0x81, 0,    ANY_PREFIX, X86_INTERCEPT_INVVPID },
};
/* clang-format on */

static bool row_matches(const struct virt_row *r, const struct x86_insn *i)
{
	/* F3 beats 66 as a mandatory prefix. */
	const uint8_t pfx = i->prefix & PFX_REP ? PFX_REP :
						  i->prefix & PFX_OPSIZE;

	if (r->map != i->map || r->opcode != i->opcode)
		return false;
	if (r->opcode == 0x01 && r->modrm != i->modrm)
		return false;
	if (r->opcode == 0xc7 && r->modrm != (i->modrm >> 3 & 7))
		return false;
	return r->pfx == ANY_PREFIX || r->pfx == pfx;
}

static enum x86_intercept virt_intercept(const struct x86_insn *i)
{
	unsigned n;

	if (i->row->intercept)
		return i->row->intercept;
	for (n = 0; n < ARRAY_SIZE(virt_rows); n++)
		if (row_matches(&virt_rows[n], i))
			return virt_rows[n].id;
	return X86_INTERCEPT_NONE;
}

/* Neither real-address nor vm86 nor compatibility mode. */
static bool mode_ok(const struct x86_emulate_ctxt *c)
{
	return is_protected(c) && (!is_long_mode(c) || emul_is_64bit(c));
}

static int effect(struct x86_emulate_ctxt *c)
{
	return c->ops->virt_insn ? c->ops->virt_insn(c) : emul_ud(c);
}

static int vmx_insn(struct x86_emulate_ctxt *c, enum x86_intercept id)
{
	int rc;

	if (id == X86_INTERCEPT_VMFUNC) {
		rc = emul_intercept(c, id, 0, 0);
		return rc ? rc : effect(c);
	}
	if (!mode_ok(c) || !(c->cr4 & X86_CR4_VMXE))
		return emul_ud(c);
	rc = emul_intercept(c, id, 0, 0);
	if (rc)
		return rc;
	return c->cpl ? emul_gp(c, 0) : effect(c);
}

/* SVM works in compatibility mode too. */
static int svm_insn(struct x86_emulate_ctxt *c, enum x86_intercept id)
{
	int rc;

	if (!is_protected(c) || !(c->efer & X86_EFER_SVME))
		return emul_ud(c);
	if (c->cpl)
		return emul_gp(c, 0);
	rc = emul_intercept(c, id, 0, 0);
	return rc ? rc : effect(c);
}

int em_virt(struct x86_emulate_ctxt *c)
{
	const enum x86_intercept id = virt_intercept(c->insn);

	switch (c->insn->row->feature) {
	case X86_FEATURE_VMX:
		return vmx_insn(c, id);
	case X86_FEATURE_SVM:
	case X86_FEATURE_SKINIT:
		return svm_insn(c, id);
	default:
		return emul_ud(c);
	}
}

static int hypercall(struct x86_emulate_ctxt *c, enum x86_intercept id)
{
	int rc = emul_intercept(c, id, 0, 0);

	if (rc)
		return rc;
	return c->ops->hypercall ? c->ops->hypercall(c) : emul_ud(c);
}

int em_vmcall(struct x86_emulate_ctxt *c)
{
	return hypercall(c, X86_INTERCEPT_VMCALL);
}

int em_vmmcall(struct x86_emulate_ctxt *c)
{
	return hypercall(c, X86_INTERCEPT_VMMCALL);
}
