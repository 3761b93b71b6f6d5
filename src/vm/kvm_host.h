/* SPDX-License-Identifier: MIT */
/*
 * struct kvm and struct kvm_vcpu: the virtual machine as the common code sees it.
 *
 * Locking, outermost first:
 *   kvm->lock        creation of vCPUs and chips, VM-wide settings
 *   vcpu->mutex      one ioctl at a time on a vCPU; held through KVM_RUN
 *   kvm->mem locks   see mem/mem.h
 *   kvm->mmu.lock    see mmu/mmu.h
 *   irqchip locks    see irqchip/irqchip.h; leaves, but for vCPU kicks
 * What belongs to a vCPU is touched under its mutex only, except requests, mode
 * and the atomically set bits of its APIC.
 *
 * Common code never asks which vendor it runs on: it goes through kvm_x86_ops.
 */
#ifndef ANYKVM_VM_KVM_HOST_H
#define ANYKVM_VM_KVM_HOST_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/list.h"
#include "base/types.h"
#include "base/wait.h"
#include "emul/emulate.h"
#include "hw/hw.h"
#include "irqchip/irqchip.h"
#include "mem/coalesced.h"
#include "mem/mem.h"
#include "mmu/mmu.h"
#include "obs/stats.h"
#include "vm/params.h"
#include "x86/fpu.h"
#include "x86/regs.h"

#define KVM_MAX_CPUID_ENTRIES	256
#define KVM_MAX_MMIO_FRAGMENTS	16
#define KVM_MAX_VCPU_ID		4096
#define KVM_PIO_PAGE		4096
#define KVM_MAX_MCE_BANKS	32

/* Pages of a vCPU fd: kvm_run, port I/O data, coalesced ring. */
#define KVM_RUN_PAGE		0
#define KVM_PIO_PAGE_OFFSET	1
#define KVM_COALESCED_MMIO_PAGE_OFFSET 2
#define KVM_VCPU_MMAP_PAGES	3

/* Registers with a cache in vcpu->arch that the backend fills on demand. */
enum kvm_reg {
	VCPU_REGS_RSP = X86_RSP,
	VCPU_REGS_RIP = X86_NR_GPRS,
	VCPU_EXREG_CR0,
	VCPU_EXREG_CR3,
	VCPU_EXREG_CR4,
	NR_VCPU_REGS,
};

/* What an exit handler, or the loop, decides. */
enum kvm_exit_result {
	KVM_HANDLED,		/* re-enter the guest */
	KVM_TO_USER,		/* kvm_run is filled: KVM_RUN returns 0 */
	KVM_ERROR_FAULT,	/* KVM_RUN fails with EFAULT */
	KVM_ERROR_INTR,		/* ... EINTR; exit_reason is set */
};

struct kvm_exit_info {
	const char *reason;
	uint64_t info1, info2;
	uint32_t intr_info;
};

/* Requests: bits of vcpu->requests. */
enum kvm_req {
	KVM_REQ_TLB_FLUSH,	/* everything this vCPU's processor holds */
	KVM_REQ_TLB_FLUSH_GUEST,
	KVM_REQ_EVENT,		/* look for something to inject */
	KVM_REQ_TRIPLE_FAULT,
	KVM_REQ_CLOCK_UPDATE,
	KVM_REQ_NMI,
	KVM_REQ_IOAPIC_EOI_EXIT,
};

/* Bits of vcpu->arch.pending_events. */
enum { KVM_APIC_INIT, KVM_APIC_SIPI };

enum kvm_vcpu_mode { OUTSIDE_GUEST_MODE, IN_GUEST_MODE, EXITING_GUEST_MODE };

struct kvm_queued_exception {
	bool pending, injected, has_error_code, has_payload;
	uint8_t vector;
	uint32_t error_code;
	uint64_t payload;	/* CR2 or DR6 bits, applied at injection */
};

struct kvm_queued_interrupt {
	bool injected, soft;
	uint8_t nr;
};

struct kvm_mmio_fragment {
	gpa_t gpa;
	uint8_t data[8];
	unsigned len;
};

/* Port I/O that user space is to answer. */
struct kvm_pio_request {
	unsigned count;		/* 0: none */
	uint16_t port;
	uint8_t size;
	bool in;
	bool ready;		/* user space has answered: data is in the page */
};

/* Emulation of one instruction, with what must survive an exit to user space. */
struct kvm_emulation {
	struct x86_emulate_ctxt ctxt;
	struct x86_insn insn;
	bool in_progress;	/* re-enter without a new decode */
	int type;		/* EMULTYPE_* */
	const char *exit;	/* reason that led here, for the trace */
	bool mmio_needed, mmio_is_write, mmio_read_done;
	struct kvm_mmio_fragment frag[KVM_MAX_MMIO_FRAGMENTS];
	unsigned nr_frags, cur_frag;
	/* Reads so far, replayed when the instruction runs again. */
	uint8_t read_cache[1024];
	unsigned read_pos, read_end;
};

struct kvm_mtrr_state {
	uint64_t fixed[11], var[16], deftype;
};

struct kvm_vcpu_arch {
	uint64_t regs[X86_NR_GPRS + 1];	/* RAX..R15, RIP */
	uint32_t regs_avail, regs_dirty; /* bit per enum kvm_reg / GPR */
	uint8_t event_insn_len;	/* of a software event that goes back */

	uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0, xss;
	/* Bits the guest may write without an exit; the cache is then stale. */
	uint64_t cr0_guest_owned_bits, cr4_guest_owned_bits;
	uint64_t db[4], dr6, dr7;
	unsigned db_hits;		/* of the instruction that is emulated: DR6 bits */
	uint64_t pdptrs[4];		/* PAE paging */
	bool pdptrs_dirty;		/* the backend has older ones */
	struct x86_fpu fpu;

	struct kvm_lapic *apic;		/* NULL without an in-kernel irqchip */
	uint64_t apic_base;		/* when apic is NULL */
	struct {			/* no slot has it: in_place.c */
		gfn_t gfn;
		uint64_t generation;	/* + 1; 0: not looked */
	} apic_page;
	unsigned mp_state;		/* KVM_MP_STATE_* */
	uint8_t sipi_vector;
	uint8_t pending_ioapic_eoi;	/* vector, with KVM_REQ_IOAPIC_EOI_EXIT */
	uint32_t pending_events;	/* atomic: BIT(KVM_APIC_INIT/SIPI) */

	struct kvm_queued_exception exception;
	struct kvm_queued_interrupt interrupt;
	unsigned nmi_queued;		/* atomic: arrived, not yet pending */
	unsigned nmi_pending;
	bool nmi_injected;

	struct kvm_cpuid_entry2 cpuid[KVM_MAX_CPUID_ENTRIES];
	unsigned cpuid_nent;
	uint64_t features[4];		/* bitmap by enum x86_feature */
	uint8_t maxphyaddr;
	uint64_t cr4_reserved, efer_reserved;

	struct kvm_mmu mmu;
	struct kvm_emulation emul;
	struct kvm_pio_request pio;
	enum kvm_exit_result (*complete_userspace_io)(struct kvm_vcpu *vcpu);

	/* Time. */
	uint64_t tsc_offset, tsc_multiplier;
	uint32_t virtual_tsc_khz;
	uint64_t tsc_adjust;
	gpa_t pv_time;			/* kvmclock structure; 0: off */
	bool pv_time_enabled;
	uint32_t pv_time_version;
	uint64_t pv_time_msr, wall_clock_msr;
	bool pv_guest_stopped;

	/* MSRs without a place in the processor. */
	struct kvm_mtrr_state mtrr;
	uint64_t mce_banks[4 * KVM_MAX_MCE_BANKS];
	uint64_t pat, misc_enable, mcg_cap, mcg_status, mcg_ctl, smi_count, microcode;
	uint64_t arch_capabilities;
	uint64_t feature_control, debugctl, poll_control;
};

struct kvm_vcpu {
	struct kvm *kvm;
	int vcpu_id;			/* as the client named it: the APIC id */
	int vcpu_idx;			/* place in kvm->vcpus */
	struct kvm_run *run;		/* our mapping of the fd's pages */
	void *pio_data;			/* its port I/O page */
	bool owns_pages;		/* run is ours to unmap */
	struct hw_cpu *hw;
	void *vendor;			/* struct vcpu_vmx or vcpu_svm */

	pthread_mutex_t mutex;
	uint64_t requests;		/* atomic: BIT(enum kvm_req) */
	uint32_t mode;			/* atomic: enum kvm_vcpu_mode */
	bool signal_seen;		/* a signal came during KVM_RUN, atomic */
	bool kicked;			/* anykvm_kick(): until KVM_RUN says EINTR; atomic */
	struct kvm_wait wait;		/* HLT */
	bool sigset_active;
	uint64_t sigset;		/* KVM_SET_SIGNAL_MASK */
	struct kvm_vcpu_stat stat;
	struct kvm_vcpu_arch arch;
};

struct kvm {
	struct kvm_params params;	/* as they were at creation */
	pthread_mutex_t lock;
	unsigned refs;			/* VM fd's object and each vCPU's; atomic */
	struct kvm_mem mem;
	struct kvm_mmu_vm mmu;
	struct kvm_coalesced coalesced;
	struct kvm_irqchips irqchip;
	struct kvm_vcpu **vcpus;	/* [params.max_vcpus]; append only */
	unsigned nr_vcpus;		/* atomic; published after the entry */
	struct kvm_vm_stat stat;
	uint64_t id;			/* for statistics and traces */

	gpa_t tss_addr, identity_map_addr;
	uint32_t bsp_vcpu_id;
	uint64_t kvmclock_offset;	/* kvmclock = host monotonic + this; ns */
	uint32_t default_tsc_khz;
	uint64_t tsc_write_value, tsc_write_host; /* see kvm_synchronize_tsc */
	uint64_t disabled_exits;	/* KVM_X86_DISABLE_EXITS_* */
	gpa_t wall_clock;
	bool dead;
};

struct kvm_x86_ops {
	const char *name;
#define KVM_X86_OP(ret, name, args) ret (*name) args;
#include "vm/x86_ops.def"
#undef KVM_X86_OP
};

/* The backend of a VM. Both are always linked; a VM has one for life. */
extern const struct kvm_x86_ops *kvm_backends[2];	/* by enum kvm_vendor */
void kvm_backend_register(enum kvm_vendor vendor, const struct kvm_x86_ops *ops);

static inline const struct kvm_x86_ops *kvm_ops(const struct kvm_vcpu *vcpu)
{
	return kvm_backends[vcpu->kvm->params.vendor];
}

/* --- VM and vCPU life (kvm.c, vcpu.c) ------------------------------------------ */

struct kvm *kvm_create_vm(void);
void kvm_get_kvm(struct kvm *kvm);
void kvm_put_kvm(struct kvm *kvm);	/* frees with the last reference */

/*
 * Creates vCPU @id with @run_pages (KVM_VCPU_MMAP_PAGES, a mapping) as its shared
 * pages. Takes a reference to @kvm and, on success, the mapping. 0, -EINVAL (id too
 * large, too many), -EEXIST, -ENOMEM.
 */
int kvm_vcpu_create(struct kvm *kvm, uint32_t id, void *run_pages,
		    struct kvm_vcpu **out);
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu);
void kvm_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event);
bool kvm_vcpu_is_bsp(const struct kvm_vcpu *vcpu);
struct kvm_vcpu *kvm_get_vcpu_by_id(struct kvm *kvm, uint32_t id);

#define kvm_for_each_vcpu(i, vcpu, kvm)					\
	for (i = 0; i < __atomic_load_n(&(kvm)->nr_vcpus, __ATOMIC_ACQUIRE) && \
	     ((vcpu) = (kvm)->vcpus[i]); i++)

/* The vCPU whose KVM_RUN the calling thread is in, or NULL: for signal handlers. */
extern __thread struct kvm_vcpu *kvm_running_vcpu
	__attribute__((tls_model("initial-exec")));

/* KVM_RUN. 0 or -errno (-EINTR, -EFAULT, -EAGAIN, ...). */
int kvm_vcpu_run(struct kvm_vcpu *vcpu);
/* KVM_RUN is to end. */
bool kvm_signal_pending(const struct kvm_vcpu *vcpu);
/* Exit reason's name, for traces and messages. */
const char *kvm_exit_reason_name(uint32_t reason);

/* --- requests (requests.c) -------------------------------------------------------- */

void kvm_make_request(struct kvm_vcpu *vcpu, enum kvm_req req);
bool kvm_check_request(struct kvm_vcpu *vcpu, enum kvm_req req);
bool kvm_test_request(struct kvm_vcpu *vcpu, enum kvm_req req);
/* Makes @vcpu leave the guest, or wakes it from HLT. Any thread or handler. */
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);
/*
 * Sets @req for all vCPUs but @except, kicks them and waits until none is in the
 * guest under the old state. Callers hold no lock that a vCPU takes between exits.
 */
void kvm_make_all_cpus_request(struct kvm *kvm, enum kvm_req req,
			       struct kvm_vcpu *except);
void kvm_flush_remote_tlbs(struct kvm *kvm);

/* --- registers (regs.c, cr.c) ------------------------------------------------------- */

static inline bool kvm_reg_is_avail(struct kvm_vcpu *v, unsigned r)
{
	return v->arch.regs_avail >> r & 1;
}

static inline void kvm_reg_mark_avail(struct kvm_vcpu *v, unsigned r)
{
	v->arch.regs_avail |= BIT(r);
}

static inline void kvm_reg_mark_dirty(struct kvm_vcpu *v, unsigned r)
{
	v->arch.regs_avail |= BIT(r);
	v->arch.regs_dirty |= BIT(r);
}

static inline uint64_t kvm_register_read_raw(struct kvm_vcpu *v, unsigned r)
{
	if (unlikely(!kvm_reg_is_avail(v, r)))
		kvm_ops(v)->cache_reg(v, r);
	return v->arch.regs[r];
}

static inline void kvm_register_write_raw(struct kvm_vcpu *v, unsigned r,
					  uint64_t val)
{
	v->arch.regs[r] = val;
	kvm_reg_mark_dirty(v, r);
}

static inline uint64_t kvm_rip_read(struct kvm_vcpu *v)
{
	return kvm_register_read_raw(v, VCPU_REGS_RIP);
}

static inline void kvm_rip_write(struct kvm_vcpu *v, uint64_t rip)
{
	kvm_register_write_raw(v, VCPU_REGS_RIP, rip);
}

uint64_t kvm_read_cr0(struct kvm_vcpu *vcpu);
uint64_t kvm_read_cr3(struct kvm_vcpu *vcpu);
uint64_t kvm_read_cr4(struct kvm_vcpu *vcpu);
uint64_t kvm_get_cr8(struct kvm_vcpu *vcpu);
static inline bool is_long_mode(struct kvm_vcpu *v)
{
	return v->arch.efer & X86_EFER_LMA;
}
bool is_64_bit_mode(struct kvm_vcpu *vcpu);
static inline bool is_paging(struct kvm_vcpu *v)
{
	return kvm_read_cr0(v) & X86_CR0_PG;
}
/* The PDPTEs are in force. */
static inline bool is_pae_paging(struct kvm_vcpu *v)
{
	return !is_long_mode(v) && is_paging(v) && (kvm_read_cr4(v) & X86_CR4_PAE);
}
static inline bool is_protmode(struct kvm_vcpu *v)
{
	return kvm_read_cr0(v) & X86_CR0_PE;
}

/* As the guest's MOV to CR: 0, or 1 when it must get #GP. */
int kvm_set_cr0(struct kvm_vcpu *vcpu, uint64_t val);
bool kvm_cr3_is_valid(struct kvm_vcpu *vcpu, uint64_t val);
int kvm_set_cr3(struct kvm_vcpu *vcpu, uint64_t val);
int kvm_set_cr4(struct kvm_vcpu *vcpu, uint64_t val);
int kvm_set_cr8(struct kvm_vcpu *vcpu, uint64_t val);
int kvm_set_xcr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t val);
int kvm_set_dr(struct kvm_vcpu *vcpu, unsigned n, uint64_t val);
void kvm_get_dr(struct kvm_vcpu *vcpu, unsigned n, uint64_t *val);
/* After CR0, CR4 or EFER changed: roles, flushes. */
void kvm_mmu_context_changed(struct kvm_vcpu *vcpu, bool flush);
bool kvm_load_pdptrs(struct kvm_vcpu *vcpu, uint64_t cr3);

int kvm_vcpu_get_regs(struct kvm_vcpu *vcpu, struct kvm_regs *r);
int kvm_vcpu_set_regs(struct kvm_vcpu *vcpu, const struct kvm_regs *r);
int kvm_vcpu_get_sregs(struct kvm_vcpu *vcpu, struct kvm_sregs *s);
int kvm_vcpu_set_sregs(struct kvm_vcpu *vcpu, const struct kvm_sregs *s);
int kvm_vcpu_get_fpu(struct kvm_vcpu *vcpu, struct kvm_fpu *f);
int kvm_vcpu_set_fpu(struct kvm_vcpu *vcpu, const struct kvm_fpu *f);
int kvm_vcpu_get_xsave(struct kvm_vcpu *vcpu, struct kvm_xsave *x);
int kvm_vcpu_set_xsave(struct kvm_vcpu *vcpu, const struct kvm_xsave *x);
int kvm_vcpu_get_xcrs(struct kvm_vcpu *vcpu, struct kvm_xcrs *x);
int kvm_vcpu_set_xcrs(struct kvm_vcpu *vcpu, const struct kvm_xcrs *x);
int kvm_vcpu_get_debugregs(struct kvm_vcpu *vcpu, struct kvm_debugregs *d);
int kvm_vcpu_set_debugregs(struct kvm_vcpu *vcpu, const struct kvm_debugregs *d);
int kvm_vcpu_get_mp_state(struct kvm_vcpu *vcpu, struct kvm_mp_state *m);
int kvm_vcpu_set_mp_state(struct kvm_vcpu *vcpu, const struct kvm_mp_state *m);
int kvm_vcpu_get_events(struct kvm_vcpu *vcpu, struct kvm_vcpu_events *e);
int kvm_vcpu_set_events(struct kvm_vcpu *vcpu, const struct kvm_vcpu_events *e);
int kvm_vcpu_translate(struct kvm_vcpu *vcpu, struct kvm_translation *t);
int kvm_vcpu_interrupt(struct kvm_vcpu *vcpu, const struct kvm_interrupt *i);
int kvm_vcpu_nmi(struct kvm_vcpu *vcpu);

/* --- CPUID (cpuid.c) ------------------------------------------------------------------ */

/* Fills @e (at most *@nent) with what a guest of @vendor may be offered;
 * *@nent [OUT] how many there are. -E2BIG when they do not fit. */
int kvm_get_supported_cpuid(enum kvm_vendor vendor, struct kvm_cpuid_entry2 *e,
			    unsigned *nent);
int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid_entry2 *e,
		       unsigned nent);
/* What CPUID gives the guest. */
bool kvm_cpuid(struct kvm_vcpu *vcpu, uint32_t *eax, uint32_t *ebx,
	       uint32_t *ecx, uint32_t *edx);
static inline bool guest_has(const struct kvm_vcpu *v, enum x86_feature f)
{
	return v->arch.features[f / 64] >> (f % 64) & 1;
}
void kvm_update_cpuid_runtime(struct kvm_vcpu *vcpu);

/* --- MSRs (msr.c) ------------------------------------------------------------------------ */

/* As the guest's RDMSR/WRMSR (@host false) or the client's ioctl (@host true):
 * 0, or 1 (#GP, or the ioctl's stop). */
int kvm_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host);
uint32_t kvm_get_pkrs(struct kvm_vcpu *vcpu);
int kvm_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host);
extern const uint32_t kvm_msrs_to_save[];
extern const unsigned kvm_nr_msrs_to_save;
enum kvm_exit_result kvm_emulate_rdmsr(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_wrmsr(struct kvm_vcpu *vcpu);
int kvm_set_efer(struct kvm_vcpu *vcpu, uint64_t efer, bool host);
/* As the guest's, while its state is in the processor. False: nothing has happened, an
 * exit must do it. @keep [OUT] the value changes by writes only. */
bool kvm_get_msr_in_place(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val,
			  bool *keep);
bool kvm_set_msr_in_place(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val);

/* --- machine checks (mce.c) ------------------------------------------------------------ */

/* KVM_X86_GET_MCE_CAP_SUPPORTED: of IA32_MCG_CAP, beside the number of banks. */
#define KVM_MCE_CAP_SUPPORTED	(MCG_CAP_CTL_P | MCG_CAP_SER_P)

void kvm_mce_init(struct kvm_vcpu *vcpu);
/* MSRs IA32_MCG_*, IA32_MCi_*: 0, or 1 for #GP. */
int kvm_get_mce_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host);
int kvm_set_mce_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host);
/* KVM_X86_SETUP_MCE, KVM_X86_SET_MCE. -EINVAL. */
int kvm_vcpu_setup_mce(struct kvm_vcpu *vcpu, const uint64_t *cap);
int kvm_vcpu_set_mce(struct kvm_vcpu *vcpu, const struct kvm_x86_mce *e);

/* --- exits without leaving the guest (in_place.c) ------------------------------------ */

void kvm_exits_in_place(struct kvm_vcpu *vcpu);
/* An access to @gpa is about to be emulated as MMIO. */
void kvm_note_apic_page(struct kvm_vcpu *vcpu, gpa_t gpa);

/* --- events (exception.c, events.c) --------------------------------------------------------- */

void kvm_queue_exception(struct kvm_vcpu *vcpu, unsigned vector);
void kvm_queue_exception_e(struct kvm_vcpu *vcpu, unsigned vector, uint32_t code);
void kvm_queue_exception_p(struct kvm_vcpu *vcpu, unsigned vector, uint64_t payload);
void kvm_requeue_exception(struct kvm_vcpu *vcpu, unsigned vector, bool has_error,
			   uint32_t code);
void kvm_inject_fault(struct kvm_vcpu *vcpu, const struct x86_exception *e);
void kvm_inject_gp(struct kvm_vcpu *vcpu, uint32_t code);
void kvm_deliver_exception_payload(struct kvm_vcpu *vcpu);
void kvm_queue_interrupt(struct kvm_vcpu *vcpu, uint8_t vector, bool soft);
void kvm_clear_exception_queue(struct kvm_vcpu *vcpu);
void kvm_clear_interrupt_queue(struct kvm_vcpu *vcpu);
bool kvm_event_needs_reinjection(struct kvm_vcpu *vcpu);
/* Before an entry: injects what is due, opens windows for what must wait. */
void kvm_inject_pending_events(struct kvm_vcpu *vcpu);
bool kvm_vcpu_has_events(struct kvm_vcpu *vcpu);
bool kvm_cpu_has_injectable_intr(struct kvm_vcpu *vcpu);
void kvm_inject_nmi(struct kvm_vcpu *vcpu);
/* INIT and SIPI that have arrived. */
void kvm_apic_accept_events(struct kvm_vcpu *vcpu);
void kvm_update_dr7(struct kvm_vcpu *vcpu);

/* --- emulation, I/O (emulate.c, io.c) ---------------------------------------------------------- */

#define EMULTYPE_NO_DECODE	BIT(0)	/* the instruction is decoded already */
#define EMULTYPE_TRAP_UD	BIT(1)	/* on #UD: only instructions marked for it */
#define EMULTYPE_SKIP		BIT(2)	/* only move RIP over it */
#define EMULTYPE_ALLOW_RETRY_PF	BIT(3)
#define EMULTYPE_PF		BIT(6)	/* by a page fault (MMIO) */
#define EMULTYPE_COMPLETE_USER_EXIT BIT(7)

enum kvm_exit_result x86_emulate_instruction(struct kvm_vcpu *vcpu, gpa_t cr2_or_gpa,
					     int emultype);
static inline enum kvm_exit_result kvm_emulate_instruction(struct kvm_vcpu *v, int t)
{
	return x86_emulate_instruction(v, 0, t);
}
/* A fresh ctxt from the register cache; and back. */
void init_emulate_ctxt(struct kvm_vcpu *vcpu);
void writeback_registers(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_skip_emulated_instruction(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_fast_pio(struct kvm_vcpu *vcpu, unsigned size, uint16_t port,
				  bool in);
/* An EPT violation or nested page fault: @error_code X86_PFERR_* (RSVD: an EPT
 * misconfiguration, or an NPF on a reserved bit). */
enum kvm_exit_result kvm_handle_tdp_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
					  uint64_t error_code);
enum kvm_exit_result kvm_emulate_cpuid(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_halt(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_hypercall(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_wbinvd(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_xsetbv(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_emulate_rdpmc(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_handle_invpcid(struct kvm_vcpu *vcpu, uint64_t type,
					gva_t gva);
enum kvm_exit_result kvm_task_switch(struct kvm_vcpu *vcpu, uint16_t selector,
				     int reason, bool has_error, uint32_t code);
enum kvm_exit_result kvm_handle_memory_failure(struct kvm_vcpu *vcpu, int r,
					       const struct x86_exception *e);
/* KVM_EXIT_INTERNAL_ERROR with up to 16 words of data. */
enum kvm_exit_result kvm_internal_error(struct kvm_vcpu *vcpu, unsigned suberror,
					unsigned n, const uint64_t *data);
int kvm_read_guest_virt(struct kvm_vcpu *vcpu, gva_t gva, void *val, unsigned n,
			struct x86_exception *e);
int kvm_write_guest_virt(struct kvm_vcpu *vcpu, gva_t gva, const void *val, unsigned n,
			 struct x86_exception *e);

/* --- time (tsc.c, clock.c) -------------------------------------------------------------------------- */

uint64_t kvm_read_l1_tsc(struct kvm_vcpu *vcpu, uint64_t host_tsc);
void kvm_write_tsc(struct kvm_vcpu *vcpu, uint64_t guest_tsc, bool host);
int kvm_set_tsc_khz(struct kvm_vcpu *vcpu, uint32_t khz);
void kvm_write_system_time(struct kvm_vcpu *vcpu, uint64_t msr_value);
void kvm_write_wall_clock(struct kvm *kvm, gpa_t gpa);
int kvm_guest_time_update(struct kvm_vcpu *vcpu);
uint64_t get_kvmclock_ns(struct kvm *kvm);
int kvm_vm_get_clock(struct kvm *kvm, struct kvm_clock_data *c);
int kvm_vm_set_clock(struct kvm *kvm, const struct kvm_clock_data *c);

#endif
