/* SPDX-License-Identifier: MIT */
/*
 * hrtimer: order, cancel, re-arm from the callback, cancel that waits for a
 * running callback, fork(). Upper bounds are generous: the machine may be busy.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/timer.h"

#define MS	1000000ull

struct probe {
	struct hrtimer t;
	unsigned fired;
	uint64_t when;
	unsigned again;		/* times to arm itself again */
	uint64_t linger;	/* ns that the callback takes */
	bool stay;		/* it goes on as long as this is set */
	bool left;		/* the callback came to its end */
};

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { ns / 1000000000u, ns % 1000000000u };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static void probe_fn(struct hrtimer *t)
{
	struct probe *p = container_of(t, struct probe, t);

	WRITE_ONCE(p->when, ktime_get_ns());
	__atomic_fetch_add(&p->fired, 1, __ATOMIC_SEQ_CST);
	if (p->linger)
		sleep_ns(p->linger);
	while (__atomic_load_n(&p->stay, __ATOMIC_SEQ_CST))
		sleep_ns(MS);
	if (p->again) {
		p->again--;
		hrtimer_start(t, ktime_get_ns() + MS);
	}
	__atomic_store_n(&p->left, true, __ATOMIC_SEQ_CST);
}

static unsigned fired(struct probe *p)
{
	return __atomic_load_n(&p->fired, __ATOMIC_SEQ_CST);
}

static bool wait_fired(struct probe *p, unsigned n)
{
	for (int i = 0; i < 3000 && fired(p) < n; i++)
		sleep_ns(MS);
	return fired(p) >= n;
}

static void test_fires_not_early(void **state)
{
	struct probe p = { 0 };
	uint64_t at = ktime_get_ns() + 100 * MS;

	hrtimer_init(&p.t, probe_fn);
	assert_false(hrtimer_active(&p.t));
	assert_int_equal(hrtimer_start(&p.t, at), 0);
	assert_true(hrtimer_active(&p.t));
	assert_true(wait_fired(&p, 1));
	assert_true(p.when >= at);
	assert_false(hrtimer_cancel(&p.t));
	assert_int_equal(fired(&p), 1);
}

static void test_past_deadline_fires_at_once(void **state)
{
	struct probe p = { 0 };

	hrtimer_init(&p.t, probe_fn);
	assert_int_equal(hrtimer_start(&p.t, 0), 0);
	assert_true(wait_fired(&p, 1));
	/* The same deadline again, although the timer was set to it already. */
	assert_int_equal(hrtimer_start(&p.t, 0), 0);
	assert_true(wait_fired(&p, 2));
	hrtimer_cancel(&p.t);
}

static void test_cancelled_does_not_fire(void **state)
{
	struct probe p = { 0 };
	unsigned n;

	hrtimer_init(&p.t, probe_fn);
	/* A host that is busy elsewhere lets it fire: once more. */
	do
		hrtimer_start(&p.t, ktime_get_ns() + 100 * MS);
	while (!hrtimer_cancel(&p.t));
	assert_false(hrtimer_cancel(&p.t));
	do
		hrtimer_start(&p.t, ktime_get_ns() + 100 * MS);
	while (!hrtimer_try_to_cancel(&p.t));
	n = fired(&p);
	sleep_ns(130 * MS);
	assert_int_equal(fired(&p), n);
}

static void test_rearm_moves_the_deadline(void **state)
{
	struct probe p = { 0 };
	uint64_t t0 = ktime_get_ns();

	hrtimer_init(&p.t, probe_fn);
	hrtimer_start(&p.t, t0 + 10000 * MS);
	hrtimer_start(&p.t, t0 + 2 * MS);
	assert_true(wait_fired(&p, 1));
	assert_true(p.when - t0 < 9000 * MS);
	hrtimer_start(&p.t, ktime_get_ns() + 300 * MS);
	hrtimer_start(&p.t, ktime_get_ns() + 10000 * MS);
	sleep_ns(320 * MS);
	assert_int_equal(fired(&p), 1);
	assert_true(hrtimer_cancel(&p.t));
}

static void test_many_fire_in_order(void **state)
{
	static struct probe p[200];
	uint64_t t0 = ktime_get_ns() + 500 * MS;	/* when all are armed */

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		hrtimer_init(&p[i].t, probe_fn);
		hrtimer_start(&p[i].t, t0 + i * 7919 % 200 * 50000);
	}
	/* Every third goes again, from the middle of the heap. */
	for (unsigned i = 0; i < ARRAY_SIZE(p); i += 3)
		assert_true(hrtimer_cancel(&p[i].t));
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		if (i % 3 == 0) {
			assert_int_equal(fired(&p[i]), 0);
			continue;
		}
		assert_true(wait_fired(&p[i], 1));
		assert_true(p[i].when >= t0 + i * 7919 % 200 * 50000);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(p); j++)
			if (p[i].fired && p[j].fired &&
			    i * 7919 % 200 < j * 7919 % 200)
				assert_true(p[i].when <= p[j].when);
}

static void test_rearm_from_callback(void **state)
{
	struct probe p = { .again = 4 };

	hrtimer_init(&p.t, probe_fn);
	hrtimer_start(&p.t, ktime_get_ns() + MS);
	assert_true(wait_fired(&p, 5));
	hrtimer_cancel(&p.t);
	assert_int_equal(fired(&p), 5);
}

static void test_cancel_waits_for_running_callback(void **state)
{
	struct probe p = { .linger = 50 * MS };

	hrtimer_init(&p.t, probe_fn);
	hrtimer_start(&p.t, ktime_get_ns());
	assert_true(wait_fired(&p, 1));
	assert_false(hrtimer_cancel(&p.t));
	assert_true(__atomic_load_n(&p.left, __ATOMIC_SEQ_CST));
	assert_false(hrtimer_active(&p.t));
}

static void test_try_to_cancel_does_not_wait(void **state)
{
	struct probe p = { .stay = true };

	hrtimer_init(&p.t, probe_fn);
	hrtimer_start(&p.t, ktime_get_ns());
	assert_true(wait_fired(&p, 1));
	assert_false(hrtimer_try_to_cancel(&p.t));
	assert_false(__atomic_load_n(&p.left, __ATOMIC_SEQ_CST));
	__atomic_store_n(&p.stay, false, __ATOMIC_SEQ_CST);
	hrtimer_cancel(&p.t);
	assert_true(__atomic_load_n(&p.left, __ATOMIC_SEQ_CST));
}

static void test_cancel_beats_rearm_from_running_callback(void **state)
{
	struct probe p = { .linger = 30 * MS, .again = 1000 };

	hrtimer_init(&p.t, probe_fn);
	hrtimer_start(&p.t, ktime_get_ns());
	assert_true(wait_fired(&p, 1));
	assert_true(hrtimer_cancel(&p.t));
	assert_false(hrtimer_active(&p.t));
}

static void free_fn(struct hrtimer *t)
{
	struct probe *p = container_of(t, struct probe, t);
	unsigned *count = (unsigned *)(uintptr_t)p->when;

	hrtimer_cancel(t);
	free(p);
	__atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
}

static void test_callback_may_free_its_timer(void **state)
{
	struct probe *p = calloc(1, sizeof(*p));
	unsigned count = 0;

	hrtimer_init(&p->t, free_fn);
	p->when = (uintptr_t)&count;
	hrtimer_start(&p->t, 0);
	for (int i = 0; i < 3000 && !READ_ONCE(count); i++)
		sleep_ns(MS);
	assert_int_equal(READ_ONCE(count), 1);
}

static int in_child(void)
{
	static struct probe inherited, fresh;
	pid_t pid;
	int status;

	hrtimer_init(&inherited.t, probe_fn);
	hrtimer_start(&inherited.t, ktime_get_ns() + 200 * MS);
	pid = fork();
	if (!pid) {
		if (hrtimer_active(&inherited.t))
			_exit(1);
		hrtimer_init(&fresh.t, probe_fn);
		if (hrtimer_start(&fresh.t, ktime_get_ns() + MS))
			_exit(2);
		if (!wait_fired(&fresh, 1))
			_exit(3);
		sleep_ns(250 * MS);
		_exit(fired(&inherited) ? 4 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	if (!wait_fired(&inherited, 1))
		return -2;
	return WEXITSTATUS(status);
}

static void test_fork(void **state)
{
	assert_int_equal(in_child(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fires_not_early),
		cmocka_unit_test(test_past_deadline_fires_at_once),
		cmocka_unit_test(test_cancelled_does_not_fire),
		cmocka_unit_test(test_rearm_moves_the_deadline),
		cmocka_unit_test(test_many_fire_in_order),
		cmocka_unit_test(test_rearm_from_callback),
		cmocka_unit_test(test_cancel_waits_for_running_callback),
		cmocka_unit_test(test_try_to_cancel_does_not_wait),
		cmocka_unit_test(test_cancel_beats_rearm_from_running_callback),
		cmocka_unit_test(test_callback_may_free_its_timer),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
