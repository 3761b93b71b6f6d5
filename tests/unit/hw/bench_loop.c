/* SPDX-License-Identifier: MIT */
/* How fast the run loop is: guest instructions a second of three small loops,
 * with the host's cycles for each. Not a test: prints, asserts nothing. */
#include <stdio.h>
#include <time.h>

#include "guest.h"

GUEST_CODE(decjnz, 64, "mov $30000000, %ecx\n1: dec %ecx; jnz 1b; hlt");
GUEST_CODE(alu16, 64,
	   "mov $3000000, %ecx\n1: add %rax, %rbx; xor %rbx, %rdx\n"
	   "lea 3(%rax,%rdx,2), %rsi; sub $5, %rdi; and %rsi, %r8; or %r9, %r10\n"
	   "mov %r10, %r11; shl $3, %r11; add $17, %r12; mov %r12, %rax\n"
	   "xor %eax, %ebx; inc %r13; cmp %r13, %r14; movzx %al, %r15d\n"
	   "dec %ecx; jnz 1b; hlt");
GUEST_CODE(memory, 64,
	   "mov $3000000, %ecx; mov $0x30000, %ebx\n"
	   "1: mov (%rbx), %rax; add $1, %rax; mov %rax, (%rbx)\n"
	   "push %rax; pop %rdx; call 2f; dec %ecx; jnz 1b; hlt\n"
	   "2: ret");

/* Two fills and a flush a turn. */
GUEST_CODE(fills, 64,
	   "mov $1000000, %ecx; mov %cr3, %rax; mov $0x30000, %ebx\n"
	   "1: mov %rax, %cr3; add (%rbx), %rdx; add 0x1000(%rbx), %rdx\n"
	   "add 0x5000(%rbx), %rdx; dec %ecx; jnz 1b; hlt");
/* A way into the kernel and back. */
GUEST_CODE(soft_int, 64,
	   "mov $1000000, %ecx; 1: int $0x80; dec %ecx; jnz 1b; hlt");
GUEST_CODE(iretq, 64, "iretq");
GUEST_CODE(fpmul, 64,
	   "mov $1000000, %ecx; 1: mulsd %xmm1, %xmm0; addsd %xmm1, %xmm2\n"
	   "movapd %xmm0, 0x30000; dec %ecx; jnz 1b; hlt");

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static void bench(const char *name, const char *from, const char *to)
{
	struct guest *g = guest_new(false);
	double t0, t;
	uint64_t n;

	guest_long(g);
	guest_put(g, G_CODE, from, to);
	guest_put(g, G_STUBS + 16 * 0x80, iretq, iretq_end);
	t0 = seconds();
	guest_run(g);
	t = seconds() - t0;
	n = g->cpu->stats.instructions;
	printf("%-8s %9.1f M insn/s (%llu in %.3f s)\n", name, n / t * 1e-6,
	       (unsigned long long)n, t);
	guest_free(g);
}

int main(void)
{
	bench("decjnz", decjnz, decjnz_end);
	bench("alu16", alu16, alu16_end);
	bench("memory", memory, memory_end);
	bench("fills", fills, fills_end);
	bench("int-iret", soft_int, soft_int_end);
	bench("sse", fpmul, fpmul_end);
	return 0;
}
