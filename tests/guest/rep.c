// SPDX-License-Identifier: MIT
/*
 * String instructions that are interrupted between two iterations, and go on where
 * they were, in every mode with paging: by page faults on either side, by data and instruction breakpoints, by
 * single steps, by interrupts. SDM Vol. 1, "String Operations"; SDM Vol. 2, "REP";
 * SDM Vol. 3B, "Breakpoint Exception Conditions", "Data Memory and I/O Breakpoint
 * Exception Conditions".
 */
#include "lib/pages.h"
#include "lib/traps.h"

enum { SRC_PAGE = 0, DST_PAGE = 4 };	/* two pages each; the second comes and goes */
#define COUNT	12

#define STRING(name, insn)							\
	CODE(rep_##name##b, "rep " insn "b"); CODE(rep_##name##w, "rep " insn "w"); \
	CODE(rep_##name##l, "rep " insn "l");					\
	CODE2(rep_##name##q, "ud2", "rep " insn "q")
STRING(movs, "movs");
STRING(stos, "stos");
STRING(lods, "lods");
#define REPE(name, insn)							\
	CODE(rep_##name##b, "repe " insn "b"); CODE(rep_##name##w, "repe " insn "w"); \
	CODE(rep_##name##l, "repe " insn "l");					\
	CODE2(rep_##name##q, "ud2", "repe " insn "q")
REPE(cmps, "cmps");
REPE(scas, "scas");
CODE(rep_insb, "rep insb");
CODE(rep_insw, "rep insw");
CODE(rep_insl, "rep insl");
CODE(rep_outsb, "rep outsb");
CODE(rep_outsw, "rep outsw");
CODE(rep_outsl, "rep outsl");

enum { SRC = 1, DST = 2, STORES = 4 };
static const struct {
	const char *name;
	const struct code *code[4];	/* by size */
	unsigned uses;
} strings[] = {
	{ "MOVS", { &rep_movsb, &rep_movsw, &rep_movsl, &rep_movsq }, SRC | DST | STORES },
	{ "STOS", { &rep_stosb, &rep_stosw, &rep_stosl, &rep_stosq }, DST | STORES },
	{ "LODS", { &rep_lodsb, &rep_lodsw, &rep_lodsl, &rep_lodsq }, SRC },
	{ "CMPS", { &rep_cmpsb, &rep_cmpsw, &rep_cmpsl, &rep_cmpsq }, SRC | DST },
	{ "SCAS", { &rep_scasb, &rep_scasw, &rep_scasl, &rep_scasq }, DST },
	{ "INS", { &rep_insb, &rep_insw, &rep_insl, NULL }, DST | STORES },
	{ "OUTS", { &rep_outsb, &rep_outsw, &rep_outsl, NULL }, SRC },
};

static const ulong rw = PTE_P | PTE_W | PTE_U;
static enum mode mode;

static uint8_t *frame(unsigned page)
{
	return page_at(page);
}

/* Both ranges mapped, and the same bytes everywhere, so that REPE goes to the end. */
static void fill(void)
{
	for (unsigned p = 0; p < 2; p++) {
		page_set(SRC_PAGE + p, rw);
		page_set(DST_PAGE + p, rw);
		memset(frame(SRC_PAGE + p), 0x5a, 4096);
		memset(frame(DST_PAGE + p), 0x5a, 4096);
	}
}

/* The first element of COUNT such that @before of them lie before the boundary. */
static ulong first(unsigned page, unsigned size, unsigned before, bool down)
{
	ulong edge = PAGES_VA + (page + 1) * 4096;

	return down ? edge + (before - 1) * size : edge - before * size;
}


static void start(struct state *s, const struct code *code, unsigned size, bool down,
		  unsigned src_before, unsigned dst_before)
{
	state_init(s, mode, 3, code);
	s->cx = COUNT;
	s->ax = (ulong)0x5a5a5a5a5a5a5a5a;
	s->dx = PORT_RAM;
	s->si = first(SRC_PAGE, size, src_before, down);
	s->di = first(DST_PAGE, size, dst_before, down);
	s->flags |= FL_IOPL | (down ? FL_DF : 0);
}

static bool at_iteration(const struct state *s, unsigned i, unsigned size, bool down,
			 unsigned uses)
{
	const ulong move = down ? -(ulong)i * size : i * size;
	const bool src = uses & SRC, dst = uses & DST;

	return stop.s.cx == COUNT - i && stop.s.si == s->si + (src ? move : 0) &&
	       stop.s.di == s->di + (dst ? move : 0);
}

static char *append(char *p, const char *s)
{
	while (*s)
		*p++ = *s++;
	*p = 0;
	return p;
}

static const char *const size_name[] = { "B", "W", "D", "Q" };

static void name_case(char *insn, const char *name, unsigned k, bool down)
{
	insn = append(append(append(insn, "REP "), name), size_name[k]);
	append(insn, down ? ", DF = 1" : "");
}

/* The second page of one side is away: 5 iterations, #PF, and 7 more when it is there. */
static void fault_case(unsigned i, unsigned k, bool down, unsigned side)
{
	const unsigned size = 1 << k, page = side == SRC ? SRC_PAGE : DST_PAGE;
	const unsigned away = page + !down;
	struct state s, again;
	char insn[32];
	ulong cr2;
	bool ok;

	name_case(insn, strings[i].name, k, down);
	fill();
	if (strings[i].uses & STORES)
		memset(frame(DST_PAGE), 0, 8192);
	/* The other side stays within its page, or passes its edge elsewhere. */
	start(&s, strings[i].code[k], size, down, side == SRC ? 5 : 8, side == DST ? 5 : 8);
	page_set(away, 0);
	outl(0x5a5a5a5a, PORT_RAM);
	enter(&s);
	cr2 = (side == SRC ? s.si : s.di) + (down ? -5ul * size : 5ul * size);
	ok = stop.vector == PF && stop.cr2 == cr2 && stop.s.ip == s.ip &&
	     stop.error == (4u | (strings[i].uses & STORES && side == DST ? 2 : 0)) &&
	     at_iteration(&s, 5, size, down, strings[i].uses);
	check_that(mode_name(mode), insn, side == SRC ? "#PF of the source at the 6th iteration" :
		   "#PF of the destination at the 6th iteration", ok);
	page_set(away, rw);
	again = stop.s;
	enter(&again);
	ok = stop.vector == NO_EXC && at_iteration(&s, COUNT, size, down, strings[i].uses);
	if (strings[i].uses & STORES) {
		const ulong low = down ? s.di - (COUNT - 1) * size : s.di;

		for (unsigned b = 0; b < COUNT * size; b++)
			ok &= ((uint8_t *)low)[b] == 0x5a;
		ok &= !((uint8_t *)low)[-1] && !((uint8_t *)low)[COUNT * size];
	}
	check_that(mode_name(mode), insn, side == SRC ? "goes on after the source's page has come" :
		   "goes on after the destination's page has come", ok);
}

/* Distinct bytes to move, and where they must be afterwards. */
static void pattern(void)
{
	for (unsigned b = 0; b < 8192; b++)
		frame(SRC_PAGE)[b] = b * 7 + (b >> 8);
	memset(frame(DST_PAGE), 0, 8192);
}

static bool stored(const struct state *s, unsigned i, unsigned size, bool down)
{
	const ulong back = down ? (COUNT - 1) * size : 0;
	const uint8_t *to = (uint8_t *)(s->di - back), *from = (uint8_t *)(s->si - back);
	bool ok = !to[-1] && !to[COUNT * size];

	for (unsigned b = 0; b < COUNT * size; b++)
		ok &= to[b] == (strings[i].uses & SRC ? from[b] : 0x5a);
	return ok;
}

/* Nothing stops it, and the pages are known: the second time. */
static void warm_case(unsigned i, unsigned k, bool down)
{
	const unsigned size = 1 << k;
	struct state s;
	char insn[32];
	bool ok;

	name_case(insn, strings[i].name, k, down);
	fill();
	start(&s, strings[i].code[k], size, down, 5, 8);
	enter(&s);
	if (strings[i].uses & STORES && i < 2)
		pattern();
	enter(&s);
	ok = stop.vector == NO_EXC && at_iteration(&s, COUNT, size, down, strings[i].uses);
	if (strings[i].uses & STORES && i < 2)
		ok &= stored(&s, i, size, down);
	check_that(mode_name(mode), insn, "to the end, in pages that it has used before", ok);
}

static bool exists(unsigned i, unsigned k)
{
	return strings[i].code[k] && (k < 3 || is_64bit(mode));
}

static void test_faults(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(strings); i++)
		for (unsigned k = 0; k < 4; k++)
			for (unsigned down = 0; down < 2 && exists(i, k); down++) {
				if (strings[i].uses & SRC)
					fault_case(i, k, down, SRC);
				if (strings[i].uses & DST)
					fault_case(i, k, down, DST);
				warm_case(i, k, down);
			}
}

/* An element across the edge is not done at all. */
static void test_split(void)
{
	struct state s;

	fill();
	memset(frame(DST_PAGE), 0, 8192);
	page_set(DST_PAGE + 1, 0);
	start(&s, &rep_stosl, 4, false, 8, 5);
	s.di -= 2;		/* the fifth element's second half is away */
	s.di += 4;
	enter(&s);
	check_that(mode_name(mode), "REP STOSD", "an element across the edge: nothing of it is stored",
		   stop.vector == PF && stop.s.cx == COUNT - 4 && stop.s.di == s.di + 16 &&
		   *(uint16_t *)(frame(DST_PAGE) + 4094) == 0);
	check_that(mode_name(mode), "REP STOSD", "an element across the edge: CR2 is the page's first byte",
		   stop.cr2 == PAGES_VA + (DST_PAGE + 1) * 4096);
	fill();
	memset(frame(DST_PAGE), 0, 8192);
	page_set(DST_PAGE + 1, PTE_P | PTE_U);
	enter(&s);
	check_that(mode_name(mode), "REP STOSD", "an element across into a read-only page: nothing is stored",
		   stop.vector == PF && stop.error == 7 && stop.s.cx == COUNT - 4 &&
		   *(uint16_t *)(frame(DST_PAGE) + 4094) == 0);
}

/* --- breakpoints -------------------------------------------------------------------------------- */

static void test_breakpoints(void)
{
	struct state s;

	fill();
	start(&s, &rep_movsl, 4, false, 20, 20);
	run_db(&s, s.di + 4 * 4, 2 | 1 << 16 | 3 << 18);
	check_that(mode_name(mode), "REP MOVSD", "a data breakpoint on the 5th store: a trap after it",
		   db.count == 1 && db.rcx[0] == COUNT - 5 && db.rip[0] == s.ip && (db.dr6[0] & 0xf) == 1);
	check_that(mode_name(mode), "REP MOVSD", "... and it goes on to the end",
		   stop.vector == NO_EXC && !stop.s.cx);
	start(&s, &rep_movsl, 4, false, 20, 20);
	run_db(&s, s.si + 4 * 2, 2 | 3 << 16 | 3 << 18);
	check_that(mode_name(mode), "REP MOVSD", "a data breakpoint on the 3rd load",
		   db.count == 1 && db.rcx[0] == COUNT - 3 && stop.vector == NO_EXC);
	start(&s, &rep_stosb, 1, false, 20, 20);
	run_db(&s, s.di + COUNT - 1, 2 | 1 << 16);
	check_that(mode_name(mode), "REP STOSB", "a data breakpoint on the last store: after the instruction",
		   db.count == 1 && !db.rcx[0] && db.rip[0] == s.ip + 2);
	start(&s, &rep_stosb, 1, false, 20, 20);
	run_db(&s, s.di + COUNT, 2 | 1 << 16);
	check_that(mode_name(mode), "REP STOSB", "a data breakpoint past the last store", !db.count);
	start(&s, &rep_lodsw, 2, false, 20, 20);
	run_db(&s, s.ip, 2);
	check_that(mode_name(mode), "REP LODSW", "an instruction breakpoint hits once, before it",
		   db.count == 1 && db.rcx[0] == COUNT && db.rip[0] == s.ip && !stop.s.cx);
	start(&s, &rep_stosb, 1, false, 20, 20);
	s.cx = 4;
	s.flags |= FL_TF;
	run_db(&s, 0, 0);
	/* INT after it is one more step, into the handler: TF is clear there. */
	check_that(mode_name(mode), "REP STOSB", "a single step after each iteration",
		   db.count >= 4 && db.rcx[0] == 3 && db.rcx[1] == 2 && db.rcx[2] == 1 &&
		   !db.rcx[3] && db.rip[2] == s.ip && db.rip[3] == s.ip + 2);
	start(&s, &rep_stosb, 1, false, 20, 20);
	s.cx = 0;
	s.flags |= FL_TF;
	run_db(&s, 0, 0);
	check_that(mode_name(mode), "REP STOSB", "a single step with a count of 0",
		   db.count >= 1 && db.rip[0] == s.ip + 2);
}

/* A fault in the middle, with a breakpoint on an iteration before it. */
static void test_breakpoint_and_fault(void)
{
	struct state s;

	fill();
	page_set(DST_PAGE + 1, 0);
	start(&s, &rep_movsb, 1, false, 20, 5);
	run_db(&s, s.di + 1, 2 | 1 << 16);
	check_that(mode_name(mode), "REP MOVSB", "a data breakpoint, then #PF three iterations on",
		   db.count == 1 && db.rcx[0] == COUNT - 2 && stop.vector == PF &&
		   stop.s.cx == COUNT - 5);
	check_that(mode_name(mode), "REP MOVSB", "RF is set in the image of its #PF", stop.s.flags & FL_RF);
}

#ifdef __x86_64__
/* --- interrupts ----------------------------------------------------------------------------------- */

#define BIG	0x1800000ul	/* 24 MiB on: free memory of the machine */
#define BIG_LEN	0x600000ul

static volatile struct { unsigned count, inside, bad, no_rf; ulong rip, end, rcx; } irq;

static void on_timer(struct regs *r)
{
	irq.count++;
	if (r->rip == irq.rip) {
		irq.inside++;
		irq.bad += r->rdi + r->rcx != irq.end;
		/* The first one there: IRET's RF may be dropped (docs/errata.md). */
		irq.no_rf += r->rcx != BIG_LEN && r->rcx && r->rcx != irq.rcx && !(r->rflags & FL_RF);
		irq.rcx = r->rcx;
	}
	apic_eoi();
}

static void big_rep(const struct code *code, const char *insn)
{
	struct state s;
	unsigned turns = 0;

	irq.count = irq.inside = irq.bad = irq.no_rf = 0;
	set_handler(0xa0, on_timer);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, 0x200a0);		/* periodic */
	apic_write(APIC_TMICT, 400000);
	do {
		state_init(&s, mode, 0, code);
		s.ax = 0;
		s.di = BIG;
		s.si = BIG;
		s.cx = BIG_LEN;
		s.flags |= FL_IF;
		irq.rip = s.ip;
		irq.end = BIG + BIG_LEN;
		enter(&s);
	} while (stop.vector == NO_EXC && !stop.s.cx && irq.inside < 3 && ++turns < 400);
	apic_write(APIC_LVTT, 0x10000);
	set_handler(0xa0, NULL);
	check_that(mode_name(mode), insn, "interrupts between two iterations leave RCX and RDI in step",
		   !irq.bad);
	check_that(mode_name(mode), insn, "interrupts come between two iterations", irq.inside >= 1);
	check_that(mode_name(mode), insn, "... and it comes to its end",
		   stop.vector == NO_EXC && !stop.s.cx && stop.s.di == BIG + BIG_LEN);
	check_that(mode_name(mode), insn, "interrupts between two iterations save RF set", !irq.no_rf);
}

static void test_interrupts(void)
{
	memset((void *)BIG, 0, BIG_LEN);
	big_rep(&rep_stosb, "REP STOSB");
	big_rep(&rep_scasb, "REPE SCASB");
}
#else
static void apic_enable(void) { }
static void test_interrupts(void) { }
#endif

int main(void)
{
	checks_init();
	pages_init();
	apic_enable();
	for (mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_faults();
		test_split();
		test_breakpoints();
		test_breakpoint_and_fault();
		test_interrupts();
	}
	return 0;
}
