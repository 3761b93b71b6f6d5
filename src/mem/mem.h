/* SPDX-License-Identifier: MIT */
/*
 * Memory slots: which guest-physical addresses are the client's memory, and what
 * of it has been written.
 *
 * struct kvm_mem is embedded in struct kvm. It knows nothing of SPTEs, vCPUs or
 * exits: what must happen elsewhere when slots change goes through kvm_mem_ops.
 *
 * Locks, outermost first:
 *   slots_lock	(here) serialises everything that changes slots or their dirty
 *		bitmaps: the ioctls. Taken by the functions, not by callers.
 *   the slot lock (here) is held for reading by whoever uses a slot
 *		(kvm_mem_read_lock), for writing while the set of slots changes.
 *   mmu_lock	(mmu/) is taken by the callbacks, inside both.
 *
 * The slot lock: readers of one thread may nest, for one VM at a time. A waiting
 * writer goes first, so vCPUs cannot starve it. It may be held while guest
 * memory is touched (which may block in a userfaultfd, as under KVM's SRCU), but
 * not while guest code runs, in KVM_RUN's sleep, or across a return to the client.
 */
#ifndef ANYKVM_MEM_MEM_H
#define ANYKVM_MEM_MEM_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/types.h"

/* Slots for the client: KVM_CAP_NR_MEMSLOTS. Three more ids are the owner's. */
#define KVM_USER_MEM_SLOTS	32764u
#define KVM_INTERNAL_MEM_SLOTS	3u
#define KVM_MEM_SLOTS_NUM	(KVM_USER_MEM_SLOTS + KVM_INTERNAL_MEM_SLOTS)
#define KVM_MEM_MAX_NR_PAGES	((1ull << 31) - 1)
/* KVM_CAP_MULTI_ADDRESS_SPACE's one. */
#define KVM_MAX_NR_ADDRESS_SPACES 1

#define KVM_HVA_ERR_BAD		(~(hva_t)0)
/* No mapping of a 64-bit process ends above this (4-level host tables). */
#define KVM_HVA_MAX		((1ull << 47) - PAGE_SIZE)

struct kvm_memory_slot {
	gfn_t base_gfn;
	uint64_t npages;
	hva_t userspace_addr;
	uint32_t flags;			/* KVM_MEM_* */
	uint16_t id;
	uint64_t *dirty_bitmap;		/* bit per page, atomic; NULL: no log */
};

/* What happens to a slot. */
enum kvm_mr_change { KVM_MR_CREATE, KVM_MR_DELETE, KVM_MR_MOVE, KVM_MR_FLAGS_ONLY };

/*
 * Upcalls. @opaque is kvm_mem_init()'s. All but flush_remote_tlbs are called
 * with slots_lock held and the slot lock held as told; none may call back into
 * a function that takes slots_lock.
 */
struct kvm_mem_ops {
	/*
	 * @slot is about to be deleted or moved: on return no vCPU uses a
	 * translation into it, and none can be made (the slot lock is held for
	 * writing until the new set stands).
	 */
	void (*flush_shadow_memslot)(void *opaque,
				     const struct kvm_memory_slot *slot);
	/*
	 * The change has been made, slot lock held for writing. @old is NULL on
	 * CREATE, @new on DELETE. FLAGS_ONLY: start or end of dirty logging.
	 * The generation has been advanced; when it wraps within the bits that
	 * MMIO SPTEs keep of it, they must go. May be NULL.
	 */
	void (*commit_memory_region)(void *opaque,
				     const struct kvm_memory_slot *old,
				     const struct kvm_memory_slot *new,
				     enum kvm_mr_change change);
	/*
	 * Makes pages base_gfn + @offset + n, for each bit n of @mask, trap at
	 * the next write. No slot lock (slots_lock keeps @slot).
	 */
	void (*write_protect_pt_masked)(void *opaque,
					const struct kvm_memory_slot *slot,
					uint64_t offset, uint64_t mask);
	/* On return no vCPU uses a translation from before the call. */
	void (*flush_remote_tlbs)(void *opaque);
	/* [@at, @at + @len), inside a page, has been written by kvm_write_guest() and
	 * the like: it may have been code. Slot lock held. May be NULL. */
	void (*memory_written)(void *opaque, hva_t at, unsigned len);
};

struct kvm_mem {
	pthread_mutex_t slots_lock;
	pthread_rwlock_t lock;
	const struct kvm_mem_ops *ops;
	void *opaque;
	gfn_t max_gfn;			/* highest that a slot may hold */
	uint64_t generation;		/* of the set of slots */
	uint64_t nr_pages;		/* of all client slots */
	/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument: KVM_DIRTY_LOG_*. */
	uint64_t manual_dirty_log_protect;
	unsigned used, last_used;	/* sorted[]'s length; a hint */
	struct kvm_memory_slot **sorted; /* by base_gfn */
	struct kvm_memory_slot **by_id;	/* KVM_MEM_SLOTS_NUM */
};

/*
 * @maxphyaddr: guest-physical width that slots may use. 0 or -ENOMEM.
 * kvm_mem_destroy() calls no callbacks: the owner has torn down its tables.
 */
int kvm_mem_init(struct kvm_mem *mem, const struct kvm_mem_ops *ops,
		 void *opaque, unsigned maxphyaddr);
void kvm_mem_destroy(struct kvm_mem *mem);

/*
 * KVM_SET_USER_MEMORY_REGION: create, move, change flags of, or (size 0) delete a
 * slot. @internal: the owner's own slots, ids from KVM_USER_MEM_SLOTS on.
 * Everything but id, address, size, userspace_addr and flags must be checked by
 * the caller (guest_memfd: there is none). Returns 0, -EINVAL, -EEXIST, -ENOMEM;
 * on failure nothing has changed.
 */
int kvm_set_memory_region(struct kvm_mem *mem,
			  const struct kvm_userspace_memory_region *r,
			  bool internal);

/* --- readers ------------------------------------------------------------------ */

void kvm_mem_read_lock(struct kvm_mem *mem);
void kvm_mem_read_unlock(struct kvm_mem *mem);

/*
 * The slot with @gfn, or NULL. Slot lock held; the result is valid until it is
 * released.
 */
struct kvm_memory_slot *gfn_to_memslot(struct kvm_mem *mem, gfn_t gfn);
struct kvm_memory_slot *id_to_memslot(struct kvm_mem *mem, unsigned id);

/* Address of @gfn's page for reading / for writing (a read-only slot has none),
 * or KVM_HVA_ERR_BAD. Slot lock held, or the address may go stale. */
hva_t gfn_to_hva(struct kvm_mem *mem, gfn_t gfn);
hva_t gfn_to_hva_write(struct kvm_mem *mem, gfn_t gfn);

static inline hva_t gfn_to_hva_memslot(const struct kvm_memory_slot *slot,
				       gfn_t gfn)
{
	return slot->userspace_addr + ((gfn - slot->base_gfn) << PAGE_SHIFT);
}

/*
 * Copies of guest memory; take the slot lock themselves. 0, or -EFAULT: no slot,
 * a read-only slot (writes), or host memory that is not there; a part may have
 * been copied. Writes mark pages dirty.
 */
int kvm_read_guest(struct kvm_mem *mem, gpa_t gpa, void *data, size_t len);
int kvm_write_guest(struct kvm_mem *mem, gpa_t gpa, const void *data,
		    size_t len);
/* Within one page: @offset + @len <= PAGE_SIZE. */
int kvm_read_guest_page(struct kvm_mem *mem, gfn_t gfn, void *data,
			unsigned offset, unsigned len);
int kvm_write_guest_page(struct kvm_mem *mem, gfn_t gfn, const void *data,
			 unsigned offset, unsigned len);
int kvm_clear_guest(struct kvm_mem *mem, gpa_t gpa, size_t len);
/*
 * A naturally aligned 4- or 8-byte entry of a guest structure, one host access
 * each. cmpxchg: *@done tells whether *@gpa was @old and is @new now; -EROFS for
 * a read-only slot.
 */
int kvm_read_guest_entry(struct kvm_mem *mem, gpa_t gpa, unsigned bytes,
			 uint64_t *val);
int kvm_cmpxchg_guest_entry(struct kvm_mem *mem, gpa_t gpa, unsigned bytes,
			    uint64_t old, uint64_t new, bool *done);

/* Sets the page's bit if its slot keeps a log. mark_page_dirty takes the slot
 * lock; the other wants it held. After the write, never before. */
void mark_page_dirty(struct kvm_mem *mem, gfn_t gfn);
void mark_page_dirty_in_slot(struct kvm_memory_slot *slot, gfn_t gfn);

/* Advances with every change of slots; slot lock held to compare safely. */
static inline uint64_t kvm_mem_generation(const struct kvm_mem *mem)
{
	return __atomic_load_n(&mem->generation, __ATOMIC_RELAXED);
}

static inline bool kvm_slot_dirty_track_enabled(const struct kvm_memory_slot *s)
{
	return s->flags & KVM_MEM_LOG_DIRTY_PAGES;
}

static inline bool
kvm_dirty_log_manual_protect_and_init_set(const struct kvm_mem *mem)
{
	return mem->manual_dirty_log_protect & KVM_DIRTY_LOG_INITIALLY_SET;
}

/* --- dirty log ---------------------------------------------------------------- */

/*
 * KVM_ENABLE_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2). -EINVAL for other bits, or
 * INITIALLY_SET without MANUAL_PROTECT_ENABLE.
 */
int kvm_enable_manual_dirty_log_protect(struct kvm_mem *mem, uint64_t bits);

/*
 * KVM_GET_DIRTY_LOG: copies the bitmap of log->slot to the client's
 * log->dirty_bitmap (a bit per page, rounded up to 64 pages); unless manual
 * protection is on also clears it and write-protects the pages. -EINVAL, -ENOENT
 * (no such slot, or no log), -ENOMEM, -EFAULT.
 */
int kvm_get_dirty_log(struct kvm_mem *mem, const struct kvm_dirty_log *log);
/* KVM_CLEAR_DIRTY_LOG: -EINVAL for ranges, -ENOENT, -ENOMEM, -EFAULT. */
int kvm_clear_dirty_log(struct kvm_mem *mem, const struct kvm_clear_dirty_log *log);

#endif
