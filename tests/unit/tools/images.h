/* SPDX-License-Identifier: MIT */
/*
 * Kernels as small as their formats allow, made in memory, and guest memory to
 * load them into. Each maker returns an image whose bytes a test may change.
 */
#ifndef ANYKVM_TEST_IMAGES_H
#define ANYKVM_TEST_IMAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <asm/bootparam.h>
#include <elf.h>
#include "vmm/layout.h"
#include "vmm/loader.h"

#define MIB (1ull << 20)
#define TEST_RAM (64 * MIB)
#define KERNEL_SIZE 4096u	/* of the protected-mode part */
#define SETUP_SIZE 1024u
#define HDR(img) ((struct setup_header *)((img)->data + 0x1f1))

static inline struct image make_image(size_t size)
{
	struct image img = { .name = "test", .size = size };

	img.data = calloc(1, size);
	assert_non_null(img.data);
	return img;
}

static inline struct image make_bzimage(void)
{
	struct image img = make_image(SETUP_SIZE + KERNEL_SIZE);
	struct setup_header *h = HDR(&img);

	img.data[0x200] = 0xeb;
	img.data[0x201] = 0x6a;
	h->setup_sects = 1;
	h->syssize = KERNEL_SIZE / 16;
	h->boot_flag = 0xaa55;
	h->header = 0x53726448;
	h->version = 0x20f;
	h->loadflags = LOADED_HIGH;
	h->initrd_addr_max = 0x7fffffff;
	h->kernel_alignment = 2 * MIB;
	h->relocatable_kernel = 1;
	h->xloadflags = XLF_KERNEL_64;
	h->cmdline_size = 255;
	h->pref_address = 16 * MIB;
	h->init_size = MIB;
	memset(img.data + SETUP_SIZE, 0x90, KERNEL_SIZE);
	return img;
}

#define ELF_CODE_OFF 0x200u
#define ELF_NOTE_OFF 0x180u
#define ELF_LOAD_ADDR 0x200000u
#define ELF_PVH_ENTRY 0x200010u

/* Two program headers: a load segment with 256 bytes of bss, a PVH note. */
static inline struct image make_elf(void)
{
	struct image img = make_image(ELF_CODE_OFF + 256);
	Elf64_Ehdr *h = (void *)img.data;
	Elf64_Phdr *p = (void *)(img.data + sizeof(*h));
	uint32_t note[] = { 4, 4, 18, 0x006e6558, ELF_PVH_ENTRY };

	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_ident[EI_DATA] = ELFDATA2LSB;
	h->e_type = ET_EXEC;
	h->e_machine = EM_X86_64;
	h->e_entry = ELF_LOAD_ADDR;
	h->e_phoff = sizeof(*h);
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = ELF_CODE_OFF,
			     .p_paddr = ELF_LOAD_ADDR, .p_filesz = 256,
			     .p_memsz = 512 };
	p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = ELF_NOTE_OFF,
			     .p_filesz = sizeof(note), .p_memsz = sizeof(note) };
	memcpy(img.data + ELF_NOTE_OFF, note, sizeof(note));
	memset(img.data + ELF_CODE_OFF, 0xcc, 256);
	return img;
}

static inline Elf64_Phdr *elf_phdr(struct image *img, unsigned i)
{
	return (Elf64_Phdr *)(img->data + sizeof(Elf64_Ehdr)) + i;
}

/* The header at 16, addresses in it: loaded at 1 MiB, 4 KiB of bss. */
static inline struct image make_multiboot(void)
{
	struct image img = make_image(512);
	uint32_t flags = 0x10003;
	uint32_t h[] = { 0x1badb002, flags, -(0x1badb002u + flags),
			 0x100010, 0x100000, 0x100200, 0x101200, 0x100040 };

	memset(img.data, 0x55, img.size);
	memcpy(img.data + 16, h, sizeof(h));
	return img;
}

static inline struct guest_ram make_ram(uint64_t size)
{
	struct guest_ram ram;
	struct vmm_error e;

	assert_true(ram_create(&ram, size, &e));
	return ram;
}

/* cmocka's fixtures: a guest's memory for each test. */
static struct guest_ram ram;

static inline int make(void **state)
{
	ram = make_ram(TEST_RAM);
	return 0;
}

static inline int drop(void **state)
{
	ram_destroy(&ram);
	return 0;
}

static inline uint32_t ram_u32(const struct guest_ram *ram, gpa_t gpa)
{
	const uint32_t *p = ram_at(ram, gpa, 4);

	assert_non_null(p);
	return *p;
}

#endif
