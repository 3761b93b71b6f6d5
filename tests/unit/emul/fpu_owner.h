/* SPDX-License-Identifier: MIT */
/*
 * The FPU side of a test's owner: between get_fpu and put_fpu the state of c->fpu is
 * in the host's registers, as in the hypervisor; the test's own is put aside.
 */
#ifndef TESTS_EMUL_FPU_OWNER_H
#define TESTS_EMUL_FPU_OWNER_H

#include <signal.h>
#include <stdlib.h>

#include "base/access.h"
#include "harness.h"

static struct x86_fpu fpu_guest, fpu_host;

static void fpu_owner_get(struct x86_emulate_ctxt *c)
{
	__asm__ volatile("fxsave64 %0\n\tfxrstor64 %1"
			 : "=m"(fpu_host.fx) : "m"(c->fpu->fx));
}

static void fpu_owner_put(struct x86_emulate_ctxt *c)
{
	__asm__ volatile("fxsave64 %0\n\tfxrstor64 %1"
			 : "=m"(c->fpu->fx) : "m"(fpu_host.fx));
	emul_fpu_saved(c);
}

static inline void fpu_reset(struct vm *vm)
{
	memset(&fpu_guest, 0, sizeof(fpu_guest));
	fpu_guest.fx.fcw = X86_FCW_INIT;
	fpu_guest.fx.mxcsr = X86_MXCSR_INIT;
	vm->c.fpu_ptr.valid = false;
}

/* cmocka has the signals while a test runs; take those that stubs raise. */
static inline void fpu_on_signal(int sig, siginfo_t *si, void *uc)
{
	if (!host_access_fixup(uc))
		abort();
}

static inline void fpu_take_signals(void)
{
	static const int sigs[] = { SIGFPE, SIGILL, SIGSEGV };
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_NODEFER };
	unsigned i;

	sa.sa_sigaction = fpu_on_signal;
	for (i = 0; i < ARRAY_SIZE(sigs); i++)
		assert_int_equal(sigaction(sigs[i], &sa, NULL), 0);
}

/* A machine with an FPU in its initial state, ready for SSE. */
static inline struct vm *fpu_vm(enum x86_mode mode)
{
	struct vm *vm = vm_new(mode);

	fpu_take_signals();
	vm->c.fpu = &fpu_guest;
	vm->ops.get_fpu = fpu_owner_get;
	vm->ops.put_fpu = fpu_owner_put;
	vm->c.cr0 |= X86_CR0_NE | X86_CR0_MP;
	vm->c.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	fpu_reset(vm);
	return vm;
}

#endif
