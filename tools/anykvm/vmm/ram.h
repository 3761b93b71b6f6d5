/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as the VMM sees it: at most two ranges, one from 0 up to
 * the hole below 4 GiB, one from 4 GiB. Everything the VMM reads or writes there
 * goes through ram_at(), which refuses what is not wholly inside a range.
 */
#ifndef ANYKVM_VMM_RAM_H
#define ANYKVM_VMM_RAM_H

#include <stdbool.h>
#include <stdint.h>
#include "base/types.h"
#include "error.h"

#define RAM_HOLE_START	0xc0000000ull	/* devices live from here to 4 GiB */
#define RAM_HOLE_END	0x100000000ull
#define RAM_MIN		0x100000ull

struct ram_range {
	gpa_t gpa;
	uint64_t size;
	uint8_t *hva;
};

struct guest_ram {
	uint64_t size;
	unsigned nr;
	struct ram_range range[2];
};

/* Address ranges as a BIOS reports them; types as ACPI numbers them. */
enum e820_kind { E820_KIND_RAM = 1, E820_KIND_RESERVED = 2 };

struct ram_map_entry {
	gpa_t start;
	uint64_t size;
	enum e820_kind kind;
};

#define RAM_MAP_MAX 4

/*
 * Gets @size bytes (a multiple of the page size, at least RAM_MIN). False: the
 * host has no such memory; @e says so.
 */
bool ram_create(struct guest_ram *ram, uint64_t size, struct vmm_error *e);
void ram_destroy(struct guest_ram *ram);

/* Host address of [@gpa, @gpa + @n), or NULL when any of it is not RAM. */
void *ram_at(const struct guest_ram *ram, gpa_t gpa, uint64_t n);

/* Copies in; false when it does not fit. */
bool ram_write(const struct guest_ram *ram, gpa_t gpa, const void *src,
	       uint64_t n);

/* First address past the RAM below the hole. */
gpa_t ram_low_top(const struct guest_ram *ram);

/* Fills @map; how many entries. The BIOS area below 1 MiB is reserved. */
unsigned ram_map(const struct guest_ram *ram,
		 struct ram_map_entry map[RAM_MAP_MAX]);

#endif
