/* SPDX-License-Identifier: MIT */
/*
 * What the files of the core share and the engines do not need: see state.h for
 * the processor itself. Every function takes a processor that its thread owns.
 */
#ifndef ANYKVM_HW_CORE_H
#define ANYKVM_HW_CORE_H

#include "hw/state.h"

extern const struct x86_emulate_ops hw_emulate_ops;

/* --- tlb.c ------------------------------------------------------------------- */

int hw_tlb_create(struct hw_cpu *cpu);
void hw_tlb_destroy(struct hw_cpu *cpu);

/*
 * Where the byte at @la is in the host, for an access of @kind (X86_TLB_READ,
 * ...) with @acc (ACC_SYSTEM, ACC_USER). The answer holds for the rest of the
 * page. enum x86emul; a fault is in c.exception.
 */
int hw_tlb_access(struct hw_cpu *cpu, uint64_t la, unsigned kind, unsigned acc,
		  void **host);

/*
 * The same, if the TLB knows it now and every byte of [la, la + bytes) is in that
 * page; else NULL, and nothing has happened.
 */
void *hw_tlb_hit(struct hw_cpu *cpu, uint64_t la, unsigned bytes, unsigned kind,
		 unsigned acc);
/* As hw_tlb_context(), when no more than CPL and AC have changed. */
void hw_tlb_level_changed(struct hw_cpu *cpu);

/* Drops what the current asid's @pcid tagged. */
void hw_tlb_flush_pcid(struct hw_cpu *cpu, uint16_t pcid);

/* --- code.c ------------------------------------------------------------------ */

/* Does anybody have translations of code in the page of @at? Any thread. */
bool hw_code_is(hva_t at);
/* This processor (NULL: none) has written [at, at + len), which is inside a page. */
void hw_code_written(struct hw_cpu *cpu, hva_t at, unsigned len);
/* Takes note of what others did. @ran: this processor may have written memory
 * since the last call. */
void hw_code_sync(struct hw_cpu *cpu, bool ran);
/* tlb.c: takes the write permission from entries of @page (0: all). False: there
 * were none. */
bool hw_tlb_protect(struct hw_cpu *cpu, hva_t page);

/* --- walk.c ------------------------------------------------------------------ */

/* A second-dimension translation, and what it allows. */
struct hw_tdp {
	uint64_t hpa;		/* of the byte asked for */
	uint8_t rights;		/* PAGING_READ | WRITE | EXEC */
};

/* What a protection key forbids. */
#define HW_PK_AD	1	/* access */
#define HW_PK_WD	2	/* writes */

/* A guest translation with both dimensions done. */
struct hw_walk {
	uint64_t hpa;
	uint8_t prot;		/* guest's PAGING_* of all levels */
	uint8_t tdp_rights;	/* PAGING_READ | WRITE | EXEC */
	uint8_t level;		/* of the guest's leaf */
	bool dirty;
	bool global;
	uint8_t pk;		/* HW_PK_* */
};

/*
 * @access: PAGING_READ/WRITE/EXEC/USER. @ac: SMAP is suspended. enum x86emul.
 */
int hw_walk(struct hw_cpu *cpu, uint64_t la, unsigned access, bool ac,
	    struct hw_walk *r);
/* Guest physical to host, for reads and writes of the processor itself (PDPTE
 * loads): 0, or non-zero with *@e filled. */
int hw_tdp_translate(struct hw_cpu *cpu, uint64_t gpa, unsigned access,
		     bool in_walk, struct hw_tdp *r, struct x86_exception *e);
void hw_walk_flush(struct hw_cpu *cpu);
/* Forgets guest tables; with it what any INVLPG must. */
void hw_structures_flush(struct hw_cpu *cpu);

/* --- run.c, events.c ------------------------------------------------------------ */

/* Records an exit, with the guest's position; the caller fills the rest. */
struct hw_exit *hw_exit_fill(struct hw_cpu *cpu, enum x86_intercept id);
/* ... by the instruction at work: length, next rip, memory operand. */
struct hw_exit *hw_exit_insn(struct hw_cpu *cpu, enum x86_intercept id);
/* ... for c.exception with nested set. */
void hw_exit_tdp(struct hw_cpu *cpu, const struct x86_exception *e);
/* Guest memory at host address @at is not accessible. Returns HOST_ERROR. */
int hw_host_fault(struct hw_cpu *cpu, const void *at);

/* At an instruction boundary: what comes before the next instruction? True: an
 * exit is recorded. Sets cpu->step. */
bool hw_boundary(struct hw_cpu *cpu);
/* An exception of the instruction at work. True: exit. */
bool hw_exception(struct hw_cpu *cpu, const struct x86_exception *e);
void hw_inject(struct hw_cpu *cpu);
/* Sleeps until there may be a reason to wake. */
void hw_wait(struct hw_cpu *cpu);

/* transfer.c: a faster form of the instruction, or NULL; delivery in the usual case,
 * false: nothing has changed. */
x86_exec_fn hw_transfer_form(const struct x86_insn *insn);
bool hw_deliver_fast(struct hw_cpu *cpu, const struct x86_event *ev);
/* events.c: what follows from an event that has been delivered. */
void hw_delivered(struct hw_cpu *cpu, const struct x86_event *ev);
/* sysops.c: EFLAGS' system bits may differ from what was: derived state follows,
 * and events that they let in are looked at. */
void hw_flags_changed(struct x86_emulate_ctxt *c);
/* The general form of an instruction that may change CPL, AC, VM or RF. */
int hw_exec_system(struct x86_emulate_ctxt *c);
/* Somebody wants to know when EFLAGS.IF becomes 1. */
static inline bool hw_waits_for_if(const struct hw_cpu *cpu)
{
	return cpu->ctl.v_irq || cpu->ctl.host_if ||
	       hw_ctl_has(&cpu->ctl, X86_INTERCEPT_INTR_WINDOW);
}

/* --- in_place.c ---------------------------------------------------------------------- */

/* CPUID, RDMSR, WRMSR; NULL: none of them. */
x86_exec_fn hw_in_place_form(const struct x86_insn *insn);
/* Answers do not stand any more. */
void hw_in_place_forget(struct hw_cpu *cpu);
/*
 * An access to [la, la + bytes), inside a page, with @acc has failed with c.exception,
 * or its page is known to be a device's: true: the hypervisor has done it.
 */
bool hw_in_place_read(struct hw_cpu *cpu, uint64_t la, void *val, unsigned bytes,
		      unsigned acc);
bool hw_in_place_write(struct hw_cpu *cpu, uint64_t la, const void *val,
		       unsigned bytes, unsigned acc);
/* A kick: true: the hypervisor needs no exit, but (if not -1) @vector delivered. */
bool hw_in_place_kick(struct hw_cpu *cpu, bool open, int *vector);
/* tlb.c: what is known of device pages goes. */
void hw_in_place_unmap(struct hw_cpu *cpu);

/* --- intercept.c ------------------------------------------------------------------ */

int hw_intercept(struct x86_emulate_ctxt *c, enum x86_intercept id,
		 uint64_t arg, uint64_t val);
bool hw_msr_exits(const struct hw_cpu *cpu, uint32_t msr, bool write);

/* --- dr.c ---------------------------------------------------------------------------- */

int hw_get_dr_op(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val);
int hw_set_dr_op(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val);
/* DR7 has changed (or was loaded at an entry). */
void hw_dr7_changed(struct hw_cpu *cpu);
/* Data breakpoints on [la, la + bytes): into cpu->db_match. */
void hw_db_check(struct hw_cpu *cpu, uint64_t la, unsigned bytes, bool write,
		 bool io);
/* DR6 bits of the instruction breakpoints at @la; 0: none. */
uint64_t hw_db_exec(const struct hw_cpu *cpu, uint64_t la);
void hw_dr6_update(struct hw_cpu *cpu, uint64_t bits);

/* Iterations of a REP in one call: what bounds the latency of a kick. One while
 * data breakpoints are armed, whose trap comes after the iteration. */
static inline uint32_t hw_rep_limit(const struct hw_cpu *cpu)
{
	return cpu->db_data ? 1 : 4096;
}

/* --- cr.c ------------------------------------------------------------------------------ */

int hw_get_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val);
int hw_set_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val);
/* WRMSR to EFER: 0 or -EINVAL. */
int hw_set_efer(struct hw_cpu *cpu, uint64_t val);

/* vulns.c: what AMD's leaf 80000021h says of it. */
void hw_amd_not_affected(uint32_t *eax, uint32_t *ecx);

/* --- fpu.c, cpuid.c ----------------------------------------------------------------------- */

void hw_get_fpu(struct x86_emulate_ctxt *c);
void hw_put_fpu(struct x86_emulate_ctxt *c);
void hw_fpu_leave(struct hw_cpu *cpu);
void hw_fpu_host_init(void);
/* Components of the host's XCR0 that guests may have; 0: no XSAVE. */
uint64_t hw_fpu_host_xcr0(void);

static inline bool hw_has(const uint64_t *features, enum x86_feature f)
{
	return features[f / 64] >> (f % 64) & 1;
}

static inline struct hw_cpu *hw_of(struct x86_emulate_ctxt *c)
{
	return container_of(c, struct hw_cpu, c);
}

/* #GP(0), #UD as a callback reports them. */
int hw_gp(struct x86_emulate_ctxt *c);
int hw_ud(struct x86_emulate_ctxt *c);

#endif
