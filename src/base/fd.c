/* SPDX-License-Identifier: MIT */
/*
 * A bit for each descriptor number. One beyond the table is ours all the same, but
 * nobody is told.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"

#define LOWEST		256
#define NR_FDS		(1u << 16)
#define WORD_BITS	64

static uint64_t ours[NR_FDS / WORD_BITS];

static uint64_t *word_of(unsigned fd)
{
	return &ours[fd / WORD_BITS];
}

static uint64_t bit_of(unsigned fd)
{
	return BIT_ULL(fd % WORD_BITS);
}

int own_fd_dup(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST);

	if (copy < 0)	/* RLIMIT_NOFILE may be that low */
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	if (copy < (int)NR_FDS)
		__atomic_fetch_or(word_of(copy), bit_of(copy), __ATOMIC_RELAXED);
	return copy;
}

int own_fd_take(int fd)
{
	int copy;

	if (fd < 0)
		return -errno;
	copy = own_fd_dup(fd);
	close(fd);
	return copy;
}

void own_fd_close(int fd)
{
	if (fd < 0)
		return;
	if (fd < (int)NR_FDS)
		__atomic_fetch_and(word_of(fd), ~bit_of(fd), __ATOMIC_RELAXED);
	close(fd);
}

bool own_fd(int fd)
{
	return fd >= 0 && fd < (int)NR_FDS &&
	       __atomic_load_n(word_of(fd), __ATOMIC_RELAXED) & bit_of(fd);
}

int own_fd_next(unsigned fd, unsigned last)
{
	for (; fd <= last && fd < NR_FDS; fd++) {
		if (own_fd(fd))
			return fd;
		if (!__atomic_load_n(word_of(fd), __ATOMIC_RELAXED))
			fd |= WORD_BITS - 1;
	}
	return -1;
}
