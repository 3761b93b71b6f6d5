/* SPDX-License-Identifier: MIT */
/*
 * anykvm: the KVM API in this process.
 *
 * The functions stand for the system calls a KVM client makes on /dev/kvm; the
 * requests, structures and errors are those of <linux/kvm.h>. A file descriptor
 * from here is a real one (mmap, dup, poll and fork work on it), but its ioctls
 * must come through anykvm_ioctl(). Clients that are not written for this
 * header run unmodified under libanykvm-preload.so ("anykvm exec").
 *
 * All functions may be called from any thread. Errors: -1 with errno set, unless
 * a function says otherwise.
 */
#ifndef ANYKVM_ANYKVM_H
#define ANYKVM_ANYKVM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANYKVM_API __attribute__((visibility("default")))

/*
 * KVM_CHECK_EXTENSION with this number answers ANYKVM_VERSION_NUMBER here and 0
 * on any other KVM: how a test makes sure whom it talks to.
 */
#define KVM_CAP_ANYKVM		0x616b766d
#define ANYKVM_VERSION_NUMBER	1

/*
 * open("/dev/kvm", flags). Returns a system fd. EMFILE, ENOMEM.
 *
 * The process's SIGSEGV, SIGBUS, SIGFPE and SIGILL go to the library first from here on;
 * the handlers that were there get what is not for it. Handlers that the client installs
 * later are put behind the library's at the next anykvm_open(), KVM_CREATE_VM,
 * KVM_CREATE_VCPU or first KVM_RUN of a thread; one that comes later still must pass on
 * to the handler that it replaces.
 */
ANYKVM_API int anykvm_open(int flags);

/*
 * ioctl(fd, request, arg) on a system, VM or vCPU fd. @arg is the pointer or the
 * integer the request takes. EBADF: @fd is not one of ours.
 */
ANYKVM_API int anykvm_ioctl(int fd, unsigned long request, void *arg);

/*
 * What a signal does to a thread in KVM_RUN, for clients of this header (signals
 * themselves are noticed under the preload library only): the vCPU's present or next
 * KVM_RUN ends with EINTR. Any thread, and signal handlers; in those the vCPU must not
 * be closed by another thread meanwhile.
 */
ANYKVM_API void anykvm_kick(int vcpu_fd);

/* close(fd). The object ends with its last fd. */
ANYKVM_API int anykvm_close(int fd);

/* Whether @fd is one of ours. */
ANYKVM_API bool anykvm_is_ours(int fd);

/*
 * Sets a module parameter for the VMs created from now on. 0, -ENOENT (no such
 * parameter), -EINVAL (bad value).
 */
ANYKVM_API int anykvm_param_set(const char *name, const char *value);

/*
 * The @index-th parameter: @name and @desc [OUT] static strings, @value [OUT] its
 * present value as text, at most @size bytes with the final 0. False past the last.
 */
ANYKVM_API bool anykvm_param_get(unsigned index, const char **name,
				 const char **desc, char *value, size_t size);

/*
 * Writes tracepoints to the file @path; @events: comma-separated names, or NULL
 * for all. NULL @path ends tracing. 0, -errno of the file, -EINVAL: unknown event.
 */
ANYKVM_API int anykvm_trace(const char *path, const char *events);

/*
 * Writes the statistics of all VMs and vCPUs of the process to file descriptor
 * @fd, a line each: "vm-PID-N[/vcpu:M] NAME VALUE". 0 or -errno.
 */
ANYKVM_API int anykvm_stats(int fd);

#ifdef __cplusplus
}
#endif
#endif
