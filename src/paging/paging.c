/* SPDX-License-Identifier: MIT */
/*
 * The walk of every page-table format, and the choice of the format.
 *
 * A format is a row of formats[]: how many levels, how wide an entry, and per
 * level where its index lies in the address, which environment flag lets an
 * entry with the PS bit be a page, and which bits must be zero. walk_levels() is
 * the one loop over it; what differs beyond that is two vocabularies, the
 * ordinary one (P, R/W, U/S, NX, A, D) and EPT's (R, W, X, XU), each with its
 * own functions for rights and for the report of a fault.
 *
 * This is the path of every TLB fill, so all of it but the faults is inlined
 * into walk(), and the two hottest formats get an instance of walk() in which
 * the row is a constant: a third less time than the instance for any format.
 *
 * Invariants:
 * - Every entry is read once per attempt; what was checked is what is used.
 * - Accessed and dirty bits are set after all checks have passed, from the root
 *   down, each by a compare and exchange against the value that was checked.
 *   When an entry has changed meanwhile the walk starts again: it fails to end
 *   only as long as others keep writing to the very entries in use.
 * - A walk that faults has written nothing.
 *
 * What it does not do: canonical addresses, CPL and EFLAGS.AC, the global flag's
 * dependence on CR4.PGE, effective memory types. Those are the caller's.
 */
#include "paging/paging.h"

#define PT_P		BIT_ULL(0)
#define PT_W		BIT_ULL(1)
#define PT_U		BIT_ULL(2)
#define PT_A		BIT_ULL(5)
#define PT_D		BIT_ULL(6)
#define PT_PS		BIT_ULL(7)
#define PT_G		BIT_ULL(8)
#define PT_PKEY		GENMASK_ULL(62, 59)
#define PT_NX		BIT_ULL(63)

#define EPT_R		BIT_ULL(0)
#define EPT_W		BIT_ULL(1)
#define EPT_X		BIT_ULL(2)
#define EPT_MEMTYPE	GENMASK_ULL(5, 3)
#define EPT_A		BIT_ULL(8)
#define EPT_D		BIT_ULL(9)
#define EPT_XU		BIT_ULL(10)

/* Exit qualification of an EPT violation. */
#define EPTQ_READABLE	BIT(3)
#define EPTQ_WRITABLE	BIT(4)
#define EPTQ_EXEC	BIT(5)
#define EPTQ_EXEC_USER	BIT(6)

#define MAX_LEVEL	5
#define ALWAYS		BIT(31)		/* a flag every walk has */

/* 4-MByte pages: bits 20:13 of the entry are bits 39:32 of the address. */
#define PSE36_BITS	GENMASK_ULL(20, 13)
#define PSE36_SHIFT	19

struct paging_level {
	uint8_t  shift;		/* of the index in the address */
	bool     plain;		/* entry without rights and accessed bit */
	uint16_t index_mask;
	uint32_t leaf_flag;	/* PAGING_* under which PS makes a page; 0: never */
	uint64_t rsvd_table;	/* must be 0 in an entry that refers to a table */
	uint64_t rsvd_leaf;	/* ... that maps a page */
};

struct paging_desc {
	uint8_t  levels, entry_bytes;
	bool     ept, nx, pkeys;
	uint64_t root_mask, addr_mask;
	struct paging_level level[MAX_LEVEL + 1];	/* by number, 1 lowest */
};

#define ADDR64		GENMASK_ULL(51, 12)
#define ADDR32		GENMASK_ULL(31, 12)
#define PAE_HIGH	GENMASK_ULL(62, 52)

/* clang-format off */
#define LEVELS_LONG							\
	[1] = { 12, false, 511, 0,         0,     0 },			\
	[2] = { 21, false, 511, ALWAYS,    0,     GENMASK_ULL(20, 13) }, \
	[3] = { 30, false, 511, PAGING_1G, PT_PS, GENMASK_ULL(29, 13) }, \
	[4] = { 39, false, 511, 0,         PT_PS, 0 },			\
	[5] = { 48, false, 511, 0,         PT_PS, 0 }
#define LEVELS_EPT							\
	[1] = { 12, false, 511, 0,         0,                 0 },	\
	[2] = { 21, false, 511, ALWAYS,    GENMASK_ULL(6, 3), GENMASK_ULL(20, 12) }, \
	[3] = { 30, false, 511, PAGING_1G, GENMASK_ULL(7, 3), GENMASK_ULL(29, 12) }, \
	[4] = { 39, false, 511, 0,         GENMASK_ULL(7, 3), 0 },	\
	[5] = { 48, false, 511, 0,         GENMASK_ULL(7, 3), 0 }

static const struct paging_desc formats[] = {
	[PAGING_32BIT] = {
		.levels = 2, .entry_bytes = 4,
		.root_mask = ADDR32, .addr_mask = ADDR32,
		.level = {
			[1] = { 12, false, 1023, 0,          0, 0 },
			[2] = { 22, false, 1023, PAGING_PSE, 0, BIT_ULL(21) },
		},
	},
	[PAGING_PAE] = {
		.levels = 3, .entry_bytes = 8, .nx = true,
		.root_mask = GENMASK_ULL(31, 5), .addr_mask = ADDR64,
		.level = {
			[1] = { 12, false, 511, 0,      PAE_HIGH, PAE_HIGH },
			[2] = { 21, false, 511, ALWAYS, PAE_HIGH,
				PAE_HIGH | GENMASK_ULL(20, 13) },
			[3] = { 30, true,  3,   0,
				PAE_HIGH | PT_NX | GENMASK_ULL(8, 5) |
				GENMASK_ULL(2, 1), 0 },
		},
	},
	[PAGING_4LEVEL] = {
		.levels = 4, .entry_bytes = 8, .nx = true, .pkeys = true,
		.root_mask = ADDR64, .addr_mask = ADDR64,
		.level = { LEVELS_LONG },
	},
	[PAGING_5LEVEL] = {
		.levels = 5, .entry_bytes = 8, .nx = true, .pkeys = true,
		.root_mask = ADDR64, .addr_mask = ADDR64,
		.level = { LEVELS_LONG },
	},
	[PAGING_EPT4] = {
		.levels = 4, .entry_bytes = 8, .ept = true,
		.root_mask = ADDR64, .addr_mask = ADDR64,
		.level = { LEVELS_EPT },
	},
	[PAGING_EPT5] = {
		.levels = 5, .entry_bytes = 8, .ept = true,
		.root_mask = ADDR64, .addr_mask = ADDR64,
		.level = { LEVELS_EPT },
	},
};
/* clang-format on */

/* How an attempt ended. */
enum step {
	STEP_OK,
	STEP_NOT_PRESENT,
	STEP_RESERVED,		/* EPT: misconfiguration */
	STEP_ABORT,
	STEP_RETRY,
};

struct walk_state {
	const struct paging_walk *w;
	const struct paging_desc *d;
	uint64_t rsvd;		/* on top of the level's own */
	uint64_t rsvd_pse36;	/* for 4-MByte pages */
	uint64_t present;	/* any of these */
	uint64_t nx;		/* PT_NX when it means something */
	uint64_t rights;	/* and of all entries, NX inverted */
	uint64_t pte[MAX_LEVEL + 1];
};

static __force_inline void
init_state(struct walk_state *s, const struct paging_desc *d,
	   const struct paging_walk *w)
{
	/* A client may put any width into CPUID. */
	unsigned width = MIN(MAX(w->maxphyaddr, 32), 52);

	s->w = w;
	s->d = d;
	s->nx = d->nx && (w->flags & PAGING_NX) ? PT_NX : 0;
	s->rsvd = 0;
	s->rsvd_pse36 = 0;
	s->present = PT_P;
	if (d->entry_bytes == 4) {
		if (width < 40)
			s->rsvd_pse36 = PSE36_BITS &
					~0ull << (width - PSE36_SHIFT);
	} else {
		s->rsvd = GENMASK_ULL(51, width);
		if (d->ept) {
			s->present = EPT_R | EPT_W | EPT_X;
			if (w->flags & PAGING_MBEC)
				s->present |= EPT_XU;
		} else if (!s->nx) {
			s->rsvd |= PT_NX;
		}
	}
}

/* SDM Vol. 3C, "EPT Misconfigurations", beyond the reserved bits. */
static bool ept_misconfigured(uint64_t pte, bool leaf)
{
	unsigned memtype = FIELD_GET(EPT_MEMTYPE, pte);

	if ((pte & (EPT_R | EPT_W)) == EPT_W)
		return true;
	return leaf && (memtype == 2 || memtype == 3 || memtype == 7);
}

static __force_inline bool
entry_is_bad(const struct walk_state *s, const struct paging_level *l,
	     uint64_t pte, bool leaf)
{
	uint64_t rsvd = s->rsvd | (leaf ? l->rsvd_leaf : l->rsvd_table);

	if (leaf && l->shift == 22)
		rsvd |= s->rsvd_pse36;
	if (pte & rsvd)
		return true;
	return s->d->ept && ept_misconfigured(pte, leaf);
}

/* @va's entry of @table; r->pte_pa gets its address, 0 for a register. */
static __force_inline int
read_entry(const struct walk_state *s, uint64_t table, uint64_t va,
	   struct paging_result *r, uint64_t *pte, struct x86_exception *e)
{
	const struct paging_level *l = &s->d->level[r->level];
	const struct paging_walk *w = s->w;
	unsigned index = va >> l->shift & l->index_mask;

	if (unlikely(l->plain) && w->pdptr) {
		r->pte_pa = r->table_pa[r->level] = 0;
		*pte = w->pdptr[index];
		return 0;
	}
	r->pte_pa = table + index * s->d->entry_bytes;
	r->table_pa[r->level] = r->pte_pa;
	return w->ops->read(w->opaque, r->pte_pa, s->d->entry_bytes, pte, e);
}

static __force_inline unsigned first_level(const struct walk_state *s)
{
	return s->w->start ? s->w->start->level : s->d->levels;
}

/*
 * From the root (or w->start) to the page. r->level, pte_pa and table_pa, s->pte and s->rights
 * are set as far as it got.
 */
static __force_inline enum step
walk_levels(struct walk_state *s, uint64_t va, struct paging_result *r,
	    struct x86_exception *e)
{
	const struct paging_desc *d = s->d;
	const uint32_t flags = s->w->flags | ALWAYS;
	const struct paging_level *l;
	const struct paging_start *start = s->w->start;
	uint64_t table = start ? start->table : s->w->root & d->root_mask, pte;
	unsigned level;
	bool leaf;

	s->rights = start ? start->rights : ~0ull;
	for (level = first_level(s);; level--) {
		l = &d->level[level];
		r->level = level;
		if (unlikely(read_entry(s, table, va, r, &pte, e)))
			return STEP_ABORT;
		s->pte[level] = pte;
		r->upper = s->rights;
		if (!l->plain)
			s->rights &= pte ^ PT_NX;
		if (!(pte & s->present))
			return STEP_NOT_PRESENT;
		leaf = level == 1 || (pte & PT_PS && flags & l->leaf_flag);
		if (unlikely(entry_is_bad(s, l, pte, leaf)))
			return STEP_RESERVED;
		if (leaf)
			break;
		table = pte & d->addr_mask;
	}
	r->page_mask = (1ull << l->shift) - 1;
	r->pa = (pte & d->addr_mask & ~r->page_mask) | (va & r->page_mask);
	if (l->shift == 22)
		r->pa |= (pte & PSE36_BITS) << PSE36_SHIFT;
	r->pte = pte;
	return STEP_OK;
}

/* --- accessed and dirty ---------------------------------------------------- */

/*
 * SDM Vol. 3A, "Accessed and Dirty Flags"; Vol. 3C, "Accessed and Dirty Flags
 * for EPT".
 */
static __force_inline enum step
set_accessed_dirty(const struct walk_state *s, unsigned access,
		   const struct paging_result *r, struct x86_exception *e)
{
	const struct paging_walk *w = s->w;
	const uint64_t a = s->d->ept ? EPT_A : PT_A;
	const uint64_t d = s->d->ept ? EPT_D : PT_D;
	unsigned level;
	uint64_t old, new;
	bool done;

	for (level = first_level(s); level >= r->level; level--) {
		old = s->pte[level];
		new = old | a;
		if (level == r->level && access & PAGING_WRITE)
			new |= d;
		if (likely(new == old) || s->d->level[level].plain)
			continue;
		if (w->ops->cmpxchg(w->opaque, r->table_pa[level],
				    s->d->entry_bytes, old, new, &done, e))
			return STEP_ABORT;
		if (!done)
			return STEP_RETRY;
	}
	return STEP_OK;
}

static __force_inline bool has_ad(const struct walk_state *s)
{
	return !s->d->ept || s->w->flags & PAGING_EPT_AD;
}

/* --- rights, ordinary formats ------------------------------------------------ */

static __force_inline uint8_t page_prot(const struct walk_state *s)
{
	uint8_t prot = PAGING_READ;

	if (s->rights & PT_W)
		prot |= PAGING_WRITE;
	if (s->rights & PT_U)
		prot |= PAGING_USER;
	if (!s->nx || s->rights & PT_NX)
		prot |= PAGING_EXEC;
	return prot;
}

/* SDM Vol. 3A, "Protection Keys": true when the key forbids the access. */
static __force_inline bool
pkey_denies(const struct paging_walk *w, unsigned access,
	    const struct paging_result *r)
{
	bool user_page = r->prot & PAGING_USER;
	uint32_t bits;

	if (!(w->flags & (user_page ? PAGING_PKU : PAGING_PKS)) ||
	    !(access & (PAGING_READ | PAGING_WRITE)))
		return false;
	bits = (user_page ? w->pkru : w->pkrs) >> (2 * r->pkey);
	if (bits & 1)
		return true;
	return bits & 2 && access & PAGING_WRITE &&
	       (access & PAGING_USER || w->flags & PAGING_WP);
}

/* SDM Vol. 3A, "Determination of Access Rights", without protection keys. */
static __force_inline bool
page_denies(const struct paging_walk *w, unsigned access, uint8_t prot)
{
	unsigned missing = access & ~prot;

	if (missing & PAGING_EXEC)
		return true;
	if (access & PAGING_USER)
		return missing & (PAGING_USER | PAGING_WRITE);
	if (missing & PAGING_WRITE && w->flags & PAGING_WP)
		return true;
	if (!(prot & PAGING_USER))
		return false;
	if (access & PAGING_EXEC && w->flags & PAGING_SMEP)
		return true;
	return access & (PAGING_READ | PAGING_WRITE) && w->flags & PAGING_SMAP;
}

/* SDM Vol. 3A, "Page-Fault Exceptions"; @bits: P, RSVD, PK. */
static __cold enum paging_fault page_fault(const struct walk_state *s,
					   uint64_t va, unsigned access,
					   uint32_t bits,
					   struct x86_exception *e)
{
	if (access & PAGING_WRITE)
		bits |= X86_PFERR_W;
	if (access & PAGING_USER)
		bits |= X86_PFERR_U;
	if (access & PAGING_EXEC && (s->nx || s->w->flags & PAGING_SMEP))
		bits |= X86_PFERR_I;
	*e = (struct x86_exception){
		.vector = X86_PF,
		.has_error_code = true,
		.error_code = bits,
		.address = va,
	};
	return PAGING_FAULT;
}

static __force_inline enum paging_fault
page_rights(const struct walk_state *s, uint64_t va, unsigned access,
	    struct paging_result *r, struct x86_exception *e)
{
	uint32_t bits = X86_PFERR_P;
	bool denied, pk;

	r->prot = page_prot(s);
	r->global = r->pte & PT_G;
	r->pkey = s->d->pkeys ? FIELD_GET(PT_PKEY, r->pte) : 0;
	r->memtype = 0;
	denied = page_denies(s->w, access, r->prot);
	pk = s->d->pkeys && pkey_denies(s->w, access, r);
	if (likely(!denied && !pk))
		return PAGING_OK;
	if (pk)
		bits |= X86_PFERR_PK;
	return page_fault(s, va, access, bits, e);
}

/* --- rights, EPT ---------------------------------------------------------------- */

/* PAGING_USER: user-mode linear addresses may be executed. */
static __force_inline uint8_t ept_prot(const struct walk_state *s)
{
	bool mbec = s->w->flags & PAGING_MBEC;
	uint8_t prot = 0;

	if (s->rights & EPT_R)
		prot |= PAGING_READ;
	if (s->rights & EPT_W)
		prot |= PAGING_WRITE;
	if (s->rights & EPT_X)
		prot |= PAGING_EXEC;
	if (s->rights & (mbec ? EPT_XU : EPT_X))
		prot |= PAGING_USER;
	return prot;
}

static __cold enum paging_fault ept_fault(const struct walk_state *s,
					  uint64_t va, unsigned access,
					  enum paging_fault fault,
					  struct x86_exception *e)
{
	uint8_t prot = ept_prot(s);
	uint32_t q = access & (PAGING_READ | PAGING_WRITE | PAGING_EXEC);

	if (prot & PAGING_READ)
		q |= EPTQ_READABLE;
	if (prot & PAGING_WRITE)
		q |= EPTQ_WRITABLE;
	if (prot & PAGING_EXEC)
		q |= EPTQ_EXEC;
	if (prot & PAGING_USER && s->w->flags & PAGING_MBEC)
		q |= EPTQ_EXEC_USER;
	*e = (struct x86_exception){
		.error_code = fault == PAGING_FAULT ? q : 0,
		.address = va,
		.nested = true,
		.exit = fault,
		.gpa = va,
	};
	return fault;
}

/* SDM Vol. 3C, "EPT Violations". */
static __force_inline enum paging_fault
ept_rights(const struct walk_state *s, uint64_t va, unsigned access,
	   struct paging_result *r, struct x86_exception *e)
{
	unsigned need = access & (PAGING_READ | PAGING_WRITE | PAGING_EXEC);

	r->prot = ept_prot(s);
	r->global = false;
	r->pkey = 0;
	r->memtype = FIELD_GET(EPT_MEMTYPE, r->pte);
	if (need & PAGING_EXEC && access & PAGING_USER)
		need ^= PAGING_EXEC | PAGING_USER;
	if (likely(!(need & ~r->prot)))
		return PAGING_OK;
	return ept_fault(s, va, access, PAGING_FAULT, e);
}

/* --- the walk ------------------------------------------------------------------- */

static enum paging_fault walk_identity(uint64_t va, struct paging_result *r)
{
	*r = (struct paging_result){
		.pa = va,
		.page_mask = PAGE_SIZE - 1,
		.prot = PAGING_READ | PAGING_WRITE | PAGING_EXEC | PAGING_USER,
		.dirty = true,
		.level = 1,
	};
	return PAGING_OK;
}

static __cold enum paging_fault walk_failed(const struct walk_state *s,
					    enum step step, uint64_t va,
					    unsigned access,
					    struct x86_exception *e)
{
	if (step == STEP_ABORT)
		return PAGING_ABORT;
	if (s->d->ept)
		return ept_fault(s, va, access, step == STEP_RESERVED ?
				 PAGING_MISCONFIG : PAGING_FAULT, e);
	return page_fault(s, va, access, step == STEP_RESERVED ?
			  X86_PFERR_P | X86_PFERR_RSVD : 0, e);
}

static __force_inline enum paging_fault
walk(const struct paging_walk *w, const struct paging_desc *d, uint64_t va,
     unsigned access, struct paging_result *r, struct x86_exception *e)
{
	struct walk_state s;
	enum paging_fault fault;
	enum step step;

	init_state(&s, d, w);
	do {
		step = walk_levels(&s, va, r, e);
		if (unlikely(step != STEP_OK))
			return walk_failed(&s, step, va, access, e);
		fault = d->ept ? ept_rights(&s, va, access, r, e)
				 : page_rights(&s, va, access, r, e);
		if (unlikely(fault != PAGING_OK))
			return fault;
		if (!has_ad(&s)) {
			r->dirty = true;
			return PAGING_OK;
		}
		r->dirty = r->pte & (d->ept ? EPT_D : PT_D);
		if (w->flags & PAGING_NO_AD)
			return PAGING_OK;
		step = set_accessed_dirty(&s, access, r, e);
	} while (unlikely(step == STEP_RETRY));
	if (step != STEP_OK)
		return PAGING_ABORT;
	r->dirty |= !!(access & PAGING_WRITE);
	return PAGING_OK;
}

enum paging_fault paging_walk(const struct paging_walk *w, uint64_t va,
			      unsigned access, struct paging_result *r,
			      struct x86_exception *e)
{
	/* The formats of every present-day guest get code of their own. */
	switch (w->format) {
	case PAGING_NONE:
		return walk_identity(va, r);
	case PAGING_4LEVEL:
		return walk(w, &formats[PAGING_4LEVEL], va, access, r, e);
	case PAGING_EPT4:
		return walk(w, &formats[PAGING_EPT4], va, access, r, e);
	default:
		return walk(w, &formats[w->format], va, access, r, e);
	}
}

/* --- control registers ------------------------------------------------------------ */

enum paging_format paging_format(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	if (!(cr0 & X86_CR0_PG))
		return PAGING_NONE;
	if (efer & X86_EFER_LMA)
		return cr4 & X86_CR4_LA57 ? PAGING_5LEVEL : PAGING_4LEVEL;
	return cr4 & X86_CR4_PAE ? PAGING_PAE : PAGING_32BIT;
}

uint32_t paging_flags(uint64_t cr0, uint64_t cr4, uint64_t efer, bool ac)
{
	uint32_t flags = 0;

	if (cr0 & X86_CR0_WP)
		flags |= PAGING_WP;
	if (cr4 & X86_CR4_PSE)
		flags |= PAGING_PSE;
	if (cr4 & X86_CR4_PAE && efer & X86_EFER_NX)
		flags |= PAGING_NX;
	if (cr4 & X86_CR4_SMEP)
		flags |= PAGING_SMEP;
	if (cr4 & X86_CR4_SMAP && !ac)
		flags |= PAGING_SMAP;
	if (efer & X86_EFER_LMA && cr4 & X86_CR4_PKE)
		flags |= PAGING_PKU;
	if (efer & X86_EFER_LMA && cr4 & X86_CR4_PKS)
		flags |= PAGING_PKS;
	return flags;
}

unsigned paging_levels(enum paging_format f)
{
	return f == PAGING_NONE ? 0 : formats[f].levels;
}
