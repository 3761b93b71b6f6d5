/* SPDX-License-Identifier: MIT */
/*
 * Entries from arbitrary guest state, with a fixed seed: an entry fails by the
 * checks or the guest runs and leaves, never anything else; and what an exit
 * saves passes the checks of the next entry. See virt.h.
 */
#include "virt.h"

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
		cmocka_unit_test(test_any_vmcs),
		cmocka_unit_test(test_any_vmcb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
