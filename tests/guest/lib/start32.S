/* SPDX-License-Identifier: MIT */
/*
 * 32-bit guests: flat protected mode without paging. Every vector comes to
 * c_handler(struct regs *); run_user and run_far run code elsewhere until it says
 * INT 0x80 or meets an exception.
 */
	.section .text.start, "ax"
	.code32
	.globl start
start:	cli
	cld
	lgdt gdt_ptr
	ljmp $0x08, $1f
1:	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top, %esp
	mov %cr0, %eax
	and $~0x6000000c, %eax
	or $0x22, %eax
	mov %eax, %cr0
	fninit
	call init32
	call main
	push %eax
	call guest_exit

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
	pushl $v
	jmp common
	.set v, v + 1
	.endr
common:
	pushal
	push %ds
	push %es
	mov %cs:(stubs_ds), %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call c_handler
	add $4, %esp
	pop %es
	pop %ds
	popal
	add $8, %esp
	iret

/* int run_user(void (*fn)(void)): @fn at CPL 3 until it returns: its value. */
	.globl run_user, run_far, run_vm86, resume
run_user:
	pushal
	pushfl
	mov 40(%esp), %eax
	push saved_esp
	mov %esp, saved_esp
	movl $user_exit, user_stack_top - 4
	push $0x23
	push $user_stack_top - 4
	pushfl
	push $0x1b
	push %eax
	mov $0x23, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	iret
user_exit:
	int $0x80

/* int run_far(unsigned sel, unsigned off): a far jump, until INT 0x80. */
run_far:
	pushal
	pushfl
	mov 40(%esp), %eax
	mov %eax, far_ptr + 4
	mov 44(%esp), %eax
	mov %eax, far_ptr
	push saved_esp
	mov %esp, saved_esp
	ljmp *far_ptr

/* int run_vm86(unsigned cs, unsigned ip, unsigned eflags); stack at 0:7000h */
run_vm86:
	pushal
	pushfl
	mov 40(%esp), %eax
	mov 44(%esp), %ebx
	mov 48(%esp), %ecx
	push saved_esp
	mov %esp, saved_esp
	push $0x44		/* GS FS DS ES */
	push $0x33
	push $0x22
	push $0x11
	push $0			/* SS:ESP */
	push $0x7000
	or $0x20002, %ecx
	push %ecx
	push %eax
	push %ebx
	mov $0x1234, %eax
	iret

/* Where gate 0x80 and exceptions elsewhere go: back to the caller of run_*. */
resume:
	mov %cs:(stubs_ds), %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %ss
	mov saved_esp, %esp
	pop saved_esp
	mov %eax, 32(%esp)	/* EAX of PUSHAL, above the flags */
	popfl
	popal
	ret

	.data
	.globl gdt, stubs_ds
	.balign 16
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 code */
	.quad 0x00cf93000000ffff	/* 10 data */
	.quad 0x00cffb000000ffff	/* 18 user code */
	.quad 0x00cff3000000ffff	/* 20 user data */
	.fill 27, 8, 0			/* 28... TSS and the tests' */
gdt_end:
gdt_ptr: .word gdt_end - gdt - 1
	.long gdt
stubs_ds: .long 0x10
far_ptr: .long 0, 0
saved_esp: .long 0

	.bss
	.globl user_stack_top, stack_top, kernel_stack_top, task_stack_top
	.balign 16
	.skip 8192
kernel_stack_top:
	.skip 8192
task_stack_top:
	.skip 8192
user_stack_top:
	.skip 16384
stack_top:
