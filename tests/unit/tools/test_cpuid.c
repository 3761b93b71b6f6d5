/* SPDX-License-Identifier: MIT */
/* The topology leaves for one and for several processors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/types.h"
#include "vmm/cpuid.h"

static void leaf_1(void **state)
{
	struct kvm_cpuid_entry2 e = { .function = 1, .ebx = 0xaabbccdd,
				      .edx = 1u << 28 };

	cpuid_patch(&e, 1, 0, 1, false);
	assert_int_equal(e.ebx, 0x0001ccdd);
	assert_int_equal(e.edx, 0);
	assert_int_equal(e.ecx, 1u << 31);
	cpuid_patch(&e, 1, 2, 3, true);
	assert_int_equal(e.ebx, 0x0203ccdd);
	assert_int_equal(e.edx, 1u << 28);
	assert_int_equal(e.ecx, 1u << 31 | 1u << 24);
}

static void leaf_4(void **state)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .function = 4, .index = 0, .eax = 0xfc1fc121 },
		{ .function = 4, .index = 3, .eax = 0xfc1fc163 },
		{ .function = 4, .index = 4, .eax = 0 },
	};

	cpuid_patch(e, 3, 0, 3, false);
	assert_int_equal(e[0].eax, 3u << 26 | 0x121);
	assert_int_equal(e[1].eax, 3u << 26 | 3u << 14 | 0x163);
	assert_int_equal(e[2].eax, 0);
}

static void leaf_b(void **state)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .function = 0xb, .index = 0, .edx = 77 },
		{ .function = 0xb, .index = 1, .edx = 77 },
		{ .function = 0x1f, .index = 2, .eax = 9, .ebx = 9 },
	};

	cpuid_patch(e, 3, 4, 5, false);
	assert_int_equal(e[0].eax, 0);
	assert_int_equal(e[0].ebx, 1);
	assert_int_equal(e[0].ecx, 0x100);
	assert_int_equal(e[0].edx, 4);
	assert_int_equal(e[1].eax, 3);
	assert_int_equal(e[1].ebx, 5);
	assert_int_equal(e[1].ecx, 0x201);
	assert_int_equal(e[2].ebx, 0);
	assert_int_equal(e[2].ecx, 2);
}

static void amd_leaves(void **state)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0xffff },
		{ .function = 0x8000001e, .eax = 9, .ebx = 9, .ecx = 9 },
	};

	cpuid_patch(e, 2, 1, 2, false);
	assert_int_equal(e[0].ecx, 0x1f01);
	assert_int_equal(e[0].eax, 0x3030);
	assert_int_equal(e[1].eax, 1);
	assert_int_equal(e[1].ebx, 1);
	assert_int_equal(e[1].ecx, 0);
}

static void others_stay(void **state)
{
	struct kvm_cpuid_entry2 e = { .function = 7, .eax = 1, .ebx = 2,
				      .ecx = 3, .edx = 4 };

	cpuid_patch(&e, 1, 1, 2, true);
	assert_int_equal(e.eax, 1);
	assert_int_equal(e.ebx, 2);
	assert_int_equal(e.ecx, 3);
	assert_int_equal(e.edx, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_1), cmocka_unit_test(leaf_4),
		cmocka_unit_test(leaf_b), cmocka_unit_test(amd_leaves),
		cmocka_unit_test(others_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
