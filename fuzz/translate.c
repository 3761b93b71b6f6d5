// SPDX-License-Identifier: MIT
/*
 * The translator in lock-step with the interpreter (jit/check.c): code, registers, page
 * rights and data from the input, at CPL 0 and 3, in 64-bit mode and in 32-bit segments.
 * What must hold: the run ends, at the latest when it is kicked, and the two have not
 * disagreed.
 *
 * The code is a few instructions in a row that the decoder takes, the rest bytes. The guest
 * is that of the unit tests (tests/unit/hw/guest.h), a new one for each input, so that an
 * input alone repeats what it has found; each handler is a HLT, which leaves. Code, pages and
 * blocks of one scene are what the next one of an input finds.
 */
#include "base/access.h"
#include "input.h"
#include "kicker.h"
#include "unit/hw/guest.h"

#define CODE_BYTES	96
#define MAX_SCENES	3
#define MAX_RUNS	3	/* of a scene */
#define AR_CODE32	0xc09b
#define AR_DPL3		0x60

static struct guest *g;

static void end(void)
{
	if (g)
		guest_free(g);
	g = NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	setenv("ANYKVM_ENGINE", "check", 1);
	/* The sanitizer for leaks does not look into a processor's pages. */
	atexit(end);
	return 0;
}

static uint64_t address(struct fuzz_input *in)
{
	static const uint32_t near[] = { G_DATA, G_DATA + 0xff8, G_DATA + 0x1ff0,
					 G_CODE, G_CODE + 0xff8, G_USTACK - 0x100 };

	return fuzz_value(in, near[fuzz_below(in, ARRAY_SIZE(near))]);
}

/* Instructions that exist, mostly: else the block ends with the first byte. */
static void put_code(struct fuzz_input *in)
{
	uint64_t at = fuzz_below(in, 2) ? G_CODE : G_CODE + 0xfc0;
	uint8_t b[CODE_BYTES + X86_MAX_INSN_LEN];
	struct x86_insn i;
	unsigned n = 0;

	memset(g->mem + G_CODE, 0xf4, 2 * PAGE_SIZE);
	while (n < CODE_BYTES && !fuzz_is_empty(in)) {
		fuzz_bytes(in, b + n, X86_MAX_INSN_LEN);
		if (x86_decode(&i, b + n, X86_MAX_INSN_LEN, g->c->mode) ==
		    X86_DECODE_OK)
			n += i.len;
		else if (fuzz_below(in, 8) == 0)
			n++;
	}
	memcpy(g->mem + at, b, MIN(n, CODE_BYTES));
	g->c->rip = at;
}

static void put_rights(struct fuzz_input *in)
{
	static const uint32_t pages[] = { G_CODE, G_CODE + 0x1000, G_DATA, G_DATA + 0x1000,
					  G_DATA + 0x2000, G_USTACK - 8 };
	unsigned k, n;

	for (k = 0; k < ARRAY_SIZE(pages); k++)
		*guest_pte(g, pages[k]) |= PTE_U;
	for (n = fuzz_below(in, 4); n; n--)
		*guest_pte(g, pages[fuzz_below(in, ARRAY_SIZE(pages))]) ^=
			1u << fuzz_below(in, 3);
}

/* The mode of a scene: compatibility mode has an FS and a GS that mostly are whole. */
static struct start {
	bool code32;
	uint32_t fs, gs, gs_limit;
} start;

static void enter(bool user)
{
	struct x86_segment *s = g->c->seg;

	if (user)
		guest_user(g);
	else
		guest_long(g);
	if (!start.code32)
		return;
	s[X86_CS].ar = AR_CODE32 | (user ? AR_DPL3 : 0);
	s[X86_FS].base = start.fs;
	s[X86_GS].base = start.gs;
	s[X86_GS].limit = start.gs_limit;
	emul_update_mode(g->c);
}

static void put_mode(struct fuzz_input *in)
{
	uint8_t choice = fuzz_u8(in);

	start = (struct start){ .code32 = choice & 4, .gs_limit = UINT32_MAX };
	if (start.code32) {
		start.fs = address(in);
		start.gs = fuzz_u8(in);
		if (!fuzz_below(in, 8))
			start.gs_limit = G_DATA + 0x800;
	}
	enter(choice & 3);
}

static void put_registers(struct fuzz_input *in)
{
	struct x86_emulate_ctxt *c = g->c;
	unsigned k;

	for (k = 0; k < X86_NR_GPRS; k++)
		c->gpr[k] = address(in);
	c->gpr[X86_RSP] = fuzz_below(in, 8) ? G_USTACK - 0x100 : address(in);
	for (k = 0; k < X86_NR_GPRS && c->mode != X86_MODE_PROT64; k++)
		c->gpr[k] = (uint32_t)c->gpr[k];
	c->eflags = X86_EFLAGS_FIXED |
		    (fuzz_u16(in) & (X86_EFLAGS_STATUS | X86_EFLAGS_DF));
}

static void put_state(struct fuzz_input *in)
{
	unsigned k;

	put_mode(in);
	g->c->cr4 |= X86_CR4_OSXSAVE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	g->c->xcr0 = hw_xcr0_model();
	put_registers(in);
	for (k = 0; k < 3 * PAGE_SIZE; k += 64)
		g->mem[G_DATA + k] = fuzz_u8(in);
}

static void kick(void *cpu)
{
	hw_kick(cpu);
}

static void run(void)
{
	kicker_start(kick, g->cpu);
	hw_run(g->cpu);
	kicker_stop();
	if (g->cpu->check_failed)
		FUZZ_FAIL("%s", hw_check_failure(g->cpu));
}

static void scene(struct fuzz_input *in)
{
	unsigned n;

	put_state(in);
	put_rights(in);
	put_code(in);
	hw_tlb_flush_all(g->cpu);
	/* The same state goes on where it stands: warm slots, and blocks that exist. */
	for (n = 0; n < MAX_RUNS; n++) {
		run();
		enter(true);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in;
	unsigned n = 0;

	g = guest_new(false);
	fuzz_begin(&in, data, size);
	do
		scene(&in);
	while (!fuzz_is_empty(&in) && ++n < MAX_SCENES);
	end();
	return 0;
}
