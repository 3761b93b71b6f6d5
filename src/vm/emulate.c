/* SPDX-License-Identifier: MIT */
/*
 * x86_emulate_instruction(): one instruction, by the hypervisor.
 *
 * An exit leads here when the processor cannot finish an instruction by itself:
 * an access to memory that is not there (MMIO), string port I/O, an undefined
 * opcode that KVM knows. The instruction is fetched and decoded once (unless the
 * processor tells what it had decoded), executed over the callbacks of
 * emulate_ops.c, and the registers are written back.
 *
 * When user space must act first (a read of MMIO or of a port), the decoded
 * instruction and its context stay in vcpu->arch.emul; KVM_RUN's next call
 * executes it again, and the reads that were done are replayed from a cache so
 * that no device sees them twice. Writes are posted: the instruction completes,
 * then the exit happens.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "isa/text.h"
#include "obs/trace.h"
#include "vm/emulate.h"
#include "vm/kvm_host.h"

void init_emulate_ctxt(struct kvm_vcpu *vcpu)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);

	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		c->gpr[i] = kvm_register_read_raw(vcpu, i);
	c->rip = kvm_rip_read(vcpu);
	c->eflags = ops->get_rflags(vcpu);
	for (unsigned i = 0; i < X86_NR_SEGS; i++)
		ops->get_segment(vcpu, &c->seg[i], i);
	ops->get_gdt(vcpu, &c->gdt);
	ops->get_idt(vcpu, &c->idt);
	emulate_sync_cr(vcpu);
	c->cr2 = vcpu->arch.cr2;
	c->xcr0 = vcpu->arch.xcr0;
	c->pkru = hw_get_pkru(vcpu->hw);
	c->shadow = 0;
	c->rep_limit = 1;
	c->tlb = x86_tlb_empty;
	c->tlb_mask = 0;
	c->tlb_key = 1;
	c->ops = &kvm_emulate_ops;
	c->features = vcpu->arch.features;
	c->vendor_amd = vcpu->kvm->params.vendor == KVM_VENDOR_AMD;
	c->fpu = &vcpu->arch.fpu;
	c->owner = vcpu;
	c->exception = (struct x86_exception){ 0 };
}

void writeback_registers(struct kvm_vcpu *vcpu)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;

	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		if (c->gpr[i] != vcpu->arch.regs[i])
			kvm_register_write_raw(vcpu, i, c->gpr[i]);
	kvm_rip_write(vcpu, c->rip);
	if (c->eflags != kvm_ops(vcpu)->get_rflags(vcpu)) {
		kvm_ops(vcpu)->set_rflags(vcpu, c->eflags);
		kvm_make_request(vcpu, KVM_REQ_EVENT);
	}
}

/* --- fetch and decode ---------------------------------------------------------- */

static uint64_t linear_rip(const struct x86_emulate_ctxt *c)
{
	if (c->mode == X86_MODE_PROT64)
		return c->rip;
	return (uint32_t)(c->seg[X86_CS].base + c->rip);
}

/* Bytes of code at RIP, up to the page's end and as far as the next page can be
 * read. What ended it: 0, -1 with @e, or -EFAULT: what follows is not memory. */
static int fetch_bytes(struct kvm_vcpu *vcpu, uint8_t *bytes, unsigned *n,
			struct x86_exception *e)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;
	uint64_t la = linear_rip(c);
	unsigned first = MIN(X86_MAX_INSN_LEN, PAGE_SIZE - (la & ~PAGE_MASK));

	int r;

	*n = 0;
	r = kvm_fetch_guest_virt(vcpu, la, bytes, first, e);
	if (r)
		return r;
	*n = first;
	if (first == X86_MAX_INSN_LEN)
		return 0;
	r = kvm_fetch_guest_virt(vcpu, la + first, bytes + first,
				 X86_MAX_INSN_LEN - first, e);
	if (!r)
		*n = X86_MAX_INSN_LEN;
	return r;
}

enum decode_outcome {
	DECODED,
	DECODE_FAULT,		/* injected */
	DECODE_UNDEFINED,
	DECODE_NO_MEMORY,	/* the guest executes what is not memory */
};

static enum decode_outcome fetch_failed(struct kvm_vcpu *vcpu, int why,
					const struct x86_exception *e)
{
	if (why == -EFAULT)
		return DECODE_NO_MEMORY;
	kvm_inject_fault(vcpu, e);
	return DECODE_FAULT;
}

/* Decode assist: the instruction whose access left the guest, as the processor has
 * decoded it. NULL: it was none, or not in this mode. */
static const struct x86_insn *decoded_by_processor(struct kvm_vcpu *vcpu, int type)
{
	const struct x86_insn *insn = hw_last_insn(vcpu->hw);

	if (!(type & EMULTYPE_PF) || !insn ||
	    insn->mode != vcpu->arch.emul.ctxt.mode)
		return NULL;
	return insn;
}

static enum decode_outcome decode(struct kvm_vcpu *vcpu, int type)
{
	const struct x86_insn *known = decoded_by_processor(vcpu, type);
	struct kvm_emulation *em = &vcpu->arch.emul;
	uint8_t bytes[X86_MAX_INSN_LEN];
	struct x86_exception e;
	unsigned n;
	int why;

	em->ctxt.insn = &em->insn;
	if (known) {
		em->insn = *known;
		return DECODED;
	}
	why = fetch_bytes(vcpu, bytes, &n, &e);

	memset(&em->insn, 0, sizeof(em->insn));
	if (!n)
		return fetch_failed(vcpu, why, &e);
	memcpy(em->insn.bytes, bytes, n);
	switch (x86_decode(&em->insn, bytes, n, em->ctxt.mode)) {
	case X86_DECODE_OK:
		return DECODED;
	case X86_DECODE_TRUNCATED:	/* continues on the next page */
		return fetch_failed(vcpu, why, &e);
	case X86_DECODE_TOO_LONG:
		kvm_inject_gp(vcpu, 0);
		return DECODE_FAULT;
	default:
		memcpy(em->insn.bytes, bytes, n);
		return DECODE_UNDEFINED;
	}
}

/* --- outcome ---------------------------------------------------------------------- */

static enum kvm_exit_result emulation_failure(struct kvm_vcpu *vcpu, int type)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_emulation *em = &vcpu->arch.emul;

	vcpu->stat.insn_emulation_fail++;
	if (type & EMULTYPE_TRAP_UD) {
		kvm_queue_exception(vcpu, X86_UD);
		return KVM_HANDLED;
	}
	memset(&run->emulation_failure, 0, sizeof(run->emulation_failure));
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 4;
	run->emulation_failure.flags =
		KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = X86_MAX_INSN_LEN;
	memcpy(run->emulation_failure.insn_bytes, em->insn.bytes, X86_MAX_INSN_LEN);
	return KVM_TO_USER;
}

/* The trap that follows an instruction: a step, breakpoints that it has met. */
static void debug_trap(struct kvm_vcpu *vcpu, bool tf)
{
	uint64_t bits = vcpu->arch.db_hits | (tf ? X86_DR6_BS : 0);

	vcpu->arch.db_hits = 0;
	if (unlikely(bits))
		kvm_queue_exception_p(vcpu, X86_DB, bits);
}

/* Its trap, and its interrupt shadow. */
static void after_instruction(struct kvm_vcpu *vcpu, bool tf)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;
	uint32_t shadow = 0;

	if (c->shadow & X86_SHADOW_STI)
		shadow |= KVM_X86_SHADOW_INT_STI;
	if (c->shadow & X86_SHADOW_MOV_SS)
		shadow |= KVM_X86_SHADOW_INT_MOV_SS;
	kvm_ops(vcpu)->set_interrupt_shadow(vcpu, shadow);
	debug_trap(vcpu, tf);
}

static enum kvm_exit_result completed(struct kvm_vcpu *vcpu, bool tf)
{
	struct kvm_emulation *em = &vcpu->arch.emul;

	em->in_progress = false;
	em->ctxt.eflags &= ~(uint64_t)X86_EFLAGS_RF;
	writeback_registers(vcpu);
	after_instruction(vcpu, tf);
	if (vcpu->arch.pio.count)
		return kvm_pio_to_user(vcpu);
	if (em->mmio_needed)
		return kvm_mmio_to_user(vcpu);
	return KVM_HANDLED;
}

/* User space must answer a read before the instruction can go on. */
static enum kvm_exit_result needs_user(struct kvm_vcpu *vcpu)
{
	vcpu->arch.emul.in_progress = true;
	writeback_registers(vcpu);	/* iterations of a REP that are done */
	return vcpu->arch.pio.count ? kvm_pio_to_user(vcpu)
				    : kvm_mmio_to_user(vcpu);
}

static enum kvm_exit_result execute(struct kvm_vcpu *vcpu, int type)
{
	struct kvm_emulation *em = &vcpu->arch.emul;
	bool tf = em->ctxt.eflags & X86_EFLAGS_TF;

	int r;

	em->read_pos = 0;
	vcpu->arch.db_hits = 0;
	r = x86_emulate_insn(&em->ctxt);
	if (r != X86EMUL_CONTINUE)
		vcpu->arch.db_hits = 0;
	switch (r) {
	case X86EMUL_CONTINUE:
		return completed(vcpu, tf);
	case X86EMUL_PROPAGATE_FAULT:
		em->in_progress = false;
		writeback_registers(vcpu);
		kvm_inject_fault(vcpu, &em->ctxt.exception);
		return KVM_HANDLED;
	case X86EMUL_IO_NEEDED:
		return needs_user(vcpu);
	case X86EMUL_RETRY_INSTR:
		em->in_progress = false;
		return KVM_HANDLED;
	case X86EMUL_HOST_ERROR:
		em->in_progress = false;
		return KVM_ERROR_FAULT;
	default:
		em->in_progress = false;
		return emulation_failure(vcpu, type);
	}
}

/* --- trace --------------------------------------------------------------------------- */

static const char *type_name(int type)
{
	if (type & EMULTYPE_PF)
		return "PF";
	if (type & EMULTYPE_TRAP_UD)
		return "TRAP_UD";
	if (type & EMULTYPE_SKIP)
		return "SKIP";
	return "NORMAL";
}

static const char *result_name(struct kvm_vcpu *vcpu, enum kvm_exit_result r)
{
	if (vcpu->arch.exception.pending)
		return "fault";
	switch (r) {
	case KVM_HANDLED:
		return "done";
	case KVM_TO_USER:
		return vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR
			? "failed" : "to user space";
	default:
		return "error";
	}
}

static void trace_insn(struct kvm_vcpu *vcpu, uint64_t rip, int type,
		       enum kvm_exit_result r, uint64_t t0)
{
	struct kvm_emulation *em = &vcpu->arch.emul;
	char hex[3 * X86_MAX_INSN_LEN + 1] = "", text[128];
	struct kvm_exit_info info;
	unsigned len = em->insn.len ? em->insn.len : X86_MAX_INSN_LEN;

	for (unsigned i = 0; i < len; i++)
		snprintf(hex + 3 * i, 4, "%02x ", em->insn.bytes[i]);
	if (x86_insn_text(em->insn.bytes, len, em->ctxt.mode, rip, text,
			  sizeof(text)) < 0)
		snprintf(text, sizeof(text), "(bad)");
	kvm_ops(vcpu)->get_exit_info(vcpu, &info);
	trace_kvm_emulate_insn(rip, hex, text, type_name(type), info.reason,
			       result_name(vcpu, r), ktime_get_ns() - t0);
}

/* --- entry ----------------------------------------------------------------------------- */

static enum kvm_exit_result start(struct kvm_vcpu *vcpu, int type)
{
	struct kvm_emulation *em = &vcpu->arch.emul;

	em->mmio_needed = em->mmio_read_done = false;
	em->nr_frags = em->cur_frag = 0;
	em->read_end = 0;
	em->type = type;
	init_emulate_ctxt(vcpu);
	switch (decode(vcpu, type)) {
	case DECODED:
		break;
	case DECODE_FAULT:
		return KVM_HANDLED;
	case DECODE_NO_MEMORY:
		return emulation_failure(vcpu, 0);
	default:
		/* Undefined in the manuals too: the guest's own #UD. */
		kvm_queue_exception(vcpu, X86_UD);
		return KVM_HANDLED;
	}
	if ((type & EMULTYPE_TRAP_UD) && !(em->insn.row->attr & I_EMUL_UD)) {
		kvm_queue_exception(vcpu, X86_UD);
		return KVM_HANDLED;
	}
	if (type & EMULTYPE_SKIP) {
		kvm_rip_write(vcpu, em->ctxt.rip + em->insn.len);
		kvm_ops(vcpu)->set_interrupt_shadow(vcpu, 0);
		return KVM_HANDLED;
	}
	return execute(vcpu, type);
}

enum kvm_exit_result x86_emulate_instruction(struct kvm_vcpu *vcpu,
					     gpa_t cr2_or_gpa, int type)
{
	bool traced = trace_kvm_emulate_insn_enabled();
	uint64_t t0 = traced ? ktime_get_ns() : 0;
	uint64_t rip = traced ? kvm_rip_read(vcpu) : 0;
	enum kvm_exit_result r;

	if (type & EMULTYPE_NO_DECODE) {
		r = execute(vcpu, type);
	} else {
		vcpu->stat.insn_emulation++;
		r = start(vcpu, type);
	}
	if (traced)
		trace_insn(vcpu, rip, type, r, t0);
	return r;
}

enum kvm_exit_result kvm_skip_emulated_instruction(struct kvm_vcpu *vcpu)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);
	uint64_t rflags = ops->get_rflags(vcpu);

	ops->skip_emulated_instruction(vcpu);
	if (unlikely(rflags & X86_EFLAGS_RF))
		ops->set_rflags(vcpu, rflags & ~(uint64_t)X86_EFLAGS_RF);
	debug_trap(vcpu, rflags & X86_EFLAGS_TF);
	return KVM_HANDLED;
}

enum kvm_exit_result kvm_task_switch(struct kvm_vcpu *vcpu, uint16_t selector,
				     int reason, bool has_error, uint32_t code)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;
	int r;

	trace_kvm_task_switch(selector, reason);
	init_emulate_ctxt(vcpu);
	vcpu->arch.emul.mmio_needed = false;
	vcpu->arch.emul.read_end = vcpu->arch.emul.read_pos = 0;
	c->next_rip = c->rip;	/* the backend has skipped the instruction */
	r = emulator_task_switch(c, selector, reason, has_error, code);
	if (r == X86EMUL_PROPAGATE_FAULT) {
		/* Faults of loading the new task belong to it: it is there. */
		writeback_registers(vcpu);
		kvm_inject_fault(vcpu, &c->exception);
		return KVM_HANDLED;
	}
	if (r != X86EMUL_CONTINUE || vcpu->arch.emul.mmio_needed)
		return kvm_internal_error(vcpu, KVM_INTERNAL_ERROR_EMULATION, 0, NULL);
	writeback_registers(vcpu);
	return KVM_HANDLED;
}

enum kvm_exit_result kvm_internal_error(struct kvm_vcpu *vcpu, unsigned suberror,
					unsigned n, const uint64_t *data)
{
	vcpu->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	vcpu->run->internal.suberror = suberror;
	vcpu->run->internal.ndata = n;
	for (unsigned i = 0; i < n && i < ARRAY_SIZE(vcpu->run->internal.data); i++)
		vcpu->run->internal.data[i] = data[i];
	return KVM_TO_USER;
}
