/* SPDX-License-Identifier: MIT */
/*
 * The set of memory slots: its changes, its lock, its look-up.
 *
 * sorted[] holds the slots by base_gfn without overlap, by_id[] the same ones by
 * number; both are allocated for the largest set at once, which costs address
 * space only. A change is prepared outside the slot lock (all that can fail:
 * checks, allocations), then made under the write lock in one go: unmap the old
 * slot, swap, advance the generation, tell the owner. A slot that changes is
 * replaced by a new object, so that callbacks see old and new side by side.
 *
 * The slot lock is a writer-preferring rwlock, so that many vCPUs that look
 * up slots without a pause cannot keep a writer out. Such a lock would deadlock a
 * reader that locks again while a writer waits; read_depth counts those instead.
 *
 * The order of the checks in kvm_set_memory_region() is part of the ABI: clients
 * probe for limits by the errno they get.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/mem.h"

/* The VM whose slot lock the thread holds for reading, and how often. */
static __thread struct {
	struct kvm_mem *mem;
	unsigned depth;
} reader;

void kvm_mem_read_lock(struct kvm_mem *mem)
{
	if (reader.mem == mem) {
		reader.depth++;
		return;
	}
	pthread_rwlock_rdlock(&mem->lock);
	if (!reader.mem) {
		reader.mem = mem;
		reader.depth = 1;
	}
}

void kvm_mem_read_unlock(struct kvm_mem *mem)
{
	if (reader.mem == mem) {
		if (--reader.depth)
			return;
		reader.mem = NULL;
	}
	pthread_rwlock_unlock(&mem->lock);
}

int kvm_mem_init(struct kvm_mem *mem, const struct kvm_mem_ops *ops,
		 void *opaque, unsigned maxphyaddr)
{
	pthread_rwlockattr_t attr;

	memset(mem, 0, sizeof(*mem));
	mem->ops = ops;
	mem->opaque = opaque;
	mem->max_gfn = (1ull << (maxphyaddr - PAGE_SHIFT)) - 1;
	mem->sorted = calloc(KVM_MEM_SLOTS_NUM, sizeof(*mem->sorted));
	mem->by_id = calloc(KVM_MEM_SLOTS_NUM, sizeof(*mem->by_id));
	if (!mem->sorted || !mem->by_id) {
		free(mem->sorted);
		free(mem->by_id);
		return -ENOMEM;
	}
	pthread_mutex_init(&mem->slots_lock, NULL);
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&mem->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return 0;
}

static void free_slot(struct kvm_memory_slot *slot, bool with_bitmap)
{
	if (with_bitmap)
		free(slot->dirty_bitmap);
	free(slot);
}

void kvm_mem_destroy(struct kvm_mem *mem)
{
	unsigned i;

	for (i = 0; i < mem->used; i++)
		free_slot(mem->sorted[i], true);
	free(mem->sorted);
	free(mem->by_id);
	pthread_rwlock_destroy(&mem->lock);
	pthread_mutex_destroy(&mem->slots_lock);
}

/* --- look-up ------------------------------------------------------------------ */

static bool slot_has(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

/* How many slots begin at or below @gfn. */
static unsigned nr_slots_up_to(const struct kvm_mem *mem, gfn_t gfn)
{
	unsigned lo = 0, hi = mem->used, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (mem->sorted[mid]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct kvm_memory_slot *gfn_to_memslot(struct kvm_mem *mem, gfn_t gfn)
{
	unsigned i = __atomic_load_n(&mem->last_used, __ATOMIC_RELAXED);

	if (i < mem->used && slot_has(mem->sorted[i], gfn))
		return mem->sorted[i];
	i = nr_slots_up_to(mem, gfn);
	if (!i || !slot_has(mem->sorted[i - 1], gfn))
		return NULL;
	__atomic_store_n(&mem->last_used, i - 1, __ATOMIC_RELAXED);
	return mem->sorted[i - 1];
}

struct kvm_memory_slot *id_to_memslot(struct kvm_mem *mem, unsigned id)
{
	return id < KVM_MEM_SLOTS_NUM ? mem->by_id[id] : NULL;
}

hva_t gfn_to_hva(struct kvm_mem *mem, gfn_t gfn)
{
	struct kvm_memory_slot *slot = gfn_to_memslot(mem, gfn);

	return slot ? gfn_to_hva_memslot(slot, gfn) : KVM_HVA_ERR_BAD;
}

hva_t gfn_to_hva_write(struct kvm_mem *mem, gfn_t gfn)
{
	struct kvm_memory_slot *slot = gfn_to_memslot(mem, gfn);

	if (!slot || slot->flags & KVM_MEM_READONLY)
		return KVM_HVA_ERR_BAD;
	return gfn_to_hva_memslot(slot, gfn);
}

/* --- changes -------------------------------------------------------------------- */

/* Everything that the arguments show by themselves. */
static int check_region(const struct kvm_userspace_memory_region *r,
			bool internal)
{
	uint16_t id = r->slot, as_id = r->slot >> 16;

	if (!internal && id >= KVM_USER_MEM_SLOTS)
		return -EINVAL;
	if (r->flags & ~(uint32_t)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if ((r->memory_size | r->guest_phys_addr | r->userspace_addr) &
	    ~PAGE_MASK)
		return -EINVAL;
	if (r->userspace_addr > KVM_HVA_MAX ||
	    r->memory_size > KVM_HVA_MAX - r->userspace_addr)
		return -EINVAL;
	if (as_id >= KVM_MAX_NR_ADDRESS_SPACES || id >= KVM_MEM_SLOTS_NUM)
		return -EINVAL;
	if (r->guest_phys_addr + r->memory_size < r->guest_phys_addr)
		return -EINVAL;
	if (id < KVM_USER_MEM_SLOTS &&
	    r->memory_size >> PAGE_SHIFT > KVM_MEM_MAX_NR_PAGES)
		return -EINVAL;
	return 0;
}

/* KVM_MR_*, 1: nothing to do ..., or -EINVAL. @old has pages. */
static int modification(const struct kvm_memory_slot *old,
			const struct kvm_memory_slot *new,
			enum kvm_mr_change *change)
{
	if (new->userspace_addr != old->userspace_addr ||
	    new->npages != old->npages ||
	    (new->flags ^ old->flags) & KVM_MEM_READONLY)
		return -EINVAL;
	if (new->base_gfn != old->base_gfn)
		*change = KVM_MR_MOVE;
	else if (new->flags != old->flags)
		*change = KVM_MR_FLAGS_ONLY;
	else
		return 1;
	return 0;
}

static bool overlaps(const struct kvm_mem *mem, const struct kvm_memory_slot *new)
{
	gfn_t end = new->base_gfn + new->npages;
	unsigned i = nr_slots_up_to(mem, new->base_gfn);
	const struct kvm_memory_slot *s;

	/* The one that begins before, its neighbours: one of them may be the
	 * slot that moves. */
	for (i -= MIN(i, 2u); i < mem->used; i++) {
		s = mem->sorted[i];
		if (s->base_gfn >= end)
			return false;
		if (s->id != new->id && s->base_gfn + s->npages > new->base_gfn)
			return true;
	}
	return false;
}

static void fill_bitmap(struct kvm_memory_slot *slot)
{
	uint64_t words = slot->npages / 64;

	memset(slot->dirty_bitmap, 0xff, words * 8);
	if (slot->npages % 64)
		slot->dirty_bitmap[words] = (1ull << slot->npages % 64) - 1;
}

/* The log of @new: none, @old's, or a fresh one. */
static int prepare_bitmap(const struct kvm_mem *mem,
			  const struct kvm_memory_slot *old,
			  struct kvm_memory_slot *new)
{
	if (!kvm_slot_dirty_track_enabled(new))
		return 0;
	if (old && old->dirty_bitmap) {
		new->dirty_bitmap = old->dirty_bitmap;
		return 0;
	}
	new->dirty_bitmap = calloc((new->npages + 63) / 64, 8);
	if (!new->dirty_bitmap)
		return -ENOMEM;
	if (kvm_dirty_log_manual_protect_and_init_set(mem))
		fill_bitmap(new);
	return 0;
}

static void remove_sorted(struct kvm_mem *mem, const struct kvm_memory_slot *slot)
{
	unsigned i = nr_slots_up_to(mem, slot->base_gfn) - 1;

	mem->used--;
	memmove(&mem->sorted[i], &mem->sorted[i + 1],
		(mem->used - i) * sizeof(*mem->sorted));
}

static void insert_sorted(struct kvm_mem *mem, struct kvm_memory_slot *slot)
{
	unsigned i = nr_slots_up_to(mem, slot->base_gfn);

	memmove(&mem->sorted[i + 1], &mem->sorted[i],
		(mem->used - i) * sizeof(*mem->sorted));
	mem->sorted[i] = slot;
	mem->used++;
}

/* The change itself; nothing fails from here on. Frees @old. */
static void kvm_set_memslot(struct kvm_mem *mem, struct kvm_memory_slot *old,
			    struct kvm_memory_slot *new,
			    enum kvm_mr_change change)
{
	const struct kvm_mem_ops *ops = mem->ops;

	pthread_rwlock_wrlock(&mem->lock);
	if (change == KVM_MR_DELETE || change == KVM_MR_MOVE)
		ops->flush_shadow_memslot(mem->opaque, old);
	if (old) {
		remove_sorted(mem, old);
		mem->by_id[old->id] = NULL;
		if (old->id < KVM_USER_MEM_SLOTS)
			mem->nr_pages -= old->npages;
	}
	if (new) {
		insert_sorted(mem, new);
		mem->by_id[new->id] = new;
		if (new->id < KVM_USER_MEM_SLOTS)
			mem->nr_pages += new->npages;
	}
	__atomic_store_n(&mem->generation, mem->generation + 1, __ATOMIC_RELEASE);
	if (ops->commit_memory_region)
		ops->commit_memory_region(mem->opaque, old, new, change);
	pthread_rwlock_unlock(&mem->lock);
	if (old)
		free_slot(old, !new || old->dirty_bitmap != new->dirty_bitmap);
}

static int delete_slot(struct kvm_mem *mem, struct kvm_memory_slot *old)
{
	if (!old)
		return -EINVAL;
	kvm_set_memslot(mem, old, NULL, KVM_MR_DELETE);
	return 0;
}

static int change_slot(struct kvm_mem *mem, struct kvm_memory_slot *old,
		       const struct kvm_memory_slot *want)
{
	enum kvm_mr_change change = KVM_MR_CREATE;
	struct kvm_memory_slot *new;
	int r;

	if (old) {
		r = modification(old, want, &change);
		if (r)
			return MIN(r, 0);
	}
	if (change != KVM_MR_FLAGS_ONLY && overlaps(mem, want))
		return -EEXIST;
	if (want->base_gfn + want->npages - 1 > mem->max_gfn)
		return -EINVAL;
	new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = *want;
	r = prepare_bitmap(mem, old, new);
	if (r) {
		free(new);
		return r;
	}
	kvm_set_memslot(mem, old, new, change);
	return 0;
}

int kvm_set_memory_region(struct kvm_mem *mem,
			  const struct kvm_userspace_memory_region *r,
			  bool internal)
{
	const struct kvm_memory_slot want = {
		.base_gfn = r->guest_phys_addr >> PAGE_SHIFT,
		.npages = r->memory_size >> PAGE_SHIFT,
		.userspace_addr = r->userspace_addr,
		.flags = r->flags,
		.id = r->slot,
	};
	struct kvm_memory_slot *old;
	int ret = check_region(r, internal);

	if (ret)
		return ret;
	pthread_mutex_lock(&mem->slots_lock);
	old = mem->by_id[want.id];
	if (want.npages)
		ret = change_slot(mem, old, &want);
	else
		ret = delete_slot(mem, old);
	pthread_mutex_unlock(&mem->slots_lock);
	return ret;
}
