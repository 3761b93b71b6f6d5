// SPDX-License-Identifier: MIT
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT on both vendors; control and debug
 * registers, MSRs, XCRs, INVLPG, INVPCID; the checks of VMX and SVM instructions.
 */
#include "sysenv.h"

#define LSTAR	0xffffffff81000000ull
#define CSTAR	0xffffffff82000000ull
#define FLAGS	(X86_EFLAGS_FIXED | X86_EFLAGS_IF | X86_EFLAGS_TF | \
		 X86_EFLAGS_CF | X86_EFLAGS_RF)

static void sys_init(enum env_mode mode, unsigned cpl, bool amd)
{
	env_init(mode, cpl);
	env.c.vendor_amd = amd;
	env.c.efer |= X86_EFER_SCE;
	env.star = 0x0023001000002468ull;
	env.lstar = LSTAR;
	env.cstar = CSTAR;
	env.sfmask = X86_EFLAGS_IF | X86_EFLAGS_TF;
	env.sysenter_cs = 0x10;
	env.sysenter_esp = 0xffff800000009000ull;
	env.sysenter_eip = 0xffff80000000a000ull;
}

static void expect_flat(uint16_t cs, uint16_t ss, unsigned dpl, bool is64)
{
	const struct x86_segment *s = env.c.seg;

	assert_int_equal(s[X86_CS].selector, cs);
	assert_int_equal(s[X86_SS].selector, ss);
	assert_int_equal(s[X86_CS].ar, (is64 ? 0xa09b : 0xc09b) | dpl << 5);
	assert_int_equal(s[X86_SS].ar, 0xc093 | dpl << 5);
	assert_int_equal(s[X86_CS].base, 0);
	assert_int_equal(s[X86_CS].limit, UINT32_MAX);
	assert_int_equal(s[X86_SS].limit, UINT32_MAX);
	assert_int_equal(env.c.cpl, dpl);
}

static void test_syscall(void **state)
{
	sys_init(ENV_LONG, 3, false);
	env.c.eflags = FLAGS;
	assert_int_equal(RUN(0x0f, 0x05), X86EMUL_CONTINUE);
	expect_flat(0x10, 0x18, 0, true);
	assert_int_equal(env.c.rip, LSTAR);
	assert_int_equal(env.c.gpr[X86_RCX], ENV_CODE + 2);
	assert_int_equal(env.c.gpr[X86_R11], FLAGS);
	assert_int_equal(env.c.eflags, X86_EFLAGS_FIXED | X86_EFLAGS_CF);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3);
}

static void test_syscall_amd(void **state)
{
	sys_init(ENV_COMPAT, 3, true);
	env.c.eflags = FLAGS;
	assert_int_equal(RUN(0x0f, 0x05), X86EMUL_CONTINUE);
	expect_flat(0x10, 0x18, 0, true);
	assert_int_equal(env.c.rip, CSTAR);
	assert_int_equal(env.c.gpr[X86_R11], FLAGS & ~X86_EFLAGS_RF);
	sys_init(ENV_PROT, 3, true);
	env.c.eflags = FLAGS;
	assert_int_equal(RUN(0x0f, 0x05), X86EMUL_CONTINUE);
	expect_flat(0x10, 0x18, 0, false);
	assert_int_equal(env.c.rip, 0x2468);
	assert_int_equal(env.c.gpr[X86_RCX], ENV_CODE + 2);
	assert_int_equal(env.c.eflags, FLAGS & ~(X86_EFLAGS_IF | X86_EFLAGS_RF));
}

static void test_sysret(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RCX] = 0x401000;
	env.c.gpr[X86_R11] = ~0ull;
	assert_int_equal(RUN(0x48, 0x0f, 0x07), X86EMUL_CONTINUE);
	expect_flat(0x33, 0x2b, 3, true);
	assert_int_equal(env.c.rip, 0x401000);
	assert_int_equal(env.c.eflags, 0x3c7fd7);
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RCX] = 0xffffffff00401000ull;
	assert_int_equal(RUN(0x0f, 0x07), X86EMUL_CONTINUE);
	expect_flat(0x23, 0x2b, 3, false);
	assert_int_equal(env.c.rip, 0x401000);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
}

/* Intel faults before the level changes, AMD at the fetch. */
static void test_sysret_canonical(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RCX] = 1ull << 47;
	assert_fault(RUN(0x48, 0x0f, 0x07), X86_GP, 0);
	env_assert_unchanged();
	env.c.vendor_amd = true;
	assert_int_equal(RUN(0x48, 0x0f, 0x07), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cpl, 3);
	assert_int_equal(env.c.rip, 1ull << 47);
}

static void test_sysenter(void **state)
{
	sys_init(ENV_LONG, 3, false);
	env.c.eflags = FLAGS;
	assert_int_equal(RUN(0x0f, 0x34), X86EMUL_CONTINUE);
	expect_flat(0x10, 0x18, 0, true);
	assert_int_equal(env.c.rip, 0xffff80000000a000ull);
	assert_int_equal(env.c.gpr[X86_RSP], 0xffff800000009000ull);
	assert_false(env.c.eflags & X86_EFLAGS_IF);
	sys_init(ENV_PROT, 3, true);
	assert_int_equal(RUN(0x0f, 0x34), X86EMUL_CONTINUE);
	expect_flat(0x10, 0x18, 0, false);
	assert_int_equal(env.c.rip, 0xa000);
	assert_int_equal(env.c.gpr[X86_RSP], 0x9000);
	sys_init(ENV_VM86, 3, false);
	assert_int_equal(RUN(0x0f, 0x34), X86EMUL_CONTINUE);
	assert_int_equal(env.c.mode, X86_MODE_PROT32);
}

static void test_sysexit(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RCX] = ENV_STACK3;
	env.c.gpr[X86_RDX] = 0x401000;
	assert_int_equal(RUN(0x48, 0x0f, 0x35), X86EMUL_CONTINUE);
	expect_flat(0x33, 0x3b, 3, true);
	assert_int_equal(env.c.rip, 0x401000);
	assert_int_equal(env.c.gpr[X86_RSP], ENV_STACK3);
	sys_init(ENV_PROT, 0, false);
	assert_int_equal(RUN(0x0f, 0x35), X86EMUL_CONTINUE);
	expect_flat(0x23, 0x2b, 3, false);
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RDX] = 1ull << 47;
	assert_fault(RUN(0x48, 0x0f, 0x35), X86_GP, 0);
	env_assert_unchanged();
}

struct sys_row {
	const char *name;
	enum env_mode mode;
	uint8_t cpl;
	bool amd;
	uint8_t code[4];
	uint8_t len;
	void (*setup)(void);
	uint8_t vec;
};

static void nothing(void)
{
}

static void no_sce(void)
{
	env.c.efer &= ~X86_EFER_SCE;
}

static void no_sysenter_cs(void)
{
	env.sysenter_cs = 3;
}

static void no_feature(void)
{
	memset(env.features, 0, sizeof(env.features));
}

static void de(void)
{
	env.c.cr4 |= X86_CR4_DE;
}

static void dr_high(void)
{
	env.c.gpr[X86_RAX] = 1ull << 32;
}

static void vmxe(void)
{
	env.c.cr4 |= X86_CR4_VMXE;
}

static void svme(void)
{
	env.c.efer |= X86_EFER_SVME;
}

static void osxsave(void)
{
	env.c.cr4 |= X86_CR4_OSXSAVE;
}

static void osxsave_2(void)
{
	osxsave();
	env.c.gpr[X86_RCX] = 2;
}

static void invpcid_type(void)
{
	env.c.gpr[X86_RAX] = 4;
	env.c.gpr[X86_RBX] = ENV_DATA;
}

static void invpcid_reserved(void)
{
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA, 0x1000, 8);
}

static void invpcid_no_pcide(void)
{
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA, 1, 8);
}

static void invpcid_canonical(void)
{
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA + 8, 1ull << 47, 8);
}

/* clang-format off */
static const struct sys_row faults[] = {
	{ "SYSCALL without SCE",            ENV_LONG,   3, false, { 0x0f, 0x05 }, 2, no_sce, X86_UD },
	{ "SYSCALL compat, Intel",          ENV_COMPAT, 3, false, { 0x0f, 0x05 }, 2, nothing, X86_UD },
	{ "SYSCALL legacy, Intel",          ENV_PROT,   3, false, { 0x0f, 0x05 }, 2, nothing, X86_UD },
	{ "SYSCALL real mode, AMD",         ENV_REAL,   0, true,  { 0x0f, 0x05 }, 2, nothing, X86_UD },
	{ "SYSCALL without the feature",    ENV_LONG,   3, false, { 0x0f, 0x05 }, 2, no_feature, X86_UD },
	{ "SYSRET at CPL 3",                ENV_LONG,   3, false, { 0x48, 0x0f, 0x07 }, 3, nothing, X86_GP },
	{ "SYSRET without SCE",             ENV_LONG,   0, false, { 0x0f, 0x07 }, 2, no_sce, X86_UD },
	{ "SYSRET compat, Intel",           ENV_COMPAT, 0, false, { 0x0f, 0x07 }, 2, nothing, X86_UD },
	{ "SYSRET real mode, AMD",          ENV_REAL,   0, true,  { 0x0f, 0x07 }, 2, nothing, X86_GP },
	{ "SYSENTER real mode",             ENV_REAL,   0, false, { 0x0f, 0x34 }, 2, nothing, X86_GP },
	{ "SYSENTER null CS",               ENV_PROT,   3, false, { 0x0f, 0x34 }, 2, no_sysenter_cs, X86_GP },
	{ "SYSENTER long, AMD",             ENV_LONG,   3, true,  { 0x0f, 0x34 }, 2, nothing, X86_UD },
	{ "SYSENTER compat, AMD",           ENV_COMPAT, 3, true,  { 0x0f, 0x34 }, 2, nothing, X86_UD },
	{ "SYSEXIT at CPL 3",               ENV_PROT,   3, false, { 0x0f, 0x35 }, 2, nothing, X86_GP },
	{ "SYSEXIT null CS",                ENV_LONG,   0, false, { 0x0f, 0x35 }, 2, no_sysenter_cs, X86_GP },
	{ "SYSEXIT long, AMD",              ENV_LONG,   0, true,  { 0x0f, 0x35 }, 2, nothing, X86_UD },
	{ "MOV CR0 at CPL 3",               ENV_LONG,   3, false, { 0x0f, 0x22, 0xc0 }, 3, nothing, X86_GP },
	{ "MOV from CR3 at CPL 1",          ENV_PROT,   1, false, { 0x0f, 0x20, 0xd8 }, 3, nothing, X86_GP },
	{ "MOV CR1",                        ENV_LONG,   0, false, { 0x0f, 0x22, 0xc8 }, 3, nothing, X86_UD },
	{ "MOV from CR5",                   ENV_PROT,   0, false, { 0x0f, 0x20, 0xe8 }, 3, nothing, X86_UD },
	{ "MOV CR9",                        ENV_LONG,   0, false, { 0x44, 0x0f, 0x22, 0xc8 }, 4, nothing, X86_UD },
	{ "MOV DR0 at CPL 3",               ENV_LONG,   3, false, { 0x0f, 0x23, 0xc0 }, 3, nothing, X86_GP },
	{ "MOV DR4 with DE",                ENV_LONG,   0, false, { 0x0f, 0x23, 0xe0 }, 3, de, X86_UD },
	{ "MOV from DR5 with DE, AMD",      ENV_PROT,   0, true,  { 0x0f, 0x21, 0xe8 }, 3, de, X86_UD },
	{ "MOV DR8",                        ENV_LONG,   0, false, { 0x44, 0x0f, 0x23, 0xc0 }, 4, nothing, X86_UD },
	{ "MOV DR7, upper half",            ENV_LONG,   0, false, { 0x0f, 0x23, 0xf8 }, 3, dr_high, X86_GP },
	{ "MOV DR4 as DR6, upper half",     ENV_LONG,   0, false, { 0x0f, 0x23, 0xe0 }, 3, dr_high, X86_GP },
	{ "CLTS at CPL 3",                  ENV_PROT,   3, false, { 0x0f, 0x06 }, 2, nothing, X86_GP },
	{ "LMSW at CPL 3",                  ENV_PROT,   3, false, { 0x0f, 0x01, 0xf0 }, 3, nothing, X86_GP },
	{ "RDMSR at CPL 3",                 ENV_PROT,   3, false, { 0x0f, 0x32 }, 2, nothing, X86_GP },
	{ "WRMSR in vm86",                  ENV_VM86,   3, false, { 0x0f, 0x30 }, 2, nothing, X86_GP },
	{ "RDMSR of no MSR",                ENV_PROT,   0, false, { 0x0f, 0x32 }, 2, nothing, X86_GP },
	{ "XGETBV without OSXSAVE",         ENV_LONG,   3, false, { 0x0f, 0x01, 0xd0 }, 3, nothing, X86_UD },
	{ "XGETBV of XCR 2",                ENV_LONG,   3, false, { 0x0f, 0x01, 0xd0 }, 3, osxsave_2, X86_GP },
	{ "XSETBV without OSXSAVE",         ENV_LONG,   0, false, { 0x0f, 0x01, 0xd1 }, 3, nothing, X86_UD },
	{ "XSETBV at CPL 3",                ENV_LONG,   3, false, { 0x0f, 0x01, 0xd1 }, 3, osxsave, X86_GP },
	{ "XSETBV of XCR 2",                ENV_LONG,   0, false, { 0x0f, 0x01, 0xd1 }, 3, osxsave_2, X86_GP },
	{ "INVLPG at CPL 3",                ENV_LONG,   3, false, { 0x0f, 0x01, 0x3b }, 3, nothing, X86_GP },
	{ "INVD at CPL 3",                  ENV_LONG,   3, false, { 0x0f, 0x08 }, 2, nothing, X86_GP },
	{ "WBINVD at CPL 3",                ENV_LONG,   3, false, { 0x0f, 0x09 }, 2, nothing, X86_GP },
	{ "RSM outside SMM",                ENV_LONG,   0, false, { 0x0f, 0xaa }, 2, nothing, X86_UD },
	{ "VMXOFF without VMXE",            ENV_LONG,   0, false, { 0x0f, 0x01, 0xc4 }, 3, nothing, X86_UD },
	{ "VMXOFF in real mode",            ENV_REAL,   0, false, { 0x0f, 0x01, 0xc4 }, 3, vmxe, X86_UD },
	{ "VMXOFF in compatibility mode",   ENV_COMPAT, 0, false, { 0x0f, 0x01, 0xc4 }, 3, vmxe, X86_UD },
	{ "VMXOFF at CPL 3",                ENV_LONG,   3, false, { 0x0f, 0x01, 0xc4 }, 3, vmxe, X86_GP },
	{ "VMREAD without the feature",     ENV_LONG,   0, false, { 0x0f, 0x78, 0xc0 }, 3, no_feature, X86_UD },
	{ "STGI without SVME",              ENV_LONG,   0, true,  { 0x0f, 0x01, 0xdc }, 3, nothing, X86_UD },
	{ "STGI at CPL 3",                  ENV_LONG,   3, true,  { 0x0f, 0x01, 0xdc }, 3, svme, X86_GP },
	{ "VMRUN in real mode",             ENV_REAL,   0, true,  { 0x0f, 0x01, 0xd8 }, 3, svme, X86_UD },
};

static const struct { const char *name; void (*setup)(void); } invpcid_faults[] = {
	{ "INVPCID type 4", invpcid_type },
	{ "INVPCID reserved bits", invpcid_reserved },
	{ "INVPCID PCID without PCIDE", invpcid_no_pcide },
	{ "INVPCID not canonical", invpcid_canonical },
};
/* clang-format on */

static void test_fault(void **state)
{
	const struct sys_row *r = *state;

	sys_init(r->mode, r->cpl, r->amd);
	r->setup();
	assert_fault(env_run(r->code, r->len), r->vec, 0);
	env_assert_unchanged();
}

static void test_invpcid_fault(void **state)
{
	sys_init(ENV_LONG, 0, false);
	(*(void (**)(void))((const char *)*state + sizeof(char *)))();
	assert_fault(RUN(0x66, 0x0f, 0x38, 0x82, 0x03), X86_GP, 0);
	env_assert_unchanged();
}

/* --- control registers ------------------------------------------------------------------ */

static void test_mov_cr(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RAX] = 0x123456789000ull;
	assert_int_equal(RUN(0x0f, 0x22, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cr3, 0x123456789000ull);
	assert_int_equal(RUN(0x66, 0x0f, 0x20, 0xd9), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], 0x123456789000ull);
	sys_init(ENV_PROT, 0, false);
	env.c.gpr[X86_RAX] = 0x123456789000ull;
	assert_int_equal(RUN(0x0f, 0x22, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cr3, 0x56789000);
}

static void test_cr_intercepts(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RAX] = 0x33;
	env.intercept_on = X86_INTERCEPT_CR_WRITE;
	assert_int_equal(RUN(0x44, 0x0f, 0x22, 0xc0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 8);
	assert_int_equal(env.icpt_val, 0x33);
	env.intercept_on = X86_INTERCEPT_CR_READ;
	assert_int_equal(RUN(0x0f, 0x20, 0xd8), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 3 | 0x100);
	env_assert_unchanged();
}

static void test_clts_lmsw_smsw(void **state)
{
	sys_init(ENV_PROT, 0, false);
	assert_int_equal(RUN(0x0f, 0x06), X86EMUL_CONTINUE);
	assert_false(env.c.cr0 & X86_CR0_TS);
	env.c.gpr[X86_RAX] = 0xfff0 | X86_CR0_MP | X86_CR0_TS;	/* PE stays */
	assert_int_equal(RUN(0x0f, 0x01, 0xf0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.cr0, X86_CR0_PE | X86_CR0_MP | X86_CR0_TS);
	env.c.cr0 |= X86_CR0_WP;
	assert_int_equal(RUN(0x0f, 0x01, 0xe1), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RCX], env.c.cr0);
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA, 0xffffffff, 4);
	assert_int_equal(RUN(0x0f, 0x01, 0x23), X86EMUL_CONTINUE);
	assert_int_equal(env_get(ENV_DATA, 4), 0xffff000bu);
	env.intercept_on = X86_INTERCEPT_LMSW;
	assert_int_equal(RUN(0x0f, 0x01, 0xf0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_val, env.c.gpr[X86_RAX] & 0xffff);
	env.intercept_on = X86_INTERCEPT_CLTS;
	assert_int_equal(RUN(0x0f, 0x06), X86EMUL_INTERCEPTED);
	env_assert_unchanged();
}

/* SVM sees SMSW as a read of CR0, VMX does not see it. */
static void test_smsw_intercept(void **state)
{
	sys_init(ENV_PROT, 3, true);
	env.intercept_on = X86_INTERCEPT_CR_READ;
	assert_int_equal(RUN(0x0f, 0x01, 0xe0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 0x100);
	env_assert_unchanged();
	env.c.vendor_amd = false;
	assert_int_equal(RUN(0x0f, 0x01, 0xe0), X86EMUL_CONTINUE);
}

/* --- debug registers ----------------------------------------------------------------------- */

static void test_mov_dr(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RAX] = 0xffff800012345678ull;
	assert_int_equal(RUN(0x0f, 0x23, 0xd8), X86EMUL_CONTINUE);
	assert_int_equal(env.dr[3], 0xffff800012345678ull);
	env.c.gpr[X86_RAX] = 0x400;
	assert_int_equal(RUN(0x0f, 0x23, 0xe8), X86EMUL_CONTINUE);	/* 5 */
	assert_int_equal(env.dr[7], 0x400);
	env.dr[6] = X86_DR6_INIT;
	assert_int_equal(RUN(0x0f, 0x21, 0xe1), X86EMUL_CONTINUE);	/* 4 */
	assert_int_equal(env.c.gpr[X86_RCX], X86_DR6_INIT);
}

static void test_general_detect(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.dr[7] = X86_DR7_GD;
	assert_fault(RUN(0x0f, 0x21, 0xc0), X86_DB, 0);
	assert_int_equal(env.c.exception.address, X86_DR6_BD);
	env_assert_unchanged();
	/* A VM exit comes first. */
	env.intercept_on = X86_INTERCEPT_DR_READ;
	assert_int_equal(RUN(0x0f, 0x21, 0xc0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 0x100);
}

/* CR4.DE: VMX exits before the #UD, SVM after it. */
static void test_dr_order(void **state)
{
	sys_init(ENV_LONG, 0, false);
	de();
	env.intercept_on = X86_INTERCEPT_DR_WRITE;
	assert_int_equal(RUN(0x0f, 0x23, 0xe0), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 4);
	env.c.vendor_amd = true;
	assert_fault(RUN(0x0f, 0x23, 0xe0), X86_UD, 0);
}

/* --- MSRs, XCRs, TLB ------------------------------------------------------------------------- */

static void test_msr(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RCX] = 0xabcd0000ffull << 32 | MSR_LSTAR;
	env.c.gpr[X86_RAX] = 0xffffffff11223344ull;
	env.c.gpr[X86_RDX] = 0xffffffff55667788ull;
	assert_int_equal(RUN(0x0f, 0x30), X86EMUL_CONTINUE);
	assert_int_equal(env.lstar, 0x5566778811223344ull);
	assert_int_equal(RUN(0x0f, 0x32), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 0x11223344);
	assert_int_equal(env.c.gpr[X86_RDX], 0x55667788);
	env.intercept_on = X86_INTERCEPT_MSR_WRITE;
	env.c.gpr[X86_RAX] = 0;
	assert_int_equal(RUN(0x0f, 0x30), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, MSR_LSTAR);
	assert_int_equal(env.icpt_val, 0x5566778800000000ull);
	assert_int_equal(env.lstar, 0x5566778811223344ull);
}

static void test_xcr(void **state)
{
	sys_init(ENV_LONG, 0, false);
	osxsave();
	env.c.gpr[X86_RAX] = 7;
	assert_int_equal(RUN(0x0f, 0x01, 0xd1), X86EMUL_CONTINUE);
	env.c.gpr[X86_RAX] = env.c.gpr[X86_RDX] = ~0ull;
	assert_int_equal(RUN(0x0f, 0x01, 0xd0), X86EMUL_CONTINUE);
	assert_int_equal(env.c.gpr[X86_RAX], 7);
	assert_int_equal(env.c.gpr[X86_RDX], 0);
	env.c.gpr[X86_RCX] = 1;
	assert_int_equal(RUN(0x0f, 0x01, 0xd0), X86EMUL_CONTINUE);
	env.intercept_on = X86_INTERCEPT_XSETBV;
	assert_int_equal(RUN(0x0f, 0x01, 0xd1), X86EMUL_INTERCEPTED);
}

static void test_invlpg(void **state)
{
	sys_init(ENV_PROT, 0, false);
	env.c.seg[X86_DS].base = 0xfffff000;
	env.c.seg[X86_DS].limit = 0;		/* no limit check */
	env_load(X86_ES, SEL_DATA0);
	env.c.gpr[X86_RBX] = 0x3000;
	assert_int_equal(RUN(0x0f, 0x01, 0x3b), X86EMUL_CONTINUE);
	assert_int_equal(env.invlpg_la, 0x2000);
	sys_init(ENV_LONG, 0, false);
	env.c.gpr[X86_RBX] = 1ull << 47;	/* not canonical: nothing */
	assert_int_equal(RUN(0x0f, 0x01, 0x3b), X86EMUL_CONTINUE);
	assert_int_equal(env.invlpg_la, 0);
	env.intercept_on = X86_INTERCEPT_INVLPG;
	env.c.gpr[X86_RBX] = 0x5000;
	assert_int_equal(RUN(0x0f, 0x01, 0x3b), X86EMUL_INTERCEPTED);
	assert_int_equal(env.icpt_arg, 0x5000);
}

static void test_invpcid(void **state)
{
	sys_init(ENV_LONG, 0, false);
	env.c.cr4 |= X86_CR4_PCIDE;
	env.c.gpr[X86_RBX] = ENV_DATA;
	env_put(ENV_DATA, 5, 8);
	env_put(ENV_DATA + 8, 0x7000, 8);
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x03), X86EMUL_CONTINUE);
	assert_int_equal(env.invlpg_la, 0x7000);
}

/* --- VMX, SVM ---------------------------------------------------------------------------------- */

struct virt_row {
	const char *name;
	bool amd;
	uint8_t code[5];
	uint8_t len;
	enum x86_intercept id;
};

/* clang-format off */
static const struct virt_row virt[] = {
	{ "VMLAUNCH", false, { 0x0f, 0x01, 0xc2 }, 3, X86_INTERCEPT_VMLAUNCH },
	{ "VMRESUME", false, { 0x0f, 0x01, 0xc3 }, 3, X86_INTERCEPT_VMRESUME },
	{ "VMXOFF",   false, { 0x0f, 0x01, 0xc4 }, 3, X86_INTERCEPT_VMXOFF },
	{ "VMREAD",   false, { 0x0f, 0x78, 0xc0 }, 3, X86_INTERCEPT_VMREAD },
	{ "VMWRITE",  false, { 0x0f, 0x79, 0xc0 }, 3, X86_INTERCEPT_VMWRITE },
	{ "VMPTRLD",  false, { 0x0f, 0xc7, 0x33 }, 3, X86_INTERCEPT_VMPTRLD },
	{ "VMCLEAR",  false, { 0x66, 0x0f, 0xc7, 0x33 }, 4, X86_INTERCEPT_VMCLEAR },
	{ "VMXON",    false, { 0xf3, 0x0f, 0xc7, 0x33 }, 4, X86_INTERCEPT_VMXON },
	{ "VMPTRST",  false, { 0x0f, 0xc7, 0x3b }, 3, X86_INTERCEPT_VMPTRST },
	{ "INVEPT",   false, { 0x66, 0x0f, 0x38, 0x80, 0x03 }, 5, X86_INTERCEPT_INVEPT },
	{ "INVVPID",  false, { 0x66, 0x0f, 0x38, 0x81, 0x03 }, 5, X86_INTERCEPT_INVVPID },
	{ "VMFUNC",   false, { 0x0f, 0x01, 0xd4 }, 3, X86_INTERCEPT_VMFUNC },
	{ "VMRUN",    true,  { 0x0f, 0x01, 0xd8 }, 3, X86_INTERCEPT_VMRUN },
	{ "VMLOAD",   true,  { 0x0f, 0x01, 0xda }, 3, X86_INTERCEPT_VMLOAD },
	{ "VMSAVE",   true,  { 0x0f, 0x01, 0xdb }, 3, X86_INTERCEPT_VMSAVE },
	{ "STGI",     true,  { 0x0f, 0x01, 0xdc }, 3, X86_INTERCEPT_STGI },
	{ "CLGI",     true,  { 0x0f, 0x01, 0xdd }, 3, X86_INTERCEPT_CLGI },
	{ "SKINIT",   true,  { 0x0f, 0x01, 0xde }, 3, X86_INTERCEPT_SKINIT },
	{ "INVLPGA",  true,  { 0x0f, 0x01, 0xdf }, 3, X86_INTERCEPT_INVLPGA },
};
/* clang-format on */

static void test_virt(void **state)
{
	const struct virt_row *r = *state;

	sys_init(ENV_LONG, 0, r->amd);
	vmxe();
	svme();
	env.c.gpr[X86_RBX] = ENV_DATA;
	env.intercept_on = r->id;
	assert_int_equal(env_run(r->code, r->len), X86EMUL_INTERCEPTED);
	env_assert_unchanged();
	assert_int_equal(env.virt_insns, 0);
	env.intercept_on = X86_INTERCEPT_NONE;
	assert_int_equal(env_run(r->code, r->len), X86EMUL_CONTINUE);
	assert_int_equal(env.virt_insns, 1);
	/* VMX exits before it looks at the CPL, SVM after. */
	sys_init(ENV_LONG, 3, r->amd);
	vmxe();
	svme();
	env.intercept_on = r->id;
	if (r->amd)
		assert_fault(env_run(r->code, r->len), X86_GP, 0);
	else
		assert_int_equal(env_run(r->code, r->len), X86EMUL_INTERCEPTED);
}

static void test_hypercalls(void **state)
{
	struct x86_emulate_ops no_hypercall;

	sys_init(ENV_LONG, 3, false);
	env.intercept_on = X86_INTERCEPT_VMCALL;
	assert_int_equal(RUN(0x0f, 0x01, 0xc1), X86EMUL_INTERCEPTED);
	env.intercept_on = X86_INTERCEPT_VMMCALL;
	assert_int_equal(RUN(0x0f, 0x01, 0xd9), X86EMUL_INTERCEPTED);
	env.intercept_on = X86_INTERCEPT_NONE;
	assert_int_equal(RUN(0x0f, 0x01, 0xd9), X86EMUL_CONTINUE);
	assert_int_equal(env.hypercalls, 1);
	no_hypercall = *env.c.ops;
	no_hypercall.hypercall = NULL;
	env.c.ops = &no_hypercall;
	assert_fault(RUN(0x0f, 0x01, 0xc1), X86_UD, 0);
}

int main(void)
{
	static const struct CMUnitTest single[] = {
		cmocka_unit_test(test_syscall),
		cmocka_unit_test(test_syscall_amd),
		cmocka_unit_test(test_sysret),
		cmocka_unit_test(test_sysret_canonical),
		cmocka_unit_test(test_sysenter),
		cmocka_unit_test(test_sysexit),
		cmocka_unit_test(test_mov_cr),
		cmocka_unit_test(test_cr_intercepts),
		cmocka_unit_test(test_clts_lmsw_smsw),
		cmocka_unit_test(test_smsw_intercept),
		cmocka_unit_test(test_mov_dr),
		cmocka_unit_test(test_general_detect),
		cmocka_unit_test(test_dr_order),
		cmocka_unit_test(test_msr),
		cmocka_unit_test(test_xcr),
		cmocka_unit_test(test_invlpg),
		cmocka_unit_test(test_invpcid),
		cmocka_unit_test(test_hypercalls),
	};
	static struct CMUnitTest tests[128];
	size_t n = ARRAY_SIZE(single);

	memcpy(tests, single, sizeof(single));
	ENV_ROWS(tests, n, faults, test_fault);
	ENV_ROWS(tests, n, invpcid_faults, test_invpcid_fault);
	ENV_ROWS(tests, n, virt, test_virt);
	return _cmocka_run_group_tests("registers", tests, n, NULL, NULL);
}
