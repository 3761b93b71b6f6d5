/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's registers, priorities, acknowledge and EOI (SDM Vol. 3A,
 * "Advanced Programmable Interrupt Controller (APIC)", "Extended XAPIC
 * (x2APIC)").
 *
 * One table says what each register is in xAPIC and in x2APIC mode; MMIO and
 * MSR accesses differ in how they fail: xAPIC sets "illegal register address"
 * in the ESR, x2APIC raises #GP.
 *
 * Registers belong to the vCPU's thread. IRR, TMR and the pending error bits
 * are written by anybody, with atomics; irr_pending false means "IRR is empty"
 * and saves the search at every entry. Its order against IRR is in
 * apic_clear_irr() and accept_fixed().
 *
 * The register image is the one of KVM_GET_LAPIC, with the x2APIC ID always in
 * xAPIC's place of the image's format; in x2APIC mode the 64-bit ICR is kept as
 * ICR and ICR2.
 *
 * Does not model: the arbitration priority register (reads 0), remote read,
 * LVT CMCI, APIC-access virtualization.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/irqchip.h"
#include "obs/trace.h"

#define APIC_VERSION		0x14u
#define APIC_LVT_NUM		6u
#define APIC_LVT_BITS		(APIC_VECTOR_MASK | APIC_LVT_MASKED)
#define APIC_LVT_MODE_BITS	(APIC_LVT_BITS | APIC_MODE_MASK)
#define APIC_LVT_LINT_BITS	(APIC_LVT_MODE_BITS | BIT(13) | BIT(15))
#define APIC_TDCR_BITS		0xbu
#define X2APIC_ICR_RESERVED	0xfff32000u	/* 31:20, 17:16, 13 */

enum {
	XR = 1,		/* readable in xAPIC mode */
	XW = 2,
	MR = 4,		/* readable in x2APIC mode */
	MW = 8,
	RO = XR | MR,
	RW = XR | XW | MR | MW,
};

static uint32_t get(const struct kvm_lapic *apic, unsigned reg)
{
	return kvm_lapic_get_reg(apic, reg);
}

static void set(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	__atomic_store_n(&apic->regs[reg >> 2], val, __ATOMIC_RELAXED);
}

/* ---- 256-bit registers ---- */

static int find_highest(const struct kvm_lapic *apic, unsigned reg)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t v = get(apic, reg + i * 16);

		if (v)
			return i * 32 + 31 - __builtin_clz(v);
	}
	return -1;
}

static uint32_t *vector_word(struct kvm_lapic *apic, unsigned reg, int vec)
{
	return &apic->regs[reg / 4 + vec / 32 * 4];
}

int kvm_lapic_find_highest_irr(struct kvm_lapic *apic)
{
	if (!__atomic_load_n(&apic->irr_pending, __ATOMIC_SEQ_CST))
		return -1;
	return find_highest(apic, APIC_IRR);
}

/* Others set a bit and then irr_pending; this clears in the same order of the
 * two, so a bit set in between is seen by the search or sets irr_pending. */
static void apic_clear_irr(struct kvm_lapic *apic, int vec)
{
	__atomic_store_n(&apic->irr_pending, false, __ATOMIC_SEQ_CST);
	__atomic_fetch_and(vector_word(apic, APIC_IRR, vec),
			   ~BIT(vec % 32), __ATOMIC_SEQ_CST);
	if (find_highest(apic, APIC_IRR) >= 0)
		__atomic_store_n(&apic->irr_pending, true, __ATOMIC_SEQ_CST);
}

/* ---- priorities ---- */

uint32_t kvm_apic_update_ppr(struct kvm_lapic *apic)
{
	uint32_t tpr = get(apic, APIC_TASKPRI);
	uint32_t isrv = apic->highest_isr < 0 ? 0 : apic->highest_isr;
	uint32_t ppr = tpr >> 4 >= isrv >> 4 ? tpr & 0xff : isrv & 0xf0;

	set(apic, APIC_PROCPRI, ppr);
	return ppr;
}

int kvm_apic_has_interrupt(struct kvm_lapic *apic)
{
	int vec;

	if (!kvm_apic_enabled(apic))
		return -1;
	vec = kvm_lapic_find_highest_irr(apic);
	if (vec < 0 || (vec & 0xf0) <= (int)(kvm_apic_update_ppr(apic) & 0xf0))
		return -1;
	return vec;
}

int kvm_get_apic_interrupt(struct kvm_lapic *apic)
{
	int vec = kvm_apic_has_interrupt(apic);

	if (vec < 0)
		return -1;
	apic_clear_irr(apic, vec);
	*vector_word(apic, APIC_ISR, vec) |= BIT(vec % 32);
	apic->highest_isr = vec;
	kvm_apic_update_ppr(apic);
	return vec;
}

/* The priority may have dropped: let the vCPU look again. */
static void request_event(struct kvm_lapic *apic)
{
	if (kvm_apic_has_interrupt(apic) >= 0)
		apic->irqchip->ops->kick(apic->vcpu);
}

uint64_t kvm_lapic_get_cr8(struct kvm_lapic *apic)
{
	return (get(apic, APIC_TASKPRI) & 0xf0) >> 4;
}

void kvm_lapic_set_tpr(struct kvm_lapic *apic, uint64_t cr8)
{
	set(apic, APIC_TASKPRI, (cr8 & 0xf) << 4);
	kvm_apic_update_ppr(apic);
	request_event(apic);
}

static void send_eoi(struct kvm_lapic *apic, int vec)
{
	struct kvm_irqchips *ic = apic->irqchip;
	bool level = get(apic, APIC_TMR + vec / 32 * 16) & BIT(vec % 32);

	if (level && (get(apic, APIC_SPIV) & APIC_SPIV_DIRECTED_EOI))
		return;
	if (irqchip_kernel(ic))
		kvm_ioapic_update_eoi(ic->ioapic, vec, level);
	else if (level && ic->ops->ioapic_eoi && kvm_split_eoi_wanted(ic, vec))
		ic->ops->ioapic_eoi(apic->vcpu, vec);
}

void kvm_apic_eoi(struct kvm_lapic *apic)
{
	int vec = apic->highest_isr;

	trace_kvm_eoi(apic->id, vec < 0 ? 0 : vec);
	if (vec < 0)
		return;
	*vector_word(apic, APIC_ISR, vec) &= ~BIT(vec % 32);
	apic->highest_isr = find_highest(apic, APIC_ISR);
	kvm_apic_update_ppr(apic);
	send_eoi(apic, vec);
	request_event(apic);
}

/* ---- register writes; false: #GP (x2APIC only) ---- */

static bool write_id(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	set(apic, reg, val & 0xff000000);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	return true;
}

static bool write_tpr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	if (apic_x2apic_mode(apic) && val > 0xff)
		return false;
	set(apic, reg, val & 0xff);
	kvm_apic_update_ppr(apic);
	request_event(apic);
	return true;
}

static bool write_eoi(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	if (apic_x2apic_mode(apic) && val)
		return false;
	kvm_apic_eoi(apic);
	return true;
}

static bool write_ldr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	set(apic, reg, val & 0xff000000);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	return true;
}

static bool write_dfr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	set(apic, reg, val | 0x0fffffff);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	return true;
}

static void mask_all_lvts(struct kvm_lapic *apic)
{
	for (unsigned reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 16)
		set(apic, reg, get(apic, reg) | APIC_LVT_MASKED);
}

static bool write_spiv(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	uint32_t bits = 0x3ff;

	if (get(apic, APIC_LVR) & APIC_LVR_DIRECTED_EOI)
		bits |= APIC_SPIV_DIRECTED_EOI;
	set(apic, reg, val & bits);
	if (!(val & APIC_SPIV_APIC_ENABLED))
		mask_all_lvts(apic);
	else
		request_event(apic);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	return true;
}

static bool write_esr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	if (apic_x2apic_mode(apic) && val)
		return false;
	set(apic, reg, __atomic_exchange_n(&apic->esr_pending, 0,
					   __ATOMIC_SEQ_CST));
	return true;
}

static bool write_icr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	val &= ~APIC_SEND_PENDING;
	set(apic, reg, val);
	kvm_apic_send_ipi(apic, val, get(apic, APIC_ICR2));
	return true;
}

static bool write_icr2(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	set(apic, reg, val & 0xff000000);
	return true;
}

static uint32_t lvt_bits(const struct kvm_lapic *apic, unsigned reg)
{
	switch (reg) {
	case APIC_LVTT:
		return APIC_LVT_BITS | BIT(17) |
		       (apic->has_tsc_deadline ? BIT(18) : 0);
	case APIC_LVT0:
	case APIC_LVT1:
		return APIC_LVT_LINT_BITS;
	case APIC_LVTERR:
		return APIC_LVT_BITS;
	default:
		return APIC_LVT_MODE_BITS;
	}
}

static bool write_lvt(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	uint32_t old = get(apic, reg);

	val &= lvt_bits(apic, reg);
	if (!kvm_apic_sw_enabled(apic))
		val |= APIC_LVT_MASKED;
	/* The fourth timer mode does not exist. */
	if (reg == APIC_LVTT &&
	    (val & APIC_LVT_TIMER_MASK) == APIC_LVT_TIMER_MASK) {
		if (apic_x2apic_mode(apic))
			return false;
		val &= ~BIT(17);
	}
	set(apic, reg, val);
	if (reg == APIC_LVTT)
		kvm_lapic_timer_mode_changed(apic, old);
	if (reg == APIC_LVT0)
		apic->irqchip->ops->kick(apic->vcpu);
	return true;
}

static bool write_tmict(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	/* Ignored in TSC-deadline mode. */
	if ((get(apic, APIC_LVTT) & APIC_LVT_TIMER_MASK) == BIT(18))
		return true;
	kvm_lapic_timer_cancel(apic);
	set(apic, reg, val);
	kvm_lapic_timer_start(apic);
	return true;
}

static bool write_tdcr(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	uint32_t old = get(apic, reg);

	set(apic, reg, val & APIC_TDCR_BITS);
	kvm_lapic_timer_divide_changed(apic, old);
	return true;
}

static bool write_self_ipi(struct kvm_lapic *apic, unsigned reg, uint32_t val)
{
	if (val > 0xff)
		return false;
	kvm_apic_send_ipi(apic, val | APIC_DEST_SELF | APIC_INT_ASSERT, 0);
	return true;
}

/* clang-format off */
static const struct apic_reg {
	uint8_t access;
	bool (*write)(struct kvm_lapic *apic, unsigned reg, uint32_t val);
} apic_reg[KVM_APIC_REG_SIZE / 16] = {
	[APIC_ID / 16]		= { RO | XW, write_id },
	[APIC_LVR / 16]		= { RO, NULL },
	[APIC_TASKPRI / 16]	= { RW, write_tpr },
	[APIC_ARBPRI / 16]	= { XR, NULL },
	[APIC_PROCPRI / 16]	= { RO, NULL },
	[APIC_EOI / 16]		= { XW | MW, write_eoi },
	[APIC_RRR / 16]		= { XR, NULL },
	[APIC_LDR / 16]		= { RO | XW, write_ldr },
	[APIC_DFR / 16]		= { XR | XW, write_dfr },
	[APIC_SPIV / 16]	= { RW, write_spiv },
	[APIC_ISR / 16 ... APIC_ISR / 16 + 7] = { RO, NULL },
	[APIC_TMR / 16 ... APIC_TMR / 16 + 7] = { RO, NULL },
	[APIC_IRR / 16 ... APIC_IRR / 16 + 7] = { RO, NULL },
	[APIC_ESR / 16]		= { RW, write_esr },
	[APIC_ICR / 16]		= { RW, write_icr },
	[APIC_ICR2 / 16]	= { XR | XW, write_icr2 },
	[APIC_LVTT / 16 ... APIC_LVTERR / 16] = { RW, write_lvt },
	[APIC_TMICT / 16]	= { RW, write_tmict },
	[APIC_TMCCT / 16]	= { RO, NULL },
	[APIC_TDCR / 16]	= { RW, write_tdcr },
	[APIC_SELF_IPI / 16]	= { MW, write_self_ipi },
};
/* clang-format on */

static uint32_t read_reg(struct kvm_lapic *apic, unsigned reg)
{
	switch (reg) {
	case APIC_PROCPRI:
		return kvm_apic_update_ppr(apic);
	case APIC_TMCCT:
		return kvm_lapic_timer_tmcct(apic);
	case APIC_ID:
		return apic_x2apic_mode(apic) ? apic->id : get(apic, reg);
	default:
		return get(apic, reg);
	}
}

/* ---- xAPIC MMIO ---- */

/* 0: an access for the APIC; 1: to a hole; -EOPNOTSUPP: somebody else's. */
static int classify_mmio(struct kvm_lapic *apic, gpa_t gpa)
{
	gpa_t page = apic->base & PAGE_MASK;

	if (gpa < page || gpa - page >= PAGE_SIZE)
		return -EOPNOTSUPP;
	if (kvm_apic_hw_enabled(apic) && !apic_x2apic_mode(apic))
		return 0;
	return apic->irqchip->lapic_mmio_hole ? 1 : -EOPNOTSUPP;
}

/*
 * What @offset is in xAPIC mode, if it lets itself be accessed so. Only a hole
 * is an error; writing a read-only register does nothing.
 */
static const struct apic_reg *find_mmio_reg(struct kvm_lapic *apic,
					    unsigned offset, uint8_t access)
{
	const struct apic_reg *reg;

	reg = offset < KVM_APIC_REG_SIZE ? &apic_reg[offset / 16] : NULL;
	if (!reg || !(reg->access & (XR | XW))) {
		kvm_apic_error(apic, APIC_ESR_ILL_REG);
		return NULL;
	}
	return reg->access & access ? reg : NULL;
}

int kvm_lapic_mmio_read(struct kvm_lapic *apic, gpa_t gpa, int len, void *val)
{
	int r = classify_mmio(apic, gpa);
	unsigned offset = gpa & (PAGE_SIZE - 1), in = offset & 15;
	uint8_t line[16 + 8] = { 0 };
	uint32_t reg = 0;

	if (r < 0)
		return r;
	if (r > 0) {
		memset(val, 0xff, len);
		return 0;
	}
	if (find_mmio_reg(apic, offset, XR))
		reg = read_reg(apic, offset & ~15u);
	memcpy(line, &reg, sizeof(reg));
	memcpy(val, line + in, len);
	trace_kvm_apic(false, offset, reg);
	return 0;
}

int kvm_lapic_mmio_write(struct kvm_lapic *apic, gpa_t gpa, int len,
			 const void *val)
{
	int r = classify_mmio(apic, gpa);
	unsigned offset = gpa & (PAGE_SIZE - 1);
	const struct apic_reg *reg;
	uint32_t v;

	if (r)
		return r < 0 ? r : 0;
	/* Anything but aligned 32-bit stores is undefined: ignored. */
	if (len != 4 || (offset & 15))
		return 0;
	memcpy(&v, val, sizeof(v));
	trace_kvm_apic(true, offset, v);
	reg = find_mmio_reg(apic, offset, XW);
	if (reg)
		(void)!reg->write(apic, offset, v);
	return 0;
}

/* ---- x2APIC MSRs ---- */

static const struct apic_reg *find_msr_reg(const struct kvm_lapic *apic,
					   uint32_t msr, uint8_t access)
{
	uint32_t i = msr - APIC_BASE_MSR;

	if (!kvm_apic_hw_enabled(apic) || !apic_x2apic_mode(apic) ||
	    i >= ARRAY_SIZE(apic_reg) || !(apic_reg[i].access & access))
		return NULL;
	return &apic_reg[i];
}

bool kvm_x2apic_msr_read(struct kvm_lapic *apic, uint32_t msr, uint64_t *val)
{
	unsigned offset = (msr - APIC_BASE_MSR) * 16;

	if (!find_msr_reg(apic, msr, MR))
		return false;
	*val = read_reg(apic, offset);
	if (offset == APIC_ICR)
		*val |= (uint64_t)get(apic, APIC_ICR2) << 32;
	trace_kvm_apic(false, offset, *val);
	return true;
}

bool kvm_x2apic_msr_write(struct kvm_lapic *apic, uint32_t msr, uint64_t val)
{
	const struct apic_reg *reg = find_msr_reg(apic, msr, MW);
	unsigned offset = (msr - APIC_BASE_MSR) * 16;

	if (!reg)
		return false;
	trace_kvm_apic(true, offset, val);
	if (offset == APIC_ICR) {
		if (val & X2APIC_ICR_RESERVED)
			return false;
		set(apic, APIC_ICR2, val >> 32);
	} else if (val >> 32) {
		return false;
	}
	return reg->write(apic, offset, val);
}

/* ---- IA32_APIC_BASE ---- */

static void set_version(struct kvm_lapic *apic)
{
	uint32_t v = APIC_VERSION | (APIC_LVT_NUM - 1) << 16;

	/* The IOAPIC in here has no EOI register to direct one to. */
	if (apic->has_x2apic && !irqchip_kernel(apic->irqchip))
		v |= APIC_LVR_DIRECTED_EOI;
	set(apic, APIC_LVR, v);
}

/* The image keeps the xAPIC form of the ID; x2APIC's LDR derives from the ID:
 * SDM, "Logical Destination Mode in x2APIC Mode". */
static void set_mode_id(struct kvm_lapic *apic)
{
	if (apic_x2apic_mode(apic))
		set(apic, APIC_LDR, (apic->id >> 4) << 16 | BIT(apic->id & 15));
	else
		set(apic, APIC_ID, apic->id << 24);
}

static void reset_regs(struct kvm_lapic *apic)
{
	struct kvm_irqchips *ic = apic->irqchip;
	uint32_t id = get(apic, APIC_ID);

	kvm_lapic_timer_cancel(apic);
	for (unsigned reg = 0; reg < KVM_APIC_REG_SIZE; reg += 4)
		__atomic_store_n(&apic->regs[reg / 4], 0, __ATOMIC_SEQ_CST);
	apic->irr_pending = false;
	apic->highest_isr = -1;
	apic->esr_pending = 0;
	apic->pending_extint = -1;
	set(apic, APIC_ID, id);
	set_version(apic);
	mask_all_lvts(apic);
	if (apic->bsp && ic->lint0_reenabled)
		set(apic, APIC_LVT0, APIC_DM_EXTINT);
	set(apic, APIC_DFR, 0xffffffff);
	set(apic, APIC_SPIV, 0xff);
	set_mode_id(apic);
}

static bool is_valid_base(const struct kvm_lapic *apic, uint64_t value)
{
	uint64_t reserved = 0x2ff;

	if (apic->maxphyaddr < 64)
		reserved |= ~0ull << apic->maxphyaddr;
	if (!apic->has_x2apic)
		reserved |= X2APIC_ENABLE;
	if (value & reserved)
		return false;
	return (value & MSR_IA32_APICBASE_ENABLE) || !(value & X2APIC_ENABLE);
}

/* SDM Vol. 3A, "x2APIC State Transitions". */
static bool is_valid_transition(uint64_t old, uint64_t new)
{
	bool was_x2 = old & X2APIC_ENABLE, is_x2 = new & X2APIC_ENABLE;
	bool was_on = old & MSR_IA32_APICBASE_ENABLE;
	bool is_on = new & MSR_IA32_APICBASE_ENABLE;

	if (was_x2 && is_on && !is_x2)
		return false;
	return was_on || !is_x2;
}

bool kvm_set_apic_base(struct kvm_lapic *apic, uint64_t value, bool host)
{
	const uint64_t modes = X2APIC_ENABLE | MSR_IA32_APICBASE_ENABLE;
	uint64_t old = apic->base;

	if (!is_valid_base(apic, value))
		return false;
	if (!host && !is_valid_transition(old, value))
		return false;
	__atomic_store_n(&apic->base, value, __ATOMIC_SEQ_CST);
	if (!((old ^ value) & modes))
		return true;
	/* A disabled APIC forgets everything. */
	if (!host && !(value & MSR_IA32_APICBASE_ENABLE))
		reset_regs(apic);
	else
		set_mode_id(apic);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	apic->irqchip->ops->kick(apic->vcpu);
	return true;
}

void kvm_lapic_set_cpuid(struct kvm_lapic *apic, bool x2apic,
			 bool tsc_deadline, uint8_t maxphyaddr)
{
	apic->has_x2apic = x2apic;
	apic->has_tsc_deadline = tsc_deadline;
	apic->maxphyaddr = maxphyaddr;
	set_version(apic);
}

/* ---- life ---- */

static void power_up_base(struct kvm_lapic *apic)
{
	uint64_t base = APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE;

	if (apic->bsp)
		base |= MSR_IA32_APICBASE_BSP;
	__atomic_store_n(&apic->base, base, __ATOMIC_SEQ_CST);
	set(apic, APIC_ID, apic->id << 24);
}

void kvm_lapic_reset(struct kvm_lapic *apic, bool init)
{
	if (!init)
		power_up_base(apic);
	reset_regs(apic);
	kvm_recalculate_apic_map(&apic->irqchip->map);
}

int kvm_create_lapic(struct kvm_irqchips *ic, struct kvm_vcpu *vcpu,
		     uint32_t id, bool bsp, struct kvm_lapic **out)
{
	struct kvm_lapic *apic = aligned_alloc(64, ALIGN_UP(sizeof(*apic), 64));
	int r;

	if (!apic)
		return -ENOMEM;
	memset(apic, 0, sizeof(*apic));
	apic->irqchip = ic;
	apic->vcpu = vcpu;
	apic->id = id;
	apic->bsp = bsp;
	apic->maxphyaddr = 36;
	kvm_lapic_timer_init(apic);
	power_up_base(apic);
	reset_regs(apic);
	r = kvm_apic_map_add(&ic->map, apic);
	if (r) {
		free(apic);
		return r;
	}
	*out = apic;
	return 0;
}

void kvm_free_lapic(struct kvm_lapic *apic)
{
	if (!apic)
		return;
	kvm_apic_map_remove(&apic->irqchip->map, apic);
	hrtimer_cancel(&apic->lapic_timer.hrtimer);
	free(apic);
}

/* ---- KVM_GET_LAPIC, KVM_SET_LAPIC ---- */

void kvm_apic_get_state(struct kvm_lapic *apic, struct kvm_lapic_state *s)
{
	uint32_t tmcct = kvm_lapic_timer_tmcct(apic), id = apic->id;

	kvm_apic_update_ppr(apic);
	for (unsigned reg = 0; reg < KVM_APIC_REG_SIZE; reg += 4) {
		uint32_t v = get(apic, reg);

		memcpy(s->regs + reg, &v, sizeof(v));
	}
	memcpy(s->regs + APIC_TMCCT, &tmcct, sizeof(tmcct));
	if (apic_x2apic_mode(apic)) {
		if (!apic->irqchip->x2apic_format)
			id <<= 24;
		memcpy(s->regs + APIC_ID, &id, sizeof(id));
	}
}

/* Brings registers that came from outside into the shape they have here. */
static void sanitize(struct kvm_lapic *apic)
{
	for (unsigned reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 16)
		set(apic, reg, get(apic, reg) & lvt_bits(apic, reg));
	if ((get(apic, APIC_LVTT) & APIC_LVT_TIMER_MASK) == APIC_LVT_TIMER_MASK)
		set(apic, APIC_LVTT, get(apic, APIC_LVTT) & ~BIT(17));
	set(apic, APIC_TASKPRI, get(apic, APIC_TASKPRI) & 0xff);
	set(apic, APIC_TDCR, get(apic, APIC_TDCR) & APIC_TDCR_BITS);
	set(apic, APIC_ICR, get(apic, APIC_ICR) & ~APIC_SEND_PENDING);
	set_version(apic);
	if (apic_x2apic_mode(apic)) {
		set(apic, APIC_ID, apic->id << 24);
		set_mode_id(apic);
	} else {
		set(apic, APIC_ID, get(apic, APIC_ID) & 0xff000000);
	}
}

int kvm_apic_set_state(struct kvm_lapic *apic, const struct kvm_lapic_state *s)
{
	uint32_t v;

	memcpy(&v, s->regs + APIC_ID, sizeof(v));
	if (apic_x2apic_mode(apic) && apic->irqchip->x2apic_format &&
	    v != apic->id)
		return -EINVAL;
	kvm_lapic_timer_cancel(apic);
	for (unsigned reg = 0; reg < KVM_APIC_REG_SIZE; reg += 4) {
		memcpy(&v, s->regs + reg, sizeof(v));
		__atomic_store_n(&apic->regs[reg / 4], v, __ATOMIC_SEQ_CST);
	}
	sanitize(apic);
	apic->esr_pending = 0;
	apic->highest_isr = find_highest(apic, APIC_ISR);
	__atomic_store_n(&apic->irr_pending, true, __ATOMIC_SEQ_CST);
	kvm_apic_update_ppr(apic);
	kvm_recalculate_apic_map(&apic->irqchip->map);
	kvm_lapic_timer_restore(apic, get(apic, APIC_TMCCT));
	apic->irqchip->ops->kick(apic->vcpu);
	return 0;
}
