// SPDX-License-Identifier: MIT
/*
 * The VMX instructions but for those on a VMCS's fields (vmcs.c) and the entry
 * itself (vmx_entry.c).
 *
 * The host of this processor is native C code, so what the real instructions
 * check of the host's own state (CR4.VMXE, CPL, IA32_FEATURE_CONTROL) has no
 * counterpart here; all that concerns their operands is checked.
 *
 * A flush that cannot be told apart in the TLB flushes more: INVEPT always
 * drops everything, since a combined mapping does not know its EPTP.
 */
#include "hw/vmx.h"

enum hw_vmx_result hw_vmxon(struct hw_cpu *cpu, hpa_t region)
{
	if (cpu->vmx.on)
		return vmx_fail(cpu, VMXERR_VMXON_IN_VMX_ROOT_OPERATION);
	if (!vmx_region_valid(region) ||
	    *(uint32_t *)(uintptr_t)region != VMX_REVISION_ID)
		return HW_VMX_FAIL_INVALID;
	cpu->vmx.on = true;
	cpu->vmx.vmxon_region = region;
	cpu->vmx.current = NULL;
	cpu->vmx.live = NULL;
	cpu->vmx.cr4_fixed1 = vmx_cr4_fixed1(hw_features(cpu));
	return HW_VMX_SUCCEED;
}

void hw_vmxoff(struct hw_cpu *cpu)
{
	cpu->vmx.on = false;
	cpu->vmx.vmxon_region = 0;
	cpu->vmx.current = NULL;
	cpu->vmx.live = NULL;
}

enum hw_vmx_result hw_vmlaunch(struct hw_cpu *cpu)
{
	return vmx_enter(cpu, true);
}

enum hw_vmx_result hw_vmresume(struct hw_cpu *cpu)
{
	return vmx_enter(cpu, false);
}

enum hw_vmx_result hw_invept(struct hw_cpu *cpu, unsigned type, uint64_t eptp)
{
	if (!cpu->vmx.on)
		return HW_VMX_FAIL_INVALID;
	if (type != VMX_EPT_EXTENT_GLOBAL &&
	    (type != VMX_EPT_EXTENT_CONTEXT || !vmx_eptp_valid(eptp)))
		return vmx_fail(cpu, VMXERR_INVALID_OPERAND_TO_INVEPT_INVVPID);
	hw_tlb_flush_all(cpu);
	return HW_VMX_SUCCEED;
}

static bool invvpid_operand_valid(unsigned type, uint16_t vpid, uint64_t la)
{
	switch (type) {
	case VMX_VPID_EXTENT_INDIVIDUAL_ADDR:
		return vpid && is_canonical(la, true);
	case VMX_VPID_EXTENT_SINGLE_CONTEXT:
	case VMX_VPID_EXTENT_SINGLE_NON_GLOBAL:
		return vpid;
	case VMX_VPID_EXTENT_ALL_CONTEXT:
		return true;
	default:
		return false;
	}
}

enum hw_vmx_result hw_invvpid(struct hw_cpu *cpu, unsigned type, uint16_t vpid,
			      uint64_t la)
{
	if (!cpu->vmx.on)
		return HW_VMX_FAIL_INVALID;
	if (!invvpid_operand_valid(type, vpid, la))
		return vmx_fail(cpu, VMXERR_INVALID_OPERAND_TO_INVEPT_INVVPID);
	if (type == VMX_VPID_EXTENT_ALL_CONTEXT)
		hw_tlb_flush_all(cpu);
	else if (type == VMX_VPID_EXTENT_INDIVIDUAL_ADDR && vpid == cpu->ctl.asid)
		hw_tlb_flush_page(cpu, la);
	else
		hw_tlb_flush_asid(cpu, vpid,
				  type != VMX_VPID_EXTENT_SINGLE_NON_GLOBAL);
	return HW_VMX_SUCCEED;
}

const char *hw_entry_failure(const struct hw_cpu *cpu)
{
	return cpu->entry_failure;
}
