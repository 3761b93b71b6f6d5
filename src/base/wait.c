/* SPDX-License-Identifier: MIT */
/*
 * A sequence number and a futex.
 *
 * The sleeper says so in @sleeping before it enters the host kernel, a waker
 * changes @seq before it looks at @sleeping: one of the two sees the other, so
 * a waker whose target is awake costs no system call.
 *
 * The sleep always has a timeout. A futex wait without one is restarted by the
 * host kernel after a handler with SA_RESTART; with one it ends with EINTR,
 * and that is what lets a signal end KVM_RUN in HLT.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/wait.h"

/* About a century after boot: later than any host lives, well in range. */
#define FOREVER_S	(100ll * 365 * 86400)

void kvm_wait_init(struct kvm_wait *w)
{
	w->seq = 0;
	w->sleeping = 0;
}

uint32_t kvm_wait_prepare(struct kvm_wait *w)
{
	return __atomic_load_n(&w->seq, __ATOMIC_SEQ_CST);
}

int kvm_wait_until(struct kvm_wait *w, uint32_t seq, uint64_t deadline)
{
	struct timespec ts = { .tv_sec = FOREVER_S };
	int r = 0;

	if (deadline / 1000000000u < (uint64_t)FOREVER_S) {
		ts.tv_sec = deadline / 1000000000u;
		ts.tv_nsec = deadline % 1000000000u;
	}
	__atomic_store_n(&w->sleeping, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&w->seq, __ATOMIC_SEQ_CST) == seq) {
		if (!syscall(SYS_futex, &w->seq, FUTEX_WAIT_BITSET_PRIVATE,
			     seq, &ts, NULL, FUTEX_BITSET_MATCH_ANY))
			continue;	/* woken, or for no reason */
		if (errno == EAGAIN)
			continue;
		r = -errno;
		break;
	}
	__atomic_store_n(&w->sleeping, 0, __ATOMIC_SEQ_CST);
	return r;
}

void kvm_wait_wake(struct kvm_wait *w)
{
	int saved = errno;

	__atomic_fetch_add(&w->seq, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&w->sleeping, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &w->seq, FUTEX_WAKE_PRIVATE, 1, NULL, NULL,
			0);
	errno = saved;
}
