// SPDX-License-Identifier: MIT
/*
 * The MSR-load and MSR-store areas of entries and exits.
 *
 * A list is memory of the hypervisor: each entry is copied before it is looked
 * at, and a list that is not there fails like an MSR that cannot be loaded. The
 * host's list for exits (VM-exit MSR-load) is checked with the controls and not
 * carried out: the host of this processor has no MSRs of its own.
 *
 * SDM Vol. 3C, "Loading MSRs", "Saving MSRs".
 */
#include "base/access.h"
#include "hw/vmx.h"
#include "x86/msr.h"

/* MSRs that a list may not name: those with fields of their own in the VMCS, the
 * x2APIC's (loads and stores), microcode's and SMM's. */
static bool may_load(const struct vmx_msr_entry *e)
{
	if (e->reserved)
		return false;
	if (e->index == MSR_FS_BASE || e->index == MSR_GS_BASE)
		return false;
	if (e->index >> 8 == MSR_X2APIC_BASE >> 8)
		return false;
	return e->index != MSR_IA32_UCODE_WRITE &&
	       e->index != MSR_IA32_SMM_MONITOR_CTL;
}

static bool may_store(const struct vmx_msr_entry *e)
{
	return !e->reserved && e->index >> 8 != MSR_X2APIC_BASE >> 8 &&
	       e->index != MSR_IA32_SMBASE;
}

static void *entry_at(uint64_t list, unsigned i)
{
	return (void *)(uintptr_t)(list + i * sizeof(struct vmx_msr_entry));
}

unsigned vmx_load_msrs(struct hw_cpu *cpu, uint64_t list, unsigned count)
{
	struct vmx_msr_entry e;

	for (unsigned i = 0; i < count; i++) {
		/* A processor may do anything beyond its limit; we stop. */
		if (i >= VMX_MAX_MSR_LIST ||
		    host_copy_in(&e, entry_at(list, i), sizeof(e)) ||
		    !may_load(&e) ||
		    hw_guest_wrmsr(cpu, e.index, e.value))
			return i + 1;
	}
	return 0;
}

static int read_msr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val)
{
	/* Without the guest's offset: SDM, "Saving MSRs". */
	if (msr == MSR_IA32_TSC) {
		*val = hw_host_tsc();
		return 0;
	}
	return hw_guest_rdmsr(cpu, msr, val);
}

bool vmx_store_msrs(struct hw_cpu *cpu, uint64_t list, unsigned count)
{
	struct vmx_msr_entry e;

	for (unsigned i = 0; i < count; i++) {
		if (i >= VMX_MAX_MSR_LIST ||
		    host_copy_in(&e, entry_at(list, i), sizeof(e)) ||
		    !may_store(&e) || read_msr(cpu, e.index, &e.value) ||
		    host_copy_out(entry_at(list, i), &e, sizeof(e)))
			return false;
	}
	return true;
}
