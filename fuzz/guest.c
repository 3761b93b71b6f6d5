// SPDX-License-Identifier: MIT
/*
 * Any bytes as a guest, through the C API as a client drives it: real-address mode,
 * flat 32-bit, 64-bit mode and its CPL 3, on both vendors, with and without the
 * interrupt controllers. Every KVM_RUN must end, in an exit that the API has or an
 * errno that it may have; the client answers I/O and MMIO and runs on a few times.
 *
 * Guest-physical: RAM from 0 (with a dirty log), behind it a read-only slot, then
 * nothing. Tables for 64-bit mode, a GDT and an IDT whose handlers are HLT stand in
 * RAM, where the guest may destroy them. The four VMs live as long as the process;
 * an input begins with fresh memory and with the state that a vCPU had at creation,
 * set by the ioctls for it, all of which must succeed.
 *
 * Input: a byte that chooses vendor, controllers and mode; then code.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sanitizer/lsan_interface.h>
#include <sys/mman.h>

#include "anykvm/anykvm.h"
#include "input.h"
#include "kicker.h"

#define RAM		0x40000u
#define ROM		0x40000u	/* guest-physical, ROM_SIZE */
#define ROM_SIZE	0x4000u
#define CODE		0x1000u
#define STACK		0x8000u
#define PML4		0x10000u	/* and PDPT, PD behind it */
#define GDT		0x14000u
#define IDT		0x15000u
#define STUBS		0x17000u
#define TSS		0x18000u
#define MAX_RUNS	12
#define MAX_ANSWERS	8	/* that one instruction asks for */
#define NR_MSRS		64

struct msr_list {
	struct kvm_msrs h;
	struct kvm_msr_entry e[NR_MSRS];
};

struct machine {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram, *rom;
	bool has_irqchip, has_xcrs;
	/* As at creation. */
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct msr_list msrs;
};

static struct machine machines[4];	/* bit 0: amd, bit 1: irqchip */
static uint8_t ram_template[RAM];

static int vm_ioctl(int fd, unsigned long request, void *arg)
{
	return anykvm_ioctl(fd, request, arg);
}

#define OK(fd, request, arg)						\
	({								\
		int ret_ = vm_ioctl(fd, request, (void *)(uintptr_t)(arg)); \
		if (ret_ < 0)						\
			FUZZ_FAIL("%s: %s", #request, strerror(errno));	\
		ret_;							\
	})

/* --- the template of memory ----------------------------------------------------- */

static void put(uint32_t at, uint64_t v)
{
	memcpy(ram_template + at, &v, 8);
}

static void make_template(void)
{
	uint32_t at;

	put(PML4, (PML4 + 0x1000) | 7);
	put(PML4 + 0x1000, (PML4 + 0x2000) | 7);
	for (unsigned i = 0; i < 512; i++)
		put(PML4 + 0x2000 + 8 * i, (uint64_t)i << 21 | 0x87);
	put(GDT + 0x08, 0x00cf9b000000ffff);	/* code32 */
	put(GDT + 0x10, 0x00cf93000000ffff);	/* data */
	put(GDT + 0x18, 0x00affb000000ffff);	/* user code64 */
	put(GDT + 0x20, 0x00cff3000000ffff);	/* user data */
	put(GDT + 0x28, 0x00008b0000000067 | (uint64_t)TSS << 16);
	put(GDT + 0x38, 0x00af9b000000ffff);	/* code64 */
	put(TSS + 4, STACK);
	memset(ram_template + STUBS, 0xf4, 0x1000);
	for (unsigned v = 0; v < 256; v++) {
		at = STUBS + 4 * v;
		memcpy(ram_template + 4 * v, &(uint32_t){ (STUBS >> 4) << 16 | 4 * v },
		       4);
		/* 64-bit gates at IDT, 32-bit ones at IDT + 0x1000. */
		put(IDT + 16 * v, (at & 0xffff) | 0x38 << 16 | 0xee00ull << 32 |
		    (uint64_t)(at >> 16) << 48);
		put(IDT + 0x1000 + 8 * v, (at & 0xffff) | 0x08 << 16 |
		    0xee00ull << 32 | (uint64_t)(at >> 16) << 48);
	}
}

/* --- machines ------------------------------------------------------------------------ */

static void *map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	FUZZ_CHECK(p != MAP_FAILED);
	return p;
}

static void add_slot(struct machine *m, unsigned slot, uint64_t gpa, void *p,
		     size_t n, unsigned flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = n, .userspace_addr = (uintptr_t)p };

	OK(m->vm, KVM_SET_USER_MEMORY_REGION, &r);
}

/* What a client that saves this vCPU would save. */
static void save_state(int sys, struct machine *m)
{
	struct { struct kvm_msr_list h; uint32_t i[NR_MSRS]; } list = {
		.h.nmsrs = NR_MSRS };

	OK(m->vcpu, KVM_GET_REGS, &m->regs);
	OK(m->vcpu, KVM_GET_SREGS, &m->sregs);
	OK(m->vcpu, KVM_GET_XSAVE, &m->xsave);
	m->has_xcrs = !vm_ioctl(m->vcpu, KVM_GET_XCRS, &m->xcrs) &&
		      !vm_ioctl(m->vcpu, KVM_SET_XCRS, &m->xcrs);
	OK(m->vcpu, KVM_GET_DEBUGREGS, &m->debugregs);
	OK(m->vcpu, KVM_GET_VCPU_EVENTS, &m->events);
	if (m->has_irqchip)
		OK(m->vcpu, KVM_GET_LAPIC, &m->lapic);
	OK(sys, KVM_GET_MSR_INDEX_LIST, &list);
	m->msrs.h.nmsrs = list.h.nmsrs;
	for (unsigned i = 0; i < list.h.nmsrs; i++)
		m->msrs.e[i].index = list.i[i];
	m->msrs.h.nmsrs = OK(m->vcpu, KVM_GET_MSRS, &m->msrs);
}

static void make_machine(int sys, struct machine *m, bool amd, bool irqchip)
{
	struct { struct kvm_cpuid2 h; struct kvm_cpuid_entry2 e[128]; } cpuid = {
		.h.nent = 128 };
	size_t size = OK(sys, KVM_GET_VCPU_MMAP_SIZE, 0);

	FUZZ_CHECK(!anykvm_param_set("vendor", amd ? "amd" : "intel"));
	m->has_irqchip = irqchip;
	m->vm = OK(sys, KVM_CREATE_VM, 0);
	if (irqchip) {
		OK(m->vm, KVM_CREATE_IRQCHIP, 0);
		OK(m->vm, KVM_CREATE_PIT2, &(struct kvm_pit_config){ 0 });
	}
	m->ram = map(RAM);
	m->rom = map(ROM_SIZE);
	memset(m->rom, 0xf4, ROM_SIZE);
	add_slot(m, 0, 0, m->ram, RAM, KVM_MEM_LOG_DIRTY_PAGES);
	add_slot(m, 1, ROM, m->rom, ROM_SIZE, KVM_MEM_READONLY);
	m->vcpu = OK(m->vm, KVM_CREATE_VCPU, 0);
	m->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	FUZZ_CHECK(m->run != MAP_FAILED);
	OK(sys, KVM_GET_SUPPORTED_CPUID, &cpuid);
	OK(m->vcpu, KVM_SET_CPUID2, &cpuid);
	save_state(sys, m);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int sys = anykvm_open(O_RDWR | O_CLOEXEC);

	FUZZ_CHECK(sys >= 0);
	make_template();
	/* Processors are mapped, not allocated: what only they refer to would count
	 * as leaked. */
	__lsan_disable();
	for (unsigned i = 0; i < 4; i++)
		make_machine(sys, &machines[i], i & 1, i & 2);
	__lsan_enable();
	return 0;
}

/* --- exits ---------------------------------------------------------------------------- */

static void check_io(const struct kvm_run *run)
{
	uint64_t n = (uint64_t)run->io.size * run->io.count;

	FUZZ_CHECK(run->io.size == 1 || run->io.size == 2 || run->io.size == 4);
	FUZZ_CHECK(run->io.count && run->io.data_offset + n <= 3 * 4096);
	FUZZ_CHECK(run->io.direction <= KVM_EXIT_IO_OUT);
	if (run->io.direction == KVM_EXIT_IO_IN)
		memset((uint8_t *)run + run->io.data_offset, 0x5a, n);
}

static void check_mmio(struct kvm_run *run)
{
	FUZZ_CHECK(run->mmio.len >= 1 && run->mmio.len <= 8);
	FUZZ_CHECK(run->mmio.is_write <= 1);
	FUZZ_CHECK(run->mmio.phys_addr >= ROM);
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
}

/* Answers the exit; whether to run on. */
static bool handle_exit(struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		check_io(run);
		return true;
	case KVM_EXIT_MMIO:
		check_mmio(run);
		return true;
	case KVM_EXIT_HLT:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_HYPERCALL:
		return true;
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT:
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		FUZZ_CHECK(run->internal.suberror >= 1 &&
			   run->internal.suberror <= 4);
		return false;
	default:
		FUZZ_FAIL("exit reason %u", run->exit_reason);
	}
}

/* --- an input's beginning ---------------------------------------------------------- */

static void set_segments(struct kvm_sregs *s, bool is64, bool user)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = user ? 0x1b : is64 ? 0x38 : 0x08,
		.type = 11, .present = 1, .s = 1, .g = 1, .db = !is64, .l = is64,
		.dpl = user ? 3 : 0 };
	struct kvm_segment data = {
		.limit = ~0u, .selector = user ? 0x23 : 0x10, .type = 3,
		.present = 1, .s = 1, .g = 1, .db = 1, .dpl = user ? 3 : 0 };

	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = (struct kvm_segment){ .base = TSS, .limit = 0x67, .selector = 0x28,
				      .type = 11, .present = 1 };
	s->gdt = (struct kvm_dtable){ .base = GDT, .limit = 0x3f };
	s->idt = (struct kvm_dtable){ .base = IDT + (is64 ? 0 : 0x1000),
				      .limit = is64 ? 0xfff : 0x7ff };
}

enum { GUEST_REAL, GUEST_PROT, GUEST_LONG, GUEST_USER };

static void set_mode(struct machine *m, unsigned mode)
{
	struct kvm_sregs s = m->sregs;
	struct kvm_regs r = m->regs;

	s.cs.base = 0;
	s.cs.selector = 0;
	if (mode != GUEST_REAL) {
		set_segments(&s, mode >= GUEST_LONG, mode == GUEST_USER);
		s.cr0 = 0x33;
		s.cr4 = 0x600;
	}
	if (mode >= GUEST_LONG) {
		s.cr3 = PML4;
		s.cr4 = 0x620;
		s.cr0 = 0x80010033;
		s.efer = 0xd01;
	}
	r.rip = CODE;
	r.rsp = STACK;
	r.rflags = 2;
	OK(m->vcpu, KVM_SET_SREGS, &s);
	OK(m->vcpu, KVM_SET_REGS, &r);
}

/*
 * The last guest may have left in the middle of an instruction, which a client
 * finishes by answering its exits with immediate_exit set.
 */
static void finish_instruction(struct machine *m)
{
	unsigned i;
	int ret;

	m->run->immediate_exit = 1;
	for (i = 0; i < MAX_ANSWERS; i++) {
		ret = vm_ioctl(m->vcpu, KVM_RUN, NULL);
		if (ret)
			break;
		handle_exit(m->run);
	}
	if (i == MAX_ANSWERS || errno != EINTR)
		FUZZ_FAIL("immediate_exit, %u answers: %d, errno %d, exit %u", i, ret,
			  errno, m->run->exit_reason);
	m->run->immediate_exit = 0;
}

static void reset(struct machine *m)
{
	struct kvm_vcpu_events events = m->events;
	struct kvm_mp_state running = { KVM_MP_STATE_RUNNABLE };

	finish_instruction(m);
	memcpy(m->ram, ram_template, RAM);
	OK(m->vcpu, KVM_SET_SREGS, &m->sregs);
	if (m->has_xcrs)
		OK(m->vcpu, KVM_SET_XCRS, &m->xcrs);
	OK(m->vcpu, KVM_SET_XSAVE, &m->xsave);
	OK(m->vcpu, KVM_SET_DEBUGREGS, &m->debugregs);
	if (m->has_irqchip) {
		OK(m->vcpu, KVM_SET_LAPIC, &m->lapic);
		OK(m->vcpu, KVM_SET_MP_STATE, &running);
	}
	OK(m->vcpu, KVM_SET_MSRS, &m->msrs);
	OK(m->vcpu, KVM_SET_VCPU_EVENTS, &events);
}

/* --- running -------------------------------------------------------------------------- */

static void kick(void *vcpu)
{
	anykvm_kick(*(int *)vcpu);
}

static void run(struct machine *m)
{
	kicker_start(kick, &m->vcpu);
	for (unsigned i = 0; i < MAX_RUNS; i++) {
		if (vm_ioctl(m->vcpu, KVM_RUN, NULL)) {
			FUZZ_CHECK(errno == EINTR);
			break;
		}
		if (!handle_exit(m->run))
			break;
	}
	kicker_stop();
}

/* What was reached can be read, and set again. */
static void save_and_restore(struct machine *m)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_vcpu_events events;
	struct kvm_xsave xsave;
	uint64_t dirty[RAM / 4096 / 64 + 1];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = dirty };

	OK(m->vcpu, KVM_GET_REGS, &regs);
	OK(m->vcpu, KVM_GET_SREGS, &sregs);
	OK(m->vcpu, KVM_GET_VCPU_EVENTS, &events);
	OK(m->vcpu, KVM_GET_XSAVE, &xsave);
	OK(m->vcpu, KVM_SET_SREGS, &sregs);
	OK(m->vcpu, KVM_SET_REGS, &regs);
	OK(m->vcpu, KVM_SET_XSAVE, &xsave);
	OK(m->vcpu, KVM_SET_VCPU_EVENTS, &events);
	OK(m->vm, KVM_GET_DIRTY_LOG, &log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *m;
	uint8_t choice;

	if (size < 2 || size > RAM - CODE)
		return -1;
	choice = data[0];
	m = &machines[choice & 3];
	reset(m);
	set_mode(m, choice >> 2 & 3);
	size = size - 1 > STACK - CODE - 0x100 ? STACK - CODE - 0x100 : size - 1;
	memcpy(m->ram + CODE, data + 1, size);
	m->ram[CODE + size] = 0xf4;
	run(m);
	save_and_restore(m);
	return 0;
}
