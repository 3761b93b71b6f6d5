/* SPDX-License-Identifier: MIT */
/*
 * A processor in VMX operation with a current VMCS that passes every check, for
 * the tests of the VMX engine.
 */
#ifndef ANYKVM_TESTS_HW_VMX_ENV_H
#define ANYKVM_TESTS_HW_VMX_ENV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hw/state.h"
#include "x86/msr.h"
#include "x86/vmcs.h"

struct vmx_env {
	struct hw_cpu *cpu;
	uint8_t *mem;		/* VMX_ENV_PAGES pages, zeroed */
	hpa_t vmxon, vmcs;
};

enum { P_VMXON, P_VMCS, P_VMCS2, P_IO_A, P_IO_B, P_MSR, P_VAPIC, P_LIST,
       P_EPT, P_PDPT, VMX_ENV_PAGES };

/* Guests that a VMCS is filled for. */
enum vmx_guest { G_LONG, G_LONG_UG, G_PROT32, G_V86, G_REAL_UG, G_PAE };

struct vmx_env *vmx_env_new(void);
void vmx_env_free(struct vmx_env *e);
/* cmocka's fixtures: one for all tests of a program. */
extern struct vmx_env *env;
int vmx_env_setup(void **state);
int vmx_env_teardown(void **state);
/* VMCLEAR, VMPTRLD and every field for @kind. */
void vmx_env_fill(struct vmx_env *e, enum vmx_guest kind);

static inline hpa_t vmx_env_page(struct vmx_env *e, unsigned n)
{
	return (hpa_t)(uintptr_t)(e->mem + n * PAGE_SIZE);
}

void vmcs_write(struct vmx_env *e, uint32_t field, uint64_t val);
uint64_t vmcs_read(struct vmx_env *e, uint32_t field);

/* Control words that the engine must accept. */
#define ENV_PIN	(PIN_BASED_ALWAYSON | PIN_BASED_EXT_INTR_MASK |		\
		 PIN_BASED_NMI_EXITING | PIN_BASED_VIRTUAL_NMIS)
#define ENV_PROC (CPU_BASED_TRUE_ALWAYSON | CPU_BASED_HLT_EXITING |	\
		  CPU_BASED_UNCOND_IO_EXITING |				\
		  CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
#define ENV_PROC2 (SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_ENABLE_VPID)
#define ENV_EXIT (VM_EXIT_ALWAYSON | VM_EXIT_HOST_ADDR_SPACE_SIZE |	\
		  VM_EXIT_SAVE_IA32_EFER | VM_EXIT_SAVE_IA32_PAT |	\
		  VM_EXIT_LOAD_IA32_EFER | VM_EXIT_LOAD_IA32_PAT)
#define ENV_ENTRY (VM_ENTRY_ALWAYSON | VM_ENTRY_LOAD_IA32_EFER |	\
		   VM_ENTRY_LOAD_IA32_PAT)

#endif
