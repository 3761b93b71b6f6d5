// SPDX-License-Identifier: MIT
/*
 * What one resolved instruction costs: nanoseconds per call of the function that
 * x86_emulate_resolve() gives, called from a loop as a run loop would. Not a test;
 * `ninja bench_emul_fast` and run it by hand on a quiet machine.
 *
 * Columns: the instruction, the resolved form, the generic form.
 */
#include <time.h>

#include "harness.h"

#define LOOPS 20000000u

struct sample {
	const char *text;
	unsigned rcx;		/* iterations of a REP */
	uint8_t n, code[10];
};

/* clang-format off */
#define S(text, ...) R(text, 0, __VA_ARGS__)
#define R(text, rcx, ...) { text, rcx, sizeof((uint8_t[]){ __VA_ARGS__ }), { __VA_ARGS__ } }
static const struct sample samples[] = {
	S("add rax, rbx",	0x48, 0x01, 0xd8),
	S("add ax, bx",		0x66, 0x01, 0xd8),
	S("add al, bl",		0x00, 0xd8),
	S("adc rax, rbx",	0x48, 0x11, 0xd8),
	S("cmp rax, 5",		0x48, 0x83, 0xf8, 0x05),
	S("test rax, rax",	0x48, 0x85, 0xc0),
	S("dec ecx",		0xff, 0xc9),
	S("mov rax, rbx",	0x48, 0x89, 0xd8),
	S("mov rax, [rsi]",	0x48, 0x8b, 0x06),
	S("mov rax, [rsi+rdi*8+8]", 0x48, 0x8b, 0x44, 0xfe, 0x08),
	S("mov [rsi], rax",	0x48, 0x89, 0x06),
	S("add [rsi], rax",	0x48, 0x01, 0x06),
	S("movzx eax, byte [rsi]", 0x0f, 0xb6, 0x06),
	S("lea rax, [rbx+rcx*4+1]", 0x48, 0x8d, 0x44, 0x8b, 0x01),
	S("shl rax, 3",		0x48, 0xc1, 0xe0, 0x03),
	S("imul rax, rbx",	0x48, 0x0f, 0xaf, 0xc3),
	S("jnz +0 (taken)",	0x75, 0x00),
	S("jz +0",		0x74, 0x00),
	S("jmp +0",		0xeb, 0x00),
	S("cmovz rax, rbx",	0x48, 0x0f, 0x44, 0xc3),
	S("setz al",		0x0f, 0x94, 0xc0),
	S("nop",		0x0f, 0x1f, 0x00),
	S("xchg [rsi], rax",	0x48, 0x87, 0x06),
	S("lock add [rsi], rax", 0xf0, 0x48, 0x01, 0x06),
	S("mul rbx",		0x48, 0xf7, 0xe3),
	S("movsb",		0xa4),
	R("rep movsb, 16",	16, 0xf3, 0xa4),
	R("rep movsb, 256",	256, 0xf3, 0xa4),
	R("rep stosq, 512",	512, 0xf3, 0x48, 0xab),
};
/* clang-format on */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double measure(struct vm *vm, x86_exec_fn fn, unsigned rcx)
{
	unsigned i, loops = rcx ? LOOPS / 50 : LOOPS;
	double t = now();

	for (i = 0; i < loops; i++) {
		vm->c.insn = &vm->insn;
		if (rcx) {
			vm->c.gpr[X86_RCX] = rcx;
			vm->c.gpr[X86_RSI] = VM_DATA;
			vm->c.gpr[X86_RDI] = 2 * VM_DATA;
		}
		if (fn(&vm->c))
			return -1;
		if (!rcx && !(i & 0xff)) {
			vm->c.gpr[X86_RSI] = VM_DATA;
			vm->c.gpr[X86_RDI] = 16;
			vm->c.rip = VM_CODE;
		}
	}
	return (now() - t) / loops * 1e9;
}

int main(void)
{
	struct vm *vm = vm_new(X86_MODE_PROT64);
	unsigned i;

	printf("%-28s %8s %8s\n", "instruction", "fast", "generic");
	for (i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];
		double fast, generic;

		vm->c.gpr[X86_RSI] = VM_DATA;
		vm->c.gpr[X86_RDI] = s->rcx ? 2 * VM_DATA : 16;
		vm->c.gpr[X86_RCX] = s->rcx;
		vm_run(vm, s->code, s->n);
		fast = measure(vm, x86_emulate_resolve(&vm->insn),
			       s->rcx);
		generic = measure(vm, x86_emulate_insn, s->rcx);
		printf("%-28s %8.2f %8.2f%s\n", s->text, fast, generic,
		       x86_emulate_resolve(&vm->insn) == x86_emulate_insn ?
			       "  (no fast form)" : "");
	}
	vm_free(vm);
	return 0;
}
