/* SPDX-License-Identifier: MIT */
/*
 * What the loaders share: which one to take, the command line, the place of the
 * initrd, flat binaries.
 *
 * A file can be several things at once. The order is: bzImage (its magic is in
 * a place nothing else uses), ELF with a PVH note, multiboot (also inside an
 * ELF), any other 64-bit ELF executable, which is entered as a Linux vmlinux is.
 */
#include <string.h>
#include "layout.h"
#include "loader.h"

bool load_kernel(const struct boot_files *f, const struct guest_ram *ram,
		 struct boot_entry *entry, struct vmm_error *e)
{
	uint32_t pvh;

	*entry = (struct boot_entry){ 0 };
	if (is_bzimage(f->kernel))
		return load_bzimage(f, ram, entry, e);
	if (is_elf(f->kernel) && elf_pvh_entry(f->kernel, &pvh))
		return load_elf(f, ram, entry, e);
	if (is_multiboot(f->kernel))
		return load_multiboot(f, ram, entry, e);
	if (is_elf(f->kernel))
		return load_elf(f, ram, entry, e);
	return vmm_fail(e, "%s: not a kernel (neither bzImage, ELF nor multiboot)",
			f->kernel->name);
}

bool put_cmdline(const struct guest_ram *ram, const char *cmdline, size_t max,
		 struct vmm_error *e)
{
	size_t n = strlen(cmdline) + 1;

	max = MIN(max, (size_t)BOOT_CMDLINE_MAX);
	if (n > max)
		return vmm_fail(e, "command line: %zu bytes, the kernel takes %zu",
				n - 1, max - 1);
	if (!ram_write(ram, BOOT_CMDLINE_ADDR, cmdline, n))
		return vmm_fail(e, "command line: does not fit in guest memory");
	return true;
}

bool put_initrd(const struct guest_ram *ram, const struct image *initrd,
		gpa_t bottom, gpa_t limit, gpa_t *addr, struct vmm_error *e)
{
	gpa_t top = ALIGN_DOWN(MIN(limit, ram_low_top(ram)), PAGE_SIZE);

	bottom = ALIGN_UP(bottom, PAGE_SIZE);
	if (top < bottom || initrd->size > top - bottom)
		return vmm_fail(e,
			"%s: %zu KiB do not fit in the %llu KiB that the kernel leaves (--mem?)",
			initrd->name, initrd->size >> 10,
			(unsigned long long)(top < bottom ? 0 : top - bottom) >> 10);
	*addr = ALIGN_DOWN(top - initrd->size, PAGE_SIZE);
	if (!ram_write(ram, *addr, initrd->data, initrd->size))
		return vmm_fail(e, "%s: does not fit in guest memory",
				initrd->name);
	return true;
}

bool load_flat(const struct image *k, const struct guest_ram *ram, gpa_t addr,
	       enum boot_mode mode, struct boot_entry *entry,
	       struct vmm_error *e)
{
	if (mode == BOOT_REAL && addr >= HIGH_MEMORY)
		return vmm_fail(e, "real mode starts below 1 MiB, not at %#llx",
				(unsigned long long)addr);
	if (mode != BOOT_REAL && addr > UINT32_MAX)
		return vmm_fail(e, "a flat binary starts below 4 GiB, not at %#llx",
				(unsigned long long)addr);
	if (!ram_write(ram, addr, k->data, k->size))
		return vmm_fail(e, "%s: %zu bytes at %#llx do not fit in guest memory",
				k->name, k->size, (unsigned long long)addr);
	*entry = (struct boot_entry){ .mode = mode, .rip = addr,
				      .rsp = BOOT_STACK_ADDR };
	if (mode == BOOT_REAL && addr > 0xffff) {
		entry->cs = addr >> 4;
		entry->rip = addr & 0xf;
	}
	return true;
}
