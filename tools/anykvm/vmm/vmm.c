/* SPDX-License-Identifier: MIT */
/*
 * The life of a machine. The main thread makes it, then only waits: for a
 * signal that ends the process, for the timeout, or for vmm_end(), which wakes
 * it with a signal of its own. Whatever ends the machine first decides the exit
 * status; all threads are gone before anything is printed or freed.
 *
 * Bad input (files, sizes) is found before a VM exists and told apart from a
 * failing host by its exit status.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "acpi.h"
#include "vmm.h"

#define END_SIGNAL (SIGRTMIN + 1)

int vmm_ioctl(const struct vmm *v, int fd, unsigned long req, void *arg)
{
	int r = v->api->ioctl(fd, req, arg);

	return r < 0 ? -errno : r;
}

bool vmm_ended(const struct vmm *v)
{
	return __atomic_load_n(&v->ended, __ATOMIC_ACQUIRE);
}

void vmm_end(struct vmm *v, int status, struct vcpu *culprit, const char *fmt,
	     ...)
{
	va_list ap;

	pthread_mutex_lock(&v->end_lock);
	if (!v->ended) {
		v->status = status;
		v->culprit = culprit;
		va_start(ap, fmt);
		vsnprintf(v->reason, sizeof(v->reason), fmt, ap);
		va_end(ap);
		__atomic_store_n(&v->ended, true, __ATOMIC_RELEASE);
		pthread_kill(v->main_thread, END_SIGNAL);
	}
	pthread_mutex_unlock(&v->end_lock);
}

static sigset_t ending_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigaddset(&set, END_SIGNAL);
	return set;
}

/* vmm_end() may have sent one that nobody waited for. */
static void drop_end_signal(void)
{
	const struct timespec now = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, END_SIGNAL);
	while (sigtimedwait(&set, NULL, &now) > 0)
		;
}

static int64_t ns_left(const struct timespec *from, double seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(seconds * 1e9) -
	       ((now.tv_sec - from->tv_sec) * 1000000000ll + now.tv_nsec -
		from->tv_nsec);
}

/* Returns when the machine has ended. The ending signals are blocked. */
static void wait_for_end(struct vmm *v)
{
	sigset_t set = ending_signals();
	struct timespec start, t;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!vmm_ended(v)) {
		int64_t left = ns_left(&start, v->cfg->timeout);
		int sig;

		if (v->cfg->timeout > 0 && left <= 0) {
			vmm_end(v, VMM_TIMEOUT, NULL, "timeout after %g seconds",
				v->cfg->timeout);
			return;
		}
		t.tv_sec = left / 1000000000;
		t.tv_nsec = left % 1000000000;
		if (v->cfg->timeout > 0)
			sig = sigtimedwait(&set, NULL, &t);
		else
			sig = sigwaitinfo(&set, NULL);
		if (sig > 0 && sig != END_SIGNAL)
			vmm_end(v, VMM_SIGNAL + sig, NULL, "%s", strsignal(sig));
	}
}

static void report_end(struct vmm *v)
{
	if (v->status == VMM_POWER_OFF)
		return;
	fprintf(stderr, "anykvm: %s\n", v->reason);
	if (v->culprit)
		vcpu_dump(v->culprit);
	else if (v->status == VMM_TIMEOUT)
		for (unsigned i = 0; i < v->nr_vcpus; i++)
			vcpu_dump(&v->vcpus[i]);
}

/* Puts the ACPI tables and what the configuration names into guest memory. */
static bool load(struct vmm *v, struct vmm_error *e)
{
	const struct vmm_config *cfg = v->cfg;
	struct image kernel = { 0 }, initrd = { 0 };
	struct boot_files f = {
		.kernel = &kernel, .initrd = cfg->initrd ? &initrd : NULL,
		.cmdline = cfg->append ? cfg->append : "",
	};
	bool ok = acpi_write_tables(&v->ram, cfg->cpus, &f.rsdp, e) &&
		  image_read(&kernel, cfg->flat ? cfg->flat : cfg->kernel, e) &&
		  (!cfg->initrd || image_read(&initrd, cfg->initrd, e));

	if (ok && cfg->flat)
		ok = load_flat(&kernel, &v->ram, cfg->load_addr, cfg->flat_mode,
			       &v->entry, e);
	else if (ok)
		ok = load_kernel(&f, &v->ram, &v->entry, e);
	image_free(&kernel);
	image_free(&initrd);
	return ok;
}

static int run(struct vmm *v)
{
	struct vmm_error e = { "" };
	int failure = VMM_HOST_ERROR;

	if (vcpus_create(v, &e) && vcpus_start(v, &e)) {
		wait_for_end(v);
		failure = 0;
	} else {
		vmm_end(v, VMM_HOST_ERROR, NULL, "%s", e.text);
	}
	vcpus_stop(v);
	console_stop(&v->console);
	report_end(v);
	if (v->cfg->at_end)
		v->cfg->at_end();
	vcpus_destroy(v);
	return failure ? failure : v->status;
}

int vmm_run(const struct vmm_config *cfg)
{
	struct vmm v = {
		.cfg = cfg, .api = cfg->api, .kvm = -1, .vm = -1,
		.console.wake = -1, .main_thread = pthread_self(),
		.bus_lock = PTHREAD_MUTEX_INITIALIZER,
		.end_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	sigset_t set = ending_signals(), old;
	struct vmm_error e;
	int status = VMM_BAD_INPUT;

	pthread_sigmask(SIG_BLOCK, &set, &old);
	if (!ram_create(&v.ram, cfg->mem, &e)) {
		fprintf(stderr, "anykvm: %s\n", e.text);
	} else if (!load(&v, &e)) {
		fprintf(stderr, "anykvm: %s\n", e.text);
	} else if (!machine_create(&v, &e)) {
		fprintf(stderr, "anykvm: %s\n", e.text);
		status = VMM_HOST_ERROR;
	} else {
		status = run(&v);
	}
	machine_destroy(&v);
	ram_destroy(&v.ram);
	drop_end_signal();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return status;
}
