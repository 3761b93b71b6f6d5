/* SPDX-License-Identifier: MIT */
/*
 * Between instructions: faults that meet faults, injection, windows, virtual
 * interrupts, traps and breakpoints, timers and kicks.
 */
#include <time.h>

#include "guest.h"

/* Makes the gate of @vector not present. */
static void gate_away(struct guest *g, unsigned vector)
{
	g->mem[G_IDT + 16 * vector + 5] &= 0x7f;
}

/* --- double and triple faults ------------------------------------------------- */

GUEST_CODE(ud, 64, "ud2");

static void benign_then_contributory_is_serial(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, ud);
	gate_away(g, X86_UD);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_NP);
	/* Vector 6, in the IDT, while an earlier exception was delivered. */
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), 6 * 8 + 2 + 1);
}

GUEST_CODE(gp, 64, "mov $0x123, %ecx; rdmsr");

static void contributory_twice_is_double_fault(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, gp);
	gate_away(g, X86_GP);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DF);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), 0);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP] + 8), G_CODE + 5);
}

static void fault_of_the_double_fault_is_shutdown(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, gp);
	gate_away(g, X86_GP);
	gate_away(g, X86_DF);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TRIPLE_FAULT);

	guest_long(g);
	g->c->idt.limit = 0;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TRIPLE_FAULT);
}

GUEST_CODE(pf, 64, "mov $0x40000, %ebx; mov (%rbx), %rax");

static void page_fault_twice_is_double_fault(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, pf);
	*guest_pte(g, 0x40000) = 0;
	gate_away(g, X86_PF);	/* #NP: contributory after #PF */
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DF);
	assert_int_equal(g->c->cr2, 0x40000);
}

static void exceptions_can_be_intercepted(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, pf);
	*guest_pte(g, 0x40000) = 0;
	g->c->cr2 = 0x77;
	g->cpu->ctl.exceptions = BIT(X86_PF);
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_EXCEPTION);
	assert_int_equal(x->exc.vector, X86_PF);
	assert_int_equal(x->exc.address, 0x40000);
	assert_int_equal(x->exc.error_code, 0);
	assert_false(x->vectoring);
	assert_int_equal(g->c->cr2, 0x77);	/* delivered it was not */
	assert_int_equal(g->c->rip, G_CODE + 5);

	/* The mask and match of VMX: errors with P only. */
	g->cpu->ctl.pf_error_mask = 1;
	g->cpu->ctl.pf_error_match = 1;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_PF);
}

static void second_fault_exits_with_the_first_as_vectoring(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, gp);
	gate_away(g, X86_GP);
	g->cpu->ctl.exceptions = BIT(X86_DF);
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_EXCEPTION);
	assert_int_equal(x->exc.vector, X86_DF);
	assert_true(x->vectoring);
	assert_int_equal(x->vectoring_event.vector, X86_GP);
	assert_true(x->vectoring_event.has_error_code);
}

static void tdp_fault_in_delivery_has_vectoring(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, gp);
	guest_tdp(g, G_IDT, 0);
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_TDP_FAULT);
	assert_true(x->vectoring);
	assert_int_equal(x->vectoring_event.vector, X86_GP);

	/* The hypervisor maps it and injects the event again. */
	guest_tdp(g, G_IDT, 7);
	g->cpu->ctl.inject = x->vectoring_event;
	g->cpu->ctl.inject_valid = true;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
}

/* --- injection, windows -------------------------------------------------------------- */

GUEST_CODE(nops, 64, "nop; nop; nop; hlt");

static void inject(struct guest *g, unsigned type, unsigned vector, unsigned len)
{
	g->cpu->ctl.inject = (struct x86_event){
		.type = type, .vector = vector,
	};
	g->cpu->ctl.inject_len = len;
	g->cpu->ctl.inject_valid = true;
}

static void events_are_injected(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	g->c->eflags |= X86_EFLAGS_IF;
	inject(g, X86_EVENT_EXTINT, 0x55, 0);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), 0x55);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE);

	/* A software interrupt returns behind its instruction. */
	guest_long(g);
	inject(g, X86_EVENT_SOFT_INT, 0x80, 2);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), 0x80);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 2);
	assert_false(g->cpu->ctl.inject_valid);
}

/* Interception is for the guest's own exceptions. */
static void injected_exceptions_are_not_intercepted(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	g->cpu->ctl.exceptions = ~0u;
	inject(g, X86_EVENT_EXCEPTION, X86_UD, 0);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_UD);
}

GUEST_CODE(sti, 64, "nop; sti; nop; nop; hlt");

static void interrupt_window_opens_after_the_shadow(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, sti);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_INTR_WINDOW);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_INTR_WINDOW);
	assert_int_equal(g->c->rip, G_CODE + 3);
	assert_int_equal(g->cpu->shadow, 0);
}

static void closed_window_does_not_exit(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_INTR_WINDOW);
	guest_hlt(g);
}

GUEST_CODE(iret_nmi, 64,
	   "lea 1f(%rip), %rax; mov %rsp, %rbx; push $0x10; push %rbx\n"
	   "pushf; push $8; push %rax; iretq\n1: nop; hlt");

static void nmi_window_opens_after_iret(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, iret_nmi);
	g->cpu->nmi_blocked = true;
	g->cpu->ctl.virtual_nmi = true;
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_NMI_WINDOW);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_NMI_WINDOW);
	assert_false(g->cpu->nmi_blocked);
	assert_int_equal(g->mem[g->c->rip], 0x90);
}

/* To a selector that is not there: #GP(78h). */
GUEST_CODE(iret_faults, 64,
	   "lea 1f(%rip), %rax; mov %rsp, %rbx; push $0x10; push %rbx\n"
	   "pushf; push $0x78; push %rax; iretq\n1: nop; hlt");

static void iret_that_faults_unblocks_nmis(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, iret_faults);
	g->cpu->nmi_blocked = true;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_false(g->cpu->nmi_blocked);
	/* The exit of another instruction, later, says nothing of it. */
	assert_false(g->cpu->exit.nmi_unblocked_by_iret);
}

static void exit_tells_that_iret_unblocked_nmis(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, iret_faults);
	g->cpu->ctl.exceptions = BIT(X86_GP);
	g->cpu->nmi_blocked = true;
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_EXCEPTION);
	assert_true(x->nmi_unblocked_by_iret);
	assert_false(g->cpu->nmi_blocked);
	/* One that found them open. */
	guest_long(g);
	g->cpu->nmi_blocked = false;
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_EXCEPTION);
	assert_false(x->nmi_unblocked_by_iret);
	g->cpu->ctl.exceptions = 0;
}

static void virtual_interrupts_are_delivered(void **state)
{
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	guest_long(g);
	GUEST_LOAD(g, sti);
	ctl->v_irq = true;
	ctl->v_intr_vector = 0x61;
	ctl->v_intr_prio = 6;
	ctl->v_tpr = 5;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), 0x61);
	assert_false(ctl->v_irq);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 3);

	/* Below the task priority it waits. */
	guest_long(g);
	ctl->v_irq = true;
	ctl->v_tpr = 6;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_true(ctl->v_irq);

	/* The intercept comes first. */
	guest_long(g);
	ctl->v_ign_tpr = true;
	hw_ctl_set(ctl, X86_INTERCEPT_INTR_WINDOW);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_INTR_WINDOW);
	assert_int_equal(g->c->rip, G_CODE + 3);
}

static void mtf_exits_after_one_instruction(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	g->cpu->ctl.mtf = true;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_MTF);
	assert_int_equal(g->c->rip, G_CODE + 1);
	/* At once behind an injection. */
	inject(g, X86_EVENT_SOFT_INT, 0x80, 0);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_MTF);
	assert_int_equal(g->c->rip, G_STUBS + 16 * 0x80);
}

/* --- debug ------------------------------------------------------------------------------ */

static void single_step_traps(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	g->c->eflags |= X86_EFLAGS_TF;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_true(g->cpu->dr6 & X86_DR6_BS);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 1);
	/* The handler runs without TF; the frame has it. */
	assert_false(g->c->eflags & X86_EFLAGS_TF);
	assert_true(guest_u64(g, g->c->gpr[X86_RSP] + 16) & X86_EFLAGS_TF);
}

GUEST_CODE(mov_ss, 64, "mov $0x10, %eax; mov %eax, %ss; nop; hlt");

static void mov_ss_holds_the_trap_back(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, mov_ss);
	g->c->rip = G_CODE + 5;
	g->c->gpr[X86_RAX] = 0x10;
	g->c->eflags |= X86_EFLAGS_TF;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 8);
}

static void instruction_breakpoint_faults_once(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	g->cpu->dr[1] = G_CODE + 2;
	g->cpu->dr7 = X86_DR7_FIXED_1 | BIT(3);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_int_equal(g->cpu->dr6 & 0xf, 2);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 2);

	/* With RF the same instruction passes, and RF is gone after it. */
	guest_long(g);
	g->c->rip = G_CODE + 2;
	g->c->eflags |= X86_EFLAGS_RF;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_false(g->c->eflags & X86_EFLAGS_RF);
}

GUEST_CODE(touch, 64,
	   "mov $0x30000, %ebx; mov (%rbx), %al; movb $1, 3(%rbx)\n"
	   "movb $1, 4(%rbx); hlt");

static void data_breakpoint_traps_behind_the_write(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, touch);
	g->cpu->dr[0] = G_DATA;
	/* L0, write, 4 bytes. */
	g->cpu->dr7 = X86_DR7_FIXED_1 | BIT(0) | 1u << 16 | 3u << 18;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_int_equal(g->cpu->dr6 & 0xf, 1);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 11);
	assert_int_equal(g->mem[G_DATA + 3], 1);

	/* A byte behind it does not. */
	guest_long(g);
	g->cpu->dr[0] = G_DATA + 8;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
}

GUEST_CODE(fill, 64, "mov $64, %ecx; mov $0x30000, %edi; rep stosb; nop; hlt");

static void data_breakpoint_traps_in_a_rep(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, fill);
	g->cpu->dr[0] = G_DATA + 7;
	g->cpu->dr7 = X86_DR7_FIXED_1 | BIT(0) | 1u << 16;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_int_equal(g->c->gpr[X86_RDI], G_DATA + 8);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 10);
}

GUEST_CODE(port, 64, "mov $0x61, %edx; in (%dx), %al; nop; hlt");

static void io_breakpoint_traps(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, port);
	g->c->cr4 |= X86_CR4_DE;
	g->cpu->dr[2] = 0x60;
	/* L2, I/O, 2 bytes. */
	g->cpu->dr7 = X86_DR7_FIXED_1 | BIT(4) | 6u << 24;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_int_equal(g->cpu->dr6 & 0xf, 4);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), G_CODE + 6);

	/* Without CR4.DE there are none. */
	guest_long(g);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
}

GUEST_CODE(dr_access, 64, "mov %dr0, %rax; hlt");

static void general_detect_faults(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, dr_access);
	g->cpu->dr7 = X86_DR7_FIXED_1 | X86_DR7_GD;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_DB);
	assert_true(g->cpu->dr6 & X86_DR6_BD);
	assert_false(g->cpu->dr7 & X86_DR7_GD);
}

/* --- time and kicks -------------------------------------------------------------------------- */

GUEST_CODE(forever, 64, "1: inc %rax; jmp 1b");
GUEST_CODE(rep_forever, 64, "mov $-1, %rcx; rep lodsb; hlt");

static void kick_ends_a_loop(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, forever);
	g->c->gpr[X86_RAX] = 0;
	/* A busy host may kick before the guest has begun. */
	do
		guest_run_kicked(g);
	while (g->c->gpr[X86_RAX] <= 1000);
}

/* A kick that comes first is not lost, and counts once. */
static void kick_before_entry_leaves_at_once(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, nops);
	hw_kick(g->cpu);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_EXTINT);
	assert_int_equal(g->c->rip, G_CODE);
	guest_hlt(g);
}

static void kick_wakes_a_halted_guest(void **state)
{
	struct guest *g = *state;
	struct timespec t0, t1;

	guest_long(g);
	GUEST_LOAD(g, nops);
	memset(g->cpu->ctl.intercepts, 0, sizeof(g->cpu->ctl.intercepts));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
	guest_run_kicked(g);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
	assert_int_equal(g->cpu->activity, HW_HLT);
	assert_int_equal(g->c->rip, G_CODE + 4);
	/* It slept. */
	assert_true((t1.tv_sec - t0.tv_sec) * 1000000000ll + t1.tv_nsec -
		    t0.tv_nsec < 15000000);
}

static void kick_ends_a_rep(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, rep_forever);
	*guest_pte(g, 0) |= PTE_U;
	g->c->gpr[X86_RSI] = 0;
	hw_kick(g->cpu);
	guest_run(g);
	/* Runs off the mapped memory into #PF long before 2^64. */
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, 2 * G_LARGE);
	assert_int_equal(g->c->gpr[X86_RSI], 2 * G_LARGE);
}

static void preemption_timer_expires(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, forever);
	g->cpu->ctl.preemption_deadline = hw_host_tsc() + 20000000;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_PREEMPTION_TIMER);
	assert_true(g->c->gpr[X86_RAX] > 100);

	/* In the past: before the first instruction. */
	g->c->rip = G_CODE;
	g->cpu->ctl.preemption_deadline = 1;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_PREEMPTION_TIMER);
	assert_int_equal(g->c->rip, G_CODE);
}

#define INTEL(test) cmocka_unit_test_setup_teardown(test, guest_setup_intel, guest_teardown)
#define AMD(test) { #test " (amd)", test, guest_setup_amd, guest_teardown, NULL }
#define BOTH(test) INTEL(test), AMD(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(benign_then_contributory_is_serial),
		BOTH(contributory_twice_is_double_fault),
		BOTH(fault_of_the_double_fault_is_shutdown),
		BOTH(page_fault_twice_is_double_fault),
		BOTH(exceptions_can_be_intercepted),
		BOTH(second_fault_exits_with_the_first_as_vectoring),
		BOTH(tdp_fault_in_delivery_has_vectoring),
		BOTH(events_are_injected),
		BOTH(injected_exceptions_are_not_intercepted),
		INTEL(interrupt_window_opens_after_the_shadow),
		INTEL(closed_window_does_not_exit),
		INTEL(nmi_window_opens_after_iret),
		BOTH(iret_that_faults_unblocks_nmis),
		INTEL(exit_tells_that_iret_unblocked_nmis),
		AMD(virtual_interrupts_are_delivered),
		INTEL(mtf_exits_after_one_instruction),
		BOTH(single_step_traps),
		BOTH(mov_ss_holds_the_trap_back),
		BOTH(instruction_breakpoint_faults_once),
		BOTH(data_breakpoint_traps_behind_the_write),
		BOTH(data_breakpoint_traps_in_a_rep),
		BOTH(io_breakpoint_traps),
		BOTH(general_detect_faults),
		BOTH(kick_ends_a_loop),
		BOTH(kick_before_entry_leaves_at_once),
		BOTH(kick_wakes_a_halted_guest),
		BOTH(kick_ends_a_rep),
		BOTH(preemption_timer_expires),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
