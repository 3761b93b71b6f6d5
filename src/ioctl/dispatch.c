/* SPDX-License-Identifier: MIT */
/*
 * From a request number to its function, by table; copies of arguments.
 *
 * A request is found by the object's kind and its 8-bit number, then compared whole
 * (direction and size are part of it). Clients' pointers are touched only through
 * access.h, so that a bad one is EFAULT.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>

#include "anykvm/anykvm.h"
#include "base/access.h"
#include "ioctl/ioctl.h"

#define MAX_DATA	4096	/* the largest fixed structure: kvm_xsave */

struct ioctl_desc {
	unsigned request;
	const char *name;
	int (*data)(struct kvm_file *f, void *data);
	int (*arg)(struct kvm_file *f, unsigned long arg);
};

static const struct ioctl_desc descs[] = {
	{ 0 },	/* index 0: none */
#define IOCTL_DATA(kind, request, fn) { request, #request, fn, NULL },
#define IOCTL_ARG(kind, request, fn) { request, #request, NULL, fn },
#include "ioctl/ioctl.def"
#undef IOCTL_DATA
#undef IOCTL_ARG
};

static const uint8_t kinds[] = {
	0,
#define IOCTL_DATA(kind, request, fn) KVM_FILE_##kind,
#define IOCTL_ARG(kind, request, fn) KVM_FILE_##kind,
#include "ioctl/ioctl.def"
#undef IOCTL_DATA
#undef IOCTL_ARG
};

/* By kind and number: first descriptor; next[] chains those that share both. */
static uint8_t first[KVM_NR_FILE_KINDS][256], next[ARRAY_SIZE(descs)];

__attribute__((constructor)) static void index_ioctls(void)
{
	_Static_assert(ARRAY_SIZE(descs) < 256, "indexes are bytes");
	for (unsigned i = ARRAY_SIZE(descs) - 1; i; i--) {
		uint8_t *head = &first[kinds[i]][_IOC_NR(descs[i].request)];

		next[i] = *head;
		*head = i;
	}
}

static const struct ioctl_desc *find(enum kvm_file_kind kind, unsigned request)
{
	for (unsigned i = first[kind][_IOC_NR(request)]; i; i = next[i])
		if (descs[i].request == request)
			return &descs[i];
	return NULL;
}

static int call_with_data(const struct ioctl_desc *d, struct kvm_file *f, void *arg)
{
	uint8_t data[MAX_DATA] __attribute__((aligned(64)));
	unsigned size = _IOC_SIZE(d->request), dir = _IOC_DIR(d->request);
	int ret;

	if (size > sizeof(data))
		return -EINVAL;
	if (dir & _IOC_WRITE) {
		if (host_copy_in(data, arg, size))
			return -EFAULT;
	} else {
		memset(data, 0, size);
	}
	ret = d->data(f, data);
	if (ret >= 0 && (dir & _IOC_READ) && host_copy_out(arg, data, size))
		return -EFAULT;
	return ret;
}

static int call(const struct ioctl_desc *d, struct kvm_file *f, void *arg)
{
	return d->arg ? d->arg(f, (uintptr_t)arg) : call_with_data(d, f, arg);
}

static int call_vcpu(const struct ioctl_desc *d, struct kvm_file *f, void *arg)
{
	struct kvm_vcpu *vcpu = f->vcpu;
	int ret;

	pthread_mutex_lock(&vcpu->mutex);
	ret = call(d, f, arg);
	pthread_mutex_unlock(&vcpu->mutex);
	return ret;
}

static int dispatch(const struct ioctl_desc *d, struct kvm_file *f, void *arg)
{
	if (f->kvm && kvm_file_is_foreign(f))
		return -EIO;
	if (!d)
		return -ENOTTY;
	return f->kind == KVM_FILE_VCPU ? call_vcpu(d, f, arg) : call(d, f, arg);
}

int kvm_dispatch_ioctl(struct kvm_file *f, unsigned long request, void *arg)
{
	const struct ioctl_desc *d = find(f->kind, request);
	int ret = dispatch(d, f, arg);

	kvm_file_put(f);
	if (d && d->request == KVM_RUN)
		kvm_run_end();
	return ret;
}

/* --- capabilities ----------------------------------------------------------------- */

/* What one machine can run at a time: its processors. */
static int cap_nr_vcpus(void)
{
	return MIN(get_nprocs_conf(), kvm_params.max_vcpus);
}

int kvm_capability(const struct kvm *kvm, unsigned long cap)
{
	static const struct { unsigned long cap; } listed[] = {
#define CAP(cap, value) { cap },
#include "ioctl/caps.def"
#undef CAP
	};

	for (unsigned i = 0; i < ARRAY_SIZE(listed); i++) {
		if (listed[i].cap != cap)
			continue;
		const int values[] = {
#define CAP(cap, value) value,
#include "ioctl/caps.def"
#undef CAP
		};
		return values[i];
	}
	return 0;
}

int check_extension(struct kvm_file *f, unsigned long arg)
{
	return kvm_capability(f->kvm, arg);
}
