/* SPDX-License-Identifier: MIT */
/*
 * The local APIC of one vCPU (SDM Vol. 3A, "Advanced Programmable Interrupt
 * Controller (APIC)").
 *
 * Who may call: functions marked [any] from any thread; all others on the
 * vCPU's own thread or while the vCPU cannot run. IRR, TMR and the pending
 * error bits are the only registers that other threads write, with atomics.
 *
 * Guest faults: functions that return bool for a guest access return false
 * when the guest gets #GP(0), and have changed nothing then.
 */
#ifndef ANYKVM_IRQCHIP_LAPIC_H
#define ANYKVM_IRQCHIP_LAPIC_H

#include <linux/kvm.h>

#include "base/timer.h"
#include "base/types.h"

struct kvm_vcpu;
struct kvm_irqchips;

#define APIC_DEFAULT_PHYS_BASE	0xfee00000ull
#define APIC_BUS_CYCLE_NS	1	/* the timer counts at 1 GHz */

/* IA32_APIC_BASE */
#define MSR_IA32_APICBASE_BSP	BIT_ULL(8)
#define X2APIC_ENABLE		BIT_ULL(10)
#define MSR_IA32_APICBASE_ENABLE BIT_ULL(11)

#define APIC_BASE_MSR		0x800	/* x2APIC MSRs: + register offset / 16 */

/* Register offsets, the names of Linux's apicdef. */
enum {
	APIC_ID = 0x20, APIC_LVR = 0x30, APIC_TASKPRI = 0x80,
	APIC_ARBPRI = 0x90, APIC_PROCPRI = 0xa0, APIC_EOI = 0xb0,
	APIC_RRR = 0xc0, APIC_LDR = 0xd0, APIC_DFR = 0xe0, APIC_SPIV = 0xf0,
	APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280,
	APIC_LVTCMCI = 0x2f0, APIC_ICR = 0x300, APIC_ICR2 = 0x310,
	APIC_LVTT = 0x320, APIC_LVTTHMR = 0x330, APIC_LVTPC = 0x340,
	APIC_LVT0 = 0x350, APIC_LVT1 = 0x360, APIC_LVTERR = 0x370,
	APIC_TMICT = 0x380, APIC_TMCCT = 0x390, APIC_TDCR = 0x3e0,
	APIC_SELF_IPI = 0x3f0,
};

#define APIC_SPIV_APIC_ENABLED	BIT(8)
#define APIC_SPIV_DIRECTED_EOI	BIT(12)
#define APIC_LVR_DIRECTED_EOI	BIT(24)

#define APIC_VECTOR_MASK	0xffu
#define APIC_MODE_MASK		0x700u
#define APIC_DEST_LOGICAL	BIT(11)
#define APIC_SEND_PENDING	BIT(12)
#define APIC_INT_ASSERT		BIT(14)
#define APIC_INT_LEVELTRIG	BIT(15)
#define APIC_SHORTHAND_MASK	0xc0000u
#define APIC_LVT_LEVEL_TRIGGER	BIT(15)
#define APIC_LVT_MASKED		BIT(16)
#define APIC_LVT_TIMER_MASK	0x60000u

/* Delivery modes, in place (bits 10:8). */
enum {
	APIC_DM_FIXED = 0x000, APIC_DM_LOWEST = 0x100, APIC_DM_SMI = 0x200,
	APIC_DM_REMRD = 0x300, APIC_DM_NMI = 0x400, APIC_DM_INIT = 0x500,
	APIC_DM_STARTUP = 0x600, APIC_DM_EXTINT = 0x700,
};

enum {
	APIC_DEST_NOSHORT = 0, APIC_DEST_SELF = 0x40000,
	APIC_DEST_ALLINC = 0x80000, APIC_DEST_ALLBUT = 0xc0000,
};

#define APIC_BROADCAST		0xffu
#define X2APIC_BROADCAST	0xffffffffu

/* ESR */
#define APIC_ESR_SEND_ILL	BIT(5)
#define APIC_ESR_RECV_ILL	BIT(6)
#define APIC_ESR_ILL_REG	BIT(7)

/* An interrupt message on its way to one or more local APICs. */
struct kvm_lapic_irq {
	uint32_t vector;
	uint32_t delivery_mode;		/* APIC_DM_* */
	bool	 logical;		/* destination mode */
	bool	 level;			/* assert */
	bool	 trig_level;		/* level-triggered */
	bool	 msi_redir_hint;
	uint32_t shorthand;		/* APIC_DEST_* */
	uint32_t dest_id;
};

struct kvm_lapic_timer {
	struct hrtimer hrtimer;
	uint64_t period;		/* ns, 0: not counting */
	uint64_t target;		/* ns of CLOCK_MONOTONIC at expiry */
	uint64_t tscdeadline;		/* guest TSC, 0: disarmed */
};

struct kvm_lapic {
	struct kvm_irqchips *irqchip;
	struct kvm_vcpu *vcpu;
	uint32_t id;			/* x2APIC ID = vcpu_id */
	unsigned index;			/* in irqchip->map.lapic[] */
	uint64_t base;			/* IA32_APIC_BASE */
	bool	 bsp;

	/* CPUID, as kvm_lapic_set_cpuid was told */
	bool	 has_x2apic, has_tsc_deadline;
	uint8_t	 maxphyaddr;

	bool	 irr_pending;		/* false: IRR is empty for sure */
	int	 highest_isr;		/* -1: none in service */
	uint32_t arb_prio;		/* lowest-priority turns taken */
	uint32_t esr_pending;		/* errors since the last ESR write */
	int	 pending_extint;	/* split: KVM_INTERRUPT's vector, or -1 */
	struct kvm_lapic_timer lapic_timer;
	uint32_t regs[KVM_APIC_REG_SIZE / 4] __attribute__((aligned(64)));
};

static inline uint32_t kvm_lapic_get_reg(const struct kvm_lapic *apic,
					 unsigned reg)
{
	return __atomic_load_n(&apic->regs[reg >> 2], __ATOMIC_RELAXED);
}

/* Globally enabled (IA32_APIC_BASE); [any]. */
static inline bool kvm_apic_hw_enabled(const struct kvm_lapic *apic)
{
	return __atomic_load_n(&apic->base, __ATOMIC_RELAXED) &
	       MSR_IA32_APICBASE_ENABLE;
}

/* Software-enabled (SVR); [any]. */
static inline bool kvm_apic_sw_enabled(const struct kvm_lapic *apic)
{
	return kvm_lapic_get_reg(apic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED;
}

static inline bool kvm_apic_enabled(const struct kvm_lapic *apic)
{
	return kvm_apic_hw_enabled(apic) && kvm_apic_sw_enabled(apic);
}

static inline bool apic_x2apic_mode(const struct kvm_lapic *apic)
{
	return __atomic_load_n(&apic->base, __ATOMIC_RELAXED) & X2APIC_ENABLE;
}

/*
 * Makes @vcpu's local APIC in power-up state and puts it on the VM's map.
 * @id: vcpu_id. 0, -EEXIST (the id is taken), -EINVAL (id or number too high),
 * -ENOMEM. CPUID starts without x2APIC and TSC deadline.
 */
int kvm_create_lapic(struct kvm_irqchips *ic, struct kvm_vcpu *vcpu,
		     uint32_t id, bool bsp, struct kvm_lapic **out);
/* Takes it off the map and frees it; NULL is fine. */
void kvm_free_lapic(struct kvm_lapic *apic);

/* Power-up (init false: IA32_APIC_BASE too) or INIT state. */
void kvm_lapic_reset(struct kvm_lapic *apic, bool init);

/* What CPUID says now; call after KVM_SET_CPUID2. */
void kvm_lapic_set_cpuid(struct kvm_lapic *apic, bool x2apic,
			 bool tsc_deadline, uint8_t maxphyaddr);

/* KVM_GET_LAPIC, KVM_SET_LAPIC. set: 0, or -EINVAL for a wrong x2APIC ID. */
void kvm_apic_get_state(struct kvm_lapic *apic, struct kvm_lapic_state *s);
int kvm_apic_set_state(struct kvm_lapic *apic, const struct kvm_lapic_state *s);

/* WRMSR IA32_APIC_BASE; @host: KVM_SET_MSRS and KVM_SET_SREGS, which may make
 * any transition between valid modes. */
bool __must_check kvm_set_apic_base(struct kvm_lapic *apic, uint64_t value,
				    bool host);

/* The xAPIC page. -EOPNOTSUPP: @gpa is not in it (or the APIC is not in xAPIC
 * mode and ic->lapic_mmio_hole is off); 0 otherwise. Any @len of 1, 2, 4, 8 and
 * any alignment. */
int kvm_lapic_mmio_read(struct kvm_lapic *apic, gpa_t gpa, int len, void *val);
int kvm_lapic_mmio_write(struct kvm_lapic *apic, gpa_t gpa, int len,
			 const void *val);

/* x2APIC MSRs 0x800-0x8ff. */
bool __must_check kvm_x2apic_msr_read(struct kvm_lapic *apic, uint32_t msr,
				      uint64_t *val);
bool __must_check kvm_x2apic_msr_write(struct kvm_lapic *apic, uint32_t msr,
				       uint64_t val);

/* IA32_TSC_DEADLINE: reads 0 and ignores writes outside of TSC-deadline mode. */
uint64_t kvm_get_lapic_tscdeadline_msr(struct kvm_lapic *apic);
void kvm_set_lapic_tscdeadline_msr(struct kvm_lapic *apic, uint64_t value);
/* The guest's TSC jumped (offset, scaling): rearms a TSC deadline. */
void kvm_lapic_tsc_changed(struct kvm_lapic *apic);

/* CR8 and TPR. get/set speak CR8's 4 bits. */
uint64_t kvm_lapic_get_cr8(struct kvm_lapic *apic);
void kvm_lapic_set_tpr(struct kvm_lapic *apic, uint64_t cr8);
uint32_t kvm_apic_update_ppr(struct kvm_lapic *apic);

/* Highest pending vector whatever the priorities, -1: none. [any] */
int kvm_lapic_find_highest_irr(struct kvm_lapic *apic);
/* The vector to inject now, -1: none above PPR. */
int kvm_apic_has_interrupt(struct kvm_lapic *apic);
/* Acknowledges it: IRR -> ISR. Returns the vector or -1. */
int kvm_get_apic_interrupt(struct kvm_lapic *apic);
/* EOI register write. */
void kvm_apic_eoi(struct kvm_lapic *apic);

/* Does LVT0 let the 8259's INTR through? [any] */
bool kvm_apic_accept_pic_intr(const struct kvm_lapic *apic);
/* LVT0 as NMI (the watchdog's virtual wire)? [any] */
bool kvm_apic_accept_nmi_lint0(const struct kvm_lapic *apic);

/* Fires the LVT entry at @lvt; [any]. >0 delivered, 0 masked or dropped. */
int kvm_apic_local_deliver(struct kvm_lapic *apic, unsigned lvt);

/* Accepts one message for this APIC; [any]. >0 delivered, 0 dropped. */
int kvm_apic_set_irq(struct kvm_lapic *apic, const struct kvm_lapic_irq *irq);

/* The LAPIC timer (lapic_timer.c) */
void kvm_lapic_timer_init(struct kvm_lapic *apic);
void kvm_lapic_timer_cancel(struct kvm_lapic *apic);
void kvm_lapic_timer_start(struct kvm_lapic *apic);	/* from TMICT */
void kvm_lapic_timer_restore(struct kvm_lapic *apic, uint32_t tmcct);
void kvm_lapic_timer_mode_changed(struct kvm_lapic *apic, uint32_t old_lvtt);
void kvm_lapic_timer_divide_changed(struct kvm_lapic *apic, uint32_t old_tdcr);
uint32_t kvm_lapic_timer_tmcct(struct kvm_lapic *apic);
/* ns of CLOCK_MONOTONIC at which it fires next, ~0: not armed. */
uint64_t kvm_lapic_timer_deadline(struct kvm_lapic *apic);
/* Shortest period of a periodic timer (module parameter). */
extern uint32_t min_timer_period_us;

/* Delivery (lapic_ipi.c) */

/* ICR write: builds the message and sends it. */
void kvm_apic_send_ipi(struct kvm_lapic *apic, uint32_t icr_low,
		       uint32_t icr_high);
/* Is @apic addressed? @src NULL: from a device. [any] */
bool kvm_apic_match_dest(const struct kvm_lapic *apic,
			 const struct kvm_lapic *src, uint32_t shorthand,
			 uint32_t dest, bool logical);
/* Sends to every APIC addressed. -1: nobody is; else how many accepted. [any] */
int kvm_irq_delivery_to_apic(struct kvm_irqchips *ic,
			     const struct kvm_lapic *src,
			     const struct kvm_lapic_irq *irq);

/* Registers an error: ESR bit and LVT error. [any] */
void kvm_apic_error(struct kvm_lapic *apic, uint32_t esr_bit);

#endif
