/* SPDX-License-Identifier: MIT */
/*
 * Threads that call all of a VM's requests with damaged arguments while others run its
 * vCPUs: whatever they do to the guest, each request ends and the process lives on. What
 * single requests refuse stands in the other files.
 */
#include "kvm_api.h"

#include <signal.h>
#include <sys/eventfd.h>

DECLARE_GUEST(hostile);

#define NR_VCPUS	2
#define NR_THREADS	3
#define REQUESTS	3000		/* of each thread */
#define SLOTS_AT	0x100000	/* gpa of the slots that come and go */

static struct client {
	struct vm vm;
	struct kvm_sregs sane;		/* what a vCPU begins with */
	uint8_t image[0x4000];		/* and the guest's vectors and code */
	volatile bool stop;
	volatile unsigned long runs[NR_VCPUS];	/* that ended in an exit to us */
} client;

struct thread {
	pthread_t id;
	uint64_t seed;
	unsigned cpu;
	int eventfd;
	volatile bool ended;
	unsigned long bad;		/* answers that no request may give */
};

/* One buffer for all structures: they are filled, and damaged, as bytes. */
union argument {
	uint8_t bytes[4096];
	struct kvm_irqchip chip;
	struct kvm_mp_state mp;
};

static uint64_t random_of(struct thread *t)
{
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 7;
	t->seed ^= t->seed << 17;
	return t->seed >> 8;
}

static int request(struct thread *t, int fd, unsigned long nr, void *arg)
{
	int ret = kvm_ioctl(fd, nr, arg);

	t->bad += ret < -1 || (ret == -1 && (errno <= 0 || errno >= 134));
	return ret;
}

/* --- requests ------------------------------------------------------------------------ */

static const struct {
	bool of_vcpu;
	unsigned long get, set;
} states[] = {
	{ true, KVM_GET_LAPIC, KVM_SET_LAPIC }, { true, KVM_GET_SREGS, KVM_SET_SREGS },
	{ true, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS },
	{ true, KVM_GET_XSAVE, KVM_SET_XSAVE }, { true, KVM_GET_FPU, KVM_SET_FPU },
	{ true, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS }, { true, KVM_GET_XCRS, KVM_SET_XCRS },
	{ true, KVM_GET_REGS, KVM_SET_REGS }, { true, KVM_GET_MP_STATE, KVM_SET_MP_STATE },
	{ false, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP }, { false, KVM_GET_PIT2, KVM_SET_PIT2 },
	{ false, KVM_GET_CLOCK, KVM_SET_CLOCK },
};

/* What the VM or vCPU says of itself, with a byte changed. */
static void damage_state(struct thread *t)
{
	union argument a = { .chip.chip_id = random_of(t) % 3 };
	unsigned i = random_of(t) % ARRAY_SIZE(states);
	int fd = states[i].of_vcpu ? client.vm.vcpu[random_of(t) % NR_VCPUS] : client.vm.fd;

	if (request(t, fd, states[i].get, &a))
		return;
	a.bytes[random_of(t) % _IOC_SIZE(states[i].set)] = random_of(t);
	request(t, fd, states[i].set, &a);
}

static void move_memory(struct thread *t)
{
	struct kvm_userspace_memory_region r = {
		.slot = 1 + random_of(t) % 3, .flags = random_of(t) & 1,
		.guest_phys_addr = SLOTS_AT + random_of(t) % 64 * PAGE,
		.memory_size = random_of(t) % 3 * 8 * PAGE,
		.userspace_addr = (uintptr_t)client.vm.ram + SLOTS_AT + random_of(t) % 64 * PAGE };

	request(t, client.vm.fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static void fetch_log(struct thread *t)
{
	uint64_t bitmap[RAM_SIZE / PAGE / 64];
	struct kvm_dirty_log l = { .slot = random_of(t) % 4, .dirty_bitmap = bitmap };

	request(t, client.vm.fd, KVM_GET_DIRTY_LOG, &l);
}

static void route(struct thread *t)
{
	struct { struct kvm_irq_routing h; struct kvm_irq_routing_entry e[4]; } r = {
		.h.nr = random_of(t) % 5 };

	for (unsigned i = 0; i < ARRAY_SIZE(r.e); i++) {
		r.e[i].gsi = i;
		r.e[i].type = KVM_IRQ_ROUTING_IRQCHIP + random_of(t) % 2;
		r.e[i].u.msi.address_lo = random_of(t) & 7;	/* or chip and pin */
		r.e[i].u.msi.data = random_of(t);
	}
	request(t, client.vm.fd, KVM_SET_GSI_ROUTING, &r);
}

static void interrupt(struct thread *t)
{
	struct kvm_irq_level l = { .irq = random_of(t) % 24, .level = random_of(t) & 1 };
	struct kvm_msi m = { .address_lo = 0xfee00000 | (random_of(t) & 0xffffc),
			     .data = random_of(t) & 0xffff };

	request(t, client.vm.fd, KVM_IRQ_LINE, &l);
	request(t, client.vm.fd, KVM_SIGNAL_MSI, &m);
	request(t, client.vm.vcpu[random_of(t) % NR_VCPUS], KVM_NMI, NULL);
}

static void eventfds(struct thread *t)
{
	struct kvm_irqfd q = { .fd = t->eventfd, .gsi = random_of(t) % 24,
			       .flags = random_of(t) % 2 };
	struct kvm_ioeventfd e = { .fd = t->eventfd, .addr = 0x80, .len = 1,
		.flags = KVM_IOEVENTFD_FLAG_PIO |
			 random_of(t) % 2 * KVM_IOEVENTFD_FLAG_DEASSIGN };
	uint64_t one = 1;

	request(t, client.vm.fd, KVM_IRQFD, &q);
	request(t, client.vm.fd, KVM_IOEVENTFD, &e);
	t->bad += write(t->eventfd, &one, sizeof(one)) < 0 && errno != EAGAIN;
}

static void change_cpuid(struct thread *t)
{
	struct cpuid_buf c = { .h.nent = ARRAY_SIZE(c.e) };
	uint8_t *at;

	if (request(t, client.vm.sys, KVM_GET_SUPPORTED_CPUID, &c))
		return;
	at = (uint8_t *)&c.e[random_of(t) % c.h.nent];
	at[random_of(t) % sizeof(c.e[0])] ^= 1 << random_of(t) % 8;
	request(t, client.vm.vcpu[random_of(t) % NR_VCPUS], KVM_SET_CPUID2, &c);
}

/* --- threads ------------------------------------------------------------------------- */

static void *call(void *arg)
{
	static void (*const what[])(struct thread *t) = {
		damage_state, damage_state, damage_state, move_memory, fetch_log, route,
		interrupt, eventfds, change_cpuid,
	};
	struct thread *t = arg;

	for (unsigned i = 0; i < REQUESTS; i++)
		what[random_of(t) % ARRAY_SIZE(what)](t);
	return NULL;
}

/* So that it can run again, whatever has been done to it: it may have written to its own
 * code, or be in a storm of interrupts, which a level and a damaged 8259 make. */
static void set_right(struct thread *t)
{
	struct kvm_vcpu_events none = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
						 KVM_VCPUEVENT_VALID_SHADOW };
	struct kvm_regs r = { .rip = CODE, .rsp = STACK,
			      .rflags = 2 | (random_of(t) & 0x200) };
	struct kvm_mp_state m = { KVM_MP_STATE_RUNNABLE };
	int fd = client.vm.vcpu[t->cpu];

	memcpy(client.vm.ram, client.image, sizeof(client.image));
	request(t, fd, KVM_SET_VCPU_EVENTS, &none);
	request(t, fd, KVM_SET_SREGS, &client.sane);
	request(t, fd, KVM_SET_REGS, &r);
	request(t, fd, KVM_SET_MP_STATE, &m);
}

static __thread int running = -1;

static void on_signal(int sig)
{
	if (running >= 0)
		kvm_notice_signal(running);
}

/* Ends their KVM_RUN. */
static void wake(const struct thread *runners)
{
	for (unsigned i = 0; i < NR_VCPUS; i++)
		if (!runners[i].ended)
			pthread_kill(runners[i].id, SIGUSR1);
}

static void *run(void *arg)
{
	struct thread *t = arg;
	struct kvm_run *r = client.vm.run[t->cpu];

	for (running = client.vm.vcpu[t->cpu]; !client.stop; ) {
		if (!request(t, running, KVM_RUN, NULL) &&
		    (r->exit_reason == KVM_EXIT_IO || r->exit_reason == KVM_EXIT_MMIO)) {
			client.runs[t->cpu]++;
			continue;
		}
		set_right(t);
		usleep(100);		/* the others want the vCPU too */
	}
	running = -1;
	t->ended = true;
	return NULL;
}

/* Each of @n threads. A vCPU may halt for ever, and who wants it waits: it is woken until
 * the thread has ended. */
static void join_all(struct thread *t, unsigned n, const struct thread *runners)
{
	for (unsigned i = 0; i < n; i++) {
		while (pthread_tryjoin_np(t[i].id, NULL)) {
			wake(runners);
			usleep(1000);
		}
		assert_int_equal(t[i].bad, 0);
	}
}

static void requests_beside_running_vcpus(void **state)
{
	struct thread callers[NR_THREADS] = { 0 }, runners[NR_VCPUS] = { 0 };
	struct sigaction act = { .sa_handler = on_signal };

	memset(&client, 0, sizeof(client));
	vm_new(&client.vm, VM_IRQCHIP | VM_PIT);
	vm_load(&client.vm, GUEST(hostile));
	/* All vectors of real mode lead to an IRET. */
	for (unsigned v = 0; v < 256; v++)
		memcpy(client.vm.ram + 4 * v, "\x00\x30\x00\x00", 4);
	client.vm.ram[0x3000] = 0xcf;
	memcpy(client.image, client.vm.ram, sizeof(client.image));
	ok(kvm_ioctl(client.vm.vcpu[0], KVM_GET_SREGS, &client.sane));
	client.sane.ds.limit = ~0u;
	client.sane.ds.g = 1;
	ok(kvm_ioctl(client.vm.vcpu[0], KVM_SET_SREGS, &client.sane));
	vm_add_vcpu(&client.vm, 1, 1);
	sigaction(SIGUSR1, &act, NULL);
	for (unsigned i = 0; i < NR_VCPUS; i++) {
		runners[i].cpu = i;
		runners[i].seed = 100 + i;
		assert_int_equal(pthread_create(&runners[i].id, NULL, run, &runners[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++) {
		callers[i].seed = i + 1;
		callers[i].eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(callers[i].eventfd >= 0);
		assert_int_equal(pthread_create(&callers[i].id, NULL, call, &callers[i]), 0);
	}
	join_all(callers, NR_THREADS, runners);
	for (unsigned i = 0; i < NR_THREADS; i++)
		close(callers[i].eventfd);
	for (unsigned i = 0; i < 10000 && !(client.runs[0] && client.runs[1]); i++) {
		wake(runners);
		usleep(1000);
	}
	client.stop = true;
	join_all(runners, NR_VCPUS, runners);
	assert_true(client.runs[0] && client.runs[1]);
}

static const struct CMUnitTest tests[] = { T(requests_beside_running_vcpus) };
SUITE(hostile, tests);
