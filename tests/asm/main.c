// SPDX-License-Identifier: MIT
/*
 * asm: the same instructions, by the host's processor and by ours.
 *
 * The snippets of snippets.S and compat.S are copied into an arena that is mapped at
 * one address, below 4 GiB, both in this process and, through page tables of its own, in
 * a guest: the same bytes run at the same addresses. Each runs natively, in the guest at
 * CPL 3 and (those of 64-bit mode) at CPL 0, with the same registers, flags, FPU state and memory; afterwards all that
 * it may have changed must be the same, byte for byte, but flags that the manuals
 * leave undefined and the x87's last instruction and operand (docs/errata.md).
 *
 * A snippet whose feature the guest's CPUID does not offer is skipped. The API is
 * that of anykvm.h; ANYKVM_PARAMS says whose processor it is.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "anykvm/anykvm.h"
#include "block.h"

#define ROUNDS		16
#define FLAGS_IN	0x8d5	/* CF PF AF ZF SF OF */
#define FLAGS_OUT	0xcd5	/* and DF */
#define FX_LAST_INSN	6	/* FOP, FIP, FDP: bytes 6-23 */
#define FX_LAST_END	24
#define AVX		(1u << 28)	/* of FEATURE_C1 */
#define FX_USED		416	/* what FXSAVE defines: up to XMM15 */

/* The arena, in bytes from its beginning, which is 2-MiB aligned. */
#define ARENA_SIZE	0x200000
#define AT_CODE		0
#define AT_STACK	0x30000		/* grows down */
#define AT_COMPAT_STACK	0x38000		/* ... in compatibility mode */
#define AT_TABLES	0x40000		/* PML4, PDPT, PD, PT */
#define AT_GDT		0x50000
#define AT_LDT		0x51000

static struct {
	int sys, vm, vcpu;
	struct kvm_run *run;
	uint8_t *arena;
	struct block *block;
	struct kvm_sregs sregs;
	uint32_t features[4];	/* by FEATURE_* >> 8 */
	bool has_ldt;
} t;

static int kvm(int fd, unsigned long request, void *arg, const char *what)
{
	int ret = anykvm_ioctl(fd, request, arg);

	if (ret < 0) {
		printf("FAIL: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return ret;
}
#define KVM(fd, request, arg) kvm(fd, request, (void *)(uintptr_t)(arg), #request)

/* --- the machine -------------------------------------------------------------------- */

static void create_arena(void)
{
	uintptr_t p = (uintptr_t)mmap(NULL, 2 * ARENA_SIZE,
		PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if ((void *)p == MAP_FAILED) {
		printf("FAIL: mmap: %s\n", strerror(errno));
		exit(1);
	}
	t.arena = (uint8_t *)((p + ARENA_SIZE - 1) & -(uintptr_t)ARENA_SIZE);
	t.block = (struct block *)(t.arena + AT_BLOCK);
	memcpy(t.arena + AT_CODE, __start_asm_text, __stop_asm_text - __start_asm_text);
}

/* --- segments of compatibility mode ------------------------------------------------- */

static uint64_t descriptor(uint32_t base, uint32_t limit, uint16_t ar)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)ar << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(base >> 24) << 56;
}

/* 16-bit code at the arena's beginning, data at the block's memory. */
static void create_segments(void)
{
	uint32_t code = (uintptr_t)t.arena, data = (uintptr_t)t.block->mem;
	struct user_desc d = { .entry_number = SEL_CODE16 >> 3, .base_addr = code,
		.limit = 0xffff, .contents = MODIFY_LDT_CONTENTS_CODE };
	uint64_t *gdt = (uint64_t *)(t.arena + AT_GDT);
	uint64_t *ldt = (uint64_t *)(t.arena + AT_LDT);

	if (!syscall(SYS_modify_ldt, 1, &d, sizeof(d))) {
		d = (struct user_desc){ .entry_number = SEL_DATA16 >> 3,
			.base_addr = data, .limit = 0xffff };
		t.has_ldt = !syscall(SYS_modify_ldt, 1, &d, sizeof(d));
	}
	gdt[SEL_CODE32 >> 3] = descriptor(0, 0xfffff, 0xc0fb);
	gdt[SEL_DATA32 >> 3] = descriptor(0, 0xfffff, 0xc0f3);
	gdt[SEL_CODE64 >> 3] = descriptor(0, 0xfffff, 0xa0fb);
	ldt[SEL_CODE16 >> 3] = descriptor(code, 0xffff, 0x00fb);
	ldt[SEL_DATA16 >> 3] = descriptor(data, 0xffff, 0x00f3);
}

/* The arena at its own address, as one 2-MiB page of guest-physical 0. */
static void create_tables(void)
{
	uint64_t va = (uintptr_t)t.arena;
	uint64_t *tab = (uint64_t *)(t.arena + AT_TABLES);

	tab[va >> 39 & 511] = (AT_TABLES + 0x1000) | 7;
	tab[512 + (va >> 30 & 511)] = (AT_TABLES + 0x2000) | 7;
	tab[1024 + (va >> 21 & 511)] = 0x87;
}

static void set_cpuid(void)
{
	static union {
		struct kvm_cpuid2 h;
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     256 * sizeof(struct kvm_cpuid_entry2)];
	} b;
	struct kvm_cpuid_entry2 *e = b.h.entries;

	b.h.nent = 256;
	KVM(t.sys, KVM_GET_SUPPORTED_CPUID, &b);
	KVM(t.vcpu, KVM_SET_CPUID2, &b);
	for (unsigned i = 0; i < b.h.nent; i++) {
		if (e[i].function == 1)
			t.features[FEATURE_C1 >> 8] = e[i].ecx;
		if (e[i].function == 7 && e[i].index == 0)
			t.features[FEATURE_B7 >> 8] = e[i].ebx;
		if (e[i].function == 0x80000001)
			t.features[FEATURE_C81 >> 8] = e[i].ecx;
	}
}

static void enable_avx(void)
{
	struct kvm_xcrs x = { .nr_xcrs = 1,
		.xcrs[0] = { .xcr = 0, .value = 7 } };	/* x87 SSE AVX */

	t.sregs.cr4 |= 0x40000;		/* OSXSAVE */
	KVM(t.vcpu, KVM_SET_SREGS, &t.sregs);
	KVM(t.vcpu, KVM_SET_XCRS, &x);
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region r = { .memory_size = ARENA_SIZE,
		.userspace_addr = (uintptr_t)t.arena };

	t.sys = anykvm_open(O_RDWR | O_CLOEXEC);
	if (t.sys < 0 || anykvm_ioctl(t.sys, KVM_CHECK_EXTENSION,
			(void *)KVM_CAP_ANYKVM) != ANYKVM_VERSION_NUMBER) {
		printf("FAIL: no anykvm\n");
		exit(1);
	}
	t.vm = KVM(t.sys, KVM_CREATE_VM, 0);
	KVM(t.vm, KVM_SET_USER_MEMORY_REGION, &r);
	t.vcpu = KVM(t.vm, KVM_CREATE_VCPU, 0);
	t.run = mmap(NULL, KVM(t.sys, KVM_GET_VCPU_MMAP_SIZE, 0),
		     PROT_READ | PROT_WRITE, MAP_SHARED, t.vcpu, 0);
	set_cpuid();
	KVM(t.vcpu, KVM_GET_SREGS, &t.sregs);
	t.sregs.cr0 = 0x80000033;	/* PG NE ET MP PE */
	t.sregs.cr3 = AT_TABLES;
	t.sregs.cr4 = 0x620;		/* OSXMMEXCPT OSFXSR PAE */
	t.sregs.efer = 0x500;		/* LMA LME */
	if (t.features[FEATURE_C1 >> 8] & AVX)
		enable_avx();
}

static void set_privilege(unsigned cpl)
{
	struct kvm_segment code = { .limit = 0xffffffff,
		.selector = cpl ? SEL_CODE64 : 0x10,
		.type = 11, .present = 1, .dpl = cpl, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
		.selector = cpl ? SEL_DATA32 : 0x18,
		.type = 3, .present = 1, .dpl = cpl, .s = 1, .db = 1, .g = 1 };

	t.sregs.gdt = (struct kvm_dtable){ .base = (uintptr_t)t.arena + AT_GDT,
		.limit = 0x3f };
	t.sregs.ldt = (struct kvm_segment){ .base = (uintptr_t)t.arena + AT_LDT,
		.limit = 0x17, .selector = 0x38, .type = 2, .present = 1 };
	t.sregs.cs = code;
	t.sregs.ss = t.sregs.ds = t.sregs.es = data;
	KVM(t.vcpu, KVM_SET_SREGS, &t.sregs);
}

/* --- snippets ---------------------------------------------------------------------------- */

static uint8_t *in_arena(const void *p)
{
	return t.arena + AT_CODE + ((const uint8_t *)p - __start_asm_text);
}

static const char *name_of(const struct snippet *s)
{
	return (const char *)&s->name + s->name;
}

static uint8_t *code_of(const struct snippet *s)
{
	return in_arena((const uint8_t *)&s->code + s->code);
}

/* What asm_run calls: the snippet, or the way to it. */
static uint8_t *entry_of(const struct snippet *s)
{
	return s->bits == 64 ? code_of(s) : in_arena(asm_compat);
}

/* --- inputs ------------------------------------------------------------------------------ */

static uint64_t seed;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t value(unsigned round)
{
	static const uint64_t edges[] = { 0, 1, -1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000,
		0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
		0x8000000000000000, 0x0123456789abcdef, 31, 32, 63, 64, 33 };

	if (round & 1)
		return random64();
	return edges[random64() % (sizeof(edges) / sizeof(edges[0]))];
}

static void fill_compat(struct block *b, const struct snippet *s)
{
	b->stack = (uintptr_t)t.arena + AT_COMPAT_STACK;
	b->far_offset = (uintptr_t)code_of(s);
	b->far_selector = SEL_CODE32;
	b->data = SEL_DATA32;
	if (s->bits == 32)
		return;
	b->far_offset -= (uintptr_t)t.arena;
	b->far_selector = SEL_CODE16;
	b->data = SEL_DATA16;
	b->in[6] = 0;
	b->in[7] = 128;
}

/* What the snippet gets in a round; the same every time. */
static void fill(struct block *b, const struct snippet *s, unsigned round)
{
	static const uint16_t fcw = 0x37f;
	static const uint32_t mxcsr = 0x1f80;
	uint64_t *xmm = (uint64_t *)(b->in_fx + 160);

	seed = 0x9e3779b97f4a7c15 * (round + 1);
	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < 16; i++)
		b->in[i] = value(round);
	b->in[15] = b->in[6] = (uintptr_t)b->mem;
	b->in[7] = (uintptr_t)b->mem + 128;
	b->in[4] = 0;
	if (s->bits != 64)
		fill_compat(b, s);
	b->in_flags = 0x202 | (random64() & FLAGS_IN);
	for (unsigned i = 0; i < sizeof(b->mem) / 8; i++)
		((uint64_t *)b->mem)[i] = value(round);
	memcpy(b->in_fx, &fcw, 2);
	memcpy(b->in_fx + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 32; i++)
		xmm[i] = round % 4 == 3 ? 0x3ff0000040490fdbul + (i << 20) : value(round);
}

/* --- running ------------------------------------------------------------------------------- */

static void run_native(const struct snippet *s)
{
	void (*run)(struct block *, void *) =
		(void (*)(struct block *, void *))(uintptr_t)in_arena(asm_run);

	run(t.block, entry_of(s));
}

static bool run_guest(const struct snippet *s, unsigned cpl)
{
	struct kvm_regs r = {
		.rip = (uintptr_t)in_arena(asm_guest),
		.rsp = (uintptr_t)t.arena + AT_STACK,
		.rdi = (uintptr_t)t.block,
		.rsi = (uintptr_t)entry_of(s),
		.rflags = 0x3002,	/* IOPL 3, for the port at the end */
	};

	set_privilege(cpl);
	KVM(t.vcpu, KVM_SET_REGS, &r);
	for (;;) {
		int ret = anykvm_ioctl(t.vcpu, KVM_RUN, NULL);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret == 0 && t.run->exit_reason == KVM_EXIT_IO &&
		    t.run->io.port == DONE_PORT)
			return true;
		break;
	}
	KVM(t.vcpu, KVM_GET_REGS, &r);
	printf("# exit %u at snippet+%lx\n", t.run->exit_reason,
	       (unsigned long)(r.rip - (uintptr_t)code_of(s)));
	return false;
}

/* --- comparing -------------------------------------------------------------------------------- */

static const char *const gpr_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp",
	"rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

static bool same_bytes(const char *what, const uint8_t *got, const uint8_t *want,
		       unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (got[i] == want[i])
			continue;
		printf("# %s[%u]: %02x, natively %02x\n", what, i, got[i], want[i]);
		return false;
	}
	return true;
}

static void normalize(struct block *b, const struct snippet *s)
{
	b->out_flags &= FLAGS_OUT & ~s->undefined;
	memset(b->out_fx + FX_LAST_INSN, 0, FX_LAST_END - FX_LAST_INSN);
}

static bool same(struct block *got, struct block *want, const struct snippet *s)
{
	/* In compatibility mode there is no more, and the rest becomes undefined. */
	unsigned n = s->bits == 64 ? 16 : 8;
	uint64_t mask = s->bits == 64 ? ~0ul : 0xffffffff;
	bool ok = true;

	normalize(got, s);
	normalize(want, s);
	for (unsigned i = 0; i < n; i++) {
		if (!((got->out[i] ^ want->out[i]) & mask))
			continue;
		printf("# %s: %lx, natively %lx\n", gpr_names[i],
		       (unsigned long)got->out[i], (unsigned long)want->out[i]);
		ok = false;
	}
	if (got->out_flags != want->out_flags) {
		printf("# flags: %lx, natively %lx\n", (unsigned long)got->out_flags,
		       (unsigned long)want->out_flags);
		ok = false;
	}
	return same_bytes("fx", got->out_fx, want->out_fx, FX_USED) &&
	       same_bytes("mem", got->mem, want->mem, sizeof(got->mem)) && ok;
}

static bool round_agrees(const struct snippet *s, unsigned round)
{
	struct block native, guest;

	fill(t.block, s, round);
	run_native(s);
	memcpy(&native, t.block, sizeof(native));
	/* Every privilege level is of interest, but not at every value. */
	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		if (cpl != 3 && (round > 3 || s->bits != 64))
			continue;
		fill(t.block, s, round);
		if (!run_guest(s, cpl))
			return false;
		memcpy(&guest, t.block, sizeof(guest));
		if (!same(&guest, &native, s)) {
			printf("# round %u, CPL %u\n", round, cpl);
			return false;
		}
	}
	return true;
}

static bool offered(const struct snippet *s)
{
	if (s->bits == 16 && !t.has_ldt)
		return false;
	return !s->feature || (t.features[s->feature >> 8] >> (s->feature & 0xff) & 1);
}

int main(void)
{
	unsigned passed = 0, failed = 0, skipped = 0;

	create_arena();
	create_tables();
	create_segments();
	create_vm();
	for (const struct snippet *s = __start_asm_rows; s < __stop_asm_rows; s++) {
		const char *name = name_of(s);
		bool ok = true;

		if (!offered(s)) {
			printf("SKIP: %s\n", name);
			skipped++;
			continue;
		}
		for (unsigned round = 0; ok && round < ROUNDS; round++)
			ok = round_agrees(s, round);
		printf("%s: %s\n", ok ? "PASS" : "FAIL", name);
		ok ? passed++ : failed++;
	}
	anykvm_close(t.vcpu);
	anykvm_close(t.vm);
	anykvm_close(t.sys);
	printf("# %u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed || passed < 150;
}
