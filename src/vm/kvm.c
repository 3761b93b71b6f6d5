/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine: creation, end, and the upcalls of its interrupt
 * controllers to its vCPUs.
 *
 * A VM lives as long as its fd or one of its vCPUs: kvm->refs counts both.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/access.h"
#include "base/hold.h"
#include "base/timer.h"
#include "base/tsc.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

/* The width that the silicon's CPUID offers; slots lie below it. */
#define GUEST_PHYS_BITS		46

const struct kvm_x86_ops *kvm_backends[2];

void kvm_backend_register(enum kvm_vendor vendor, const struct kvm_x86_ops *ops)
{
	static const struct { size_t offset; const char *name; } members[] = {
#define KVM_X86_OP(ret, name, args) \
		{ offsetof(struct kvm_x86_ops, name), #name },
#include "vm/x86_ops.def"
#undef KVM_X86_OP
	};

	for (unsigned i = 0; i < ARRAY_SIZE(members); i++)
		if (!*(void *const *)((const char *)ops + members[i].offset))
			abort();	/* a backend with a hole in it */
	kvm_backends[vendor] = ops;
}

/* --- interrupt controllers' upcalls: any thread ------------------------------------- */

static void on_kick(struct kvm_vcpu *vcpu)
{
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	kvm_vcpu_kick(vcpu);
}

static void on_nmi(struct kvm_vcpu *vcpu)
{
	kvm_inject_nmi(vcpu);
	kvm_vcpu_kick(vcpu);
}

static void post(struct kvm_vcpu *vcpu, unsigned event)
{
	__atomic_or_fetch(&vcpu->arch.pending_events, BIT(event), __ATOMIC_SEQ_CST);
	on_kick(vcpu);
}

static void on_init(struct kvm_vcpu *vcpu)
{
	post(vcpu, KVM_APIC_INIT);
}

static void on_sipi(struct kvm_vcpu *vcpu, uint8_t vector)
{
	__atomic_store_n(&vcpu->arch.sipi_vector, vector, __ATOMIC_SEQ_CST);
	post(vcpu, KVM_APIC_SIPI);
}

/* There is no SMM: KVM_CAP_X86_SMM is 0, and an SMI goes nowhere. */
static void on_smi(struct kvm_vcpu *vcpu)
{
}

static uint64_t on_guest_tsc(struct kvm_vcpu *vcpu)
{
	return kvm_read_l1_tsc(vcpu, time_tsc());
}

static uint64_t on_tsc_to_ns(struct kvm_vcpu *vcpu, uint64_t tsc)
{
	uint64_t now_tsc, now_ns;
	unsigned __int128 ns;

	host_tsc_and_ns(&now_tsc, &now_ns);
	now_tsc = kvm_read_l1_tsc(vcpu, now_tsc);
	if (tsc <= now_tsc)
		return now_ns;
	ns = (unsigned __int128)(tsc - now_tsc) * 1000000 /
	     vcpu->arch.virtual_tsc_khz + now_ns;
	return ns >> 63 ? ~0ull : (uint64_t)ns;
}

/* Split irqchip: the I/O APIC is the client's, which must hear of this EOI. */
static void on_ioapic_eoi(struct kvm_vcpu *vcpu, uint8_t vector)
{
	vcpu->arch.pending_ioapic_eoi = vector;
	kvm_make_request(vcpu, KVM_REQ_IOAPIC_EOI_EXIT);
}

static const struct kvm_irqchip_ops irqchip_upcalls = {
	.kick = on_kick,
	.nmi = on_nmi,
	.init = on_init,
	.sipi = on_sipi,
	.smi = on_smi,
	.guest_tsc = on_guest_tsc,
	.tsc_to_ns = on_tsc_to_ns,
	.ioapic_eoi = on_ioapic_eoi,
};

/* --- life ------------------------------------------------------------------------------- */

static uint64_t next_vm_id;

static int init_memory(struct kvm *kvm)
{
	const struct kvm_mmu_vm_config cfg = {
		.ept = kvm->params.vendor == KVM_VENDOR_INTEL,
		.root_level = PT64_ROOT_4LEVEL,
		.max_level = PG_LEVEL_1G,
		.mmio_caching = true,
	};
	int ret = kvm_mem_init(&kvm->mem, &kvm_mem_upcalls, kvm, GUEST_PHYS_BITS);

	if (ret)
		return ret;
	ret = kvm_mmu_vm_init(&kvm->mmu, &kvm->mem, &kvm_mmu_upcalls, kvm, &cfg);
	if (ret)
		kvm_mem_destroy(&kvm->mem);
	return ret;
}

struct kvm *kvm_create_vm(void)
{
	struct kvm *kvm = calloc(1, sizeof(*kvm));

	if (!kvm || host_access_init())
		goto fail;
	kvm->params = kvm_params;
	kvm->refs = 1;
	kvm->id = __atomic_fetch_add(&next_vm_id, 1, __ATOMIC_RELAXED);
	kvm->default_tsc_khz = host_tsc_khz();
	kvm->kvmclock_offset = -ktime_get_ns();
	pthread_mutex_init(&kvm->lock, NULL);
	kvm->vcpus = calloc(kvm->params.max_vcpus, sizeof(*kvm->vcpus));
	if (!kvm->vcpus || init_memory(kvm))
		goto fail;
	if (kvm_irqchip_init(&kvm->irqchip, kvm, &irqchip_upcalls))
		goto fail_memory;
	kvm_coalesced_init(&kvm->coalesced);
	min_timer_period_us = kvm->params.min_timer_period_us;
	return kvm;

fail_memory:
	kvm_mmu_vm_destroy(&kvm->mmu);
	kvm_mem_destroy(&kvm->mem);
fail:
	if (kvm)
		free(kvm->vcpus);
	free(kvm);
	return NULL;
}

void kvm_get_kvm(struct kvm *kvm)
{
	__atomic_add_fetch(&kvm->refs, 1, __ATOMIC_RELAXED);
}

void kvm_put_kvm(struct kvm *kvm)
{
	if (__atomic_sub_fetch(&kvm->refs, 1, __ATOMIC_ACQ_REL))
		return;
	/* Sources of interrupts go first: none may find a vCPU that is gone. */
	kvm_irqchip_quiesce(&kvm->irqchip);
	kvm_coalesced_destroy(&kvm->coalesced);
	for (unsigned i = 0; i < kvm->nr_vcpus; i++)
		kvm_vcpu_destroy(kvm->vcpus[i]);
	kvm_irqchip_fini(&kvm->irqchip);
	kvm_mmu_vm_destroy(&kvm->mmu);
	kvm_mem_destroy(&kvm->mem);
	pthread_mutex_destroy(&kvm->lock);
	free(kvm->vcpus);
	free(kvm);
}
