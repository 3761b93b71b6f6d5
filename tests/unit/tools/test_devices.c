/* SPDX-License-Identifier: MIT */
/*
 * The board's devices over the bus: the UART's queue, interrupts and loopback,
 * the clock's formats, power-off, reset, panic and the debug ports, and accesses
 * of odd sizes at odd ports.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "vmm/layout.h"
#include "vmm/platform.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"

static struct {
	struct bus bus;
	struct serial serial;
	struct rtc rtc;
	struct platform platform;
	char out[256];
	unsigned n, edges, room_calls, off, resets, panics, exits;
	bool line;
	int exit_code;
	uint64_t ns;
	time_t time;
} m;

static void tx(void *opaque, uint8_t byte)
{
	m.out[m.n++ % sizeof(m.out)] = byte;
}

static void irq(void *opaque, bool level)
{
	m.edges += level;
	m.line = level;
}

static void rx_room(void *opaque)
{
	m.room_calls++;
}

static void power_off(void *opaque)
{
	m.off++;
}

static void reset(void *opaque)
{
	m.resets++;
}

static void panic(void *opaque)
{
	m.panics++;
}

static void debug_exit(void *opaque, uint8_t code)
{
	m.exits++;
	m.exit_code = code;
}

static uint64_t now_ns(void)
{
	return m.ns;
}

static time_t now_s(void)
{
	return m.time;
}

static int make(void **state)
{
	const struct serial_host serial = { NULL, tx, irq, rx_room };
	const struct platform_host platform = {
		NULL, power_off, reset, panic, debug_exit, tx, now_ns };

	memset(&m, 0, sizeof(m));
	serial_init(&m.serial, &serial);
	rtc_init(&m.rtc, now_s);
	platform_init(&m.platform, &platform);
	return !serial_attach(&m.serial, &m.bus, PORT_SERIAL) ||
	       !rtc_attach(&m.rtc, &m.bus, PORT_RTC) ||
	       !platform_attach(&m.platform, &m.bus);
}

static uint32_t in(uint16_t port, unsigned size)
{
	uint32_t v = 0;

	bus_in(&m.bus, port, &v, size);
	return v;
}

static void out(uint16_t port, uint32_t v, unsigned size)
{
	bus_out(&m.bus, port, &v, size);
}

static void serial_sends(void **state)
{
	out(PORT_SERIAL, 'h', 1);
	out(PORT_SERIAL, 'i', 1);
	assert_memory_equal(m.out, "hi", 2);
	assert_int_equal(in(PORT_SERIAL + 5, 1), 0x60);
	/* With DLAB the data port is the divisor. */
	out(PORT_SERIAL + 3, 0x83, 1);
	out(PORT_SERIAL, 'x', 1);
	assert_int_equal(m.n, 2);
	assert_int_equal(in(PORT_SERIAL, 1), 'x');
}

static void serial_receives(void **state)
{
	out(PORT_SERIAL + 1, 1, 1);
	assert_false(m.line);
	serial_receive(&m.serial, (const uint8_t *)"ab", 2);
	assert_true(m.line);
	assert_int_equal(in(PORT_SERIAL + 2, 1) & 0xf, 4);
	assert_int_equal(in(PORT_SERIAL + 5, 1) & 1, 1);
	assert_int_equal(in(PORT_SERIAL, 1), 'a');
	assert_true(m.line);
	assert_int_equal(in(PORT_SERIAL, 1), 'b');
	assert_false(m.line);
	assert_int_equal(m.room_calls, 1);
	assert_int_equal(in(PORT_SERIAL, 1), 0);
	assert_int_equal(in(PORT_SERIAL + 2, 1) & 0xf, 1);
}

static void serial_queue_is_bounded(void **state)
{
	uint8_t bytes[SERIAL_RX_SIZE + 10];

	memset(bytes, 'z', sizeof(bytes));
	assert_int_equal(serial_room(&m.serial), SERIAL_RX_SIZE);
	serial_receive(&m.serial, bytes, sizeof(bytes));
	assert_int_equal(serial_room(&m.serial), 0);
	for (unsigned i = 0; i < SERIAL_RX_SIZE; i++)
		assert_int_equal(in(PORT_SERIAL, 1), 'z');
	assert_int_equal(in(PORT_SERIAL + 5, 1) & 1, 0);
}

static void serial_tx_interrupt(void **state)
{
	out(PORT_SERIAL + 1, 2, 1);
	assert_true(m.line);
	assert_int_equal(in(PORT_SERIAL + 2, 1) & 0xf, 2);
	assert_false(m.line);	/* acknowledged by the read */
	out(PORT_SERIAL, 'x', 1);
	assert_true(m.line);
	assert_int_equal(m.edges, 2);
	out(PORT_SERIAL, 'y', 1);
	assert_int_equal(m.edges, 3);	/* every byte has its edge */
}

static void serial_loopback(void **state)
{
	out(PORT_SERIAL + 4, 0x1a, 1);
	assert_int_equal(in(PORT_SERIAL + 6, 1) & 0xf0, 0x90);
	assert_int_equal(serial_room(&m.serial), 0);
	out(PORT_SERIAL, 'q', 1);
	assert_int_equal(m.n, 0);
	assert_int_equal(in(PORT_SERIAL, 1), 'q');
}

static void rtc_formats(void **state)
{
	m.time = 1700000000;	/* 2023-11-14 22:13:20 UTC, a Tuesday */
	out(PORT_RTC, 0, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 0x20);
	out(PORT_RTC, 4, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 0x22);
	out(PORT_RTC, 6, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 3);
	out(PORT_RTC, 9, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 0x23);
	out(PORT_RTC, 0x32, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 0x20);
	out(PORT_RTC, 11, 1);
	out(PORT_RTC + 1, 0x04, 1);	/* binary, 12 hours */
	out(PORT_RTC, 4, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 10 | 0x80);
	out(PORT_RTC, 9, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 23);
}

static void rtc_ram_and_bounds(void **state)
{
	out(PORT_RTC, 0xff, 1);	/* bit 7 is the NMI mask */
	out(PORT_RTC + 1, 0x5a, 1);
	assert_int_equal(in(PORT_RTC + 1, 1), 0x5a);
	out(PORT_RTC, 10, 1);
	assert_int_equal(in(PORT_RTC + 1, 1) & 0x80, 0);
}

static void power_off_needs_both(void **state)
{
	out(PORT_PM1_CNT, 5 << 10, 2);
	out(PORT_PM1_CNT, 1 << 13, 2);
	out(PORT_PM1_CNT, 1 << 13 | 3 << 10, 2);
	assert_int_equal(m.off, 0);
	assert_int_equal(in(PORT_PM1_CNT, 2) & 1, 1);
	out(PORT_PM1_CNT, 1 << 13 | 5 << 10, 2);
	assert_int_equal(m.off, 1);
	out(PORT_PM1_CNT + 1, 0x34, 1);
	assert_int_equal(m.off, 2);
}

static void pm_timer_counts(void **state)
{
	assert_int_equal(in(PORT_PM_TIMER, 4), 0);
	m.ns = 1000000000;
	assert_int_equal(in(PORT_PM_TIMER, 4), 3579545);
	m.ns = 1000000000ull * 3600 * 24;
	assert_int_equal(in(PORT_PM_TIMER, 4), (uint32_t)(3579545ull * 86400));
}

static void resets(void **state)
{
	out(PORT_I8042_CMD, 0xaa, 1);
	out(PORT_RESET, 2, 1);
	assert_int_equal(m.resets, 0);
	out(PORT_I8042_CMD, 0xfe, 1);
	out(PORT_RESET, 6, 1);
	assert_int_equal(m.resets, 2);
}

static void debug_ports(void **state)
{
	out(PORT_DEBUGCON, '!', 1);
	assert_int_equal(m.out[0], '!');
	assert_int_equal(in(PORT_DEBUGCON, 1), 0xe9);
	out(PORT_DEBUG_EXIT, 7, 1);
	assert_int_equal(m.exits, 1);
	assert_int_equal(m.exit_code, 7);
	out(PORT_PVPANIC, 2, 1);
	assert_int_equal(m.panics, 0);
	out(PORT_PVPANIC, 1, 1);
	assert_int_equal(m.panics, 1);
}

static void no_pci(void **state)
{
	out(PORT_PCI_ADDRESS, 0x80000000, 4);
	assert_int_equal(in(PORT_PCI_ADDRESS, 4), 0x80000000);
	assert_int_equal(in(PORT_PCI_DATA, 4), 0xffffffff);
	assert_int_equal(in(PORT_PCI_DATA + 2, 2), 0xffff);
	assert_int_equal(m.resets, 0);
}

/* Nobody's ports, and accesses that leave a device's range. */
static void odd_accesses(void **state)
{
	uint32_t v;

	for (uint32_t port = 0; port < 0x10000; port++)
		for (unsigned size = 1; size <= 4; size *= 2)
			in(port, size);
	v = in(0x1234, 4);
	assert_int_equal(v, 0xffffffff);
	assert_int_equal(in(0xffff, 4) >> 24, 0xff);
	/* The last byte of the UART, then nobody. */
	out(PORT_SERIAL + 7, 0x5a, 1);
	assert_int_equal(in(PORT_SERIAL + 7, 2), 0xff5a);
	out(PORT_DEBUGCON, 'a' | 'b' << 8, 2);
	assert_int_equal(m.n, 1);
	/* A wide write is split into the registers' bytes. */
	out(PORT_SERIAL, 'c' | 0 << 8, 2);
	assert_int_equal(m.out[1], 'c');
}

static void overlap_is_refused(void **state)
{
	struct io_device d = { .base = PORT_SERIAL + 7, .len = 2 };

	assert_false(bus_add(&m.bus, &d));
	d.base = PORT_SERIAL + 8;
	assert_true(bus_add(&m.bus, &d));
	d.base = 0x2000;
	d.len = 1;
	while (m.bus.nr < BUS_DEVICES_MAX) {
		assert_true(bus_add(&m.bus, &d));
		d.base++;
	}
	assert_false(bus_add(&m.bus, &d));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, make)
	const struct CMUnitTest tests[] = {
		T(serial_sends), T(serial_receives), T(serial_queue_is_bounded),
		T(serial_tx_interrupt), T(serial_loopback), T(rtc_formats),
		T(rtc_ram_and_bounds), T(power_off_needs_both),
		T(pm_timer_counts), T(resets), T(debug_ports), T(no_pci),
		T(odd_accesses), T(overlap_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
