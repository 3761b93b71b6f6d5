// SPDX-License-Identifier: MIT
/*
 * The processor of sysenv.h. Its callbacks do what an owner without paging does:
 * memory is an array, every page has rights, state is stored as given. Accesses
 * follow the contract of emulate.h (privilege of the CPL but for ACC_SYSTEM and
 * ACC_USER, both pages checked before a byte moves), so that a handler that uses
 * the wrong privilege or writes before it has checked is found out.
 */
#include "sysenv.h"

struct env env;
static struct x86_emulate_ctxt snap;
static uint8_t snap_mem[ENV_MEM];

static int page_fault(uint64_t la, unsigned acc, bool user, bool present)
{
	struct x86_exception *e = &env.c.exception;

	*e = (struct x86_exception){ .vector = X86_PF, .has_error_code = true,
				     .address = la };
	e->error_code = (present ? X86_PFERR_P : 0) |
			(acc & ACC_WRITE ? X86_PFERR_W : 0) |
			(user ? X86_PFERR_U : 0);
	return X86EMUL_PROPAGATE_FAULT;
}

static int check(uint64_t la, unsigned bytes, unsigned acc)
{
	const bool user = (env.c.cpl == 3 && !(acc & (ACC_SYSTEM | ACC_INNER))) ||
			  (acc & ACC_USER);
	uint64_t page;

	if (la >= ENV_MEM || la + bytes > ENV_MEM)
		return page_fault(la, acc, user, false);
	for (page = la >> 12; page <= (la + bytes - 1) >> 12; page++) {
		const uint8_t p = env.prot[page];
		const uint64_t at = page == la >> 12 ? la : page << 12;

		if (p & PG_ABSENT)
			return page_fault(at, acc, user, false);
		if ((p & PG_SUPERVISOR && user) ||
		    (p & PG_RO && acc & ACC_WRITE))
			return page_fault(at, acc, user, true);
	}
	return X86EMUL_CONTINUE;
}

static int op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc)
{
	int rc = check(la, bytes, acc);

	if (!rc)
		memcpy(val, env.mem + la, bytes);
	return rc;
}

static int op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc)
{
	int rc = check(la, bytes, acc | ACC_WRITE);

	if (!rc)
		memcpy(env.mem + la, val, bytes);
	return rc;
}

static int op_intercept(struct x86_emulate_ctxt *c, enum x86_intercept id,
			uint64_t arg, uint64_t val)
{
	if (!id || id != env.intercept_on)
		return X86EMUL_CONTINUE;
	env.intercepted = id;
	env.icpt_arg = arg;
	env.icpt_val = val;
	return X86EMUL_INTERCEPTED;
}

static int op_set_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			  const struct x86_segment *s)
{
	c->seg[seg] = *s;
	return X86EMUL_CONTINUE;
}

static int op_set_dtable(struct x86_emulate_ctxt *c, bool idt,
			 const struct x86_dtable *dt)
{
	*(idt ? &c->idt : &c->gdt) = *dt;
	return X86EMUL_CONTINUE;
}

static uint64_t *cr(unsigned nr)
{
	switch (nr) {
	case 0: return &env.c.cr0;
	case 2: return &env.c.cr2;
	case 3: return &env.c.cr3;
	case 4: return &env.c.cr4;
	default: return NULL;
	}
}

static int op_get_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	*val = cr(nr) ? *cr(nr) : 0;
	return X86EMUL_CONTINUE;
}

static int op_set_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	if (cr(nr))
		*cr(nr) = val;
	return X86EMUL_CONTINUE;
}

static int op_get_dr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	*val = env.dr[nr];
	return X86EMUL_CONTINUE;
}

static int op_set_dr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	env.dr[nr] = val;
	return X86EMUL_CONTINUE;
}

static uint64_t *msr(uint32_t nr)
{
	switch (nr) {
	case MSR_STAR: return &env.star;
	case MSR_LSTAR: return &env.lstar;
	case MSR_CSTAR: return &env.cstar;
	case MSR_SYSCALL_MASK: return &env.sfmask;
	case MSR_KERNEL_GS_BASE: return &env.kernel_gs;
	case MSR_IA32_SYSENTER_CS: return &env.sysenter_cs;
	case MSR_IA32_SYSENTER_ESP: return &env.sysenter_esp;
	case MSR_IA32_SYSENTER_EIP: return &env.sysenter_eip;
	default: return NULL;
	}
}

static int no_msr(struct x86_emulate_ctxt *c)
{
	c->exception = (struct x86_exception){ .vector = X86_GP,
					       .has_error_code = true };
	return X86EMUL_PROPAGATE_FAULT;
}

static int op_get_msr(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t *val)
{
	if (!msr(nr))
		return no_msr(c);
	*val = *msr(nr);
	return X86EMUL_CONTINUE;
}

static int op_set_msr(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t val)
{
	if (!msr(nr))
		return no_msr(c);
	*msr(nr) = val;
	return X86EMUL_CONTINUE;
}

static int op_set_xcr(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t val)
{
	if (nr || !(val & 1))
		return no_msr(c);
	c->xcr0 = val;
	return X86EMUL_CONTINUE;
}

static int op_invlpg(struct x86_emulate_ctxt *c, uint64_t la)
{
	env.invlpg_la = la;
	return X86EMUL_CONTINUE;
}

static int op_invpcid(struct x86_emulate_ctxt *c, uint64_t type,
		      const uint64_t desc[2])
{
	env.invlpg_la = desc[1];
	return X86EMUL_CONTINUE;
}

static int op_hypercall(struct x86_emulate_ctxt *c)
{
	env.hypercalls++;
	return X86EMUL_CONTINUE;
}

static int op_virt_insn(struct x86_emulate_ctxt *c)
{
	env.virt_insns++;
	return X86EMUL_CONTINUE;
}

/* As the silicon does: through the IDT at once. */
static int op_software_interrupt(struct x86_emulate_ctxt *c, uint8_t vector,
				 enum x86_intr_kind kind)
{
	static const uint8_t types[] = {
		[X86_INTR_SOFT] = X86_EVENT_SOFT_INT,
		[X86_INTR_INT3] = X86_EVENT_SOFT_EXC,
		[X86_INTR_INTO] = X86_EVENT_SOFT_EXC,
		[X86_INTR_ICEBP] = X86_EVENT_PRIV_EXC,
	};
	const struct x86_event ev = { .vector = vector, .type = types[kind],
				      .return_rip = c->next_rip };

	env.swints++;
	env.swint_vector = vector;
	return emul_deliver_event(c, &ev);
}

static int op_task_switch(struct x86_emulate_ctxt *c, uint16_t sel, int reason,
			  bool has_ec, uint32_t ec)
{
	env.task_switches++;
	env.task_sel = sel;
	env.task_reason = reason;
	if (!env.do_task_switch)
		return X86EMUL_INTERCEPTED;
	return emulator_task_switch(c, sel, reason, has_ec, ec);
}

static void op_iret_done(struct x86_emulate_ctxt *c)
{
	env.iret_done++;
}

static int op_nothing(struct x86_emulate_ctxt *c)
{
	return X86EMUL_CONTINUE;
}

static const struct x86_emulate_ops ops = {
	.read = op_read, .write = op_write, .intercept = op_intercept,
	.set_segment = op_set_segment, .set_dtable = op_set_dtable,
	.get_cr = op_get_cr, .set_cr = op_set_cr,
	.get_dr = op_get_dr, .set_dr = op_set_dr,
	.get_msr = op_get_msr, .set_msr = op_set_msr, .set_xcr = op_set_xcr,
	.wbinvd = op_nothing, .invlpg = op_invlpg, .invpcid = op_invpcid,
	.hypercall = op_hypercall, .virt_insn = op_virt_insn,
	.software_interrupt = op_software_interrupt,
	.task_switch = op_task_switch, .iret_done = op_iret_done,
};

void env_put(uint32_t la, uint64_t val, unsigned bytes)
{
	memcpy(env.mem + la, &val, bytes);
}

uint64_t env_get(uint32_t la, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, env.mem + la, bytes);
	return v;
}

void env_desc(uint16_t sel, uint32_t base, uint32_t limit, uint32_t ar)
{
	const uint32_t at = ENV_GDT + (sel & 0xfff8);

	env_put(at, (limit & 0xffff) | base << 16, 4);
	env_put(at + 4, (base >> 16 & 0xff) | (ar & 0xf0ff) << 8 |
		(limit & 0xf0000) | (base & 0xff000000), 4);
}

static void put_gate(uint32_t at, uint16_t target, uint64_t off, unsigned type,
		     unsigned dpl, unsigned low)
{
	const uint32_t p = type & GATE_ABSENT ? 0 : 0x8000;

	env_put(at, (off & 0xffff) | (uint32_t)target << 16, 4);
	env_put(at + 4, (off & 0xffff0000) | p | dpl << 13 | (type & 0xf) << 8 |
		low, 4);
}

void env_gate(uint16_t sel, uint16_t target, uint64_t off, unsigned type,
	      unsigned dpl, unsigned params)
{
	const uint32_t at = ENV_GDT + (sel & 0xfff8);

	put_gate(at, target, off, type, dpl, params);
	if (env.c.efer & X86_EFER_LMA)
		env_put(at + 8, off >> 32, 8);
}

void env_idt(uint8_t vector, uint16_t target, uint64_t off, unsigned type,
	     unsigned dpl, unsigned ist)
{
	const bool lm = env.c.efer & X86_EFER_LMA;
	const uint32_t at = ENV_IDT + vector * (lm ? 16 : 8);

	put_gate(at, target, off, type, dpl, ist);
	if (lm)
		env_put(at + 8, off >> 32, 8);
}

void env_load(enum x86_seg seg, uint16_t sel)
{
	const uint32_t at = ENV_GDT + (sel & 0xfff8);
	const uint32_t lo = env_get(at, 4), hi = env_get(at + 4, 4);
	struct x86_segment *s = &env.c.seg[seg];
	const uint32_t limit = (lo & 0xffff) | (hi & 0xf0000);

	s->selector = sel;
	s->base = lo >> 16 | (hi & 0xff) << 16 | (hi & 0xff000000);
	s->ar = hi >> 8 & 0xf0ff;
	s->limit = s->ar & X86_AR_G ? limit << 12 | 0xfff : limit;
	if (s->ar & X86_AR_S)
		s->ar |= X86_AR_A;
	emul_update_mode(&env.c);
}

struct gdt_row {
	uint16_t sel;
	uint32_t base, limit, ar;
};

#define AR_CODE(dpl)	(0xc09b | (dpl) << 5)
#define AR_DATA(dpl)	(0xc093 | (dpl) << 5)
#define AR_CODE64(dpl)	(0xa09b | (dpl) << 5)

/* clang-format off */
static const struct gdt_row gdt_rows[] = {
	{ SEL_CODE0,    0, 0xfffff, 0xc09a },	/* accessed bit clear */
	{ SEL_DATA0,    0, 0xfffff, 0xc092 },	/* accessed bit clear */
	{ SEL_CODE3,    0, 0xfffff, AR_CODE(3) },
	{ SEL_DATA3,    0, 0xfffff, AR_DATA(3) },
	{ SEL_CONF0,    0, 0xfffff, 0xc09f },
	{ SEL_CODE_NP,  0, 0xfffff, 0xc01b },
	{ SEL_RODATA0,  0, 0xfffff, 0xc091 },
	{ SEL_DATA_NP,  0, 0xfffff, 0xc013 },
	{ SEL_XCODE0,   0, 0xfffff, 0xc099 },
	{ SEL_CODE16,   0, 0xffff,  0x009b },
	{ SEL_DATA16,   0, 0xffff,  0x0093 },
	{ SEL_CODE64_0, 0, 0xfffff, AR_CODE64(0) },
	{ SEL_CODE64_3, 0, 0xfffff, AR_CODE64(3) },
	{ SEL_LDT,      ENV_LDT, 0xff, 0x0082 },
	{ SEL_BADLD,    0, 0xfffff, 0xe09b },
	{ SEL_CODE1,    0, 0xfffff, AR_CODE(1) },
	{ SEL_DATA1,    0, 0xfffff, AR_DATA(1) },
	{ SEL_TSS_B,    ENV_TSS_B, 0x67, 0x0089 },
	{ SEL_SMALL,    0, 0xff,    0x409b },	/* code with limit 0xff */
	{ SEL_CONF3,    0, 0xfffff, 0xc0ff },
	{ SEL_RO3,      0, 0xfffff, 0xc0f1 },
};
/* clang-format on */

static void init_tables(void)
{
	struct x86_emulate_ctxt *c = &env.c;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(gdt_rows); i++)
		env_desc(gdt_rows[i].sel, gdt_rows[i].base, gdt_rows[i].limit,
			 gdt_rows[i].ar);
	env_desc(SEL_TSS, ENV_TSS, 0xff, 0x008b);
	c->gdt = (struct x86_dtable){ ENV_GDT, SEL_BEYOND - 1 };
	c->idt = (struct x86_dtable){ ENV_IDT, 0x7ff };
	env_load(X86_TR, SEL_TSS);
	/* Unusable whatever the other fields say. */
	c->seg[X86_LDTR] = (struct x86_segment){ .base = ENV_LDT,
		.limit = 0xffff, .ar = X86_AR_UNUSABLE };
	env.prot[ENV_GDT >> 12] = PG_SUPERVISOR;
	env.prot[ENV_IDT >> 12] = PG_SUPERVISOR;
	env.prot[ENV_TSS >> 12] = PG_SUPERVISOR;
	env.prot[ENV_STACK0 >> 12] = PG_SUPERVISOR;
	env.prot[ENV_IST1 >> 12] = PG_SUPERVISOR;
}

static void init_tss(bool lm)
{
	if (lm) {
		env_put(ENV_TSS + 4, ENV_STACK0, 8);
		env_put(ENV_TSS + 0x0c, ENV_STACK1, 8);
		env_put(ENV_TSS + 0x24, ENV_IST1, 8);
		return;
	}
	env_put(ENV_TSS + 4, ENV_STACK0, 4);
	env_put(ENV_TSS + 8, SEL_DATA0, 2);
	env_put(ENV_TSS + 0xc, ENV_STACK1, 4);
	env_put(ENV_TSS + 0x10, SEL_DATA1, 2);
}

static void init_real(bool vm)
{
	struct x86_emulate_ctxt *c = &env.c;
	unsigned i;

	for (i = 0; i < X86_NR_USER_SEGS; i++)
		c->seg[i] = (struct x86_segment){ .limit = 0xffff,
						  .ar = vm ? 0xf3 : 0x93 };
	c->seg[X86_CS].selector = ENV_CODE >> 4;
	c->seg[X86_CS].base = ENV_CODE;
	c->rip = 0x100;
	if (vm)
		c->eflags |= X86_EFLAGS_VM | X86_EFLAGS_IOPL;
	else
		c->cr0 &= ~X86_CR0_PE;
	c->idt.limit = vm ? 0x7ff : 0x3ff;
	emul_update_mode(c);
}

static void init_protected(enum env_mode mode, unsigned cpl)
{
	struct x86_emulate_ctxt *c = &env.c;
	const unsigned data = cpl == 3 ? SEL_DATA3 : cpl == 1 ? SEL_DATA1 :
								SEL_DATA0;
	unsigned i;

	for (i = 0; i < X86_NR_USER_SEGS; i++)
		env_load(i, data);
	if (mode == ENV_LONG)
		env_load(X86_CS, cpl ? SEL_CODE64_3 : SEL_CODE64_0);
	else
		env_load(X86_CS, cpl == 3 ? SEL_CODE3 : cpl == 1 ? SEL_CODE1 :
								   SEL_CODE0);
	c->rip = ENV_CODE;
}

void env_init(enum env_mode mode, unsigned cpl)
{
	struct x86_emulate_ctxt *c = &env.c;
	const bool lm = mode == ENV_COMPAT || mode == ENV_LONG;

	memset(&env, 0, sizeof(env));
	memset(env.features, 0xff, sizeof(env.features));
	c->ops = &ops;
	c->features = env.features;
	c->tlb = x86_tlb_empty;
	c->tlb_key = 1;
	c->eflags = X86_EFLAGS_FIXED;
	c->cr0 = X86_CR0_PE | X86_CR0_TS;
	if (lm) {
		c->cr0 |= X86_CR0_PG;
		c->efer = X86_EFER_LMA | X86_EFER_LME | X86_EFER_SCE;
	}
	init_tables();
	init_tss(lm);
	c->gpr[X86_RSP] = cpl == 3 ? ENV_STACK3 : cpl == 1 ? ENV_STACK1 :
							     ENV_STACK0;
	if (lm)
		c->idt.limit = 0xfff;
	if (mode == ENV_REAL || mode == ENV_VM86)
		init_real(mode == ENV_VM86);
	else
		init_protected(mode, cpl);
}

int env_run(const uint8_t *code, size_t n)
{
	struct x86_emulate_ctxt *c = &env.c;
	const uint64_t at = c->mode == X86_MODE_PROT64 ?
			    c->rip : (uint32_t)(c->seg[X86_CS].base + c->rip);

	memcpy(env.mem + at, code, n);
	env_snapshot();
	if (x86_decode(&env.insn, code, n, c->mode) == X86_DECODE_UNDEFINED) {
		c->exception = (struct x86_exception){ .vector = X86_UD };
		return X86EMUL_PROPAGATE_FAULT;
	}
	assert_int_equal(env.insn.len, n);
	c->insn = &env.insn;
	snap.insn = c->insn;
	return x86_emulate_insn(c);
}

void env_snapshot(void)
{
	snap = env.c;
	memcpy(snap_mem, env.mem, sizeof(snap_mem));
}

/* Accessed bits are the first bit of the type in a descriptor's sixth byte. */
static bool may_differ(uint32_t at)
{
	const bool table = (at >= ENV_GDT && at < ENV_GDT + 0x200) ||
			   (at >= ENV_LDT && at < ENV_LDT + 0x100);

	return table && (at & 7) == 5 && (env.mem[at] & ~1) == (snap_mem[at] & ~1);
}

/* At whatever width: it is the new code's to say. */
void env_forgive_pushes(unsigned bytes)
{
	static const uint64_t masks[] = { 0xffff, 0xffffffff, ~0ull };
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(masks); i++)
		for (k = 1; k <= bytes; k++) {
			uint64_t la = (snap.gpr[X86_RSP] - k) & masks[i];

			if (masks[i] != ~0ull)
				la = (uint32_t)(la + snap.seg[X86_SS].base);
			if (la < ENV_MEM)
				env.mem[la] = snap_mem[la];
		}
}

void env_assert_unchanged(void)
{
	uint32_t i;

	assert_memory_equal(env.c.gpr, snap.gpr, sizeof(snap.gpr));
	assert_memory_equal(env.c.seg, snap.seg, sizeof(snap.seg));
	assert_int_equal(env.c.rip, snap.rip);
	assert_int_equal(env.c.eflags, snap.eflags);
	assert_int_equal(env.c.cpl, snap.cpl);
	assert_int_equal(env.c.mode, snap.mode);
	assert_int_equal(env.c.cr0, snap.cr0);
	for (i = 0; i < ENV_MEM; i++)
		if (env.mem[i] != snap_mem[i] && !may_differ(i))
			fail_msg("memory changed at %#x", i);
}
