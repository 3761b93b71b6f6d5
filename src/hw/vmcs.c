// SPDX-License-Identifier: MIT
/*
 * VMCS regions: VMCLEAR, VMPTRLD, VMREAD, VMWRITE and the table of fields.
 *
 * A field is found by its encoding in one step: the parts of the encoding that
 * vary (width, type, index under 64) are an index into a table of 1024 entries
 * built from vmcs.def. Fields of features that this processor lacks are not in
 * it, and VMREAD and VMWRITE of them fail as of any other number.
 *
 * Every VMWRITE notes which part of the VMCS it touched (VMCS_DIRTY_*), so that
 * an entry need not check and load again what has not changed since the last.
 * VMCLEAR marks everything. A region's content is trusted as far as memory
 * safety goes only: no value in it can make this code read beyond the page.
 *
 * SDM Vol. 3C, "VMX Instruction Reference".
 */
#include "hw/vmx.h"

/* Fields exist here: see the last column of vmcs.def. */
#define HAS_ALWAYS	1
#define HAS_VPID	1
#define HAS_EPT		1
#define HAS_MSR_BITMAPS	1
#define HAS_TPR_SHADOW	1
#define HAS_SECONDARY	1
#define HAS_TSC_SCALING	1
#define HAS_PAT		1
#define HAS_EFER	1
#define HAS_PLE		1
#define HAS_PREEMPTION_TIMER 1
#define HAS_XSAVES	1
#define HAS_POSTED_INTR	0
#define HAS_EPT_VE	0
#define HAS_HLAT	0
#define HAS_IPI_VIRT	0
#define HAS_VID		0
#define HAS_PML		0
#define HAS_UINTR	0
#define HAS_APIC_ACCESSES 0
#define HAS_VMFUNC	0
#define HAS_SHADOW_VMCS	0
#define HAS_SGX		0
#define HAS_SPP		0
#define HAS_TERTIARY	0
#define HAS_PASID	0
#define HAS_TDX		0
#define HAS_PCONFIG	0
#define HAS_EXIT2	0
#define HAS_SPEC_CTRL	0
#define HAS_PERF	0
#define HAS_MPX		0
#define HAS_PT		0
#define HAS_LBR		0
#define HAS_PKS		0
#define HAS_NOTIFY	0
#define HAS_CET		0

/* Width and type in 4 bits, index in 6. */
#define KEY(enc)	(((enc) >> 13 & 3) << 8 | ((enc) >> 10 & 3) << 6 | \
			 ((enc) >> 1 & 63))
#define KEY_RESERVED	(~0x6c7full)	/* bits no field uses, 0 and 31:15, 12, 9:7 */

#define IS_EVENT(enc)	((enc) >= VM_ENTRY_INTR_INFO_FIELD && \
			 (enc) <= VM_ENTRY_INSTRUCTION_LEN)
#define IS_SEG(enc)	((enc) <= GUEST_TR_SELECTOR ||			\
			 ((enc) >= GUEST_ES_LIMIT &&			\
			  (enc) <= GUEST_TR_AR_BYTES) ||		\
			 ((enc) >= GUEST_ES_BASE && (enc) <= GUEST_IDTR_BASE))
#define IS_MISC(enc)	((enc) == GUEST_INTERRUPTIBILITY_INFO ||	\
			 (enc) == GUEST_ACTIVITY_STATE ||		\
			 (enc) == VMX_PREEMPTION_TIMER_VALUE ||		\
			 ((enc) >= GUEST_RSP &&				\
			  (enc) <= GUEST_PENDING_DBG_EXCEPTIONS))

/* The exit controls have a say in what host state must hold. */
#define DIRTY_CONTROL(enc)	(IS_EVENT(enc) ? 0 :			\
				 (enc) == VM_EXIT_CONTROLS ?		\
				 VMCS_DIRTY_CTL | VMCS_DIRTY_HOST :	\
				 VMCS_DIRTY_CTL)
#define DIRTY_READONLY(enc)	0
#define DIRTY_HOST(enc)		VMCS_DIRTY_HOST
#define DIRTY_GUEST(enc)	(IS_MISC(enc) ? 0 :			\
				 IS_SEG(enc) ? VMCS_DIRTY_SEG : VMCS_DIRTY_CR)

struct field {
	uint8_t slot;		/* 0: no such field */
	uint8_t width;		/* enum vmcs_field_width */
	uint8_t type;		/* enum vmcs_field_type */
	uint8_t dirty;
};

static const struct field fields[1024] = {
#define VMCS_FIELD(enc, name, w, t, feature) [KEY(enc)] = {		\
	.slot = HAS_##feature ? SLOT_##name : SLOT_NONE,		\
	.width = FIELD_GET(VMCS_FIELD_WIDTH, enc),			\
	.type = VMCS_##t,						\
	.dirty = DIRTY_##t(enc) },
#include "x86/vmcs.def"
#undef VMCS_FIELD
};

_Static_assert(NR_VMCS_SLOTS <= 256, "struct field.slot");

static const uint64_t width_mask[] = {
	[VMCS_W16] = 0xffff, [VMCS_W64] = ~0ull, [VMCS_W32] = 0xffffffff,
	[VMCS_WN] = ~0ull,
};

static const struct field *find_field(uint32_t enc)
{
	const struct field *fi = &fields[KEY(enc)];

	if (unlikely(enc & (uint32_t)KEY_RESERVED & ~VMCS_FIELD_HIGH))
		return NULL;
	if (unlikely(!fi->slot))
		return NULL;
	if (unlikely((enc & VMCS_FIELD_HIGH) && fi->width != VMCS_W64))
		return NULL;
	return fi;
}

enum hw_vmx_result vmx_fail(struct hw_cpu *cpu, enum vm_instruction_error err)
{
	struct vmcs *v = cpu->vmx.current;

	if (!v)
		return HW_VMX_FAIL_INVALID;
	VMCS(v, VM_INSTRUCTION_ERROR) = err;
	return HW_VMX_FAIL_VALID;
}

enum hw_vmx_result hw_vmread(struct hw_cpu *cpu, uint32_t field, uint64_t *val)
{
	const struct vmcs *v = cpu->vmx.current;
	const struct field *fi = find_field(field);

	if (unlikely(!v))
		return HW_VMX_FAIL_INVALID;
	if (unlikely(!fi))
		return vmx_fail(cpu, VMXERR_UNSUPPORTED_VMCS_COMPONENT);
	*val = v->f[fi->slot];
	if (field & VMCS_FIELD_HIGH)
		*val >>= 32;
	return HW_VMX_SUCCEED;
}

enum hw_vmx_result hw_vmwrite(struct hw_cpu *cpu, uint32_t field, uint64_t val)
{
	struct vmcs *v = cpu->vmx.current;
	const struct field *fi = find_field(field);

	if (unlikely(!v))
		return HW_VMX_FAIL_INVALID;
	if (unlikely(!fi))
		return vmx_fail(cpu, VMXERR_UNSUPPORTED_VMCS_COMPONENT);
	if (unlikely(fi->type == VMCS_READONLY))
		return vmx_fail(cpu, VMXERR_VMWRITE_READ_ONLY_VMCS_COMPONENT);
	val &= width_mask[fi->width];
	if (field & VMCS_FIELD_HIGH)
		val = val << 32 | (uint32_t)v->f[fi->slot];
	v->f[fi->slot] = val;
	v->dirty |= fi->dirty;
	return HW_VMX_SUCCEED;
}

/* The address of a region, as VMXON, VMCLEAR and VMPTRLD take it. */
bool vmx_region_valid(hpa_t pa)
{
	return pa && !(pa & ~PAGE_MASK) && !(pa >> VMX_PHYS_BITS);
}

enum hw_vmx_result hw_vmclear(struct hw_cpu *cpu, hpa_t pa)
{
	struct vmcs *v = (struct vmcs *)(uintptr_t)pa;

	if (!cpu->vmx.on)
		return HW_VMX_FAIL_INVALID;
	if (!vmx_region_valid(pa))
		return vmx_fail(cpu, VMXERR_VMCLEAR_INVALID_ADDRESS);
	if (pa == cpu->vmx.vmxon_region)
		return vmx_fail(cpu, VMXERR_VMCLEAR_VMXON_POINTER);
	v->launched = false;
	v->dirty = VMCS_DIRTY_ALL;
	if (cpu->vmx.live == v)
		cpu->vmx.live = NULL;
	if (cpu->vmx.current == v)
		cpu->vmx.current = NULL;
	return HW_VMX_SUCCEED;
}

enum hw_vmx_result hw_vmptrld(struct hw_cpu *cpu, hpa_t pa)
{
	struct vmcs *v = (struct vmcs *)(uintptr_t)pa;

	if (!cpu->vmx.on)
		return HW_VMX_FAIL_INVALID;
	if (!vmx_region_valid(pa))
		return vmx_fail(cpu, VMXERR_VMPTRLD_INVALID_ADDRESS);
	if (pa == cpu->vmx.vmxon_region)
		return vmx_fail(cpu, VMXERR_VMPTRLD_VMXON_POINTER);
	if (v->revision_id != VMX_REVISION_ID)
		return vmx_fail(cpu, VMXERR_VMPTRLD_INCORRECT_VMCS_REVISION_ID);
	cpu->vmx.current = v;
	return HW_VMX_SUCCEED;
}
