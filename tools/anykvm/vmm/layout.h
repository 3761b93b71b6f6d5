/* SPDX-License-Identifier: MIT */
/*
 * Where the VMM puts things in the guest's address spaces: low memory that is
 * the guest's own once it runs, the BIOS area, device addresses and ports.
 */
#ifndef ANYKVM_VMM_LAYOUT_H
#define ANYKVM_VMM_LAYOUT_H

/* Low memory, free for the guest's use after it has started. */
#define BOOT_GDT_ADDR		0x1000
#define BOOT_PML4_ADDR		0x2000	/* one page; then a PDPT, then 4 PDs */
#define BOOT_INFO_ADDR		0x9000	/* hvm_start_info, multiboot information */
#define BOOT_INFO_SIZE		0x1000
#define BOOT_PARAMS_ADDR	0x10000	/* Linux's zero page */
#define BOOT_CMDLINE_ADDR	0x20000
#define BOOT_CMDLINE_MAX	0x10000	/* with the final 0 */
#define BOOT_STACK_ADDR		0x8ff0

#define EBDA_START		0x9fc00
#define BIOS_AREA		0xe0000	/* ACPI tables, searched for the RSDP */
#define BIOS_AREA_SIZE		0x20000
#define HIGH_MEMORY		0x100000

/* In the hole below 4 GiB. */
#define IOAPIC_ADDR		0xfec00000u
#define LAPIC_ADDR		0xfee00000u
#define IDENTITY_MAP_ADDR	0xfffbc000u
#define TSS_ADDR		0xfffbd000u

/* Ports. */
#define PORT_SERIAL		0x3f8
#define PORT_I8042_DATA		0x60
#define PORT_I8042_CMD		0x64
#define PORT_RTC		0x70
#define PORT_POST		0x80
#define PORT_DEBUGCON		0xe9
#define PORT_DEBUG_EXIT		0xf4
#define PORT_PVPANIC		0x505
#define PORT_PM1_EVT		0x600
#define PORT_PM1_CNT		0x604
#define PORT_PM_TIMER		0x608
#define PORT_PCI_ADDRESS	0xcf8
#define PORT_RESET		0xcf9
#define PORT_PCI_DATA		0xcfc

#define IRQ_SERIAL		4
#define IRQ_SCI			9

#endif
