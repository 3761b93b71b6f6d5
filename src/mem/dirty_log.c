/* SPDX-License-Identifier: MIT */
/*
 * The dirty log's two ioctls.
 *
 * A bit is set by whoever makes a page writable or writes to it, and cleared
 * here; a page whose bit is clear has no writable mapping once the ioctl has
 * returned. Hence the order: clear the bits, write-protect those pages, flush
 * all vCPUs, return. What is written in between finds the page still writable,
 * and its content is read by the client after the ioctl.
 *
 * slots_lock keeps the slot; the bitmap is atomic words. Bits travel to and from
 * the client in small pieces, without an allocation that the client could size.
 */
#include "base/access.h"
#include "mem/mem.h"

#define CHUNK_WORDS 64

int kvm_enable_manual_dirty_log_protect(struct kvm_mem *mem, uint64_t bits)
{
	uint64_t allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	if (bits & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		allowed |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (bits & ~allowed)
		return -EINVAL;
	pthread_mutex_lock(&mem->slots_lock);
	mem->manual_dirty_log_protect = bits;
	pthread_mutex_unlock(&mem->slots_lock);
	return 0;
}

/* slots_lock held. */
static int logged_slot(struct kvm_mem *mem, uint32_t number,
		       struct kvm_memory_slot **slot)
{
	uint16_t id = number, as_id = number >> 16;

	if (as_id >= KVM_MAX_NR_ADDRESS_SPACES || id >= KVM_USER_MEM_SLOTS)
		return -EINVAL;
	*slot = id_to_memslot(mem, id);
	return *slot && (*slot)->dirty_bitmap ? 0 : -ENOENT;
}

/* Clears what is set of @mask in word @i and protects those pages. */
static bool clear_word(struct kvm_mem *mem, struct kvm_memory_slot *slot,
		       uint64_t i, uint64_t mask, uint64_t *was)
{
	uint64_t *word = &slot->dirty_bitmap[i];

	*was = __atomic_load_n(word, __ATOMIC_SEQ_CST) & mask;
	if (!*was)
		return false;
	*was = __atomic_fetch_and(word, ~mask, __ATOMIC_SEQ_CST) & mask;
	mem->ops->write_protect_pt_masked(mem->opaque, slot, i * 64, *was);
	return true;
}

/* Copies the log out; @clear: takes it. *@flush: pages were protected. */
static int copy_log(struct kvm_mem *mem, struct kvm_memory_slot *slot,
		    char *to, bool clear, bool *flush)
{
	uint64_t buf[CHUNK_WORDS], words = (slot->npages + 63) / 64, i, n, k;

	for (i = 0; i < words; i += n, to += n * 8) {
		n = MIN(words - i, (uint64_t)CHUNK_WORDS);
		for (k = 0; k < n; k++) {
			if (!clear)
				buf[k] = __atomic_load_n(
					&slot->dirty_bitmap[i + k],
					__ATOMIC_SEQ_CST);
			else if (clear_word(mem, slot, i + k, ~0ull, &buf[k]))
				*flush = true;
		}
		if (host_copy_out(to, buf, n * 8))
			return -EFAULT;
	}
	return 0;
}

int kvm_get_dirty_log(struct kvm_mem *mem, const struct kvm_dirty_log *log)
{
	struct kvm_memory_slot *slot;
	bool flush = false;
	int r;

	pthread_mutex_lock(&mem->slots_lock);
	r = logged_slot(mem, log->slot, &slot);
	if (!r)
		r = copy_log(mem, slot, log->dirty_bitmap,
			     !mem->manual_dirty_log_protect, &flush);
	if (flush)
		mem->ops->flush_remote_tlbs(mem->opaque);
	pthread_mutex_unlock(&mem->slots_lock);
	return r;
}

/* A range begins at a multiple of 64 and ends at one, or at the slot's end. */
static bool bad_range(const struct kvm_memory_slot *slot,
		      const struct kvm_clear_dirty_log *log)
{
	uint64_t rest;

	if (log->first_page > slot->npages)
		return true;
	rest = slot->npages - log->first_page;
	return log->num_pages > rest || (log->num_pages < rest &&
					 log->num_pages % 64);
}

static int clear_log(struct kvm_mem *mem, struct kvm_memory_slot *slot,
		     const struct kvm_clear_dirty_log *log, bool *flush)
{
	uint64_t buf[CHUNK_WORDS], words = ((uint64_t)log->num_pages + 63) / 64;
	uint64_t first = log->first_page / 64, i, n, k, was;
	const char *from = log->dirty_bitmap;

	for (i = 0; i < words; i += n, from += n * 8) {
		n = MIN(words - i, (uint64_t)CHUNK_WORDS);
		if (host_copy_in(buf, from, n * 8))
			return -EFAULT;
		for (k = 0; k < n; k++) {
			if (clear_word(mem, slot, first + i + k, buf[k], &was))
				*flush = true;
		}
	}
	return 0;
}

int kvm_clear_dirty_log(struct kvm_mem *mem, const struct kvm_clear_dirty_log *log)
{
	struct kvm_memory_slot *slot;
	bool flush = false;
	int r;

	if (log->first_page % 64)
		return -EINVAL;
	pthread_mutex_lock(&mem->slots_lock);
	r = logged_slot(mem, log->slot, &slot);
	if (!r && bad_range(slot, log))
		r = -EINVAL;
	if (!r)
		r = clear_log(mem, slot, log, &flush);
	if (flush)
		mem->ops->flush_remote_tlbs(mem->opaque);
	pthread_mutex_unlock(&mem->slots_lock);
	return r;
}
