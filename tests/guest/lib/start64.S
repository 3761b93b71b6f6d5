/* SPDX-License-Identifier: MIT */
/*
 * 64-bit guests: from flat 32-bit protected mode (vCPU 0) or from SIPI in real
 * mode (the others) to main() or ap_main().
 *
 * The first 4 GiB are mapped where they are with 2-MiB pages, user and writable;
 * PML4 entry 1 is lib/vm64.c's. All processors share GDT and IDT; the first has a
 * TSS.
 */
	.section .text.start, "ax"
	.code32
	.globl start
start:	cli
	cld
	mov $stack_top, %esp
	movl $(pdpt + 7), pml4
	movl $(pd + 0x0007), pdpt
	movl $(pd + 0x1007), pdpt + 8
	movl $(pd + 0x2007), pdpt + 16
	movl $(pd + 0x3007), pdpt + 24
	mov $pd, %edi
	mov $0x87, %eax
	mov $2048, %ecx
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $8, %edi
	add $0x200000, %eax
	loop 1b
enter_long:
	mov %cr4, %eax
	or $0x620, %eax			/* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x901, %eax			/* NXE, LME, SCE */
	wrmsr
	mov %cr0, %eax
	and $~0x6000000c, %eax		/* CD, NW, EM, TS off */
	or $0x80000023, %eax		/* PG, NE, MP, PE */
	mov %eax, %cr0
	lgdt gdt_ptr
	ljmp $0x08, $start64

	.code64
start64:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	fninit
	mov $1, %eax
	lock xadd %eax, nr_started
	test %eax, %eax
	jnz 1f
	mov $stack_top, %rsp
	call init64
	call main
	mov %eax, %edi
	call guest_exit
1:	mov %eax, %edi
	shl $13, %eax
	lea stack_top(%rax), %rsp	/* of 8 KiB each */
	lidt idt_ptr
	call ap_main
2:	cli
	hlt
	jmp 2b

/* Copied below 1 MiB, to AP_BASE; all of it is position-independent but for that. */
	.set AP_BASE, 0x8000
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	xor %ax, %ax
	mov %ax, %ds
	lgdtl AP_BASE + (ap_gdt_ptr - ap_trampoline)
	mov $0x11, %eax
	mov %eax, %cr0
	ljmpl $0x18, $ap_start32
	.balign 8
ap_gdt_ptr: .word 0x7f
	.long gdt
ap_trampoline_end:
	.code32
ap_start32:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	jmp enter_long

/* --- exceptions and interrupts: every vector, to c_handler(struct regs *) ------- */
	.code64
	.text
	.balign 16
	.globl stubs
stubs:
	.set v, 0
	.rept 256
	.balign 16
	.if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21)
	push $0
	.endif
	pushq $v
	jmp common
	.set v, v + 1
	.endr
common:
	push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi
	push %r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbx
	and $~15, %rsp
	call c_handler
	mov %rbx, %rsp
	pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
	pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
	add $16, %rsp
	iretq

/* uint64_t run_user(uint64_t (*fn)(void *), void *arg): fn at CPL 3 */
	.globl run_user, user_return, user_fail
run_user:
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	pushfq
	mov %rsp, user_rsp
	mov %rdi, %rax
	mov %rsi, %rdi
	movq $user_exit, user_stack_top - 8
	pushq $0x23
	pushq $user_stack_top - 8
	pushfq
	pushq $0x2b
	push %rax
	iretq
user_exit:
	int $0x80
user_fail:				/* from c_handler: an exception at CPL 3 */
	mov $-1, %rax
user_return:				/* gate 0x80 */
	mov user_rsp, %rsp
	mov $0x10, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	popfq
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret

	.data
	.globl gdt, tss, nr_started, idt_ptr
	.balign 16
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* 08 code, 64-bit */
	.quad 0x00cf93000000ffff	/* 10 data */
	.quad 0x00cf9b000000ffff	/* 18 code, 32-bit */
	.quad 0x00cff3000000ffff	/* 20 user data */
	.quad 0x00affb000000ffff	/* 28 user code, 64-bit */
	.quad 0x00cffb000000ffff	/* 30 user code, 32-bit */
	.quad 0x00cff3000000ffff	/* 38 user data again: SYSRET, SYSEXIT */
	.quad 0x00affb000000ffff	/* 40 user code again */
	.quad 0, 0			/* 48 TSS */
	.fill 21, 8, 0			/* 58... for the tests */
gdt_end:
gdt_ptr: .word gdt_end - gdt - 1
	.quad gdt
idt_ptr: .word 256 * 16 - 1
	.quad idt
nr_started: .long 0

	.bss
	.globl pml4, pdpt, pd, idt, user_rsp, user_stack_top, stack_top
	.globl kernel_stack_top, ist_stack_top
	.balign 4096
pml4:	.skip 4096
pdpt:	.skip 4096
pd:	.skip 4 * 4096
idt:	.skip 4096
tss:	.skip 104
	.balign 16
user_rsp: .skip 16
	.skip 8192
kernel_stack_top:
	.skip 8192
ist_stack_top:
	.skip 8192
user_stack_top:
	.skip 8192
stack_top:
	.skip 7 * 8192
