/* SPDX-License-Identifier: MIT */
/*
 * The two ways to a KVM: system calls on a device file, and the C API of
 * libanykvm. The fds of both are the kernel's, so mmap and poll are not here.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "anykvm/anykvm.h"
#include "api.h"

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
