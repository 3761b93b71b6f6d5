/* SPDX-License-Identifier: MIT */
/*
 * VM exits by reason: parse what the VMCS says, leave the decision to vm/.
 * SDM Vol. 3C, "VMX Non-Root Operation", "VM Exits".
 */
#include <sched.h>
#include <string.h>

#include "obs/trace.h"
#include "vmx/vmx.h"

static uint64_t qualification(struct kvm_vcpu *vcpu)
{
	return to_vmx(vcpu)->exit_qualification;
}

/* --- exceptions and interrupts ------------------------------------------------------- */

static enum kvm_exit_result handle_exception_nmi(struct kvm_vcpu *vcpu)
{
	uint32_t info = to_vmx(vcpu)->intr_info;
	uint8_t vector = info & INTR_INFO_VECTOR_MASK;

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		return KVM_HANDLED;
	if (vector == X86_UD)
		return kvm_emulate_instruction(vcpu, EMULTYPE_TRAP_UD);
	vcpu->run->exit_reason = KVM_EXIT_EXCEPTION;
	vcpu->run->ex.exception = vector;
	vcpu->run->ex.error_code = vmcs_read(vcpu, VM_EXIT_INTR_ERROR_CODE);
	return KVM_TO_USER;
}

static enum kvm_exit_result handle_external_interrupt(struct kvm_vcpu *vcpu)
{
	vcpu->stat.irq_exits++;
	return KVM_HANDLED;
}

static enum kvm_exit_result handle_triple_fault(struct kvm_vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	vcpu->arch.emul.mmio_needed = false;
	return KVM_TO_USER;
}

static enum kvm_exit_result handle_interrupt_window(struct kvm_vcpu *vcpu)
{
	vmx_exec_control_clear(vcpu, CPU_BASED_INTR_WINDOW_EXITING);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	vcpu->stat.irq_window_exits++;
	return KVM_HANDLED;
}

static enum kvm_exit_result handle_nmi_window(struct kvm_vcpu *vcpu)
{
	vmx_exec_control_clear(vcpu, CPU_BASED_NMI_WINDOW_EXITING);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	vcpu->stat.nmi_window_exits++;
	return KVM_HANDLED;
}

/* --- instructions with a decision of vm/ --------------------------------------------------- */

static enum kvm_exit_result handle_ud(struct kvm_vcpu *vcpu)
{
	kvm_queue_exception(vcpu, X86_UD);
	return KVM_HANDLED;
}

static enum kvm_exit_result handle_nop(struct kvm_vcpu *vcpu)
{
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result handle_pause(struct kvm_vcpu *vcpu)
{
	sched_yield();
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result handle_invlpg(struct kvm_vcpu *vcpu)
{
	vcpu->stat.invlpg++;
	vmx_flush_tlb_gva(vcpu, qualification(vcpu));
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result handle_io(struct kvm_vcpu *vcpu)
{
	uint64_t q = qualification(vcpu);
	bool in = q & VMX_IO_IN;

	if (q & VMX_IO_STRING)
		return kvm_emulate_instruction(vcpu, 0);
	return kvm_fast_pio(vcpu, FIELD_GET(VMX_IO_SIZE, q) + 1,
			    FIELD_GET(VMX_IO_PORT, q), in);
}

static enum kvm_exit_result complete_or_gp(struct kvm_vcpu *vcpu, int err)
{
	if (!err)
		return kvm_skip_emulated_instruction(vcpu);
	kvm_inject_gp(vcpu, 0);
	return KVM_HANDLED;
}

/* Without an in-kernel APIC the client must hear of a lowered TPR. */
static enum kvm_exit_result write_cr8(struct kvm_vcpu *vcpu, uint64_t val)
{
	uint64_t old = kvm_get_cr8(vcpu);
	int err = kvm_set_cr8(vcpu, val);
	enum kvm_exit_result r = complete_or_gp(vcpu, err);

	if (err || vcpu->arch.apic || old <= val) {
		kvm_make_request(vcpu, KVM_REQ_EVENT);
		return r;
	}
	vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
	return KVM_TO_USER;
}

static enum kvm_exit_result mov_to_cr(struct kvm_vcpu *vcpu, unsigned cr, uint64_t val)
{
	trace_kvm_cr(true, cr, val);
	switch (cr) {
	case 0:
		return complete_or_gp(vcpu, kvm_set_cr0(vcpu, val));
	case 3:
		return complete_or_gp(vcpu, kvm_set_cr3(vcpu, val));
	case 4:
		return complete_or_gp(vcpu, kvm_set_cr4(vcpu, val));
	case 8:
		return write_cr8(vcpu, val);
	default:
		return kvm_internal_error(vcpu,
			KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 0, NULL);
	}
}

static enum kvm_exit_result mov_from_cr(struct kvm_vcpu *vcpu, unsigned cr,
					unsigned reg)
{
	uint64_t val = cr == 8 ? kvm_get_cr8(vcpu) : kvm_read_cr3(vcpu);

	trace_kvm_cr(false, cr, val);
	kvm_register_write_raw(vcpu, reg, is_64_bit_mode(vcpu) ? val : (uint32_t)val);
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result handle_cr(struct kvm_vcpu *vcpu)
{
	uint64_t q = qualification(vcpu), val, cr0 = kvm_read_cr0(vcpu);
	unsigned cr = FIELD_GET(CONTROL_REG_ACCESS_NUM, q);
	unsigned reg = FIELD_GET(CONTROL_REG_ACCESS_REG, q);

	/* Three bits of number do for 0-7; CR8 has the fourth in the same field. */
	cr |= q & BIT(3);
	switch (FIELD_GET(CONTROL_REG_ACCESS_TYPE, q)) {
	case 0:
		val = kvm_register_read_raw(vcpu, reg);
		if (!is_64_bit_mode(vcpu))
			val = (uint32_t)val;
		return mov_to_cr(vcpu, cr, val);
	case 1:
		return mov_from_cr(vcpu, cr, reg);
	case 2:
		return mov_to_cr(vcpu, 0, cr0 & ~X86_CR0_TS);
	default:	/* LMSW: PE can be set, not cleared */
		val = FIELD_GET(LMSW_SOURCE_DATA, q) & 0xf;
		return mov_to_cr(vcpu, 0, (cr0 & ~0xeull) | val);
	}
}

static enum kvm_exit_result handle_dr(struct kvm_vcpu *vcpu)
{
	uint64_t q = qualification(vcpu), val;
	unsigned dr = FIELD_GET(DEBUG_REG_ACCESS_NUM, q);
	unsigned reg = FIELD_GET(DEBUG_REG_ACCESS_REG, q);

	if (q & DEBUG_REG_ACCESS_TYPE) {
		kvm_get_dr(vcpu, dr, &val);
		kvm_register_write_raw(vcpu, reg, val);
		return kvm_skip_emulated_instruction(vcpu);
	}
	return complete_or_gp(vcpu,
		kvm_set_dr(vcpu, dr, kvm_register_read_raw(vcpu, reg)));
}

/* INT n, INT3, INTO, INT1: the old task goes on behind it. */
static bool by_software(uint32_t info)
{
	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_SOFT_INTR:
	case INTR_TYPE_SOFT_EXCEPTION:
	case INTR_TYPE_PRIV_SW_EXCEPTION:
		return true;
	default:
		return false;
	}
}

/* All but INT n, INT3 and INTO: EXT in error codes. */
static bool has_ext(uint32_t info)
{
	return !by_software(info) ||
	       (info & VECTORING_INFO_TYPE_MASK) == INTR_TYPE_PRIV_SW_EXCEPTION;
}

static enum kvm_exit_result handle_task_switch(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint64_t q = qualification(vcpu);
	int reason = FIELD_GET(VMX_TASK_REASON, q);
	uint32_t info = vmx->idt_vectoring_info, code = 0;
	bool has_code = false, valid = info & VECTORING_INFO_VALID_MASK;

	if (reason == TASK_SWITCH_GATE && valid) {
		has_code = info & VECTORING_INFO_DELIVER_CODE_MASK;
		if (has_code)
			code = vmcs_read(vcpu, IDT_VECTORING_ERROR_CODE);
		/* The new task is the delivery. */
		vcpu->arch.nmi_injected = false;
		kvm_clear_exception_queue(vcpu);
		kvm_clear_interrupt_queue(vcpu);
	}
	/* Return to after the instruction, unless an event made the switch. */
	if (reason != TASK_SWITCH_GATE || !valid || by_software(info))
		vmx_skip_emulated_instruction(vcpu);
	if (reason == TASK_SWITCH_GATE && valid && has_ext(info))
		reason = TASK_SWITCH_EVENT;
	return kvm_task_switch(vcpu, FIELD_GET(VMX_TASK_SELECTOR, q), reason,
			       has_code, code);
}

/* --- memory ------------------------------------------------------------------------------------ */

static enum kvm_exit_result handle_ept_violation(struct kvm_vcpu *vcpu)
{
	uint64_t q = qualification(vcpu), error_code = 0;

	if (q & EPT_VIOLATION_ACC_READ)
		error_code |= X86_PFERR_U;
	if (q & EPT_VIOLATION_ACC_WRITE)
		error_code |= X86_PFERR_W;
	if (q & EPT_VIOLATION_ACC_INSTR)
		error_code |= X86_PFERR_I;
	if (q & (EPT_VIOLATION_PROT_READ | EPT_VIOLATION_PROT_WRITE |
		 EPT_VIOLATION_PROT_EXEC))
		error_code |= X86_PFERR_P;
	if (!(to_vmx(vcpu)->idt_vectoring_info & VECTORING_INFO_VALID_MASK) &&
	    (q & EPT_VIOLATION_NMI_UNBLOCKING))
		vmx_set_nmi_mask(vcpu, true);
	return kvm_handle_tdp_fault(vcpu, vmcs_read(vcpu, GUEST_PHYSICAL_ADDRESS),
				    error_code);
}

static enum kvm_exit_result handle_ept_misconfig(struct kvm_vcpu *vcpu)
{
	return kvm_handle_tdp_fault(vcpu, vmcs_read(vcpu, GUEST_PHYSICAL_ADDRESS),
				    X86_PFERR_RSVD);
}

/* --- the table ----------------------------------------------------------------------------------- */

typedef enum kvm_exit_result (*exit_handler)(struct kvm_vcpu *vcpu);

static const exit_handler kvm_vmx_exit_handlers[] = {
	[EXIT_REASON_EXCEPTION_NMI]	  = handle_exception_nmi,
	[EXIT_REASON_EXTERNAL_INTERRUPT]  = handle_external_interrupt,
	[EXIT_REASON_TRIPLE_FAULT]	  = handle_triple_fault,
	[EXIT_REASON_INTERRUPT_WINDOW]	  = handle_interrupt_window,
	[EXIT_REASON_NMI_WINDOW]	  = handle_nmi_window,
	[EXIT_REASON_TASK_SWITCH]	  = handle_task_switch,
	[EXIT_REASON_CPUID]		  = kvm_emulate_cpuid,
	[EXIT_REASON_HLT]		  = kvm_emulate_halt,
	[EXIT_REASON_INVD]		  = handle_nop,
	[EXIT_REASON_INVLPG]		  = handle_invlpg,
	[EXIT_REASON_RDPMC]		  = kvm_emulate_rdpmc,
	[EXIT_REASON_VMCALL]		  = kvm_emulate_hypercall,
	[EXIT_REASON_VMCLEAR]		  = handle_ud,
	[EXIT_REASON_VMLAUNCH]		  = handle_ud,
	[EXIT_REASON_VMPTRLD]		  = handle_ud,
	[EXIT_REASON_VMPTRST]		  = handle_ud,
	[EXIT_REASON_VMREAD]		  = handle_ud,
	[EXIT_REASON_VMRESUME]		  = handle_ud,
	[EXIT_REASON_VMWRITE]		  = handle_ud,
	[EXIT_REASON_VMOFF]		  = handle_ud,
	[EXIT_REASON_VMON]		  = handle_ud,
	[EXIT_REASON_CR_ACCESS]		  = handle_cr,
	[EXIT_REASON_DR_ACCESS]		  = handle_dr,
	[EXIT_REASON_IO_INSTRUCTION]	  = handle_io,
	[EXIT_REASON_MSR_READ]		  = kvm_emulate_rdmsr,
	[EXIT_REASON_MSR_WRITE]		  = kvm_emulate_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION]	  = handle_nop,
	[EXIT_REASON_MONITOR_INSTRUCTION] = handle_nop,
	[EXIT_REASON_PAUSE_INSTRUCTION]	  = handle_pause,
	[EXIT_REASON_EPT_VIOLATION]	  = handle_ept_violation,
	[EXIT_REASON_EPT_MISCONFIG]	  = handle_ept_misconfig,
	[EXIT_REASON_INVEPT]		  = handle_ud,
	[EXIT_REASON_INVVPID]		  = handle_ud,
	[EXIT_REASON_WBINVD]		  = kvm_emulate_wbinvd,
	[EXIT_REASON_XSETBV]		  = kvm_emulate_xsetbv,
	[EXIT_REASON_VMFUNC]		  = handle_ud,
	[EXIT_REASON_ENCLS]		  = handle_ud,
};

static enum kvm_exit_result fail_entry(struct kvm_vcpu *vcpu, uint64_t reason)
{
	vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	vcpu->run->fail_entry.hardware_entry_failure_reason = reason;
	vcpu->run->fail_entry.cpu = 0;
	return KVM_TO_USER;
}

/*
 * An exit in the middle of delivering an event that is not one of those that can
 * happen there would be lost work: the client is told.
 */
static bool unexpected_vectoring(struct vcpu_vmx *vmx)
{
	uint16_t reason = vmx->exit_reason;

	return (vmx->idt_vectoring_info & VECTORING_INFO_VALID_MASK) &&
	       reason != EXIT_REASON_EXCEPTION_NMI &&
	       reason != EXIT_REASON_EPT_VIOLATION &&
	       reason != EXIT_REASON_EPT_MISCONFIG &&
	       reason != EXIT_REASON_PML_FULL &&
	       reason != EXIT_REASON_APIC_ACCESS &&
	       reason != EXIT_REASON_TASK_SWITCH &&
	       reason != EXIT_REASON_TRIPLE_FAULT &&
	       reason != EXIT_REASON_EXTERNAL_INTERRUPT;
}

enum kvm_exit_result vmx_handle_exit(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint16_t reason = vmx->exit_reason;

	if (vmx->fail_entry)
		return fail_entry(vcpu, vmx->fail);
	if (trace_kvm_exit_enabled()) {
		struct kvm_exit_info i;

		vmx_get_exit_info(vcpu, &i);
		trace_kvm_exit(vcpu->vcpu_id, i.reason, kvm_rip_read(vcpu), i.info1,
			       i.info2, i.intr_info);
	}
	if (vmx->exit_reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		return fail_entry(vcpu, vmx->exit_reason);
	if (hw_host_error(vcpu->hw, NULL))
		return KVM_ERROR_FAULT;
	if (unexpected_vectoring(vmx)) {
		const uint64_t data[] = { vmx->idt_vectoring_info, reason,
					  vmx->exit_qualification };

		return kvm_internal_error(vcpu, KVM_INTERNAL_ERROR_DELIVERY_EV, 3, data);
	}
	if (reason < ARRAY_SIZE(kvm_vmx_exit_handlers) && kvm_vmx_exit_handlers[reason])
		return kvm_vmx_exit_handlers[reason](vcpu);
	return kvm_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 1,
				  (const uint64_t[]){ vmx->exit_reason });
}

void vmx_get_exit_info(struct kvm_vcpu *vcpu, struct kvm_exit_info *info)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	const char *name = vmx_exit_name(vmx->exit_reason & VMX_EXIT_BASIC_MASK);

	info->reason = name ? name : "?";
	info->info1 = vmx->exit_qualification;
	info->info2 = vmx->idt_vectoring_info;
	info->intr_info = vmx->intr_info;
}
