/* SPDX-License-Identifier: MIT */
/* Faults of ours among handlers of the client's that come before and after. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/access.h"

static sigjmp_buf out;
static char order[8];
static struct sigaction found;	/* by the handler that came last */

static void note(char who)
{
	size_t n = strlen(order);

	if (n < sizeof(order) - 1)
		order[n] = who;
}

static void earliest(int sig, siginfo_t *si, void *uc)
{
	note('e');
	siglongjmp(out, 1);
}

static void latest(int sig, siginfo_t *si, void *uc)
{
	note('l');
	siglongjmp(out, 1);
}

static void polite(int sig, siginfo_t *si, void *uc)
{
	note('p');
	found.sa_sigaction(sig, si, uc);
}

static void install(void (*fn)(int, siginfo_t *, void *))
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO, .sa_sigaction = fn };

	sigemptyset(&sa.sa_mask);
	assert_int_equal(sigaction(SIGSEGV, &sa, &found), 0);
}

static void own_fault(volatile char *nowhere)
{
	memset(order, 0, sizeof(order));
	if (!sigsetjmp(out, 1)) {
		*nowhere = 1;
		fail();
	}
}

static void handlers_of_others(void **state)
{
	void *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t b;

	install(earliest);
	assert_int_equal(host_access_init(), 0);
	assert_int_equal(host_read_8(nowhere, &b), -EFAULT);
	own_fault(nowhere);
	assert_string_equal(order, "e");

	install(latest);
	assert_int_equal(host_access_init(), 0);
	assert_int_equal(host_access_init(), 0);
	assert_int_equal(host_read_8(nowhere, &b), -EFAULT);
	own_fault(nowhere);
	assert_string_equal(order, "l");

	/* What it found is ours: no circle. */
	install(polite);
	assert_int_equal(host_access_init(), 0);
	assert_int_equal(host_read_8(nowhere, &b), -EFAULT);
	own_fault(nowhere);
	assert_string_equal(order, "pe");
	own_fault(nowhere);
	assert_string_equal(order, "pe");
	munmap(nowhere, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(handlers_of_others) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
