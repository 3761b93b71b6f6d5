/* SPDX-License-Identifier: MIT */
/*
 * The inside of a logical processor, shared by the files of hw/ and jit/.
 *
 * Three parts meet here:
 *   core   (cpu.c run.c tlb.c victims.c events.c msr.c cpuid.c dr.c ops.c): executes a guest
 *          under a vendor-neutral control block and knows no VMCS and no VMCB;
 *   vmx/svm engines (vmx_*.c svm_*.c): check a VMCS or VMCB at entry, compile
 *          it into the control block, load guest state into the core, and after
 *          the exit write state and exit information back in the vendor's form.
 * The engine calls hw_run() between; the core calls nobody's vendor code.
 */
#ifndef ANYKVM_HW_STATE_H
#define ANYKVM_HW_STATE_H

#include "emul/emulate.h"
#include "hw/hw.h"
#include "paging/paging.h"

#define HW_TLB_BITS	13
#define HW_TLB_SIZE	(1u << HW_TLB_BITS)

/* Second-dimension exits carry enum paging_fault in x86_exception.exit. */

/* How permission bitmaps for MSRs are laid out. */
enum hw_msrpm_format { HW_MSRPM_NONE /* every access exits */, HW_MSRPM_VMX,
		       HW_MSRPM_SVM };

/*
 * The control block: what leaves the guest, in no vendor's terms. Compiled at
 * entry, constant while the guest runs but for the fields marked (run).
 */
struct hw_ctl {
	/* Bit per enum x86_intercept. For those that depend on an operand (CR, DR,
	 * MSR, IO, EXCEPTION) the bit says "look at the fields below". */
	uint64_t intercepts[(X86_NR_INTERCEPTS + 63) / 64];
	uint32_t exceptions;		/* bit per vector */
	uint32_t pf_error_mask, pf_error_match;	/* VMX; SVM: mask 0, match 0 */
	uint16_t cr_read, cr_write;	/* bit per control register: always exits */
	uint16_t dr_read, dr_write;
	/* VMX masks and shadows; SVM leaves them 0. A MOV to CR0/CR4 that
	 * changes (relative to the shadow) a masked bit exits. */
	uint64_t cr0_mask, cr0_shadow, cr4_mask, cr4_shadow;
	uint64_t cr3_target[4];
	uint8_t  cr3_target_count;
	/* VMX: bits that must be 1/0 in CR0/CR4 while in VMX operation (#GP). */
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	/* SVM CR0 selective write: exits unless only TS or MP change. */
	bool     cr0_selective;

	bool     io_all;		/* unconditional I/O exiting */
	const uint8_t *io_bitmap[2];	/* VMX: A (0-7fff) and B; SVM: [0], 64K+3 bits */
	enum hw_msrpm_format msrpm_format;
	const uint8_t *msrpm;		/* 4 KiB (VMX), 8 KiB (SVM) */

	/* Second dimension. format PAGING_NONE: none (shadow paging above us). */
	enum paging_format tdp_format;
	uint64_t tdp_root;		/* EPTP or nCR3 */
	uint32_t tdp_flags;		/* PAGING_* environment for tdp walks */
	bool     tdp_npt;		/* NPF exits, user-mode rules of NPT */
	uint16_t asid;			/* VPID or ASID; 0: flush at every entry */

	uint64_t tsc_offset;
	uint64_t tsc_multiplier;	/* 48.48-like: see tsc_frac; 0: none */
	uint8_t  tsc_frac;		/* fraction bits: 48 (VMX), 32 (SVM) */

	/* External interrupts of the host always exit (EXTINT). Virtual NMIs: */
	bool     virtual_nmi;		/* (run) NMI blocking is tracked, see nmi_blocked */
	/* SVM V_INTR: a virtual interrupt that the processor delivers by itself
	 * when IF, GIF and V_TPR allow; VINTR intercept exits instead. (run) */
	bool     v_irq, v_ign_tpr, v_intr_masking;
	uint8_t  v_intr_vector, v_intr_prio, v_tpr;
	bool     host_if;		/* SVM without V_INTR_MASKING: guest IF gates host INTR */
	/* VMX TPR shadow. */
	bool     tpr_shadow;
	uint8_t *vapic_page;		/* VTPR at 0x80 */
	uint8_t  tpr_threshold;
	/* VMX preemption timer: absolute host TSC, UINT64_MAX: off. (run) */
	uint64_t preemption_deadline;
	bool     mtf;			/* monitor trap flag */
	/* PAUSE loops: count 0: the intercept bit alone decides. */
	uint32_t pause_count;		/* (run) SVM filter / PLE window */
	uint32_t ple_gap, ple_window;
	/* Injected at entry; type 0xff: none. */
	struct x86_event inject;
	bool     inject_valid;
	uint8_t  inject_len;		/* instruction length, software events */
	bool     entry_to_shutdown;	/* reserved */
};

/* An exit as the core reports it. */
struct hw_exit {
	enum x86_intercept id;
	/* By id: EXCEPTION: in @exc. CR: number | 0x100 for reads, @gpr. IO: port.
	 * MSR: index. DR: number | 0x100 for reads. TASK_SWITCH: selector |
	 * reason << 16 (enum x86_task_switch) | has_error_code << 20.
	 * INVLPG...: linear address. SWINT: vector. LMSW: source operand. */
	uint64_t arg;
	uint64_t val;		/* value to be written; error code of a task switch */
	uint8_t  gpr;		/* CR/DR: which register */
	struct x86_exception exc; /* EXCEPTION, TDP_FAULT, TDP_MISCONFIG */
	uint8_t  exc_type;	/* enum x86_event_type of an EXCEPTION exit */
	bool     mem_operand;	/* LMSW, SGDT, VMPTRLD...: @la, @ea of it */
	uint64_t la;		/* linear address where one is reported */
	bool     la_valid;
	uint64_t ea;		/* effective address (INS/OUTS/INVEPT operands) */
	/* I/O */
	uint8_t  io_size;
	bool     io_in, io_string, io_rep;
	/* The instruction: length, and whether it caused this exit. */
	bool     by_insn;
	uint64_t next_rip;	/* rip after it */
	/* Delivery of this event through the IDT met the exit. */
	bool     vectoring;
	struct x86_event vectoring_event;
	bool     nmi_unblocked_by_iret;
};

/* cpu->request: why the run loop must look up. Set by any thread. */
#define HW_REQ_KICK	BIT(0)	/* hw_kick() */
#define HW_REQ_FLUSH	BIT(4)	/* hw_request_flush() */
#define HW_REQ_CODE	BIT(5)	/* news of code pages: code.c */
/* Set by the processor itself. */
#define HW_REQ_EVENT	BIT(1)	/* IF, shadow, windows, TF, V_INTR: reconsider */
#define HW_REQ_EXIT	BIT(2)	/* cpu->exit is filled: leave */
#define HW_REQ_TIMER	BIT(3)	/* reserved */

/*
 * A decoded instruction that has been seen at a host address. It is valid as
 * long as host memory still holds the same bytes, which every use checks: the
 * first 8 under a mask, those after with a second compare when @mask_hi says
 * that there are any. The first 64 bytes are all that the lookup touches.
 */
#define HW_ICACHE_BITS	17
#define HW_ICACHE_INDEX_BITS 18
struct hw_icache_entry {
	uint64_t tag;		/* host address ^ mode << 56 ^ 1 << 63; 0: empty */
	x86_exec_fn exec;
	uint64_t bytes, mask;
	uint64_t bytes_hi, mask_hi;
	struct hw_icache_entry *next;	/* that ran after this one last; a guess */
	uint64_t pad;
	struct x86_insn insn;
} __attribute__((aligned(64)));

struct hw_msrs {
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux, xss;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, debugctl, spec_ctrl, tsc_adjust, hsave_pa, vm_cr;
	uint64_t tsc_ratio;		/* AMD: 8.32 fixed point */
	uint64_t feature_control, misc_enable, apic_base;
	uint64_t perf_global_ctrl, bndcfgs;
	uint64_t pkrs, umwait_control;
};

struct hw_vmx {			/* VMX operation: vmx_*.c own it */
	bool on;
	hpa_t vmxon_region;
	void *current;		/* struct vmcs *, NULL: none */
	void *live;		/* struct vmcs * whose guest state and controls
				 * are in the core, NULL: nobody's */
	uint64_t features[4];	/* c.features: those that the controls enable */
	uint64_t cr4_fixed1;
};

struct hw_svm {			/* svm_*.c own it */
	bool gif;		/* of the host: STGI, CLGI */
	hpa_t vmcb;		/* last one run */
	bool compiled;		/* hw_cpu.ctl is SVM's, with these intercepts: */
	uint32_t intercepts[6];
	uint64_t cr4_bits;	/* CR4 bits that exist, 0: not computed yet */
	uint8_t by_code[96];	/* exit codes 60h-BFh: enum x86_intercept */
};

/*
 * Answers that stand until the guest leaves (in_place.c). An answer's place is the low
 * bits of its leaf or index; an empty place holds a number that belongs in another.
 */
#define HW_NR_KEPT	16
struct hw_kept_cpuid {
	uint32_t leaf, subleaf, out[4];
	uint64_t pad;
};
struct hw_kept_msr {
	uint32_t msr, pad;
	uint64_t val;
};

/* Which page the last access in place of a kind went to. */
struct hw_device_page {
	uint64_t tag;		/* as in the TLB, or X86_TLB_NONE */
	uint64_t gpa;
};

struct hw_exits_in_place {
	const struct hw_in_place_ops *ops;	/* NULL: every exit leaves */
	void *owner;
	uint64_t *exits;
	bool kept;		/* there are answers */
	struct hw_kept_cpuid cpuid[HW_NR_KEPT];
	struct hw_kept_msr msr[HW_NR_KEPT];
	struct hw_device_page page[2];	/* X86_TLB_READ, X86_TLB_WRITE */
};

/* Where execution goes on for a rip in a context, see jit/flow.c. */
#define HW_JHASH_BITS	12
struct hw_jit_targets {
	uint64_t rip[1u << HW_JHASH_BITS];
	uint64_t key[1u << HW_JHASH_BITS];	/* hw_jit_state.key; 0: none */
	uint64_t code[1u << HW_JHASH_BITS];
};

/* Instructions by what they ask of the FPU state and the control registers. */
enum hw_jit_fpu { HW_JIT_NO_FPU, HW_JIT_SSE, HW_JIT_YMM, HW_JIT_ZMM,
		  HW_JIT_X87 };

/*
 * The page that a place of translated code used last: what lies inside it needs no
 * look at the TLB (jit/slot.c). Each who has its own, and of these one half is for
 * reads and one, whose pages may be written, for the rest.
 */
#define HW_JIT_SLOTS	256
#define HW_JIT_WHO	2	/* supervisor, user */
#define HW_JIT_NO_PAGE	(1ull << 63)	/* not canonical: an access faults in the host */
struct hw_jit_slot {
	uint64_t lo;		/* the page, or HW_JIT_NO_PAGE */
	uintptr_t addend;	/* as in the TLB */
	uintptr_t host;		/* of the page */
	int32_t budget;		/* refills that nobody minds */
	uint32_t score;		/* of a sticky place: hits against misses (jit/slot.c) */
};

#define HW_JIT_FNS	12

/* What translated code may do by itself; moved as one. */
struct hw_jit_rights {
	uint8_t cli;		/* CPL 0 */
	uint8_t sti;		/* ... and nothing waits for IF */
	uint8_t pushf, popf;	/* not intercepted; POPF: sti too */
	uint8_t tsc;		/* RDTSC reads the host's TSC + tsc_add */
	uint8_t tscp;		/* and RDTSCP is there */
	uint8_t syscall, sysret; /* to the other level of hw_jit_state.level */
};
_Static_assert(sizeof(struct hw_jit_rights) == 8, "a register's");

struct hw_jit_level {
	uint64_t key;		/* as hw_jit_state.key; 0: there is none yet */
	struct hw_jit_rights ok;
	uint32_t link_epoch;
};

/* What translated code addresses: jit/emit.c, emit_cpu(). */
struct hw_jit_state {
	uint64_t key;		/* c.tlb_key << 32; JIT_KEY_CODE32: 32-bit code */
	struct hw_jit_rights ok;
	/* By who: 64-bit code of this space at CPL 0 and 3, for what changes the level. */
	struct hw_jit_level level[HW_JIT_WHO];
	uint8_t levels;		/* level[], ok.syscall and ok.sysret are up to date */
	uint8_t who;		/* runs now */
	uint8_t context;	/* ... and JIT_CODE32 */
	uint64_t tmp;		/* of one instruction */
	uint64_t tsc_add;
	uint64_t host_gs;
	uint64_t host_sp;	/* with an empty return stack (jit/calls.c) */
	uint64_t stack_limit;	/* of the return stack; UINT64_MAX: a request */
	/* A REP at work: its rip, iterations beyond the present run, addends. */
	struct {
		uint64_t rip, rest, si, di;
	} rep;
	uint64_t fn[HW_JIT_FNS]; /* C functions that it calls */
	/* Where WRMSR to FS_BASE, GS_BASE, KERNEL_GS_BASE has stored in the hw_cpu since the
	 * entry; 0: ask whether it exits. */
	uint64_t base_at[3];
	uint64_t spill[2], site, walk_from;	/* of the stubs that fill slots */
	uint64_t addend[16];	/* of one block's groups of accesses */
	uint64_t tmp_addend;	/* of one access */
	uint64_t turns;		/* of a loop (jit/loop.c), while it is entered */
	int32_t  first;		/* turns that it has before it is entered */
	int8_t   enters[256];	/* how often loops came so far (jit/loop.c) */
	uint64_t last;		/* its counter, after the last turn that is checked */
	uint64_t lent[8];	/* guest registers whose host's a loop uses */
	uint64_t made[8];	/* what the loop holds in them */
	uint32_t relink;	/* lookups by jumps to other pages until one is linked */
	uint32_t recache;	/* misses of caches until a site is looked at (jit/indirect.c) */
	uint32_t flags;		/* status flags, packed as in emul/alu.h */
	uint8_t  fpu_ready[5];	/* state is live and the control registers allow it */
	uint8_t  unwind;	/* the return stack is void */
	uint8_t  faulted;	/* c.exception is what the instruction left to C gets */
	uint8_t  seg_ok[2];	/* 32-bit code: FS, GS are writable and of 4 GiB */
	struct hw_jit_targets hash;
	struct jit *jit;	/* jit/'s own */
	struct hw_jit_slot slot[HW_JIT_WHO * HW_JIT_SLOTS];
	uint64_t filled[HW_JIT_WHO * HW_JIT_SLOTS / 64];
	uint64_t slot_key[HW_JIT_WHO];	/* c.tlb_key that a who's slots are for */
	uint64_t slot_gen;	/* counts what took pages from the TLB */
	uint8_t  low_filled;	/* a slot of the supervisor's has had a low address */
};

/* The translator, as the core calls it. All but create on the processor's thread. */
struct hw_jit_ops {
	/* 0, or -errno. */
	int (*create)(struct hw_cpu *cpu);
	void (*destroy)(struct hw_cpu *cpu);
	/* Runs until cpu->request has a bit set, or for a while. */
	void (*run)(struct hw_cpu *cpu);
	/* TLB keys begin anew; one page (a page of @shift bits) has been flushed. */
	void (*keys_reset)(struct hw_cpu *cpu);
	/* An access has given the present space's supervisor another key. */
	void (*key_changed)(struct hw_cpu *cpu);
	void (*page_flushed)(struct hw_cpu *cpu, uint64_t la, unsigned shift);
	/* No translation of page @la (~0: of any) holds any more. */
	void (*forget)(struct hw_cpu *cpu, uint64_t la);
	/* The user's page @la is not the supervisor's any more. */
	void (*take_back)(struct hw_cpu *cpu, uint64_t la);
	/* Host page @page (0: none) may not be written from now on; could it be? */
	bool (*protect)(struct hw_cpu *cpu, hva_t page);
	/* The code in host page @page has changed; 0: all code may have. */
	void (*drop)(struct hw_cpu *cpu, hva_t page);
	/* @page has been mapped for execution: it may have changed before. */
	void (*mapped)(struct hw_cpu *cpu, hva_t page);
	bool (*left_next)(const struct hw_cpu *cpu, struct hw_left *l);
	/* While hw_cpu.watched: the @n bytes at @p, which @la leads to, will be written. */
	void (*will_write)(struct hw_cpu *cpu, uint64_t la, void *p, unsigned n);
	/* ... a walk has set the accessed or dirty bit of the page-table entry at @p. */
	void (*entry_marked)(struct hw_cpu *cpu, void *p);
	/* hw_check_failure() */
	const char *(*failure)(struct hw_cpu *cpu);
};

struct hw_cpu {
	struct x86_emulate_ctxt c;	/* first: the registers themselves */
	/* jit/flow.c looks at request with what is before it, or behind it, at once. */
	uint32_t link_epoch __attribute__((aligned(16)));
	uint32_t request;		/* HW_REQ_*, atomic */
	uint32_t target_key;		/* upper half of jit.key, whose lower one is 0 */
	uint32_t activity;		/* enum hw_activity */
	uint32_t waiting;		/* asleep in hw_wait(), atomic */

	uint64_t dr[4], dr6, dr7;
	struct hw_msrs msr;
	uint64_t pdptr[4];		/* PAE paging */
	uint64_t tsc_base;		/* host TSC at which this processor's was 0 */

	uint8_t  shadow;		/* X86_SHADOW_* over the next instruction */
	bool     nmi_blocked;
	bool     iret_faulted;		/* blocked NMIs, and c.exception is its own */
	bool     pending_nmi;		/* NMI waiting (injected by hardware) */
	uint64_t pending_db;		/* pending debug exceptions (DR6 bits, BIT(12)) */
	uint64_t db_match;		/* data breakpoints met by this instruction */
	bool     db_data, db_exec;	/* DR7 arms any of that kind */
	bool     step;			/* next instruction: by itself, see run.c */
	bool     mtf_pending;
	uint64_t host_efer;		/* EFER of root operation: SVME */
	uint64_t pause_first, pause_last; /* PLE, in guest TSC */

	bool     in_guest;
	struct hw_ctl ctl;
	struct hw_exit exit;
	bool     host_error;
	hva_t    host_error_at;
	bool     watched;	/* guest memory is read and written by callbacks only, and
				 * jit_ops->will_write() told: the writes may be undone */
	bool     check_failed;	/* hw_check_failure() */

	/* TLB: see tlb.c */
	struct x86_tlb_entry *tlb;	/* HW_TLB_SIZE */
	struct hw_tlb *tlb_priv;	/* tlb.c's own */
	/* The present space's keys, the supervisor's and the user's; 0: none yet. */
	const uint16_t *level_key[2];
	/* A walk for translated code that has left the guest: the instruction that it was
	 * for is the next to run, and need not make it again. */
	struct {
		bool     valid;
		uint8_t  kind;
		uint64_t la;
		struct x86_exception e;
	} walked;
	uint32_t nr_lent;	/* user pages that the supervisor uses while SMAP is
				 * suspended */

	/*
	 * Fetch window: rips in [win_start, win_start + win_len) are in one page
	 * that the present context may execute, inside CS's limit, and at least 16
	 * bytes before the page's end. Host address = win_host + rip - win_start.
	 * win_len 0: no window.
	 */
	uint64_t win_start, win_len;
	uintptr_t win_host;
	uint64_t win_mode;		/* ^ host address = icache tag */
	struct hw_icache_entry *icache;	/* 1 << HW_ICACHE_BITS, a ring */
	uint32_t *icache_index;		/* hash of the host address -> entry */
	uint32_t icache_pos;		/* entry to be filled next */
	const struct x86_insn *last_insn;

	bool     fpu_loaded;
	uint16_t host_fcw;		/* while fpu_loaded */
	uint32_t host_mxcsr;
	uint64_t features[4];
	struct hw_config cfg;
	struct hw_vmx vmx;
	struct hw_svm svm;
	struct hw_exits_in_place in_place;
	const char *entry_failure; /* the check that the last entry failed */
	struct hw_stats stats;

	const struct hw_jit_ops *jit_ops; /* NULL: no translator */
	uint64_t code_seq;		/* code.c: news seen */
	struct hw_cpu *code_next;	/* code.c: the next one that translates */
	struct x86_tlb_entry tlb_entries[HW_TLB_SIZE] __attribute__((aligned(64)));
	struct hw_jit_state jit;
};

enum hw_activity { HW_ACTIVE, HW_HLT, HW_SHUTDOWN, HW_WAIT_SIPI };

/* --- what the core offers to the translator ------------------------------------ */

/* run.c. The first instruction at rip; enum x86emul, all consequences are done:
 * an exception is delivered, an exit recorded. */
int hw_interp_insn(struct hw_cpu *cpu);
/* What it will be, without executing it: enum x86emul, nothing is delivered. */
int hw_interp_peek(struct hw_cpu *cpu, const struct x86_insn **insn, x86_exec_fn *form);
/* As hw_interp_insn() for the instruction @insn, which is what rip is at; @form is
 * hw_exec_form()'s, which depends on @insn alone. */
int hw_exec_insn(struct hw_cpu *cpu, const struct x86_insn *insn, x86_exec_fn form);
x86_exec_fn hw_exec_form(const struct x86_insn *insn);
/* Instructions up to and with the next transfer of control. */
void hw_interp_stretch(struct hw_cpu *cpu);
/* Until a request or a while has passed. */
void hw_interp(struct hw_cpu *cpu);
/* Where the code at rip is in the host; enum x86emul, nothing is delivered. */
int hw_fetch_host(struct hw_cpu *cpu, uint64_t la, hva_t *host);
/* SMAP is in force again. */
void hw_tlb_give_back(struct hw_cpu *cpu);
/* The instruction at rip, not decoded, gets c.exception. */
void hw_fault(struct hw_cpu *cpu);
/* An access of @kind (X86_TLB_*) to @la is going to be made: enum x86emul, nothing is
 * delivered. */
int hw_data_host(struct hw_cpu *cpu, uint64_t la, unsigned kind);
/* It has failed with c.exception, and the instruction that makes it is done now. */
void hw_keep_walk(struct hw_cpu *cpu, uint64_t la, unsigned kind);

/* Is @la known to be in a device's page, for accesses of @kind? */
static inline bool hw_is_device(const struct hw_cpu *cpu, uint64_t la, unsigned kind)
{
	return cpu->in_place.page[kind].tag == ((la & PAGE_MASK) | cpu->c.tlb_key);
}
/*
 * fpu.c: the guest's FPU state to @to, whose header is 0 where XSAVE does not write it; it
 * stays where it is. Back to what it was then: @from, or NULL for a state that was not
 * in registers and has not changed in memory.
 */
void hw_fpu_copy(const struct hw_cpu *cpu, struct x86_fpu *to);
void hw_fpu_rewind(struct hw_cpu *cpu, const struct x86_fpu *from);

/* events.c: leaves the guest, for hw_check_failure(). */
void hw_check_fail(struct hw_cpu *cpu);

/* code.c: host memory that holds code which somebody has translated. */
void hw_code_attach(struct hw_cpu *cpu);
void hw_code_detach(struct hw_cpu *cpu);
#define HW_LINE_SHIFT	6
/* The lines of [@at, @at + @len), of those of @at's page: a bit each. */
static inline uint64_t hw_code_lines(hva_t at, unsigned len)
{
	unsigned first = (at & ~PAGE_MASK) >> HW_LINE_SHIFT;
	unsigned last = MIN((at & ~PAGE_MASK) + len - 1, PAGE_SIZE - 1) >> HW_LINE_SHIFT;

	return ~0ull >> (63 - last) & ~0ull << first;
}

/* These lines of @page are about to be translated. False: do not. */
bool hw_code_add(struct hw_cpu *cpu, hva_t page, uint64_t lines);
/* It is written all the time: hw_code_add() would refuse. */
bool hw_code_is_hot(hva_t at);

/* --- core, called by the engines --------------------------------------------- */

/*
 * Runs the guest that has been loaded until an exit: cpu->exit tells which. The
 * caller has set ctl, registers (cpu->c, then emul_update_mode()), shadow,
 * nmi_blocked, pending_db, activity; the core leaves them current.
 */
void hw_run(struct hw_cpu *cpu);

/* Flush: everything; what one ASID/VPID tagged; linear addresses of one page.
 * @globals: global pages too. */
void hw_tlb_flush_all(struct hw_cpu *cpu);
void hw_tlb_flush_asid(struct hw_cpu *cpu, uint16_t asid, bool globals);
void hw_tlb_flush_page(struct hw_cpu *cpu, uint64_t la);
/* The context (CPL, AC, CR3, asid, two-dimensional root) may have changed. */
void hw_tlb_context(struct hw_cpu *cpu);

/* Loads PDPTEs from CR3 when PAE paging is on. False: reserved bits (#GP). */
bool hw_load_pdptrs(struct hw_cpu *cpu, uint64_t cr3);

/*
 * Delivers @ev to the guest, or records the exit that it, or what it meets on
 * its way, makes (SDM Vol. 3A, "Interrupt 8-Double Fault Exception"). An
 * exception is compared with ctl.exceptions first unless @injected. @address:
 * CR2 of a #PF, DR6 bits of a #DB. True: an exit has been recorded.
 */
bool hw_deliver(struct hw_cpu *cpu, const struct x86_event *ev, uint64_t address,
		bool injected);

/* The extended control registers and CR0/CR4 as the guest reads them. */
static inline uint64_t hw_masked_cr(uint64_t cr, uint64_t mask, uint64_t shadow)
{
	return (cr & ~mask) | (shadow & mask);
}

static inline bool hw_ctl_has(const struct hw_ctl *ctl, enum x86_intercept id)
{
	return ctl->intercepts[id / 64] >> (id % 64) & 1;
}

static inline void hw_ctl_set(struct hw_ctl *ctl, enum x86_intercept id)
{
	ctl->intercepts[id / 64] |= BIT_ULL(id % 64);
}

static inline void hw_set_request(struct hw_cpu *cpu, uint32_t bits)
{
	__atomic_or_fetch(&cpu->request, bits, __ATOMIC_SEQ_CST);
	/* Translated CALLs look here. */
	__atomic_store_n(&cpu->jit.stack_limit, UINT64_MAX, __ATOMIC_RELEASE);
}

/* Most of the time there is nothing to clear, and an atomic operation to save. */
static inline void hw_clear_request(struct hw_cpu *cpu, uint32_t bits)
{
	if (__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) & bits)
		__atomic_and_fetch(&cpu->request, ~bits, __ATOMIC_SEQ_CST);
}

/* Silicon-wide MSR semantics for guests that are not intercepted, and for
 * MSR-load areas. 0 or -EINVAL (#GP). */
int hw_guest_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val);
int hw_guest_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t val);

/* The TSC as the guest reads it under ctl; the host's own. */
uint64_t hw_guest_tsc(const struct hw_cpu *cpu);
uint64_t hw_host_tsc(void);

/* The VMX capability MSRs and AMD's SVM ones (vmx_caps.c, svm_caps.c). */
int hw_vmx_capability(uint32_t msr, uint64_t *val);

#endif
