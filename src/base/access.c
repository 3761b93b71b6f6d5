/* SPDX-License-Identifier: MIT */
/*
 * The exception table behind access.h and the signal handler that reads it.
 *
 * The table is small and unsorted; a fault is rare enough for a linear scan.
 * The handler is async-signal-safe: it reads the table and the interrupted
 * context and writes the latter's instruction pointer, nothing else.
 *
 * A client may install handlers of its own after ours. host_access_init() then puts ours
 * in front again, and the client's gets what is not for us. If the client's passes on
 * what it does not know, it does so to ours, which it found when it was installed: that
 * is told by a mark in the context and goes to the handler that was there before us.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "base/access.h"

struct ex_entry {
	int32_t insn, landing;	/* each relative to its own address */
};

extern const struct ex_entry __start_host_ex_table[] __hidden;
extern const struct ex_entry __stop_host_ex_table[] __hidden;

const int host_fault_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };

/* The handlers that ours has taken the place of: at first, and last. */
static struct sigaction first[HOST_NR_FAULT_SIGNALS], last[HOST_NR_FAULT_SIGNALS];
static bool installed, owned;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;

/* Read by the signal handler, written before the first stub runs. */
static uintptr_t stubs;
static size_t stubs_size;

void host_access_set_stubs(const void *start, size_t size)
{
	__atomic_store_n(&stubs_size, size, __ATOMIC_RELAXED);
	__atomic_store_n(&stubs, (uintptr_t)start, __ATOMIC_RELEASE);
}

static uintptr_t (*code_landing)(uintptr_t pc);

void host_access_set_code(uintptr_t (*landing)(uintptr_t pc))
{
	__atomic_store_n(&code_landing, landing, __ATOMIC_RELEASE);
}

static bool leave_code(ucontext_t *uc)
{
	uintptr_t (*fn)(uintptr_t) = __atomic_load_n(&code_landing, __ATOMIC_ACQUIRE);
	uintptr_t to = fn ? fn(uc->uc_mcontext.gregs[REG_RIP]) : 0;

	if (to)
		uc->uc_mcontext.gregs[REG_RIP] = to;
	return to;
}

/* Inside of the area the stack pointer is at the return address. */
static bool leave_stub(ucontext_t *uc)
{
	uintptr_t start = __atomic_load_n(&stubs, __ATOMIC_ACQUIRE);
	greg_t *gregs = uc->uc_mcontext.gregs;

	if (!start || (uintptr_t)gregs[REG_RIP] - start >= stubs_size)
		return false;
	gregs[REG_R8] = gregs[REG_TRAPNO];
	gregs[REG_RIP] = start;
	return true;
}

bool host_access_fixup(void *ucontext)
{
	ucontext_t *uc = ucontext;
	uintptr_t rip = uc->uc_mcontext.gregs[REG_RIP];
	const struct ex_entry *e;

	for (e = __start_host_ex_table; e < __stop_host_ex_table; e++) {
		if ((uintptr_t)&e->insn + e->insn != rip)
			continue;
		uc->uc_mcontext.gregs[REG_RIP] =
			(uintptr_t)&e->landing + e->landing;
		return true;
	}
	return leave_stub(uc) || leave_code(uc);
}

static void chain(const struct sigaction *to, int sig, siginfo_t *si, void *uc)
{
	if (to->sa_flags & SA_SIGINFO) {
		to->sa_sigaction(sig, si, uc);
	} else if (to->sa_handler == SIG_DFL || to->sa_handler == SIG_IGN) {
		/* The default action: happens when the instruction runs again. */
		signal(sig, SIG_DFL);
	} else {
		to->sa_handler(sig);
	}
}

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	/* The kernel leaves this NULL at each delivery and never looks at it. */
	ucontext_t **mark = &((ucontext_t *)uc)->uc_link;
	bool passed_on = *mark == uc;
	size_t i = 0;

	if (host_access_fixup(uc))
		return;
	while (host_fault_signals[i] != sig)
		i++;
	*mark = uc;
	chain(passed_on ? &first[i] : &last[i], sig, si, uc);
	*mark = NULL;
}

void host_access_unblock(void)
{
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		sigaddset(&set, host_fault_signals[i]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void host_access_owned(void)
{
	owned = true;
}

/* Puts our handler for signal number @i in front of what is there. */
static int install(size_t i)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER }, was;

	if (sigaction(host_fault_signals[i], NULL, &was))
		return -errno;
	if (was.sa_flags & SA_SIGINFO && was.sa_sigaction == on_fault)
		return 0;
	last[i] = was;
	if (!installed)
		first[i] = was;
	sa.sa_sigaction = on_fault;
	sigemptyset(&sa.sa_mask);
	return sigaction(host_fault_signals[i], &sa, NULL) ? -errno : 0;
}

int host_access_init(void)
{
	int ret = 0;
	size_t i;

	if (owned)
		return 0;
	pthread_mutex_lock(&install_lock);
	for (i = 0; i < HOST_NR_FAULT_SIGNALS && !ret; i++)
		ret = install(i);
	installed = !ret;
	pthread_mutex_unlock(&install_lock);
	return ret;
}

int host_cmpxchg_128(void *p, uint64_t old[2], const uint64_t new[2], bool *done)
{
	uint64_t lo = old[0], hi = old[1];
	bool z;

	__asm__ volatile goto("1: lock cmpxchg16b (%5)\nsetz %2\n"
		     HOST_EX_TABLE("1b", "%l[fault]")
		     : "+a"(lo), "+d"(hi), "=q"(z)
		     : "b"(new[0]), "c"(new[1]), "r"(p) : "memory", "cc" : fault);
	old[0] = lo;
	old[1] = hi;
	*done = z;
	return 0;
fault:
	return -EFAULT;
}

static int rep_movsb(void *dst, const void *src, size_t n)
{
	__asm__ volatile goto("1: rep movsb\n" HOST_EX_TABLE("1b", "%l[fault]")
		     : "+D"(dst), "+S"(src), "+c"(n) : : "memory" : fault);
	return 0;
fault:
	return -EFAULT;
}

int host_copy_in(void *dst, const void *guest, size_t n)
{
	return rep_movsb(dst, guest, n);
}

int host_copy_out(void *guest, const void *src, size_t n)
{
	return rep_movsb(guest, src, n);
}

int host_fill(void *guest, int c, size_t n)
{
	__asm__ volatile goto("1: rep stosb\n" HOST_EX_TABLE("1b", "%l[fault]")
		     : "+D"(guest), "+c"(n) : "a"(c) : "memory" : fault);
	return 0;
fault:
	return -EFAULT;
}
