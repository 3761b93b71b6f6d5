/* SPDX-License-Identifier: MIT */
/* Messages for people, on standard error, each with the program's prefix. */
#ifndef ANYKVM_BASE_LOG_H
#define ANYKVM_BASE_LOG_H

#include "base/types.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* What is printed: up to and including this. Default LOG_WARN; ANYKVM_LOG
 * (error, warn, info, debug) sets it at start. */
extern enum log_level log_threshold;

void log_line(enum log_level level, const char *fmt, ...) __printf(2, 3);

#define log_error(...)	log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)	log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)	log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)							\
	do {								\
		if (unlikely(log_threshold >= LOG_DEBUG))		\
			log_line(LOG_DEBUG, __VA_ARGS__);		\
	} while (0)

#endif
