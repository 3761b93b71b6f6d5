/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: anonymous, private, not touched before the guest touches it.
 * Overcommit is left to the host's policy, so that a size the host could never
 * back is refused at the start and not by the OOM killer.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "layout.h"
#include "ram.h"

static bool add_range(struct guest_ram *ram, gpa_t gpa, uint64_t size)
{
	struct ram_range *r = &ram->range[ram->nr];
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	*r = (struct ram_range){ .gpa = gpa, .size = size, .hva = p };
	ram->nr++;
	return true;
}

bool ram_create(struct guest_ram *ram, uint64_t size, struct vmm_error *e)
{
	uint64_t low = MIN(size, RAM_HOLE_START);

	*ram = (struct guest_ram){ .size = size };
	if (size < RAM_MIN || size % PAGE_SIZE)
		return vmm_fail(e, "guest memory: at least 1 MiB, in whole pages");
	if (!add_range(ram, 0, low) ||
	    (size > low && !add_range(ram, RAM_HOLE_END, size - low))) {
		int err = errno;

		ram_destroy(ram);
		return vmm_fail(e, "cannot get %llu MiB of guest memory: %s",
				(unsigned long long)size >> 20, strerror(err));
	}
	return true;
}

void ram_destroy(struct guest_ram *ram)
{
	for (unsigned i = 0; i < ram->nr; i++)
		munmap(ram->range[i].hva, ram->range[i].size);
	ram->nr = 0;
}

void *ram_at(const struct guest_ram *ram, gpa_t gpa, uint64_t n)
{
	for (unsigned i = 0; i < ram->nr; i++) {
		const struct ram_range *r = &ram->range[i];

		if (gpa >= r->gpa && n <= r->size && gpa - r->gpa <= r->size - n)
			return r->hva + (gpa - r->gpa);
	}
	return NULL;
}

bool ram_write(const struct guest_ram *ram, gpa_t gpa, const void *src,
	       uint64_t n)
{
	void *dst = ram_at(ram, gpa, n);

	if (!dst)
		return false;
	memcpy(dst, src, n);
	return true;
}

gpa_t ram_low_top(const struct guest_ram *ram)
{
	return ram->range[0].size;
}

unsigned ram_map(const struct guest_ram *ram,
		 struct ram_map_entry map[RAM_MAP_MAX])
{
	unsigned n = 0;

	map[n++] = (struct ram_map_entry){ 0, EBDA_START, E820_KIND_RAM };
	map[n++] = (struct ram_map_entry){ EBDA_START, HIGH_MEMORY - EBDA_START,
					   E820_KIND_RESERVED };
	if (ram->range[0].size > HIGH_MEMORY)
		map[n++] = (struct ram_map_entry){
			HIGH_MEMORY, ram->range[0].size - HIGH_MEMORY,
			E820_KIND_RAM };
	if (ram->nr > 1)
		map[n++] = (struct ram_map_entry){
			ram->range[1].gpa, ram->range[1].size, E820_KIND_RAM };
	return n;
}
