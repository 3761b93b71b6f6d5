// SPDX-License-Identifier: MIT
/*
 * Reports to the runner, and what a compiler calls without being asked.
 *
 * A report is a name and a result; the name is formatted in the guest and read by
 * the runner out of memory. Only one vCPU reports at a time.
 */
#include "guest.h"

static char line[256];

struct text { char *p, *end; };

static void put(struct text *t, char c)
{
	if (t->p < t->end)
		*t->p++ = c;
}

static void put_number(struct text *t, unsigned long v, unsigned base)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		put(t, digits[--n]);
}

static const char *format_arg(struct text *t, const char *f, va_list *ap)
{
	unsigned long v;
	bool wide = *f == 'l';

	if (wide)
		f++;
	if (*f == 's') {
		for (const char *s = va_arg(*ap, const char *); *s; s++)
			put(t, *s);
		return f;
	}
	if (*f == 'p')
		wide = true;
	v = wide ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned);
	if (*f == 'd' && (int)v < 0) {
		put(t, '-');
		v = -(int)v;
	}
	put_number(t, v, *f == 'x' || *f == 'p' ? 16 : 10);
	return f;
}

static void format(char *buf, const char *f, va_list *ap)
{
	struct text t = { buf, buf + sizeof(line) - 1 };

	for (; *f; f++) {
		if (*f == '%')
			f = format_arg(&t, f + 1, ap);
		else
			put(&t, *f);
	}
	*t.p = 0;
}

static void send(const char *fmt, va_list *ap, unsigned result)
{
	format(line, fmt, ap);
	barrier();
	outl((uint32_t)(ulong)line, PORT_REPORT_NAME);
	outl(result, PORT_REPORT);
}

void report(bool pass, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send(fmt, &ap, pass ? REPORT_PASS : REPORT_FAIL);
	va_end(ap);
}

void report_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send(fmt, &ap, REPORT_SKIP);
	va_end(ap);
}

void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(line, fmt, &ap);
	va_end(ap);
	barrier();
	outl((uint32_t)(ulong)line, PORT_NOTE);
}

void report_eq(ulong got, ulong want, const char *fmt, ...)
{
	va_list ap;

	if (got != want)
		note("got %lx, want %lx:", got, want);
	va_start(ap, fmt);
	send(fmt, &ap, got == want ? REPORT_PASS : REPORT_FAIL);
	va_end(ap);
}

void guest_exit(unsigned status)
{
	outl(status, PORT_EXIT);
	for (;;)
		asm volatile("cli; hlt");
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(line, fmt, &ap);
	va_end(ap);
	barrier();
	outl((uint32_t)(ulong)line, PORT_NOTE);
	guest_exit(3);
}

void *memset(void *p, int c, size_t n)
{
	void *d = p;

	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *dst, const void *s, size_t n)
{
	void *d = dst;

	asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
