/* SPDX-License-Identifier: MIT */
/* What leaves a guest, from real entries on both vendors. See virt.h. */
#include "virt.h"

GUEST_CODE(nops_code, 64, "nop; nop; nop; sti; nop; nop; hlt");
GUEST_CODE(ud_code, 64, "nop; ud2");

GUEST_CODE(real_code, 16, "mov $0x1234, %ax; add $1, %ax; hlt; inc %ax; hlt");
GUEST_CODE(prot_code, 32, "mov $0x12345678, %eax; hlt");
GUEST_CODE(long_code, 64, "movabs $0x123456789abcdef0, %rax; hlt");

static void test_real_mode(void **state)
{
	FOR_BOTH(v, guest_real) {
		GUEST_LOAD(v->g, real_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rax(v) & 0xffff, 0x1235);
		assert_int_equal(get_rip(v), G_CODE + 6);
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rax(v) & 0xffff, 0x1236);
	}
}

static void test_protected_mode(void **state)
{
	FOR_BOTH(v, guest_prot) {
		GUEST_LOAD(v->g, prot_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rax(v), 0x12345678);
	}
}

static void test_long_mode(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, long_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rax(v), 0x123456789abcdef0);
	}
}

GUEST_CODE(cpuid_code, 64, "mov $1, %eax; cpuid; hlt");

static void test_cpuid(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, cpuid_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_CPUID, SVM_EXIT_CPUID));
		assert_int_equal(get_rip(v), G_CODE + 5);
		assert_int_equal(get_rax(v), 1);
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
	}
}

GUEST_CODE(io_code, 64, "mov $0x3f8, %dx; mov $0x41, %al; out %al, %dx;"
	   "in $0x60, %eax; lea 0x30000, %rsi; mov $4, %ecx; rep outsb; hlt");

static void expect_io(struct virt *v, uint64_t vmx, uint64_t svm)
{
	assert_int_equal(run(v), CODE(v, EXIT_REASON_IO_INSTRUCTION,
				      SVM_EXIT_IOIO));
	if (is_amd(v)) {
		assert_int_equal(v->vmcb->control.exit_info_1, svm);
		assert_int_equal(v->vmcb->control.exit_info_2,
				 v->vmcb->control.next_rip);
	} else {
		assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION), vmx);
	}
}

static void test_io(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, io_code);
		if (is_amd(v)) {
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_IOIO);
			v->vmcb->control.iopm_base_pa = (uintptr_t)page(v, P_IO_A);
			memset(page(v, P_IO_A), 0xff, 3 * PAGE_SIZE);
		}
		expect_io(v, 0x03f80000, 0x03f80210);
		skip_insn(v);
		expect_io(v, 0x0060004b, 0x00600241);
		skip_insn(v);
		/* OUTS: string, REP, DS; port in DX. */
		expect_io(v, 0x03f80030, 0x03f80e1c);
		if (!is_amd(v)) {
			assert_int_equal(vmcs_read(&v->e, GUEST_LINEAR_ADDRESS),
					 0x30000);
			assert_int_equal(vmcs_read(&v->e, VMX_INSTRUCTION_INFO),
					 2 << 7 | X86_DS << 15);
		}
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
	}
}

/* Bit clear: no exit, and nobody there: reads all ones. */
GUEST_CODE(port_code, 64, "in $0x61, %al; in $0x60, %al; hlt");

static void test_io_bitmap(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, port_code);
		page(v, P_IO_A)[0x60 / 8] = 1;
		if (is_amd(v)) {
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_IOIO);
			v->vmcb->control.iopm_base_pa = (uintptr_t)page(v, P_IO_A);
		} else {
			vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
				   ENV_PROC | CPU_BASED_USE_IO_BITMAPS);
			vmcs_write(&v->e, IO_BITMAP_A, (uintptr_t)page(v, P_IO_A));
			vmcs_write(&v->e, IO_BITMAP_B, (uintptr_t)page(v, P_IO_B));
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_IO_INSTRUCTION,
					      SVM_EXIT_IOIO));
		assert_int_equal(get_rip(v), G_CODE + 2);
	}
}

GUEST_CODE(msr_code, 64, "mov $0xc0000082, %ecx; rdmsr; mov $0x10, %ecx;"
	   "wrmsr; hlt");

static void test_msr_bitmap(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, msr_code);
		assert_int_equal(hw_wrmsr(v->g->cpu, MSR_LSTAR, 0x1122334455), 0);
		if (is_amd(v)) {
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_MSR);
			v->vmcb->control.msrpm_base_pa = (uintptr_t)page(v, P_MSR);
			page(v, P_MSR)[0x10 * 2 / 8] = 2 << (0x10 * 2 % 8);
		} else {
			vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
				   ENV_PROC | CPU_BASED_USE_MSR_BITMAPS);
			vmcs_write(&v->e, MSR_BITMAP, (uintptr_t)page(v, P_MSR));
			page(v, P_MSR)[2048 + 0x10 / 8] = 1;
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_MSR_WRITE,
					      SVM_EXIT_MSR));
		assert_int_equal(get_rax(v), 0x22334455);
		assert_int_equal(hw_gprs(v->g->cpu)[X86_RDX], 0x11);
		if (is_amd(v))
			assert_int_equal(v->vmcb->control.exit_info_1, 1);
	}
}

GUEST_CODE(cr_code, 64, "mov %cr3, %rbx; mov %rbx, %cr3; mov %cr8, %r9; hlt");

static void test_cr_access(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, cr_code);
		if (is_amd(v)) {
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_WRITE_CR3);
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_READ_CR8);
		} else {
			vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL, ENV_PROC |
				   CPU_BASED_CR3_LOAD_EXITING |
				   CPU_BASED_CR8_STORE_EXITING);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_CR_ACCESS,
					      SVM_EXIT_WRITE_CR3));
		if (is_amd(v))
			assert_true(v->vmcb->control.exit_info_1 ==
				    (BIT_ULL(63) | X86_RBX));
		else
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION),
					 X86_RBX << 8 | 3);
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_CR_ACCESS,
					      SVM_EXIT_READ_CR8));
		if (is_amd(v))
			assert_true(v->vmcb->control.exit_info_1 ==
				    (BIT_ULL(63) | X86_R9));
		else
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION),
					 X86_R9 << 8 | 1 << 4 | 8);
	}
}

/* CR4 bits of the host's are shadowed: reads see the shadow, changes leave. */
GUEST_CODE(cr4_code, 64, "mov %cr4, %rax; hlt; mov %cr4, %rbx; or $4, %rbx;"
	   "mov %rbx, %cr4; or $0x200, %rbx; mov %rbx, %cr4; hlt");

static void test_cr4_shadow(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, cr4_code);
	vmcs_write(&v->e, CR4_GUEST_HOST_MASK, X86_CR4_VMXE | X86_CR4_OSFXSR);
	vmcs_write(&v->e, CR4_READ_SHADOW, 0);
	assert_int_equal(run(v), EXIT_REASON_HLT);
	assert_false(get_rax(v) & (X86_CR4_VMXE | X86_CR4_OSFXSR));
	skip_insn(v);
	assert_int_equal(run(v), EXIT_REASON_CR_ACCESS);
	assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION), X86_RBX << 8 | 4);
	/* The first write, of a bit that is the guest's, went through. */
	assert_true(vmcs_read(&v->e, GUEST_CR4) & X86_CR4_TSD);
	assert_true(vmcs_read(&v->e, GUEST_CR4) & X86_CR4_VMXE);
	virt_free(v);
}

GUEST_CODE(store_code, 64, "movl $7, 0x31000; hlt");
GUEST_CODE(far_code, 64, "jmp *%rbx");

static void test_tdp_fault(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, store_code);
		guest_tdp(v->g, 0x31000, 5);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		if (is_amd(v)) {
			assert_true(v->vmcb->control.exit_info_1 ==
				    (SVM_NPF_GUEST_FINAL | 7));
			assert_int_equal(v->vmcb->control.exit_info_2, 0x31000);
			assert_int_equal(v->vmcb->control.insn_len, 11);
			assert_memory_equal(v->vmcb->control.insn_bytes,
					    store_code, 11);
		} else {
			/* Bit 0 may come with a write. */
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION) & ~1,
					 0x2 | 5 << 3 | BIT(7) | BIT(8));
			assert_int_equal(vmcs_read(&v->e, GUEST_PHYSICAL_ADDRESS),
					 0x31000);
			assert_int_equal(vmcs_read(&v->e, GUEST_LINEAR_ADDRESS),
					 0x31000);
		}
		assert_int_equal(get_rip(v), G_CODE);
		guest_tdp(v->g, 0x31000, 7);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(guest_u64(v->g, 0x31000), 7);
	}
}

/* A fetch from a page that is not there: no bytes, fetch reported. */
static void test_tdp_fetch_fault(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, far_code);
		hw_gprs(v->g->cpu)[X86_RBX] = 0x31010;
		guest_tdp(v->g, 0x31000, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		assert_int_equal(get_rip(v), 0x31010);
		if (is_amd(v)) {
			assert_true(v->vmcb->control.exit_info_1 & X86_PFERR_I);
			assert_int_equal(v->vmcb->control.exit_info_2, 0x31010);
			assert_int_equal(v->vmcb->control.insn_len, 0);
		} else {
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION) & 0x7f,
					 EPT_VIOLATION_ACC_INSTR);
			assert_int_equal(vmcs_read(&v->e, GUEST_PHYSICAL_ADDRESS),
					 0x31010);
		}
	}
}

/* --- more exits ------------------------------------------------------------------------ */

GUEST_CODE(vmcall_code, 64, "vmcall; hlt");
GUEST_CODE(vmmcall_code, 64, "vmmcall; hlt");

static void test_hypercall(void **state)
{
	FOR_BOTH(v, guest_long) {
		if (is_amd(v)) {
			GUEST_LOAD(v->g, vmmcall_code);
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_VMMCALL);
		} else {
			GUEST_LOAD(v->g, vmcall_code);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_VMCALL,
					      SVM_EXIT_VMMCALL));
		skip_insn(v);
		assert_int_equal(get_rip(v), G_CODE + 3);
	}
}

/* No IDT at all. */
static void test_triple_fault(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, ud_code);
		if (is_amd(v)) {
			v->vmcb->save.idtr.limit = 0;
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_SHUTDOWN);
		} else {
			vmcs_write(&v->e, GUEST_IDTR_LIMIT, 0);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_TRIPLE_FAULT,
					      SVM_EXIT_SHUTDOWN));
	}
}

GUEST_CODE(rdtsc_code, 64, "rdtsc; shl $32, %rdx; or %rdx, %rax; hlt");

static void test_tsc_offset(void **state)
{
	FOR_BOTH(v, guest_long) {
		uint64_t tsc;

		GUEST_LOAD(v->g, rdtsc_code);
		assert_int_equal(hw_rdmsr(v->g->cpu, MSR_IA32_TSC, &tsc), 0);
		if (is_amd(v)) {
			v->vmcb->control.tsc_offset = -tsc;
		} else {
			vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
				   ENV_PROC | CPU_BASED_USE_TSC_OFFSETTING);
			vmcs_write(&v->e, TSC_OFFSET, -tsc);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		/* Little time has passed since; without the offset: days. */
		assert_in_range(get_rax(v), 1, 1ull << 36);
	}
}

/* The guest's page table itself is not there. */
static void test_tdp_fault_in_walk(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, store_code);
		guest_tdp(v->g, G_PT, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		if (is_amd(v)) {
			assert_true(v->vmcb->control.exit_info_1 &
				    SVM_NPF_GUEST_PAGE);
			assert_int_equal(v->vmcb->control.exit_info_2 & ~0xfffull,
					 G_PT);
		} else {
			uint64_t q = vmcs_read(&v->e, EXIT_QUALIFICATION);

			assert_true(q & EPT_VIOLATION_GVA_IS_VALID);
			assert_false(q & EPT_VIOLATION_GVA_TRANSLATED);
			assert_int_equal(vmcs_read(&v->e, GUEST_PHYSICAL_ADDRESS) &
					 ~0xfffull, G_PT);
		}
	}
}

static void flush(struct virt *v)
{
	if (is_amd(v))
		v->vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ASID;
	else
		assert_int_equal(hw_invept(v->g->cpu, VMX_EPT_EXTENT_GLOBAL, 0),
				 HW_VMX_SUCCEED);
}

/* A right taken away counts after the flush. */
static void test_flush(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, store_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		guest_tdp(v->g, 0x31000, 5);
		flush(v);
		set_rip(v, G_CODE);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
	}
}

static void test_ept_misconfiguration(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, store_code);
	v->g->tdp[3 * 512 + 0x31] = VMX_EPT_WRITABLE_MASK |
				    VMX_EPT_EXECUTABLE_MASK;
	assert_int_equal(run(v), EXIT_REASON_EPT_MISCONFIG);
	assert_int_equal(vmcs_read(&v->e, GUEST_PHYSICAL_ADDRESS), 0x31000);
	virt_free(v);
}

GUEST_CODE(dr_code, 64, "mov %dr7, %rcx; mov %rcx, %dr0; hlt");

static void test_dr_access(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, dr_code);
		if (is_amd(v)) {
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_READ_DR7);
			vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_WRITE_DR0);
		} else {
			vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
				   ENV_PROC | CPU_BASED_MOV_DR_EXITING);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_DR_ACCESS,
					      SVM_EXIT_READ_DR7));
		if (is_amd(v))
			assert_int_equal(v->vmcb->control.exit_info_1, X86_RCX);
		else
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION),
					 X86_RCX << 8 | 0x17);
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_DR_ACCESS,
					      SVM_EXIT_WRITE_DR0));
	}
}

GUEST_CODE(cr8_code, 64, "mov $7, %eax; mov %rax, %cr8; mov %cr8, %rbx;"
	   "mov $2, %eax; mov %rax, %cr8; hlt");

/* CR8 is the virtual APIC's TPR; falling under the threshold leaves, after the
 * instruction. */
static void test_tpr_shadow(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, cr8_code);
	page(v, P_VAPIC)[0x80] = 0x50;
	vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
		   ENV_PROC | CPU_BASED_TPR_SHADOW);
	vmcs_write(&v->e, VIRTUAL_APIC_PAGE_ADDR, (uintptr_t)page(v, P_VAPIC));
	vmcs_write(&v->e, TPR_THRESHOLD, 4);
	assert_int_equal(run(v), EXIT_REASON_TPR_BELOW_THRESHOLD);
	assert_int_equal(page(v, P_VAPIC)[0x80], 0x20);
	assert_int_equal(hw_gprs(v->g->cpu)[X86_RBX], 7);
	assert_int_equal(get_rip(v), G_CODE + cr8_code_end - cr8_code - 1);
	virt_free(v);
}

GUEST_CODE(cr3_code, 64, "mov %cr3, %rax; mov %rax, %cr3; add $0x1000, %rax;"
	   "mov %rax, %cr3");

static void test_cr3_target(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, cr3_code);
	vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
		   ENV_PROC | CPU_BASED_CR3_LOAD_EXITING);
	vmcs_write(&v->e, CR3_TARGET_COUNT, 1);
	vmcs_write(&v->e, CR3_TARGET_VALUE0, v->g->c->cr3);
	assert_int_equal(run(v), EXIT_REASON_CR_ACCESS);
	assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION), 3);
	assert_int_equal(get_rip(v), G_CODE + 12);
	virt_free(v);
}

/* TF at entry: #DB after one instruction, caught or delivered. */
static void test_single_step(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, nops_code);
		catch(v, X86_DB);
		set_rflags(v, 0x102);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXCEPTION_NMI,
					      SVM_EXIT_EXCP_DB));
		assert_int_equal(get_rip(v), G_CODE + 1);
		if (is_amd(v))
			assert_true(v->vmcb->save.dr6 & X86_DR6_BS);
		else
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION),
					 X86_DR6_BS);
	}
}

/* CPL 3: the exit says so, and HLT is the guest's own #GP. */
static void test_user_mode(void **state)
{
	FOR_BOTH(v, guest_user) {
		GUEST_LOAD(v->g, cpuid_code);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_CPUID, SVM_EXIT_CPUID));
		if (is_amd(v))
			assert_int_equal(v->vmcb->save.cpl, 3);
		else
			assert_int_equal(vmcs_read(&v->e, GUEST_SS_AR_BYTES) >> 5 &
					 3, 3);
		skip_insn(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rip(v), G_STUBS + 16 * X86_GP);
	}
}

/* Halted guests wake by an injected interrupt; the activity state follows. */
static void test_halted_guest(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, nops_code);
	vmcs_write(&v->e, GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_HLT);
	set_rflags(v, 0x202);
	inject(v, 0x40, 0);
	assert_int_equal(run(v), EXIT_REASON_HLT);
	assert_int_equal(get_rip(v), G_STUBS + 16 * 0x40);
	assert_int_equal(vmcs_read(&v->e, GUEST_ACTIVITY_STATE), 0);
	/* Nothing injected: stays halted until the host wants it back. */
	vmcs_write(&v->e, GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_HLT);
	set_rip(v, G_CODE);
	hw_kick(v->g->cpu);
	assert_int_equal(run(v), EXIT_REASON_EXTERNAL_INTERRUPT);
	assert_int_equal(vmcs_read(&v->e, GUEST_ACTIVITY_STATE),
			 GUEST_ACTIVITY_HLT);
	assert_int_equal(get_rip(v), G_CODE);
	virt_free(v);
}

/* VPID 0 or another VMCS in between: each guest sees its own memory. */
static void test_two_guests(void **state)
{
	struct virt *a = virt_new(false, guest_long);
	hpa_t other = (uintptr_t)page(a, P_VMCS2);

	GUEST_LOAD(a->g, long_code);
	assert_int_equal(run(a), EXIT_REASON_HLT);
	memcpy(page(a, P_VMCS2), page(a, P_VMCS), PAGE_SIZE);
	assert_int_equal(hw_vmclear(a->g->cpu, other), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(a->g->cpu, other), HW_VMX_SUCCEED);
	vmcs_write(&a->e, GUEST_RIP, G_STUBS);
	vmcs_write(&a->e, VIRTUAL_PROCESSOR_ID, 2);
	a->launched = false;
	assert_int_equal(run(a), EXIT_REASON_HLT);
	assert_int_equal(get_rip(a), G_STUBS);
	assert_int_equal(hw_vmptrld(a->g->cpu, a->e.vmcs), HW_VMX_SUCCEED);
	set_rip(a, G_CODE);
	hw_gprs(a->g->cpu)[X86_RAX] = 0;
	assert_int_equal(run(a), EXIT_REASON_HLT);
	assert_int_equal(get_rax(a), 0x123456789abcdef0);
	virt_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real_mode),
		cmocka_unit_test(test_protected_mode),
		cmocka_unit_test(test_long_mode),
		cmocka_unit_test(test_cpuid),
		cmocka_unit_test(test_io),
		cmocka_unit_test(test_io_bitmap),
		cmocka_unit_test(test_msr_bitmap),
		cmocka_unit_test(test_cr_access),
		cmocka_unit_test(test_cr4_shadow),
		cmocka_unit_test(test_tdp_fault),
		cmocka_unit_test(test_tdp_fetch_fault),
		cmocka_unit_test(test_hypercall),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_tsc_offset),
		cmocka_unit_test(test_tdp_fault_in_walk),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_ept_misconfiguration),
		cmocka_unit_test(test_dr_access),
		cmocka_unit_test(test_tpr_shadow),
		cmocka_unit_test(test_cr3_target),
		cmocka_unit_test(test_single_step),
		cmocka_unit_test(test_user_mode),
		cmocka_unit_test(test_halted_guest),
		cmocka_unit_test(test_two_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
