/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables: RSDP, XSDT, FADT, MADT, DSDT, as many as an operating system
 * needs to find its processors and interrupt controllers, to power off and to
 * reset. The machine they describe is in layout.h.
 */
#ifndef ANYKVM_VMM_ACPI_H
#define ANYKVM_VMM_ACPI_H

#include "ram.h"

/* The sleep type that \_S5 names; written with SLP_EN it powers off. */
#define ACPI_SLP_TYP_S5 5

/* APIC ids are 8 bits, and 255 means all. */
#define ACPI_CPUS_MAX 254u

/*
 * Writes the tables to the BIOS area. @rsdp [OUT] where the RSDP is. False:
 * @cpus is 0 or more than ACPI_CPUS_MAX.
 */
bool acpi_write_tables(const struct guest_ram *ram, unsigned cpus, gpa_t *rsdp,
		       struct vmm_error *e);

#endif
