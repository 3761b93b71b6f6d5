/* SPDX-License-Identifier: MIT */
/*
 * The clock that can be held (hold.h).
 *
 * Once held it is the TSC less a total, in nanoseconds too, so that TSC and clock agree to
 * the tick: they part from CLOCK_MONOTONIC by what NTP adjusts, a few parts in a million.
 * Writers take a lock, readers look at a sequence number before and after (odd: a writer
 * is at work).
 */
#include <pthread.h>

#include "base/hold.h"
#include "base/tsc.h"

static struct {
	uint32_t lock;
	uint32_t seq;
	uint32_t holders;
	bool used;
	uint64_t since;		/* TSC at which the first of them came */
	uint64_t tsc, ns;	/* the two clocks when it was held for the first time */
} held;

uint64_t time_held_for;

/* What comes before it in the program has been read by then, and what comes after has not. */
static uint64_t tsc_in_order(void)
{
	uint64_t tsc;

	__asm__ volatile("lfence" : : : "memory");
	tsc = host_rdtsc();
	__asm__ volatile("lfence" : : : "memory");
	return tsc;
}

static void lock(void)
{
	while (__atomic_exchange_n(&held.lock, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
	__atomic_store_n(&held.seq, held.seq + 1, __ATOMIC_RELAXED);
	/* Readers know of us before we look at the TSC. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void unlock(void)
{
	__atomic_store_n(&held.seq, held.seq + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&held.lock, 0, __ATOMIC_RELEASE);
}

/* Its threads are the parent's. */
static void fork_child(void)
{
	held.lock = held.holders = 0;
	held.seq &= ~1u;
	held.since = 0;
}

/* The first time: from here on nanoseconds are counted by the TSC. */
static void start(void)
{
	if (held.used)
		return;
	pthread_atfork(NULL, NULL, fork_child);
	host_tsc_and_ns(&held.tsc, &held.ns);
	__atomic_store_n(&held.used, true, __ATOMIC_RELEASE);
}

void time_hold(void)
{
	lock();
	start();
	if (!held.holders++)
		WRITE_ONCE(held.since, tsc_in_order());
	unlock();
}

void time_release(void)
{
	lock();
	if (!--held.holders) {
		WRITE_ONCE(time_held_for, time_held_for + (tsc_in_order() - held.since));
		WRITE_ONCE(held.since, 0);
	}
	unlock();
}

bool time_was_held(void)
{
	return __atomic_load_n(&held.used, __ATOMIC_ACQUIRE);
}

uint64_t time_tsc(void)
{
	uint64_t since, total, now;
	uint32_t seq;

	if (likely(!time_was_held()))
		return host_rdtsc();
	do {
		seq = __atomic_load_n(&held.seq, __ATOMIC_ACQUIRE);
		since = READ_ONCE(held.since);
		total = READ_ONCE(time_held_for);
		now = since ? since : tsc_in_order();
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (seq & 1 || seq != READ_ONCE(held.seq));
	return now - total;
}

uint64_t time_ns_at(uint64_t tsc)
{
	return held.ns + (uint64_t)((unsigned __int128)(tsc - held.tsc) * 1000000u /
				    host_tsc_khz());
}
