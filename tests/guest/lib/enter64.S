/* SPDX-License-Identifier: MIT */
/* enter_asm: the state in enter_state, by IRETQ, until enter_leave. */
	.code64
	.text
	.globl enter_asm, enter_leave
enter_asm:
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	pushfq
	mov %rsp, enter_rsp
	mov st_ds, %ds
	mov st_es, %es
	mov st_fs, %fs
	mov st_gs, %gs
	push st_ss
	push st_sp
	push st_flags
	push st_cs
	push st_ip
	mov st_ax, %rax
	mov st_cx, %rcx
	mov st_dx, %rdx
	mov st_bx, %rbx
	mov st_bp, %rbp
	mov st_si, %rsi
	mov st_di, %rdi
	mov $2, %r11d		/* SYSRET's flags */
	iretq

enter_leave:
	mov $0x10, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %ss
	xor %ecx, %ecx
	mov %ecx, %fs
	mov %ecx, %gs
	mov enter_rsp, %rsp
	popfq
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret

	.bss
	.balign 16
	.globl enter_state, check_stack_top
enter_state:
st_ax:	.skip 8
st_cx:	.skip 8
st_dx:	.skip 8
st_bx:	.skip 8
st_sp:	.skip 8
st_bp:	.skip 8
st_si:	.skip 8
st_di:	.skip 8
st_ip:	.skip 8
st_flags: .skip 8
st_cs:	.skip 8
st_ss:	.skip 8
st_ds:	.skip 8
st_es:	.skip 8
st_fs:	.skip 8
st_gs:	.skip 8
	.skip 32
enter_rsp: .skip 8
	.balign 16
	.skip 8192
check_stack_top:
