/* SPDX-License-Identifier: MIT */
/*
 * A small virtual machine monitor over the KVM API: one board (layout.h), any
 * number of vCPUs, a serial console. vmm_run() is a whole life: make, load,
 * run to the end, take down.
 */
#ifndef ANYKVM_VMM_VMM_H
#define ANYKVM_VMM_VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include "api.h"
#include "bus.h"
#include "console.h"
#include "error.h"
#include "loader.h"
#include "platform.h"
#include "ram.h"
#include "rtc.h"
#include "serial.h"

/* How it ended; the process's exit status. Documented in "anykvm run --help". */
enum vmm_status {
	VMM_POWER_OFF = 0,
	VMM_HOST_ERROR = 1,	/* the KVM API or the host failed */
	VMM_BAD_INPUT = 2,	/* a file, an option, memory */
	VMM_CRASH = 3,		/* the guest reported a panic */
	VMM_RESET = 4,		/* the guest asked for a reset */
	VMM_TRIPLE_FAULT = 5,
	VMM_INTERNAL_ERROR = 6,	/* KVM_EXIT_INTERNAL_ERROR, failed entry, ... */
	VMM_TIMEOUT = 7,
	VMM_DEBUG_EXIT = 64,	/* + the byte written to port 0xf4, modulo 64 */
	VMM_SIGNAL = 128,	/* + the signal that ended us */
};

struct vmm_config {
	const struct kvm_api *api;
	const char *device;	/* for the device API */
	const char *kernel;	/* NULL: @flat */
	const char *flat;
	const char *initrd;	/* may be NULL */
	const char *append;
	uint64_t load_addr;	/* of @flat */
	enum boot_mode flat_mode;
	uint64_t mem;		/* bytes */
	unsigned cpus;
	bool irqchip;		/* in-kernel interrupt controllers and PIT */
	double timeout;		/* seconds of wall time; 0: none */
	void (*at_end)(void);	/* the guest has ended, its VM is still there; or NULL */
};

struct vmm;

struct vcpu {
	struct vmm *vmm;
	unsigned id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	bool started;
	bool dump_request;	/* atomic */
};

struct vmm {
	const struct vmm_config *cfg;
	const struct kvm_api *api;
	int kvm, vm;
	struct guest_ram ram;
	struct boot_entry entry;

	pthread_mutex_t bus_lock;	/* the bus and every device on it */
	struct bus bus;
	struct serial serial;
	struct rtc rtc;
	struct platform platform;
	struct console console;

	struct vcpu *vcpus;
	unsigned nr_vcpus;
	pthread_t main_thread;

	pthread_mutex_t end_lock;
	bool ended;			/* atomic; the rest under end_lock */
	int status;
	struct vcpu *culprit;		/* whose state is worth a dump, or NULL */
	char reason[160];
};

/* Runs a guest to its end; an enum vmm_status. Messages go to standard error. */
int vmm_run(const struct vmm_config *cfg);

/* -- between the files of the VMM -- */

/* ioctl with the error as a value: >= 0 or -errno. */
int vmm_ioctl(const struct vmm *v, int fd, unsigned long req, void *arg);

/*
 * Ends the machine; the first caller's @status and reason hold. Any thread; does
 * not wait. @culprit: a vCPU to dump, or NULL.
 */
void vmm_end(struct vmm *v, int status, struct vcpu *culprit, const char *fmt,
	     ...) __attribute__((format(printf, 4, 5)));
bool vmm_ended(const struct vmm *v);

/* machine.c: the VM, its interrupt controllers, memory and devices. */
bool machine_create(struct vmm *v, struct vmm_error *e);
void machine_destroy(struct vmm *v);

/* vcpu.c */
bool vcpus_create(struct vmm *v, struct vmm_error *e);
bool vcpus_start(struct vmm *v, struct vmm_error *e);
/* Takes all vCPUs out of KVM_RUN for good and waits for their threads. */
void vcpus_stop(struct vmm *v);
void vcpus_destroy(struct vmm *v);
/* Every vCPU prints its state and goes on. */
void vcpus_request_dump(struct vmm *v);

/* cpu_state.c: CPUID, MSRs, LAPIC and registers at start. */
bool cpu_state_setup(struct vcpu *c, struct vmm_error *e);

/* exits.c: acts on the exit in @c->run. */
void vcpu_handle_exit(struct vcpu *c);
/* "KVM_EXIT_IO", ...; "unknown". */
const char *vcpu_exit_name(uint32_t reason);

/* dump.c: registers and the instruction, to standard error. */
void vcpu_dump(struct vcpu *c);

#endif
