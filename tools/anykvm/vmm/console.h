/* SPDX-License-Identifier: MIT */
/*
 * The terminal: raw mode while the guest runs, a thread that reads it, output
 * that is gathered before it is written, and the Ctrl-A commands.
 */
#ifndef ANYKVM_VMM_CONSOLE_H
#define ANYKVM_VMM_CONSOLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#define CONSOLE_OUT_SIZE 4096

struct console_host {
	void *opaque;
	/* Takes up to @n bytes of input; how many. 0: no room now. */
	unsigned (*input)(void *opaque, const uint8_t *bytes, unsigned n);
	void (*quit)(void *opaque);	/* Ctrl-A x */
	void (*dump)(void *opaque);	/* Ctrl-A d */
};

struct console {
	struct console_host host;
	int in, out, wake;		/* fds; @wake is an eventfd */
	bool raw;			/* @saved is what to go back to */
	struct termios saved;
	bool is_terminal, started, escape, eof;
	bool stop;			/* atomic */
	pthread_t thread;

	uint8_t pending_in[256];	/* read, not taken by the guest yet */
	unsigned pending_pos, pending_n;

	pthread_mutex_t lock;		/* what follows */
	uint8_t buf[CONSOLE_OUT_SIZE];
	unsigned n;
};

/* Takes @in and @out over. 0 or -errno. */
int console_start(struct console *c, const struct console_host *host, int in,
		  int out);
/* Writes what is gathered, ends the thread, restores the terminal. */
void console_stop(struct console *c);

/* A byte of output; any thread. */
void console_put(struct console *c, uint8_t byte);
void console_flush(struct console *c);
/* The guest has room for input again; any thread. */
void console_wake(struct console *c);

#endif
