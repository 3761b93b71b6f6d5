/* SPDX-License-Identifier: MIT */
/*
 * Tracepoints. Each line of trace.def makes an inline trace_NAME(...), with
 * Linux's name and fields. Off, a tracepoint costs one predictable branch; on,
 * one line of text goes to the trace file, in the form trace-cmd and perf print:
 *
 *     TID [VCPU] SECONDS.MICROS: kvm_exit: reason HLT rip 0x1000 ...
 */
#ifndef ANYKVM_OBS_TRACE_H
#define ANYKVM_OBS_TRACE_H

#include "base/types.h"

enum trace_id {
#define TRACE_EVENT(name, proto, args, ...) TRACE_##name,
#include "obs/trace.def"
#undef TRACE_EVENT
	NR_TRACE_EVENTS
};

/* Bit per enum trace_id: which are on. */
extern uint64_t trace_mask;

/*
 * Opens @path (truncated) and turns events on. @filter: comma-separated names or
 * NULL for all. 0, -errno of the open, -EINVAL for an unknown name.
 */
int trace_start(const char *path, const char *filter);
void trace_stop(void);
const char *trace_name(enum trace_id id);

/* The vCPU that the calling thread's lines are about (-1: none). */
extern __thread int trace_vcpu;

void trace_emit(enum trace_id id, const char *fmt, ...) __printf(2, 3);

#define TRACE_ARGS(...) __VA_ARGS__
#define TRACE_EVENT(name, proto, args, fmt)				\
static inline bool trace_##name##_enabled(void)				\
{									\
	return unlikely(trace_mask & BIT_ULL(TRACE_##name));		\
}									\
static inline void trace_##name(proto)					\
{									\
	if (trace_##name##_enabled())					\
		trace_emit(TRACE_##name, fmt, args);			\
}
#include "obs/trace.def"
#undef TRACE_EVENT

#endif
