/* SPDX-License-Identifier: MIT */
/*
 * A processor for the tests of the system families: 1 MiB of linear memory with
 * rights per page, tables at fixed places, and owner callbacks that record what
 * they were asked. No paging: linear addresses are offsets into mem.
 */
#ifndef TEST_SYSENV_H
#define TEST_SYSENV_H

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "emul/emulate.h"
#include "x86/msr.h"

#define ENV_MEM		0x100000u
#define ENV_GDT		0x1000u
#define ENV_IDT		0x2000u
#define ENV_LDT		0x3000u
#define ENV_TSS		0x4000u	/* the current one */
#define ENV_TSS_B	0x5000u
#define ENV_STACK0	0x8f00u	/* page 8: level 0 */
#define ENV_STACK1	0x9f00u	/* page 9: level 1 */
#define ENV_IST1	0xaf00u	/* page a */
#define ENV_STACK3	0xbf00u	/* page b: where level 3 starts, user */
#define ENV_CODE	0x10000u
#define ENV_DATA	0x20000u

/* Selectors of env_init()'s GDT (legacy and long mode the same; the system ones
 * have 16 bytes). */
enum {
	SEL_CODE0 = 0x08, SEL_DATA0 = 0x10, SEL_CODE3 = 0x18 | 3,
	SEL_DATA3 = 0x20 | 3, SEL_CONF0 = 0x28, SEL_CODE_NP = 0x30,
	SEL_RODATA0 = 0x38, SEL_DATA_NP = 0x40, SEL_XCODE0 = 0x48,
	SEL_TSS = 0x50, SEL_CODE16 = 0x60, SEL_DATA16 = 0x68,
	SEL_CODE64_0 = 0x70, SEL_CODE64_3 = 0x78 | 3, SEL_LDT = 0x80,
	SEL_BADLD = 0x90, SEL_CODE1 = 0x98 | 1, SEL_DATA1 = 0xa0 | 1,
	SEL_TSS_B = 0xb0, SEL_GATE = 0xc0, SEL_SMALL = 0xd0,
	SEL_CONF3 = 0xd8 | 3, SEL_FREE = 0xe0, SEL_RO3 = 0xf0 | 3,
	SEL_BEYOND = 0x100,
};

/* Rights of a page: 0 is everything for everybody. */
#define PG_ABSENT	BIT(0)
#define PG_RO		BIT(1)
#define PG_SUPERVISOR	BIT(2)

enum env_mode { ENV_REAL, ENV_VM86, ENV_PROT, ENV_COMPAT, ENV_LONG };

struct env {
	struct x86_emulate_ctxt c;
	uint8_t mem[ENV_MEM];
	uint8_t prot[ENV_MEM >> 12];
	uint64_t features[4];
	uint64_t dr[8];
	uint64_t star, lstar, cstar, sfmask, kernel_gs;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	/* recorded */
	enum x86_intercept intercept_on;	/* this one leaves */
	enum x86_intercept intercepted;
	uint64_t icpt_arg, icpt_val;
	int iret_done, hypercalls, virt_insns, swints;
	uint8_t swint_vector;
	uint64_t invlpg_la;
	int do_task_switch;	/* 1: emulator_task_switch, 0: record only */
	int task_switches;
	uint16_t task_sel;
	int task_reason;
	struct x86_insn insn;
};

extern struct env env;

/* A fresh processor in @mode at @cpl (protected modes). */
void env_init(enum env_mode mode, unsigned cpl);

/* Runs the instruction @code, placed at rip: enum x86emul. What the decoder calls
 * undefined is #UD, as an owner makes it. */
int env_run(const uint8_t *code, size_t n);
#define RUN(...) env_run((const uint8_t[]){ __VA_ARGS__ },		\
			 sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* Memory, without rights. */
void env_put(uint32_t la, uint64_t val, unsigned bytes);
uint64_t env_get(uint32_t la, unsigned bytes);

/* A descriptor in the GDT: base, limit in units of the granularity, and the
 * access-rights layout of struct x86_segment.ar. */
void env_desc(uint16_t sel, uint32_t base, uint32_t limit, uint32_t ar);
/* The raw halves of a descriptor or gate. */
void env_gate(uint16_t sel, uint16_t target, uint64_t off, unsigned type,
	      unsigned dpl, unsigned params);
void env_idt(uint8_t vector, uint16_t target, uint64_t off, unsigned type,
	     unsigned dpl, unsigned ist);
#define GATE_ABSENT	BIT(7)	/* in @type: P = 0 */

/* Loads a segment register from its descriptor, without checks. */
void env_load(enum x86_seg seg, uint16_t sel);

/* The outcome of the last call: a fault with this vector and error code. */
#define assert_fault(rc, vec, ec) do {					\
	assert_int_equal(rc, X86EMUL_PROPAGATE_FAULT);			\
	assert_int_equal(env.c.exception.vector, vec);			\
	assert_int_equal(env.c.exception.error_code, ec);		\
} while (0)

/*
 * Table-driven tests: every row is a test of its own. ENV_ROWS appends the rows
 * of @table (whose first member is the name) to @tests from *@n on, each run by
 * @fn with the row as its state.
 */
#define ENV_ROWS(tests, n, table, fn) do {				\
	size_t i_;							\
									\
	for (i_ = 0; i_ < ARRAY_SIZE(table); i_++) {			\
		assert((n) < ARRAY_SIZE(tests));			\
		(tests)[(n)++] = (struct CMUnitTest){			\
			.name = (table)[i_].name, .test_func = fn,	\
			.initial_state = (void *)&(table)[i_],		\
		};							\
	}								\
} while (0)

/* Takes back what was pushed since env_snapshot(), @bytes at most. */
void env_forgive_pushes(unsigned bytes);
/* Nothing changed since env_snapshot() but accessed bits and env's records. */
void env_snapshot(void);
void env_assert_unchanged(void);

#endif
