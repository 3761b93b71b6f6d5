/* SPDX-License-Identifier: MIT */
/*
 * Exits for ports and for memory that is not there, and the rings that gather
 * writes without an exit.
 */
#include "kvm_api.h"

DECLARE_GUEST(ports);
DECLARE_GUEST(string_ports);
DECLARE_GUEST(string_cross);
DECLARE_GUEST(mmio);
DECLARE_GUEST(mmio_cross);
DECLARE_GUEST(mmio_quad);
DECLARE_GUEST(out_inc);
DECLARE_GUEST(doorbell);
DECLARE_GUEST(single_step);

#define HOLE	0x40000000ul

static void set_ds(struct vm *v, uint64_t base)
{
	struct kvm_sregs s;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = base;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

static void *pio_data(struct vm *v)
{
	return (char *)v->run[0] + v->run[0]->io.data_offset;
}

static void expect_io(struct vm *v, unsigned dir, unsigned size, unsigned port,
		      unsigned count)
{
	run_until(v, KVM_EXIT_IO);
	assert_int_equal(v->run[0]->io.direction, dir);
	assert_int_equal(v->run[0]->io.size, size);
	assert_int_equal(v->run[0]->io.port, port);
	assert_int_equal(v->run[0]->io.count, count);
	assert_true(v->run[0]->io.data_offset >= sizeof(struct kvm_run));
}

static void expect_mmio(struct vm *v, bool write, uint64_t addr, unsigned len)
{
	run_until(v, KVM_EXIT_MMIO);
	assert_int_equal(v->run[0]->mmio.is_write, write);
	assert_int_equal(v->run[0]->mmio.phys_addr, addr);
	assert_int_equal(v->run[0]->mmio.len, len);
}

/* --- ports ------------------------------------------------------------------------- */

static void in_and_out(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(ports));
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0x3f8, 1);
	assert_int_equal(*(uint8_t *)pio_data(&v), 0x78);
	expect_io(&v, KVM_EXIT_IO_OUT, 2, 0x3f8, 1);
	assert_int_equal(*(uint16_t *)pio_data(&v), 0x5678);
	expect_io(&v, KVM_EXIT_IO_OUT, 4, 0x3f8, 1);
	assert_int_equal(*(uint32_t *)pio_data(&v), 0x12345678);
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0xe9, 1);
	expect_io(&v, KVM_EXIT_IO_IN, 1, 0x60, 1);
	*(uint32_t *)pio_data(&v) = 0xaabbccdd;
	expect_io(&v, KVM_EXIT_IO_IN, 2, 0x3f8, 1);
	*(uint32_t *)pio_data(&v) = 0x99887766;
	expect_io(&v, KVM_EXIT_IO_IN, 4, 0x3f8, 1);
	*(uint32_t *)pio_data(&v) = 0x01020304;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(v.ram[0x2000], 0xdd);
	assert_int_equal(*(uint16_t *)(v.ram + 0x2002), 0x7766);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2004), 0x01020304);
}

/* An exit is completed by the next KVM_RUN, also by one that does nothing else. */
static void completion_by_immediate_exit(void **state)
{
	struct kvm_regs r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(out_inc));
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0xe9, 1);
	v.run[0]->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	vm_get_regs(&v, &r);
	assert_int_equal(r.rip, CODE + 2);	/* over the OUT, no further */
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 0);
	v.run[0]->immediate_exit = 0;
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0xe9, 1);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 1);
}

/* A client may leave from an exit to another place (a reset). */
static void registers_set_at_an_exit(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(out_inc));
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0xe9, 1);
	memcpy(v.ram + 0x1800, "\xf4", 1);
	vm_set_rip(&v, 0x1800);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 0);
}

/* The trap flag holds over an instruction that the client completed. */
static void single_step_over_out(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(single_step));
	expect_io(&v, KVM_EXIT_IO_OUT, 1, 0xe9, 1);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000) & 0xe00f, 0x4000);
	/* ... HLT is one byte before the end of the code. */
	assert_int_equal(v.ram[*(uint16_t *)(v.ram + 0x2004)], 0xf4);
}

/* Takes what REP OUTS brings, in whatever pieces, until @n bytes are there. */
static void take_outs(struct vm *v, unsigned size, unsigned port, uint8_t *to,
		      unsigned n)
{
	while (n) {
		unsigned bytes;

		run_until(v, KVM_EXIT_IO);
		assert_int_equal(v->run[0]->io.direction, KVM_EXIT_IO_OUT);
		assert_int_equal(v->run[0]->io.size, size);
		assert_int_equal(v->run[0]->io.port, port);
		bytes = size * v->run[0]->io.count;
		assert_in_range(bytes, 1, n);
		memcpy(to, pio_data(v), bytes);
		to += bytes;
		n -= bytes;
	}
}

static void give_ins(struct vm *v, unsigned size, unsigned port,
		     const uint8_t *from, unsigned n)
{
	while (n) {
		unsigned bytes;

		run_until(v, KVM_EXIT_IO);
		assert_int_equal(v->run[0]->io.direction, KVM_EXIT_IO_IN);
		assert_int_equal(v->run[0]->io.size, size);
		assert_int_equal(v->run[0]->io.port, port);
		bytes = size * v->run[0]->io.count;
		assert_in_range(bytes, 1, n);
		memcpy(pio_data(v), from, bytes);
		from += bytes;
		n -= bytes;
	}
}

static void string_io(void **state)
{
	uint8_t got[6];
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(string_ports));
	memcpy(v.ram + 0x2000, "abcdef", 6);
	take_outs(&v, 1, 0x3f8, got, 6);
	assert_memory_equal(got, "abcdef", 6);
	give_ins(&v, 2, 0x3f8, (const uint8_t *)"uvwxyz", 6);
	run_until(&v, KVM_EXIT_HLT);
	assert_memory_equal(v.ram + 0x2100, "uvwxyz\0", 7);
}

static void string_io_across_pages(void **state)
{
	uint8_t got[14];
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(string_cross));
	give_ins(&v, 1, 0x3f8, (const uint8_t *)"0123456789abcdef", 16);
	take_outs(&v, 2, 0x3f8, got, 14);	/* a word lies across the boundary */
	run_until(&v, KVM_EXIT_HLT);
	assert_memory_equal(v.ram + 0x2ff8, "0123456789abcdef\0", 17);
	assert_memory_equal(got, "123456789abcde", 14);
}

/* --- memory-mapped ------------------------------------------------------------------- */

static void mmio_sizes(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(mmio));
	set_ds(&v, HOLE);
	expect_mmio(&v, false, HOLE, 4);
	*(uint32_t *)v.run[0]->mmio.data = 0x13572468;
	expect_mmio(&v, true, HOLE + 8, 4);
	assert_int_equal(*(uint32_t *)v.run[0]->mmio.data, 0x13572468);
	expect_mmio(&v, true, HOLE + 16, 2);
	assert_int_equal(*(uint16_t *)v.run[0]->mmio.data, 0x2468);
	expect_mmio(&v, true, HOLE + 24, 1);
	assert_int_equal(v.run[0]->mmio.data[0], 0x5a);
	expect_mmio(&v, false, HOLE + 32, 1);		/* INC: read, ... */
	v.run[0]->mmio.data[0] = 7;
	expect_mmio(&v, true, HOLE + 32, 1);		/* ... write */
	assert_int_equal(v.run[0]->mmio.data[0], 8);
	run_until(&v, KVM_EXIT_HLT);
}

static void mmio_of_8_bytes(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(mmio_quad));
	set_ds(&v, HOLE);
	expect_mmio(&v, false, HOLE, 8);
	*(uint64_t *)v.run[0]->mmio.data = 0x1122334455667788;
	expect_mmio(&v, true, HOLE + 8, 8);
	assert_int_equal(*(uint64_t *)v.run[0]->mmio.data, 0x1122334455667788);
	run_until(&v, KVM_EXIT_HLT);
}

/* Two bytes on each page: an exit for each, in order of addresses. */
static void mmio_across_pages(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(mmio_cross));
	set_ds(&v, HOLE);
	expect_mmio(&v, false, HOLE + 0xffe, 2);
	memcpy(v.run[0]->mmio.data, "\x11\x22", 2);
	expect_mmio(&v, false, HOLE + 0x1000, 2);
	memcpy(v.run[0]->mmio.data, "\x33\x44", 2);
	expect_mmio(&v, true, HOLE + 0x1ffe, 2);
	assert_memory_equal(v.run[0]->mmio.data, "\x11\x22", 2);
	expect_mmio(&v, true, HOLE + 0x2000, 2);
	assert_memory_equal(v.run[0]->mmio.data, "\x33\x44", 2);
	run_until(&v, KVM_EXIT_HLT);
}

/* The first two bytes are memory, the others are not. */
static void half_memory_half_mmio(void **state)
{
	struct vm v;
	uint8_t *p;

	vm_new(&v, 0);
	p = test_map(2 * PAGE);
	vm_set_region(&v, 1, HOLE, PAGE, p, 0);
	memcpy(p + 0xffe, "\x55\x66", 2);
	vm_load(&v, GUEST(mmio_cross));
	set_ds(&v, HOLE);
	expect_mmio(&v, false, HOLE + 0x1000, 2);
	memcpy(v.run[0]->mmio.data, "\x77\x88", 2);
	expect_mmio(&v, true, HOLE + 0x1ffe, 2);
	assert_memory_equal(v.run[0]->mmio.data, "\x55\x66", 2);
	expect_mmio(&v, true, HOLE + 0x2000, 2);
	assert_memory_equal(v.run[0]->mmio.data, "\x77\x88", 2);
	run_until(&v, KVM_EXIT_HLT);
}

/* --- coalesced ------------------------------------------------------------------------- */

static struct kvm_coalesced_mmio_ring *ring(struct vm *v)
{
	int page = ok(kvm_ioctl(v->sys, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO));

	return (void *)((char *)v->run[0] + page * PAGE);
}

static void coalesced_mmio(void **state)
{
	struct kvm_coalesced_mmio_zone z = { .addr = HOLE + 8, .size = 0x11 };
	struct kvm_coalesced_mmio_ring *r;
	struct vm v;

	vm_new(&v, 0);
	r = ring(&v);
	vm_load(&v, GUEST(mmio));
	set_ds(&v, HOLE);
	ok(kvm_ioctl(v.fd, KVM_REGISTER_COALESCED_MMIO, &z));
	expect_mmio(&v, false, HOLE, 4);
	*(uint32_t *)v.run[0]->mmio.data = 0x99;
	expect_mmio(&v, false, HOLE + 32, 1);	/* three writes have gone by */
	assert_int_equal(r->first, 0);
	assert_int_equal(r->last, 3);
	assert_int_equal(r->coalesced_mmio[0].phys_addr, HOLE + 8);
	assert_int_equal(r->coalesced_mmio[0].len, 4);
	assert_int_equal(*(uint32_t *)r->coalesced_mmio[0].data, 0x99);
	assert_int_equal(r->coalesced_mmio[2].phys_addr, HOLE + 24);
	assert_int_equal(r->coalesced_mmio[2].data[0], 0x5a);
	r->first = 3;
	/* Without the zone they are exits again. */
	ok(kvm_ioctl(v.fd, KVM_UNREGISTER_COALESCED_MMIO, &z));
	vm_set_rip(&v, CODE);
	expect_mmio(&v, false, HOLE, 4);
	expect_mmio(&v, true, HOLE + 8, 4);
}

/* KVM_CAP_COALESCED_PIO. */
static void coalesced_pio(void **state)
{
	struct kvm_coalesced_mmio_zone z = { .addr = 0x510, .size = 2, .pio = 1 };
	struct kvm_coalesced_mmio_ring *r;
	struct vm v;

	vm_new(&v, 0);
	r = ring(&v);
	vm_load(&v, GUEST(doorbell));
	ok(kvm_ioctl(v.fd, KVM_REGISTER_COALESCED_MMIO, &z));
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(r->last, 2);
	assert_int_equal(r->coalesced_mmio[0].pio, 1);
	assert_int_equal(r->coalesced_mmio[0].phys_addr, 0x510);
	assert_int_equal(r->coalesced_mmio[0].data[0], 0x66);
}

static void coalesced_ring_full(void **state)
{
	struct kvm_coalesced_mmio_zone z = { .addr = 0x510, .size = 2, .pio = 1 };
	struct kvm_coalesced_mmio_ring *r;
	unsigned max = (PAGE - sizeof(*r)) / sizeof(struct kvm_coalesced_mmio);
	struct vm v;

	vm_new(&v, 0);
	r = ring(&v);
	vm_load(&v, GUEST(doorbell));
	ok(kvm_ioctl(v.fd, KVM_REGISTER_COALESCED_MMIO, &z));
	while (r->last < max - 2)
		run_until(&v, KVM_EXIT_HLT);
	run_until(&v, KVM_EXIT_IO);		/* no place left */
	assert_int_equal((r->last + 1) % max, r->first);
	run_until(&v, KVM_EXIT_HLT);
	/* A client that writes nonsense into its ring gets exits, nothing worse. */
	for (int i = 0; i < 2; i++) {
		r->last = i ? 0 : 0xfffffff0;
		r->first = i ? 0xffffffff : 0;
		run_until(&v, KVM_EXIT_IO);
		run_until(&v, KVM_EXIT_IO);
		run_until(&v, KVM_EXIT_HLT);
	}
}

static void coalesced_misuse(void **state)
{
	struct kvm_coalesced_mmio_zone z = { .addr = HOLE, .size = 8, .pio = 2 };
	struct vm v;
	int ret, n = 0;

	vm_new(&v, VM_NO_VCPU);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_REGISTER_COALESCED_MMIO, &z));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_UNREGISTER_COALESCED_MMIO, &z));
	z.pio = 0;
	ok(kvm_ioctl(v.fd, KVM_UNREGISTER_COALESCED_MMIO, &z));
	do {
		z.addr += 8;
		ret = kvm_ioctl(v.fd, KVM_REGISTER_COALESCED_MMIO, &z);
	} while (!ret && ++n < 100000);
	assert_int_equal(ret, -1);
	assert_int_equal(errno, ENOSPC);
}

static const struct CMUnitTest tests[] = {
	T(in_and_out), T(completion_by_immediate_exit), T(registers_set_at_an_exit),
	T(single_step_over_out), T(string_io), T(string_io_across_pages), T(mmio_sizes), T(mmio_of_8_bytes),
	T(mmio_across_pages), T(half_memory_half_mmio), T(coalesced_mmio),
	T(coalesced_pio), T(coalesced_ring_full), T(coalesced_misuse),
};
SUITE(io, tests);
