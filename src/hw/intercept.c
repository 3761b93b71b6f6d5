/* SPDX-License-Identifier: MIT */
/*
 * Does this instruction leave the guest? The control block's bit for the
 * intercept says "always", or for those of rules[] "look at the operand":
 * control and debug registers, MSR and I/O bitmaps, PAUSE loops.
 *
 * SDM Vol. 3C, "Instructions That Cause VM Exits Conditionally"; APM Vol. 2,
 * "Intercept Operation". The emulator asks after #UD and privilege checks and
 * before any effect, so a recorded exit needs no undoing: rip is the
 * instruction's.
 */
#include "base/access.h"
#include "hw/core.h"

/* --- exits by an instruction ---------------------------------------------------- */

/* The effective address of the memory operand, as far as bytes tell. */
static uint64_t operand_ea(const struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = i->disp;

	if (i->base == X86_RIP)
		ea += c->rip + i->len;
	else if (i->base < X86_NR_GPRS)
		ea += c->gpr[i->base];
	if (i->index < X86_NR_GPRS)
		ea += c->gpr[i->index] << i->scale;
	if (i->adsize == 8)
		return ea;
	return i->adsize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

static uint64_t linear(const struct x86_emulate_ctxt *c, unsigned seg,
		       uint64_t ea)
{
	bool wide = c->mode == X86_MODE_PROT64;

	if (seg >= X86_NR_SEGS)
		return ea;
	if (wide)
		return seg < X86_FS ? ea : ea + c->seg[seg].base;
	return (uint32_t)(ea + c->seg[seg].base);
}

struct hw_exit *hw_exit_insn(struct hw_cpu *cpu, enum x86_intercept id)
{
	struct hw_exit *x = hw_exit_fill(cpu, id);
	const struct x86_emulate_ctxt *c = &cpu->c;

	x->by_insn = true;
	x->next_rip = c->rip + c->insn->len;
	if (c->mode != X86_MODE_PROT64)
		x->next_rip = (uint32_t)x->next_rip;
	if (insn_has_modrm_mem(c->insn)) {
		x->mem_operand = true;
		x->ea = operand_ea(c);
		x->la = linear(c, c->insn->seg, x->ea);
		x->la_valid = true;
	}
	return x;
}

static int leave(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		 uint64_t val)
{
	struct hw_exit *x = hw_exit_insn(cpu, id);

	x->arg = arg;
	x->val = val;
	x->gpr = cpu->c.insn->rm;
	if (id == X86_INTERCEPT_INVLPG)
		x->arg = x->la;
	return X86EMUL_INTERCEPTED;
}

/* --- control registers ------------------------------------------------------------- */

static bool cr3_is_target(const struct hw_ctl *ctl, uint64_t val)
{
	unsigned i;

	for (i = 0; i < ctl->cr3_target_count && i < 4; i++)
		if (ctl->cr3_target[i] == val)
			return true;
	return false;
}

/* VMX: a bit under the mask would change from what the guest sees. */
static bool masked_change(const struct hw_ctl *ctl, unsigned nr, uint64_t val)
{
	if (nr == 0)
		return (val ^ ctl->cr0_shadow) & ctl->cr0_mask;
	return nr == 4 && ((val ^ ctl->cr4_shadow) & ctl->cr4_mask);
}

static int cr_write(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		    uint64_t val)
{
	const struct hw_ctl *ctl = &cpu->ctl;
	unsigned nr = arg & 0xf;

	if (ctl->cr_write & BIT(nr)) {
		if (nr != 3 || !cr3_is_target(ctl, val))
			return leave(cpu, id, nr, val);
	} else if (masked_change(ctl, nr, val)) {
		return leave(cpu, id, nr, val);
	}
	if (nr == 0 && ctl->cr0_selective &&
	    ((val ^ cpu->c.cr0) & ~(X86_CR0_TS | X86_CR0_MP)))
		return leave(cpu, X86_INTERCEPT_CR0_SEL_WRITE, 0, val);
	return X86EMUL_CONTINUE;
}

static int cr_read(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		   uint64_t val)
{
	unsigned nr = arg & 0xf;

	if (cpu->ctl.cr_read & BIT(nr))
		return leave(cpu, id, nr | 0x100, val);
	return X86EMUL_CONTINUE;
}

/* CLTS leaves when TS is the hypervisor's and set as the guest sees it. */
static int clts(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		uint64_t val)
{
	const struct hw_ctl *ctl = &cpu->ctl;

	if ((ctl->cr_write & BIT(0)) ||
	    (ctl->cr0_mask & ctl->cr0_shadow & X86_CR0_TS))
		return leave(cpu, id, 0, 0);
	return X86EMUL_CONTINUE;
}

/*
 * LMSW looks at bits 0-3 only and cannot clear PE. APM Vol. 2: the selective
 * intercept does not look at LMSW's value.
 */
static int lmsw(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		uint64_t val)
{
	const struct hw_ctl *ctl = &cpu->ctl;
	uint64_t src = val, differ;

	differ = (src ^ ctl->cr0_shadow) & ctl->cr0_mask & 0xf;
	if (!(src & X86_CR0_PE))
		differ &= ~X86_CR0_PE;
	if ((ctl->cr_write & BIT(0)) || differ)
		return leave(cpu, id, src, src);
	if (ctl->cr0_selective)
		return leave(cpu, X86_INTERCEPT_CR0_SEL_WRITE, 0, src);
	return X86EMUL_CONTINUE;
}

/* --- debug registers, MSRs, I/O -------------------------------------------------------- */

static int dr_access(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		     uint64_t val)
{
	bool read = id == X86_INTERCEPT_DR_READ;
	unsigned nr = arg & 0xf;

	if (!((read ? cpu->ctl.dr_read : cpu->ctl.dr_write) & BIT(nr)))
		return X86EMUL_CONTINUE;
	return leave(cpu, id, nr | (read ? 0x100 : 0), val);
}

/* A bit of a bitmap in memory that may be gone: then it is set. */
static bool bitmap_bit(const uint8_t *map, uint64_t bit)
{
	uint8_t b;

	return !map || host_read_8(map + bit / 8, &b) || (b >> (bit % 8) & 1);
}

/* SDM Vol. 3C, "MSR-Bitmap Address". */
static bool msr_exits_vmx(const uint8_t *map, uint32_t msr, bool write)
{
	unsigned base = write ? 2048 : 0;

	if (msr >= 0xc0000000 && msr <= 0xc0001fff)
		base += 1024;
	else if (msr > 0x1fff)
		return true;
	return bitmap_bit(map + base, msr & 0x1fff);
}

/* APM Vol. 2, "MSR Intercepts": two bits an MSR, read first. */
static bool msr_exits_svm(const uint8_t *map, uint32_t msr, bool write)
{
	static const uint32_t first[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		if (msr - first[i] < 0x2000)
			return bitmap_bit(map + 2048 * i,
					  (msr - first[i]) * 2ull + write);
	return true;
}

bool hw_msr_exits(const struct hw_cpu *cpu, uint32_t msr, bool write)
{
	const struct hw_ctl *ctl = &cpu->ctl;

	if (!hw_ctl_has(ctl, write ? X86_INTERCEPT_MSR_WRITE : X86_INTERCEPT_MSR_READ))
		return false;
	if (ctl->msrpm && ctl->msrpm_format == HW_MSRPM_VMX)
		return msr_exits_vmx(ctl->msrpm, msr, write);
	if (ctl->msrpm && ctl->msrpm_format == HW_MSRPM_SVM)
		return msr_exits_svm(ctl->msrpm, msr, write);
	return true;
}

static int msr_access(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		      uint64_t val)
{
	if (!hw_msr_exits(cpu, arg, id == X86_INTERCEPT_MSR_WRITE))
		return X86EMUL_CONTINUE;
	return leave(cpu, id, (uint32_t)arg, val);
}

/* SDM Vol. 3C, "I/O-Bitmap Addresses": an access that wraps around always
 * leaves. APM Vol. 2, "IOIO Intercepts": the bits after 64K count. */
static bool io_exits(const struct hw_ctl *ctl, unsigned port, unsigned size)
{
	unsigned i;

	if (ctl->io_all || !ctl->io_bitmap[0])
		return true;
	if (ctl->io_bitmap[1] && port + size > 0x10000)
		return true;
	for (i = port; i < port + size; i++)
		if (ctl->io_bitmap[1] ?
		    bitmap_bit(ctl->io_bitmap[i >> 15], i & 0x7fff) :
		    bitmap_bit(ctl->io_bitmap[0], i))
			return true;
	return false;
}

/* The memory side of INS and OUTS. */
static void io_string(struct x86_emulate_ctxt *c, struct hw_exit *x)
{
	const struct x86_insn *i = c->insn;
	unsigned reg = x->io_in ? X86_RDI : X86_RSI;

	x->io_string = true;
	x->io_rep = i->prefix & (PFX_REP | PFX_REPNE);
	x->ea = c->gpr[reg];
	if (i->adsize != 8)
		x->ea &= i->adsize == 4 ? 0xffffffffull : 0xffff;
	x->la = linear(c, x->io_in ? X86_ES : i->seg, x->ea);
	x->la_valid = true;
}

static int io_access(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		     uint64_t val)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	enum x86_op op = c->insn->row->op;
	unsigned size = MIN(c->insn->opsize, 4);
	struct hw_exit *x;

	if (c->insn->row->attr & I_BYTE)
		size = 1;
	if (!io_exits(&cpu->ctl, arg & 0xffff, size))
		return X86EMUL_CONTINUE;
	leave(cpu, id, arg & 0xffff, val);
	x = &cpu->exit;
	x->io_size = size;
	x->io_in = op == X86_OP_IN || op == X86_OP_INS;
	if (op == X86_OP_INS || op == X86_OP_OUTS)
		io_string(c, x);
	return X86EMUL_INTERCEPTED;
}

/* --- PAUSE -------------------------------------------------------------------------------- */

/*
 * SVM's filter counts down (APM Vol. 2, "Pause Intercept Filtering"); VMX's PLE
 * measures a loop at CPL 0 with the TSC (SDM Vol. 3C, "VM-Execution Controls",
 * PLE_Gap and PLE_Window). Clients and hypervisors choose the gap for processors that
 * do some instructions in a cycle; this one needs tens of cycles for one.
 */
#define PLE_GAP_SCALE	16

static int pause_loop(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		      uint64_t val)
{
	struct hw_ctl *ctl = &cpu->ctl;
	uint64_t now;

	if (ctl->pause_count) {
		ctl->pause_count--;
		return X86EMUL_CONTINUE;
	}
	if (!ctl->ple_window)
		return leave(cpu, id, 0, 0);
	if (cpu->c.cpl)
		return X86EMUL_CONTINUE;
	now = hw_host_tsc();
	if (now - cpu->pause_last > (uint64_t)ctl->ple_gap * PLE_GAP_SCALE)
		cpu->pause_first = now;
	cpu->pause_last = now;
	if (now - cpu->pause_first <= ctl->ple_window)
		return X86EMUL_CONTINUE;
	cpu->pause_last = 0;
	return leave(cpu, id, 0, 0);
}

/* --- the table ------------------------------------------------------------------------------ */

typedef int (*rule_fn)(struct hw_cpu *cpu, enum x86_intercept id, uint64_t arg,
		       uint64_t val);

/* clang-format off */
static const rule_fn rules[X86_NR_INTERCEPTS] = {
	[X86_INTERCEPT_CR_READ]		= cr_read,
	[X86_INTERCEPT_CR_WRITE]	= cr_write,
	[X86_INTERCEPT_CLTS]		= clts,
	[X86_INTERCEPT_LMSW]		= lmsw,
	[X86_INTERCEPT_DR_READ]		= dr_access,
	[X86_INTERCEPT_DR_WRITE]	= dr_access,
	[X86_INTERCEPT_MSR_READ]	= msr_access,
	[X86_INTERCEPT_MSR_WRITE]	= msr_access,
	[X86_INTERCEPT_IO]		= io_access,
	[X86_INTERCEPT_PAUSE]		= pause_loop,
};
/* clang-format on */

/* Those whose fields speak for themselves, whatever the bit. */
static bool fields_decide(enum x86_intercept id)
{
	return id == X86_INTERCEPT_CR_READ || id == X86_INTERCEPT_CR_WRITE ||
	       id == X86_INTERCEPT_CLTS || id == X86_INTERCEPT_LMSW ||
	       id == X86_INTERCEPT_DR_READ || id == X86_INTERCEPT_DR_WRITE;
}

int hw_intercept(struct x86_emulate_ctxt *c, enum x86_intercept id,
		 uint64_t arg, uint64_t val)
{
	struct hw_cpu *cpu = hw_of(c);

	if (id == X86_INTERCEPT_NONE || id >= X86_NR_INTERCEPTS)
		return X86EMUL_CONTINUE;
	if (!hw_ctl_has(&cpu->ctl, id) && !fields_decide(id))
		return X86EMUL_CONTINUE;
	if (rules[id])
		return rules[id](cpu, id, arg, val);
	return leave(cpu, id, arg, val);
}
