/* SPDX-License-Identifier: MIT */
/*
 * What every guest has, whatever mode it is built for: reports, ports, control
 * registers, MSRs, CPUID. Addresses are physical ones: all memory is mapped, or
 * seen through segments of base 0, where it is.
 */
#ifndef ANYKVM_TESTS_GUEST_GUEST_H
#define ANYKVM_TESTS_GUEST_GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ports.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define BIT(n)		(1ul << (n))
#define barrier()	asm volatile("" : : : "memory")
#ifdef __clang__
#define NOINLINE	__attribute__((noinline))
#else
#define NOINLINE	__attribute__((noinline, noclone))
#endif

typedef unsigned long ulong;

int main(void);

/* --- report.c -------------------------------------------------------------- */

/* One case: @fmt knows %s %d %u %x %lx %p. */
void report(bool pass, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A case that this processor does not have; it counts all the same. */
void report_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* @got is @want; says both when not. */
void report_eq(ulong got, ulong want, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void __attribute__((noreturn)) guest_exit(unsigned status);
void __attribute__((noreturn)) panic(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));

void *memset(void *p, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* --- ports ------------------------------------------------------------------- */

#define PORT_FN(suffix, type)							\
static inline void out##suffix(type v, uint16_t port)				\
{										\
	asm volatile("out" #suffix " %0, %1" : : "a"(v), "Nd"(port) : "memory");\
}										\
static inline type in##suffix(uint16_t port)					\
{										\
	type v;									\
	asm volatile("in" #suffix " %1, %0" : "=a"(v) : "Nd"(port) : "memory");	\
	return v;								\
}
PORT_FN(b, uint8_t)
PORT_FN(w, uint16_t)
PORT_FN(l, uint32_t)

/* --- registers ------------------------------------------------------------------ */

#define CR_FN(n)								\
static inline ulong read_cr##n(void)						\
{										\
	ulong v;								\
	asm volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory");		\
	return v;								\
}										\
static inline void write_cr##n(ulong v)						\
{										\
	asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory");			\
}
CR_FN(0)
CR_FN(2)
CR_FN(3)
CR_FN(4)

#define CR0_PE	BIT(0)
#define CR0_MP	BIT(1)
#define CR0_EM	BIT(2)
#define CR0_TS	BIT(3)
#define CR0_NE	BIT(5)
#define CR0_WP	BIT(16)
#define CR0_AM	BIT(18)
#define CR0_NW	BIT(29)
#define CR0_CD	BIT(30)
#define CR0_PG	BIT(31)

#define CR4_VME	BIT(0)
#define CR4_PVI	BIT(1)
#define CR4_TSD	BIT(2)
#define CR4_DE	BIT(3)
#define CR4_PSE	BIT(4)
#define CR4_PAE	BIT(5)
#define CR4_PGE	BIT(7)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define FL_CF	BIT(0)
#define FL_ZF	BIT(6)
#define FL_TF	BIT(8)
#define FL_IF	BIT(9)
#define FL_DF	BIT(10)
#define FL_IOPL	(3ul << 12)
#define FL_NT	BIT(14)
#define FL_RF	BIT(16)
#define FL_VM	BIT(17)
#define FL_AC	BIT(18)
#define FL_ID	BIT(21)

#define PTE_P	1u
#define PTE_W	2u
#define PTE_U	4u
#define PTE_A	0x20u
#define PTE_D	0x40u
#define PTE_PS	0x80u
#define PTE_G	0x100u
#define PTE_NX	(1ull << 63)

#define MSR_APIC_BASE	0x1b
#define MSR_PAT		0x277
#define MSR_SYSENTER_CS	0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER	0xc0000080
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_CSTAR	0xc0000083
#define MSR_SFMASK	0xc0000084
#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX	0xc0000103
#define EFER_SCE	BIT(0)
#define EFER_LME	BIT(8)
#define EFER_LMA	BIT(10)
#define EFER_NX		BIT(11)

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return lo | (uint64_t)hi << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v),
		     "d"((uint32_t)(v >> 32)) : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

struct cpuid { uint32_t a, b, c, d; };

static inline struct cpuid cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid r;

	asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
		     : "a"(leaf), "c"(sub) : "memory");
	return r;
}

static inline bool is_amd(void) { return cpuid(0, 0).b == 0x68747541; }
static inline bool has_c1(unsigned bit) { return cpuid(1, 0).c >> bit & 1; }
static inline bool has_d1(unsigned bit) { return cpuid(1, 0).d >> bit & 1; }
static inline bool has_b7(unsigned bit) { return cpuid(7, 0).b >> bit & 1; }
static inline bool has_c7(unsigned bit) { return cpuid(7, 0).c >> bit & 1; }
static inline bool has_d81(unsigned bit)
{
	return cpuid(0x80000001, 0).d >> bit & 1;
}

static inline ulong read_flags(void)
{
	ulong f;

	asm volatile("pushf; pop %0" : "=r"(f) : : "memory");
	return f;
}

static inline void write_flags(ulong f)
{
	asm volatile("push %0; popf" : : "r"(f) : "memory", "cc");
}

static inline void cli(void) { asm volatile("cli" : : : "memory"); }
static inline void sti(void) { asm volatile("sti" : : : "memory"); }
static inline void sti_nop(void) { asm volatile("sti; nop; nop" : : : "memory"); }
static inline void sti_hlt(void) { asm volatile("sti; hlt" : : : "memory"); }
static inline void pause(void) { asm volatile("pause" : : : "memory"); }
static inline void flush_tlb(void) { write_cr3(read_cr3()); }
static inline void invlpg(const void *p)
{
	asm volatile("invlpg (%0)" : : "r"(p) : "memory");
}

/* --- vectors ------------------------------------------------------------------------ */

enum {
	DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC,
	MC, XM,
	NO_EXC = 0xff,
};

#endif
