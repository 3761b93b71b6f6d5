/* SPDX-License-Identifier: MIT */
/*
 * What one instruction sees and leaves behind, in user mode: the common ground of
 * the two processors that execute it, the emulator (machine.h) and the host's
 * (host.h). `anykvm insn --run` and the differential test compare the two.
 *
 * Linear addresses are the process's own. Memory is the arena: a few pages below
 * 2 GiB with different rights, so that it can be reached from 32-bit code, mapped a
 * second time where everything can be written.
 */
#ifndef ANYKVM_TOOLS_INSN_STATE_H
#define ANYKVM_TOOLS_INSN_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/fpu.h"
#include "x86/regs.h"

/* The arena: guard pages between what can be reached. */
#define ARENA_BASE	0x20000000ul
#define ARENA_PAGES	10
#define ARENA_CODE	(ARENA_BASE + 0x1000)	/* 2 pages, read and execute */
#define ARENA_DATA	(ARENA_BASE + 0x4000)	/* 2 pages, read and write */
#define ARENA_RO	(ARENA_BASE + 0x7000)	/* read only, */
#define ARENA_DATA2	(ARENA_BASE + 0x8000)	/* and next to it read and write */
#define ARENA_MEM	ARENA_DATA		/* what is compared: */
#define ARENA_MEM_BYTES	0x5000ul		/* data, a guard, read only, data */

#define ARENA_R		1
#define ARENA_W		2
#define ARENA_X		4

/* Selectors that Linux gives a process. */
#define USER_CS32	0x23
#define USER_CS64	0x33
#define USER_DS		0x2b
/* And what host_init() puts into the process's LDT: 16-bit code from 0 to 4 GiB, data
 * at the arena with a limit in its last page. */
#define USER_CS16	0x07
#define USER_DS16	0x0f
#define USER_DS16_LIMIT	0x87fful

struct insn_state {
	uint64_t gpr[X86_NR_GPRS];
	uint64_t rip, eflags;
	uint16_t sel[X86_NR_USER_SEGS];
	uint64_t fs_base, gs_base;
	struct x86_fpu fpu;	/* standard form, components of fpu_mask() */
};

/* How it ended. */
enum insn_end {
	END_DONE,		/* completed: rip has moved on */
	END_FAULT,		/* vector; state as it was, but for REP */
	END_TRAP,		/* INT3, INTO, INT1, INT n: vector, rip behind it */
	END_UNHANDLED,		/* the emulator has no answer */
	END_WILD,		/* the emulator left the arena: not for the host */
};

struct insn_result {
	enum insn_end end;
	uint8_t vector;
	uint32_t error_code;
	uint64_t address;	/* #PF: CR2 */
};

/* Maps the arena, once a process. False: no such address or no memory. */
bool arena_init(void);
/* Makes sure that the kernel has all pages of it mapped: after a fork() it has not. */
void arena_touch(void);
/* ARENA_* rights at @la, 0 where there is nothing; any address. */
unsigned arena_rights(uint64_t la);
/* Where the tests write: the arena's byte at @la (in the arena). */
uint8_t *arena_at(uint64_t la);
/* A known hole: no host may have anything there either. */
bool arena_is_hole(uint64_t la);

/* Components of XCR0 that both sides load and store: x87 to AVX-512. */
uint64_t fpu_mask(void);
/* The state after initialization. */
void fpu_init_state(struct x86_fpu *fpu);
/* Components that XSTATE_BV calls initial get their initial value, so that two
 * images of the same state are the same bytes; what no register is is cleared. */
void fpu_normalize(struct x86_fpu *fpu);

#endif
