// SPDX-License-Identifier: MIT
/*
 * Compiles a VMCS's controls into the core's control block (struct hw_ctl).
 *
 * Most controls are "this bit makes these instructions exit": rows of a table.
 * The rest are bitmaps, masks and numbers, copied field by field. Runs when the
 * control fields have been written since the last entry, or the core has last
 * run something else.
 *
 * What belongs to one entry only (the event injected, the preemption timer's
 * deadline) is vmx_entry.c's.
 */
#include "hw/vmx.h"

#define F(name) VMCS(x->v, name)

struct ctl_row {
	uint8_t word;		/* enum vmx_ctl_word */
	uint8_t id;		/* enum x86_intercept */
	uint32_t bit;
};

#define PIN(b, i)   { VMX_CTL_PIN, X86_INTERCEPT_##i, b }
#define PROC(b, i)  { VMX_CTL_PROC, X86_INTERCEPT_##i, b }
#define PROC2(b, i) { VMX_CTL_PROC2, X86_INTERCEPT_##i, b }

/* clang-format off */
static const struct ctl_row ctl_rows[] = {
	PIN(PIN_BASED_EXT_INTR_MASK,		EXTINT),
	PIN(PIN_BASED_NMI_EXITING,		NMI),
	PIN(PIN_BASED_VMX_PREEMPTION_TIMER,	PREEMPTION_TIMER),
	PROC(CPU_BASED_INTR_WINDOW_EXITING,	INTR_WINDOW),
	PROC(CPU_BASED_NMI_WINDOW_EXITING,	NMI_WINDOW),
	PROC(CPU_BASED_HLT_EXITING,		HLT),
	PROC(CPU_BASED_INVLPG_EXITING,		INVLPG),
	PROC(CPU_BASED_INVLPG_EXITING,		INVPCID),
	PROC(CPU_BASED_MWAIT_EXITING,		MWAIT),
	PROC(CPU_BASED_MONITOR_EXITING,		MONITOR),
	PROC(CPU_BASED_RDPMC_EXITING,		RDPMC),
	PROC(CPU_BASED_RDTSC_EXITING,		RDTSC),
	PROC(CPU_BASED_RDTSC_EXITING,		RDTSCP),
	PROC(CPU_BASED_MOV_DR_EXITING,		DR_READ),
	PROC(CPU_BASED_MOV_DR_EXITING,		DR_WRITE),
	PROC(CPU_BASED_UNCOND_IO_EXITING,	IO),
	PROC(CPU_BASED_USE_IO_BITMAPS,		IO),
	PROC(CPU_BASED_MONITOR_TRAP_FLAG,	MTF),
	PROC(CPU_BASED_PAUSE_EXITING,		PAUSE),
	PROC(CPU_BASED_TPR_SHADOW,		TPR_THRESHOLD),
	PROC2(SECONDARY_EXEC_DESC,		SGDT),
	PROC2(SECONDARY_EXEC_DESC,		SIDT),
	PROC2(SECONDARY_EXEC_DESC,		LGDT),
	PROC2(SECONDARY_EXEC_DESC,		LIDT),
	PROC2(SECONDARY_EXEC_DESC,		SLDT),
	PROC2(SECONDARY_EXEC_DESC,		STR),
	PROC2(SECONDARY_EXEC_DESC,		LLDT),
	PROC2(SECONDARY_EXEC_DESC,		LTR),
	PROC2(SECONDARY_EXEC_WBINVD_EXITING,	WBINVD),
	PROC2(SECONDARY_EXEC_RDRAND_EXITING,	RDRAND),
	PROC2(SECONDARY_EXEC_RDSEED_EXITING,	RDSEED),
};
/* clang-format on */

/* Exit whatever the controls say, or have fields of their own that say. SDM
 * Vol. 3C, "Instructions That Cause VM Exits Unconditionally". */
static const uint8_t always[] = {
	X86_INTERCEPT_CPUID, X86_INTERCEPT_GETSEC, X86_INTERCEPT_INVD,
	X86_INTERCEPT_XSETBV, X86_INTERCEPT_INVEPT, X86_INTERCEPT_INVVPID,
	X86_INTERCEPT_VMCALL, X86_INTERCEPT_VMCLEAR, X86_INTERCEPT_VMLAUNCH,
	X86_INTERCEPT_VMPTRLD, X86_INTERCEPT_VMPTRST, X86_INTERCEPT_VMREAD,
	X86_INTERCEPT_VMRESUME, X86_INTERCEPT_VMWRITE, X86_INTERCEPT_VMXOFF,
	X86_INTERCEPT_VMXON, X86_INTERCEPT_TRIPLE_FAULT, X86_INTERCEPT_INIT,
	X86_INTERCEPT_SIPI, X86_INTERCEPT_TASK_SWITCH,
	X86_INTERCEPT_TDP_FAULT, X86_INTERCEPT_TDP_MISCONFIG,
	X86_INTERCEPT_EXCEPTION, X86_INTERCEPT_CR_READ,
	X86_INTERCEPT_CR_WRITE, X86_INTERCEPT_CLTS, X86_INTERCEPT_LMSW,
	X86_INTERCEPT_MSR_READ, X86_INTERCEPT_MSR_WRITE,
};

static void compile_intercepts(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	const uint32_t words[] = { x->pin, x->proc, x->proc2 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		hw_ctl_set(ctl, always[i]);
	for (i = 0; i < ARRAY_SIZE(ctl_rows); i++)
		if (words[ctl_rows[i].word] & ctl_rows[i].bit)
			hw_ctl_set(ctl, ctl_rows[i].id);
}

static void compile_registers(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	ctl->exceptions = F(EXCEPTION_BITMAP);
	ctl->pf_error_mask = F(PAGE_FAULT_ERROR_CODE_MASK);
	ctl->pf_error_match = F(PAGE_FAULT_ERROR_CODE_MATCH);
	if (x->proc & CPU_BASED_CR3_LOAD_EXITING)
		ctl->cr_write |= BIT(3);
	if (x->proc & CPU_BASED_CR3_STORE_EXITING)
		ctl->cr_read |= BIT(3);
	if (x->proc & CPU_BASED_CR8_LOAD_EXITING)
		ctl->cr_write |= BIT(8);
	if (x->proc & CPU_BASED_CR8_STORE_EXITING)
		ctl->cr_read |= BIT(8);
	if (x->proc & CPU_BASED_MOV_DR_EXITING)
		ctl->dr_read = ctl->dr_write = 0xffff;
	ctl->cr0_mask = F(CR0_GUEST_HOST_MASK);
	ctl->cr0_shadow = F(CR0_READ_SHADOW);
	ctl->cr4_mask = F(CR4_GUEST_HOST_MASK);
	ctl->cr4_shadow = F(CR4_READ_SHADOW);
	ctl->cr3_target_count = F(CR3_TARGET_COUNT);
	for (int i = 0; i < 4; i++)
		ctl->cr3_target[i] = x->v->f[SLOT_CR3_TARGET_VALUE0 + i];
	ctl->cr0_fixed0 = x->ug ? VMX_CR0_FIXED0 & ~(X86_CR0_PE | X86_CR0_PG)
				: VMX_CR0_FIXED0;
	ctl->cr0_fixed1 = VMX_CR0_FIXED1;
	ctl->cr4_fixed0 = VMX_CR4_FIXED0;
	ctl->cr4_fixed1 = x->cpu->vmx.cr4_fixed1;
}

static void *hpa_ptr(uint64_t pa)
{
	return (void *)(uintptr_t)pa;
}

static void compile_bitmaps(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	if (x->proc & CPU_BASED_USE_IO_BITMAPS) {
		ctl->io_bitmap[0] = hpa_ptr(F(IO_BITMAP_A));
		ctl->io_bitmap[1] = hpa_ptr(F(IO_BITMAP_B));
	} else {
		ctl->io_all = x->proc & CPU_BASED_UNCOND_IO_EXITING;
	}
	ctl->msrpm_format = HW_MSRPM_NONE;
	if (x->proc & CPU_BASED_USE_MSR_BITMAPS) {
		ctl->msrpm_format = HW_MSRPM_VMX;
		ctl->msrpm = hpa_ptr(F(MSR_BITMAP));
	}
	ctl->tpr_shadow = x->proc & CPU_BASED_TPR_SHADOW;
	if (ctl->tpr_shadow) {
		ctl->vapic_page = hpa_ptr(F(VIRTUAL_APIC_PAGE_ADDR));
		ctl->tpr_threshold = F(TPR_THRESHOLD) & 0xf;
	}
}

static void compile_memory(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	if (x->ept) {
		ctl->tdp_format = PAGING_EPT4;
		ctl->tdp_root = F(EPT_POINTER) & PAGE_MASK;
		ctl->tdp_flags = PAGING_1G;
		if (F(EPT_POINTER) & VMX_EPTP_AD_ENABLE_BIT)
			ctl->tdp_flags |= PAGING_EPT_AD;
	}
	if (x->proc2 & SECONDARY_EXEC_ENABLE_VPID)
		ctl->asid = F(VIRTUAL_PROCESSOR_ID);
}

static void compile_rest(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	if (x->proc & CPU_BASED_USE_TSC_OFFSETTING) {
		ctl->tsc_offset = F(TSC_OFFSET);
		if (x->proc2 & SECONDARY_EXEC_TSC_SCALING) {
			ctl->tsc_multiplier = F(TSC_MULTIPLIER);
			ctl->tsc_frac = 48;
		}
	}
	ctl->virtual_nmi = x->pin & PIN_BASED_VIRTUAL_NMIS;
	ctl->mtf = x->proc & CPU_BASED_MONITOR_TRAP_FLAG;
	if (x->proc2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		ctl->ple_gap = F(PLE_GAP);
		ctl->ple_window = F(PLE_WINDOW);
	}
	ctl->preemption_deadline = UINT64_MAX;
}

/* Instructions that a control has to enable are #UD without it. */
static const struct {
	uint32_t bit;
	uint8_t feature;
} enables[] = {
	{ SECONDARY_EXEC_ENABLE_RDTSCP, X86_FEATURE_RDTSCP },
	{ SECONDARY_EXEC_ENABLE_RDTSCP, X86_FEATURE_RDPID },
	{ SECONDARY_EXEC_ENABLE_INVPCID, X86_FEATURE_INVPCID },
	{ SECONDARY_EXEC_ENABLE_XSAVES, X86_FEATURE_XSAVES },
	{ SECONDARY_EXEC_ENABLE_USR_WAIT_PAUSE, X86_FEATURE_WAITPKG },
};

void vmx_set_features(const struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;
	uint64_t *out = cpu->vmx.features;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cpu->vmx.features); i++)
		out[i] = cpu->features[i];
	for (i = 0; i < ARRAY_SIZE(enables); i++) {
		unsigned f = enables[i].feature;

		if (!(x->proc2 & enables[i].bit))
			out[f / 64] &= ~BIT_ULL(f % 64);
	}
	cpu->c.features = out;
}

void vmx_compile_ctl(const struct vmx_entry *x)
{
	struct hw_ctl *ctl = &x->cpu->ctl;

	*ctl = (struct hw_ctl){ 0 };
	x->cpu->svm.compiled = false;
	compile_intercepts(x, ctl);
	compile_registers(x, ctl);
	compile_bitmaps(x, ctl);
	compile_memory(x, ctl);
	compile_rest(x, ctl);
}
