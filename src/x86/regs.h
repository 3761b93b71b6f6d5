/* SPDX-License-Identifier: MIT */
/*
 * Register numbers, flag and control-register bits, segments, exceptions: the
 * facts of the architecture that have no state. Names are the manuals'.
 */
#ifndef ANYKVM_X86_REGS_H
#define ANYKVM_X86_REGS_H

#include "base/types.h"

/* General registers in the encoding of ModRM, extended by REX. */
enum x86_gpr {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_NR_GPRS,
	X86_RIP = X86_NR_GPRS,	/* as the base of an address: RIP-relative */
	X86_REG_NONE = 0xff,
};

/* Segment registers in the encoding of MOV Sreg; then the two system ones. */
enum x86_seg {
	X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS,
	X86_NR_USER_SEGS,
	X86_LDTR = X86_NR_USER_SEGS, X86_TR,
	X86_NR_SEGS,
	X86_SEG_NONE = 0xff,	/* no segment: the address is linear already */
};

#define X86_EFLAGS_CF	BIT(0)
#define X86_EFLAGS_FIXED BIT(1)
#define X86_EFLAGS_PF	BIT(2)
#define X86_EFLAGS_AF	BIT(4)
#define X86_EFLAGS_ZF	BIT(6)
#define X86_EFLAGS_SF	BIT(7)
#define X86_EFLAGS_TF	BIT(8)
#define X86_EFLAGS_IF	BIT(9)
#define X86_EFLAGS_DF	BIT(10)
#define X86_EFLAGS_OF	BIT(11)
#define X86_EFLAGS_IOPL	(BIT(12) | BIT(13))
#define X86_EFLAGS_NT	BIT(14)
#define X86_EFLAGS_RF	BIT(16)
#define X86_EFLAGS_VM	BIT(17)
#define X86_EFLAGS_AC	BIT(18)
#define X86_EFLAGS_VIF	BIT(19)
#define X86_EFLAGS_VIP	BIT(20)
#define X86_EFLAGS_ID	BIT(21)
#define X86_EFLAGS_STATUS (X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | \
			   X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF)

#define X86_CR0_PE	BIT_ULL(0)
#define X86_CR0_MP	BIT_ULL(1)
#define X86_CR0_EM	BIT_ULL(2)
#define X86_CR0_TS	BIT_ULL(3)
#define X86_CR0_ET	BIT_ULL(4)
#define X86_CR0_NE	BIT_ULL(5)
#define X86_CR0_WP	BIT_ULL(16)
#define X86_CR0_AM	BIT_ULL(18)
#define X86_CR0_NW	BIT_ULL(29)
#define X86_CR0_CD	BIT_ULL(30)
#define X86_CR0_PG	BIT_ULL(31)

#define X86_CR3_PWT	BIT_ULL(3)
#define X86_CR3_PCD	BIT_ULL(4)
#define X86_CR3_PCID	GENMASK_ULL(11, 0)
#define X86_CR3_LAM_U57	BIT_ULL(61)
#define X86_CR3_LAM_U48	BIT_ULL(62)
#define X86_CR3_LAM	(X86_CR3_LAM_U57 | X86_CR3_LAM_U48)
#define X86_CR3_NOFLUSH	BIT_ULL(63)

#define X86_CR4_VME	BIT_ULL(0)
#define X86_CR4_PVI	BIT_ULL(1)
#define X86_CR4_TSD	BIT_ULL(2)
#define X86_CR4_DE	BIT_ULL(3)
#define X86_CR4_PSE	BIT_ULL(4)
#define X86_CR4_PAE	BIT_ULL(5)
#define X86_CR4_MCE	BIT_ULL(6)
#define X86_CR4_PGE	BIT_ULL(7)
#define X86_CR4_PCE	BIT_ULL(8)
#define X86_CR4_OSFXSR	BIT_ULL(9)
#define X86_CR4_OSXMMEXCPT BIT_ULL(10)
#define X86_CR4_UMIP	BIT_ULL(11)
#define X86_CR4_LA57	BIT_ULL(12)
#define X86_CR4_VMXE	BIT_ULL(13)
#define X86_CR4_SMXE	BIT_ULL(14)
#define X86_CR4_FSGSBASE BIT_ULL(16)
#define X86_CR4_PCIDE	BIT_ULL(17)
#define X86_CR4_OSXSAVE	BIT_ULL(18)
#define X86_CR4_KL	BIT_ULL(19)
#define X86_CR4_SMEP	BIT_ULL(20)
#define X86_CR4_SMAP	BIT_ULL(21)
#define X86_CR4_PKE	BIT_ULL(22)
#define X86_CR4_CET	BIT_ULL(23)
#define X86_CR4_PKS	BIT_ULL(24)
#define X86_CR4_LAM_SUP	BIT_ULL(28)

#define X86_EFER_SCE	BIT_ULL(0)
#define X86_EFER_LME	BIT_ULL(8)
#define X86_EFER_LMA	BIT_ULL(10)
#define X86_EFER_NX	BIT_ULL(11)
#define X86_EFER_SVME	BIT_ULL(12)
#define X86_EFER_LMSLE	BIT_ULL(13)
#define X86_EFER_FFXSR	BIT_ULL(14)

#define X86_DR6_FIXED_1	0xfffe0ff0ull	/* BLD, RTM and reserved read as 1 */
#define X86_DR6_INIT	0xffff0ff0ull
#define X86_DR6_BD	BIT_ULL(13)
#define X86_DR6_BS	BIT_ULL(14)
#define X86_DR6_BT	BIT_ULL(15)
#define X86_DR7_FIXED_1	BIT_ULL(10)
#define X86_DR7_GD	BIT_ULL(13)

/* Vectors of the architecture. */
enum x86_vector {
	X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5,
	X86_UD = 6, X86_NM = 7, X86_DF = 8, X86_TS = 10, X86_NP = 11,
	X86_SS_FAULT = 12, X86_GP = 13, X86_PF = 14, X86_MF = 16, X86_AC = 17,
	X86_MC = 18, X86_XM = 19, X86_VE = 20, X86_CP = 21,
};

/* Page-fault error code. */
#define X86_PFERR_P	BIT_ULL(0)
#define X86_PFERR_W	BIT_ULL(1)
#define X86_PFERR_U	BIT_ULL(2)
#define X86_PFERR_RSVD	BIT_ULL(3)
#define X86_PFERR_I	BIT_ULL(4)
#define X86_PFERR_PK	BIT_ULL(5)

/* Selector fields. */
#define X86_SEL_RPL	3
#define X86_SEL_TI	4

/*
 * The hidden part of a segment register. @ar has the layout of the VMX
 * access-rights fields: a descriptor's bits 40-47 and 52-55 in bits 0-7 and
 * 12-15, and "unusable" in bit 16.
 */
struct x86_segment {
	uint64_t base;
	uint32_t limit;		/* in bytes, granularity applied */
	uint32_t ar;
	uint16_t selector;
};

#define X86_AR_TYPE	0xfull
#define X86_AR_A	BIT(0)	/* accessed */
#define X86_AR_RW	BIT(1)	/* code: readable, data: writable */
#define X86_AR_CE	BIT(2)	/* code: conforming, data: expand-down */
#define X86_AR_CODE	BIT(3)
#define X86_AR_S	BIT(4)	/* code or data, not system */
#define X86_AR_DPL	0x60ull
#define X86_AR_P	BIT(7)
#define X86_AR_AVL	BIT(12)
#define X86_AR_L	BIT(13)
#define X86_AR_DB	BIT(14)
#define X86_AR_G	BIT(15)
#define X86_AR_UNUSABLE	BIT(16)

/* Types of system segments and gates (S = 0). */
enum x86_systype {
	X86_TSS16 = 1, X86_LDT = 2, X86_TSS16_BUSY = 3, X86_CALL_GATE16 = 4,
	X86_TASK_GATE = 5, X86_INTR_GATE16 = 6, X86_TRAP_GATE16 = 7,
	X86_TSS32 = 9, X86_TSS32_BUSY = 11, X86_CALL_GATE32 = 12,
	X86_INTR_GATE32 = 14, X86_TRAP_GATE32 = 15,
};

struct x86_dtable {		/* GDTR, IDTR */
	uint64_t base;
	uint16_t limit;
};

/*
 * A fault, trap or abort on its way to the guest. A value, never an errno: a
 * function that may fault takes a pointer to one and says so in its result.
 */
struct x86_exception {
	uint8_t  vector;
	bool     has_error_code;
	uint32_t error_code;
	/* #PF: the linear address (CR2). #DB: the bits to set in DR6. EPT/NPT: below */
	uint64_t address;
	/*
	 * The fault is of the second dimension (EPT violation or
	 * misconfiguration, NPF) and not for the guest: @gpa says where, @exit
	 * how (the walker's enum paging_fault), @error_code as a #PF's.
	 */
	bool     nested;
	uint8_t  exit;
	bool     in_walk;	/* nested: the access was to a paging structure */
	uint64_t gpa;
};

/* Execution modes, as far as decoding and address size go. */
enum x86_mode {
	X86_MODE_REAL,		/* real-address mode: 16-bit, segments are paragraphs */
	X86_MODE_VM86,
	X86_MODE_PROT16,	/* protected or compatibility mode, CS.D = 0 */
	X86_MODE_PROT32,	/* protected or compatibility mode, CS.D = 1 */
	X86_MODE_PROT64,	/* 64-bit mode */
};

static inline bool is_canonical(uint64_t la, bool la57)
{
	int shift = la57 ? 7 : 16;

	return (uint64_t)((int64_t)(la << shift) >> shift) == la;
}

#endif
