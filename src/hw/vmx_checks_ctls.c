// SPDX-License-Identifier: MIT
/*
 * Entry checks of the VMX controls, from the rows of vmx_checks_ctls.def and
 * vmx_checks_event.def. A failure is VMfailValid with error 7 and the VMCS
 * stays as it is.
 *
 * The rows are expanded into straight code, in order; the first that does not
 * hold ends it. The order of checks is the processor's own business (SDM
 * Vol. 3C, "Basic VM-Entry Checks"), ours is the manual's.
 *
 * Address 0 counts as no memory: a physical address is a host virtual one here.
 */
#include "base/access.h"
#include "hw/vmx.h"

#define F(name) VMCS(x->v, name)

static bool ctls_allowed(enum vmx_ctl_word w, uint32_t ctls)
{
	return !(vmx_ctl_caps[w].must & ~ctls) && !(ctls & ~vmx_ctl_caps[w].may);
}

static bool page_ok(uint64_t pa)
{
	return vmx_region_valid(pa);
}

static bool msr_area_ok(uint64_t pa, uint64_t count)
{
	if (!count)
		return true;
	if (!pa || (pa & 15) || pa >> VMX_PHYS_BITS)
		return false;
	return !((pa + count * sizeof(struct vmx_msr_entry) - 1) >>
		 VMX_PHYS_BITS);
}

/* SDM Vol. 3C, "Extended-Page-Table Pointer (EPTP)". */
bool vmx_eptp_valid(uint64_t eptp)
{
	if ((eptp & VMX_EPTP_MT_MASK) != VMX_EPTP_MT_WB)
		return false;
	if ((eptp & VMX_EPTP_PWL_MASK) != VMX_EPTP_PWL_4)
		return false;
	return !(eptp & GENMASK_ULL(11, 7)) && !(eptp >> VMX_PHYS_BITS);
}

const char *vmx_check_ctls(struct vmx_entry *x)
{
#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return text;
#include "hw/vmx_checks_ctls.def"
#undef CHECK
	return NULL;
}

/* --- the event to inject ------------------------------------------------------ */

#define TYPE	(x->intr & INTR_INFO_INTR_TYPE_MASK)
#define VECTOR	(x->intr & INTR_INFO_VECTOR_MASK)

#define ERROR_CODE_VECTORS (BIT(X86_DF) | BIT(X86_TS) | BIT(X86_NP) |	\
			    BIT(X86_SS_FAULT) | BIT(X86_GP) |		\
			    BIT(X86_PF) | BIT(X86_AC))

static bool delivers_error_code(const struct vmx_entry *x)
{
	if (x->ug && !(F(GUEST_CR0) & X86_CR0_PE))
		return false;
	return TYPE == INTR_TYPE_HARD_EXCEPTION && VECTOR < 32 &&
	       (ERROR_CODE_VECTORS >> VECTOR & 1);
}

static bool is_software_event(uint32_t type)
{
	return type == INTR_TYPE_SOFT_INTR || type == INTR_TYPE_SOFT_EXCEPTION ||
	       type == INTR_TYPE_PRIV_SW_EXCEPTION;
}

/* Without "virtualize APIC accesses" the threshold may not be above the TPR. */
static bool tpr_threshold_ok(const struct vmx_entry *x)
{
	uint8_t vtpr;

	if (!(x->proc & CPU_BASED_TPR_SHADOW) || !F(TPR_THRESHOLD))
		return true;
	if (host_read_8((void *)(F(VIRTUAL_APIC_PAGE_ADDR) + 0x80), &vtpr))
		return false;
	return (F(TPR_THRESHOLD) & 0xf) <= (vtpr >> 4);
}

const char *vmx_check_event(struct vmx_entry *x)
{
	if (unlikely(!tpr_threshold_ok(x)))
		return "VM-Execution Control Fields: "
		       "the TPR threshold is not above VTPR";
	if (likely(!(x->intr & INTR_INFO_VALID_MASK)))
		return NULL;
#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return text;
#include "hw/vmx_checks_event.def"
#undef CHECK
	return NULL;
}
