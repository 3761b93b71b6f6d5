/* SPDX-License-Identifier: MIT */
/*
 * Exits in place (hw.h, struct hw_in_place_ops) on both vendors: when the hypervisor is
 * asked, what its answer does, how long it stands, and that declining is an exit like any.
 */
#include "hw/core.h"
#include "virt.h"
#include "x86/msr.h"

#define DEVICE	0x3000u		/* a page without memory */

static struct {
	unsigned cpuids, rdmsrs, wrmsrs, reads, writes, kicks;
	uint64_t exits;
	enum hw_in_place answer;
	uint64_t gpa, val;
	struct hw_cpu *kick;	/* by the next answer */
	enum hw_in_place kick_answer;
	int vector;
	bool open;
} hv;

static enum hw_in_place answer(void)
{
	if (hv.kick)
		hw_kick(hv.kick);
	hv.kick = NULL;
	return hv.answer;
}

static enum hw_in_place on_cpuid(void *owner, uint32_t leaf, uint32_t subleaf,
				 uint32_t out[4])
{
	hv.cpuids++;
	if (owner != &hv || hv.answer == HW_LEAVE)
		return HW_LEAVE;
	/* As the hypervisor may. */
	__asm__ volatile("pcmpeqd %%xmm3, %%xmm3" : : : "xmm3");
	out[0] = leaf + 0x100;
	out[1] = subleaf + 0x200;
	out[2] = 0x300;
	out[3] = 0x80000400;
	return answer();
}

static enum hw_in_place on_rdmsr(void *owner, uint32_t msr, uint64_t *val)
{
	hv.rdmsrs++;
	*val = hv.val;
	return answer();
}

static enum hw_in_place on_wrmsr(void *owner, uint32_t msr, uint64_t val)
{
	hv.wrmsrs++;
	if (hv.answer != HW_LEAVE)
		hv.val = val;
	return answer();
}

static enum hw_in_place on_read(void *owner, gpa_t gpa, unsigned bytes, void *val)
{
	hv.reads++;
	hv.gpa = gpa;
	if (hv.answer != HW_LEAVE)
		memcpy(val, &hv.val, bytes);
	return answer();
}

static enum hw_in_place on_write(void *owner, gpa_t gpa, unsigned bytes, const void *val)
{
	hv.writes++;
	hv.gpa = gpa;
	if (hv.answer != HW_LEAVE)
		memcpy(&hv.val, val, bytes);
	return answer();
}

static enum hw_in_place on_kick(void *owner, bool open, int *vector)
{
	hv.kicks++;
	hv.open = open;
	*vector = hv.vector;
	return hv.kick_answer;
}

static const struct hw_in_place_ops ops = {
	on_cpuid, on_rdmsr, on_wrmsr, on_read, on_write, on_kick,
};

#define HLT(v)	CODE(v, EXIT_REASON_HLT, SVM_EXIT_HLT)
#define CPUID(v) CODE(v, EXIT_REASON_CPUID, SVM_EXIT_CPUID)

/* The guest's code is that between @from and @to; what it asks is answered with @how. */
static void setup(struct virt *v, enum hw_in_place how, const char *from, const char *to)
{
	guest_put(v->g, G_CODE, from, to);
	memset(&hv, 0, sizeof(hv));
	hv.answer = how;
	hw_set_in_place(v->g->cpu, &ops, &hv, &hv.exits);
	if (!is_amd(v))
		return;
	/* A kick leaves whatever IF is. Every MSR is intercepted. */
	v->vmcb->control.int_ctl |= V_INTR_MASKING_MASK;
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_MSR);
	v->vmcb->control.msrpm_base_pa = (uintptr_t)page(v, P_IO_A);
	memset(page(v, P_IO_A), 0xff, 2 * PAGE_SIZE);
}

#define SETUP(v, how, code) setup(v, how, code, code##_end)

/* The loop runs often enough to be translated: rbp counts down. */
GUEST_CODE(cpuids_code, 64, "mov $100, %ebp; 1: mov $7, %eax; mov $9, %ecx; stc; cpuid;"
	   "jnc 2f; dec %ebp; jnz 1b; 2: hlt");

static void cpuid_is_answered(void **state)
{
	FOR_BOTH(v, guest_long) {
		uint64_t *gpr = hw_gprs(v->g->cpu);

		SETUP(v, HW_DONE, cpuids_code);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(get_rax(v), 0x107);
		assert_int_equal(gpr[X86_RBX], 0x209);
		assert_int_equal(gpr[X86_RCX], 0x300);
		assert_int_equal(gpr[X86_RDX], 0x80000400);
		assert_int_equal(gpr[X86_RBP], 0);
		assert_int_equal(hv.cpuids, 100);
		assert_int_equal(hv.exits, 100);
	}
}

GUEST_CODE(fpu_code, 64, "mov $100, %ebp; 1: movq %rbp, %xmm3; cpuid; movq %xmm3, %rsi;"
	   "cmp %rbp, %rsi; jne 2f; dec %ebp; jnz 1b; 2: hlt");

static void the_fpu_state_is_the_guests(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, fpu_code);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hw_gprs(v->g->cpu)[X86_RBP], 0);
		assert_int_equal(hv.cpuids, 100);
	}
}

static void kept_answers_count_as_exits(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE_KEEP, cpuids_code);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.cpuids, 1);
		assert_int_equal(hv.exits, 100);
		assert_int_equal(hw_gprs(v->g->cpu)[X86_RBX], 0x209);
		/* The guest has left: ask again. */
		set_rip(v, G_CODE);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.cpuids, 2);
		assert_int_equal(hv.exits, 200);
	}
}

static void declining_is_an_exit(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_LEAVE, cpuids_code);
		assert_int_equal(run(v), CPUID(v));
		assert_int_equal(get_rip(v), G_CODE + 16);
		assert_int_equal(get_rax(v), 7);
		assert_int_equal(hv.cpuids, 1);
		assert_int_equal(hv.exits, 0);
		hv.answer = HW_DONE_KEEP;
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.exits, 100);
	}
}

static void a_kick_leaves_behind_the_instruction(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, cpuids_code);
		hv.kick = v->g->cpu;
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXTERNAL_INTERRUPT,
					      SVM_EXIT_INTR));
		assert_true(hv.exits >= 1 && hv.exits < 100);
		assert_int_equal(hw_gprs(v->g->cpu)[X86_RCX], 0x300);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.exits, 100);
	}
}

GUEST_CODE(sti_cpuids_code, 64, "sti; mov $100, %ebp; 1: cpuid; dec %ebp; jnz 1b; hlt");

static void a_kick_brings_an_interrupt(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, sti_cpuids_code);
		hv.kick = v->g->cpu;
		hv.kick_answer = HW_DONE;
		hv.vector = 0x41;
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(get_rip(v), G_STUBS + 16 * 0x41);
		assert_int_equal(hv.kicks, 1);
		assert_true(hv.open);
		/* The kick counts, and the CPUIDs so far. */
		assert_int_equal(hv.exits, 1 + hv.cpuids);
		assert_true(hv.cpuids >= 1 && hv.cpuids < 100);
	}
}

static void a_kick_brings_nothing(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, sti_cpuids_code);
		hv.kick = v->g->cpu;
		hv.kick_answer = HW_DONE;
		hv.vector = -1;
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(get_rip(v) & ~0xfull, G_CODE);
		assert_int_equal(hv.kicks, 1);
		assert_int_equal(hv.cpuids, 100);
		assert_int_equal(hv.exits, 101);
	}
}

/* The hypervisor hears that no interrupt can be delivered, and has the guest leave. */
static void a_kick_with_interrupts_off(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, cpuids_code);
		hv.kick = v->g->cpu;
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXTERNAL_INTERRUPT,
					      SVM_EXIT_INTR));
		assert_int_equal(hv.kicks, 1);
		assert_false(hv.open);
	}
}

/* The interrupt meets a fault of the second dimension: the exit tells of both. */
static void an_interrupt_that_faults(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, sti_cpuids_code);
		hv.kick = v->g->cpu;
		hv.kick_answer = HW_DONE;
		hv.vector = 0x41;
		guest_tdp(v->g, G_IDT, 0);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EPT_VIOLATION,
					      SVM_EXIT_NPF));
		assert_int_equal(is_amd(v) ? v->vmcb->control.exit_int_info :
				 vmcs_read(&v->e, IDT_VECTORING_INFO_FIELD),
				 0x80000041);
	}
}

static void nobody_is_asked_while_stepping(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE_KEEP, cpuids_code);
		catch(v, X86_DB);
		set_rflags(v, X86_EFLAGS_FIXED | X86_EFLAGS_TF);
		set_rip(v, G_CODE + 16);
		assert_int_equal(run(v), CPUID(v));
		assert_int_equal(hv.cpuids, 0);
	}
}

GUEST_CODE(rdmsrs_code, 64, "mov $100, %ebp; 1: mov $0xc0000080, %ecx; rdmsr; dec %ebp;"
	   "jnz 1b; mov $0x277, %ecx; wrmsr; mov $0xc0000080, %ecx; rdmsr; hlt");

static void msrs_are_answered(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE_KEEP, rdmsrs_code);
		hv.val = 0x1234567887654321;
		assert_int_equal(run(v), HLT(v));
		/* A write makes it ask again. */
		assert_int_equal(hv.rdmsrs, 2);
		assert_int_equal(hv.wrmsrs, 1);
		assert_int_equal(hv.exits, 102);
		assert_int_equal(get_rax(v), 0x87654321);
		assert_int_equal(hw_gprs(v->g->cpu)[X86_RDX], 0x12345678);
	}
}

GUEST_CODE(user_code, 64, "mov $0xc0000080, %ecx; rdmsr");

static void the_user_gets_gp(void **state)
{
	FOR_BOTH(v, guest_user) {
		SETUP(v, HW_DONE_KEEP, user_code);
		catch(v, X86_GP);
		assert_int_equal(run(v), CODE(v, EXIT_REASON_EXCEPTION_NMI,
					      SVM_EXIT_EXCP_BASE + X86_GP));
		assert_int_equal(hv.rdmsrs, 0);
		assert_int_equal(get_rip(v), G_CODE + 5);
	}
}

GUEST_CODE(device_code, 64, "mov $50, %ebp; 1: movl $0x55, 0x3010; mov 0x3018, %rax;"
	   "dec %ebp; jnz 1b; hlt");

static void a_device_is_accessed(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, device_code);
		hv.val = 0x1122334400000000;
		guest_tdp(v->g, DEVICE, 0);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.reads, 50);
		assert_int_equal(hv.writes, 50);
		assert_int_equal(hv.exits, 100);
		assert_int_equal(hv.gpa, DEVICE + 0x18);
		assert_int_equal(get_rax(v), 0x1122334400000055);
	}
}

/* What was learnt of a page goes with a flush: then its memory is used. */
GUEST_CODE(flush_code, 64, "mov $50, %ebp; 1: movl $0x55, 0x3010; dec %ebp; jnz 1b;"
	   "cpuid; mov %cr3, %rax; mov %rax, %cr3; movl $0x66, 0x3010; hlt");

static void a_device_page_is_forgotten(void **state)
{
	FOR_BOTH(v, guest_long) {
		SETUP(v, HW_DONE, flush_code);
		guest_tdp(v->g, DEVICE, 0);
		hv.kick = NULL;
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.writes, 51);
		guest_tdp(v->g, DEVICE, 7);
		hw_request_flush(v->g->cpu);
		set_rip(v, G_CODE);
		assert_int_equal(run(v), HLT(v));
		assert_int_equal(hv.writes, 51);
		assert_int_equal(guest_u64(v->g, DEVICE + 0x10) & 0xff, 0x66);
	}
}

/* More than a MOV, or across two pages: an exit. */
GUEST_CODE(add_code, 64, "addl $1, 0x3010; hlt");
GUEST_CODE(cross_code, 64, "movl %eax, 0x2ffe; hlt");

static void other_accesses_leave(void **state)
{
	FOR_BOTH(v, guest_long) {
		uint64_t fault = CODE(v, EXIT_REASON_EPT_VIOLATION, SVM_EXIT_NPF);

		SETUP(v, HW_DONE, add_code);
		guest_tdp(v->g, DEVICE, 0);
		assert_int_equal(run(v), fault);
		assert_int_equal(get_rip(v), G_CODE);
		GUEST_LOAD(v->g, cross_code);
		guest_wrote_code(v->g);
		assert_int_equal(run(v), fault);
		assert_int_equal(hv.reads + hv.writes, 0);
		hv.answer = HW_LEAVE;
		GUEST_LOAD(v->g, device_code);
		guest_wrote_code(v->g);
		assert_int_equal(run(v), fault);
		assert_int_equal(hv.writes, 1);
		assert_int_equal(hv.exits, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpuid_is_answered),
		cmocka_unit_test(the_fpu_state_is_the_guests),
		cmocka_unit_test(kept_answers_count_as_exits),
		cmocka_unit_test(declining_is_an_exit),
		cmocka_unit_test(a_kick_leaves_behind_the_instruction),
		cmocka_unit_test(a_kick_brings_an_interrupt),
		cmocka_unit_test(a_kick_brings_nothing),
		cmocka_unit_test(a_kick_with_interrupts_off),
		cmocka_unit_test(an_interrupt_that_faults),
		cmocka_unit_test(nobody_is_asked_while_stepping),
		cmocka_unit_test(msrs_are_answered),
		cmocka_unit_test(the_user_gets_gp),
		cmocka_unit_test(a_device_is_accessed),
		cmocka_unit_test(a_device_page_is_forgotten),
		cmocka_unit_test(other_accesses_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
