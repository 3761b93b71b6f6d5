/* SPDX-License-Identifier: MIT */
/*
 * Descriptors and what lives behind them: dup and close, passing over sockets,
 * fork, several VMs, many vCPUs.
 */
#include "kvm_api.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

DECLARE_GUEST(halt);
DECLARE_GUEST(count);

/* --- dup, close ------------------------------------------------------------------- */

static void dup_names_the_same_object(void **state)
{
	struct kvm_regs r;
	int copy;
	struct vm v;

	vm_new(&v, 0);
	copy = test_fd(dup(v.vcpu[0]));
	vm_set_rip(&v, 0x1234);
	ok(kvm_ioctl(copy, KVM_GET_REGS, &r));
	assert_int_equal(r.rip, 0x1234);
	kvm_close(v.vcpu[0]);
	test_forget_fd(v.vcpu[0]);
	ok(kvm_ioctl(copy, KVM_GET_REGS, &r));
	assert_int_equal(r.rip, 0x1234);
}

static void fcntl_dupfd(void **state)
{
	struct kvm_regs r;
	struct vm v;
	int a, b;

	vm_new(&v, 0);
	a = test_fd(fcntl(v.vcpu[0], F_DUPFD, 700));
	assert_true(a >= 700);
	b = test_fd(fcntl(v.vcpu[0], F_DUPFD_CLOEXEC, 900));
	ok(kvm_ioctl(a, KVM_GET_REGS, &r));
	ok(kvm_ioctl(b, KVM_GET_REGS, &r));
	assert_int_equal(fcntl(b, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(v.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(v.vcpu[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

#ifndef API_CAPI
static void dup2_over_a_vcpu(void **state)
{
	struct kvm_regs r;
	int p[2];
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(pipe(p), 0);
	/* Its number now names a pipe. */
	assert_int_equal(dup2(p[0], v.vcpu[0]), v.vcpu[0]);
	fails(ENOTTY, kvm_ioctl(v.vcpu[0], KVM_GET_REGS, &r));
	/* A pipe's number now names the VM. */
	assert_int_equal(dup3(v.fd, p[1], O_CLOEXEC), p[1]);
	assert_int_equal(kvm_ioctl(p[1], KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), 1);
	assert_int_equal(dup2(v.fd, v.fd), v.fd);
	assert_int_equal(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), 1);
	close(p[0]);
	close(p[1]);
}

static void close_range_and_reuse(void **state)
{
	struct kvm_regs r;
	int again;
	struct vm v;

	vm_new(&v, 0);
	again = fcntl(v.vcpu[0], F_DUPFD, 950);
	assert_true(again >= 950);
	assert_int_equal(close_range(again, again, 0), 0);
	fails(EBADF, kvm_ioctl(again, KVM_GET_REGS, &r));
	assert_int_equal(fcntl(STDERR_FILENO, F_DUPFD, again), again);
	errno = 0;
	assert_int_equal(kvm_ioctl(again, KVM_GET_REGS, &r), -1);
	assert_int_not_equal(errno, EBADF);	/* somebody else's now */
	close(again);
}

/* What every descriptor can be asked is asked of the kernel. */
static void requests_of_the_kernel(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(ioctl(v.vcpu[0], FIONCLEX), 0);
	assert_int_equal(fcntl(v.vcpu[0], F_GETFD) & FD_CLOEXEC, 0);
	assert_int_equal(ioctl(v.vcpu[0], FIOCLEX), 0);
	assert_int_equal(fcntl(v.vcpu[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

/* Asking for the device, and ways to open it. */
static void ways_to_dev_kvm(void **state)
{
	int fd;

	assert_int_equal(access("/dev/kvm", F_OK), 0);
	assert_int_equal(access("/dev/kvm", R_OK | W_OK), 0);
	fails(EACCES, access("/dev/kvm", X_OK));
	fd = test_fd(openat(AT_FDCWD, "/dev/kvm", O_RDWR));
	assert_int_equal(kvm_ioctl(fd, KVM_GET_API_VERSION, 0), 12);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	fd = test_fd(open64("/dev/kvm", O_RDWR | O_CLOEXEC));
	assert_int_equal(kvm_ioctl(fd, KVM_GET_API_VERSION, 0), 12);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
#endif

/* The VM lives as long as its vCPUs do. */
static void vm_closed_before_its_vcpu(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	kvm_close(v.fd);
	test_forget_fd(v.fd);
	kvm_close(v.sys);
	test_forget_fd(v.sys);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 1);
}

static void vcpu_closed_before_its_vm(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	kvm_close(v.vcpu[0]);
	test_forget_fd(v.vcpu[0]);
	v.run[0]->immediate_exit = 1;	/* the mapping is still there */
	/* Its id stays taken. */
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_VCPU, 0));
	vm_add_vcpu(&v, 1, 1);
}

static void many_vms_in_turn(void **state)
{
	struct vm v;

	for (int i = 0; i < 50; i++) {
		vm_new(&v, i & 1 ? VM_IRQCHIP | VM_PIT : 0);
		vm_load(&v, GUEST(halt));
		if (!(i & 1))
			run_until(&v, KVM_EXIT_HLT);
		api_teardown(NULL);
	}
}

/* Places in memory of vCPU @id's pages: the test's and the library's mappings. */
static unsigned mappings_of_vcpu(unsigned id)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], name[32];
	unsigned n = 0;

	assert_non_null(maps);
	snprintf(name, sizeof(name), "kvm-vcpu:%u ", id);
	while (fgets(line, sizeof(line), maps))
		n += !!strstr(line, name);
	fclose(maps);
	return n;
}

/* Closed where nobody saw it, a VM ends when its numbers are used again. */
static void numbers_used_again(void **state)
{
	int sys = test_fd(ok(kvm_dev_open())), vm, vcpu;

	vm = ok(kvm_ioctl(sys, KVM_CREATE_VM, 0));
	vcpu = ok(kvm_ioctl(vm, KVM_CREATE_VCPU, 61));
	assert_int_equal(mappings_of_vcpu(61), 1);
	syscall(SYS_close, vcpu);
	syscall(SYS_close, vm);
	assert_int_equal(mappings_of_vcpu(61), 1);
	assert_int_equal(test_fd(ok(kvm_ioctl(sys, KVM_CREATE_VM, 0))), vm);
	assert_int_equal(mappings_of_vcpu(61), 1);
	assert_int_equal(test_fd(ok(kvm_ioctl(vm, KVM_CREATE_VCPU, 62))), vcpu);
	assert_int_equal(mappings_of_vcpu(61), 0);
	assert_int_equal(mappings_of_vcpu(62), 1);
}

static void close_while_running(void **state)
{
	volatile uint32_t *n;
	struct runner r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(count));
	n = (uint32_t *)(v.ram + 0x2000);
	runner_start(&r, &v, 0);
	wait_changed(n, 0);
	kvm_close(v.fd);
	test_forget_fd(v.fd);
	wait_changed(n, *n);
#ifndef API_CAPI		/* where a kick needs the descriptor */
	kvm_close(v.vcpu[0]);	/* the VM now ends with that KVM_RUN */
	test_forget_fd(v.vcpu[0]);
	wait_changed(n, *n);
#endif
	runner_stop(&r);
}

/*
 * A dirty log of 8 MiB: by the time its first words have been copied the request is
 * far from its end. The descriptors go then; the request does not notice.
 */
#define LOG_PAGES	(1ul << 26)
#define LOG_WORDS	(LOG_PAGES / 64)

struct log_reader {
	int vm, ret;
	uint64_t *log;
};

static void *read_log(void *arg)
{
	struct log_reader *r = arg;
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = r->log };

	r->ret = kvm_ioctl(r->vm, KVM_GET_DIRTY_LOG, &log);
	return NULL;
}

static void close_during_a_request(void **state)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET };
	void *memory = mmap(NULL, LOG_PAGES * PAGE, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct log_reader r = { .log = test_map(LOG_WORDS * 8) };
	pthread_t thread;
	struct vm v;

	assert_ptr_not_equal(memory, MAP_FAILED);
	vm_new(&v, VM_NO_VCPU);
	ok(kvm_ioctl(v.fd, KVM_ENABLE_CAP, &cap));
	vm_set_region(&v, 1, 1ul << 32, LOG_PAGES * PAGE, memory, KVM_MEM_LOG_DIRTY_PAGES);
	r.vm = v.fd;
	assert_int_equal(pthread_create(&thread, NULL, read_log, &r), 0);
	wait_changed((uint32_t *)r.log, 0);
	kvm_close(v.fd);
	test_forget_fd(v.fd);
	fails(EBADF, kvm_ioctl(v.fd, KVM_GET_TSC_KHZ, 0));
	pthread_join(thread, NULL);
	munmap(memory, LOG_PAGES * PAGE);
	assert_int_equal(r.ret, 0);
	assert_true(r.log[LOG_WORDS - 1] == ~0ul);
}

/* One thread makes and ends VMs, another asks whatever has the descriptor just then. */
struct asker {
	int fd;
	bool stop;
};

static void *ask(void *arg)
{
	struct kvm_clock_data clock;
	struct asker *a = arg;
	struct kvm_regs regs;
	int fd;

	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED)) {
		fd = __atomic_load_n(&a->fd, __ATOMIC_RELAXED);
		kvm_ioctl(fd, KVM_GET_CLOCK, &clock);
		kvm_ioctl(fd + 1, KVM_GET_REGS, &regs);
	}
	return NULL;
}

static void requests_beside_open_and_close(void **state)
{
	int sys = test_fd(ok(kvm_dev_open())), vcpu;
	struct asker a = { .fd = sys + 1 };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	for (int i = 0; i < 100; i++) {
		__atomic_store_n(&a.fd, ok(kvm_ioctl(sys, KVM_CREATE_VM, 0)),
				 __ATOMIC_RELAXED);
		vcpu = ok(kvm_ioctl(a.fd, KVM_CREATE_VCPU, 63));
		kvm_close(a.fd);
		kvm_close(vcpu);
	}
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(mappings_of_vcpu(63), 0);
}

/* A vCPU runs on one thread at a time: the second waits for the first. */
static void one_run_at_a_time(void **state)
{
	struct runner a, b;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(count));
	runner_start(&a, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2000), 0);
	runner_start(&b, &v, 0);
	usleep(10000);
	assert_false(a.done || b.done);
	/* Ends the first; the second then finds immediate_exit as well. */
	v.run[0]->immediate_exit = 1;
	pthread_kill(a.thread, SIGUSR1);
	runner_join(&a);
	runner_join(&b);
	assert_int_equal(a.err, EINTR);
	assert_int_equal(b.err, EINTR);
}

/* --- passing ------------------------------------------------------------------------ */

static void send_fd(int sock, int fd)
{
	char buf[CMSG_SPACE(sizeof(int))] = "", c = 'x';
	struct iovec io = { &c, 1 };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = buf,
			    .msg_controllen = sizeof(buf) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	assert_int_equal(sendmsg(sock, &m, 0), 1);
}

static int receive_fd(int sock)
{
	char buf[CMSG_SPACE(sizeof(int))], c;
	struct iovec io = { &c, 1 };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = buf,
			    .msg_controllen = sizeof(buf) };
	struct cmsghdr *h;
	int fd;

	assert_int_equal(recvmsg(sock, &m, 0), 1);
	h = CMSG_FIRSTHDR(&m);
	assert_non_null(h);
	if (!h)		/* clang-tidy does not know that the line above ends the test */
		return -1;
	memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

static void passed_over_a_socket(void **state)
{
	struct kvm_regs r;
	int s[2], got;
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	send_fd(s[0], v.vcpu[0]);
	got = test_fd(receive_fd(s[1]));
	vm_set_rip(&v, 0x4321);
	ok(kvm_ioctl(got, KVM_GET_REGS, &r));
	assert_int_equal(r.rip, 0x4321);
	kvm_close(v.vcpu[0]);
	test_forget_fd(v.vcpu[0]);
	ok(kvm_ioctl(got, KVM_GET_REGS, &r));
	close(s[0]);
	close(s[1]);
}

/* --- fork ------------------------------------------------------------------------------ */

/* In the child @pid, which is 0 there: @fn; the exit status. */
static int run_in(pid_t pid, int (*fn)(struct vm *v), struct vm *v)
{
	int status;

	if (!pid)
		_exit(fn(v));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Runs @fn in a child; its exit status. */
static int in_child(int (*fn)(struct vm *v), struct vm *v)
{
	return run_in(fork(), fn, v);
}

/* One that the C library, and so the library under test, has not been told of. */
static int in_raw_child(int (*fn)(struct vm *v), struct vm *v)
{
	return run_in(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), fn, v);
}

static int use_the_parents(struct vm *v)
{
	struct kvm_regs r;

	if (kvm_ioctl(v->vcpu[0], KVM_GET_REGS, &r) != -1 || errno != EIO)
		return 1;
	if (kvm_ioctl(v->vcpu[0], KVM_RUN, 0) != -1 || errno != EIO)
		return 2;
	if (kvm_ioctl(v->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) != -1 ||
	    errno != EIO)
		return 3;
	if (kvm_ioctl(v->sys, KVM_GET_API_VERSION, 0) != 12)
		return 4;
	kvm_close(v->vcpu[0]);
	kvm_close(v->fd);
	return 0;
}

static void child_may_not_use_the_parents_vm(void **state)
{
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	assert_int_equal(in_child(use_the_parents, &v), 0);
	assert_int_equal(in_raw_child(use_the_parents, &v), 0);
	vm_load(&v, GUEST(halt));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE,
		     &(struct kvm_mp_state){ KVM_MP_STATE_RUNNABLE }));
	v.run[0]->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
}

static int make_its_own(struct vm *unused)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	run_until(&v, KVM_EXIT_HLT);
	return *(uint32_t *)(v.ram + 0x2000);
}

static int its_own_with_timers(struct vm *unused)
{
	struct vm v;
	struct kvm_pit_state2 s;
	struct runner r;
	extern const uint8_t guest_pic[], guest_pic_end[];

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	vm_load(&v, GUEST(pic));
	ok(kvm_ioctl(v.fd, KVM_GET_PIT2, &s));
	s.channels[0].mode = 2;
	s.channels[0].count = 11932;
	s.channels[0].gate = 1;
	ok(kvm_ioctl(v.fd, KVM_SET_PIT2, &s));
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2010), 0);
	runner_stop(&r);
	return 1;
}

static void child_makes_its_own_vm(void **state)
{
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	assert_int_equal(in_child(make_its_own, &v), 1);
	assert_int_equal(in_raw_child(make_its_own, &v), 1);
	assert_int_equal(in_child(its_own_with_timers, &v), 1);
}

/* The parent's guest runs on another thread while a child comes and goes. */
static void fork_beside_a_running_guest(void **state)
{
	volatile uint32_t *n;
	struct runner r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(count));
	n = (uint32_t *)(v.ram + 0x2000);
	runner_start(&r, &v, 0);
	wait_changed(n, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(in_child(use_the_parents, &v), 0);
	wait_changed(n, *n);
	runner_stop(&r);
}

/* --- several ---------------------------------------------------------------------------- */

/* A child of vfork() shares our memory, but not our descriptors. */
static void vfork_and_close(void **state)
{
	struct kvm_regs r;
	int status;
	pid_t pid;
	struct vm v;

	vm_new(&v, 0);
	pid = vfork();
	if (!pid) {
		/* What POSIX forbids, clients do. NOLINTNEXTLINE(clang-analyzer-unix.Vfork) */
		kvm_close(v.vcpu[0]);
		dup2(STDERR_FILENO, v.fd);
		dup2(v.sys, STDIN_FILENO);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	vm_set_rip(&v, 0x1234);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_REGS, &r));
	assert_int_equal(r.rip, 0x1234);
	assert_int_equal(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), 1);
	errno = 0;
	assert_int_equal(kvm_ioctl(STDIN_FILENO, KVM_GET_API_VERSION, 0), -1);
}

static void two_vms_at_once(void **state)
{
	struct runner ra, rb;
	struct vm a, b;

	vm_new(&a, 0);
	vm_new(&b, 0);
	vm_load(&a, GUEST(count));
	vm_load(&b, GUEST(count));
	runner_start(&ra, &a, 0);
	wait_changed((uint32_t *)(a.ram + 0x2000), 0);
	assert_int_equal(*(uint32_t *)(b.ram + 0x2000), 0);
	runner_start(&rb, &b, 0);
	wait_changed((uint32_t *)(b.ram + 0x2000), 0);
	runner_stop(&ra);
	assert_false(rb.done);
	runner_stop(&rb);
}

static void vcpu_ids(void **state)
{
	struct vm v;
	int max_id;

	vm_new(&v, VM_NO_VCPU);
	max_id = ok(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_CREATE_VCPU, max_id));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_CREATE_VCPU, ~0u));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_CREATE_VCPU, 1ul << 32));
	test_fd(ok(kvm_ioctl(v.fd, KVM_CREATE_VCPU, max_id - 1)));
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_VCPU, max_id - 1));
}

/* The suite runs with max_vcpus=80. */
static void as_many_vcpus_as_there_may_be(void **state)
{
	struct kvm_regs r;
	struct vm v;
	int max, fd = -1;

	vm_new(&v, VM_IRQCHIP | VM_NO_VCPU);
	max = ok(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS));
	assert_true(max >= 64);
	for (int i = 0; i < max; i++)
		fd = test_fd(ok(kvm_ioctl(v.fd, KVM_CREATE_VCPU, i)));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_CREATE_VCPU, max));
	ok(kvm_ioctl(fd, KVM_GET_REGS, &r));
}

/* Out of descriptors: EMFILE, and nothing is left behind. */
static void out_of_descriptors(void **state)
{
	struct rlimit old, low;
	struct vm v;
	int next;

	vm_new(&v, VM_NO_VCPU);
	next = dup(0);
	close(next);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = next;
	setrlimit(RLIMIT_NOFILE, &low);
	fails(EMFILE, kvm_dev_open());
	fails(EMFILE, kvm_ioctl(v.sys, KVM_CREATE_VM, 0));
	fails(EMFILE, kvm_ioctl(v.fd, KVM_CREATE_VCPU, 0));
	setrlimit(RLIMIT_NOFILE, &old);
	test_fd(ok(kvm_ioctl(v.fd, KVM_CREATE_VCPU, 0)));
}

static void vcpu_pages_keep_their_size(void **state)
{
	struct stat st;
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(ftruncate(v.vcpu[0], 0), -1);
	assert_int_equal(fstat(v.vcpu[0], &st), 0);
	vm_load(&v, GUEST(halt));
	run_until(&v, KVM_EXIT_HLT);
}

static const struct CMUnitTest tests[] = {
	T(dup_names_the_same_object), T(fcntl_dupfd),
#ifndef API_CAPI
	T(dup2_over_a_vcpu), T(close_range_and_reuse), T(requests_of_the_kernel),
	T(ways_to_dev_kvm),
#endif
	T(vm_closed_before_its_vcpu), T(vcpu_closed_before_its_vm),
	T(many_vms_in_turn), T(close_while_running), T(close_during_a_request),
	T(requests_beside_open_and_close), T(numbers_used_again), T(one_run_at_a_time),
	T(vfork_and_close), T(passed_over_a_socket),
	T(child_may_not_use_the_parents_vm), T(child_makes_its_own_vm),
	T(fork_beside_a_running_guest), T(two_vms_at_once), T(vcpu_ids),
	T(as_many_vcpus_as_there_may_be), T(out_of_descriptors),
	T(vcpu_pages_keep_their_size),
};
SUITE(fd, tests);
