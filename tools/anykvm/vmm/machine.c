/* SPDX-License-Identifier: MIT */
/*
 * The board: a VM with memory, interrupt controllers wired as a PC's are, and
 * the devices on the bus with their wires to the console and to the end of the
 * machine. Device callbacks run on vCPU threads with the bus locked.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "layout.h"
#include "vmm.h"

#define NR_PIC_PINS	16
#define NR_IOAPIC_PINS	24

static bool check(struct vmm_error *e, int err, const char *what)
{
	return err >= 0 || vmm_fail(e, "%s: %s", what, strerror(-err));
}

/*
 * GSIs 0-15 go to the 8259s and to the IOAPIC's pin of the same number, but 0
 * (the PIT) goes to pin 2, as the MADT says, and the cascade has no line.
 */
static bool route_irqs(struct vmm *v, struct vmm_error *e)
{
	union {
		struct kvm_irq_routing table;
		uint8_t room[sizeof(struct kvm_irq_routing) +
			     (NR_PIC_PINS + NR_IOAPIC_PINS) *
				     sizeof(struct kvm_irq_routing_entry)];
	} r = { .room = { 0 } };
	struct kvm_irq_routing_entry *entry = r.table.entries;
	unsigned n = 0;

	for (unsigned gsi = 0; gsi < NR_IOAPIC_PINS; gsi++) {
		if (gsi == 2)
			continue;
		if (gsi < NR_PIC_PINS)
			entry[n++] = (struct kvm_irq_routing_entry){
				.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { gsi < 8 ? KVM_IRQCHIP_PIC_MASTER
						       : KVM_IRQCHIP_PIC_SLAVE,
					       gsi % 8 } };
		entry[n++] = (struct kvm_irq_routing_entry){
			.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2 } };
	}
	r.table.nr = n;
	return check(e, vmm_ioctl(v, v->vm, KVM_SET_GSI_ROUTING, &r),
		     "KVM_SET_GSI_ROUTING");
}

static bool create_irqchip(struct vmm *v, struct vmm_error *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return check(e, vmm_ioctl(v, v->vm, KVM_CREATE_IRQCHIP, NULL),
		     "KVM_CREATE_IRQCHIP") &&
	       check(e, vmm_ioctl(v, v->vm, KVM_CREATE_PIT2, &pit),
		     "KVM_CREATE_PIT2") &&
	       route_irqs(v, e);
}

static bool set_memory(struct vmm *v, struct vmm_error *e)
{
	for (unsigned i = 0; i < v->ram.nr; i++) {
		struct kvm_userspace_memory_region m = {
			.slot = i,
			.guest_phys_addr = v->ram.range[i].gpa,
			.memory_size = v->ram.range[i].size,
			.userspace_addr = (uintptr_t)v->ram.range[i].hva,
		};

		if (!check(e, vmm_ioctl(v, v->vm, KVM_SET_USER_MEMORY_REGION, &m),
			   "KVM_SET_USER_MEMORY_REGION"))
			return false;
	}
	return true;
}

static bool create_vm(struct vmm *v, struct vmm_error *e)
{
	uint64_t identity = IDENTITY_MAP_ADDR;

	v->kvm = v->api->open(v->cfg->device);
	if (v->kvm < 0)
		return vmm_fail(e, "cannot open %s: %s",
				v->cfg->device ? v->cfg->device : "anykvm",
				strerror(errno));
	if (vmm_ioctl(v, v->kvm, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION)
		return vmm_fail(e, "%s is no KVM, or not of version %d",
				v->cfg->device ? v->cfg->device : "anykvm",
				KVM_API_VERSION);
	v->vm = vmm_ioctl(v, v->kvm, KVM_CREATE_VM, NULL);
	return check(e, v->vm, "KVM_CREATE_VM") &&
	       check(e, vmm_ioctl(v, v->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity),
		     "KVM_SET_IDENTITY_MAP_ADDR") &&
	       check(e, vmm_ioctl(v, v->vm, KVM_SET_TSS_ADDR,
				  (void *)(uintptr_t)TSS_ADDR),
		     "KVM_SET_TSS_ADDR") &&
	       set_memory(v, e) && (!v->cfg->irqchip || create_irqchip(v, e));
}

/* -- wires between devices, console and machine -- */

static void on_serial_tx(void *opaque, uint8_t byte)
{
	struct vmm *v = opaque;

	console_put(&v->console, byte);
}

static void on_serial_irq(void *opaque, bool level)
{
	struct vmm *v = opaque;
	struct kvm_irq_level l = { .irq = IRQ_SERIAL, .level = level };

	if (v->cfg->irqchip)
		vmm_ioctl(v, v->vm, KVM_IRQ_LINE, &l);
}

static void on_serial_room(void *opaque)
{
	struct vmm *v = opaque;

	console_wake(&v->console);
}

static unsigned on_console_input(void *opaque, const uint8_t *bytes, unsigned n)
{
	struct vmm *v = opaque;
	unsigned room;

	pthread_mutex_lock(&v->bus_lock);
	room = serial_room(&v->serial);
	n = MIN(n, room);
	if (n)
		serial_receive(&v->serial, bytes, n);
	pthread_mutex_unlock(&v->bus_lock);
	return n;
}

static void on_console_quit(void *opaque)
{
	vmm_end(opaque, VMM_POWER_OFF, NULL, "ended from the terminal");
}

static void on_console_dump(void *opaque)
{
	vcpus_request_dump(opaque);
}

static void on_power_off(void *opaque)
{
	vmm_end(opaque, VMM_POWER_OFF, NULL, "the guest powered off");
}

static void on_reset(void *opaque)
{
	vmm_end(opaque, VMM_RESET, NULL, "the guest asked for a reset");
}

static void on_panic(void *opaque)
{
	vmm_end(opaque, VMM_CRASH, NULL, "the guest reported a panic");
}

static void on_debug_exit(void *opaque, uint8_t code)
{
	vmm_end(opaque, code ? VMM_DEBUG_EXIT | (code & 63) : VMM_POWER_OFF,
		NULL, "the guest ended with code %u", code);
}

static void on_debug_char(void *opaque, uint8_t c)
{
	on_serial_tx(opaque, c);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static time_t now_s(void)
{
	return time(NULL);
}

static bool attach_devices(struct vmm *v, struct vmm_error *e)
{
	const struct serial_host serial = { v, on_serial_tx, on_serial_irq,
					    on_serial_room };
	const struct platform_host platform = {
		.opaque = v, .power_off = on_power_off, .reset = on_reset,
		.panic = on_panic, .debug_exit = on_debug_exit,
		.debug_char = on_debug_char, .now_ns = now_ns,
	};

	serial_init(&v->serial, &serial);
	rtc_init(&v->rtc, now_s);
	platform_init(&v->platform, &platform);
	return (serial_attach(&v->serial, &v->bus, PORT_SERIAL) &&
		rtc_attach(&v->rtc, &v->bus, PORT_RTC) &&
		platform_attach(&v->platform, &v->bus)) ||
	       vmm_fail(e, "two devices claim the same port");
}

static bool start_console(struct vmm *v, struct vmm_error *e)
{
	const struct console_host host = { v, on_console_input, on_console_quit,
					   on_console_dump };

	return check(e, console_start(&v->console, &host, 0, 1), "console");
}

bool machine_create(struct vmm *v, struct vmm_error *e)
{
	return attach_devices(v, e) && create_vm(v, e) && start_console(v, e);
}

void machine_destroy(struct vmm *v)
{
	console_stop(&v->console);
	if (v->vm >= 0)
		v->api->close(v->vm);
	if (v->kvm >= 0)
		v->api->close(v->kvm);
}
