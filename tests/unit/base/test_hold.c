/* SPDX-License-Identifier: MIT */
/*
 * Time that is held: TSC, nanoseconds and timers stand still, go on from where they stood,
 * and never go back, whoever reads them.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/hold.h"
#include "base/timer.h"
#include "base/tsc.h"

#define MS	1000000ull

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void sleep_ms(unsigned ms)
{
	usleep(ms * 1000);
}

/* First: whoever holds it once changes the clocks of the process. */
static void clocks_are_the_hosts_until_held(void **state)
{
	uint64_t a = host_rdtsc(), b = time_tsc(), c = host_rdtsc();

	assert_false(time_was_held());
	assert_true(a <= b && b <= c);
	assert_int_equal(time_tsc_add(), 0);
	a = host_ns(), b = ktime_get_ns(), c = host_ns();
	assert_true(a <= b && b <= c);
}

static void clocks_stand_still(void **state)
{
	uint64_t tsc, ns, pair[2];

	time_hold();
	assert_true(time_was_held());
	tsc = time_tsc();
	ns = ktime_get_ns();
	sleep_ms(5);
	assert_int_equal(time_tsc(), tsc);
	assert_int_equal(ktime_get_ns(), ns);
	host_tsc_and_ns(&pair[0], &pair[1]);
	assert_int_equal(pair[0], tsc);
	assert_int_equal(pair[1], ns);
	/* Two hold it: one is not enough to let it go. */
	time_hold();
	time_release();
	assert_int_equal(time_tsc(), tsc);
	time_release();
	sleep_ms(1);
	assert_true(time_tsc() > tsc);
	assert_true(ktime_get_ns() >= ns + MS / 2);
}

static void what_was_held_is_missing_afterwards(void **state)
{
	uint64_t host = host_ns(), ns = ktime_get_ns(), tsc;

	time_hold();
	sleep_ms(20);
	time_release();
	ns = ktime_get_ns() - ns;
	host = host_ns() - host;
	assert_true(host >= 20 * MS);
	assert_true(ns + 20 * MS <= host + MS / 10);
	/* What translated code computes is what C computes. */
	tsc = time_tsc();
	assert_true(host_rdtsc() + time_tsc_add() >= tsc);
	assert_true(host_rdtsc() + time_tsc_add() <= time_tsc() + host_tsc_khz() * 1000ull);
}

struct probe {
	struct hrtimer t;
	uint64_t when;
};

static void probe_fn(struct hrtimer *t)
{
	struct probe *p = container_of(t, struct probe, t);

	__atomic_store_n(&p->when, ktime_get_ns(), __ATOMIC_SEQ_CST);
}

static uint64_t fired(struct probe *p)
{
	return __atomic_load_n(&p->when, __ATOMIC_SEQ_CST);
}

static void timers_wait_meanwhile(void **state)
{
	struct probe p = { .when = 0 };
	uint64_t at;
	int i;

	hrtimer_init(&p.t, probe_fn);
	time_hold();
	at = ktime_get_ns() + 3 * MS;
	assert_int_equal(hrtimer_start(&p.t, at), 0);
	sleep_ms(30);
	assert_int_equal(fired(&p), 0);
	time_release();
	for (i = 0; i < 3000 && !fired(&p); i++)
		sleep_ms(1);
	assert_true(fired(&p) >= at);
	/* One whose time has come fires, held or not. */
	p.when = 0;
	time_hold();
	assert_int_equal(hrtimer_start(&p.t, at), 0);
	for (i = 0; i < 3000 && !fired(&p); i++)
		sleep_ms(1);
	assert_true(fired(&p) >= at);
	time_release();
	hrtimer_cancel(&p.t);
}

static bool done;
static uint64_t went_back;

static void *reader(void *arg)
{
	uint64_t tsc = 0, ns = 0, t, n;

	while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) {
		t = time_tsc();
		n = ktime_get_ns();
		if (t < tsc || n < ns)
			__atomic_fetch_add(&went_back, 1, __ATOMIC_SEQ_CST);
		tsc = t;
		ns = n;
	}
	return NULL;
}

static void nobody_sees_time_go_back(void **state)
{
	pthread_t t;
	unsigned i;

	assert_int_equal(pthread_create(&t, NULL, reader, NULL), 0);
	for (i = 0; i < 200000; i++) {
		time_hold();
		time_release();
	}
	__atomic_store_n(&done, true, __ATOMIC_SEQ_CST);
	pthread_join(t, NULL);
	assert_int_equal(went_back, 0);
}

/* The holder's thread is not in the child. */
static void a_child_has_time(void **state)
{
	uint64_t ns;
	int status;
	pid_t pid;

	time_hold();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		ns = ktime_get_ns();
		sleep_ms(2);
		_exit(ktime_get_ns() < ns + MS);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	time_release();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_are_the_hosts_until_held),
		cmocka_unit_test(clocks_stand_still),
		cmocka_unit_test(what_was_held_is_missing_afterwards),
		cmocka_unit_test(timers_wait_meanwhile),
		cmocka_unit_test(nobody_sees_time_go_back),
		cmocka_unit_test(a_child_has_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
