/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's state before its first KVM_RUN: CPUID, the MSRs firmware would have
 * set, LINT pins as the MP specification's virtual wire mode has them, and for
 * the first vCPU the mode and registers that the loader asked for. The others
 * wait for INIT and SIPI, which the in-kernel LAPIC sees to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cpuid.h"
#include "layout.h"
#include "vmm.h"
#include "x86/msr.h"
#include "x86/regs.h"

#define CPUID_MAX		256
#define MTRR_ENABLE_WB		0xc06	/* enabled, fixed ranges too; write-back */
#define MISC_FAST_STRING	1
#define GDT_CODE		0x10	/* Linux's __BOOT_CS */
#define GDT_DATA		0x18	/* __BOOT_DS */
#define LAPIC_LVT_LINT0		0x350
#define LAPIC_LVT_LINT1		0x360
#define LVT_EXTINT		0x700
#define LVT_NMI			0x400
#define PTE_TABLE		0x03	/* present, writable */
#define PTE_LARGE		0x83
#define LARGE_PAGE		0x200000ull

static bool set_cpuid(struct vcpu *c, struct vmm_error *e)
{
	const struct vmm *v = c->vmm;
	size_t size = sizeof(struct kvm_cpuid2) +
		      CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *id = calloc(1, size);
	bool deadline = v->cfg->irqchip &&
			vmm_ioctl(v, v->kvm, KVM_CHECK_EXTENSION,
				  (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	int err;

	if (!id)
		return vmm_fail(e, "out of memory");
	id->nent = CPUID_MAX;
	err = vmm_ioctl(v, v->kvm, KVM_GET_SUPPORTED_CPUID, id);
	if (err >= 0) {
		cpuid_patch(id->entries, id->nent, c->id, v->nr_vcpus,
			    deadline);
		err = vmm_ioctl(v, c->fd, KVM_SET_CPUID2, id);
	}
	free(id);
	return err >= 0 || vmm_fail(e, "cannot set CPUID: %s", strerror(-err));
}

/* An MSR that this KVM does not have is left out: it counts what it took. */
static bool set_msr(struct vcpu *c, uint32_t index, uint64_t value,
		    struct vmm_error *e)
{
	union {
		struct kvm_msrs list;
		uint8_t room[sizeof(struct kvm_msrs) +
			     sizeof(struct kvm_msr_entry)];
	} m = { .list.nmsrs = 1 };
	int err;

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index,
						    .data = value };
	err = vmm_ioctl(c->vmm, c->fd, KVM_SET_MSRS, &m);
	return err >= 0 ||
	       vmm_fail(e, "cannot set MSR %#x: %s", index, strerror(-err));
}

static bool set_lapic(struct vcpu *c, struct vmm_error *e)
{
	struct kvm_lapic_state l;
	uint32_t lint0 = LVT_EXTINT, lint1 = LVT_NMI;
	int err = vmm_ioctl(c->vmm, c->fd, KVM_GET_LAPIC, &l);

	if (err >= 0) {
		memcpy(l.regs + LAPIC_LVT_LINT0, &lint0, sizeof(lint0));
		memcpy(l.regs + LAPIC_LVT_LINT1, &lint1, sizeof(lint1));
		err = vmm_ioctl(c->vmm, c->fd, KVM_SET_LAPIC, &l);
	}
	return err >= 0 ||
	       vmm_fail(e, "cannot set the local APIC: %s", strerror(-err));
}

/* The first 4 GiB, one to one, in 2-MiB pages: PML4, PDPT, four PDs. */
static bool write_page_tables(const struct guest_ram *ram)
{
	uint64_t *t = ram_at(ram, BOOT_PML4_ADDR, 6 * PAGE_SIZE);
	uint64_t *pdpt, *pd;

	if (!t)
		return false;
	memset(t, 0, 6 * PAGE_SIZE);
	pdpt = t + 512;
	pd = t + 1024;
	t[0] = (BOOT_PML4_ADDR + PAGE_SIZE) | PTE_TABLE;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (BOOT_PML4_ADDR + (2 + i) * PAGE_SIZE) | PTE_TABLE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i * LARGE_PAGE | PTE_LARGE;
	return true;
}

static bool write_gdt(const struct guest_ram *ram, bool is_64)
{
	const uint64_t gdt[] = {
		0, 0,
		is_64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
		0x00cf93000000ffffull,
	};

	return ram_write(ram, BOOT_GDT_ADDR, gdt, sizeof(gdt));
}

static void flat_segments(struct kvm_sregs *s, bool is_64)
{
	const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = GDT_DATA, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1,
	};

	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->cs = data;
	s->cs.selector = GDT_CODE;
	s->cs.type = 11;
	s->cs.db = !is_64;
	s->cs.l = is_64;
	s->gdt.base = BOOT_GDT_ADDR;
	s->gdt.limit = 4 * 8 - 1;
	s->idt.base = 0;
	s->idt.limit = 0;
	s->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
	s->cr4 = 0;
	s->efer = 0;
}

static void real_segments(struct kvm_sregs *s, uint16_t cs)
{
	s->cs.selector = cs;
	s->cs.base = (uint32_t)cs << 4;
}

static bool enter_mode(const struct guest_ram *ram, struct kvm_sregs *s,
		       const struct boot_entry *entry)
{
	bool is_64 = entry->mode == BOOT_LONG64;

	if (entry->mode == BOOT_REAL) {
		real_segments(s, entry->cs);
		return true;
	}
	flat_segments(s, is_64);
	if (!write_gdt(ram, is_64))
		return false;
	if (!is_64)
		return true;
	s->cr3 = BOOT_PML4_ADDR;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
	s->cr0 |= X86_CR0_PG;
	return write_page_tables(ram);
}

static bool set_registers(struct vcpu *c, struct vmm_error *e)
{
	const struct boot_entry *b = &c->vmm->entry;
	struct kvm_regs r = { .rip = b->rip, .rsp = b->rsp, .rax = b->rax,
			      .rbx = b->rbx, .rsi = b->rsi,
			      .rflags = X86_EFLAGS_FIXED };
	struct kvm_sregs s;
	int err = vmm_ioctl(c->vmm, c->fd, KVM_GET_SREGS, &s);

	if (err >= 0 && !enter_mode(&c->vmm->ram, &s, b))
		return vmm_fail(e, "no memory for the boot tables");
	if (err >= 0)
		err = vmm_ioctl(c->vmm, c->fd, KVM_SET_SREGS, &s);
	if (err >= 0)
		err = vmm_ioctl(c->vmm, c->fd, KVM_SET_REGS, &r);
	return err >= 0 ||
	       vmm_fail(e, "cannot set registers: %s", strerror(-err));
}

bool cpu_state_setup(struct vcpu *c, struct vmm_error *e)
{
	if (!set_cpuid(c, e) ||
	    !set_msr(c, MSR_IA32_MISC_ENABLE, MISC_FAST_STRING, e) ||
	    !set_msr(c, MSR_MTRRdefType, MTRR_ENABLE_WB, e))
		return false;
	if (c->vmm->cfg->irqchip && !set_lapic(c, e))
		return false;
	return c->id > 0 || set_registers(c, e);
}
