// SPDX-License-Identifier: MIT
/*
 * Entry checks of the guest-state area, from the rows of vmx_checks_guest_*.def.
 * A failure is a VM exit with reason 33 ("invalid guest state"), bit 31 set; see
 * vmx_entry.c.
 *
 * Three groups by what they depend on: control registers and MSRs; segments;
 * and what changes from entry to entry (RIP, RFLAGS, activity,
 * interruptibility). The first two are skipped when nothing they read has been
 * written since they last passed: what the core itself leaves behind at an exit
 * always passes.
 *
 * Not checked because the feature is absent: BNDCFGS, RTIT, CET, PKRS, UINV, SMM.
 */
#include "base/access.h"
#include "hw/vmx.h"
#include "x86/msr.h"

#define F(name)		VMCS(x->v, name)
#define LA57		(F(GUEST_CR4) & X86_CR4_LA57)

/* --- control registers -------------------------------------------------------- */

#define LOAD_EFER	(x->entry & VM_ENTRY_LOAD_IA32_EFER)
#define EFER_BITS	(X86_EFER_SCE | X86_EFER_NX | X86_EFER_LMA | X86_EFER_LME)

static uint64_t cr0_fixed0(const struct vmx_entry *x)
{
	return x->ug ? VMX_CR0_FIXED0 & ~(X86_CR0_PE | X86_CR0_PG)
		     : VMX_CR0_FIXED0;
}

const char *vmx_check_guest_cr(struct vmx_entry *x)
{
#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return text;
#include "hw/vmx_checks_guest_cr.def"
#undef CHECK
	return NULL;
}

/* --- segments ------------------------------------------------------------------ */

#define OF(what, s)	(x->v->f[SLOT_GUEST_ES_##what + (s)])
#define SEL		OF(SELECTOR, x->seg)
#define BASE		OF(BASE, x->seg)
#define LIMIT		OF(LIMIT, x->seg)
#define AR		OF(AR_BYTES, x->seg)
#define DPL(s)		FIELD_GET(X86_AR_DPL, OF(AR_BYTES, s))
#define IS_UNUSABLE(s)	(OF(AR_BYTES, s) & X86_AR_UNUSABLE)
#define USABLE		(!IS_UNUSABLE(x->seg))
#define DATA_SEG	(!x->v86 && x->seg != X86_CS && x->seg != X86_SS)
#define CODE_OR_USABLE	(!x->v86 && (USABLE || x->seg == X86_CS))

/* Bits 11:0 not all ones: bytes. Bits 31:20 not all zero: pages. */
static bool granularity_ok(uint64_t ar, uint64_t limit)
{
	if (ar & X86_AR_G)
		return (limit & 0xfff) == 0xfff;
	return !(limit >> 20);
}

static bool cs_type_ok(const struct vmx_entry *x)
{
	unsigned type = OF(AR_BYTES, X86_CS) & X86_AR_TYPE;

	return (type & (X86_AR_CODE | X86_AR_A)) == (X86_AR_CODE | X86_AR_A) ||
	       (x->ug && type == 3);
}

static bool cs_dpl_ok(const struct vmx_entry *x)
{
	unsigned type = OF(AR_BYTES, X86_CS) & X86_AR_TYPE;

	if (!(type & X86_AR_CODE))
		return DPL(X86_CS) == 0;
	if (type & X86_AR_CE)
		return DPL(X86_CS) <= DPL(X86_SS);
	return DPL(X86_CS) == DPL(X86_SS);
}

const char *vmx_check_guest_seg(struct vmx_entry *x)
{
#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return text;
#define CHECK_SEGS(first, last, when, text, cond)			\
	for (x->seg = first; x->seg <= (last); x->seg++)		\
		if (unlikely((when) && !(cond)))			\
			return text;
#include "hw/vmx_checks_guest_seg.def"
#undef CHECK
#undef CHECK_SEGS
	return NULL;
}

/* --- what every entry looks at -------------------------------------------------- */

#define IS_64BIT	(x->ia32e && (F(GUEST_CS_AR_BYTES) & X86_AR_L))
#define ACTIVITY	F(GUEST_ACTIVITY_STATE)
#define INTERRUPTIBILITY F(GUEST_INTERRUPTIBILITY_INFO)
#define SHADOW		(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)
#define RFLAGS_RESERVED	(GENMASK_ULL(63, 22) | BIT(15) | BIT(5) | BIT(3))
#define PENDING_DBG_RESERVED (~(PENDING_DBG_B | PENDING_DBG_ENABLED_BP | \
				PENDING_DBG_BS))

static bool event_fits_activity(const struct vmx_entry *x)
{
	uint32_t type = x->intr & INTR_INFO_INTR_TYPE_MASK;
	uint32_t vector = x->intr & INTR_INFO_VECTOR_MASK;

	if (!(x->intr & INTR_INFO_VALID_MASK))
		return true;
	switch (ACTIVITY) {
	case GUEST_ACTIVITY_ACTIVE:
		return true;
	case GUEST_ACTIVITY_HLT:
		return type == INTR_TYPE_EXT_INTR ||
		       type == INTR_TYPE_NMI_INTR ||
		       type == INTR_TYPE_OTHER_EVENT ||
		       (type == INTR_TYPE_HARD_EXCEPTION &&
			(vector == X86_DB || vector == X86_MC));
	case GUEST_ACTIVITY_SHUTDOWN:
		return type == INTR_TYPE_NMI_INTR ||
		       (type == INTR_TYPE_HARD_EXCEPTION && vector == X86_MC);
	default:
		return false;
	}
}

static bool pending_bs_ok(const struct vmx_entry *x)
{
	bool blocked = (INTERRUPTIBILITY & SHADOW) ||
		       ACTIVITY == GUEST_ACTIVITY_HLT;
	bool bs = F(GUEST_PENDING_DBG_EXCEPTIONS) & PENDING_DBG_BS;
	bool tf = (F(GUEST_RFLAGS) & X86_EFLAGS_TF) &&
		  !(F(GUEST_IA32_DEBUGCTL) & DEBUGCTLMSR_BTF);

	return likely(!blocked) || bs == tf;
}

const char *vmx_check_guest_misc(struct vmx_entry *x, uint64_t *qual)
{
#define CHECK(qualification, text, cond)				\
	if (unlikely(!(cond))) {					\
		*qual = qualification;					\
		return text;						\
	}
#include "hw/vmx_checks_guest_misc.def"
#undef CHECK
	return NULL;
}

const char *vmx_check_link_pointer(struct vmx_entry *x)
{
	uint64_t link = F(VMCS_LINK_POINTER);
	uint32_t id;

	if (likely(link == ~0ull))
		return NULL;
	if (vmx_region_valid(link) && link != (uintptr_t)x->v &&
	    !host_read_32((void *)(uintptr_t)link, &id) && id == VMX_REVISION_ID)
		return NULL;
	return "Checks on Guest Non-Register State: "
	       "the VMCS link pointer is a VMCS or all ones";
}

/* A PAE guest's PDPTE: present with no reserved bit, or not present. */
#define PDPTE_RESERVED	(GENMASK_ULL(63, VMX_PHYS_BITS) | GENMASK_ULL(8, 5) | \
			 GENMASK_ULL(2, 1))

const char *vmx_check_pdptes(struct vmx_entry *x)
{
	if (!x->ept || x->ia32e || !(F(GUEST_CR0) & X86_CR0_PG) ||
	    !(F(GUEST_CR4) & X86_CR4_PAE))
		return NULL;
	for (int i = 0; i < 4; i++) {
		uint64_t e = x->v->f[SLOT_GUEST_PDPTR0 + i];

		if ((e & 1) && (e & PDPTE_RESERVED))
			return "Checks on Guest Page-Directory-Pointer-Table "
			       "Entries: reserved bits are 0";
	}
	return NULL;
}
