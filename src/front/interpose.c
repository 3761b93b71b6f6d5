/* SPDX-License-Identifier: MIT */
/*
 * libanykvm-preload.so: the C library's calls that a KVM client makes on /dev/kvm
 * and on descriptors, answered here when they concern us and passed on otherwise.
 *
 * Wrapped: opening /dev/kvm, asking whether it is there, ioctl, and whatever makes
 * or ends a descriptor number (close, dup and its kin). mmap, poll, fork, fcntl
 * flags and passing descriptors work on the memfds themselves. Not seen: raw system
 * calls (static binaries, Go), which is another front's job.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "front/real.h"
#include "ioctl/ioctl.h"

static bool is_dev_kvm(const char *path)
{
	return path && !strcmp(path, "/dev/kvm");
}

static int to_libc(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* --- open ---------------------------------------------------------------------------- */

static int open_kvm(int flags)
{
	return to_libc(kvm_dev_open(flags));
}

#define NEEDS_MODE(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)

static mode_t mode_of(int flags, va_list ap)
{
	return NEEDS_MODE(flags) ? va_arg(ap, mode_t) : 0;
}

#define WRAP_OPEN(name)							\
EXPORT int name(const char *path, int flags, ...)			\
{									\
	va_list ap;							\
	mode_t mode;							\
									\
	if (is_dev_kvm(path))						\
		return open_kvm(flags);					\
	va_start(ap, flags);						\
	mode = mode_of(flags, ap);					\
	va_end(ap);							\
	return REAL(name)(path, flags, mode);				\
}

#define WRAP_OPENAT(name)						\
EXPORT int name(int dir, const char *path, int flags, ...)		\
{									\
	va_list ap;							\
	mode_t mode;							\
									\
	if (is_dev_kvm(path))						\
		return open_kvm(flags);					\
	va_start(ap, flags);						\
	mode = mode_of(flags, ap);					\
	va_end(ap);							\
	return REAL(name)(dir, path, flags, mode);			\
}

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)

/* What fortified programs call. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return is_dev_kvm(path) ? open_kvm(flags) : REAL(__open_2)(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return is_dev_kvm(path) ? open_kvm(flags) : REAL(__open64_2)(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return is_dev_kvm(path) ? open_kvm(flags)
				: REAL(__openat_2)(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return is_dev_kvm(path) ? open_kvm(flags)
				: REAL(__openat64_2)(dir, path, flags);
}

/* --- is it there? ------------------------------------------------------------------------ */

EXPORT int access(const char *path, int mode)
{
	if (is_dev_kvm(path))
		return mode & X_OK ? to_libc(-EACCES) : 0;
	return REAL(access)(path, mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	if (is_dev_kvm(path))
		return mode & X_OK ? to_libc(-EACCES) : 0;
	return REAL(faccessat)(dir, path, mode, flags);
}

/* --- ioctl --------------------------------------------------------------------------------- */

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_file *f;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* Requests that every descriptor takes (FIOCLEX, ...) are the kernel's. */
	if (_IOC_TYPE(request) != KVMIO)
		return REAL(ioctl)(fd, request, arg);
	f = kvm_file_get(fd);
	if (!f)
		f = kvm_file_find(fd);
	return f ? to_libc(kvm_dispatch_ioctl(f, request, arg))
		 : REAL(ioctl)(fd, request, arg);
}

/* --- descriptor numbers ----------------------------------------------------------------------- */

/* Ours are not the client's to close: to it they are not there. */
EXPORT int close(int fd)
{
	if (own_fd(fd))
		return to_libc(-EBADF);
	kvm_file_close(fd);
	return REAL(close)(fd);
}

EXPORT int dup(int fd)
{
	int new = REAL(dup)(fd);

	if (new >= 0)
		kvm_file_dup(fd, new);
	return new;
}

EXPORT int dup2(int fd, int want)
{
	int new = REAL(dup2)(fd, want);

	if (new >= 0)
		kvm_file_dup(fd, new);
	return new;
}

EXPORT int dup3(int fd, int want, int flags)
{
	int new = REAL(dup3)(fd, want, flags);

	if (new >= 0)
		kvm_file_dup(fd, new);
	return new;
}

static bool duplicates(int cmd)
{
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC;
}

#define WRAP_FCNTL(name)						\
EXPORT int name(int fd, int cmd, ...)					\
{									\
	va_list ap;							\
	void *arg;							\
	int ret;							\
									\
	va_start(ap, cmd);						\
	arg = va_arg(ap, void *);					\
	va_end(ap);							\
	ret = REAL(name)(fd, cmd, arg);					\
	if (ret >= 0 && duplicates(cmd))				\
		kvm_file_dup(fd, ret);					\
	return ret;							\
}

WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

static void forget_range(unsigned first, unsigned last)
{
	/* Descriptor numbers end where the process's limit does. */
	long max = sysconf(_SC_OPEN_MAX);

	for (unsigned fd = first; fd <= last && (long)fd < max; fd++)
		kvm_file_close(fd);
}

/* Closes [@first, @last] but for what is ours. */
EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	unsigned from = first;
	int ret = 0, spare;

	while (!ret && (spare = own_fd_next(from, last)) >= 0) {
		if ((unsigned)spare > from)
			ret = REAL(close_range)(from, spare - 1, flags);
		from = spare + 1;
	}
	if (!ret && (from <= last || from == first))
		ret = REAL(close_range)(from, last, flags);
	if (!ret && !(flags & (int)CLOSE_RANGE_CLOEXEC))
		forget_range(first, last);
	return ret;
}

EXPORT void closefrom(int first)
{
	unsigned from = MAX(first, 0);

	/* A kernel without close_range() leaves it to us. */
	if (close_range(from, ~0u, 0))
		for (long max = sysconf(_SC_OPEN_MAX); from < max; from++)
			close(from);
}
