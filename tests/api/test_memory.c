/* SPDX-License-Identifier: MIT */
/*
 * Memory slots: what may be set up, and what guests and running vCPUs see when it
 * changes. Host memory that is not there (KVM_CAP_SYNC_MMU).
 */
#include "kvm_api.h"

DECLARE_GUEST(count);
DECLARE_GUEST(mmio);
DECLARE_GUEST(read_loop);

#define OTHER	0x40000000ul	/* a second piece of memory */

static void set_segments(struct vm *v, uint64_t ds_base)
{
	struct kvm_sregs s;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = ds_base;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

/* A VM with this code and a page at OTHER, slot 1, where the segments of data begin. */
static uint32_t *vm_with_page(struct vm *v, uint32_t flags, const uint8_t *code,
			      const uint8_t *end)
{
	uint32_t *p = test_map(PAGE);

	vm_new(v, 0);
	vm_set_region(v, 1, OTHER, PAGE, p, flags);
	set_segments(v, OTHER);
	vm_load(v, code, end);
	return p;
}

/* --- arguments -------------------------------------------------------------------- */

/* KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS; KVM_SET_USER_MEMORY_REGION. */
static void create_and_delete(void **state)
{
	struct vm v;
	void *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(4 * PAGE);
	ok(set_region(v.fd, 1, OTHER, 4 * PAGE, p, 0));
	ok(set_region(v.fd, 1, OTHER, 4 * PAGE, p, 0));	/* the same again */
	ok(set_region(v.fd, 1, OTHER, 0, p, 0));
	ok(set_region(v.fd, 1, OTHER, 4 * PAGE, p, 0));
	/* A slot that is not there cannot be deleted. */
	fails(EINVAL, set_region(v.fd, 2, OTHER, 0, p, 0));
}

static void misaligned(void **state)
{
	struct vm v;
	char *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(4 * PAGE);
	fails(EINVAL, set_region(v.fd, 1, OTHER + 1, PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE + 512, p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, p + 64, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, 1, p, 0));
}

static void slot_ids(void **state)
{
	struct vm v;
	int n;
	void *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(PAGE);
	n = ok(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS));
	ok(set_region(v.fd, n - 1, OTHER, PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, n, OTHER + PAGE, PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, 0xffff, OTHER + PAGE, PAGE, p, 0));
	/* The upper half names an address space: there is one. */
	fails(EINVAL, set_region(v.fd, 1 << 16, OTHER + PAGE, PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, ~0u, OTHER + PAGE, PAGE, p, 0));
}

static void overlaps(void **state)
{
	struct vm v;
	char *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(16 * PAGE);
	ok(set_region(v.fd, 1, OTHER, 4 * PAGE, p, 0));
	fails(EEXIST, set_region(v.fd, 2, OTHER, 4 * PAGE, p, 0));
	fails(EEXIST, set_region(v.fd, 2, OTHER - PAGE, 2 * PAGE, p, 0));
	fails(EEXIST, set_region(v.fd, 2, OTHER + 3 * PAGE, 2 * PAGE, p, 0));
	fails(EEXIST, set_region(v.fd, 2, OTHER - PAGE, 16 * PAGE, p, 0));
	fails(EEXIST, set_region(v.fd, 2, OTHER + PAGE, PAGE, p, 0));
	ok(set_region(v.fd, 2, OTHER + 4 * PAGE, PAGE, p, 0));
	ok(set_region(v.fd, 3, OTHER - PAGE, PAGE, p, 0));
	/* Moved onto another, moved onto itself. */
	fails(EEXIST, set_region(v.fd, 1, OTHER + PAGE, 4 * PAGE, p, 0));
	ok(set_region(v.fd, 2, OTHER + 4 * PAGE, 0, NULL, 0));
	ok(set_region(v.fd, 1, OTHER + PAGE, 4 * PAGE, p, 0));
	/* Neighbours at both ends may join (KVM_CAP_JOIN_MEMORY_REGIONS_WORKS). */
	ok(set_region(v.fd, 1, 0, 0, NULL, 0));
	ok(set_region(v.fd, 3, 0, 0, NULL, 0));
	ok(set_region(v.fd, 1, OTHER - PAGE, 8 * PAGE, p, 0));
}

static void huge(void **state)
{
	struct vm v;
	void *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(PAGE);
	fails(EINVAL, set_region(v.fd, 1, ~0ul & ~(PAGE - 1), 2 * PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, 1ul << 44, p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, ~0ul & ~(PAGE - 1), p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, (void *)(1ul << 63), 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE,
				 (void *)(~0ul & ~(PAGE - 1)), 0));
	/* Beyond every guest-physical address. */
	fails(EINVAL, set_region(v.fd, 1, 1ul << 60, PAGE, p, 0));
}

static void slot_flags(void **state)
{
	struct vm v;
	void *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(2 * PAGE);
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, p, 4));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, p, 1u << 31));
	ok(set_region(v.fd, 1, OTHER, PAGE, p, KVM_MEM_LOG_DIRTY_PAGES));
	ok(set_region(v.fd, 1, OTHER, PAGE, p, 0));
	/* A slot that exists keeps its size, its place in the host and its mode. */
	fails(EINVAL, set_region(v.fd, 1, OTHER, 2 * PAGE, p, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, (char *)p + PAGE, 0));
	fails(EINVAL, set_region(v.fd, 1, OTHER, PAGE, p, KVM_MEM_READONLY));
}

static void many_slots(void **state)
{
	struct vm v;
	char *p;

	vm_new(&v, VM_NO_VCPU);
	p = test_map(PAGE);
	for (unsigned i = 1; i <= 1000; i++)
		ok(set_region(v.fd, i, OTHER + 2 * PAGE * (i * 7 % 1009), PAGE, p, 0));
	for (unsigned i = 1; i <= 1000; i++)
		ok(set_region(v.fd, i, 0, 0, NULL, 0));
}

/* --- guests ------------------------------------------------------------------------ */

static void guest_uses_memory_in_place(void **state)
{
	struct vm v;
	uint32_t *p;

	p = vm_with_page(&v, 0, GUEST(mmio));
	p[0] = 0xcafef00d;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(p[2], 0xcafef00d);
	assert_int_equal(p[4], 0xf00d);
	assert_int_equal(p[6], 0x5a);
	assert_int_equal(p[8], 1);
}

/* KVM_CAP_READONLY_MEM. */
static void readonly_slot(void **state)
{
	struct vm v;
	uint32_t *p;

	p = vm_with_page(&v, KVM_MEM_READONLY, GUEST(mmio));
	p[0] = 0x01020304;
	run_until(&v, KVM_EXIT_MMIO);	/* the read was none */
	assert_int_equal(v.run[0]->mmio.is_write, 1);
	assert_int_equal(v.run[0]->mmio.phys_addr, OTHER + 8);
	assert_int_equal(v.run[0]->mmio.len, 4);
	assert_memory_equal(v.run[0]->mmio.data, p, 4);
	assert_int_equal(p[2], 0);
	run_until(&v, KVM_EXIT_MMIO);
	assert_int_equal(v.run[0]->mmio.phys_addr, OTHER + 16);
	run_until(&v, KVM_EXIT_MMIO);
	run_until(&v, KVM_EXIT_MMIO);	/* INC: reads memory, writes to us */
	assert_int_equal(v.run[0]->mmio.phys_addr, OTHER + 32);
	assert_int_equal(v.run[0]->mmio.data[0], 1);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(p[8], 0);
}

static void deleted_slot_is_mmio(void **state)
{
	struct vm v;

	vm_with_page(&v, 0, GUEST(mmio));
	run_until(&v, KVM_EXIT_HLT);
	vm_set_region(&v, 1, 0, 0, NULL, 0);
	vm_set_rip(&v, CODE);
	run_until(&v, KVM_EXIT_MMIO);
	assert_int_equal(v.run[0]->mmio.phys_addr, OTHER);
	assert_int_equal(v.run[0]->mmio.is_write, 0);
}

/* The vCPU reads in a loop on another thread; its reads must stop at once. */
static void delete_while_running(void **state)
{
	volatile uint32_t *seen;
	struct kvm_sregs s;
	struct runner r;
	struct vm v;
	uint32_t *p;

	vm_new(&v, 0);
	p = test_map(PAGE);
	p[0] = 0x11;
	vm_set_region(&v, 1, OTHER, PAGE, p, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = OTHER;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	vm_load(&v, GUEST(read_loop));
	seen = (uint32_t *)(v.ram + 0x2000);
	runner_start(&r, &v, 0);
	wait_changed(&seen[1], 0);
	vm_set_region(&v, 1, 0, 0, NULL, 0);
	p[0] = 0x22;
	runner_join(&r);
	assert_int_equal(r.ret, 0);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_MMIO);
	assert_int_equal(v.run[0]->mmio.phys_addr, OTHER);
	assert_int_equal(*seen, 0x11);
}

static void move_while_running(void **state)
{
	volatile uint32_t *seen;
	struct runner r;
	struct vm v;
	uint32_t *p, *q;

	vm_new(&v, 0);
	p = test_map(PAGE);
	q = test_map(PAGE);
	p[0] = 0x11;
	q[0] = 0x22;
	vm_set_region(&v, 1, OTHER, PAGE, p, 0);
	vm_set_region(&v, 2, OTHER + 16 * PAGE, PAGE, q, 0);
	set_segments(&v, OTHER);
	vm_load(&v, GUEST(read_loop));
	seen = (uint32_t *)(v.ram + 0x2000);
	runner_start(&r, &v, 0);
	wait_changed(seen, 0);
	assert_int_equal(*seen, 0x11);
	vm_set_region(&v, 1, OTHER + 32 * PAGE, PAGE, p, 0);
	runner_join(&r);	/* nothing is there any more */
	assert_int_equal(r.ret, 0);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_MMIO);
	vm_set_region(&v, 2, OTHER, PAGE, q, 0);
	vm_set_rip(&v, CODE);
	runner_start(&r, &v, 0);
	wait_changed(seen, 0x11);
	assert_int_equal(*seen, 0x22);
	runner_stop(&r);
}

/* --- memory that is not there --------------------------------------------------------- */

static void unbacked_memory(void **state)
{
	struct kvm_regs regs;
	struct vm v;
	uint32_t *p;

	p = vm_with_page(&v, 0, GUEST(mmio));
	munmap(p, PAGE);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	vm_get_regs(&v, &regs);
	assert_int_equal(regs.rip, CODE);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	/* Mapped again, the guest goes on where it was. */
	assert_ptr_equal(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED |
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0), p);
	p[0] = 77;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(p[2], 77);
}

/* Unmapped after the guest has used it: no stale mapping is left. */
static void unmapped_under_the_guest(void **state)
{
	struct vm v;
	uint32_t *p;

	p = vm_with_page(&v, 0, GUEST(mmio));
	run_until(&v, KVM_EXIT_HLT);
	munmap(p, PAGE);
	vm_set_rip(&v, CODE);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	assert_ptr_equal(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED |
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0), p);
	run_until(&v, KVM_EXIT_HLT);
}

static void write_to_protected_host_memory(void **state)
{
	struct vm v;
	uint32_t *p;

	p = vm_with_page(&v, 0, GUEST(mmio));
	p[0] = 5;
	mprotect(p, PAGE, PROT_READ);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	mprotect(p, PAGE, PROT_READ | PROT_WRITE);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(p[2], 5);
}

static void code_that_is_not_there(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_set_region(&v, 1, OTHER, PAGE, bad_pointer(), 0);
	set_segments(&v, 0);
	{
		struct kvm_sregs s;

		ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
		s.cs.base = OTHER;
		ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	}
	vm_set_rip(&v, 0);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
}

/* A file shorter than its mapping: SIGBUS in the host. */
static void truncated_file(void **state)
{
	struct vm v;
	uint32_t *p;
	int fd = test_fd(memfd_create("short", 0));

	vm_new(&v, 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	vm_set_region(&v, 1, OTHER, PAGE, p, 0);
	set_segments(&v, OTHER);
	vm_load(&v, GUEST(mmio));
	assert_int_equal(ftruncate(fd, 0), 0);
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	assert_int_equal(ftruncate(fd, PAGE), 0);
	run_until(&v, KVM_EXIT_HLT);
	munmap(p, PAGE);
}

/* Slots come and go on one thread while the guest counts in another's. */
static void changes_beside_a_running_guest(void **state)
{
	volatile uint32_t *n;
	struct runner r;
	struct vm v;
	void *p;

	vm_new(&v, 0);
	p = test_map(PAGE);
	vm_load(&v, GUEST(count));
	n = (uint32_t *)(v.ram + 0x2000);
	runner_start(&r, &v, 0);
	wait_changed(n, 0);
	for (unsigned i = 0; i < 200; i++) {
		vm_set_region(&v, 1, OTHER, PAGE, p, 0);
		vm_set_region(&v, 1, OTHER + PAGE, PAGE, p, 0);
		vm_set_region(&v, 1, 0, 0, NULL, 0);
	}
	assert_false(r.done);
	wait_changed(n, *n);
	runner_stop(&r);
}

static const struct CMUnitTest tests[] = {
	T(create_and_delete), T(misaligned), T(slot_ids), T(overlaps), T(huge),
	T(slot_flags), T(many_slots), T(guest_uses_memory_in_place),
	T(readonly_slot), T(deleted_slot_is_mmio), T(delete_while_running),
	T(move_while_running), T(unbacked_memory), T(unmapped_under_the_guest),
	T(write_to_protected_host_memory), T(code_that_is_not_there),
	T(truncated_file), T(changes_beside_a_running_guest),
};
SUITE(memory, tests);
