/* SPDX-License-Identifier: MIT */
/*
 * Small guests through the real instructions: VMLAUNCH/VMRESUME and VMRUN, from
 * a VMCS or a VMCB to an exit, with the core underneath. Both vendors run the
 * same code; an exit is compared in the vendor's own words.
 *
 * guest.c supplies memory, second-dimension tables and the three start states;
 * here they are copied into the VMCS or VMCB.
 */
#include <sys/mman.h>

#include "guest.h"
#include "vmx_env.h"
#include "x86/vmcb.h"

struct virt {
	struct guest *g;
	struct vmx_env e;		/* Intel: cpu, mem, vmxon, vmcs */
	struct vmcb *vmcb;		/* AMD */
	bool launched;
};

/* --- a guest of either vendor ------------------------------------------------------ */

static uint8_t *page(struct virt *v, unsigned n)
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

/* @start: guest_real, guest_prot, guest_long. */
static struct virt *virt_new(bool amd, void (*start)(struct guest *g))
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

static void virt_free(struct virt *v)
{
	munmap(v->e.mem, VMX_ENV_PAGES * PAGE_SIZE);
	guest_free(v->g);
	free(v);
}

static bool is_amd(const struct virt *v)
{
	return v->vmcb;
}

/* Runs to the next exit: its reason or code. */
static uint64_t run(struct virt *v)
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

static uint64_t get_rip(struct virt *v)
{
	return is_amd(v) ? v->vmcb->save.rip : vmcs_read(&v->e, GUEST_RIP);
}

static void set_rip(struct virt *v, uint64_t rip)
{
	if (is_amd(v))
		v->vmcb->save.rip = rip;
	else
		vmcs_write(&v->e, GUEST_RIP, rip);
}

static void skip_insn(struct virt *v)
{
	uint64_t next = is_amd(v) ? v->vmcb->control.next_rip :
		get_rip(v) + vmcs_read(&v->e, VM_EXIT_INSTRUCTION_LEN);

	assert_true(next > get_rip(v) && next <= get_rip(v) + 15);
	set_rip(v, next);
}

static uint64_t get_rax(struct virt *v)
{
	return is_amd(v) ? v->vmcb->save.rax : hw_gprs(v->g->cpu)[X86_RAX];
}

static void set_rflags(struct virt *v, uint64_t f)
{
	if (is_amd(v))
		v->vmcb->save.rflags = f;
	else
		vmcs_write(&v->e, GUEST_RFLAGS, f);
}

static void inject(struct virt *v, unsigned vector, unsigned type)
{
	if (is_amd(v))
		v->vmcb->control.event_inj = SVM_EVTINJ_VALID | type << 8 | vector;
	else
		vmcs_write(&v->e, VM_ENTRY_INTR_INFO_FIELD,
			   INTR_INFO_VALID_MASK | type << 8 | vector);
}

#define CODE(v, vmx, svm) (is_amd(v) ? (uint64_t)(svm) : (uint64_t)(vmx))
#define FOR_BOTH(v, start)						\
	for (int vendor = 0; vendor < 2; vendor++)			\
		for (struct virt *v = virt_new(vendor, start); v;	\
		     virt_free(v), v = NULL)

/* --- tests --------------------------------------------------------------------------- */

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

GUEST_CODE(ud_code, 64, "nop; ud2");
GUEST_CODE(pf_code, 64, "mov 0x1ff000, %eax; hlt");

static void catch(struct virt *v, unsigned vector)
{
	if (is_amd(v))
		vmcb_set_intercept(&v->vmcb->control, 0x40 + vector);
	else
		vmcs_write(&v->e, EXCEPTION_BITMAP, BIT(vector));
}

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

/* --- any state ------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Mostly near misses: a bit flipped, a small number, now and then anything. */
static uint64_t mutate(uint64_t val)
{
	switch (rnd() % 4) {
	case 0:
		return val ^ BIT_ULL(rnd() % 64);
	case 1:
		return val ^ BIT_ULL(rnd() % 16);
	case 2:
		return rnd() % 0x10000;
	default:
		return rnd();
	}
}

static const uint32_t guest_fields[] = {
#define VMCS_FIELD(enc, name, width, type, feature) enc,
#include "x86/vmcs.def"
#undef VMCS_FIELD
};

static bool is_guest_state(uint32_t enc)
{
	uint32_t type = enc >> 10 & 3;

	return type == VMCS_GUEST || enc == VM_ENTRY_INTR_INFO_FIELD ||
	       enc == VM_ENTRY_EXCEPTION_ERROR_CODE ||
	       enc == VM_ENTRY_INSTRUCTION_LEN || enc == VM_ENTRY_CONTROLS ||
	       enc == EXCEPTION_BITMAP || enc == CR0_GUEST_HOST_MASK ||
	       enc == CR4_GUEST_HOST_MASK;
}

static void mutate_vmcs(struct virt *v)
{
	for (unsigned n = 1 + rnd() % 3; n; n--) {
		uint32_t enc = guest_fields[rnd() % ARRAY_SIZE(guest_fields)];
		uint64_t val;

		if (!is_guest_state(enc) || enc == VMCS_LINK_POINTER ||
		    hw_vmread(v->g->cpu, enc, &val))
			continue;
		vmcs_write(&v->e, enc, mutate(val));
	}
}

/* What an exit saves passes all entry checks: resuming may skip them. */
static void enter_again(struct virt *v)
{
	uint64_t reason = vmcs_read(&v->e, VM_EXIT_REASON);

	assert_int_equal(hw_vmclear(v->g->cpu, v->e.vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(v->g->cpu, v->e.vmcs), HW_VMX_SUCCEED);
	if (hw_vmlaunch(v->g->cpu) || hw_entry_failure(v->g->cpu))
		fail_msg("after %s: %s", vmx_exit_name(reason),
			 hw_entry_failure(v->g->cpu));
}

/*
 * Guest state from anywhere: the entry fails by the checks or the guest runs
 * and leaves; never anything else. Code is random bytes at times.
 */
static void test_any_vmcs(void **state)
{
	unsigned ran = 0, failed = 0;

	for (unsigned i = 0; i < 3000; i++) {
		struct virt *v = virt_new(false, i % 3 == 0 ? guest_real :
					  i % 3 == 1 ? guest_prot : guest_long);

		for (unsigned k = 0; k < 64; k++)
			v->g->mem[G_CODE + k] = rnd();
		vmcs_write(&v->e, PIN_BASED_VM_EXEC_CONTROL,
			   ENV_PIN | PIN_BASED_VMX_PREEMPTION_TIMER);
		mutate_vmcs(v);
		vmcs_write(&v->e, VMX_PREEMPTION_TIMER_VALUE, 3000);
		if (hw_vmlaunch(v->g->cpu) != HW_VMX_SUCCEED ||
		    vmcs_read(&v->e, VM_EXIT_REASON) & BIT(31)) {
			assert_non_null(hw_entry_failure(v->g->cpu));
			failed++;
		} else {
			assert_non_null(vmx_exit_name(
				vmcs_read(&v->e, VM_EXIT_REASON)));
			enter_again(v);
			ran++;
		}
		virt_free(v);
	}
	assert_in_range(ran, 300, 2900);
	assert_in_range(failed, 100, 2700);
}

static void mutate_save_area(struct vmcb_save_area *s)
{
	for (unsigned n = 1 + rnd() % 3; n; n--) {
		uint64_t *q = (uint64_t *)s + rnd() % (0x280 / 8);

		*q = mutate(*q);
	}
}

static void test_any_vmcb(void **state)
{
	unsigned ran = 0, failed = 0;

	for (unsigned i = 0; i < 3000; i++) {
		struct virt *v = virt_new(true, i % 3 == 0 ? guest_real :
					  i % 3 == 1 ? guest_prot : guest_long);

		/* No timer here: code that ends, whatever happens on the way. */
		v->vmcb->control.int_ctl |= V_INTR_MASKING_MASK;
		for (unsigned k = 0; k < 8; k++)
			v->g->mem[G_CODE + k] = 0x90;
		v->g->mem[G_CODE + 8] = 0xf4;
		vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_SHUTDOWN);
		if (rnd() % 2)
			v->vmcb->control.event_inj = SVM_EVTINJ_VALID |
				(rnd() & 0xfff) | (rnd() & 0xff) << 32;
		mutate_save_area(&v->vmcb->save);
		hw_vmload(v->g->cpu, (uintptr_t)v->vmcb);
		hw_kick(v->g->cpu);
		assert_int_equal(hw_vmrun(v->g->cpu, (uintptr_t)v->vmcb), 0);
		assert_non_null(svm_exit_name(v->vmcb->control.exit_code));
		if (v->vmcb->control.exit_code == ~0ull)
			failed++;
		else
			ran++;
		virt_free(v);
	}
	assert_in_range(ran, 300, 2900);
	assert_in_range(failed, 100, 2700);
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
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_software_injection),
		cmocka_unit_test(test_interrupt_window),
		cmocka_unit_test(test_v_intr),
		cmocka_unit_test(test_nmi_window),
		cmocka_unit_test(test_vectoring),
		cmocka_unit_test(test_exception_exit),
		cmocka_unit_test(test_page_fault_exit),
		cmocka_unit_test(test_breakpoint_exit),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_preemption_timer),
		cmocka_unit_test(test_monitor_trap_flag),
		cmocka_unit_test(test_long_mode_switch),
		cmocka_unit_test(test_enable_rdtscp),
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
		cmocka_unit_test(test_any_vmcs),
		cmocka_unit_test(test_any_vmcb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
