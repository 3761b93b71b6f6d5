/* SPDX-License-Identifier: MIT */
/* See vmx_env.h. Field values are written from the manual, not from the engine. */
#include <sys/mman.h>

#include "vmx_env.h"

struct pair { uint32_t field; uint64_t val; };

struct vmx_env *vmx_env_new(void)
{
	struct hw_config cfg = { .amd = false };
	struct vmx_env *e = calloc(1, sizeof(*e));
	uint64_t basic;

	assert_non_null(e);
	e->cpu = hw_cpu_create(&cfg);
	assert_non_null(e->cpu);
	e->mem = mmap(NULL, VMX_ENV_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(e->mem, MAP_FAILED);
	e->vmxon = vmx_env_page(e, P_VMXON);
	e->vmcs = vmx_env_page(e, P_VMCS);
	assert_int_equal(hw_rdmsr(e->cpu, MSR_IA32_VMX_BASIC, &basic), 0);
	*(uint32_t *)(uintptr_t)e->vmxon = (uint32_t)basic & 0x7fffffff;
	*(uint32_t *)(uintptr_t)e->vmcs = (uint32_t)basic & 0x7fffffff;
	*(uint32_t *)(uintptr_t)vmx_env_page(e, P_VMCS2) =
		(uint32_t)basic & 0x7fffffff;
	assert_int_equal(hw_vmxon(e->cpu, e->vmxon), HW_VMX_SUCCEED);
	return e;
}

void vmx_env_free(struct vmx_env *e)
{
	hw_vmxoff(e->cpu);
	hw_cpu_destroy(e->cpu);
	munmap(e->mem, VMX_ENV_PAGES * PAGE_SIZE);
	free(e);
}

struct vmx_env *env;

int vmx_env_setup(void **state)
{
	env = vmx_env_new();
	return 0;
}

int vmx_env_teardown(void **state)
{
	vmx_env_free(env);
	return 0;
}

void vmcs_write(struct vmx_env *e, uint32_t field, uint64_t val)
{
	assert_int_equal(hw_vmwrite(e->cpu, field, val), HW_VMX_SUCCEED);
}

uint64_t vmcs_read(struct vmx_env *e, uint32_t field)
{
	uint64_t val = ~0ull;

	assert_int_equal(hw_vmread(e->cpu, field, &val), HW_VMX_SUCCEED);
	return val;
}

static void write_all(struct vmx_env *e, const struct pair *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		vmcs_write(e, p[i].field, p[i].val);
}

static const struct pair controls[] = {
	{ VIRTUAL_PROCESSOR_ID, 1 },
	{ PIN_BASED_VM_EXEC_CONTROL, ENV_PIN },
	{ CPU_BASED_VM_EXEC_CONTROL, ENV_PROC },
	{ SECONDARY_VM_EXEC_CONTROL, ENV_PROC2 },
	{ VM_EXIT_CONTROLS, ENV_EXIT },
	{ VM_ENTRY_CONTROLS, ENV_ENTRY },
	{ VMCS_LINK_POINTER, ~0ull },
};

static const struct pair host[] = {
	{ HOST_CR0, 0x80050033 }, { HOST_CR3, 0x1000 }, { HOST_CR4, 0x20a0 },
	{ HOST_CS_SELECTOR, 0x10 }, { HOST_SS_SELECTOR, 0x18 },
	{ HOST_TR_SELECTOR, 0x40 }, { HOST_RIP, 0x401000 },
	{ HOST_RSP, 0x7fff0000 }, { HOST_IA32_EFER, 0xd01 },
	{ HOST_IA32_PAT, 0x0007040600070406 },
};

static const struct pair guest_common[] = {
	{ GUEST_CR0, 0x80000031 }, { GUEST_CR3, 0x10000 },
	{ GUEST_CR4, 0x2020 }, { GUEST_DR7, 0x400 },
	{ GUEST_IA32_EFER, 0x500 }, { GUEST_IA32_PAT, 0x0007040600070406 },
	{ GUEST_RIP, 0x1000 }, { GUEST_RSP, 0x9000 }, { GUEST_RFLAGS, 2 },
	{ GUEST_CS_SELECTOR, 8 }, { GUEST_CS_LIMIT, 0xffffffff },
	{ GUEST_CS_AR_BYTES, 0xa09b },
	{ GUEST_SS_SELECTOR, 0x10 }, { GUEST_SS_LIMIT, 0xffffffff },
	{ GUEST_SS_AR_BYTES, 0xc093 },
	{ GUEST_DS_SELECTOR, 0x10 }, { GUEST_DS_LIMIT, 0xffffffff },
	{ GUEST_DS_AR_BYTES, 0xc093 },
	{ GUEST_ES_SELECTOR, 0x10 }, { GUEST_ES_LIMIT, 0xffffffff },
	{ GUEST_ES_AR_BYTES, 0xc093 },
	{ GUEST_FS_SELECTOR, 0x10 }, { GUEST_FS_LIMIT, 0xffffffff },
	{ GUEST_FS_AR_BYTES, 0xc093 },
	{ GUEST_GS_SELECTOR, 0x10 }, { GUEST_GS_LIMIT, 0xffffffff },
	{ GUEST_GS_AR_BYTES, 0xc093 },
	{ GUEST_LDTR_AR_BYTES, 0x10000 },
	{ GUEST_TR_SELECTOR, 0x28 }, { GUEST_TR_LIMIT, 0x67 },
	{ GUEST_TR_AR_BYTES, 0x8b },
	{ GUEST_GDTR_BASE, 0x22000 }, { GUEST_GDTR_LIMIT, 0x3f },
	{ GUEST_IDTR_BASE, 0x20000 }, { GUEST_IDTR_LIMIT, 0xfff },
};

static void fill_prot32(struct vmx_env *e)
{
	vmcs_write(e, GUEST_CR4, 0x2000);
	vmcs_write(e, GUEST_IA32_EFER, 0);
	vmcs_write(e, GUEST_CS_AR_BYTES, 0xc09b);
}

/* The six user segments as real-address or virtual-8086 mode has them. */
static void fill_segments16(struct vmx_env *e, uint32_t code, uint32_t data)
{
	for (unsigned i = 0; i < 12; i += 2) {
		vmcs_write(e, GUEST_ES_SELECTOR + i, 0x100);
		vmcs_write(e, GUEST_ES_BASE + i, 0x1000);
		vmcs_write(e, GUEST_ES_LIMIT + i, 0xffff);
		vmcs_write(e, GUEST_ES_AR_BYTES + i, data);
	}
	vmcs_write(e, GUEST_CS_AR_BYTES, code);
}

static void fill_kind(struct vmx_env *e, enum vmx_guest kind)
{
	switch (kind) {
	case G_LONG_UG:
		vmcs_write(e, SECONDARY_VM_EXEC_CONTROL,
			   ENV_PROC2 | SECONDARY_EXEC_UNRESTRICTED_GUEST);
		/* fallthrough */
	case G_LONG:
		vmcs_write(e, VM_ENTRY_CONTROLS, ENV_ENTRY | VM_ENTRY_IA32E_MODE);
		break;
	case G_PROT32:
		fill_prot32(e);
		break;
	case G_PAE:
		fill_prot32(e);
		vmcs_write(e, GUEST_CR4, 0x2020);
		break;
	case G_V86:
		fill_prot32(e);
		vmcs_write(e, GUEST_RFLAGS, 0x20002);
		fill_segments16(e, 0xf3, 0xf3);
		break;
	case G_REAL_UG:
		fill_prot32(e);
		vmcs_write(e, SECONDARY_VM_EXEC_CONTROL,
			   ENV_PROC2 | SECONDARY_EXEC_UNRESTRICTED_GUEST);
		vmcs_write(e, GUEST_CR0, 0x30);
		fill_segments16(e, 0x9b, 0x93);
		break;
	}
}

void vmx_env_fill(struct vmx_env *e, enum vmx_guest kind)
{
	assert_int_equal(hw_vmclear(e->cpu, e->vmcs), HW_VMX_SUCCEED);
	memset((char *)(uintptr_t)e->vmcs + 4, 0, PAGE_SIZE - 4);
	assert_int_equal(hw_vmclear(e->cpu, e->vmcs), HW_VMX_SUCCEED);
	assert_int_equal(hw_vmptrld(e->cpu, e->vmcs), HW_VMX_SUCCEED);
	write_all(e, controls, ARRAY_SIZE(controls));
	write_all(e, host, ARRAY_SIZE(host));
	write_all(e, guest_common, ARRAY_SIZE(guest_common));
	vmcs_write(e, EPT_POINTER, vmx_env_page(e, P_EPT) | 0x1e);
	vmcs_write(e, IO_BITMAP_A, vmx_env_page(e, P_IO_A));
	vmcs_write(e, IO_BITMAP_B, vmx_env_page(e, P_IO_B));
	vmcs_write(e, MSR_BITMAP, vmx_env_page(e, P_MSR));
	vmcs_write(e, VIRTUAL_APIC_PAGE_ADDR, vmx_env_page(e, P_VAPIC));
	fill_kind(e, kind);
}
