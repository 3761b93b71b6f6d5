/* SPDX-License-Identifier: MIT */
/*
 * Where the hypervisor meets memslots and page tables: walks of the guest's
 * tables with a vCPU's registers, two-dimensional faults, and the upcalls that
 * mem/ and mmu/ make when slots change.
 */
#include <errno.h>

#include "obs/trace.h"
#include "vm/emulate.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

/* --- slots ------------------------------------------------------------------------ */

bool kvm_is_visible_gfn(struct kvm *kvm, gfn_t gfn)
{
	struct kvm_memory_slot *slot;
	bool visible;

	kvm_mem_read_lock(&kvm->mem);
	slot = gfn_to_memslot(&kvm->mem, gfn);
	visible = slot && slot->id < KVM_USER_MEM_SLOTS;
	kvm_mem_read_unlock(&kvm->mem);
	return visible;
}

bool kvm_gfn_is_readonly(struct kvm *kvm, gfn_t gfn)
{
	struct kvm_memory_slot *slot;
	bool ro;

	kvm_mem_read_lock(&kvm->mem);
	slot = gfn_to_memslot(&kvm->mem, gfn);
	ro = slot && (slot->flags & KVM_MEM_READONLY);
	kvm_mem_read_unlock(&kvm->mem);
	return ro;
}

void *kvm_gpa_to_host(struct kvm *kvm, gpa_t gpa)
{
	hva_t hva = gfn_to_hva_write(&kvm->mem, gpa >> PAGE_SHIFT);

	return hva == KVM_HVA_ERR_BAD ? NULL
				      : (void *)(hva + (gpa & ~PAGE_MASK));
}

/* --- guest-virtual addresses ------------------------------------------------------------ */

gpa_t kvm_vcpu_gva_to_gpa(struct kvm_vcpu *vcpu, gva_t gva, unsigned access,
			  struct x86_exception *e)
{
	const struct kvm_mmu_regs regs = {
		.cr0 = kvm_read_cr0(vcpu), .cr3 = kvm_read_cr3(vcpu),
		.cr4 = kvm_read_cr4(vcpu), .efer = vcpu->arch.efer,
		.rflags = kvm_ops(vcpu)->get_rflags(vcpu),
		.cpl = kvm_ops(vcpu)->get_cpl(vcpu),
		.maxphyaddr = vcpu->arch.maxphyaddr,
		.gbpages = guest_has(vcpu, X86_FEATURE_PDPE1GB),
		.pdptrs = vcpu->arch.pdptrs,
		.pkru = hw_get_pkru(vcpu->hw),
		.pkrs = kvm_get_pkrs(vcpu),
	};

	return kvm_mmu_gva_to_gpa(&vcpu->arch.mmu, &regs, gva, access, e);
}

static unsigned privilege(struct kvm_vcpu *vcpu)
{
	return kvm_ops(vcpu)->get_cpl(vcpu) == 3 ? PAGING_USER : 0;
}

static int access_virt(struct kvm_vcpu *vcpu, gva_t gva, void *val, unsigned n,
		       unsigned access, struct x86_exception *e)
{
	for (unsigned done = 0, len; done < n; done += len) {
		gpa_t gpa = kvm_vcpu_gva_to_gpa(vcpu, gva + done, access, e);
		char *p = (char *)val + done;
		int r;

		len = MIN(n - done, PAGE_SIZE - ((gva + done) & ~PAGE_MASK));
		if (gpa == INVALID_GPA)
			return -1;
		if (access & PAGING_WRITE)
			r = kvm_write_guest(&vcpu->kvm->mem, gpa, p, len);
		else
			r = kvm_read_guest(&vcpu->kvm->mem, gpa, p, len);
		if (!r)
			continue;
		/* Not memory: what a bus without a device would do. */
		*e = (struct x86_exception){ .vector = X86_GP,
					     .has_error_code = true };
		return -EFAULT;
	}
	return 0;
}

int kvm_fetch_guest_virt(struct kvm_vcpu *vcpu, gva_t la, void *val, unsigned n,
			 struct x86_exception *e)
{
	return access_virt(vcpu, la, val, n, PAGING_EXEC | privilege(vcpu), e);
}

int kvm_read_guest_virt(struct kvm_vcpu *vcpu, gva_t gva, void *val, unsigned n,
			struct x86_exception *e)
{
	return access_virt(vcpu, gva, val, n, PAGING_READ | privilege(vcpu), e);
}

int kvm_write_guest_virt(struct kvm_vcpu *vcpu, gva_t gva, const void *val,
			 unsigned n, struct x86_exception *e)
{
	return access_virt(vcpu, gva, (void *)val, n,
			   PAGING_READ | PAGING_WRITE | privilege(vcpu), e);
}

/* --- faults of the second dimension ---------------------------------------------------------- */

static bool fast_mmio(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	struct kvm_io_bus *bus = &vcpu->kvm->irqchip.bus[KVM_FAST_MMIO_BUS];

	if (!bus->count || kvm_io_bus_write(bus, vcpu, gpa, 0, NULL))
		return false;
	trace_kvm_fast_mmio(gpa);
	return true;
}

enum kvm_exit_result kvm_handle_tdp_fault(struct kvm_vcpu *vcpu, gpa_t gpa,
					  uint64_t error_code)
{
	struct kvm_page_fault fault = {
		.addr = gpa,
		.write = error_code & X86_PFERR_W,
		.exec = error_code & X86_PFERR_I,
		.user = error_code & X86_PFERR_U,
		.present = error_code & X86_PFERR_P,
		.rsvd = error_code & X86_PFERR_RSVD,
	};

	vcpu->stat.pf_taken++;
	trace_kvm_page_fault(vcpu->vcpu_id, kvm_rip_read(vcpu), gpa, error_code);
	if (fault.rsvd && fast_mmio(vcpu, gpa))
		return kvm_skip_emulated_instruction(vcpu);
	switch (kvm_mmu_page_fault(&vcpu->arch.mmu, &fault)) {
	case RET_PF_EMULATE:
		vcpu->stat.pf_emulate++;
		vcpu->stat.pf_mmio_spte_created += fault.mmio_created;
		kvm_note_apic_page(vcpu, gpa);
		return x86_emulate_instruction(vcpu, gpa, EMULTYPE_PF);
	case RET_PF_FIXED:
		vcpu->stat.pf_fixed++;
		return KVM_HANDLED;
	case RET_PF_ERROR:
		return KVM_ERROR_FAULT;
	default:
		return KVM_HANDLED;
	}
}

/* --- upcalls ---------------------------------------------------------------------------------- */

static void flush_shadow_memslot(void *opaque, const struct kvm_memory_slot *slot)
{
	kvm_mmu_flush_shadow_memslot(&((struct kvm *)opaque)->mmu, slot);
}

static void commit_memory_region(void *opaque, const struct kvm_memory_slot *old,
				 const struct kvm_memory_slot *new,
				 enum kvm_mr_change change)
{
	kvm_mmu_commit_memory_region(&((struct kvm *)opaque)->mmu, old, new, change);
}

static void write_protect_pt_masked(void *opaque, const struct kvm_memory_slot *slot,
				    uint64_t offset, uint64_t mask)
{
	kvm_mmu_write_protect_pt_masked(&((struct kvm *)opaque)->mmu, slot, offset,
					mask);
}

static void flush_remote_tlbs(void *opaque)
{
	kvm_flush_remote_tlbs(opaque);
}

static void memory_written(void *opaque, hva_t at, unsigned len)
{
	hw_memory_written(at, len);
}

const struct kvm_mem_ops kvm_mem_upcalls = {
	.flush_shadow_memslot = flush_shadow_memslot,
	.commit_memory_region = commit_memory_region,
	.write_protect_pt_masked = write_protect_pt_masked,
	.flush_remote_tlbs = flush_remote_tlbs,
	.memory_written = memory_written,
};

const struct kvm_mmu_ops kvm_mmu_upcalls = {
	.flush_remote_tlbs = flush_remote_tlbs,
};
