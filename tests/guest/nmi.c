// SPDX-License-Identifier: MIT
/*
 * What unblocks NMIs: an IRET in the handler, whatever it returns from, and one that
 * faults. SDM Vol. 3A, "Handling Multiple NMIs"; SDM Vol. 3C, "Information for VM Exits Due
 * to Vectored Events"; APM Vol. 2, "NMI Support".
 */
#include "lib/checks.h"

#ifdef __x86_64__
#define RET_SS(f)	((f)[4])
#define FRAME(r)	((ulong *)(r)->rsp)	/* of the IRET that faulted */
#else
#define FRAME(r)	((ulong *)&(r)->esp)
#endif

enum { CS_SLOT = 0, SS_SLOT = 4 };

static volatile unsigned nmis, depth, inside;
static volatile unsigned fault;		/* what IRET met */
static void (*volatile in_handler)(struct regs *r);

/* How many NMIs come at once when one is asked for. */
static unsigned ask(void)
{
	const unsigned before = nmis;

	outl(0, PORT_NMI);
	for (int i = 0; i < 10; i++)
		pause();
	return nmis - before;
}

static void on_nmi(struct regs *r)
{
	void (*fn)(struct regs *) = in_handler;

	nmis++;
	depth++;
	in_handler = NULL;
	if (fn)
		fn(r);
	depth--;
}

static void on_fault(struct regs *r)
{
	fault = r->vector;
	inside = ask();
	FRAME(r)[1] = KERNEL_CS;
#ifdef __x86_64__
	RET_SS(FRAME(r)) = KERNEL_DS;
#endif
}

static void blocked(struct regs *r)
{
	inside = ask();
}

static void after_int(struct regs *r)
{
	asm volatile("int $0x90" : : : "memory");
	inside = ask();
}

static void nothing(struct regs *r)
{
}

static void cs_null(struct regs *r)
{
	r->cs = 0;
}

static void cs_not_present(struct regs *r)
{
	put_flat(CS_SLOT, CODE_XR & ~A_P);
	r->cs = SLOT(CS_SLOT);
}

#ifdef __x86_64__
static void ss_not_present(struct regs *r)
{
	put_flat(SS_SLOT, DATA_RW & ~A_P);
	r->ss = SLOT(SS_SLOT);
}

static void ss_of_dpl_3(struct regs *r)
{
	put_flat(SS_SLOT, DATA_RW | DPL(3));
	r->ss = SLOT(SS_SLOT);
}
#endif

static void run(void (*fn)(struct regs *r))
{
	fault = NO_EXC;
	inside = 99;
	in_handler = fn;
	ask();
}

static void fault_case(void (*fn)(struct regs *r), const char *cond, unsigned vector)
{
	set_handler(vector, on_fault);
	run(fn);
	set_handler(vector, NULL);
	if (inside != 1 || fault != vector)
		note("vector %u, %u inside:", fault, inside);
	check_that(mode_name(NATIVE), "IRET", cond, inside == 1 && fault == vector && !depth);
}

int main(void)
{
	const char *m = mode_name(NATIVE);

	set_handler(NMI, on_nmi);
	set_handler(0x90, nothing);
	run(blocked);
	check_that(m, "NMI", "another one waits in its handler", !inside && nmis == 2);
	run(after_int);
	check_that(m, "NMI", "the IRET of an INT in its handler lets another one in", inside == 1);
	fault_case(cs_null, "in an NMI's handler, faults by a null CS: NMIs are not blocked any more", GP);
	fault_case(cs_not_present, "in an NMI's handler, faults by a CS not present: NMIs are not blocked any more",
		   NP);
#ifdef __x86_64__
	fault_case(ss_not_present, "in an NMI's handler, faults by an SS not present: NMIs are not blocked any more",
		   SS);
	fault_case(ss_of_dpl_3, "in an NMI's handler, faults by an SS of DPL 3: NMIs are not blocked any more",
		   GP);
#endif
	return 0;
}
