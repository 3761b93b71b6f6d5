/* SPDX-License-Identifier: MIT */
/*
 * The guest's FPU state moves into the host's registers at the first instruction
 * that needs it after an entry, and back to memory when hw_run() returns. In
 * between this library and those below it touch no vector register (novec.h).
 *
 * The host program's own state: the calling convention makes every vector and
 * x87 data register the caller's problem across hw_run(), which is a function
 * call like any other; the control word and MXCSR it must find again.
 *
 * The image is the client's (KVM_SET_XSAVE) and may hold anything: what would
 * make XRSTOR fault is cleared first. Without a guest that has XSAVE, FXSAVE's
 * half is all there is to move.
 */
#include <pthread.h>

#include "hw/core.h"

#define XSTATE_BV	64	/* quadwords into the area: the XSAVE header */
#define XSTATE_COMP	65

static uint64_t host_xcr0;	/* components that we may move; 0: no XSAVE */
static uint32_t mxcsr_mask = 0xffff;

static void find_host(void)
{
	static struct x86_fpu image;
	uint32_t a = 1, b, c = 0, d, lo, hi;

	__asm__ volatile("fxsave64 %0" : "+m"(image));
	if (image.fx.mxcsr_mask)
		mxcsr_mask = image.fx.mxcsr_mask;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (!(c & BIT(27)))
		return;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	host_xcr0 = ((uint64_t)hi << 32 | lo) &
		    (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
		     X86_XCR0_AVX512);
}

void hw_fpu_host_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_host);
}

uint64_t hw_fpu_host_xcr0(void)
{
	hw_fpu_host_init();
	return host_xcr0;
}

/* Only a guest with XSAVE has more than FXSAVE's state. */
static bool whole_image(const struct hw_cpu *cpu)
{
	return host_xcr0 && hw_has(cpu->features, X86_FEATURE_XSAVE);
}

static void sanitize(struct x86_fpu *f)
{
	uint64_t *q = (uint64_t *)f->area;
	unsigned i;

	f->fx.mxcsr &= mxcsr_mask;
	q[XSTATE_BV] &= host_xcr0;
	for (i = XSTATE_COMP; i < XSTATE_BV + 8; i++)
		q[i] = 0;
}

/* The header tells that these are there, should the guest get XSAVE later. */
static void save_legacy(struct x86_fpu *f)
{
	__asm__ volatile("fxsave64 %0" : "+m"(*f));
	((uint64_t *)f->area)[XSTATE_BV] |= X86_XCR0_X87 | X86_XCR0_SSE;
}

static void restore_image(const struct x86_fpu *f, bool whole)
{
	if (whole && host_xcr0)
		__asm__ volatile("xrstor64 %0" : : "m"(*f),
				 "a"((uint32_t)host_xcr0), "d"(0));
	else
		__asm__ volatile("fxrstor64 %0" : : "m"(*f));
}

static void save_image(struct x86_fpu *f, bool whole)
{
	if (whole && host_xcr0)
		__asm__ volatile("xsave64 %0" : "+m"(*f)
				 : "a"((uint32_t)host_xcr0), "d"(0));
	else
		save_legacy(f);
}

void hw_get_fpu(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	struct x86_fpu *f = c->fpu;

	if (likely(cpu->fpu_loaded))
		return;
	cpu->stats.fpu_loads++;
	__asm__ volatile("fnstcw %0; stmxcsr %1"
			 : "=m"(cpu->host_fcw), "=m"(cpu->host_mxcsr));
	sanitize(f);
	restore_image(f, whole_image(cpu));
	cpu->fpu_loaded = true;
}

/* The guest's state is not in registers any more: the host's words are. */
static void leave_registers(const struct hw_cpu *cpu)
{
	if (whole_image(cpu))
		__asm__ volatile("vzeroupper");
	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1"
			 : : "m"(cpu->host_fcw), "m"(cpu->host_mxcsr));
}

void hw_fpu_leave(struct hw_cpu *cpu)
{
	struct x86_fpu *f = cpu->c.fpu;

	if (!cpu->fpu_loaded)
		return;
	cpu->fpu_loaded = false;
	save_image(f, whole_image(cpu));
	emul_fpu_saved(&cpu->c);
	leave_registers(cpu);
}

/* The state stays in host registers until hw_run() returns; but the sanitizers'
 * builds are not built with general registers only (novec.h). */
void hw_put_fpu(struct x86_emulate_ctxt *c)
{
#ifdef ANYKVM_SANITIZE
	hw_fpu_leave(hw_of(c));
#endif
}

void hw_fpu_copy(const struct hw_cpu *cpu, struct x86_fpu *to)
{
	const struct x86_fpu_pointers *p = &cpu->c.fpu_ptr;

	if (!cpu->fpu_loaded) {
		*to = *cpu->c.fpu;
		return;
	}
	save_image(to, whole_image(cpu));
	if (!p->valid)
		return;
	to->fx.fip = p->fip;
	to->fx.fdp = p->fdp;
	to->fx.fop = p->fop;
}

void hw_fpu_rewind(struct hw_cpu *cpu, const struct x86_fpu *from)
{
	if (!cpu->fpu_loaded) {
		if (from)
			*cpu->c.fpu = *from;
	} else if (from) {
		restore_image(from, whole_image(cpu));
	} else {
		cpu->fpu_loaded = false;
		leave_registers(cpu);
	}
}

/* --- for the hypervisor's emulator ------------------------------------------------ */

void hw_fpu_swap_in(struct x86_fpu *host, struct x86_fpu *guest, bool whole)
{
	sanitize(guest);
	save_image(host, whole);
	restore_image(guest, whole);
}

void hw_fpu_swap_out(struct x86_fpu *host, struct x86_fpu *guest, bool whole)
{
	save_image(guest, whole);
	restore_image(host, whole);
}
