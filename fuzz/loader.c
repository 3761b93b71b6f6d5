// SPDX-License-Identifier: MIT
/*
 * The kernel loaders of `anykvm run` on any file: each is loaded or refused with a
 * line that says why, and no byte outside of the file, the initrd and guest memory
 * is touched. An entry that is answered lies where a guest of its mode can be.
 *
 * Input: sizes of the command line and of the initrd, then the kernel.
 */
#include "input.h"
#include "vmm/layout.h"
#include "vmm/loader.h"

static struct guest_ram ram[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct vmm_error e;

	FUZZ_CHECK(ram_create(&ram[0], 64 << 20, &e));
	FUZZ_CHECK(ram_create(&ram[1], RAM_MIN, &e));
	return 0;
}

/* An allocation of its own size, for the sanitizer. */
static struct image take(struct fuzz_input *in, const char *name, size_t n)
{
	struct image img = { .name = name, .size = n, .data = malloc(n ? n : 1) };

	FUZZ_CHECK(img.data);
	fuzz_bytes(in, img.data, n);
	return img;
}

static void load(const struct boot_files *f, const struct guest_ram *r)
{
	struct vmm_error e = { "" };
	struct boot_entry entry;

	if (!load_kernel(f, r, &entry, &e)) {
		FUZZ_CHECK(e.text[0]);
		return;
	}
	FUZZ_CHECK(entry.mode <= BOOT_LONG64);
	FUZZ_CHECK(entry.mode == BOOT_LONG64 || entry.rip <= UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in;
	struct image kernel, initrd;
	char cmdline[256];
	unsigned nr_initrd, n;
	bool has_initrd;

	fuzz_begin(&in, data, size);
	n = fuzz_u8(&in);
	memset(cmdline, 'c', n);
	cmdline[n] = 0;
	nr_initrd = fuzz_u8(&in);
	has_initrd = nr_initrd & 1;
	kernel = take(&in, "kernel", in.end - in.p);
	initrd = take(&in, "initrd", nr_initrd);
	for (unsigned i = 0; i < 2; i++)
		load(&(struct boot_files){ .kernel = &kernel,
			.initrd = has_initrd ? &initrd : NULL,
			.cmdline = cmdline }, &ram[i]);
	image_free(&kernel);
	image_free(&initrd);
	return 0;
}
