/* SPDX-License-Identifier: MIT */
/*
 * What torture.c has interrupted: each function takes all of one kind of state from
 * a struct state, works on it, and stores what has become of it. Nothing in them
 * depends on anything else, so that every run ends the same.
 *
 * Offsets are those of struct state.
 */
	.set GPR, 0			/* 16 quadwords, by number */
	.set FLAGS, 128
	.set CONTROL, 136		/* x87 status and control word, MXCSR */
	.set ROUNDS, 144
	.set X87, 160			/* 8 of 16 bytes */
	.set VEC, 320			/* 32 of 64 bytes */
	.set MASKS, VEC + 2048		/* 8 quadwords */

	.macro enter
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	pushq ROUNDS(%rdi)
	push %rdi
	.endm
	.macro finish
	pop %rdi
	add $8, %rsp
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret
	.endm

	.text
/* --- general registers and flags; the counter is on the stack ------------------- */
	.globl work_integer
work_integer:
	enter
	push FLAGS(%rdi)
	popfq
	mov 8*0(%rdi), %rax; mov 8*1(%rdi), %rcx; mov 8*2(%rdi), %rdx
	mov 8*3(%rdi), %rbx; mov 8*5(%rdi), %rbp; mov 8*6(%rdi), %rsi
	mov 8*8(%rdi), %r8; mov 8*9(%rdi), %r9; mov 8*10(%rdi), %r10
	mov 8*11(%rdi), %r11; mov 8*12(%rdi), %r12; mov 8*13(%rdi), %r13
	mov 8*14(%rdi), %r14; mov 8*15(%rdi), %r15; mov 8*7(%rdi), %rdi
1:	add %rax, %rbx
	adc %rcx, %rdx
	sbb %rsi, %r8
	rcl $1, %r9
	adc $0x1234567, %r13
	setc %al
	imul %r10, %r11
	xor %r12, %r13
	push %r14
	pushfq
	lea 5(%r15,%rax,4), %r15
	bswap %r15
	call 3f
	popfq
	adc %bl, %cl
	pop %rbp
	rcr $1, %r14
	cmovc %rdi, %rsi
	shld $7, %r15, %r12
	xadd %r10, %r9
	btc $17, %rdi
	sbb %rdi, %rax
	mulx %rsi, %rdi, %r10
	test %r8, %r8
	jp 2f
	xchg %r8, %rsi
	neg %r11
	not %dh
2:	decl 8(%rsp)
	jnz 1b
	pushfq
	push %rdi
	mov 16(%rsp), %rdi
	mov %rax, 8*0(%rdi); mov %rcx, 8*1(%rdi); mov %rdx, 8*2(%rdi)
	mov %rbx, 8*3(%rdi); mov %rbp, 8*5(%rdi); mov %rsi, 8*6(%rdi)
	mov %r8, 8*8(%rdi); mov %r9, 8*9(%rdi); mov %r10, 8*10(%rdi)
	mov %r11, 8*11(%rdi); mov %r12, 8*12(%rdi); mov %r13, 8*13(%rdi)
	mov %r14, 8*14(%rdi); mov %r15, 8*15(%rdi)
	pop 8*7(%rdi)
	pop FLAGS(%rdi)
	finish
3:	add %rdi, %r11
	rol $5, %r11
	sbb %ebp, %ebp
	ret

/* --- strings: the direction flag and three registers, half way through --------- */
	.globl work_string
work_string:				/* gpr[6] from, gpr[7] to, gpr[1] bytes */
	enter
	mov 8*6(%rdi), %rsi
	mov 8*1(%rdi), %rcx
	mov 8*7(%rdi), %rdi
	mov %rcx, %r8
	mov %rsi, %r9
	mov %rdi, %r10
	rep movsb			/* there */
	dec %rsi
	dec %rdi
	std
	mov %r8, %rcx
	xchg %rsi, %rdi
	rep movsb			/* and back, from the end */
	cld
	mov %r9, %rsi
	mov %r10, %rdi
	mov %r8, %rcx
	repe cmpsb
	mov %rcx, %r11			/* 0: the same all along */
	mov %r8, %rcx
	shr $3, %rcx
	mov %r9, %rsi
	xor %edx, %edx
4:	lodsq
	rol $7, %rdx
	add %rax, %rdx
	loop 4b
	mov %r10, %rdi
	mov %r8, %rcx
	mov $0x5a, %eax
	rep stosb
	mov %r8, %rcx
	mov %r10, %rdi
	repe scasb
	mov (%rsp), %rdi
	mov %r11, 8*11(%rdi)
	mov %rdx, 8*2(%rdi)
	mov %rcx, 8*12(%rdi)
	finish

/* --- x87: eight registers that turn, and a stack of them ------------------------ */
	.globl work_x87
work_x87:
	enter
	fninit
	.set i, 7
	.rept 8
	fldt X87+16*i(%rdi)
	.set i, i - 1
	.endr
1:	fabs
	fsqrt
	fmull third
	fadd %st(3), %st
	fincstp
	fxch %st(5)
	fsub %st, %st(2)
	fabs
	fucomi %st(1), %st
	fcmovb %st(6), %st
	fcos
	fdecstp
	fincstp
	decl 8(%rsp)
	jnz 1b
	fnstsw CONTROL(%rdi)
	fnstcw CONTROL+2(%rdi)
	.set i, 0
	.rept 8
	fstpt X87+16*i(%rdi)
	.set i, i + 1
	.endr
	finish

/* --- SSE -------------------------------------------------------------------------- */
	.macro sse_all op, offset
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	.ifc \op, load
	movups VEC+64*\n(%rdi), %xmm\n
	.else
	movups %xmm\n, VEC+64*\n(%rdi)
	.endif
	.endr
	.endm

	.globl work_sse
work_sse:
	enter
	ldmxcsr mxcsr_init
	sse_all load
	xor %r8d, %r8d
1:	paddq %xmm1, %xmm0
	pxor %xmm2, %xmm1
	pshufd $0x93, %xmm3, %xmm2
	pmuludq %xmm4, %xmm3
	cvtdq2ps %xmm5, %xmm4
	addps %xmm6, %xmm5
	psllq $3, %xmm6
	por %xmm0, %xmm6
	packssdw %xmm8, %xmm7
	punpckhbw %xmm9, %xmm8
	movups VEC(%rdi), %xmm9
	paddb %xmm10, %xmm9
	sqrtpd %xmm11, %xmm10
	mulpd %xmm12, %xmm11
	cvtps2pd %xmm13, %xmm12
	movq %xmm14, %rax
	add %rax, %r8
	movq %r8, %xmm13
	pcmpgtd %xmm15, %xmm14
	psubw %xmm0, %xmm15
	movhlps %xmm1, %xmm15
	decl 8(%rsp)
	jnz 1b
	stmxcsr CONTROL+4(%rdi)
	sse_all store
	finish

/* --- AVX2 ------------------------------------------------------------------------- */
	.macro avx_all op
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	.ifc \op, load
	vmovups VEC+64*\n(%rdi), %ymm\n
	.else
	vmovups %ymm\n, VEC+64*\n(%rdi)
	.endif
	.endr
	.endm

	.globl work_avx
work_avx:
	enter
	avx_all load
1:	vpaddq %ymm1, %ymm2, %ymm0
	vpxor %ymm3, %ymm0, %ymm1
	vpshufb %ymm4, %ymm3, %ymm2
	vpermq $0x39, %ymm5, %ymm3
	vpaddd VEC(%rdi), %ymm3, %ymm4
	vpsllvd %ymm7, %ymm6, %ymm5
	vpor %ymm0, %ymm5, %ymm6
	vaddps %ymm9, %ymm8, %ymm7
	vperm2i128 $0x21, %ymm9, %ymm10, %ymm8
	vpsubb %ymm11, %ymm10, %ymm9
	vpmulld %ymm12, %ymm11, %ymm10
	vpblendd $0x5a, %ymm13, %ymm12, %ymm11
	vpaddw %ymm14, %ymm13, %ymm12
	vextracti128 $1, %ymm15, %xmm13
	vinserti128 $1, %xmm0, %ymm13, %ymm14
	vpxor %ymm14, %ymm1, %ymm15
	decl 8(%rsp)
	jnz 1b
	avx_all store
	vzeroupper
	finish

/* --- AVX-512: all of 32 registers, masks -------------------------------------------- */
	.macro avx512_all op
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	.ifc \op, load
	vmovups VEC+64*\n(%rdi), %zmm\n
	.else
	vmovups %zmm\n, VEC+64*\n(%rdi)
	.endif
	.endr
	.irp n, 0,1,2,3,4,5,6,7
	.ifc \op, load
	kmovw MASKS+8*\n(%rdi), %k\n
	.else
	kmovw %k\n, MASKS+8*\n(%rdi)
	.endif
	.endr
	.endm

	.globl work_avx512
work_avx512:
	enter
	avx512_all load
1:	vpaddd %zmm17, %zmm16, %zmm0{%k1}
	vpxord %zmm18, %zmm17, %zmm1
	vpaddd %zmm31, %zmm0, %zmm17{%k2}{z}
	vpermd %zmm3, %zmm1, %zmm31
	vpcmpgtd %zmm5, %zmm17, %k1
	kxorw %k1, %k3, %k2
	knotw %k4, %k3
	korw %k5, %k1, %k4
	vprold $3, %zmm30, %zmm5
	vpaddd VEC(%rdi), %zmm5, %zmm30{%k3}
	vpsubd %zmm29, %zmm30, %zmm29
	vpmulld %zmm29, %zmm2, %zmm16
	kshiftlw $1, %k2, %k5
	decl 8(%rsp)
	jnz 1b
	avx512_all store
	vzeroupper
	finish

/* --- what the handlers do to the state that they have saved ------------------------- */
	.globl trash_vectors, trash_avx
trash_vectors:
	fninit
	fldpi
	fldpi
	fldl2e
	pcmpeqd %xmm0, %xmm0
	.irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	movaps %xmm0, %xmm\n
	.endr
	ret
trash_avx:
	vzeroall
	jmp trash_vectors

	.section .rodata
	.balign 8
third:	.double 0.3333333333333333
mxcsr_init: .long 0x1f80
