/* SPDX-License-Identifier: MIT */
/*
 * The port space: devices claim ranges, exits look them up. Nothing is mapped at
 * memory addresses: MMIO reads give all ones and writes go nowhere.
 */
#ifndef ANYKVM_VMM_BUS_H
#define ANYKVM_VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Handlers get the offset into their range and one access of @size (1, 2 or 4)
 * bytes that does not leave the range. A byte-wide device is given bytes only:
 * wider accesses are split. The caller holds the bus's lock.
 */
struct io_device {
	uint16_t base, len;
	bool byte_wide;
	uint32_t (*in)(void *opaque, uint16_t off, unsigned size);
	void (*out)(void *opaque, uint16_t off, uint32_t value, unsigned size);
	void *opaque;
};

#define BUS_DEVICES_MAX 24

struct bus {
	unsigned nr;
	struct io_device dev[BUS_DEVICES_MAX];
};

/* Ranges must not overlap; false when they do or the table is full. */
bool bus_add(struct bus *bus, const struct io_device *dev);

/* One access of @size (1, 2, 4) bytes at @data. Unclaimed: all ones, ignored. */
void bus_in(struct bus *bus, uint16_t port, void *data, unsigned size);
void bus_out(struct bus *bus, uint16_t port, const void *data, unsigned size);

#endif
