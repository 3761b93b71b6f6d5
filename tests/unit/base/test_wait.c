/* SPDX-License-Identifier: MIT */
/* kvm_wait: wakes from threads and signal handlers, timeouts, lost wakes. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/timer.h"
#include "base/wait.h"

#define MS	1000000ull

static struct kvm_wait wait;

static void test_wake_before_sleep_is_not_lost(void **state)
{
	uint32_t seq;

	kvm_wait_init(&wait);
	seq = kvm_wait_prepare(&wait);
	kvm_wait_wake(&wait);
	assert_int_equal(kvm_wait_until(&wait, seq, KVM_WAIT_FOREVER), 0);
}

static void test_timeout(void **state)
{
	uint64_t at = ktime_get_ns() + 10 * MS;

	kvm_wait_init(&wait);
	assert_int_equal(kvm_wait_until(&wait, kvm_wait_prepare(&wait), at),
			 -ETIMEDOUT);
	assert_true(ktime_get_ns() >= at);
	assert_int_equal(kvm_wait_until(&wait, kvm_wait_prepare(&wait), 0),
			 -ETIMEDOUT);
}

static void *waker(void *arg)
{
	usleep(20000);
	kvm_wait_wake(&wait);
	return NULL;
}

static void test_wake_from_thread(void **state)
{
	pthread_t t;
	uint32_t seq;

	kvm_wait_init(&wait);
	seq = kvm_wait_prepare(&wait);
	pthread_create(&t, NULL, waker, NULL);
	assert_int_equal(kvm_wait_until(&wait, seq, KVM_WAIT_FOREVER), 0);
	pthread_join(t, NULL);
}

static bool wake_in_handler;

static void on_alarm(int sig)
{
	errno = 1234;
	if (wake_in_handler)
		kvm_wait_wake(&wait);
}

static int sleep_with_alarm(bool wake)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval it = { .it_value = { .tv_usec = 20000 } };
	uint32_t seq;

	wake_in_handler = wake;
	kvm_wait_init(&wait);
	seq = kvm_wait_prepare(&wait);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	return kvm_wait_until(&wait, seq, KVM_WAIT_FOREVER);
}

static void test_signal_ends_sleep_despite_sa_restart(void **state)
{
	assert_int_equal(sleep_with_alarm(false), -EINTR);
}

static void test_wake_from_handler_on_the_sleeping_thread(void **state)
{
	int r = sleep_with_alarm(true);

	assert_true(r == 0 || r == -EINTR);
}

static void test_wake_keeps_errno(void **state)
{
	kvm_wait_init(&wait);
	errno = 77;
	kvm_wait_wake(&wait);
	assert_int_equal(errno, 77);
}

/* Two threads hand a token back and forth; a lost wake would hang it. */
static struct kvm_wait ping, pong;
static unsigned token;

static int take_turn(struct kvm_wait *mine, unsigned want)
{
	uint64_t limit = ktime_get_ns() + 20000 * MS;

	for (;;) {
		uint32_t seq = kvm_wait_prepare(mine);

		if (__atomic_load_n(&token, __ATOMIC_SEQ_CST) == want)
			return 0;
		if (kvm_wait_until(mine, seq, limit) == -ETIMEDOUT)
			return -ETIMEDOUT;
	}
}

static void *ponger(void *arg)
{
	for (unsigned i = 0; i < 2000; i++) {
		if (take_turn(&pong, 2 * i + 1))
			break;
		__atomic_store_n(&token, 2 * i + 2, __ATOMIC_SEQ_CST);
		kvm_wait_wake(&ping);
	}
	return NULL;
}

static void test_no_lost_wake(void **state)
{
	pthread_t t;

	kvm_wait_init(&ping);
	kvm_wait_init(&pong);
	pthread_create(&t, NULL, ponger, NULL);
	for (unsigned i = 0; i < 2000; i++) {
		__atomic_store_n(&token, 2 * i + 1, __ATOMIC_SEQ_CST);
		kvm_wait_wake(&pong);
		assert_int_equal(take_turn(&ping, 2 * i + 2), 0);
	}
	pthread_join(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wake_before_sleep_is_not_lost),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_wake_from_thread),
		cmocka_unit_test(test_signal_ends_sleep_despite_sa_restart),
		cmocka_unit_test(test_wake_from_handler_on_the_sleeping_thread),
		cmocka_unit_test(test_wake_keeps_errno),
		cmocka_unit_test(test_no_lost_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
