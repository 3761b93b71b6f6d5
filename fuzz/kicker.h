/* SPDX-License-Identifier: MIT */
/* A thread that ends a guest's run after a few milliseconds. */
#ifndef ANYKVM_FUZZ_KICKER_H
#define ANYKVM_FUZZ_KICKER_H

#include <stdbool.h>

/*
 * From now on until kicker_stop(), about every two milliseconds, another thread
 * calls @kick(@arg), which makes the caller's run leave. The caller's thread only.
 */
void kicker_start(void (*kick)(void *arg), void *arg);
/* No call is under way, and none will come, when this returns. */
void kicker_stop(void);

#endif
