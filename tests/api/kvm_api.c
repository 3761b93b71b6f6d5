/* SPDX-License-Identifier: MIT */
/*
 * The fixture of the API tests: assertions with errno, a VM with little in it,
 * resources that end with the test, a second thread in KVM_RUN.
 *
 * Nothing here reaches into the library: all of it goes through the front under
 * test, as a client would.
 */
#include "kvm_api.h"

#include <signal.h>
#include <time.h>

/* --- what ends with a test ------------------------------------------------------- */

static int fds[2048];
static unsigned nr_fds;
static struct { void *p; size_t size; } maps[2048];
static unsigned nr_maps;

int test_fd(int fd)
{
	assert_in_range(nr_fds, 0, ARRAY_SIZE(fds) - 1);
	if (fd >= 0)
		fds[nr_fds++] = fd;
	return fd;
}

void test_forget_fd(int fd)
{
	for (unsigned i = 0; i < nr_fds; i++) {
		if (fds[i] == fd) {
			fds[i] = fds[--nr_fds];
			return;
		}
	}
}

static void *note_map(void *p, size_t size)
{
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_in_range(nr_maps, 0, ARRAY_SIZE(maps) - 1);
	maps[nr_maps].p = p;
	maps[nr_maps++].size = size;
	return p;
}

void *test_map(size_t size)
{
	return note_map(mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0), size);
}

void *bad_pointer(void)
{
	void *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	munmap(p, PAGE);
	return p;
}

void api_run_test(void **state)
{
	void (*test)(void **state) = (void (*)(void **))*state;
	int fd;

	fd = test_fd(ok(kvm_dev_open()));
	assert_int_equal(kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_ANYKVM),
			 ANYKVM_VERSION_NUMBER);
	test(state);
}

int api_setup(void **state)
{
	nr_fds = nr_maps = 0;
	return 0;
}

int api_teardown(void **state)
{
	while (nr_fds)
		kvm_close(fds[--nr_fds]);
	while (nr_maps--)
		munmap(maps[nr_maps].p, maps[nr_maps].size);
	nr_maps = 0;
	return 0;
}

/* --- assertions -------------------------------------------------------------------- */

void check_ok_(int ret, const char *what, const char *file, int line)
{
	if (ret >= 0)
		return;
	print_error("%s: %s\n", what, strerror(errno));
	_fail(file, line);
}

void check_errno_(int ret, int want, const char *what, const char *file, int line)
{
	if (ret == -1 && errno == want)
		return;
	print_error("%s: returned %d (%s), expected %s\n", what, ret,
		    ret < 0 ? strerrorname_np(errno) : "success",
		    strerrorname_np(want));
	_fail(file, line);
}

/* --- a VM -------------------------------------------------------------------------- */

bool vendor_is_amd(void)
{
	const char *p = getenv("ANYKVM_PARAMS");

	return p && strstr(p, "vendor=amd");
}

int set_region(int vm, unsigned slot, uint64_t gpa, uint64_t size, void *host,
	       uint32_t flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = size, .userspace_addr = (uintptr_t)host,
	};

	return kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

void vm_set_region(struct vm *v, unsigned slot, uint64_t gpa, uint64_t size,
		   void *host, uint32_t flags)
{
	ok(set_region(v->fd, slot, gpa, size, host, flags));
}

static void flat_real_mode(int vcpu)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE, .rsp = STACK, .rflags = 2 };

	ok(kvm_ioctl(vcpu, KVM_GET_SREGS, &s));
	s.cs.base = 0;
	s.cs.selector = 0;
	ok(kvm_ioctl(vcpu, KVM_SET_SREGS, &s));
	ok(kvm_ioctl(vcpu, KVM_SET_REGS, &r));
}

void vm_add_vcpu(struct vm *v, unsigned i, unsigned id)
{
	static struct cpuid_buf c;
	int size = ok(kvm_ioctl(v->sys, KVM_GET_VCPU_MMAP_SIZE, 0));

	v->vcpu[i] = test_fd(ok(kvm_ioctl(v->fd, KVM_CREATE_VCPU, id)));
	v->run[i] = note_map(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
				  v->vcpu[i], 0), size);
	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(v->sys, KVM_GET_SUPPORTED_CPUID, &c));
	ok(kvm_ioctl(v->vcpu[i], KVM_SET_CPUID2, &c));
	flat_real_mode(v->vcpu[i]);
}

void vm_new(struct vm *v, unsigned flags)
{
	memset(v, 0, sizeof(*v));
	v->sys = test_fd(ok(kvm_dev_open()));
	v->fd = test_fd(ok(kvm_ioctl(v->sys, KVM_CREATE_VM, 0)));
	if (flags & VM_IRQCHIP)
		ok(kvm_ioctl(v->fd, KVM_CREATE_IRQCHIP, 0));
	if (flags & VM_PIT) {
		struct kvm_pit_config c = { .flags = KVM_PIT_SPEAKER_DUMMY };

		ok(kvm_ioctl(v->fd, KVM_CREATE_PIT2, &c));
	}
	if (!(flags & VM_NO_MEMORY)) {
		v->ram = test_map(RAM_SIZE);
		vm_set_region(v, 0, 0, RAM_SIZE, v->ram, 0);
	}
	if (!(flags & VM_NO_VCPU))
		vm_add_vcpu(v, 0, 0);
}

void vm_load(struct vm *v, const uint8_t *code, const uint8_t *end)
{
	memcpy(v->ram + CODE, code, end - code);
	vm_set_rip(v, CODE);
}

void vm_get_regs(struct vm *v, struct kvm_regs *r)
{
	ok(kvm_ioctl(v->vcpu[0], KVM_GET_REGS, r));
}

void vm_set_rip(struct vm *v, uint64_t rip)
{
	struct kvm_regs r;

	vm_get_regs(v, &r);
	r.rip = rip;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_REGS, &r));
}

void check_run_(struct vm *v, unsigned reason, const char *file, int line)
{
	int ret = kvm_ioctl(v->vcpu[0], KVM_RUN, 0);

	if (!ret && v->run[0]->exit_reason == reason)
		return;
	if (ret)
		print_error("KVM_RUN: %s\n", strerror(errno));
	else
		print_error("KVM_RUN: exit %u, expected %u\n",
			    v->run[0]->exit_reason, reason);
	if (!ret && v->run[0]->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		print_error("suberror %u\n", v->run[0]->internal.suberror);
	_fail(file, line);
}

static void identity_tables(struct vm *v)
{
	uint64_t *pml4 = (uint64_t *)(v->ram + 0x100000), *pdpt = pml4 + 512;
	uint64_t *pd = pdpt + 512;

	pml4[0] = 0x101000 | 7;
	pdpt[0] = 0x102000 | 7;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x87;
}

void vm_long_mode(struct vm *v)
{
	struct kvm_sregs s;
	const struct kvm_segment data = {
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1 };

	identity_tables(v);
	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.cs = (struct kvm_segment){ .limit = ~0u, .selector = 8, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1 };
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr3 = 0x100000;
	s.cr4 = 0x220;			/* PAE, OSFXSR */
	s.cr0 = 0x80000033;		/* PG, NE, ET, MP, PE */
	s.efer = 0x500;			/* LME, LMA */
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

int set_msr(int vcpu, uint32_t msr, uint64_t val)
{
	struct msr_buf m = { .h.nmsrs = 1, .e[0] = { .index = msr, .data = val } };

	return kvm_ioctl(vcpu, KVM_SET_MSRS, &m);
}

int get_msr(int vcpu, uint32_t msr, uint64_t *val)
{
	struct msr_buf m = { .h.nmsrs = 1, .e[0] = { .index = msr } };
	int ret = kvm_ioctl(vcpu, KVM_GET_MSRS, &m);

	*val = m.e[0].data;
	return ret;
}

/* --- another thread in KVM_RUN ------------------------------------------------------- */

static __thread int running_vcpu = -1;

static void on_kick(int sig)
{
	if (running_vcpu >= 0)
		kvm_notice_signal(running_vcpu);
}

static void *runner_main(void *arg)
{
	struct runner *r = arg;

	running_vcpu = r->v->vcpu[r->cpu];
	r->ret = kvm_ioctl(r->v->vcpu[r->cpu], KVM_RUN, 0);
	r->err = errno;
	running_vcpu = -1;
	r->done = true;
	return NULL;
}

void runner_start(struct runner *r, struct vm *v, unsigned cpu)
{
	struct sigaction act = { .sa_handler = on_kick };

	sigaction(SIGUSR1, &act, NULL);
	*r = (struct runner){ .v = v, .cpu = cpu };
	assert_int_equal(pthread_create(&r->thread, NULL, runner_main, r), 0);
}

void runner_join(struct runner *r)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 10;
	assert_int_equal(pthread_timedjoin_np(r->thread, NULL, &end), 0);
}

void runner_stop(struct runner *r)
{
	r->v->run[r->cpu]->immediate_exit = 1;
	pthread_kill(r->thread, SIGUSR1);
	runner_join(r);
	r->v->run[r->cpu]->immediate_exit = 0;
	assert_int_equal(r->ret, -1);
	assert_int_equal(r->err, EINTR);
}

void wait_changed(const volatile uint32_t *p, uint32_t old)
{
	for (int i = 0; i < 10000 && *p == old; i++)
		usleep(1000);
	assert_int_not_equal(*p, old);
}
