/* SPDX-License-Identifier: MIT */
/*
 * #VMEXITs by code: parse what the VMCB says, leave the decision to vm/.
 * APM Vol. 2, "SVM Intercept Exit Codes".
 */
#include <sched.h>

#include "obs/trace.h"
#include "svm/svm.h"

static enum kvm_exit_result complete_or_gp(struct kvm_vcpu *vcpu, int err)
{
	if (!err)
		return kvm_skip_emulated_instruction(vcpu);
	kvm_inject_gp(vcpu, 0);
	return KVM_HANDLED;
}

/* --- events ---------------------------------------------------------------------------- */

static enum kvm_exit_result db_interception(struct kvm_vcpu *vcpu)
{
	if (to_svm(vcpu)->nmi_singlestep) {
		svm_end_nmi_singlestep(vcpu);
		return KVM_HANDLED;
	}
	kvm_queue_exception(vcpu, X86_DB);
	return KVM_HANDLED;
}

static enum kvm_exit_result ud_interception(struct kvm_vcpu *vcpu)
{
	return kvm_emulate_instruction(vcpu, EMULTYPE_TRAP_UD);
}

static enum kvm_exit_result exception_to_user(struct kvm_vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_EXCEPTION;
	vcpu->run->ex.exception = svm_control(vcpu)->exit_code - SVM_EXIT_EXCP_BASE;
	vcpu->run->ex.error_code = svm_control(vcpu)->exit_info_1;
	return KVM_TO_USER;
}

static enum kvm_exit_result intr_interception(struct kvm_vcpu *vcpu)
{
	vcpu->stat.irq_exits++;
	return KVM_HANDLED;
}

static enum kvm_exit_result handled(struct kvm_vcpu *vcpu)
{
	return KVM_HANDLED;
}

static enum kvm_exit_result vintr_interception(struct kvm_vcpu *vcpu)
{
	svm_clear_irq_window(vcpu);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	vcpu->stat.irq_window_exits++;
	return KVM_HANDLED;
}

/* The end of an NMI's service; the emulator tells through iret_done, but for an IRET
 * that faults: that unblocks NMIs, too. */
static enum kvm_exit_result iret_interception(struct kvm_vcpu *vcpu)
{
	enum kvm_exit_result result;

	vcpu->stat.nmi_window_exits++;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	result = kvm_emulate_instruction(vcpu, 0);
	if (vcpu->arch.exception.pending)
		svm_set_nmi_mask(vcpu, false);
	return result;
}

static enum kvm_exit_result shutdown_interception(struct kvm_vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	vcpu->arch.emul.mmio_needed = false;
	return KVM_TO_USER;
}

/* --- instructions ------------------------------------------------------------------------- */

static enum kvm_exit_result invalid_op(struct kvm_vcpu *vcpu)
{
	kvm_queue_exception(vcpu, X86_UD);
	return KVM_HANDLED;
}

static enum kvm_exit_result nop_interception(struct kvm_vcpu *vcpu)
{
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result pause_interception(struct kvm_vcpu *vcpu)
{
	sched_yield();
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result io_interception(struct kvm_vcpu *vcpu)
{
	uint64_t info = svm_control(vcpu)->exit_info_1;

	if (info & SVM_IOIO_STR_MASK)
		return kvm_emulate_instruction(vcpu, 0);
	return kvm_fast_pio(vcpu, FIELD_GET(SVM_IOIO_SIZE_MASK, info),
			    FIELD_GET(SVM_IOIO_PORT_MASK, info),
			    info & SVM_IOIO_TYPE_MASK);
}

static enum kvm_exit_result msr_interception(struct kvm_vcpu *vcpu)
{
	return svm_control(vcpu)->exit_info_1 ? kvm_emulate_wrmsr(vcpu)
					      : kvm_emulate_rdmsr(vcpu);
}

/* --- control registers ------------------------------------------------------------------------ */

/* CR0 by MOV, LMSW or CLTS, CR4: the emulator tells the forms apart. */
static enum kvm_exit_result cr_interception(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);
	unsigned cr = c->exit_code & 15;
	uint64_t val;

	if (c->exit_code == SVM_EXIT_CR0_SEL_WRITE ||
	    !(c->exit_info_1 & SVM_EXITINFO1_CR_VALID))
		return kvm_emulate_instruction(vcpu, 0);
	val = kvm_register_read_raw(vcpu, c->exit_info_1 & SVM_EXITINFO_REG_MASK);
	if (!is_64_bit_mode(vcpu))
		val = (uint32_t)val;
	trace_kvm_cr(true, cr, val);
	return complete_or_gp(vcpu, cr == 0 ? kvm_set_cr0(vcpu, val)
					    : kvm_set_cr4(vcpu, val));
}

static enum kvm_exit_result cr8_read_interception(struct kvm_vcpu *vcpu)
{
	return kvm_emulate_instruction(vcpu, 0);
}

/* Without an in-kernel APIC the client must hear of a lowered TPR. */
static enum kvm_exit_result cr8_write_interception(struct kvm_vcpu *vcpu)
{
	uint64_t old = kvm_get_cr8(vcpu);
	enum kvm_exit_result r = kvm_emulate_instruction(vcpu, 0);

	kvm_make_request(vcpu, KVM_REQ_EVENT);
	if (r != KVM_HANDLED || vcpu->arch.apic || old <= kvm_get_cr8(vcpu))
		return r;
	vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
	return KVM_TO_USER;
}

/* INT n, INT3, INTO: the old task goes on behind it. INT1 looks like any #DB here. */
static bool by_software(uint64_t intinfo)
{
	const uint8_t vector = intinfo & SVM_EXITINTINFO_VEC_MASK;

	switch (intinfo & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_SOFT:
		return true;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		return vector == X86_BP || vector == X86_OF;
	default:
		return false;
	}
}

static enum kvm_exit_result task_switch_interception(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);
	uint64_t intinfo = c->exit_int_info;
	bool by_event = intinfo & SVM_EXITINTINFO_VALID;
	bool has_code = false;
	int reason = TASK_SWITCH_CALL;

	if (c->exit_info_2 & BIT_ULL(SVM_EXITINFOSHIFT_TS_REASON_IRET))
		reason = TASK_SWITCH_IRET;
	else if (c->exit_info_2 & BIT_ULL(SVM_EXITINFOSHIFT_TS_REASON_JMP))
		reason = TASK_SWITCH_JMP;
	else if (by_event)
		reason = TASK_SWITCH_GATE;
	if (reason == TASK_SWITCH_GATE) {
		has_code = c->exit_info_2 & BIT_ULL(SVM_EXITINFOSHIFT_TS_HAS_ERROR_CODE);
		vcpu->arch.nmi_injected = false;
		kvm_clear_exception_queue(vcpu);
		kvm_clear_interrupt_queue(vcpu);
	}
	if (reason != TASK_SWITCH_GATE || by_software(intinfo))
		kvm_emulate_instruction(vcpu, EMULTYPE_SKIP);
	if (reason == TASK_SWITCH_GATE && !by_software(intinfo))
		reason = TASK_SWITCH_EVENT;
	return kvm_task_switch(vcpu, (uint16_t)c->exit_info_1, reason, has_code,
			       (uint32_t)c->exit_info_2);
}

/* --- memory ----------------------------------------------------------------------------------------- */

static enum kvm_exit_result npf_interception(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);

	return kvm_handle_tdp_fault(vcpu, c->exit_info_2, (uint32_t)c->exit_info_1);
}

/* --- the table ---------------------------------------------------------------------------------------- */

typedef enum kvm_exit_result (*exit_handler)(struct kvm_vcpu *vcpu);

static const exit_handler svm_exit_handlers[] = {
	[SVM_EXIT_READ_CR8]	 = cr8_read_interception,
	[SVM_EXIT_WRITE_CR0]	 = cr_interception,
	[SVM_EXIT_WRITE_CR4]	 = cr_interception,
	[SVM_EXIT_WRITE_CR8]	 = cr8_write_interception,
	[SVM_EXIT_CR0_SEL_WRITE] = cr_interception,
	[SVM_EXIT_EXCP_DB]	 = db_interception,
	[SVM_EXIT_EXCP_UD]	 = ud_interception,
	[SVM_EXIT_EXCP_MC]	 = exception_to_user,
	[SVM_EXIT_INTR]		 = intr_interception,
	[SVM_EXIT_NMI]		 = handled,
	[SVM_EXIT_SMI]		 = handled,
	[SVM_EXIT_INIT]		 = handled,
	[SVM_EXIT_VINTR]	 = vintr_interception,
	[SVM_EXIT_RDPMC]	 = kvm_emulate_rdpmc,
	[SVM_EXIT_CPUID]	 = kvm_emulate_cpuid,
	[SVM_EXIT_IRET]		 = iret_interception,
	[SVM_EXIT_INVD]		 = nop_interception,
	[SVM_EXIT_PAUSE]	 = pause_interception,
	[SVM_EXIT_HLT]		 = kvm_emulate_halt,
	[SVM_EXIT_INVLPGA]	 = invalid_op,
	[SVM_EXIT_IOIO]		 = io_interception,
	[SVM_EXIT_MSR]		 = msr_interception,
	[SVM_EXIT_TASK_SWITCH]	 = task_switch_interception,
	[SVM_EXIT_SHUTDOWN]	 = shutdown_interception,
	[SVM_EXIT_RSM]		 = invalid_op,
	[SVM_EXIT_VMRUN]	 = invalid_op,
	[SVM_EXIT_VMMCALL]	 = kvm_emulate_hypercall,
	[SVM_EXIT_VMLOAD]	 = invalid_op,
	[SVM_EXIT_VMSAVE]	 = invalid_op,
	[SVM_EXIT_STGI]		 = invalid_op,
	[SVM_EXIT_CLGI]		 = invalid_op,
	[SVM_EXIT_SKINIT]	 = invalid_op,
	[SVM_EXIT_WBINVD]	 = kvm_emulate_wbinvd,
	[SVM_EXIT_MONITOR]	 = nop_interception,
	[SVM_EXIT_MWAIT]	 = nop_interception,
	[SVM_EXIT_XSETBV]	 = kvm_emulate_xsetbv,
	[SVM_EXIT_NPF]		 = npf_interception,
};

enum kvm_exit_result svm_handle_exit(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);
	uint64_t code = c->exit_code;

	if (to_svm(vcpu)->fail_entry) {
		vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
		vcpu->run->fail_entry.hardware_entry_failure_reason = code;
		vcpu->run->fail_entry.cpu = 0;
		return KVM_TO_USER;
	}
	if (trace_kvm_exit_enabled()) {
		struct kvm_exit_info i;

		svm_get_exit_info(vcpu, &i);
		trace_kvm_exit(vcpu->vcpu_id, i.reason, kvm_rip_read(vcpu), i.info1,
			       i.info2, i.intr_info);
	}
	if (hw_host_error(vcpu->hw, NULL))
		return KVM_ERROR_FAULT;
	if (code < ARRAY_SIZE(svm_exit_handlers) && svm_exit_handlers[code])
		return svm_exit_handlers[code](vcpu);
	return kvm_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 1,
				  &code);
}

void svm_get_exit_info(struct kvm_vcpu *vcpu, struct kvm_exit_info *info)
{
	const struct vmcb_control *c = svm_control(vcpu);
	const char *name = svm_exit_name(c->exit_code);

	info->reason = name ? name : "?";
	info->info1 = c->exit_info_1;
	info->info2 = c->exit_info_2;
	info->intr_info = c->exit_int_info;
}
