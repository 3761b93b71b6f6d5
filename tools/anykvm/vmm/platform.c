/* SPDX-License-Identifier: MIT */
/*
 * Ports that do one thing each.
 *
 *	0x60/0x64  keyboard controller: never has a byte; command FE resets
 *	0x80       POST codes: ignored
 *	0xe9       debug console (reads back 0xe9, as Bochs's does)
 *	0xf4       debug exit
 *	0x505      panic device: bit 0 reports a crash
 *	0x600      PM1a event block: no event ever happens
 *	0x604      PM1a control: SLP_EN with \_S5's type powers off
 *	0x608      PM timer, 3.579545 MHz, 32 bits
 *	0xcf8      PCI configuration address; 0xcf9 reset control; 0xcfc data:
 *	           the address reads back, so that the mechanism is found, and
 *	           every device on the bus answers all ones: there is none
 */
#include "acpi.h"
#include "layout.h"
#include "platform.h"

#define PM1_SCI_EN		0x0001
#define PM1_SLP_TYP		0x1c00ull
#define PM1_SLP_EN		0x2000
#define PM_TIMER_HZ		3579545ull
#define NS_PER_S		1000000000ull
#define I8042_RESET		0xfe
#define RESET_CPU		0x04	/* reset control: do it now */
#define PVPANIC_PANICKED	0x01
#define PCI_RESET_OFFSET	(PORT_RESET - PORT_PCI_ADDRESS)

void platform_init(struct platform *p, const struct platform_host *host)
{
	*p = (struct platform){ .host = *host, .pm1_control = PM1_SCI_EN };
}

static uint32_t zero_in(void *opaque, uint16_t off, unsigned size)
{
	return 0;
}

static void i8042_cmd_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct platform *p = opaque;

	if (v == I8042_RESET)
		p->host.reset(p->host.opaque);
}

static uint32_t debugcon_in(void *opaque, uint16_t off, unsigned size)
{
	return PORT_DEBUGCON;
}

static void debugcon_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct platform *p = opaque;

	p->host.debug_char(p->host.opaque, v);
}

static void debug_exit_out(void *opaque, uint16_t off, uint32_t v,
			   unsigned size)
{
	struct platform *p = opaque;

	p->host.debug_exit(p->host.opaque, v);
}

static uint32_t pvpanic_in(void *opaque, uint16_t off, unsigned size)
{
	return PVPANIC_PANICKED;	/* the events we know */
}

static void pvpanic_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct platform *p = opaque;

	if (v & PVPANIC_PANICKED)
		p->host.panic(p->host.opaque);
}

/* Status at 0 (always clear), enable at 2. */
static uint32_t pm1_evt_in(void *opaque, uint16_t off, unsigned size)
{
	struct platform *p = opaque;
	uint32_t both = (uint32_t)p->pm1_enable << 16;

	return both >> 8 * off;
}

static void pm1_evt_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct platform *p = opaque;

	if (off == 2)
		p->pm1_enable = v;
	else if (off == 0 && size == 4)
		p->pm1_enable = v >> 16;
}

static uint32_t pm1_cnt_in(void *opaque, uint16_t off, unsigned size)
{
	struct platform *p = opaque;

	return p->pm1_control >> 8 * off;
}

static void pm1_cnt_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct platform *p = opaque;

	/* Byte writes come in halves: the sleep bits are in the second. */
	if (off == 1)
		v = (p->pm1_control & 0xff) | (v & 0xff) << 8;
	else if (size == 1)
		v = (p->pm1_control & 0xff00) | (v & 0xff);
	p->pm1_control = (v & ~PM1_SLP_EN) | PM1_SCI_EN;
	if ((v & PM1_SLP_EN) && FIELD_GET(PM1_SLP_TYP, v) == ACPI_SLP_TYP_S5)
		p->host.power_off(p->host.opaque);
}

static uint32_t pm_timer_in(void *opaque, uint16_t off, unsigned size)
{
	struct platform *p = opaque;
	unsigned __int128 ticks = (unsigned __int128)p->host.now_ns() *
				  PM_TIMER_HZ / NS_PER_S;

	return (uint32_t)ticks >> 8 * off;
}

static uint32_t pci_address_in(void *opaque, uint16_t off, unsigned size)
{
	struct platform *p = opaque;

	if (off == 0 && size == 4)
		return p->pci_address;
	return off == PCI_RESET_OFFSET ? 0 : 0xffffffff;
}

static void pci_address_out(void *opaque, uint16_t off, uint32_t v,
			    unsigned size)
{
	struct platform *p = opaque;

	if (off == 0 && size == 4)
		p->pci_address = v;
	else if (off == PCI_RESET_OFFSET && (v & RESET_CPU))
		p->host.reset(p->host.opaque);
}

/* clang-format off */
static const struct io_device devices[] = {
	{ PORT_I8042_DATA,  1, true,  zero_in,        NULL,            NULL },
	{ PORT_I8042_CMD,   1, true,  zero_in,        i8042_cmd_out,   NULL },
	{ PORT_POST,        1, true,  NULL,           NULL,            NULL },
	{ PORT_DEBUGCON,    1, true,  debugcon_in,    debugcon_out,    NULL },
	{ PORT_DEBUG_EXIT,  1, false, NULL,           debug_exit_out,  NULL },
	{ PORT_PVPANIC,     1, true,  pvpanic_in,     pvpanic_out,     NULL },
	{ PORT_PM1_EVT,     4, false, pm1_evt_in,     pm1_evt_out,     NULL },
	{ PORT_PM1_CNT,     2, false, pm1_cnt_in,     pm1_cnt_out,     NULL },
	{ PORT_PM_TIMER,    4, false, pm_timer_in,    NULL,            NULL },
	{ PORT_PCI_ADDRESS, 4, false, pci_address_in, pci_address_out, NULL },
	{ PORT_PCI_DATA,    4, false, NULL,           NULL,            NULL },
};
/* clang-format on */

bool platform_attach(struct platform *p, struct bus *bus)
{
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++) {
		struct io_device dev = devices[i];

		dev.opaque = p;
		if (!bus_add(bus, &dev))
			return false;
	}
	return true;
}
