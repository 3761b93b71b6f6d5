// SPDX-License-Identifier: MIT
/*
 * See kicker.h. Guests may loop for ever; the client's way to end that is a kick
 * from another thread, which is therefore what the harnesses use. The lock is held
 * over the call, so that what it kicks cannot end meanwhile.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "kicker.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void (*kick_fn)(void *arg);
static void *kick_arg;
static unsigned age;

static void *kicker_main(void *arg)
{
	for (;;) {
		usleep(1000);
		pthread_mutex_lock(&lock);
		if (kick_fn && ++age >= 2)
			kick_fn(kick_arg);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void create(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, kicker_main, NULL))
		abort();
}

void kicker_start(void (*kick)(void *arg), void *arg)
{
	pthread_once(&once, create);
	pthread_mutex_lock(&lock);
	kick_fn = kick;
	kick_arg = arg;
	age = 0;
	pthread_mutex_unlock(&lock);
}

void kicker_stop(void)
{
	pthread_mutex_lock(&lock);
	kick_fn = NULL;
	pthread_mutex_unlock(&lock);
}
