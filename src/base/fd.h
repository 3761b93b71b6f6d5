/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of our own in the client's process: timers, the irqfd's epoll, our
 * references to its eventfds. They live out of the low numbers that clients are
 * careless with, and are known here, so that a client that closes all that it has
 * not opened itself (closefrom(), close_range(), a loop over close()) spares them:
 * the interposer asks own_fd().
 */
#ifndef ANYKVM_BASE_FD_H
#define ANYKVM_BASE_FD_H

#include "base/types.h"

/* Makes @fd ours, at another number if it is low; @fd may be -1 with errno set.
 * The descriptor, or -errno. */
int own_fd_take(int fd);
/* A duplicate of @fd that is ours, or -errno. */
int own_fd_dup(int fd);
void own_fd_close(int fd);
bool own_fd(int fd);
/* The first of ours in [@fd, @last], or -1. */
int own_fd_next(unsigned fd, unsigned last);

#endif
