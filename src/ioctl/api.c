/* SPDX-License-Identifier: MIT */
/*
 * The public C API (include/anykvm/anykvm.h) over the dispatch, and what the
 * library does when it is loaded: parameters and tracing from the environment.
 *
 *   ANYKVM_PARAMS="vendor=amd,vpid=0"   module parameters
 *   ANYKVM_TRACE=FILE                   tracepoints
 *   ANYKVM_TRACE_EVENTS=kvm_exit,...    only these
 *   ANYKVM_STATS=FILE                   statistics, written when the process ends
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "anykvm/anykvm.h"
#include "base/log.h"
#include "ioctl/ioctl.h"
#include "obs/trace.h"

static int to_libc(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

int anykvm_open(int flags)
{
	return to_libc(kvm_dev_open(flags));
}

int anykvm_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_file *f = kvm_file_get(fd);

	if (unlikely(!f))
		f = kvm_file_find(fd);
	return to_libc(f ? kvm_dispatch_ioctl(f, request, arg) : -EBADF);
}

int anykvm_close(int fd)
{
	kvm_file_close(fd);
	return close(fd);
}

bool anykvm_is_ours(int fd)
{
	return kvm_file_is_ours(fd);
}

void anykvm_kick(int vcpu_fd)
{
	struct kvm_file *f = kvm_file_get(vcpu_fd);

	if (!f)
		return;
	if (f->kind == KVM_FILE_VCPU) {
		__atomic_store_n(&f->vcpu->kicked, true, __ATOMIC_SEQ_CST);
		kvm_vcpu_kick(f->vcpu);
	}
	kvm_file_put(f);
}

int anykvm_param_set(const char *name, const char *value)
{
	return kvm_param_set(name, value);
}

bool anykvm_param_get(unsigned index, const char **name, const char **desc,
		      char *value, size_t size)
{
	return kvm_param_get(index, name, desc, value, size);
}

int anykvm_trace(const char *path, const char *events)
{
	if (path)
		return trace_start(path, events);
	trace_stop();
	return 0;
}

/* --- statistics ----------------------------------------------------------------------- */

static void print_stats(FILE *out, const char *who, const void *base,
			const struct stat_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fprintf(out, "%s %s %llu\n", who, d[i].name, (unsigned long long)
			*(const uint64_t *)((const char *)base + d[i].offset));
}

static void print_hw_stats(FILE *out, const char *who, const struct hw_stats *s)
{
#define HW_STAT(name, desc) \
	fprintf(out, "%s hw_%s %llu\n", who, #name, (unsigned long long)s->name);
#include "hw/hw_stats.def"
#undef HW_STAT
}

#define MAX_LEFT 32

/* What translated code left to the interpreter most often, by row of the table. */
static void print_left(FILE *out, const char *who, const struct hw_cpu *cpu)
{
	struct hw_left l = { .mnemonic = NULL };
	unsigned k;

	for (k = 0; k < MAX_LEFT && hw_left_next(cpu, &l); k++)
		fprintf(out, "%s hw_%s_%s_%u %llu\n", who, l.slow ? "slow" : "left",
			l.mnemonic, l.row, (unsigned long long)l.count);
}

static void print_vm(struct kvm *kvm, FILE *out)
{
	struct kvm_vcpu *vcpu;
	char who[64];
	unsigned i;

	snprintf(who, sizeof(who), "vm-%d-%llu", getpid(), (unsigned long long)kvm->id);
	kvm->stat.mmu_cache_miss = kvm->mmu.stat.mmu_cache_miss;
	kvm->stat.mmu_shadow_zapped = kvm->mmu.stat.mmu_shadow_zapped;
	print_stats(out, who, &kvm->stat, kvm_vm_stat_desc, kvm_nr_vm_stats);
	kvm_for_each_vcpu(i, vcpu, kvm) {
		snprintf(who, sizeof(who), "vm-%d-%llu/vcpu:%d", getpid(),
			 (unsigned long long)kvm->id, vcpu->vcpu_id);
		print_stats(out, who, &vcpu->stat, kvm_vcpu_stat_desc,
			    kvm_nr_vcpu_stats);
		print_hw_stats(out, who, hw_stats(vcpu->hw));
		print_left(out, who, vcpu->hw);
	}
}

static void print_file(struct kvm_file *f, void *out)
{
	if (f->kind == KVM_FILE_VM && !kvm_file_is_foreign(f))
		print_vm(f->kvm, out);
}

int anykvm_stats(int fd)
{
	int copy = dup(fd);
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");

	if (!out) {
		int err = -errno;

		if (copy >= 0)
			close(copy);
		return err;
	}
	kvm_file_for_each(print_file, out);
	return fclose(out) ? -errno : 0;
}

/* --- the environment ----------------------------------------------------------------------- */

__attribute__((constructor)) static void api_init(void)
{
	const char *params = getenv("ANYKVM_PARAMS"), *trace = getenv("ANYKVM_TRACE");
	const char *engine = getenv("ANYKVM_ENGINE"), *events = getenv("ANYKVM_TRACE_EVENTS");
	char bad[128];
	int err;

	if (params && kvm_params_parse(params, bad, sizeof(bad))) {
		log_error("ANYKVM_PARAMS: bad parameter \"%s\"; \"anykvm params\" lists them", bad);
		_exit(2);
	}
	if (engine && kvm_param_set("engine", engine)) {
		log_error("ANYKVM_ENGINE: no engine \"%s\"; there are interp and jit", engine);
		_exit(2);
	}
	err = trace ? trace_start(trace, events) : 0;
	if (err == -EINVAL && events)
		log_error("ANYKVM_TRACE_EVENTS: no such tracepoint in \"%s\"", events);
	else if (err)
		log_error("ANYKVM_TRACE: %s: %s", trace, strerror(-err));
	if (err)
		_exit(2);
}

__attribute__((destructor)) static void api_fini(void)
{
	const char *path = getenv("ANYKVM_STATS");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;

	if (path && fd < 0)
		log_error("ANYKVM_STATS: %s: %s", path, strerror(errno));
	if (fd < 0)
		return;
	anykvm_stats(fd);
	close(fd);
}
