/* SPDX-License-Identifier: MIT */
/*
 * Kernels after the Multiboot Specification, version 0.6.96 ("multiboot 1").
 * The header is in the first 8 KiB; it either names the addresses itself (bit
 * 16, "the a.out kludge") or the file is an ELF. What the header demands and we
 * do not have (a video mode, unknown required bits) is refused, as the
 * specification asks. The initrd is the first module.
 */
#include <string.h>
#include "layout.h"
#include "loader.h"

#define MB_MAGIC		0x1badb002u
#define MB_LOADER_MAGIC		0x2badb002u
#define MB_SEARCH		8192
#define MB_REQUIRED_MASK	0xffffu
#define MB_REQUIRED_KNOWN	0x0003u	/* aligned modules, memory information */
#define MB_HAS_ADDRESSES	(1u << 16)

#define MBI_MEMORY		(1u << 0)
#define MBI_CMDLINE		(1u << 2)
#define MBI_MODS		(1u << 3)
#define MBI_MMAP		(1u << 6)
#define MBI_LOADER_NAME		(1u << 9)

/* Offsets in the header. */
enum { MB_FLAGS = 4, MB_CHECKSUM = 8, MB_HEADER_ADDR = 12, MB_LOAD_ADDR = 16,
       MB_LOAD_END = 20, MB_BSS_END = 24, MB_ENTRY = 28, MB_HEADER_SIZE = 32 };

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
	uint32_t mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
	uint32_t drives[2], config_table, loader_name;
};

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_mmap {
	uint32_t size;		/* of what follows */
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

struct mb_block {
	struct mb_info info;
	struct mb_module module;
	struct mb_mmap map[RAM_MAP_MAX];
	char loader[8];
};

_Static_assert(sizeof(struct mb_block) <= BOOT_INFO_SIZE, "room for it");

#define IN_BLOCK(member) (BOOT_INFO_ADDR + offsetof(struct mb_block, member))

static bool find_header(const struct image *k, uint64_t *where)
{
	for (uint64_t off = 0; off + 12 <= MIN(k->size, (size_t)MB_SEARCH);
	     off += 4) {
		uint32_t flags = image_u32(k, off + MB_FLAGS);

		if (image_u32(k, off) == MB_MAGIC &&
		    MB_MAGIC + flags + image_u32(k, off + MB_CHECKSUM) == 0) {
			*where = off;
			return true;
		}
	}
	return false;
}

bool is_multiboot(const struct image *k)
{
	uint64_t off;

	return find_header(k, &off);
}

/* Loads by the addresses in the header at @off. */
static bool load_by_addresses(const struct image *k, uint64_t off,
			      const struct guest_ram *ram,
			      struct boot_entry *entry, gpa_t *top,
			      struct vmm_error *e)
{
	uint32_t header = image_u32(k, off + MB_HEADER_ADDR);
	uint32_t load = image_u32(k, off + MB_LOAD_ADDR);
	uint32_t load_end = image_u32(k, off + MB_LOAD_END);
	uint32_t bss_end = image_u32(k, off + MB_BSS_END);
	uint64_t start, size, room;
	uint8_t *dst;

	if (!image_at(k, off, MB_HEADER_SIZE) || load > header ||
	    header - load > off)
		return vmm_fail(e, "%s: damaged multiboot header", k->name);
	start = off - (header - load);
	/* 0: up to the end of the file; no bss. */
	size = load_end ? (uint64_t)load_end - load : k->size - start;
	room = bss_end ? (uint64_t)bss_end - load : size;
	if ((load_end && load_end < load) || (bss_end && bss_end < load) ||
	    room < size)
		return vmm_fail(e, "%s: damaged multiboot header", k->name);
	/* A linker may leave trailing zeros out of a flat file. */
	size = MIN(size, k->size - start);
	dst = ram_at(ram, load, room);
	if (!dst)
		return vmm_fail(e, "%s: %llu KiB at %#x do not fit in guest memory",
				k->name, (unsigned long long)room >> 10, load);
	memcpy(dst, k->data + start, size);
	memset(dst + size, 0, room - size);
	*top = load + room;
	entry->rip = image_u32(k, off + MB_ENTRY);
	return true;
}

static void fill_memory(struct mb_block *b, const struct guest_ram *ram)
{
	struct ram_map_entry map[RAM_MAP_MAX];
	unsigned n = ram_map(ram, map);

	for (unsigned i = 0; i < n; i++)
		b->map[i] = (struct mb_mmap){
			sizeof(struct mb_mmap) - sizeof(uint32_t), map[i].start,
			map[i].size, map[i].kind };
	b->info.flags |= MBI_MEMORY | MBI_MMAP;
	b->info.mem_lower = EBDA_START >> 10;
	b->info.mem_upper = (ram_low_top(ram) - HIGH_MEMORY) >> 10;
	b->info.mmap_addr = IN_BLOCK(map);
	b->info.mmap_length = n * sizeof(struct mb_mmap);
}

static bool fill_module(struct mb_block *b, const struct boot_files *f,
			const struct guest_ram *ram, gpa_t top,
			struct vmm_error *e)
{
	gpa_t at;

	if (!f->initrd)
		return true;
	if (!put_initrd(ram, f->initrd, top, RAM_HOLE_START, &at, e))
		return false;
	b->info.flags |= MBI_MODS;
	b->info.mods_count = 1;
	b->info.mods_addr = IN_BLOCK(module);
	b->module = (struct mb_module){ at, at + f->initrd->size, 0, 0 };
	return true;
}

bool load_multiboot(const struct boot_files *f, const struct guest_ram *ram,
		    struct boot_entry *entry, struct vmm_error *e)
{
	struct mb_block b = { .loader = "anykvm" };
	const struct image *k = f->kernel;
	uint32_t flags, missing;
	uint64_t off;
	gpa_t top;
	bool ok;

	if (!find_header(k, &off))
		return vmm_fail(e, "%s: no multiboot header", k->name);
	flags = image_u32(k, off + MB_FLAGS);
	missing = flags & MB_REQUIRED_MASK & ~MB_REQUIRED_KNOWN;
	if (missing)
		return vmm_fail(e,
			"%s: its multiboot header demands what there is not (flags %#x)",
			k->name, missing);
	*entry = (struct boot_entry){ .rsp = BOOT_STACK_ADDR };
	if (flags & MB_HAS_ADDRESSES)
		ok = load_by_addresses(k, off, ram, entry, &top, e);
	else
		ok = load_elf_segments(k, ram, &entry->rip, &top, e);
	if (!ok || !put_cmdline(ram, f->cmdline, BOOT_CMDLINE_MAX, e))
		return false;
	if (entry->rip > UINT32_MAX)
		return vmm_fail(e, "%s: its entry %#llx is beyond 4 GiB, where no multiboot kernel begins",
				k->name, (unsigned long long)entry->rip);
	fill_memory(&b, ram);
	b.info.flags |= MBI_CMDLINE | MBI_LOADER_NAME;
	b.info.cmdline = BOOT_CMDLINE_ADDR;
	b.info.loader_name = IN_BLOCK(loader);
	if (!fill_module(&b, f, ram, top, e))
		return false;
	if (!ram_write(ram, BOOT_INFO_ADDR, &b, sizeof(b)))
		return vmm_fail(e, "no memory for the multiboot information");
	entry->mode = BOOT_PROT32;
	entry->rax = MB_LOADER_MAGIC;
	entry->rbx = BOOT_INFO_ADDR;
	return true;
}
