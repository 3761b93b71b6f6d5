/* SPDX-License-Identifier: MIT */
/* The inside of tlb.c, victims.c and walk.c. */
#ifndef ANYKVM_HW_TLB_H
#define ANYKVM_HW_TLB_H

#include "paging/paging.h"

struct hw_cpu;

#define HW_GPA_SIZE	2048	/* guest-physical translations cached */
#define HW_WRITABLE_BITS 16
#define HW_NR_SPACES	16	/* address spaces whose entries can coexist */
#define HW_NR_LOCAL	128
#define HW_NR_LENT	16
#define HW_NR_VICTIMS	256

/* Who accesses. The first two have their own keys within a space. */
enum hw_tlb_who {
	HW_TLB_SUPER,		/* supervisor, SMAP as CR4 says */
	HW_TLB_USER,
	HW_TLB_SUPER_AC,	/* supervisor with SMAP suspended: SUPER's key */
	HW_TLB_NR_KEYS = HW_TLB_SUPER_AC
};

/* All that decides a translation but who accesses. */
struct hw_space {
	uint64_t cr3;		/* with the PCID */
	uint64_t tdp_root;
	uint64_t env;		/* paging bits of CR0, CR4, EFER */
	uint64_t pkr;		/* PKRS:PKRU, each 0 while CR4 has it off */
	uint32_t tdp_format;
	uint16_t asid;
	bool valid;
	bool private;			/* its supervisor's key is its own */
	uint8_t format;			/* enum paging_format of guest tables */
	uint32_t flags[2];		/* PAGING_*; [1]: SMAP suspended */
	uint16_t key[HW_TLB_NR_KEYS];	/* 0: none yet */
};

struct hw_gpa_entry {
	uint64_t gpa, hpa;	/* pages */
	uint64_t gen;
	uint8_t rights;
};

/* A page table of the present space (SDM Vol. 3A, "Caches for Paging Structures"). */
#define HW_NR_STRUCTURES 16
struct hw_structure {
	uint64_t gen;		/* hw_tlb.structure_gen, or it is void */
	uint64_t region;	/* of 2 MiB, that it maps */
	struct paging_start start;
};

/* A user page's slot while the supervisor uses it with SMAP suspended. */
struct hw_lent {
	uint64_t tag;		/* in the slot now, for some kind */
	uint64_t user[3];	/* the user's tags */
	uintptr_t addend;
	uint16_t slot;
};

/* An entry that has lost its slot to another, but for what it says of fetches. */
struct hw_victim {
	uint64_t tag[2];	/* X86_TLB_READ, X86_TLB_WRITE */
	uintptr_t addend;
	uint8_t level;
};

struct hw_tlb {
	struct hw_space space[HW_NR_SPACES];
	struct hw_space *cur;
	struct hw_space *alike;	/* known to be like: */
	struct hw_space shared;	/* key[HW_TLB_SUPER]: of all spaces like this one */
	unsigned nr_local;
	uint16_t local[HW_NR_LOCAL];	/* slots that are cur's, under the shared key */
	struct hw_lent lent[HW_NR_LENT];
	unsigned victim;	/* space to reuse next */
	unsigned next_key;	/* odd; over 4095: start again */
	/* Linear addresses of large pages in the TLB: [large_lo, large_hi]. */
	uint64_t large_lo, large_hi;
	bool huge;		/* 1-GiB ones among them */
	uint64_t structure_gen;	/* 0 is nobody's, too */
	struct hw_structure structure[HW_NR_STRUCTURES];
	uint64_t gpa_gen;	/* 0 is nobody's */
	uint64_t tdp_root;	/* gpa_gen's */
	struct hw_gpa_entry gpa[HW_GPA_SIZE];
	/* By hash of a host page: no bit, no write permission for it. */
	uint64_t writable[1u << (HW_WRITABLE_BITS - 6)];
	struct hw_victim victims[HW_NR_VICTIMS];	/* by slot */
	uint8_t level[];	/* HW_TLB_SIZE: guest's page size of an entry */
};

/* The bytes of a guest page: 4-MiB ones are dropped by halves of 4 MiB. */
static inline uint64_t hw_level_mask(unsigned level)
{
	return level >= 3 ? ~(BIT_ULL(30) - 1) : ~(BIT_ULL(22) - 1);
}

/* Has the user's page in @slot been lent to the supervisor? */
bool hw_tlb_is_lent(const struct hw_cpu *cpu, unsigned slot);

/* --- victims.c ------------------------------------------------------------------- */

/* All of them; that of @slot; those of the large page that @la is in. */
void hw_victims_drop(struct hw_tlb *t);
void hw_victim_drop(struct hw_tlb *t, unsigned slot);
void hw_victims_flush_large(struct hw_tlb *t, uint64_t la);
/* @slot is for @tag now: what is there becomes a victim, unless it is lent. */
void hw_victim_put(struct hw_cpu *cpu, unsigned slot, uint64_t tag);
/* True: @slot has its victim again, which is @page of the context with @key and allows
 * @kind. */
bool hw_victim_bring_back(struct hw_cpu *cpu, unsigned slot, uint64_t page, uint16_t key,
			  unsigned kind);

#endif
