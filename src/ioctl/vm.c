/* SPDX-License-Identifier: MIT */
/* Requests on a VM. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/access.h"
#include "ioctl/ioctl.h"

int vm_create_vcpu(struct kvm_file *f, unsigned long arg)
{
	struct kvm_file *file;
	char name[32];
	int ret;

	if (arg != (uint32_t)arg)
		return -EINVAL;
	snprintf(name, sizeof(name), "kvm-vcpu:%lu", arg);
	ret = kvm_file_create(KVM_FILE_VCPU, name, KVM_VCPU_MMAP_PAGES, O_CLOEXEC,
			      &file);
	if (ret)
		return ret;
	ret = kvm_vcpu_create(f->kvm, arg, file->pages, &file->vcpu);
	if (ret) {
		kvm_file_abandon(file);
		return ret;
	}
	file->kvm = f->kvm;
	return kvm_file_publish(file);
}

/* --- memory --------------------------------------------------------------------------- */

int vm_set_user_memory_region(struct kvm_file *f, void *data)
{
	return kvm_set_memory_region(&f->kvm->mem, data, false);
}

int vm_get_dirty_log(struct kvm_file *f, void *data)
{
	return kvm_get_dirty_log(&f->kvm->mem, data);
}

int vm_clear_dirty_log(struct kvm_file *f, void *data)
{
	return kvm_clear_dirty_log(&f->kvm->mem, data);
}

int vm_set_nr_mmu_pages(struct kvm_file *f, unsigned long arg)
{
	return kvm_mmu_change_mmu_pages(&f->kvm->mmu, arg);
}

/* Three pages below 4 GiB that this implementation has no need for. */
int vm_set_tss_addr(struct kvm_file *f, unsigned long arg)
{
	if (arg > (unsigned)(-3 * PAGE_SIZE))
		return -EINVAL;
	f->kvm->tss_addr = arg;
	return 0;
}

int vm_set_identity_map_addr(struct kvm_file *f, void *data)
{
	int ret = 0;

	pthread_mutex_lock(&f->kvm->lock);
	if (f->kvm->nr_vcpus)
		ret = -EINVAL;
	else
		f->kvm->identity_map_addr = *(uint64_t *)data;
	pthread_mutex_unlock(&f->kvm->lock);
	return ret;
}

int vm_register_coalesced(struct kvm_file *f, void *data)
{
	return kvm_register_coalesced(&f->kvm->coalesced, data);
}

int vm_unregister_coalesced(struct kvm_file *f, void *data)
{
	return kvm_unregister_coalesced(&f->kvm->coalesced, data);
}

/* --- interrupts --------------------------------------------------------------------------- */

int vm_create_irqchip(struct kvm_file *f, unsigned long arg)
{
	int ret;

	pthread_mutex_lock(&f->kvm->lock);
	if (irqchip_in_kernel(&f->kvm->irqchip))
		ret = -EEXIST;
	else if (f->kvm->nr_vcpus)
		ret = -EINVAL;
	else
		ret = kvm_irqchip_create(&f->kvm->irqchip);
	pthread_mutex_unlock(&f->kvm->lock);
	return ret;
}

int vm_irq_line(struct kvm_file *f, void *data)
{
	struct kvm_irq_level *l = data;
	int status;

	return kvm_irq_line(&f->kvm->irqchip, l->irq, l->level, &status);
}

int vm_irq_line_status(struct kvm_file *f, void *data)
{
	struct kvm_irq_level *l = data;
	int status = 0, ret = kvm_irq_line(&f->kvm->irqchip, l->irq, l->level, &status);

	l->status = status;
	return ret;
}

int vm_get_irqchip(struct kvm_file *f, void *data)
{
	return kvm_irqchip_get(&f->kvm->irqchip, data);
}

/* The request's number has the wrong direction for ever: copied in by hand. */
int vm_set_irqchip(struct kvm_file *f, unsigned long arg)
{
	struct kvm_irqchip chip;

	if (host_copy_in(&chip, (void *)arg, sizeof(chip)))
		return -EFAULT;
	return kvm_irqchip_set(&f->kvm->irqchip, &chip);
}

static int create_pit(struct kvm *kvm, uint32_t flags)
{
	int ret;

	pthread_mutex_lock(&kvm->lock);
	ret = kvm_pit_create(&kvm->irqchip, flags);
	pthread_mutex_unlock(&kvm->lock);
	return ret;
}

int vm_create_pit(struct kvm_file *f, unsigned long arg)
{
	return create_pit(f->kvm, KVM_PIT_SPEAKER_DUMMY);
}

int vm_create_pit2(struct kvm_file *f, void *data)
{
	return create_pit(f->kvm, ((struct kvm_pit_config *)data)->flags);
}

int vm_get_pit2(struct kvm_file *f, void *data)
{
	if (!f->kvm->irqchip.pit)
		return -ENXIO;
	kvm_pit_get_state(f->kvm->irqchip.pit, data);
	return 0;
}

int vm_set_pit2(struct kvm_file *f, void *data)
{
	if (!f->kvm->irqchip.pit)
		return -ENXIO;
	kvm_pit_set_state(f->kvm->irqchip.pit, data);
	return 0;
}

int vm_reinject_control(struct kvm_file *f, unsigned long arg)
{
	struct kvm_reinject_control c;

	if (host_copy_in(&c, (void *)arg, sizeof(c)))
		return -EFAULT;
	if (!f->kvm->irqchip.pit)
		return -ENXIO;
	kvm_pit_set_reinject(f->kvm->irqchip.pit, c.pit_reinject);
	return 0;
}

int vm_irqfd(struct kvm_file *f, void *data)
{
	return kvm_irqfd(&f->kvm->irqchip, data);
}

int vm_ioeventfd(struct kvm_file *f, void *data)
{
	return kvm_ioeventfd(&f->kvm->irqchip, data);
}

int vm_set_gsi_routing(struct kvm_file *f, unsigned long arg)
{
	struct kvm_irq_routing h;
	struct kvm_irq_routing_entry *e;
	int ret = -EFAULT;

	if (host_copy_in(&h, (void *)arg, sizeof(h)))
		return -EFAULT;
	if (!irqchip_in_kernel(&f->kvm->irqchip) || h.nr > KVM_MAX_IRQ_ROUTES || h.flags)
		return -EINVAL;
	e = calloc(h.nr ? h.nr : 1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	if (!host_copy_in(e, USER_FIELD(kvm_irq_routing, arg, entries), h.nr * sizeof(*e)))
		ret = kvm_set_irq_routing(&f->kvm->irqchip, h.flags, h.nr, e);
	free(e);
	return ret;
}

int vm_signal_msi(struct kvm_file *f, void *data)
{
	int ret = kvm_send_userspace_msi(&f->kvm->irqchip, data);

	return ret == -1 ? -EPERM : ret;
}

/* --- time ------------------------------------------------------------------------------------- */

int vm_get_clock(struct kvm_file *f, void *data)
{
	return kvm_vm_get_clock(f->kvm, data);
}

int vm_set_clock(struct kvm_file *f, void *data)
{
	return kvm_vm_set_clock(f->kvm, data);
}

int vm_set_tsc_khz(struct kvm_file *f, unsigned long arg)
{
	int ret = 0;

	if (arg > 100000000)
		return -EINVAL;
	pthread_mutex_lock(&f->kvm->lock);
	if (f->kvm->nr_vcpus)
		ret = -EINVAL;
	else if (arg)
		f->kvm->default_tsc_khz = arg;
	pthread_mutex_unlock(&f->kvm->lock);
	return ret;
}

int vm_get_tsc_khz(struct kvm_file *f, unsigned long arg)
{
	return f->kvm->default_tsc_khz;
}

/* --- capabilities --------------------------------------------------------------------------------- */

int vm_set_boot_cpu_id(struct kvm_file *f, unsigned long arg)
{
	int ret = 0;

	pthread_mutex_lock(&f->kvm->lock);
	if (f->kvm->nr_vcpus)
		ret = -EBUSY;
	else
		f->kvm->bsp_vcpu_id = arg;
	pthread_mutex_unlock(&f->kvm->lock);
	return ret;
}

/* Local APICs here, the rest in the client; @pins of its I/O APICs. */
static int enable_split_irqchip(struct kvm *kvm, uint64_t pins)
{
	int ret;

	if (pins > KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	pthread_mutex_lock(&kvm->lock);
	if (irqchip_in_kernel(&kvm->irqchip))
		ret = -EEXIST;
	else if (kvm->nr_vcpus)
		ret = -EINVAL;
	else
		ret = kvm_irqchip_create_split(&kvm->irqchip, pins);
	pthread_mutex_unlock(&kvm->lock);
	return ret;
}

int vm_enable_cap(struct kvm_file *f, void *data)
{
	const struct kvm_enable_cap *c = data;

	if (c->flags)
		return -EINVAL;
	switch (c->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return kvm_enable_manual_dirty_log_protect(&f->kvm->mem, c->args[0]);
	case KVM_CAP_SPLIT_IRQCHIP:
		return enable_split_irqchip(f->kvm, c->args[0]);
	default:
		return -EINVAL;
	}
}
