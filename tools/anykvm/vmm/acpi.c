/* SPDX-License-Identifier: MIT */
/*
 * The tables, after the ACPI Specification, "System Description Tables". The
 * FADT is revision 4 (ACPI 3.0): fixed hardware with a PM1a block, a PM timer, a
 * reset register, no SMI command port (the machine is in ACPI mode from the
 * start), neither keyboard controller nor VGA. The DSDT holds \_S5 and the panic
 * device. All tables stand one after another in the BIOS area, the RSDP first,
 * where a search for it looks.
 */
#include <stddef.h>
#include <string.h>
#include "acpi.h"
#include "aml.h"
#include "layout.h"

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct acpi_gas {		/* generic address */
	uint8_t space, bits, offset, access;
	uint64_t address;
} __attribute__((packed));

struct acpi_fadt {
	struct acpi_header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr;
	uint32_t gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value, reserved2[3];
	uint64_t x_facs, x_dsdt;
	struct acpi_gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt;
	struct acpi_gas x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1;
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_fadt) == 244, "FADT of ACPI 3.0");

#define FADT_WBINVD		BIT(0)
#define FADT_PROC_C1		BIT(2)
#define FADT_PWR_BUTTON		BIT(4)	/* no fixed-hardware buttons */
#define FADT_SLP_BUTTON		BIT(5)
#define FADT_TMR_VAL_EXT	BIT(8)	/* the timer has 32 bits */
#define FADT_RESET_REG_SUP	BIT(10)
#define BOOT_ARCH_LEGACY	BIT(0)
#define BOOT_ARCH_NO_VGA	BIT(2)
#define RESET_VALUE		6

struct madt {
	struct acpi_header h;
	uint32_t lapic_addr, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, processor, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t addr, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };

#define MADT_PCAT_COMPAT	1
#define MADT_ENABLED		1
#define MADT_ACTIVE_HIGH_LEVEL	0xd
#define MADT_ALL_PROCESSORS	0xff

/* Where the next table goes. */
struct writer {
	uint8_t *area;		/* the BIOS area in host memory */
	size_t pos;
	bool full;
};

static void *take(struct writer *w, size_t n)
{
	void *p = w->area + w->pos;

	if (w->full || n > BIOS_AREA_SIZE - w->pos) {
		w->full = true;
		return NULL;
	}
	w->pos += n;
	return p;
}

static gpa_t here(const struct writer *w)
{
	return BIOS_AREA + w->pos;
}

/* The byte that makes the sum of @n bytes at @p zero. */
static uint8_t checksum(const void *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((const uint8_t *)p)[i];
	return -sum;
}

static void fill_header(struct acpi_header *h, const char *signature,
			uint8_t revision)
{
	memset(h, 0, sizeof(*h));
	memcpy(h->signature, signature, 4);
	h->revision = revision;
	memcpy(h->oem_id, "ANYKVM", 6);
	memcpy(h->oem_table_id, "ANYKVMPC", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "AKVM", 4);
	h->creator_revision = 1;
}

/* Ends a table that begins at @h and goes up to the writer's position. */
static void finish(struct writer *w, struct acpi_header *h)
{
	h->length = w->area + w->pos - (uint8_t *)h;
	h->checksum = checksum(h, h->length);
	w->pos = ALIGN_UP(w->pos, 16);
}

static gpa_t write_dsdt(struct writer *w)
{
	static const uint8_t s5[] = { ACPI_SLP_TYP_S5, ACPI_SLP_TYP_S5, 0, 0 };
	gpa_t at = here(w);
	struct acpi_header *h = take(w, sizeof(*h));
	struct aml a = { .buf = w->area + w->pos,
			 .cap = BIOS_AREA_SIZE - w->pos };
	size_t scope, device;

	if (!h)
		return 0;
	fill_header(h, "DSDT", 2);
	aml_name_package(&a, "\\_S5", s5, sizeof(s5));
	scope = aml_scope_begin(&a, "\\_SB");
	device = aml_device_begin(&a, "PEVT");
	aml_name_string(&a, "_HID", "QEMU0001");
	aml_name_byte(&a, "_STA", 0xf);
	aml_name_io(&a, "_CRS", PORT_PVPANIC, 1);
	aml_end(&a, device);
	aml_end(&a, scope);
	w->full |= !aml_ok(&a);
	take(w, a.len);
	finish(w, h);
	return at;
}

static struct acpi_gas port_register(uint16_t port, uint8_t bytes)
{
	return (struct acpi_gas){ .space = 1, .bits = bytes * 8,
				  .access = bytes == 4 ? 3 : bytes,
				  .address = port };
}

static gpa_t write_fadt(struct writer *w, gpa_t dsdt)
{
	gpa_t at = here(w);
	struct acpi_fadt *f = take(w, sizeof(*f));

	if (!f)
		return 0;
	*f = (struct acpi_fadt){
		.dsdt = dsdt, .x_dsdt = dsdt,
		.sci_int = IRQ_SCI,
		.pm1a_evt = PORT_PM1_EVT, .pm1_evt_len = 4,
		.pm1a_cnt = PORT_PM1_CNT, .pm1_cnt_len = 2,
		.pm_tmr = PORT_PM_TIMER, .pm_tmr_len = 4,
		.p_lvl2_lat = 101, .p_lvl3_lat = 1001,	/* no C2, no C3 */
		.century = 0x32,
		.iapc_boot_arch = BOOT_ARCH_LEGACY | BOOT_ARCH_NO_VGA,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON |
			 FADT_SLP_BUTTON | FADT_TMR_VAL_EXT |
			 FADT_RESET_REG_SUP,
		.reset_reg = port_register(PORT_RESET, 1),
		.reset_value = RESET_VALUE,
		.x_pm1a_evt = port_register(PORT_PM1_EVT, 4),
		.x_pm1a_cnt = port_register(PORT_PM1_CNT, 2),
		.x_pm_tmr = port_register(PORT_PM_TIMER, 4),
	};
	fill_header(&f->h, "FACP", 4);
	finish(w, &f->h);
	return at;
}

static void write_madt_cpu(struct writer *w, unsigned id)
{
	struct madt_lapic *l = take(w, sizeof(*l));

	if (l)
		*l = (struct madt_lapic){ MADT_LAPIC, sizeof(*l), id, id,
					  MADT_ENABLED };
}

static void write_madt_irqs(struct writer *w, unsigned ioapic_id)
{
	struct madt_ioapic *io = take(w, sizeof(*io));
	struct madt_override *pit = take(w, sizeof(*pit));
	struct madt_override *sci = take(w, sizeof(*sci));
	struct madt_lapic_nmi *nmi = take(w, sizeof(*nmi));

	if (!nmi)
		return;
	*io = (struct madt_ioapic){ MADT_IOAPIC, sizeof(*io), ioapic_id, 0,
				    IOAPIC_ADDR, 0 };
	/* The PIT's line goes to pin 2, as on every PC with an IOAPIC. */
	*pit = (struct madt_override){ MADT_OVERRIDE, sizeof(*pit), 0, 0, 2, 0 };
	*sci = (struct madt_override){ MADT_OVERRIDE, sizeof(*sci), 0, IRQ_SCI,
				       IRQ_SCI, MADT_ACTIVE_HIGH_LEVEL };
	*nmi = (struct madt_lapic_nmi){ MADT_LAPIC_NMI, sizeof(*nmi),
					MADT_ALL_PROCESSORS, 0, 1 };
}

static gpa_t write_madt(struct writer *w, unsigned cpus)
{
	gpa_t at = here(w);
	struct madt *m = take(w, sizeof(*m));

	if (!m)
		return 0;
	*m = (struct madt){ .lapic_addr = LAPIC_ADDR,
			    .flags = MADT_PCAT_COMPAT };
	fill_header(&m->h, "APIC", 4);
	for (unsigned i = 0; i < cpus; i++)
		write_madt_cpu(w, i);
	write_madt_irqs(w, 0);
	finish(w, &m->h);
	return at;
}

static gpa_t write_xsdt(struct writer *w, gpa_t fadt, gpa_t madt)
{
	const uint64_t tables[] = { fadt, madt };
	gpa_t at = here(w);
	struct acpi_header *h = take(w, sizeof(*h));
	void *list = take(w, sizeof(tables));

	if (!list)
		return 0;
	fill_header(h, "XSDT", 1);
	memcpy(list, tables, sizeof(tables));
	finish(w, h);
	return at;
}

static void fill_rsdp(struct acpi_rsdp *r, gpa_t xsdt)
{
	*r = (struct acpi_rsdp){ .revision = 2, .length = sizeof(*r),
				 .xsdt = xsdt };
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "ANYKVM", 6);
	r->checksum = checksum(r, offsetof(struct acpi_rsdp, length));
	r->extended_checksum = checksum(r, sizeof(*r));
}

bool acpi_write_tables(const struct guest_ram *ram, unsigned cpus, gpa_t *rsdp,
		       struct vmm_error *e)
{
	struct writer w = { .area = ram_at(ram, BIOS_AREA, BIOS_AREA_SIZE) };
	struct acpi_rsdp *r;
	gpa_t dsdt, fadt, madt;

	if (!w.area)
		return vmm_fail(e, "no memory for the ACPI tables");
	if (!cpus || cpus > ACPI_CPUS_MAX)
		return vmm_fail(e, "processors: 1 to %u", ACPI_CPUS_MAX);
	memset(w.area, 0, BIOS_AREA_SIZE);
	*rsdp = here(&w);
	r = take(&w, ALIGN_UP(sizeof(*r), 16));
	dsdt = write_dsdt(&w);
	fadt = write_fadt(&w, dsdt);
	madt = write_madt(&w, cpus);
	fill_rsdp(r, write_xsdt(&w, fadt, madt));
	if (w.full)
		return vmm_fail(e, "the ACPI tables do not fit");
	return true;
}
