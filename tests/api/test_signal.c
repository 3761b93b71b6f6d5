/* SPDX-License-Identifier: MIT */
/*
 * Signals and KVM_RUN. Under the preload library they are noticed by themselves;
 * clients of the C API say so with anykvm_kick() (kvm_notice_signal), and
 * KVM_SET_SIGNAL_MASK is only checked for its arguments.
 */
#include "kvm_api.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

DECLARE_GUEST(spin);
DECLARE_GUEST(halt);
DECLARE_GUEST(sti_halt);
DECLARE_GUEST(simd_fault);
DECLARE_GUEST(mmio);

static volatile int handled;
static int noticed_by = -1;

static void on_signal(int sig)
{
	handled++;
	kvm_notice_signal(noticed_by);
}

static void handle(int sig, int flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };

	handled = 0;
	assert_int_equal(sigaction(sig, &act, NULL), 0);
}

struct shot { pthread_t target; int sig; volatile bool done; };

/* Again and again: the first may come before the target is in KVM_RUN. */
static void *shoot(void *arg)
{
	struct shot *s = arg;

	for (usleep(10000); !s->done; usleep(10000))
		pthread_kill(s->target, s->sig);
	return NULL;
}

/* KVM_RUN with a signal that comes after 10 ms. */
static int run_and_be_shot(struct vm *v, int sig)
{
	struct shot s = { pthread_self(), sig, false };
	pthread_t t;
	int ret, err;

	noticed_by = v->vcpu[0];
	assert_int_equal(pthread_create(&t, NULL, shoot, &s), 0);
	ret = kvm_ioctl(v->vcpu[0], KVM_RUN, 0);
	err = errno;
	s.done = true;
	pthread_join(t, NULL);
	errno = err;
	return ret;
}

static void signal_ends_a_spinning_guest(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	handle(SIGUSR2, 0);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	assert_true(handled >= 1);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_INTR);
}

static void sa_restart_does_not_restart(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	handle(SIGUSR2, SA_RESTART);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	assert_true(handled >= 1);
}

static void signal_ends_hlt(void **state)
{
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(sti_halt));
	handle(SIGUSR2, SA_RESTART);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	assert_true(handled >= 1);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 1);
}

/* Delivered before KVM_RUN, it is of no matter to KVM_RUN. */
static void signal_before_run(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	handle(SIGUSR2, 0);
	noticed_by = -1;
	raise(SIGUSR2);
	assert_int_equal(handled, 1);
	run_until(&v, KVM_EXIT_HLT);
}

static struct kvm_run *the_run;

static void set_immediate_exit(int sig)
{
	the_run->immediate_exit = 1;
	kvm_notice_signal(noticed_by);
}

static void handler_sets_immediate_exit(void **state)
{
	struct sigaction act = { .sa_handler = set_immediate_exit };
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	the_run = v.run[0];
	sigaction(SIGUSR2, &act, NULL);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	v.run[0]->immediate_exit = 0;
}

/* --- what the guest's instructions raise on the host ------------------------------ */

static void guest_raises_simd_fault(void)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(simd_fault));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(*((uint8_t *)v.run[0] + v.run[0]->io.data_offset), 19);
}

static void *blocks_all_and_runs(void *after)
{
	struct vm v;
	sigset_t all;

	if (after) {	/* this thread's first KVM_RUN */
		vm_new(&v, 0);
		vm_load(&v, GUEST(halt));
		run_until(&v, KVM_EXIT_HLT);
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	guest_raises_simd_fault();
	return NULL;
}

static void in_a_thread(void *after)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, blocks_all_and_runs, after), 0);
	pthread_join(t, NULL);
}

/* Blocked SIGFPE is the client's business; the guest's exceptions are the guest's. */
static void faults_of_a_guest_with_all_blocked(void **state)
{
	in_a_thread(NULL);
}

#ifndef API_CAPI
static void faults_blocked_after_the_first_run(void **state)
{
	in_a_thread("");
}

static void blocked_faults_are_believed(void **state)
{
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGFPE);
	sigaddset(&set, SIGUSR2);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	assert_int_equal(sigprocmask(SIG_UNBLOCK, &set, &old), 0);
	assert_int_equal(sigismember(&old, SIGFPE), 1);
	assert_int_equal(sigismember(&old, SIGUSR2), 1);
	assert_int_equal(sigismember(&old, SIGILL), 0);
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &old), 0);
	assert_int_equal(sigismember(&old, SIGFPE), 0);
	fails(EINVAL, sigprocmask(77, &set, NULL));
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &old), 0);
	assert_int_equal(sigismember(&old, SIGFPE), 0);
	assert_int_equal(sigismember(&old, SIGUSR2), 0);
}

/* A handler may make any call, on the very vCPU too. */
static struct kvm_regs seen_by_handler;
static volatile int handler_ret;

static void read_registers(int sig)
{
	handler_ret = kvm_ioctl(noticed_by, KVM_GET_REGS, &seen_by_handler);
}

static void handler_reads_the_vcpu(void **state)
{
	struct sigaction act = { .sa_handler = read_registers };
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	handler_ret = 77;
	sigaction(SIGUSR2, &act, NULL);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	assert_int_equal(handler_ret, 0);
	assert_int_equal(seen_by_handler.rip, CODE);
}

static sigjmp_buf out;

static void jump_out(int sig)
{
	siglongjmp(out, 1);
}

/* ... or leave KVM_RUN for good: the vCPU is usable afterwards. */
static void handler_jumps_out(void **state)
{
	struct sigaction act = { .sa_handler = jump_out };
	struct shot s = { pthread_self(), SIGUSR2, false };
	struct kvm_regs regs;
	pthread_t t;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	sigaction(SIGUSR2, &act, NULL);
	assert_int_equal(pthread_create(&t, NULL, shoot, &s), 0);
	if (!sigsetjmp(out, 1)) {
		kvm_ioctl(v.vcpu[0], KVM_RUN, 0);
		fail();
	}
	signal(SIGUSR2, SIG_IGN);
	s.done = true;
	pthread_join(t, NULL);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_REGS, &regs));
	vm_load(&v, GUEST(halt));
	run_until(&v, KVM_EXIT_HLT);
}
#endif

static int set_mask(struct vm *v, const sigset_t *set, unsigned len)
{
	struct { struct kvm_signal_mask h; uint8_t set[8]; } m = { .h.len = len };

	memcpy(m.h.sigset, set, 8);
	return kvm_ioctl(v->vcpu[0], KVM_SET_SIGNAL_MASK, &m);
}

static void signal_mask_arguments(void **state)
{
	sigset_t none;
	struct vm v;

	vm_new(&v, 0);
	sigemptyset(&none);
	fails(EINVAL, set_mask(&v, &none, 4));
	fails(EINVAL, set_mask(&v, &none, 0));
	fails(EINVAL, set_mask(&v, &none, 128));
	ok(set_mask(&v, &none, 8));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SIGNAL_MASK, NULL));
	vm_load(&v, GUEST(halt));
	run_until(&v, KVM_EXIT_HLT);
}

static sigjmp_buf fault_jmp;

static void on_fault(int sig)
{
	siglongjmp(fault_jmp, 1);
}

static void *run_once(void *arg)
{
	struct vm *v = arg;

	return (void *)(intptr_t)(kvm_ioctl(v->vcpu[0], KVM_RUN, 0) ? errno : 0);
}

/* A client that installs its handler when all is set up, before its threads run. */
static void fault_handler_of_before_the_run(void **state)
{
	struct sigaction act = { .sa_handler = on_fault }, old;
	volatile int *bad = test_map(PAGE);
	struct kvm_sregs s;
	void *result = NULL;
	pthread_t t;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(mmio));
	vm_set_region(&v, 1, 0x40000000, PAGE, (void *)bad, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = 0x40000000;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	assert_int_equal(mprotect((void *)bad, PAGE, PROT_NONE), 0);
	sigaction(SIGSEGV, &act, &old);
	assert_int_equal(pthread_create(&t, NULL, run_once, &v), 0);
	pthread_join(t, &result);
	assert_int_equal((intptr_t)result, EFAULT);
	/* What is no guest's stays the client's. */
	if (!sigsetjmp(fault_jmp, 1)) {
		*bad = 1;
		fail();
	}
	sigaction(SIGSEGV, &old, NULL);
}

#ifdef API_CAPI
/* A kick is for the vCPU's present KVM_RUN, or for the next. */
static void kick_before_run(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	anykvm_kick(v.vcpu[0]);
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	run_until(&v, KVM_EXIT_HLT);
	anykvm_kick(v.fd);	/* no vCPU: nothing happens */
	anykvm_kick(-1);
	run_until(&v, KVM_EXIT_HLT);
}

#define FRONT_TESTS T(kick_before_run)
#else
/* --- what only the owner of the process's signals can do ---------------------------- */

/* Outside: @sig blocked. Inside of KVM_RUN: not. */
static void block_outside_only(struct vm *v, int sig, sigset_t *blocked)
{
	sigset_t inside;

	sigemptyset(blocked);
	sigaddset(blocked, sig);
	pthread_sigmask(SIG_BLOCK, blocked, &inside);
	sigdelset(&inside, sig);
	ok(set_mask(v, &inside, 8));
}

static int take_pending(const sigset_t *set, siginfo_t *info)
{
	const struct timespec now = { 0 };

	return sigtimedwait(set, info, &now);
}

static void mask_lets_a_signal_in(void **state)
{
	sigset_t blocked, present;
	siginfo_t info;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	handle(SIGUSR2, 0);
	block_outside_only(&v, SIGUSR2, &blocked);
	fails(EINTR, run_and_be_shot(&v, SIGUSR2));
	/* No handler has run; the signal waits for the client to take it. */
	assert_int_equal(handled, 0);
	pthread_sigmask(SIG_BLOCK, NULL, &present);
	assert_int_equal(sigismember(&present, SIGUSR2), 1);
	assert_int_equal(take_pending(&blocked, &info), SIGUSR2);
	assert_int_equal(info.si_pid, getpid());
	assert_int_equal(take_pending(&blocked, &info), -1);
	assert_int_equal(errno, EAGAIN);
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	assert_int_equal(handled, 0);
}

static void pending_before_run(void **state)
{
	sigset_t blocked;
	siginfo_t info;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	handle(SIGUSR2, 0);
	block_outside_only(&v, SIGUSR2, &blocked);
	pthread_kill(pthread_self(), SIGUSR2);
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 0);
	assert_int_equal(take_pending(&blocked, &info), SIGUSR2);
	run_until(&v, KVM_EXIT_HLT);
	/* Without a mask, what is blocked stays so. */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SIGNAL_MASK, NULL));
	pthread_kill(pthread_self(), SIGUSR2);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(take_pending(&blocked, &info), SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	assert_int_equal(handled, 0);
}

static void mask_holds_others_back(void **state)
{
	struct vm v;
	sigset_t all;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	handle(SIGUSR2, 0);
	sigfillset(&all);
	ok(set_mask(&v, &all, 8));
	/* Not in KVM_RUN: delivered at once. */
	raise(SIGUSR2);
	assert_int_equal(handled, 1);
	run_until(&v, KVM_EXIT_HLT);
	sigemptyset(&all);
	pthread_sigmask(SIG_BLOCK, NULL, &all);
	assert_int_equal(sigismember(&all, SIGUSR2), 0);
}

/* A handler sees the value that came with a signal, and its old self in @old. */
static volatile int got_value;
static volatile pid_t got_pid;

static void on_info(int sig, siginfo_t *info, void *uc)
{
	got_value = info->si_value.sival_int;
	got_pid = info->si_pid;
}

static void sigaction_is_transparent(void **state)
{
	struct sigaction act = { .sa_sigaction = on_info, .sa_flags = SA_SIGINFO };
	struct sigaction old;
	const union sigval val = { .sival_int = 42 };

	assert_int_equal(sigaction(SIGUSR2, &act, NULL), 0);
	assert_int_equal(sigaction(SIGUSR2, NULL, &old), 0);
	assert_ptr_equal(old.sa_sigaction, on_info);
	assert_int_equal(old.sa_flags & SA_SIGINFO, SA_SIGINFO);
	sigqueue(getpid(), SIGUSR2, val);
	assert_int_equal(got_value, 42);
	assert_int_equal(got_pid, getpid());
	assert_ptr_equal(signal(SIGUSR2, SIG_IGN), on_info);
	assert_ptr_equal(signal(SIGUSR2, SIG_DFL), SIG_IGN);
	fails(EINVAL, sigaction(SIGKILL, &act, NULL));
	fails(EINVAL, sigaction(1000, &act, NULL));
}

/* An ignored signal is none. */
static void ignored_signal(void **state)
{
	struct itimerspec t = { .it_value.tv_nsec = 30000000,
				.it_interval.tv_nsec = 30000000 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	timer_t timer;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(spin));
	handle(SIGUSR2, 0);
	signal(SIGWINCH, SIG_IGN);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	timer_settime(timer, 0, &t, NULL);
	fails(EINTR, run_and_be_shot(&v, SIGWINCH));
	assert_true(handled >= 1);	/* the timer's, not the other's */
	timer_delete(timer);
}

/* A client's own faults stay its own. */
static void clients_fault_handler(void **state)
{
	struct sigaction act = { .sa_handler = on_fault }, old;
	volatile int *bad;
	struct vm v;

	vm_new(&v, 0);
	bad = bad_pointer();
	sigaction(SIGSEGV, &act, &old);
	if (!sigsetjmp(fault_jmp, 1)) {
		*bad = 1;
		fail();
	}
	/* And ours ours. */
	vm_set_region(&v, 1, 0x40000000, PAGE, (void *)bad, 0);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_GET_REGS, (void *)bad));
	sigaction(SIGSEGV, &old, NULL);
}

#define FRONT_TESTS T(faults_blocked_after_the_first_run), \
	T(blocked_faults_are_believed), T(mask_lets_a_signal_in), T(pending_before_run), \
	T(mask_holds_others_back), T(sigaction_is_transparent), \
	T(ignored_signal), T(clients_fault_handler), \
	T(handler_reads_the_vcpu), T(handler_jumps_out)
#endif

static const struct CMUnitTest tests[] = {
	T(signal_ends_a_spinning_guest), T(sa_restart_does_not_restart),
	T(signal_ends_hlt), T(signal_before_run), T(handler_sets_immediate_exit),
	T(signal_mask_arguments), T(faults_of_a_guest_with_all_blocked),
	T(fault_handler_of_before_the_run), FRONT_TESTS,
};
SUITE(signal, tests);
