/* SPDX-License-Identifier: MIT */
/* Requests on /dev/kvm itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/access.h"
#include "ioctl/ioctl.h"
#include "x86/msr.h"

int kvm_dev_open(int flags)
{
	struct kvm_file *f;
	int ret;

	if (host_access_init())
		return -ENOMEM;
	ret = kvm_file_create(KVM_FILE_SYSTEM, "kvm", 0, flags, &f);
	return ret ? ret : kvm_file_publish(f);
}

int sys_get_api_version(struct kvm_file *f, unsigned long arg)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

int sys_get_vcpu_mmap_size(struct kvm_file *f, unsigned long arg)
{
	return arg ? -EINVAL : (int)(KVM_VCPU_MMAP_PAGES * PAGE_SIZE);
}

/* The argument is the machine type: 0 is the only one. */
int sys_create_vm(struct kvm_file *f, unsigned long arg)
{
	struct kvm_file *file;
	int ret;

	if (arg)
		return -EINVAL;
	ret = kvm_file_create(KVM_FILE_VM, "kvm-vm", 0, O_CLOEXEC, &file);
	if (ret)
		return ret;
	file->kvm = kvm_create_vm();
	if (!file->kvm) {
		kvm_file_abandon(file);
		return -ENOMEM;
	}
	return kvm_file_publish(file);
}

/* A list after its count: E2BIG, with the count wanted, when there is no room. */
static int put_index_list(unsigned long arg, const uint32_t *list, unsigned n)
{
	uint32_t room;

	if (host_read_32(USER_FIELD(kvm_msr_list, arg, nmsrs), &room) ||
	    host_write_32(USER_FIELD(kvm_msr_list, arg, nmsrs), n))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	return host_copy_out(USER_FIELD(kvm_msr_list, arg, indices), list, n * sizeof(*list));
}

int sys_get_msr_index_list(struct kvm_file *f, unsigned long arg)
{
	return put_index_list(arg, kvm_msrs_to_save, kvm_nr_msrs_to_save);
}

/* MSRs that describe the processor: read on /dev/kvm, offered to guests. */
static const struct {
	uint32_t index;
	uint64_t value;
	uint64_t (*fn)(void);		/* NULL: @value */
} feature_msrs[] = {
	{ MSR_AMD64_DE_CFG, BIT(1), NULL },		/* LFENCE serializes */
	{ MSR_IA32_UCODE_REV, 0x100000000ull, NULL },
	{ MSR_IA32_ARCH_CAPABILITIES, 0, hw_arch_capabilities },
};

int sys_get_msr_feature_index_list(struct kvm_file *f, unsigned long arg)
{
	uint32_t list[ARRAY_SIZE(feature_msrs)];

	for (unsigned i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = feature_msrs[i].index;
	return put_index_list(arg, list, ARRAY_SIZE(list));
}

static bool get_feature_msr(struct kvm_msr_entry *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(feature_msrs); i++) {
		if (feature_msrs[i].index == e->index) {
			e->data = feature_msrs[i].fn ? feature_msrs[i].fn() :
						       feature_msrs[i].value;
			return true;
		}
	}
	return false;
}

/* Values of feature MSRs; the result is how many entries were filled. */
int sys_get_msrs(struct kvm_file *f, unsigned long arg)
{
	struct kvm_msr_entry e[ARRAY_SIZE(feature_msrs)];
	uint32_t n, done;

	if (host_read_32(USER_FIELD(kvm_msrs, arg, nmsrs), &n))
		return -EFAULT;
	if (n > ARRAY_SIZE(e))
		return -E2BIG;
	if (host_copy_in(e, USER_FIELD(kvm_msrs, arg, entries), n * sizeof(*e)))
		return -EFAULT;
	for (done = 0; done < n && get_feature_msr(&e[done]); done++)
		;
	if (host_copy_out(USER_FIELD(kvm_msrs, arg, entries), e, n * sizeof(*e)))
		return -EFAULT;
	return done;
}

int sys_get_supported_cpuid(struct kvm_file *f, unsigned long arg)
{
	struct kvm_cpuid_entry2 e[KVM_MAX_CPUID_ENTRIES];
	uint32_t room;
	unsigned n = ARRAY_SIZE(e);
	int ret;

	if (host_read_32(USER_FIELD(kvm_cpuid2, arg, nent), &room))
		return -EFAULT;
	ret = kvm_get_supported_cpuid(kvm_params.vendor, e, &n);
	if (ret)
		return ret;
	if (room < n)
		return -E2BIG;
	if (host_write_32(USER_FIELD(kvm_cpuid2, arg, nent), n))
		return -EFAULT;
	return host_copy_out(USER_FIELD(kvm_cpuid2, arg, entries), e, n * sizeof(*e));
}

/* Nothing is emulated that the processor lacks. */
int sys_get_emulated_cpuid(struct kvm_file *f, unsigned long arg)
{
	return host_write_32(USER_FIELD(kvm_cpuid2, arg, nent), 0);
}

int sys_get_mce_cap_supported(struct kvm_file *f, void *data)
{
	*(uint64_t *)data = KVM_MCE_CAP_SUPPORTED;
	return 0;
}
