/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's page tables: two-dimensional ones (TDP) in EPT or in long-mode
 * (NPT) format, built from memslots on demand; and walks of the guest's own
 * tables for emulation and KVM_TRANSLATE.
 *
 * Two objects:
 *   struct kvm_mmu_vm	embedded in struct kvm: mmu_lock, the pool of shadow
 *			pages, the roots. One root per role, shared by all vCPUs.
 *   struct kvm_mmu	embedded in struct kvm_vcpu: which root it runs on, and how
 *			its faults are handled.
 *
 * Tables are real tables: page-aligned host memory whose "physical" address is its
 * virtual one, read by the silicon while we change them. Every SPTE is written
 * by one 64-bit store. A and D bits are set in advance, so the silicon has no
 * reason to write to the tables.
 *
 * The silicon must walk them with a physical-address width of KVM_MMU_HOST_PHYS
 * bits: host addresses need 47 bits, and MMIO SPTEs of NPT rely on bit 51 being
 * reserved.
 *
 * Locks: the slot lock (mem/mem.h) outside, mmu_lock inside. Functions take
 * mmu_lock themselves.
 */
#ifndef ANYKVM_MMU_MMU_H
#define ANYKVM_MMU_MMU_H

#include <pthread.h>

#include "base/list.h"
#include "base/types.h"
#include "mem/mem.h"
#include "paging/paging.h"
#include "x86/regs.h"

#define KVM_MMU_HOST_PHYS	51

#define PG_LEVEL_4K		1
#define PG_LEVEL_2M		2
#define PG_LEVEL_1G		3
#define PT64_ROOT_4LEVEL	4
#define PT64_ROOT_5LEVEL	5

#define KVM_PAGES_PER_HPAGE(level) (1ull << (((level) - 1) * 9))

/* What a set of tables is for. Shadow paging will need more bits of it. */
union kvm_mmu_page_role {
	uint32_t word;
	struct {
		uint32_t level:4;	/* of the table; of a root: levels */
		uint32_t ept:1;		/* EPT PTEs, else long-mode ones */
		uint32_t direct:1;	/* maps gfns, not a guest table */
		uint32_t smm:1;
		uint32_t invalid:1;	/* zapped, waiting to be freed */
		uint32_t unused:24;	/* named, so that it is initialised */
	};
};

/* Outcome of a page fault. */
enum kvm_pf_result {
	RET_PF_RETRY,		/* run the guest again */
	RET_PF_EMULATE,		/* MMIO: emulate the instruction */
	RET_PF_INVALID,		/* stale MMIO SPTE (only inside mmu/) */
	RET_PF_FIXED,		/* mapped; run the guest again */
	RET_PF_SPURIOUS,	/* was mapped already; run the guest again */
	RET_PF_ERROR,		/* fault->err, -errno, is KVM_RUN's result */
};

struct kvm_page_fault {
	/* [IN] */
	gpa_t addr;
	bool write, exec, user;
	bool present;		/* a translation was there, the right was not */
	bool rsvd;		/* EPT misconfiguration; NPF with RSVD set */
	/* [OUT] */
	gfn_t gfn;
	uint8_t goal_level;	/* of the mapping made */
	bool mmio_cached;	/* RET_PF_EMULATE by an MMIO SPTE that was there */
	bool mmio_created;	/* ... by one that was made now */
	bool readonly_slot;	/* RET_PF_EMULATE: write to a read-only slot */
	int err;		/* RET_PF_ERROR: -EFAULT, -ENOMEM */
	hva_t hva;		/* host address, when there is a slot; for -EFAULT
				 * the address that is not accessible */
};

/* Upcalls, @opaque as given to kvm_mmu_vm_init. NULL members do nothing. */
struct kvm_mmu_ops {
	/*
	 * On return no processor uses a translation, or is in a walk, from
	 * before the call: all vCPUs' flush requests are set, and those in guest
	 * mode have left it. Called with mmu_lock held (and perhaps the slot
	 * lock, for writing), from any thread, a vCPU's own included. Must
	 * not wait for a vCPU that is outside guest mode.
	 */
	void (*flush_remote_tlbs)(void *opaque);
};

struct kvm_mmu_vm_config {
	bool ept;		/* EPT tables, else NPT */
	uint8_t root_level;	/* 4 or 5 */
	uint8_t max_level;	/* largest page: PG_LEVEL_*; 0: 1G */
	bool mmio_caching;	/* make MMIO SPTEs */
	uint64_t max_pages;	/* bound of the pool; 0: default */
};

struct kvm_mmu_vm_stat {
	uint64_t mmu_cache_miss;	/* shadow pages allocated, ever */
	uint64_t mmu_shadow_zapped;	/* ... and freed */
	uint64_t remote_tlb_flush;
	uint64_t pages_4k, pages_2m, pages_1g;	/* leaf SPTEs now */
};

struct kvm_spte_format;
struct kvm_mmu_chunk;

struct kvm_mmu_vm {
	struct kvm_mem *mem;
	const struct kvm_mmu_ops *ops;
	void *opaque;
	struct kvm_mmu_vm_config cfg;
	const struct kvm_spte_format *format;

	pthread_mutex_t mmu_lock;
	struct list_head roots;		/* struct kvm_mmu_page */
	struct list_head invalid;	/* zapped, freed after a flush */
	struct list_head chunks, free;	/* the pool */
	uint64_t nr_chunks, nr_used, max_pages;
	struct kvm_mmu_vm_stat stat;
};

/*
 * The vCPU's register state that a guest walk depends on. @pdptrs: the four
 * PDPTEs under PAE paging, NULL to read them from memory.
 */
struct kvm_mmu_regs {
	uint64_t cr0, cr3, cr4, efer, rflags;
	uint8_t  cpl;
	uint8_t  maxphyaddr;	/* the guest's */
	bool     gbpages;	/* the guest's CPUID has 1-GiB pages */
	uint32_t pkru, pkrs;
	const uint64_t *pdptrs;
};

struct kvm_mmu {
	struct kvm_mmu_vm *vm;
	union kvm_mmu_page_role root_role;
	hpa_t root_hpa;			/* INVALID_HPA: none loaded */
	enum kvm_pf_result (*page_fault)(struct kvm_mmu *mmu,
					 struct kvm_page_fault *fault);
	gpa_t (*gva_to_gpa)(struct kvm_mmu *mmu, const struct kvm_mmu_regs *regs,
			    gva_t gva, uint32_t access,
			    struct x86_exception *e);
};

/* --- the VM's part --------------------------------------------------------------- */

/* 0, -EINVAL for a config that makes no sense, -ENOMEM. */
int kvm_mmu_vm_init(struct kvm_mmu_vm *vm, struct kvm_mem *mem,
		    const struct kvm_mmu_ops *ops, void *opaque,
		    const struct kvm_mmu_vm_config *cfg);
/* All vCPUs are gone. */
void kvm_mmu_vm_destroy(struct kvm_mmu_vm *vm);

/* KVM_SET_NR_MMU_PAGES: at least 64 (KVM_MIN_ALLOC_MMU_PAGES). -EINVAL. */
int kvm_mmu_change_mmu_pages(struct kvm_mmu_vm *vm, uint64_t pages);

/* Removes every mapping of gfns in [start, end); all roots. Flushes. */
void kvm_mmu_zap_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end);
void kvm_mmu_zap_all(struct kvm_mmu_vm *vm);
/* Write-protects what is mapped of [start, end); large mappings that overlap it
 * as a whole: the next write splits them while the slot is logged. Flushes. */
void kvm_mmu_wrprot_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end);
/* Dirty logging ended: small mappings that could be large are removed, the next
 * faults map them large. Flushes. */
void kvm_mmu_zap_collapsible_sptes(struct kvm_mmu_vm *vm,
				   const struct kvm_memory_slot *slot);

/*
 * kvm_mem_ops for a VM with these tables; the owner's callbacks pass its
 * struct kvm_mmu_vm. kvm_mmu_write_protect_pt_masked does not flush.
 */
void kvm_mmu_flush_shadow_memslot(struct kvm_mmu_vm *vm,
				  const struct kvm_memory_slot *slot);
void kvm_mmu_commit_memory_region(struct kvm_mmu_vm *vm,
				  const struct kvm_memory_slot *old,
				  const struct kvm_memory_slot *new,
				  enum kvm_mr_change change);
void kvm_mmu_write_protect_pt_masked(struct kvm_mmu_vm *vm,
				     const struct kvm_memory_slot *slot,
				     uint64_t offset, uint64_t mask);

/* --- a vCPU's part ---------------------------------------------------------------- */

void kvm_mmu_init(struct kvm_mmu *mmu, struct kvm_mmu_vm *vm);
/* Takes the VM's root: root_hpa is valid on 0. -ENOMEM. Cheap when loaded. */
int kvm_mmu_load(struct kvm_mmu *mmu);
void kvm_mmu_unload(struct kvm_mmu *mmu);

/*
 * A two-dimensional fault of the guest: EPT violation, EPT misconfiguration
 * (fault->rsvd), nested page fault. The vCPU is outside guest mode, holds
 * neither lock, and has loaded its root.
 *
 * FIXED/SPURIOUS/RETRY: enter again. EMULATE: no slot is there, or it is a write
 * to a read-only slot. ERROR: fault->err; -EFAULT when the host's memory cannot
 * be accessed the way the guest wants to.
 */
enum kvm_pf_result kvm_mmu_page_fault(struct kvm_mmu *mmu,
				      struct kvm_page_fault *fault);
/* The same for a fault that is known not to be on an MMIO SPTE. */
enum kvm_pf_result kvm_tdp_page_fault(struct kvm_mmu *mmu,
				      struct kvm_page_fault *fault);

/* The EPT pointer for this root (memory type WB, walk length; no A/D). NPT: the
 * root's address is nCR3 as it is. */
uint64_t kvm_mmu_eptp(const struct kvm_mmu *mmu);

/* --- the guest's own tables --------------------------------------------------------- */

/* Besides PAGING_READ/WRITE/EXEC/USER in @access below: do not set A/D bits. */
#define KVM_GVA_PROBE	BIT(8)
/* Supervisor access whatever the CPL, subject to SMAP whatever EFLAGS.AC
 * (descriptor tables, TSS). */
#define KVM_GVA_IMPLICIT BIT(9)

/*
 * Translates @gva for an access of kind @access (PAGING_*); PAGING_USER must be
 * given by the caller where the access is a user-mode one. INVALID_GPA: @e holds
 * the #PF. Guest tables that lie outside memory fault as not present. Linear
 * addresses are not checked to be canonical. Takes the slot lock.
 */
gpa_t kvm_mmu_gva_to_gpa(struct kvm_mmu *mmu, const struct kvm_mmu_regs *regs,
			 gva_t gva, uint32_t access, struct x86_exception *e);
/* The variants of KVM: privilege from regs->cpl; _system: supervisor, probe. */
gpa_t kvm_mmu_gva_to_gpa_read(struct kvm_mmu *mmu,
			      const struct kvm_mmu_regs *regs, gva_t gva,
			      struct x86_exception *e);
gpa_t kvm_mmu_gva_to_gpa_write(struct kvm_mmu *mmu,
			       const struct kvm_mmu_regs *regs, gva_t gva,
			       struct x86_exception *e);
gpa_t kvm_mmu_gva_to_gpa_fetch(struct kvm_mmu *mmu,
			       const struct kvm_mmu_regs *regs, gva_t gva,
			       struct x86_exception *e);
gpa_t kvm_mmu_gva_to_gpa_system(struct kvm_mmu *mmu,
				const struct kvm_mmu_regs *regs, gva_t gva,
				struct x86_exception *e);

#endif
