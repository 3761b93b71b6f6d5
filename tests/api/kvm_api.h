/* SPDX-License-Identifier: MIT */
/*
 * The KVM API as the tests see it, over one of two fronts: with API_CAPI the C
 * library (anykvm_open, anykvm_ioctl, ...), otherwise the plain system calls, for
 * which libanykvm-preload.so answers. Tests are written once and built twice.
 *
 * Whatever a test opens or maps through this header is given back when the test
 * ends (api_teardown), also when it failed half-way.
 */
#ifndef ANYKVM_TESTS_API_KVM_API_H
#define ANYKVM_TESTS_API_KVM_API_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "anykvm/anykvm.h"

#define PAGE		4096ul
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#ifdef API_CAPI
#define API_NAME "capi"
#else
#define API_NAME "preload"
#endif

/* --- the front under test ------------------------------------------------------ */

static inline int kvm_dev_open(void)
{
#ifdef API_CAPI
	return anykvm_open(O_RDWR | O_CLOEXEC);
#else
	return open("/dev/kvm", O_RDWR | O_CLOEXEC);
#endif
}

static inline int kvm_ioctl_ptr(int fd, unsigned long request, void *arg)
{
#ifdef API_CAPI
	return anykvm_ioctl(fd, request, arg);
#else
	return ioctl(fd, request, arg);
#endif
}

/* @arg is an integer or a pointer, as the request takes it. */
#define kvm_ioctl(fd, request, arg) \
	kvm_ioctl_ptr(fd, request, (void *)(uintptr_t)(arg))

static inline int kvm_close(int fd)
{
#ifdef API_CAPI
	return anykvm_close(fd);
#else
	return close(fd);
#endif
}

/* What a signal handler must do for a vCPU to notice the signal. */
static inline void kvm_notice_signal(int vcpu_fd)
{
#ifdef API_CAPI
	anykvm_kick(vcpu_fd);
#endif
}

/* --- assertions ------------------------------------------------------------------- */

void check_ok_(int ret, const char *what, const char *file, int line);
void check_errno_(int ret, int want, const char *what, const char *file, int line);

/* The call succeeds (>= 0); its value. */
#define ok(call)							\
	({								\
		int r_ = (call);					\
		check_ok_(r_, #call, __FILE__, __LINE__);		\
		r_;							\
	})
/* The call fails with -1 and this errno. */
#define fails(want, call)						\
	do {								\
		errno = 0;						\
		int r_ = (call);					\
		check_errno_(r_, want, #call, __FILE__, __LINE__);	\
	} while (0)

/* --- a VM ------------------------------------------------------------------------- */

enum {
	VM_IRQCHIP = 1,
	VM_PIT = 2,		/* with VM_IRQCHIP */
	VM_NO_VCPU = 4,
	VM_NO_MEMORY = 8,
};

#define RAM_SIZE	0x200000ul
#define CODE		0x1000ul	/* guests begin here */
#define STACK		0x8000ul
#define MAX_TEST_VCPUS	4

struct vm {
	int sys, fd;
	int vcpu[MAX_TEST_VCPUS];
	struct kvm_run *run[MAX_TEST_VCPUS];
	uint8_t *ram;		/* RAM_SIZE bytes at guest-physical 0, slot 0 */
};

/*
 * A VM with RAM and one vCPU in real mode, at CODE, with flat segments of base 0,
 * CPUID as KVM_GET_SUPPORTED_CPUID says.
 */
void vm_new(struct vm *v, unsigned flags);
/* vCPU @i, which must be the next one, with @id. */
void vm_add_vcpu(struct vm *v, unsigned i, unsigned id);
/* Guest code at CODE; vCPU 0 at its beginning. */
void vm_load(struct vm *v, const uint8_t *code, const uint8_t *end);
#define GUEST(name) guest_##name, guest_##name##_end
#define DECLARE_GUEST(name) \
	extern const uint8_t guest_##name[], guest_##name##_end[]

/* KVM_RUN of vCPU 0 ends with this exit reason. */
void check_run_(struct vm *v, unsigned reason, const char *file, int line);
#define run_until(v, reason) check_run_(v, reason, __FILE__, __LINE__)

void vm_get_regs(struct vm *v, struct kvm_regs *r);
void vm_set_rip(struct vm *v, uint64_t rip);
/* 64-bit mode, paging: the first GiB identity-mapped, tables at 0x100000. */
void vm_long_mode(struct vm *v);
void vm_set_region(struct vm *v, unsigned slot, uint64_t gpa, uint64_t size,
		   void *host, uint32_t flags);
int set_region(int vm, unsigned slot, uint64_t gpa, uint64_t size, void *host,
	       uint32_t flags);

/* Anonymous shared memory that ends with the test. */
void *test_map(size_t size);
/* @fd is closed when the test ends. */
int test_fd(int fd);
void test_forget_fd(int fd);
/* An address at which nothing is mapped. */
void *bad_pointer(void);
bool vendor_is_amd(void);

struct cpuid_buf {
	struct kvm_cpuid2 h;
	struct kvm_cpuid_entry2 e[256];
};
struct msr_buf {
	struct kvm_msrs h;
	struct kvm_msr_entry e[256];
};
int set_msr(int vcpu, uint32_t msr, uint64_t val);
int get_msr(int vcpu, uint32_t msr, uint64_t *val);

/* --- another thread in KVM_RUN ----------------------------------------------------- */

struct runner {
	pthread_t thread;
	struct vm *v;
	unsigned cpu;
	volatile bool done;
	int ret, err;
};

void runner_start(struct runner *r, struct vm *v, unsigned cpu);
/* Waits for the thread, at most 10 s. */
void runner_join(struct runner *r);
/* Ends its KVM_RUN with EINTR, as clients do: immediate_exit and a signal. */
void runner_stop(struct runner *r);
/* Waits, at most 10 s, until *@p is not @old. */
void wait_changed(const volatile uint32_t *p, uint32_t old);

/* --- suites ------------------------------------------------------------------------- */

int api_setup(void **state);
int api_teardown(void **state);
/* Runs the test that *@state names, after asking whom it talks to. */
void api_run_test(void **state);
#define T(fn) { #fn, api_run_test, api_setup, api_teardown, (void *)fn }

struct suite {
	const char *name;
	const struct CMUnitTest *tests;
	size_t nr;
};
#define SUITE(n, list) \
	const struct suite suite_##n = { #n, list, ARRAY_SIZE(list) }

#endif
