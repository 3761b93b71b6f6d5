/* SPDX-License-Identifier: MIT */
/*
 * Requests on /dev/kvm, capabilities on every kind of descriptor, and what all
 * requests have in common: unknown numbers, bad pointers, descriptors that are not
 * KVM's.
 *
 * The tables are the product's own (ioctl.def, caps.def), so that a row that is
 * added is tested for EFAULT and for its capability without a line here.
 */
#include "kvm_api.h"

#define APIC	(1u << 9)
#define MCE_MCA	(1u << 7 | 1u << 14)

DECLARE_GUEST(cpuid);

static int sys_fd(void)
{
	return test_fd(ok(kvm_dev_open()));
}

static void api_version(void **state)
{
	int fd = sys_fd();

	assert_int_equal(kvm_ioctl(fd, KVM_GET_API_VERSION, 0), 12);
	fails(EINVAL, kvm_ioctl(fd, KVM_GET_API_VERSION, 1));
}

static void vcpu_mmap_size(void **state)
{
	int fd = sys_fd(), size = ok(kvm_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0));

	assert_int_equal(size % PAGE, 0);
	assert_true((size_t)size >= sizeof(struct kvm_run));
	fails(EINVAL, kvm_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 1));
}

static void create_vm_types(void **state)
{
	int fd = sys_fd();

	test_fd(ok(kvm_ioctl(fd, KVM_CREATE_VM, 0)));
	fails(EINVAL, kvm_ioctl(fd, KVM_CREATE_VM, 1));
	fails(EINVAL, kvm_ioctl(fd, KVM_CREATE_VM, ~0ul));
}

static void vcpu_pages_are_shared(void **state)
{
	struct vm v;
	int size;
	struct kvm_run *again;

	vm_new(&v, 0);
	size = ok(kvm_ioctl(v.sys, KVM_GET_VCPU_MMAP_SIZE, 0));
	again = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v.vcpu[0], 0);
	assert_ptr_not_equal(again, MAP_FAILED);
	v.run[0]->request_interrupt_window = 0x5a;
	assert_int_equal(again->request_interrupt_window, 0x5a);
	again->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	munmap(again, size);
}

/* --- capabilities --------------------------------------------------------------------- */

static const struct { long cap; const char *name; } listed[] = {
#define CAP(cap, value) { cap, #cap },
#include "ioctl/caps.def"
#undef CAP
};

static bool is_listed(long cap)
{
	for (unsigned i = 0; i < ARRAY_SIZE(listed); i++)
		if (listed[i].cap == cap)
			return true;
	return false;
}

/* KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_ANYKVM. */
static void listed_capabilities(void **state)
{
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	for (unsigned i = 0; i < ARRAY_SIZE(listed); i++) {
		int sys = kvm_ioctl(v.sys, KVM_CHECK_EXTENSION, listed[i].cap);
		int vm = kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, listed[i].cap);

		if (sys <= 0 || vm <= 0)
			print_error("%s\n", listed[i].name);
		assert_true(sys > 0);
		assert_int_equal(vm, sys);
	}
}

static void other_capabilities_are_0(void **state)
{
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	for (long cap = -2; cap < 1000; cap++) {
		if (is_listed(cap))
			continue;
		assert_int_equal(kvm_ioctl(v.sys, KVM_CHECK_EXTENSION, cap), 0);
		assert_int_equal(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION, cap), 0);
	}
	assert_int_equal(kvm_ioctl(v.sys, KVM_CHECK_EXTENSION,
				   0x100000000ul + KVM_CAP_IRQCHIP), 0);
}

static void unimplemented_capabilities(void **state)
{
	static const long caps[] = {
		KVM_CAP_X86_SMM, KVM_CAP_NESTED_STATE, KVM_CAP_HYPERV,
		KVM_CAP_DIRTY_LOG_RING, KVM_CAP_XEN_HVM,
		KVM_CAP_SET_GUEST_DEBUG, KVM_CAP_SPLIT_IRQCHIP,
		KVM_CAP_X86_DISABLE_EXITS, KVM_CAP_VAPIC,
	};
	int fd = sys_fd();

	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
		assert_int_equal(kvm_ioctl(fd, KVM_CHECK_EXTENSION, caps[i]),
				 is_listed(caps[i]));
}

static void limits_are_sensible(void **state)
{
	int fd = sys_fd();
	int nr = kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
	int max = kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	int id = kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID);

	assert_in_range(nr, 1, max);
	assert_in_range(max, 1, id);
	assert_true(kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS) >= 32);
	assert_true(kvm_ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING) >= 1024);
}

/* KVM_CAP_ENABLE_CAP_VM. */
static void enable_cap_misuse(void **state)
{
	struct kvm_enable_cap c = { .cap = KVM_CAP_IRQCHIP };
	struct vm v;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_ENABLE_CAP, &c));
	c.cap = 0xffffffff;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_ENABLE_CAP, &c));
	c.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
	c.flags = 1;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_ENABLE_CAP, &c));
	fails(ENOTTY, kvm_ioctl(v.sys, KVM_ENABLE_CAP, &c));
}

/* --- lists ------------------------------------------------------------------------------ */

struct msr_list {
	struct kvm_msr_list h;
	uint32_t index[512];
};

static void check_msr_list(int fd, unsigned long request)
{
	static struct msr_list l, l2;
	unsigned n;

	l.h.nmsrs = 0;
	fails(E2BIG, kvm_ioctl(fd, request, &l));
	n = l.h.nmsrs;		/* how many there are */
	assert_in_range(n, 1, ARRAY_SIZE(l.index));
	l.h.nmsrs = n - 1;
	fails(E2BIG, kvm_ioctl(fd, request, &l));
	assert_int_equal(l.h.nmsrs, n);
	assert_int_equal(ok(kvm_ioctl(fd, request, &l)), 0);
	assert_int_equal(l.h.nmsrs, n);
	l2.h.nmsrs = ARRAY_SIZE(l2.index);
	ok(kvm_ioctl(fd, request, &l2));
	assert_int_equal(l2.h.nmsrs, n);
	assert_memory_equal(l.h.indices, l2.h.indices, n * 4);
	fails(EFAULT, kvm_ioctl(fd, request, bad_pointer()));
	fails(EFAULT, kvm_ioctl(fd, request, NULL));
}

static void msr_index_lists(void **state)
{
	int fd = sys_fd();

	check_msr_list(fd, KVM_GET_MSR_INDEX_LIST);
	check_msr_list(fd, KVM_GET_MSR_FEATURE_INDEX_LIST);
}

static void every_listed_msr_can_be_saved(void **state)
{
	static struct msr_list l;
	static struct msr_buf m;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	l.h.nmsrs = ARRAY_SIZE(l.index);
	ok(kvm_ioctl(v.sys, KVM_GET_MSR_INDEX_LIST, &l));
	m.h.nmsrs = l.h.nmsrs;
	for (unsigned i = 0; i < l.h.nmsrs; i++)
		m.e[i] = (struct kvm_msr_entry){ .index = l.h.indices[i] };
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m)), l.h.nmsrs);
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_SET_MSRS, &m)), l.h.nmsrs);
}

/* KVM_CAP_GET_MSR_FEATURES. */
static void feature_msrs(void **state)
{
	static struct msr_list l;
	static struct msr_buf m;
	int fd = sys_fd();

	l.h.nmsrs = ARRAY_SIZE(l.index);
	ok(kvm_ioctl(fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &l));
	m.h.nmsrs = l.h.nmsrs;
	for (unsigned i = 0; i < l.h.nmsrs; i++)
		m.e[i] = (struct kvm_msr_entry){ .index = l.h.indices[i] };
	assert_int_equal(ok(kvm_ioctl(fd, KVM_GET_MSRS, &m)), l.h.nmsrs);
	m.h.nmsrs = 1;
	m.e[0].index = 0x10;	/* the TSC is no feature */
	assert_int_equal(kvm_ioctl(fd, KVM_GET_MSRS, &m), 0);
	m.h.nmsrs = 0x10000000;
	fails(E2BIG, kvm_ioctl(fd, KVM_GET_MSRS, &m));
	fails(EFAULT, kvm_ioctl(fd, KVM_GET_MSRS, bad_pointer()));
}

/* IA32_ARCH_CAPABILITIES: offered, a vCPU's from the start, and the client's to change. */
static void arch_capabilities(void **state)
{
	static struct cpuid_buf c;
	static struct msr_buf m;
	uint64_t offered;
	bool bit = false;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(v.sys, KVM_GET_SUPPORTED_CPUID, &c));
	for (unsigned i = 0; i < c.h.nent; i++) {
		if (c.e[i].function == 7 && c.e[i].index == 0)
			bit = c.e[i].edx >> 29 & 1;
		/* AMD's: SRSO_NO, TSA_SQ_NO, TSA_L1_NO and no other bit. */
		if (c.e[i].function == 0x80000021) {
			assert_int_equal(c.e[i].eax & ~(1u << 29), 0);
			assert_int_equal(c.e[i].ebx | (c.e[i].ecx & ~6u) | c.e[i].edx, 0);
		}
	}
	assert_true(bit);
	m.h.nmsrs = 1;
	m.e[0] = (struct kvm_msr_entry){ .index = 0x10a };
	assert_int_equal(ok(kvm_ioctl(v.sys, KVM_GET_MSRS, &m)), 1);
	offered = m.e[0].data;
	/* No guest address reaches the host's processor untranslated: RDCL_NO. */
	assert_true(offered & 1);
	m.e[0].data = 0;
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m)), 1);
	assert_int_equal(m.e[0].data, offered);
	m.e[0].data = 1;
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_SET_MSRS, &m)), 1);
	m.e[0].data = 0;
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m)), 1);
	assert_int_equal(m.e[0].data, 1);
}

static void supported_cpuid(void **state)
{
	static struct cpuid_buf c, c2;
	int fd = sys_fd();
	char vendor[13] = "";

	c.h.nent = ARRAY_SIZE(c.e);
	assert_int_equal(ok(kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c)), 0);
	assert_in_range(c.h.nent, 5, ARRAY_SIZE(c.e));
	assert_int_equal(c.e[0].function, 0);
	memcpy(vendor, &c.e[0].ebx, 4);
	memcpy(vendor + 4, &c.e[0].edx, 4);
	memcpy(vendor + 8, &c.e[0].ecx, 4);
	assert_string_equal(vendor, vendor_is_amd() ? "AuthenticAMD" : "GenuineIntel");
	/* KVM_CAP_EXT_CPUID, KVM_CAP_CLOCKSOURCE, KVM_CAP_NOP_IO_DELAY */
	for (unsigned i = 0; i < c.h.nent; i++) {
		if (c.e[i].function == 1)
			assert_true(c.e[i].ecx & 1u << 31);	/* hypervisor */
		if (c.e[i].function == 0x40000001)		/* kvmclock */
			assert_int_equal(c.e[i].eax & 0xb, 0xb);
		/* What nested virtualization would need: VMX, SVM, its features. */
		if (c.e[i].function == 1)
			assert_int_equal(c.e[i].ecx & 1u << 5, 0);
		if (c.e[i].function == 0x80000001)
			assert_int_equal(c.e[i].ecx & 1u << 2, 0);
		if (c.e[i].function == 0x8000000a)
			assert_int_equal(c.e[i].eax | c.e[i].ebx | c.e[i].ecx | c.e[i].edx, 0);
		/* KVM_CAP_MCE: machine checks and their banks. */
		if (c.e[i].function == 1)
			assert_int_equal(c.e[i].edx & MCE_MCA, MCE_MCA);
		/* AMD repeats the local APIC, which is the hypervisor's, and these. */
		if (c.e[i].function == 0x80000001)
			assert_int_equal(c.e[i].edx & (APIC | MCE_MCA),
					 vendor_is_amd() ? APIC | MCE_MCA : 0);
	}
	c2.h.nent = c.h.nent - 1;
	fails(E2BIG, kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c2));
	c2.h.nent = 0;
	fails(E2BIG, kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c2));
	c2.h.nent = c.h.nent;
	ok(kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c2));
	assert_memory_equal(c.e, c2.e, c.h.nent * sizeof(c.e[0]));
	/* Room for more than there can be is no error. */
	c2.h.nent = 0x7fffffff;
	ok(kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c2));
	assert_int_equal(c2.h.nent, c.h.nent);
	fails(EFAULT, kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, bad_pointer()));
}

static void emulated_cpuid(void **state)
{
	static struct cpuid_buf c;
	int fd = sys_fd();

	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(fd, KVM_GET_EMULATED_CPUID, &c));
	assert_in_range(c.h.nent, 0, ARRAY_SIZE(c.e));
	fails(EFAULT, kvm_ioctl(fd, KVM_GET_EMULATED_CPUID, bad_pointer()));
}

/* --- what all requests have in common ------------------------------------------------------ */

static void unknown_requests(void **state)
{
	static const unsigned long requests[] = {
		_IO(KVMIO, 0xff), _IOW(KVMIO, 0x46, char), _IO(0xaf, 0), 0,
		0xdeadbeef,
	};
	struct vm v;

	vm_new(&v, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		fails(ENOTTY, kvm_ioctl(v.sys, requests[i], 0));
		fails(ENOTTY, kvm_ioctl(v.fd, requests[i], 0));
		fails(ENOTTY, kvm_ioctl(v.vcpu[0], requests[i], 0));
	}
}

static void requests_of_another_kind(void **state)
{
	struct kvm_regs r;
	struct vm v;

	vm_new(&v, 0);
	fails(ENOTTY, kvm_ioctl(v.sys, KVM_RUN, 0));
	fails(ENOTTY, kvm_ioctl(v.sys, KVM_CREATE_VCPU, 0));
	fails(ENOTTY, kvm_ioctl(v.fd, KVM_GET_REGS, &r));
	fails(ENOTTY, kvm_ioctl(v.fd, KVM_CREATE_VM, 0));
	fails(ENOTTY, kvm_ioctl(v.vcpu[0], KVM_GET_API_VERSION, 0));
	fails(ENOTTY, kvm_ioctl(v.vcpu[0], KVM_CREATE_IRQCHIP, 0));
}

static void bad_descriptors(void **state)
{
	int closed = ok(kvm_dev_open());

	kvm_close(closed);
	fails(EBADF, kvm_ioctl(-1, KVM_GET_API_VERSION, 0));
	fails(EBADF, kvm_ioctl(closed, KVM_GET_API_VERSION, 0));
	fails(EBADF, kvm_ioctl(0x7fffffff, KVM_GET_API_VERSION, 0));
}

/* Another's descriptor is the host kernel's to answer: it knows no such request. */
static void foreign_descriptors(void **state)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
#ifdef API_CAPI
	fails(EBADF, kvm_ioctl(p[0], KVM_GET_API_VERSION, 0));
	assert_false(anykvm_is_ours(p[0]));
#else
	int n = -1;

	fails(ENOTTY, kvm_ioctl(p[0], KVM_GET_API_VERSION, 0));
	assert_int_equal(ioctl(p[0], FIONREAD, &n), 0);
	assert_int_equal(n, 0);
#endif
	close(p[0]);
	close(p[1]);
}

enum { SYSTEM, VM, VCPU };

static const struct { int kind; unsigned long request; const char *name; } data[] = {
#define IOCTL_DATA(kind, request, fn) { kind, request, #request },
#define IOCTL_ARG(kind, request, fn)
#include "ioctl/ioctl.def"
#undef IOCTL_DATA
#undef IOCTL_ARG
/* Of variable size, by pointer. */
#define P(kind, request) { kind, request, #request },
P(SYSTEM, KVM_GET_MSRS)
P(SYSTEM, KVM_GET_MSR_INDEX_LIST)
P(SYSTEM, KVM_GET_SUPPORTED_CPUID)
P(VM, KVM_SET_IRQCHIP)
P(VM, KVM_SET_GSI_ROUTING)
P(VM, KVM_REINJECT_CONTROL)
P(VCPU, KVM_GET_MSRS)
P(VCPU, KVM_SET_MSRS)
P(VCPU, KVM_SET_CPUID)
P(VCPU, KVM_SET_CPUID2)
P(VCPU, KVM_GET_CPUID2)
P(VCPU, KVM_SET_SIGNAL_MASK)
#undef P
};

/* On a VM that has everything, so that nothing else is wrong. */
static void bad_pointers(void **state)
{
	struct vm v;
	void *bad;

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	bad = bad_pointer();
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		int fd = data[i].kind == SYSTEM ? v.sys :
			 data[i].kind == VM ? v.fd : v.vcpu[0];

		/* Copies its argument late: other misuse comes first. */
		if (data[i].request == KVM_CREATE_PIT2)
			continue;
		errno = 0;
		if (kvm_ioctl(fd, data[i].request, bad) != -1 || errno != EFAULT)
			print_error("%s: errno %d\n", data[i].name, errno);
		assert_int_equal(errno, EFAULT);
	}
}

static void requests_with_an_argument_of_0(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_RUN, 1));
}

static void set_nr_mmu_pages(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_NR_MMU_PAGES, 0));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_NR_MMU_PAGES, 63));
	ok(kvm_ioctl(v.fd, KVM_SET_NR_MMU_PAGES, 64));
}

/* KVM_CAP_SET_TSS_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR. */
static void tss_and_identity_map(void **state)
{
	uint64_t addr = 0xfffbc000;
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	ok(kvm_ioctl(v.fd, KVM_SET_TSS_ADDR, 0xfffbd000ul));
	ok(kvm_ioctl(v.fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
	if (!vendor_is_amd())
		fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_TSS_ADDR, 0xfffff000ul));
	vm_add_vcpu(&v, 0, 0);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
}

/* KVM_CAP_SET_BOOT_CPU_ID. */
static void boot_cpu_id(void **state)
{
	uint64_t base;
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_NO_VCPU);
	ok(kvm_ioctl(v.fd, KVM_SET_BOOT_CPU_ID, 1));
	vm_add_vcpu(&v, 0, 0);
	vm_add_vcpu(&v, 1, 1);
	assert_int_equal(get_msr(v.vcpu[0], 0x1b, &base), 1);
	assert_int_equal(base & 0x100, 0);
	assert_int_equal(get_msr(v.vcpu[1], 0x1b, &base), 1);
	assert_int_equal(base & 0x100, 0x100);
	fails(EBUSY, kvm_ioctl(v.fd, KVM_SET_BOOT_CPU_ID, 0));
}

/* --- CPUID of a vCPU ---------------------------------------------------------------------- */

static void cpuid_round_trip(void **state)
{
	static struct cpuid_buf c, c2;
	struct vm v;

	vm_new(&v, 0);
	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(v.sys, KVM_GET_SUPPORTED_CPUID, &c));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	c2.h.nent = c.h.nent - 1;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_GET_CPUID2, &c2));
	c2.h.nent = ARRAY_SIZE(c2.e);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_CPUID2, &c2));
	assert_int_equal(c2.h.nent, c.h.nent);
	for (unsigned i = 0; i < c.h.nent; i++)
		assert_int_equal(c.e[i].function, c2.e[i].function);
}

static void cpuid_misuse(void **state)
{
	static struct cpuid_buf c;
	struct vm v;

	vm_new(&v, 0);
	c.h.nent = 257;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	c.h.nent = ~0u;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	/* A width of linear addresses that no processor has. */
	c.h.nent = 1;
	c.e[0] = (struct kvm_cpuid_entry2){ .function = 0x80000008, .eax = 0x2028 };
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	/* Nothing of it was taken. */
	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_CPUID2, &c));
	assert_in_range(c.h.nent, 5, ARRAY_SIZE(c.e));
}

static void guest_sees_its_cpuid(void **state)
{
	static struct cpuid_buf c;
	const uint32_t want[4] = { 0x11223344, 0x55667788, 0x99aabbcc, 0xddeeff00 };
	struct vm v;

	vm_new(&v, 0);
	c.h.nent = ARRAY_SIZE(c.e) - 1;
	ok(kvm_ioctl(v.sys, KVM_GET_SUPPORTED_CPUID, &c));
	c.e[c.h.nent++] = (struct kvm_cpuid_entry2){ .function = 0x40000010,
		.eax = want[0], .ebx = want[1], .ecx = want[2], .edx = want[3] };
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	vm_load(&v, GUEST(cpuid));
	*(uint32_t *)(v.ram + 0x2000) = 0x40000010;
	run_until(&v, KVM_EXIT_HLT);
	assert_memory_equal(v.ram + 0x2010, want, sizeof(want));
}

/* The older request, whose entries have no sub-leaves. */
static void cpuid_without_subleaves(void **state)
{
	static struct { struct kvm_cpuid h; struct kvm_cpuid_entry e[2]; } old;
	static struct cpuid_buf got;
	struct vm v;

	vm_new(&v, 0);
	old.h.nent = 2;
	old.e[0] = (struct kvm_cpuid_entry){ .function = 0, .eax = 0x40000010 };
	old.e[1] = (struct kvm_cpuid_entry){ .function = 0x40000010, .eax = 1,
		.ebx = 2, .ecx = 3, .edx = 4 };
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_CPUID, &old));
	got.h.nent = ARRAY_SIZE(got.e);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_CPUID2, &got));
	assert_int_equal(got.h.nent, 2);
	assert_int_equal(got.e[1].function, 0x40000010);
	assert_int_equal(got.e[1].edx, 4);
	assert_int_equal(got.e[1].index | got.e[1].flags, 0);
	old.h.nent = 257;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_SET_CPUID, &old));
}

static const struct CMUnitTest tests[] = {
	T(api_version), T(vcpu_mmap_size), T(create_vm_types),
	T(vcpu_pages_are_shared), T(listed_capabilities),
	T(other_capabilities_are_0), T(unimplemented_capabilities),
	T(limits_are_sensible), T(enable_cap_misuse), T(msr_index_lists),
	T(every_listed_msr_can_be_saved), T(feature_msrs), T(arch_capabilities), T(supported_cpuid),
	T(emulated_cpuid), T(unknown_requests), T(requests_of_another_kind),
	T(bad_descriptors), T(foreign_descriptors), T(bad_pointers),
	T(requests_with_an_argument_of_0), T(set_nr_mmu_pages),
	T(tss_and_identity_map), T(boot_cpu_id), T(cpuid_round_trip),
	T(cpuid_misuse), T(cpuid_without_subleaves), T(guest_sees_its_cpuid),
};
SUITE(system, tests);
