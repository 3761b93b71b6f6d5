/* SPDX-License-Identifier: MIT */
/* A file in memory, with reads that cannot leave it. Files are hostile. */
#ifndef ANYKVM_VMM_IMAGE_H
#define ANYKVM_VMM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "error.h"

struct image {
	const char *name;
	uint8_t *data;
	size_t size;
};

/* Reads the whole file (at most 2 GiB). False: @e has the line. */
bool image_read(struct image *img, const char *path, struct vmm_error *e);
void image_free(struct image *img);

/* [@off, @off + @n), or NULL when any of it lies outside. */
const void *image_at(const struct image *img, uint64_t off, uint64_t n);

/* Copies them to @dst (a file's structures have any alignment); false: outside. */
bool image_copy(const struct image *img, uint64_t off, void *dst, size_t n);

/* Little-endian reads; 0 outside the file. */
uint16_t image_u16(const struct image *img, uint64_t off);
uint32_t image_u32(const struct image *img, uint64_t off);
uint64_t image_u64(const struct image *img, uint64_t off);

#endif
