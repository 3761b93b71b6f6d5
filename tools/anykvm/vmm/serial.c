/* SPDX-License-Identifier: MIT */
/*
 * The 16550A: eight registers, a receive queue, an interrupt line. A byte that
 * is written is sent at once, so the transmitter is always empty; the baud rate
 * is kept and means nothing. Loopback mode is there because drivers use it to
 * find out that a UART is one. Modem status is constant: a terminal that is
 * ready. The line is level; its changes are reported to the host side.
 */
#include "serial.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR,
       REG_SCR, REG_COUNT };

#define IER_RX		0x01
#define IER_TX		0x02
#define IER_MASK	0x0f
#define IIR_NONE	0x01
#define IIR_TX		0x02
#define IIR_RX		0x04
#define IIR_FIFO	0xc0
#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_TRIGGER	0xc0
#define LCR_DLAB	0x80
#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define LSR_RX		0x01
#define LSR_TX_EMPTY	0x60	/* holding register and shifter */
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

void serial_init(struct serial *s, const struct serial_host *host)
{
	*s = (struct serial){ .host = *host, .dll = 1 };
}

/* The interrupt that has precedence, as IIR shows it. */
static uint8_t pending(const struct serial *s)
{
	if ((s->ier & IER_RX) && s->rx_count)
		return IIR_RX;
	if ((s->ier & IER_TX) && s->thr_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	bool level = pending(s) != IIR_NONE && !(s->mcr & MCR_LOOP);

	if (level == s->irq_level)
		return;
	s->irq_level = level;
	s->host.irq(s->host.opaque, level);
}

unsigned serial_room(const struct serial *s)
{
	return s->mcr & MCR_LOOP ? 0 : SERIAL_RX_SIZE - s->rx_count;
}

static void queue(struct serial *s, uint8_t b)
{
	if (s->rx_count == SERIAL_RX_SIZE)
		return;
	s->rx[(s->rx_head + s->rx_count++) % SERIAL_RX_SIZE] = b;
}

void serial_receive(struct serial *s, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		queue(s, bytes[i]);
	update_irq(s);
}

static uint8_t read_data(struct serial *s)
{
	uint8_t b = 0;

	if (s->rx_count) {
		b = s->rx[s->rx_head];
		s->rx_head = (s->rx_head + 1) % SERIAL_RX_SIZE;
		s->rx_count--;
		if (!s->rx_count)
			s->host.rx_room(s->host.opaque);
	}
	update_irq(s);
	return b;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t iir = pending(s);

	/* Reading IIR acknowledges the transmitter's interrupt. */
	if (iir == IIR_TX) {
		s->thr_pending = false;
		update_irq(s);
	}
	return iir | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_msr(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) |
	       (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (s->mcr & MCR_OUT1 ? MSR_RI : 0) |
	       (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint32_t serial_in(void *opaque, uint16_t off, unsigned size)
{
	struct serial *s = opaque;
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case REG_DATA: return dlab ? s->dll : read_data(s);
	case REG_IER: return dlab ? s->dlm : s->ier;
	case REG_IIR_FCR: return read_iir(s);
	case REG_LCR: return s->lcr;
	case REG_MCR: return s->mcr;
	case REG_LSR: return LSR_TX_EMPTY | (s->rx_count ? LSR_RX : 0);
	case REG_MSR: return read_msr(s);
	default: return s->scr;
	}
}

static void write_data(struct serial *s, uint8_t b)
{
	if (s->mcr & MCR_LOOP)
		queue(s, b);
	else
		s->host.tx(s->host.opaque, b);
	/* A fall and a rise of the line: each byte is an event of its own. */
	s->thr_pending = false;
	update_irq(s);
	s->thr_pending = true;
	update_irq(s);
}

static void write_ier(struct serial *s, uint8_t v)
{
	/* Enabling the transmitter's interrupt while it is empty raises it. */
	if ((v & IER_TX) && !(s->ier & IER_TX))
		s->thr_pending = true;
	s->ier = v & IER_MASK;
	update_irq(s);
}

static void write_fcr(struct serial *s, uint8_t v)
{
	if (v & FCR_CLEAR_RX) {
		s->rx_count = 0;
		s->host.rx_room(s->host.opaque);
	}
	s->fcr = v & (FCR_ENABLE | FCR_TRIGGER);
	update_irq(s);
}

static void serial_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct serial *s = opaque;
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case REG_DATA:
		if (dlab)
			s->dll = v;
		else
			write_data(s, v);
		break;
	case REG_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v);
		break;
	case REG_IIR_FCR:
		write_fcr(s, v);
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & 0x1f;
		if (!(s->mcr & MCR_LOOP))
			s->host.rx_room(s->host.opaque);
		update_irq(s);
		break;
	case REG_SCR:
		s->scr = v;
		break;
	}
}

bool serial_attach(struct serial *s, struct bus *bus, uint16_t base)
{
	const struct io_device dev = {
		.base = base, .len = REG_COUNT, .byte_wide = true,
		.in = serial_in, .out = serial_out, .opaque = s,
	};

	return bus_add(bus, &dev);
}
