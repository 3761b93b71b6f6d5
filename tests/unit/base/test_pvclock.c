/* SPDX-License-Identifier: MIT */
/* TSC frequency, clock scaling, the kvmclock pages and their version protocol. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/access.h"
#include "base/pvclock.h"
#include "base/timer.h"
#include "base/tsc.h"

static void test_tsc_khz(void **state)
{
	uint64_t t0, t1, n0, n1, khz;
	uint32_t said = host_tsc_khz();

	assert_int_equal(host_tsc_khz(), said);
	host_tsc_and_ns(&t0, &n0);
	usleep(50000);
	host_tsc_and_ns(&t1, &n1);
	khz = (t1 - t0) * 1000000 / (n1 - n0);
	/* CLOCK_MONOTONIC may be slewed by up to 500 ppm. */
	assert_in_range(khz, said - said / 1000, said + said / 1000);
}

static void check_scale(uint64_t to, uint64_t from, uint64_t x)
{
	uint64_t want = mul_u64_u64_div_u64(x, to, from), got;
	uint32_t mul;
	int8_t shift;

	kvm_get_time_scale(to, from, &shift, &mul);
	assert_true(mul >= 0x80000000u);
	got = pvclock_scale(x, mul, shift);
	/* 32 bits of multiplier: good to 2^-30 */
	assert_in_range(got + 2, want - (want >> 30), want + 3);
}

static void test_time_scale(void **state)
{
	static const uint64_t hz[] = {
		1000000, 32768 * 1000ull, 999999999, 1000000000, 1000000001,
		2100000000, 2793437000, 5000000000, 16000000000,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(hz); i++) {
		for (uint64_t x = 1; x < 1ull << 50; x = x * 3 + 1) {
			check_scale(1000000000, hz[i], x);
			if (x < 1ull << 40)
				check_scale(hz[i], 1000000000, x);
		}
	}
}

static void test_mul_div(void **state)
{
	assert_int_equal(mul_u64_u64_div_u64(1ull << 60, 1000, 1000),
			 1ull << 60);
	assert_int_equal(mul_u64_u64_div_u64(7, 3, 2), 10);
	assert_true(mul_u64_u64_div_u64(~0ull, ~0ull, 1) == ~0ull);
}

static void test_clock_advances_at_its_rate(void **state)
{
	struct pvclock_vcpu_time_info ti = { 0 };
	uint64_t hour = 3600ull * 2500000 * 1000;

	pvclock_set(&ti, 2500000, 1000, 5000);
	assert_int_equal(pvclock_read_ns(&ti, 1000), 5000);
	assert_in_range(pvclock_read_ns(&ti, 1000 + hour) - 5000,
			3600000000000ull - 4000, 3600000000000ull);
}

static void test_publish(void **state)
{
	struct pvclock_vcpu_time_info guest, ti = { 0 };
	uint32_t v;

	memset(&guest, 0xee, sizeof(guest));
	guest.flags = PVCLOCK_GUEST_STOPPED | 0x80;
	pvclock_set(&ti, 2000000, 77, 99);
	ti.flags = PVCLOCK_TSC_STABLE_BIT;
	assert_int_equal(pvclock_publish(&guest, &ti), 0);
	assert_int_equal(guest.version & 1, 0);
	v = guest.version;
	assert_int_equal(guest.tsc_timestamp, 77);
	assert_int_equal(guest.system_time, 99);
	assert_int_equal(guest.flags,
			 PVCLOCK_TSC_STABLE_BIT | PVCLOCK_GUEST_STOPPED);
	guest.flags = 0;
	assert_int_equal(pvclock_publish(&guest, &ti), 0);
	assert_int_equal(guest.flags, PVCLOCK_TSC_STABLE_BIT);
	assert_true(guest.version > v);
}

static void test_publish_wall(void **state)
{
	struct pvclock_wall_clock w = { .version = 7 };

	assert_int_equal(pvclock_publish_wall(&w, 1700000000123456789ull), 0);
	assert_int_equal(w.version, 8);
	assert_int_equal(w.sec, 1700000000);
	assert_int_equal(w.nsec, 123456789);
}

/* The test runner has its own SIGSEGV handler inside each test. */
static void on_segv(int sig, siginfo_t *info, void *ucontext)
{
	if (!host_access_fixup(ucontext))
		abort();
}

static void test_publish_to_nowhere(void **state)
{
	struct sigaction sa = {
		.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO
	};
	struct pvclock_vcpu_time_info ti = { 0 };
	void *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	sigaction(SIGSEGV, &sa, NULL);
	assert_int_equal(pvclock_publish(p, &ti), -EFAULT);
	assert_int_equal(pvclock_publish_wall(p, 1), -EFAULT);
	mprotect(p, 4096, PROT_READ);
	assert_int_equal(pvclock_publish(p, &ti), -EFAULT);
	munmap(p, 4096);
}

/* A reader that follows the protocol never sees half of an update. */
static struct pvclock_vcpu_time_info shared;
static bool stop;

static void *reader(void *arg)
{
	volatile struct pvclock_vcpu_time_info *s = &shared;
	unsigned *torn = arg;

	while (!READ_ONCE(stop)) {
		uint32_t v = s->version;
		uint64_t a = s->tsc_timestamp, b = s->system_time;

		__asm__ volatile("" ::: "memory");
		if (!(v & 1) && v == s->version && a != b)
			(*torn)++;
	}
	return NULL;
}

static void test_readers_see_whole_updates(void **state)
{
	struct pvclock_vcpu_time_info ti = { 0 };
	unsigned torn = 0;
	pthread_t t;

	pthread_create(&t, NULL, reader, &torn);
	for (unsigned i = 0; i < 200000; i++) {
		ti.tsc_timestamp = ti.system_time = i;
		assert_int_equal(pvclock_publish(&shared, &ti), 0);
	}
	WRITE_ONCE(stop, true);
	pthread_join(t, NULL);
	assert_int_equal(torn, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tsc_khz),
		cmocka_unit_test(test_time_scale),
		cmocka_unit_test(test_mul_div),
		cmocka_unit_test(test_clock_advances_at_its_rate),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_publish_wall),
		cmocka_unit_test(test_publish_to_nowhere),
		cmocka_unit_test(test_readers_see_whole_updates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
