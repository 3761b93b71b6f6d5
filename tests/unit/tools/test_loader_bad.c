/* SPDX-License-Identifier: MIT */
/*
 * Files that are damaged, truncated, too large or something else: each is refused
 * with a line that says what is wrong, and none may make a loader touch a byte
 * outside the file or guest memory (the sanitizer build watches).
 */
#include "images.h"

static bool try_load(const struct image *k, const struct image *rd,
		     const char *cmdline, struct vmm_error *e)
{
	struct boot_files f = { .kernel = k, .initrd = rd, .cmdline = cmdline };
	struct boot_entry entry;

	*e = (struct vmm_error){ "" };
	return load_kernel(&f, &ram, &entry, e);
}

/* Refused, with @say in the message. Frees @k. */
static void refused(struct image k, const char *say)
{
	struct vmm_error e;

	assert_false(try_load(&k, NULL, "", &e));
	if (!strstr(e.text, say))
		fail_msg("\"%s\" does not say \"%s\"", e.text, say);
	image_free(&k);
}

static void not_a_kernel(void **state)
{
	struct image k = make_image(100000);

	refused(k, "not a kernel");
	refused(make_image(1), "not a kernel");
}

/* Any prefix of a kernel: an error and never a crash. */
static void every_truncation(struct image k)
{
	size_t whole = k.size;
	struct vmm_error e;

	for (size_t n = 0; n < whole; n++) {
		/* An exact allocation, so that a read past the end is seen. */
		struct image part = { .name = "part", .size = n,
				      .data = malloc(n ? n : 1) };

		memcpy(part.data, k.data, n);
		assert_false(try_load(&part, NULL, "", &e));
		assert_true(e.text[0]);
		image_free(&part);
	}
	image_free(&k);
}

static void bzimage_truncated(void **state)
{
	struct image k = make_bzimage();

	/* The last paragraph may end early. */
	k.size -= 15;
	every_truncation(k);
}

static void elf_truncated(void **state)
{
	every_truncation(make_elf());
}

static void bzimage_bad_header(void **state)
{
	struct image k = make_bzimage();

	HDR(&k)->version = 0x203;
	refused(k, "older than boot protocol");
	k = make_bzimage();
	HDR(&k)->boot_flag = 0;
	refused(k, "no bzImage");
	k = make_bzimage();
	HDR(&k)->syssize = 0;
	refused(k, "truncated");
	k = make_bzimage();
	HDR(&k)->setup_sects = 255;
	refused(k, "truncated");
	k = make_bzimage();
	HDR(&k)->syssize = 0xffffffff;
	refused(k, "truncated");
}

static void bzimage_bad_place(void **state)
{
	struct image k = make_bzimage();

	HDR(&k)->init_size = 128 * MIB;
	refused(k, "needs 128 MiB");
	k = make_bzimage();
	HDR(&k)->init_size = 0xffffffff;
	refused(k, "needs 4095 MiB");
	k = make_bzimage();
	HDR(&k)->pref_address = UINT64_MAX;
	HDR(&k)->relocatable_kernel = 0;
	refused(k, "needs");
	k = make_bzimage();
	HDR(&k)->pref_address = 0;
	refused(k, "needs");
	k = make_bzimage();
	HDR(&k)->pref_address = 1ull << 33;
	HDR(&k)->kernel_alignment = 3;
	refused(k, "kernel_alignment");
	k = make_bzimage();
	HDR(&k)->pref_address = 1ull << 33;
	HDR(&k)->kernel_alignment = 0;
	refused(k, "kernel_alignment");
}

static void initrd_does_not_fit(void **state)
{
	struct image k = make_bzimage(), rd = make_image(50 * MIB);
	struct vmm_error e;

	assert_false(try_load(&k, &rd, "", &e));
	assert_non_null(strstr(e.text, "do not fit"));
	/* It fits in memory, but not below the kernel's limit. */
	rd.size = MIB;
	HDR(&k)->initrd_addr_max = 16 * MIB;
	assert_false(try_load(&k, &rd, "", &e));
	assert_non_null(strstr(e.text, "do not fit"));
	HDR(&k)->initrd_addr_max = 0;
	assert_false(try_load(&k, &rd, "", &e));
	image_free(&k);
	k = make_elf();
	rd.size = TEST_RAM;	/* refused before its bytes are looked at */
	assert_false(try_load(&k, &rd, "", &e));
	assert_non_null(strstr(e.text, "do not fit"));
	image_free(&k);
	image_free(&rd);
}

static void cmdline_too_long(void **state)
{
	struct image k = make_bzimage();
	struct vmm_error e;
	char line[300];

	memset(line, 'x', sizeof(line));
	line[255] = 0;
	assert_true(try_load(&k, NULL, line, &e));
	line[255] = 'x';
	line[256] = 0;
	assert_false(try_load(&k, NULL, line, &e));
	assert_non_null(strstr(e.text, "command line"));
	image_free(&k);
}

static void elf_bad_segment(void **state)
{
	struct image k = make_elf();

	elf_phdr(&k, 0)->p_paddr = TEST_RAM - 256;
	refused(k, "does not fit");
	k = make_elf();
	elf_phdr(&k, 0)->p_paddr = UINT64_MAX - 8;
	refused(k, "does not fit");
	k = make_elf();
	elf_phdr(&k, 0)->p_memsz = UINT64_MAX;
	refused(k, "does not fit");
	k = make_elf();
	elf_phdr(&k, 0)->p_memsz = 255;
	refused(k, "damaged");
	k = make_elf();
	elf_phdr(&k, 0)->p_offset = UINT64_MAX - 100;
	refused(k, "damaged");
	k = make_elf();
	elf_phdr(&k, 0)->p_filesz = UINT64_MAX;
	elf_phdr(&k, 0)->p_memsz = UINT64_MAX;
	refused(k, "damaged");
	k = make_elf();
	elf_phdr(&k, 0)->p_type = PT_NULL;
	refused(k, "without a loadable segment");
}

static void elf_bad_header(void **state)
{
	struct image k = make_elf();
	Elf64_Ehdr *h = (void *)k.data;

	h->e_machine = EM_AARCH64;
	refused(k, "not an x86 ELF");
	k = make_elf();
	h = (void *)k.data;
	h->e_type = ET_DYN;
	refused(k, "not a kernel");
	k = make_elf();
	h = (void *)k.data;
	h->e_phoff = UINT64_MAX - 10;
	refused(k, "truncated");
	k = make_elf();
	h = (void *)k.data;
	h->e_phnum = 0xffff;
	refused(k, "damaged");
	k = make_elf();
	h = (void *)k.data;
	h->e_phentsize = 1;
	refused(k, "damaged");
	k = make_elf();
	h = (void *)k.data;
	elf_phdr(&k, 1)->p_type = PT_NULL;
	h->e_entry = TEST_RAM;
	refused(k, "entry");
}

/* A note that lies about its sizes is no note: the file is a vmlinux then. */
static void elf_bad_note(void **state)
{
	uint32_t pvh;

	for (unsigned field = 0; field < 2; field++) {
		struct image k = make_elf();
		uint32_t *note = (uint32_t *)(k.data + ELF_NOTE_OFF);

		assert_true(elf_pvh_entry(&k, &pvh));
		note[field] = 0xffffffff;
		assert_false(elf_pvh_entry(&k, &pvh));
		note[field] = 0xfffffff0;
		assert_false(elf_pvh_entry(&k, &pvh));
		image_free(&k);
	}
}

static void set_multiboot(struct image *k, unsigned field, uint32_t value)
{
	uint32_t *h = (uint32_t *)(k->data + 16);

	h[field] = value;
	h[2] = -(h[0] + h[1]);
}

static void multiboot_bad_header(void **state)
{
	/* field, value, what is said */
	static const struct {
		unsigned field;
		uint32_t value;
		const char *say;
	} rows[] = {
		{ 1, 0x10007, "demands" },		/* a video mode */
		{ 1, 0x10010, "demands" },		/* an unknown bit */
		{ 3, 0xfffff, "damaged" },		/* header below load */
		{ 3, 0x200000, "damaged" },		/* before the file */
		{ 4, 0xfff00000, "damaged" },
		{ 5, 0xfffff, "damaged" },		/* ends before it begins */
		{ 6, 0x100100, "damaged" },		/* bss ends in the data */
		{ 6, 0xfffff000, "do not fit" },
		{ 5, 0xfffff000, "damaged" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct image k = make_multiboot();

		set_multiboot(&k, rows[i].field, rows[i].value);
		refused(k, rows[i].say);
	}
}

/* A 64-bit ELF file with a multiboot header that does not say where it is loaded. */
static void multiboot_entry_beyond_4g(void **state)
{
	struct image k = make_elf();
	uint32_t h[] = { 0x1badb002, 0, -0x1badb002u };

	memcpy(k.data + k.size - sizeof(h), h, sizeof(h));
	((Elf64_Ehdr *)k.data)->e_entry = 0x7700200000;
	elf_phdr(&k, 1)->p_type = PT_NULL;	/* no PVH entry */
	refused(k, "beyond 4 GiB");
}

static void multiboot_bad_checksum(void **state)
{
	struct image k = make_multiboot();

	k.data[16 + 8] ^= 1;
	refused(k, "not a kernel");
}

static void flat_does_not_fit(void **state)
{
	struct image k = make_image(4096);
	struct boot_entry b;
	struct vmm_error e;

	assert_false(load_flat(&k, &ram, TEST_RAM - 4095, BOOT_PROT32, &b, &e));
	assert_false(load_flat(&k, &ram, UINT64_MAX, BOOT_LONG64, &b, &e));
	assert_false(load_flat(&k, &ram, 0x100000, BOOT_REAL, &b, &e));
	assert_non_null(strstr(e.text, "below 1 MiB"));
	image_free(&k);
}

static void memory_that_cannot_be_had(void **state)
{
	struct guest_ram r;
	struct vmm_error e;

	assert_false(ram_create(&r, 1ull << 62, &e));
	assert_non_null(strstr(e.text, "cannot get"));
	assert_false(ram_create(&r, 4096, &e));
	assert_false(ram_create(&r, TEST_RAM + 1, &e));
}

static void files_that_are_none(void **state)
{
	struct image img;
	struct vmm_error e;

	assert_false(image_read(&img, "/nonexistent", &e));
	assert_non_null(strstr(e.text, "No such file"));
	assert_false(image_read(&img, "/", &e));
	assert_non_null(strstr(e.text, "not a regular file"));
	assert_false(image_read(&img, "/dev/zero", &e));
	assert_false(image_read(&img, "/dev/null\n", &e));
	assert_null(strchr(e.text, '\n'));
}

/* Random damage: loaded or refused with a line, never anything else. */
static void random_damage(struct image (*maker)(void))
{
	unsigned seed = 1, loaded = 0, count = 20000;
	struct vmm_error e;

	for (unsigned i = 0; i < count; i++) {
		struct image k = maker();

		for (unsigned n = rand_r(&seed) % 4 + 1; n; n--) {
			unsigned at = rand_r(&seed) % (i & 1 ? k.size : 0x280);

			k.data[at % k.size] = rand_r(&seed);
		}
		if (try_load(&k, NULL, "", &e))
			loaded++;
		else
			assert_true(e.text[0]);
		image_free(&k);
	}
	/* Neither all nor none: the damage hit what matters, and not always. */
	assert_in_range(loaded, 1, count - 1);
}

static void random_bzimage(void **state)
{
	random_damage(make_bzimage);
}

static void random_elf(void **state)
{
	random_damage(make_elf);
}

static void random_multiboot(void **state)
{
	random_damage(make_multiboot);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)
	const struct CMUnitTest tests[] = {
		T(not_a_kernel), T(bzimage_truncated), T(elf_truncated),
		T(bzimage_bad_header), T(bzimage_bad_place),
		T(initrd_does_not_fit), T(cmdline_too_long),
		T(elf_bad_segment), T(elf_bad_header), T(elf_bad_note),
		T(multiboot_bad_header), T(multiboot_entry_beyond_4g), T(multiboot_bad_checksum),
		T(flat_does_not_fit), T(memory_that_cannot_be_had),
		T(files_that_are_none), T(random_bzimage), T(random_elf),
		T(random_multiboot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
