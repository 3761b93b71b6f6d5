/* SPDX-License-Identifier: MIT */
/*
 * An owner for the emulator in tests: flat memory, no devices.
 *
 * Linear addresses 0 .. VM_MEM_SIZE - 1 are memory, with rights per page; anything
 * else is #PF. With @identity linear addresses are the host's own, for tests that
 * compare with the host's processor. The translation cache is on unless a test
 * takes it away (vm_no_tlb), so that both ways to memory are exercised.
 */
#ifndef TESTS_EMUL_HARNESS_H
#define TESTS_EMUL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "emul/emulate.h"

#define VM_MEM_SIZE	(1u << 20)
#define VM_CODE		0x1000		/* where code is run */
#define VM_DATA		0x8000
#define VM_STACK	0x7000		/* initial RSP */

#define VM_PROT_R	1
#define VM_PROT_W	2

struct vm {
	struct x86_emulate_ctxt c;	/* first */
	uint8_t *mem;
	uint8_t prot[VM_MEM_SIZE / PAGE_SIZE];
	bool identity;
	struct x86_emulate_ops ops;
	struct x86_tlb_entry tlb[64];
	uint64_t features[4];
	struct x86_insn insn;
	bool fast;			/* run the resolved form */

	/* What has been seen. */
	unsigned reads, writes, cmpxchgs, eflags_changes;
	uint64_t cr[16];
	enum x86_intercept trip;	/* intercept that exits; NONE: no one */
	enum x86_intercept tripped;
	uint64_t trip_arg;
	/* Ports: what was written, and what is read (a counter). */
	uint16_t io_port;
	unsigned io_size, io_calls, io_count, io_max;
	uint8_t io_log[4096];
	unsigned io_bytes;
	int io_result;			/* what pio_* answer; CONTINUE by default */
};

/* A machine in @mode at VM_CODE: flat segments (real and vm86: base 0, 64K), CPL 0
 * (vm86: 3), every feature. */
struct vm *vm_new(enum x86_mode mode);
void vm_free(struct vm *vm);
void vm_no_tlb(struct vm *vm);
void vm_flush_tlb(struct vm *vm);

/* Decodes @code for the mode, runs one instruction at the present rip. */
int vm_run(struct vm *vm, const uint8_t *code, size_t n);
/* Runs until rip leaves [VM_CODE, VM_CODE + n), at most @max instructions. */
int vm_run_all(struct vm *vm, const uint8_t *code, size_t n, unsigned max);

#define VM_RUN(vm, ...)							\
	vm_run(vm, (const uint8_t[]){ __VA_ARGS__ },			\
	       sizeof((const uint8_t[]){ __VA_ARGS__ }))

void vm_put(struct vm *vm, uint64_t la, uint64_t v, unsigned bytes);
uint64_t vm_get(struct vm *vm, uint64_t la, unsigned bytes);
void vm_protect(struct vm *vm, uint64_t la, unsigned prot);
/* Puts the instruction counter back to VM_CODE and clears what was seen. */
void vm_reset_seen(struct vm *vm);

/* The instruction ended in exception @vector; registers and rip are as before. */
#define assert_fault(rc, vm, vec)					\
	do {								\
		assert_int_equal(rc, X86EMUL_PROPAGATE_FAULT);		\
		assert_int_equal((vm)->c.exception.vector, vec);	\
	} while (0)

#define assert_fault_code(rc, vm, vec, code)				\
	do {								\
		assert_fault(rc, vm, vec);				\
		assert_true((vm)->c.exception.has_error_code);		\
		assert_int_equal((vm)->c.exception.error_code, code);	\
	} while (0)

#endif
