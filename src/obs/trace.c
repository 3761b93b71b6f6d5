/* SPDX-License-Identifier: MIT */
/*
 * The trace file. A line is formatted on the stack and appended by one write(2),
 * so that threads do not mix and a killed client leaves whole lines behind. That
 * costs a system call an event; tracing is for reading, not for measuring.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "obs/trace.h"

uint64_t trace_mask;
__thread int trace_vcpu = -1;
static int trace_fd = -1;

_Static_assert(NR_TRACE_EVENTS <= 64, "trace_mask is too narrow");

static const char *const names[] = {
#define TRACE_EVENT(name, proto, args, fmt) #name,
#include "obs/trace.def"
#undef TRACE_EVENT
};

const char *trace_name(enum trace_id id)
{
	return id < NR_TRACE_EVENTS ? names[id] : "?";
}

static int event_bit(const char *name, size_t len)
{
	for (unsigned i = 0; i < NR_TRACE_EVENTS; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], name, len))
			return i;
	return -EINVAL;
}

static int parse_filter(const char *filter, uint64_t *mask)
{
	if (!filter || !*filter) {
		*mask = ~0ull;
		return 0;
	}
	*mask = 0;
	for (const char *p = filter; *p;) {
		size_t n = strcspn(p, ",");
		int bit = event_bit(p, n);

		if (bit < 0)
			return bit;
		*mask |= BIT_ULL(bit);
		p += n + (p[n] == ',');
	}
	return 0;
}

int trace_start(const char *path, const char *filter)
{
	uint64_t mask;
	int fd, ret = parse_filter(filter, &mask);

	if (ret)
		return ret;
	fd = own_fd_take(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND |
			      O_CLOEXEC, 0666));
	if (fd < 0)
		return fd;
	trace_stop();
	trace_fd = fd;
	trace_mask = mask;
	return 0;
}

void trace_stop(void)
{
	trace_mask = 0;
	own_fd_close(trace_fd);
	trace_fd = -1;
}

void trace_emit(enum trace_id id, const char *fmt, ...)
{
	char buf[512];
	struct timespec t;
	va_list ap;
	int n, m, saved = errno;

	clock_gettime(CLOCK_MONOTONIC, &t);
	n = snprintf(buf, sizeof(buf), "%ld [%03d] %ld.%06ld: %s: ",
		     syscall(SYS_gettid), trace_vcpu, (long)t.tv_sec,
		     t.tv_nsec / 1000, trace_name(id));
	va_start(ap, fmt);
	m = vsnprintf(buf + n, sizeof(buf) - n - 1, fmt, ap);
	va_end(ap);
	n = MIN(n + MAX(m, 0), (int)sizeof(buf) - 2);
	buf[n++] = '\n';
	if (write(trace_fd, buf, n) < 0)
		trace_mask = 0;	/* a full disk ends the trace, not the guest */
	errno = saved;
}
