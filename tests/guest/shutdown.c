// SPDX-License-Identifier: MIT
/*
 * Triple faults: what a processor meets while it delivers a double fault ends it. SDM
 * Vol. 3A, "Interrupt 8-Double Fault Exception"; APM Vol. 2, "#DF". The runner lets the
 * guest go on after the shutdown (PORT_ON_SHUTDOWN).
 */
#include "lib/checks.h"

#define M	mode_name(NATIVE)

extern const uint8_t shutdown_back[];
void shutdown_run(void (*fn)(void));
/* Returns when @fn has ended in a shutdown; shutdown_seen says whether it has. */
volatile uint32_t shutdown_seen;
#ifdef __x86_64__
asm(".text\n.globl shutdown_run, shutdown_back\n"
    "shutdown_run:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	mov %rsp, shutdown_sp\n"
    "	mov $0x14c, %edx; mov $shutdown_back, %eax; out %eax, %dx\n"
    "	movl $0, shutdown_seen\n"
    "	call *%rdi\n"
    "	jmp 1f\n"
    "shutdown_back:\n"
    "	movl $1, shutdown_seen\n"
    "1:	mov shutdown_sp, %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
    ".bss\nshutdown_sp: .skip 8\n.text\n");
#else
asm(".text\n.globl shutdown_run, shutdown_back\n"
    "shutdown_run:\n"
    "	push %ebx; push %ebp; push %esi; push %edi\n"
    "	mov %esp, shutdown_sp\n"
    "	mov $0x14c, %edx; mov $shutdown_back, %eax; out %eax, %dx\n"
    "	movl $0, shutdown_seen\n"
    "	call *20(%esp)\n"
    "	jmp 1f\n"
    "shutdown_back:\n"
    "	movl $1, shutdown_seen\n"
    "1:	mov shutdown_sp, %esp\n"
    "	pop %edi; pop %esi; pop %ebp; pop %ebx; ret\n"
    ".bss\nshutdown_sp: .skip 4\n.text\n");
#endif

static void triple(const char *insn, const char *cond, void (*fn)(void))
{
	shutdown_run(fn);
	check_that(M, insn, cond, shutdown_seen);
}

static void set_idt_limit(unsigned limit)
{
	struct { uint16_t limit; ulong base; } __attribute__((packed)) p = { limit, (ulong)idt };

	asm volatile("lidt %0" : : "m"(p));
}

static void set_present(unsigned v, bool present)
{
#ifdef __x86_64__
	idt[v].attr = (idt[v].attr & 0x7f) | (present ? 0x80 : 0);
#else
	idt[v] = (idt[v] & ~(1ull << 47)) | (uint64_t)present << 47;
#endif
}

/* --- the ways in ------------------------------------------------------------------------------ */

static void no_idt(void)
{
	set_idt_limit(0);
	asm volatile("ud2");
}

static void no_idt_int(void)
{
	set_idt_limit(0);
	asm volatile("int $0x90");
}

static void no_df_gate(void)
{
	set_present(GP, false);
	set_present(DF, false);
	asm volatile("mov %0, %%ds" : : "r"(0x2000));
}

static void np_in_df(void)
{
	set_present(GP, false);
#ifdef __x86_64__
	idt[DF].sel = 0x2000;
#else
	idt[DF] = (idt[DF] & ~0xffff0000ull) | 0x2000ull << 16;
#endif
	asm volatile("mov %0, %%ds" : : "r"(0x2000));
}

#ifdef __x86_64__
static void pf_in_df(void)
{
	set_present(GP, false);
	tss.ist[3] = 0x700000000000;
	idt[DF].ist = 4;
	asm volatile("mov %0, %%ds" : : "r"(0x2000));
}

static void ss_in_df(void)
{
	set_present(GP, false);
	tss.ist[3] = BIT(47) + 64;
	idt[DF].ist = 4;
	asm volatile("mov %0, %%ds" : : "r"(0x2000));
}

/* #PF for the stack, then for that of #DF too. */
static void bad_stack(void)
{
	for (unsigned v = 0; v < 256; v++)
		idt[v].ist = 0;
	asm volatile("mov %0, %%rsp; push %%rax" : : "r"(0x700000000000ul) : "memory");
}

static void no_pages(void)
{
	asm volatile("mov %0, %%cr3" : : "r"(scratch_frame(0)) : "memory");
}

static void restore(void);

static void test_mode(void)
{
	memset((void *)scratch_frame(0), 0, 4096);
	triple("#DF", "#PF while it is delivered: shutdown", pf_in_df);
	restore();
	triple("#DF", "#SS while it is delivered: shutdown", ss_in_df);
	restore();
	triple("#PF", "on a bad stack, and again for #DF: shutdown", bad_stack);
	restore();
	triple("MOV to CR3", "an empty table: shutdown", no_pages);
}
#else
/* #SS for the stack, then for #DF on the same one. */
static void bad_stack(void)
{
	gdt[SLOT(0) / 8] = descriptor(0, 0xfff, DATA_DOWN);
	asm volatile("mov $0x1002, %%ecx; mov %0, %%ss; mov %%ecx, %%esp; push %%eax"
		     : : "r"(SLOT(0)) : "ecx", "memory");
}

/* #DF by a task gate whose TSS is busy. */
static void busy_task(void)
{
	gdt[TASK_SEL / 8] = descriptor((uint32_t)&task, sizeof(task) - 1, SYS(TSS32_BUSY));
	put_gate(0, TASK_SEL, 0, SYS(TASK_GATE), 0);
	idt[DF] = gdt[SLOT(0) / 8];
	set_present(GP, false);
	asm volatile("mov %0, %%ds" : : "r"(0x2000));
}

static void restore(void);

static void test_mode(void)
{
	triple("#SS", "on a bad stack, and again for #DF: shutdown", bad_stack);
	restore();
	triple("#DF", "its task gate's TSS is busy: shutdown", busy_task);
}
#endif

static typeof(idt[0]) saved[256];

static void restore(void)
{
	memcpy(idt, saved, sizeof(saved));
	set_idt_limit(sizeof(saved) - 1);
}

int main(void)
{
	static const struct { const char *insn, *cond; void (*fn)(void); } cases[] = {
		{ "exception", "the IDT's limit is 0: shutdown", no_idt },
		{ "INT n", "the IDT's limit is 0: shutdown", no_idt_int },
		{ "#DF", "its gate is not present: shutdown", no_df_gate },
		{ "#DF", "its handler's selector is beyond the GDT: shutdown", np_in_df },
	};

	checks_init();
	memcpy(saved, idt, sizeof(saved));
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		triple(cases[i].insn, cases[i].cond, cases[i].fn);
		restore();
	}
	test_mode();
	restore();
	TRY("ud2");
	check_met(M, "shutdown", "the processor goes on as before", UD, 0, exc.vector, exc.error);
	return 0;
}
