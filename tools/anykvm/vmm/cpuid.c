/* SPDX-License-Identifier: MIT */
/*
 * What KVM_GET_SUPPORTED_CPUID answers has the host's topology in it. Here the
 * leaves that number processors are written anew: SDM, "CPUID - CPU
 * Identification", and APM Vol. 3, "Obtaining Processor Information Via the
 * CPUID Instruction". APIC ids are dense from 0; one package, one thread a core.
 */
#include <stdint.h>
#include "base/types.h"
#include "cpuid.h"

struct topology {
	unsigned id, cpus;
	unsigned shift;		/* bits of an APIC id */
	bool tsc_deadline;
};

#define FEAT_ECX_TSC_DEADLINE	BIT(24)
#define FEAT_ECX_HYPERVISOR	BIT(31)
#define FEAT_EDX_HTT		BIT(28)
#define TOPO_SMT		(1u << 8)
#define TOPO_CORE		(2u << 8)

static void replace(uint32_t *reg, uint32_t mask, uint32_t value)
{
	*reg = (*reg & ~mask) | FIELD_PREP((uint64_t)mask, value);
}

static void leaf_1(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	replace(&e->ebx, 0xff000000, t->id);
	replace(&e->ebx, 0x00ff0000, MIN(t->cpus, 255u));
	e->ecx |= FEAT_ECX_HYPERVISOR;
	if (t->tsc_deadline)
		e->ecx |= FEAT_ECX_TSC_DEADLINE;
	if (t->cpus > 1)
		e->edx |= FEAT_EDX_HTT;
	else
		e->edx &= ~FEAT_EDX_HTT;
}

/* Caches: the first two levels are a core's own, the rest the package's. */
static void leaf_4(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	unsigned level = e->eax >> 5 & 7;

	if (!(e->eax & 0x1f))
		return;
	replace(&e->eax, 0x03ffc000, level <= 2 ? 0 : (1u << t->shift) - 1);
	replace(&e->eax, 0xfc000000, MIN((1u << t->shift) - 1, 63u));
}

static void leaf_b(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	e->edx = t->id;
	if (e->index == 0) {
		e->eax = 0;
		e->ebx = 1;
		e->ecx = TOPO_SMT;
	} else if (e->index == 1) {
		e->eax = t->shift;
		e->ebx = t->cpus;
		e->ecx = TOPO_CORE | 1;
	} else {
		e->eax = e->ebx = 0;
		e->ecx = e->index;
	}
}

static void leaf_80000008(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	replace(&e->ecx, 0x000000ff, MIN(t->cpus - 1, 255u));
	replace(&e->ecx, 0x0000f000, t->shift);
}

static void leaf_8000001d(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	unsigned level = e->eax >> 5 & 7;

	if (e->eax & 0x1f)
		replace(&e->eax, 0x03ffc000, level <= 2 ? 0 : t->cpus - 1);
}

static void leaf_8000001e(struct kvm_cpuid_entry2 *e, const struct topology *t)
{
	e->eax = t->id;
	e->ebx = t->id & 0xff;	/* one thread a core */
	e->ecx = 0;		/* one node, number 0 */
}

/* clang-format off */
static const struct {
	uint32_t function;
	void (*patch)(struct kvm_cpuid_entry2 *e, const struct topology *t);
} patches[] = {
	{ 0x00000001, leaf_1 },
	{ 0x00000004, leaf_4 },
	{ 0x0000000b, leaf_b },
	{ 0x0000001f, leaf_b },
	{ 0x80000008, leaf_80000008 },
	{ 0x8000001d, leaf_8000001d },
	{ 0x8000001e, leaf_8000001e },
};
/* clang-format on */

void cpuid_patch(struct kvm_cpuid_entry2 *entries, unsigned n, unsigned id,
		 unsigned cpus, bool tsc_deadline)
{
	struct topology t = { .id = id, .cpus = cpus,
			      .tsc_deadline = tsc_deadline };

	while (1u << t.shift < cpus)
		t.shift++;
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(patches); k++)
			if (entries[i].function == patches[k].function)
				patches[k].patch(&entries[i], &t);
}
