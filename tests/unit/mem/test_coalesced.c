/* SPDX-License-Identifier: MIT */
/* Coalesced MMIO: zones, the ring, a hostile reader of it. */
#include "mem_test.h"
#include "mem/coalesced.h"

static struct kvm_coalesced c;
static struct kvm_coalesced_mmio_ring *ring;

static int setup(void **state)
{
	kvm_coalesced_init(&c);
	ring = (void *)map_pages(1);
	kvm_coalesced_set_ring(&c, ring);
	return 0;
}

static int teardown(void **state)
{
	kvm_coalesced_destroy(&c);
	munmap(ring, PAGE_SIZE);
	return 0;
}

static int reg(uint64_t addr, uint32_t size, uint32_t pio)
{
	struct kvm_coalesced_mmio_zone z = { .addr = addr, .size = size, .pio = pio };

	return kvm_register_coalesced(&c, &z);
}

static int unreg(uint64_t addr, uint32_t size, uint32_t pio)
{
	struct kvm_coalesced_mmio_zone z = { .addr = addr, .size = size, .pio = pio };

	return kvm_unregister_coalesced(&c, &z);
}

static bool put(uint64_t addr, unsigned len, bool pio)
{
	return kvm_coalesced_write(&c, addr, len, "abcdefgh", pio);
}

static void test_write(void **state)
{
	assert_int_equal(reg(0x1000, 0x100, 0), 0);
	assert_true(put(0x1000, 8, false));
	assert_true(put(0x10fc, 4, false));
	assert_int_equal(ring->first, 0);
	assert_int_equal(ring->last, 2);
	assert_int_equal(ring->coalesced_mmio[1].phys_addr, 0x10fc);
	assert_int_equal(ring->coalesced_mmio[1].len, 4);
	assert_int_equal(ring->coalesced_mmio[1].pio, 0);
	assert_memory_equal(ring->coalesced_mmio[1].data, "abcd", 4);
}

static void test_outside(void **state)
{
	assert_false(put(0x1000, 1, false));
	assert_int_equal(reg(0x1000, 0x100, 0), 0);
	assert_false(put(0xfff, 2, false));
	assert_false(put(0x10fd, 4, false));
	assert_false(put(0x1100, 1, false));
	assert_false(put(0x1000, 4, true));	/* a port, not memory */
	assert_false(put(0x1000, 9, false));
	assert_int_equal(reg(~0ull - 7, 8, 0), 0);
	assert_false(put(~0ull - 3, 8, false));	/* wraps */
	assert_int_equal(ring->last, 0);
}

static void test_pio(void **state)
{
	assert_int_equal(reg(0x70, 2, 1), 0);
	assert_true(put(0x71, 1, true));
	assert_false(put(0x71, 1, false));
	assert_int_equal(ring->coalesced_mmio[0].pio, 1);
	assert_int_equal(reg(0x80, 1, 2), -EINVAL);
	assert_int_equal(unreg(0x80, 1, ~0u), -EINVAL);
}

static void test_full(void **state)
{
	unsigned i;

	assert_int_equal(reg(0, 0x1000, 0), 0);
	for (i = 0; i < KVM_COALESCED_MMIO_MAX - 1; i++)
		assert_true(put(i, 1, false));
	assert_false(put(0, 1, false));
	ring->first = 1;		/* the client has read one */
	assert_true(put(7, 1, false));
	assert_int_equal(ring->last, 0);
	assert_false(put(7, 1, false));
}

static void test_hostile_ring(void **state)
{
	host_access_init();
	assert_int_equal(reg(0, 0x1000, 0), 0);
	ring->last = KVM_COALESCED_MMIO_MAX;
	assert_false(put(0, 1, false));
	ring->last = ~0u;
	assert_false(put(0, 1, false));
	ring->last = 0;
	ring->first = ~0u;
	assert_false(put(0, 1, false));
	mprotect(ring, PAGE_SIZE, PROT_NONE);
	assert_false(put(0, 1, false));
	mprotect(ring, PAGE_SIZE, PROT_READ | PROT_WRITE);
	kvm_coalesced_set_ring(&c, NULL);
	assert_false(put(0, 1, false));
}

static void test_unregister(void **state)
{
	assert_int_equal(unreg(0x1000, 0x10, 0), 0);	/* none: no error */
	assert_int_equal(reg(0x1000, 0x100, 0), 0);
	assert_int_equal(reg(0x1000, 0x80, 0), 0);
	assert_int_equal(unreg(0x1000, 0x101, 0), 0);	/* contained by neither */
	assert_int_equal(unreg(0x1000, 0x100, 1), 0);
	assert_int_equal(c.nr_zones, 2);
	assert_int_equal(unreg(0x1000, 0x90, 0), 0);	/* the large one */
	assert_int_equal(c.nr_zones, 1);
	assert_true(put(0x1000, 1, false));
	assert_false(put(0x1090, 1, false));
	assert_int_equal(unreg(0x1000, 0x80, 0), 0);
	assert_false(put(0x1000, 1, false));
}

static void test_too_many(void **state)
{
	unsigned i;

	for (i = 0; i < KVM_COALESCED_MAX_ZONES; i++)
		assert_int_equal(reg(i * 16, 16, 0), 0);
	assert_int_equal(reg(0, 16, 0), -ENOSPC);
	assert_int_equal(unreg(0, 16, 0), 0);
	assert_int_equal(reg(0, 16, 0), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_write), T(test_outside), T(test_pio), T(test_full),
		T(test_hostile_ring), T(test_unregister), T(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
