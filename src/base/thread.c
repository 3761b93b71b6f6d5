/* SPDX-License-Identifier: MIT */
/* A thread that inherits nothing of the mask that its starter happens to have. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "base/access.h"
#include "base/thread.h"

int service_thread(void *(*fn)(void *arg), void *arg)
{
	sigset_t set, old;
	pthread_t thread;
	int i, r;

	sigfillset(&set);
	for (i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		sigdelset(&set, host_fault_signals[i]);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	r = pthread_create(&thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	pthread_detach(thread);
	return 0;
}
