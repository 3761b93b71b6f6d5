/* SPDX-License-Identifier: MIT */
/*
 * Guests that do anything at all: random code, registers, descriptor tables and
 * page tables in every mode, on both vendors. Nothing but an exit may come of
 * it: no crash, no hang, nothing written outside the guest's memory.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "guest.h"

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Something that is often an address, a small number or a bit. */
static uint64_t interesting(void)
{
	switch (rnd() % 6) {
	case 0:
		return rnd();
	case 1:
		return rnd() % G_MEM;
	case 2:
		return rnd() & 0xff;
	case 3:
		return BIT_ULL(rnd() % 64);
	case 4:
		return -(rnd() % 4096);
	default:
		return (uint32_t)rnd();
	}
}

/* Opcodes that do much, so that random bytes are not mostly #UD and MOV. */
static const uint8_t spice[][4] = {
	{ 0x0f, 0x01 }, { 0x0f, 0x00 }, { 0x0f, 0x22 }, { 0x0f, 0x20 },
	{ 0x0f, 0x23 }, { 0x0f, 0x30 }, { 0x0f, 0x32 }, { 0x0f, 0xae },
	{ 0x0f, 0xc7 }, { 0x0f, 0x05 }, { 0x0f, 0x07 }, { 0x0f, 0x34 },
	{ 0x0f, 0x35 }, { 0xcf }, { 0xcd }, { 0xca }, { 0xff }, { 0x8e },
	{ 0x0f, 0xb2 }, { 0xf3, 0xa4 }, { 0xf3, 0x6f }, { 0xf3, 0xab },
	{ 0x9d }, { 0x0f, 0x01, 0xf8 }, { 0x66, 0x0f, 0x38 }, { 0x0f, 0x3a },
	{ 0xd9 }, { 0xdd }, { 0xdb }, { 0xf0, 0x0f, 0xb1 }, { 0xc8 }, { 0x48 },
	{ 0xf0 }, { 0x67 }, { 0x64 }, { 0x9a }, { 0xea }, { 0x0f, 0xa9 },
};

static void random_code(struct guest *g, uint64_t at, unsigned n)
{
	uint64_t end = at + n;
	unsigned i;

	for (; at < end; at++) {
		if (rnd() % 4) {
			g->mem[at] = rnd();
			continue;
		}
		i = rnd() % ARRAY_SIZE(spice);
		memcpy(g->mem + at, spice[i], 3);
		at += rnd() % 3;
	}
}

static void start_somehow(struct guest *g)
{
	static void (*const modes[])(struct guest *g) = {
		guest_real, guest_prot, guest_long, guest_user,
	};
	struct x86_emulate_ctxt *c = g->c;
	unsigned i;

	c->cr4 = 0;
	c->efer = 0;
	g->cpu->dr7 = X86_DR7_FIXED_1;
	g->cpu->shadow = 0;
	g->cpu->nmi_blocked = false;
	g->cpu->pending_db = 0;
	g->cpu->activity = HW_ACTIVE;
	memset(g->mem, 0, 0x40000);
	modes[rnd() % 4](g);
	for (i = 0; i < X86_NR_GPRS; i++)
		if (i != X86_RSP || !(rnd() % 8))
			c->gpr[i] = interesting();
	random_code(g, G_CODE, 0x400);
	for (i = rnd() % 8; i; i--)
		g->mem[rnd() % 0x40000] = rnd();
	if (!(rnd() % 4))
		c->eflags |= rnd() & 0x57fd5 & ~X86_EFLAGS_VM;
	if (!(rnd() % 8)) {
		g->cpu->dr7 |= rnd() & 0xffff00ff;
		g->cpu->dr[rnd() % 4] = interesting();
	}
	if (!(rnd() % 16))
		g->c->seg[rnd() % X86_NR_SEGS].limit = rnd();
	emul_update_mode(c);
}

/* Long enough for a flush of the TLB and some instructions, short where they never end. */
#ifdef ANYKVM_SANITIZE
#define TURNS		4000
#define TURN_CYCLES	2000000
#else
#define TURNS		20000
#define TURN_CYCLES	200000
#endif

static void random_control(struct guest *g)
{
	struct hw_ctl *ctl = &g->cpu->ctl;

	ctl->exceptions = rnd() % 4 ? 0 : rnd();
	ctl->intercepts[0] = ctl->intercepts[1] = 0;
	if (!(rnd() % 2)) {
		ctl->intercepts[0] = rnd() & rnd();
		ctl->intercepts[1] = rnd() & rnd();
	}
	hw_ctl_set(ctl, X86_INTERCEPT_HLT);
	ctl->mtf = !(rnd() % 64);
	ctl->inject_valid = false;
	if (!(rnd() % 8)) {
		ctl->inject = (struct x86_event){
			.vector = rnd(), .type = X86_EVENT_EXTINT,
		};
		ctl->inject_valid = true;
	}
	ctl->preemption_deadline = hw_host_tsc() + TURN_CYCLES;
	hw_request_flush(g->cpu);
}

static void hostile(struct guest *g, unsigned turns)
{
	unsigned i, exits = 0;

	host_access_init();
	seed = 0x9e3779b97f4a7c15 + g->amd;
	for (i = 0; i < turns; i++) {
		uint64_t at = seed;

		start_somehow(g);
		random_control(g);
		guest_run(g);
		if (g->cpu->exit.id == X86_INTERCEPT_NONE || g->cpu->host_error)
			fail_msg("turn %u (seed %llx): exit %d, host error %d",
				 i, (unsigned long long)at, g->cpu->exit.id,
				 g->cpu->host_error);
		exits |= 1u << (g->cpu->exit.id % 32);
	}
	/* They did not all end the same way. */
	assert_true(__builtin_popcount(exits) > 4);
	assert_true(g->cpu->stats.instructions > turns / 10);
}

static void random_guests_only_exit(void **state)
{
	struct guest *g = guest_new(*state != NULL);
	const char *turns = getenv("HOSTILE_TURNS");

	hostile(g, turns ? (unsigned)atoi(turns) : TURNS);
	guest_free(g);
}

int main(void)
{
	static int amd;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_guests_only_exit),
		{ "random_guests_only_exit (amd)", random_guests_only_exit, NULL,
		  NULL, &amd },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
