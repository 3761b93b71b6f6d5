/* SPDX-License-Identifier: MIT */
/*
 * The small devices of the board: ACPI fixed hardware, reset, keyboard
 * controller, debug ports, panic port, and a PCI host bridge that is not there.
 */
#ifndef ANYKVM_VMM_PLATFORM_H
#define ANYKVM_VMM_PLATFORM_H

#include <stdbool.h>
#include <stdint.h>
#include "bus.h"

struct platform_host {
	void *opaque;
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
	void (*panic)(void *opaque);
	/* The guest wrote @code to the debug-exit port. */
	void (*debug_exit)(void *opaque, uint8_t code);
	void (*debug_char)(void *opaque, uint8_t c);
	/* Nanoseconds of a clock that does not go back. */
	uint64_t (*now_ns)(void);
};

struct platform {
	struct platform_host host;
	uint16_t pm1_enable;
	uint16_t pm1_control;
	uint32_t pci_address;
};

void platform_init(struct platform *p, const struct platform_host *host);
bool platform_attach(struct platform *p, struct bus *bus);

#endif
