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

void *nv_memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *nv_memmove(void *dst, const void *src, size_t n)
{
	char *d = (char *)dst + n - 1;
	const char *s = (const char *)src + n - 1;

	if ((uintptr_t)dst - (uintptr_t)src >= n)
		return nv_memcpy(dst, src, n);
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(d), "+S"(s), "+c"(n) : : "memory", "cc");
	return dst;
}

void *nv_memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
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
