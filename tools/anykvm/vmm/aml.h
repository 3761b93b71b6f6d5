/* SPDX-License-Identifier: MIT */
/*
 * A writer of the ACPI Machine Language: the few terms our DSDT is made of. A
 * buffer that is full makes every later term a no-op and aml_ok() false.
 */
#ifndef ANYKVM_VMM_AML_H
#define ANYKVM_VMM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t len, cap;
	bool overflow;
};

/* Terms with a body: aml_x_begin() returns a mark that aml_end() takes. */
size_t aml_scope_begin(struct aml *a, const char *name);
size_t aml_device_begin(struct aml *a, const char *name);
void aml_end(struct aml *a, size_t mark);

/* Name (@name, Package () { @values }): bytes. */
void aml_name_package(struct aml *a, const char *name, const uint8_t *values,
		      unsigned n);
void aml_name_string(struct aml *a, const char *name, const char *value);
void aml_name_byte(struct aml *a, const char *name, uint8_t value);
/* Name (@name, Buffer) of an I/O range: a resource template with its end tag. */
void aml_name_io(struct aml *a, const char *name, uint16_t port, uint8_t len);

bool aml_ok(const struct aml *a);

#endif
