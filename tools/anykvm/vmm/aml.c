/* SPDX-License-Identifier: MIT */
/*
 * The AML writer (ACPI Specification, "ACPI Machine Language (AML)
 * Specification"). A package length counts itself and is written in the
 * three-byte form always, so that a body's length can be filled in at its end
 * without moving it. Names are one segment of four characters or fewer, with an
 * optional root prefix.
 */
#include <string.h>
#include "aml.h"

enum {
	AML_BYTE = 0x0a, AML_STRING = 0x0d, AML_NAME = 0x08, AML_SCOPE = 0x10,
	AML_BUFFER = 0x11, AML_PACKAGE = 0x12,
	AML_EXT = 0x5b, AML_EXT_DEVICE = 0x82,
};

#define PKG_LENGTH_SIZE 3

static void put(struct aml *a, uint8_t b)
{
	if (a->len < a->cap)
		a->buf[a->len++] = b;
	else
		a->overflow = true;
}

static void put_name(struct aml *a, const char *name)
{
	if (*name == '\\')
		put(a, *name++);
	for (unsigned i = 0; i < 4; i++)
		put(a, *name ? *name++ : '_');
}

static size_t begin(struct aml *a)
{
	size_t mark = a->len;

	for (unsigned i = 0; i < PKG_LENGTH_SIZE; i++)
		put(a, 0);
	return mark;
}

void aml_end(struct aml *a, size_t mark)
{
	size_t n = a->len - mark;

	if (a->overflow || n >= 1u << 20) {
		a->overflow = true;
		return;
	}
	/* Bits 7-6: how many bytes follow; bits 3-0: the lowest four of n. */
	a->buf[mark] = (PKG_LENGTH_SIZE - 1) << 6 | (n & 0xf);
	a->buf[mark + 1] = n >> 4;
	a->buf[mark + 2] = n >> 12;
}

size_t aml_scope_begin(struct aml *a, const char *name)
{
	size_t mark;

	put(a, AML_SCOPE);
	mark = begin(a);
	put_name(a, name);
	return mark;
}

size_t aml_device_begin(struct aml *a, const char *name)
{
	size_t mark;

	put(a, AML_EXT);
	put(a, AML_EXT_DEVICE);
	mark = begin(a);
	put_name(a, name);
	return mark;
}

static void put_byte_const(struct aml *a, uint8_t v)
{
	put(a, AML_BYTE);
	put(a, v);
}

void aml_name_package(struct aml *a, const char *name, const uint8_t *values,
		      unsigned n)
{
	size_t mark;

	put(a, AML_NAME);
	put_name(a, name);
	put(a, AML_PACKAGE);
	mark = begin(a);
	put(a, n);
	for (unsigned i = 0; i < n; i++)
		put_byte_const(a, values[i]);
	aml_end(a, mark);
}

void aml_name_string(struct aml *a, const char *name, const char *value)
{
	put(a, AML_NAME);
	put_name(a, name);
	put(a, AML_STRING);
	do
		put(a, *value);
	while (*value++);
}

void aml_name_byte(struct aml *a, const char *name, uint8_t value)
{
	put(a, AML_NAME);
	put_name(a, name);
	put_byte_const(a, value);
}

void aml_name_io(struct aml *a, const char *name, uint16_t port, uint8_t len)
{
	/* I/O port descriptor: decode 16 bits, min, max, alignment, length; end tag. */
	const uint8_t res[] = { 0x47, 0x01, port, port >> 8, port, port >> 8, 1,
				len, 0x79, 0 };
	size_t mark;

	put(a, AML_NAME);
	put_name(a, name);
	put(a, AML_BUFFER);
	mark = begin(a);
	put_byte_const(a, sizeof(res));
	for (unsigned i = 0; i < sizeof(res); i++)
		put(a, res[i]);
	aml_end(a, mark);
}

bool aml_ok(const struct aml *a)
{
	return !a->overflow;
}
