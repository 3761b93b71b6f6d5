/* SPDX-License-Identifier: MIT */
/*
 * VMX instructions: every field of the VMCS by VMREAD and VMWRITE, the numbers
 * that failing instructions report, capability MSRs, and the exit information of
 * every kind of exit.
 *
 * hw_run() is a double that hands out an exit prepared by the test.
 */
#include <errno.h>

#include "vmx_env.h"

static struct hw_exit next_exit;
static struct x86_insn insn;

/* In place of run.c's, which the linker then leaves out. */
void hw_run(struct hw_cpu *cpu)
{
	emul_update_mode(&cpu->c);
	cpu->exit = next_exit;
	cpu->last_insn = &insn;
	cpu->ctl.inject_valid = false;
}

static void expect_error(enum hw_vmx_result rc, unsigned error)
{
	assert_int_equal(rc, HW_VMX_FAIL_VALID);
	assert_int_equal(vmcs_read(env, VM_INSTRUCTION_ERROR), error);
}

/* --- fields -------------------------------------------------------------------------- */

struct field { uint32_t enc; const char *name; };

static const struct field all[] = {
#define VMCS_FIELD(enc, name, width, type, feature) { enc, #name },
#include "x86/vmcs.def"
#undef VMCS_FIELD
};

/* Fields whose feature is not advertised do not exist. */
static const uint32_t absent[] = {
	POSTED_INTR_NV, EPTP_INDEX, GUEST_INTR_STATUS, GUEST_PML_INDEX,
	PML_ADDRESS, APIC_ACCESS_ADDR, POSTED_INTR_DESC_ADDR,
	VM_FUNCTION_CONTROL, EOI_EXIT_BITMAP0, EOI_EXIT_BITMAP3,
	EPTP_LIST_ADDRESS, VMREAD_BITMAP, VMWRITE_BITMAP,
	VE_INFORMATION_ADDRESS, ENCLS_EXITING_BITMAP,
	TERTIARY_VM_EXEC_CONTROL, GUEST_IA32_PERF_GLOBAL_CTRL, GUEST_BNDCFGS,
	GUEST_IA32_RTIT_CTL, HOST_IA32_PERF_GLOBAL_CTRL, NOTIFY_WINDOW,
	GUEST_S_CET, HOST_SSP,
};

static bool is_absent(uint32_t enc)
{
	uint64_t v;

	return hw_vmread(env->cpu, enc, &v) != HW_VMX_SUCCEED;
}

static void test_every_field(void **state)
{
	static const uint64_t masks[] = { 0xffff, ~0ull, 0xffffffff, ~0ull };
	unsigned present = 0;

	vmx_env_fill(env, G_LONG);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		uint32_t enc = all[i].enc;
		uint64_t mask = masks[enc >> 13 & 3];
		uint64_t val = (0x0123456789abcdefull * (i + 1)) & mask;

		assert_string_equal(vmcs_field_name(enc), all[i].name);
		if (is_absent(enc)) {
			expect_error(hw_vmwrite(env->cpu, enc, 0),
				     VMXERR_UNSUPPORTED_VMCS_COMPONENT);
			continue;
		}
		present++;
		if ((enc >> 10 & 3) == VMCS_READONLY) {
			expect_error(hw_vmwrite(env->cpu, enc, 0),
				     VMXERR_VMWRITE_READ_ONLY_VMCS_COMPONENT);
			continue;
		}
		/* Bits beyond the field's width are dropped. */
		vmcs_write(env, enc, val | ~mask);
		assert_true(vmcs_read(env, enc) == val);
	}
	/* Nobody overwrote anybody: all values are still there. */
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		uint32_t enc = all[i].enc;

		if (is_absent(enc) || (enc >> 10 & 3) == VMCS_READONLY)
			continue;
		assert_true(vmcs_read(env, enc) ==
			    ((0x0123456789abcdefull * (i + 1)) &
			     masks[enc >> 13 & 3]));
	}
	assert_in_range(present, 120, ARRAY_SIZE(all) - ARRAY_SIZE(absent));
}

static void test_absent_fields(void **state)
{
	vmx_env_fill(env, G_LONG);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		assert_true(is_absent(absent[i]));
}

static void test_high_halves(void **state)
{
	uint64_t v;

	vmx_env_fill(env, G_LONG);
	vmcs_write(env, TSC_OFFSET, 0x1122334455667788);
	assert_int_equal(vmcs_read(env, TSC_OFFSET_HIGH), 0x11223344);
	vmcs_write(env, TSC_OFFSET_HIGH, 0xaabbccdd);
	assert_true(vmcs_read(env, TSC_OFFSET) == 0xaabbccdd55667788);
	/* Only 64-bit fields have one. */
	expect_error(hw_vmread(env->cpu, GUEST_RIP | 1, &v),
		     VMXERR_UNSUPPORTED_VMCS_COMPONENT);
	expect_error(hw_vmread(env->cpu, EXCEPTION_BITMAP | 1, &v),
		     VMXERR_UNSUPPORTED_VMCS_COMPONENT);
}

static void test_encodings_that_are_none(void **state)
{
	static const uint32_t none[] = {
		0x7ffe, 0x1000, 0x8000, 0x681e | BIT(12), 0x681e | BIT(15),
		0x681e | BIT(31), 0x681e | BIT(7), 0x681e | BIT(9), 0x482c,
		0xffffffff,
	};
	uint64_t v;

	vmx_env_fill(env, G_LONG);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		expect_error(hw_vmread(env->cpu, none[i], &v),
			     VMXERR_UNSUPPORTED_VMCS_COMPONENT);
		expect_error(hw_vmwrite(env->cpu, none[i], 0),
			     VMXERR_UNSUPPORTED_VMCS_COMPONENT);
	}
}

/* --- instructions ----------------------------------------------------------------------- */

static void test_no_current_vmcs(void **state)
{
	uint64_t v;

	vmx_env_fill(env, G_LONG);
	assert_int_equal(hw_vmclear(env->cpu, env->vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmread(env->cpu, GUEST_RIP, &v), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmwrite(env->cpu, GUEST_RIP, 0), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmptrld(env->cpu, 8), HW_VMX_FAIL_INVALID);
	/* Flushes need none. */
	assert_int_equal(hw_invept(env->cpu, VMX_EPT_EXTENT_GLOBAL, 0),
			 HW_VMX_SUCCEED);
}

static void test_pointers(void **state)
{
	vmx_env_fill(env, G_LONG);
	expect_error(hw_vmclear(env->cpu, env->vmcs + 8),
		     VMXERR_VMCLEAR_INVALID_ADDRESS);
	expect_error(hw_vmclear(env->cpu, BIT_ULL(52)),
		     VMXERR_VMCLEAR_INVALID_ADDRESS);
	expect_error(hw_vmclear(env->cpu, env->vmxon),
		     VMXERR_VMCLEAR_VMXON_POINTER);
	expect_error(hw_vmptrld(env->cpu, env->vmcs + 8),
		     VMXERR_VMPTRLD_INVALID_ADDRESS);
	expect_error(hw_vmptrld(env->cpu, env->vmxon),
		     VMXERR_VMPTRLD_VMXON_POINTER);
	expect_error(hw_vmptrld(env->cpu, vmx_env_page(env, P_LIST)),
		     VMXERR_VMPTRLD_INCORRECT_VMCS_REVISION_ID);
	expect_error(hw_vmxon(env->cpu, env->vmxon),
		     VMXERR_VMXON_IN_VMX_ROOT_OPERATION);
}

static void test_vmxon(void **state)
{
	hw_vmxoff(env->cpu);
	assert_int_equal(hw_vmptrld(env->cpu, env->vmcs), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmxon(env->cpu, env->vmxon + 4), HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmxon(env->cpu, vmx_env_page(env, P_LIST)),
			 HW_VMX_FAIL_INVALID);
	assert_int_equal(hw_vmxon(env->cpu, env->vmxon), HW_VMX_SUCCEED);
}

static void test_launch_state(void **state)
{
	next_exit = (struct hw_exit){ .id = X86_INTERCEPT_HLT };
	vmx_env_fill(env, G_LONG);
	expect_error(hw_vmresume(env->cpu), VMXERR_VMRESUME_NONLAUNCHED_VMCS);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	expect_error(hw_vmlaunch(env->cpu), VMXERR_VMLAUNCH_NONCLEAR_VMCS);
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmclear(env->cpu, env->vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(env->cpu, env->vmcs), HW_VMX_SUCCEED);
	expect_error(hw_vmresume(env->cpu), VMXERR_VMRESUME_NONLAUNCHED_VMCS);
}

static void test_flush_operands(void **state)
{
	uint64_t eptp = vmx_env_page(env, P_EPT) | 0x1e;

	vmx_env_fill(env, G_LONG);
	assert_int_equal(hw_invept(env->cpu, 1, eptp), HW_VMX_SUCCEED);
	assert_int_equal(hw_invept(env->cpu, 2, 0), HW_VMX_SUCCEED);
	expect_error(hw_invept(env->cpu, 0, eptp), 28);
	expect_error(hw_invept(env->cpu, 3, eptp), 28);
	expect_error(hw_invept(env->cpu, 1, 0), 28);
	assert_int_equal(hw_invvpid(env->cpu, 0, 1, 0x1000), HW_VMX_SUCCEED);
	assert_int_equal(hw_invvpid(env->cpu, 1, 1, 0), HW_VMX_SUCCEED);
	assert_int_equal(hw_invvpid(env->cpu, 2, 0, 0), HW_VMX_SUCCEED);
	assert_int_equal(hw_invvpid(env->cpu, 3, 2, 0), HW_VMX_SUCCEED);
	expect_error(hw_invvpid(env->cpu, 0, 0, 0x1000), 28);
	/* 57 bits of linear address. */
	assert_int_equal(hw_invvpid(env->cpu, 0, 1, BIT_ULL(50)), HW_VMX_SUCCEED);
	expect_error(hw_invvpid(env->cpu, 0, 1, BIT_ULL(56)), 28);
	expect_error(hw_invvpid(env->cpu, 1, 0, 0), 28);
	expect_error(hw_invvpid(env->cpu, 3, 0, 0), 28);
	expect_error(hw_invvpid(env->cpu, 4, 1, 0), 28);
}

/* Two VMCSs take turns: each keeps its own guest. */
static void test_two_vmcss(void **state)
{
	hpa_t other = vmx_env_page(env, P_VMCS2);

	next_exit = (struct hw_exit){ .id = X86_INTERCEPT_HLT };
	vmx_env_fill(env, G_PROT32);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	memcpy((char *)(uintptr_t)other + 4, (char *)(uintptr_t)env->vmcs + 4,
	       PAGE_SIZE - 4);
	assert_int_equal(hw_vmclear(env->cpu, other), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(env->cpu, other), HW_VMX_SUCCEED);
	vmcs_write(env, GUEST_CS_BASE, 0x5000);
	vmcs_write(env, EXCEPTION_BITMAP, 0x40);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(env->cpu->c.seg[X86_CS].base, 0x5000);
	assert_int_equal(env->cpu->ctl.exceptions, 0x40);
	assert_int_equal(hw_vmptrld(env->cpu, env->vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(env->cpu->c.seg[X86_CS].base, 0);
	assert_int_equal(env->cpu->ctl.exceptions, 0);
	assert_int_equal(vmcs_read(env, GUEST_CS_BASE), 0);
}

/* --- capabilities ------------------------------------------------------------------------ */

static uint64_t cap(uint32_t msr)
{
	uint64_t v = 0;

	assert_int_equal(hw_rdmsr(env->cpu, msr, &v), 0);
	return v;
}

static void test_capabilities(void **state)
{
	uint64_t v;
	uint32_t msr;

	assert_int_equal(cap(MSR_IA32_VMX_BASIC) >> 32 & 0x1fff, 4096);
	assert_true(cap(MSR_IA32_VMX_BASIC) & VMX_BASIC_TRUE_CTLS);
	assert_int_equal(cap(MSR_IA32_VMX_PINBASED_CTLS) & 0x16, 0x16);
	assert_int_equal((uint32_t)cap(MSR_IA32_VMX_PROCBASED_CTLS), 0x0401e172);
	assert_int_equal((uint32_t)cap(MSR_IA32_VMX_TRUE_PROCBASED_CTLS), 0x04006172);
	/* What must be 1 may be 1. */
	for (msr = MSR_IA32_VMX_PINBASED_CTLS; msr <= MSR_IA32_VMX_ENTRY_CTLS; msr++)
		assert_false((uint32_t)cap(msr) & ~(cap(msr) >> 32));
	assert_int_equal(cap(MSR_IA32_VMX_CR0_FIXED0), 0x80000021);
	assert_true(cap(MSR_IA32_VMX_CR4_FIXED1) & X86_CR4_PAE);
	assert_false(cap(MSR_IA32_VMX_PROCBASED_CTLS2) >> 32 &
		     SECONDARY_EXEC_ENABLE_VMFUNC);
	assert_int_equal(hw_rdmsr(env->cpu, MSR_IA32_VMX_VMFUNC, &v), -EINVAL);
	assert_int_equal(hw_wrmsr(env->cpu, MSR_IA32_VMX_BASIC, 0), -EINVAL);
}

/* --- exit information ---------------------------------------------------------------------- */

#define MEM(b, i, s, d, sg, as)						\
	.mod = 0, .base = b, .index = i, .scale = s, .disp = d, .seg = sg, .adsize = as
#define REG(r)	.mod = 3, .rm = r, .base = X86_REG_NONE, .index = X86_REG_NONE

/* clang-format off */
static const struct {
	struct hw_exit e;
	struct x86_insn insn;
	uint32_t reason;
	uint64_t qual;
	uint32_t info, intr, error, len;
} exits[] = {
	{ .e = { .id = X86_INTERCEPT_TRIPLE_FAULT }, .reason = 2 },
	{ .e = { .id = X86_INTERCEPT_INTR_WINDOW }, .reason = 7 },
	{ .e = { .id = X86_INTERCEPT_NMI_WINDOW }, .reason = 8 },
	{ .e = { .id = X86_INTERCEPT_PREEMPTION_TIMER }, .reason = 52 },
	{ .e = { .id = X86_INTERCEPT_EXTINT }, .reason = 1 },
	{ .e = { .id = X86_INTERCEPT_NMI }, .reason = 0, .intr = 0x80000202 },
	{ .e = { .id = X86_INTERCEPT_CPUID, .by_insn = true, .next_rip = 0x1002 }, .reason = 10, .len = 2 },
	{ .e = { .id = X86_INTERCEPT_VMCALL, .by_insn = true, .next_rip = 0x1003 }, .reason = 18, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_XSETBV, .by_insn = true, .next_rip = 0x1003 }, .reason = 55, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_PF, .has_error_code = true, .error_code = 7, .address = 0xdead000 },
	         .exc_type = X86_EVENT_EXCEPTION },
	  .reason = 0, .intr = 0x80000b0e, .error = 7, .qual = 0xdead000 },
	{ .e = { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_DB, .address = BIT(14) }, .exc_type = X86_EVENT_EXCEPTION },
	  .reason = 0, .intr = 0x80000301, .qual = BIT(14) },
	{ .e = { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_BP }, .exc_type = X86_EVENT_SOFT_EXC, .by_insn = true, .next_rip = 0x1001 },
	  .reason = 0, .intr = 0x80000603, .len = 1 },
	{ .e = { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_DB }, .exc_type = X86_EVENT_PRIV_EXC, .by_insn = true, .next_rip = 0x1001 },
	  .reason = 0, .intr = 0x80000501, .len = 1 },
	{ .e = { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_GP, .has_error_code = true }, .exc_type = X86_EVENT_EXCEPTION,
	         .nmi_unblocked_by_iret = true },
	  .reason = 0, .intr = 0x80001b0d },
	{ .e = { .id = X86_INTERCEPT_TASK_SWITCH, .arg = 0x28 | TASK_SWITCH_GATE << 16 }, .reason = 9, .qual = 0xc0000028 },
	{ .e = { .id = X86_INTERCEPT_TASK_SWITCH, .arg = 0x28 | TASK_SWITCH_IRET << 16, .by_insn = true, .next_rip = 0x1001 },
	  .reason = 9, .qual = 0x40000028, .len = 1 },
	{ .e = { .id = X86_INTERCEPT_CR_WRITE, .arg = 8, .gpr = 15, .by_insn = true, .next_rip = 0x1004 }, .reason = 28, .qual = 0xf08, .len = 4 },
	{ .e = { .id = X86_INTERCEPT_CR_READ, .arg = 0x103, .gpr = 2, .by_insn = true, .next_rip = 0x1003 }, .reason = 28, .qual = 0x213, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_CLTS, .by_insn = true, .next_rip = 0x1002 }, .reason = 28, .qual = 0x20, .len = 2 },
	{ .e = { .id = X86_INTERCEPT_LMSW, .arg = 0xb, .by_insn = true, .next_rip = 0x1003 }, .reason = 28, .qual = 0xb0030, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_LMSW, .arg = 0xb, .mem_operand = true, .la = 0x777, .by_insn = true, .next_rip = 0x1003 },
	  .reason = 28, .qual = 0xb0070, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_DR_WRITE, .arg = 7, .gpr = 1, .by_insn = true, .next_rip = 0x1003 }, .reason = 29, .qual = 0x107, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_DR_READ, .arg = 0x106, .gpr = 3, .by_insn = true, .next_rip = 0x1003 }, .reason = 29, .qual = 0x316, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_IO, .arg = 0xcf8, .io_size = 4, .by_insn = true, .next_rip = 0x1001 },
	  .insn = { REG(0), .opcode = 0xef }, .reason = 30, .qual = 0x0cf80003, .len = 1 },
	{ .e = { .id = X86_INTERCEPT_IO, .arg = 0x60, .io_size = 1, .io_in = true, .by_insn = true, .next_rip = 0x1002 },
	  .insn = { REG(0), .opcode = 0xe4 }, .reason = 30, .qual = 0x00600048, .len = 2 },
	{ .e = { .id = X86_INTERCEPT_IO, .arg = 0x1f0, .io_size = 2, .io_in = true, .io_string = true, .io_rep = true, .la = 0x4000,
	         .by_insn = true, .next_rip = 0x1003 },
	  .insn = { REG(0), .opcode = 0x6d, .adsize = 4, .seg = X86_SEG_NONE }, .reason = 30, .qual = 0x01f00039, .info = 1 << 7, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_IO, .arg = 0x1f0, .io_size = 2, .io_string = true, .la = 0x4000, .by_insn = true, .next_rip = 0x1002 },
	  .insn = { REG(0), .opcode = 0x6f, .adsize = 8, .seg = X86_FS }, .reason = 30, .qual = 0x01f00011, .info = 2 << 7 | 4 << 15, .len = 2 },
	{ .e = { .id = X86_INTERCEPT_MSR_READ, .arg = 0x10, .by_insn = true, .next_rip = 0x1002 }, .reason = 31, .len = 2 },
	{ .e = { .id = X86_INTERCEPT_INVLPG, .arg = 0x7fff1234, .by_insn = true, .next_rip = 0x1003 }, .reason = 14, .qual = 0x7fff1234, .len = 3 },
	{ .e = { .id = X86_INTERCEPT_LGDT, .by_insn = true, .next_rip = 0x1007 },
	  .insn = { MEM(X86_RBX, X86_RCX, 2, -16, X86_DS, 8), .opsize = 4 },
	  .reason = 46, .qual = -16ull, .len = 7,
	  .info = 2 | 2 << 7 | 1 << 11 | 3 << 15 | 1 << 18 | 3 << 23 | 2 << 28 },
	{ .e = { .id = X86_INTERCEPT_SIDT, .by_insn = true, .next_rip = 0x1007 },
	  .insn = { MEM(X86_RIP, X86_REG_NONE, 0, 0x100, X86_DS, 8), .opsize = 8 },
	  .reason = 46, .qual = 0x1107, .len = 7,
	  .info = 2 << 7 | 1 << 11 | 3 << 15 | 1 << 22 | 1 << 27 | 1 << 28 },
	{ .e = { .id = X86_INTERCEPT_LTR, .by_insn = true, .next_rip = 0x1003 },
	  .insn = { REG(X86_RDI) }, .reason = 47, .len = 3, .info = 7 << 3 | 1 << 10 | 3 << 28 },
	{ .e = { .id = X86_INTERCEPT_INVEPT, .by_insn = true, .next_rip = 0x1005 },
	  .insn = { MEM(X86_RAX, X86_REG_NONE, 0, 8, X86_DS, 8), .reg = 9 },
	  .reason = 50, .qual = 8, .len = 5, .info = 2 << 7 | 3 << 15 | 1 << 22 | 9u << 28 },
	{ .e = { .id = X86_INTERCEPT_VMREAD, .by_insn = true, .next_rip = 0x1003 },
	  .insn = { REG(X86_RDX), .reg = X86_RCX }, .reason = 23, .len = 3, .info = 2 << 3 | 1 << 10 | 1 << 28 },
	{ .e = { .id = X86_INTERCEPT_VMPTRLD, .by_insn = true, .next_rip = 0x1004 },
	  .insn = { MEM(X86_RSP, X86_REG_NONE, 0, 0x20, X86_SS, 8) },
	  .reason = 21, .qual = 0x20, .len = 4, .info = 2 << 7 | 2 << 15 | 1 << 22 | 4 << 23 },
	{ .e = { .id = X86_INTERCEPT_RDRAND, .by_insn = true, .next_rip = 0x1004 },
	  .insn = { REG(X86_R12), .opsize = 8 }, .reason = 57, .len = 4, .info = 12 << 3 | 2 << 11 },
	{ .e = { .id = X86_INTERCEPT_TDP_FAULT, .la = 0x5123, .la_valid = true, .exc = { .error_code = 0x3a, .gpa = 0x9123 } },
	  .reason = 48, .qual = 0x1ba },
	{ .e = { .id = X86_INTERCEPT_TDP_FAULT, .la = 0x5123, .la_valid = true, .exc = { .error_code = 1, .gpa = 0x9000, .in_walk = true } },
	  .reason = 48, .qual = 0x81 },
	{ .e = { .id = X86_INTERCEPT_TDP_MISCONFIG, .exc = { .gpa = 0x9123 } }, .reason = 49 },
};
/* clang-format on */

static void test_exit_information(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		next_exit = exits[i].e;
		insn = exits[i].insn;
		vmx_env_fill(env, G_LONG);
		assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
#define SAME(field, want)						\
		if (vmcs_read(env, field) != (want))			\
			fail_msg("row %zu: " #field " is %#lx, not %#lx", i, \
				 vmcs_read(env, field), (uint64_t)(want))
		SAME(VM_EXIT_REASON, exits[i].reason);
		SAME(EXIT_QUALIFICATION, exits[i].qual);
		SAME(VMX_INSTRUCTION_INFO, exits[i].info);
		SAME(VM_EXIT_INTR_INFO, exits[i].intr);
		SAME(VM_EXIT_INTR_ERROR_CODE, exits[i].error);
		SAME(VM_EXIT_INSTRUCTION_LEN, exits[i].len);
		SAME(IDT_VECTORING_INFO_FIELD, 0);
		SAME(GUEST_PHYSICAL_ADDRESS, exits[i].e.exc.gpa);
#undef SAME
		assert_non_null(vmx_exit_name(exits[i].reason));
	}
}

static void test_addresses(void **state)
{
	next_exit = (struct hw_exit){
		.id = X86_INTERCEPT_TDP_FAULT, .la = 0x5123, .la_valid = true,
		.exc = { .gpa = 0x9123 } };
	vmx_env_fill(env, G_LONG);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, GUEST_LINEAR_ADDRESS), 0x5123);
	assert_int_equal(vmcs_read(env, GUEST_PHYSICAL_ADDRESS), 0x9123);
}

static void test_acknowledged_interrupt(void **state)
{
	next_exit = (struct hw_exit){ .id = X86_INTERCEPT_EXTINT };
	vmx_env_fill(env, G_LONG);
	vmcs_write(env, VM_EXIT_CONTROLS, ENV_EXIT | VM_EXIT_ACK_INTR_ON_EXIT);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, VM_EXIT_INTR_INFO) & 0xffffff00,
			 0x80000000);
}

/* A software interrupt that did not arrive: its length comes with it. */
static void test_vectoring_information(void **state)
{
	next_exit = (struct hw_exit){
		.id = X86_INTERCEPT_TDP_FAULT, .vectoring = true,
		.vectoring_event = { .vector = 0x80, .type = X86_EVENT_SOFT_INT,
				     .return_rip = 0x1002 } };
	vmx_env_fill(env, G_LONG);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, IDT_VECTORING_INFO_FIELD), 0x80000480);
	assert_int_equal(vmcs_read(env, VM_EXIT_INSTRUCTION_LEN), 2);
	next_exit.vectoring_event = (struct x86_event){
		.vector = X86_PF, .type = X86_EVENT_EXCEPTION,
		.has_error_code = true, .error_code = 0x15 };
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, IDT_VECTORING_INFO_FIELD), 0x80000b0e);
	assert_int_equal(vmcs_read(env, IDT_VECTORING_ERROR_CODE), 0x15);
}

/* MSR-store lists get the guest's values. */
static void test_msr_store(void **state)
{
	struct vmx_msr_entry *list = (void *)(uintptr_t)vmx_env_page(env, P_LIST);

	next_exit = (struct hw_exit){ .id = X86_INTERCEPT_HLT };
	memset(list, 0, 4 * sizeof(*list));
	list[0].index = MSR_KERNEL_GS_BASE;
	list[1].index = MSR_LSTAR;
	list[2] = (struct vmx_msr_entry){ .index = MSR_LSTAR, .value = 0x1234 };
	vmx_env_fill(env, G_LONG);
	vmcs_write(env, VM_ENTRY_MSR_LOAD_ADDR, (uintptr_t)(list + 2));
	vmcs_write(env, VM_ENTRY_MSR_LOAD_COUNT, 1);
	vmcs_write(env, VM_EXIT_MSR_STORE_ADDR, (uintptr_t)list);
	vmcs_write(env, VM_EXIT_MSR_STORE_COUNT, 2);
	assert_int_equal(hw_wrmsr(env->cpu, MSR_KERNEL_GS_BASE, 0x5678), 0);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(list[0].value, 0x5678);
	assert_int_equal(list[1].value, 0x1234);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_absent_fields),
		cmocka_unit_test(test_high_halves),
		cmocka_unit_test(test_encodings_that_are_none),
		cmocka_unit_test(test_no_current_vmcs),
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_vmxon),
		cmocka_unit_test(test_launch_state),
		cmocka_unit_test(test_flush_operands),
		cmocka_unit_test(test_two_vmcss),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_exit_information),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_acknowledged_interrupt),
		cmocka_unit_test(test_vectoring_information),
		cmocka_unit_test(test_msr_store),
	};

	return cmocka_run_group_tests(tests, vmx_env_setup, vmx_env_teardown);
}
