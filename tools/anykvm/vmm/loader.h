/* SPDX-License-Identifier: MIT */
/*
 * Loaders put a kernel, its initrd and its command line into guest memory and
 * say how to enter it. They touch nothing but the struct guest_ram, so that they
 * can be tested without a VM. Each answers false with one line in @e for a file
 * it cannot load; guest memory may then hold a part of it.
 */
#ifndef ANYKVM_VMM_LOADER_H
#define ANYKVM_VMM_LOADER_H

#include "image.h"
#include "ram.h"

enum boot_mode {
	BOOT_REAL,	/* 16-bit, CS:IP */
	BOOT_PROT32,	/* flat 32-bit segments, paging off */
	BOOT_LONG64,	/* 64-bit, the first 4 GiB mapped one to one */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsp;
	uint64_t rax, rbx, rsi;
	uint16_t cs;		/* BOOT_REAL: the segment */
};

struct boot_files {
	const struct image *kernel;
	const struct image *initrd;	/* NULL: none */
	const char *cmdline;		/* never NULL */
	gpa_t rsdp;			/* 0: no ACPI tables */
};

/* Finds out what @f->kernel is, and calls the right one of those below. */
bool load_kernel(const struct boot_files *f, const struct guest_ram *ram,
		 struct boot_entry *entry, struct vmm_error *e);

bool is_bzimage(const struct image *k);
bool load_bzimage(const struct boot_files *f, const struct guest_ram *ram,
		  struct boot_entry *entry, struct vmm_error *e);

/* An ELF executable with a PVH note, or a 64-bit Linux vmlinux without. */
bool is_elf(const struct image *k);
bool load_elf(const struct boot_files *f, const struct guest_ram *ram,
	      struct boot_entry *entry, struct vmm_error *e);
/* Its segments only. @entry [OUT] e_entry, @top [OUT] first address past them. */
bool load_elf_segments(const struct image *k, const struct guest_ram *ram,
		       uint64_t *entry, gpa_t *top, struct vmm_error *e);
/* Whether it has the PVH note; @entry [OUT] the address in it. */
bool elf_pvh_entry(const struct image *k, uint32_t *entry);

bool is_multiboot(const struct image *k);
bool load_multiboot(const struct boot_files *f, const struct guest_ram *ram,
		    struct boot_entry *entry, struct vmm_error *e);

/* Bytes at @addr, entered there in @mode. */
bool load_flat(const struct image *k, const struct guest_ram *ram, gpa_t addr,
	       enum boot_mode mode, struct boot_entry *entry,
	       struct vmm_error *e);

/* Shared by the loaders. */

/* The command line at BOOT_CMDLINE_ADDR; @max bytes with the final 0. */
bool put_cmdline(const struct guest_ram *ram, const char *cmdline, size_t max,
		 struct vmm_error *e);
/*
 * The initrd as high as possible in [@bottom, @limit) of low memory; @addr [OUT].
 */
bool put_initrd(const struct guest_ram *ram, const struct image *initrd,
		gpa_t bottom, gpa_t limit, gpa_t *addr, struct vmm_error *e);
/* A zero page with memory map and command line; returns it (struct boot_params *). */
struct boot_params *put_boot_params(const struct boot_files *f,
				    const struct guest_ram *ram,
				    struct vmm_error *e);

#endif
