/* SPDX-License-Identifier: MIT */
/*
 * One line for a person. File names in it come from outside: control characters
 * are shown as '?', so that a message stays one line and a terminal unharmed.
 */
#include <stdarg.h>
#include <stdio.h>
#include "error.h"

void vmm_error_set(struct vmm_error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	for (char *p = e->text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}
