/* SPDX-License-Identifier: MIT */
/*
 * Memory functions that touch general registers only; see novec.h. They are
 * meant for the short copies a compiler invents, and use the string
 * instructions for anything longer.
 */
#include "base/types.h"

void *nv_memcpy(void *dst, const void *src, size_t n);
void *nv_memmove(void *dst, const void *src, size_t n);
void *nv_memset(void *dst, int c, size_t n);
int nv_memcmp(const void *a, const void *b, size_t n);

/* Starting a string instruction costs more than copying this much by hand. */
#define SHORT_COPY	128

struct word { uint64_t v; } __attribute__((packed, may_alias));

/* The barriers keep the compiler from making vectors, or a memcpy, of it. */
static void copy_short(uint8_t *d, const uint8_t *s, size_t n)
{
	if (n < 8) {
		for (; n; n--, d++, s++) {
			*d = *s;
			__asm__ volatile("" : : : "memory");
		}
		return;
	}
	for (; n > 8; n -= 8, d += 8, s += 8) {
		((struct word *)d)->v = ((const struct word *)s)->v;
		__asm__ volatile("" : : : "memory");
	}
	/* The last word, which may overlap the one before. */
	((struct word *)(d + n - 8))->v = ((const struct word *)(s + n - 8))->v;
}

void *nv_memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	if (n <= SHORT_COPY)
		copy_short(dst, src, n);
	else
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n)
				 : : "memory");
	return dst;
}

void *nv_memmove(void *dst, const void *src, size_t n)
{
	char *d = dst;
	const char *s = src;

	/* Upwards where that does not overtake; words would, bytes do not. */
	if ((uintptr_t)dst - (uintptr_t)src >= n) {
		__asm__ volatile("rep movsb"
				 : "+D"(d), "+S"(s), "+c"(n) : : "memory");
		return dst;
	}
	d += n - 1;
	s += n - 1;
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(d), "+S"(s), "+c"(n) : : "memory", "cc");
	return dst;
}

void *nv_memset(void *dst, int c, size_t n)
{
	uint8_t *d = dst;

	if (n > SHORT_COPY) {
		__asm__ volatile("rep stosb"
				 : "+D"(d), "+c"(n) : "a"(c) : "memory");
		return dst;
	}
	for (; n >= 8; n -= 8, d += 8) {
		((struct word *)d)->v = (uint8_t)c * 0x0101010101010101ull;
		__asm__ volatile("" : : : "memory");
	}
	for (; n; n--, d++) {
		*d = c;
		__asm__ volatile("" : : : "memory");
	}
	return dst;
}

int nv_memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
