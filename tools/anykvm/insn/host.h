/* SPDX-License-Identifier: MIT */
/*
 * One instruction on the host's processor, with the whole state of user mode loaded
 * before and stored after it. One thread.
 */
#ifndef ANYKVM_TOOLS_INSN_HOST_H
#define ANYKVM_TOOLS_INSN_HOST_H

#include "isa/insn.h"
#include "insn/state.h"

/* Takes the process's SIGTRAP, SIGSEGV, SIGBUS, SIGFPE and SIGILL, an alternate
 * signal stack, and one processor (what CPUID says must not change). Needs the
 * arena. False: not on this system. */
bool host_init(void);

/* Does the processor have @f (CPUID)? X86_FEATURE_NONE: true. */
bool host_has(enum x86_feature f);
/* The set of them, for x86_emulate_ctxt.features. */
const uint64_t *host_features(void);
/* Are there USER_CS16 and USER_DS16? Linux can be built without modify_ldt(). */
bool host_has_16bit(void);
/* May user mode set the FS and GS base registers? */
bool host_has_fsgsbase(void);

/*
 * Adds code and data segments of every type to the process's LDT, behind the two of
 * host_init(), and tells what stands there: HOST_LDT_ENTRIES descriptors, base 0, DPL
 * 3. Returns how many there are, 0 where the system has no such thing. The first
 * HOST_LDT_DATA may be loaded into DS, ES, FS and GS.
 */
#define HOST_LDT_FIRST		2
#define HOST_LDT_ENTRIES	14
#define HOST_LDT_DATA		8
#define HOST_LDT_SEL(n)		((HOST_LDT_FIRST + (n)) * 8 | 7)
unsigned host_ldt(uint64_t *table);

/*
 * Runs the @n bytes at @in->rip (in the arena's code; the selector of CS says in
 * which mode) and writes what is after it to @out. Every register is loaded, RSP
 * too. The code around is INT3: a branch may go anywhere in it. Memory is the
 * arena's, and an address that is not in it is the caller's mistake.
 *
 * With EFLAGS.TF one instruction, or iteration, is stepped.
 */
void host_run(const uint8_t *bytes, size_t n, const struct insn_state *in,
	      struct insn_state *out, struct insn_result *res);

#endif
