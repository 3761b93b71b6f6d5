// SPDX-License-Identifier: MIT
/*
 * Sequences of requests with arbitrary arguments on a system, a VM and vCPU
 * descriptors: the rows of ioctl.def, and request numbers that are not there. What
 * must hold: each answers >= 0 or -1 with an errno; KVM_RUN ends; when all is
 * closed no descriptor and no memory is left behind.
 *
 * Arguments are integers, structures in an arena that ends where nothing is mapped
 * (so that some straddle the end), and addresses at which there is nothing. What a
 * client must vouch for is bounded: memory slots and dirty bitmaps lie in the arena
 * or in a reservation without rights behind it, descriptors are those of this
 * harness. Everything else in a structure is the input's.
 *
 * Input: a byte that chooses vendor and set-up; then per request the descriptor, the
 * row, how the argument is made, and its content.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "anykvm/anykvm.h"
#include "input.h"
#include "kicker.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096ul
#define ARENA		(256 * PAGE)
#define ARGS		(4 * PAGE)	/* its last part: arguments */
#define RESERVED	(16ul << 40)	/* behind it, without rights */
#define MAX_REQUESTS	64
#define MAX_VCPUS	4
#define SERVICE_FDS	4		/* of the library's threads, for good */
#define BAD_POINTER	((void *)0x7f0000000000dead)

enum { SYSTEM, VM, VCPU, NR_KINDS };

struct row {
	uint8_t kind;
	bool is_data;
	unsigned long request;
	const char *name;
};

static const struct row rows[] = {
#define IOCTL_DATA(kind, request, fn) { kind, true, request, #request },
#define IOCTL_ARG(kind, request, fn) { kind, false, request, #request },
#include "ioctl/ioctl.def"
#undef IOCTL_DATA
#undef IOCTL_ARG
};

static uint8_t *arena, *args;
static int sys_fd, event_fds[3], other_fd, free_fd;

struct client {
	struct fuzz_input in;
	int vm, vcpu[MAX_VCPUS];
	unsigned nr_vcpus;
};

static int lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	FUZZ_CHECK(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	arena = mmap(NULL, ARENA + RESERVED, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FUZZ_CHECK(arena != MAP_FAILED);
	FUZZ_CHECK(!mprotect(arena, ARENA, PROT_READ | PROT_WRITE));
	args = arena + ARENA - ARGS;
	for (unsigned i = 0; i < ARRAY_SIZE(event_fds); i++)
		event_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	other_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	sys_fd = anykvm_open(O_RDWR | O_CLOEXEC);
	FUZZ_CHECK(sys_fd >= 0 && other_fd >= 0);
	free_fd = lowest_free_fd();
	return 0;
}

/* --- arguments -------------------------------------------------------------------- */

/* A small number, or the host's own bounds of one. */
static uint64_t number(struct fuzz_input *in)
{
	static const uint64_t odd[] = { 0, 1, ~0ull, 0xffffffff, 0x80000000,
		0x7fffffff, 0x8000000000000000, 0x100000, 0xfee00000, 0xfec00000 };
	uint8_t how = fuzz_u8(in);

	return how < 128 ? how : how < 192 ? odd[how % ARRAY_SIZE(odd)] :
	       fuzz_u64(in);
}

/* Where nothing but the arena, or nothing at all, can be written. */
static uint64_t user_address(struct fuzz_input *in, uint64_t size)
{
	uint64_t at = (uintptr_t)arena;

	switch (fuzz_below(in, 4)) {
	case 0:
		return 0;
	case 1:
		return (uintptr_t)BAD_POINTER;
	case 2:
		at += fuzz_u16(in);	/* not aligned, as a rule */
		break;
	default:
		at += fuzz_below(in, 256) * PAGE;
		break;
	}
	return size > RESERVED ? (uintptr_t)BAD_POINTER : at;
}

static int some_fd(struct fuzz_input *in)
{
	unsigned how = fuzz_below(in, 8);

	return how < 3 ? event_fds[how] : how == 3 ? other_fd : how == 4 ? -1 :
	       how == 5 ? sys_fd : how == 6 ? 1 << 20 : event_fds[0];
}

static void fix_region(struct fuzz_input *in, struct kvm_userspace_memory_region *r)
{
	uint8_t how = fuzz_u8(in);

	if (how & 1)
		r->slot &= 0x1000f;
	if (how & 2)
		r->flags &= 3;
	if (how & 4)
		r->memory_size = (r->memory_size & 0xff) * PAGE;
	if (how & 8)
		r->guest_phys_addr = (r->guest_phys_addr & 0xff) * PAGE;
	r->userspace_addr = user_address(in, r->memory_size);
}

static void fix_dirty_log(struct fuzz_input *in, struct kvm_dirty_log *l)
{
	l->slot &= 0x1000f;
	l->dirty_bitmap = (void *)user_address(in, 0);
}

static void fix_clear_log(struct fuzz_input *in, struct kvm_clear_dirty_log *l)
{
	l->slot &= 0x1000f;
	l->dirty_bitmap = (void *)user_address(in, 0);
}

/* Fields that name something of the client's. */
static void fix(struct fuzz_input *in, unsigned long request, void *data)
{
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
		fix_region(in, data);
		break;
	case KVM_GET_DIRTY_LOG:
		fix_dirty_log(in, data);
		break;
	case KVM_CLEAR_DIRTY_LOG:
		fix_clear_log(in, data);
		break;
	case KVM_IRQFD:
		((struct kvm_irqfd *)data)->fd = some_fd(in);
		((struct kvm_irqfd *)data)->resamplefd = some_fd(in);
		((struct kvm_irqfd *)data)->gsi &= 0x3f;
		((struct kvm_irqfd *)data)->flags &= 7;
		break;
	case KVM_IOEVENTFD:
		((struct kvm_ioeventfd *)data)->fd = some_fd(in);
		((struct kvm_ioeventfd *)data)->flags &= 0x1f;
		((struct kvm_ioeventfd *)data)->len &= 0xf;
		break;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
	case KVM_SET_CPUID2:
	case KVM_GET_CPUID2:
	case KVM_GET_SUPPORTED_CPUID:
	case KVM_GET_MSR_INDEX_LIST:
	case KVM_SET_GSI_ROUTING:
	case KVM_SET_SIGNAL_MASK:	/* a count or length comes first */
		if (fuzz_u8(in) & 7)
			*(uint32_t *)data &= 0x3f;
		break;
	}
}

static void fill(struct fuzz_input *in, uint8_t *p, size_t n)
{
	uint8_t how = fuzz_u8(in);

	memset(p, how & 1 ? 0 : how & 2 ? 0xff : 0, n);
	for (unsigned i = how >> 2; i && n; i--) {
		size_t at = fuzz_u16(in) % n;

		p[at] = fuzz_u8(in);
	}
}

/* What the vCPU or VM says of itself, with a few bytes changed. */
static bool read_back(struct client *c, int fd, unsigned long request, void *data)
{
	static const struct { unsigned long set, get; } pairs[] = {
		{ KVM_SET_REGS, KVM_GET_REGS }, { KVM_SET_SREGS, KVM_GET_SREGS },
		{ KVM_SET_FPU, KVM_GET_FPU }, { KVM_SET_XSAVE, KVM_GET_XSAVE },
		{ KVM_SET_XCRS, KVM_GET_XCRS },
		{ KVM_SET_DEBUGREGS, KVM_GET_DEBUGREGS },
		{ KVM_SET_LAPIC, KVM_GET_LAPIC },
		{ KVM_SET_MP_STATE, KVM_GET_MP_STATE },
		{ KVM_SET_VCPU_EVENTS, KVM_GET_VCPU_EVENTS },
		{ KVM_SET_IRQCHIP, KVM_GET_IRQCHIP }, { KVM_SET_PIT2, KVM_GET_PIT2 },
		{ KVM_SET_CLOCK, KVM_GET_CLOCK },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (pairs[i].set != request ||
		    anykvm_ioctl(fd, pairs[i].get, data))
			continue;
		for (unsigned n = fuzz_below(&c->in, 4); n; n--) {
			size_t at = fuzz_u16(&c->in) % _IOC_SIZE(request);

			((uint8_t *)data)[at] = fuzz_u8(&c->in);
		}
		return true;
	}
	return false;
}

static void *make_argument(struct client *c, int fd, const struct row *r)
{
	struct fuzz_input *in = &c->in;
	size_t n = r->is_data ? _IOC_SIZE(r->request) : 0x400;
	uint8_t how = fuzz_u8(in);
	void *p = how & 0x40 ? args + ARGS - n : args;

	/* Also integers that happen to be arguments of no length. */
	if (!_IOC_SIZE(r->request) || how < 8)
		return how < 4 ? NULL : (void *)(number(in) & 0x8000ffffffffffff &
			(_IOC_SIZE(r->request) ? 0xffful : ~0xfff00000000ul));
	if (how < 16)
		return BAD_POINTER;
	if (how & 0x80 && read_back(c, fd, r->request, p))
		return p;
	fill(in, p, n);
	fix(in, r->request, p);
	return how < 24 ? args + ARGS - n / 2 : p;
}

/* --- requests ------------------------------------------------------------------------ */

static void kick(void *fd)
{
	anykvm_kick(*(int *)fd);
}

static int request(int fd, unsigned long nr, void *arg)
{
	int ret;

	errno = 0;
	ret = anykvm_ioctl(fd, nr, arg);
	FUZZ_CHECK(ret >= 0 || (ret == -1 && errno > 0 && errno < 134));
	return ret;
}

static void create_vcpu(struct client *c, unsigned long id)
{
	int fd = request(c->vm, KVM_CREATE_VCPU, (void *)id);

	if (fd < 0)
		return;
	if (c->nr_vcpus == MAX_VCPUS)
		anykvm_close(fd);
	else
		c->vcpu[c->nr_vcpus++] = fd;
}

static void run(struct client *c, int fd)
{
	kicker_start(kick, &fd);
	request(fd, KVM_RUN, NULL);
	kicker_stop();
}

static int fd_of_kind(struct client *c, unsigned kind)
{
	if (kind == SYSTEM)
		return sys_fd;
	if (kind == VM || !c->nr_vcpus)
		return c->vm;
	return c->vcpu[fuzz_below(&c->in, c->nr_vcpus)];
}

static bool is_a_row(unsigned long nr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].request == nr)
			return true;
	return false;
}

static void unknown_request(struct client *c, int fd)
{
	unsigned long nr = KVMIO << 8 | fuzz_u8(&c->in) |
			   (unsigned long)fuzz_u16(&c->in) << 16;

	if (!is_a_row(nr))
		FUZZ_CHECK(request(fd, nr, args) == -1);
}

static void signal_eventfd(struct client *c)
{
	uint64_t one = 1;

	if (write(event_fds[fuzz_below(&c->in, 3)], &one, 8) < 0)
		FUZZ_CHECK(errno == EAGAIN);
}

static void one_request(struct client *c)
{
	const struct row *r = &rows[fuzz_below(&c->in, ARRAY_SIZE(rows))];
	uint8_t how = fuzz_u8(&c->in);
	/* Now and then on the wrong kind of descriptor. */
	unsigned kind = how < 8 ? how % NR_KINDS : r->kind;
	int fd = fd_of_kind(c, kind);

	if (r->request == KVM_CREATE_VM)
		return;		/* each input has its own */
	if (r->request == KVM_CREATE_VCPU && fd == c->vm)
		create_vcpu(c, how & 0x80 ? number(&c->in) & 0xffffffffffff : how & 3);
	else if (r->request == KVM_RUN)
		run(c, fd);
	else if (how >= 8 && how < 12)
		unknown_request(c, fd);
	else if (how == 12)
		signal_eventfd(c);
	else
		request(fd, r->request, make_argument(c, fd, r));
}

static void set_up(struct client *c)
{
	uint8_t how = fuzz_u8(&c->in);
	struct kvm_userspace_memory_region r = {
		.memory_size = ARENA, .userspace_addr = (uintptr_t)arena,
		.flags = how & 32 ? KVM_MEM_LOG_DIRTY_PAGES : 0 };

	FUZZ_CHECK(!anykvm_param_set("vendor", how & 1 ? "amd" : "intel"));
	memset(arena, how & 2 ? 0xf4 : 0xe4, 0x1000);
	c->vm = request(sys_fd, KVM_CREATE_VM, 0);
	FUZZ_CHECK(c->vm >= 0);
	if (how & 4)
		FUZZ_CHECK(!request(c->vm, KVM_CREATE_IRQCHIP, 0));
	if (how & 8)
		FUZZ_CHECK(!request(c->vm, KVM_SET_USER_MEMORY_REGION, &r));
	if (how & 16)
		create_vcpu(c, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client c = { .vm = -1 };
	uint64_t drop;

	fuzz_begin(&c.in, data, size);
	set_up(&c);
	for (unsigned i = 0; i < MAX_REQUESTS && !fuzz_is_empty(&c.in); i++)
		one_request(&c);
	if (fuzz_u8(&c.in) & 1) {	/* the VM first, or the vCPUs */
		anykvm_close(c.vm);
		c.vm = -1;
	}
	while (c.nr_vcpus)
		anykvm_close(c.vcpu[--c.nr_vcpus]);
	if (c.vm >= 0)
		anykvm_close(c.vm);
	for (unsigned i = 0; i < ARRAY_SIZE(event_fds); i++)
		if (read(event_fds[i], &drop, 8) < 0)
			continue;
	FUZZ_CHECK(lowest_free_fd() <= free_fd + SERVICE_FDS);
	return 0;
}
