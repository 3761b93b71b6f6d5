/* SPDX-License-Identifier: MIT */
/*
 * anykvm insn: what the tables know of an instruction, with --run what it does,
 * in the emulator and on this processor, and with --translate what the translator
 * makes of one or more. Bytes come as hex from the arguments, a
 * file or standard input.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "insn/run.h"
#include "insn/translate.h"

static const char help[] =
	"usage: anykvm insn [OPTION]... 'HEX' | - | --file FILE\n"
	"       anykvm insn [OPTION]... --run 'HEX' [REG=HEX]... [mem=ADDR:HEX]...\n"
	"       anykvm insn [OPTION]... --translate 'HEX'\n\n"
	"Decodes the instruction whose bytes are given in hexadecimal (spaces, commas\n"
	"and 0x are ignored) and prints what the emulator's tables say of it: the row,\n"
	"operands in the manuals' letters with bytes and access, prefixes, sizes, address,\n"
	"immediates, flags, feature, intercepts, who emulates it; and the text as Zydis\n"
	"writes it.\n\n"
	"  --mode 16|32|64  the mode to decode for (64); 16 is real-address mode, with\n"
	"                   --run 16-bit protected mode\n"
	"  --file FILE      read the hexadecimal digits from FILE; - is standard input\n"
	"  --json           one JSON object\n"
	"  --run            execute it in the emulator and on this processor, and show\n"
	"                   what changed and what differs\n"
	"  --translate      show the host code that the translator makes of the bytes,\n"
	"                   which may be many instructions of 64-bit mode, at 20001000:\n"
	"                   under each its host code (offset in the code area, bytes,\n"
	"                   text; a field of the processor or a stub by name), then what\n"
	"                   is out of line. Bytes that are not a block's make others\n"
	"  --begin N        with --translate: the first block begins at byte N (0)\n"
	"  --help           this text\n\n"
	"Settings for --run: rax ... r15, rip, rflags, fs.base, gs.base, ds, es, ss, fs,\n"
	"gs (selectors), fpu+OFFSET=HEX (8 bytes of the XSAVE image), mem=ADDR:HEX. Memory\n"
	"is 20004000-20005fff read and write, 20007000-20007fff read only,\n"
	"20008000-20008fff read and write; code is at 20001000-20002fff. With --mode 16\n"
	"the segments of data begin at 20000000 (selector f).\n\n"
	"Exit status: 0 valid, 1 truncated or undefined (with --translate: any of them),\n"
	"2 bad hexadecimal or usage.\n";

struct options {
	enum x86_mode mode;
	const char *file;
	bool run, translate;
	unsigned begin;
	struct show show;
};

/* --- bytes --------------------------------------------------------------------- */

/* Digits of @s into @out; their number of bytes, -1 when they are not hex. */
static int parse_hex(const char *s, uint8_t *out, int max)
{
	int n = 0, digits = 0, v = 0;

	for (; *s; s++) {
		if (isspace((unsigned char)*s) || *s == ',') {
			if (digits & 1)
				return -1;
			continue;
		}
		if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X') && !(digits & 1)) {
			s++;
			continue;
		}
		if (!isxdigit((unsigned char)*s))
			return -1;
		v = v << 4 | (isdigit((unsigned char)*s) ? *s - '0' :
			      tolower((unsigned char)*s) - 'a' + 10);
		if (++digits & 1)
			continue;
		if (n == max)
			return -1;
		out[n++] = v;
		v = 0;
	}
	return digits && !(digits & 1) ? n : -1;
}

static int read_text(const char *file, char *buf, size_t size)
{
	FILE *f = strcmp(file, "-") ? fopen(file, "r") : stdin;
	size_t n;

	if (!f) {
		fprintf(stderr, "anykvm: %s: %s\n", file, strerror(errno));
		return -1;
	}
	n = fread(buf, 1, size - 1, f);
	buf[n] = 0;
	if (f != stdin)
		fclose(f);
	/* A zero byte would hide what is behind it. */
	return strlen(buf) == n ? 0 : -1;
}

/* --- the answer ------------------------------------------------------------------- */

/* @i, @at bytes from the first of the @n, is none. */
static int refuse(struct show *s, enum x86_decode_result r,
		  const struct x86_insn *i, int n, int at)
{
	static const struct { const char *what, *why; } t[] = {
		[-X86_DECODE_TRUNCATED] = {
			"truncated", "more bytes are needed than were given" },
		[-X86_DECODE_UNDEFINED] = {
			"undefined", "no row of the tables for opcode, prefixes and "
			"operand form in this mode (#UD)" },
		[-X86_DECODE_TOO_LONG] = {
			"undefined", "longer than 15 bytes (#GP(0))" },
		[-X86_DECODE_BAD_LOCK] = {
			"undefined", "LOCK is not allowed here (#UD)" },
	};

	show_begin(s);
	show_text(s, "result", "%s", t[-r].what);
	show_text(s, "reason", "%s", t[-r].why);
	if (r == X86_DECODE_UNDEFINED && i->row)
		show_text(s, "row", "%s is not valid in this mode or form",
			  i->row->mnemonic);
	show_number(s, "bytes_given", n);
	show_number(s, "bytes_read", at + i->len);
	show_end(s);
	return 1;
}

static int answer(struct options *o, const uint8_t *bytes, int n, int nargs,
		  char **args)
{
	struct x86_insn insn = { .row = NULL };
	enum x86_decode_result r = x86_decode(&insn, bytes, n, o->mode);
	int rc = 0;

	if (r != X86_DECODE_OK)
		return refuse(&o->show, r, &insn, n, 0);
	show_begin(&o->show);
	show_text(&o->show, "result", "valid");
	show_insn(&o->show, &insn, INSN_RUN_RIP);
	if (insn.len < n)
		show_number(&o->show, "bytes_behind", n - insn.len);
	fflush(stdout);
	if (o->run)
		rc = insn_run(&o->show, &insn, nargs, args);
	show_end(&o->show);
	return rc ? EXIT_USAGE : 0;
}

/* All of the bytes, or what is wrong with the first that are no instruction. */
static int translation(struct options *o, const uint8_t *bytes, int n)
{
	struct x86_insn insn = { .row = NULL };
	enum x86_decode_result r;
	int at, rc;

	for (at = 0; at < n; at += insn.len) {
		r = x86_decode(&insn, bytes + at, n - at, o->mode);
		if (r != X86_DECODE_OK)
			return refuse(&o->show, r, &insn, n, at);
	}
	show_begin(&o->show);
	show_text(&o->show, "result", "valid");
	rc = insn_translate(&o->show, bytes, n, o->begin);
	show_end(&o->show);
	return rc ? EXIT_USAGE : 0;
}

/* --- command line -------------------------------------------------------------------- */

static bool take_mode(struct options *o, const char *arg)
{
	int bits = atoi(arg);

	o->mode = bits == 16 ? X86_MODE_REAL : bits == 32 ? X86_MODE_PROT32 :
							 X86_MODE_PROT64;
	return bits == 16 || bits == 32 || bits == 64;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "file", required_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ "run", no_argument, NULL, 'r' },
		{ "translate", no_argument, NULL, 't' },
		{ "begin", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			if (!take_mode(o, optarg))
				return usage_error("--mode is 16, 32 or 64");
			break;
		case 'f': o->file = optarg; break;
		case 'j': o->show.json = true; break;
		case 'r': o->run = true; break;
		case 't': o->translate = true; break;
		case 'b': o->begin = atoi(optarg); break;
		case 'h': fputs(help, stdout); exit(0);
		default: return EXIT_USAGE;
		}
	}
	if (o->translate && o->run)
		return usage_error("--run and --translate are two commands");
	if (o->translate && o->mode != X86_MODE_PROT64)
		return usage_error("--translate: only 64-bit code is translated");
	if (o->run && o->mode == X86_MODE_REAL)
		o->mode = X86_MODE_PROT16;
	return 0;
}

int cmd_insn(int argc, char **argv)
{
	struct options o = { .mode = X86_MODE_PROT64 };
	static char text[65536];
	uint8_t bytes[4096];
	const char *hex = text;
	int n, rc = parse(&o, argc, argv);

	if (rc)
		return rc;
	if (!o.file && optind < argc && strcmp(argv[optind], "-"))
		hex = argv[optind++];
	else if (!o.file && optind == argc)
		return usage_error("insn wants hexadecimal bytes, or - (anykvm insn --help)");
	else if (read_text(o.file ? o.file : argv[optind++], text, sizeof(text)))
		return EXIT_USAGE;
	if (!o.run && optind < argc)
		return usage_error("%s: settings are for --run; put the bytes in "
				   "one argument", argv[optind]);
	n = parse_hex(hex, bytes, sizeof(bytes));
	if (n < 0)
		return usage_error("not pairs of hexadecimal digits");
	if (o.translate)
		return translation(&o, bytes, n);
	return answer(&o, bytes, n, argc - optind, argv + optind);
}
