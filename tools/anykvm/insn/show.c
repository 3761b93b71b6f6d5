// SPDX-License-Identifier: MIT
/*
 * What is known of an instruction, line by line: the row of the tables (operands in
 * the manuals' letters, rules, flags, feature, intercepts), what the decoder made of
 * the bytes, and who executes it. Each line is a member of one object with --json.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "emul/emulate.h"
#include "insn/show.h"
#include "isa/text.h"

/* --- lines and members ------------------------------------------------------------- */

void show_begin(struct show *s)
{
	s->first = true;
	if (s->json)
		putchar('{');
}

void show_end(struct show *s)
{
	if (s->json)
		puts("}");
}

void show_open(struct show *s, const char *name, char bracket)
{
	if (!s->json)
		return;
	if (!s->first)
		putchar(',');
	if (name)
		printf("\"%s\":", name);
	putchar(bracket);
	s->first = true;
}

void show_close(struct show *s, char bracket)
{
	if (s->json)
		putchar(bracket);
	s->first = false;
}

static void name_of(struct show *s, const char *name)
{
	if (s->json)
		printf("%s\"%s\":", s->first ? "" : ",", name);
	else
		printf("%-12s ", name);
	s->first = false;
}

/* No value here has a control character. */
static void json_string(const char *v)
{
	putchar('"');
	for (; *v; v++) {
		if (*v == '"' || *v == '\\')
			putchar('\\');
		putchar(*v);
	}
	putchar('"');
}

void show_text(struct show *s, const char *name, const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	name_of(s, name);
	if (s->json)
		json_string(buf);
	else
		puts(buf);
}

void show_number(struct show *s, const char *name, int64_t v)
{
	name_of(s, name);
	if (s->json)
		printf("%ld", v);
	else if (v < 0)
		printf("-0x%lx\n", -(uint64_t)v);
	else
		printf("0x%lx\n", v);
}

/* --- names ---------------------------------------------------------------------------- */

static const char *const modes[] = { "real", "vm86", "16-bit", "32-bit",
				     "64-bit" };

static const char *const maps[] = {
	"one-byte", "0f", "0f38", "0f3a", "3dnow", "map5", "map6",
};

static const char *const kinds[OPK_NR] = {
	[OPK_A] = "A", [OPK_B] = "B", [OPK_C] = "C", [OPK_D] = "D",
	[OPK_E] = "E", [OPK_G] = "G", [OPK_H] = "H", [OPK_I] = "I",
	[OPK_J] = "J", [OPK_L] = "L", [OPK_M] = "M", [OPK_N] = "N",
	[OPK_O] = "O", [OPK_P] = "P", [OPK_Q] = "Q", [OPK_R] = "R",
	[OPK_S] = "S", [OPK_U] = "U", [OPK_V] = "V", [OPK_W] = "W",
	[OPK_X] = "X", [OPK_Y] = "Y", [OPK_Z] = "Z", [OPK_REG] = "reg",
	[OPK_SREG] = "sreg", [OPK_ONE] = "1", [OPK_ST] = "ST", [OPK_K] = "K",
	[OPK_KM] = "KM", [OPK_KR] = "KR", [OPK_KV] = "KV",
};

static const char *const sizes[OPS_NR] = {
	[OPS_b] = "b", [OPS_w] = "w", [OPS_d] = "d", [OPS_q] = "q",
	[OPS_dq] = "dq", [OPS_qq] = "qq", [OPS_oq] = "oq", [OPS_v] = "v",
	[OPS_y] = "y", [OPS_z] = "z", [OPS_x] = "x", [OPS_h] = "h",
	[OPS_x4] = "x/4", [OPS_x8] = "x/8", [OPS_a] = "a", [OPS_p] = "p",
	[OPS_s] = "s", [OPS_t] = "t", [OPS_mem] = "mem",
};

static const char *const regs[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
	"r10", "r11", "r12", "r13", "r14", "r15", "rip",
};

static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };

static const char *const accesses[] = {
	"none", "read", "write", "read and write", "string", "address only",
	"special",
};

struct bit_name {
	uint32_t bit;
	const char *name;
};

static const struct bit_name prefix_names[] = {
	{ PFX_LOCK, "lock" }, { PFX_REPNE, "f2" }, { PFX_REP, "f3" },
	{ PFX_OPSIZE, "66" }, { PFX_ADSIZE, "67" }, { PFX_SEG, "segment" },
	{ PFX_REX, "rex" }, { PFX_REX_W, "w" }, { PFX_VEX, "vex" },
	{ PFX_EVEX, "evex" }, { 0, NULL },
};

static const struct bit_name flag_names[] = {
	{ X86_EFLAGS_CF, "CF" }, { X86_EFLAGS_PF, "PF" },
	{ X86_EFLAGS_AF, "AF" }, { X86_EFLAGS_ZF, "ZF" },
	{ X86_EFLAGS_SF, "SF" }, { X86_EFLAGS_TF, "TF" },
	{ X86_EFLAGS_IF, "IF" }, { X86_EFLAGS_DF, "DF" },
	{ X86_EFLAGS_OF, "OF" }, { X86_EFLAGS_IOPL, "IOPL" },
	{ X86_EFLAGS_NT, "NT" }, { 0, NULL },
};

static const struct bit_name rule_names[] = {
	{ I_LOCK, "lockable" }, { I_REP, "rep" }, { I_REPCC, "rep-cc" },
	{ I_D64, "d64" }, { I_F64, "f64" }, { I_INV64, "not-64" },
	{ I_ONLY64, "only-64" }, { I_PROT, "protected" },
	{ I_PRIV, "privileged" }, { I_IOPL, "io" }, { I_JUMP, "branch" },
	{ I_STACK, "stack" }, { I_SHADOW, "shadow" }, { I_FPU, "x87" },
	{ I_SSE, "sse" }, { I_VEX, "vex" }, { I_EVEX, "evex" },
	{ I_ALIGN, "aligned" }, { I_NOLOCKCHECK, "locked" }, { I_NOAC, "unaligned" },
	{ I_SERIALIZE, "serializing" }, { I_COND, "condition" },
	{ I_UNDEF, "undefined" }, { I_VSIB, "vsib" }, { 0, NULL },
};

static const char *bits_text(uint32_t v, const struct bit_name *n)
{
	static char buf[256];
	size_t at = 0;

	buf[0] = 0;
	for (; n->name; n++)
		if (v & n->bit)
			at += snprintf(buf + at, sizeof(buf) - at, "%s%s",
				       at ? " " : "", n->name);
	return at ? buf : "none";
}

/* --- the instruction ------------------------------------------------------------------- */

static void operands(struct show *s, const struct x86_insn *i)
{
	static const char *const acc[] = { "-", "r", "w", "rw" };
	char buf[256] = "none";
	size_t at = 0;
	unsigned k;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		const struct x86_opnd *o = &i->row->opnd[k];

		if (o->kind == OPK_NONE)
			continue;
		at += snprintf(buf + at, sizeof(buf) - at, "%s%s%s(%u,%s)",
			       at ? " " : "", kinds[o->kind],
			       sizes[o->size] ? sizes[o->size] : "",
			       x86_opnd_bytes(i, k), acc[o->access & 3]);
	}
	show_text(s, "operands", "%s", buf);
}

static const char *reg_text(uint8_t r)
{
	return r < ARRAY_SIZE(regs) ? regs[r] : "none";
}

static void memory(struct show *s, const struct x86_insn *i)
{
	if (i->mod == 3)
		return;
	show_text(s, "base", "%s", reg_text(i->base));
	if (i->row->attr & I_VSIB)
		show_text(s, "index", "vector %u", i->index);
	else
		show_text(s, "index", "%s", reg_text(i->index));
	show_number(s, "scale", 1 << i->scale);
	show_number(s, "disp", i->disp);
}

static void intercepts(struct show *s, const struct opcode *row)
{
	static const struct { const char *name; int vmx, svm; } t[] = {
		{ "none", -1, -1 },
#define INTERCEPT(name, vmx, svm) { #name, vmx, svm },
#include "isa/intercepts.def"
#undef INTERCEPT
	};

	show_text(s, "intercept", "%s", t[row->intercept].name);
	if (row->intercept && t[row->intercept].vmx >= 0)
		show_number(s, "vmx_exit", t[row->intercept].vmx);
	if (row->intercept && t[row->intercept].svm >= 0)
		show_number(s, "svm_exit", t[row->intercept].svm);
}

static void emulation(struct show *s, const struct x86_insn *i)
{
	const struct opcode *row = i->row;

	show_text(s, "kvm_emul_ud", "%s", row->attr & I_EMUL_UD ? "yes" : "no");
	show_text(s, "op", "%s", x86_op_name(row->op));
	show_text(s, "emulated", "%s", row->op == X86_OP_INVALID ?
		  "no: #UD, CPUID never shows its feature" :
		  x86_op_implemented(row->op) ? "yes" : "no");
	show_text(s, "fast_form", "%s",
		  x86_emulate_resolve(i) != x86_emulate_insn ? "yes" : "no");
}

static void encoding(struct show *s, const struct x86_insn *i, uint64_t rip)
{
	char text[128], hex[64];
	unsigned k;

	for (k = 0; k < i->len; k++)
		snprintf(hex + 3 * k, 4, "%02x ", i->bytes[k]);
	hex[3 * i->len - 1] = 0;
	if (x86_insn_text(i->bytes, i->len, i->mode, rip, text, sizeof(text)) < 0)
		snprintf(text, sizeof(text), "(unknown to Zydis)");
	show_text(s, "bytes", "%s", hex);
	show_text(s, "text", "%s", text);
	show_number(s, "length", i->len);
	show_text(s, "mode", "%s", modes[i->mode]);
}

void show_insn(struct show *s, const struct x86_insn *i, uint64_t rip)
{
	const struct opcode *row = i->row;

	encoding(s, i, rip);
	show_text(s, "mnemonic", "%s", row->mnemonic);
	show_number(s, "row", row->id);
	show_text(s, "map", "%s", maps[i->map]);
	show_number(s, "opcode", i->opcode);
	operands(s, i);
	show_text(s, "prefixes", "%s", bits_text(i->prefix, prefix_names));
	show_number(s, "opsize", i->opsize);
	show_number(s, "adsize", i->adsize);
	if (i->prefix & (PFX_VEX | PFX_EVEX))
		show_number(s, "veclen", i->veclen);
	show_text(s, "segment", "%s", i->seg < ARRAY_SIZE(segs) ? segs[i->seg] :
							      "none");
	memory(s, i);
	show_number(s, "imm", i->imm);
	show_number(s, "imm2", i->imm2);
	show_text(s, "access", "%s", accesses[row->access]);
	show_text(s, "flags_read", "%s", bits_text(row->flags_read, flag_names));
	show_text(s, "flags_written", "%s",
		  bits_text(row->flags_written, flag_names));
	show_text(s, "rules", "%s", bits_text(row->attr, rule_names));
	show_text(s, "feature", "%s",
		  row->feature ? x86_feature_name(row->feature) : "none");
	intercepts(s, row);
	emulation(s, i);
}
