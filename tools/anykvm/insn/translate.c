// SPDX-License-Identifier: MIT
/*
 * Guest instructions, each with the host instructions that the translator has made of it,
 * and what is out of line behind them. Host addresses are offsets in the code area. A
 * host operand at gs:[...] is a field of the processor, a call or jump away often a stub:
 * their names stand beside.
 */
#include <stdio.h>
#include <string.h>

#include "insn/translate.h"
#include "isa/text.h"
#include "jit/show.h"

struct listing {
	struct show *show;
	const uint8_t *bytes;
	unsigned blocks, host;
};

static const char *const kinds[] = {
	[JIT_PIECE_INSN] = "insn", [JIT_PIECE_FIRST] = "first-turns",
	[JIT_PIECE_END] = "end",
	[JIT_PIECE_SLOW] = "out-of-line", [JIT_PIECE_DATA] = "data",
};

static const char *hex_of(const uint8_t *p, unsigned n)
{
	static char hex[3 * 64 + 1];
	unsigned k;

	n = n < 64 ? n : 64;
	for (k = 0; k < n; k++)
		snprintf(hex + 3 * k, 4, "%02x ", p[k]);
	hex[n ? 3 * n - 1 : 0] = 0;
	return hex;
}

/* What a host instruction refers to: a field, a stub, or "". */
static void name_of(const struct jit_piece *p, const struct x86_insn *i, uint32_t at,
		    char *buf, size_t size)
{
	const char *stub = NULL;

	buf[0] = 0;
	if (i->row->opnd[0].kind == OPK_J)
		stub = jit_stub_name(p->jit, at + i->len + i->imm);
	else
		jit_field_name(p->jit, i, buf, size);
	if (stub)
		snprintf(buf, size, "%s", stub);
}

static void host_line(struct show *s, uint32_t at, const uint8_t *code, unsigned n,
		      const char *text, const char *name)
{
	if (!s->json) {
		printf("    %6x  %-30s %s%s%s\n", at, hex_of(code, n), text,
		       *name ? "  ; " : "", name);
		return;
	}
	show_open(s, NULL, '{');
	show_number(s, "at", at);
	show_text(s, "bytes", "%s", hex_of(code, n));
	show_text(s, "text", "%s", text);
	if (*name)
		show_text(s, "name", "%s", name);
	show_close(s, '}');
}

static void host_code(struct show *s, const struct jit_piece *p)
{
	struct x86_insn i;
	char text[128], name[64];
	unsigned k, len;

	for (k = 0; k < p->len; k += len) {
		if (x86_decode(&i, p->code + k, p->len - k, X86_MODE_PROT64) ||
		    x86_insn_text(p->code + k, i.len, X86_MODE_PROT64, p->at + k, text,
				  sizeof(text)) < 0) {
			host_line(s, p->at + k, p->code + k, p->len - k, "(bad)", "");
			return;
		}
		len = i.len;
		name_of(p, &i, p->at + k, name, sizeof(name));
		host_line(s, p->at + k, p->code + k, len, text, name);
	}
}

static void head_line(const struct listing *l, const struct jit_piece *p,
		      const char *bytes, const char *text)
{
	if (p->first)
		printf("%sblock %u\n", l->blocks > 1 ? "\n" : "", l->blocks);
	switch (p->kind) {
	case JIT_PIECE_INSN:
		printf("%lx  %-30s %s\n", (unsigned long)p->rip, bytes, text);
		break;
	case JIT_PIECE_FIRST:
		printf("the loop's first turns\n");
		break;
	case JIT_PIECE_END:
		printf("the block's end, on to %lx\n", (unsigned long)p->rip);
		break;
	default:
		printf("%s, for %lx\n", p->kind == JIT_PIECE_DATA ? "data" :
		       "out of line", (unsigned long)p->rip);
	}
}

static void head(struct listing *l, const struct jit_piece *p)
{
	const uint8_t *b = l->bytes + (p->rip - INSN_TRANSLATE_RIP);
	struct show *s = l->show;
	const char *bytes = "";
	char text[128] = "";

	if (p->kind == JIT_PIECE_INSN) {
		bytes = hex_of(b, p->guest_len);
		if (x86_insn_text(b, p->guest_len, X86_MODE_PROT64, p->rip, text,
				  sizeof(text)) < 0)
			snprintf(text, sizeof(text), "(unknown to Zydis)");
	}
	if (!s->json) {
		head_line(l, p, bytes, text);
		return;
	}
	show_text(s, "kind", "%s", kinds[p->kind]);
	show_number(s, "block", l->blocks);
	show_text(s, "rip", "%lx", (unsigned long)p->rip);
	if (p->kind != JIT_PIECE_INSN)
		return;
	show_text(s, "bytes", "%s", bytes);
	show_text(s, "text", "%s", text);
}

static void piece(void *arg, const struct jit_piece *p)
{
	struct listing *l = arg;
	struct show *s = l->show;

	l->blocks += p->first;
	l->host += p->len;
	show_open(s, NULL, '{');
	head(l, p);
	show_open(s, "host", '[');
	if (p->kind == JIT_PIECE_DATA)
		host_line(s, p->at, p->code, p->len, "(data)", "");
	else
		host_code(s, p);
	show_close(s, ']');
	show_close(s, '}');
}

int insn_translate(struct show *s, const uint8_t *bytes, unsigned n, unsigned begin)
{
	struct listing l = { .show = s, .bytes = bytes };
	int rc;

	show_open(s, "translation", '[');
	rc = jit_show(bytes, n, begin, INSN_TRANSLATE_RIP, piece, &l);
	show_close(s, ']');
	if (rc) {
		fprintf(stderr, "anykvm: no translation: %s\n", strerror(-rc));
		return rc;
	}
	show_number(s, "blocks", l.blocks);
	show_number(s, "guest_bytes", n);
	show_number(s, "host_bytes", l.host);
	return 0;
}
