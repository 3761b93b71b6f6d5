/* SPDX-License-Identifier: MIT */
/*
 * What each KVM_RUN exit means for this machine. Rows by exit reason; a reason
 * without a row ends the guest as an internal error, with its number.
 */
#include <string.h>
#include "vmm.h"

static void exit_io(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool in = run->io.direction == KVM_EXIT_IO_IN;

	pthread_mutex_lock(&c->vmm->bus_lock);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (in)
			bus_in(&c->vmm->bus, run->io.port, data, run->io.size);
		else
			bus_out(&c->vmm->bus, run->io.port, data, run->io.size);
	}
	pthread_mutex_unlock(&c->vmm->bus_lock);
}

static void exit_mmio(struct vcpu *c)
{
	if (!c->run->mmio.is_write)
		memset(c->run->mmio.data, 0xff, sizeof(c->run->mmio.data));
}

/* Only without in-kernel interrupt controllers: nothing can wake it. */
static void exit_hlt(struct vcpu *c)
{
	vmm_end(c->vmm, VMM_POWER_OFF, NULL, "the guest halted");
}

static void exit_shutdown(struct vcpu *c)
{
	vmm_end(c->vmm, VMM_TRIPLE_FAULT, c, "triple fault on vCPU %u", c->id);
}

static void exit_fail_entry(struct vcpu *c)
{
	vmm_end(c->vmm, VMM_INTERNAL_ERROR, c,
		"VM entry of vCPU %u failed, hardware reason %#llx", c->id,
		(unsigned long long)c->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_internal_error(struct vcpu *c)
{
	static const char *const names[] = {
		[KVM_INTERNAL_ERROR_EMULATION] = "emulation failure",
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "exit during event delivery",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] =
			"unexpected exit reason",
	};
	uint32_t sub = c->run->internal.suberror;
	const char *name = sub < ARRAY_SIZE(names) ? names[sub] : NULL;

	vmm_end(c->vmm, VMM_INTERNAL_ERROR, c,
		"KVM internal error on vCPU %u: suberror %u (%s)", c->id, sub,
		name ? name : "unknown");
}

static void exit_system_event(struct vcpu *c)
{
	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vmm_end(c->vmm, VMM_POWER_OFF, NULL, "the guest powered off");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vmm_end(c->vmm, VMM_RESET, NULL, "the guest asked for a reset");
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		vmm_end(c->vmm, VMM_CRASH, c, "the guest reported a crash");
		break;
	default:
		vmm_end(c->vmm, VMM_INTERNAL_ERROR, c, "unknown system event %u",
			c->run->system_event.type);
	}
}

static void exit_nothing(struct vcpu *c)
{
}

/* clang-format off */
static const struct {
	const char *name;
	void (*handle)(struct vcpu *c);
} exits[] = {
#define EXIT(reason, handle) [KVM_EXIT_##reason] = { "KVM_EXIT_" #reason, handle }
	EXIT(UNKNOWN,         NULL),
	EXIT(EXCEPTION,       NULL),
	EXIT(IO,              exit_io),
	EXIT(HYPERCALL,       NULL),
	EXIT(DEBUG,           NULL),
	EXIT(HLT,             exit_hlt),
	EXIT(MMIO,            exit_mmio),
	EXIT(IRQ_WINDOW_OPEN, exit_nothing),
	EXIT(SHUTDOWN,        exit_shutdown),
	EXIT(FAIL_ENTRY,      exit_fail_entry),
	EXIT(INTR,            exit_nothing),
	EXIT(SET_TPR,         exit_nothing),
	EXIT(TPR_ACCESS,      exit_nothing),
	EXIT(NMI,             exit_nothing),
	EXIT(INTERNAL_ERROR,  exit_internal_error),
	EXIT(SYSTEM_EVENT,    exit_system_event),
#undef EXIT
};
/* clang-format on */

const char *vcpu_exit_name(uint32_t reason)
{
	if (reason < ARRAY_SIZE(exits) && exits[reason].name)
		return exits[reason].name;
	return "unknown";
}

void vcpu_handle_exit(struct vcpu *c)
{
	uint32_t reason = c->run->exit_reason;

	if (reason < ARRAY_SIZE(exits) && exits[reason].handle)
		exits[reason].handle(c);
	else
		vmm_end(c->vmm, VMM_INTERNAL_ERROR, c,
			"vCPU %u: exit reason %u (%s) that this machine has no answer to",
			c->id, reason, vcpu_exit_name(reason));
}
