/* SPDX-License-Identifier: MIT */
/*
 * The silicon as a hypervisor sees it: one logical processor with VMX and SVM.
 *
 * This is the only header of hw/ that the layers above may include, and only
 * vmx/ and svm/ (and vm/, for creation) do. The "host" of this processor is the
 * C program itself: it executes natively, so the processor has no host state of
 * its own; it only ever runs guests. Physical addresses are host virtual ones.
 *
 * Threads: a processor is used by one thread at a time, but for hw_kick() and
 * hw_request_flush(), which any thread may call.
 */
#ifndef ANYKVM_HW_HW_H
#define ANYKVM_HW_HW_H

#include "base/types.h"
#include "isa/insn.h"
#include "x86/fpu.h"
#include "x86/regs.h"

struct hw_cpu;

/* Physical-address width of second-dimension tables: host addresses need 47 bits,
 * and bit 51 is reserved, which NPT's MMIO entries rely on. */
#define HW_HOST_PHYS_BITS	51

/* What the factory sets. All vendors' engines are always there; the vendor
 * decides CPUID's and the instructions' flavour. */
struct hw_config {
	bool amd;
	uint8_t maxphyaddr;	/* guest-physical width offered, 0: 46 */
	const struct hw_jit_ops *jit;	/* NULL: interpreter only */
	uint8_t jit_threshold;	/* executions before a block is translated */
	uint16_t jit_cache;	/* MiB of translated code, 0: 32 */
	bool jit_count;		/* hw_stats.jit_runs and hw_left_next() count */
	bool jit_exact_flags;	/* status flags are right in every frame (jit/regs.c) */
	uint16_t jit_check;	/* compare the translator with the interpreter (jit/check.c):
				 * 1: always, N: new code, and one of N other blocks */
	uint16_t jit_check_length; /* about so many instructions at once; 0: a block */
};

/* The translator (jit/), for hw_config.jit. */
extern const struct hw_jit_ops hw_jit;

/* NULL when there is no memory. A processor is some hundred KiB. */
struct hw_cpu *hw_cpu_create(const struct hw_config *cfg);
void hw_cpu_destroy(struct hw_cpu *cpu);

/* --- registers that neither VMCS nor VMCB hold ------------------------------ */

/* RAX..R15 (X86_NR_GPRS). VMX: RSP is in the VMCS. SVM: RAX, RSP are in the VMCB. */
uint64_t *hw_gprs(struct hw_cpu *cpu);

/* The memory that holds the guest's FPU state; 64-byte aligned, the caller's,
 * set once. While the processor runs the state may live in host registers; it
 * is back in memory whenever hw_vmlaunch/hw_vmrun have returned. */
void hw_set_fpu(struct hw_cpu *cpu, struct x86_fpu *fpu);

uint64_t hw_get_cr2(const struct hw_cpu *cpu);
void hw_set_cr2(struct hw_cpu *cpu, uint64_t v);
uint64_t hw_get_xcr0(const struct hw_cpu *cpu);
void hw_set_xcr0(struct hw_cpu *cpu, uint64_t v);
uint32_t hw_get_pkru(const struct hw_cpu *cpu);
void hw_set_pkru(struct hw_cpu *cpu, uint32_t v);
/* Debug registers 0-3 and 6; 7 is in VMCS/VMCB. */
uint64_t hw_get_dr(const struct hw_cpu *cpu, unsigned n);
void hw_set_dr(struct hw_cpu *cpu, unsigned n, uint64_t v);
/*
 * MSRs as RDMSR/WRMSR in root operation: STAR, LSTAR, CSTAR, SFMASK,
 * KERNEL_GS_BASE, TSC_AUX, XSS, the SYSENTER ones, the VMX capability MSRs, ...
 * 0, or -EINVAL where the instruction would #GP.
 */
int hw_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val);
int hw_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t val);

/* What instructions exist for the guest: a bitmap by enum x86_feature, copied.
 * The hypervisor derives it from the guest's CPUID. */
void hw_set_features(struct hw_cpu *cpu, const uint64_t *bitmap);
/* What this processor (with this host under it) can execute: the bitmap, and
 * its CPUID leaves. */
const uint64_t *hw_features(const struct hw_cpu *cpu);
void hw_cpuid(struct hw_cpu *cpu, uint32_t leaf, uint32_t subleaf,
	      uint32_t out[4]);

/* CPUID without a processor, for KVM_GET_SUPPORTED_CPUID: the leaves of a
 * processor of vendor @amd on this host. False: no such leaf. */
bool hw_cpuid_model(bool amd, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* What of leaf 1's EDX stands in EDX of AMD's leaf 80000001H again: FPU ... APIC,
 * MTRR ... PSE36, MMX, FXSR. APM Vol. 3, "Function 8000_0001h". */
#define HW_CPUID_AMD_REPEATED	0x0183f3ffu
const uint64_t *hw_features_model(void);
/* Components that a guest's XCR0 can have; 0: there is no XSAVE. */
uint64_t hw_xcr0_model(void);
/* Bytes of an XSAVE area for the components of @xcr0: EBX of leaf 0xd, sub-leaf 0,
 * or, @compacted, 1. */
uint32_t hw_xsave_size(uint64_t xcr0, bool compacted);

/* IA32_ARCH_CAPABILITIES: the speculation faults that guests are not exposed to. */
uint64_t hw_arch_capabilities(void);

/*
 * The host's FPU state to @host and the guest's from @guest into the registers, and
 * back; for the hypervisor's emulator. @whole: the guest has XSAVE, there is more than
 * FXSAVE moves. In between, and by the caller of the first until it calls the second,
 * nothing may use a vector register.
 */
void hw_fpu_swap_in(struct x86_fpu *host, struct x86_fpu *guest, bool whole);
void hw_fpu_swap_out(struct x86_fpu *host, struct x86_fpu *guest, bool whole);

/* --- exits in place ---------------------------------------------------------- */

/*
 * Exits that the hypervisor answers where they happen: it is called on the processor's
 * thread instead of the exit, and the guest goes on behind the instruction. Nothing
 * is stored for it: of the guest's state it knows its arguments. It may change its own
 * state and may hw_kick(), and it may decline: then the exit happens.
 *
 * The processor does not ask while it steps (TF, RF, shadows, breakpoints, monitor
 * trap flag) or while there is a request.
 */
enum hw_in_place {
	HW_LEAVE,		/* declined; nothing has happened */
	HW_DONE,
	HW_DONE_KEEP,		/* and the answer stays the same until the guest
				 * leaves or writes an MSR that is asked about */
};

struct hw_in_place_ops {
	enum hw_in_place (*cpuid)(void *owner, uint32_t leaf, uint32_t subleaf,
				  uint32_t out[4]);
	/* That the control block says exit; CPL is 0. */
	enum hw_in_place (*rdmsr)(void *owner, uint32_t msr, uint64_t *val);
	enum hw_in_place (*wrmsr)(void *owner, uint32_t msr, uint64_t val);
	/* 1 to 8 bytes inside a page that the second dimension does not map. */
	enum hw_in_place (*read)(void *owner, gpa_t gpa, unsigned bytes, void *val);
	enum hw_in_place (*write)(void *owner, gpa_t gpa, unsigned bytes,
				  const void *val);
	/* A kick, between two instructions. @open: an interrupt could be delivered.
	 * @vector [OUT] the one that is, -1: none. NULL: kicks leave. */
	enum hw_in_place (*kick)(void *owner, bool open, int *vector);
};

/* @exits: counts those in place. Once, before the first entry. */
void hw_set_in_place(struct hw_cpu *cpu, const struct hw_in_place_ops *ops,
		     void *owner, uint64_t *exits);

/* --- asynchronous ------------------------------------------------------------ */

/*
 * An interrupt for the host: makes a guest that runs leave (VMX: reason
 * "external interrupt", SVM: INTR) within a bounded number of instructions; if
 * no guest runs, the next entry leaves at once. Any thread, and signal handlers.
 */
void hw_kick(struct hw_cpu *cpu);

/* The processor drops every cached translation before its next instruction. */
void hw_request_flush(struct hw_cpu *cpu);

/* --- VMX --------------------------------------------------------------------- */

/* RFLAGS' report of a VMX instruction (SDM Vol. 3C, "Conventions"). */
enum hw_vmx_result {
	HW_VMX_SUCCEED = 0,
	HW_VMX_FAIL_INVALID,	/* no current VMCS */
	HW_VMX_FAIL_VALID,	/* VM-instruction error field says what */
};

/* A VMCS region is a 4-KiB aligned page of the caller's with the revision
 * identifier (IA32_VMX_BASIC) in its first word; its inside is the processor's. */
enum hw_vmx_result hw_vmxon(struct hw_cpu *cpu, hpa_t region);
void hw_vmxoff(struct hw_cpu *cpu);
enum hw_vmx_result hw_vmclear(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_vmx_result hw_vmptrld(struct hw_cpu *cpu, hpa_t vmcs);
enum hw_vmx_result hw_vmread(struct hw_cpu *cpu, uint32_t field, uint64_t *val);
enum hw_vmx_result hw_vmwrite(struct hw_cpu *cpu, uint32_t field, uint64_t val);
/*
 * VMLAUNCH / VMRESUME. HW_VMX_SUCCEED: the guest ran (or the entry failed after
 * the checks of controls and host state) and there is an exit to read from the
 * VMCS. Host-state fields are checked but not loaded: the caller just goes on.
 */
enum hw_vmx_result hw_vmlaunch(struct hw_cpu *cpu);
enum hw_vmx_result hw_vmresume(struct hw_cpu *cpu);
enum hw_vmx_result hw_invept(struct hw_cpu *cpu, unsigned type, uint64_t eptp);
enum hw_vmx_result hw_invvpid(struct hw_cpu *cpu, unsigned type, uint16_t vpid,
			      uint64_t la);

/* --- SVM --------------------------------------------------------------------- */

/*
 * VMRUN: runs the guest of the VMCB at @vmcb (4-KiB aligned) until #VMEXIT. EFER.
 * SVME must have been set with hw_wrmsr, and VM_HSAVE_PA. 0, -EINVAL else.
 * VMLOAD/VMSAVE move FS, GS, TR, LDTR, KernelGsBase, STAR, LSTAR, CSTAR,
 * SFMASK, SYSENTER_* between the VMCB and the processor.
 */
int hw_vmrun(struct hw_cpu *cpu, hpa_t vmcb);
void hw_vmload(struct hw_cpu *cpu, hpa_t vmcb);
void hw_vmsave(struct hw_cpu *cpu, hpa_t vmcb);
void hw_stgi(struct hw_cpu *cpu);
void hw_clgi(struct hw_cpu *cpu);
void hw_invlpga(struct hw_cpu *cpu, uint64_t la, uint32_t asid);

/*
 * The hypervisor itself has written [at, at + len), inside a page, of what may be a
 * guest's memory: no processor executes old code from there once it has looked
 * at its requests. Any thread.
 */
void hw_memory_written(hva_t at, unsigned len);

/* --- what a debugger of the silicon would see -------------------------------- */

/*
 * The exit just taken could not be completed because guest memory at a mapped
 * host address is not accessible (unmapped by the client). Exits as an EPT
 * violation / NPF would; true until the next entry. The hypervisor turns it
 * into -EFAULT of KVM_RUN.
 */
bool hw_host_error(const struct hw_cpu *cpu, hva_t *where);

/*
 * With hw_config.jit_check: what the translator did otherwise than the interpreter,
 * in some lines of text; NULL when they have agreed since the last entry. The exit just
 * taken means nothing then.
 */
const char *hw_check_failure(struct hw_cpu *cpu);

/* The check that the last VMLAUNCH, VMRESUME or VMRUN failed, in words ("section:
 * rule"); NULL when it passed them all. For dumps and tests. */
const char *hw_entry_failure(const struct hw_cpu *cpu);

/*
 * DR6 bits of the guest's breakpoints that an access of @bytes at @la (a linear address;
 * @io: a port) meets, with DR7 as it was when the guest left: for who finishes an
 * instruction in the processor's place.
 */
unsigned hw_db_hits(const struct hw_cpu *cpu, uint64_t la, unsigned bytes, bool write,
		    bool io);

/* The instruction at which the guest left, decoded; NULL if none was at work (an
 * interrupt, a fetch that failed). Valid until the next entry. */
const struct x86_insn *hw_last_insn(const struct hw_cpu *cpu);

/* Counters of the engine, by name; see hw_stats.def. */
struct hw_stats {
#define HW_STAT(name, desc) uint64_t name;
#include "hw/hw_stats.def"
#undef HW_STAT
};
const struct hw_stats *hw_stats(const struct hw_cpu *cpu);

/* A kind of instruction that translated code left to the interpreter. */
struct hw_left {
	const char *mnemonic;	/* NULL: begin */
	uint16_t row;		/* of the opcode table */
	bool slow;		/* it has a translation, whose common case it was not */
	uint64_t count;
	uint32_t at;		/* hw_left_next()'s own */
};
/* The next one, most frequent first; false: no more, or hw_config.jit_count is off. */
bool hw_left_next(const struct hw_cpu *cpu, struct hw_left *l);

#endif
