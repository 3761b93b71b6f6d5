// SPDX-License-Identifier: MIT
/*
 * Rights of a page by level: every bit that each level of 32-bit, PAE and 4-level paging
 * can deny with, against every kind of access, with pages of every size; accessed and
 * dirty bits. SDM Vol. 3A, "Paging" ("Determination of Access Rights", "Page-Fault
 * Exceptions", "Accessed and Dirty Flags").
 *
 * What must come out is computed from the bits of all levels together.
 */
#include "lib/checks.h"

#define ALL	(PTE_P | PTE_W | PTE_U)
#define FRAME	0x1600000ul
#define PF_P	1u
#define PF_W	2u
#define PF_U	4u
#define PF_RSVD	8u
#define PF_I	0x10u
#define MAX_LEVELS 4

struct format {
	const char *name;
	unsigned levels, leaf;		/* of the leaf: 1 a PTE */
	bool wide;			/* entries of 8 bytes, with NX */
	uint64_t reserved;		/* a bit of the leaf */
	ulong va;
};

static void *entry[MAX_LEVELS + 1];
static struct state s;
static const char *const level_name[] = { NULL, "PTE", "PDE", "PDPTE", "PML4E" };

#ifdef __x86_64__
static uint64_t tables[3][512] __attribute__((aligned(4096)));

static const struct format formats[] = {
	{ "4-level paging", 4, 1, true, 1ull << 51, 0x8000000000ul },
	{ "4-level paging, 2 MiB", 4, 2, true, 1ull << 13, 0x8000000000ul },
	{ "4-level paging, 1 GiB", 4, 3, true, 1ull << 13, 0x8000000000ul + FRAME },
};

static void switch_to(const struct format *f)
{
	entry[4] = &pml4[1];
	for (unsigned l = 1; l < 4; l++)
		entry[l] = tables[l - 1];
}
#else
static uint32_t dir[1024] __attribute__((aligned(4096))), pt[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pae_low[512] __attribute__((aligned(4096))), pae_pd[512] __attribute__((aligned(4096)));
static uint64_t pae_pt[512] __attribute__((aligned(4096)));

static const struct format formats[] = {
	{ "32-bit paging", 2, 1, false, 0, 0x80000000 },
	{ "32-bit paging, 4 MiB", 2, 2, false, 1 << 21, 0x80000000 + (FRAME & 0x3fffff) },
	{ "PAE paging", 2, 1, true, 1ull << 51, 0x80000000 },
	{ "PAE paging, 2 MiB", 2, 2, true, 1 << 13, 0x80000000 },
};

/* Paging is off meanwhile: nobody looks at tables of the wrong form. */
static void switch_to(const struct format *f)
{
	write_cr0(read_cr0() & ~CR0_PG);
	for (ulong i = 0; i < 1024; i++)
		dir[i] = i << 22 | ALL | PTE_PS;
	for (ulong i = 0; i < 512; i++)
		pae_low[i] = i << 21 | ALL | PTE_PS;
	pdpt[0] = (ulong)pae_low | PTE_P;
	pdpt[2] = (ulong)pae_pd | PTE_P;
	entry[2] = f->wide ? (void *)pae_pd : (void *)&dir[512];
	entry[1] = f->wide ? (void *)pae_pt : (void *)pt;
	write_cr4((read_cr4() & ~CR4_PAE) | CR4_PSE | (f->wide ? CR4_PAE : 0));
	write_cr3(f->wide ? (ulong)pdpt : (ulong)dir);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	write_cr0(read_cr0() | CR0_PG);
}
#endif

static uint64_t get(const struct format *f, unsigned level)
{
	return f->wide ? *(uint64_t *)entry[level] : *(uint32_t *)entry[level];
}

static void set(const struct format *f, unsigned level, uint64_t v)
{
	if (f->wide)
		*(volatile uint64_t *)entry[level] = v;
	else
		*(volatile uint32_t *)entry[level] = v;
}

/* Everything allowed at every level, nothing accessed yet. */
static void map(const struct format *f)
{
	for (unsigned l = f->levels; l > f->leaf; l--)
		set(f, l, (ulong)entry[l - 1] | ALL);
	set(f, f->leaf, (f->leaf == 1 ? FRAME : f->leaf == 3 ? 0 : f->wide ? FRAME : FRAME & ~0x3ffffful) |
	    ALL | (f->leaf > 1 ? PTE_PS : 0));
	flush_tlb();
}

/* --- accesses ----------------------------------------------------------------------------------- */

CODE2(ld, "mov (%ebx), %eax", "mov (%rbx), %eax");
CODE2(st, "mov %eax, (%ebx)", "mov %eax, (%rbx)");

static const struct access { const char *name; uint32_t error; bool wp; } accesses[] = {
	{ "CPL 0, a load", 0, true }, { "CPL 0, a store, WP set", PF_W, true },
	{ "CPL 0, a store, WP clear", PF_W, false }, { "CPL 3, a load", PF_U, true },
	{ "CPL 3, a store", PF_U | PF_W, true }, { "CPL 3, a store, WP clear", PF_U | PF_W, false },
	{ "CPL 0, a fetch", PF_I, true }, { "CPL 3, a fetch", PF_U | PF_I, true },
};

static void access(const struct format *f, const struct access *a)
{
	state_init(&s, NATIVE, a->error & PF_U ? 3 : 0, a->error & PF_W ? &st : &ld);
	s.bx = f->va;
	s.ax = 0x81cd;			/* INT VEC_DONE, as the frame has it */
	if (a->error & PF_I)
		s.ip = f->va;
	write_cr0(a->wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
	enter(&s);
	write_cr0(read_cr0() | CR0_WP);
}

/* The error code, or 0: allowed. */
static uint32_t denied(const struct format *f, const struct access *a, bool *faults)
{
	uint32_t error = a->error & (f->wide ? ~0u : ~PF_I);
	uint64_t all = ALL, any = 0;

	for (unsigned l = f->levels; l >= f->leaf; l--) {
		const uint64_t e = get(f, l);

		*faults = true;
		if (!(e & PTE_P))
			return error;
		if (l == f->leaf && e & f->reserved)
			return error | PF_P | PF_RSVD;
		all &= e;
		any |= e;
	}
	*faults = (a->error & PF_U && !(all & PTE_U)) ||
		  (a->error & PF_W && !(all & PTE_W) && (a->error & PF_U || a->wp)) ||
		  (a->error & PF_I && f->wide && any & PTE_NX);
	return error | PF_P;
}

static const struct change { const char *name; uint64_t clear, set; bool wide; } changes[] = {
	{ "P clear", PTE_P, 0, false }, { "R/W clear", PTE_W, 0, false }, { "U/S clear", PTE_U, 0, false },
	{ "R/W and U/S clear", PTE_W | PTE_U, 0, false }, { "NX set", 0, PTE_NX, true },
};

static char *append(char *p, const char *text)
{
	while (*text)
		*p++ = *text++;
	*p = 0;
	return p;
}

static void one(const struct format *f, unsigned level, const struct change *c, const struct access *a)
{
	char name[96];
	uint32_t error;
	bool faults;

	append(append(append(append(append(name, level_name[level]), ": "), c->name), ", "), a->name);
	map(f);
	set(f, level, (get(f, level) & ~c->clear) | c->set);
	flush_tlb();
	error = denied(f, a, &faults);
	access(f, a);
	if (faults && stop.vector == PF && stop.cr2 != f->va) {
		note("CR2 %lx:", stop.cr2);
		stop.vector = 0xfe;
	}
	check(mode_name(NATIVE), f->name, name, faults ? PF : NO_EXC, error);
	map(f);
}

static void test_rights(const struct format *f)
{
	static const struct change nothing = { "all allowed", 0, 0, false };
	const struct change reserved = { "a reserved bit", 0, f->reserved, false };

	for (unsigned a = 0; a < ARRAY_SIZE(accesses); a++) {
		one(f, f->leaf, &nothing, &accesses[a]);
		if (f->reserved)
			one(f, f->leaf, &reserved, &accesses[a]);
		for (unsigned l = f->levels; l >= f->leaf; l--)
			for (unsigned c = 0; c < ARRAY_SIZE(changes); c++)
				if (f->wide || !changes[c].wide)
					one(f, l, &changes[c], &accesses[a]);
	}
}

/* --- accessed and dirty ------------------------------------------------------------------------------ */

/* Bits of all levels after @a of a page that has had none; @leaf: the leaf's. */
static bool bits_are(const struct format *f, const struct access *a, unsigned leaf, bool upper_a)
{
	bool ok;

	map(f);
	access(f, a);
	ok = (get(f, f->leaf) & (PTE_A | PTE_D)) == leaf;
	for (unsigned l = f->levels; l > f->leaf; l--)
		ok &= !(get(f, l) & PTE_A) == !upper_a && !(get(f, l) & PTE_D);
	return ok;
}

static void test_bits(const struct format *f)
{
	const char *m = mode_name(NATIVE);

	check_that(m, f->name, "CPL 0, a load: A at every level, D nowhere", bits_are(f, &accesses[0], PTE_A, true));
	check_that(m, f->name, "CPL 0, a store: A at every level, D in the leaf",
		   bits_are(f, &accesses[1], PTE_A | PTE_D, true));
	check_that(m, f->name, "CPL 3, a store: A at every level, D in the leaf",
		   bits_are(f, &accesses[4], PTE_A | PTE_D, true));
	check_that(m, f->name, "a fetch: A at every level, D nowhere", bits_are(f, &accesses[6], PTE_A, true));
	map(f);
	set(f, f->leaf, get(f, f->leaf) & ~(uint64_t)PTE_W);
	flush_tlb();
	access(f, &accesses[4]);
	check_that(m, f->name, "a store that is denied: D stays clear", stop.vector == PF &&
		   !(get(f, f->leaf) & PTE_D));
	map(f);
	access(f, &accesses[0]);
	access(f, &accesses[1]);
	check_that(m, f->name, "a load, then a store: D is set", get(f, f->leaf) & PTE_D);
	map(f);
}

int main(void)
{
	checks_init();
	*(volatile uint16_t *)FRAME = 0x81cd;
	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		switch_to(&formats[i]);
		test_rights(&formats[i]);
		test_bits(&formats[i]);
	}
	return 0;
}
