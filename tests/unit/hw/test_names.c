/* SPDX-License-Identifier: MIT */
/* Names of MSRs, exits and VMCS fields; memory types of a PAT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "isa/insn.h"
#include "x86/msr.h"
#include "x86/vmcb.h"
#include "x86/vmcs.h"

static void test_msrs(void **state)
{
	assert_string_equal(x86_msr_name(0x10), "IA32_TSC");
	assert_string_equal(x86_msr_name(0xc0000080), "EFER");
	assert_string_equal(x86_msr_name(0x4b564d01), "KVM_SYSTEM_TIME_NEW");
	assert_string_equal(x86_msr_name(0x830), "IA32_X2APIC_ICR");
	assert_string_equal(x86_msr_name(0x48c), "IA32_VMX_EPT_VPID_CAP");
	assert_null(x86_msr_name(0x12345678));
}

static void test_exits(void **state)
{
	assert_string_equal(vmx_exit_name(48), "EPT_VIOLATION");
	/* Bit 31 and the other flags are not the reason. */
	assert_string_equal(vmx_exit_name(0x80000021), "INVALID_STATE");
	assert_null(vmx_exit_name(35));
	assert_string_equal(svm_exit_name(0x400), "npf");
	assert_string_equal(svm_exit_name(0x4e), "PF excp");
	assert_string_equal(svm_exit_name(0x78), "hlt");
	assert_string_equal(svm_exit_name(~0ull), "invalid_guest_state");
	assert_null(svm_exit_name(0x500));
}

/* isa/intercepts.def pairs reasons and codes that both lists know. */
static void test_intercepts_have_names(void **state)
{
	static const struct { int vmx, svm; const char *name; } rows[] = {
#define INTERCEPT(name, vmx, svm) { vmx, svm, #name },
#include "isa/intercepts.def"
#undef INTERCEPT
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].vmx >= 0 && !vmx_exit_name(rows[i].vmx))
			fail_msg("%s: no VMX name", rows[i].name);
		if (rows[i].svm >= 0 && !svm_exit_name(rows[i].svm))
			fail_msg("%s: no SVM name", rows[i].name);
	}
}

static void test_fields(void **state)
{
	assert_string_equal(vmcs_field_name(0x681e), "GUEST_RIP");
	assert_string_equal(vmcs_field_name(0x2011), "TSC_OFFSET_HIGH");
	assert_string_equal(vmcs_field_name(0x4402), "VM_EXIT_REASON");
	assert_null(vmcs_field_name(0x681f));
}

static void test_pat(void **state)
{
	for (unsigned i = 0; i < 8; i++)
		for (unsigned type = 0; type < 256; type++) {
			bool ok = type <= 7 && type != 2 && type != 3;

			assert_int_equal(pat_is_valid((uint64_t)type << 8 * i),
					 ok);
		}
	assert_true(pat_is_valid(MSR_IA32_CR_PAT_DEFAULT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msrs),
		cmocka_unit_test(test_exits),
		cmocka_unit_test(test_intercepts_have_names),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_pat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
