/* SPDX-License-Identifier: MIT */
/*
 * The way to a KVM: the kernel's (a device file) or anykvm's (a library). The
 * rest of the VMM knows only this; the requests are those of <linux/kvm.h>, the
 * descriptors are real ones, so that mmap() and close() need no entry here.
 */
#ifndef ANYKVM_VMM_API_H
#define ANYKVM_VMM_API_H

#include <stddef.h>

struct kvm_api {
	/* A system fd, or -1 with errno. @path: the device; anykvm ignores it. */
	int (*open)(const char *path);
	/* ioctl(2): >= 0, or -1 with errno. */
	int (*ioctl)(int fd, unsigned long req, void *arg);
	int (*close)(int fd);
};

extern const struct kvm_api kvm_api_device, kvm_api_anykvm;

#endif
