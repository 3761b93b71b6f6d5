/* SPDX-License-Identifier: MIT */
/*
 * What the loaders leave in guest memory and how they say to enter, for every
 * format. The files that must be refused are test_loader_bad.c's.
 */
#include "images.h"

static struct boot_entry load_ok(const struct image *k, const struct image *rd,
				 const char *cmdline)
{
	struct boot_files f = { .kernel = k, .initrd = rd, .cmdline = cmdline,
				.rsdp = 0xe0000 };
	struct boot_entry entry;
	struct vmm_error e = { "" };

	if (!load_kernel(&f, &ram, &entry, &e))
		fail_msg("%s", e.text);
	return entry;
}

static void bzimage_64(void **state)
{
	struct image k = make_bzimage(), rd = make_image(10000);
	struct boot_entry b;
	struct boot_params *bp;

	memset(rd.data, 0x77, rd.size);
	b = load_ok(&k, &rd, "console=ttyS0");
	assert_int_equal(b.mode, BOOT_LONG64);
	assert_int_equal(b.rip, 16 * MIB + 0x200);
	assert_int_equal(b.rsi, BOOT_PARAMS_ADDR);
	assert_int_equal(ram_u32(&ram, 16 * MIB), 0x90909090);
	bp = ram_at(&ram, BOOT_PARAMS_ADDR, sizeof(*bp));
	assert_int_equal(bp->acpi_rsdp_addr, 0xe0000);
	assert_int_equal(bp->hdr.type_of_loader, 0xff);
	assert_int_equal(bp->hdr.ramdisk_size, 10000);
	assert_int_equal(bp->hdr.ramdisk_image, TEST_RAM - 3 * PAGE_SIZE);
	assert_int_equal(ram_u32(&ram, bp->hdr.ramdisk_image), 0x77777777);
	assert_string_equal(ram_at(&ram, bp->hdr.cmd_line_ptr, 14),
			    "console=ttyS0");
	image_free(&k);
	image_free(&rd);
}

static void bzimage_memory_map(void **state)
{
	struct image k = make_bzimage();
	struct boot_params *bp;

	load_ok(&k, NULL, "");
	bp = ram_at(&ram, BOOT_PARAMS_ADDR, sizeof(*bp));
	assert_int_equal(bp->e820_entries, 3);
	assert_int_equal(bp->e820_table[1].type, E820_KIND_RESERVED);
	assert_int_equal(bp->e820_table[1].addr, EBDA_START);
	assert_int_equal(bp->e820_table[2].addr, MIB);
	assert_int_equal(bp->e820_table[2].size, TEST_RAM - MIB);
	image_free(&k);
}

static void bzimage_32_bit_entry(void **state)
{
	struct image k = make_bzimage();
	struct boot_entry b;

	HDR(&k)->xloadflags = 0;
	b = load_ok(&k, NULL, "");
	assert_int_equal(b.mode, BOOT_PROT32);
	assert_int_equal(b.rip, 16 * MIB);
	image_free(&k);
}

/* Where the preferred place is not there, the lowest aligned one is taken. */
static void bzimage_is_relocated(void **state)
{
	struct image k = make_bzimage();
	struct boot_entry b;

	HDR(&k)->pref_address = 1ull << 40;
	b = load_ok(&k, NULL, "");
	assert_int_equal(b.rip, 2 * MIB + 0x200);
	image_free(&k);
}

static void initrd_stays_below_its_limit(void **state)
{
	struct image k = make_bzimage(), rd = make_image(100);
	struct boot_params *bp;

	HDR(&k)->initrd_addr_max = 32 * MIB - 1;
	load_ok(&k, &rd, "");
	bp = ram_at(&ram, BOOT_PARAMS_ADDR, sizeof(*bp));
	assert_int_equal(bp->hdr.ramdisk_image, 32 * MIB - PAGE_SIZE);
	image_free(&k);
	image_free(&rd);
}

static void elf_pvh(void **state)
{
	struct image k = make_elf(), rd = make_image(100);
	struct boot_entry b = load_ok(&k, &rd, "x=y");
	gpa_t module;

	assert_int_equal(b.mode, BOOT_PROT32);
	assert_int_equal(b.rip, ELF_PVH_ENTRY);
	assert_int_equal(b.rbx, BOOT_INFO_ADDR);
	assert_int_equal(ram_u32(&ram, b.rbx), 0x336ec578);
	assert_int_equal(ram_u32(&ram, b.rbx + 12), 1);
	module = ram_u32(&ram, b.rbx + 16);
	assert_int_equal(ram_u32(&ram, module), TEST_RAM - PAGE_SIZE);
	assert_int_equal(ram_u32(&ram, module + 8), 100);
	assert_int_equal(ram_u32(&ram, b.rbx + 32), 0xe0000);
	assert_int_equal(ram_u32(&ram, ELF_LOAD_ADDR + 252), 0xcccccccc);
	image_free(&k);
	image_free(&rd);
}

static void elf_bss_is_cleared(void **state)
{
	struct image k = make_elf();

	memset(ram_at(&ram, ELF_LOAD_ADDR, 1024), 0xff, 1024);
	load_ok(&k, NULL, "");
	assert_int_equal(ram_u32(&ram, ELF_LOAD_ADDR + 256), 0);
	assert_int_equal(ram_u32(&ram, ELF_LOAD_ADDR + 508), 0);
	assert_int_equal(ram_u32(&ram, ELF_LOAD_ADDR + 512), 0xffffffff);
	image_free(&k);
}

static void elf_vmlinux(void **state)
{
	struct image k = make_elf();
	struct boot_entry b;

	elf_phdr(&k, 1)->p_type = PT_NULL;
	b = load_ok(&k, NULL, "");
	assert_int_equal(b.mode, BOOT_LONG64);
	assert_int_equal(b.rip, ELF_LOAD_ADDR);
	assert_int_equal(b.rsi, BOOT_PARAMS_ADDR);
	image_free(&k);
}

static void multiboot_addresses(void **state)
{
	struct image k = make_multiboot(), rd = make_image(64);
	struct boot_entry b;
	uint32_t flags;

	memset(ram_at(&ram, MIB, 0x2000), 0xff, 0x2000);
	b = load_ok(&k, &rd, "hello");
	assert_int_equal(b.mode, BOOT_PROT32);
	assert_int_equal(b.rip, 0x100040);
	assert_int_equal(b.rax, 0x2badb002);
	flags = ram_u32(&ram, b.rbx);
	assert_int_equal(flags, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(ram_u32(&ram, b.rbx + 8), (TEST_RAM - MIB) >> 10);
	assert_string_equal(ram_at(&ram, ram_u32(&ram, b.rbx + 16), 6), "hello");
	assert_int_equal(ram_u32(&ram, 0x1001fc), 0x55555555);
	assert_int_equal(ram_u32(&ram, 0x100200), 0);
	assert_int_equal(ram_u32(&ram, 0x1011fc), 0);
	assert_int_equal(ram_u32(&ram, 0x101200), 0xffffffff);
	image_free(&k);
	image_free(&rd);
}

static void flat_modes(void **state)
{
	struct image k = make_image(16);
	struct boot_entry b;
	struct vmm_error e;

	assert_true(load_flat(&k, &ram, 0x7c00, BOOT_REAL, &b, &e));
	assert_int_equal(b.cs, 0);
	assert_int_equal(b.rip, 0x7c00);
	assert_true(load_flat(&k, &ram, 0x12345, BOOT_REAL, &b, &e));
	assert_int_equal(b.cs, 0x1234);
	assert_int_equal(b.rip, 5);
	assert_true(load_flat(&k, &ram, 0x100000, BOOT_LONG64, &b, &e));
	assert_int_equal(b.rip, 0x100000);
	image_free(&k);
}

static void ram_is_split_around_the_hole(void **state)
{
	struct guest_ram big = make_ram(4096 * MIB);
	struct ram_map_entry map[RAM_MAP_MAX];

	assert_int_equal(big.nr, 2);
	assert_int_equal(ram_low_top(&big), RAM_HOLE_START);
	assert_int_equal(ram_map(&big, map), 4);
	assert_int_equal(map[3].start, RAM_HOLE_END);
	assert_int_equal(map[3].size, 1024 * MIB);
	assert_non_null(ram_at(&big, RAM_HOLE_START - 8, 8));
	assert_null(ram_at(&big, RAM_HOLE_START - 8, 9));
	assert_null(ram_at(&big, RAM_HOLE_START, 1));
	assert_non_null(ram_at(&big, RAM_HOLE_END, 1024 * MIB));
	assert_null(ram_at(&big, RAM_HOLE_END, 1024 * MIB + 1));
	assert_null(ram_at(&big, UINT64_MAX, 2));
	assert_null(ram_at(&big, 8, UINT64_MAX));
	ram_destroy(&big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bzimage_64, make, drop),
		cmocka_unit_test_setup_teardown(bzimage_memory_map, make, drop),
		cmocka_unit_test_setup_teardown(bzimage_32_bit_entry, make, drop),
		cmocka_unit_test_setup_teardown(bzimage_is_relocated, make, drop),
		cmocka_unit_test_setup_teardown(initrd_stays_below_its_limit, make, drop),
		cmocka_unit_test_setup_teardown(elf_pvh, make, drop),
		cmocka_unit_test_setup_teardown(elf_bss_is_cleared, make, drop),
		cmocka_unit_test_setup_teardown(elf_vmlinux, make, drop),
		cmocka_unit_test_setup_teardown(multiboot_addresses, make, drop),
		cmocka_unit_test_setup_teardown(flat_modes, make, drop),
		cmocka_unit_test(ram_is_split_around_the_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
