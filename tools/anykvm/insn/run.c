// SPDX-License-Identifier: MIT
/*
 * One instruction in the emulator (generic and fast form) and on the host beside it:
 * run.h. Memory is the arena of state.h; the host is left out where the emulator says
 * that the instruction reaches elsewhere, and where it would enter the kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "insn/host.h"
#include "insn/machine.h"
#include "insn/run.h"

static const char *const gprs[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
	"r10", "r11", "r12", "r13", "r14", "r15",
};

static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };

struct side {
	struct insn_state state;
	struct insn_result res;
	uint8_t mem[ARENA_MEM_BYTES];
};

static struct insn_state in;
static uint8_t mem[ARENA_MEM_BYTES];

/* --- settings ---------------------------------------------------------------------- */

static bool set_memory(const char *v)
{
	char *end, pair[3] = "";
	uint64_t la = strtoul(v, &end, 16);

	if (end == v || *end++ != ':' || !*end)
		return false;
	for (; *end; end += 2, la++) {
		if (!end[1] || la - ARENA_MEM >= ARENA_MEM_BYTES)
			return false;
		memcpy(pair, end, 2);
		if (strspn(pair, "0123456789abcdefABCDEF") != 2)
			return false;
		mem[la - ARENA_MEM] = strtoul(pair, NULL, 16);
	}
	return true;
}

static uint64_t *number_of(const char *name, size_t n)
{
	static const struct { const char *name; uint64_t *v; } others[] = {
		{ "rip", &in.rip }, { "rflags", &in.eflags },
		{ "fs.base", &in.fs_base }, { "gs.base", &in.gs_base },
	};
	unsigned i;

	for (i = 0; i < X86_NR_GPRS; i++)
		if (strlen(gprs[i]) == n && !memcmp(name, gprs[i], n))
			return &in.gpr[i];
	for (i = 0; i < ARRAY_SIZE(others); i++)
		if (strlen(others[i].name) == n && !memcmp(name, others[i].name, n))
			return others[i].v;
	return NULL;
}

static bool set(const char *arg)
{
	const char *eq = strchr(arg, '=');
	uint64_t *at, v;
	unsigned i;
	char *end;

	if (!eq)
		return false;
	if (!strncmp(arg, "mem=", 4))
		return set_memory(eq + 1);
	v = strtoul(eq + 1, &end, 16);
	if (end == eq + 1 || *end)
		return false;
	at = number_of(arg, eq - arg);
	if (at) {
		*at = v;
		return true;
	}
	for (i = 0; i < X86_NR_USER_SEGS; i++)
		if (!strncmp(arg, segs[i], 2) && eq == arg + 2) {
			in.sel[i] = v;
			return i != X86_CS;
		}
	if (!strncmp(arg, "fpu+", 4)) {
		i = strtoul(arg + 4, &end, 16);
		if (end != eq || i > 2680)
			return false;
		memcpy(in.fpu.area + i, &v, 8);
		return true;
	}
	return false;
}

static void defaults(const struct x86_insn *insn)
{
	uint16_t data = insn->mode == X86_MODE_PROT16 ? USER_DS16 : USER_DS;

	in.rip = INSN_RUN_RIP;
	in.eflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF;
	in.gpr[X86_RSP] = ARENA_DATA + 0x1000;
	in.sel[X86_CS] = insn->mode == X86_MODE_PROT64 ? USER_CS64 :
			 insn->mode == X86_MODE_PROT32 ? USER_CS32 : USER_CS16;
	in.sel[X86_SS] = in.sel[X86_DS] = in.sel[X86_ES] = data;
	fpu_init_state(&in.fpu);
}

/* --- running ------------------------------------------------------------------------- */

static void memory_in(void)
{
	memcpy(arena_at(ARENA_MEM), mem, sizeof(mem));
}

static void memory_out(struct side *o)
{
	memcpy(o->mem, arena_at(ARENA_MEM), sizeof(o->mem));
}

static void emulate(const struct x86_insn *insn, bool fast, struct side *o)
{
	memory_in();
	memcpy(arena_at(in.rip), insn->bytes, insn->len);
	machine_run(insn, fast, &in, &o->state, &o->res);
	memset(arena_at(in.rip), 0xcc, insn->len);
	memory_out(o);
}

/* Why the host must not execute it; NULL: it may. */
static const char *not_for_host(const struct x86_insn *insn,
				const struct side *emul)
{
	uint64_t rip = emul->state.rip;

	switch (insn->row->op) {
	case X86_OP_SYSCALL: case X86_OP_SYSENTER: case X86_OP_VMCALL:
	case X86_OP_VMMCALL: case X86_OP_INT:
		return "it enters the host's kernel or hypervisor";
	default:
		break;
	}
	if (insn->mode == X86_MODE_PROT16 && !host_has_16bit())
		return "its system has no modify_ldt(), and so no 16-bit segments";
	if (!host_has(insn->row->feature))
		return "this processor has it not";
	if (emul->res.end == END_WILD)
		return "it accesses memory outside of 0x20004000-0x20008fff";
	if (emul->res.end == END_UNHANDLED)
		return "the emulator does not know where it leads";
	if (emul->res.end == END_DONE && !arena_rights(rip) &&
	    !arena_is_hole(rip))
		return "it branches elsewhere";
	if (rip - in.rip < insn->len && emul->res.end == END_DONE)
		return "it branches into itself";
	return NULL;
}

/* --- results --------------------------------------------------------------------------- */

static const char *end_text(const struct side *o)
{
	static char buf[128];

	switch (o->res.end) {
	case END_DONE:
		snprintf(buf, sizeof(buf), "done, rip %lx", o->state.rip);
		break;
	case END_FAULT:
	case END_TRAP:
		snprintf(buf, sizeof(buf), "%s %u, error code %x, address %lx, "
			 "rip %lx", o->res.end == END_TRAP ? "trap" : "fault",
			 o->res.vector, o->res.error_code, o->res.address,
			 o->state.rip);
		break;
	default:
		return o->res.end == END_WILD ? "outside of the arena" :
						"not emulated";
	}
	return buf;
}

/* A value that has changed in one or differs between the two. */
static unsigned value(struct show *s, const char *name, uint64_t was,
		      uint64_t e, const uint64_t *h)
{
	if (e == was && (!h || *h == was))
		return 0;
	if (!h)
		show_text(s, name, "%lx -> %lx", was, e);
	else if (*h == e)
		show_text(s, name, "%lx -> %lx (both)", was, e);
	else
		show_text(s, name, "%lx -> emulator %lx, host %lx: DIFFERENT",
			  was, e, *h);
	return h && *h != e;
}

static unsigned bytes(struct show *s, const char *what, uint64_t base,
		      const uint8_t *p[3], size_t n)
{
	unsigned different = 0;
	uint64_t v[3] = { 0 };
	char name[32];
	size_t i, k;

	for (i = 0; i + 8 <= n; i += 8) {
		for (k = 0; k < 3 && p[k]; k++)
			memcpy(&v[k], p[k] + i, 8);
		snprintf(name, sizeof(name), "%s%lx", what, (unsigned long)(base + i));
		different += value(s, name, v[0], v[1], p[2] ? &v[2] : NULL);
	}
	return different;
}

static unsigned compare(struct show *s, const struct side *e,
			const struct side *h)
{
	const uint8_t *m[3] = { mem, e->mem, h ? h->mem : NULL };
	const uint8_t *f[3] = { in.fpu.area, e->state.fpu.area,
				h ? h->state.fpu.area : NULL };
	unsigned i, different = 0;
	uint64_t sel;

	for (i = 0; i < X86_NR_GPRS; i++)
		different += value(s, gprs[i], in.gpr[i], e->state.gpr[i],
				   h ? &h->state.gpr[i] : NULL);
	different += value(s, "rflags", in.eflags, e->state.eflags,
			   h ? &h->state.eflags : NULL);
	for (i = 0; i < X86_NR_USER_SEGS; i++) {
		sel = h ? h->state.sel[i] : 0;
		different += value(s, segs[i], in.sel[i], e->state.sel[i],
				   h ? &sel : NULL);
	}
	different += bytes(s, "fpu+", 0, f, 2688);
	different += bytes(s, "mem+", ARENA_MEM, m, sizeof(mem));
	if (h && (h->res.end != e->res.end || h->res.vector != e->res.vector ||
		  h->res.error_code != e->res.error_code ||
		  h->res.address != e->res.address ||
		  h->state.rip != e->state.rip))
		different++;
	return different;
}

static bool same_state(const struct insn_state *a, const struct insn_state *b)
{
	return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	       a->eflags == b->eflags && !memcmp(a->sel, b->sel, sizeof(a->sel)) &&
	       a->fs_base == b->fs_base && a->gs_base == b->gs_base &&
	       !memcmp(a->fpu.area, b->fpu.area, sizeof(a->fpu.area));
}

int insn_run(struct show *s, const struct x86_insn *insn, int n, char **args)
{
	static struct side slow, fast, host;
	const char *why;
	int i;

	defaults(insn);
	for (i = 0; i < n; i++)
		if (!set(args[i])) {
			fprintf(stderr, "anykvm: %s: not REG=HEX or mem=ADDR:HEX in "
				"the pages of --help\n", args[i]);
			return -EINVAL;
		}
	if (!(arena_rights(in.rip) & arena_rights(in.rip + insn->len - 1) &
	      ARENA_X)) {
		fprintf(stderr, "anykvm: rip=%lx: no code page\n", in.rip);
		return -EINVAL;
	}
	if (!arena_init() || !host_init())
		return -ENOTSUP;
	machine_init();
	emulate(insn, false, &slow);
	emulate(insn, true, &fast);
	show_text(s, "emulator", "%s", end_text(&slow));
	why = not_for_host(insn, &slow);
	if (why) {
		show_text(s, "host", "not executed: %s", why);
		compare(s, &slow, NULL);
		return 0;
	}
	memory_in();
	host_run(insn->bytes, insn->len, &in, &host.state, &host.res);
	memory_out(&host);
	show_text(s, "host", "%s", end_text(&host));
	show_number(s, "differences", compare(s, &slow, &host));
	if (!same_state(&slow.state, &fast.state) ||
	    memcmp(slow.mem, fast.mem, sizeof(mem)))
		show_text(s, "fast_form_is", "DIFFERENT from the generic one");
	return 0;
}
