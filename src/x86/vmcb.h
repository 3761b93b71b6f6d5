/* SPDX-License-Identifier: MIT */
/*
 * The VMCB: the 4-KiB page that describes an SVM guest, in the layout of APM
 * Vol. 2, "VMCB Layout": a control area of 1 KiB and the state-save area. Facts
 * without state; names as in Linux's headers where it has one.
 */
#ifndef ANYKVM_X86_VMCB_H
#define ANYKVM_X86_VMCB_H

#include "base/types.h"

/* #VMEXIT codes: SVM_EXIT_CPUID, ...; SVM_EXIT_ERR is VMEXIT_INVALID. */
enum svm_exit_code {
#define SVM_EXIT(code, name, text) SVM_EXIT_##name = code,
#include "x86/svm_exit.def"
#undef SVM_EXIT
	SVM_EXIT_EXCP_BASE = 0x40,
};

/* "npf", "cpuid", ... as the trace output shows it, or NULL. */
const char *svm_exit_name(uint64_t code);

struct vmcb_control {
	/*
	 * 000h CR reads/writes, 004h DR reads/writes, 008h exceptions, 00Ch-014h
	 * the rest. The bit for an event is the number of its exit code, over
	 * the six words: see vmcb_is_intercept().
	 */
	uint32_t intercepts[6];
	uint32_t reserved_018[9];
	uint16_t pause_filter_thresh;	/* 03Ch */
	uint16_t pause_filter_count;	/* 03Eh */
	uint64_t iopm_base_pa;		/* 040h */
	uint64_t msrpm_base_pa;		/* 048h */
	uint64_t tsc_offset;		/* 050h */
	uint32_t asid;			/* 058h */
	uint8_t  tlb_ctl;		/* 05Ch TLB_CONTROL_* */
	uint8_t  reserved_05d[3];
	uint32_t int_ctl;		/* 060h V_* below */
	uint32_t int_vector;		/* 064h */
	uint32_t int_state;		/* 068h SVM_INTERRUPT_SHADOW_MASK */
	uint32_t reserved_06c;
	uint64_t exit_code;		/* 070h */
	uint64_t exit_info_1;		/* 078h */
	uint64_t exit_info_2;		/* 080h */
	uint64_t exit_int_info;		/* 088h SVM_EVTINJ_* */
	uint64_t nested_ctl;		/* 090h SVM_NESTED_CTL_* */
	uint64_t avic_vapic_bar;	/* 098h */
	uint64_t ghcb_gpa;		/* 0A0h */
	uint64_t event_inj;		/* 0A8h SVM_EVTINJ_* */
	uint64_t nested_cr3;		/* 0B0h */
	uint64_t virt_ext;		/* 0B8h LBR_CTL_ENABLE_MASK, ... */
	uint32_t clean;			/* 0C0h VMCB_CLEAN_* */
	uint32_t reserved_0c4;
	uint64_t next_rip;		/* 0C8h */
	uint8_t  insn_len;		/* 0D0h number of bytes fetched */
	uint8_t  insn_bytes[15];
	uint64_t avic_backing_page;	/* 0E0h */
	uint64_t reserved_0e8;
	uint64_t avic_logical_id;	/* 0F0h */
	uint64_t avic_physical_id;	/* 0F8h */
	uint64_t reserved_100;
	uint64_t vmsa_pa;		/* 108h */
	uint8_t  reserved_110[0x400 - 0x110];
};

struct vmcb_seg {
	uint16_t selector;
	uint16_t attrib;		/* SVM_SELECTOR_*: descriptor bits 40-47, 52-55 */
	uint32_t limit;
	uint64_t base;
};

/* Offsets are from the start of the save area, 400h into the page. */
struct vmcb_save_area {
	struct vmcb_seg es, cs, ss, ds, fs, gs;	/* 000h */
	struct vmcb_seg gdtr, ldtr, idtr, tr;	/* 060h */
	uint8_t  reserved_0a0[0xcb - 0xa0];
	uint8_t  cpl;			/* 0CBh */
	uint8_t  reserved_0cc[4];
	uint64_t efer;			/* 0D0h */
	uint8_t  reserved_0d8[0x148 - 0xd8];
	uint64_t cr4;			/* 148h */
	uint64_t cr3;			/* 150h */
	uint64_t cr0;			/* 158h */
	uint64_t dr7;			/* 160h */
	uint64_t dr6;			/* 168h */
	uint64_t rflags;		/* 170h */
	uint64_t rip;			/* 178h */
	uint8_t  reserved_180[0x1d8 - 0x180];
	uint64_t rsp;			/* 1D8h */
	uint64_t s_cet;			/* 1E0h */
	uint64_t ssp;			/* 1E8h */
	uint64_t isst_addr;		/* 1F0h */
	uint64_t rax;			/* 1F8h */
	uint64_t star;			/* 200h */
	uint64_t lstar;			/* 208h */
	uint64_t cstar;			/* 210h */
	uint64_t sfmask;		/* 218h */
	uint64_t kernel_gs_base;	/* 220h */
	uint64_t sysenter_cs;		/* 228h */
	uint64_t sysenter_esp;		/* 230h */
	uint64_t sysenter_eip;		/* 238h */
	uint64_t cr2;			/* 240h */
	uint8_t  reserved_248[0x268 - 0x248];
	uint64_t g_pat;			/* 268h */
	uint64_t dbgctl;		/* 270h */
	uint64_t br_from;		/* 278h */
	uint64_t br_to;			/* 280h */
	uint64_t last_excp_from;	/* 288h */
	uint64_t last_excp_to;		/* 290h */
	uint8_t  reserved_298[0x2e0 - 0x298];
	uint64_t spec_ctrl;		/* 2E0h */
	uint8_t  reserved_2e8[0xc00 - 0x2e8];
};

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save_area save;
};

_Static_assert(sizeof(struct vmcb_control) == 0x400, "VMCB control area");
_Static_assert(sizeof(struct vmcb) == 0x1000, "VMCB");
_Static_assert(offsetof(struct vmcb_control, iopm_base_pa) == 0x40 &&
	       offsetof(struct vmcb_control, asid) == 0x58 &&
	       offsetof(struct vmcb_control, int_ctl) == 0x60 &&
	       offsetof(struct vmcb_control, exit_code) == 0x70 &&
	       offsetof(struct vmcb_control, nested_ctl) == 0x90 &&
	       offsetof(struct vmcb_control, event_inj) == 0xa8 &&
	       offsetof(struct vmcb_control, next_rip) == 0xc8 &&
	       offsetof(struct vmcb_control, vmsa_pa) == 0x108,
	       "VMCB control area offsets");
_Static_assert(offsetof(struct vmcb_save_area, cpl) == 0xcb &&
	       offsetof(struct vmcb_save_area, efer) == 0xd0 &&
	       offsetof(struct vmcb_save_area, cr4) == 0x148 &&
	       offsetof(struct vmcb_save_area, rsp) == 0x1d8 &&
	       offsetof(struct vmcb_save_area, rax) == 0x1f8 &&
	       offsetof(struct vmcb_save_area, cr2) == 0x240 &&
	       offsetof(struct vmcb_save_area, g_pat) == 0x268 &&
	       offsetof(struct vmcb_save_area, spec_ctrl) == 0x2e0,
	       "VMCB save area offsets");

#define SVM_NR_INTERCEPTS	(6 * 32)

/* @bit: enum svm_exit_code under SVM_NR_INTERCEPTS. */
static inline bool vmcb_is_intercept(const struct vmcb_control *c, unsigned bit)
{
	return c->intercepts[bit / 32] >> (bit % 32) & 1;
}

static inline void vmcb_set_intercept(struct vmcb_control *c, unsigned bit)
{
	c->intercepts[bit / 32] |= BIT(bit % 32);
}

static inline void vmcb_clr_intercept(struct vmcb_control *c, unsigned bit)
{
	c->intercepts[bit / 32] &= ~BIT(bit % 32);
}

#define TLB_CONTROL_DO_NOTHING		0
#define TLB_CONTROL_FLUSH_ALL_ASID	1
#define TLB_CONTROL_FLUSH_ASID		3
#define TLB_CONTROL_FLUSH_ASID_LOCAL	7

/* int_ctl */
#define V_TPR_MASK			0xffu
#define V_IRQ_MASK			BIT(8)
#define V_GIF_MASK			BIT(9)
#define V_NMI_PENDING_MASK		BIT(11)
#define V_NMI_BLOCKING_MASK		BIT(12)
#define V_INTR_PRIO_MASK		0xf0000u
#define V_IGN_TPR_MASK			BIT(20)
#define V_INTR_MASKING_MASK		BIT(24)
#define V_GIF_ENABLE_MASK		BIT(25)
#define V_NMI_ENABLE_MASK		BIT(26)
#define X2APIC_MODE_MASK		BIT(30)
#define AVIC_ENABLE_MASK		BIT(31)
#define SVM_INT_VECTOR_MASK		0xffu

/* int_state */
#define SVM_INTERRUPT_SHADOW_MASK	BIT(0)
#define SVM_GUEST_INTERRUPT_MASK	BIT(1)

/* nested_ctl */
#define SVM_NESTED_CTL_NP_ENABLE	BIT_ULL(0)
#define SVM_NESTED_CTL_SEV_ENABLE	BIT_ULL(1)
#define SVM_NESTED_CTL_SEV_ES_ENABLE	BIT_ULL(2)

/* virt_ext */
#define LBR_CTL_ENABLE_MASK		BIT_ULL(0)
#define VIRTUAL_VMLOAD_VMSAVE_ENABLE_MASK BIT_ULL(1)

/* clean */
#define VMCB_CLEAN_INTERCEPTS	BIT(0)	/* intercepts, TSC offset, pause filter */
#define VMCB_CLEAN_PERM_MAP	BIT(1)	/* IOPM, MSRPM */
#define VMCB_CLEAN_ASID		BIT(2)
#define VMCB_CLEAN_INTR		BIT(3)	/* int_ctl, int_vector */
#define VMCB_CLEAN_NPT		BIT(4)	/* NP_ENABLE, nested CR3, G_PAT */
#define VMCB_CLEAN_CR		BIT(5)	/* CR0, CR3, CR4, EFER */
#define VMCB_CLEAN_DR		BIT(6)	/* DR6, DR7 */
#define VMCB_CLEAN_DT		BIT(7)	/* GDTR, IDTR */
#define VMCB_CLEAN_SEG		BIT(8)	/* CS, DS, SS, ES, CPL */
#define VMCB_CLEAN_CR2		BIT(9)
#define VMCB_CLEAN_LBR		BIT(10)
#define VMCB_CLEAN_AVIC		BIT(11)

/* event_inj and exit_int_info; the error code is in bits 63:32 */
#define SVM_EVTINJ_VEC_MASK		0xffull
#define SVM_EVTINJ_TYPE_MASK		(7ull << 8)
#define SVM_EVTINJ_TYPE_INTR		(0ull << 8)
#define SVM_EVTINJ_TYPE_NMI		(2ull << 8)
#define SVM_EVTINJ_TYPE_EXEPT		(3ull << 8)
#define SVM_EVTINJ_TYPE_SOFT		(4ull << 8)
#define SVM_EVTINJ_VALID_ERR		BIT_ULL(11)
#define SVM_EVTINJ_VALID		BIT_ULL(31)
#define SVM_EVTINJ_ERR			GENMASK_ULL(63, 32)
#define SVM_EXITINTINFO_VEC_MASK	SVM_EVTINJ_VEC_MASK
#define SVM_EXITINTINFO_TYPE_MASK	SVM_EVTINJ_TYPE_MASK
#define SVM_EXITINTINFO_TYPE_INTR	SVM_EVTINJ_TYPE_INTR
#define SVM_EXITINTINFO_TYPE_NMI	SVM_EVTINJ_TYPE_NMI
#define SVM_EXITINTINFO_TYPE_EXEPT	SVM_EVTINJ_TYPE_EXEPT
#define SVM_EXITINTINFO_TYPE_SOFT	SVM_EVTINJ_TYPE_SOFT
#define SVM_EXITINTINFO_VALID		SVM_EVTINJ_VALID
#define SVM_EXITINTINFO_VALID_ERR	SVM_EVTINJ_VALID_ERR

/* Segment attributes: X86_AR_* with bits 12-15 moved to 8-11. */
#define SVM_SELECTOR_TYPE_MASK		0xfu
#define SVM_SELECTOR_S_MASK		BIT(4)
#define SVM_SELECTOR_DPL_MASK		0x60u
#define SVM_SELECTOR_P_MASK		BIT(7)
#define SVM_SELECTOR_AVL_MASK		BIT(8)
#define SVM_SELECTOR_L_MASK		BIT(9)
#define SVM_SELECTOR_DB_MASK		BIT(10)
#define SVM_SELECTOR_G_MASK		BIT(11)

/* exit_info_1 of IOIO. */
#define SVM_IOIO_TYPE_MASK		BIT_ULL(0)	/* 1: IN */
#define SVM_IOIO_STR_MASK		BIT_ULL(2)
#define SVM_IOIO_REP_MASK		BIT_ULL(3)
#define SVM_IOIO_SIZE_MASK		(7ull << 4)	/* bit 4: 1, 5: 2, 6: 4 bytes */
#define SVM_IOIO_SIZE_SHIFT		4
#define SVM_IOIO_ASIZE_MASK		(7ull << 7)	/* bit 7: 16, 8: 32, 9: 64 bits */
#define SVM_IOIO_ASIZE_SHIFT		7
#define SVM_IOIO_SEG_MASK		(7ull << 10)
#define SVM_IOIO_PORT_MASK		0xffff0000ull
/* exit_info_1 of MOV CR/DR with decode assists: gpr in bits 3:0. */
#define SVM_EXITINFO_REG_MASK		0xfull
#define SVM_EXITINFO1_CR_VALID		BIT_ULL(63)	/* MOV, not LMSW, CLTS, ... */
/* exit_info_2 of TASK_SWITCH; the error code is in bits 31:0. */
#define SVM_EXITINFOSHIFT_TS_REASON_IRET 36
#define SVM_EXITINFOSHIFT_TS_REASON_JMP	38
#define SVM_EXITINFOSHIFT_TS_HAS_ERROR_CODE 44
#define SVM_EXITINFOSHIFT_TS_RF		48
/* exit_info_1 of NPF beside the page-fault error code. */
#define SVM_NPF_GUEST_FINAL		BIT_ULL(32)
#define SVM_NPF_GUEST_PAGE		BIT_ULL(33)

/* CPUID 8000_000Ah EDX. */
#define SVM_CPUID_NPT			BIT(0)
#define SVM_CPUID_LBRV			BIT(1)
#define SVM_CPUID_SVML			BIT(2)
#define SVM_CPUID_NRIPS			BIT(3)
#define SVM_CPUID_TSC_RATE		BIT(4)
#define SVM_CPUID_VMCB_CLEAN		BIT(5)
#define SVM_CPUID_FLUSH_BY_ASID		BIT(6)
#define SVM_CPUID_DECODE_ASSISTS	BIT(7)
#define SVM_CPUID_PAUSE_FILTER		BIT(10)
#define SVM_CPUID_PAUSE_FILTER_THRESH	BIT(12)
#define SVM_CPUID_AVIC			BIT(13)
#define SVM_CPUID_V_VMSAVE_VMLOAD	BIT(15)
#define SVM_CPUID_VGIF			BIT(16)

#endif
