/* SPDX-License-Identifier: MIT */
/*
 * VMX controls: what is asked of the processor, adjusted to what its capability
 * MSRs allow (SDM Vol. 3D, "VMX Capability Reporting Facility").
 *
 * Exits are wanted for what the common code must see: mode changes, ports, MSRs
 * that the hypervisor keeps, HLT, CPUID. Paging, descriptor tables, debug
 * registers and TLB instructions are the guest's own, under EPT.
 */
#include <errno.h>

#include "base/log.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

struct ctls {
	const char *name;
	uint32_t msr;
	uint32_t required, optional;
};

/* Required bits must be allowed; optional ones are taken where they are. */
static int adjust_controls(struct kvm_vcpu *vcpu, const struct ctls *c, uint32_t *out)
{
	uint64_t cap;
	uint32_t v = c->required | c->optional;

	if (hw_rdmsr(vcpu->hw, c->msr, &cap))
		return -EIO;
	v &= cap >> 32;		/* may be 1 */
	v |= (uint32_t)cap;	/* must be 1 */
	if (c->required & ~v) {
		log_error("vmx: %s controls 0x%x are not supported", c->name,
			  c->required & ~v);
		return -EIO;
	}
	*out = v;
	return 0;
}

static const struct ctls pin_ctls = { "pin-based", MSR_IA32_VMX_TRUE_PINBASED_CTLS,
	PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS, 0 };

static const struct ctls cpu_ctls = { "processor-based",
	MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	CPU_BASED_HLT_EXITING | CPU_BASED_CR8_LOAD_EXITING |
	CPU_BASED_CR8_STORE_EXITING | CPU_BASED_UNCOND_IO_EXITING |
	CPU_BASED_USE_TSC_OFFSETTING | CPU_BASED_MWAIT_EXITING |
	CPU_BASED_MONITOR_EXITING | CPU_BASED_RDPMC_EXITING |
	CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, 0 };

static const struct ctls secondary_ctls = { "secondary", MSR_IA32_VMX_PROCBASED_CTLS2,
	SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_UNRESTRICTED_GUEST,
	SECONDARY_EXEC_ENABLE_RDTSCP | SECONDARY_EXEC_ENABLE_INVPCID |
	SECONDARY_EXEC_ENABLE_VPID | SECONDARY_EXEC_WBINVD_EXITING |
	SECONDARY_EXEC_PAUSE_LOOP_EXITING | SECONDARY_EXEC_TSC_SCALING |
	SECONDARY_EXEC_ENABLE_XSAVES | SECONDARY_EXEC_ENABLE_USR_WAIT_PAUSE };

static const struct ctls exit_ctls = { "VM-exit", MSR_IA32_VMX_TRUE_EXIT_CTLS,
	VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_SAVE_DEBUG_CONTROLS |
	VM_EXIT_SAVE_IA32_EFER | VM_EXIT_LOAD_IA32_EFER,
	VM_EXIT_SAVE_IA32_PAT | VM_EXIT_LOAD_IA32_PAT };

static const struct ctls entry_ctls = { "VM-entry", MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	VM_ENTRY_LOAD_DEBUG_CONTROLS | VM_ENTRY_LOAD_IA32_EFER,
	VM_ENTRY_LOAD_IA32_PAT };

static void write_exec_control(struct kvm_vcpu *vcpu, uint32_t v)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (v == vmx->exec_control)
		return;
	vmx->exec_control = v;
	vmcs_write(vcpu, CPU_BASED_VM_EXEC_CONTROL, v);
}

void vmx_exec_control_set(struct kvm_vcpu *vcpu, uint32_t bits)
{
	write_exec_control(vcpu, to_vmx(vcpu)->exec_control | bits);
}

void vmx_exec_control_clear(struct kvm_vcpu *vcpu, uint32_t bits)
{
	write_exec_control(vcpu, to_vmx(vcpu)->exec_control & ~bits);
}

void vmx_update_ia32e(struct kvm_vcpu *vcpu, bool long_mode)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint32_t v = vmx->vmentry & ~VM_ENTRY_IA32E_MODE;

	if (long_mode)
		v |= VM_ENTRY_IA32E_MODE;
	if (v != vmx->vmentry)
		vmcs_write(vcpu, VM_ENTRY_CONTROLS, v);
	vmx->vmentry = v;
}

/* Instructions that a control must enable exist only if the guest's CPUID says so. */
void vmx_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint32_t v = vmx->secondary;

	if (!guest_has(vcpu, X86_FEATURE_RDTSCP) && !guest_has(vcpu, X86_FEATURE_RDPID))
		v &= ~SECONDARY_EXEC_ENABLE_RDTSCP;
	if (!guest_has(vcpu, X86_FEATURE_INVPCID))
		v &= ~SECONDARY_EXEC_ENABLE_INVPCID;
	if (!guest_has(vcpu, X86_FEATURE_XSAVES))
		v &= ~SECONDARY_EXEC_ENABLE_XSAVES;
	if (!guest_has(vcpu, X86_FEATURE_WAITPKG))
		v &= ~SECONDARY_EXEC_ENABLE_USR_WAIT_PAUSE;
	vmcs_write(vcpu, SECONDARY_VM_EXEC_CONTROL, v);
	if (vcpu->arch.apic)
		kvm_lapic_set_cpuid(vcpu->arch.apic,
				    guest_has(vcpu, X86_FEATURE_X2APIC),
				    guest_has(vcpu, X86_FEATURE_TSC_DEADLINE),
				    vcpu->arch.maxphyaddr);
	/* CR4's guest-owned bits depend on what exists. */
	vmx_set_cr4(vcpu, kvm_read_cr4(vcpu));
}

/* MSRs that the guest reads and writes without an exit. */
static const uint32_t passthrough[] = {
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

/* SDM Vol. 3C, "MSR-Bitmap Address": read low, read high, write low, write high. */
static void allow_msr(uint8_t *bitmap, uint32_t msr)
{
	unsigned high = msr >= 0xc0000000 ? 1024 : 0, n = msr & 0x1fff;

	bitmap[high + n / 8] &= ~BIT(n % 8);
	bitmap[2048 + high + n / 8] &= ~BIT(n % 8);
}

static void setup_msr_bitmap(struct kvm_vcpu *vcpu)
{
	uint8_t *bitmap = to_vmx(vcpu)->msr_bitmap;

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		bitmap[i] = 0xff;
	for (unsigned i = 0; i < ARRAY_SIZE(passthrough); i++)
		allow_msr(bitmap, passthrough[i]);
	vmcs_write(vcpu, MSR_BITMAP, (uintptr_t)bitmap);
}

/* The host is this program: its state is checked at entry and never loaded. */
static void setup_host_state(struct kvm_vcpu *vcpu)
{
	vmcs_write(vcpu, HOST_CR0, X86_CR0_PE | X86_CR0_NE | X86_CR0_PG | X86_CR0_ET);
	vmcs_write(vcpu, HOST_CR4, X86_CR4_PAE | X86_CR4_VMXE);
	vmcs_write(vcpu, HOST_IA32_EFER, X86_EFER_LME | X86_EFER_LMA);
	vmcs_write(vcpu, HOST_IA32_PAT, MSR_IA32_CR_PAT_DEFAULT);
	vmcs_write(vcpu, HOST_CS_SELECTOR, 0x10);
	vmcs_write(vcpu, HOST_SS_SELECTOR, 0x18);
	vmcs_write(vcpu, HOST_TR_SELECTOR, 0x40);
	vmcs_write(vcpu, HOST_RIP, (uintptr_t)vmx_vcpu_run);
}

static void setup_pause_loop(struct kvm_vcpu *vcpu, uint32_t *secondary)
{
	if (!vcpu->kvm->params.ple_gap)
		*secondary &= ~SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	if (*secondary & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmcs_write(vcpu, PLE_GAP, vcpu->kvm->params.ple_gap);
		vmcs_write(vcpu, PLE_WINDOW, vcpu->kvm->params.ple_window);
	}
}

static void setup_vpid(struct kvm_vcpu *vcpu, uint32_t *secondary)
{
	if (!vcpu->kvm->params.vpid)
		*secondary &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (*secondary & SECONDARY_EXEC_ENABLE_VPID)
		vmcs_write(vcpu, VIRTUAL_PROCESSOR_ID, 1);
}

int vmx_setup_controls(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint32_t pin;
	int ret;

	if ((ret = adjust_controls(vcpu, &pin_ctls, &pin)) ||
	    (ret = adjust_controls(vcpu, &cpu_ctls, &vmx->exec_control)) ||
	    (ret = adjust_controls(vcpu, &secondary_ctls, &vmx->secondary)) ||
	    (ret = adjust_controls(vcpu, &exit_ctls, &vmx->vmexit)) ||
	    (ret = adjust_controls(vcpu, &entry_ctls, &vmx->vmentry)))
		return ret;
	vmx->exec_control &= ~(CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING |
			       CPU_BASED_INVLPG_EXITING);
	setup_pause_loop(vcpu, &vmx->secondary);
	setup_vpid(vcpu, &vmx->secondary);
	vmcs_write(vcpu, PIN_BASED_VM_EXEC_CONTROL, pin);
	vmcs_write(vcpu, CPU_BASED_VM_EXEC_CONTROL, vmx->exec_control);
	vmcs_write(vcpu, SECONDARY_VM_EXEC_CONTROL, vmx->secondary);
	vmcs_write(vcpu, VM_EXIT_CONTROLS, vmx->vmexit);
	vmcs_write(vcpu, VM_ENTRY_CONTROLS, vmx->vmentry);
	vmcs_write(vcpu, VMCS_LINK_POINTER, ~0ull);
	vmcs_write(vcpu, GUEST_IA32_PAT, MSR_IA32_CR_PAT_DEFAULT);
	setup_msr_bitmap(vcpu);
	setup_host_state(vcpu);
	return 0;
}
