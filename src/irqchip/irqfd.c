/* SPDX-License-Identifier: MIT */
/*
 * irqfd: eventfds that raise interrupts.
 *
 * One thread for the process sleeps in epoll_wait() on every VM's eventfds. An
 * event names a slot and a serial number, never a pointer: the thread takes
 * irqfd_lock and looks the slot up, so an event of an irqfd that went away in
 * between finds nothing. Holding the lock while it injects is what makes
 * "after a deassign no injection follows" true.
 *
 * Events are edge-triggered. Were they level-triggered, a client that closes
 * our duplicate by mistake would leave the thread spinning on a descriptor
 * that can be neither read nor removed.
 *
 * Resampling: level-triggered sharing of one GSI. The irqfds of a GSI share a
 * resampler; each event asserts the GSI for the source
 * KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID, the guest's EOI deasserts it and signals
 * every resamplefd, whose owner then asserts again if it still needs to.
 *
 * After fork() the child has no thread and none of the parent's irqfds: it
 * must not touch the epoll instance, which it shares with the parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/thread.h"
#include "irqchip/eventfd.h"
#include "irqchip/irqchip.h"

struct resampler {
	struct kvm_irqchips *ic;
	struct list_head link;		/* ic->irqfds.resamplers */
	struct list_head irqfds;	/* under ic->ack_lock */
	struct kvm_irq_ack_notifier notifier;
};

struct kvm_kernel_irqfd {
	struct kvm_irqchips *ic;
	struct list_head link;		/* ic->irqfds.items */
	struct list_head resampler_link;
	struct resampler *resampler;	/* NULL: edge */
	uint64_t id;
	unsigned gsi;
	int ctx, resample_ctx;
};

static pthread_mutex_t irqfd_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	struct kvm_kernel_irqfd **slot;
	unsigned nr_slots;
	uint32_t serial;
	int epfd;
	bool started, prepared;
} svc = { .epfd = -1 };

/* ---- slots ---- */

static uint64_t make_id(unsigned slot)
{
	return (uint64_t)++svc.serial << 32 | slot;
}

static struct kvm_kernel_irqfd *find_id(uint64_t id)
{
	unsigned slot = (uint32_t)id;

	if (slot < svc.nr_slots && svc.slot[slot] && svc.slot[slot]->id == id)
		return svc.slot[slot];
	return NULL;
}

static int take_slot(struct kvm_kernel_irqfd *irqfd)
{
	unsigned i = 0, nr = MAX(16u, svc.nr_slots * 2);
	struct kvm_kernel_irqfd **slot;

	while (i < svc.nr_slots && svc.slot[i])
		i++;
	if (i == svc.nr_slots) {
		slot = realloc(svc.slot, nr * sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		for (unsigned j = i; j < nr; j++)
			slot[j] = NULL;
		svc.slot = slot;
		svc.nr_slots = nr;
	}
	svc.slot[i] = irqfd;
	irqfd->id = make_id(i);
	return 0;
}

/* ---- the thread ---- */

static void inject(struct kvm_kernel_irqfd *irqfd)
{
	struct kvm_irqchips *ic = irqfd->ic;

	if (irqfd->resampler) {
		kvm_set_irq(ic, KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID, irqfd->gsi,
			    true);
		return;
	}
	kvm_set_irq(ic, KVM_USERSPACE_IRQ_SOURCE_ID, irqfd->gsi, true);
	kvm_set_irq(ic, KVM_USERSPACE_IRQ_SOURCE_ID, irqfd->gsi, false);
}

static void *irqfd_thread(void *arg)
{
	struct epoll_event ev[64];
	struct kvm_kernel_irqfd *irqfd;
	int n, epfd = (int)(intptr_t)arg;

	prctl(PR_SET_NAME, "anykvm-irqfd");
	for (;;) {
		n = epoll_wait(epfd, ev, ARRAY_SIZE(ev), -1);
		if (n < 0 && errno != EINTR)
			return NULL;	/* the client closed our descriptor */
		pthread_mutex_lock(&irqfd_lock);
		for (int i = 0; i < n; i++) {
			irqfd = find_id(ev[i].data.u64);
			if (irqfd && eventfd_ctx_drain(irqfd->ctx))
				inject(irqfd);
		}
		pthread_mutex_unlock(&irqfd_lock);
	}
}

static void fork_prepare(void)
{
	pthread_mutex_lock(&irqfd_lock);
}

static void fork_parent(void)
{
	pthread_mutex_unlock(&irqfd_lock);
}

static void fork_child(void)
{
	pthread_mutex_init(&irqfd_lock, NULL);
	for (unsigned i = 0; i < svc.nr_slots; i++)
		svc.slot[i] = NULL;
	own_fd_close(svc.epfd);
	svc.epfd = -1;
	svc.started = false;
}

static int start_thread(void)
{
	int r;

	if (svc.started)
		return 0;
	if (!svc.prepared) {
		r = pthread_atfork(fork_prepare, fork_parent, fork_child);
		if (r)
			return -r;
		svc.prepared = true;
	}
	if (svc.epfd < 0)
		svc.epfd = own_fd_take(epoll_create1(EPOLL_CLOEXEC));
	if (svc.epfd < 0)
		return svc.epfd;
	r = service_thread(irqfd_thread, (void *)(intptr_t)svc.epfd);
	if (r)
		return r;
	svc.started = true;
	return 0;
}

/* ---- resampling ---- */

/* The guest's EOI. Called with ack_lock held shared. */
static void resampler_ack(struct kvm_irq_ack_notifier *n)
{
	struct resampler *r = container_of(n, struct resampler, notifier);
	struct kvm_kernel_irqfd *irqfd;

	kvm_set_irq(r->ic, KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID, n->gsi, false);
	list_for_each_entry(irqfd, &r->irqfds, resampler_link)
		eventfd_ctx_signal(irqfd->resample_ctx);
}

static struct resampler *get_resampler(struct kvm_irqchips *ic, unsigned gsi)
{
	struct resampler *r;

	list_for_each_entry(r, &ic->irqfds.resamplers, link)
		if (r->notifier.gsi == gsi)
			return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->ic = ic;
	r->notifier.gsi = gsi;
	r->notifier.irq_acked = resampler_ack;
	list_init(&r->irqfds);
	list_add(&r->link, &ic->irqfds.resamplers);
	kvm_register_irq_ack_notifier(ic, &r->notifier);
	return r;
}

static int join_resampler(struct kvm_kernel_irqfd *irqfd, int ctx)
{
	struct kvm_irqchips *ic = irqfd->ic;

	irqfd->resampler = get_resampler(ic, irqfd->gsi);
	if (!irqfd->resampler)
		return -ENOMEM;
	irqfd->resample_ctx = ctx;
	pthread_rwlock_wrlock(&ic->ack_lock);
	list_add(&irqfd->resampler_link, &irqfd->resampler->irqfds);
	pthread_rwlock_unlock(&ic->ack_lock);
	return 0;
}

static void leave_resampler(struct kvm_kernel_irqfd *irqfd)
{
	struct kvm_irqchips *ic = irqfd->ic;
	struct resampler *r = irqfd->resampler;

	if (!r)
		return;
	pthread_rwlock_wrlock(&ic->ack_lock);
	list_del(&irqfd->resampler_link);
	pthread_rwlock_unlock(&ic->ack_lock);
	if (!list_is_empty(&r->irqfds))
		return;
	kvm_unregister_irq_ack_notifier(ic, &r->notifier);
	kvm_set_irq(ic, KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID, irqfd->gsi, false);
	list_del(&r->link);
	free(r);
}

/* ---- assign, deassign ---- */

/* With irqfd_lock held. An irqfd inherited over fork() has no slot here. */
static void shut_down(struct kvm_kernel_irqfd *irqfd)
{
	if (find_id(irqfd->id) == irqfd) {
		epoll_ctl(svc.epfd, EPOLL_CTL_DEL, irqfd->ctx, NULL);
		svc.slot[(uint32_t)irqfd->id] = NULL;
	}
	leave_resampler(irqfd);
	list_del(&irqfd->link);
	eventfd_ctx_put(irqfd->ctx);
	eventfd_ctx_put(irqfd->resample_ctx);
	free(irqfd);
}

static bool is_assigned(struct kvm_irqchips *ic, int ctx)
{
	struct kvm_kernel_irqfd *irqfd;

	list_for_each_entry(irqfd, &ic->irqfds.items, link)
		if (eventfd_ctx_same(irqfd->ctx, ctx))
			return true;
	return false;
}

/* With irqfd_lock held: makes @irqfd live. */
static int activate(struct kvm_kernel_irqfd *irqfd, int resample_ctx)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int r;

	if (is_assigned(irqfd->ic, irqfd->ctx))
		return -EBUSY;
	r = start_thread();
	if (r)
		return r;
	r = take_slot(irqfd);
	if (r)
		return r;
	if (resample_ctx >= 0) {
		r = join_resampler(irqfd, resample_ctx);
		if (r)
			goto err_slot;
	}
	/* A count that is there already is an event at once. */
	ev.data.u64 = irqfd->id;
	if (!epoll_ctl(svc.epfd, EPOLL_CTL_ADD, irqfd->ctx, &ev)) {
		list_add(&irqfd->link, &irqfd->ic->irqfds.items);
		return 0;
	}
	r = -errno;
	leave_resampler(irqfd);
err_slot:
	svc.slot[(uint32_t)irqfd->id] = NULL;
	return r;
}

static int assign(struct kvm_irqchips *ic, const struct kvm_irqfd *args)
{
	struct kvm_kernel_irqfd *irqfd;
	int r, resample_ctx = -1;

	irqfd = calloc(1, sizeof(*irqfd));
	if (!irqfd)
		return -ENOMEM;
	irqfd->ic = ic;
	irqfd->gsi = args->gsi;
	irqfd->resample_ctx = -1;
	r = irqfd->ctx = eventfd_ctx_get(args->fd);
	if (r < 0)
		goto err_free;
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE) {
		r = resample_ctx = eventfd_ctx_get(args->resamplefd);
		if (r < 0)
			goto err_ctx;
	}
	pthread_mutex_lock(&irqfd_lock);
	r = activate(irqfd, resample_ctx);
	pthread_mutex_unlock(&irqfd_lock);
	if (!r)
		return 0;
	eventfd_ctx_put(resample_ctx);
err_ctx:
	eventfd_ctx_put(irqfd->ctx);
err_free:
	free(irqfd);
	return r;
}

static int deassign(struct kvm_irqchips *ic, const struct kvm_irqfd *args)
{
	struct kvm_kernel_irqfd *irqfd, *tmp;
	int ctx = eventfd_ctx_get(args->fd);

	if (ctx < 0)
		return ctx;
	pthread_mutex_lock(&irqfd_lock);
	list_for_each_entry_safe(irqfd, tmp, &ic->irqfds.items, link)
		if (irqfd->gsi == args->gsi && eventfd_ctx_same(irqfd->ctx, ctx))
			shut_down(irqfd);
	pthread_mutex_unlock(&irqfd_lock);
	eventfd_ctx_put(ctx);
	return 0;
}

void kvm_irqfd_init(struct kvm_irqchips *ic)
{
	list_init(&ic->irqfds.items);
	list_init(&ic->irqfds.resamplers);
}

void kvm_irqfd_release(struct kvm_irqchips *ic)
{
	struct kvm_kernel_irqfd *irqfd, *tmp;

	pthread_mutex_lock(&irqfd_lock);
	list_for_each_entry_safe(irqfd, tmp, &ic->irqfds.items, link)
		shut_down(irqfd);
	pthread_mutex_unlock(&irqfd_lock);
}

int kvm_irqfd(struct kvm_irqchips *ic, const struct kvm_irqfd *args)
{
	bool resample = args->flags & KVM_IRQFD_FLAG_RESAMPLE;

	if (args->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return deassign(ic, args);
	if (resample ? !irqchip_kernel(ic) : !irqchip_in_kernel(ic))
		return -EINVAL;
	return assign(ic, args);
}
