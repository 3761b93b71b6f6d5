/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of paravirtual clocks: scaling by a 32.32 multiplier and a
 * shift, and the shared pages of kvmclock (MSR_KVM_SYSTEM_TIME_NEW,
 * MSR_KVM_WALL_CLOCK_NEW) with their version protocol. The structures are the
 * guest ABI that the KVM documentation describes.
 */
#ifndef ANYKVM_BASE_PVCLOCK_H
#define ANYKVM_BASE_PVCLOCK_H

#include "base/types.h"

#define PVCLOCK_TSC_STABLE_BIT	BIT(0)
#define PVCLOCK_GUEST_STOPPED	BIT(1)

struct pvclock_vcpu_time_info {
	uint32_t version;		/* odd while the host writes */
	uint32_t pad0;
	uint64_t tsc_timestamp;		/* guest TSC at system_time */
	uint64_t system_time;		/* ns */
	uint32_t tsc_to_system_mul;
	int8_t	 tsc_shift;
	uint8_t	 flags;
	uint8_t	 pad[2];
} __attribute__((packed, aligned(4)));

struct pvclock_wall_clock {
	uint32_t version, sec, nsec;
} __attribute__((packed));

/*
 * Finds mul and shift so that pvclock_scale(x, mul, shift) = x * to / from,
 * as exactly as 32 bits can say. @to, @from: Hz, neither 0.
 */
void kvm_get_time_scale(uint64_t to, uint64_t from, int8_t *shift,
			uint32_t *mul);

/* ((x << shift) * mul) >> 32; a negative shift goes right. */
static inline uint64_t pvclock_scale(uint64_t x, uint32_t mul, int8_t shift)
{
	x = shift < 0 ? x >> -shift : x << shift;
	return (uint64_t)((unsigned __int128)x * mul >> 32);
}

/* x * mul / div without overflow in between; saturates. @div not 0. */
uint64_t mul_u64_u64_div_u64(uint64_t x, uint64_t mul, uint64_t div);

/* What a guest that reads @ti at guest TSC @tsc computes. */
uint64_t pvclock_read_ns(const struct pvclock_vcpu_time_info *ti, uint64_t tsc);

/* Fills everything but version and flags, for a guest TSC of @khz. */
void pvclock_set(struct pvclock_vcpu_time_info *ti, uint32_t khz,
		 uint64_t tsc, uint64_t ns);

/*
 * Publishes @ti at @guest (guest memory): version goes odd, body, version goes
 * even. @ti->version is the host's copy and advances; a PVCLOCK_GUEST_STOPPED
 * that the guest has not cleared yet survives. 0 or -EFAULT.
 */
int pvclock_publish(void *guest, struct pvclock_vcpu_time_info *ti);

/* Writes the wall-clock structure: @ns since the epoch at guest boot. */
int pvclock_publish_wall(void *guest, uint64_t ns);

#endif
