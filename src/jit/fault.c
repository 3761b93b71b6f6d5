/* SPDX-License-Identifier: MIT */
/*
 * Host faults in translated code: guest memory that is gone, a misaligned vector
 * operand, a division by zero, a SIMD exception. Each host instruction that may
 * fault is in jit.faults with the way out of line that lets the interpreter do the
 * guest instruction again, which then makes the guest's fault, or reports the host's.
 *
 * base/access.c calls landing() from its signal handler, on the thread whose code
 * faulted. The list of code areas is read without a lock; areas are linked in and
 * out while the list's own lock is held, and an area is unlinked by the thread that
 * used it.
 */
#include "base/access.h"
#include "jit/jit.h"

static struct jit *areas;
static uint32_t locked;

static uintptr_t in_area(const struct jit *j, uint32_t pc)
{
	struct jit_marks from = { .faults = 0 }, to = { .faults = j->nr_stub_faults };
	const struct jit_fault *f;

	if (pc >= j->start) {
		from = jit_region_begin(j, jit_region_of(j, pc));
		to = jit_region_end(j, jit_region_of(j, pc));
	}
	f = jit_at(j->faults + from.faults, to.faults - from.faults, sizeof(*f), pc);

	return f ? (uintptr_t)j->rx + f->landing : 0;
}

static uintptr_t landing(uintptr_t pc)
{
	const struct jit *j;

	for (j = __atomic_load_n(&areas, __ATOMIC_ACQUIRE); j;
	     j = __atomic_load_n(&j->next, __ATOMIC_ACQUIRE))
		if (pc - (uintptr_t)j->rx < jit_code_bytes(j))
			return in_area(j, pc - (uintptr_t)j->rx);
	return 0;
}

static void lock(void)
{
	while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
}

static void unlock(void)
{
	__atomic_store_n(&locked, 0, __ATOMIC_RELEASE);
}

void jit_faults_add(struct jit *j)
{
	lock();
	j->next = areas;
	__atomic_store_n(&areas, j, __ATOMIC_RELEASE);
	unlock();
	host_access_set_code(landing);
}

void jit_faults_remove(struct jit *j)
{
	struct jit **p = &areas;

	lock();
	while (*p != j)
		p = &(*p)->next;
	__atomic_store_n(p, j->next, __ATOMIC_RELEASE);
	unlock();
}
