// SPDX-License-Identifier: MIT
/*
 * One instruction on the host: a trampoline loads flags and registers, calls the
 * instruction (followed by RET) in a writable and executable page, and stores what
 * has become of them. One thread at a time.
 */
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host_run.h"

extern void host_run_asm(struct host_regs *r);
extern void *host_run_code;

__asm__(".data\n.balign 8\n"
	"host_run_code: .quad 0\n"
	"host_run_rdi: .quad 0\n"
	".globl host_run_code\n"
	".text\n.globl host_run_asm\n"
	"host_run_asm:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n"
	"	push %r14\n	push %r15\n	push %rdi\n"
	"	pushq 128(%rdi)\n	popfq\n"
	"	mov 0(%rdi), %rax\n	mov 8(%rdi), %rcx\n"
	"	mov 16(%rdi), %rdx\n	mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp\n	mov 48(%rdi), %rsi\n"
	"	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10\n	mov 88(%rdi), %r11\n"
	"	mov 96(%rdi), %r12\n	mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n"
	"	mov 56(%rdi), %rdi\n"
	"	call *host_run_code(%rip)\n"
	"	mov %rdi, host_run_rdi(%rip)\n"
	"	mov (%rsp), %rdi\n"
	"	pushfq\n	popq 128(%rdi)\n	cld\n"
	"	mov %rax, 0(%rdi)\n	mov %rcx, 8(%rdi)\n"
	"	mov %rdx, 16(%rdi)\n	mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi)\n	mov %rsi, 48(%rdi)\n"
	"	mov %r8, 64(%rdi)\n	mov %r9, 72(%rdi)\n"
	"	mov %r10, 80(%rdi)\n	mov %r11, 88(%rdi)\n"
	"	mov %r12, 96(%rdi)\n	mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi)\n	mov %r15, 120(%rdi)\n"
	"	mov host_run_rdi(%rip), %rax\n	mov %rax, 56(%rdi)\n"
	"	pop %rdi\n	pop %r15\n	pop %r14\n	pop %r13\n"
	"	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n");

void host_run(struct host_regs *r, const uint8_t *code, size_t n)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page == MAP_FAILED) {
			perror("mmap");
			exit(1);
		}
		host_run_code = page;
	}
	memcpy(page, code, n);
	page[n] = 0xc3;
	__builtin___clear_cache((char *)page, (char *)page + n + 1);
	host_run_asm(r);
}

enum { A, B, C, D };

static const struct { uint32_t leaf, subleaf; uint8_t reg, bit; } features[] = {
	{ 0, 0, 0, 0 },
#define FEATURE(name, leaf, subleaf, reg, bit) { leaf, subleaf, reg, bit },
#include "x86/features.def"
#undef FEATURE
};

bool host_has_feature(enum x86_feature f)
{
	uint32_t r[4];

	if (f == X86_FEATURE_NONE)
		return true;
	if (!__get_cpuid_count(features[f].leaf, features[f].subleaf, &r[A],
			       &r[B], &r[C], &r[D]))
		return false;
	return r[features[f].reg] >> features[f].bit & 1;
}

bool has_taken_operand(const struct x86_insn *i)
{
	static const uint8_t taken[] = { X86_RSP, X86_R14, X86_R15 };
	unsigned k, t;

	for (k = 0; k < X86_MAX_OPERANDS; k++)
		for (t = 0; t < ARRAY_SIZE(taken); t++) {
			uint8_t kind = i->row->opnd[k].kind;

			if ((kind == OPK_G && i->reg == taken[t]) ||
			    ((kind == OPK_E || kind == OPK_R) && i->mod == 3 &&
			     i->rm == taken[t]))
				return true;
		}
	return false;
}
