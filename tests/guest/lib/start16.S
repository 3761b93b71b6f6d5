/* SPDX-License-Identifier: MIT */
/* Real-mode guests: code and data in the first 64 KiB, all segments 0. */
	.section .text.start, "ax"
	.code16
	.globl start
start:	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %ax, %fs
	mov %ax, %gs
	mov $0x7ff0, %esp
	ljmpl $0, $1f
1:	calll main
	pushl %eax
	calll guest_exit
