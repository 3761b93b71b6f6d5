/* SPDX-License-Identifier: MIT */
/*
 * Host faults of guest accesses in unit tests. cmocka takes the signals over for each
 * test; catch_faults() gives them back to base/access.h's table. Any other fault is the
 * test's end.
 */
#ifndef TESTS_UNIT_FAULTS_H
#define TESTS_UNIT_FAULTS_H

#include <signal.h>

#include "base/access.h"

static inline void on_fault(int sig, siginfo_t *si, void *uc)
{
	if (!host_access_fixup(uc))
		signal(sig, SIG_DFL);
}

static inline void catch_faults(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER,
				.sa_sigaction = on_fault };

	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		sigaction(host_fault_signals[i], &sa, NULL);
}

#endif
