/* SPDX-License-Identifier: MIT */
/*
 * The two ways to a KVM: system calls on a device file, and the C API of
 * libanykvm. The tool is built before the library is complete in some build
 * folders (unit tests of the loaders), so the references are weak there and a
 * missing library is an ENOSYS at open.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "anykvm/anykvm.h"
#include "api.h"

#ifndef HAVE_LIBANYKVM
#pragma weak anykvm_open
#pragma weak anykvm_ioctl
#pragma weak anykvm_close
#endif

static int device_open(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}

static int device_ioctl(int fd, unsigned long req, void *arg)
{
	return ioctl(fd, req, arg);
}

const struct kvm_api kvm_api_device = {
	.open = device_open, .ioctl = device_ioctl, .close = close,
};

static int library_open(const char *path)
{
#ifndef HAVE_LIBANYKVM
	if (!anykvm_open) {
		errno = ENOSYS;
		return -1;
	}
#endif
	return anykvm_open(O_RDWR | O_CLOEXEC);
}

static int library_ioctl(int fd, unsigned long req, void *arg)
{
	return anykvm_ioctl(fd, req, arg);
}

static int library_close(int fd)
{
	return anykvm_close(fd);
}

const struct kvm_api kvm_api_anykvm = {
	.open = library_open, .ioctl = library_ioctl, .close = library_close,
};
