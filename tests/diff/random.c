// SPDX-License-Identifier: MIT
/*
 * Random numbers and operands. xorshift64*, seeded per row and mode, so that rows do
 * not depend on each other and run in any order or process.
 */
#include <string.h>

#include "base/types.h"
#include "random.h"

static uint64_t s = 1;

void rnd_seed(uint64_t seed)
{
	s = (seed + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
	s ^= s >> 29;
	if (!s)
		s = 1;
}

uint64_t rnd(void)
{
	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return (s * 0x2545f4914f6cdd1d) ^ s >> 32;
}

bool one_in(unsigned n)
{
	return (uint32_t)rnd() % n == 0;
}

uint64_t rnd_value(void)
{
	static const uint64_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, INT64_MAX, 1ull << 63, ~0ull, ~1ull,
	};

	switch (rnd() % 8) {
	case 0:
	case 1:
		return edge[rnd() % ARRAY_SIZE(edge)];
	case 2:
		return rnd() >> (rnd() % 64);
	case 3:
		return 1ull << (rnd() % 64);
	case 4:
		return (int64_t)(int8_t)rnd();
	default:
		return rnd();
	}
}

/* A real with @e bits of exponent and @f of fraction. */
static uint64_t rnd_real(unsigned e, unsigned f)
{
	uint64_t sign = (rnd() & 1) << (e + f), max = (1ull << e) - 1;
	uint64_t frac = rnd() & ((1ull << f) - 1), exp, bias = max >> 1;

	switch (rnd() % 8) {
	case 0:		/* 0, or a denormal */
		exp = 0;
		frac = rnd() & 1 ? 0 : frac >> (rnd() % f);
		break;
	case 1:		/* infinity, or NaNs */
		exp = max;
		frac = rnd() % 3 ? frac : 0;
		break;
	case 2:		/* whole, small */
		exp = bias + rnd() % 8;
		frac &= ~((1ull << (f - 4)) - 1);
		break;
	case 3:		/* the largest, the smallest */
		exp = rnd() & 1 ? max - 1 : 1;
		frac = rnd() & 1 ? (1ull << f) - 1 : 0;
		break;
	case 4:		/* about where integers end */
		exp = bias + (e == 5 ? 10 : 30) + rnd() % 36;
		break;
	case 5:
		exp = bias - 3 + rnd() % 8;
		break;
	default:
		exp = rnd() & max;
	}
	return sign | (exp & max) << f | frac;
}

void rnd_real80(uint8_t *p)
{
	uint64_t mant = rnd() | 1ull << 63;
	uint16_t exp = rnd();

	switch (rnd() % 8) {
	case 0:
		mant = 0, exp &= 0x8000;
		break;
	case 1:		/* denormal, pseudo-denormal */
		exp &= 0x8000;
		mant = rnd();
		break;
	case 2:		/* infinity, NaN, pseudo- */
		exp |= 0x7fff;
		mant = rnd() & 1 ? 1ull << 63 : rnd();
		break;
	case 3:		/* unnormal */
		mant &= ~(1ull << 63);
		break;
	case 4:
		exp = (exp & 0x8000) | (16383 + rnd() % 70);
		break;
	case 5:
		exp = (exp & 0x8000) | (16383 + rnd() % 4);
		mant = (rnd() & 7) << 60 | 1ull << 63;
		break;
	}
	memcpy(p, &mant, 8);
	memcpy(p + 8, &exp, 2);
}

static uint64_t element(unsigned kind)
{
	switch (kind) {
	case 0:
		return rnd_real(11, 52);
	case 1:
		return rnd_real(8, 23) | rnd_real(8, 23) << 32;
	case 2:
		return rnd_real(5, 10) | rnd_real(5, 10) << 16 |
		       rnd_real(5, 10) << 32 | rnd_real(5, 10) << 48;
	case 3:
		return rnd_value();
	case 4:
		return (uint32_t)rnd_value() | rnd_value() << 32;
	case 5:
		return (rnd() & 0x8080808080808080) | (rnd() & 0x0303030303030303);
	case 6:
		return rnd() & 1 ? 0 : ~0ull;
	default:
		return rnd();
	}
}

void rnd_elements(uint8_t *p, unsigned n)
{
	unsigned i, kind = rnd() % 8;
	uint64_t v;

	for (i = 0; i + 8 <= n; i += 8) {
		if (one_in(6))
			kind = rnd() % 8;
		v = element(kind);
		memcpy(p + i, &v, 8);
	}
}
