/* SPDX-License-Identifier: MIT */
/* Debug exceptions that are recorded while a case goes on: for 64-bit guests. */
#ifndef ANYKVM_TESTS_GUEST_TRAPS64_H
#define ANYKVM_TESTS_GUEST_TRAPS64_H

#include "checks.h"

#define DB_MAX	16

/* The first DB_MAX of the last run_db(). */
static volatile struct { unsigned count; ulong rip[DB_MAX], rcx[DB_MAX], dr6[DB_MAX],
	flags[DB_MAX]; } db;

static void on_db(struct regs *r)
{
	unsigned n = db.count++ & (DB_MAX - 1);
	ulong dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	db.rip[n] = r->rip;
	db.rcx[n] = r->rcx;
	db.dr6[n] = dr6;
	db.flags[n] = r->rflags;
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ul));
	if (dr6 & 0xf)
		r->rflags |= FL_RF;	/* an instruction breakpoint hits once */
}

static inline void set_dr(ulong dr0, ulong dr7)
{
	asm volatile("mov %0, %%dr0; mov %1, %%dr7" : : "r"(dr0), "r"(dr7 | 0x400));
}

/* enter(@s) with DR0 and DR7, going on after each #DB. */
static inline void run_db(const struct state *s, ulong dr0, ulong dr7)
{
	db.count = 0;
	set_dr(dr0, dr7);
	set_handler(DB, on_db);
	enter(s);
	set_handler(DB, NULL);
	set_dr(0, 0);
}

#endif
