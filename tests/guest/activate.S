/* SPDX-License-Identifier: MIT */
/* Instructions in code segments of every kind, 64-bit handlers, the way to real mode. */
#include "activate.h"

	.set KERNEL_CS, 0x08
	.set KERNEL_DS, 0x10

/* run_text: the struct text at EBX, with EAX, ECX, EDX as they are. */
	.code32
	.text
	.globl run_text
run_text:
	mov 8(%ebx), %esi
	mov %esi, attempt + 12
	ljmp *(%ebx)
back32:	ret

/* Each ends with a far jump to back32, spelt as the code's size has it. */
	.macro TEXT name, code, sel, insn:vararg
	.code\code
1:	\insn
2:
	.if \code == 64
	ljmp *back_ptr(%rip)
	.elseif \code == 16
	data32 ljmp $KERNEL_CS, $back32
	.else
	ljmp $KERNEL_CS, $back32
	.endif
	.code32
	.pushsection .rodata
	.globl \name
	.balign 4
\name:	.long 1b, \sel, 2b
	.popsection
	.endm

	TEXT mov_cr0_32, 32, KERNEL_CS, mov %eax, %cr0
	TEXT mov_cr0_16, 16, SEL_16, mov %eax, %cr0
	TEXT mov_cr0_l, 16, SEL_64, mov %eax, %cr0
	TEXT mov_cr0_ld, 32, SEL_LD, mov %eax, %cr0
	TEXT mov_cr0_64, 64, SEL_64, mov %rax, %cr0
	TEXT mov_cr3_32, 32, KERNEL_CS, mov %eax, %cr3
	TEXT mov_cr4_32, 32, KERNEL_CS, mov %eax, %cr4
	TEXT mov_cr4_64, 64, SEL_64, mov %rax, %cr4
	TEXT wrmsr_32, 32, KERNEL_CS, wrmsr
	TEXT wrmsr_64, 64, SEL_64, wrmsr

/* fault64 + 32 * vector: notes it and goes on at attempt.resume. */
	.code64
	.balign 32
	.globl fault64
fault64:
	.set v, 0
	.rept 32
	.balign 32
	movl $v, attempt(%rip)
	.if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21
	popq %rdi
	.else
	mov $0, %edi
	.endif
	jmp common64
	.set v, v + 1
	.endr
common64:
	mov %edi, attempt + 4(%rip)
	mov (%rsp), %rdi
	mov %edi, attempt + 8(%rip)
	mov attempt + 12(%rip), %edi
	mov %rdi, (%rsp)
	iretq

/* uint32_t real_trip(uint32_t cr0) */
	.code32
	.globl real_trip, real_begin, real_end
real_trip:
	pushal
	mov 36(%esp), %ebx
	mov %esp, trip_esp
	sidt trip_idt
	ljmp $SEL_16, $REAL_BASE + (1f - real_begin)

	.code16
real_begin:
real_idt: .word 0x7f
	.long REAL_BASE + (real_ivt - real_begin)
real_ivt: .fill 13, 4, 0
	.word REAL_BASE + (real_fault - real_begin), 0
	.fill 18, 4, 0
1:	mov %cr0, %eax
	and $~1, %al
	mov %eax, %cr0
	ljmp $0, $REAL_BASE + (2f - real_begin)
2:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $REAL_BASE - 16, %esp
	smsw %ax
	movzwl %ax, %esi
	lidtl REAL_BASE + (real_idt - real_begin)
	xor %edi, %edi			/* a fault makes it 13 */
	mov %ebx, %cr0
3:	ljmpl $KERNEL_CS, $4f
real_fault:				/* not from here on: PE alone */
	mov $13, %edi
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	jmp 3b
real_end:
	.code32
4:	mov $KERNEL_DS, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	mov trip_esp, %esp
	lidt trip_idt
	test %edi, %edi
	jz 5f
	mov %edi, attempt
5:	mov %esi, 28(%esp)		/* EAX of PUSHAL */
	popal
	ret


	.data
	.balign 8
back_ptr: .long back32, KERNEL_CS
trip_esp: .long 0
trip_idt: .skip 8
