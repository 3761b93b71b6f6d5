// SPDX-License-Identifier: MIT
/*
 * Any VMCS, through the instructions that hw.h offers. A guest of the unit tests
 * (tests/unit/hw/virt.h) gets code from the input, fields with any content, entries
 * of its EPT with any rights, and is entered a few times. What must hold:
 *
 *   - an entry succeeds, or fails with a reason in words, and says which it was;
 *   - the exit reason is one that exists;
 *   - what an exit has saved passes the checks of the next entry.
 *
 * Whoever writes a VMCS vouches for physical addresses, as a nested hypervisor's
 * host checks them: here they are pages of the harness or none at all. EPT is always
 * on, external interrupts always exit: a guest without them reaches all memory, or
 * would never leave.
 */
#include <sys/mman.h>

#include "input.h"
#include "kicker.h"
#include "unit/hw/virt.h"

#define MAX_ENTRIES	4
#define MAX_FIELDS	8

static const uint32_t fields[] = {
#define VMCS_FIELD(enc, name, width, type, feature) enc,
#include "x86/vmcs.def"
#undef VMCS_FIELD
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	return 0;
}

static bool is_address(uint32_t enc)
{
	switch (enc) {
	case IO_BITMAP_A: case IO_BITMAP_B: case MSR_BITMAP:
	case VM_EXIT_MSR_STORE_ADDR: case VM_EXIT_MSR_LOAD_ADDR:
	case VM_ENTRY_MSR_LOAD_ADDR: case VIRTUAL_APIC_PAGE_ADDR:
	case APIC_ACCESS_ADDR: case EPT_POINTER: case VMCS_LINK_POINTER:
		return true;
	default:
		/* The other 64-bit controls are addresses, or do not exist here. */
		return enc >= 0x2000 && enc < 0x2400 && enc != TSC_OFFSET &&
		       enc != TSC_MULTIPLIER;
	}
}

/* A page of ours that is neither the VMCS's nor the last, with any low bits; none; or
 * one far outside. */
static uint64_t some_page(struct fuzz_input *in, struct virt *v)
{
	uint64_t p = (uintptr_t)page(v, P_IO_A + fuzz_below(in, P_PDPT - P_IO_A));

	switch (fuzz_below(in, 8)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return BIT_ULL(fuzz_below(in, 64)) | 1ull << 51;
	case 3:
		return p | fuzz_below(in, 64);
	default:
		return p;
	}
}

/* Bits without which the harness would not be safe. */
static uint64_t keep(uint32_t enc, uint64_t val)
{
	switch (enc) {
	case PIN_BASED_VM_EXEC_CONTROL:
		return val | PIN_BASED_EXT_INTR_MASK;
	case CPU_BASED_VM_EXEC_CONTROL:
		return val | CPU_BASED_ACTIVATE_SECONDARY_CONTROLS;
	case SECONDARY_VM_EXEC_CONTROL:
		return val | SECONDARY_EXEC_ENABLE_EPT;
	case VM_EXIT_MSR_STORE_COUNT:
	case VM_EXIT_MSR_LOAD_COUNT:
	case VM_ENTRY_MSR_LOAD_COUNT:
		return val & (PAGE_SIZE / 16 - 1);
	default:
		return val;
	}
}

static void change_field(struct fuzz_input *in, struct virt *v)
{
	uint32_t enc = fields[fuzz_below(in, ARRAY_SIZE(fields))];
	uint64_t val;

	if (hw_vmread(v->g->cpu, enc, &val))
		return;
	if (enc == EPT_POINTER)
		val = fuzz_below(in, 2) ? (uintptr_t)v->g->tdp | fuzz_u16(in) % 4096 :
			BIT_ULL(63) | fuzz_u64(in);
	else
		val = is_address(enc) ? some_page(in, v) : fuzz_change(in, val);
	/* Read-only fields cannot be written; everything else can. */
	if (hw_vmwrite(v->g->cpu, enc, keep(enc, val)))
		FUZZ_CHECK((enc >> 10 & 3) == VMCS_READONLY);
}

/* Any rights and any reserved bits; the addresses stay ours. */
static void change_ept(struct fuzz_input *in, struct virt *v)
{
	uint64_t *e = &v->g->tdp[fuzz_below(in, 8) ? 3 * 512 + fuzz_below(in, 64) :
				 512 * fuzz_below(in, 3)];

	/* A large page would reach beyond memory: bit 7 stays. */
	*e ^= (fuzz_u16(in) & 0xf7f) | (uint64_t)fuzz_below(in, 256) << 52;
}

static void fill_lists(struct fuzz_input *in, struct virt *v)
{
	for (unsigned n = fuzz_below(in, 16); n; n--)
		page(v, P_IO_A + fuzz_below(in, P_PDPT - P_IO_A))
			[fuzz_u16(in) % PAGE_SIZE] = fuzz_u8(in);
}

static void kick(void *cpu)
{
	hw_kick(cpu);
}

/* Whether the guest ran. */
static bool enter(struct virt *v, bool launch)
{
	struct hw_cpu *cpu = v->g->cpu;
	enum hw_vmx_result rc;
	uint64_t reason, error;

	kicker_start(kick, cpu);
	rc = launch ? hw_vmlaunch(cpu) : hw_vmresume(cpu);
	kicker_stop();
	if (rc != HW_VMX_SUCCEED) {
		FUZZ_CHECK(rc == HW_VMX_FAIL_VALID && hw_entry_failure(cpu));
		FUZZ_CHECK(!hw_vmread(cpu, VM_INSTRUCTION_ERROR, &error) &&
			   error && error <= 28);
		return false;
	}
	FUZZ_CHECK(!hw_vmread(cpu, VM_EXIT_REASON, &reason));
	if (!vmx_exit_name(reason & 0xffff))
		FUZZ_FAIL("exit reason %#lx", reason);
	if (reason & BIT(31))
		FUZZ_CHECK(hw_entry_failure(cpu));
	return !(reason & BIT(31));
}

/* VMCLEAR, and VMLAUNCH, which checks everything anew. */
static void enter_again(struct virt *v)
{
	struct hw_cpu *cpu = v->g->cpu;

	FUZZ_CHECK(!hw_vmclear(cpu, v->e.vmcs) && !hw_vmptrld(cpu, v->e.vmcs));
	if (!enter(v, true))
		FUZZ_FAIL("saved state: %s", hw_entry_failure(cpu));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const starts[])(struct guest *) = {
		guest_real, guest_prot, guest_long, guest_user };
	struct fuzz_input in;
	struct virt *v;
	bool ran;

	fuzz_begin(&in, data, size);
	v = virt_new(false, starts[fuzz_below(&in, ARRAY_SIZE(starts))]);
	fuzz_bytes(&in, v->g->mem + G_CODE, 32);
	fill_lists(&in, v);
	for (unsigned n = fuzz_below(&in, MAX_FIELDS); n; n--)
		change_field(&in, v);
	for (unsigned n = fuzz_below(&in, 4); n; n--)
		change_ept(&in, v);
	ran = enter(v, true);
	if (ran)
		enter_again(v);
	for (unsigned i = 0; i < MAX_ENTRIES && ran; i++) {
		change_field(&in, v);
		ran = enter(v, false);
	}
	virt_free(v);
	return 0;
}
