/* SPDX-License-Identifier: MIT */
/*
 * Port look-up: a handful of ranges, searched in order. An access that begins
 * in a range and leaves it is done byte by byte, each byte where it belongs.
 */
#include <string.h>
#include "bus.h"

bool bus_add(struct bus *bus, const struct io_device *dev)
{
	if (bus->nr == BUS_DEVICES_MAX)
		return false;
	for (unsigned i = 0; i < bus->nr; i++)
		if (dev->base < bus->dev[i].base + bus->dev[i].len &&
		    bus->dev[i].base < dev->base + dev->len)
			return false;
	bus->dev[bus->nr++] = *dev;
	return true;
}

static const struct io_device *find(const struct bus *bus, uint16_t port)
{
	for (unsigned i = 0; i < bus->nr; i++)
		if (port >= bus->dev[i].base &&
		    port - bus->dev[i].base < bus->dev[i].len)
			return &bus->dev[i];
	return NULL;
}

static bool takes_whole(const struct io_device *d, uint16_t port, unsigned size)
{
	return d && size <= 4 && (size == 1 || !d->byte_wide) &&
	       port - d->base + size <= d->len;
}

void bus_in(struct bus *bus, uint16_t port, void *data, unsigned size)
{
	const struct io_device *d = find(bus, port);
	uint32_t v = 0xffffffff;

	if (takes_whole(d, port, size)) {
		if (d->in)
			v = d->in(d->opaque, port - d->base, size);
		memcpy(data, &v, size);
		return;
	}
	if (size == 1) {
		memset(data, 0xff, 1);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		bus_in(bus, port + i, (uint8_t *)data + i, 1);
}

void bus_out(struct bus *bus, uint16_t port, const void *data, unsigned size)
{
	const struct io_device *d = find(bus, port);
	uint32_t v = 0;

	if (takes_whole(d, port, size)) {
		memcpy(&v, data, size);
		if (d->out)
			d->out(d->opaque, port - d->base, v, size);
		return;
	}
	for (unsigned i = 0; size > 1 && i < size; i++)
		bus_out(bus, port + i, (const uint8_t *)data + i, 1);
}
