/* SPDX-License-Identifier: MIT */
/*
 * Time stamp counters. The processor's own is the host's (hold.h) minus tsc_base; the
 * guest's is that, scaled and offset by the control block (SDM Vol. 3C, "Time-Stamp
 * Counter Offsetting and Scaling"; APM Vol. 2, "TSC Ratio MSR"). And the wait of
 * a halted processor, which ends with a kick.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/hold.h"
#include "hw/core.h"

uint64_t hw_host_tsc(void)
{
	return time_tsc();
}

uint64_t hw_guest_tsc(const struct hw_cpu *cpu)
{
	const struct hw_ctl *ctl = &cpu->ctl;
	uint64_t tsc = hw_host_tsc() - cpu->tsc_base;

	if (ctl->tsc_multiplier)
		tsc = ((unsigned __int128)tsc * ctl->tsc_multiplier) >>
		      ctl->tsc_frac;
	return tsc + ctl->tsc_offset;
}

void hw_kick(struct hw_cpu *cpu)
{
	hw_set_request(cpu, HW_REQ_KICK);
	/* Only a processor that sleeps needs the system call. One that is about
	 * to sleep finds the bit set and does not. */
	if (__atomic_load_n(&cpu->waiting, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &cpu->request, FUTEX_WAKE_PRIVATE, INT_MAX,
			NULL, NULL, 0);
}

void hw_request_flush(struct hw_cpu *cpu)
{
	hw_set_request(cpu, HW_REQ_FLUSH);
}

void hw_wait(struct hw_cpu *cpu)
{
	/* The preemption timer counts while halted; a millisecond is as fine
	 * as a sleeping thread gets. */
	struct timespec ms = { .tv_nsec = 1000000 };
	bool timer = cpu->ctl.preemption_deadline != UINT64_MAX;

	hw_fpu_leave(cpu);
	__atomic_store_n(&cpu->waiting, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &cpu->request, FUTEX_WAIT_PRIVATE, 0,
		timer ? &ms : NULL, NULL, 0);
	__atomic_store_n(&cpu->waiting, 0, __ATOMIC_SEQ_CST);
}
