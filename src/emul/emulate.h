/* SPDX-License-Identifier: MIT */
/*
 * x86_emulate_insn(): the semantics of every instruction, over callbacks.
 *
 * Two owners use it. The software processor (hw/) embeds a ctxt whose fields
 * ARE the processor's registers, and runs it for every instruction. The
 * hypervisor (vm/) fills a ctxt from a vCPU's register cache, emulates one
 * instruction (MMIO, string I/O, #UD, ...) and copies the result back.
 *
 * Contract:
 * - An instruction either completes, or leaves gpr, rip, eflags, segments and
 *   memory as they were (string instructions: as they were after the last
 *   whole iteration). A handler therefore does all that can fault before it
 *   changes the first register, and writes memory before registers.
 * - A guest fault is described in ctxt.exception and reported by
 *   X86EMUL_PROPAGATE_FAULT; nothing else tells of it. Callbacks that fail fill
 *   it themselves.
 * - ctxt.rip is the instruction's own address until it completes; handlers that
 *   branch set ctxt.next_rip. The driver commits next_rip.
 * - No allocation, no locks, no vector registers, no libc: this code runs while
 *   the guest's FPU state is in the host's registers (base/novec.h).
 */
#ifndef ANYKVM_EMUL_EMULATE_H
#define ANYKVM_EMUL_EMULATE_H

#include "base/types.h"
#include "isa/insn.h"
#include "x86/fpu.h"
#include "x86/regs.h"

struct x86_emulate_ctxt;

/* How an instruction, or a callback, ended. */
enum x86emul {
	X86EMUL_CONTINUE = 0,	/* done; rip has moved on */
	X86EMUL_PROPAGATE_FAULT, /* ctxt.exception is to be delivered */
	X86EMUL_UNHANDLEABLE,	/* the owner cannot do this; nothing happened */
	X86EMUL_IO_NEEDED,	/* hypervisor: user space must act, then again */
	X86EMUL_INTERCEPTED,	/* processor: a VM exit has been recorded */
	X86EMUL_RETRY_INSTR,	/* run the instruction again */
	X86EMUL_HOST_ERROR,	/* guest memory is gone: KVM_RUN fails, -EFAULT */
};

/* Access flags of the memory callbacks. */
#define ACC_WRITE	BIT(0)	/* a store, or a load that a store will follow */
#define ACC_FETCH	BIT(1)	/* instruction fetch */
#define ACC_SYSTEM	BIT(2)	/* implicit supervisor access: GDT, LDT, IDT, TSS */
#define ACC_USER	BIT(3)	/* as a user access, whatever CPL (WRUSS, probes) */
#define ACC_LOCKED	BIT(4)	/* part of a locked read-modify-write */
#define ACC_PROBE	BIT(5)	/* with ops->read: the checks alone; a device sees nothing,
				 * and the value means nothing */
#define ACC_INNER	BIT(6)	/* explicit supervisor access, though ctxt.cpl still says 3:
				 * the stack of an inner level */
#define ACC_UNALIGNED	BIT(7)	/* not subject to the alignment check */

enum x86_intr_kind { X86_INTR_SOFT /* INT n */, X86_INTR_INT3, X86_INTR_INTO,
		     X86_INTR_ICEBP };

/*
 * What the owner supplies. Every member may be called with any guest-chosen
 * argument. Unless said otherwise they return enum x86emul, and a member that
 * is NULL means X86EMUL_UNHANDLEABLE.
 */
struct x86_emulate_ops {
	/*
	 * Linear memory. @bytes 1-64 may cross a page; both pages are checked
	 * before anything is transferred. 1, 2, 4 and 8 bytes inside a page are
	 * one host access. @acc: ACC_*; privilege is ctxt.cpl but for
	 * ACC_SYSTEM and ACC_INNER. The alignment check (x86_check_alignment())
	 * comes before the page's.
	 */
	int (*read)(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		    unsigned bytes, unsigned acc);
	int (*write)(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		     unsigned bytes, unsigned acc);
	/* Locked compare and exchange; @old [IN/OUT] gets what was there,
	 * @done [OUT] whether @val was stored. 1, 2, 4, 8 or 16 bytes. */
	int (*cmpxchg)(struct x86_emulate_ctxt *c, uint64_t la, void *old,
		       const void *val, unsigned bytes, bool *done);
	/* A host pointer for [la, la + bytes) inside one page with the rights
	 * of @acc, or NULL (never a fault): string instructions' bulk path. */
	void *(*host_ptr)(struct x86_emulate_ctxt *c, uint64_t la,
			  unsigned bytes, unsigned acc);

	/* Port I/O, after the IOPL and bitmap check. @count elements of @size
	 * bytes (1, 2, 4); the owner may do fewer: *@count [IN/OUT]. */
	int (*pio_in)(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		      void *val, unsigned *count);
	int (*pio_out)(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		       const void *val, unsigned *count);

	/*
	 * A VM-exit check. Called after the checks for #UD and privilege and
	 * before any effect: by the driver with row->intercept, by handlers for
	 * those that depend on operands. @arg: the CR or DR number (bit 8: MOV
	 * from), the MSR index, the port, the vector, else 0. @val: value to be
	 * written. CONTINUE or INTERCEPTED.
	 */
	int (*intercept)(struct x86_emulate_ctxt *c, enum x86_intercept id,
			 uint64_t arg, uint64_t val);

	/* State with side effects. set_* update the ctxt's copy too. */
	int (*set_segment)(struct x86_emulate_ctxt *c, enum x86_seg seg,
			   const struct x86_segment *s);
	int (*set_dtable)(struct x86_emulate_ctxt *c, bool idt,
			  const struct x86_dtable *dt);
	int (*get_cr)(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val);
	/* Faults (#GP) on reserved bits and bad combinations. 0, 2, 3, 4, 8. */
	int (*set_cr)(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val);
	int (*get_dr)(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val);
	int (*set_dr)(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val);
	int (*get_msr)(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t *val);
	int (*set_msr)(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t val);
	int (*set_xcr)(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t val);
	/* c->pkru has changed; optional. */
	void (*pkru_changed)(struct x86_emulate_ctxt *c);
	int (*get_tsc)(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux);
	int (*get_pmc)(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t *val);
	/* EFLAGS with IF, TF, VM, ... changed: the owner may look at events. */
	void (*eflags_changed)(struct x86_emulate_ctxt *c);

	int (*cpuid)(struct x86_emulate_ctxt *c, uint32_t *eax, uint32_t *ebx,
		     uint32_t *ecx, uint32_t *edx);
	int (*hlt)(struct x86_emulate_ctxt *c);
	int (*pause)(struct x86_emulate_ctxt *c);
	int (*monitor)(struct x86_emulate_ctxt *c, uint64_t la);
	int (*mwait)(struct x86_emulate_ctxt *c, uint32_t eax, uint32_t ecx);
	int (*invlpg)(struct x86_emulate_ctxt *c, uint64_t la);
	int (*invpcid)(struct x86_emulate_ctxt *c, uint64_t type,
		       const uint64_t desc[2]);
	int (*wbinvd)(struct x86_emulate_ctxt *c);
	int (*hypercall)(struct x86_emulate_ctxt *c);	/* VMCALL, VMMCALL */
	int (*rsm)(struct x86_emulate_ctxt *c);
	/* VMX and SVM instructions other than the hypercalls; insn->row says which. */
	int (*virt_insn)(struct x86_emulate_ctxt *c);
	/* INT n, INT3, INTO, ICEBP: ctxt.next_rip is the return address. */
	int (*software_interrupt)(struct x86_emulate_ctxt *c, uint8_t vector,
				  enum x86_intr_kind kind);
	/* A task switch begins; the processor may turn it into a VM exit.
	 * @reason: enum x86_task_switch. */
	int (*task_switch)(struct x86_emulate_ctxt *c, uint16_t tss_selector,
			   int reason, bool has_error_code, uint32_t error_code);
	/* IRET has completed: NMIs are no longer blocked. */
	void (*iret_done)(struct x86_emulate_ctxt *c);

	/* The guest's FPU state goes into the host's registers before get_fpu
	 * returns and may leave them after put_fpu. */
	void (*get_fpu)(struct x86_emulate_ctxt *c);
	void (*put_fpu)(struct x86_emulate_ctxt *c);
};

/* The first four are those of VMX. EVENT: a task gate too, not by INT n, INT3 or INTO:
 * error codes have EXT. */
enum x86_task_switch { TASK_SWITCH_CALL, TASK_SWITCH_IRET, TASK_SWITCH_JMP,
		       TASK_SWITCH_GATE, TASK_SWITCH_EVENT };

/*
 * A direct-mapped translation cache that the owner fills and the emulator's
 * accessors look into before they call ops->read/write. An entry's tag for a
 * kind of access is (page address | ctxt.tlb_key) when that access is allowed
 * in the present context and goes to ordinary memory, else X86_TLB_NONE. The
 * key is under 4096 and odd: the owner flushes by changing it. host = la +
 * addend. An owner that must see every access (data breakpoints, alignment
 * checks) or has no such cache points tlb at x86_tlb_empty.
 */
struct x86_tlb_entry {
	uint64_t tag[3];	/* X86_TLB_READ, _WRITE, _FETCH */
	uintptr_t addend;
};
enum { X86_TLB_READ, X86_TLB_WRITE, X86_TLB_FETCH };
#define X86_TLB_NONE	0ull	/* no key is 0 */
extern struct x86_tlb_entry x86_tlb_empty[1];

/* Interrupt shadow opened by the instruction. */
#define X86_SHADOW_STI	BIT(0)
#define X86_SHADOW_MOV_SS BIT(1)

/*
 * Where the guest's last x87 instruction was, while the FPU state is live: the
 * host's registers hold the address of our own code then. Owners that move the
 * state to memory call emul_fpu_saved() on the image after it.
 */
struct x86_fpu_pointers {
	bool     valid;		/* else the host's registers hold the guest's */
	bool     masked;	/* if valid: the control word masks all exceptions */
	uint16_t fop;
	uint64_t fip, fdp;
};

struct x86_operand {
	enum { OPERAND_NONE, OPERAND_REG, OPERAND_MEM, OPERAND_IMM } type;
	uint8_t  bytes;		/* 1, 2, 4, 8; larger ones are the handlers' */
	uint8_t  reg;		/* OPERAND_REG: number; high byte: see high8 */
	bool     high8;		/* AH, CH, DH, BH */
	uint64_t la;		/* OPERAND_MEM: linear address */
	uint64_t val, orig;	/* value; value as read (locked writes) */
};

struct x86_emulate_ctxt {
	/* --- the processor's registers ---------------------------------- */
	uint64_t gpr[X86_NR_GPRS];
	uint64_t rip;
	uint64_t eflags;
	struct x86_segment seg[X86_NR_SEGS];
	struct x86_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint32_t pkru;
	/* Derived, by emul_update_mode(). */
	uint8_t  mode;		/* enum x86_mode */
	uint8_t  cpl;
	uint8_t  stack_size;	/* 2, 4, 8: width of the stack pointer */
	uint8_t  flat;		/* bit per user segment: base 0, limit 4G, read/write */

	/* --- the instruction at work ------------------------------------ */
	const struct x86_insn *insn;
	uint64_t next_rip;
	struct x86_operand dst, src, src2;
	uint8_t  wb;		/* operands that will be written: emul.h */
	struct x86_exception exception;
	/* [OUT] X86_SHADOW_*: set by the instruction that opens one, never
	 * cleared here; an owner clears it when it has taken note. */
	uint8_t  shadow;
	/* [IN] iterations of a REP to do at most in one call; 0: no limit.
	 * When a REP is not finished rip stays, and CONTINUE is returned. */
	uint32_t rep_limit;
	/* REP has stopped between two iterations: there, with this rCX (0: no). What
	 * comes in between saves RF set. */
	uint64_t rep_rip, rep_rcx;

	/* --- translation cache ------------------------------------------- */
	struct x86_tlb_entry *tlb;
	uint64_t tlb_mask;	/* entries - 1 */
	uint64_t tlb_key;

	/* --- owner --------------------------------------------------------- */
	const struct x86_emulate_ops *ops;
	const uint64_t *features; /* bitmap by enum x86_feature: what the guest has */
	bool     vendor_amd;	/* where Intel's and AMD's semantics differ */
	struct x86_fpu_pointers fpu_ptr;
	struct x86_fpu *fpu;	/* memory image; live in host registers between
				 * get_fpu and put_fpu */
	void    *owner;
};

/* The live FPU state has just been stored to @c->fpu. */
static inline void emul_fpu_saved(struct x86_emulate_ctxt *c)
{
	if (!c->fpu_ptr.valid)
		return;
	c->fpu->fx.fip = c->fpu_ptr.fip;
	c->fpu->fx.fdp = c->fpu_ptr.fdp;
	c->fpu->fx.fop = c->fpu_ptr.fop;
	c->fpu_ptr.valid = false;
}

/* The alignment of data is checked (SDM Vol. 3A, "Interrupt 17-Alignment Check
 * Exception"). */
static inline bool x86_checks_alignment(const struct x86_emulate_ctxt *c)
{
	return unlikely(c->cpl == 3 && c->eflags & X86_EFLAGS_AC) &&
	       c->cr0 & X86_CR0_AM;
}

/* #AC of an access of 2, 4 or 8 bytes. (Operands of other sizes, and of several
 * accesses, the emulator checks itself.) */
int x86_check_access(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc);

/* The same for owners, who ask before they translate. */
static inline int x86_check_alignment(struct x86_emulate_ctxt *c, uint64_t la,
				      unsigned bytes, unsigned acc)
{
	return x86_checks_alignment(c) ? x86_check_access(c, la, bytes, acc) :
					 X86EMUL_CONTINUE;
}

typedef int (*x86_exec_fn)(struct x86_emulate_ctxt *c);

/*
 * Executes c->insn, decoded for c->mode at c->rip. On CONTINUE rip, registers
 * and memory have changed; c->shadow tells of an interrupt shadow. Does not look
 * at TF, RF, breakpoints or pending events: the owner's.
 */
int x86_emulate_insn(struct x86_emulate_ctxt *c);

/*
 * The function that executes @insn with everything resolved that its bytes and
 * mode decide: x86_emulate_insn() itself, or a faster special form of it with
 * the same effect. For caches: decode once, resolve once, run often with
 * c->insn = @insn.
 */
x86_exec_fn x86_emulate_resolve(const struct x86_insn *insn);

/* False where @op has no implementation; the instruction then is
 * X86EMUL_UNHANDLEABLE. */
bool x86_op_implemented(enum x86_op op);

/* CS and SS are others, and the mode still is 64-bit mode: cpl. */
static inline void emul_update_cpl64(struct x86_emulate_ctxt *c)
{
	c->cpl = FIELD_GET(X86_AR_DPL, c->seg[X86_SS].ar);
}

/* Recomputes mode, cpl, stack_size and flat from cr0, efer, eflags and seg.
 * Owners call it after they changed any of these. */
void emul_update_mode(struct x86_emulate_ctxt *c);

/* --- events ---------------------------------------------------------------- */

enum x86_event_type {
	X86_EVENT_EXTINT, X86_EVENT_NMI, X86_EVENT_EXCEPTION,
	X86_EVENT_SOFT_INT,	/* INT n */
	X86_EVENT_SOFT_EXC,	/* INT3, INTO */
	X86_EVENT_PRIV_EXC,	/* ICEBP */
};

struct x86_event {
	uint8_t  vector;
	uint8_t  type;		/* enum x86_event_type */
	bool     has_error_code;
	uint32_t error_code;
	uint64_t return_rip;	/* what is pushed */
	/* VM-entry injection: EFLAGS.RF is pushed as it is (SDM Vol. 3C,
	 * "Details of Vectored-Event Injection"). */
	bool     injected;
};

/*
 * Delivers @ev through the IDT or, in real-address mode, the interrupt vector
 * table (SDM Vol. 3A, "Interrupt and Exception Handling"): gates, privilege
 * change, IST, vm86, task gates (via ops->task_switch). On CONTINUE the context
 * is at the handler: c->rip and c->next_rip. On PROPAGATE_FAULT c->exception holds the fault met on the
 * way (EXT bit set as the manual says) and nothing has changed; combining it
 * with @ev into #DF or shutdown is the owner's.
 */
int emul_deliver_event(struct x86_emulate_ctxt *c, const struct x86_event *ev);

/*
 * Carries out a task switch (SDM Vol. 3A, "Task Switching"), for owners whose
 * ops->task_switch decides to do it, and for the hypervisor's exit handler.
 *
 * c->next_rip	[IN] what the old task's TSS gets as EIP: the next instruction
 *		for CALL, JMP and IRET, the return address of an event
 *
 * On CONTINUE c->rip and c->next_rip are the new task's. A fault that comes
 * before the switch changes nothing; one met while the new task's state is
 * loaded is that task's: registers, rip and next_rip are already its own. A
 * debug trap (the TSS's T bit) is reported as such a fault with vector #DB.
 */
int emulator_task_switch(struct x86_emulate_ctxt *c, uint16_t tss_selector,
			 int reason, bool has_error_code, uint32_t error_code);

#endif
