// SPDX-License-Identifier: MIT
/*
 * 4-level paging: error codes for every permission and kind of access, accessed and
 * dirty bits, reserved bits, large pages, NX, WP, SMEP, SMAP, global pages, PCID,
 * what a TLB may and must forget.
 */
#include "lib/guest64.h"

#define ALL	(PTE_P | PTE_W | PTE_U)

enum { READ, WRITE, FETCH };

/* One access to @p, as it is or at CPL 3; `exc` says how it went. */
static uint64_t touch(void *p, int kind)
{
	if (kind == READ)
		TRY("mov (%0), %%al", : : "r"(p) : "rax", "memory");
	else if (kind == WRITE)
		TRY("movb $0xc3, (%0)", : : "r"(p) : "memory");
	else
		TRY("call *%0", : : "r"(p) : "memory");
	return exc.vector;
}
static uint64_t user_read(void *p) { return touch(p, READ); }
static uint64_t user_write(void *p) { return touch(p, WRITE); }

/* A call that faults leaves its return address: undone by what called us. */
static NOINLINE void fetch(void *p)
{
	exc.vector = NO_EXC;
	asm volatile("mov %%rsp, %%rbx\n1: call *%0\n2: mov %%rbx, %%rsp\n"
		".pushsection .ex, \"a\"; .quad 1b, 2b; .popsection"
		: : "r"(p) : "rbx", "memory");
	/* The fault is at the target. */
}

static void fetch_fault(struct regs *r)
{
	exc = (struct exc){ r->vector, r->error, r->rip, read_cr2(), r->rflags,
		r->cs, r->rsp };
	if (r->rip >= SCRATCH_VA && r->rip < SCRATCH_VA + SCRATCH_PAGES * 4096) {
		uint64_t *sp = (uint64_t *)r->rsp;

		r->rip = *sp;
		r->rsp += 8;
		return;
	}
	panic("page fault at %lx, cr2 %lx", r->rip, read_cr2());
}

static void kernel_fetch(void *p)
{
	set_handler(PF, fetch_fault);
	fetch(p);
	set_handler(PF, NULL);
}

static uint64_t user_fetch(void *p)
{
	fetch(p);
	return exc.vector;
}

/* Rows: flags of the PTE; error code, or none (-1), of each access. */
#define OK (-1)
static const struct {
	const char *name;
	uint64_t flags;
	int kr, kw, kx, ur, uw, ux;	/* kernel and user: read, write, fetch */
} matrix[] = {
	{ "not present", 0, 0, 2, 0x10, 4, 6, 0x14 },
	{ "supervisor, read-only", PTE_P, OK, 3, OK, 5, 7, 0x15 },
	{ "supervisor, writable", PTE_P | PTE_W, OK, OK, OK, 5, 7, 0x15 },
	{ "user, read-only", PTE_P | PTE_U, OK, 3, OK, OK, 7, OK },
	{ "user, writable", ALL, OK, OK, OK, OK, OK, OK },
	{ "user, writable, NX", ALL | PTE_NX, OK, OK, 0x11, OK, OK, 0x15 },
	{ "supervisor, writable, NX", PTE_P | PTE_W | PTE_NX, OK, OK, 0x11, 5, 7, 0x15 },
	{ "reserved bit", ALL | 1ull << 51, 9, 0xb, 0x19, 0xd, 0xf, 0x1d },
};

static void check(const char *name, const char *access, int want)
{
	unsigned vector = want == OK ? NO_EXC : PF;
	bool ok = exc.vector == vector && (want == OK || exc.error == (unsigned)want);

	if (!ok)
		note("#%d(%x), want #%d(%x):", exc.vector, exc.error, vector, want);
	report(ok, "%s: %s", name, access);
}

static void test_matrix(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(matrix); i++) {
		const char *name = matrix[i].name;
		uint8_t *p;

		*(uint8_t *)scratch_frame(0) = 0xc3;	/* RET */
		p = scratch_map(0, matrix[i].flags);
		touch(p, READ);
		check(name, "read at CPL 0", matrix[i].kr);
		touch(p, WRITE);
		check(name, "write at CPL 0", matrix[i].kw);
		kernel_fetch(p);
		check(name, "fetch at CPL 0", matrix[i].kx);
		run_user(user_read, p);
		check(name, "read at CPL 3", matrix[i].ur);
		run_user(user_write, p);
		check(name, "write at CPL 3", matrix[i].uw);
		exc.vector = NO_EXC;
		set_handler(PF, fetch_fault);
		run_user(user_fetch, p);
		set_handler(PF, NULL);
		check(name, "fetch at CPL 3", matrix[i].ux);
	}
}

/* The same permission taken away at each level. */
static void test_levels(void)
{
	static const char *const names[] = { "", "PTE", "PDE", "PDPTE", "PML4E" };
	void *p = scratch_map(0, ALL);

	for (unsigned level = 1; level <= 4; level++) {
		uint64_t *e = scratch_entry(0, level), old = *e;

		*e = old & ~(uint64_t)PTE_P;
		flush_tlb();
		touch(p, READ);
		check(names[level], "not present", 0);
		*e = old & ~(uint64_t)PTE_W;
		flush_tlb();
		touch(p, WRITE);
		check(names[level], "read-only", 3);
		*e = old & ~(uint64_t)PTE_U;
		flush_tlb();
		run_user(user_read, p);
		check(names[level], "supervisor", 5);
		*e = old | PTE_NX;
		flush_tlb();
		kernel_fetch(p);
		check(names[level], "NX", 0x11);
		*e = old | 1ull << 51;
		flush_tlb();
		touch(p, READ);
		check(names[level], "reserved bit", 9);
		*e = old;
		flush_tlb();
	}
	*scratch_entry(0, 4) |= PTE_PS;
	flush_tlb();
	touch(p, READ);
	check("PML4E", "PS is reserved", 9);
	*scratch_entry(0, 4) &= ~(uint64_t)PTE_PS;
	flush_tlb();
}

static void test_accessed_dirty(void)
{
	uint64_t *e[5];
	void *p = scratch_map(0, ALL);

	for (unsigned l = 1; l <= 4; l++) {
		e[l] = scratch_entry(0, l);
		*e[l] &= ~(uint64_t)(PTE_A | PTE_D);
	}
	flush_tlb();
	touch(p, READ);
	report(*e[1] & *e[2] & *e[3] & *e[4] & PTE_A, "a read sets A at every level");
	report(!(*e[1] & PTE_D), "... and not D");
	touch(p, WRITE);
	report(*e[1] & PTE_D, "a write sets D");
	report(!(*e[2] & PTE_D), "... in the last level only");
	*e[1] &= ~(uint64_t)(PTE_A | PTE_D);
	invlpg(p);
	run_user(user_write, p);
	report((*e[1] & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "a write at CPL 3 sets both");
	*e[1] = (*e[1] & ~(uint64_t)(PTE_A | PTE_D | PTE_W));
	invlpg(p);
	touch(p, WRITE);
	report(!(*e[1] & PTE_D), "a write that faults does not set D");
}

static void test_wp(void)
{
	void *p = scratch_map(0, PTE_P | PTE_U);

	write_cr0(read_cr0() & ~CR0_WP);
	touch(p, WRITE);
	report_none("WP off: CPL 0 writes a read-only page");
	run_user(user_write, p);
	report_exc(PF, 7, "WP off: CPL 3 does not");
	write_cr0(read_cr0() | CR0_WP);
	touch(p, WRITE);
	report_exc(PF, 3, "WP on: CPL 0 does not either");
}

static void test_large(void)
{
	uint64_t *pde = scratch_entry(0, 2), old = *pde, old3;
	uint64_t *pdpte = scratch_entry(0, 3);
	volatile uint32_t *big = (void *)(SCRATCH_VA + 0x123000);

	old3 = *pdpte;
	*(volatile uint32_t *)0x1923000 = 0xb16;
	*pde = 0x1800000 | ALL | PTE_PS;
	flush_tlb();
	report_eq(*big, 0xb16, "a 2-MiB page");
	report(*pde & PTE_A && !(*pde & PTE_D), "... is accessed");
	*big = 1;
	report(*pde & PTE_D, "... and dirty");
	*pde = 0x1800000 | ALL | PTE_PS | 1 << 13;
	flush_tlb();
	touch((void *)big, READ);
	report_exc(PF, 9, "a 2-MiB page with reserved address bits");
	*pde = old;
	if (has_d81(26)) {
		*pdpte = 0 | ALL | PTE_PS;
		flush_tlb();
		*(volatile uint32_t *)0x123000 = 0x16;
		report_eq(*big, 0x16, "a 1-GiB page");
		*pdpte = 0 | ALL | PTE_PS | 1 << 20;
		flush_tlb();
		touch((void *)big, READ);
		report_exc(PF, 9, "a 1-GiB page with reserved address bits");
	} else {
		report_skip("a 1-GiB page");
		report_skip("a 1-GiB page with reserved address bits");
	}
	*pdpte = old3;
	flush_tlb();
}

static void test_nxe(void)
{
	void *p = scratch_map(0, ALL | PTE_NX);

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NX);
	flush_tlb();
	touch(p, READ);
	report_exc(PF, 9, "NX is a reserved bit without EFER.NXE");
	p = scratch_map(0, 0);
	exc.error = 0;
	kernel_fetch(p);
	report_exc(PF, 0, "a fetch is not told apart without NXE");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	flush_tlb();
}

/* The second set of tables: low memory supervisor-only, as SMEP and SMAP need. */
static void set_low_user(bool user)
{
	if (user)
		pml4[0] |= PTE_U;
	else
		pml4[0] &= ~(uint64_t)PTE_U;
	flush_tlb();
}

static void test_smep(void)
{
	void *p;

	if (!has_b7(7)) {
		report_skip("SMEP: user page");
		report_skip("SMEP: supervisor page");
		report_skip("SMEP: with NX");
		return;
	}
	*(uint8_t *)scratch_frame(0) = 0xc3;
	p = scratch_map(0, ALL);
	set_low_user(false);
	write_cr4(read_cr4() | CR4_SMEP);
	kernel_fetch(p);
	report_exc(PF, 0x11, "SMEP: user page");
	p = scratch_map(0, PTE_P | PTE_W);
	kernel_fetch(p);
	report_none("SMEP: supervisor page");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_NX);
	p = scratch_map(0, ALL);
	kernel_fetch(p);
	report_exc(PF, 0x11, "SMEP: says fetch without NXE, too");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	write_cr4(read_cr4() & ~CR4_SMEP);
	set_low_user(true);
}

static void test_smap(void)
{
	void *p;

	if (!has_b7(20)) {
		TRY("stac", : : : "cc");
		report_exc(UD, 0, "STAC is undefined without SMAP");
		for (unsigned i = 0; i < 5; i++)
			report_skip("SMAP %d", i);
		return;
	}
	p = scratch_map(0, ALL);
	set_low_user(false);
	asm volatile("clac" : : : "cc");
	write_cr4(read_cr4() | CR4_SMAP);
	touch(p, READ);
	report_exc(PF, 1, "SMAP: a read of a user page");
	touch(p, WRITE);
	report_exc(PF, 3, "SMAP: a write of a user page");
	asm volatile("stac" : : : "cc");
	touch(p, READ);
	report_none("SMAP: after STAC");
	asm volatile("clac" : : : "cc");
	touch(p, READ);
	report_exc(PF, 1, "SMAP: after CLAC");
	touch((void *)0x100000, READ);
	report_none("SMAP: supervisor pages");
	write_cr4(read_cr4() & ~CR4_SMAP);
	set_low_user(true);
	touch(p, READ);
	report_none("SMAP off again");
}

static void test_flush(void)
{
	volatile uint32_t *p;
	uint64_t *pte = scratch_entry(0, 1);

	*(volatile uint32_t *)scratch_frame(0) = 1;
	*(volatile uint32_t *)scratch_frame(1) = 2;
	p = scratch_map(0, ALL);
	report_eq(*p, 1, "a page");
	*pte = scratch_frame(1) | ALL;
	invlpg((void *)p);
	report_eq(*p, 2, "another after INVLPG");
	*pte = scratch_frame(0) | ALL;
	flush_tlb();
	report_eq(*p, 1, "and back after MOV to CR3");
	write_cr4(read_cr4() | CR4_PGE);
	*pte = scratch_frame(1) | ALL | PTE_G;
	invlpg((void *)p);
	report_eq(*p, 2, "a global page");
	*pte = scratch_frame(0) | ALL | PTE_G;
	write_cr4(read_cr4() & ~CR4_PGE);
	report_eq(*p, 1, "... is gone after CR4.PGE changes");
	*pte = 0;
	invlpg((void *)p);
	touch((void *)p, READ);
	report_exc(PF, 0, "not present after INVLPG");
	*pte = scratch_frame(1) | ALL;
	touch((void *)p, READ);
	report_none("not-present entries are not kept");
	*pte = scratch_frame(1) | PTE_P;
	invlpg((void *)p);
	touch((void *)p, READ);
	*pte = scratch_frame(1) | ALL;
	touch((void *)p, WRITE);
	report_none("more rights need no flush (a fault looks again)");
}

static void test_pcid(void)
{
	struct { uint64_t pcid, addr; } d = { 0, 0 };
	volatile uint32_t *p = (void *)SCRATCH_VA;

	if (!has_c1(17)) {
		TRY("mov %0, %%cr4", : : "r"(read_cr4() | CR4_PCIDE));
		report_exc(GP, 0, "CR4.PCIDE is reserved without PCID");
		for (unsigned i = 0; i < 3; i++)
			report_skip("PCID %d", i);
	} else {
		write_cr3(read_cr3() | 1);
		TRY("mov %0, %%cr4", : : "r"(read_cr4() | CR4_PCIDE));
		report_exc(GP, 0, "PCIDE needs CR3's PCID to be 0");
		write_cr3(read_cr3() & ~1ul);
		write_cr4(read_cr4() | CR4_PCIDE);
		TRY("mov %0, %%cr3", : : "r"(read_cr3() | 5));
		report_none("CR3 with a PCID");
		report_eq(read_cr3() & 0xfff, 5, "... reads back");
		TRY("mov %0, %%cr3", : : "r"(BIT(63) | read_cr3()));
		report(exc.vector == NO_EXC && !(read_cr3() >> 63),
		       "bit 63 of CR3 is taken and not kept");
		write_cr3((read_cr3() & ~0xffful) | BIT(63));
		write_cr4(read_cr4() & ~CR4_PCIDE);
	}
	scratch_map(0, ALL);
	if (!has_b7(10)) {
		TRY("invpcid %0, %1", : : "m"(d), "r"(2ul));
		report_exc(UD, 0, "INVPCID is undefined without its bit");
		report_skip("INVPCID: type 4");
		report_skip("INVPCID: address");
		return;
	}
	*p = 1;
	*(volatile uint32_t *)scratch_frame(1) = 2;
	*scratch_entry(0, 1) = scratch_frame(1) | ALL;
	TRY("invpcid %0, %1", : : "m"(d), "r"(2ul));
	report(exc.vector == NO_EXC && *p == 2, "INVPCID of everything");
	TRY("invpcid %0, %1", : : "m"(d), "r"(4ul));
	report_exc(GP, 0, "INVPCID of an unknown type");
	d.pcid = 1ul << 12;
	TRY("invpcid %0, %1", : : "m"(d), "r"(1ul));
	report_exc(GP, 0, "INVPCID with reserved bits");
}

int main(void)
{
	write_cr0(read_cr0() | CR0_WP);
	test_matrix();
	test_levels();
	test_accessed_dirty();
	test_wp();
	test_large();
	test_nxe();
	test_smep();
	test_smap();
	test_flush();
	test_pcid();
	return 0;
}
