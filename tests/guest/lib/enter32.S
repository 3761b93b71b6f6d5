/* SPDX-License-Identifier: MIT */
/*
 * enter_asm: the state in enter_state, until enter_leave. To CPL 0 by a far jump, as
 * IRET there takes no stack; elsewhere, and to virtual-8086 mode, by IRET. With TF to
 * CPL 0 by IRET from the case's own stack, so that the first step is the case's.
 */
	.code32
	.text
	.globl enter_asm, enter_leave
enter_asm:
	pushal
	pushfl
	mov %esp, enter_esp
	testl $0x20000, st_flags
	jnz 1f
	testl $3, st_cs
	jz 2f
	jmp 3f
1:	push st_vgs			/* GS FS DS ES of virtual-8086 mode */
	push st_vfs
	push st_vds
	push st_ves
3:	push st_ss
	push st_sp
	push st_flags
	push st_cs
	push st_ip
	call load_registers
	mov %cs:st_ds, %ds
	iret
2:	testl $0x100, st_flags
	jnz 4f
	push st_flags
	call load_registers
	popfl
	lss %cs:st_sp_ss, %esp
	mov %cs:st_ds, %ds
	ljmp *%cs:st_ip_cs
4:	call load_registers
	lss %cs:st_sp_ss, %esp
	push %cs:st_flags
	push %cs:st_cs
	push %cs:st_ip
	mov %cs:st_ds, %ds
	iret

load_registers:
	mov st_es, %es
	mov st_fs, %fs
	mov st_gs, %gs
	mov st_sp, %eax
	mov %eax, st_sp_ss
	mov st_ss, %eax
	mov %eax, st_sp_ss + 4
	mov st_ip, %eax
	mov %eax, st_ip_cs
	mov st_cs, %eax
	mov %eax, st_ip_cs + 4
	mov st_ax, %eax
	mov st_cx, %ecx
	mov st_dx, %edx
	mov st_bx, %ebx
	mov st_bp, %ebp
	mov st_si, %esi
	mov st_di, %edi
	ret

enter_leave:
	mov $0x10, %ecx
	mov %ecx, %ds
	mov %ecx, %es
	mov %ecx, %fs
	mov %ecx, %gs
	mov %ecx, %ss
	mov enter_esp, %esp
	popfl
	popal
	ret

	.bss
	.balign 16
	.globl enter_state, check_stack_top
enter_state:
st_ax:	.skip 4
st_cx:	.skip 4
st_dx:	.skip 4
st_bx:	.skip 4
st_sp:	.skip 4
st_bp:	.skip 4
st_si:	.skip 4
st_di:	.skip 4
st_ip:	.skip 4
st_flags: .skip 4
st_cs:	.skip 4
st_ss:	.skip 4
st_ds:	.skip 4
st_es:	.skip 4
st_fs:	.skip 4
st_gs:	.skip 4
st_ves:	.skip 4
st_vds:	.skip 4
st_vfs:	.skip 4
st_vgs:	.skip 4
st_sp_ss: .skip 8
st_ip_cs: .skip 8
enter_esp: .skip 4
	.balign 16
	.skip 8192
check_stack_top:
