/* SPDX-License-Identifier: MIT */
/*
 * Guests that go through the checks of the manuals' pseudo-code, one case each, in
 * 32-bit guests (protected mode) and 64-bit ones (64-bit and compatibility mode).
 *
 * A case makes a processor state, enters it, and looks at how it stopped: with an
 * exception, or at the end of its code (INT VEC_DONE). Its report is named
 *
 *	MODE: INSTRUCTION: CONDITION: #FAULT(ERROR CODE)
 *
 * which tests/guest/cases.py makes the list of all cases from.
 */
#ifndef ANYKVM_TESTS_GUEST_CHECKS_H
#define ANYKVM_TESTS_GUEST_CHECKS_H

#ifdef __x86_64__
#include "guest64.h"
#else
#include "guest32.h"
#endif

#define VEC_DONE	0x81

struct state {
	ulong ax, cx, dx, bx, sp, bp, si, di, ip, flags, cs, ss, ds, es, fs, gs;
	ulong ves, vds, vfs, vgs;	/* of virtual-8086 mode, on the way in */
};

/* How the last enter() ended: NO_EXC at VEC_DONE. */
extern struct stop {
	unsigned vector;
	uint32_t error;
	ulong cr2;
	struct state s;
} stop;

void enter(const struct state *s);

/* --- code ------------------------------------------------------------------------ */

enum mode { NATIVE, COMPAT, NR_MODES };

/* The same instructions for both modes of a 64-bit guest. */
struct code { const uint8_t *at[NR_MODES]; };

#ifdef __x86_64__
#define HAS_COMPAT	1
#define CODE_NATIVE	".code64\n"
#else
#define HAS_COMPAT	0
#define CODE_NATIVE	".code32\n"
#endif

/* CODE2: where 64-bit mode spells it differently. Ends with INT VEC_DONE. */
#define CODE2(name, text32, text64)						\
	extern const uint8_t name##_native[], name##_compat[];			\
	asm(".pushsection .text.checks, \"ax\"\n"				\
	    CODE_NATIVE ".globl " #name "_native\n" #name "_native:\n"		\
	    ".if " CODE_IS_64 "\n" text64 "\n.else\n" text32 "\n.endif\n"	\
	    "int $0x81\n"							\
	    ".code32\n.globl " #name "_compat\n" #name "_compat:\n"		\
	    text32 "\nint $0x81\n" CODE_NATIVE ".popsection\n");		\
	static const struct code name = { { name##_native, name##_compat } }
#ifdef __x86_64__
#define CODE_IS_64	"1"
#else
#define CODE_IS_64	"0"
#endif
#define CODE(name, text) CODE2(name, text, text)

struct named_code {
	const char *name;
	const struct code *code;
	enum { BOTH_MODES, NOT_64 } modes;
};

static inline bool is_64bit(enum mode mode)
{
	return HAS_COMPAT && mode == NATIVE;
}

/* --- descriptors --------------------------------------------------------------------- */

/* Slots of the GDT for a case; a 16-byte descriptor takes two. */
#define NR_SLOTS	12
#define SLOT(n)		(FREE_SEL + 8 * (n))
#define LDT_SLOTS	8
extern uint64_t ldt[LDT_SLOTS];
#define LDT_SEL(n)	(8 * (n) | 4)

/* Bits of descriptor()'s @access. */
#define A_P		0x80
#define A_S		0x10
#define DPL(n)		((n) << 5)
#define DATA_R		0x4091		/* present, 32-bit, accessed, DPL 0 */
#define DATA_RW		0x4093
#define DATA_DOWN	0x4097
#define CODE_X		0x4099
#define CODE_XR		0x409b
#define CODE_C		0x409d
#define CODE_CR		0x409f
#define FLAT		0x8000		/* G: the limit counts pages */
#define LONG_CODE	0x2000		/* L */
#define SYS(type)	(0x80 | (type))

enum { TSS16 = 1, LDT, TSS16_BUSY, CALL16, TASK_GATE, INTR16, TRAP16, TSS32 = 9,
	TSS32_BUSY = 11, CALL32, INTR32 = 14, TRAP32 };

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access);
void put_flat(unsigned slot, unsigned access);	/* a flat one, as @access says */
/* 16 bytes in a 64-bit guest. */
void put_system(unsigned slot, ulong base, uint32_t limit, unsigned access);
void put_gate(unsigned slot, uint16_t sel, ulong off, unsigned access, unsigned params);
uint16_t code_sel(enum mode mode, unsigned cpl);
uint16_t data_sel(unsigned cpl);

/* --- cases --------------------------------------------------------------------------- */

void checks_init(void);
/* Flat segments of @cpl in @mode, a stack, and the code @c. */
void state_init(struct state *s, enum mode mode, unsigned cpl, const struct code *c);
const char *mode_name(enum mode mode);
extern uint8_t check_stack_top[];	/* what state_init gives CPL 0 */

/* Reports that the last enter() met @vector (@error). */
void check(const char *mode, const char *insn, const char *cond, unsigned vector,
	   uint32_t error);
/* ... for a vector met in another way than by enter(). */
void check_met(const char *mode, const char *insn, const char *cond, unsigned vector,
	       uint32_t error, unsigned met, uint32_t met_error);
/* Something else that must be so. */
void check_that(const char *mode, const char *insn, const char *cond, bool ok);
void check_skip(const char *mode, const char *insn, const char *cond);

/* The vendors that a row is for. */
enum { BOTH, INTEL, AMD };
bool row_applies(unsigned vendor);

#endif
