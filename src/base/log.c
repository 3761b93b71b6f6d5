/* SPDX-License-Identifier: MIT */
/* One write(2) a message, so that lines of several threads do not mix. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static const char *const names[] = { "error", "warn", "info", "debug" };

enum log_level log_threshold = LOG_WARN;

__attribute__((constructor)) static void log_init(void)
{
	const char *want = getenv("ANYKVM_LOG");

	for (size_t i = 0; want && i < ARRAY_SIZE(names); i++)
		if (!strcmp(want, names[i]))
			log_threshold = i;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int n, m;

	if (level > log_threshold)
		return;
	n = snprintf(buf, sizeof(buf), "anykvm: %s: ", names[level]);
	va_start(ap, fmt);
	m = vsnprintf(buf + n, sizeof(buf) - n - 1, fmt, ap);
	va_end(ap);
	n = MIN(n + MAX(m, 0), (int)sizeof(buf) - 2);
	buf[n++] = '\n';
	if (write(STDERR_FILENO, buf, n) < 0)
		return;
}
