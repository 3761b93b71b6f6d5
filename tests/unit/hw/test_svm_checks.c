/* SPDX-License-Identifier: MIT */
/*
 * VMRUN: every consistency check has a negative test, the VMCB comes back as the
 * manual says, and exits are written in SVM's own codes.
 *
 * hw_run() is a double that hands out an exit prepared by the test.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hw/state.h"
#include "x86/msr.h"
#include "x86/vmcb.h"

static unsigned runs;
static struct hw_exit next_exit;
static struct x86_insn insn;
static struct hw_cpu *cpu;
static struct vmcb *vmcb;
static void *area;

/* In place of run.c's, which the linker then leaves out. */
void hw_run(struct hw_cpu *c)
{
	runs++;
	emul_update_mode(&c->c);
	c->exit = next_exit;
	c->last_insn = &insn;
	c->ctl.inject_valid = false;
}

static hpa_t page(unsigned n)
{
	return (uintptr_t)area + n * PAGE_SIZE;
}

static int setup(void **state)
{
	struct hw_config cfg = { .amd = true };
	uint64_t efer;

	cpu = hw_cpu_create(&cfg);
	assert_non_null(cpu);
	area = aligned_alloc(PAGE_SIZE, 8 * PAGE_SIZE);
	assert_non_null(area);
	memset(area, 0, 8 * PAGE_SIZE);
	vmcb = area;
	assert_int_equal(hw_vmrun(cpu, page(0)), -EINVAL);
	assert_int_equal(hw_rdmsr(cpu, MSR_EFER, &efer), 0);
	assert_int_equal(hw_wrmsr(cpu, MSR_EFER, efer | X86_EFER_SVME), 0);
	assert_int_equal(hw_vmrun(cpu, page(0)), -EINVAL);
	assert_int_equal(hw_wrmsr(cpu, MSR_VM_HSAVE_PA, page(1)), 0);
	assert_int_equal(hw_vmrun(cpu, page(0) + 8), -EINVAL);
	assert_int_equal(hw_vmrun(cpu, 0), -EINVAL);
	return 0;
}

static int teardown(void **state)
{
	hw_cpu_destroy(cpu);
	free(area);
	return 0;
}

static const struct vmcb_seg code64 = { 8, 0xa9b, 0xffffffff, 0 };
static const struct vmcb_seg data = { 0x10, 0xc93, 0xffffffff, 0 };

static void fill(void)
{
	struct vmcb_save_area *s = &vmcb->save;

	memset(vmcb, 0, sizeof(*vmcb));
	vmcb_set_intercept(&vmcb->control, SVM_EXIT_VMRUN);
	vmcb->control.asid = 1;
	vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	vmcb->control.nested_cr3 = page(2);
	vmcb->control.msrpm_base_pa = page(3);
	vmcb->control.iopm_base_pa = page(5);
	s->cr0 = 0x80000031;
	s->cr3 = 0x10000;
	s->cr4 = 0x20;
	s->efer = X86_EFER_SVME | X86_EFER_LME | X86_EFER_LMA;
	s->rip = 0x1000;
	s->rsp = 0x9000;
	s->rflags = 2;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->g_pat = MSR_IA32_CR_PAT_DEFAULT;
	s->cs = code64;
	s->ss = s->ds = s->es = s->fs = s->gs = data;
	s->gdtr.limit = 0x3f;
	s->idtr.limit = 0xfff;
	next_exit = (struct hw_exit){ .id = X86_INTERCEPT_HLT };
	memset(&insn, 0, sizeof(insn));
	insn.mod = 3;
	runs = 0;
}

/* --- checks ------------------------------------------------------------------------- */

#define SAVE(field, v)	offsetof(struct vmcb, save.field), sizeof(vmcb->save.field), v
#define CTL(field, v)	offsetof(struct vmcb, control.field),		\
			sizeof(vmcb->control.field), v
#define EV		SVM_EVTINJ_VALID

static const struct brk {
	const char *rule;
	size_t offset, size;
	uint64_t val;
	int bit;		/* an intercept to set, too */
} breaks[] = {
	{ "EFER.SVME is set", SAVE(efer, 0x500), 0 },
	{ "CR0.NW needs", SAVE(cr0, 0xa0000031), 0 },
	{ "bits 63:32 of CR0", SAVE(cr0, 0x180000031), 0 },
	{ "reserved bits of CR3", SAVE(cr3, BIT_ULL(52)), 0 },
	{ "reserved bits of CR4", SAVE(cr4, 0x20 | X86_CR4_VMXE), 0 },
	{ "bits 63:32 of DR6", SAVE(dr6, BIT_ULL(32)), 0 },
	{ "bits 63:32 of DR7", SAVE(dr7, BIT_ULL(63)), 0 },
	{ "reserved bits of EFER", SAVE(efer, 0x1500 | BIT(9)), 0 },
	{ "reserved bits of EFER", SAVE(efer, 0x1500 | X86_EFER_LMSLE), 0 },
	{ "needs CR4.PAE", SAVE(cr4, 0), 0 },
	{ "needs CR0.PE", SAVE(cr0, 0x80000030), 0 },
	{ "CS.L excludes CS.D", SAVE(cs.attrib, 0xe9b), 0 },
	{ "the VMRUN intercept", CTL(intercepts[4], 0), 0 },
	{ "the MSR permission map", CTL(msrpm_base_pa, BIT_ULL(52)), SVM_EXIT_MSR },
	{ "the MSR permission map", CTL(msrpm_base_pa, BIT_ULL(52) - 4096), SVM_EXIT_MSR },
	{ "the MSR permission map", CTL(msrpm_base_pa, 0), SVM_EXIT_MSR },
	{ "the I/O permission map", CTL(iopm_base_pa, BIT_ULL(52) - 8192), SVM_EXIT_IOIO },
	{ "the event to inject", CTL(event_inj, EV | 1 << 8), 0 },
	{ "the event to inject", CTL(event_inj, EV | 5 << 8), 0 },
	{ "the event to inject", CTL(event_inj, EV | 7 << 8), 0 },
	{ "the event to inject", CTL(event_inj, EV | SVM_EVTINJ_TYPE_EXEPT | 2), 0 },
	{ "the event to inject", CTL(event_inj, EV | SVM_EVTINJ_TYPE_EXEPT | 32), 0 },
	{ "the ASID is not 0", CTL(asid, 0), 0 },
	{ "the ASID is one", CTL(asid, 0x8000), 0 },
	{ "no control is set", CTL(nested_ctl, 3), 0 },
	{ "no control is set", CTL(int_ctl, AVIC_ENABLE_MASK), 0 },
	{ "no control is set", CTL(virt_ext, 1), 0 },
	{ "nested CR3", CTL(nested_cr3, BIT_ULL(52)), 0 },
	{ "nested CR3", CTL(nested_cr3, 0), 0 },
	{ "the guest's PAT", SAVE(g_pat, 2), 0 },
};

static const char *const rules[] = {
#define CHECK(text, ...) text,
#include "hw/svm_checks.def"
#undef CHECK
};

static void test_checks(void **state)
{
	struct vmcb_save_area before;

	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		const struct brk *b = &breaks[i];

		fill();
		memcpy((char *)vmcb + b->offset, &b->val, b->size);
		if (b->bit)
			vmcb_set_intercept(&vmcb->control, b->bit);
		before = vmcb->save;
		assert_int_equal(hw_vmrun(cpu, page(0)), 0);
		if (!hw_entry_failure(cpu) ||
		    !strstr(hw_entry_failure(cpu), b->rule))
			fail_msg("%s: got %s", b->rule, hw_entry_failure(cpu));
		assert_true(vmcb->control.exit_code == ~0ull);
		assert_int_equal(runs, 0);
		assert_memory_equal(&before, &vmcb->save, sizeof(before));
	}
}

static void test_every_rule_is_broken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		bool found = false;

		for (size_t j = 0; j < ARRAY_SIZE(breaks) && !found; j++)
			found = strstr(rules[i], breaks[j].rule);
		if (!found)
			fail_msg("no negative test for \"%s\"", rules[i]);
	}
}

/* --- loading and storing -------------------------------------------------------------- */

static void test_valid(void **state)
{
	fill();
	vmcb->save.rax = 0x77;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_null(hw_entry_failure(cpu));
	assert_int_equal(runs, 1);
	assert_int_equal(vmcb->control.exit_code, SVM_EXIT_HLT);
	assert_int_equal(cpu->c.mode, X86_MODE_PROT64);
	assert_int_equal(cpu->c.gpr[X86_RAX], 0x77);
	assert_int_equal(cpu->c.gpr[X86_RSP], 0x9000);
	assert_int_equal(cpu->c.seg[X86_CS].ar, 0xa09b);
	assert_int_equal(vmcb->save.cs.attrib, 0xa9b);
	assert_int_equal(cpu->ctl.asid, 1);
	assert_int_equal(cpu->ctl.tdp_root, page(2));
}

/* What the core changed is in the VMCB; VMSAVE's part is not. */
static void test_state_comes_back(void **state)
{
	fill();
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	vmcb->control.event_inj = EV | 0x20;
	vmcb->save.rflags = 0x202;
	vmcb->save.cpl = 3;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_false(vmcb->control.event_inj & EV);
	assert_int_equal(vmcb->save.cpl, 3);
	assert_int_equal(vmcb->save.ss.attrib, 0xcf3);
	assert_int_equal(vmcb->save.rflags, 0x202);
}

/* EFER.LMA is LME and PG, whatever the VMCB says. */
static void test_lma_is_computed(void **state)
{
	fill();
	vmcb->save.efer = X86_EFER_SVME | X86_EFER_LMA;
	vmcb->save.cs.attrib = 0xc9b;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_null(hw_entry_failure(cpu));
	assert_false(cpu->c.efer & X86_EFER_LMA);
	assert_int_equal(cpu->c.mode, X86_MODE_PROT32);
}

static void test_vmload_vmsave(void **state)
{
	struct vmcb *other = (void *)(uintptr_t)page(7);

	fill();
	memset(other, 0, sizeof(*other));
	vmcb->save.fs.base = 0x1111;
	vmcb->save.gs.base = 0x2222;
	vmcb->save.tr = (struct vmcb_seg){ 0x28, 0x8b, 0x67, 0x3333 };
	vmcb->save.ldtr = (struct vmcb_seg){ 0x30, 0x82, 0xff, 0x4444 };
	vmcb->save.kernel_gs_base = 5;
	vmcb->save.star = 6;
	vmcb->save.lstar = 7;
	vmcb->save.cstar = 8;
	vmcb->save.sfmask = 9;
	vmcb->save.sysenter_cs = 10;
	vmcb->save.sysenter_esp = 11;
	vmcb->save.sysenter_eip = 12;
	hw_vmload(cpu, page(0));
	hw_vmsave(cpu, page(7));
	assert_memory_equal(&vmcb->save.fs, &other->save.fs, 32);
	assert_memory_equal(&vmcb->save.tr, &other->save.tr, 16);
	assert_memory_equal(&vmcb->save.ldtr, &other->save.ldtr, 16);
	assert_memory_equal(&vmcb->save.star, &other->save.star, 64);
	/* VMRUN leaves them alone. */
	memset(&vmcb->save.star, 0, 64);
	vmcb->save.fs.base = 0;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_int_equal(cpu->msr.lstar, 7);
	assert_int_equal(cpu->c.seg[X86_FS].base, 0x1111);
}

static void test_injected_event(void **state)
{
	fill();
	next_exit.id = X86_INTERCEPT_TDP_FAULT;
	next_exit.vectoring = true;
	next_exit.vectoring_event = (struct x86_event){
		.vector = X86_GP, .type = X86_EVENT_EXCEPTION,
		.has_error_code = true, .error_code = 0x18 };
	vmcb->control.event_inj = EV | SVM_EVTINJ_TYPE_EXEPT | X86_GP |
				  SVM_EVTINJ_VALID_ERR | 0x18ull << 32;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_int_equal(cpu->ctl.inject.vector, X86_GP);
	assert_int_equal(cpu->ctl.inject.error_code, 0x18);
	assert_true(vmcb->control.exit_int_info == (0x80000b0d | 0x18ull << 32));
	assert_false(vmcb->control.event_inj & EV);
}

/* A different VMCB's intercepts are compiled though both are "clean". */
static void test_intercepts_follow(void **state)
{
	fill();
	vmcb->control.clean = ~0u;
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_false(hw_ctl_has(&cpu->ctl, X86_INTERCEPT_CPUID));
	vmcb_set_intercept(&vmcb->control, SVM_EXIT_CPUID);
	vmcb_set_intercept(&vmcb->control, SVM_EXIT_WRITE_CR8);
	vmcb_set_intercept(&vmcb->control, SVM_EXIT_READ_DR7);
	vmcb_set_intercept(&vmcb->control, SVM_EXIT_EXCP_PF);
	assert_int_equal(hw_vmrun(cpu, page(0)), 0);
	assert_true(hw_ctl_has(&cpu->ctl, X86_INTERCEPT_CPUID));
	assert_int_equal(cpu->ctl.cr_write, BIT(8));
	assert_int_equal(cpu->ctl.cr_read, 0);
	assert_int_equal(cpu->ctl.dr_read, BIT(7));
	assert_int_equal(cpu->ctl.exceptions, BIT(X86_PF));
}

/* --- exit information ------------------------------------------------------------------- */

static const struct {
	struct hw_exit e;
	struct x86_insn insn;
	uint64_t code, info1, info2;
} exits[] = {
	{ { .id = X86_INTERCEPT_EXTINT }, { .mod = 3 }, 0x60, 0, 0 },
	{ { .id = X86_INTERCEPT_NMI }, { .mod = 3 }, 0x61, 0, 0 },
	{ { .id = X86_INTERCEPT_TRIPLE_FAULT }, { .mod = 3 }, 0x7f, 0, 0 },
	{ { .id = X86_INTERCEPT_INTR_WINDOW }, { .mod = 3 }, 0x64, 0, 0 },
	{ { .id = X86_INTERCEPT_VMMCALL }, { .mod = 3 }, 0x81, 0, 0 },
	{ { .id = X86_INTERCEPT_XSETBV }, { .mod = 3 }, 0x8d, 0, 0 },
	{ { .id = X86_INTERCEPT_EXCEPTION, .exc = { .vector = X86_GP, .has_error_code = true, .error_code = 8 },
	    .exc_type = X86_EVENT_EXCEPTION }, { .mod = 3 }, 0x4d, 8, 0 },
	{ { .id = X86_INTERCEPT_EXCEPTION,
	    .exc = { .vector = X86_PF, .has_error_code = true, .error_code = 6, .address = 0x5000 },
	    .exc_type = X86_EVENT_EXCEPTION }, { .mod = 3 }, 0x4e, 6, 0x5000 },
	{ { .id = X86_INTERCEPT_CR_WRITE, .arg = 4, .gpr = X86_R10 }, { .map = X86_MAP_0F, .opcode = 0x22 },
	  0x14, BIT_ULL(63) | 10, 0 },
	{ { .id = X86_INTERCEPT_CR_READ, .arg = 0x100, .gpr = X86_RDI }, { .map = X86_MAP_0F, .opcode = 0x20 },
	  0x00, BIT_ULL(63) | 7, 0 },
	{ { .id = X86_INTERCEPT_CLTS }, { .map = X86_MAP_0F, .opcode = 0x06 }, 0x10, 0, 0 },
	{ { .id = X86_INTERCEPT_CR0_SEL_WRITE, .gpr = 1 }, { .map = X86_MAP_0F, .opcode = 0x22 }, 0x65, BIT_ULL(63) | 1, 0 },
	{ { .id = X86_INTERCEPT_DR_READ, .arg = 0x107, .gpr = 2 }, { .mod = 3 }, 0x27, 2, 0 },
	{ { .id = X86_INTERCEPT_DR_WRITE, .arg = 6, .gpr = 3 }, { .mod = 3 }, 0x36, 3, 0 },
	{ { .id = X86_INTERCEPT_MSR_READ, .arg = 0x10 }, { .mod = 3 }, 0x7c, 0, 0 },
	{ { .id = X86_INTERCEPT_MSR_WRITE, .arg = 0x10 }, { .mod = 3 }, 0x7c, 1, 0 },
	{ { .id = X86_INTERCEPT_IO, .arg = 0x80, .io_size = 2, .io_in = true, .next_rip = 0x1002, .by_insn = true },
	  { .adsize = 4 }, 0x7b, 0x800121, 0x1002 },
	{ { .id = X86_INTERCEPT_INVLPG, .arg = 0x7000 }, { .mod = 0 }, 0x79, 0x7000, 0 },
	{ { .id = X86_INTERCEPT_SWINT, .arg = 0x80 }, { .mod = 3 }, 0x75, 0x80, 0 },
	{ { .id = X86_INTERCEPT_TASK_SWITCH, .arg = 0x28 | 2 << 16 }, { .mod = 3 }, 0x7d, 0x28, BIT_ULL(38) },
	{ { .id = X86_INTERCEPT_TASK_SWITCH, .arg = 0x28 | 3 << 16 | 1 << 20, .val = 0x55 }, { .mod = 3 }, 0x7d, 0x28,
	  BIT_ULL(44) | 0x55 },
	{ { .id = X86_INTERCEPT_TASK_SWITCH, .arg = 0x30 | 1 << 16 }, { .mod = 3 }, 0x7d, 0x30, BIT_ULL(36) },
	{ { .id = X86_INTERCEPT_TDP_FAULT, .exc = { .error_code = 5, .gpa = 0x9000 } }, { .mod = 3 }, 0x400,
	  BIT_ULL(32) | 5, 0x9000 },
	{ { .id = X86_INTERCEPT_TDP_FAULT, .exc = { .error_code = 7, .gpa = 0x9000, .in_walk = true } }, { .mod = 3 },
	  0x400,
	  BIT_ULL(33) | 7, 0x9000 },
};

static void test_exit_information(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(exits); i++) {
		fill();
		next_exit = exits[i].e;
		insn = exits[i].insn;
		assert_int_equal(hw_vmrun(cpu, page(0)), 0);
		if (vmcb->control.exit_code != exits[i].code ||
		    vmcb->control.exit_info_1 != exits[i].info1 ||
		    vmcb->control.exit_info_2 != exits[i].info2)
			fail_msg("row %zu: %#lx %#lx %#lx", i,
				 vmcb->control.exit_code,
				 vmcb->control.exit_info_1,
				 vmcb->control.exit_info_2);
		assert_int_equal(vmcb->control.next_rip,
				 exits[i].e.by_insn ? exits[i].e.next_rip : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_every_rule_is_broken),
		cmocka_unit_test(test_state_comes_back),
		cmocka_unit_test(test_lma_is_computed),
		cmocka_unit_test(test_vmload_vmsave),
		cmocka_unit_test(test_injected_event),
		cmocka_unit_test(test_intercepts_follow),
		cmocka_unit_test(test_exit_information),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
