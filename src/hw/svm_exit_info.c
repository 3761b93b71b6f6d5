// SPDX-License-Identifier: MIT
/*
 * Exit information: what the core reports (struct hw_exit) as an exit code,
 * EXITINFO1/2 and EXITINTINFO, with next RIP and decode assists.
 *
 * The code is a column of intercepts.def; families add a number to it. What an
 * exit reports beyond that is a function by intercept id; most report nothing.
 *
 * Decode assists (APM Vol. 2, "Decode Assists") give the general register of MOV
 * CR and MOV DR, the address of INVLPG, the vector of INT n, and the bytes of
 * the instruction for #PF and #NPF that are not the fetch's. As the core keeps
 * the decoded instruction, the bytes given are exactly the instruction's.
 */
#include <string.h>

#include "hw/svm.h"

typedef void (*info_fn)(const struct hw_cpu *cpu, const struct hw_exit *e,
			struct vmcb_control *c);

static const int16_t codes[X86_NR_INTERCEPTS] = {
#define INTERCEPT(name, vmx, svm) [X86_INTERCEPT_##name] = svm,
#include "isa/intercepts.def"
#undef INTERCEPT
};

/* --- one function per kind of exit ------------------------------------------------ */

/* The faulting instruction's bytes; none for fetches and deliveries. */
static void insn_bytes(const struct hw_cpu *cpu, const struct hw_exit *e,
		       uint32_t error_code, struct vmcb_control *c)
{
	const struct x86_insn *insn = cpu->last_insn;

	if (!insn || e->vectoring || (error_code & X86_PFERR_I))
		return;
	c->insn_len = insn->len;
	memcpy(c->insn_bytes, insn->bytes, sizeof(c->insn_bytes));
}

static void info_exception(const struct hw_cpu *cpu, const struct hw_exit *e,
			   struct vmcb_control *c)
{
	c->exit_code = SVM_EXIT_EXCP_BASE + (e->exc.vector & 31);
	if (e->exc.has_error_code)
		c->exit_info_1 = e->exc.error_code;
	if (e->exc.vector == X86_PF) {
		c->exit_info_2 = e->exc.address;
		insn_bytes(cpu, e, e->exc.error_code, c);
	}
}

/* MOV to or from CR, not LMSW, CLTS or SMSW: 0F 20 and 0F 22. */
static bool is_mov_cr(const struct hw_cpu *cpu)
{
	const struct x86_insn *insn = cpu->last_insn;

	return insn && insn->map == X86_MAP_0F && (insn->opcode & 0xfd) == 0x20;
}

static void info_cr(const struct hw_cpu *cpu, const struct hw_exit *e,
		    struct vmcb_control *c)
{
	if (e->id != X86_INTERCEPT_CR0_SEL_WRITE)
		c->exit_code += e->arg & 0xf;
	if (is_mov_cr(cpu))
		c->exit_info_1 = SVM_EXITINFO1_CR_VALID | (e->gpr & 0xf);
}

static void info_dr(const struct hw_cpu *cpu, const struct hw_exit *e,
		    struct vmcb_control *c)
{
	c->exit_code += e->arg & 0xf;
	c->exit_info_1 = e->gpr & 0xf;
}

/* APM Vol. 2, "IOIO Intercept Information". */
static void info_io(const struct hw_cpu *cpu, const struct hw_exit *e,
		    struct vmcb_control *c)
{
	const struct x86_insn *insn = cpu->last_insn;
	unsigned asize = insn ? insn->adsize : 4;

	c->exit_info_1 = FIELD_PREP(SVM_IOIO_PORT_MASK, e->arg) |
			 FIELD_PREP(SVM_IOIO_SIZE_MASK, e->io_size) |
			 FIELD_PREP(SVM_IOIO_ASIZE_MASK, asize >> 1) |
			 (e->io_in ? SVM_IOIO_TYPE_MASK : 0) |
			 (e->io_string ? SVM_IOIO_STR_MASK : 0) |
			 (e->io_rep ? SVM_IOIO_REP_MASK : 0);
	if (e->io_string && insn)
		c->exit_info_1 |= FIELD_PREP(SVM_IOIO_SEG_MASK,
					     e->io_in ? X86_ES : insn->seg);
	c->exit_info_2 = e->next_rip;
}

static void info_msr_write(const struct hw_cpu *cpu, const struct hw_exit *e,
			   struct vmcb_control *c)
{
	c->exit_info_1 = 1;
}

/* APM Vol. 2, "Task Switch Intercept". */
static void info_task_switch(const struct hw_cpu *cpu, const struct hw_exit *e,
			     struct vmcb_control *c)
{
	unsigned reason = e->arg >> 16 & 3;

	c->exit_info_1 = e->arg & 0xffff;
	c->exit_info_2 = (uint32_t)e->val;
	if (reason == TASK_SWITCH_IRET)
		c->exit_info_2 |= BIT_ULL(SVM_EXITINFOSHIFT_TS_REASON_IRET);
	if (reason == TASK_SWITCH_JMP)
		c->exit_info_2 |= BIT_ULL(SVM_EXITINFOSHIFT_TS_REASON_JMP);
	if (e->arg >> 20 & 1)
		c->exit_info_2 |= BIT_ULL(SVM_EXITINFOSHIFT_TS_HAS_ERROR_CODE);
	if (cpu->c.eflags & X86_EFLAGS_RF)
		c->exit_info_2 |= BIT_ULL(SVM_EXITINFOSHIFT_TS_RF);
}

static void info_address(const struct hw_cpu *cpu, const struct hw_exit *e,
			 struct vmcb_control *c)
{
	c->exit_info_1 = e->la_valid ? e->la : e->arg;
}

static void info_vector(const struct hw_cpu *cpu, const struct hw_exit *e,
			struct vmcb_control *c)
{
	c->exit_info_1 = e->arg & 0xff;
}

/* APM Vol. 2, "Nested versus Guest Page Faults". */
static void info_npf(const struct hw_cpu *cpu, const struct hw_exit *e,
		     struct vmcb_control *c)
{
	c->exit_code = SVM_EXIT_NPF;
	c->exit_info_1 = e->exc.error_code |
			 (e->exc.in_walk ? SVM_NPF_GUEST_PAGE
					 : SVM_NPF_GUEST_FINAL);
	c->exit_info_2 = e->exc.gpa;
	if (!e->exc.in_walk)
		insn_bytes(cpu, e, e->exc.error_code, c);
}

static const info_fn info_fns[X86_NR_INTERCEPTS] = {
	[X86_INTERCEPT_EXCEPTION] = info_exception,
	[X86_INTERCEPT_CR_READ] = info_cr,
	[X86_INTERCEPT_CR_WRITE] = info_cr,
	[X86_INTERCEPT_CR0_SEL_WRITE] = info_cr,
	[X86_INTERCEPT_DR_READ] = info_dr,
	[X86_INTERCEPT_DR_WRITE] = info_dr,
	[X86_INTERCEPT_IO] = info_io,
	[X86_INTERCEPT_MSR_WRITE] = info_msr_write,
	[X86_INTERCEPT_TASK_SWITCH] = info_task_switch,
	[X86_INTERCEPT_INVLPG] = info_address,
	[X86_INTERCEPT_SWINT] = info_vector,
	[X86_INTERCEPT_TDP_FAULT] = info_npf,
	[X86_INTERCEPT_TDP_MISCONFIG] = info_npf,
};

/* --- all ---------------------------------------------------------------------------- */

static uint64_t int_info(const struct x86_event *ev)
{
	static const uint64_t types[] = {
		[X86_EVENT_EXTINT] = SVM_EXITINTINFO_TYPE_INTR,
		[X86_EVENT_NMI] = SVM_EXITINTINFO_TYPE_NMI,
		[X86_EVENT_EXCEPTION] = SVM_EXITINTINFO_TYPE_EXEPT,
		[X86_EVENT_SOFT_INT] = SVM_EXITINTINFO_TYPE_SOFT,
		[X86_EVENT_SOFT_EXC] = SVM_EXITINTINFO_TYPE_EXEPT,
		[X86_EVENT_PRIV_EXC] = SVM_EXITINTINFO_TYPE_EXEPT,
	};
	uint64_t info = SVM_EXITINTINFO_VALID | types[ev->type] | ev->vector;

	if (ev->has_error_code)
		info |= SVM_EXITINTINFO_VALID_ERR |
			FIELD_PREP(SVM_EVTINJ_ERR, ev->error_code);
	return info;
}

/* A software event that was being delivered has its return address here. */
static uint64_t next_rip(const struct hw_exit *e)
{
	if (e->vectoring && (e->vectoring_event.type == X86_EVENT_SOFT_INT ||
			     e->vectoring_event.type == X86_EVENT_SOFT_EXC))
		return e->vectoring_event.return_rip;
	return e->by_insn ? e->next_rip : 0;
}

void svm_store_exit_info(const struct hw_cpu *cpu, struct vmcb_control *c)
{
	const struct hw_exit *e = &cpu->exit;

	/* -1, "no such exit", is the code of an invalid state, too. */
	c->exit_code = (uint64_t)(int64_t)codes[e->id];
	c->exit_info_1 = 0;
	c->exit_info_2 = 0;
	c->exit_int_info = e->vectoring ? int_info(&e->vectoring_event) : 0;
	c->next_rip = next_rip(e);
	c->insn_len = 0;
	if (info_fns[e->id])
		info_fns[e->id](cpu, e, c);
}
