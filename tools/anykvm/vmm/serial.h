/* SPDX-License-Identifier: MIT */
/* A 16550A UART whose other end is the terminal. */
#ifndef ANYKVM_VMM_SERIAL_H
#define ANYKVM_VMM_SERIAL_H

#include <stdbool.h>
#include <stdint.h>
#include "bus.h"

#define SERIAL_RX_SIZE 64

struct serial_host {
	void *opaque;
	/* A byte the guest has sent. */
	void (*tx)(void *opaque, uint8_t byte);
	/* The level of the interrupt line, at its changes. */
	void (*irq)(void *opaque, bool level);
	/* The guest has made room for input; may call nothing of the device. */
	void (*rx_room)(void *opaque);
};

struct serial {
	struct serial_host host;
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool thr_pending;	/* "transmitter empty" not acknowledged yet */
	bool irq_level;
	uint8_t rx[SERIAL_RX_SIZE];
	unsigned rx_head, rx_count;
};

void serial_init(struct serial *s, const struct serial_host *host);
bool serial_attach(struct serial *s, struct bus *bus, uint16_t base);

/* Bytes there is room for; serial_receive() takes that many at most. All with
 * the bus's lock held. */
unsigned serial_room(const struct serial *s);
void serial_receive(struct serial *s, const uint8_t *bytes, unsigned n);

#endif
