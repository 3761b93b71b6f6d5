/* SPDX-License-Identifier: MIT */
/*
 * A processor: creation, reset state, the registers that a hypervisor reaches
 * without VMCS or VMCB.
 *
 * Nothing here runs while a guest does. The caches (TLB, decoded instructions)
 * are allocated zeroed and get their memory page by page as they are used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/access.h"
#include "hw/core.h"
#include "x86/msr.h"

#define ENTRY_BYTES	(sizeof(struct hw_icache_entry) << HW_ICACHE_BITS)
#define ICACHE_BYTES	(ENTRY_BYTES + (sizeof(uint32_t) << HW_ICACHE_INDEX_BITS))

_Static_assert(X86_NR_FEATURES <= 256, "hw_cpu.features");
_Static_assert(offsetof(struct hw_icache_entry, insn) == 64,
	       "a lookup touches one cache line");

static void reset(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;

	c->ops = &hw_emulate_ops;
	c->features = cpu->features;
	c->vendor_amd = cpu->cfg.amd;
	c->eflags = X86_EFLAGS_FIXED;
	c->cr0 = X86_CR0_ET;
	c->xcr0 = X86_XCR0_X87;
	c->owner = cpu;
	cpu->dr6 = X86_DR6_INIT;
	cpu->dr7 = X86_DR7_FIXED_1;
	cpu->msr.pat = MSR_IA32_CR_PAT_DEFAULT;
	cpu->msr.tsc_ratio = BIT_ULL(32);
	cpu->msr.feature_control = FEAT_CTL_LOCKED |
				   FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;
	cpu->msr.misc_enable = MSR_IA32_MISC_ENABLE_FAST_STRING |
			       MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |
			       MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL;
	/* The root world is 64-bit C. */
	cpu->host_efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA |
			 X86_EFER_NX;
	cpu->ctl.preemption_deadline = UINT64_MAX;
	cpu->svm.gif = true;
	memcpy(cpu->features, hw_features_model(), sizeof(cpu->features));
	hw_in_place_forget(cpu);
}

/* Fresh pages: most of the translator's part is never touched. It would rather have them
 * below 2 GiB, where an address is a displacement. */
static struct hw_cpu *place_for(const struct hw_config *cfg)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *p = MAP_FAILED;

	if (cfg->jit)
		p = mmap(NULL, sizeof(struct hw_cpu), PROT_READ | PROT_WRITE,
			 flags | MAP_32BIT, -1, 0);
	if (p == MAP_FAILED)
		p = mmap(NULL, sizeof(struct hw_cpu), PROT_READ | PROT_WRITE, flags,
			 -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

struct hw_cpu *hw_cpu_create(const struct hw_config *cfg)
{
	struct hw_cpu *cpu;
	void *icache;

	cpu = place_for(cfg);
	if (!cpu)
		return NULL;
	cpu->cfg = *cfg;
	if (!cpu->cfg.maxphyaddr || cpu->cfg.maxphyaddr > 52)
		cpu->cfg.maxphyaddr = 46;
	icache = mmap(NULL, ICACHE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cpu->icache = icache == MAP_FAILED ? NULL : icache;
	if (cpu->icache) {
		/* Where the run loop's first guess begins. */
		cpu->icache->next = cpu->icache;
		cpu->icache_index = (uint32_t *)((char *)icache + ENTRY_BYTES);
	}
	reset(cpu);
	if (!cpu->icache || hw_tlb_create(cpu) || host_access_init()) {
		hw_cpu_destroy(cpu);
		return NULL;
	}
	hw_fpu_host_init();
	if (cfg->jit) {
		if (cfg->jit->create(cpu)) {
			hw_cpu_destroy(cpu);
			return NULL;
		}
		cpu->jit_ops = cfg->jit;
		hw_code_attach(cpu);
	}
	return cpu;
}

void hw_cpu_destroy(struct hw_cpu *cpu)
{
	if (!cpu)
		return;
	if (cpu->jit_ops) {
		hw_code_detach(cpu);
		cpu->jit_ops->destroy(cpu);
	}
	if (cpu->icache)
		munmap(cpu->icache, ICACHE_BYTES);
	hw_tlb_destroy(cpu);
	munmap(cpu, sizeof(*cpu));
}

uint64_t *hw_gprs(struct hw_cpu *cpu)
{
	return cpu->c.gpr;
}

void hw_set_fpu(struct hw_cpu *cpu, struct x86_fpu *fpu)
{
	cpu->c.fpu = fpu;
}

uint64_t hw_get_cr2(const struct hw_cpu *cpu)
{
	return cpu->c.cr2;
}

void hw_set_cr2(struct hw_cpu *cpu, uint64_t v)
{
	cpu->c.cr2 = v;
}

uint64_t hw_get_xcr0(const struct hw_cpu *cpu)
{
	return cpu->c.xcr0;
}

void hw_set_xcr0(struct hw_cpu *cpu, uint64_t v)
{
	cpu->c.xcr0 = v;
}

uint32_t hw_get_pkru(const struct hw_cpu *cpu)
{
	return cpu->c.pkru;
}

void hw_set_pkru(struct hw_cpu *cpu, uint32_t v)
{
	cpu->c.pkru = v;
}

uint64_t hw_get_dr(const struct hw_cpu *cpu, unsigned n)
{
	return n < 4 ? cpu->dr[n] : n == 6 ? cpu->dr6 : cpu->dr7;
}

void hw_set_dr(struct hw_cpu *cpu, unsigned n, uint64_t v)
{
	if (n < 4)
		cpu->dr[n] = v;
	else if (n == 6)
		cpu->dr6 = v;
}

void hw_set_features(struct hw_cpu *cpu, const uint64_t *bitmap)
{
	memcpy(cpu->features, bitmap, sizeof(cpu->features));
	/* What is translated depends on it. */
	if (cpu->jit_ops)
		cpu->jit_ops->drop(cpu, 0);
}

const uint64_t *hw_features(const struct hw_cpu *cpu)
{
	return hw_features_model();
}

bool hw_host_error(const struct hw_cpu *cpu, hva_t *where)
{
	if (where)
		*where = cpu->host_error_at;
	return cpu->host_error;
}

const char *hw_check_failure(struct hw_cpu *cpu)
{
	return cpu->check_failed ? cpu->jit_ops->failure(cpu) : NULL;
}

const struct x86_insn *hw_last_insn(const struct hw_cpu *cpu)
{
	return cpu->last_insn;
}

bool hw_left_next(const struct hw_cpu *cpu, struct hw_left *l)
{
	return cpu->jit_ops && cpu->jit_ops->left_next(cpu, l);
}

const struct hw_stats *hw_stats(const struct hw_cpu *cpu)
{
	return &cpu->stats;
}
