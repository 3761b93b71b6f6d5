/* SPDX-License-Identifier: MIT */
/*
 * eventfds of the client.
 *
 * The duplicate shares the client's open file, so the counter is the same and
 * its O_NONBLOCK must not be changed: reads and writes that must not block say
 * so per call (RWF_NOWAIT) or are preceded by poll(). Reads use RWF_NOWAIT,
 * writes poll(): the host kernel has no RWF_NOWAIT for writes to an eventfd,
 * and the window between the two only matters to a counter one below its
 * maximum of 2^64 - 2.
 *
 * An eventfd is told from other files by the name the host kernel gives it in
 * /proc; where /proc is missing any descriptor passes that can be polled and
 * is of no file type at all. Identity is kcmp(2)'s, else the eventfd-id of
 * /proc/self/fdinfo.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "irqchip/eventfd.h"

static bool is_eventfd(int fd)
{
	char path[64], name[64];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return !fstat(fd, &st) && !(st.st_mode & S_IFMT);
	name[n] = 0;
	return !strncmp(name, "anon_inode:[eventfd", 19);
}

int eventfd_ctx_get(int fd)
{
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	return is_eventfd(fd) ? own_fd_dup(fd) : -EINVAL;
}

void eventfd_ctx_put(int ctx)
{
	own_fd_close(ctx);
}

/* -1: the host kernel does not tell. */
static long eventfd_id(int fd)
{
	char path[64], line[128];
	long id = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "eventfd-id: %ld", &id) == 1)
			break;
	fclose(f);
	return id;
}

bool eventfd_ctx_same(int a, int b)
{
	pid_t pid = getpid();
	long r = syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b);

	if (r >= 0)
		return !r;
	r = eventfd_id(a);
	return r >= 0 ? r == eventfd_id(b) : a == b;
}

void eventfd_ctx_signal(int ctx)
{
	struct pollfd p = { .fd = ctx, .events = POLLOUT };
	uint64_t one = 1;

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return;
	while (write(ctx, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

bool eventfd_ctx_drain(int ctx)
{
	struct pollfd p = { .fd = ctx, .events = POLLIN };
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };
	ssize_t n = preadv2(ctx, &iov, 1, -1, RWF_NOWAIT);

	if (n < 0 && errno == EOPNOTSUPP) {
		if (poll(&p, 1, 0) != 1 || !(p.revents & POLLIN))
			return false;
		n = read(ctx, &count, sizeof(count));
	}
	return n == sizeof(count);
}
