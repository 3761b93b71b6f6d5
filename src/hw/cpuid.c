/* SPDX-License-Identifier: MIT */
/*
 * What CPUID says: a model of either vendor, whose feature bits are what this
 * code executes on this host and nothing else.
 *
 * A feature is offered when it is listed in offered[] and every row of the
 * instruction tables that names it has semantics; one whose instructions run on
 * the host's own units needs the host's bit too. Where the hypervisor above does
 * the work (APIC, x2APIC, TSC deadline, MTRR, machine checks, the hypervisor
 * bit, nested VMX and SVM) the bit is the hypervisor's to add.
 *
 * Leaves without features are rows of leaves[]: constants, or a function. SDM Vol.
 * 2A, "CPUID"; APM Vol. 3, "Obtaining Processor Information Via the CPUID
 * Instruction".
 */
#include <pthread.h>
#include <string.h>

#include "emul/xstate.h"
#include "hw/core.h"
#include "hw/svm.h"

enum { EAX, EBX, ECX, EDX };

/* --- features ------------------------------------------------------------------- */

#define F_ROWS	BIT(0)	/* has instructions: all of them must have semantics */
#define F_HOST	BIT(1)	/* they run on the host's units */
#define F_INTEL	BIT(2)	/* that vendor's only */
#define F_AMD	BIT(3)
#define F_AVX	BIT(4)	/* the host's operating system has enabled that state */
#define F_AVX512 BIT(5)

/* clang-format off */
static const struct {
	uint8_t feature, flags;
} offered[] = {
	{ X86_FEATURE_FPU,	F_ROWS | F_HOST },
	{ X86_FEATURE_VME,	0 },
	{ X86_FEATURE_DE,	0 },
	{ X86_FEATURE_PSE,	0 },
	{ X86_FEATURE_TSC,	F_ROWS },
	{ X86_FEATURE_MSR,	F_ROWS },
	{ X86_FEATURE_PAE,	0 },
	{ X86_FEATURE_CX8,	F_ROWS },
	{ X86_FEATURE_SEP,	F_ROWS },
	{ X86_FEATURE_PGE,	0 },
	{ X86_FEATURE_CMOV,	F_ROWS },
	{ X86_FEATURE_PAT,	0 },
	{ X86_FEATURE_PSE36,	0 },
	{ X86_FEATURE_CLFSH,	F_ROWS },
	{ X86_FEATURE_MMX,	F_ROWS | F_HOST },
	{ X86_FEATURE_FXSR,	F_ROWS },
	{ X86_FEATURE_SSE,	F_ROWS | F_HOST },
	{ X86_FEATURE_SSE2,	F_ROWS | F_HOST },
	{ X86_FEATURE_SSE3,	F_ROWS | F_HOST },
	{ X86_FEATURE_SSSE3,	F_ROWS | F_HOST },
	{ X86_FEATURE_SSE4_1,	F_ROWS | F_HOST },
	{ X86_FEATURE_SSE4_2,	F_ROWS | F_HOST },
	{ X86_FEATURE_CX16,	F_ROWS | F_HOST },
	{ X86_FEATURE_PCLMULQDQ, F_ROWS | F_HOST },
	{ X86_FEATURE_AES,	F_ROWS | F_HOST },
	{ X86_FEATURE_SHA,	F_ROWS | F_HOST },
	{ X86_FEATURE_GFNI,	F_ROWS | F_HOST },
	{ X86_FEATURE_PCID,	0 },
	{ X86_FEATURE_MOVBE,	F_ROWS },
	{ X86_FEATURE_POPCNT,	F_ROWS },
	{ X86_FEATURE_FSGSBASE,	F_ROWS },
	{ X86_FEATURE_BMI1,	F_ROWS },
	{ X86_FEATURE_BMI2,	F_ROWS },
	{ X86_FEATURE_SMEP,	0 },
	{ X86_FEATURE_ERMS,	0 },
	{ X86_FEATURE_FSRM,	0 },
	{ X86_FEATURE_INVPCID,	F_ROWS },
	{ X86_FEATURE_ADX,	F_ROWS },
	{ X86_FEATURE_SMAP,	F_ROWS },
	{ X86_FEATURE_UMIP,	0 },
	{ X86_FEATURE_PKU,	F_ROWS },
	{ X86_FEATURE_PKS,	F_INTEL },
	{ X86_FEATURE_LA57,	0 },
	{ X86_FEATURE_LAM,	F_INTEL },
	{ X86_FEATURE_RDRAND,	F_ROWS | F_HOST },
	{ X86_FEATURE_RDSEED,	F_ROWS | F_HOST },
	{ X86_FEATURE_RDPID,	F_ROWS },
	{ X86_FEATURE_CLFLUSHOPT, F_ROWS },
	{ X86_FEATURE_CLWB,	F_ROWS },
	{ X86_FEATURE_MOVDIRI,	F_ROWS },
	{ X86_FEATURE_MOVDIR64B, F_ROWS },
	{ X86_FEATURE_MONITOR,	F_ROWS },
	{ X86_FEATURE_WAITPKG,	F_ROWS | F_INTEL },
	{ X86_FEATURE_SERIALIZE, F_ROWS | F_INTEL },
	{ X86_FEATURE_LAHF_LM,	0 },
	{ X86_FEATURE_CR8_LEGACY, F_AMD },
	{ X86_FEATURE_LZCNT,	0 },	/* without it the row is BSR */
	{ X86_FEATURE_PREFETCHW, 0 },	/* without it the row is a NOP */
	{ X86_FEATURE_SSE4A,	F_ROWS | F_AMD },
	{ X86_FEATURE_CLZERO,	F_ROWS | F_AMD },
	{ X86_FEATURE_SYSCALL,	F_ROWS },
	{ X86_FEATURE_NX,	0 },
	{ X86_FEATURE_PDPE1GB,	0 },
	{ X86_FEATURE_RDTSCP,	F_ROWS },
	{ X86_FEATURE_LM,	0 },
	{ X86_FEATURE_INVARIANT_TSC, F_HOST },
	{ X86_FEATURE_XSAVE,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_XSAVEOPT,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_XSAVEC,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_XGETBV1,	F_HOST | F_AVX },
	{ X86_FEATURE_XSAVES,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_AVX,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_AVX2,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_FMA,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_F16C,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_VAES,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_VPCLMULQDQ, F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_AVX_VNNI,	F_ROWS | F_HOST | F_AVX },
	{ X86_FEATURE_AVX512F,	F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512DQ,	F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512CD,	F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512BW,	F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512VL,	F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_IFMA, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_VBMI, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_VBMI2, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_VNNI, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_BITALG, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_VPOPCNTDQ, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_BF16, F_ROWS | F_HOST | F_AVX512 },
	{ X86_FEATURE_AVX512_FP16, F_ROWS | F_HOST | F_AVX512 },
};

/* Where each feature's bit is. */
static const struct feature_bit {
	uint32_t leaf;
	uint8_t subleaf, reg, bit;
} feature_bits[X86_NR_FEATURES] = {
#define REG_A EAX
#define REG_B EBX
#define REG_C ECX
#define REG_D EDX
#define FEATURE(name, leaf, subleaf, reg, bit) \
	[X86_FEATURE_##name] = { leaf, subleaf, REG_##reg, bit },
#include "x86/features.def"
#undef FEATURE
};
/* clang-format on */

static void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[EAX]), "=b"(out[EBX]),
			 "=c"(out[ECX]), "=d"(out[EDX])
			 : "a"(leaf), "c"(subleaf));
}

static bool host_has(enum x86_feature f)
{
	const struct feature_bit *b = &feature_bits[f];
	uint32_t out[4];

	host_cpuid(b->leaf & 0x80000000, 0, out);
	if (out[EAX] < b->leaf)
		return false;
	host_cpuid(b->leaf, b->subleaf, out);
	return out[b->reg] >> b->bit & 1;
}

static bool rows_have_semantics(enum x86_feature f)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < x86_nr_rows; i++) {
		if (x86_rows[i]->feature != f)
			continue;
		any = true;
		if (!x86_op_implemented(x86_rows[i]->op))
			return false;
	}
	return any;
}

/* The flags of features whose state the host has enabled. */
static uint8_t host_state_flags(void)
{
	uint64_t have = hw_fpu_host_xcr0();
	uint8_t flags = 0;

	if (have & X86_XCR0_AVX)
		flags |= F_AVX;
	if ((have & X86_XCR0_AVX512) == X86_XCR0_AVX512)
		flags |= F_AVX512;
	return flags;
}

static uint64_t model[4];

static void model_init(void)
{
	uint8_t state = host_state_flags() ^ (F_AVX | F_AVX512);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(offered); i++) {
		enum x86_feature f = offered[i].feature;

		if ((offered[i].flags & F_ROWS) && !rows_have_semantics(f))
			continue;
		if ((offered[i].flags & F_HOST) && !host_has(f))
			continue;
		if (offered[i].flags & state)
			continue;
		model[f / 64] |= BIT_ULL(f % 64);
	}
}

const uint64_t *hw_features_model(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, model_init);
	return model;
}

/* ORs the feature bits of a leaf into @out. */
static void feature_leaf(bool amd, uint32_t leaf, uint32_t subleaf,
			 uint32_t out[4])
{
	const uint64_t *have = hw_features_model();
	unsigned i, other = amd ? F_INTEL : F_AMD;

	for (i = 0; i < ARRAY_SIZE(offered); i++) {
		const struct feature_bit *b = &feature_bits[offered[i].feature];

		if (b->leaf == leaf && b->subleaf == subleaf &&
		    !(offered[i].flags & other) &&
		    hw_has(have, offered[i].feature))
			out[b->reg] |= BIT(b->bit);
	}
}

/* --- the other leaves -------------------------------------------------------------------- */

#define MAX_BASIC_INTEL	0x16u
#define MAX_BASIC_AMD	0x0du
#define MAX_EXT_INTEL	0x80000008u
#define MAX_EXT_AMD	0x80000021u
#define SIGNATURE_INTEL	0x00050657u	/* family 6, model 85 */
#define SIGNATURE_AMD	0x00a00f11u	/* family 19h, model 1 */

static void leaf_vendor(bool amd, uint32_t subleaf, uint32_t out[4])
{
	static const char name[2][13] = { "GenuineIntel", "AuthenticAMD" };

	memcpy(&out[EBX], name[amd], 4);
	memcpy(&out[EDX], name[amd] + 4, 4);
	memcpy(&out[ECX], name[amd] + 8, 4);
	out[EAX] = amd ? MAX_BASIC_AMD : MAX_BASIC_INTEL;
}

/* In extended leaf 0 AMD repeats the vendor, Intel has reserved zeros. */
static void leaf_ext_vendor(bool amd, uint32_t subleaf, uint32_t out[4])
{
	if (amd)
		leaf_vendor(amd, 0, out);
	out[EAX] = amd ? MAX_EXT_AMD : MAX_EXT_INTEL;
}

static void leaf_signature(bool amd, uint32_t subleaf, uint32_t out[4])
{
	out[EAX] = amd ? SIGNATURE_AMD : SIGNATURE_INTEL;
	out[EBX] = 1u << 16 | 8u << 8;	/* one processor, CLFLUSH of 64 */
}

/* On AMD the extended leaf repeats features of leaf 1. */
static void leaf_ext_signature(bool amd, uint32_t subleaf, uint32_t out[4])
{
	uint32_t basic[4] = { 0 };

	if (!amd)
		return;
	feature_leaf(amd, 1, 0, basic);
	out[EAX] = SIGNATURE_AMD;
	out[EDX] = basic[EDX] & HW_CPUID_AMD_REPEATED;
}

/* Intel: caches are leaf 4's to tell. */
static void leaf_descriptors(bool amd, uint32_t subleaf, uint32_t out[4])
{
	if (!amd)
		out[EAX] = 0x0000ff01;
}

/* Intel: "Deterministic Cache Parameters": lines of 64 bytes, one partition. */
static void leaf_caches(bool amd, uint32_t subleaf, uint32_t out[4])
{
	static const struct {
		uint8_t type, level;
		uint16_t ways, sets;
	} cache[] = {
		{ 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 16, 1024 },
		{ 3, 3, 16, 16384 },
	};

	if (amd || subleaf >= ARRAY_SIZE(cache))
		return;
	out[EAX] = cache[subleaf].type | (uint32_t)cache[subleaf].level << 5 |
		   BIT(8);
	out[EBX] = 63 | (uint32_t)(cache[subleaf].ways - 1) << 22;
	out[ECX] = cache[subleaf].sets - 1;
}

/* One thread in one core; the hypervisor, which knows the topology, corrects. */
static void leaf_topology(bool amd, uint32_t subleaf, uint32_t out[4])
{
	out[ECX] = subleaf & 0xff;
	if (subleaf > 1)
		return;
	out[EBX] = 1;
	out[ECX] |= (subleaf + 1) << 8;
}

/* Sub-leaves of leaf 7 that are there: one more where it has a feature. */
static void leaf_features7(bool amd, uint32_t subleaf, uint32_t out[4])
{
	uint32_t next[4] = { 0 };

	if (subleaf)
		return;
	feature_leaf(amd, 7, 1, next);
	out[EAX] = !!(next[EAX] | next[EBX] | next[ECX] | next[EDX]);
}

uint64_t hw_xcr0_model(void)
{
	const uint64_t *have = hw_features_model();
	uint64_t xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;

	if (!hw_has(have, X86_FEATURE_XSAVE))
		return 0;
	if (hw_has(have, X86_FEATURE_AVX))
		xcr0 |= X86_XCR0_AVX;
	if (hw_has(have, X86_FEATURE_AVX512F))
		xcr0 |= X86_XCR0_AVX512;
	if (hw_has(have, X86_FEATURE_PKU))
		xcr0 |= X86_XCR0_PKRU;
	return xcr0;
}

#define XSAVE_LEGACY	576u	/* with the header */

uint32_t hw_xsave_size(uint64_t xcr0, bool compacted)
{
	uint32_t size = XSAVE_LEGACY;
	unsigned i;

	xcr0 &= hw_xcr0_model();
	for (i = 2; i < XSTATE_NR; i++) {
		const struct xstate *x = xstate(i);

		if (!(xcr0 >> i & 1))
			continue;
		if (compacted && x->aligned)
			size = ALIGN_UP(size, 64u);
		size = compacted ? size + x->size :
				   MAX(size, x->offset + x->size);
	}
	return size;
}

/*
 * Sizes and places of the components that are offered: xstate.c's. None without XSAVE.
 * Sizes for XCR0 as it is are hw_cpuid()'s; here it is as after reset.
 */
static void leaf_xsave(bool amd, uint32_t subleaf, uint32_t out[4])
{
	uint64_t xcr0 = hw_xcr0_model();

	if (!xcr0)
		return;
	if (subleaf == 0) {
		out[EAX] = xcr0;
		out[EDX] = xcr0 >> 32;
		out[EBX] = XSAVE_LEGACY;
		out[ECX] = hw_xsave_size(xcr0, false);
	} else if (subleaf == 1) {
		out[EBX] = XSAVE_LEGACY;
	} else if (subleaf < XSTATE_NR && xcr0 >> subleaf & 1) {
		out[EAX] = xstate(subleaf)->size;
		out[EBX] = xstate(subleaf)->offset;
		out[ECX] = xstate(subleaf)->aligned ? BIT(1) : 0;
	}
}

/* The TSC's frequency is the host's; unknown is all zeros. */
static void leaf_tsc(bool amd, uint32_t subleaf, uint32_t out[4])
{
	uint32_t max[4];

	host_cpuid(0, 0, max);
	if (!amd && max[EAX] >= 0x15)
		host_cpuid(0x15, 0, out);
}

static void leaf_frequency(bool amd, uint32_t subleaf, uint32_t out[4])
{
	uint32_t max[4];

	host_cpuid(0, 0, max);
	if (!amd && max[EAX] >= 0x16)
		host_cpuid(0x16, 0, out);
}

static void brand(unsigned part, uint32_t out[4])
{
	static const char text[48] = "anykvm virtual processor";

	memcpy(out, text + 16 * part, 16);
}

static void leaf_brand0(bool amd, uint32_t subleaf, uint32_t out[4])
{
	brand(0, out);
}

static void leaf_brand1(bool amd, uint32_t subleaf, uint32_t out[4])
{
	brand(1, out);
}

static void leaf_brand2(bool amd, uint32_t subleaf, uint32_t out[4])
{
	brand(2, out);
}

/* AMD: L1 data and code, 32 KiB, 8 ways, lines of 64. */
static void leaf_l1(bool amd, uint32_t subleaf, uint32_t out[4])
{
	if (amd)
		out[ECX] = out[EDX] = 0x20080140;
}

/* L2 of 1 MiB, 16 ways (code 8); AMD: L3 of 16 MiB too. */
static void leaf_l2(bool amd, uint32_t subleaf, uint32_t out[4])
{
	out[ECX] = amd ? 0x04008140 : 0x04008040;
	if (amd)
		out[EDX] = 0x00808140;
}

/* SVM's revision, ASIDs, and features: nested paging, next RIP, ASID flush, pause
 * filter; the leaf is there though SVM is not offered to guests. */
static void leaf_svm(bool amd, uint32_t subleaf, uint32_t out[4])
{
	if (!amd)
		return;
	svm_cpuid(out);
}

/* What the processor is not affected by. */
static void leaf_not_affected(bool amd, uint32_t subleaf, uint32_t out[4])
{
	if (amd)
		hw_amd_not_affected(&out[EAX], &out[ECX]);
}

static void leaf_address_sizes(bool amd, uint32_t subleaf, uint32_t out[4])
{
	out[EAX] = 46 | 57u << 8;
}

/* clang-format off */
static const struct leaf {
	uint32_t leaf;
	void (*fn)(bool amd, uint32_t subleaf, uint32_t out[4]);
	bool has_subleaves;
	uint32_t fixed[4];
} leaves[] = {
	{ .leaf = 0x00, .fn = leaf_vendor },
	{ .leaf = 0x01, .fn = leaf_signature },
	{ .leaf = 0x02, .fn = leaf_descriptors },
	{ .leaf = 0x04, .fn = leaf_caches, .has_subleaves = true },
	{ .leaf = 0x05, .fixed = { 64, 64, 3 } },	/* MONITOR's line; interrupts break */
	{ .leaf = 0x06 },
	{ .leaf = 0x07, .fn = leaf_features7, .has_subleaves = true },
	{ .leaf = 0x0b, .fn = leaf_topology, .has_subleaves = true },
	{ .leaf = 0x0d, .fn = leaf_xsave, .has_subleaves = true },
	{ .leaf = 0x15, .fn = leaf_tsc },
	{ .leaf = 0x16, .fn = leaf_frequency },
	{ .leaf = 0x80000000, .fn = leaf_ext_vendor },
	{ .leaf = 0x80000001, .fn = leaf_ext_signature },
	{ .leaf = 0x80000002, .fn = leaf_brand0 },
	{ .leaf = 0x80000003, .fn = leaf_brand1 },
	{ .leaf = 0x80000004, .fn = leaf_brand2 },
	{ .leaf = 0x80000005, .fn = leaf_l1 },
	{ .leaf = 0x80000006, .fn = leaf_l2 },
	{ .leaf = 0x80000007 },
	{ .leaf = 0x80000008, .fn = leaf_address_sizes },
	{ .leaf = 0x8000000a, .fn = leaf_svm },
	{ .leaf = 0x80000021, .fn = leaf_not_affected },
};
/* clang-format on */

bool hw_cpuid_model(bool amd, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	uint32_t max = leaf >> 31 ? (amd ? MAX_EXT_AMD : MAX_EXT_INTEL) :
				    (amd ? MAX_BASIC_AMD : MAX_BASIC_INTEL);
	const struct leaf *l;

	memset(out, 0, 16);
	if (leaf > max)
		return false;
	for (l = leaves; l < leaves + ARRAY_SIZE(leaves); l++) {
		if (l->leaf != leaf)
			continue;
		memcpy(out, l->fixed, 16);
		if (!l->has_subleaves)
			subleaf = 0;
		if (l->fn)
			l->fn(amd, subleaf, out);
		feature_leaf(amd, leaf, subleaf, out);
		return true;
	}
	return false;
}

void hw_cpuid(struct hw_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	      uint32_t out[4])
{
	hw_cpuid_model(cpu->cfg.amd, leaf, subleaf, out);
	/* OSXSAVE and OSPKE show CR4's bits. */
	if (leaf == 1 && (cpu->c.cr4 & X86_CR4_OSXSAVE))
		out[ECX] |= BIT(27);
	if (leaf == 7 && !subleaf && (cpu->c.cr4 & X86_CR4_PKE))
		out[ECX] |= BIT(4);
	if (leaf == 0xd && subleaf < 2 && out[EBX])
		out[EBX] = hw_xsave_size(cpu->c.xcr0, subleaf);
	if (leaf == 0x80000008)
		out[EAX] = (out[EAX] & ~0xffu) | cpu->cfg.maxphyaddr;
}
