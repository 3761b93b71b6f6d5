// SPDX-License-Identifier: MIT
/*
 * The VM-exit instruction-information field, and the displacement that goes
 * into the exit qualification of instructions with a memory operand.
 *
 * The field has five layouts that share most of their parts (SDM Vol. 3C, "VM-Exit
 * Instruction-Information Field"): which parts an instruction reports is a table
 * by intercept id. Parts that are not reported are 0.
 */
#include "hw/vmx.h"

#define P_ADDR	BIT(0)	/* address size */
#define P_SEG	BIT(1)	/* segment */
#define P_MEM	BIT(2)	/* scale, index, base, and the memory/register bit */
#define P_REG2	BIT(3)	/* ModRM.reg */
#define P_DTR	BIT(4)	/* LGDT..: operand size, which instruction */
#define P_SEL	BIT(5)	/* LLDT..: register operand, which instruction */
#define P_RAND	BIT(6)	/* RDRAND: destination, operand size */

#define P_OPERAND (P_ADDR | P_SEG | P_MEM)

static const struct {
	uint8_t parts;
	uint8_t identity;
} layouts[X86_NR_INTERCEPTS] = {
	[X86_INTERCEPT_IO] = { P_ADDR | P_SEG, 0 },
	[X86_INTERCEPT_SGDT] = { P_OPERAND | P_DTR, 0 },
	[X86_INTERCEPT_SIDT] = { P_OPERAND | P_DTR, 1 },
	[X86_INTERCEPT_LGDT] = { P_OPERAND | P_DTR, 2 },
	[X86_INTERCEPT_LIDT] = { P_OPERAND | P_DTR, 3 },
	[X86_INTERCEPT_SLDT] = { P_OPERAND | P_SEL, 0 },
	[X86_INTERCEPT_STR] = { P_OPERAND | P_SEL, 1 },
	[X86_INTERCEPT_LLDT] = { P_OPERAND | P_SEL, 2 },
	[X86_INTERCEPT_LTR] = { P_OPERAND | P_SEL, 3 },
	[X86_INTERCEPT_INVEPT] = { P_OPERAND | P_REG2, 0 },
	[X86_INTERCEPT_INVVPID] = { P_OPERAND | P_REG2, 0 },
	[X86_INTERCEPT_INVPCID] = { P_OPERAND | P_REG2, 0 },
	[X86_INTERCEPT_VMREAD] = { P_OPERAND | P_REG2, 0 },
	[X86_INTERCEPT_VMWRITE] = { P_OPERAND | P_REG2, 0 },
	[X86_INTERCEPT_VMCLEAR] = { P_OPERAND, 0 },
	[X86_INTERCEPT_VMPTRLD] = { P_OPERAND, 0 },
	[X86_INTERCEPT_VMPTRST] = { P_OPERAND, 0 },
	[X86_INTERCEPT_VMXON] = { P_OPERAND, 0 },
	[X86_INTERCEPT_XSAVES] = { P_OPERAND, 0 },
	[X86_INTERCEPT_XRSTORS] = { P_OPERAND, 0 },
	[X86_INTERCEPT_RDRAND] = { P_RAND, 0 },
	[X86_INTERCEPT_RDSEED] = { P_RAND, 0 },
};

static uint32_t info_mem(const struct x86_insn *insn)
{
	uint32_t info;

	if (!insn_has_modrm_mem(insn))
		return VMX_II_IS_REG | FIELD_PREP(VMX_II_REG1, insn->rm);
	info = FIELD_PREP(VMX_II_SCALE, insn->scale);
	if (insn->index < X86_NR_GPRS)
		info |= FIELD_PREP(VMX_II_INDEX, insn->index);
	else
		info |= VMX_II_NO_INDEX;
	if (insn->base < X86_NR_GPRS)
		info |= FIELD_PREP(VMX_II_BASE, insn->base);
	else
		info |= VMX_II_NO_BASE;
	return info;
}

/* INS has no segment to report: ES always. */
static uint32_t info_segment(const struct x86_insn *insn)
{
	return insn->seg < X86_NR_USER_SEGS ?
		FIELD_PREP(VMX_II_SEG, insn->seg) : 0;
}

uint32_t vmx_insn_info(const struct hw_cpu *cpu, enum x86_intercept id)
{
	const struct x86_insn *insn = cpu->last_insn;
	unsigned parts = layouts[id].parts;
	uint32_t info = 0;

	if (!parts || !insn)
		return 0;
	if (id == X86_INTERCEPT_IO && !cpu->exit.io_string)
		return 0;
	if (parts & P_MEM)
		info |= info_mem(insn);
	/* A register operand has no address: those parts are undefined. */
	if (!(info & VMX_II_IS_REG)) {
		if (parts & P_ADDR)
			info |= FIELD_PREP(VMX_II_ADDR_SIZE, insn->adsize >> 2);
		if (parts & P_SEG)
			info |= info_segment(insn);
	}
	if (parts & P_REG2)
		info |= FIELD_PREP(VMX_II_REG2, insn->reg);
	if (parts & (P_DTR | P_SEL))
		info |= FIELD_PREP(VMX_II_IDENTITY, layouts[id].identity);
	if (parts & P_DTR && insn->opsize != 2)
		info |= FIELD_PREP(VMX_II_OPSIZE, 1);
	if (parts & P_RAND)
		info |= FIELD_PREP(VMX_II_REG1, insn->rm) |
			FIELD_PREP(VMX_II_OPSIZE, insn->opsize >> 2);
	return info;
}

uint64_t vmx_displacement(const struct hw_cpu *cpu)
{
	const struct x86_insn *insn = cpu->last_insn;

	if (!insn || !insn_has_modrm_mem(insn))
		return 0;
	if (insn->base == X86_RIP)
		return cpu->exit.next_rip + insn->disp;
	return insn->disp;
}
