// SPDX-License-Identifier: MIT
/*
 * Any VMCB, through VMRUN as hw.h offers it. A guest of the unit tests
 * (tests/unit/hw/virt.h) gets code from the input, control and save areas with any
 * content, entries of its nested table with any rights, and is entered a few times.
 * What must hold: VMRUN returns, the exit code is one that exists, VMEXIT_INVALID
 * comes with a reason in words, and the rest does not.
 *
 * Whoever writes a VMCB vouches for physical addresses (see vmcs.c): they are pages
 * of the harness or none at all. Nested paging stays on, and what lets the harness
 * end a guest: interrupts are intercepted, masked by the host's flags, and not held
 * back by a CLGI of the guest's.
 */
#include <sys/mman.h>

#include "input.h"
#include "kicker.h"
#include "unit/hw/virt.h"

#define MAX_ENTRIES	4
#define MAX_CHANGES	8

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	return 0;
}

/* The I/O map has three pages, the MSR map two: those of the harness from P_IO_A. */
static uint64_t some_map(struct fuzz_input *in, struct virt *v)
{
	switch (fuzz_below(in, 4)) {
	case 0:
		return 0;
	case 1:
		return ~0ull - fuzz_u16(in);
	default:
		return (uintptr_t)page(v, P_IO_A + fuzz_below(in, 4)) |
		       fuzz_below(in, 64);
	}
}

static void change_control(struct fuzz_input *in, struct virt *v)
{
	struct vmcb_control *c = &v->vmcb->control;
	uint64_t *q = (uint64_t *)c + fuzz_u16(in) % (0x110 / 8);

	*q = fuzz_change(in, *q);
	c->iopm_base_pa = some_map(in, v);
	c->msrpm_base_pa = some_map(in, v);
	c->nested_ctl |= SVM_NESTED_CTL_NP_ENABLE;
	c->nested_cr3 = fuzz_below(in, 8) ? (uintptr_t)v->g->tdp : BIT_ULL(62);
	vmcb_set_intercept(c, SVM_EXIT_INTR);
	vmcb_set_intercept(c, SVM_EXIT_CLGI);
	c->int_ctl |= V_INTR_MASKING_MASK;
}

static void change_save(struct fuzz_input *in, struct virt *v)
{
	uint64_t *q = (uint64_t *)&v->vmcb->save + fuzz_u16(in) % (0x2e8 / 8);

	*q = fuzz_change(in, *q);
}

static void change_npt(struct fuzz_input *in, struct virt *v)
{
	uint64_t *e = &v->g->tdp[fuzz_below(in, 8) ? 3 * 512 + fuzz_below(in, 64) :
				 512 * fuzz_below(in, 3)];

	/* A large page would reach beyond memory: bit 7 stays. */
	*e ^= (fuzz_u16(in) & 0xf7f) | (uint64_t)fuzz_below(in, 256) << 52;
}

static void kick(void *cpu)
{
	hw_kick(cpu);
}

static void enter(struct fuzz_input *in, struct virt *v)
{
	struct hw_cpu *cpu = v->g->cpu;
	uint64_t code;

	if (fuzz_below(in, 4) == 0)
		hw_vmload(cpu, (uintptr_t)v->vmcb);
	kicker_start(kick, cpu);
	FUZZ_CHECK(!hw_vmrun(cpu, (uintptr_t)v->vmcb));
	kicker_stop();
	code = v->vmcb->control.exit_code;
	if (!svm_exit_name(code))
		FUZZ_FAIL("exit code %#lx", code);
	FUZZ_CHECK((code == ~0ull) == !!hw_entry_failure(cpu));
	if (fuzz_below(in, 4) == 0)
		hw_vmsave(cpu, (uintptr_t)v->vmcb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const starts[])(struct guest *) = {
		guest_real, guest_prot, guest_long, guest_user };
	struct fuzz_input in;
	struct virt *v;

	fuzz_begin(&in, data, size);
	v = virt_new(true, starts[fuzz_below(&in, ARRAY_SIZE(starts))]);
	v->vmcb->control.int_ctl |= V_INTR_MASKING_MASK;
	vmcb_set_intercept(&v->vmcb->control, SVM_EXIT_CLGI);
	fuzz_bytes(&in, v->g->mem + G_CODE, 32);
	for (unsigned n = fuzz_below(&in, 16); n; n--)
		page(v, P_IO_A + fuzz_below(&in, P_PDPT - P_IO_A))
			[fuzz_u16(&in) % PAGE_SIZE] = fuzz_u8(&in);
	for (unsigned n = fuzz_below(&in, 4); n; n--)
		change_npt(&in, v);
	for (unsigned i = 0; i < MAX_ENTRIES; i++) {
		for (unsigned n = fuzz_below(&in, MAX_CHANGES); n; n--) {
			if (fuzz_below(&in, 2))
				change_control(&in, v);
			else
				change_save(&in, v);
		}
		enter(&in, v);
	}
	virt_free(v);
	return 0;
}
