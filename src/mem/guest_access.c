/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing guest memory by guest-physical address.
 *
 * Each function takes the slot lock for as long as it touches memory, so that a
 * slot that is deleted meanwhile is not written to after the ioctl has returned.
 * Host memory may be missing at any time: base/access.h turns that into -EFAULT.
 * Writes set the dirty bit after the data, as whoever clears the bit first and
 * copies the page then must not lose the write.
 *
 * No callbacks: pages that are read or written here need no SPTE.
 */
#include "base/access.h"
#include "mem/mem.h"

void mark_page_dirty_in_slot(struct kvm_memory_slot *slot, gfn_t gfn)
{
	uint64_t rel = gfn - slot->base_gfn, bit = 1ull << rel % 64;
	uint64_t *word;

	if (!slot->dirty_bitmap)
		return;
	word = &slot->dirty_bitmap[rel / 64];
	if (!(__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit))
		__atomic_or_fetch(word, bit, __ATOMIC_SEQ_CST);
}

void mark_page_dirty(struct kvm_mem *mem, gfn_t gfn)
{
	struct kvm_memory_slot *slot;

	kvm_mem_read_lock(mem);
	slot = gfn_to_memslot(mem, gfn);
	if (slot)
		mark_page_dirty_in_slot(slot, gfn);
	kvm_mem_read_unlock(mem);
}

/* Slot lock held. The host address of a page, NULL: not to be had. */
static void *page_ptr(struct kvm_mem *mem, gfn_t gfn, bool write,
		      struct kvm_memory_slot **slot)
{
	*slot = gfn_to_memslot(mem, gfn);
	if (!*slot || (write && (*slot)->flags & KVM_MEM_READONLY))
		return NULL;
	return (void *)(uintptr_t)gfn_to_hva_memslot(*slot, gfn);
}

int kvm_read_guest_page(struct kvm_mem *mem, gfn_t gfn, void *data,
			unsigned offset, unsigned len)
{
	struct kvm_memory_slot *slot;
	int r = -EFAULT;
	char *p;

	kvm_mem_read_lock(mem);
	p = page_ptr(mem, gfn, false, &slot);
	if (p)
		r = host_copy_in(data, p + offset, len);
	kvm_mem_read_unlock(mem);
	return r;
}

static void written(struct kvm_mem *mem, struct kvm_memory_slot *slot, gfn_t gfn,
		    const void *at, unsigned len)
{
	mark_page_dirty_in_slot(slot, gfn);
	if (mem->ops->memory_written)
		mem->ops->memory_written(mem->opaque, (uintptr_t)at, len);
}

/* @data NULL: zeros. */
static int write_page(struct kvm_mem *mem, gfn_t gfn, const void *data,
		      unsigned offset, unsigned len)
{
	struct kvm_memory_slot *slot;
	int r = -EFAULT;
	char *p;

	kvm_mem_read_lock(mem);
	p = page_ptr(mem, gfn, true, &slot);
	if (p) {
		r = data ? host_copy_out(p + offset, data, len)
			 : host_fill(p + offset, 0, len);
		written(mem, slot, gfn, p + offset, len);
	}
	kvm_mem_read_unlock(mem);
	return r;
}

int kvm_write_guest_page(struct kvm_mem *mem, gfn_t gfn, const void *data,
			 unsigned offset, unsigned len)
{
	return write_page(mem, gfn, data, offset, len);
}

int kvm_read_guest(struct kvm_mem *mem, gpa_t gpa, void *data, size_t len)
{
	unsigned offset, n;
	char *p = data;
	int r;

	for (; len; len -= n, gpa += n, p += n) {
		offset = gpa & ~PAGE_MASK;
		n = MIN(len, PAGE_SIZE - offset);
		r = kvm_read_guest_page(mem, gpa >> PAGE_SHIFT, p, offset, n);
		if (r)
			return r;
	}
	return 0;
}

int kvm_write_guest(struct kvm_mem *mem, gpa_t gpa, const void *data, size_t len)
{
	const char *p = data;
	unsigned offset, n;
	int r;

	for (; len; len -= n, gpa += n, p += n) {
		offset = gpa & ~PAGE_MASK;
		n = MIN(len, PAGE_SIZE - offset);
		r = write_page(mem, gpa >> PAGE_SHIFT, p, offset, n);
		if (r)
			return r;
	}
	return 0;
}

int kvm_clear_guest(struct kvm_mem *mem, gpa_t gpa, size_t len)
{
	unsigned offset, n;
	int r;

	for (; len; len -= n, gpa += n) {
		offset = gpa & ~PAGE_MASK;
		n = MIN(len, PAGE_SIZE - offset);
		r = write_page(mem, gpa >> PAGE_SHIFT, NULL, offset, n);
		if (r)
			return r;
	}
	return 0;
}

static int read_entry(const void *p, unsigned bytes, uint64_t *val)
{
	uint32_t v;
	int r;

	if (bytes == 8)
		return host_read_64(p, val);
	r = host_read_32(p, &v);
	if (!r)
		*val = v;
	return r;
}

int kvm_read_guest_entry(struct kvm_mem *mem, gpa_t gpa, unsigned bytes,
			 uint64_t *val)
{
	struct kvm_memory_slot *slot;
	int r = -EFAULT;
	char *p;

	kvm_mem_read_lock(mem);
	p = page_ptr(mem, gpa >> PAGE_SHIFT, false, &slot);
	if (p)
		r = read_entry(p + (gpa & ~PAGE_MASK), bytes, val);
	kvm_mem_read_unlock(mem);
	return r;
}

static int cmpxchg_entry(void *p, unsigned bytes, uint64_t old, uint64_t new,
			 bool *done)
{
	uint32_t old32 = old;

	if (bytes == 8)
		return host_cmpxchg_64(p, &old, new, done);
	return host_cmpxchg_32(p, &old32, new, done);
}

int kvm_cmpxchg_guest_entry(struct kvm_mem *mem, gpa_t gpa, unsigned bytes,
			    uint64_t old, uint64_t new, bool *done)
{
	struct kvm_memory_slot *slot;
	int r = -EFAULT;
	char *p;

	kvm_mem_read_lock(mem);
	p = page_ptr(mem, gpa >> PAGE_SHIFT, true, &slot);
	if (!p && slot)
		r = -EROFS;
	if (p) {
		p += gpa & ~PAGE_MASK;
		r = cmpxchg_entry(p, bytes, old, new, done);
		if (!r && *done)
			written(mem, slot, gpa >> PAGE_SHIFT, p, bytes);
	}
	kvm_mem_read_unlock(mem);
	return r;
}
