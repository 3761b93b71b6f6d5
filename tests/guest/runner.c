// SPDX-License-Identifier: MIT
/*
 * guest-runner: runs one guest of tests/guest in a virtual machine.
 *
 *	guest-runner [-c VCPUS] -n REPORTS ELF
 *
 * The machine has RAM_SIZE bytes of memory, the in-kernel irqchip and PIT, and
 * the devices of lib/ports.h. vCPU 0 begins at the ELF's entry: in real mode when
 * that lies below 64 KiB, else in flat 32-bit protected mode. The others wait for
 * INIT and SIPI.
 *
 * It prints "PASS: name", "FAIL: name" or "SKIP: name" for every report, and fails
 * when one failed, when their number is not REPORTS, when the guest stopped in any
 * other way than through PORT_EXIT with 0, or when /dev/kvm is not anykvm.
 *
 * The API is that of anykvm.h; nothing reaches into the library. ANYKVM_PARAMS
 * says whose processor it is.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "anykvm/anykvm.h"
#include "lib/ports.h"

#define TIMEOUT	90	/* seconds, for the slowest build on a busy machine */

/* What another thread writes. */
struct poke {
	uint32_t addr, flag, value;
};

struct cpu {
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

static struct {
	int sys, vm;
	uint8_t *ram;
	uint64_t entry;
	unsigned nr_cpus, expected;
	struct cpu cpu[NR_VCPUS_MAX];
	pthread_mutex_t lock;		/* of all that follows */
	uint32_t exits;
	char name[256];
	unsigned passed, failed, skipped;
	uint8_t pio_ram[8], mmio_ram[MMIO_RAM_SIZE], edge[4096];
	uint8_t fifo[4096];
	unsigned fifo_in, fifo_out;
	uint32_t log[4];
	struct poke poke;
	uint64_t clock;
	int mmio_event, pio_event;
	struct kvm_sregs on_shutdown;	/* what a shutdown goes back to */
	uint32_t shutdown_rip;		/* 0: it is the end */
} m = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("FAIL: ");
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

static int kvm(int fd, unsigned long request, void *arg, const char *what)
{
	int ret = anykvm_ioctl(fd, request, arg);

	if (ret < 0)
		die("%s: %s", what, strerror(errno));
	return ret;
}
#define KVM(fd, request, arg) kvm(fd, request, (void *)(uintptr_t)(arg), #request)

/* --- the ELF ----------------------------------------------------------------------- */

static void *guest_mem(uint64_t gpa, uint64_t size)
{
	if (gpa > RAM_SIZE || size > RAM_SIZE - gpa)
		die("guest address %#lx out of range", (unsigned long)gpa);
	return m.ram + gpa;
}

/* Both classes of ELF differ in nothing but their types. */
#define LOAD_SEGMENTS(T, file, size)						\
	do {									\
		const T##_Ehdr *eh = (file);					\
		const T##_Phdr *ph = (void *)((char *)(file) + eh->e_phoff);	\
		m.entry = eh->e_entry;						\
		for (unsigned i = 0; i < eh->e_phnum; i++) {			\
			if (ph[i].p_type != PT_LOAD)				\
				continue;					\
			if (ph[i].p_offset + ph[i].p_filesz > (size))		\
				die("truncated ELF");				\
			memcpy(guest_mem(ph[i].p_paddr, ph[i].p_memsz),		\
			       (char *)(file) + ph[i].p_offset, ph[i].p_filesz);\
		}								\
	} while (0)

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *file;

	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED || st.st_size < (off_t)sizeof(Elf64_Ehdr) ||
	    memcmp(file, ELFMAG, SELFMAG))
		die("%s: not an ELF file", path);
	if (((unsigned char *)file)[EI_CLASS] == ELFCLASS64)
		LOAD_SEGMENTS(Elf64, file, (uint64_t)st.st_size);
	else
		LOAD_SEGMENTS(Elf32, file, (uint64_t)st.st_size);
	munmap(file, st.st_size);
	close(fd);
}

/* --- the machine ---------------------------------------------------------------------- */

static void add_eventfd(int fd, uint64_t addr, unsigned len, uint32_t flags)
{
	struct kvm_ioeventfd e = { .addr = addr, .len = len, .fd = fd,
		.flags = flags, .datamatch = MMIO_EVENTFD_VALUE };

	KVM(m.vm, KVM_IOEVENTFD, &e);
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region r = { .memory_size = RAM_SIZE };
	struct kvm_pit_config pit = { 0 };

	m.sys = anykvm_open(O_RDWR | O_CLOEXEC);
	if (m.sys < 0)
		die("anykvm_open: %s", strerror(errno));
	if (KVM(m.sys, KVM_CHECK_EXTENSION, KVM_CAP_ANYKVM) != ANYKVM_VERSION_NUMBER)
		die("this KVM is not anykvm");
	m.vm = KVM(m.sys, KVM_CREATE_VM, 0);
	KVM(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000);
	KVM(m.vm, KVM_CREATE_IRQCHIP, 0);
	KVM(m.vm, KVM_CREATE_PIT2, &pit);
	m.ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (m.ram == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	r.userspace_addr = (uintptr_t)m.ram;
	KVM(m.vm, KVM_SET_USER_MEMORY_REGION, &r);
	m.mmio_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	m.pio_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	add_eventfd(m.mmio_event, MMIO_EVENTFD, 0, 0);
	add_eventfd(m.mmio_event, MMIO_EVENTFD_MATCH, 4,
		    KVM_IOEVENTFD_FLAG_DATAMATCH);
	add_eventfd(m.pio_event, PORT_EVENTFD, 2, KVM_IOEVENTFD_FLAG_PIO);
}

/*
 * What the processor can do and clients are not offered everywhere: protection keys
 * (the host may lack PKU, whose place in XSAVE's image clients take from it), LA57.
 */
static void add_features(struct kvm_cpuid_entry2 *leaf7, bool amd)
{
	leaf7->ecx |= 1u << 3 | 1u << 16 | (amd ? 0 : 1u << 31);
}

static void set_cpuid(struct cpu *c)
{
	static union {
		struct kvm_cpuid2 h;
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     256 * sizeof(struct kvm_cpuid_entry2)];
	} b;
	struct kvm_cpuid_entry2 *e = b.h.entries;
	bool amd = false;

	b.h.nent = 256;
	KVM(m.sys, KVM_GET_SUPPORTED_CPUID, &b);
	for (unsigned i = 0; i < b.h.nent; i++) {
		if (e[i].function == 1)
			e[i].ebx = (e[i].ebx & 0xffff) | m.nr_cpus << 16 |
				     c->id << 24;
		if (!e[i].function)
			amd = e[i].ebx == 0x68747541;
		if (e[i].function == 7 && !e[i].index)
			add_features(&e[i], amd);
		if (e[i].function == 0xb || e[i].function == 0x1f)
			e[i].edx = c->id;
	}
	KVM(c->fd, KVM_SET_CPUID2, &b);
}

static void flat_segment(struct kvm_segment *s, unsigned selector, unsigned type)
{
	*s = (struct kvm_segment){ .limit = 0xffffffff, .selector = selector,
		.type = type, .present = 1, .s = 1, .db = 1, .g = 1 };
}

static void set_entry_state(struct cpu *c)
{
	struct kvm_regs r = { .rip = m.entry, .rflags = 2 };
	struct kvm_sregs s;

	KVM(c->fd, KVM_GET_SREGS, &s);
	s.cs.base = s.cs.selector = 0;
	if (m.entry >= 0x10000) {
		s.cr0 |= 1;
		flat_segment(&s.cs, 0x08, 11);
		flat_segment(&s.ds, 0x10, 3);
		s.es = s.fs = s.gs = s.ss = s.ds;
	}
	KVM(c->fd, KVM_SET_SREGS, &s);
	KVM(c->fd, KVM_SET_REGS, &r);
}

static void create_vcpu(struct cpu *c, unsigned id)
{
	size_t size = KVM(m.sys, KVM_GET_VCPU_MMAP_SIZE, 0);

	c->id = id;
	c->fd = KVM(m.vm, KVM_CREATE_VCPU, id);
	c->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		die("mmap of vCPU %u: %s", id, strerror(errno));
	set_cpuid(c);
	if (!id)
		set_entry_state(c);
}

/* --- reports ------------------------------------------------------------------------------ */

static void guest_string(char *out, uint32_t gpa)
{
	for (unsigned i = 0; i < 255; i++)
		if (!(out[i] = *(char *)guest_mem(gpa + i, 1)))
			return;
	out[255] = 0;
}

static void report(uint32_t result)
{
	static const char *const word[] = { "FAIL", "PASS", "SKIP" };
	unsigned *const count[] = { &m.failed, &m.passed, &m.skipped };

	if (result > REPORT_SKIP)
		die("report %u of '%s'", result, m.name);
	++*count[result];
	printf("%s: %s\n", word[result], m.name);
	fflush(stdout);
}

static void __attribute__((noreturn)) finish(uint32_t status)
{
	unsigned n = m.passed + m.failed + m.skipped;

	if (status)
		die("the guest's exit status is %u", status);
	if (n != m.expected)
		die("%u reports, not %u", n, m.expected);
	printf("# %u reports: %u passed, %u failed, %u skipped\n", n, m.passed,
	       m.failed, m.skipped);
	fflush(stdout);
	_exit(m.failed != 0);
}

/* --- devices -------------------------------------------------------------------------------- */

static uint32_t event_count(int fd)
{
	uint64_t n = 0;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	return n;
}

static void irq_line(unsigned gsi, unsigned level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	KVM(m.vm, KVM_IRQ_LINE, &l);
}

static uint32_t clock_lo(void)
{
	struct kvm_clock_data c = { 0 };

	KVM(m.vm, KVM_GET_CLOCK, &c);
	m.clock = c.clock;
	return m.clock;
}

static void fifo_push(const void *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		m.fifo[m.fifo_in++ % sizeof(m.fifo)] = ((const uint8_t *)p)[i];
}

static void fifo_pop(void *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		((uint8_t *)p)[i] = m.fifo[m.fifo_out++ % sizeof(m.fifo)];
}

/* Memory is written by a thread that has nothing to do with a vCPU. */
static void *poker(void *arg)
{
	struct poke *p = arg;

	__atomic_store_n((uint32_t *)guest_mem(p->addr, 4), p->value, __ATOMIC_RELAXED);
	__atomic_store_n((uint32_t *)guest_mem(p->flag, 4), p->value, __ATOMIC_SEQ_CST);
	free(p);
	return NULL;
}

/* One at a time: the guest waits for the flag. */
static void poke(uint32_t value)
{
	struct poke *p = malloc(sizeof(*p));
	pthread_t t;

	if (!p)
		die("no memory");
	*p = m.poke;
	p->value = value;
	if (pthread_create(&t, NULL, poker, p))
		die("no thread");
	pthread_detach(t);
}

static void port_out(struct cpu *c, unsigned port, const void *p, unsigned n)
{
	uint32_t val = 0;
	char note[256];

	memcpy(&val, p, n);
	if (port >= PORT_RAM && port + n <= PORT_RAM + 8) {
		memcpy(m.pio_ram + (port - PORT_RAM), p, n);
		return;
	}
	switch (port) {
	case PORT_REPORT_NAME:	guest_string(m.name, val); break;
	case PORT_REPORT:	report(val); break;
	case PORT_NOTE:		guest_string(note, val); printf("# %s\n", note); break;
	case PORT_EXIT:		finish(val);
	case PORT_FIFO:		fifo_push(p, n); break;
	case PORT_IRQ_PULSE:	irq_line(val, 1); irq_line(val, 0); break;
	case PORT_IRQ_LEVEL:	irq_line(val & 0xff, val >> 8 & 1); break;
	case PORT_POKE:		poke(val); break;
	case PORT_POKE_ADDR:	m.poke.addr = val; break;
	case PORT_POKE_FLAG:	m.poke.flag = val; break;
	case PORT_NMI:		KVM(c->fd, KVM_NMI, 0); break;
	case PORT_ON_SHUTDOWN:
		m.shutdown_rip = val;
		KVM(c->fd, KVM_GET_SREGS, &m.on_shutdown);
		break;
	}
}

static void port_in(unsigned port, void *p, unsigned n)
{
	uint32_t val = 0xffffffff;

	if (port >= PORT_RAM && port + n <= PORT_RAM + 8) {
		memcpy(p, m.pio_ram + (port - PORT_RAM), n);
		return;
	}
	switch (port) {
	case PORT_FIFO:		fifo_pop(p, n); return;
	case PORT_MMIO_EVENTS:	val = event_count(m.mmio_event); break;
	case PORT_PIO_EVENTS:	val = event_count(m.pio_event); break;
	case PORT_CLOCK_LO:	val = clock_lo(); break;
	case PORT_CLOCK_HI:	val = m.clock >> 32; break;
	case PORT_EXITS:	val = m.exits; break;
	}
	memcpy(p, &val, n);
}

static void do_pio(struct cpu *c)
{
	struct kvm_run *r = c->run;
	uint8_t *p = (uint8_t *)r + r->io.data_offset;

	for (unsigned i = 0; i < r->io.count; i++, p += r->io.size) {
		if (r->io.direction == KVM_EXIT_IO_OUT)
			port_out(c, r->io.port, p, r->io.size);
		else
			port_in(r->io.port, p, r->io.size);
	}
}

/* The bytes behind an address, or NULL: nothing there. */
static uint8_t *mmio_bytes(uint64_t gpa, unsigned len)
{
	if (gpa >= MMIO_RAM && gpa + len <= MMIO_RAM + MMIO_RAM_SIZE)
		return m.mmio_ram + (gpa - MMIO_RAM);
	if (gpa >= MMIO_EDGE && gpa + len <= MMIO_EDGE + sizeof(m.edge))
		return m.edge + (gpa - MMIO_EDGE);
	return NULL;
}

static void do_mmio(struct kvm_run *r)
{
	uint64_t gpa = r->mmio.phys_addr, reg = gpa - MMIO_LOG;
	unsigned len = r->mmio.len;
	uint8_t *p = mmio_bytes(gpa, len);

	if (reg < sizeof(m.log) && !(reg & 3) && len == 4) {
		memcpy(r->mmio.data, &m.log[reg / 4], 4);
		if (!reg)
			m.log[0] = 0;
		return;
	}
	m.log[0]++;
	m.log[1] = len;
	m.log[2] = gpa;
	m.log[3] = r->mmio.is_write;
	if (r->mmio.is_write && p)
		memcpy(p, r->mmio.data, len);
	else if (!r->mmio.is_write && p)
		memcpy(r->mmio.data, p, len);
	else if (!r->mmio.is_write)
		memset(r->mmio.data, 0xff, sizeof(r->mmio.data));
}

/* --- running ---------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) unexpected(struct cpu *c)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	KVM(c->fd, KVM_GET_REGS, &r);
	KVM(c->fd, KVM_GET_SREGS, &s);
	if (c->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		printf("# suberror %u\n", c->run->internal.suberror);
	die("vCPU %u: exit %u at %x:%llx, rsp %llx, cr0 %llx, cr2 %llx, "
	    "rax %llx, after '%s'", c->id, c->run->exit_reason, s.cs.selector,
	    r.rip, r.rsp, s.cr0, s.cr2, r.rax, m.name);
}

/* A triple fault that the guest has announced: it goes on where it wants to, with the
 * system registers of that moment. */
static void do_shutdown(struct cpu *c)
{
	struct kvm_regs r = { .rip = m.shutdown_rip, .rflags = 2 };
	struct kvm_vcpu_events none = { 0 };

	if (!m.shutdown_rip)
		unexpected(c);
	m.shutdown_rip = 0;
	KVM(c->fd, KVM_SET_VCPU_EVENTS, &none);
	KVM(c->fd, KVM_SET_SREGS, &m.on_shutdown);
	KVM(c->fd, KVM_SET_REGS, &r);
}

static void *vcpu_thread(void *arg)
{
	struct cpu *c = arg;

	for (;;) {
		int ret = anykvm_ioctl(c->fd, KVM_RUN, NULL);

		if (ret < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (ret < 0)
			die("KVM_RUN of vCPU %u: %s", c->id, strerror(errno));
		pthread_mutex_lock(&m.lock);
		m.exits++;
		if (c->run->exit_reason == KVM_EXIT_IO)
			do_pio(c);
		else if (c->run->exit_reason == KVM_EXIT_MMIO)
			do_mmio(c->run);
		else if (c->run->exit_reason == KVM_EXIT_SHUTDOWN)
			do_shutdown(c);
		else
			unexpected(c);
		pthread_mutex_unlock(&m.lock);
	}
	return NULL;
}

static void on_alarm(int sig)
{
	static const char msg[] = "FAIL: the guest has not ended in time\n";

	if (write(1, msg, sizeof(msg) - 1) < 0)
		_exit(2);
	_exit(1);
}

int main(int argc, char **argv)
{
	int opt;

	m.nr_cpus = 1;
	while ((opt = getopt(argc, argv, "c:n:")) != -1) {
		if (opt == 'c')
			m.nr_cpus = atoi(optarg);
		else if (opt == 'n')
			m.expected = atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc || m.nr_cpus - 1 >= NR_VCPUS_MAX)
		return 2;
	signal(SIGALRM, on_alarm);
	alarm(TIMEOUT);
	create_vm();
	load(argv[optind]);
	for (unsigned i = 0; i < m.nr_cpus; i++)
		create_vcpu(&m.cpu[i], i);
	for (unsigned i = 0; i < m.nr_cpus; i++)
		if (pthread_create(&m.cpu[i].thread, NULL, vcpu_thread, &m.cpu[i]))
			die("no thread");
	pthread_join(m.cpu[0].thread, NULL);
	return 1;
}
