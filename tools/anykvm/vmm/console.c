/* SPDX-License-Identifier: MIT */
/*
 * One thread waits for input and for the moment to write output. Output goes
 * into a buffer that is written when a line ends, when it is full, or a few
 * milliseconds after its first byte: a guest that prints a byte per exit does
 * not cost a system call per byte, and an echo still appears at once for a
 * person. Input that the guest has no room for waits here, and the terminal
 * with it; console_wake() tells that there is room again.
 *
 * Standard input may be a file or a pipe: it is fed in, its end is nothing
 * special, the guest goes on. Ctrl-A commands hold for every kind of input.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/types.h"
#include "console.h"

#define ESCAPE		0x01	/* Ctrl-A */
#define FLUSH_MS	4

static const char help_text[] =
	"\r\nCtrl-A x  end the guest\r\n"
	"Ctrl-A d  show the state of every vCPU\r\n"
	"Ctrl-A a  send Ctrl-A\r\n"
	"Ctrl-A h  this help\r\n";

static void write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, 100);
			continue;
		}
		if (k < 0 && errno != EINTR)
			return;		/* nobody reads any more */
		if (k > 0) {
			p += k;
			n -= k;
		}
	}
}

static void flush_locked(struct console *c)
{
	write_all(c->out, c->buf, c->n);
	c->n = 0;
}

void console_flush(struct console *c)
{
	pthread_mutex_lock(&c->lock);
	flush_locked(c);
	pthread_mutex_unlock(&c->lock);
}

void console_wake(struct console *c)
{
	uint64_t one = 1;

	if (c->wake >= 0 && write(c->wake, &one, sizeof(one)) < 0)
		return;		/* the counter is full: awake anyway */
}

void console_put(struct console *c, uint8_t byte)
{
	bool first;

	pthread_mutex_lock(&c->lock);
	first = !c->n;
	c->buf[c->n++] = byte;
	if (byte == '\n' || c->n == CONSOLE_OUT_SIZE) {
		flush_locked(c);
		first = false;
	}
	pthread_mutex_unlock(&c->lock);
	if (first)
		console_wake(c);
}

static bool has_output(struct console *c)
{
	bool yes;

	pthread_mutex_lock(&c->lock);
	yes = c->n;
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void command(struct console *c, uint8_t key)
{
	switch (key) {
	case 'x':
		c->host.quit(c->host.opaque);
		break;
	case 'd':
		c->host.dump(c->host.opaque);
		break;
	case 'h': case '?':
		console_flush(c);
		write_all(c->out, (const uint8_t *)help_text,
			  sizeof(help_text) - 1);
		break;
	}
}

/* Takes the commands out of @buf; what is for the guest is left, its count. */
static unsigned filter(struct console *c, uint8_t *buf, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t b = buf[i];

		if (c->escape) {
			c->escape = false;
			if (b == 'a' || b == ESCAPE)
				buf[kept++] = ESCAPE;
			else
				command(c, b);
		} else if (b == ESCAPE) {
			c->escape = true;
		} else {
			buf[kept++] = b;
		}
	}
	return kept;
}

static void read_input(struct console *c)
{
	uint8_t buf[sizeof(c->pending_in)];
	ssize_t n = read(c->in, buf, sizeof(buf));
	unsigned kept, room;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		c->eof = true;
		return;
	}
	kept = filter(c, buf, n);
	memmove(c->pending_in, c->pending_in + c->pending_pos, c->pending_n);
	c->pending_pos = 0;
	/* Only a terminal can bring more than there is room for: keys get lost. */
	room = sizeof(c->pending_in) - c->pending_n;
	kept = MIN(kept, room);
	memcpy(c->pending_in + c->pending_n, buf, kept);
	c->pending_n += kept;
}

static void feed(struct console *c)
{
	unsigned n = c->host.input(c->host.opaque,
				   c->pending_in + c->pending_pos,
				   c->pending_n);

	c->pending_pos += n;
	c->pending_n -= n;
}

/*
 * A file or a pipe is read when the guest has taken what was read before. A
 * terminal is always read: its user must be able to end a guest that does not
 * listen.
 */
static bool wants_input(const struct console *c)
{
	return !c->eof && (!c->pending_n || c->is_terminal);
}

static void *console_thread(void *arg)
{
	struct console *c = arg;
	uint64_t count;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		struct pollfd p[2] = {
			{ .fd = c->wake, .events = POLLIN },
			{ .fd = wants_input(c) ? c->in : -1, .events = POLLIN },
		};
		int n = poll(p, 2, has_output(c) ? FLUSH_MS : -1);

		if (n <= 0 || p[1].revents)
			console_flush(c);
		if (n > 0 && p[0].revents &&
		    read(c->wake, &count, sizeof(count)) < 0)
			count = 0;
		if (n > 0 && p[1].revents)
			read_input(c);
		if (c->pending_n)
			feed(c);
	}
	return NULL;
}

static void make_raw(struct console *c)
{
	struct termios t;

	if (tcgetattr(c->in, &c->saved) < 0)
		return;		/* not a terminal */
	c->is_terminal = true;
	t = c->saved;
	t.c_iflag &= ~(ICRNL | IXON | INLCR | IGNCR | ISTRIP | BRKINT);
	t.c_lflag &= ~(ICANON | ECHO | ISIG | IEXTEN);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	c->raw = tcsetattr(c->in, TCSANOW, &t) == 0;
}

int console_start(struct console *c, const struct console_host *host, int in,
		  int out)
{
	int err;

	*c = (struct console){ .host = *host, .in = in, .out = out };
	pthread_mutex_init(&c->lock, NULL);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0)
		return -errno;
	make_raw(c);
	err = pthread_create(&c->thread, NULL, console_thread, c);
	if (err) {
		console_stop(c);
		return -err;
	}
	c->started = true;
	return 0;
}

void console_stop(struct console *c)
{
	if (c->started) {
		__atomic_store_n(&c->stop, true, __ATOMIC_RELEASE);
		console_wake(c);
		pthread_join(c->thread, NULL);
		c->started = false;
	}
	console_flush(c);
	if (c->raw)
		tcsetattr(c->in, TCSANOW, &c->saved);
	c->raw = false;
	if (c->wake >= 0)
		close(c->wake);
	c->wake = -1;
}
