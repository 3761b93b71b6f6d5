/* SPDX-License-Identifier: MIT */
/*
 * Access to memory that may not be there.
 *
 * Guest memory belongs to the client: it can be unmapped, truncated or
 * protected at any time. Every touch of it goes through the functions below.
 * Each is one host instruction with an entry in an exception table; a SIGSEGV
 * or SIGBUS on that instruction resumes at the table's landing pad, and the
 * function returns -EFAULT. Signals at any other instruction go to the handler
 * the client had installed. A userfaultfd or a slow page simply blocks here.
 *
 * A naturally sized access is a single host access, so the guest sees the
 * atomicity and ordering the host processor gives.
 */
#ifndef ANYKVM_BASE_ACCESS_H
#define ANYKVM_BASE_ACCESS_H

#include <errno.h>
#include "base/types.h"

#define HOST_EX_TABLE(insn, landing)				\
	".pushsection host_ex_table,\"a\",@progbits\n"		\
	".balign 4\n.long " insn " - ., " landing " - .\n"	\
	".popsection\n"

/*
 * host_read_N(p, &v) / host_write_N(p, v): 0, or -EFAULT with nothing changed.
 * @p needs no alignment.
 */
#define HOST_ACCESS(bits, type, suffix, wreg)				\
static __force_inline int host_read_##bits(const void *p, type *v)	\
{									\
	type x;								\
									\
	__asm__ volatile goto("1: mov" #suffix " (%1), %" wreg "0\n"		\
		     HOST_EX_TABLE("1b", "%l[fault]")				\
		     : "=r"(x) : "r"(p) : "memory" : fault);		\
	*v = x;								\
	return 0;							\
fault:									\
	return -EFAULT;							\
}									\
static __force_inline int host_write_##bits(void *p, type v)		\
{									\
	__asm__ volatile goto("1: mov" #suffix " %" wreg "0, (%1)\n"		\
		     HOST_EX_TABLE("1b", "%l[fault]")				\
		     : : "r"(v), "r"(p) : "memory" : fault);		\
	return 0;							\
fault:									\
	return -EFAULT;							\
}									\
/* LOCK CMPXCHG: *@old becomes what was there; *@done tells if it was stored. */ \
static __force_inline int host_cmpxchg_##bits(void *p, type *old, type new, \
					       bool *done)		\
{									\
	type o = *old;							\
	bool z;								\
									\
	__asm__ volatile goto("1: lock cmpxchg" #suffix " %" wreg "2, (%3)\n"	\
		     "setz %1\n"					\
		     HOST_EX_TABLE("1b", "%l[fault]")				\
		     : "+a"(o), "=q"(z) : "r"(new), "r"(p)		\
		     : "memory", "cc" : fault);				\
	*old = o;							\
	*done = z;							\
	return 0;							\
fault:									\
	return -EFAULT;							\
}

HOST_ACCESS(8, uint8_t, b, "b")
HOST_ACCESS(16, uint16_t, w, "w")
HOST_ACCESS(32, uint32_t, l, "k")
HOST_ACCESS(64, uint64_t, q, "q")
#undef HOST_ACCESS

/* LOCK CMPXCHG16B on 16-byte aligned @p. Same contract as above. */
int host_cmpxchg_128(void *p, uint64_t old[2], const uint64_t new[2],
		     bool *done);

/* Bytes in, bytes out; may have copied a part when it fails with -EFAULT. */
int host_copy_in(void *dst, const void *guest, size_t n);
int host_copy_out(void *guest, const void *src, size_t n);
int host_fill(void *guest, int c, size_t n);

/*
 * Installs the SIGSEGV/SIGBUS/SIGFPE/SIGILL handler, or puts it in front of one that has
 * been installed since. What was there before is called for faults that are not ours.
 * Any thread, any time; 0 or -errno.
 */
int host_access_init(void);

/* The signals that a guest's instruction or memory may raise on the host. */
#define HOST_NR_FAULT_SIGNALS	4
extern const int host_fault_signals[HOST_NR_FAULT_SIGNALS];

/* Lets the four signals in, in the calling thread: one that is blocked when an
 * instruction raises it ends the process. */
void host_access_unblock(void);

/* The process's signals have an owner that calls host_access_fixup() itself:
 * host_access_init() then installs nothing. */
void host_access_owned(void);

/*
 * Code that executes guest instructions on the host: one area, whose first byte is a
 * RET. A SIGFPE, SIGILL, SIGSEGV or SIGBUS at an instruction inside of it makes the
 * code return to its caller with the processor's vector in r8, which it leaves
 * alone otherwise. Called again when the area moves.
 */
void host_access_set_stubs(const void *start, size_t size);

/*
 * The translator's code: @landing is called with the address of an instruction that
 * has met a fault; where execution goes on instead, or 0: not one of its own. It must
 * be async-signal-safe. Set once.
 */
void host_access_set_code(uintptr_t (*landing)(uintptr_t pc));

/*
 * For an owner of the process's signal table (the interposer): looks up the
 * faulting instruction in @ucontext; true when it was ours and the context has
 * been moved to the landing pad.
 */
bool host_access_fixup(void *ucontext);

#endif
