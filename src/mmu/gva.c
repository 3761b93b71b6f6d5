/* SPDX-License-Identifier: MIT */
/*
 * The guest's own page tables, walked for emulation and KVM_TRANSLATE.
 *
 * The walk is paging/'s, the tables are read through memslots. A table that lies
 * outside memory is reported to the guest as a page that is not present, as KVM
 * does: what a processor reads there is up to the bus. Accessed and dirty bits
 * are set as by the processor, but not in read-only slots: the write would be
 * MMIO, which a page walk cannot wait for.
 *
 * The slot lock is held over the whole walk, so all its tables are of one time.
 */
#include <errno.h>

#include "mmu/mmu.h"

static int read_entry(void *opaque, uint64_t pa, unsigned bytes, uint64_t *val,
		      struct x86_exception *e)
{
	return kvm_read_guest_entry(opaque, pa, bytes, val);
}

static int cmpxchg_entry(void *opaque, uint64_t pa, unsigned bytes,
			 uint64_t old, uint64_t new, bool *done,
			 struct x86_exception *e)
{
	int r = kvm_cmpxchg_guest_entry(opaque, pa, bytes, old, new, done);

	if (r != -EROFS)
		return r;
	*done = true;
	return 0;
}

static const struct paging_ops guest_ops = {
	.read = read_entry,
	.cmpxchg = cmpxchg_entry,
};

static void no_table(gva_t gva, uint32_t access, uint32_t flags,
		     struct x86_exception *e)
{
	uint32_t code = 0;

	if (access & PAGING_WRITE)
		code |= X86_PFERR_W;
	if (access & PAGING_USER)
		code |= X86_PFERR_U;
	if (access & PAGING_EXEC && flags & (PAGING_NX | PAGING_SMEP))
		code |= X86_PFERR_I;
	*e = (struct x86_exception){
		.vector = X86_PF, .has_error_code = true,
		.error_code = code, .address = gva,
	};
}

static void init_walk(struct paging_walk *w, struct kvm_mem *mem,
		      const struct kvm_mmu_regs *regs, uint32_t access)
{
	/* SDM Vol. 3A, "Access Rights": EFLAGS.AC lifts SMAP for explicit
	 * supervisor accesses only. */
	bool ac = regs->cpl < 3 && !(access & KVM_GVA_IMPLICIT) &&
		  regs->rflags & X86_EFLAGS_AC;

	*w = (struct paging_walk){
		.format = paging_format(regs->cr0, regs->cr4, regs->efer),
		.flags = paging_flags(regs->cr0, regs->cr4, regs->efer, ac),
		.root = regs->cr3,
		.pdptr = regs->pdptrs,
		.maxphyaddr = regs->maxphyaddr,
		.pkru = regs->pkru,
		.pkrs = regs->pkrs,
		.ops = &guest_ops,
		.opaque = mem,
	};
	if (regs->gbpages)
		w->flags |= PAGING_1G;
	if (access & KVM_GVA_PROBE)
		w->flags |= PAGING_NO_AD;
}

gpa_t kvm_mmu_gva_to_gpa(struct kvm_mmu *mmu, const struct kvm_mmu_regs *regs,
			 gva_t gva, uint32_t access, struct x86_exception *e)
{
	struct kvm_mem *mem = mmu->vm->mem;
	struct paging_result r;
	enum paging_fault f;
	struct paging_walk w;

	init_walk(&w, mem, regs, access);
	access &= PAGING_READ | PAGING_WRITE | PAGING_EXEC | PAGING_USER;
	kvm_mem_read_lock(mem);
	f = paging_walk(&w, gva, access, &r, e);
	kvm_mem_read_unlock(mem);
	if (f == PAGING_OK)
		return r.pa;
	if (f == PAGING_ABORT)
		no_table(gva, access, w.flags, e);
	return INVALID_GPA;
}

static uint32_t privilege(const struct kvm_mmu_regs *regs)
{
	return regs->cpl == 3 ? PAGING_USER : 0;
}

gpa_t kvm_mmu_gva_to_gpa_read(struct kvm_mmu *mmu,
			      const struct kvm_mmu_regs *regs, gva_t gva,
			      struct x86_exception *e)
{
	return mmu->gva_to_gpa(mmu, regs, gva, PAGING_READ | privilege(regs), e);
}

gpa_t kvm_mmu_gva_to_gpa_write(struct kvm_mmu *mmu,
			       const struct kvm_mmu_regs *regs, gva_t gva,
			       struct x86_exception *e)
{
	return mmu->gva_to_gpa(mmu, regs, gva, PAGING_WRITE | privilege(regs), e);
}

gpa_t kvm_mmu_gva_to_gpa_fetch(struct kvm_mmu *mmu,
			       const struct kvm_mmu_regs *regs, gva_t gva,
			       struct x86_exception *e)
{
	return mmu->gva_to_gpa(mmu, regs, gva, PAGING_EXEC | privilege(regs), e);
}

gpa_t kvm_mmu_gva_to_gpa_system(struct kvm_mmu *mmu,
				const struct kvm_mmu_regs *regs, gva_t gva,
				struct x86_exception *e)
{
	return mmu->gva_to_gpa(mmu, regs, gva, KVM_GVA_PROBE, e);
}
