/* SPDX-License-Identifier: MIT */
/*
 * The inside of the translator: what the files of jit/ share. To the rest of the
 * silicon it is the table hw_jit (hw/hw.h, struct hw_jit_ops). The essay is
 * docs/jit.md.
 *
 * One struct jit a processor: code, blocks and tables belong to it and are touched
 * by its thread only, so that nothing here takes a lock. (Exception: the signal
 * handler's list of code areas, fault.c.)
 *
 * Registers in translated code:
 *
 *   guest RAX..R12		the host register of the same number
 *   guest RSP			host R15
 *   guest R13, R14, R15	hw_cpu.c.gpr
 *   host R14			address scratch (T1)
 *   host R13			index scratch (T2)
 *   host RSP			the C stack, and on it the return stack (calls.c)
 *   GS base			the hw_cpu, unless it is below 2 GiB
 *   status flags		host RFLAGS (FL_HOST) or hw_jit_state.flags (FL_MEM)
 *
 * Everything else of the state is in the hw_cpu. rip is not kept: each way out of
 * translated code says what it is.
 */
#ifndef ANYKVM_JIT_JIT_H
#define ANYKVM_JIT_JIT_H

#include "hw/state.h"

#define T1	14
#define T2	13
#define H_RSP	15		/* where the guest's RSP is */
#define IN_MEM	0xff		/* jit_host_reg(): not in a register */

#define JIT_CACHE_MIB	32		/* hw_config.jit_cache's default */
#define JIT_BLOCK_ROOM	(64ul << 10)	/* no block's code is larger */
/* What the tables may hold for each MiB of code: they are no larger than 2 MiB. */
#define JIT_BLOCKS_A_MIB (1u << 13)
#define JIT_PAGES_A_MIB	(1u << 8)
#define JIT_FAULTS_A_MIB (1u << 15)
#define JIT_EXECS_A_MIB	(1u << 12)
#define JIT_CROSS_A_MIB	(1u << 11)
#define JIT_NEARS_A_MIB	(1u << 15)
#define JIT_REGIONS	4
#define JIT_STUB_FAULTS	96
#define JIT_BHASH_BITS	16
#define JIT_PHASH_BITS	13
#define JIT_COLD_BITS	16
#define JIT_COOLED	16	/* executions before what was evicted is translated again */
#define JIT_BLOOM_BITS	16	/* of the pages that have targets: cache.c */
#define JIT_MARK_BITS	16
#define JIT_NR_FAILS	16
#define JIT_NR_HEADS	64
#define JIT_HEAD_JUMPS	8	/* back, until they lead to a loop's begin */
#define JIT_FIRST_TURNS	4	/* of a loop, before its checks */
#define JIT_STACK_BYTES	8192	/* of the return stack */
#define JIT_MAX_INSNS	64
#define JIT_NR_STRINGS	5	/* MOVS CMPS STOS LODS SCAS */
#define JIT_MAX_TURN	48	/* ... of a loop that is there twice, or has several ways */
#define JIT_MAX_SLOW	(6 * JIT_MAX_TURN + 20)
#define JIT_MAX_MISS	(4 * JIT_MAX_TURN)
#define JIT_RECACHE	16	/* misses of sites' caches (indirect.c) until one is linked */
#define JIT_MAX_GROUPS	64
#define JIT_MAX_ADDENDS	16	/* hw_jit_state.addend */

/* Where the status flags are. */
#define FL_MEM	BIT(0)
#define FL_HOST	BIT(1)

struct jit_block {
	uint64_t rip;
	hva_t host;		/* of its first byte; 0: dropped */
	uint32_t code;		/* offset of its translation */
	uint32_t next;		/* in its hash chain, + 1 */
	uint32_t page_next;	/* of the same page, + 1 */
	/* Lines of the page: its instructions are in some from this to that. */
	uint32_t first_line : 6, last_line : 6;
	uint32_t follows : 1;	/* goes on behind a jump */
	uint32_t flags : 2;	/* FL_*: how it may be entered */
	uint32_t nr : 8;	/* instructions that one run has at most, in lock-step */
	uint32_t variant : 8;	/* who runs it; JIT_PLAIN */
	uint32_t ways : 1;	/* a loop with several ways */
};

/* jit_block.variant beside who: each access is checked by itself; it is code of flat
 * 32-bit segments, in protected or compatibility mode. */
#define JIT_PLAIN	BIT(7)
#define JIT_CODE32	BIT(6)

/* Of a loop in lock-step; jit_block.nr holds it. */
#define JIT_CHECK_INSNS	(2 * JIT_MAX_INSNS)
_Static_assert(JIT_CHECK_INSNS < 256, "jit_block.nr");

struct jit_page {
	hva_t host;
	uint64_t lines;		/* that blocks were made of: hw_code_lines() */
	uint32_t first;		/* block, + 1 */
	uint32_t next;		/* in its hash chain, + 1 */
	bool check;		/* compare before the next use */
};

/* A host instruction that may fault, and where execution goes on then. */
struct jit_fault {
	uint32_t pc, landing;
};

/* A call of a stub that fills a slot, and the access that it serves: jit_place(). */
struct jit_site {
	uint32_t pc;		/* return address */
	bool sticky;		/* the slot keeps its page: jit_sticks() */
	hva_t place;
};

/* A jump inside of a page from one region of code memory to another. */
struct jit_cross {
	uint32_t site;		/* its rel32 */
	uint32_t before;	/* where it led before it was linked */
	uint8_t from, to;
};

/* Places in code memory and in the tables that grow with it. */
struct jit_marks {
	uint32_t pos, blocks, faults, execs, sites, nears;
};

/* Targets that have lost their place in hw_jit_state.hash, as good as those in there. */
#define JIT_NR_VICTIMS	64
struct jit_victims {
	uint64_t rip[JIT_NR_VICTIMS], key[JIT_NR_VICTIMS], code[JIT_NR_VICTIMS];
	bool any;
};

/* How often the check of a group failed, since when (TSC). */
struct jit_fails {
	hva_t place;
	uint32_t count;
	uint64_t since;
};

/* How often jumps back have led there. */
struct jit_head {
	hva_t place;
	uint32_t count;
};

/* --- one block in translation ------------------------------------------------- */

struct jit_source;

enum jit_class {
	JIT_EXEC,		/* by the interpreter, then on */
	JIT_EXEC_END,		/* by the interpreter; the block ends */
	JIT_SAME,		/* the same instruction, operands replaced */
	JIT_NOTHING,		/* no effect */
	JIT_RAW,		/* the same bytes */
	JIT_LEA, JIT_CLI, JIT_STI, JIT_PUSHF, JIT_POPF,
	JIT_SWAPGS, JIT_STAC, JIT_CLAC, JIT_DF, JIT_FROM_SREG, JIT_FSGSBASE,
	JIT_PUSH, JIT_POP, JIT_LEAVE, JIT_STRING, JIT_X87,
	JIT_BIT_STRING, JIT_RDTSC, JIT_CPUID, JIT_RDMSR, JIT_WRMSR,
	JIT_JCC, JIT_LOOP, JIT_JMP, JIT_CALL, JIT_RET,
	JIT_JMP_IND, JIT_CALL_IND, JIT_SERIALIZE, JIT_SYSCALL, JIT_SYSRET,
};

/* Memory operands: segment base + base + index << scale + disp. */
struct jit_addr {
	uint8_t base, index;	/* guest registers or X86_REG_NONE */
	uint8_t scale, seg;	/* X86_FS, X86_GS or X86_SEG_NONE */
	uint8_t adsize;
	bool fixed;		/* @la is all */
	uint64_t la;
	int64_t disp;
};

/* What registers hold, as (version, offset): group.c. */
struct jit_value {
	uint16_t version;
	int64_t offset;
};

struct jit_values {
	struct jit_value gpr[X86_NR_GPRS];
	uint16_t versions;	/* given out; at the start register r's is r + 1 */
	uint16_t seg_base;	/* version of FS and GS bases */
};

/* An access that group.c has looked at. */
struct jit_access {
	struct jit_addr a;
	uint8_t bytes, kind;	/* X86_TLB_READ, X86_TLB_WRITE */
	uint8_t group;
	int64_t at;		/* against the group's values */
	int64_t base_at;	/* what is at the base's alone */
};

/* Accesses of one block at known distances, inside one page: one check serves all. */
struct jit_group {
	uint16_t base, index;	/* what the registers hold: versions */
	uint16_t seg_base;
	uint8_t scale, seg;
	uint8_t kind, members;
	bool fixed;		/* no registers; at is the address */
	bool stack;		/* against RSP */
	bool open;		/* has been checked */
	bool in_t1;		/* the addend, right now */
	bool apart;		/* has one access, which no other may join */
	bool hoisted;		/* is checked before the loop */
	bool sticky;		/* slot is one that keeps its page while some miss it */
	bool folded;		/* the loop's register holds the addend and the base */
	uint8_t leader;		/* + 1: the group whose page it shares (mates.c); 0: none */
	uint8_t mates;		/* how many others share its page */
	uint8_t reg;		/* the loop's register (host), or NO_REG */
	int32_t step;		/* its distance from one turn of the loop to the next */
	bool host_in_t1;	/* the host address of lo */
	int64_t lo, hi;		/* all is in [lo, hi) */
	unsigned first;		/* instruction */
	uint32_t slot;		/* index; NO_SLOT */
	uint32_t addend;	/* where it is, in hw_cpu; of one place: the page */
};

#define NO_SLOT	~0u
#define NO_REG	0xff

/* A block that is a loop: loop.c. */
struct jit_loop {
	bool on;
	bool ways;		/* has several ways through a turn: ways.c */
	bool counts;		/* turns, by a register that each one moves */
	uint8_t counter;
	bool ends;		/* when that is equal to what stays (ends.c): */
	uint8_t bound;		/* this operand of the last comparison */
	int32_t step[X86_NR_GPRS];	/* what a turn adds, or JIT_NO_STEP */
	uint32_t head;		/* where the next turn begins */
	uint16_t used;		/* guest registers that a turn may use */
	uint8_t lent[8], nr_lent;	/* guest registers whose host's it uses */
	uint8_t hosted[8];	/* the guest register that is there, or NO_REG */
	uint8_t last;		/* one that holds the counter's last value, or NO_REG */
	bool inside;		/* in a turn: they are in use */
	bool first;		/* in one of the turns before the loop */
	uint32_t first_turn, first_head; /* where they begin, where the next one does */
	uint32_t to_short;	/* rel32 of the jump where they are all that there is */
	uint8_t next_slot[2];	/* jit.next_slot before them */
	uint32_t enters;	/* offset of its hw_jit_state.enters */
	uint32_t to_enter[2];	/* rel32 of the jumps after them */
	uint32_t enter;		/* where the loop's checks begin */
};

#define JIT_NO_STEP	INT32_MIN

/* A jump inside of a block, and what holds on the way: ways.c. */
struct jit_way {
	uint32_t rel32;
	uint8_t fpu_checked, seg_checked;
	uint64_t open;		/* groups */
};

#define JIT_OUT	0xff

struct jit_insn {
	struct x86_insn i;
	uint64_t rip, next;	/* next: where the block goes on after it */
	enum jit_class class;
	uint8_t fpu;		/* enum hw_jit_fpu: what has to be live */
	uint8_t reads, changes;	/* status flags, FLAG_* */
	uint8_t writes;		/* of those that it changes: whatever they were */
	uint8_t live;		/* those that are needed after it, */
	uint8_t exact;		/* and before it whatever it does with them */
	uint32_t code;		/* offset of its translation: show.c */
	bool dead;		/* a transfer, whose target needs none */
	bool label;		/* ways lead here: ways.c */
	uint8_t to;		/* the instruction that it jumps to, or JIT_OUT */
	struct jit_way way;
	uint8_t nr_access;
	struct jit_access access[2];
};

/* The page that a block's instructions are in, as it was: line by line, once each. */
struct jit_source {
	hva_t page;
	uint64_t have;		/* lines */
	uint8_t bytes[PAGE_SIZE];
};

/* Where a direct transfer goes. */
static inline uint64_t jit_target_of(const struct jit_insn *n)
{
	uint64_t to = n->rip + n->i.len + n->i.imm;

	return n->i.mode == X86_MODE_PROT64 ? to : (uint32_t)to;
}

/* The six status flags in a byte: OF is bit 1. */
#define FLAG_ALL	0xd7
#define FLAG_CF		BIT(0)
#define FLAG_OF		BIT(1)

static inline uint8_t jit_pack_flags(uint64_t eflags)
{
	return (eflags & FLAG_ALL & ~FLAG_OF) |
	       (eflags & X86_EFLAGS_OF ? FLAG_OF : 0);
}

/* A way out of line: the interpreter does the instruction. */
struct jit_slow {
	uint64_t rip;
	uint32_t jumps[8];	/* rel32 fields that lead here */
	uint8_t  nr_jumps;
	uint8_t  kind;		/* enum slow_kind */
	bool     save;		/* flags are in the host's register on the way in */
	bool     restore;	/* ... and must be on the way back */
	bool     unwind;	/* the return stack goes */
	uint8_t  swapped;	/* AH to BH is where AL to BL should be: its number */
	bool     checked;	/* a check leads here: flags are in memory */
	bool     inside;	/* out of a loop's turn: jit_loop.inside */
	bool     head;		/* SLOW_LINK: to where a loop may begin */
	uint32_t site;		/* SLOW_FAR, SLOW_CACHE: the compare's immediate */
	uint32_t rel32;		/* SLOW_CACHE: its jump's */
	int32_t  undo;		/* RSP has moved so far, and moves back */
	uint32_t back;		/* where the instruction is over; 0: nowhere */
	uint32_t t1;		/* jit.t1 there, and what it is made of: */
	uint8_t  t1_base;	/* with this guest register, or NO_REG */
	int32_t  t1_moved;	/* which is so far from what it was */
	uint64_t fip;		/* to be stored: jit.fip */
	uint32_t code;		/* offset of what has been emitted for it: show.c */
	uint32_t fault, nr_faults; /* entries of jit.faults that land here */
};

enum slow_kind {
	SLOW_EXEC,
	SLOW_EXEC_END,		/* with @back: a CALL, whose return comes there */
	SLOW_EXEC_RET,		/* as EXEC_END; the return stack's top goes */
	SLOW_TAIL,		/* as EXEC_END; the block is made anew (check_tail()) */
	SLOW_EXEC_AWAY,		/* as EXEC; the block is not gone on with */
	SLOW_GOTO, SLOW_LINK,
	SLOW_PLAIN,		/* as LINK, to the plain variant */
	SLOW_FAR,		/* with @back: a CALL */
	SLOW_CONST,		/* no code: @rip itself */
	SLOW_CACHE,		/* a site's cache misses: with @back a CALL (indirect.c) */
	SLOW_CACHED,		/* no code: what it knows, and is always behind it */
};

/* An instruction that translated code leaves to the interpreter, ready to run. */
struct jit_exec {
	x86_exec_fn form;
	struct x86_insn insn;
};

/* FN_LINK's second argument: the site, and what it asks for. */
#define LINK_HOST	BIT(31)	/* flags are in RFLAGS there */
#define LINK_PLAIN	BIT(30)
#define LINK_BACK	BIT(29)	/* a jump back: jit_head_seen() */

/* A page that is not in its slot: a stub looks at the TLB and fills it. */
struct jit_miss {
	uint32_t jump, retry;
	uint32_t slot;		/* NO_SLOT: the TLB itself was asked */
	uint16_t bytes;
	uint8_t kind;		/* of the group */
	uint8_t own;		/* of the access that checks it */
	bool fixed;
	bool mate;		/* of a group that is elsewhere: the slot is not its own */
	bool walk;		/* try to bring the page into the TLB first */
	bool sticky;		/* the TLB serves it beside the slot: goes on at @hit, */
	uint32_t hit;		/* with the addend in T1 */
	bool shared;		/* by several accesses, or turns of a loop */
	bool single;		/* the one access of an instruction without FPU state */
	struct jit_addr lo;	/* the first byte */
	hva_t place;
	struct jit_slow *slow;	/* it is not in the TLB */
	uint64_t rip;
	uint32_t code;		/* where it was emitted */
};

/* What nothing in the control block asks to see. */
struct jit_free {
	bool sti, pushf, popf, tsc, tscp;
};

struct jit {
	struct hw_cpu *cpu;
	struct jit_free free;
	uint64_t entry_seen;	/* hw_stats.entries that free is of */
	uint8_t *rx, *rw;	/* the code, executable and writable */
	uint32_t mib;		/* its size */
	uint32_t pos;		/* end of what has been emitted */
	uint32_t start;		/* first byte for blocks: behind the stubs */
	uint32_t region;	/* of code memory: where pos is (area.c) */
	uint32_t generation;	/* counts flushes and evictions */
	uint32_t link_generation; /* counts the times that all targets were forgotten */
	bool flush_wanted;
	uint64_t stack_limit;	/* hw_jit_state.stack_limit without a request */
	bool refused;		/* the last block asked for may not be translated */
	uint8_t *here;		/* a page that fork() wipes: not 0 in its process */
	uint32_t enter, leave, exec, exec_end, kept, kept_end, exec_ret, link_host, link_mem;
	uint32_t go, go_host, far, ret_miss, recache, levels, cache_jump, cache_call[2];
	uint32_t syscall, sysret;
	uint32_t fill[HW_JIT_WHO][2];	/* by who and kind of access */
	uint32_t walk, give_back, is_long;
	uint32_t rep[JIT_NR_STRINGS][4][4];	/* by log2 of the size, REP_* (string.c) */

	struct jit_block *blocks;
	uint32_t nr_blocks, *bhash;
	struct jit_page *pages;
	uint32_t nr_pages, *phash;
	uint32_t free_page;	/* + 1, chained by next */
	uint8_t (*copies)[PAGE_SIZE];	/* of the lines of pages[] */
	/* These, blocks, sites and nears grow with the code, region by region. */
	struct jit_marks ends[JIT_REGIONS];	/* of all but the present one */
	struct jit_cross *cross;
	uint32_t nr_cross;
	struct jit_fault *faults;
	uint32_t nr_faults, nr_stub_faults;
	struct jit_exec *execs;
	uint64_t *left;		/* count.c; NULL: nobody counts */
	uint32_t nr_execs;
	uint8_t *cold;
	uint8_t *bloom;
	struct jit_victims victims;
	struct jit_site *sites;
	uint32_t nr_sites;
	uint32_t *nears;	/* rel32 of the jumps that lead, or will, to blocks of their page */
	uint32_t nr_nears;
	uint16_t *marks;	/* by jit_place(): MARK_* */
	struct jit_fails fails[JIT_NR_FAILS];
	struct jit_head heads[JIT_NR_HEADS];
	uint8_t head_jumps;	/* JIT_HEAD_JUMPS; 0: each block may be a loop */
	uint8_t next_slot[2];	/* by kind */
	uint8_t next_enters;	/* of hw_jit_state.enters */
	uint8_t first_turns;	/* of loops, before their checks; 0: none */
	uint64_t slot_since[HW_JIT_WHO * HW_JIT_SLOTS]; /* TSC: budgets begin */
	uint32_t base;		/* the hw_cpu's address, if below 2 GiB; 0: through GS */
	bool fsgsbase;		/* ... whose base the host lets us write */
	struct jit_check *check; /* NULL: none */
	struct jit *next;	/* fault.c's list */
	void *tables;

	/* The block in translation. */
	struct jit_insn insn[JIT_MAX_INSNS];
	unsigned nr;
	struct jit_slow slow[JIT_MAX_SLOW];
	unsigned nr_slow;
	struct jit_miss miss[JIT_MAX_MISS];
	unsigned nr_miss;
	struct jit_group group[JIT_MAX_GROUPS];
	unsigned nr_groups, nr_addends;
	uint64_t slots_used[HW_JIT_SLOTS / 64];	/* by the block */
	struct jit_loop loop;
	struct jit_values way_values[JIT_MAX_INSNS]; /* at each jump inside of the block */
	struct jit_insn *cur;
	enum x86_mode mode;	/* of the block: PROT64 or PROT32 */
	uint64_t rip;
	hva_t host;
	uint32_t code;
	uint32_t end, out;	/* offsets: behind the instructions; out of line */
	uint64_t not_behind;	/* a jump: jit_begin_at() */
	bool follows;		/* a jump, which is JIT_NOTHING then */
	uint8_t tail;		/* bytes of insn[0] in the next page */
	uint8_t loc;		/* FL_HOST or FL_MEM, now */
	uint8_t entry;		/* block's jit_block.flags */
	uint8_t variant;	/* ... and jit_block.variant */
	uint8_t fpu_checked;	/* bit per enum hw_jit_fpu */
	uint8_t seg_checked;	/* bits for FS and GS: hw_jit_state.seg_ok */
	bool looked_ahead;	/* at what the page's blocks were made of */
	uint64_t fip;		/* of an x87 instruction, not yet stored; 0: none */
	uint32_t t1;		/* the addend that T1 holds: jit_group.addend; 0: none */
	bool keeps_t1;		/* cur writes T1 for its operand only */
	bool t1_folded;		/* a base has been added to it, as it was then: */
	int64_t t1_base_at;	/* against its version (group.c), */
	const struct jit_group *t1_group;	/* which is this one's */
	/* The last access that used it so. */
	const struct jit_insn *t1_insn;
	uint8_t t1_base;
	int32_t t1_moved;
};

/* Bytes of an address, and of what the stack holds, in the mode of @i; in the one of the
 * block in translation. */
static inline int jit_insn_word(const struct x86_insn *i)
{
	return i->mode == X86_MODE_PROT64 ? 8 : 4;
}

static inline int jit_word(const struct jit *j)
{
	return j->mode == X86_MODE_PROT64 ? 8 : 4;
}

static inline uint32_t jit_code_bytes(const struct jit *j)
{
	return j->mib << 20;
}

/* --- regs.c ----------------------------------------------------------------------------- */

/* The host register of guest register @r, or IN_MEM. */
static inline unsigned jit_host_reg(unsigned r)
{
	return r == X86_RSP ? H_RSP : r >= 13 ? IN_MEM : r;
}

/* Liveness of the flags over the block; fills insn[].live. */
void jit_liveness(struct jit *j);
/* Status flags that are needed before @n. */
static inline uint8_t jit_live_before(const struct jit_insn *n)
{
	return n->reads | (n->live & ~n->writes) | n->exact;
}

/* RFLAGS may be overwritten from here on, if some of @live are in it they are put
 * aside first. T1 is overwritten. */
void jit_flags_free(struct jit *j, uint8_t live);
/* The flags that @n reads, or leaves, are in RFLAGS. T2 is overwritten. */
void jit_flags_need(struct jit *j, const struct jit_insn *n);
/* @n has been emitted. */
void jit_flags_done(struct jit *j, const struct jit_insn *n);

/* --- mem.c ------------------------------------------------------------------------------ */

void jit_operand_addr(const struct jit_insn *n, struct jit_addr *a);
void jit_stack_addr(const struct jit *j, struct jit_addr *a, int disp);
/*
 * The host operand that @a's @bytes are, for an access of @kind (X86_TLB_*), or off
 * to @s. Overwrites T1 and T2, and RFLAGS if it has to check (jit_flags_free()). The
 * operand is made of T1 and the guest's own registers, T2 is free: use it before you
 * change any of them.
 */
struct jit_mem jit_lookup(struct jit *j, const struct jit_addr *a, unsigned bytes,
			  unsigned kind, struct jit_slow *s);
#define TLB_OFF(field)	((uint32_t)(offsetof(struct hw_cpu, tlb_entries) +	\
				    offsetof(struct x86_tlb_entry, field)))
/* T1 = @a's linear address. With an index in memory this overwrites T2. */
void jit_linear(struct jit *j, const struct jit_addr *a);
/* T2d holds a linear address: its entry's place in the TLB. */
void jit_tlb_index(struct jit *j);
/* dst = the effective address; @w: 64 bits. Registers in memory go through T1, T2. */
void jit_ea(struct jit *j, const struct jit_addr *a, unsigned dst, bool w);
/* The check of @g, whose first byte is at @lo, or off to @s; its addend is kept. */
void jit_check_group(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
		     struct jit_slow *s);
/* The next host instruction may fault: then @s. */
void jit_may_fault(struct jit *j, struct jit_slow *s);
/* @n is over, and its way out of line comes back here. */
void jit_slow_back(struct jit *j, const struct jit_insn *n, struct jit_slow *s);

/* --- group.c, slot.c -------------------------------------------------------------------- */

/* Finds the accesses of the block that can share a check; fills access[]. */
void jit_plan(struct jit *j);
/* Every register holds something new; what it holds after @n. */
void jit_values_begin(struct jit_values *v);
void jit_values_after(struct jit_values *v, const struct jit_insn *n);
/* A slot for @g that no other group of the block has. */
uint32_t jit_slot_new(struct jit *j, const struct jit_group *g);
bool jit_varies(const struct jit *j, hva_t place);
/* ... but one page is worth a slot, which keeps it while others miss. */
bool jit_sticks(const struct jit *j, hva_t place);
/* A hit is a point, a miss costs as many as the hits that make up for it; what has been
 * gathered above a limit does not matter then, so that another page has its turn. */
#define JIT_STICKY_WEIGHT 3
#define JIT_STICKY_LIMIT 64
/* Groups that begin at @place mostly fail their check. */
bool jit_fails(const struct jit *j, hva_t place);
/* The mates of the loop at @place mostly are no mates. */
bool jit_parted(const struct jit *j, hva_t place);
/* The loop at @place mostly has more turns than it has before its checks; remember it. */
bool jit_is_long(const struct jit *j, hva_t place);
/* A jump back leads to @place: has it become clear that a loop begins there? Known before. */
bool jit_head_seen(struct jit *j, hva_t place);
bool jit_is_head(const struct jit *j, hva_t place);
/* A loop with several ways there mostly has no more turns than before its checks. */
bool jit_is_short(const struct jit *j, hva_t place);
/* FN_IS_LONG; @is_long: or it mostly has not. */
uintptr_t jit_loop_is_long(struct hw_cpu *cpu, uint64_t is_long, uint64_t t2);
/* The transfer at @place has more than one target; remember it. */
bool jit_has_many(const struct jit *j, hva_t place);
void jit_mark_many(struct jit *j, hva_t place);
/* The code there has changed. */
void jit_unmark(struct jit *j, hva_t place);
void jit_slots_create(struct hw_cpu *cpu);
/* The slots of @who are for another key than @key. */
void jit_slots_new_key(struct hw_cpu *cpu, unsigned who, uint64_t key);
void jit_forget(struct hw_cpu *cpu, uint64_t la);
void jit_take_back(struct hw_cpu *cpu, uint64_t la);
bool jit_protect(struct hw_cpu *cpu, hva_t page);
/* FN_WALK: brings @la's page into the TLB for an access; 0: the group's check will
 * succeed, and what other groups know still holds. @what: WALK_*. */
#define WALK_KIND	BIT(16)	/* X86_TLB_WRITE is what the group asks for */
#define WALK_OWN	BIT(17)	/* ... and what the access is */
#define WALK_FAULT	BIT(18)	/* a #PF is the instruction's: FN_EXEC delivers it */
#define WALK_SITE	BIT(19)	/* jit.sites has the call: failures are counted */
#define WALK_MATE	BIT(20)	/* ... this one, of a mate: there is nothing to walk for */
#define WALK_TAIL	BIT(21)	/* no walk: the bytes in the second page are not the block's */
uintptr_t jit_walk(struct hw_cpu *cpu, uint64_t la, uint64_t what);
/* FN_VARY: a slot's budget is used up. Returns @la. */
uintptr_t jit_slot_spent(struct hw_cpu *cpu, uint64_t la, uint64_t which);

/* --- ways.c ------------------------------------------------------------------------- */

/* May one be worth the look? */
bool jit_ways_may(const struct jit *j);
/* The instructions of a loop from j->rip on that has several ways: insn[]; or false. */
bool jit_ways_find(struct jit *j, struct jit_source *s);
/* What is behind @n is not the block's. */
bool jit_falls_out(const struct jit *j, const struct jit_insn *n);
/* The values where @n jumps; those at the label @k, where they are @v if it falls through;
 * for 0: at the end of a turn. */
void jit_values_jump(struct jit *j, const struct jit_insn *n, const struct jit_values *v);
void jit_values_label(const struct jit *j, unsigned k, struct jit_values *v);
/* From @n to its label; the label, where all ways meet. */
void jit_way(struct jit *j, struct jit_insn *n, unsigned cc);
void jit_label(struct jit *j, struct jit_insn *n);

/* --- loop.c, lend.c ----------------------------------------------------------------------------- */

/* May the block be a loop? May a loop have @n? */
bool jit_loop_may(const struct jit *j);
bool jit_loop_fits(const struct jit_insn *n);
/* jit_plan(), for a block that may be a loop whose checks come before it. */
void jit_loop_plan(struct jit *j);
/* ... is none: flags live when a turn begins. */
void jit_loop_off(struct jit *j);
/* ... no other than CF, which the loop leaves alone. */
bool jit_loop_keeps_carry(const struct jit *j);
/* The turns before the loop: false: none. Each access is checked in these. */
bool jit_loop_first(struct jit *j);
void jit_loop_first_end(struct jit *j);
/* What is looked at before the first turn. */
void jit_loop_enter(struct jit *j);
/* On to the next turn from @n; no flags are needed. */
void jit_loop_next(struct jit *j, struct jit_insn *n);
/* Does a turn need a register in memory often? */
bool jit_loop_hosts(const struct jit *j);
/* All is checked: from here on the loop may use registers of the host's. */
void jit_loop_lend(struct jit *j);
/* The guest's registers are in the host's again, and back in a turn. The flags stay. */
void jit_loop_leave(struct jit *j);
void jit_loop_resume(struct jit *j);
/* The operand that @x is, whose group has a register of the loop. */
struct jit_mem jit_loop_operand(struct jit *j, const struct jit_access *x,
				const struct jit_group *g);
/* The register that holds @version when the block begins, or -1. */
static inline int jit_version_reg(uint16_t version)
{
	return version && version <= X86_NR_GPRS ? version - 1 : -1;
}

static inline bool jit_is_back_edge(const struct jit *j, const struct jit_insn *n)
{
	return n->class >= JIT_JCC && n->class <= JIT_CALL && n->class != JIT_CALL &&
	       n->class != JIT_LOOP && jit_target_of(n) == j->rip;
}

/* --- rows.c ----------------------------------------------------------------------------- */

void jit_classify(const struct jit *j, struct jit_insn *n);
/* Number of the operand in memory, or -1. */
int jit_mem_operand(const struct x86_insn *i);

/* --- same.c ----------------------------------------------------------------------------- */

void jit_same(struct jit *j, struct jit_insn *n);
/* Is the part @kind (enum hw_jit_fpu) of the FPU state there? If not off to @s. */
void jit_check_fpu(struct jit *j, unsigned kind, struct jit_slow *s);
/* The general register that operand @k is, or -1; it is one of AH to BH. */
int jit_gpr_operand(const struct x86_insn *i, int k);
bool jit_is_high8(const struct x86_insn *i, int k);
/* xchg @high, what it is the second byte of. */
void jit_swap_high(struct jit *j, unsigned high);

/* --- string.c ----------------------------------------------------------------------- */

bool jit_string_fits(const struct x86_insn *i);
/* Has a repeat prefix: a count of 0 leaves all as it is. */
bool jit_is_rep(const struct x86_insn *i);
void jit_string(struct jit *j, struct jit_insn *n);
/* Among the stubs; calls emit.c's. */
void jit_string_stubs(struct jit *j);

/* --- bits.c, tsc.c -------------------------------------------------------------------- */

bool jit_is_bit_string(const struct x86_insn *i);
bool jit_bit_string_fits(const struct x86_insn *i);
void jit_bit_string(struct jit *j, struct jit_insn *n);
void jit_rdtsc(struct jit *j, struct jit_insn *n);
void jit_cpuid(struct jit *j, struct jit_insn *n);
void jit_rdmsr(struct jit *j, struct jit_insn *n);
void jit_wrmsr(struct jit *j, struct jit_insn *n);

/* --- x87.c ---------------------------------------------------------------------------- */

void jit_x87(struct jit *j, struct jit_insn *n);
/* The x87 instruction pointer to where the interpreter looks. No flags, no registers. */
void jit_fip_store(struct jit *j, uint64_t fip);
void jit_fip_flush(struct jit *j);

/* --- eflags.c: CLI, STI, PUSHF, POPF ----------------------------------------------- */

/* op dword gs:[c.eflags], imm; op: the digit of opcode 81. */
void jit_eflags_imm(struct jit *j, unsigned digit, uint32_t v);
/* Unless the byte at @disp is set the interpreter does @n. RFLAGS are free then. */
struct jit_slow *jit_check(struct jit *j, struct jit_insn *n, uint32_t disp);
void jit_cli_sti(struct jit *j, struct jit_insn *n);
void jit_pushf(struct jit *j, struct jit_insn *n);
void jit_popf(struct jit *j, struct jit_insn *n);

/* --- system.c ---------------------------------------------------------------------- */

void jit_swapgs(struct jit *j, struct jit_insn *n);
void jit_stac(struct jit *j, struct jit_insn *n);
void jit_clac(struct jit *j, struct jit_insn *n);
void jit_fsgsbase(struct jit *j, struct jit_insn *n);
void jit_df(struct jit *j, struct jit_insn *n);
void jit_from_sreg(struct jit *j, struct jit_insn *n);

/* --- level.c ------------------------------------------------------------------------- */

void jit_syscall(struct jit *j, struct jit_insn *n);
void jit_sysret(struct jit *j, struct jit_insn *n);
/* Among the stubs. */
void jit_level_stubs(struct jit *j);

/* --- stack.c, calls.c, flow.c, indirect.c ----------------------------------------------- */

void jit_push(struct jit *j, struct jit_insn *n);
void jit_pop(struct jit *j, struct jit_insn *n);
void jit_leave(struct jit *j, struct jit_insn *n);

void jit_jcc(struct jit *j, struct jit_insn *n);
void jit_loop(struct jit *j, struct jit_insn *n);
void jit_jmp(struct jit *j, struct jit_insn *n);
void jit_serialize(struct jit *j, struct jit_insn *n);
void jit_call(struct jit *j, struct jit_insn *n);
void jit_ret(struct jit *j, struct jit_insn *n);
void jit_call_indirect(struct jit *j, struct jit_insn *n);
void jit_indirect(struct jit *j, struct jit_insn *n);
/* T1 = the target of an indirect transfer; RFLAGS are in memory before. */
void jit_load_target(struct jit *j, struct jit_insn *n, struct jit_slow *s);
/* On to @rip. @cc: CC_ALWAYS or CC_CALL. */
void jit_goto(struct jit *j, unsigned cc, uint64_t rip);
/* ... to @n's target. */
void jit_goto_target(struct jit *j, unsigned cc, const struct jit_insn *n);
/* cmp gs:[request], 0 */
void jit_compare_request(struct jit *j);
/*
 * T1 holds a target: T2 its entry in hw_jit_state.hash, or off by the jumps. T1 is lost.
 * jit_seek_target(): off to @s. jit_jump_target() goes there, cc as above.
 */
void jit_find_target(struct jit *j, uint32_t miss[2]);
void jit_seek_target(struct jit *j, struct jit_slow *s);
void jit_jump_target(struct jit *j, unsigned cc);
/*
 * T1 holds a target. Does the site of @n know it? If not all is left to a
 * stub. What comes next is the rest of the hit, with jit_cache_jump(), behind which a CALL
 * comes back. NULL: the site has no cache.
 */
struct jit_slow *jit_cache_ask(struct jit *j, const struct jit_insn *n);
void jit_cache_jump(struct jit *j, struct jit_slow *c, unsigned cc);
/* Out of line. */
void jit_cache_miss(struct jit *j, struct jit_slow *c);
void jit_cache_data(struct jit *j, const struct jit_slow *s);
/* Among the stubs. */
void jit_cache_stubs(struct jit *j);
/* FN_CACHE */
uintptr_t jit_cache_link(struct hw_cpu *cpu, uint64_t cached, uint64_t index);
/* cmp qword gs:[link_epoch], JIT_NO_EPOCH: what the immediate, which is returned, says
 * after jit_link_epoch(), while the present context's targets are valid; @rel32 leads to
 * @code then. False: there are no links. */
uint32_t jit_compare_epoch(struct jit *j);
bool jit_link_epoch(struct jit *j, uint32_t site, uint32_t rel32, uint32_t code);
/* The interpreter does @n. */
void jit_exec_insn(struct jit *j, struct jit_insn *n, bool end);
/* ... or the stub @to, which takes what jit.kept_end does. */
void jit_exec_by(struct jit *j, struct jit_insn *n, unsigned cc, uint32_t to);
struct jit_slow *jit_slow_add(struct jit *j, enum slow_kind kind, uint64_t rip);
void jit_slow_jump(struct jit *j, struct jit_slow *s, unsigned cc);
void jit_slow_emit(struct jit *j);
void jit_miss_emit(struct jit *j);
/* Where the instruction is in host memory. */
static inline hva_t jit_insn_host(const struct jit *j, const struct jit_insn *n)
{
	return j->host + (n->rip - j->rip);
}
/* What stands for one of its accesses: the instruction, or its second byte for the stack
 * of one that has another operand in memory. */
static inline hva_t jit_place(const struct jit *j, const struct jit_insn *n, bool stack)
{
	return jit_insn_host(j, n) + (stack && n->nr_access > 1);
}

/* hw_cpu.link_epoch, 31 bits: generation and key (12 bits). The last generation has
 * no links. */
#define JIT_NO_EPOCH	UINT32_MAX	/* of a far jump that is not linked */
#define JIT_MAX_LINK_GENERATION ((1u << 19) - 1)
/* In hw_jit_state.key: above the 12 bits of a context's, which are above a request's. */
#define JIT_KEY_CODE32	BIT_ULL(32 + 12)
/* Where a target is in hw_jit_state.hash. */
#define JIT_TARGET_FACTOR 0x9e3779b1u
static inline unsigned jit_target_index(uint64_t rip)
{
	return (uint32_t)rip * JIT_TARGET_FACTOR >> (32 - HW_JHASH_BITS);
}

/* --- count.c -------------------------------------------------------------------------- */

/* The interpreter has done @insn; @slow: it has a translation. */
void jit_left_add(struct jit *j, const struct x86_insn *insn, bool slow);
bool jit_left_next(const struct hw_cpu *cpu, struct hw_left *l);

/* --- block.c, cache.c, fault.c, helpers.c ------------------------------------------------ */

/* Instructions of the page @s, from j->rip on, that make a block: insn[], as
 * j->variant is run; none: the first is in two pages, or undefined. */
void jit_discover(struct jit *j, struct jit_source *s);
/* The block's instruction at @rip; NULL: it has none. */
const struct jit_insn *jit_insn_at(const struct jit *j, uint64_t rip);
/* Blocks do not go on at @rip, @host behind a jump, but begin there. */
void jit_begin_at(struct jit *j, uint64_t rip, hva_t host);
/* Reads these lines, if @s does not have them; false: they cannot be read. */
bool jit_source_get(struct jit_source *s, uint64_t lines);
/* The instruction at @rip; false: it is in two pages, or undefined. */
bool jit_decode(struct jit *j, struct jit_source *s, uint64_t rip, struct jit_insn *n);
/* Translates the code at @rip, @host for an entry with flags at @loc. NULL: cannot. */
struct jit_block *jit_translate(struct jit *j, uint64_t rip, hva_t host,
				uint8_t loc, uint8_t variant);
int jit_create(struct hw_cpu *cpu);
void jit_destroy(struct hw_cpu *cpu);
struct jit_block *jit_block_find(struct jit *j, uint64_t rip, hva_t host,
				 uint8_t loc, uint8_t variant);
/* The block after @b (NULL: the first) of those at @rip and @host, for any entry. */
struct jit_block *jit_block_next(struct jit *j, uint64_t rip, hva_t host,
				 const struct jit_block *b);
/* The block after @b (NULL: the first) of those of @page. */
struct jit_block *jit_page_next(struct jit *j, hva_t page, const struct jit_block *b);
/* Nothing finds it any more. */
void jit_drop_block(struct jit *j, struct jit_block *b);
/* The bytes at @host that blocks of its page were made of; @room: how many follow. */
const uint8_t *jit_page_bytes(struct jit *j, hva_t host, unsigned *room);
/* The lines that the block is made of. */
uint64_t jit_code_lines(const struct jit *j);
/* A new block's record, in its tables; NULL: what it looked at has changed. */
struct jit_block *jit_block_new(struct jit *j);
/* All blocks into the tables, pages without any out of them. */
void jit_blocks_chain(struct jit *j);
/* Nothing is known about where any rip goes; links to other pages are void. */
void jit_forget_targets(struct jit *j);

/* --- area.c -------------------------------------------------------------------------- */

/* Is there no room for one more block? Then some, at the expense of the oldest. */
bool jit_full(const struct jit *j);
void jit_make_room(struct jit *j);
/* Everything goes. */
void jit_flush(struct jit *j);
unsigned jit_region_of(const struct jit *j, uint32_t pc);
/* A region's share of the tables, and how much of it is in use. */
struct jit_marks jit_region_begin(const struct jit *j, unsigned r);
struct jit_marks jit_region_end(const struct jit *j, unsigned r);
/* The jump at @site, which leads to another place of its page, leads to @code. */
void jit_link_near(struct jit *j, uint32_t site, uint32_t code);
/* Is this a child? Then its own code area, or -ENOMEM. */
int jit_after_fork(struct jit *j);

/* --- block.c, cache.c, fault.c, helpers.c: the rest ----------------------------------- */

void jit_drop(struct hw_cpu *cpu, hva_t page);
void jit_mapped(struct hw_cpu *cpu, hva_t page);
void jit_keys_reset(struct hw_cpu *cpu);
void jit_page_flushed(struct hw_cpu *cpu, uint64_t la, unsigned shift);
/* Remembers where @rip goes in the present context. */
void jit_target_set(struct jit *j, uint64_t rip, const struct jit_block *b);
bool jit_target_again(struct jit *j, uint64_t rip);
/*
 * Before a block's first byte: where a block that is dropped goes, on to its @rip.
 * Jumps that are linked to it need not be found.
 */
void jit_tombstone(struct jit *j, uint64_t rip, bool flags_in_host);
#define JIT_TOMBSTONE	16
/* Links the jump to another page at @site (flow.c) to @code, while the present
 * context's targets are valid. */
void jit_link_far(struct jit *j, uint32_t site, uint32_t code);
/* retranslate.c: the block whose code @pc is in is made anew. */
void jit_retranslate(struct jit *j, uint32_t pc);
/* If @host's page was mapped anew: drops what does not match memory any more. */
void jit_page_check(struct jit *j, hva_t host);
/* Executions of what is at @host until it is translated. */
static inline uint8_t *jit_cold(struct jit *j, hva_t host)
{
	return &j->cold[(host * 0x9e3779b97f4a7c15ull) >> (64 - JIT_COLD_BITS)];
}

/*
 * The entry of @pc in a table of @n entries of @size bytes, which begin with a uint32_t
 * pc and are in its order; NULL: none. Async-signal-safe.
 */
static inline const void *jit_at(const void *table, uint32_t n, size_t size,
				 uint32_t pc)
{
	const char *entry = table;
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (*(const uint32_t *)(entry + mid * size) < pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	entry += lo * size;
	return lo < n && *(const uint32_t *)entry == pc ? entry : NULL;
}

void jit_faults_add(struct jit *j);
void jit_faults_remove(struct jit *j);

void jit_run(struct hw_cpu *cpu);
/* hw_jit_state from the state proper. */
void jit_refresh(struct hw_cpu *cpu);
/* FN_LEVELS: what SYSCALL and SYSRET have to know of both levels. */
uintptr_t jit_levels(struct hw_cpu *cpu, uint64_t t1, uint64_t t2);
/* Till the next jit_refresh() SYSCALL and SYSRET are C's to do: a level's key is another. */
void jit_void_levels(struct hw_cpu *cpu);
/* ... and the flags back. */
void jit_status_in_eflags(struct hw_cpu *cpu);
/* The present context is one whose code is translated. */
bool jit_is_translated(const struct hw_cpu *cpu);
/* The block at rip for an entry with the flags at @loc; NULL: the interpreter's.
 * @plain: JIT_PLAIN or 0. Refresh after it. */
struct jit_block *jit_get_block(struct hw_cpu *cpu, uint8_t loc, uint8_t plain);
/* Runs from @code on until C is asked to leave. */
void jit_enter(struct hw_cpu *cpu, uintptr_t code);
/* The interpreter does the instruction at @rip; @nr: it is number @nr - 1 of jit.execs.
 * False: its block is not gone on with. */
bool jit_exec(struct hw_cpu *cpu, uint64_t rip, uint32_t nr);
/* hw_jit_state.fn: called by the stubs. Each returns where to go on. */
enum {
	FN_EXEC, FN_EXEC_END, FN_GO, FN_LINK, FN_FAR, FN_VARY, FN_WALK, FN_GIVE_BACK,
	FN_IS_LONG, FN_ARRIVE, FN_CACHE, FN_LEVELS,
};
_Static_assert(FN_LEVELS < HW_JIT_FNS, "hw_jit_state.fn");
void jit_helpers_init(struct hw_cpu *cpu);

/* --- check.c: lock-step with the interpreter (jit_check) ------------------------------------ */

/* When jit_check asks for it. */
int jit_check_create(struct jit *j);
void jit_check_destroy(struct jit *j);
/* The C functions become those of the check. */
void jit_check_init(struct hw_cpu *cpu);
/* Among the stubs. */
void jit_check_stubs(struct jit *j);
/* Does lock-step run block by block, or several with their links? */
bool jit_check_by_block(const struct jit *j);
/* Room at a block's entry, for lock-step with several. */
void jit_check_entry(struct jit *j);
#define JIT_CHECK_ENTRY	5
void jit_check_new_block(struct jit *j, struct jit_block *b);
void jit_check_run(struct hw_cpu *cpu);
void jit_check_will_write(struct hw_cpu *cpu, uint64_t la, void *p, unsigned n);
void jit_check_entry_marked(struct hw_cpu *cpu, void *p);
const char *jit_check_failure(struct hw_cpu *cpu);

/* What has all of the above. */
#include "jit/emit.h"

#endif
