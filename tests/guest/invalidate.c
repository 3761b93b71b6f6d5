// SPDX-License-Identifier: MIT
/*
 * What invalidates translations: after it, loads, stores and fetches go where the tables
 * say, global pages, other process contexts and large pages too where that is promised.
 * SDM Vol. 3A, "Invalidation of TLBs and Paging-Structure Caches" ("Operations that
 * Invalidate TLBs and Paging-Structure Caches"); SDM Vol. 2, "INVLPG", "INVPCID".
 *
 * A page is used, its entry goes to another frame, the operation is done, and the page
 * is used again. What is only allowed to go is no case.
 */
#include "lib/checks.h"

#define M	"64-bit"
#define USE	PTE_P | PTE_W | PTE_U | PTE_A | PTE_D
#define CR3_KEEP BIT(63)
#define PCID	5ul
#define CALLS	50

static bool have_pcid, have_invpcid;
static ulong cr3;

/* Two frames, of which each has its number as data and in code that returns it. */
struct frame { uint32_t value; uint8_t code[8]; };

static struct frame *frame(unsigned n)
{
	return (struct frame *)scratch_frame(n);
}

static void fill(void)
{
	for (unsigned n = 0; n < 2; n++) {
		frame(n)->value = n + 1;
		memcpy(frame(n)->code, "\xb8\x00\x00\x00\x00\xc3", 6);
		frame(n)->code[1] = n + 1;
	}
}

static volatile struct frame *page(void)
{
	return (void *)SCRATCH_VA;
}

/* What the page's code returns; called often by way of a register, as a processor would
 * remember. 0: not always the same. */
static unsigned call(void)
{
	unsigned (*volatile code)(void) = (unsigned (*)(void))(ulong)page()->code;
	const unsigned first = code();

	for (unsigned n = 0; n < CALLS; n++)
		if (code() != first)
			return 0;
	return first;
}

/* What the page's load, fetch, and store see: 11h times the frame, but for stores. */
static unsigned use(void)
{
	const unsigned load = page()->value, fetch = call();

	page()->value = load;
	return load << 4 | fetch;
}

static void point(unsigned n, ulong flags)
{
	*(volatile uint64_t *)scratch_entry(0, 1) = scratch_frame(n) | flags;
}

static void invpcid(ulong type, ulong pcid, const volatile void *addr)
{
	const struct { ulong pcid, addr; } d = { pcid, (ulong)addr };

	asm volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static void op_invlpg(void) { invlpg((void *)SCRATCH_VA); }
static void op_invlpg_end(void) { invlpg((void *)(SCRATCH_VA + 4095)); }
static void op_cr3(void) { write_cr3(read_cr3()); }
static void op_pge_off(void) { write_cr4(read_cr4() & ~CR4_PGE); }
static void op_pge_twice(void)
{
	write_cr4(read_cr4() ^ CR4_PGE);
	write_cr4(read_cr4() ^ CR4_PGE);
}
static void op_smep(void) { write_cr4(read_cr4() | CR4_SMEP); write_cr4(read_cr4() & ~CR4_SMEP); }
static void op_invpcid0(void) { invpcid(0, read_cr3() & 0xfff, page()); }
static void op_invpcid1(void) { invpcid(1, read_cr3() & 0xfff, NULL); }
static void op_invpcid2(void) { invpcid(2, 0, NULL); }
static void op_invpcid3(void) { invpcid(3, 0, NULL); }
static void op_pcide_off(void)
{
	write_cr3(cr3);
	write_cr4(read_cr4() & ~CR4_PCIDE);
}

enum { GLOBAL = 1, PCIDE = 2, INVPCID = 4, SMEP = 8 };

static const struct { const char *name; void (*op)(void); unsigned needs, how; } rows[] = {
	{ "INVLPG", op_invlpg, 0, 0 },
	{ "INVLPG, its last byte", op_invlpg_end, 0, 0 },
	{ "INVLPG, a global page", op_invlpg, 0, GLOBAL },
	{ "INVLPG, a PCID", op_invlpg, PCIDE, PCIDE },
	{ "MOV to CR3", op_cr3, 0, 0 },
	{ "MOV to CR3, a PCID", op_cr3, PCIDE, PCIDE },
	{ "CR4.PGE cleared, a global page", op_pge_off, 0, GLOBAL },
	{ "CR4.PGE changed twice, a global page", op_pge_twice, 0, GLOBAL },
	{ "CR4.PGE changed twice, a PCID", op_pge_twice, PCIDE, PCIDE },
	{ "CR4.PCIDE cleared", op_pcide_off, PCIDE, PCIDE },
	{ "CR4.SMEP set", op_smep, SMEP, 0 },
	{ "INVPCID of the address", op_invpcid0, INVPCID, 0 },
	{ "INVPCID of the address, a PCID", op_invpcid0, INVPCID | PCIDE, PCIDE },
	{ "INVPCID of the context", op_invpcid1, INVPCID, 0 },
	{ "INVPCID of the context, a PCID", op_invpcid1, INVPCID | PCIDE, PCIDE },
	{ "INVPCID of everything", op_invpcid2, INVPCID, 0 },
	{ "INVPCID of everything, a global page", op_invpcid2, INVPCID, GLOBAL },
	{ "INVPCID of everything, a PCID", op_invpcid2, INVPCID | PCIDE, PCIDE },
	{ "INVPCID of everything that is not global", op_invpcid3, INVPCID, 0 },
	{ "INVPCID of everything that is not global, a PCID", op_invpcid3, INVPCID | PCIDE, PCIDE },
};

static bool possible(unsigned needs)
{
	return (!(needs & PCIDE) || have_pcid) && (!(needs & INVPCID) || have_invpcid) &&
	       (!(needs & SMEP) || has_b7(7));
}

static void begin(unsigned how)
{
	write_cr4((read_cr4() & ~(CR4_PCIDE | CR4_PGE)) | (how & GLOBAL ? CR4_PGE : 0));
	if (how & PCIDE) {
		write_cr4(read_cr4() | CR4_PCIDE);
		write_cr3(cr3 | PCID);
	}
	fill();
	point(0, (USE) | (how & GLOBAL ? PTE_G : 0));
	invlpg((void *)SCRATCH_VA);
}

static void end(void)
{
	write_cr3(cr3);
	write_cr4(read_cr4() & ~(CR4_PCIDE | CR4_PGE));
	write_cr3(cr3);
}

/* SMEP does not let the supervisor use the user's code: the tests' is not. */
static void set_user(bool user)
{
	pml4[0] = user ? pml4[0] | PTE_U : pml4[0] & ~(uint64_t)PTE_U;
	write_cr3(cr3);
}

static void test_rows(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned before, after;

		if (!possible(rows[i].needs)) {
			check_skip(M, "invalidation", rows[i].name);
			continue;
		}
		set_user(!(rows[i].needs & SMEP));
		begin(rows[i].how);
		before = use();
		point(1, (USE) | (rows[i].how & GLOBAL ? PTE_G : 0));
		rows[i].op();
		after = use();
		end();
		set_user(true);
		if (before != 0x11 || after != 0x22 || frame(0)->value != 1)
			note("%x, then %x:", before, after);
		check_that(M, "invalidation", rows[i].name, before == 0x11 && after == 0x22 && frame(1)->value == 2);
	}
}

/* The entry of another context changes while this one runs; back there without a flush. */
static void other_context(const char *name, void (*op)(void), bool here)
{
	unsigned before, after;

	if (!here || !have_pcid) {
		check_skip(M, "invalidation", name);
		return;
	}
	begin(PCIDE);
	before = use();
	write_cr3(cr3 | CR3_KEEP);
	point(1, USE);
	op();
	write_cr3(cr3 | PCID | CR3_KEEP);
	after = use();
	end();
	check_that(M, "invalidation", name, before == 0x11 && after == 0x22);
}

static void op_other0(void) { invpcid(0, PCID, page()); }
static void op_other1(void) { invpcid(1, PCID, NULL); }
static void op_other_cr3(void) { write_cr3(cr3 | PCID); write_cr3(cr3 | CR3_KEEP); }

/* Upper levels: what is cached of them goes with any INVLPG, and with MOV to CR3. */
static void upper_level(unsigned level, void (*op)(void), const char *name)
{
	uint64_t *e = scratch_entry(0, level), old = *e, *table = alloc_page(), *below = table;
	unsigned before, after;

	begin(0);
	before = use();
	memcpy(table, (void *)(old & 0x000ffffffffff000ul), 4096);
	for (unsigned l = level; l > 2; l--) {
		below[0] = (ulong)alloc_page() | (USE);
		below = (uint64_t *)(below[0] & 0x000ffffffffff000ul);
	}
	below[0] = scratch_frame(1) | (USE);
	*(volatile uint64_t *)e = (ulong)table | (USE);
	op();
	after = use();
	*(volatile uint64_t *)e = old;
	end();
	check_that(M, "invalidation", name, before == 0x11 && after == 0x22);
}

/* A 2-MiB page: any address in it. */
static void test_large(void)
{
	uint64_t *pde = scratch_entry(0, 2), old = *pde;
	const volatile uint32_t *p = (void *)(SCRATCH_VA + 0x3000);
	uint32_t before, after;

	*(volatile uint32_t *)0x1803000 = 1;
	*(volatile uint32_t *)0x1a03000 = 2;
	*(volatile uint64_t *)pde = 0x1800000 | (USE) | PTE_PS;
	write_cr3(cr3);
	before = *p;
	*(volatile uint64_t *)pde = 0x1a00000 | (USE) | PTE_PS;
	invlpg((void *)(SCRATCH_VA + 0x1ff000));
	after = *p;
	*(volatile uint64_t *)pde = old;
	write_cr3(cr3);
	check_that(M, "invalidation", "INVLPG of another address of a 2-MiB page", before == 1 && after == 2);
}

/* What is not present, or does not allow, is not kept. */
static void test_not_kept(void)
{
	volatile uint32_t *p = (void *)SCRATCH_VA;
	unsigned first;

	begin(0);
	point(0, 0);
	invlpg((void *)p);
	TRY("mov (%0), %%eax", : : "r"(p) : "eax");
	first = exc.vector;
	point(1, USE);
	TRY("mov (%0), %%eax", : : "r"(p) : "eax");
	check_that(M, "invalidation", "a page that was not present needs none", first == PF && exc.vector == NO_EXC &&
		   use() == 0x22);
	end();
}

int main(void)
{
	checks_init();
	have_pcid = has_c1(17);
	have_invpcid = has_b7(10);
	cr3 = read_cr3();
	scratch_map(0, USE);
	write_cr0(read_cr0() | CR0_WP);
	test_rows();
	other_context("INVPCID of another context's address", op_other0, have_invpcid);
	other_context("INVPCID of another context", op_other1, have_invpcid);
	other_context("INVPCID of everything, in another context", op_invpcid2, have_invpcid);
	other_context("INVPCID of everything that is not global, in another context", op_invpcid3, have_invpcid);
	other_context("MOV to CR3 without bit 63", op_other_cr3, true);
	other_context("CR4.PGE changed twice, in another context", op_pge_twice, true);
	upper_level(2, op_invlpg, "INVLPG, the PDE has changed");
	upper_level(3, op_invlpg, "INVLPG, the PDPTE has changed");
	upper_level(4, op_invlpg, "INVLPG, the PML4E has changed");
	upper_level(2, op_cr3, "MOV to CR3, the PDE has changed");
	upper_level(3, op_cr3, "MOV to CR3, the PDPTE has changed");
	upper_level(4, op_cr3, "MOV to CR3, the PML4E has changed");
	test_large();
	test_not_kept();
	return 0;
}
