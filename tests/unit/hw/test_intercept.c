/* SPDX-License-Identifier: MIT */
/*
 * What leaves and what does not: control-register masks, MSR and I/O bitmaps,
 * PAUSE; and the registers behind them: MSRs, EFER, CR rules, the CPUID model.
 */
#include <errno.h>

#include "guest.h"
#include "x86/msr.h"

/* --- plain intercepts ------------------------------------------------------------ */

GUEST_CODE(cpuid, 64, "xor %eax, %eax; cpuid; hlt");

static void plain_intercept_exits_before_any_effect(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, cpuid);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_CPUID);
	g->c->gpr[X86_RBX] = 0x77;
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_CPUID);
	assert_true(x->by_insn);
	assert_int_equal(x->next_rip, G_CODE + 4);
	assert_int_equal(g->c->rip, G_CODE + 2);
	assert_int_equal(g->c->gpr[X86_RBX], 0x77);
	assert_int_equal(hw_last_insn(g->cpu)->len, 2);
}

static void without_the_intercept_it_executes(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, cpuid);
	guest_hlt(g);
	assert_memory_equal(&g->c->gpr[X86_RBX], g->amd ? "Auth" : "Genu", 4);
}

GUEST_CODE(privileged, 64, "hlt");

/* Privilege comes before the intercept. */
static void user_hlt_is_a_fault_not_an_exit(void **state)
{
	struct guest *g = *state;

	guest_user(g);
	GUEST_LOAD(g, privileged);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
}

GUEST_CODE(invlpg, 64, "mov $0x30000, %ebx; invlpg 8(%rbx,%rbx,2); hlt");

static void invlpg_reports_its_address(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, invlpg);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_INVLPG);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_INVLPG);
	assert_int_equal(g->cpu->exit.arg, 3 * G_DATA + 8);
}

GUEST_CODE(pause, 64, "pause; pause; pause; hlt");

static void pause_filter_counts(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, pause);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_PAUSE);
	g->cpu->ctl.pause_count = 2;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_PAUSE);
	assert_int_equal(g->c->rip, G_CODE + 4);
}

/* --- control registers ------------------------------------------------------------- */

GUEST_CODE(write_cr0, 64, "mov %rax, %cr0; mov %cr0, %rbx; hlt");
GUEST_CODE(write_cr4, 64, "mov %rax, %cr4; mov %cr4, %rbx; hlt");
GUEST_CODE(write_cr3, 64, "mov %rax, %cr3; mov %cr3, %rbx; hlt");

static void masked_bits_read_as_the_shadow(void **state)
{
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	guest_long(g);
	GUEST_LOAD(g, write_cr4);
	ctl->cr4_mask = X86_CR4_VMXE | X86_CR4_SMEP;
	ctl->cr4_shadow = 0;
	g->c->cr4 |= X86_CR4_VMXE;
	g->c->gpr[X86_RAX] = X86_CR4_PAE | X86_CR4_PGE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RBX], X86_CR4_PAE | X86_CR4_PGE);
	assert_int_equal(g->c->cr4, X86_CR4_PAE | X86_CR4_PGE | X86_CR4_VMXE);
}

static void changing_a_masked_bit_exits(void **state)
{
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	guest_long(g);
	GUEST_LOAD(g, write_cr4);
	ctl->cr4_mask = X86_CR4_SMEP;
	g->c->gpr[X86_RAX] = g->c->cr4 | X86_CR4_SMEP;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_CR_WRITE);
	assert_int_equal(g->cpu->exit.arg, 4);
	assert_int_equal(g->cpu->exit.gpr, X86_RAX);
	assert_int_equal(g->cpu->exit.val, g->c->gpr[X86_RAX]);
	assert_false(g->c->cr4 & X86_CR4_SMEP);
}

static void cr3_targets_do_not_exit(void **state)
{
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	guest_long(g);
	GUEST_LOAD(g, write_cr3);
	ctl->cr_write = BIT(3);
	ctl->cr3_target[1] = G_PML4;
	ctl->cr3_target_count = 2;
	g->c->gpr[X86_RAX] = G_PML4;
	guest_hlt(g);

	g->c->rip = G_CODE;
	ctl->cr3_target_count = 1;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_CR_WRITE);
	assert_int_equal(g->cpu->exit.arg, 3);
}

static void selective_cr0_write(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, write_cr0);
	g->cpu->ctl.cr0_selective = true;
	g->c->gpr[X86_RAX] = g->c->cr0 | X86_CR0_TS;
	guest_hlt(g);
	assert_true(g->c->cr0 & X86_CR0_TS);

	g->c->rip = G_CODE;
	g->c->gpr[X86_RAX] = g->c->cr0 ^ X86_CR0_WP;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_CR0_SEL_WRITE);
}

static void expect_gp(struct guest *g, uint64_t rax)
{
	g->c->rip = G_CODE;
	g->c->gpr[X86_RAX] = rax;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
}

static void bad_control_register_values_fault(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, write_cr0);
	expect_gp(g, g->c->cr0 | BIT_ULL(40));
	expect_gp(g, g->c->cr0 & ~X86_CR0_PE);
	expect_gp(g, g->c->cr0 | X86_CR0_NW);
	GUEST_LOAD(g, write_cr4);
	expect_gp(g, g->c->cr4 & ~X86_CR4_PAE);
	expect_gp(g, g->c->cr4 | X86_CR4_CET);
	expect_gp(g, g->c->cr4 | BIT_ULL(40));
	GUEST_LOAD(g, write_cr3);
	expect_gp(g, G_PML4 | BIT_ULL(50));
	/* PCIDE only from PCID 0. */
	GUEST_LOAD(g, write_cr4);
	g->c->cr3 |= 8;
	expect_gp(g, g->c->cr4 | X86_CR4_PCIDE);
}

/* --- MSRs --------------------------------------------------------------------------- */

GUEST_CODE(rdmsr, 64, "rdmsr; hlt");
GUEST_CODE(wrmsr, 64, "wrmsr; hlt");

static int msr_run(struct guest *g, uint32_t msr, uint64_t val)
{
	guest_long(g);
	g->c->gpr[X86_RCX] = msr;
	g->c->gpr[X86_RAX] = (uint32_t)val;
	g->c->gpr[X86_RDX] = val >> 32;
	return guest_run(g)->id;
}

static void vmx_msr_bitmap(void **state)
{
	static uint8_t map[4096];
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	memset(map, 0, sizeof(map));
	GUEST_LOAD(g, rdmsr);
	hw_ctl_set(ctl, X86_INTERCEPT_MSR_READ);
	hw_ctl_set(ctl, X86_INTERCEPT_MSR_WRITE);
	assert_int_equal(msr_run(g, MSR_STAR, 0), X86_INTERCEPT_MSR_READ);
	assert_int_equal(g->cpu->exit.arg, MSR_STAR);
	ctl->msrpm_format = HW_MSRPM_VMX;
	ctl->msrpm = map;
	g->cpu->msr.star = 0x1234;
	assert_int_equal(msr_run(g, MSR_STAR, 0), X86_INTERCEPT_HLT);
	assert_int_equal(g->c->gpr[X86_RAX], 0x1234);
	map[1024 + 0x81 / 8] = 1 << (0x81 % 8);
	assert_int_equal(msr_run(g, MSR_STAR, 0), X86_INTERCEPT_MSR_READ);
	/* Outside the ranges: always. */
	assert_int_equal(msr_run(g, 0x40000000, 0), X86_INTERCEPT_MSR_READ);
	GUEST_LOAD(g, wrmsr);
	guest_wrote_code(g);
	assert_int_equal(msr_run(g, MSR_STAR, 7), X86_INTERCEPT_HLT);
	assert_int_equal(g->cpu->msr.star, 7);
	map[2048 + 1024 + 0x81 / 8] = 1 << (0x81 % 8);
	assert_int_equal(msr_run(g, MSR_STAR, 8), X86_INTERCEPT_MSR_WRITE);
	assert_int_equal(g->cpu->exit.val, 8);
	assert_int_equal(g->cpu->msr.star, 7);
}

static void svm_msr_bitmap(void **state)
{
	static uint8_t map[8192];
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	memset(map, 0, sizeof(map));
	GUEST_LOAD(g, rdmsr);
	hw_ctl_set(ctl, X86_INTERCEPT_MSR_READ);
	hw_ctl_set(ctl, X86_INTERCEPT_MSR_WRITE);
	ctl->msrpm_format = HW_MSRPM_SVM;
	ctl->msrpm = map;
	assert_int_equal(msr_run(g, MSR_LSTAR, 0), X86_INTERCEPT_HLT);
	map[0x800 + 0x82 / 4] = 1 << (0x82 % 4 * 2);
	assert_int_equal(msr_run(g, MSR_LSTAR, 0), X86_INTERCEPT_MSR_READ);
	assert_int_equal(msr_run(g, 0x40000000, 0), X86_INTERCEPT_MSR_READ);
	GUEST_LOAD(g, wrmsr);
	guest_wrote_code(g);
	assert_int_equal(msr_run(g, MSR_LSTAR, 0), X86_INTERCEPT_HLT);
	map[0x1000 + 0x117 / 4] = 2 << (0x117 % 4 * 2);
	assert_int_equal(msr_run(g, MSR_VM_HSAVE_PA, 0),
			 X86_INTERCEPT_MSR_WRITE);
}

/* The bases of FS and GS, often enough to be translated. What is in the upper halves of
 * RAX and RDX does not count. */
GUEST_CODE(wrmsrs, 64, "1: wrmsr; dec %ebp; jnz 1b; hlt");

static int bases_run(struct guest *g, uint64_t *base, uint32_t msr, uint64_t val)
{
	guest_long(g);
	*base = 0x1000;
	g->c->gpr[X86_RBP] = 100;
	g->c->gpr[X86_RCX] = 0xabcull << 32 | msr;
	g->c->gpr[X86_RAX] = 0xdeadull << 32 | (uint32_t)val;
	g->c->gpr[X86_RDX] = 0xdeadull << 32 | val >> 32;
	return guest_run(g)->id;
}

static void bases_are_written(void **state)
{
	static uint8_t map[4096];
	struct guest *g = *state;
	uint64_t *base[] = { &g->c->seg[X86_FS].base, &g->c->seg[X86_GS].base,
			     &g->cpu->msr.kernel_gs_base };
	const uint64_t val = 0xffff812345678abc;
	uint64_t before;
	unsigned k;

	memset(map, 0, sizeof(map));
	GUEST_LOAD(g, wrmsrs);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_MSR_WRITE);
	g->cpu->ctl.msrpm_format = HW_MSRPM_VMX;
	g->cpu->ctl.msrpm = map;
	for (k = 0; k < ARRAY_SIZE(base); k++) {
		before = g->cpu->stats.interpreted;
		assert_int_equal(bases_run(g, base[k], MSR_FS_BASE + k, val),
				 X86_INTERCEPT_HLT);
		assert_int_equal(*base[k], val);
		assert_int_equal(g->c->gpr[X86_RBP], 0);
		if (g->cpu->jit_ops)
			assert_true(g->cpu->stats.interpreted - before < 10);
		/* Not canonical: #GP, and nothing has changed. */
		assert_int_equal(bases_run(g, base[k], MSR_FS_BASE + k, 0x812345678abc),
				 X86_INTERCEPT_HLT);
		assert_int_equal(guest_vector(g), X86_GP);
		assert_int_equal(*base[k], 0x1000);
		/* The hypervisor wants to know. */
		map[2048 + 1024 + (0x100 + k) / 8] = 1 << (0x100 + k) % 8;
		assert_int_equal(bases_run(g, base[k], MSR_FS_BASE + k, 5),
				 X86_INTERCEPT_MSR_WRITE);
		assert_int_equal(g->cpu->exit.val, 5);
		assert_int_equal(*base[k], 0x1000);
	}
	/* The neighbour is another's, and a user may write none. */
	assert_int_equal(bases_run(g, base[2], MSR_TSC_AUX, 77), X86_INTERCEPT_HLT);
	assert_int_equal(g->cpu->msr.tsc_aux, 77);
	memset(map, 0, sizeof(map));
	guest_user(g);
	g->c->gpr[X86_RCX] = MSR_KERNEL_GS_BASE;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(*base[2], 0x1000);
}

static void bad_msr_writes_fault(void **state)
{
	static const struct {
		uint32_t msr;
		uint64_t val;
	} bad[] = {
		{ MSR_LSTAR, 0x8000000000000000 },
		{ MSR_KERNEL_GS_BASE, 0x0000800000000000 },
		{ MSR_IA32_CR_PAT, 0x0203 },
		{ MSR_EFER, X86_EFER_LMSLE },
		{ MSR_EFER, 0 },		/* LME with paging on */
		{ MSR_IA32_XSS, 1 },
		{ 0x12345, 0 },
	};
	struct guest *g = *state;
	unsigned i;

	GUEST_LOAD(g, wrmsr);
	guest_wrote_code(g);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(msr_run(g, bad[i].msr, bad[i].val),
				 X86_INTERCEPT_HLT);
		assert_int_equal(guest_vector(g), X86_GP);
		if (bad[i].msr != MSR_EFER)
			assert_int_equal(hw_wrmsr(g->cpu, bad[i].msr,
						  bad[i].val), -EINVAL);
	}
}

/* Intel: reserved bits, not canonical; AMD has the lower half alone. */
static void upper_halves_fault_or_are_dropped(void **state)
{
	static const uint32_t msr[] = { MSR_TSC_AUX, MSR_IA32_SYSENTER_ESP,
		MSR_IA32_SYSENTER_EIP };
	struct guest *g = *state;
	uint64_t val;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(msr); i++) {
		if (!g->cpu->cfg.amd) {
			assert_int_equal(hw_wrmsr(g->cpu, msr[i], 1ull << 47 | 5), -EINVAL);
			continue;
		}
		assert_int_equal(hw_wrmsr(g->cpu, msr[i], 1ull << 47 | 5), 0);
		assert_int_equal(hw_rdmsr(g->cpu, msr[i], &val), 0);
		assert_int_equal(val, 5);
	}
}

static void root_efer_has_svme_for_amd(void **state)
{
	struct guest *g = *state;
	uint64_t efer;

	assert_int_equal(hw_rdmsr(g->cpu, MSR_EFER, &efer), 0);
	assert_int_equal(hw_wrmsr(g->cpu, MSR_EFER, efer | X86_EFER_SVME),
			 g->amd ? 0 : -EINVAL);
	/* The C program cannot leave long mode. */
	assert_int_equal(hw_wrmsr(g->cpu, MSR_EFER, 0), -EINVAL);
}

GUEST_CODE(rdtsc, 64, "rdtsc; shl $32, %rdx; or %rdx, %rax; hlt");

static void tsc_is_offset_and_scaled(void **state)
{
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;
	uint64_t before;

	guest_long(g);
	GUEST_LOAD(g, rdtsc);
	ctl->tsc_offset = 1ull << 60;
	before = hw_host_tsc();
	guest_hlt(g);
	assert_in_range(g->c->gpr[X86_RAX], before + (1ull << 60),
			hw_host_tsc() + (1ull << 60));
	ctl->tsc_offset = 0;
	ctl->tsc_multiplier = 1ull << 47;
	ctl->tsc_frac = 48;
	g->c->rip = G_CODE;
	before = hw_host_tsc();
	guest_hlt(g);
	assert_in_range(g->c->gpr[X86_RAX], before / 2, hw_host_tsc() / 2);
}

/* --- I/O ------------------------------------------------------------------------------- */

GUEST_CODE(io, 64, "in (%dx), %ax; hlt");
GUEST_CODE(rep_outsb, 64, "rep outsb; hlt");

static int io_run(struct guest *g, uint16_t port)
{
	guest_long(g);
	g->c->gpr[X86_RDX] = port;
	return guest_run(g)->id;
}

static void io_bitmaps(void **state)
{
	static uint8_t map[2 * 4096 + 8];
	struct guest *g = *state;
	struct hw_ctl *ctl = &g->cpu->ctl;

	memset(map, 0, sizeof(map));
	GUEST_LOAD(g, io);
	/* No intercept: nobody on the bus. */
	g->c->gpr[X86_RAX] = 0;
	assert_int_equal(io_run(g, 0x60), X86_INTERCEPT_HLT);
	assert_int_equal(g->c->gpr[X86_RAX] & 0xffff, 0xffff);

	hw_ctl_set(ctl, X86_INTERCEPT_IO);
	ctl->io_bitmap[0] = map;
	if (!g->amd)
		ctl->io_bitmap[1] = map + 4096;
	assert_int_equal(io_run(g, 0x60), X86_INTERCEPT_HLT);
	/* The second byte's port counts. */
	map[0x61 / 8] = 1 << (0x61 % 8);
	assert_int_equal(io_run(g, 0x60), X86_INTERCEPT_IO);
	assert_int_equal(g->cpu->exit.arg, 0x60);
	assert_int_equal(g->cpu->exit.io_size, 2);
	assert_true(g->cpu->exit.io_in);
	assert_false(g->cpu->exit.io_string);
	assert_int_equal(io_run(g, 0x62), X86_INTERCEPT_HLT);
	map[0x9000 / 8] = 1;
	assert_int_equal(io_run(g, 0x9000), X86_INTERCEPT_IO);
	/* Around the end: VMX always, SVM by the bits behind the map. */
	assert_int_equal(io_run(g, 0xffff), g->amd ? X86_INTERCEPT_HLT :
						     X86_INTERCEPT_IO);
	map[8192] = 1;
	assert_int_equal(io_run(g, 0xffff), X86_INTERCEPT_IO);
	ctl->io_all = true;
	assert_int_equal(io_run(g, 0x4444), X86_INTERCEPT_IO);
}

static void string_io_tells_its_memory(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x = &g->cpu->exit;

	GUEST_LOAD(g, rep_outsb);
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_IO);
	g->c->gpr[X86_RCX] = 5;
	g->c->gpr[X86_RSI] = G_DATA + 4;
	assert_int_equal(io_run(g, 0x3f8), X86_INTERCEPT_IO);
	assert_true(x->io_string && x->io_rep && !x->io_in);
	assert_int_equal(x->io_size, 1);
	assert_int_equal(x->la, G_DATA + 4);
	assert_int_equal(g->c->gpr[X86_RCX], 5);
}

/* --- CPUID ------------------------------------------------------------------------------- */

static void cpuid_model_is_consistent(void **state)
{
	uint32_t max[4], out[4];
	unsigned amd;

	for (amd = 0; amd < 2; amd++) {
		assert_true(hw_cpuid_model(amd, 0, 0, max));
		assert_memory_equal(&max[1], amd ? "Auth" : "Genu", 4);
		assert_false(hw_cpuid_model(amd, max[0] + 1, 0, out));
		assert_true(hw_cpuid_model(amd, 1, 0, out));
		/* What every 64-bit kernel needs: FPU PSE TSC MSR PAE CX8 PGE
		 * CMOV PAT MMX FXSR SSE SSE2. */
		assert_int_equal(~out[3] & 0x0781a179, 0);
		/* Not OSXSAVE, VMX, the hypervisor bit. */
		assert_int_equal(out[2] & 0x88000020, 0);
		assert_true(hw_cpuid_model(amd, 0x80000001, 0, out));
		/* LM NX SYSCALL; on AMD leaf 1's FPU ... FXSR again, on Intel not. */
		assert_int_equal(~out[3] & 0x20100800, 0);
		assert_int_equal(out[3] & 0x0181a179, amd ? 0x0181a179 : 0);
		/* LAHF, LZCNT, PREFETCHW: here on every host. */
		assert_int_equal(~out[2] & 0x121, 0);
		/* Caches are leaf 4's on Intel; AMD has neither. */
		assert_true(hw_cpuid_model(amd, 4, 0, out));
		assert_int_equal(!out[0], amd);
		assert_true(hw_cpuid_model(amd, 2, 0, out));
		assert_int_equal(out[0], amd ? 0 : 0xff01);
		assert_false(hw_cpuid_model(amd, 0x40000000, 0, out));
		assert_false(hw_cpuid_model(amd, 0x8000ffff, 0, out));
	}
}

static void features_of_unimplemented_ops_are_absent(void **state)
{
	const uint64_t *have = hw_features_model();
	unsigned i, f;

	for (i = 0; i < x86_nr_rows; i++) {
		f = x86_rows[i]->feature;
		if (f && (have[f / 64] >> (f % 64) & 1))
			assert_true(x86_op_implemented(x86_rows[i]->op));
	}
}

#define INTEL(test) cmocka_unit_test_setup_teardown(test, guest_setup_intel, guest_teardown)
#define AMD(test) { #test " (amd)", test, guest_setup_amd, guest_teardown, NULL }
#define BOTH(test) INTEL(test), AMD(test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(plain_intercept_exits_before_any_effect),
		BOTH(without_the_intercept_it_executes),
		BOTH(user_hlt_is_a_fault_not_an_exit),
		BOTH(invlpg_reports_its_address),
		BOTH(pause_filter_counts),
		INTEL(masked_bits_read_as_the_shadow),
		INTEL(changing_a_masked_bit_exits),
		INTEL(cr3_targets_do_not_exit),
		AMD(selective_cr0_write),
		BOTH(bad_control_register_values_fault),
		INTEL(vmx_msr_bitmap),
		INTEL(bases_are_written),
		AMD(svm_msr_bitmap),
		BOTH(bad_msr_writes_fault),
		BOTH(upper_halves_fault_or_are_dropped),
		BOTH(root_efer_has_svme_for_amd),
		BOTH(tsc_is_offset_and_scaled),
		BOTH(io_bitmaps),
		BOTH(string_io_tells_its_memory),
		cmocka_unit_test(cpuid_model_is_consistent),
		cmocka_unit_test(features_of_unimplemented_ops_are_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
