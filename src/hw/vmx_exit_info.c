// SPDX-License-Identifier: MIT
/*
 * Exit information: what the core reports (struct hw_exit) in the words of the
 * VMCS's read-only fields.
 *
 * The basic exit reason is a column of intercepts.def. What an exit reports
 * beyond that is a function by intercept id; most report nothing. Fields that an
 * exit leaves undefined read as 0.
 *
 * SDM Vol. 3C, "Recording VM-Exit Information and Updating VM-Entry Control
 * Fields"; "Basic VM-Exit Information".
 */
#include "hw/vmx.h"

struct exit_info {
	uint64_t qual, gla, gpa;
	uint32_t intr, error, len, insn;
};

typedef void (*info_fn)(const struct hw_cpu *cpu, const struct hw_exit *e,
			struct exit_info *i);

static const int16_t reasons[X86_NR_INTERCEPTS] = {
#define INTERCEPT(name, vmx, svm) [X86_INTERCEPT_##name] = vmx,
#include "isa/intercepts.def"
#undef INTERCEPT
};

static const uint32_t intr_types[] = {
	[X86_EVENT_EXTINT] = INTR_TYPE_EXT_INTR,
	[X86_EVENT_NMI] = INTR_TYPE_NMI_INTR,
	[X86_EVENT_EXCEPTION] = INTR_TYPE_HARD_EXCEPTION,
	[X86_EVENT_SOFT_INT] = INTR_TYPE_SOFT_INTR,
	[X86_EVENT_SOFT_EXC] = INTR_TYPE_SOFT_EXCEPTION,
	[X86_EVENT_PRIV_EXC] = INTR_TYPE_PRIV_SW_EXCEPTION,
};

static uint32_t event_info(unsigned vector, unsigned type)
{
	return INTR_INFO_VALID_MASK | vector | intr_types[type];
}

/* In real-address mode there is no error code, whatever the vector. */
static uint32_t exception_info(const struct hw_cpu *cpu, unsigned vector,
			       unsigned type, bool has_error_code)
{
	bool valid = has_error_code && (cpu->c.cr0 & X86_CR0_PE);

	return event_info(vector, type) |
	       (valid ? INTR_INFO_DELIVER_CODE_MASK : 0);
}

/* --- one function per kind of exit -------------------------------------------- */

/* SDM Vol. 3C, "Information for VM Exits Due to Vectored Events". */
static void info_exception(const struct hw_cpu *cpu, const struct hw_exit *e,
			   struct exit_info *i)
{
	i->intr = exception_info(cpu, e->exc.vector, e->exc_type,
				 e->exc.has_error_code);
	if (i->intr & INTR_INFO_DELIVER_CODE_MASK)
		i->error = e->exc.error_code;
	if (e->exc.vector == X86_PF || e->exc.vector == X86_DB)
		i->qual = e->exc.address;
	if (e->nmi_unblocked_by_iret && !e->vectoring && e->exc.vector != X86_DF)
		i->intr |= INTR_INFO_UNBLOCK_NMI;
}

static void info_nmi(const struct hw_cpu *cpu, const struct hw_exit *e,
		     struct exit_info *i)
{
	i->intr = event_info(X86_NMI, X86_EVENT_NMI);
}

static void info_task_switch(const struct hw_cpu *cpu, const struct hw_exit *e,
			     struct exit_info *i)
{
	/* Both sides number the reasons CALL, IRET, JMP, gate. */
	i->qual = FIELD_PREP(VMX_TASK_SELECTOR, e->arg & 0xffff) |
		  FIELD_PREP(VMX_TASK_REASON, e->arg >> 16 & 3);
}

static void info_cr(const struct hw_exit *e, struct exit_info *i, unsigned type)
{
	i->qual = FIELD_PREP(CONTROL_REG_ACCESS_NUM, e->arg) |
		  FIELD_PREP(CONTROL_REG_ACCESS_TYPE, type) |
		  FIELD_PREP(CONTROL_REG_ACCESS_REG, e->gpr);
}

static void info_cr_write(const struct hw_cpu *cpu, const struct hw_exit *e,
			  struct exit_info *i)
{
	info_cr(e, i, 0);
}

static void info_cr_read(const struct hw_cpu *cpu, const struct hw_exit *e,
			 struct exit_info *i)
{
	info_cr(e, i, 1);
}

static void info_clts(const struct hw_cpu *cpu, const struct hw_exit *e,
		      struct exit_info *i)
{
	i->qual = FIELD_PREP(CONTROL_REG_ACCESS_TYPE, 2);
}

static void info_lmsw(const struct hw_cpu *cpu, const struct hw_exit *e,
		      struct exit_info *i)
{
	i->qual = FIELD_PREP(CONTROL_REG_ACCESS_TYPE, 3) |
		  FIELD_PREP(LMSW_SOURCE_DATA, e->arg);
	if (e->mem_operand) {
		i->qual |= CONTROL_REG_ACCESS_LMSW_MEM;
		i->gla = e->la;
	}
}

static void info_dr(const struct hw_cpu *cpu, const struct hw_exit *e,
		    struct exit_info *i)
{
	i->qual = FIELD_PREP(DEBUG_REG_ACCESS_NUM, e->arg) |
		  FIELD_PREP(DEBUG_REG_ACCESS_REG, e->gpr);
	if (e->id == X86_INTERCEPT_DR_READ)
		i->qual |= DEBUG_REG_ACCESS_TYPE;
}

/* E4-E7 name the port in the instruction, EC-EF in DX. */
static bool io_is_immediate(const struct hw_cpu *cpu)
{
	const struct x86_insn *insn = cpu->last_insn;

	return insn && insn->map == X86_MAP_1B && (insn->opcode & 0xf8) == 0xe0;
}

static void info_io(const struct hw_cpu *cpu, const struct hw_exit *e,
		    struct exit_info *i)
{
	i->qual = FIELD_PREP(VMX_IO_SIZE, e->io_size - 1) |
		  (e->io_in ? VMX_IO_IN : 0) |
		  (e->io_string ? VMX_IO_STRING : 0) |
		  (e->io_rep ? VMX_IO_REP : 0) |
		  (io_is_immediate(cpu) ? VMX_IO_IMM : 0) |
		  FIELD_PREP(VMX_IO_PORT, e->arg);
	if (e->io_string)
		i->gla = e->la;
}

/* The linear address itself. */
static void info_invlpg(const struct hw_cpu *cpu, const struct hw_exit *e,
			struct exit_info *i)
{
	i->qual = e->la_valid ? e->la : e->arg;
}

/* The displacement of the memory operand. */
static void info_operand(const struct hw_cpu *cpu, const struct hw_exit *e,
			 struct exit_info *i)
{
	i->qual = vmx_displacement(cpu);
}

/* SDM Vol. 3C, "Exit Qualification for EPT Violations". */
static void info_ept(const struct hw_cpu *cpu, const struct hw_exit *e,
		     struct exit_info *i)
{
	i->gpa = e->exc.gpa;
	if (e->la_valid)
		i->gla = e->la;
	if (e->id == X86_INTERCEPT_TDP_MISCONFIG)
		return;
	i->qual = e->exc.error_code & 0x7f;
	if (e->la_valid)
		i->qual |= EPT_VIOLATION_GVA_IS_VALID |
			   (e->exc.in_walk ? 0 : EPT_VIOLATION_GVA_TRANSLATED);
	if (e->nmi_unblocked_by_iret && !e->vectoring)
		i->qual |= EPT_VIOLATION_NMI_UNBLOCKING;
}

static void info_extint(const struct hw_cpu *cpu, const struct hw_exit *e,
			struct exit_info *i)
{
	const struct vmcs *v = cpu->vmx.current;

	if (VMCS(v, VM_EXIT_CONTROLS) & VM_EXIT_ACK_INTR_ON_EXIT)
		i->intr = event_info(VMX_KICK_VECTOR, X86_EVENT_EXTINT);
}

static const info_fn info_fns[X86_NR_INTERCEPTS] = {
	[X86_INTERCEPT_EXCEPTION] = info_exception,
	[X86_INTERCEPT_NMI] = info_nmi,
	[X86_INTERCEPT_EXTINT] = info_extint,
	[X86_INTERCEPT_TASK_SWITCH] = info_task_switch,
	[X86_INTERCEPT_CR_READ] = info_cr_read,
	[X86_INTERCEPT_CR_WRITE] = info_cr_write,
	[X86_INTERCEPT_CLTS] = info_clts,
	[X86_INTERCEPT_LMSW] = info_lmsw,
	[X86_INTERCEPT_DR_READ] = info_dr,
	[X86_INTERCEPT_DR_WRITE] = info_dr,
	[X86_INTERCEPT_IO] = info_io,
	[X86_INTERCEPT_INVLPG] = info_invlpg,
	[X86_INTERCEPT_TDP_FAULT] = info_ept,
	[X86_INTERCEPT_TDP_MISCONFIG] = info_ept,
	[X86_INTERCEPT_SGDT] = info_operand,
	[X86_INTERCEPT_SIDT] = info_operand,
	[X86_INTERCEPT_LGDT] = info_operand,
	[X86_INTERCEPT_LIDT] = info_operand,
	[X86_INTERCEPT_SLDT] = info_operand,
	[X86_INTERCEPT_STR] = info_operand,
	[X86_INTERCEPT_LLDT] = info_operand,
	[X86_INTERCEPT_LTR] = info_operand,
	[X86_INTERCEPT_INVEPT] = info_operand,
	[X86_INTERCEPT_INVVPID] = info_operand,
	[X86_INTERCEPT_INVPCID] = info_operand,
	[X86_INTERCEPT_VMCLEAR] = info_operand,
	[X86_INTERCEPT_VMPTRLD] = info_operand,
	[X86_INTERCEPT_VMPTRST] = info_operand,
	[X86_INTERCEPT_VMREAD] = info_operand,
	[X86_INTERCEPT_VMWRITE] = info_operand,
	[X86_INTERCEPT_VMXON] = info_operand,
	[X86_INTERCEPT_XSAVES] = info_operand,
	[X86_INTERCEPT_XRSTORS] = info_operand,
};

/* --- all -------------------------------------------------------------------------- */

static bool is_software(unsigned type)
{
	return type == X86_EVENT_SOFT_INT || type == X86_EVENT_SOFT_EXC ||
	       type == X86_EVENT_PRIV_EXC;
}

/* The instruction's length is defined for exits that it caused, and for exits met
 * while a software interrupt or exception was delivered. */
static uint32_t insn_len(const struct hw_cpu *cpu, const struct hw_exit *e)
{
	uint64_t rip = cpu->c.rip, next = e->next_rip;

	if (e->vectoring && is_software(e->vectoring_event.type))
		next = e->vectoring_event.return_rip;
	else if (!e->by_insn)
		return 0;
	/* 16- and 32-bit RIPs wrap. */
	if (cpu->c.mode != X86_MODE_PROT64)
		return (uint32_t)(next - rip) & 0xf;
	return (next - rip) & 0xf;
}

void vmx_store_exit_info(struct vmx_entry *x)
{
	const struct hw_cpu *cpu = x->cpu;
	const struct hw_exit *e = &cpu->exit;
	struct exit_info i = { 0 };
	struct vmcs *v = x->v;

	if (info_fns[e->id])
		info_fns[e->id](cpu, e, &i);
	if (e->by_insn)
		i.insn = vmx_insn_info(cpu, e->id);
	VMCS(v, VM_EXIT_REASON) = reasons[e->id] & VMX_EXIT_BASIC_MASK;
	VMCS(v, EXIT_QUALIFICATION) = i.qual;
	VMCS(v, GUEST_LINEAR_ADDRESS) = i.gla;
	VMCS(v, GUEST_PHYSICAL_ADDRESS) = i.gpa;
	VMCS(v, VM_EXIT_INTR_INFO) = i.intr;
	VMCS(v, VM_EXIT_INTR_ERROR_CODE) = i.error;
	VMCS(v, VM_EXIT_INSTRUCTION_LEN) = insn_len(cpu, e);
	VMCS(v, VMX_INSTRUCTION_INFO) = i.insn;
	VMCS(v, IDT_VECTORING_INFO_FIELD) = 0;
	VMCS(v, IDT_VECTORING_ERROR_CODE) = 0;
	if (unlikely(e->vectoring)) {
		const struct x86_event *ev = &e->vectoring_event;
		uint32_t info = exception_info(cpu, ev->vector, ev->type,
					       ev->has_error_code);

		VMCS(v, IDT_VECTORING_INFO_FIELD) = info;
		if (info & INTR_INFO_DELIVER_CODE_MASK)
			VMCS(v, IDT_VECTORING_ERROR_CODE) = ev->error_code;
	}
}
