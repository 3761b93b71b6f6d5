/* SPDX-License-Identifier: MIT */
/*
 * Signals of a client's process, as KVM_RUN wants to see them.
 *
 * The kernel's KVM ends KVM_RUN with EINTR when a signal is delivered to the vCPU's
 * thread, whatever SA_RESTART says, and the handler runs when the ioctl is over. Here
 * KVM_RUN is a function call, and a handler would run in its middle, perhaps under a
 * lock of ours. So handlers are registered behind a trampoline that marks the running
 * vCPU, kicks its processor and puts the signal back, blocked; when KVM_RUN is over it
 * is let in again and finds its handler, which may then make any call, or not return.
 * sigaction() and signal() answer with what the client registered.
 *
 * KVM_SET_SIGNAL_MASK: inside KVM_RUN the vCPU's mask holds. A signal that only that
 * mask lets in ends KVM_RUN and stays pending for the client, who waits for it with
 * sigtimedwait: it is put back and not let in.
 *
 * SIGSEGV, SIGBUS, SIGFPE and SIGILL are always ours first: guest memory that is
 * not there, guest instructions that fault on the host (base/access.h). They are never
 * blocked, whatever the client asks; it is told what it believes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/access.h"
#include "front/real.h"
#include "ioctl/ioctl.h"

static struct sigaction client[NSIG];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The mask outside KVM_RUN, while the vCPU's own is in force. */
static __thread sigset_t outer_mask;
static __thread bool inner_mask;
/* What the trampoline has put back, blocked, to be let in after KVM_RUN. */
static __thread sigset_t deferred;
static __thread bool has_deferred;

static bool is_fault(int sig)
{
	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		if (sig == host_fault_signals[i])
			return true;
	return false;
}

/* --- delivery -------------------------------------------------------------------------- */

/* Pending again, and blocked when the handler returns. False: no room in the
 * kernel's queue. */
static bool put_back(int sig, siginfo_t *info, ucontext_t *uc)
{
	if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info))
		return false;
	sigaddset(&uc->uc_sigmask, sig);
	if (inner_mask && sigismember(&outer_mask, sig) == 1)
		return true;
	if (!has_deferred)
		sigemptyset(&deferred);
	sigaddset(&deferred, sig);
	has_deferred = true;
	return true;
}

/* An action the client left to the kernel: take ours away and let it happen. */
static void default_action(int sig)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	REAL(sigaction)(sig, &dfl, NULL);
	/* A fault happens again by itself when the handler returns. */
}

static void call_client(int sig, siginfo_t *info, void *uc)
{
	struct sigaction act = client[sig];

	if (act.sa_flags & SA_RESETHAND)
		client[sig].sa_handler = SIG_DFL;
	if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN)
		default_action(sig);
	else if (act.sa_flags & SA_SIGINFO)
		act.sa_sigaction(sig, info, uc);
	else
		act.sa_handler(sig);
}

static void trampoline(int sig, siginfo_t *info, void *uc)
{
	struct kvm_vcpu *vcpu = kvm_running_vcpu;

	if (is_fault(sig) && host_access_fixup(uc))
		return;
	/* A fault of the program's own (si_code > 0) cannot wait. */
	if (vcpu && !(is_fault(sig) && info->si_code > 0)) {
		__atomic_store_n(&vcpu->signal_seen, true, __ATOMIC_SEQ_CST);
		kvm_vcpu_kick(vcpu);
		if (put_back(sig, info, uc))
			return;
	}
	call_client(sig, info, uc);
}

/* --- registration ------------------------------------------------------------------------- */

static bool has_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

/* What the kernel is told for the client's @act. */
static struct sigaction wrapped(int sig, const struct sigaction *act)
{
	struct sigaction w = *act;

	if (!has_handler(act) && !is_fault(sig))
		return w;
	w.sa_flags |= SA_SIGINFO;
	w.sa_sigaction = trampoline;
	/* A fault may hit inside the handler of another. */
	if (is_fault(sig)) {
		w.sa_flags |= SA_NODEFER;
		w.sa_flags &= ~SA_RESETHAND;
	}
	return w;
}

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction w, was, kernel_old;
	int ret = 0;

	if (sig <= 0 || sig >= NSIG)
		return REAL(sigaction)(sig, act, old);
	pthread_mutex_lock(&lock);
	was = client[sig];
	if (act) {
		w = wrapped(sig, act);
		ret = REAL(sigaction)(sig, &w, &kernel_old);
		if (!ret)
			client[sig] = *act;
	} else {
		ret = REAL(sigaction)(sig, NULL, &kernel_old);
	}
	pthread_mutex_unlock(&lock);
	/* What was inherited, or set before we were here, is the kernel's word. */
	if (!ret && old)
		*old = kernel_old.sa_sigaction == trampoline ? was : kernel_old;
	return ret;
}

static sighandler_t set_handler(int sig, sighandler_t fn, int flags)
{
	struct sigaction act = { .sa_handler = fn, .sa_flags = flags }, old;

	if (sigaction(sig, &act, &old))
		return SIG_ERR;
	return old.sa_handler;
}

EXPORT sighandler_t signal(int sig, sighandler_t fn)
{
	return set_handler(sig, fn, SA_RESTART);
}

sighandler_t bsd_signal(int sig, sighandler_t fn);
sighandler_t __sysv_signal(int sig, sighandler_t fn);

EXPORT sighandler_t bsd_signal(int sig, sighandler_t fn)
{
	return set_handler(sig, fn, SA_RESTART);
}

EXPORT sighandler_t __sysv_signal(int sig, sighandler_t fn)
{
	return set_handler(sig, fn, SA_RESETHAND | SA_NODEFER);
}

EXPORT sighandler_t sysv_signal(int sig, sighandler_t fn)
{
	return set_handler(sig, fn, SA_RESETHAND | SA_NODEFER);
}

/* --- masks: what an instruction of the guest's may raise is never blocked ------------------- */

/* What of host_fault_signals[] the client has blocked in this thread, as it believes. */
static __thread uint8_t believed;

static uint8_t faults_in(const sigset_t *set)
{
	uint8_t bits = 0;

	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		bits |= (sigismember(set, host_fault_signals[i]) == 1) << i;
	return bits;
}

static void remove_faults(sigset_t *set)
{
	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		sigdelset(set, host_fault_signals[i]);
}

static void add_faults(sigset_t *set, uint8_t bits)
{
	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++)
		if (bits >> i & 1)
			sigaddset(set, host_fault_signals[i]);
}

static void believe(int how, uint8_t bits)
{
	if (how == SIG_BLOCK)
		believed |= bits;
	else if (how == SIG_UNBLOCK)
		believed &= ~bits;
	else
		believed = bits;
}

typedef int (*mask_fn)(int how, const sigset_t *set, sigset_t *old);

static int change_mask(mask_fn fn, int how, const sigset_t *set, sigset_t *old)
{
	uint8_t was = believed, bits;
	sigset_t rest;
	int ret;

	if (!set) {
		ret = fn(how, NULL, old);
	} else {
		rest = *set;
		bits = faults_in(set);
		if (how != SIG_UNBLOCK)
			remove_faults(&rest);
		ret = fn(how, &rest, old);
		if (!ret)
			believe(how, bits);
	}
	if (!ret && old)
		add_faults(old, was);
	return ret;
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return change_mask(REAL(sigprocmask), how, set, old);
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change_mask(REAL(pthread_sigmask), how, set, old);
}

/* --- KVM_RUN's beginning and end ------------------------------------------------------------ */

static void run_begin(struct kvm_vcpu *vcpu)
{
	sigset_t set;

	if (!vcpu->sigset_active)
		return;
	sigemptyset(&set);
	memcpy(&set, &vcpu->sigset, sizeof(vcpu->sigset));
	remove_faults(&set);
	pthread_sigmask(SIG_SETMASK, NULL, &outer_mask);
	inner_mask = true;
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

/* kvm_running_vcpu is NULL by now: what is let in finds its handler. */
static void run_end(void)
{
	sigset_t set = deferred;

	if (inner_mask)
		pthread_sigmask(SIG_SETMASK, &outer_mask, NULL);
	inner_mask = false;
	if (has_deferred) {
		has_deferred = false;
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
}

__attribute__((constructor)) static void signals_init(void)
{
	for (unsigned i = 0; i < HOST_NR_FAULT_SIGNALS; i++) {
		struct sigaction w, none = { .sa_handler = SIG_DFL,
					     .sa_flags = SA_ONSTACK };

		REAL(sigaction)(host_fault_signals[i], NULL, &client[host_fault_signals[i]]);
		w = wrapped(host_fault_signals[i], &none);
		REAL(sigaction)(host_fault_signals[i], &w, NULL);
	}
	host_access_unblock();
	host_access_owned();
	kvm_run_begin = run_begin;
	kvm_run_end = run_end;
}
