/* SPDX-License-Identifier: MIT */
/* Walks of the guest's own tables through memslots. */
#include "mmu_test.h"

#define PT_P 1ull
#define PT_W 2ull
#define PT_U 4ull
#define PT_A 0x20ull
#define PT_D 0x40ull
#define RWU (PT_P | PT_W | PT_U)
#define VA 0x7f0000403123ull

static struct kvm_mmu_regs regs;

static uint64_t *entry(struct vm *vm, gpa_t gpa)
{
	return (uint64_t *)(vm->ram + gpa);
}

/* Four levels at 0x1000-0x4000, the page at 0x5000. */
static void start(struct vm *vm)
{
	vm_init(vm, &configs[0]);
	assert_int_equal(slot(vm, 1, LOG, 0, 16 * P, vm->ram), 0);
	*entry(vm, 0x1000 + (VA >> 39 & 511) * 8) = 0x2000 | RWU;
	*entry(vm, 0x2000 + (VA >> 30 & 511) * 8) = 0x3000 | RWU;
	*entry(vm, 0x3000 + (VA >> 21 & 511) * 8) = 0x4000 | RWU;
	*entry(vm, 0x4000 + (VA >> 12 & 511) * 8) = 0x5000 | RWU;
	regs = (struct kvm_mmu_regs){
		.cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_WP,
		.cr3 = 0x1000,
		.cr4 = X86_CR4_PAE,
		.efer = X86_EFER_LMA | X86_EFER_LME | X86_EFER_NX,
		.maxphyaddr = 46,
	};
}

static uint64_t leaf(struct vm *vm)
{
	return *entry(vm, 0x4000 + (VA >> 12 & 511) * 8);
}

static void set_leaf(struct vm *vm, uint64_t v)
{
	*entry(vm, 0x4000 + (VA >> 12 & 511) * 8) = v;
}

static void test_translate(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	assert_int_equal(kvm_mmu_gva_to_gpa_system(&vm.mmu, &regs, VA, &e), 0x5123);
	assert_int_equal(leaf(&vm), 0x5000 | RWU);	/* a probe */
	assert_int_equal(id_to_memslot(&vm.mem, 1)->dirty_bitmap[0], 0);
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e), 0x5123);
	assert_int_equal(leaf(&vm), 0x5000 | RWU | PT_A);
	assert_int_equal(kvm_mmu_gva_to_gpa_write(&vm.mmu, &regs, VA, &e), 0x5123);
	assert_int_equal(leaf(&vm), 0x5000 | RWU | PT_A | PT_D);
	/* the tables were written to: gfns 1 to 4 */
	assert_int_equal(id_to_memslot(&vm.mem, 1)->dirty_bitmap[0], 0x1e);
	assert_int_equal(kvm_mmu_gva_to_gpa_fetch(&vm.mmu, &regs, VA, &e), 0x5123);
	vm_fini(&vm);
}

static void test_faults(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA + P, &e),
			 INVALID_GPA);
	assert_int_equal(e.vector, X86_PF);
	assert_int_equal(e.error_code, 0);
	assert_int_equal(e.address, VA + P);
	assert_false(e.nested);
	set_leaf(&vm, 0x5000 | PT_P | PT_U);
	assert_int_equal(kvm_mmu_gva_to_gpa_write(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_int_equal(e.error_code, X86_PFERR_P | X86_PFERR_W);
	regs.cpl = 3;
	set_leaf(&vm, 0x5000 | PT_P | PT_W);
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_int_equal(e.error_code, X86_PFERR_P | X86_PFERR_U);
	/* system accesses ask for no rights */
	assert_int_equal(kvm_mmu_gva_to_gpa_system(&vm.mmu, &regs, VA, &e), 0x5123);
	set_leaf(&vm, BIT_ULL(46) | RWU);
	assert_int_equal(kvm_mmu_gva_to_gpa_fetch(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_int_equal(e.error_code, X86_PFERR_P | X86_PFERR_RSVD |
			 X86_PFERR_U | X86_PFERR_I);
	vm_fini(&vm);
}

static void test_smap(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	regs.cr4 |= X86_CR4_SMAP;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	regs.rflags = X86_EFLAGS_AC;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e), 0x5123);
	assert_int_equal(kvm_mmu_gva_to_gpa(&vm.mmu, &regs, VA, PAGING_READ |
					    KVM_GVA_IMPLICIT, &e), INVALID_GPA);
	/* AC at CPL 3 says nothing about the processor's own accesses */
	regs.cpl = 3;
	assert_int_equal(kvm_mmu_gva_to_gpa(&vm.mmu, &regs, VA, PAGING_READ, &e),
			 INVALID_GPA);
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e), 0x5123);
	vm_fini(&vm);
}

/* Tables outside memory, or in memory that is gone. */
static void test_no_table(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	regs.cr3 = 0x1000000;
	assert_int_equal(kvm_mmu_gva_to_gpa_write(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_int_equal(e.vector, X86_PF);
	assert_int_equal(e.error_code, X86_PFERR_W);
	assert_int_equal(e.address, VA);
	regs.cr3 = 0x1000;
	munmap(vm.ram + 0x3000, P);
	assert_int_equal(kvm_mmu_gva_to_gpa_fetch(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_int_equal(e.error_code, X86_PFERR_I);
	vm_fini(&vm);
}

static void test_tables_in_rom(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	assert_int_equal(slot(&vm, 1, 0, 0, 0, 0), 0);
	assert_int_equal(slot(&vm, 1, RO, 0, 16 * P, vm.ram), 0);
	assert_int_equal(kvm_mmu_gva_to_gpa_write(&vm.mmu, &regs, VA, &e), 0x5123);
	assert_int_equal(leaf(&vm), 0x5000 | RWU);
	vm_fini(&vm);
}

static void test_other_formats(void **state)
{
	uint64_t pdptrs[4] = { 0 };
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	/* no paging */
	regs.cr0 = X86_CR0_PE;
	assert_int_equal(kvm_mmu_gva_to_gpa_write(&vm.mmu, &regs, 0xfee00010, &e),
			 0xfee00010);
	/* 32-bit, then PAE with PDPTEs in registers */
	regs.cr0 |= X86_CR0_PG;
	regs.efer = regs.cr4 = 0;
	regs.cr3 = 0x8000;
	((uint32_t *)(vm.ram + 0x8000))[1] = 0x9000 | RWU;
	((uint32_t *)(vm.ram + 0x9000))[3] = 0x5000 | RWU;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, 0x403123, &e),
			 0x5123);
	regs.cr4 = X86_CR4_PAE;
	regs.pdptrs = pdptrs;
	pdptrs[1] = 0xa000 | PT_P;
	*entry(&vm, 0xa000 + 8 * 2) = 0x200000 | RWU | 0x80;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, 0x40403123, &e),
			 0x203123);
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, 0x403123, &e),
			 INVALID_GPA);
	vm_fini(&vm);
}

static void test_gbpages(void **state)
{
	struct x86_exception e;
	struct vm vm;

	start(&vm);
	*entry(&vm, 0x2000 + (VA >> 30 & 511) * 8) = SZ_1G | RWU | 0x80;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e),
			 INVALID_GPA);
	assert_true(e.error_code & X86_PFERR_RSVD);
	regs.gbpages = true;
	assert_int_equal(kvm_mmu_gva_to_gpa_read(&vm.mmu, &regs, VA, &e),
			 SZ_1G | (VA & (SZ_1G - 1)));
	vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translate),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_smap),
		cmocka_unit_test(test_no_table),
		cmocka_unit_test(test_tables_in_rom),
		cmocka_unit_test(test_other_formats),
		cmocka_unit_test(test_gbpages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
