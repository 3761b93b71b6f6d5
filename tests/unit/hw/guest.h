/* SPDX-License-Identifier: MIT */
/*
 * A guest without a hypervisor, for the tests of the processor's core: 4 MiB of
 * memory behind a second dimension of 4-KiB pages (EPT, or NPT when @amd), a
 * control block filled by hand, and the three states that code starts in. Code
 * is written as assembler text in the test (GUEST_CODE) and ends with HLT, which
 * is intercepted. Every vector's handler is a HLT too: rip tells which one ran.
 */
#ifndef ANYKVM_TESTS_HW_GUEST_H
#define ANYKVM_TESTS_HW_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/access.h"
#include "hw/state.h"

#define G_MEM		(4u << 20)
#define G_CODE		0x1000u
#define G_STACK		0x9000u		/* top */
#define G_PML4		0x10000u
#define G_PDPT		0x11000u
#define G_PD		0x12000u
#define G_PT		0x13000u	/* of the first 2 MiB */
#define G_IDT		0x20000u
#define G_STUBS		0x21000u	/* 16 bytes a vector */
#define G_GDT		0x22000u
#define G_TSS		0x23000u
#define G_USTACK	0x29000u
#define G_DATA		0x30000u
#define G_LARGE		0x200000u	/* one 2-MiB page */

#define PTE_P	1ull
#define PTE_W	2ull
#define PTE_U	4ull
#define PTE_A	0x20ull
#define PTE_D	0x40ull
#define PTE_PS	0x80ull
#define PTE_NX	(1ull << 63)

struct guest {
	struct hw_cpu *cpu;
	struct x86_emulate_ctxt *c;
	uint8_t *mem;
	uint64_t *tdp;		/* 4 pages of tables; PTEs at [1536] */
	struct x86_fpu fpu;
	bool amd;
};

/* Environment: ANYKVM_ENGINE; GUEST_HIGH: the processor lies where translated code does not
 * reach it by displacements. */
struct guest *guest_new(bool amd);
/* MiB of translated code of the guests made from now on; 0: the default. */
extern unsigned guest_jit_cache;
/* hw_config.jit_exact_flags and jit_count of theirs. */
extern bool guest_exact_flags, guest_count;
void guest_free(struct guest *g);
/* cmocka's fixtures: *@state is a guest of guest_new(). */
int guest_setup_intel(void **state);
int guest_setup_amd(void **state);
int guest_teardown(void **state);
/* ... for comparisons: two of guest_new(false), run by the interpreter and the translator. */
extern struct guest *pair[2];
int guest_setup_pair(void **state);
int guest_teardown_pair(void **state);
/* One in 64-bit mode with registers of zero but RSP, run by "interp" or "jit". */
struct guest *guest_by_engine(const char *engine, uint64_t rsp);
/* Copies code to @gpa. */
void guest_put(struct guest *g, uint64_t gpa, const void *from, const void *to);
/* Start states, at G_CODE. */
void guest_real(struct guest *g);
void guest_prot(struct guest *g);
void guest_long(struct guest *g);
/* Long mode at CPL 3. */
void guest_user(struct guest *g);

/* Runs to an exit of any kind; the exit. */
const struct hw_exit *guest_run(struct guest *g);
/* ... which must be the intercepted HLT. */
void guest_hlt(struct guest *g);
/* Runs until another thread's kick, a few milliseconds later, ends it. A busy host may
 * kick before the guest has begun. */
void guest_run_kicked(struct guest *g);
/* The translator runs 64-bit code without an end, at G_CODE as RBX says, so ten times. */
void guest_kick_ends(const char *from, const char *to);
/* Runs @g to its HLT, and a few milliseconds later @other to its own on another thread. */
void guest_hlt_beside(struct guest *g, struct guest *other);
/* The vector whose handler ran into its HLT, -1: none. */
int guest_vector(struct guest *g);

uint64_t *guest_pte(struct guest *g, uint64_t la);
/* EPT rights (read 1, write 2, execute 4) of a page; 0 unmaps. */
void guest_tdp(struct guest *g, uint64_t gpa, unsigned rights);
uint64_t guest_u64(struct guest *g, uint64_t gpa);
/* The test has written code that has run before: the translator compares it when its
 * page is mapped for execution again (docs/errata.md), the interpreter always. */
void guest_wrote_code(struct guest *g);

#define GUEST_CODE(name, bits, text)					\
	extern const char name[], name##_end[];				\
	__asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n"	\
		text "\n" #name "_end:\n.code64\n.popsection\n")

#define GUEST_LOAD(g, name) guest_put(g, G_CODE, name, name##_end)

#endif
