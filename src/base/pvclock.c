/* SPDX-License-Identifier: MIT */
/*
 * Clock arithmetic and the kvmclock pages.
 *
 * The version protocol: a guest reads the version, the body, the version again
 * and takes the body only when both were the same even number. The host
 * therefore makes it odd before and even after. x86 stores are seen in order,
 * so compiler order is all that is needed; host_write_* are asm volatile with
 * a memory clobber and keep it.
 *
 * Guest memory may be gone; every write answers -EFAULT then, with the page
 * half written at worst (version odd: the guest keeps waiting, as it would on
 * any broken page).
 */
#include <string.h>

#include "base/access.h"
#include "base/pvclock.h"

void kvm_get_time_scale(uint64_t to, uint64_t from, int8_t *shift,
			uint32_t *mul)
{
	unsigned __int128 q;
	int s = 0;

	/* Bring to / (from * 2^s) into [1/2, 1): 32 significant bits. */
	while (s < 31 && (unsigned __int128)from << s <= to)
		s++;
	while (s <= 0 && s > -31 && (unsigned __int128)to << (1 - s) < from)
		s--;
	if (s >= 0)
		q = ((unsigned __int128)to << 32) / ((unsigned __int128)from << s);
	else
		q = ((unsigned __int128)to << (32 - s)) / from;
	*mul = q > UINT32_MAX ? UINT32_MAX : q;
	*shift = s;
}

uint64_t mul_u64_u64_div_u64(uint64_t x, uint64_t mul, uint64_t div)
{
	unsigned __int128 r = (unsigned __int128)x * mul / div;

	return r > UINT64_MAX ? UINT64_MAX : r;
}

uint64_t pvclock_read_ns(const struct pvclock_vcpu_time_info *ti, uint64_t tsc)
{
	return ti->system_time + pvclock_scale(tsc - ti->tsc_timestamp,
					       ti->tsc_to_system_mul,
					       ti->tsc_shift);
}

void pvclock_set(struct pvclock_vcpu_time_info *ti, uint32_t khz,
		 uint64_t tsc, uint64_t ns)
{
	uint32_t mul;

	kvm_get_time_scale(1000000000ull, khz * 1000ull, &ti->tsc_shift, &mul);
	ti->tsc_to_system_mul = mul;
	ti->tsc_timestamp = tsc;
	ti->system_time = ns;
}

int pvclock_publish(void *guest, struct pvclock_vcpu_time_info *ti)
{
	struct pvclock_vcpu_time_info *g = guest;
	struct pvclock_vcpu_time_info out;
	uint64_t word[4];
	uint8_t flags;

	if (host_read_8(&g->flags, &flags))
		return -EFAULT;
	ti->version = (ti->version | 1) + 2;
	out = *ti;
	out.flags |= flags & PVCLOCK_GUEST_STOPPED;
	memcpy(word, &out, sizeof(word));
	if (host_write_32(&g->version, ti->version) ||
	    host_write_64(&g->tsc_timestamp, word[1]) ||
	    host_write_64(&g->system_time, word[2]) ||
	    host_write_64(&g->tsc_to_system_mul, word[3]) ||
	    host_write_32(&g->version, ++ti->version))
		return -EFAULT;
	return 0;
}

int pvclock_publish_wall(void *guest, uint64_t ns)
{
	struct pvclock_wall_clock *g = guest;
	uint32_t version;

	if (host_read_32(&g->version, &version))
		return -EFAULT;
	version |= 1;
	if (host_write_32(&g->version, version) ||
	    host_write_32(&g->sec, ns / 1000000000u) ||
	    host_write_32(&g->nsec, ns % 1000000000u) ||
	    host_write_32(&g->version, version + 1))
		return -EFAULT;
	return 0;
}
