/* SPDX-License-Identifier: MIT */
/*
 * Debug registers: access, and the comparison of addresses with DR0-DR3 (SDM Vol.
 * 3B, "Debug Registers", "Debug Exceptions").
 *
 * Data and I/O breakpoints are traps: a match is noted in db_match while the
 * instruction runs and becomes a pending debug exception when it completes.
 * Instruction breakpoints are faults: events.c compares at the boundary. While
 * any data breakpoint is armed the emulator sees an empty TLB and so every access
 * comes by (hw_tlb_context()).
 */
#include "hw/core.h"

#define DR7_ENABLED(n)	(3ull << (2 * (n)))
#define DR7_RW(dr7, n)	((dr7) >> (16 + 4 * (n)) & 3)
#define DR7_LEN(dr7, n)	((dr7) >> (18 + 4 * (n)) & 3)

enum dr7_rw { DR7_EXEC, DR7_WRITE, DR7_IO, DR7_ACCESS };

#define DR6_WRITABLE	(0xfull | X86_DR6_BD | X86_DR6_BS | X86_DR6_BT)
#define DR7_WRITABLE	0xffff2bffull

void hw_dr7_changed(struct hw_cpu *cpu)
{
	unsigned n;

	cpu->db_data = cpu->db_exec = false;
	for (n = 0; n < 4; n++) {
		if (!(cpu->dr7 & DR7_ENABLED(n)))
			continue;
		if (DR7_RW(cpu->dr7, n) == DR7_EXEC)
			cpu->db_exec = true;
		else
			cpu->db_data = true;
	}
	cpu->c.rep_limit = hw_rep_limit(cpu);
	hw_tlb_context(cpu);
	hw_set_request(cpu, HW_REQ_EVENT);
}

static bool overlaps(const struct hw_cpu *cpu, unsigned n, uint64_t la,
		     unsigned bytes)
{
	static const uint8_t length[] = { 1, 2, 8, 4 };
	unsigned len = length[DR7_LEN(cpu->dr7, n)];
	uint64_t start = cpu->dr[n] & ~(uint64_t)(len - 1);

	return start < la + bytes && la < start + len;
}

unsigned hw_db_hits(const struct hw_cpu *cpu, uint64_t la, unsigned bytes, bool write,
		    bool io)
{
	unsigned n, rw, hits = 0;

	for (n = 0; n < 4 && cpu->db_data; n++) {
		if (!(cpu->dr7 & DR7_ENABLED(n)))
			continue;
		rw = DR7_RW(cpu->dr7, n);
		if (io ? rw != DR7_IO || !(cpu->c.cr4 & X86_CR4_DE) :
			 rw != DR7_ACCESS && (rw != DR7_WRITE || !write))
			continue;
		if (overlaps(cpu, n, la, bytes))
			hits |= BIT(n);
	}
	return hits;
}

void hw_db_check(struct hw_cpu *cpu, uint64_t la, unsigned bytes, bool write,
		 bool io)
{
	unsigned hits = hw_db_hits(cpu, la, bytes, write, io);

	if (!hits)
		return;
	cpu->db_match |= hits | BIT(12);
	hw_set_request(cpu, HW_REQ_EVENT);
}

uint64_t hw_db_exec(const struct hw_cpu *cpu, uint64_t la)
{
	uint64_t bits = 0;
	unsigned n;

	for (n = 0; n < 4; n++)
		if ((cpu->dr7 & DR7_ENABLED(n)) &&
		    DR7_RW(cpu->dr7, n) == DR7_EXEC && cpu->dr[n] == la)
			bits |= BIT(n);
	return bits;
}

/* A debug exception sets its bits and never clears others but B0-B3; it clears
 * DR7.GD for its handler. */
void hw_dr6_update(struct hw_cpu *cpu, uint64_t bits)
{
	cpu->dr6 = (cpu->dr6 & ~0xfull) | (bits & DR6_WRITABLE) |
		   X86_DR6_INIT;
	cpu->dr7 &= ~X86_DR7_GD;
}

/* DR7.GD, after the intercept: any access is a fault. */
static int general_detect(struct x86_emulate_ctxt *c)
{
	if (!(hw_of(c)->dr7 & X86_DR7_GD))
		return X86EMUL_CONTINUE;
	c->exception = (struct x86_exception){
		.vector = X86_DB, .address = X86_DR6_BD,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

/* 4 and 5 are 6 and 7, or do not exist when CR4.DE is set. */
static int register_number(struct x86_emulate_ctxt *c, unsigned *nr)
{
	if (*nr > 7 || ((*nr == 4 || *nr == 5) && (c->cr4 & X86_CR4_DE)))
		return hw_ud(c);
	if (*nr == 4 || *nr == 5)
		*nr += 2;
	return general_detect(c);
}

int hw_get_dr_op(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	const struct hw_cpu *cpu = hw_of(c);
	int rc = register_number(c, &nr);

	if (rc != X86EMUL_CONTINUE)
		return rc;
	*val = nr < 4 ? cpu->dr[nr] : nr == 6 ? cpu->dr6 : cpu->dr7;
	return X86EMUL_CONTINUE;
}

int hw_set_dr_op(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	struct hw_cpu *cpu = hw_of(c);
	int rc = register_number(c, &nr);

	if (rc != X86EMUL_CONTINUE)
		return rc;
	if (nr < 4) {
		cpu->dr[nr] = val;
		return X86EMUL_CONTINUE;
	}
	if (val >> 32)
		return hw_gp(c);
	if (nr == 6) {
		cpu->dr6 = (val & DR6_WRITABLE) | X86_DR6_INIT;
	} else {
		cpu->dr7 = (val & DR7_WRITABLE) | X86_DR7_FIXED_1;
		hw_dr7_changed(cpu);
	}
	return X86EMUL_CONTINUE;
}
