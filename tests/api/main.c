/* SPDX-License-Identifier: MIT */
/*
 * Runs the API tests' suites: all of them, or those named on the command line; a
 * name with a * or a ? filters tests instead.
 *
 * Before anything else it makes sure whom it talks to: a real KVM must not pass
 * these tests by accident.
 */
#include "kvm_api.h"

#define SUITES(X) X(system) X(memory) X(dirty) X(run) X(io) X(signal) X(state) \
	X(irqchip) X(eventfd) X(time) X(fd) X(in_place) X(mce) X(hostile)
#define X(n) extern const struct suite suite_##n;
SUITES(X)
#undef X

static const struct suite *const suites[] = {
#define X(n) &suite_##n,
SUITES(X)
#undef X
};

static bool wanted(const struct suite *s, int argc, char **argv)
{
	bool named = false;

	for (int i = 1; i < argc; i++) {
		if (strpbrk(argv[i], "*?"))
			continue;
		named = true;
		if (!strcmp(argv[i], s->name))
			return true;
	}
	return !named;
}

int main(int argc, char **argv)
{
	int failed = 0, fd = kvm_dev_open();

	if (fd < 0 || kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_ANYKVM) !=
	    ANYKVM_VERSION_NUMBER) {
		fprintf(stderr, "the answer does not come from anykvm\n");
		return 1;
	}
	kvm_close(fd);
	for (int i = 1; i < argc; i++)
		if (strpbrk(argv[i], "*?"))
			cmocka_set_test_filter(argv[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(suites); i++)
		if (wanted(suites[i], argc, argv))
			failed += _cmocka_run_group_tests(suites[i]->name,
				suites[i]->tests, suites[i]->nr, NULL, NULL);
	return failed ? 1 : 0;
}
