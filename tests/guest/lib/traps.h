/* SPDX-License-Identifier: MIT */
/* Debug exceptions that are recorded while a case goes on. */
#ifndef ANYKVM_TESTS_GUEST_TRAPS_H
#define ANYKVM_TESTS_GUEST_TRAPS_H

#include "checks.h"

#ifdef __x86_64__
#define REG(name)	r##name
#define FLAGS		rflags
#else
#define REG(name)	e##name
#define FLAGS		eflags
#endif

#define DB_MAX	16
#define DR6_CLEAR 0xffff0ff0ul
#define DR6_BD	BIT(13)
#define DR6_BS	BIT(14)
#define DR6_BT	BIT(15)

/* The first DB_MAX of the last run_db(). */
static volatile struct { unsigned count; ulong rip[DB_MAX], rcx[DB_MAX], dr6[DB_MAX],
	flags[DB_MAX], cs[DB_MAX]; } db;

static void on_db(struct regs *r)
{
	unsigned n = db.count++ & (DB_MAX - 1);
	ulong dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	db.rip[n] = r->REG(ip);
	db.rcx[n] = r->REG(cx);
	db.dr6[n] = dr6;
	db.flags[n] = r->FLAGS;
	db.cs[n] = (uint16_t)r->cs;
	asm volatile("mov %0, %%dr6" : : "r"(DR6_CLEAR));
	if (dr6 & 0xf)
		r->FLAGS |= FL_RF;	/* an instruction breakpoint hits once */
}

static inline void set_dr(ulong dr0, ulong dr7)
{
	asm volatile("mov %0, %%dr0; mov %1, %%dr7" : : "r"(dr0), "r"(dr7 | 0x400));
}

/* enter(@s) with DR0 and DR7, going on after each #DB. */
static inline void run_db(const struct state *s, ulong dr0, ulong dr7)
{
	unsigned count;

	db.count = 0;
	set_dr(dr0, dr7);
	set_handler(DB, on_db);
	enter(s);
	count = db.count;
	set_dr(0, 0);			/* GD may be on still */
	db.count = count;
	set_handler(DB, NULL);
}

#endif
