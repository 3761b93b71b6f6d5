/* SPDX-License-Identifier: MIT */
/* Threads of our own in the client's process. */
#ifndef ANYKVM_BASE_THREAD_H
#define ANYKVM_BASE_THREAD_H

/*
 * Runs @fn(@arg) in a detached thread that takes no signal of the client's: all are
 * blocked in it but those of faults. 0, or -errno.
 */
int service_thread(void *(*fn)(void *arg), void *arg);

#endif
