/* SPDX-License-Identifier: MIT */
/*
 * The clock answers with the host's time in the form register B asks for (BCD
 * or binary, 24 or 12 hours). Writes to the time registers are not kept: the
 * host's clock is not the guest's to set. No alarm and no periodic interrupt;
 * register C therefore always reads 0, and an update is never in progress.
 */
#include "rtc.h"

enum { RTC_SEC = 0, RTC_MIN = 2, RTC_HOUR = 4, RTC_WDAY = 6, RTC_MDAY = 7,
       RTC_MONTH = 8, RTC_YEAR = 9, RTC_A = 10, RTC_B = 11, RTC_C = 12,
       RTC_D = 13, RTC_CENTURY = 0x32 };

#define RTC_A_DIVIDER	0x26	/* 32768 Hz, the usual rate */
#define RTC_B_24H	0x02
#define RTC_B_BINARY	0x04
#define RTC_D_VALID	0x80
#define HOUR_PM		0x80

void rtc_init(struct rtc *r, time_t (*now)(void))
{
	*r = (struct rtc){ .now = now };
	r->cmos[RTC_A] = RTC_A_DIVIDER;
	r->cmos[RTC_B] = RTC_B_24H;
}

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return r->cmos[RTC_B] & RTC_B_BINARY ? v : v / 10 << 4 | v % 10;
}

static uint8_t encode_hour(const struct rtc *r, unsigned h)
{
	if (r->cmos[RTC_B] & RTC_B_24H)
		return encode(r, h);
	return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0);
}

static uint8_t read_register(const struct rtc *r)
{
	time_t t = r->now();
	struct tm tm;

	gmtime_r(&t, &tm);
	switch (r->index) {
	case RTC_SEC: return encode(r, tm.tm_sec);
	case RTC_MIN: return encode(r, tm.tm_min);
	case RTC_HOUR: return encode_hour(r, tm.tm_hour);
	case RTC_WDAY: return encode(r, tm.tm_wday + 1);
	case RTC_MDAY: return encode(r, tm.tm_mday);
	case RTC_MONTH: return encode(r, tm.tm_mon + 1);
	case RTC_YEAR: return encode(r, tm.tm_year % 100);
	case RTC_CENTURY: return encode(r, 19 + tm.tm_year / 100);
	case RTC_C: return 0;
	case RTC_D: return RTC_D_VALID;
	default: return r->cmos[r->index];
	}
}

static uint32_t rtc_in(void *opaque, uint16_t off, unsigned size)
{
	const struct rtc *r = opaque;

	return off ? read_register(r) : 0xff;	/* the index is write-only */
}

static void rtc_out(void *opaque, uint16_t off, uint32_t v, unsigned size)
{
	struct rtc *r = opaque;

	if (!off)
		r->index = v & 0x7f;	/* bit 7 masks NMI: nothing here makes one */
	else
		r->cmos[r->index] = v;
}

bool rtc_attach(struct rtc *r, struct bus *bus, uint16_t base)
{
	const struct io_device dev = {
		.base = base, .len = 2, .byte_wide = true,
		.in = rtc_in, .out = rtc_out, .opaque = r,
	};

	return bus_add(bus, &dev);
}
