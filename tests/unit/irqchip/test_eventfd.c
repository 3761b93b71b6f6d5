/* SPDX-License-Identifier: MIT */
/* I/O buses, ioeventfd, irqfd with real eventfds. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

/* ---- I/O bus ---- */

struct dev {
	struct kvm_io_device dev;
	unsigned reads, writes;
	bool refuse;
};

static int dev_read(struct kvm_vcpu *vcpu, struct kvm_io_device *d, gpa_t addr,
		    int len, void *val)
{
	struct dev *dev = container_of(d, struct dev, dev);

	if (dev->refuse)
		return -EOPNOTSUPP;
	dev->reads++;
	memset(val, 0x77, len);
	return 0;
}

static int dev_write(struct kvm_vcpu *vcpu, struct kvm_io_device *d, gpa_t addr,
		     int len, const void *val)
{
	struct dev *dev = container_of(d, struct dev, dev);

	if (dev->refuse)
		return -EOPNOTSUPP;
	dev->writes++;
	return 0;
}

static const struct kvm_io_device_ops dev_ops = { dev_read, dev_write };

static void test_bus_ranges(void **state)
{
	struct dev a = { .dev.ops = &dev_ops }, b = { .dev.ops = &dev_ops };
	struct kvm_io_bus bus;
	uint64_t v = 0;

	kvm_io_bus_init(&bus);
	assert_int_equal(kvm_io_bus_write(&bus, NULL, 0, 4, &v), -EOPNOTSUPP);
	assert_int_equal(kvm_io_bus_register_dev(&bus, 0x1000, 0x100, &a.dev),
			 0);
	assert_int_equal(kvm_io_bus_register_dev(&bus, 0x1010, 4, &b.dev), 0);
	assert_int_equal(kvm_io_bus_write(&bus, NULL, 0x10ff, 1, &v), 0);
	assert_int_equal(kvm_io_bus_write(&bus, NULL, 0x10ff, 2, &v),
			 -EOPNOTSUPP);
	assert_int_equal(kvm_io_bus_write(&bus, NULL, 0xfff, 1, &v),
			 -EOPNOTSUPP);
	assert_int_equal(kvm_io_bus_read(&bus, NULL, 0x1010, 4, &v), 0);
	assert_int_equal(v, 0x77777777);
	assert_int_equal(a.reads, 1);
	/* The first refuses: the next is asked. */
	a.refuse = true;
	assert_int_equal(kvm_io_bus_read(&bus, NULL, 0x1010, 4, &v), 0);
	assert_int_equal(b.reads, 1);
	assert_int_equal(kvm_io_bus_read(&bus, NULL, 0x1010, 8, &v),
			 -EOPNOTSUPP);
	kvm_io_bus_unregister_dev(&bus, &b.dev);
	assert_int_equal(kvm_io_bus_read(&bus, NULL, 0x1010, 4, &v),
			 -EOPNOTSUPP);
	/* Up to the last address */
	assert_int_equal(kvm_io_bus_register_dev(&bus, ~0ull - 3, 4, &b.dev),
			 0);
	assert_int_equal(kvm_io_bus_read(&bus, NULL, ~0ull - 3, 4, &v), 0);
	kvm_io_bus_fini(&bus);
}

static void test_bus_is_bounded(void **state)
{
	struct dev a = { .dev.ops = &dev_ops };
	struct kvm_io_bus bus;

	kvm_io_bus_init(&bus);
	for (unsigned i = 0; i < NR_IOBUS_DEVS; i++)
		assert_int_equal(kvm_io_bus_register_dev(&bus,
			i * 7919ull % 1009 * 16, 8, &a.dev), 0);
	assert_int_equal(kvm_io_bus_register_dev(&bus, 0, 1, &a.dev), -ENOSPC);
	kvm_io_bus_unregister_dev(&bus, &a.dev);
	assert_int_equal(bus.count, 0);
	kvm_io_bus_fini(&bus);
}

/* ---- ioeventfd ---- */

static uint64_t count_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t v = 0;

	if (poll(&p, 1, 0) == 1 && read(fd, &v, 8) != 8)
		return ~0ull;
	return v;
}

static int wr(struct vm *vm, int bus, gpa_t addr, int len, uint64_t val)
{
	return kvm_io_bus_write(&vm->ic.bus[bus], NULL, addr, len,
				len ? &val : NULL);
}

static void test_ioeventfd_matching(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_NONE, 0);
	int fd = eventfd(0, 0), fd2 = eventfd(0, 0);
	struct kvm_ioeventfd pio = {
		.addr = 0xc050, .len = 2, .fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH,
		.datamatch = 1,
	};
	struct kvm_ioeventfd mmio = { .addr = 0xfe000000, .len = 4, .fd = fd2 };

	assert_int_equal(kvm_ioeventfd(&vm->ic, &pio), 0);
	pio.datamatch = 2;
	pio.fd = fd2;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &pio), 0);
	assert_int_equal(wr(vm, KVM_PIO_BUS, 0xc050, 2, 1), 0);
	assert_int_equal(count_of(fd), 1);
	assert_int_equal(wr(vm, KVM_PIO_BUS, 0xc050, 2, 2), 0);
	assert_int_equal(wr(vm, KVM_PIO_BUS, 0xc050, 2, 2), 0);
	assert_int_equal(count_of(fd2), 2);
	assert_int_equal(wr(vm, KVM_PIO_BUS, 0xc050, 2, 3), -EOPNOTSUPP);
	assert_int_equal(wr(vm, KVM_PIO_BUS, 0xc050, 1, 1), -EOPNOTSUPP);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xc050, 2, 1), -EOPNOTSUPP);
	assert_int_equal(kvm_ioeventfd(&vm->ic, &mmio), 0);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xfe000000, 4, 12345), 0);
	assert_int_equal(count_of(fd2), 1);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xfe000000, 8, 1), -EOPNOTSUPP);
	assert_int_equal(count_of(fd), 0);
	assert_int_equal(count_of(fd2), 0);
	vm_destroy(vm);
	close(fd);
	close(fd2);
}

static void test_ioeventfd_any_length(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_NONE, 0);
	int fd = eventfd(0, 0);
	struct kvm_ioeventfd a = { .addr = 0xfe001000, .fd = fd };

	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	assert_int_equal(wr(vm, KVM_FAST_MMIO_BUS, 0xfe001000, 0, 0), 0);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xfe001000, 1, 0), 0);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xfe001000, 8, 0), 0);
	assert_int_equal(count_of(fd), 3);
	assert_int_equal(wr(vm, KVM_FAST_MMIO_BUS, 0xfe001001, 0, 0),
			 -EOPNOTSUPP);
	a.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	assert_int_equal(wr(vm, KVM_FAST_MMIO_BUS, 0xfe001000, 0, 0),
			 -EOPNOTSUPP);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0xfe001000, 4, 0), -EOPNOTSUPP);
	vm_destroy(vm);
	close(fd);
}

static void test_ioeventfd_errno(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_NONE, 0);
	int fd = eventfd(0, 0), file = open("/dev/null", O_RDWR);
	struct kvm_ioeventfd good = { .addr = 0x1000, .len = 4, .fd = fd }, a;

	a = good, a.len = 3;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	a = good, a.len = 16;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	a = good, a.flags = 1 << 5;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	a = good, a.addr = ~0ull;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	a = good, a.len = 0, a.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	a = good, a.fd = -1;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EBADF);
	a = good, a.fd = 99999;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EBADF);
	a = good, a.fd = file;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EINVAL);
	assert_int_equal(kvm_ioeventfd(&vm->ic, &good), 0);
	assert_int_equal(kvm_ioeventfd(&vm->ic, &good), -EEXIST);
	a = good, a.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EEXIST);
	a = good, a.len = 0;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -EEXIST);
	a = good, a.len = 2;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	a = good, a.flags = KVM_IOEVENTFD_FLAG_DEASSIGN, a.addr = 0x2000;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -ENOENT);
	a.addr = 0x1000;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), -ENOENT);
	assert_int_equal(vm->ic.bus[KVM_MMIO_BUS].count, 1);
	vm_destroy(vm);
	close(fd);
	close(file);
}

static void test_ioeventfd_outlives_the_clients_fd(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_NONE, 0);
	int fd = eventfd(0, 0), other = dup(fd);
	struct kvm_ioeventfd a = { .addr = 0x1000, .len = 4, .fd = fd };

	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	close(fd);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0x1000, 4, 0), 0);
	assert_int_equal(count_of(other), 1);
	/* A duplicate names the same eventfd. */
	a.fd = other;
	a.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	vm_destroy(vm);
	close(other);
}

static void test_full_eventfd_does_not_block_the_guest(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_NONE, 0);
	int fd = eventfd(0, 0);
	uint64_t full = ~0ull - 1;
	struct kvm_ioeventfd a = { .addr = 0x1000, .len = 4, .fd = fd };

	assert_int_equal(kvm_ioeventfd(&vm->ic, &a), 0);
	assert_int_equal(write(fd, &full, 8), 8);
	assert_int_equal(wr(vm, KVM_MMIO_BUS, 0x1000, 4, 0), 0);
	assert_true(count_of(fd) == full);
	vm_destroy(vm);
	close(fd);
}

/* ---- irqfd ---- */

static void kick_fd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, 8), 8);
}

static int take(struct vm *vm)
{
	return kvm_get_apic_interrupt(vm->vcpu[0].apic);
}

static void test_irqfd_edge(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	int fd = eventfd(0, 0);
	struct kvm_irqfd a = { .fd = fd, .gsi = 20 };

	ioapic_set_entry(vm, 20, 0x77);
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	for (int i = 0; i < 100; i++) {
		kick_fd(fd);
		assert_true(eventually(in_irr(vm, 0, 0x77)));
		assert_int_equal(take(vm), 0x77);
		apic_write(vm, 0, APIC_EOI, 0);
	}
	assert_true(eventually(!count_of(fd)));
	a.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	kick_fd(fd);
	sleep_ns(20 * MS);
	assert_int_equal(take(vm), -1);
	assert_int_equal(count_of(fd), 1);	/* nobody read it */
	vm_destroy(vm);
	close(fd);
}

static void test_irqfd_that_is_already_set(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	int fd = eventfd(3, 0);
	struct kvm_irqfd a = { .fd = fd, .gsi = 20 };

	ioapic_set_entry(vm, 20, 0x77);
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	assert_true(eventually(in_irr(vm, 0, 0x77)));
	vm_destroy(vm);
	close(fd);
}

static void test_irqfd_msi(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_SPLIT, 1);
	struct kvm_irq_routing_entry e = {
		.gsi = 100, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = 0x88 },
	};
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd a = { .fd = fd, .gsi = 100 };

	assert_int_equal(kvm_set_irq_routing(&vm->ic, 0, 1, &e), 0);
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	kick_fd(fd);
	assert_true(eventually(in_irr(vm, 0, 0x88)));
	vm_destroy(vm);
	close(fd);
}

static void test_irqfd_resample(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	int fd = eventfd(0, 0), re = eventfd(0, 0);
	int fd2 = eventfd(0, 0), re2 = eventfd(0, 0);
	struct kvm_irqfd a = {
		.fd = fd, .gsi = 10, .resamplefd = re,
		.flags = KVM_IRQFD_FLAG_RESAMPLE,
	};
	struct kvm_irqfd b = a;

	b.fd = fd2;
	b.resamplefd = re2;
	ioapic_set_entry(vm, 10, 0x66 | BIT(15));
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	assert_int_equal(kvm_irqfd(&vm->ic, &b), 0);
	kick_fd(fd);
	assert_true(eventually(in_irr(vm, 0, 0x66)));
	assert_int_equal(count_of(re), 0);
	assert_int_equal(take(vm), 0x66);
	apic_write(vm, 0, APIC_EOI, 0);
	/* Lowered by the EOI, and everybody who shares the line is told. */
	assert_int_equal(take(vm), -1);
	assert_int_equal(count_of(re), 1);
	assert_int_equal(count_of(re2), 1);
	b.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_irqfd(&vm->ic, &b), 0);
	kick_fd(fd);
	assert_true(eventually(in_irr(vm, 0, 0x66)));
	assert_int_equal(take(vm), 0x66);
	/* The last one leaves: the line goes down with it. */
	a.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	apic_write(vm, 0, APIC_EOI, 0);
	assert_int_equal(take(vm), -1);
	assert_int_equal(count_of(re), 0);
	vm_destroy(vm);
	close(fd), close(re), close(fd2), close(re2);
}

static void test_irqfd_errno(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);
	struct vm *split = vm_create(KVM_IRQCHIP_SPLIT, 1);
	int fd = eventfd(0, 0), file = open("/dev/null", O_RDWR);
	struct kvm_irqfd good = { .fd = fd, .gsi = 5 }, a;

	assert_int_equal(kvm_irqfd(&none->ic, &good), -EINVAL);
	a = good, a.flags = 4;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EINVAL);
	a = good, a.fd = -1;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EBADF);
	a = good, a.fd = file;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EINVAL);
	a = good, a.flags = KVM_IRQFD_FLAG_RESAMPLE, a.resamplefd = 99999;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EBADF);
	a.resamplefd = file;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EINVAL);
	a.resamplefd = fd;
	assert_int_equal(kvm_irqfd(&split->ic, &a), -EINVAL);
	a = good, a.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);	/* as Linux */
	assert_int_equal(kvm_irqfd(&vm->ic, &good), 0);
	assert_int_equal(kvm_irqfd(&vm->ic, &good), -EBUSY);
	a = good, a.gsi = 6;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), -EBUSY);
	a.flags = KVM_IRQFD_FLAG_DEASSIGN;
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);	/* another GSI: stays */
	assert_int_equal(kvm_irqfd(&vm->ic, &good), -EBUSY);
	vm_destroy(split);
	vm_destroy(none);
	vm_destroy(vm);
	close(fd), close(file);
}

static void test_many_irqfds(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_irqfd a = { 0 };
	int fd[60];

	for (unsigned i = 0; i < 60; i++) {
		fd[i] = eventfd(0, 0);
		a.fd = fd[i];
		a.gsi = i % 8 + 16;
		assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	}
	for (unsigned i = 0; i < 8; i++)
		ioapic_set_entry(vm, i + 16, 0x80 + i);
	for (unsigned i = 0; i < 60; i += 3)
		kick_fd(fd[i]);
	for (unsigned i = 0; i < 8; i++)
		assert_true(eventually(in_irr(vm, 0, 0x80 + i)));
	vm_destroy(vm);
	for (unsigned i = 0; i < 60; i++)
		close(fd[i]);
}

static int child_vm(int inherited)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	int fd = eventfd(0, 0);
	struct kvm_irqfd a = { .fd = fd, .gsi = 20 };

	ioapic_set_entry(vm, 20, 0x77);
	if (kvm_irqfd(&vm->ic, &a))
		return 1;
	kick_fd(fd);
	if (!eventually(in_irr(vm, 0, 0x77)))
		return 2;
	vm_destroy(vm);
	return 0;
}

static void test_fork(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	int fd = eventfd(0, 0), status = -1;
	struct kvm_irqfd a = { .fd = fd, .gsi = 20 };
	pid_t pid;

	ioapic_set_entry(vm, 20, 0x77);
	assert_int_equal(kvm_irqfd(&vm->ic, &a), 0);
	pid = fork();
	if (!pid)
		_exit(child_vm(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* The parent's goes on. */
	kick_fd(fd);
	assert_true(eventually(in_irr(vm, 0, 0x77)));
	vm_destroy(vm);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bus_ranges),
		cmocka_unit_test(test_bus_is_bounded),
		cmocka_unit_test(test_ioeventfd_matching),
		cmocka_unit_test(test_ioeventfd_any_length),
		cmocka_unit_test(test_ioeventfd_errno),
		cmocka_unit_test(test_ioeventfd_outlives_the_clients_fd),
		cmocka_unit_test(test_full_eventfd_does_not_block_the_guest),
		cmocka_unit_test(test_irqfd_edge),
		cmocka_unit_test(test_irqfd_that_is_already_set),
		cmocka_unit_test(test_irqfd_msi),
		cmocka_unit_test(test_irqfd_resample),
		cmocka_unit_test(test_irqfd_errno),
		cmocka_unit_test(test_many_irqfds),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
