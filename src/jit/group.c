/* SPDX-License-Identifier: MIT */
/*
 * Which accesses of a block can share a check.
 *
 * The values of the general registers are followed through the block as (version,
 * offset): a move copies the value, an addition of a constant moves the offset, and
 * whatever else writes the register makes a new version. Two accesses whose address
 * registers hold the same versions are at a known distance; all such accesses of the
 * block that are not too far from each other are a group. The first one checks that
 * [lo, hi), which holds all of them, lies inside one page that allows the strongest
 * of them; the others use its addend.
 *
 * The check asks more than the first access does: later ones may not be executed, or
 * be in another page. If it fails the block goes on in its plain variant
 * (JIT_PLAIN), where each access is by itself.
 *
 * The addend stays right until the end of the block: slots are filled by the block's
 * own sites only, each group has one of its own or, in a loop, its leader's, which no
 * mate fills (mates.c), and whatever takes a page from the TLB while the interpreter
 * does an instruction in the middle keeps it from coming back (hw_jit_state.slot_gen).
 */
#include "jit/jit.h"

#define REACH		512	/* largest group, in bytes */
#define STACK_REACH	1024
#define NO_VALUE	0	/* version of a register that is not there */

struct plan {
	struct jit_values v;
	uint16_t stack;		/* RSP's version at the start */
	bool jcc;		/* a way out since the block began */
	unsigned last_jcc;
};

static void kill(struct jit_values *v, unsigned r)
{
	v->gpr[r] = (struct jit_value){ .version = ++v->versions };
}

static void kill_all(struct jit_values *v)
{
	unsigned r;

	for (r = 0; r < X86_NR_GPRS; r++)
		kill(v, r);
	v->seg_base = ++v->versions;
}

void jit_values_begin(struct jit_values *v)
{
	v->versions = NO_VALUE;
	kill_all(v);
}

/* --- what instructions do to registers ------------------------------------------- */

/* rAX, rDX and others that the row does not name. */
static void kill_implied(struct jit_values *v, const struct x86_insn *i)
{
	switch (i->row->op) {
	case X86_OP_MUL:
	case X86_OP_IMUL1:
	case X86_OP_DIV:
	case X86_OP_IDIV:
	case X86_OP_CMPXCHG:
	case X86_OP_CMPXCHG8B:
		kill(v, X86_RAX);
		kill(v, X86_RDX);
		break;
	case X86_OP_SIMD:
	case X86_OP_VSIMD:
		if (i->map == X86_MAP_0F3A) /* string comparisons */
			kill(v, X86_RCX);
		break;
	default:
		break;
	}
}

static void kill_written(struct jit_values *v, const struct x86_insn *i)
{
	int k, r;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		const struct x86_opnd *o = &i->row->opnd[k];

		r = o->kind == OPK_REG ? o->reg : jit_gpr_operand(i, k);
		if (r < 0 || !(o->access & OPA_W))
			continue;
		kill(v, jit_is_high8(i, k) ? r - 4 : r);
	}
	kill_implied(v, i);
}

/* Is it an addition of a constant to a whole register? */
static bool adds(const struct x86_insn *i, int64_t *by)
{
	unsigned op = i->row->op;

	if (i->opsize != jit_insn_word(i) || i->mod != 3 ||
	    (i->row->opnd[0].kind != OPK_E && i->row->opnd[0].kind != OPK_Z))
		return false;
	if (op == X86_OP_INC || op == X86_OP_DEC) {
		*by = op == X86_OP_INC ? 1 : -1;
		return true;
	}
	*by = op == X86_OP_ADD ? i->imm : -i->imm;
	return (op == X86_OP_ADD || op == X86_OP_SUB) &&
	       i->row->opnd[1].kind == OPK_I && *by == (int32_t)*by;
}

static void same(struct jit_values *v, const struct x86_insn *i)
{
	int word = jit_insn_word(i);
	int64_t by;

	if (adds(i, &by))
		v->gpr[i->rm].offset += by;
	else if (i->row->op == X86_OP_MOV && i->opsize == word && i->mod == 3 &&
		 i->row->opnd[0].kind == OPK_E && i->row->opnd[1].kind == OPK_G)
		v->gpr[i->rm] = v->gpr[i->reg];
	else if (i->row->op == X86_OP_MOV && i->opsize == word && i->mod == 3 &&
		 i->row->opnd[0].kind == OPK_G && i->row->opnd[1].kind == OPK_E)
		v->gpr[i->reg] = v->gpr[i->rm];
	else
		kill_written(v, i);
}

static void lea(struct jit_values *v, const struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;

	if (i->opsize == jit_insn_word(i) && i->adsize == jit_insn_word(i) &&
	    i->base < X86_NR_GPRS && i->index == X86_REG_NONE) {
		v->gpr[i->reg] = v->gpr[i->base];
		v->gpr[i->reg].offset += i->disp;
	} else {
		kill(v, i->reg);
	}
}

static void stack(struct jit_values *v, const struct jit_insn *n)
{
	int word = jit_insn_word(&n->i);

	switch (n->class) {
	case JIT_PUSH:
	case JIT_PUSHF:
		v->gpr[X86_RSP].offset -= word;
		break;
	case JIT_POP:
		v->gpr[X86_RSP].offset += word;
		kill(v, n->i.rm);
		break;
	case JIT_POPF:
		v->gpr[X86_RSP].offset += word;
		break;
	default:	/* LEAVE */
		v->gpr[X86_RSP] = v->gpr[X86_RBP];
		v->gpr[X86_RSP].offset += word;
		kill(v, X86_RBP);
		break;
	}
}

void jit_values_after(struct jit_values *v, const struct jit_insn *n)
{
	switch (n->class) {
	case JIT_SAME:
		same(v, &n->i);
		break;
	case JIT_LEA:
		lea(v, n);
		break;
	case JIT_PUSH:
	case JIT_POP:
	case JIT_PUSHF:
	case JIT_POPF:
	case JIT_LEAVE:
		stack(v, n);
		break;
	case JIT_RAW:
		kill(v, X86_RAX);
		kill(v, X86_RDX);
		break;
	case JIT_NOTHING:
	case JIT_JCC:
	case JIT_CLI:
	case JIT_STI:
		break;
	default:
		kill_all(v);
		break;
	}
}

/* --- accesses ------------------------------------------------------------------------ */

static void add(struct jit_insn *n, const struct jit_addr *a, unsigned bytes,
		unsigned kind)
{
	n->access[n->nr_access++] =
		(struct jit_access){ .a = *a, .bytes = bytes, .kind = kind };
}

static void add_operand(struct jit_insn *n, unsigned bytes, unsigned kind)
{
	struct jit_addr a;

	jit_operand_addr(n, &a);
	add(n, &a, bytes, kind);
}

static void add_stack(const struct jit *j, struct jit_insn *n, unsigned base, int disp,
		      unsigned kind)
{
	struct jit_addr a;

	jit_stack_addr(j, &a, disp);
	a.base = base;
	add(n, &a, jit_word(j), kind);
}

static void find_accesses(const struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;
	int mem, word = jit_word(j);

	n->nr_access = 0;
	switch (n->class) {
	case JIT_SAME:
		mem = jit_mem_operand(i);
		if (mem >= 0)
			add_operand(n, x86_opnd_bytes(i, mem),
				    i->row->opnd[mem].access & OPA_W ?
				    X86_TLB_WRITE : X86_TLB_READ);
		break;
	case JIT_PUSH:
	case JIT_JMP_IND:
	case JIT_CALL_IND:
		if (i->mod != 3)
			add_operand(n, word, X86_TLB_READ);
		if (n->class != JIT_JMP_IND)
			add_stack(j, n, X86_RSP, -word, X86_TLB_WRITE);
		break;
	case JIT_CALL:
	case JIT_PUSHF:
		add_stack(j, n, X86_RSP, -word, X86_TLB_WRITE);
		break;
	case JIT_POP:
	case JIT_POPF:
	case JIT_RET:
		add_stack(j, n, X86_RSP, 0, X86_TLB_READ);
		break;
	case JIT_LEAVE:
		add_stack(j, n, X86_RBP, 0, X86_TLB_READ);
		break;
	default:
		break;
	}
}

/* The group that @x would be in by itself. */
static struct jit_group alone(const struct plan *p, struct jit_access *x)
{
	const struct jit_addr *a = &x->a;
	struct jit_group g = {
		.seg = a->seg, .kind = x->kind, .members = 1, .slot = NO_SLOT,
		.reg = NO_REG,
		.seg_base = a->seg == X86_SEG_NONE ? 0 : p->v.seg_base,
	};

	if (a->fixed) {
		g.fixed = true;
		x->at = a->la;
	} else {
		x->base_at = x->at = a->disp;
		if (a->base != X86_REG_NONE) {
			g.base = p->v.gpr[a->base].version;
			x->base_at = x->at += p->v.gpr[a->base].offset;
		}
		if (a->index != X86_REG_NONE) {
			g.index = p->v.gpr[a->index].version;
			g.scale = a->scale;
			x->at += (uint64_t)p->v.gpr[a->index].offset << a->scale;
		}
	}
	g.stack = !g.fixed && g.base == p->stack && a->index == X86_REG_NONE;
	g.lo = x->at;
	g.hi = x->at + x->bytes;
	g.apart = x->base_at != (int32_t)x->base_at;
	return g;
}

static bool same_values(const struct jit_group *a, const struct jit_group *b)
{
	return a->base == b->base && a->index == b->index &&
	       a->seg_base == b->seg_base && a->scale == b->scale &&
	       a->seg == b->seg && a->fixed == b->fixed;
}

/* Can @b join @g? */
static bool joins(const struct plan *p, const struct jit_group *g,
		  const struct jit_group *b)
{
	int64_t lo = MIN(g->lo, b->lo), hi = MAX(g->hi, b->hi);

	if (!same_values(g, b))
		return false;
	if (g->fixed && g->seg == X86_SEG_NONE)
		return !((lo ^ (hi - 1)) & PAGE_MASK);
	/* A store that is perhaps not executed may be to a page that is only read. */
	if (b->kind > g->kind && !g->stack && p->jcc && p->last_jcc > g->first)
		return false;
	return hi - lo <= (g->stack ? STACK_REACH : REACH);
}

/* An address of less than a register is not what the registers hold; and a group's
 * first byte must have a displacement. */
static bool is_groupable(const struct jit *j, const struct jit_addr *a)
{
	return a->adsize == jit_word(j) && a->disp < INT32_MAX - STACK_REACH &&
	       a->disp > INT32_MIN + STACK_REACH;
}

/* The way to the plain variant looks at requests: not in STI's shadow. */
static bool follows_sti(const struct jit *j, unsigned insn)
{
	return insn && j->insn[insn - 1].class == JIT_STI;
}

static void find_group(struct jit *j, struct plan *p, unsigned insn,
		       struct jit_access *x)
{
	struct jit_group b = alone(p, x), *g;

	b.first = insn;
	x->group = j->nr_groups;
	b.apart |= !is_groupable(j, &x->a) || follows_sti(j, insn) ||
		   jit_fails(j, jit_place(j, &j->insn[insn], b.stack));
	if (!b.apart && !(j->variant & JIT_PLAIN)) {
		for (g = j->group; g < j->group + j->nr_groups; g++) {
			if (g->apart || !joins(p, g, &b))
				continue;
			x->group = g - j->group;
			g->lo = MIN(g->lo, b.lo);
			g->hi = MAX(g->hi, b.hi);
			g->kind = MAX(g->kind, b.kind);
			g->members++;
			return;
		}
	}
	j->group[j->nr_groups++] = b;
}

void jit_plan(struct jit *j)
{
	struct plan p = { .jcc = false };
	unsigned k, m;

	j->nr_groups = j->nr_addends = 0;
	__builtin_memset(j->slots_used, 0, sizeof(j->slots_used));
	jit_values_begin(&p.v);
	p.stack = p.v.gpr[X86_RSP].version;
	for (k = 0; k < j->nr; k++) {
		struct jit_insn *n = &j->insn[k];

		if (n->label) {
			jit_values_label(j, k, &p.v);
			p.jcc = true;
			p.last_jcc = k;
		}
		find_accesses(j, n);
		for (m = 0; m < n->nr_access; m++) {
			if (j->nr_groups == JIT_MAX_GROUPS) {
				n->nr_access = m;
				break;
			}
			find_group(j, &p, k, &n->access[m]);
		}
		jit_values_jump(j, n, &p.v);
		jit_values_after(&p.v, n);
		if (n->class == JIT_JCC) {
			p.jcc = true;
			p.last_jcc = k;
		}
	}
}
