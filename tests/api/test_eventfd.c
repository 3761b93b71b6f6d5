/* SPDX-License-Identifier: MIT */
/*
 * ioeventfd (a guest's write signals an eventfd, without an exit) and irqfd (an
 * eventfd raises an interrupt), with their misuse.
 */
#include "kvm_api.h"

#include <poll.h>
#include <sys/eventfd.h>

DECLARE_GUEST(doorbell);
DECLARE_GUEST(pic);
DECLARE_GUEST(x2apic);

#define HOLE	0x40000000ul

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static uint64_t taken(int efd)
{
	uint64_t n = 0;

	if (read(efd, &n, 8) != 8)
		return 0;
	return n;
}

/* --- ioeventfd --------------------------------------------------------------------- */

static void new_doorbell(struct vm *v)
{
	struct kvm_sregs s;

	vm_new(v, 0);
	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = HOLE;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
	vm_load(v, GUEST(doorbell));
}

static int assign(struct vm *v, int fd, uint64_t addr, unsigned len,
		  unsigned flags, uint64_t match)
{
	struct kvm_ioeventfd io = { .datamatch = match, .addr = addr, .len = len,
				    .fd = fd, .flags = flags };

	return kvm_ioctl(v->fd, KVM_IOEVENTFD, &io);
}

/* KVM_CAP_IOEVENTFD. The guest stores a dword to HOLE, a byte and a word to port 0x510, then HLT. */
static void mmio_and_pio(void **state)
{
	int mmio = new_eventfd(), byte = new_eventfd(), word = new_eventfd();
	struct vm v;

	new_doorbell(&v);
	ok(assign(&v, mmio, HOLE, 4, 0, 0));
	ok(assign(&v, byte, 0x510, 1, KVM_IOEVENTFD_FLAG_PIO, 0));
	ok(assign(&v, word, 0x510, 2, KVM_IOEVENTFD_FLAG_PIO, 0));
	run_until(&v, KVM_EXIT_HLT);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(taken(mmio), 2);
	assert_int_equal(taken(byte), 2);
	assert_int_equal(taken(word), 2);
	ok(assign(&v, mmio, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	run_until(&v, KVM_EXIT_MMIO);
	assert_int_equal(taken(mmio), 0);
	close(mmio);
	close(byte);
	close(word);
}

static void length_must_match(void **state)
{
	int fd = new_eventfd();
	struct vm v;

	new_doorbell(&v);
	ok(assign(&v, fd, HOLE, 8, 0, 0));
	run_until(&v, KVM_EXIT_MMIO);
	assert_int_equal(taken(fd), 0);
	close(fd);
}

static void data_must_match(void **state)
{
	int yes = new_eventfd(), no = new_eventfd(), b = new_eventfd();
	struct vm v;

	new_doorbell(&v);
	ok(assign(&v, yes, HOLE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 0x55));
	ok(assign(&v, no, HOLE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 0x56));
	ok(assign(&v, b, 0x510, 1, KVM_IOEVENTFD_FLAG_PIO |
		  KVM_IOEVENTFD_FLAG_DATAMATCH, 0x67));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(taken(yes), 1);
	assert_int_equal(taken(no), 0);
	assert_int_equal(taken(b), 0);
	close(yes);
	close(no);
	close(b);
}

/* KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH: any write will do. */
static void length_zero(void **state)
{
	int mmio = new_eventfd(), pio = new_eventfd();
	struct vm v;

	new_doorbell(&v);
	ok(assign(&v, mmio, HOLE, 0, 0, 0));
	ok(assign(&v, pio, 0x510, 0, KVM_IOEVENTFD_FLAG_PIO, 0));
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(taken(mmio), 1);
	assert_int_equal(taken(pio), 2);
	fails(EINVAL, assign(&v, mmio, HOLE + 64, 0, KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
	close(mmio);
	close(pio);
}

static void ioeventfd_misuse(void **state)
{
	int fd = new_eventfd(), other = new_eventfd();
	struct vm v;

	new_doorbell(&v);
	fails(EINVAL, assign(&v, fd, HOLE, 3, 0, 0));
	fails(EINVAL, assign(&v, fd, HOLE, 16, 0, 0));
	fails(EINVAL, assign(&v, fd, ~0ul, 8, 0, 0));
	fails(EINVAL, assign(&v, fd, HOLE, 4, 1u << 20, 0));
	fails(EBADF, assign(&v, -1, HOLE, 4, 0, 0));
	fails(EINVAL, assign(&v, v.fd, HOLE, 4, 0, 0));	/* no eventfd */
	fails(ENOENT, assign(&v, fd, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	ok(assign(&v, fd, HOLE, 4, 0, 0));
	fails(EEXIST, assign(&v, other, HOLE, 4, 0, 0));
	fails(EEXIST, assign(&v, other, HOLE, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
	fails(ENOENT, assign(&v, other, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	fails(ENOENT, assign(&v, fd, HOLE, 2, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	ok(assign(&v, fd, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	fails(ENOENT, assign(&v, fd, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	close(fd);
	close(other);
}

/* The client may close its descriptor: the device keeps the eventfd. */
static void eventfd_closed_by_the_client(void **state)
{
	int fd = new_eventfd(), copy = dup(fd);
	struct vm v;

	new_doorbell(&v);
	ok(assign(&v, fd, HOLE, 4, 0, 0));
	close(fd);
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(taken(copy), 1);
	ok(assign(&v, copy, HOLE, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	close(copy);
}

/* --- irqfd --------------------------------------------------------------------------- */

static int irqfd(struct vm *v, int fd, unsigned gsi, unsigned flags, int resample)
{
	struct kvm_irqfd i = { .fd = fd, .gsi = gsi, .flags = flags,
			       .resamplefd = resample };

	return kvm_ioctl(v->fd, KVM_IRQFD, &i);
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, 8), 8);
}

static uint32_t *counter(struct vm *v, unsigned addr)
{
	return (uint32_t *)(v->ram + addr);
}

/* KVM_CAP_IRQFD. */
static void irqfd_edge(void **state)
{
	int fd = new_eventfd();
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	ok(irqfd(&v, fd, 5, 0, 0));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	for (unsigned i = 0; i < 10; i++) {
		signal_fd(fd);
		wait_changed(counter(&v, 0x2020), i);
	}
	ok(irqfd(&v, fd, 5, KVM_IRQFD_FLAG_DEASSIGN, 0));
	signal_fd(fd);
	usleep(10000);
	runner_stop(&r);
	assert_int_equal(*counter(&v, 0x2020), 10);
	assert_int_equal(taken(fd), 1);	/* nobody reads it any more */
	close(fd);
}

#ifndef API_CAPI
static void close_high_ones_one_by_one(void)
{
	for (int i = 200; i < 1200; i++)
		close(i);
}

static void close_high_ones_at_once(void)
{
	assert_int_equal(close_range(200, ~0u, 0), 0);
}

static void close_high_ones_with_closefrom(void)
{
	closefrom(200);
}

/* A client closes what it has not opened: our timer's, epoll's, eventfd's descriptors
 * are spared, its own are not. */
static void descriptors_of_ours_are_spared(void **state)
{
	void (*const closers[])(void) = { close_high_ones_one_by_one,
		close_high_ones_at_once, close_high_ones_with_closefrom };
	int fd = new_eventfd();
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	ok(irqfd(&v, fd, 5, 0, 0));
	for (unsigned i = 0; i < ARRAY_SIZE(closers); i++) {
		assert_int_equal(fcntl(STDERR_FILENO, F_DUPFD, 800), 800);
		closers[i]();
		fails(EBADF, fcntl(800, F_GETFD));
	}
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	signal_fd(fd);
	wait_changed(counter(&v, 0x2020), 0);
	runner_stop(&r);
	close(fd);
}
#define FRONT_TESTS T(descriptors_of_ours_are_spared),
#else
#define FRONT_TESTS
#endif

/* What was signalled before it was assigned counts. */
static void irqfd_signalled_before(void **state)
{
	int fd = new_eventfd();
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	signal_fd(fd);
	ok(irqfd(&v, fd, 5, 0, 0));
	wait_changed(counter(&v, 0x2020), 0);
	runner_stop(&r);
	close(fd);
}

static void irqfd_to_msi(void **state)
{
	struct { struct kvm_irq_routing h; struct kvm_irq_routing_entry e[1]; } t = {
		.h.nr = 1,
		.e[0] = { .gsi = 50, .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = { .address_lo = 0xfee00000, .data = 0x20 } },
	};
	int fd = new_eventfd();
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(x2apic));
	ok(kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	ok(irqfd(&v, fd, 50, 0, 0));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	for (unsigned i = 0; i < 10; i++) {
		signal_fd(fd);
		wait_changed(counter(&v, 0x2010), i);
	}
	runner_stop(&r);
	close(fd);
}

/* KVM_CAP_IRQFD_RESAMPLE. Level: the line stays up until the guest's EOI, which signals the other eventfd. */
static void irqfd_resample(void **state)
{
	struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	int fd = new_eventfd(), back = new_eventfd();
	struct pollfd p = { .fd = back, .events = POLLIN };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &c));
	c.chip.pic.elcr = 1 << 5;	/* IRQ 5 by level */
	ok(kvm_ioctl(v.fd, KVM_SET_IRQCHIP, &c));
	ok(irqfd(&v, fd, 5, KVM_IRQFD_FLAG_RESAMPLE, back));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	for (unsigned i = 0; i < 5; i++) {
		signal_fd(fd);
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_true(taken(back) > 0);
		wait_changed(counter(&v, 0x2020), i);
	}
	runner_stop(&r);
	ok(irqfd(&v, fd, 5, KVM_IRQFD_FLAG_DEASSIGN, 0));
	close(fd);
	close(back);
}

static void irqfd_misuse(void **state)
{
	int fd = new_eventfd();
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	fails(EINVAL, irqfd(&v, fd, 5, 1u << 31, 0));
	fails(EBADF, irqfd(&v, -1, 5, 0, 0));
	fails(EINVAL, irqfd(&v, v.fd, 5, 0, 0));
	fails(EBADF, irqfd(&v, fd, 5, KVM_IRQFD_FLAG_RESAMPLE, -1));
	fails(EBADF, irqfd(&v, -1, 5, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ok(irqfd(&v, fd, 5, KVM_IRQFD_FLAG_DEASSIGN, 0));	/* none: no error */
	ok(irqfd(&v, fd, 5, 0, 0));
	fails(EBUSY, irqfd(&v, fd, 6, 0, 0));
	ok(irqfd(&v, fd, 5, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ok(irqfd(&v, fd, 6, 0, 0));
	close(fd);
}

static const struct CMUnitTest tests[] = {
	T(mmio_and_pio), T(length_must_match), T(data_must_match), T(length_zero),
	T(ioeventfd_misuse), T(eventfd_closed_by_the_client), T(irqfd_edge), FRONT_TESTS
	T(irqfd_signalled_before), T(irqfd_to_msi), T(irqfd_resample),
	T(irqfd_misuse),
};
SUITE(eventfd, tests);
