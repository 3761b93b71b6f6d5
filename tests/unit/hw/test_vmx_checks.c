/* SPDX-License-Identifier: MIT */
/*
 * Every entry check has a negative test: a VMCS that is valid, one thing broken
 * (or two, where the first makes the rule apply), and the failure that follows,
 * by its kind and by the rule that the engine names. A rule without a row here
 * fails test_every_rule_is_broken.
 *
 * hw_run() is a double that counts: a VMCS that fails must not run.
 */
#include <sys/mman.h>

#include "vmx_env.h"

static unsigned runs;

/* In place of run.c's, which the linker then leaves out. */
void hw_run(struct hw_cpu *cpu)
{
	runs++;
	emul_update_mode(&cpu->c);
	cpu->exit = (struct hw_exit){ .id = X86_INTERCEPT_HLT, .by_insn = true,
				      .next_rip = cpu->c.rip + 1 };
	cpu->ctl.inject_valid = false;
}

enum kind { CTL = 7, HOST = 8, GUEST = 33, MSRS = 34 };
/* A field to write: the value; + BASE: relative to what the field had. */
enum how { END, SET, OR, CLR };

struct brk {
	const char *rule;
	enum kind kind;
	enum vmx_guest guest;
	struct { enum how how; uint32_t field; uint64_t val; } w[4];
	uint64_t qual;
};

#define PROC CPU_BASED_VM_EXEC_CONTROL
#define PROC2 SECONDARY_VM_EXEC_CONTROL
#define PIN PIN_BASED_VM_EXEC_CONTROL
#define INJECT VM_ENTRY_INTR_INFO_FIELD
#define V INTR_INFO_VALID_MASK
#define INTR_STATE GUEST_INTERRUPTIBILITY_INFO

#define FAILS_AS(q, r, k, g, ...) \
	{ .rule = r, .kind = k, .guest = g, .qual = q, .w = { __VA_ARGS__ } },
#define FAILS(...) FAILS_AS(ENTRY_FAIL_DEFAULT, __VA_ARGS__)

/* clang-format off */
static const struct brk breaks[] = {
	/* Controls. */
	FAILS("reserved bits of the pin-based", CTL, G_LONG, { OR, PIN, BIT(7) })
	FAILS("reserved bits of the pin-based", CTL, G_LONG, { CLR, PIN, BIT(1) })
	FAILS("reserved bits of the primary", CTL, G_LONG, { OR, PROC, BIT(17) })
	FAILS("reserved bits of the primary", CTL, G_LONG, { CLR, PROC, BIT(4) })
	FAILS("reserved bits of the secondary", CTL, G_LONG, { OR, PROC2, SECONDARY_EXEC_ENABLE_PML })
	FAILS("the CR3-target count", CTL, G_LONG, { SET, CR3_TARGET_COUNT, 5 })
	FAILS("I/O bitmap A", CTL, G_LONG, { OR, PROC, CPU_BASED_USE_IO_BITMAPS }, { OR, IO_BITMAP_A, 8 })
	FAILS("I/O bitmap B", CTL, G_LONG, { OR, PROC, CPU_BASED_USE_IO_BITMAPS }, { OR, IO_BITMAP_B, BIT_ULL(60) })
	FAILS("I/O bitmap B", CTL, G_LONG, { OR, PROC, CPU_BASED_USE_IO_BITMAPS }, { SET, IO_BITMAP_B, 0 })
	FAILS("the MSR bitmaps", CTL, G_LONG, { OR, PROC, CPU_BASED_USE_MSR_BITMAPS }, { OR, MSR_BITMAP, 1 })
	FAILS("the virtual-APIC page", CTL, G_LONG, { OR, PROC, CPU_BASED_TPR_SHADOW }, { OR, VIRTUAL_APIC_PAGE_ADDR, 1 })
	FAILS("bits 31:4 of the TPR threshold", CTL, G_LONG, { OR, PROC, CPU_BASED_TPR_SHADOW }, { SET, TPR_THRESHOLD, 0x10 })
	FAILS("the TPR threshold is not above VTPR", CTL, G_LONG, { OR, PROC, CPU_BASED_TPR_SHADOW }, { SET, TPR_THRESHOLD, 1 })
	FAILS("virtual NMIs need NMI exiting", CTL, G_LONG, { CLR, PIN, PIN_BASED_NMI_EXITING })
	FAILS("NMI-window exiting needs virtual NMIs", CTL, G_LONG, { CLR, PIN, PIN_BASED_VIRTUAL_NMIS }, { OR, PROC, CPU_BASED_NMI_WINDOW_EXITING })
	FAILS("the VPID is not 0", CTL, G_LONG, { SET, VIRTUAL_PROCESSOR_ID, 0 })
	FAILS("the EPT pointer is valid", CTL, G_LONG, { CLR, EPT_POINTER, 6 })
	FAILS("the EPT pointer is valid", CTL, G_LONG, { CLR, EPT_POINTER, 0x18 })
	FAILS("the EPT pointer is valid", CTL, G_LONG, { OR, EPT_POINTER, 0x80 })
	FAILS("the EPT pointer is valid", CTL, G_LONG, { OR, EPT_POINTER, BIT_ULL(52) })
	FAILS("an unrestricted guest needs EPT", CTL, G_LONG_UG, { CLR, PROC2, SECONDARY_EXEC_ENABLE_EPT })
	FAILS("reserved bits of the VM-exit controls", CTL, G_LONG, { OR, VM_EXIT_CONTROLS, VM_EXIT_CLEAR_BNDCFGS })
	FAILS("saving the VMX-preemption timer", CTL, G_LONG, { OR, VM_EXIT_CONTROLS, VM_EXIT_SAVE_VMX_PREEMPTION_TIMER })
	FAILS("the VM-exit MSR-store area", CTL, G_LONG, { SET, VM_EXIT_MSR_STORE_COUNT, 1 }, { SET, VM_EXIT_MSR_STORE_ADDR, 8 })
	FAILS("the VM-exit MSR-load area", CTL, G_LONG, { SET, VM_EXIT_MSR_LOAD_COUNT, 1 }, { SET, VM_EXIT_MSR_LOAD_ADDR, BIT_ULL(52) - 8 })
	FAILS("the VM-exit MSR-load area", CTL, G_LONG, { SET, VM_EXIT_MSR_LOAD_COUNT, 2 }, { SET, VM_EXIT_MSR_LOAD_ADDR, BIT_ULL(52) - 16 })
	FAILS("reserved bits of the VM-entry controls", CTL, G_LONG, { OR, VM_ENTRY_CONTROLS, VM_ENTRY_SMM })
	FAILS("the VM-entry MSR-load area", CTL, G_LONG, { SET, VM_ENTRY_MSR_LOAD_COUNT, 1 })
	/* The event. */
	FAILS("the interruption type is not reserved", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_RESERVED })
	FAILS("an NMI has vector 2", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_NMI_INTR | 3 })
	FAILS("a hardware exception has a vector under 32", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | 32 })
	FAILS("another event has vector 0", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_OTHER_EVENT | 1 })
	FAILS("an error code is delivered", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | X86_GP })
	FAILS("an error code is delivered", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | X86_UD | BIT(11) })
	FAILS("an error code is delivered", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_EXT_INTR | 0x20 | BIT(11) })
	FAILS("an error code is delivered", CTL, G_REAL_UG, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | X86_GP | BIT(11) })
	FAILS("reserved bits of the interruption information", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_NMI_INTR | 2 | BIT(12) })
	FAILS("bits 31:16 of the error code", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | X86_GP | BIT(11) }, { SET, VM_ENTRY_EXCEPTION_ERROR_CODE, BIT(16) })
	FAILS("the instruction length of a software event", CTL, G_LONG, { SET, INJECT, V | INTR_TYPE_SOFT_INTR | 0x80 }, { SET, VM_ENTRY_INSTRUCTION_LEN, 16 })
	/* Host. */
	FAILS("CR0 has no bit that is not supported", HOST, G_LONG, { CLR, HOST_CR0, X86_CR0_PG })
	FAILS("CR4 has no bit that is not supported", HOST, G_LONG, { CLR, HOST_CR4, X86_CR4_VMXE })
	FAILS("CR4 has no bit that is not supported", HOST, G_LONG, { OR, HOST_CR4, BIT(15) })
	FAILS("CR3 is within the physical-address width", HOST, G_LONG, { SET, HOST_CR3, BIT_ULL(52) })
	FAILS("IA32_SYSENTER_ESP", HOST, G_LONG, { SET, HOST_IA32_SYSENTER_ESP, BIT_ULL(47) })
	FAILS("IA32_SYSENTER_EIP", HOST, G_LONG, { SET, HOST_IA32_SYSENTER_EIP, BIT_ULL(47) })
	FAILS("IA32_PAT", HOST, G_LONG, { SET, HOST_IA32_PAT, 2 })
	FAILS("IA32_EFER has no reserved bit", HOST, G_LONG, { OR, HOST_IA32_EFER, 2 })
	FAILS("IA32_EFER.LMA and LME are the host", HOST, G_LONG, { CLR, HOST_IA32_EFER, X86_EFER_LMA })
	FAILS("RPL and TI of ES", HOST, G_LONG, { SET, HOST_ES_SELECTOR, 3 })
	FAILS("RPL and TI of CS", HOST, G_LONG, { SET, HOST_CS_SELECTOR, 0x14 })
	FAILS("RPL and TI of SS", HOST, G_LONG, { SET, HOST_SS_SELECTOR, 0x1b })
	FAILS("RPL and TI of DS", HOST, G_LONG, { SET, HOST_DS_SELECTOR, 4 })
	FAILS("RPL and TI of FS", HOST, G_LONG, { SET, HOST_FS_SELECTOR, 1 })
	FAILS("RPL and TI of GS", HOST, G_LONG, { SET, HOST_GS_SELECTOR, 2 })
	FAILS("RPL and TI of TR", HOST, G_LONG, { SET, HOST_TR_SELECTOR, 0x44 })
	FAILS("CS is not null", HOST, G_LONG, { SET, HOST_CS_SELECTOR, 0 })
	FAILS("TR is not null", HOST, G_LONG, { SET, HOST_TR_SELECTOR, 0 })
	FAILS("the base of FS is canonical", HOST, G_LONG, { SET, HOST_FS_BASE, BIT_ULL(50) })
	FAILS("the base of GS is canonical", HOST, G_LONG, { SET, HOST_GS_BASE, BIT_ULL(50) })
	FAILS("the base of GDTR is canonical", HOST, G_LONG, { SET, HOST_GDTR_BASE, BIT_ULL(50) })
	FAILS("the base of IDTR is canonical", HOST, G_LONG, { SET, HOST_IDTR_BASE, BIT_ULL(50) })
	FAILS("the base of TR is canonical", HOST, G_LONG, { SET, HOST_TR_BASE, BIT_ULL(50) })
	FAILS("a 64-bit host returns", HOST, G_LONG, { CLR, VM_EXIT_CONTROLS, VM_EXIT_HOST_ADDR_SPACE_SIZE })
	FAILS("CR4.PAE is 1", HOST, G_LONG, { CLR, HOST_CR4, X86_CR4_PAE })
	FAILS("RIP is canonical", HOST, G_LONG, { SET, HOST_RIP, BIT_ULL(63) })
	/* Guest control registers and MSRs. */
	FAILS("CR0 has the bits that VMX operation fixes to 1", GUEST, G_LONG, { CLR, GUEST_CR0, X86_CR0_NE })
	FAILS("CR0 has the bits that VMX operation fixes to 1", GUEST, G_PROT32, { SET, GUEST_CR0, 0x30 })
	FAILS("CR0 has no bit that VMX operation fixes to 0", GUEST, G_LONG, { OR, GUEST_CR0, BIT_ULL(32) })
	FAILS("CR0.PG needs CR0.PE", GUEST, G_REAL_UG, { OR, GUEST_CR0, X86_CR0_PG })
	FAILS("CR4 has the bits that VMX operation fixes to 1", GUEST, G_LONG, { CLR, GUEST_CR4, X86_CR4_VMXE })
	FAILS("CR4 has no bit that VMX operation fixes to 0", GUEST, G_LONG, { OR, GUEST_CR4, BIT(15) })
	FAILS("IA32_DEBUGCTL has no reserved bit", GUEST, G_LONG, { SET, GUEST_IA32_DEBUGCTL, BIT(2) })
	FAILS("an IA-32e mode guest has CR0.PG", GUEST, G_LONG_UG, { CLR, GUEST_CR0, X86_CR0_PG })
	FAILS("an IA-32e mode guest has CR4.PAE", GUEST, G_LONG, { CLR, GUEST_CR4, X86_CR4_PAE })
	FAILS("CR4.PCIDE needs", GUEST, G_PAE, { OR, GUEST_CR4, X86_CR4_PCIDE })
	FAILS("CR3 is within the physical-address width", GUEST, G_LONG, { SET, GUEST_CR3, BIT_ULL(52) })
	FAILS("bits 63:32 of DR7", GUEST, G_LONG, { SET, GUEST_DR7, BIT_ULL(32) })
	FAILS("IA32_SYSENTER_ESP", GUEST, G_LONG, { SET, GUEST_SYSENTER_ESP, BIT_ULL(47) })
	FAILS("IA32_SYSENTER_EIP", GUEST, G_LONG, { SET, GUEST_SYSENTER_EIP, BIT_ULL(47) })
	FAILS("IA32_PAT", GUEST, G_LONG, { SET, GUEST_IA32_PAT, 3 })
	FAILS("IA32_EFER has no reserved bit", GUEST, G_LONG, { OR, GUEST_IA32_EFER, BIT(9) })
	FAILS("IA32_EFER.LMA is the IA-32e mode", GUEST, G_LONG, { CLR, GUEST_IA32_EFER, X86_EFER_LMA | X86_EFER_LME })
	FAILS("IA32_EFER.LMA is the IA-32e mode", GUEST, G_PROT32, { SET, GUEST_IA32_EFER, X86_EFER_LMA | X86_EFER_LME })
	FAILS("IA32_EFER.LMA and LME are equal", GUEST, G_LONG, { CLR, GUEST_IA32_EFER, X86_EFER_LME })
	/* Guest segments. */
	FAILS("TI of TR", GUEST, G_LONG, { OR, GUEST_TR_SELECTOR, 4 })
	FAILS("TI of LDTR", GUEST, G_LONG, { SET, GUEST_LDTR_SELECTOR, 4 }, { SET, GUEST_LDTR_AR_BYTES, 0x82 })
	FAILS("RPL of SS is RPL of CS", GUEST, G_LONG, { OR, GUEST_SS_SELECTOR, 3 })
	FAILS("a base is the selector times 16", GUEST, G_V86, { SET, GUEST_GS_BASE, 0x1010 })
	FAILS("a base is the selector times 16", GUEST, G_V86, { SET, GUEST_CS_BASE, 0 })
	FAILS("the base of FS, GS, LDTR or TR", GUEST, G_LONG, { SET, GUEST_FS_BASE, BIT_ULL(47) })
	FAILS("the base of FS, GS, LDTR or TR", GUEST, G_LONG, { SET, GUEST_GS_BASE, BIT_ULL(47) })
	FAILS("the base of FS, GS, LDTR or TR", GUEST, G_LONG, { SET, GUEST_TR_BASE, BIT_ULL(47) })
	FAILS("the base of FS, GS, LDTR or TR", GUEST, G_LONG, { SET, GUEST_LDTR_BASE, BIT_ULL(47) }, { SET, GUEST_LDTR_AR_BYTES, 0x82 })
	FAILS("bits 63:32 of the base of CS", GUEST, G_LONG, { SET, GUEST_CS_BASE, BIT_ULL(32) })
	FAILS("bits 63:32 of the base of CS", GUEST, G_LONG, { SET, GUEST_DS_BASE, BIT_ULL(32) })
	FAILS("a limit is 0FFFFH", GUEST, G_V86, { SET, GUEST_FS_LIMIT, 0xfffff })
	FAILS("access rights are F3H", GUEST, G_V86, { SET, GUEST_SS_AR_BYTES, 0x93 })
	FAILS("CS is accessed code", GUEST, G_LONG, { SET, GUEST_CS_AR_BYTES, 0xa09a })
	FAILS("CS is accessed code", GUEST, G_LONG, { SET, GUEST_CS_AR_BYTES, 0xc093 })
	FAILS("SS is accessed writable data", GUEST, G_LONG, { SET, GUEST_SS_AR_BYTES, 0xc091 })
	FAILS("DS, ES, FS or GS is accessed", GUEST, G_LONG, { SET, GUEST_ES_AR_BYTES, 0xc092 })
	FAILS("DS, ES, FS or GS is readable", GUEST, G_LONG, { SET, GUEST_GS_AR_BYTES, 0xc099 })
	FAILS("a code or data segment has S", GUEST, G_LONG, { CLR, GUEST_CS_AR_BYTES, 0x10 })
	FAILS("DPL of CS fits", GUEST, G_LONG, { OR, GUEST_CS_AR_BYTES, 0x60 })
	FAILS("DPL of CS fits", GUEST, G_LONG, { SET, GUEST_CS_AR_BYTES, 0xa0ff })
	FAILS("DPL of CS fits", GUEST, G_LONG_UG, { SET, GUEST_CS_AR_BYTES, 0xc0f3 })
	FAILS("DPL of SS is its RPL", GUEST, G_LONG, { SET, GUEST_SS_SELECTOR, 0x13 }, { SET, GUEST_CS_SELECTOR, 0xb })
	FAILS("DPL of SS is 0 in real-address", GUEST, G_REAL_UG, { SET, GUEST_SS_AR_BYTES, 0xf3 }, { SET, GUEST_CS_AR_BYTES, 0xfb })
	FAILS("DPL of DS, ES, FS or GS is not under RPL", GUEST, G_LONG, { SET, GUEST_DS_SELECTOR, 0x13 })
	FAILS("a code or data segment is present", GUEST, G_LONG, { CLR, GUEST_FS_AR_BYTES, 0x80 })
	FAILS("reserved access rights of a code or data", GUEST, G_LONG, { OR, GUEST_DS_AR_BYTES, 0x100 })
	FAILS("reserved access rights of a code or data", GUEST, G_LONG, { OR, GUEST_DS_AR_BYTES, BIT(17) })
	FAILS("D is 0 in a 64-bit", GUEST, G_LONG, { OR, GUEST_CS_AR_BYTES, BIT(14) })
	FAILS("G of a code or data segment", GUEST, G_LONG, { SET, GUEST_SS_LIMIT, 0xfffffffe })
	FAILS("G of a code or data segment", GUEST, G_LONG, { CLR, GUEST_SS_AR_BYTES, BIT(15) })
	FAILS("TR is a busy TSS", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x89 })
	FAILS("TR is a busy TSS", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x83 })
	FAILS("S of TR is 0", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x9b })
	FAILS("TR is present", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x0b })
	FAILS("TR is usable", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x1008b })
	FAILS("reserved access rights of TR", GUEST, G_LONG, { SET, GUEST_TR_AR_BYTES, 0x28b })
	FAILS("G of TR fits", GUEST, G_LONG, { SET, GUEST_TR_LIMIT, BIT(20) })
	FAILS("LDTR is an LDT", GUEST, G_LONG, { SET, GUEST_LDTR_AR_BYTES, 0x83 })
	FAILS("S of LDTR is 0", GUEST, G_LONG, { SET, GUEST_LDTR_AR_BYTES, 0x92 })
	FAILS("LDTR is present", GUEST, G_LONG, { SET, GUEST_LDTR_AR_BYTES, 0x02 })
	FAILS("reserved access rights of LDTR", GUEST, G_LONG, { SET, GUEST_LDTR_AR_BYTES, 0x482 })
	FAILS("G of LDTR fits", GUEST, G_LONG, { SET, GUEST_LDTR_AR_BYTES, 0x8082 })
	FAILS("the base of GDTR is canonical", GUEST, G_LONG, { SET, GUEST_GDTR_BASE, BIT_ULL(62) })
	FAILS("the base of IDTR is canonical", GUEST, G_LONG, { SET, GUEST_IDTR_BASE, BIT_ULL(62) })
	FAILS("bits 31:16 of the limit of GDTR", GUEST, G_LONG, { SET, GUEST_GDTR_LIMIT, 0x10000 })
	FAILS("bits 31:16 of the limit of IDTR", GUEST, G_LONG, { SET, GUEST_IDTR_LIMIT, 0x10000 })
	/* The rest of the guest. */
	FAILS("bits 63:32 of RIP are 0", GUEST, G_PROT32, { SET, GUEST_RIP, BIT_ULL(32) })
	FAILS("RIP is canonical in 64-bit mode", GUEST, G_LONG, { SET, GUEST_RIP, BIT_ULL(47) })
	FAILS("reserved bits of RFLAGS", GUEST, G_LONG, { SET, GUEST_RFLAGS, 0xa })
	FAILS("bit 1 of RFLAGS", GUEST, G_LONG, { SET, GUEST_RFLAGS, 0 })
	FAILS("RFLAGS.VM is 0 in IA-32e", GUEST, G_V86, { SET, GUEST_CR0, 0x30 }, { OR, PROC2, SECONDARY_EXEC_UNRESTRICTED_GUEST })
	FAILS("RFLAGS.IF is 1 for an external", GUEST, G_LONG, { SET, INJECT, V | INTR_TYPE_EXT_INTR | 0x20 })
	FAILS("the activity state exists", GUEST, G_LONG, { SET, GUEST_ACTIVITY_STATE, 4 })
	FAILS("HLT needs CPL 0", GUEST, G_V86, { SET, GUEST_ACTIVITY_STATE, 1 })
	FAILS("blocking by STI or MOV SS needs activity", GUEST, G_LONG, { SET, GUEST_ACTIVITY_STATE, 1 }, { SET, INTR_STATE, 2 })
	FAILS("the activity state lets the event in", GUEST, G_LONG, { SET, GUEST_ACTIVITY_STATE, 1 }, { SET, INJECT, V | INTR_TYPE_HARD_EXCEPTION | X86_UD })
	FAILS("the activity state lets the event in", GUEST, G_LONG, { SET, GUEST_ACTIVITY_STATE, 2 }, { SET, INJECT, V | INTR_TYPE_SOFT_INTR | 3 })
	FAILS("the activity state lets the event in", GUEST, G_LONG, { SET, GUEST_ACTIVITY_STATE, 3 }, { SET, INJECT, V | INTR_TYPE_NMI_INTR | 2 })
	FAILS("reserved interruptibility bits", GUEST, G_LONG, { SET, INTR_STATE, 0x20 })
	FAILS("blocking by STI excludes", GUEST, G_LONG, { SET, INTR_STATE, 3 }, { SET, GUEST_RFLAGS, 0x202 })
	FAILS("blocking by STI needs RFLAGS.IF", GUEST, G_LONG, { SET, INTR_STATE, 1 })
	FAILS("no external interrupt while", GUEST, G_LONG, { SET, INTR_STATE, 1 }, { SET, GUEST_RFLAGS, 0x202 }, { SET, INJECT, V | INTR_TYPE_EXT_INTR | 0x20 })
	FAILS_AS(ENTRY_FAIL_NMI, "no NMI while STI or MOV SS blocks", GUEST, G_LONG, { SET, INTR_STATE, 2 }, { SET, INJECT, V | INTR_TYPE_NMI_INTR | 2 })
	FAILS("blocking by SMI", GUEST, G_LONG, { SET, INTR_STATE, 4 })
	FAILS("no virtual NMI while one blocks", GUEST, G_LONG, { SET, INTR_STATE, 8 }, { SET, INJECT, V | INTR_TYPE_NMI_INTR | 2 })
	FAILS("reserved pending debug exceptions", GUEST, G_LONG, { SET, GUEST_PENDING_DBG_EXCEPTIONS, BIT(13) })
	FAILS("pending BS is RFLAGS.TF", GUEST, G_LONG, { SET, INTR_STATE, 2 }, { SET, GUEST_RFLAGS, 0x102 })
	FAILS("pending BS is RFLAGS.TF", GUEST, G_LONG, { SET, INTR_STATE, 2 }, { SET, GUEST_PENDING_DBG_EXCEPTIONS, BIT(14) })
	FAILS_AS(ENTRY_FAIL_VMCS_LINK_PTR, "the VMCS link pointer", GUEST, G_LONG, { SET, VMCS_LINK_POINTER, 12 })
	FAILS_AS(ENTRY_FAIL_PDPTE, "Page-Directory-Pointer-Table Entries", GUEST, G_PAE, { SET, GUEST_PDPTR2, 3 })
};
/* clang-format on */

/* Every rule of the .def files, by its text. */
#define CHECK(text, ...) text,
#define CHECK_SEGS(first, last, when, text, ...) text,
static const char *const rules[] = {
#include "hw/vmx_checks_ctls.def"
#include "hw/vmx_checks_event.def"
#include "hw/vmx_checks_host.def"
#include "hw/vmx_checks_guest_cr.def"
#include "hw/vmx_checks_guest_seg.def"
#undef CHECK
#define CHECK(qual, text, ...) text,
#include "hw/vmx_checks_guest_misc.def"
#undef CHECK
#undef CHECK_SEGS
};

static void apply(const struct brk *b)
{
	for (unsigned i = 0; i < ARRAY_SIZE(b->w) && b->w[i].how != END; i++) {
		uint64_t old = vmcs_read(env, b->w[i].field);
		uint64_t val = b->w[i].val;

		if (b->w[i].how == OR)
			val |= old;
		if (b->w[i].how == CLR)
			val = old & ~val;
		vmcs_write(env, b->w[i].field, val);
	}
}

static void expect_failure(const struct brk *b, enum hw_vmx_result rc)
{
	const char *why = hw_entry_failure(env->cpu);

	if (!why || !strstr(why, b->rule))
		fail_msg("expected \"%s\", got \"%s\"", b->rule,
			 why ? why : "success");
	assert_int_equal(runs, 0);
	if (b->kind == CTL || b->kind == HOST) {
		assert_int_equal(rc, HW_VMX_FAIL_VALID);
		assert_int_equal(vmcs_read(env, VM_INSTRUCTION_ERROR), b->kind);
		return;
	}
	assert_int_equal(rc, HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, VM_EXIT_REASON), BIT(31) | b->kind);
	assert_int_equal(vmcs_read(env, EXIT_QUALIFICATION), b->qual);
}

/* Broken before the first launch: everything is checked. */
static void test_broken_at_launch(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		runs = 0;
		vmx_env_fill(env, breaks[i].guest);
		apply(&breaks[i]);
		expect_failure(&breaks[i], hw_vmlaunch(env->cpu));
	}
}

/* Broken between two runs: what was written must be noticed. */
static void test_broken_at_resume(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		vmx_env_fill(env, breaks[i].guest);
		assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
		assert_null(hw_entry_failure(env->cpu));
		runs = 0;
		apply(&breaks[i]);
		expect_failure(&breaks[i], hw_vmresume(env->cpu));
	}
}

/* A failed entry leaves the VMCS fit to be put right and run. */
static void test_failure_is_harmless(void **state)
{
	vmx_env_fill(env, G_LONG);
	vmcs_write(env, GUEST_RFLAGS, 0);
	vmcs_write(env, INJECT, V | INTR_TYPE_NMI_INTR | 2);
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(vmcs_read(env, VM_EXIT_REASON), BIT(31) | 33);
	/* The event is still to be injected, the VMCS not launched. */
	assert_true(vmcs_read(env, INJECT) & V);
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_FAIL_VALID);
	assert_int_equal(vmcs_read(env, VM_INSTRUCTION_ERROR),
			 VMXERR_VMRESUME_NONLAUNCHED_VMCS);
	vmcs_write(env, GUEST_RFLAGS, 2);
	runs = 0;
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(runs, 1);
	assert_int_equal(vmcs_read(env, VM_EXIT_REASON), EXIT_REASON_HLT);
	assert_false(vmcs_read(env, INJECT) & V);
}

static void test_valid_guests_run(void **state)
{
	static const enum vmx_guest kinds[] = { G_LONG, G_LONG_UG, G_PROT32,
						G_V86, G_REAL_UG, G_PAE };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		runs = 0;
		vmx_env_fill(env, kinds[i]);
		assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
		assert_null(hw_entry_failure(env->cpu));
		assert_int_equal(runs, 1);
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

/* The MSR-load list: the number of the bad entry, from 1. */
static void test_msr_load_failure(void **state)
{
	static const struct vmx_msr_entry bad[] = {
		{ .index = MSR_FS_BASE }, { .index = MSR_GS_BASE },
		{ .index = MSR_IA32_X2APIC_TPR },
		{ .index = MSR_LSTAR, .value = BIT_ULL(47) },
		{ .index = MSR_STAR, .reserved = 1 },
		{ .index = 0x12345678 },
	};
	struct vmx_msr_entry *list = (void *)(uintptr_t)vmx_env_page(env, P_LIST);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vmx_env_fill(env, G_LONG);
		list[0] = (struct vmx_msr_entry){ .index = MSR_STAR, .value = 5 };
		list[1] = bad[i];
		vmcs_write(env, VM_ENTRY_MSR_LOAD_ADDR, (uintptr_t)list);
		vmcs_write(env, VM_ENTRY_MSR_LOAD_COUNT, 2);
		runs = 0;
		assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
		assert_int_equal(runs, 0);
		assert_int_equal(vmcs_read(env, VM_EXIT_REASON), BIT(31) | 34);
		assert_int_equal(vmcs_read(env, EXIT_QUALIFICATION), 2);
		assert_int_equal(env->cpu->msr.star, 5);
	}
}

/* A page without our revision identifier, and the VMCS itself. */
static void test_link_pointer(void **state)
{
	const uint64_t bad[] = { vmx_env_page(env, P_LIST), env->vmcs };

	runs = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		vmx_env_fill(env, G_LONG);
		vmcs_write(env, VMCS_LINK_POINTER, bad[i]);
		assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
		assert_int_equal(vmcs_read(env, EXIT_QUALIFICATION),
				 ENTRY_FAIL_VMCS_LINK_PTR);
	}
	assert_int_equal(runs, 0);
	vmcs_write(env, VMCS_LINK_POINTER, vmx_env_page(env, P_VMCS2));
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(runs, 1);
}

/* PAE without EPT loads PDPTEs from memory. */
static void test_pdptes_from_memory(void **state)
{
	/* CR3 of PAE paging has 32 bits. */
	uint64_t *pdpt = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	assert_ptr_not_equal(pdpt, MAP_FAILED);
	vmx_env_fill(env, G_PAE);
	vmcs_write(env, SECONDARY_VM_EXEC_CONTROL, SECONDARY_EXEC_ENABLE_VPID);
	vmcs_write(env, GUEST_CR3, (uintptr_t)pdpt);
	pdpt[1] = 0x5001;
	runs = 0;
	assert_int_equal(hw_vmlaunch(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(runs, 1);
	assert_int_equal(env->cpu->pdptr[1], 0x5001);
	pdpt[1] = 0x5007;
	assert_int_equal(hw_vmresume(env->cpu), HW_VMX_SUCCEED);
	assert_int_equal(runs, 1);
	assert_int_equal(vmcs_read(env, VM_EXIT_REASON), BIT(31) | 33);
	assert_int_equal(vmcs_read(env, EXIT_QUALIFICATION), ENTRY_FAIL_PDPTE);
	munmap(pdpt, PAGE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid_guests_run),
		cmocka_unit_test(test_broken_at_launch),
		cmocka_unit_test(test_broken_at_resume),
		cmocka_unit_test(test_failure_is_harmless),
		cmocka_unit_test(test_every_rule_is_broken),
		cmocka_unit_test(test_msr_load_failure),
		cmocka_unit_test(test_link_pointer),
		cmocka_unit_test(test_pdptes_from_memory),
	};

	return cmocka_run_group_tests(tests, vmx_env_setup, vmx_env_teardown);
}
