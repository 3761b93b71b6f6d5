/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's life: creation, reset, INIT and SIPI, MP state.
 *
 * A vCPU object lives as long as its VM (others may hold pointers to it); closing
 * its fd only drops the fd's reference to the VM.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/tsc.h"
#include "vm/kvm_host.h"
#include "x86/msr.h"

bool kvm_vcpu_is_bsp(const struct kvm_vcpu *vcpu)
{
	return (uint32_t)vcpu->vcpu_id == vcpu->kvm->bsp_vcpu_id;
}

struct kvm_vcpu *kvm_get_vcpu_by_id(struct kvm *kvm, uint32_t id)
{
	struct kvm_vcpu *vcpu;
	unsigned i;

	kvm_for_each_vcpu(i, vcpu, kvm)
		if ((uint32_t)vcpu->vcpu_id == id)
			return vcpu;
	return NULL;
}

/* --- reset: SDM Vol. 3A, "Processor State After Reset" ------------------------------------ */

static void reset_segments(struct kvm_vcpu *vcpu)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);
	struct x86_segment data = { .limit = 0xffff,
		.ar = X86_AR_P | X86_AR_S | X86_AR_RW | X86_AR_A };
	struct x86_segment cs = { .base = 0xffff0000, .selector = 0xf000,
		.limit = 0xffff, .ar = data.ar | X86_AR_CODE };
	struct x86_segment ldtr = { .limit = 0xffff, .ar = X86_AR_P | X86_LDT };
	struct x86_segment tr = { .limit = 0xffff, .ar = X86_AR_P | X86_TSS32_BUSY };
	struct x86_dtable dt = { .base = 0, .limit = 0xffff };

	for (unsigned i = 0; i < X86_NR_USER_SEGS; i++)
		ops->set_segment(vcpu, i == X86_CS ? &cs : &data, i);
	ops->set_segment(vcpu, &ldtr, X86_LDTR);
	ops->set_segment(vcpu, &tr, X86_TR);
	ops->set_gdt(vcpu, &dt);
	ops->set_idt(vcpu, &dt);
}

static void reset_fpu(struct kvm_vcpu *vcpu)
{
	memset(&vcpu->arch.fpu, 0, sizeof(vcpu->arch.fpu));
	vcpu->arch.fpu.fx.fcw = X86_FCW_INIT;
	vcpu->arch.fpu.fx.mxcsr = X86_MXCSR_INIT;
	vcpu->arch.xcr0 = X86_XCR0_X87;
	hw_set_xcr0(vcpu->hw, vcpu->arch.xcr0);
	hw_set_pkru(vcpu->hw, 0);
}

static void reset_msrs(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	arch->pat = MSR_IA32_CR_PAT_DEFAULT;
	arch->misc_enable = MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |
			    MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL |
			    MSR_IA32_MISC_ENABLE_FAST_STRING;
	arch->microcode = 0x100000000ull;
	arch->pv_time_enabled = false;
	memset(&arch->mtrr, 0, sizeof(arch->mtrr));
}

static void reset_events(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	kvm_clear_exception_queue(vcpu);
	kvm_clear_interrupt_queue(vcpu);
	arch->nmi_queued = arch->nmi_pending = 0;
	arch->nmi_injected = false;
	arch->emul.in_progress = false;
	arch->pio.count = 0;
	arch->complete_userspace_io = NULL;
}

void kvm_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);
	uint64_t cr0 = X86_CR0_ET;

	/* INIT leaves CD and NW as they were. */
	if (init_event)
		cr0 |= kvm_read_cr0(vcpu) & (X86_CR0_CD | X86_CR0_NW);
	else
		cr0 |= X86_CR0_CD | X86_CR0_NW;
	if (vcpu->arch.apic)
		kvm_lapic_reset(vcpu->arch.apic, init_event);
	reset_events(vcpu);
	if (!init_event) {
		reset_fpu(vcpu);
		reset_msrs(vcpu);
	}
	memset(vcpu->arch.regs, 0, sizeof(vcpu->arch.regs));
	vcpu->arch.regs_avail = vcpu->arch.regs_dirty = ~0u;
	ops->vcpu_reset(vcpu, init_event);
	ops->set_rflags(vcpu, X86_EFLAGS_FIXED);
	kvm_rip_write(vcpu, 0xfff0);
	kvm_register_write_raw(vcpu, X86_RDX, 0x600);
	reset_segments(vcpu);
	ops->set_efer(vcpu, 0);
	ops->set_cr0(vcpu, cr0);
	ops->set_cr4(vcpu, 0);
	ops->set_cr3(vcpu, 0);
	vcpu->arch.cr2 = vcpu->arch.cr8 = 0;
	for (unsigned i = 0; i < 4; i++)
		kvm_set_dr(vcpu, i, 0);
	kvm_set_dr(vcpu, 6, X86_DR6_INIT);
	kvm_set_dr(vcpu, 7, X86_DR7_FIXED_1);
	ops->set_interrupt_shadow(vcpu, 0);
	ops->set_nmi_mask(vcpu, false);
	ops->update_exception_bitmap(vcpu);
	kvm_update_cpuid_runtime(vcpu);
	kvm_make_request(vcpu, KVM_REQ_TLB_FLUSH_GUEST);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
}

/* --- INIT and SIPI --------------------------------------------------------------------------- */

static bool take_event(struct kvm_vcpu *vcpu, unsigned event)
{
	uint32_t old = __atomic_fetch_and(&vcpu->arch.pending_events, ~BIT(event),
					  __ATOMIC_SEQ_CST);

	return old & BIT(event);
}

static void deliver_sipi(struct kvm_vcpu *vcpu)
{
	uint8_t vector = __atomic_load_n(&vcpu->arch.sipi_vector, __ATOMIC_SEQ_CST);
	struct x86_segment cs;

	kvm_ops(vcpu)->get_segment(vcpu, &cs, X86_CS);
	cs.selector = vector << 8;
	cs.base = vector << 12;
	kvm_ops(vcpu)->set_segment(vcpu, &cs, X86_CS);
	kvm_rip_write(vcpu, 0);
	vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
}

void kvm_apic_accept_events(struct kvm_vcpu *vcpu)
{
	if (!__atomic_load_n(&vcpu->arch.pending_events, __ATOMIC_SEQ_CST))
		return;
	if (take_event(vcpu, KVM_APIC_INIT)) {
		kvm_vcpu_reset(vcpu, true);
		vcpu->arch.mp_state = kvm_vcpu_is_bsp(vcpu)
			? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (take_event(vcpu, KVM_APIC_SIPI) &&
	    vcpu->arch.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		deliver_sipi(vcpu);
}

int kvm_vcpu_get_mp_state(struct kvm_vcpu *vcpu, struct kvm_mp_state *m)
{
	kvm_apic_accept_events(vcpu);
	m->mp_state = vcpu->arch.mp_state;
	return 0;
}

int kvm_vcpu_set_mp_state(struct kvm_vcpu *vcpu, const struct kvm_mp_state *m)
{
	switch (m->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_SIPI_RECEIVED:
		if (!vcpu->arch.apic)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	vcpu->arch.mp_state = m->mp_state;
	if (m->mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
		vcpu->arch.mp_state = KVM_MP_STATE_INIT_RECEIVED;
		__atomic_or_fetch(&vcpu->arch.pending_events, BIT(KVM_APIC_SIPI),
				  __ATOMIC_SEQ_CST);
	}
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	return 0;
}

/* --- creation ------------------------------------------------------------------------------------- */

static int init_processor(struct kvm_vcpu *vcpu)
{
	struct kvm *kvm = vcpu->kvm;
	const struct hw_config cfg = {
		.amd = kvm->params.vendor == KVM_VENDOR_AMD,
		.jit = kvm->params.engine == KVM_ENGINE_JIT ? &hw_jit : NULL,
		.jit_threshold = kvm->params.jit_threshold,
		.jit_cache = kvm->params.jit_cache,
		.jit_count = kvm->params.jit_count,
		.jit_exact_flags = kvm->params.jit_exact_flags,
		.jit_check = kvm->params.jit_check,
		.jit_check_length = kvm->params.jit_check_length,
	};
	int ret;

	vcpu->hw = hw_cpu_create(&cfg);
	if (!vcpu->hw)
		return -ENOMEM;
	hw_set_fpu(vcpu->hw, &vcpu->arch.fpu);
	kvm_exits_in_place(vcpu);
	kvm_mmu_init(&vcpu->arch.mmu, &kvm->mmu);
	vcpu->arch.maxphyaddr = 36;
	vcpu->arch.cr4_reserved = 0;
	ret = kvm_ops(vcpu)->vcpu_create(vcpu);
	if (ret || !irqchip_in_kernel(&kvm->irqchip))
		return ret;
	return kvm_create_lapic(&kvm->irqchip, vcpu, vcpu->vcpu_id,
				kvm_vcpu_is_bsp(vcpu), &vcpu->arch.apic);
}

static void start_state(struct kvm_vcpu *vcpu)
{
	vcpu->arch.mp_state = !vcpu->arch.apic || kvm_vcpu_is_bsp(vcpu)
		? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
	vcpu->arch.apic_base = APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE |
			       (kvm_vcpu_is_bsp(vcpu) ? MSR_IA32_APICBASE_BSP : 0);
	vcpu->arch.virtual_tsc_khz = vcpu->kvm->default_tsc_khz;
	vcpu->arch.arch_capabilities = hw_arch_capabilities();
	kvm_mce_init(vcpu);
	kvm_vcpu_reset(vcpu, false);
	kvm_set_tsc_khz(vcpu, vcpu->kvm->default_tsc_khz);
}

/* Makes it visible to the others; -EEXIST, -EINVAL. kvm->lock held. */
static int publish(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
	if (kvm->nr_vcpus >= (unsigned)kvm->params.max_vcpus)
		return -EINVAL;
	vcpu->vcpu_idx = kvm->nr_vcpus;
	kvm->vcpus[kvm->nr_vcpus] = vcpu;
	__atomic_store_n(&kvm->nr_vcpus, kvm->nr_vcpus + 1, __ATOMIC_RELEASE);
	kvm_get_kvm(kvm);
	return 0;
}

static int create_locked(struct kvm *kvm, uint32_t id, void *run_pages,
			 struct kvm_vcpu **out)
{
	struct kvm_vcpu *vcpu;
	int ret;

	if (id >= KVM_MAX_VCPU_ID || kvm->nr_vcpus >= (unsigned)kvm->params.max_vcpus)
		return -EINVAL;
	if (kvm_get_vcpu_by_id(kvm, id))
		return -EEXIST;
	if (kvm->params.jit_check &&
	    (kvm->nr_vcpus || kvm->params.engine != KVM_ENGINE_JIT)) {
		log_error("jit_check compares one vCPU that translates: no other engine, no second vCPU");
		return -EINVAL;
	}
	ret = posix_memalign((void **)&vcpu, 64, sizeof(*vcpu));
	if (ret)
		return -ENOMEM;
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->kvm = kvm;
	vcpu->vcpu_id = id;
	vcpu->run = run_pages;
	vcpu->pio_data = (char *)run_pages + KVM_PIO_PAGE_OFFSET * PAGE_SIZE;
	pthread_mutex_init(&vcpu->mutex, NULL);
	kvm_wait_init(&vcpu->wait);
	ret = init_processor(vcpu);
	if (!ret) {
		start_state(vcpu);
		ret = publish(kvm, vcpu);
	}
	if (ret) {
		kvm_vcpu_destroy(vcpu);
		return ret;
	}
	vcpu->owns_pages = true;
	*out = vcpu;
	return 0;
}

int kvm_vcpu_create(struct kvm *kvm, uint32_t id, void *run_pages,
		    struct kvm_vcpu **out)
{
	int ret;

	pthread_mutex_lock(&kvm->lock);
	ret = create_locked(kvm, id, run_pages, out);
	pthread_mutex_unlock(&kvm->lock);
	if (!ret)
		kvm_write_tsc(*out, 0, true);
	if (!ret && !(*out)->vcpu_idx)
		kvm_coalesced_set_ring(&kvm->coalesced,
			(void *)((char *)run_pages +
				 KVM_COALESCED_MMIO_PAGE_OFFSET * PAGE_SIZE));
	return ret;
}

/* Called with the VM's last reference gone, or for one that was never published. */
void kvm_vcpu_destroy(struct kvm_vcpu *vcpu)
{
	kvm_free_lapic(vcpu->arch.apic);
	if (vcpu->hw) {
		kvm_mmu_unload(&vcpu->arch.mmu);
		kvm_ops(vcpu)->vcpu_free(vcpu);
		hw_cpu_destroy(vcpu->hw);
	}
	pthread_mutex_destroy(&vcpu->mutex);
	if (vcpu->owns_pages)
		munmap(vcpu->run, KVM_VCPU_MMAP_PAGES * PAGE_SIZE);
	free(vcpu);
}
