/* SPDX-License-Identifier: MIT */
/*
 * A binary heap of armed timers, one thread that sleeps until the first.
 *
 * Every field of the service and of the timers in it is protected by one
 * mutex; a timer's slot is its place in the heap, so cancelling needs no
 * search. The thread takes the due timer out, drops the mutex, runs the
 * callback and takes the mutex again: callbacks may do what they like with
 * timers, and only a cancel from another thread waits for them.
 *
 * While its callback runs the timer's memory stays with its owner: "running"
 * in the service, not in the timer alone, says so, and nothing of the timer is
 * touched after the callback unless it is still the running one. A callback
 * may therefore free its own timer after cancelling it.
 *
 * The thread sleeps in a read of a timerfd, so that arming an earlier deadline
 * (what a guest does at every tick) is one system call on the arming thread
 * and wakes nobody. While the thread is awake (dispatching) not even that: it
 * sets the timerfd itself before it sleeps. A deadline that was cancelled
 * stays set; the thread wakes for nothing then, at most once.
 *
 * The thread blocks all signals that a client may have handlers for.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/hold.h"
#include "base/timer.h"

#define HELD_SLEEP	100000ull	/* ns, the shortest while time is held */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t idle;		/* a callback returned */
	int fd;				/* timerfd */
	uint64_t set_to;		/* what it is set to */
	pthread_t thread;		/* while a timer is running */
	bool dispatching;		/* the thread is awake */
	struct hrtimer **heap;
	int count, cap;
	struct hrtimer *running;
	unsigned waiters;		/* cancels that wait for it */
	bool started, prepared;
} svc = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.idle = PTHREAD_COND_INITIALIZER,
	.fd = -1,
};

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t ktime_get_ns(void)
{
	return unlikely(time_was_held()) ? time_ns_at(time_tsc()) : monotonic_ns();
}

static void heap_put(struct hrtimer *t, int slot)
{
	svc.heap[slot] = t;
	__atomic_store_n(&t->slot, slot, __ATOMIC_RELAXED);
}

/* Moves @t from @slot towards the root, then towards the leaves. */
static void heap_settle(struct hrtimer *t, int slot)
{
	while (slot > 0 && svc.heap[(slot - 1) / 2]->deadline > t->deadline) {
		heap_put(svc.heap[(slot - 1) / 2], slot);
		slot = (slot - 1) / 2;
	}
	for (int kid = 2 * slot + 1; kid < svc.count; kid = 2 * slot + 1) {
		if (kid + 1 < svc.count &&
		    svc.heap[kid + 1]->deadline < svc.heap[kid]->deadline)
			kid++;
		if (svc.heap[kid]->deadline >= t->deadline)
			break;
		heap_put(svc.heap[kid], slot);
		slot = kid;
	}
	heap_put(t, slot);
}

static bool heap_del(struct hrtimer *t)
{
	int slot = t->slot;

	if (slot < 0)
		return false;
	__atomic_store_n(&t->slot, -1, __ATOMIC_RELAXED);
	svc.count--;
	if (slot != svc.count)
		heap_settle(svc.heap[svc.count], slot);
	return true;
}

static int heap_reserve(void)
{
	struct hrtimer **heap;
	int cap = MAX(64, svc.cap * 2);

	if (svc.count < svc.cap)
		return 0;
	heap = realloc(svc.heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	svc.heap = heap;
	svc.cap = cap;
	return 0;
}

static void run_first(void)
{
	struct hrtimer *t = svc.heap[0];

	heap_del(t);
	svc.running = t;
	__atomic_store_n(&t->running, true, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&svc.lock);
	t->fn(t);
	pthread_mutex_lock(&svc.lock);
	if (svc.running == t)
		__atomic_store_n(&t->running, false, __ATOMIC_RELAXED);
	svc.running = NULL;
	if (svc.waiters)
		pthread_cond_broadcast(&svc.idle);
}

/* The first deadline by the host's clock. While ours is held it may come later, and the
 * thread sleeps again. */
static uint64_t first_ns(void)
{
	uint64_t ns = svc.heap[0]->deadline, now;

	if (likely(!time_was_held()))
		return ns;
	now = ktime_get_ns();
	return monotonic_ns() + (ns > now ? MAX(ns - now, HELD_SLEEP) : 0);
}

/* Sets the timerfd to the first deadline. */
static int program(void)
{
	uint64_t ns = first_ns();
	struct itimerspec its = { 0 };

	if (ns == svc.set_to)
		return 0;
	its.it_value.tv_sec = MIN(ns / 1000000000u, (uint64_t)INT32_MAX);
	its.it_value.tv_nsec = MAX(ns % 1000000000u, 1u);
	if (timerfd_settime(svc.fd, TFD_TIMER_ABSTIME, &its, NULL))
		return -errno;
	svc.set_to = ns;
	return 0;
}

static void dispatch(void)
{
	pthread_mutex_lock(&svc.lock);
	svc.dispatching = true;
	svc.set_to = ~0ull;
	while (svc.count && svc.heap[0]->deadline <= ktime_get_ns())
		run_first();
	if (svc.count && program())
		log_error("timers: the timerfd is gone");
	svc.dispatching = false;
	pthread_mutex_unlock(&svc.lock);
}

static void *timer_thread(void *arg)
{
	int fd = (int)(intptr_t)arg;
	uint64_t expirations;

	prctl(PR_SET_NAME, "anykvm-timer");
	svc.thread = pthread_self();	/* read by those who find svc.running set */
	do {
		dispatch();
	} while (read(fd, &expirations, sizeof(expirations)) > 0 ||
		 errno == EINTR);
	/* The client closed it. The next arm starts over. */
	log_error("timers: the timerfd is gone");
	pthread_mutex_lock(&svc.lock);
	svc.started = false;
	svc.fd = -1;
	pthread_mutex_unlock(&svc.lock);
	return NULL;
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&svc.lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&svc.lock);
}

static void fork_child(void)
{
	for (int i = 0; i < svc.count; i++)
		svc.heap[i]->slot = -1;
	if (svc.running)
		svc.running->running = false;
	svc.running = NULL;
	svc.count = 0;
	svc.waiters = 0;
	svc.started = svc.dispatching = false;
	own_fd_close(svc.fd);
	svc.fd = -1;
	pthread_mutex_init(&svc.lock, NULL);
	pthread_cond_init(&svc.idle, NULL);
}

static int open_timerfd(void)
{
	int fd = own_fd_take(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));

	if (fd < 0)
		return fd;
	svc.fd = fd;
	svc.set_to = ~0ull;
	return 0;
}

static int start_thread(void)
{
	int r;

	if (svc.started)
		return 0;
	if (!svc.prepared) {
		r = pthread_atfork(fork_prepare, fork_parent, fork_child);
		if (r)
			return -r;
		svc.prepared = true;
	}
	if (svc.fd < 0) {
		r = open_timerfd();
		if (r)
			return r;
	}
	r = service_thread(timer_thread, (void *)(intptr_t)svc.fd);
	if (r)
		return r;
	svc.started = true;
	return 0;
}

void hrtimer_init(struct hrtimer *t, void (*fn)(struct hrtimer *t))
{
	t->fn = fn;
	t->deadline = 0;
	t->slot = -1;
	t->running = false;
}

int hrtimer_start(struct hrtimer *t, uint64_t ns)
{
	int r;

	pthread_mutex_lock(&svc.lock);
	r = start_thread();
	if (!r && t->slot < 0)
		r = heap_reserve();
	if (r)
		goto out;
	t->deadline = ns;
	heap_settle(t, t->slot < 0 ? svc.count++ : t->slot);
	if (t->slot == 0 && !svc.dispatching)
		r = program();
	if (r)
		heap_del(t);
out:
	pthread_mutex_unlock(&svc.lock);
	return r;
}

bool hrtimer_try_to_cancel(struct hrtimer *t)
{
	bool was;

	pthread_mutex_lock(&svc.lock);
	was = heap_del(t);
	pthread_mutex_unlock(&svc.lock);
	return was;
}

bool hrtimer_cancel(struct hrtimer *t)
{
	bool was;

	pthread_mutex_lock(&svc.lock);
	was = heap_del(t);
	if (svc.running == t && pthread_equal(svc.thread, pthread_self())) {
		/* The memory may go: forget it. */
		__atomic_store_n(&t->running, false, __ATOMIC_RELAXED);
		svc.running = NULL;
	}
	while (svc.running == t) {
		svc.waiters++;
		pthread_cond_wait(&svc.idle, &svc.lock);
		svc.waiters--;
		/* A callback may have armed it again meanwhile. */
		was |= heap_del(t);
	}
	pthread_mutex_unlock(&svc.lock);
	return was;
}

bool hrtimer_active(const struct hrtimer *t)
{
	return __atomic_load_n(&t->slot, __ATOMIC_RELAXED) >= 0 ||
	       __atomic_load_n(&t->running, __ATOMIC_RELAXED);
}
