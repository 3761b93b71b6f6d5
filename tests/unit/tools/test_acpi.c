/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables as an operating system reads them: the RSDP is found by its
 * signature, every checksum is right, the XSDT leads to a FADT and a MADT with
 * the board's ports and as many processors as asked for.
 */
#include "images.h"
#include "vmm/acpi.h"
#include "vmm/aml.h"

static const uint8_t *at(gpa_t gpa, size_t n)
{
	const uint8_t *p = ram_at(&ram, gpa, n);

	assert_non_null(p);
	return p;
}

static uint64_t u64_at(gpa_t gpa)
{
	uint64_t v;

	memcpy(&v, at(gpa, 8), 8);
	return v;
}

static uint16_t u16_at(gpa_t gpa)
{
	return at(gpa, 2)[0] | at(gpa, 2)[1] << 8;
}

static void assert_sum_zero(gpa_t gpa, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += at(gpa, n)[i];
	assert_int_equal(sum, 0);
}

/* Its length, with signature and checksum verified. */
static uint32_t table(gpa_t gpa, const char *signature)
{
	uint32_t len = ram_u32(&ram, gpa + 4);

	assert_memory_equal(at(gpa, 36), signature, 4);
	assert_in_range(len, 36, BIOS_AREA_SIZE);
	assert_sum_zero(gpa, len);
	return len;
}

static gpa_t write_tables(unsigned cpus)
{
	struct vmm_error e;
	gpa_t rsdp;

	if (!acpi_write_tables(&ram, cpus, &rsdp, &e))
		fail_msg("%s", e.text);
	return rsdp;
}

static void rsdp_and_xsdt(void **state)
{
	gpa_t rsdp = write_tables(1), xsdt;

	assert_in_range(rsdp, BIOS_AREA, HIGH_MEMORY - 1);
	assert_int_equal(rsdp % 16, 0);
	assert_memory_equal(at(rsdp, 36), "RSD PTR ", 8);
	assert_sum_zero(rsdp, 20);
	assert_sum_zero(rsdp, 36);
	assert_int_equal(at(rsdp, 36)[15], 2);
	xsdt = u64_at(rsdp + 24);
	assert_int_equal(table(xsdt, "XSDT"), 36 + 2 * 8);
	table(u64_at(xsdt + 36), "FACP");
	table(u64_at(xsdt + 44), "APIC");
}

static void fadt(void **state)
{
	gpa_t xsdt = u64_at(write_tables(1) + 24), f = u64_at(xsdt + 36);

	assert_int_equal(table(f, "FACP"), 244);
	assert_int_equal(u16_at(f + 46), IRQ_SCI);
	assert_int_equal(ram_u32(&ram, f + 48), 0);		/* SMI_CMD */
	assert_int_equal(ram_u32(&ram, f + 56), PORT_PM1_EVT);
	assert_int_equal(ram_u32(&ram, f + 64), PORT_PM1_CNT);
	assert_int_equal(ram_u32(&ram, f + 76), PORT_PM_TIMER);
	assert_true(ram_u32(&ram, f + 112) & 1 << 10);		/* RESET_REG_SUP */
	assert_int_equal(u64_at(f + 120), PORT_RESET);
	assert_int_equal(u64_at(f + 140), ram_u32(&ram, f + 40));	/* X_DSDT */
	assert_int_equal(u64_at(f + 152), PORT_PM1_EVT);
	table(u64_at(f + 140), "DSDT");
}

/* The package that Linux looks for: Name (\_S5, Package () { 5, 5, 0, 0 }). */
static void dsdt_has_s5(void **state)
{
	static const uint8_t want[] = { 0x08, '\\', '_', 'S', '5', '_', 0x12,
					0x8c, 0, 0, 4, 0x0a, 5, 0x0a, 5, 0x0a, 0,
					0x0a, 0 };
	gpa_t xsdt = u64_at(write_tables(1) + 24), f = u64_at(xsdt + 36);
	gpa_t dsdt = u64_at(f + 140);

	assert_memory_equal(at(dsdt + 36, sizeof(want)), want, sizeof(want));
}

static void madt_counts(void **state)
{
	static const unsigned counts[] = { 1, 2, 7, ACPI_CPUS_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		gpa_t xsdt = u64_at(write_tables(counts[i]) + 24);
		gpa_t m = u64_at(xsdt + 44), end = m + table(m, "APIC");
		unsigned seen[6] = { 0 };

		assert_int_equal(ram_u32(&ram, m + 36), LAPIC_ADDR);
		for (m += 44; m < end; m += at(m, 2)[1]) {
			assert_in_range(at(m, 2)[0], 0, 4);
			assert_in_range(at(m, 2)[1], 6, 12);
			if (!at(m, 2)[0])
				assert_int_equal(at(m, 4)[3], seen[0]);
			seen[at(m, 2)[0]]++;
		}
		assert_int_equal(m, end);
		assert_int_equal(seen[0], counts[i]);
		assert_int_equal(seen[1], 1);
		assert_int_equal(seen[2], 2);
		assert_int_equal(seen[4], 1);
	}
}

static void bad_cpu_counts(void **state)
{
	struct vmm_error e;
	gpa_t rsdp;

	assert_false(acpi_write_tables(&ram, 0, &rsdp, &e));
	assert_false(acpi_write_tables(&ram, ACPI_CPUS_MAX + 1, &rsdp, &e));
	assert_non_null(strstr(e.text, "processors"));
}

static void aml_full_buffer(void **state)
{
	uint8_t buf[40];
	const uint8_t values[] = { 1, 2, 3 };

	for (size_t cap = 0; cap < 30; cap++) {
		struct aml a = { .buf = buf, .cap = cap };
		size_t mark;

		memset(buf, 0xee, sizeof(buf));
		mark = aml_scope_begin(&a, "\\_SB");
		aml_name_package(&a, "ABCD", values, 3);
		aml_end(&a, mark);
		assert_int_equal(aml_ok(&a), cap >= 25);
		assert_true(a.len <= cap);
		assert_int_equal(buf[cap], 0xee);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		T(rsdp_and_xsdt), T(fadt), T(dsdt_has_s5), T(madt_counts),
		T(bad_cpu_counts), T(aml_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
