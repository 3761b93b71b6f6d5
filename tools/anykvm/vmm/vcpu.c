/* SPDX-License-Identifier: MIT */
/*
 * vCPUs and their threads. A thread stays in KVM_RUN until an exit wants
 * something or somebody wants the thread: whoever does sets immediate_exit and
 * sends the kick signal. The first makes the next KVM_RUN return at once, the
 * second ends one that is under way, so no order of the two is lost.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "vmm.h"

#define KICK_SIGNAL SIGRTMIN

static void kick_handler(int sig)
{
	/* Its delivery is all: KVM_RUN returns EINTR. */
}

static bool create_vcpu(struct vmm *v, unsigned id, struct vmm_error *e)
{
	struct vcpu *c = &v->vcpus[id];
	int size;
	void *p;

	*c = (struct vcpu){ .vmm = v, .id = id };
	c->fd = vmm_ioctl(v, v->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)id);
	if (c->fd < 0)
		return vmm_fail(e, "cannot create vCPU %u: %s", id,
				strerror(-c->fd));
	size = vmm_ioctl(v, v->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (size < (int)sizeof(*c->run))
		return vmm_fail(e, "KVM_GET_VCPU_MMAP_SIZE answers %d", size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return vmm_fail(e, "cannot map vCPU %u: %s", id,
				strerror(errno));
	c->run = p;
	c->run_size = size;
	return cpu_state_setup(c, e);
}

bool vcpus_create(struct vmm *v, struct vmm_error *e)
{
	v->vcpus = calloc(v->cfg->cpus, sizeof(*v->vcpus));
	if (!v->vcpus)
		return vmm_fail(e, "out of memory");
	v->nr_vcpus = v->cfg->cpus;
	for (unsigned i = 0; i < v->nr_vcpus; i++)
		v->vcpus[i].fd = -1;
	for (unsigned i = 0; i < v->nr_vcpus; i++)
		if (!create_vcpu(v, i, e))
			return false;
	return true;
}

static void serve_dump(struct vcpu *c)
{
	if (vmm_ended(c->vmm))
		return;
	c->run->immediate_exit = 0;
	if (__atomic_exchange_n(&c->dump_request, false, __ATOMIC_ACQ_REL))
		vcpu_dump(c);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *c = arg;
	struct vmm *v = c->vmm;

	while (!vmm_ended(v)) {
		int err = vmm_ioctl(v, c->fd, KVM_RUN, NULL);

		if (err == -EINTR || err == -EAGAIN)
			serve_dump(c);
		else if (err < 0)
			vmm_end(v, VMM_HOST_ERROR, c, "KVM_RUN of vCPU %u: %s",
				c->id, strerror(-err));
		else
			vcpu_handle_exit(c);
	}
	return NULL;
}

bool vcpus_start(struct vmm *v, struct vmm_error *e)
{
	struct sigaction sa = { .sa_handler = kick_handler };

	sigaction(KICK_SIGNAL, &sa, NULL);
	for (unsigned i = 0; i < v->nr_vcpus; i++) {
		struct vcpu *c = &v->vcpus[i];
		int err = pthread_create(&c->thread, NULL, vcpu_thread, c);

		if (err)
			return vmm_fail(e, "cannot start vCPU %u: %s", i,
					strerror(err));
		c->started = true;
	}
	return true;
}

static void kick(struct vcpu *c)
{
	WRITE_ONCE(c->run->immediate_exit, 1);
	pthread_kill(c->thread, KICK_SIGNAL);
}

void vcpus_request_dump(struct vmm *v)
{
	for (unsigned i = 0; i < v->nr_vcpus; i++) {
		if (!v->vcpus[i].started)
			continue;
		__atomic_store_n(&v->vcpus[i].dump_request, true,
				 __ATOMIC_RELEASE);
		kick(&v->vcpus[i]);
	}
}

void vcpus_stop(struct vmm *v)
{
	for (unsigned i = 0; i < v->nr_vcpus; i++)
		if (v->vcpus[i].started)
			kick(&v->vcpus[i]);
	for (unsigned i = 0; i < v->nr_vcpus; i++) {
		if (v->vcpus[i].started)
			pthread_join(v->vcpus[i].thread, NULL);
		v->vcpus[i].started = false;
	}
}

void vcpus_destroy(struct vmm *v)
{
	for (unsigned i = 0; i < v->nr_vcpus; i++) {
		struct vcpu *c = &v->vcpus[i];

		if (c->run)
			munmap(c->run, c->run_size);
		if (c->fd >= 0)
			v->api->close(c->fd);
	}
	free(v->vcpus);
	v->vcpus = NULL;
	v->nr_vcpus = 0;
}
