/* SPDX-License-Identifier: MIT */
/*
 * The dirty log: what guests write shows up, once; with manual protection only
 * KVM_CLEAR_DIRTY_LOG takes it.
 */
#include "kvm_api.h"

DECLARE_GUEST(dirty);
DECLARE_GUEST(count);

#define SLOT	1
#define BASE	0x40000ul
#define NPAGES	128u

static void get_log(struct vm *v, uint64_t log[2])
{
	struct kvm_dirty_log l = { .slot = SLOT, .dirty_bitmap = log };

	log[0] = log[1] = ~0ul;
	ok(kvm_ioctl(v->fd, KVM_GET_DIRTY_LOG, &l));
}

static int clear_log(struct vm *v, uint64_t first, uint32_t n, uint64_t *bits)
{
	struct kvm_clear_dirty_log l = {
		.slot = SLOT, .first_page = first, .num_pages = n,
		.dirty_bitmap = bits,
	};

	return kvm_ioctl(v->fd, KVM_CLEAR_DIRTY_LOG, &l);
}

/* RAM in three parts, the one of the middle with a log. */
static void new_logged(struct vm *v, uint32_t flags)
{
	vm_new(v, 0);
	vm_set_region(v, 0, 0, 0, NULL, 0);
	vm_set_region(v, 0, 0, BASE, v->ram, 0);
	vm_set_region(v, SLOT, BASE, NPAGES * PAGE, v->ram + BASE, flags);
	vm_load(v, GUEST(dirty));
}

static void manual_protect(struct vm *v, uint64_t how)
{
	struct kvm_enable_cap c = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				    .args[0] = how };

	ok(kvm_ioctl(v->fd, KVM_ENABLE_CAP, &c));
}

static void writes_show_up_once(void **state)
{
	uint64_t log[2];
	struct vm v;

	new_logged(&v, KVM_MEM_LOG_DIRTY_PAGES);
	get_log(&v, log);
	assert_int_equal(log[0] | log[1], 0);
	for (int i = 0; i < 3; i++) {
		run_until(&v, KVM_EXIT_HLT);
		get_log(&v, log);
		assert_int_equal(log[0], 0xff);
		assert_int_equal(log[1], 0);
		get_log(&v, log);
		assert_int_equal(log[0], 0);
		vm_set_rip(&v, CODE);
	}
}

static void log_starts_later(void **state)
{
	uint64_t log[2];
	struct vm v;

	new_logged(&v, 0);
	run_until(&v, KVM_EXIT_HLT);
	vm_set_region(&v, SLOT, BASE, NPAGES * PAGE, v.ram + BASE,
		      KVM_MEM_LOG_DIRTY_PAGES);
	get_log(&v, log);
	assert_int_equal(log[0], 0);
	vm_set_rip(&v, CODE);
	run_until(&v, KVM_EXIT_HLT);
	get_log(&v, log);
	assert_int_equal(log[0], 0xff);
}

static void dirty_log_misuse(void **state)
{
	struct kvm_dirty_log l = { .slot = SLOT };
	uint64_t log[2];
	struct vm v;

	new_logged(&v, 0);
	l.dirty_bitmap = log;
	fails(ENOENT, kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));	/* no log */
	l.slot = 5;
	fails(ENOENT, kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));	/* no slot */
	l.slot = 0xffff;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));
	l.slot = 1 << 16 | SLOT;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));
	vm_set_region(&v, SLOT, BASE, NPAGES * PAGE, v.ram + BASE,
		      KVM_MEM_LOG_DIRTY_PAGES);
	l.slot = SLOT;
	l.dirty_bitmap = bad_pointer();
	fails(EFAULT, kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));
}

static void manual_clear(void **state)
{
	uint64_t log[2], bits[2] = { 0x0f, 0 };
	struct vm v;

	new_logged(&v, 0);
	manual_protect(&v, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	vm_set_region(&v, SLOT, BASE, NPAGES * PAGE, v.ram + BASE,
		      KVM_MEM_LOG_DIRTY_PAGES);
	run_until(&v, KVM_EXIT_HLT);
	get_log(&v, log);
	assert_int_equal(log[0], 0xff);
	get_log(&v, log);
	assert_int_equal(log[0], 0xff);		/* nobody took it */
	ok(clear_log(&v, 0, 64, bits));
	get_log(&v, log);
	assert_int_equal(log[0], 0xf0);
	vm_set_rip(&v, CODE);
	run_until(&v, KVM_EXIT_HLT);
	get_log(&v, log);
	assert_int_equal(log[0], 0xff);
}

static void initially_set(void **state)
{
	uint64_t log[2], all[2] = { ~0ul, ~0ul };
	struct vm v;

	new_logged(&v, 0);
	manual_protect(&v, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
		       KVM_DIRTY_LOG_INITIALLY_SET);
	vm_set_region(&v, SLOT, BASE, NPAGES * PAGE, v.ram + BASE,
		      KVM_MEM_LOG_DIRTY_PAGES);
	get_log(&v, log);
	assert_true(log[0] == ~0ul && log[1] == ~0ul);
	ok(clear_log(&v, 0, NPAGES, all));
	get_log(&v, log);
	assert_int_equal(log[0] | log[1], 0);
	run_until(&v, KVM_EXIT_HLT);
	get_log(&v, log);
	assert_int_equal(log[0], 0xff);
}

static void clear_misuse(void **state)
{
	uint64_t bits[2] = { 0 };
	struct kvm_enable_cap c = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				    .args[0] = KVM_DIRTY_LOG_INITIALLY_SET };
	struct vm v;

	new_logged(&v, KVM_MEM_LOG_DIRTY_PAGES);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_ENABLE_CAP, &c));
	c.args[0] = 8;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_ENABLE_CAP, &c));
	manual_protect(&v, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	fails(EINVAL, clear_log(&v, 1, 64, bits));
	fails(EINVAL, clear_log(&v, 0, 63, bits));
	fails(EINVAL, clear_log(&v, 64, 128, bits));
	fails(EINVAL, clear_log(&v, 192, 64, bits));
	fails(EINVAL, clear_log(&v, ~63ul, 64, bits));
	fails(EFAULT, clear_log(&v, 0, 64, bad_pointer()));
	ok(clear_log(&v, 64, 64, bits));
	vm_set_region(&v, SLOT, BASE, NPAGES * PAGE, v.ram + BASE, 0);
	fails(ENOENT, clear_log(&v, 0, 64, bits));
}

/* What a guest writes while the log is taken is in this log or in the next. */
static void log_beside_a_running_guest(void **state)
{
	struct kvm_dirty_log l = { .slot = 0 };
	uint64_t log[RAM_SIZE / PAGE / 64];
	volatile uint32_t *n;
	struct runner r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(count));
	vm_set_region(&v, 0, 0, RAM_SIZE, v.ram, KVM_MEM_LOG_DIRTY_PAGES);
	n = (uint32_t *)(v.ram + 0x2000);
	l.dirty_bitmap = log;
	runner_start(&r, &v, 0);
	for (int i = 0; i < 50; i++) {
		uint32_t before = *n;

		wait_changed(n, before);
		ok(kvm_ioctl(v.fd, KVM_GET_DIRTY_LOG, &l));
		assert_int_equal(log[0], 4);	/* page 2 */
	}
	runner_stop(&r);
}

static const struct CMUnitTest tests[] = {
	T(writes_show_up_once), T(log_starts_later), T(dirty_log_misuse),
	T(manual_clear), T(initially_set), T(clear_misuse),
	T(log_beside_a_running_guest),
};
SUITE(dirty, tests);
