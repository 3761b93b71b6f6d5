/* SPDX-License-Identifier: MIT */
/* The MC146818 clock of a PC: the host's UTC time and 128 bytes of CMOS RAM. */
#ifndef ANYKVM_VMM_RTC_H
#define ANYKVM_VMM_RTC_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "bus.h"

struct rtc {
	uint8_t index;
	uint8_t cmos[128];
	time_t (*now)(void);	/* seconds since the epoch */
};

void rtc_init(struct rtc *r, time_t (*now)(void));
bool rtc_attach(struct rtc *r, struct bus *bus, uint16_t base);

#endif
