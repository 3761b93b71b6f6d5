/* SPDX-License-Identifier: MIT */
/*
 * ELF executables: their loadable segments go to the physical addresses that
 * the program headers name. A note of the PVH boot ABI ("Xen", type 18) gives a
 * 32-bit entry with a start-of-day structure in EBX; a 64-bit ELF without it is
 * taken for Linux's vmlinux and entered at e_entry with the zero page in RSI.
 * 32-bit ELF files are loaded for multiboot and PVH. Every offset and size in
 * the file is checked before use.
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <string.h>
#include "layout.h"
#include "loader.h"

#define PVH_NOTE_TYPE	18	/* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MAGIC	0x336ec578
#define PHNUM_MAX	128

/* What of a program header is used, whatever the file's class. */
struct segment {
	uint32_t type;
	uint64_t offset, paddr, filesz, memsz;
};

struct elf_info {
	bool is64;
	uint16_t type;
	uint64_t entry, phoff;
	unsigned phnum, phentsize;
};

/* The PVH boot ABI, version 1. */
struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct pvh_module {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct pvh_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct pvh_block {
	struct pvh_start_info info;
	struct pvh_module module;
	struct pvh_memmap_entry map[RAM_MAP_MAX];
};

_Static_assert(sizeof(struct pvh_block) <= BOOT_INFO_SIZE, "room for it");

bool is_elf(const struct image *k)
{
	const void *magic = image_at(k, 0, SELFMAG);

	return magic && !memcmp(magic, ELFMAG, SELFMAG);
}

static bool elf_parse(const struct image *k, struct elf_info *info)
{
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;

	if (!image_copy(k, 0, &h32, sizeof(h32)) || !is_elf(k) ||
	    h32.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (h32.e_ident[EI_CLASS] == ELFCLASS32 && h32.e_machine == EM_386) {
		*info = (struct elf_info){ false, h32.e_type, h32.e_entry,
					   h32.e_phoff, h32.e_phnum,
					   h32.e_phentsize };
		return info->phentsize >= sizeof(Elf32_Phdr) &&
		       info->phnum && info->phnum <= PHNUM_MAX;
	}
	if (!image_copy(k, 0, &h64, sizeof(h64)) ||
	    h64.e_ident[EI_CLASS] != ELFCLASS64 || h64.e_machine != EM_X86_64)
		return false;
	*info = (struct elf_info){ true, h64.e_type, h64.e_entry, h64.e_phoff,
				   h64.e_phnum, h64.e_phentsize };
	return info->phentsize >= sizeof(Elf64_Phdr) && info->phnum &&
	       info->phnum <= PHNUM_MAX;
}

static bool elf_segment(const struct image *k, const struct elf_info *info,
			unsigned i, struct segment *s)
{
	uint64_t off = info->phoff + (uint64_t)i * info->phentsize;
	Elf64_Phdr p64;
	Elf32_Phdr p32;

	if (off < info->phoff)
		return false;
	if (info->is64) {
		if (!image_copy(k, off, &p64, sizeof(p64)))
			return false;
		*s = (struct segment){ p64.p_type, p64.p_offset, p64.p_paddr,
				       p64.p_filesz, p64.p_memsz };
		return true;
	}
	if (!image_copy(k, off, &p32, sizeof(p32)))
		return false;
	*s = (struct segment){ p32.p_type, p32.p_offset, p32.p_paddr,
			       p32.p_filesz, p32.p_memsz };
	return true;
}

static bool load_segment(const struct image *k, const struct guest_ram *ram,
			 const struct segment *s, struct vmm_error *e)
{
	const void *src = image_at(k, s->offset, s->filesz);
	uint8_t *dst;

	if (s->filesz > s->memsz || (s->filesz && !src))
		return vmm_fail(e, "%s: truncated or damaged ELF segment",
				k->name);
	dst = ram_at(ram, s->paddr, s->memsz);
	if (!dst)
		return vmm_fail(e,
			"%s: segment of %llu KiB at %#llx does not fit in guest memory",
			k->name, (unsigned long long)s->memsz >> 10,
			(unsigned long long)s->paddr);
	if (s->filesz)
		memcpy(dst, src, s->filesz);
	memset(dst + s->filesz, 0, s->memsz - s->filesz);
	return true;
}

bool load_elf_segments(const struct image *k, const struct guest_ram *ram,
		       uint64_t *entry, gpa_t *top, struct vmm_error *e)
{
	struct elf_info info;
	struct segment s;
	unsigned loaded = 0;

	if (!elf_parse(k, &info))
		return vmm_fail(e, "%s: damaged, or not an x86 ELF executable",
				k->name);
	/* A kernel is linked to its place; a program that asks for ld.so is none. */
	if (info.type != ET_EXEC)
		return vmm_fail(e, "%s: an ELF file, but not a kernel (type %u)",
				k->name, info.type);
	*top = 0;
	for (unsigned i = 0; i < info.phnum; i++) {
		if (!elf_segment(k, &info, i, &s))
			return vmm_fail(e, "%s: truncated ELF file", k->name);
		if (s.type != PT_LOAD || !s.memsz)
			continue;
		if (!load_segment(k, ram, &s, e))
			return false;
		*top = MAX(*top, s.paddr + s.memsz);
		loaded++;
	}
	if (!loaded)
		return vmm_fail(e, "%s: ELF file without a loadable segment",
				k->name);
	*entry = info.entry;
	return true;
}

/* Looks for the PVH note in the note segment [@off, @off + @size). */
static bool pvh_note(const struct image *k, uint64_t off, uint64_t size,
		     uint32_t *entry)
{
	if (!image_at(k, off, size))
		return false;
	while (size >= sizeof(Elf64_Nhdr)) {
		uint64_t namesz = image_u32(k, off);
		uint64_t descsz = image_u32(k, off + 4);
		uint64_t desc = 12 + ALIGN_UP(namesz, 4);
		uint64_t len = desc + ALIGN_UP(descsz, 4);
		const char *name = image_at(k, off + 12, 4);

		if (len > size)
			return false;
		if (image_u32(k, off + 8) == PVH_NOTE_TYPE && namesz == 4 &&
		    descsz >= 4 && name && !memcmp(name, "Xen", 4)) {
			*entry = image_u32(k, off + desc);
			return true;
		}
		off += len;
		size -= len;
	}
	return false;
}

bool elf_pvh_entry(const struct image *k, uint32_t *entry)
{
	struct elf_info info;
	struct segment s;

	if (!elf_parse(k, &info))
		return false;
	for (unsigned i = 0; i < info.phnum; i++)
		if (elf_segment(k, &info, i, &s) && s.type == PT_NOTE &&
		    pvh_note(k, s.offset, s.filesz, entry))
			return true;
	return false;
}

static bool enter_pvh(const struct boot_files *f, const struct guest_ram *ram,
		      gpa_t top, struct boot_entry *entry, struct vmm_error *e)
{
	struct ram_map_entry map[RAM_MAP_MAX];
	struct pvh_block b = {
		.info = {
			.magic = PVH_MAGIC, .version = 1,
			.cmdline_paddr = BOOT_CMDLINE_ADDR,
			.rsdp_paddr = f->rsdp,
			.memmap_paddr = BOOT_INFO_ADDR +
					offsetof(struct pvh_block, map),
			.memmap_entries = ram_map(ram, map),
		},
	};

	for (unsigned i = 0; i < b.info.memmap_entries; i++)
		b.map[i] = (struct pvh_memmap_entry){ map[i].start, map[i].size,
						      map[i].kind, 0 };
	if (f->initrd) {
		gpa_t at;

		if (!put_initrd(ram, f->initrd, top, RAM_HOLE_START, &at, e))
			return false;
		b.info.nr_modules = 1;
		b.info.modlist_paddr = BOOT_INFO_ADDR +
				       offsetof(struct pvh_block, module);
		b.module.paddr = at;
		b.module.size = f->initrd->size;
	}
	if (!ram_write(ram, BOOT_INFO_ADDR, &b, sizeof(b)))
		return vmm_fail(e, "no memory for the start information");
	entry->mode = BOOT_PROT32;
	entry->rbx = BOOT_INFO_ADDR;
	return true;
}

static bool enter_vmlinux(const struct boot_files *f,
			  const struct guest_ram *ram, gpa_t top,
			  struct boot_entry *entry, struct vmm_error *e)
{
	struct boot_params *bp = put_boot_params(f, ram, e);
	gpa_t at;

	if (!bp)
		return false;
	bp->hdr.boot_flag = 0xaa55;
	memcpy(&bp->hdr.header, "HdrS", 4);
	bp->hdr.version = 0x20f;
	if (f->initrd) {
		if (!put_initrd(ram, f->initrd, top, RAM_HOLE_START, &at, e))
			return false;
		bp->hdr.ramdisk_image = at;
		bp->hdr.ramdisk_size = f->initrd->size;
	}
	entry->mode = BOOT_LONG64;
	entry->rsi = BOOT_PARAMS_ADDR;
	return true;
}

bool load_elf(const struct boot_files *f, const struct guest_ram *ram,
	      struct boot_entry *entry, struct vmm_error *e)
{
	const struct image *k = f->kernel;
	uint64_t start;
	uint32_t pvh;
	gpa_t top;

	if (!load_elf_segments(k, ram, &start, &top, e))
		return false;
	*entry = (struct boot_entry){ .rip = start, .rsp = BOOT_STACK_ADDR };
	if (!put_cmdline(ram, f->cmdline, BOOT_CMDLINE_MAX, e))
		return false;
	if (elf_pvh_entry(k, &pvh)) {
		entry->rip = pvh;
		return enter_pvh(f, ram, top, entry, e);
	}
	if (k->data[EI_CLASS] != ELFCLASS64)
		return vmm_fail(e,
			"%s: 32-bit ELF with neither PVH note nor multiboot header",
			k->name);
	if (!ram_at(ram, start, 1))
		return vmm_fail(e, "%s: its entry %#llx is not in guest memory",
				k->name, (unsigned long long)start);
	return enter_vmlinux(f, ram, top, entry, e);
}
