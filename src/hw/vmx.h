/* SPDX-License-Identifier: MIT */
/*
 * What the files of the VMX engine share: the inside of a VMCS region, the
 * context of an entry, capabilities.
 */
#ifndef ANYKVM_HW_VMX_H
#define ANYKVM_HW_VMX_H

#include "hw/state.h"
#include "x86/vmcs.h"

#define VMX_REVISION_ID		0x414b564du
#define VMX_PHYS_BITS		52	/* addresses in a VMCS; ours are host virtual */
#define VMX_TIMER_RATE		5	/* preemption timer: TSC >> 5 */
#define VMX_MAX_MSR_LIST	512
#define VMX_KICK_VECTOR		0xfd	/* what hw_kick() looks like when acknowledged */

/* Where a field is in struct vmcs. Slot 0 is nobody's. */
enum vmcs_slot {
	SLOT_NONE,
#define VMCS_FIELD(enc, name, width, type, feature) SLOT_##name,
#include "x86/vmcs.def"
#undef VMCS_FIELD
	NR_VMCS_SLOTS
};

/* Parts of a VMCS that have been written since they were last checked and
 * loaded. Fields in no part are looked at at every entry. */
#define VMCS_DIRTY_CTL	BIT(0)	/* controls but for the event injected */
#define VMCS_DIRTY_HOST	BIT(1)
#define VMCS_DIRTY_CR	BIT(2)	/* CRs, MSRs, DR7, link pointer, PDPTEs */
#define VMCS_DIRTY_SEG	BIT(3)	/* segments, GDTR, IDTR */
#define VMCS_DIRTY_ALL	0xfu

/*
 * A VMCS region. The first two words are the architecture's, the rest is ours.
 * Fields are kept zero-extended to 64 bits whatever their width.
 */
struct vmcs {
	uint32_t revision_id;
	uint32_t abort;
	uint32_t launched;
	uint32_t dirty;			/* VMCS_DIRTY_* */
	uint32_t mode;			/* vmx_mode() when guest state was checked */
	uint64_t f[NR_VMCS_SLOTS];
};

_Static_assert(sizeof(struct vmcs) <= PAGE_SIZE, "VMCS region");

/* The field NAME of @v, as an lvalue. */
#define VMCS(v, name)	((v)->f[SLOT_##name])

/* Segments' fields stand in the order of enum x86_seg. */
#define VMCS_SEG(v, what, seg) ((v)->f[SLOT_GUEST_ES_##what + (seg)])

_Static_assert(SLOT_GUEST_TR_SELECTOR - SLOT_GUEST_ES_SELECTOR == X86_TR &&
	       SLOT_GUEST_TR_LIMIT - SLOT_GUEST_ES_LIMIT == X86_TR &&
	       SLOT_GUEST_TR_AR_BYTES - SLOT_GUEST_ES_AR_BYTES == X86_TR &&
	       SLOT_GUEST_TR_BASE - SLOT_GUEST_ES_BASE == X86_TR &&
	       SLOT_GUEST_LDTR_BASE - SLOT_GUEST_ES_BASE == X86_LDTR,
	       "order of segments in vmcs.def");

/* An entry at work: the controls in effect, and what follows from them. */
struct vmx_entry {
	struct hw_cpu *cpu;
	struct vmcs *v;
	uint32_t pin, proc, proc2;	/* proc2: 0 unless activated */
	uint32_t exit, entry;
	uint32_t intr;			/* VM_ENTRY_INTR_INFO_FIELD */
	bool ept, ug;			/* EPT; unrestricted guest */
	bool ia32e;			/* "IA-32e mode guest" */
	bool v86;			/* guest RFLAGS.VM */
	bool ext_intr, nmi;		/* kind of event injected */
	uint8_t seg;			/* the segment a row is about */
};

/* All that guest-state checks depend on but the guest state itself. */
static inline uint32_t vmx_mode(uint32_t entry, bool ept, bool ug, bool v86)
{
	return entry << 3 | ept << 2 | ug << 1 | v86;
}

/*
 * Entry checks (vmx_checks_*.c). Each returns NULL or the text of the rule that
 * does not hold: "section of the manual: rule".
 */
const char *vmx_check_ctls(struct vmx_entry *x);
const char *vmx_check_event(struct vmx_entry *x);	/* VM-entry event injection */
const char *vmx_check_host(struct vmx_entry *x);
const char *vmx_check_guest_cr(struct vmx_entry *x);
const char *vmx_check_guest_seg(struct vmx_entry *x);
/* RIP, RFLAGS, activity, interruptibility, pending debug exceptions: always.
 * @qual [OUT] the exit qualification of a failure. */
const char *vmx_check_guest_misc(struct vmx_entry *x, uint64_t *qual);
const char *vmx_check_link_pointer(struct vmx_entry *x);
const char *vmx_check_pdptes(struct vmx_entry *x);
bool vmx_eptp_valid(uint64_t eptp);

/* vmcs.c: VMfailValid with @err, or VMfailInvalid without a current VMCS. */
enum hw_vmx_result vmx_fail(struct hw_cpu *cpu, enum vm_instruction_error err);
bool vmx_region_valid(hpa_t pa);

/* vmx_ctl.c: the controls of x->v as the core's control block. */
void vmx_compile_ctl(const struct vmx_entry *x);
/* Which instructions exist: the guest's features less what the controls disable. */
void vmx_set_features(const struct vmx_entry *x);

/* vmx_entry.c: VMLAUNCH and VMRESUME of the current VMCS, all of it. */
enum hw_vmx_result vmx_enter(struct hw_cpu *cpu, bool launch);
/* The core gets another guest: nothing of VMX's is live in it any more. */
static inline void vmx_evict(struct hw_cpu *cpu)
{
	cpu->vmx.live = NULL;
}

/* vmx_exit.c, vmx_exit_info.c: after hw_run(). */
void vmx_store_exit(struct vmx_entry *x);
void vmx_store_exit_info(struct vmx_entry *x);
void vmx_store_entry_failure(struct vmcs *v, uint32_t reason, uint64_t qual);
/* vmx_insn_info.c: the VM-exit instruction-information field. */
uint32_t vmx_insn_info(const struct hw_cpu *cpu, enum x86_intercept id);
uint64_t vmx_displacement(const struct hw_cpu *cpu);

/* vmx_msr_list.c: number of the entry that cannot be loaded, from 1; 0: done. */
unsigned vmx_load_msrs(struct hw_cpu *cpu, uint64_t list, unsigned count);
bool vmx_store_msrs(struct hw_cpu *cpu, uint64_t list, unsigned count);

/* vmx_caps.c: for each word of controls, bits that must and bits that may be 1. */
enum vmx_ctl_word { VMX_CTL_PIN, VMX_CTL_PROC, VMX_CTL_PROC2, VMX_CTL_EXIT,
		    VMX_CTL_ENTRY, VMX_NR_CTLS };
struct vmx_ctl_cap { uint32_t must, may; };
extern const struct vmx_ctl_cap vmx_ctl_caps[VMX_NR_CTLS];
uint64_t vmx_cr4_fixed1(const uint64_t *features);

#define VMX_CR0_FIXED0	(X86_CR0_PE | X86_CR0_NE | X86_CR0_PG)
#define VMX_CR0_FIXED1	0xffffffffull
#define VMX_CR4_FIXED0	X86_CR4_VMXE

#endif
