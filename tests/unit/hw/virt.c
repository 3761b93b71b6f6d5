/* SPDX-License-Identifier: MIT */
/* See virt.h. Field values are written from the manuals, not from the engines. */
#include <sys/mman.h>

#include "virt.h"

uint8_t *page(struct virt *v, unsigned n)
{
	return v->e.mem + n * PAGE_SIZE;
}

static void vmcs_controls(struct virt *v, bool long_mode)
{
	struct vmx_env *e = &v->e;

	vmcs_write(e, VIRTUAL_PROCESSOR_ID, 1);
	vmcs_write(e, PIN_BASED_VM_EXEC_CONTROL, ENV_PIN);
	vmcs_write(e, CPU_BASED_VM_EXEC_CONTROL, ENV_PROC);
	vmcs_write(e, SECONDARY_VM_EXEC_CONTROL,
		   ENV_PROC2 | SECONDARY_EXEC_UNRESTRICTED_GUEST);
	vmcs_write(e, VM_EXIT_CONTROLS, ENV_EXIT);
	vmcs_write(e, VM_ENTRY_CONTROLS,
		   ENV_ENTRY | (long_mode ? VM_ENTRY_IA32E_MODE : 0));
	vmcs_write(e, VMCS_LINK_POINTER, ~0ull);
	vmcs_write(e, EPT_POINTER, (uintptr_t)v->g->tdp | 0x1e);
	vmcs_write(e, HOST_CR0, 0x80050033);
	vmcs_write(e, HOST_CR4, 0x20a0);
	vmcs_write(e, HOST_CS_SELECTOR, 0x10);
	vmcs_write(e, HOST_TR_SELECTOR, 0x40);
	vmcs_write(e, HOST_IA32_EFER, 0xd01);
	vmcs_write(e, HOST_IA32_PAT, 0x0007040600070406);
}

static void vmcs_guest(struct virt *v)
{
	const struct x86_emulate_ctxt *c = v->g->c;
	struct vmx_env *e = &v->e;

	vmcs_write(e, GUEST_CR0, c->cr0);
	vmcs_write(e, GUEST_CR3, c->cr3);
	vmcs_write(e, GUEST_CR4, c->cr4 | X86_CR4_VMXE);
	vmcs_write(e, GUEST_DR7, 0x400);
	vmcs_write(e, GUEST_IA32_EFER, c->efer);
	vmcs_write(e, GUEST_IA32_PAT, 0x0007040600070406);
	vmcs_write(e, GUEST_RIP, c->rip);
	vmcs_write(e, GUEST_RSP, c->gpr[X86_RSP]);
	vmcs_write(e, GUEST_RFLAGS, c->eflags);
	for (unsigned i = 0; i < X86_NR_SEGS; i++) {
		vmcs_write(e, GUEST_ES_SELECTOR + 2 * i, c->seg[i].selector);
		vmcs_write(e, GUEST_ES_BASE + 2 * i, c->seg[i].base);
		vmcs_write(e, GUEST_ES_LIMIT + 2 * i, c->seg[i].limit);
		vmcs_write(e, GUEST_ES_AR_BYTES + 2 * i, c->seg[i].ar);
	}
	vmcs_write(e, GUEST_GDTR_BASE, c->gdt.base);
	vmcs_write(e, GUEST_GDTR_LIMIT, c->gdt.limit);
	vmcs_write(e, GUEST_IDTR_BASE, c->idt.base);
	vmcs_write(e, GUEST_IDTR_LIMIT, c->idt.limit);
}

static void start_vmx(struct virt *v)
{
	struct vmx_env *e = &v->e;
	uint64_t basic;

	e->cpu = v->g->cpu;
	e->vmxon = (uintptr_t)page(v, P_VMXON);
	e->vmcs = (uintptr_t)page(v, P_VMCS);
	assert_int_equal(hw_rdmsr(e->cpu, MSR_IA32_VMX_BASIC, &basic), 0);
	*(uint32_t *)page(v, P_VMXON) = basic & 0x7fffffff;
	*(uint32_t *)page(v, P_VMCS) = basic & 0x7fffffff;
	assert_int_equal(hw_vmxon(e->cpu, e->vmxon), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmclear(e->cpu, e->vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(e->cpu, e->vmcs), HW_VMX_SUCCEED);
	vmcs_controls(v, v->g->c->efer & X86_EFER_LMA);
	vmcs_guest(v);
}

static struct vmcb_seg vmcb_seg(const struct x86_segment *s)
{
	return (struct vmcb_seg){
		.selector = s->selector, .base = s->base, .limit = s->limit,
		.attrib = (s->ar & 0xff) | (s->ar >> 4 & 0xf00),
	};
}

static void start_svm(struct virt *v)
{
	const struct x86_emulate_ctxt *c = v->g->c;
	struct vmcb_save_area *s;
	struct hw_cpu *cpu = v->g->cpu;
	uint64_t efer;

	v->vmcb = (void *)page(v, P_VMCS);
	assert_int_equal(hw_rdmsr(cpu, MSR_EFER, &efer), 0);
	assert_int_equal(hw_wrmsr(cpu, MSR_EFER, efer | X86_EFER_SVME), 0);
	assert_int_equal(hw_wrmsr(cpu, MSR_VM_HSAVE_PA,
				  (uintptr_t)page(v, P_VMXON)), 0);
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_VMRUN);
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_HLT);
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_CPUID);
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_INTR);
	v->vmcb->control.asid = 1;
	v->vmcb->control.nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	v->vmcb->control.nested_cr3 = (uintptr_t)v->g->tdp;
	s = &v->vmcb->save;
	s->cr0 = c->cr0;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->efer = c->efer | X86_EFER_SVME;
	s->rip = c->rip;
	s->rsp = c->gpr[X86_RSP];
	s->rflags = c->eflags;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->cpl = c->cpl;
	s->g_pat = 0x0007040600070406;
	s->es = vmcb_seg(&c->seg[X86_ES]);
	s->cs = vmcb_seg(&c->seg[X86_CS]);
	s->ss = vmcb_seg(&c->seg[X86_SS]);
	s->ds = vmcb_seg(&c->seg[X86_DS]);
	s->tr = vmcb_seg(&c->seg[X86_TR]);
	s->gdtr = (struct vmcb_seg){ .base = c->gdt.base, .limit = c->gdt.limit };
	s->idtr = (struct vmcb_seg){ .base = c->idt.base, .limit = c->idt.limit };
	hw_vmload(cpu, (uintptr_t)v->vmcb);
}

struct virt *virt_new(bool amd, void (*start)(struct guest *g))
{
	struct virt *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	v->g = guest_new(amd);
	v->e.mem = mmap(NULL, VMX_ENV_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(v->e.mem, MAP_FAILED);
	start(v->g);
	if (amd)
		start_svm(v);
	else
		start_vmx(v);
	return v;
}

void virt_free(struct virt *v)
{
	munmap(v->e.mem, VMX_ENV_PAGES * PAGE_SIZE);
	guest_free(v->g);
	free(v);
}

bool is_amd(const struct virt *v)
{
	return v->vmcb;
}

uint64_t run(struct virt *v)
{
	enum hw_vmx_result rc;

	if (is_amd(v)) {
		assert_int_equal(hw_vmrun(v->g->cpu, (uintptr_t)v->vmcb), 0);
		return v->vmcb->control.exit_code;
	}
	rc = v->launched ? hw_vmresume(v->g->cpu) : hw_vmlaunch(v->g->cpu);
	if (rc)
		fail_msg("entry: %s", hw_entry_failure(v->g->cpu));
	v->launched = true;
	return vmcs_read(&v->e, VM_EXIT_REASON);
}

uint64_t get_rip(struct virt *v)
{
	return is_amd(v) ? v->vmcb->save.rip : vmcs_read(&v->e, GUEST_RIP);
}

void set_rip(struct virt *v, uint64_t rip)
{
	if (is_amd(v))
		v->vmcb->save.rip = rip;
	else
		vmcs_write(&v->e, GUEST_RIP, rip);
}

void skip_insn(struct virt *v)
{
	uint64_t next = is_amd(v) ? v->vmcb->control.next_rip :
		get_rip(v) + vmcs_read(&v->e, VM_EXIT_INSTRUCTION_LEN);

	assert_true(next > get_rip(v) && next <= get_rip(v) + 15);
	set_rip(v, next);
}

uint64_t get_rax(struct virt *v)
{
	return is_amd(v) ? v->vmcb->save.rax : hw_gprs(v->g->cpu)[X86_RAX];
}

void set_rflags(struct virt *v, uint64_t f)
{
	if (is_amd(v))
		v->vmcb->save.rflags = f;
	else
		vmcs_write(&v->e, GUEST_RFLAGS, f);
}

void inject(struct virt *v, unsigned vector, unsigned type)
{
	if (is_amd(v))
		v->vmcb->control.event_inj = SVM_EVTINJ_VALID | type << 8 | vector;
	else
		vmcs_write(&v->e, VM_ENTRY_INTR_INFO_FIELD,
			   INTR_INFO_VALID_MASK | type << 8 | vector);
}

void catch(struct virt *v, unsigned vector)
{
	if (is_amd(v))
		vmcb_set_intercept(&v->vmcb->control, 0x40 + vector);
	else
		vmcs_write(&v->e, EXCEPTION_BITMAP, BIT(vector));
}
