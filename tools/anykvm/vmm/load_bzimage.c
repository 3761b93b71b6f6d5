/* SPDX-License-Identifier: MIT */
/*
 * Linux's bzImage, by the kernel's "The Linux/x86 Boot Protocol", version 2.06
 * or later. The protected-mode part goes to the address it prefers (or the
 * lowest it can be relocated to when that does not fit), the zero page to low
 * memory, the initrd as high as the header allows. It is entered at its 64-bit
 * entry where it has one (version 2.12 and XLF_KERNEL_64), else at the 32-bit
 * one. The real-mode code is never run: the header in it is all we use.
 */
#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>
#include "layout.h"
#include "loader.h"

#define HDR_OFF		offsetof(struct boot_params, hdr)
#define HDR_MAGIC_OFF	0x202
#define HDR_END_MAX	0x290	/* what follows belongs to other fields */
#define LOADER_UNDEFINED 0xff	/* type_of_loader: none of the registered ones */

bool is_bzimage(const struct image *k)
{
	const void *magic = image_at(k, HDR_MAGIC_OFF, 4);

	return magic && !memcmp(magic, "HdrS", 4);
}

struct boot_params *put_boot_params(const struct boot_files *f,
				    const struct guest_ram *ram,
				    struct vmm_error *e)
{
	struct boot_params *bp = ram_at(ram, BOOT_PARAMS_ADDR, sizeof(*bp));
	struct ram_map_entry map[RAM_MAP_MAX];

	if (!bp) {
		vmm_error_set(e, "no memory for the zero page");
		return NULL;
	}
	memset(bp, 0, sizeof(*bp));
	bp->e820_entries = ram_map(ram, map);
	for (unsigned i = 0; i < bp->e820_entries; i++) {
		bp->e820_table[i].addr = map[i].start;
		bp->e820_table[i].size = map[i].size;
		bp->e820_table[i].type = map[i].kind;
	}
	bp->acpi_rsdp_addr = f->rsdp;
	bp->hdr.type_of_loader = LOADER_UNDEFINED;
	bp->hdr.cmd_line_ptr = BOOT_CMDLINE_ADDR;
	return bp;
}

/* Copies the file's setup header; false: no header that we can boot. */
static bool take_header(const struct image *k, struct setup_header *h,
			struct vmm_error *e)
{
	const uint8_t *first = image_at(k, 0, HDR_MAGIC_OFF);
	uint64_t end;
	const void *p;

	if (!first)
		return vmm_fail(e, "%s: truncated kernel", k->name);
	/* The jump at 0x200 goes to the first byte past the header. */
	end = HDR_MAGIC_OFF + first[0x201];
	end = MIN(end, (uint64_t)HDR_END_MAX);
	end = MIN(end, HDR_OFF + sizeof(*h));
	memset(h, 0, sizeof(*h));
	p = image_at(k, HDR_OFF, end - HDR_OFF);
	if (!p)
		return vmm_fail(e, "%s: truncated kernel", k->name);
	memcpy(h, p, end - HDR_OFF);
	if (h->boot_flag != 0xaa55 || h->version < 0x206 ||
	    !(h->loadflags & LOADED_HIGH))
		return vmm_fail(e,
			"%s: a Linux kernel older than boot protocol 2.06, or no bzImage",
			k->name);
	return true;
}

/* The protected-mode part's address and the room it needs from there. */
static bool place(const struct image *k, const struct setup_header *h,
		  const struct guest_ram *ram, uint64_t size, gpa_t *addr,
		  struct vmm_error *e)
{
	uint64_t need = MAX((uint64_t)h->init_size, size);
	uint64_t align = h->kernel_alignment;

	*addr = h->version >= 0x20a ? h->pref_address : HIGH_MEMORY;
	if (h->relocatable_kernel && !ram_at(ram, *addr, need)) {
		if (!align || (align & (align - 1)))
			return vmm_fail(e, "%s: bad kernel_alignment", k->name);
		*addr = ALIGN_UP((uint64_t)HIGH_MEMORY, align);
	}
	if (*addr < HIGH_MEMORY || *addr > UINT32_MAX ||
	    !ram_at(ram, *addr, need))
		return vmm_fail(e,
			"%s: the kernel needs %llu MiB from %#llx, there are %llu MiB (--mem?)",
			k->name, (unsigned long long)need >> 20,
			(unsigned long long)*addr,
			(unsigned long long)ram->size >> 20);
	return true;
}

static void set_entry(const struct setup_header *h, gpa_t addr,
		      struct boot_entry *entry)
{
	bool has_64 = h->version >= 0x20c && (h->xloadflags & XLF_KERNEL_64);

	*entry = (struct boot_entry){
		.mode = has_64 ? BOOT_LONG64 : BOOT_PROT32,
		.rip = addr + (has_64 ? 0x200 : 0),
		.rsi = BOOT_PARAMS_ADDR,
		.rsp = BOOT_STACK_ADDR,
	};
}

static bool add_initrd(const struct boot_files *f, const struct guest_ram *ram,
		       struct boot_params *bp, gpa_t kernel_end,
		       struct vmm_error *e)
{
	gpa_t at;

	if (!f->initrd)
		return true;
	if (!put_initrd(ram, f->initrd, kernel_end,
			(gpa_t)bp->hdr.initrd_addr_max + 1, &at, e))
		return false;
	bp->hdr.ramdisk_image = at;
	bp->hdr.ramdisk_size = f->initrd->size;
	return true;
}

bool load_bzimage(const struct boot_files *f, const struct guest_ram *ram,
		  struct boot_entry *entry, struct vmm_error *e)
{
	const struct image *k = f->kernel;
	struct setup_header h;
	struct boot_params *bp;
	uint64_t off, size;
	gpa_t addr, end;

	if (!take_header(k, &h, e))
		return false;
	off = ((h.setup_sects ? h.setup_sects : 4) + 1) * 512ull;
	size = h.syssize * 16ull;
	if (!size || size > k->size + 15 || off > k->size + 15 - size)
		return vmm_fail(e, "%s: truncated kernel", k->name);
	/* syssize counts paragraphs; the file may end inside the last one. */
	size = MIN(size, k->size - MIN(off, k->size));
	if (size <= 0x200)
		return vmm_fail(e, "%s: truncated kernel", k->name);
	if (!place(k, &h, ram, size, &addr, e))
		return false;
	end = addr + MAX((uint64_t)h.init_size, size);
	if (!put_cmdline(ram, f->cmdline, h.cmdline_size + 1ull, e))
		return false;
	bp = put_boot_params(f, ram, e);
	if (!bp)
		return false;
	h.type_of_loader = bp->hdr.type_of_loader;
	h.cmd_line_ptr = bp->hdr.cmd_line_ptr;
	h.code32_start = addr;
	h.ramdisk_image = h.ramdisk_size = 0;
	bp->hdr = h;
	ram_write(ram, addr, image_at(k, off, size), size);
	set_entry(&h, addr, entry);
	return add_initrd(f, ram, bp, end, e);
}
