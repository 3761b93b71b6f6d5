// SPDX-License-Identifier: MIT
/*
 * Compiles a VMCS's controls into the core's control block (struct hw_ctl).
 *
 * Most controls are "this bit makes these instructions exit": rows of a table.
 * The rest are bitmaps, masks and numbers, copied field by field. Runs when the
 * control fields have been written since the last entry (an interrupt window
 * opened, say: it is meant to be quick), or the core has last run something else.
 *
 * What belongs to one entry only (the event injected, the preemption timer's
 * deadline) is vmx_entry.c's.
 */
#include "hw/vmx.h"

#define F(name) VMCS(x->v, name)

/* What a control adds to hw_ctl.intercepts. */
struct ctl_set {
	uint64_t set[2];
};

_Static_assert(X86_NR_INTERCEPTS <= 128, "two words of intercepts");

#define IN_WORD(w, id)	((id) / 64 == (w) ? BIT_ULL((id) % 64) : 0)
#define IN_WORD_0(name) | IN_WORD(0, X86_INTERCEPT_##name)
#define IN_WORD_1(name) | IN_WORD(1, X86_INTERCEPT_##name)
#define EXITS(bit, list)						\
	[__builtin_ctz(bit)] = { { 0 list(IN_WORD_0), 0 list(IN_WORD_1) } }

#define EXTINT_(X)	X(EXTINT)
#define NMI_(X)		X(NMI)
#define TIMER_(X)	X(PREEMPTION_TIMER)
#define INTR_WINDOW_(X)	X(INTR_WINDOW)
#define NMI_WINDOW_(X)	X(NMI_WINDOW)
#define HLT_(X)		X(HLT)
#define INVLPG_(X)	X(INVLPG) X(INVPCID)
#define MWAIT_(X)	X(MWAIT)
#define MONITOR_(X)	X(MONITOR)
#define RDPMC_(X)	X(RDPMC)
#define RDTSC_(X)	X(RDTSC) X(RDTSCP) X(UMWAIT) X(TPAUSE)
#define DR_(X)		X(DR_READ) X(DR_WRITE)
#define IO_(X)		X(IO)
#define MTF_(X)		X(MTF)
#define PAUSE_(X)	X(PAUSE)
#define TPR_(X)		X(TPR_THRESHOLD)
#define DESC_(X)	X(SGDT) X(SIDT) X(LGDT) X(LIDT) X(SLDT) X(STR) \
			X(LLDT) X(LTR)
#define WBINVD_(X)	X(WBINVD)
#define RDRAND_(X)	X(RDRAND)
#define RDSEED_(X)	X(RDSEED)

/* clang-format off */
static const struct ctl_set pin_sets[32] = {
	EXITS(PIN_BASED_EXT_INTR_MASK,		EXTINT_),
	EXITS(PIN_BASED_NMI_EXITING,		NMI_),
	EXITS(PIN_BASED_VMX_PREEMPTION_TIMER,	TIMER_),
};

static const struct ctl_set proc_sets[32] = {
	EXITS(CPU_BASED_INTR_WINDOW_EXITING,	INTR_WINDOW_),
	EXITS(CPU_BASED_NMI_WINDOW_EXITING,	NMI_WINDOW_),
	EXITS(CPU_BASED_HLT_EXITING,		HLT_),
	EXITS(CPU_BASED_INVLPG_EXITING,		INVLPG_),
	EXITS(CPU_BASED_MWAIT_EXITING,		MWAIT_),
	EXITS(CPU_BASED_MONITOR_EXITING,	MONITOR_),
	EXITS(CPU_BASED_RDPMC_EXITING,		RDPMC_),
	EXITS(CPU_BASED_RDTSC_EXITING,		RDTSC_),
	EXITS(CPU_BASED_MOV_DR_EXITING,		DR_),
	EXITS(CPU_BASED_UNCOND_IO_EXITING,	IO_),
	EXITS(CPU_BASED_USE_IO_BITMAPS,		IO_),
	EXITS(CPU_BASED_MONITOR_TRAP_FLAG,	MTF_),
	EXITS(CPU_BASED_PAUSE_EXITING,		PAUSE_),
	EXITS(CPU_BASED_TPR_SHADOW,		TPR_),
};

static const struct ctl_set proc2_sets[32] = {
	EXITS(SECONDARY_EXEC_DESC,		DESC_),
	EXITS(SECONDARY_EXEC_WBINVD_EXITING,	WBINVD_),
	EXITS(SECONDARY_EXEC_PAUSE_LOOP_EXITING, PAUSE_),
	EXITS(SECONDARY_EXEC_RDRAND_EXITING,	RDRAND_),
	EXITS(SECONDARY_EXEC_RDSEED_EXITING,	RDSEED_),
};
/* clang-format on */

/* Exit whatever the controls say, or have fields of their own that say. SDM
 * Vol. 3C, "Instructions That Cause VM Exits Unconditionally". */
#define ALWAYS(X)							\
	X(CPUID) X(GETSEC) X(INVD) X(XSETBV) X(INVEPT) X(INVVPID)	\
	X(VMCALL) X(VMCLEAR) X(VMLAUNCH) X(VMPTRLD) X(VMPTRST)		\
	X(VMREAD) X(VMRESUME) X(VMWRITE) X(VMXOFF) X(VMXON)		\
	X(TRIPLE_FAULT) X(INIT) X(SIPI) X(TASK_SWITCH) X(TDP_FAULT)	\
	X(TDP_MISCONFIG) X(EXCEPTION) X(CR_READ) X(CR_WRITE) X(CLTS)	\
	X(LMSW) X(MSR_READ) X(MSR_WRITE)

static void add_sets(struct ctl_set *out, const struct ctl_set *sets,
		     uint32_t word)
{
	for (; word; word &= word - 1) {
		const struct ctl_set *s = &sets[__builtin_ctz(word)];

		out->set[0] |= s->set[0];
		out->set[1] |= s->set[1];
	}
}

static void compile_intercepts(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	struct ctl_set all = { { 0 ALWAYS(IN_WORD_0), 0 ALWAYS(IN_WORD_1) } };

	add_sets(&all, pin_sets, x->pin & ~PIN_BASED_ALWAYSON);
	add_sets(&all, proc_sets, x->proc & ~CPU_BASED_TRUE_ALWAYSON);
	add_sets(&all, proc2_sets, x->proc2);
	ctl->intercepts[0] = all.set[0];
	ctl->intercepts[1] = all.set[1];
}

static void compile_registers(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	ctl->exceptions = F(EXCEPTION_BITMAP);
	ctl->pf_error_mask = F(PAGE_FAULT_ERROR_CODE_MASK);
	ctl->pf_error_match = F(PAGE_FAULT_ERROR_CODE_MATCH);
	ctl->cr_write = (x->proc & CPU_BASED_CR3_LOAD_EXITING ? BIT(3) : 0) |
			(x->proc & CPU_BASED_CR8_LOAD_EXITING ? BIT(8) : 0);
	ctl->cr_read = (x->proc & CPU_BASED_CR3_STORE_EXITING ? BIT(3) : 0) |
		       (x->proc & CPU_BASED_CR8_STORE_EXITING ? BIT(8) : 0);
	ctl->dr_read = x->proc & CPU_BASED_MOV_DR_EXITING ? 0xffff : 0;
	ctl->dr_write = ctl->dr_read;
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
	bool io = x->proc & CPU_BASED_USE_IO_BITMAPS;
	bool msr = x->proc & CPU_BASED_USE_MSR_BITMAPS;

	ctl->io_bitmap[0] = io ? hpa_ptr(F(IO_BITMAP_A)) : NULL;
	ctl->io_bitmap[1] = io ? hpa_ptr(F(IO_BITMAP_B)) : NULL;
	ctl->io_all = !io && (x->proc & CPU_BASED_UNCOND_IO_EXITING);
	ctl->msrpm_format = msr ? HW_MSRPM_VMX : HW_MSRPM_NONE;
	ctl->msrpm = msr ? hpa_ptr(F(MSR_BITMAP)) : NULL;
	ctl->tpr_shadow = x->proc & CPU_BASED_TPR_SHADOW;
	ctl->vapic_page = ctl->tpr_shadow ?
		hpa_ptr(F(VIRTUAL_APIC_PAGE_ADDR)) : NULL;
	ctl->tpr_threshold = ctl->tpr_shadow ? F(TPR_THRESHOLD) & 0xf : 0;
}

static void compile_memory(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	uint64_t eptp = x->ept ? F(EPT_POINTER) : 0;

	ctl->tdp_format = x->ept ? PAGING_EPT4 : PAGING_NONE;
	ctl->tdp_root = eptp & PAGE_MASK;
	ctl->tdp_flags = (x->ept ? PAGING_1G : 0) |
			 (eptp & VMX_EPTP_AD_ENABLE_BIT ? PAGING_EPT_AD : 0);
	ctl->asid = x->proc2 & SECONDARY_EXEC_ENABLE_VPID ?
		F(VIRTUAL_PROCESSOR_ID) : 0;
}

static void compile_rest(const struct vmx_entry *x, struct hw_ctl *ctl)
{
	bool offset = x->proc & CPU_BASED_USE_TSC_OFFSETTING;
	bool scale = offset && (x->proc2 & SECONDARY_EXEC_TSC_SCALING);
	/* "PAUSE exiting" goes first. */
	bool ple = (x->proc2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING) &&
		   !(x->proc & CPU_BASED_PAUSE_EXITING);

	ctl->tsc_offset = offset ? F(TSC_OFFSET) : 0;
	/* 48 fraction bits: 1 is no scaling. */
	ctl->tsc_multiplier = scale && F(TSC_MULTIPLIER) != BIT_ULL(48) ?
			      F(TSC_MULTIPLIER) : 0;
	ctl->tsc_frac = 48;
	ctl->virtual_nmi = x->pin & PIN_BASED_VIRTUAL_NMIS;
	ctl->mtf = x->proc & CPU_BASED_MONITOR_TRAP_FLAG;
	ctl->ple_gap = ple ? F(PLE_GAP) : 0;
	ctl->ple_window = ple ? F(PLE_WINDOW) : 0;
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

	/* Every field that VMX uses is written below; the others are 0. */
	if (x->cpu->vmx.live != x->v) {
		*ctl = (struct hw_ctl){ 0 };
		x->cpu->svm.compiled = false;
	}
	compile_intercepts(x, ctl);
	compile_registers(x, ctl);
	compile_bitmaps(x, ctl);
	compile_memory(x, ctl);
	compile_rest(x, ctl);
}
