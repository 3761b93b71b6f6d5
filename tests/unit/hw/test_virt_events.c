/* SPDX-License-Identifier: MIT */
/* Injection, windows, vectoring, exceptions, timers, traps. See virt.h. */
#include "virt.h"

/* --- events ------------------------------------------------------------------------- */

GUEST_CODE(nops_code, 64, "nop; nop; nop; sti; nop; nop; hlt");

static void test_injection(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, nops_code);
		set_rflags(v, 0x202);
		inject(v, 0x33, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rip(v), G_STUBS + 16 * 0x33);
		/* The return address is the first instruction. */
		assert_int_equal(guest_u64(v->g, G_STACK - 40), G_CODE);
		/* Injected once only. */
		set_rip(v, G_CODE);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rip(v), G_CODE + 6);
	}
}

/* INT3 and INT n injected push the address after the instruction. */
static void test_software_injection(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, nops_code);
		inject(v, 0x80, 4);
		if (is_amd(v))
			v->vmcb->control.next_rip = G_CODE + 2;
		else
			vmcs_write(&v->e, VM_ENTRY_INSTRUCTION_LEN, 2);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		assert_int_equal(get_rip(v), G_STUBS + 16 * 0x80);
		assert_int_equal(guest_u64(v->g, G_STACK - 40), G_CODE + 2);
	}
}

static void window(struct virt *v)
{
	if (is_amd(v)) {
		vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_VINTR);
		v->vmcb->control.int_ctl |= V_IRQ_MASK | V_IGN_TPR_MASK |
					    V_INTR_MASKING_MASK;
	} else {
		vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
			   ENV_PROC | CPU_BASED_INTR_WINDOW_EXITING);
	}
}

/* The window opens after the instruction that follows STI. */
static void test_interrupt_window(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, nops_code);
		window(v);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_INTERRUPT_WINDOW,
					      SVM_EXIT_VINTR));
		assert_int_equal(get_rip(v), G_CODE + 5);
		/* A shadow given at entry holds it back by one instruction. */
		set_rip(v, G_CODE);
		if (is_amd(v))
			v->vmcb->control.int_state = 1;
		else
			vmcs_write(&v->e, GUEST_INTERRUPTIBILITY_INFO, 1);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_INTERRUPT_WINDOW,
					      SVM_EXIT_VINTR));
		assert_int_equal(get_rip(v), G_CODE + 1);
	}
}

/* V_INTR is delivered by the processor itself when nobody intercepts it. */
static void test_v_intr(void **state)
{
	struct virt *v = virt_new(true, guest_long);

	GUEST_LOAD(v->g, nops_code);
	v->vmcb->control.int_ctl = V_IRQ_MASK | V_INTR_MASKING_MASK |
				   FIELD_PREP(V_INTR_PRIO_MASK, 5) | 4;
	v->vmcb->control.int_vector = 0x55;
	assert_int_equal(run(v), SVM_EXIT_HLT);
	assert_int_equal(get_rip(v), G_STUBS + 16 * 0x55);
	assert_false(v->vmcb->control.int_ctl & V_IRQ_MASK);
	/* Not over a TPR of the same class. */
	set_rip(v, G_CODE);
	v->vmcb->control.int_ctl |= V_IRQ_MASK | 5;
	set_rflags(v, 2);
	assert_int_equal(run(v), SVM_EXIT_HLT);
	assert_int_equal(get_rip(v), G_CODE + 6);
	assert_true(v->vmcb->control.int_ctl & V_IRQ_MASK);
	virt_free(v);
}

GUEST_CODE(iret_code, 64, "nop; push $0x10; push $0x8800; push $2; push $8;"
	   "push $0x1100; iretq");
GUEST_CODE(iret_target, 64, "nop; hlt");

/* An NMI blocks the next until IRET: the window opens at its target. */
static void test_nmi_window(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, iret_code);
	guest_put(v->g, 0x1100, iret_target, iret_target_end);
	inject(v, 2, 2);
	assert_int_equal(run(v), EXIT_REASON_HLT);
	assert_int_equal(get_rip(v), G_STUBS + 16 * 2);
	assert_true(vmcs_read(&v->e, GUEST_INTERRUPTIBILITY_INFO) &
		    GUEST_INTR_STATE_NMI);
	vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
		   ENV_PROC | CPU_BASED_NMI_WINDOW_EXITING);
	set_rip(v, G_CODE);
	assert_int_equal(run(v), EXIT_REASON_NMI_WINDOW);
	assert_int_equal(get_rip(v), 0x1100);
	assert_false(vmcs_read(&v->e, GUEST_INTERRUPTIBILITY_INFO) &
		     GUEST_INTR_STATE_NMI);
	virt_free(v);
}

/* The IDT is not there: the event comes back as vectoring information. */
static void test_vectoring(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, nops_code);
		guest_tdp(v->g, G_IDT, 0);
		set_rflags(v, 0x202);
		inject(v, 0x33, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		if (is_amd(v)) {
			assert_int_equal(v->vmcb->control.exit_int_info,
					 0x80000033);
			assert_false(v->vmcb->control.event_inj & BIT(31));
		} else {
			assert_int_equal(vmcs_read(&v->e,
						   IDT_VECTORING_INFO_FIELD),
					 0x80000033);
			assert_false(vmcs_read(&v->e, VM_ENTRY_INTR_INFO_FIELD) &
				     BIT(31));
		}
		assert_int_equal(get_rip(v), G_CODE);
	}
}

GUEST_CODE(gp_code, 16, "movw %es:0xffff, %ax");

/* In real-address mode an exception has no error code: the information says so,
 * and can be given back as it is. */
static void test_vectoring_real(void **state)
{
	FOR_BOTH(v, guest_real) {
		GUEST_LOAD(v->g, gp_code);
		guest_tdp(v->g, G_STACK - PAGE_SIZE, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		assert_int_equal(get_rip(v), G_CODE);
		guest_tdp(v->g, G_STACK - PAGE_SIZE, 7);
		if (is_amd(v)) {
			v->vmcb->control.event_inj = v->vmcb->control.exit_int_info;
		} else {
			assert_int_equal(vmcs_read(&v->e,
						   IDT_VECTORING_INFO_FIELD),
					 0x8000030d);
			vmcs_write(&v->e, VM_ENTRY_INTR_INFO_FIELD, 0x8000030d);
		}
		assert_int_equal(run(v), CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT));
		/* Three words are on the stack: FLAGS, CS, IP. */
		assert_int_equal(guest_u64(v->g, G_STACK - 6) & 0xffff, G_CODE);
	}
}

GUEST_CODE(ud_code, 64, "nop; ud2");
GUEST_CODE(pf_code, 64, "mov 0x1ff000, %eax; hlt");

static void test_exception_exit(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, ud_code);
		catch(v, X86_UD);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXCEPTION_NMI,
					      SVM_EXIT_EXCP_UD));
		assert_int_equal(get_rip(v), G_CODE + 1);
		if (!is_amd(v))
			assert_int_equal(vmcs_read(&v->e, VM_EXIT_INTR_INFO),
					 0x80000306);
	}
}

static void test_page_fault_exit(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, pf_code);
		*guest_pte(v->g, 0x1ff000) = 0;
		catch(v, X86_PF);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXCEPTION_NMI,
					      SVM_EXIT_EXCP_PF));
		if (is_amd(v)) {
			assert_int_equal(v->vmcb->control.exit_info_1, 0);
			assert_int_equal(v->vmcb->control.exit_info_2, 0x1ff000);
			assert_int_equal(v->vmcb->control.insn_len, 7);
		} else {
			assert_int_equal(vmcs_read(&v->e, VM_EXIT_INTR_INFO),
					 0x80000b0e);
			assert_int_equal(vmcs_read(&v->e, VM_EXIT_INTR_ERROR_CODE),
					 0);
			assert_int_equal(vmcs_read(&v->e, EXIT_QUALIFICATION),
					 0x1ff000);
		}
	}
}

GUEST_CODE(bp_code, 64, "nop; int3");

static void test_breakpoint_exit(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, bp_code);
	catch(v, X86_BP);
	assert_int_equal(run(v), EXIT_REASON_EXCEPTION_NMI);
	assert_int_equal(vmcs_read(&v->e, VM_EXIT_INTR_INFO), 0x80000603);
	assert_int_equal(vmcs_read(&v->e, VM_EXIT_INSTRUCTION_LEN), 1);
	assert_int_equal(get_rip(v), G_CODE + 1);
	virt_free(v);
}

/* --- time, kicks, single steps --------------------------------------------------------- */

GUEST_CODE(loop_code, 64, "1: jmp 1b");

static void test_kick(void **state)
{
	FOR_BOTH(v, guest_long) {
		GUEST_LOAD(v->g, loop_code);
		/* Else the guest's IF would hold it back. */
		if (is_amd(v))
			v->vmcb->control.int_ctl |= V_INTR_MASKING_MASK;
		hw_kick(v->g->cpu);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXTERNAL_INTERRUPT,
					      SVM_EXIT_INTR));
		assert_int_equal(get_rip(v), G_CODE);
	}
}

static void test_preemption_timer(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, loop_code);
	vmcs_write(&v->e, PIN_BASED_VM_EXEC_CONTROL,
		   ENV_PIN | PIN_BASED_VMX_PREEMPTION_TIMER);
	vmcs_write(&v->e, VM_EXIT_CONTROLS,
		   ENV_EXIT | VM_EXIT_SAVE_VMX_PREEMPTION_TIMER);
	vmcs_write(&v->e, VMX_PREEMPTION_TIMER_VALUE, 30000);
	assert_int_equal(run(v), EXIT_REASON_PREEMPTION_TIMER);
	assert_int_equal(vmcs_read(&v->e, VMX_PREEMPTION_TIMER_VALUE), 0);
	/* Expired at entry. */
	assert_int_equal(run(v), EXIT_REASON_PREEMPTION_TIMER);
	/* Saved when something else came first. */
	vmcs_write(&v->e, VMX_PREEMPTION_TIMER_VALUE, 0xffffffff);
	hw_kick(v->g->cpu);
	assert_int_equal(run(v), EXIT_REASON_EXTERNAL_INTERRUPT);
	assert_in_range(vmcs_read(&v->e, VMX_PREEMPTION_TIMER_VALUE), 1,
			0xfffffffe);
	virt_free(v);
}

static void test_monitor_trap_flag(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, nops_code);
	vmcs_write(&v->e, CPU_BASED_VM_EXEC_CONTROL,
		   ENV_PROC | CPU_BASED_MONITOR_TRAP_FLAG);
	assert_int_equal(run(v), EXIT_REASON_MONITOR_TRAP_FLAG);
	assert_int_equal(get_rip(v), G_CODE + 1);
	assert_int_equal(run(v), EXIT_REASON_MONITOR_TRAP_FLAG);
	assert_int_equal(get_rip(v), G_CODE + 2);
	/* One that is pending comes before the first instruction. */
	inject(v, 0, 7);
	assert_int_equal(run(v), EXIT_REASON_MONITOR_TRAP_FLAG);
	assert_int_equal(get_rip(v), G_CODE + 2);
	virt_free(v);
}

/* Unrestricted guest: real mode turns paging on; LMA comes back in the controls. */
GUEST_CODE(lme_code, 32, "mov $0x10000, %eax; mov %eax, %cr3; mov %cr4, %eax;"
	   "or $0x20, %eax; mov %eax, %cr4; mov $0xc0000080, %ecx; rdmsr;"
	   "or $0x100, %eax; wrmsr; mov %cr0, %eax; or $0x80000000, %eax;"
	   "mov %eax, %cr0; hlt");

static void test_long_mode_switch(void **state)
{
	struct virt *v = virt_new(false, guest_long);
	struct virt *p = virt_new(false, guest_prot);

	/* Page tables of the long-mode guest. */
	memcpy(p->g->mem + G_PML4, v->g->mem + G_PML4, 4 * PAGE_SIZE);
	virt_free(v);
	GUEST_LOAD(p->g, lme_code);
	vmcs_write(&p->e, CPU_BASED_VM_EXEC_CONTROL,
		   ENV_PROC | CPU_BASED_USE_MSR_BITMAPS);
	vmcs_write(&p->e, MSR_BITMAP, (uintptr_t)page(p, P_MSR));
	assert_int_equal(run(p), EXIT_REASON_HLT);
	assert_true(vmcs_read(&p->e, GUEST_IA32_EFER) & X86_EFER_LMA);
	assert_true(vmcs_read(&p->e, VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE);
	set_rip(p, G_CODE);
	assert_int_equal(run(p), EXIT_REASON_HLT);
	virt_free(p);
}

/* RDTSCP needs its control, whatever CPUID says. */
GUEST_CODE(rdtscp_code, 64, "rdtscp; hlt");

static void test_enable_rdtscp(void **state)
{
	struct virt *v = virt_new(false, guest_long);

	GUEST_LOAD(v->g, rdtscp_code);
	catch(v, X86_UD);
	assert_int_equal(run(v), EXIT_REASON_EXCEPTION_NMI);
	assert_int_equal(vmcs_read(&v->e, VM_EXIT_INTR_INFO), 0x80000306);
	vmcs_write(&v->e, SECONDARY_VM_EXEC_CONTROL, ENV_PROC2 |
		   SECONDARY_EXEC_UNRESTRICTED_GUEST |
		   SECONDARY_EXEC_ENABLE_RDTSCP);
	assert_int_equal(run(v), EXIT_REASON_HLT);
	virt_free(v);
}

/* A loop of PAUSEs at CPL 0 leaves after a while, some of them do not; nor at CPL 3. */
GUEST_CODE(pauses_code, 64, "mov $1000000, %ecx; 1: pause; loop 1b; hlt");
GUEST_CODE(few_pauses_code, 64, "pause; pause; pause; hlt");
GUEST_CODE(user_pauses_code, 64, "mov $100000, %ecx; 1: pause; loop 1b; cpuid");

static struct virt *virt_ple(void (*start)(struct guest *g))
{
	struct virt *v = virt_new(false, start);

	vmcs_write(&v->e, SECONDARY_VM_EXEC_CONTROL, ENV_PROC2 |
		   SECONDARY_EXEC_UNRESTRICTED_GUEST |
		   SECONDARY_EXEC_PAUSE_LOOP_EXITING);
	vmcs_write(&v->e, PLE_GAP, 100000);
	vmcs_write(&v->e, PLE_WINDOW, 200000);
	return v;
}

static void test_pause_loop(void **state)
{
	struct virt *v = virt_ple(guest_long);

	GUEST_LOAD(v->g, pauses_code);
	assert_int_equal(run(v), EXIT_REASON_PAUSE_INSTRUCTION);
	/* The first PAUSE opens the window, so it never leaves; a busy host closes it early. */
	assert_in_range(v->g->c->gpr[X86_RCX], 1, 999999);
	vmcs_write(&v->e, PLE_WINDOW, 0xffffffff);
	GUEST_LOAD(v->g, few_pauses_code);
	set_rip(v, G_CODE);
	assert_int_equal(run(v), EXIT_REASON_HLT);
	virt_free(v);
	v = virt_ple(guest_user);
	GUEST_LOAD(v->g, user_pauses_code);
	assert_int_equal(run(v), EXIT_REASON_CPUID);
	virt_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_software_injection),
		cmocka_unit_test(test_interrupt_window),
		cmocka_unit_test(test_v_intr),
		cmocka_unit_test(test_nmi_window),
		cmocka_unit_test(test_vectoring),
		cmocka_unit_test(test_vectoring_real),
		cmocka_unit_test(test_exception_exit),
		cmocka_unit_test(test_page_fault_exit),
		cmocka_unit_test(test_breakpoint_exit),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_preemption_timer),
		cmocka_unit_test(test_monitor_trap_flag),
		cmocka_unit_test(test_long_mode_switch),
		cmocka_unit_test(test_enable_rdtscp),
		cmocka_unit_test(test_pause_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
