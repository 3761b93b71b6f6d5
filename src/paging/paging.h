/* SPDX-License-Identifier: MIT */
/*
 * The page-table walk: one text for every format of SDM Vol. 3A, "Paging", SDM
 * Vol. 3C, "The Extended Page Table Mechanism (EPT)", and APM Vol. 2, "Nested
 * Paging" (whose tables have the ordinary formats). The silicon walks guest and
 * second-dimension tables with it, the hypervisor guest tables.
 *
 * The walker knows formats and rights. How a table is read, and whether the
 * address of a table goes through a second dimension first, is the caller's:
 * callbacks. No locks, no allocation, no vector registers.
 */
#ifndef ANYKVM_PAGING_PAGING_H
#define ANYKVM_PAGING_PAGING_H

#include "base/types.h"
#include "x86/regs.h"

enum paging_format {
	PAGING_NONE,		/* identity, every right */
	PAGING_32BIT,		/* 2 levels, 4K and (PSE) 4M pages */
	PAGING_PAE,		/* 3 levels, root is 4 PDPTEs held in registers */
	PAGING_4LEVEL,
	PAGING_5LEVEL,
	PAGING_EPT4,
	PAGING_EPT5,
};

/* Environment of a walk: paging_walk.flags. */
#define PAGING_WP	BIT(0)	/* CR0.WP */
#define PAGING_PSE	BIT(1)	/* CR4.PSE, for PAGING_32BIT */
#define PAGING_NX	BIT(2)	/* EFER.NX */
#define PAGING_SMEP	BIT(3)
#define PAGING_SMAP	BIT(4)	/* CR4.SMAP and the access is subject to it */
#define PAGING_1G	BIT(5)	/* 1-GiB pages exist */
#define PAGING_EPT_AD	BIT(6)	/* EPTP bit 6 */
#define PAGING_PKU	BIT(7)	/* CR4.PKE */
#define PAGING_MBEC	BIT(8)	/* mode-based execute control for EPT */
#define PAGING_NO_AD	BIT(9)	/* leave accessed and dirty bits alone (probe) */
#define PAGING_PKS	BIT(10)	/* CR4.PKS */
#define PAGING_SSS	BIT(11)	/* reserved */

/* What the access is. */
#define PAGING_READ	BIT(0)
#define PAGING_WRITE	BIT(1)
#define PAGING_EXEC	BIT(2)
#define PAGING_USER	BIT(3)	/* user-mode access, or EPT: linear address is user */

struct paging_ops {
	/*
	 * Reads the @bytes (4 or 8) long entry at physical address @pa, one
	 * host access. 0, or non-zero: the walk stops and returns PAGING_ABORT;
	 * @e is what the callback has put there (a nested fault, ...).
	 */
	int (*read)(void *opaque, uint64_t pa, unsigned bytes, uint64_t *val,
		    struct x86_exception *e);
	/*
	 * Sets accessed/dirty bits: atomically replaces *@old by @new, and tells
	 * in @done whether the entry still was @old (if not the walk restarts).
	 */
	int (*cmpxchg)(void *opaque, uint64_t pa, unsigned bytes, uint64_t old,
		       uint64_t val, bool *done, struct x86_exception *e);
};

/*
 * Where a walk may begin below the root: a table, at @level, and what the entries that
 * led to it grant, as in paging_result.upper.
 */
struct paging_start {
	uint64_t table;
	uint64_t rights;
	uint8_t  level;
};

struct paging_walk {
	enum paging_format format;
	uint32_t flags;			/* PAGING_WP ... */
	uint64_t root;			/* CR3, nCR3 or EPTP (flag bits ignored) */
	const struct paging_start *start; /* NULL: at the root */
	const uint64_t *pdptr;		/* PAGING_PAE: the four PDPTEs, or NULL:
					 * read them from memory at root */
	uint8_t  maxphyaddr;
	uint32_t pkru, pkrs;
	const struct paging_ops *ops;
	void *opaque;
};

enum paging_fault {
	PAGING_OK = 0,
	PAGING_FAULT,		/* #PF / #NPF: @e->error_code and @e->address set;
				 * EPT violation: @e->error_code see below */
	PAGING_MISCONFIG,	/* EPT misconfiguration */
	PAGING_ABORT,		/* a callback failed; @e is the callback's */
};

/* EPT violation: error_code is the exit qualification's bits 0-6 and 12 as SDM
 * Vol. 3C, "Exit Qualification for EPT Violations" lays them out, as far as the
 * walk knows them (0-2 access, 3-6 rights found). */

struct paging_result {
	uint64_t pa;		/* of the byte asked for */
	uint64_t page_mask;	/* bytes in the page - 1: 0xfff, 0x1fffff, ... */
	uint8_t  prot;		/* PAGING_READ|WRITE|EXEC|USER that all levels grant
				 * (before WP/SMEP/SMAP/PK are applied). EPT:
				 * EXEC is for supervisor-mode linear addresses,
				 * USER means "executable at user-mode ones" and
				 * equals EXEC without PAGING_MBEC */
	bool     dirty;		/* leaf's dirty bit after the walk (true: no A/D) */
	bool     global;
	uint8_t  level;		/* leaf: 1 = 4K, 2 = 2M/4M, 3 = 1G */
	uint8_t  pkey;
	uint8_t  memtype;	/* EPT: memory type bits of the leaf */
	uint64_t pte;		/* the leaf as read */
	uint64_t pte_pa;
	uint64_t table_pa[6];	/* [level]: the entry used at each level */
	uint64_t upper;		/* for paging_start.rights: levels above the leaf's */
};

/*
 * Walks @va with rights @access (PAGING_READ/WRITE/EXEC/USER).
 *
 * @r	[OUT] valid on PAGING_OK; on PAGING_FAULT and PAGING_MISCONFIG level and
 *	pte_pa tell where (pte_pa 0: a PDPTE register)
 * @e	[OUT] on failure; for non-EPT formats a complete #PF, for EPT ones
 *	nested, gpa and exit are set, error_code on a violation only
 *
 * Accessed and dirty bits are set only if the access is allowed. @va is taken
 * modulo what the format translates; canonical addresses are the caller's check.
 * maxphyaddr counts as at least 32 and at most 52.
 */
enum paging_fault paging_walk(const struct paging_walk *w, uint64_t va,
			      unsigned access, struct paging_result *r,
			      struct x86_exception *e);

/* Format from control registers (CR0, CR4, EFER), as a processor chooses. */
enum paging_format paging_format(uint64_t cr0, uint64_t cr4, uint64_t efer);
/* The PAGING_* environment flags from control registers. @ac: SMAP is off for
 * this access (EFLAGS.AC at CPL < 3, explicit supervisor access). */
uint32_t paging_flags(uint64_t cr0, uint64_t cr4, uint64_t efer, bool ac);

/* Reserved-bit masks and level numbers, for the shadow MMU. */
unsigned paging_levels(enum paging_format f);

#endif
