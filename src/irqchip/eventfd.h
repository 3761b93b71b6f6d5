/* SPDX-License-Identifier: MIT */
/*
 * Holding on to a client's eventfd: what the kernel's eventfd_ctx is to KVM is
 * a duplicate descriptor here.
 */
#ifndef ANYKVM_IRQCHIP_EVENTFD_H
#define ANYKVM_IRQCHIP_EVENTFD_H

#include "base/types.h"

/* The duplicate (close-on-exec), -EBADF, -EINVAL: not an eventfd, -EMFILE. */
int eventfd_ctx_get(int fd);
void eventfd_ctx_put(int ctx);
/* Do two descriptors mean the same eventfd? */
bool eventfd_ctx_same(int a, int b);
/* Adds 1; never blocks (a full counter stays full and readable). */
void eventfd_ctx_signal(int ctx);
/* Reads and clears without blocking. True: the counter was not 0. */
bool eventfd_ctx_drain(int ctx);

#endif
