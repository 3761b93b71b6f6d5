// SPDX-License-Identifier: MIT
/*
 * Entry checks of the host-state area, from the rows of vmx_checks_host.def. A
 * failure is VMfailValid with error 8. The host is a 64-bit one: the program
 * itself; its state is checked, never loaded.
 */
#include "hw/vmx.h"
#include "x86/msr.h"

#define F(name) VMCS(x->v, name)
#define EFER_LM (X86_EFER_LMA | X86_EFER_LME)
#define EFER_BITS (X86_EFER_SCE | X86_EFER_NX | EFER_LM)

const char *vmx_check_host(struct vmx_entry *x)
{
#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return text;
#include "hw/vmx_checks_host.def"
#undef CHECK
	return NULL;
}
