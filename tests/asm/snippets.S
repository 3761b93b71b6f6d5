/* SPDX-License-Identifier: MIT */
/*
 * The snippets, and the code around them: position-independent, copied and run both
 * natively and in a guest.
 *
 * A snippet begins with all registers from the block (R15: the block's memory, RSI:
 * the same, RDI: 128 bytes on) and may change any but RSP; R15 stays the base of
 * what it writes. Undefined results are not to be left behind; undefined flags are
 * named in `snip`.
 */
#include "block.h"
#include "snip.h"

	.section asm_text, "ax"
	.balign 64
	.globl asm_run, asm_guest

/* asm_run(struct block *b, void (*code)(void)): System V, keeps its registers. */
asm_run:
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	pushfq
	push %rdi
	push %rsi
	fxrstor64 BLK_IN_FX(%rdi)
	pushq BLK_IN_FLAGS(%rdi)
	popfq
	mov BLK_IN + 0(%rdi), %rax
	mov BLK_IN + 8(%rdi), %rcx
	mov BLK_IN + 16(%rdi), %rdx
	mov BLK_IN + 24(%rdi), %rbx
	mov BLK_IN + 40(%rdi), %rbp
	mov BLK_IN + 48(%rdi), %rsi
	mov BLK_IN + 64(%rdi), %r8
	mov BLK_IN + 72(%rdi), %r9
	mov BLK_IN + 80(%rdi), %r10
	mov BLK_IN + 88(%rdi), %r11
	mov BLK_IN + 96(%rdi), %r12
	mov BLK_IN + 104(%rdi), %r13
	mov BLK_IN + 112(%rdi), %r14
	mov BLK_IN + 120(%rdi), %r15
	mov BLK_IN + 56(%rdi), %rdi
	call *(%rsp)
	pushfq
	push %rdi
	mov 24(%rsp), %rdi
	mov %rax, BLK_OUT + 0(%rdi)
	mov %rcx, BLK_OUT + 8(%rdi)
	mov %rdx, BLK_OUT + 16(%rdi)
	mov %rbx, BLK_OUT + 24(%rdi)
	mov %rbp, BLK_OUT + 40(%rdi)
	mov %rsi, BLK_OUT + 48(%rdi)
	mov %r8, BLK_OUT + 64(%rdi)
	mov %r9, BLK_OUT + 72(%rdi)
	mov %r10, BLK_OUT + 80(%rdi)
	mov %r11, BLK_OUT + 88(%rdi)
	mov %r12, BLK_OUT + 96(%rdi)
	mov %r13, BLK_OUT + 104(%rdi)
	mov %r14, BLK_OUT + 112(%rdi)
	mov %r15, BLK_OUT + 120(%rdi)
	popq BLK_OUT + 56(%rdi)
	popq BLK_OUT_FLAGS(%rdi)
	fxsave64 BLK_OUT_FX(%rdi)
	emms
	fninit
	add $16, %rsp
	popfq
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret

asm_guest:
	call asm_run
	out %al, $DONE_PORT
	ud2

	.macro snip name:vararg
	ret
	.balign 16
	SNIP_BEGIN \name
	.endm
	/* Ends the row of the snippet that has just begun. */
	.macro row undefined=0, feature=0
	SNIP_ROW 64, \undefined, \feature
	.endm

/* --- integer ------------------------------------------------------------------- */

	.macro alu op, undefined=0
	snip \op 8
	row \undefined
	\op %bl, %al; pushfq; \op %ch, %ah; pushfq; \op %r9b, (%r15); pushfq
	\op $0x80, %dl; pop %r10; pop %r11; pop %r12
	and $ARITH & ~(\undefined), %r10d; and $ARITH & ~(\undefined), %r11d
	and $ARITH & ~(\undefined), %r12d
	snip \op 16
	row \undefined
	\op %bx, %ax; pushfq; \op %r9w, 2(%r15); pushfq; \op $-3, %dx
	pop %r10; pop %r11
	and $ARITH & ~(\undefined), %r10d; and $ARITH & ~(\undefined), %r11d
	snip \op 32
	row \undefined
	\op %ebx, %eax; pushfq; \op %r9d, 4(%r15); pushfq; \op $0x7fffffff, %edx
	pop %r10; pop %r11
	and $ARITH & ~(\undefined), %r10d; and $ARITH & ~(\undefined), %r11d
	snip \op 64
	row \undefined
	\op %rbx, %rax; pushfq; \op %r9, 8(%r15); pushfq; \op $-0x80000000, %rdx
	pop %r10; pop %r11
	and $ARITH & ~(\undefined), %r10d; and $ARITH & ~(\undefined), %r11d
	.endm
	.irp op, add, adc, sub, sbb, cmp
	alu \op
	.endr
	.irp op, and, or, xor, test
	alu \op, AF
	.endr

	.macro unary op
	snip \op, 8 and 64
	row
	\op\()b %al; \op\()b %ch; \op\()b (%r15); \op\()q %rdx; \op\()q 8(%r15)
	snip \op, 16 and 32
	row
	\op\()w %ax; \op\()l %ecx; \op\()w 16(%r15); \op\()l 24(%r15)
	.endm
	.irp op, inc, dec, neg, not
	unary \op
	.endr

/* Shifts by CL, every width; AND of CL keeps counts defined where flags are. */
	.macro shift op, undefined
	snip \op 8 by CL
	row \undefined | CF
	\op %cl, %bl; \op %cl, %dh; \op\()b %cl, (%r15)
	snip \op 16 by CL
	row \undefined | CF
	\op %cl, %bx; \op\()w %cl, 2(%r15)
	snip \op 32 by CL
	row \undefined
	\op %cl, %ebx; \op\()l %cl, 4(%r15)
	snip \op 64 by CL
	row \undefined
	\op %cl, %rbx; \op\()q %cl, 8(%r15)
	snip \op by 1
	row (\undefined) & AF
	\op $1, %bl; \op $1, %dx; \op $1, %r8d; \op\()q $1, 8(%r15)
	snip \op by constants
	row \undefined
	\op $7, %bl; \op $15, %dx; \op $31, %r8d; \op $63, %r9; \op $33, %r10
	snip \op by 0 and by the width
	row \undefined
	\op $0, %bl; \op $32, %edx; \op $64, %r8; \op $0, %r9w
	.endm
	.irp op, shl, shr, sar
	shift \op, OF | AF
	.endr
	.irp op, rol, ror, rcl, rcr
	shift \op, OF
	.endr

	.macro dshift op
	snip \op 16 and memory
	row OF | AF
	and $15, %cl
	\op %cl, %ax, %bx; \op $3, %dx, 2(%r15)
	snip \op 32
	row OF | AF
	\op %cl, %eax, %ebx; \op $31, %edx, 4(%r15)
	snip \op 64
	row OF | AF
	\op %cl, %rax, %rbx; \op $1, %rdx, %r8; \op $63, %rdx, 8(%r15)
	.endm
	dshift shld
	dshift shrd

	.macro bits op
	snip \op register
	row OF | SF | AF | PF
	\op %cx, %ax; setc %r8b; \op %ecx, %edx; setc %r9b; \op %rcx, %rbx
	snip \op constant
	row OF | SF | AF | PF
	\op $17, %ax; setc %r8b; \op $33, %edx; setc %r9b; \op $63, %rbx
	snip \op memory, bit string
	row OF | SF | AF | PF
	and $0x3ff, %ecx
	\op %rcx, (%r15); setc %r8b; neg %ecx; \op %ecx, 256(%r15); setc %r9b
	\op\()w $9, 64(%r15)
	.endm
	.irp op, bt, bts, btr, btc
	bits \op
	.endr

	.macro scan op, undefined, feature=0
	snip \op
	row \undefined, \feature
	or $0x100, %rax; or $0x10, %ecx; or $0x4000, %dx
	\op %rax, %rbx; \op %ecx, %r8d; \op %dx, %r9w; orl $1, (%r15); \op (%r15), %r10d
	.endm
	scan bsf, CF | OF | SF | AF | PF
	scan bsr, CF | OF | SF | AF | PF
	scan popcnt, 0, FEATURE_C1 + 23
	scan lzcnt, OF | SF | AF | PF, FEATURE_C81 + 5
	scan tzcnt, OF | SF | AF | PF, FEATURE_B7 + 3
	snip popcnt, tzcnt of 0
	row OF | SF | AF | PF, FEATURE_B7 + 3
	xor %eax, %eax
	popcnt %rax, %rbx; tzcnt %rax, %rdx; tzcnt %ax, %r9w
	snip lzcnt of 0
	row OF | SF | AF | PF, FEATURE_C81 + 5
	xor %eax, %eax
	lzcnt %rax, %rcx; lzcnt %ax, %r8w

	.macro multiply op
	snip \op 8
	row SF | ZF | AF | PF
	\op %bl
	snip \op 16
	row SF | ZF | AF | PF
	\op %cx
	snip \op 32
	row SF | ZF | AF | PF
	\op %ecx
	snip \op 64
	row SF | ZF | AF | PF
	\op\()q (%r15)
	.endm
	multiply mul
	multiply imul
	snip imul, two and three operands
	row SF | ZF | AF | PF
	imul %rbx, %rax; pushfq; imul $-77, %ecx, %edx; pushfq; imul $0x1234, (%r15), %r8w
	pop %r9; pop %r10; and $CF | OF, %r9d; and $CF | OF, %r10d
	snip div
	row ARITH
	or $1, %rcx; xor %edx, %edx; div %rcx; mov %rax, %r8; mov %rdx, %r9
	mov %ebx, %eax; xor %edx, %edx; or $1, %ebp; div %ebp
	mov %eax, %r10d; mov %edx, %r11d
	movzbl %bl, %eax; mov $7, %cl; div %cl; xor %edx, %edx
	snip div 16 and 128 by 64
	row ARITH
	mov %rbx, %rcx; bts $63, %rcx; mov %rcx, %rdx; shr $1, %rdx; div %rcx
	mov %ax, %r8w; xor %edx, %edx; mov $0x101, %bx; div %bx
	snip idiv
	row ARITH
	and $0x7f, %ecx; or $1, %ecx; mov %rbx, %rax; cqto; idiv %rcx
	mov %rax, %r8; mov %rdx, %r9; mov %ebp, %eax; cltd; idiv %ecx
	mov %eax, %r10d; mov %edx, %r11d; mov %bx, %ax; cwtd; mov $-3, %cx
	idiv %cx; movsbw %bl, %ax; mov $-5, %cl; idiv %cl
	snip cbw, cwde, cdqe, cwd, cdq, cqo
	row
	cbtw; mov %ax, %bx; cwtl; mov %eax, %ebp; cltq; cqto; mov %rdx, %r8; cltd
	mov %edx, %r9d; cwtd
	snip movsx, movzx
	row
	movsbw %al, %bx; movsbl %ah, %ecx; movsbq %dl, %r8; movswl %dx, %r9d
	movswq %dx, %r10; movslq %edx, %r11; movzbl %ah, %ebp; movzwq (%r15), %r12
	movzbw 1(%r15), %r13w
	snip xchg, xadd, cmpxchg
	row
	xchg %rax, %rbx; xchg %cl, 3(%r15); lock xadd %edx, 8(%r15); xadd %r8b, %r9b
	lock cmpxchg %r10, 16(%r15); mov 24(%r15), %eax; lock cmpxchg %r11d, 24(%r15)
	cmpxchg %r12b, %r13b
	snip cmpxchg8b, equal and not
	row
	lock cmpxchg8b 32(%r15); setz %r8b; lock cmpxchg8b 32(%r15)
	snip cmpxchg16b, equal and not
	row 0, FEATURE_C1 + 13
	lock cmpxchg16b 32(%r15); setz %r8b; lock cmpxchg16b 32(%r15)
	snip lea
	row
	lea 5(%rax,%rbx,4), %rcx; lea (%edx,%ebp,8), %r8d; lea -1(%r9), %r10w
	lea (,%r11,2), %r12; lea 7(%r13d), %r13
	snip bswap, movbe
	row 0, FEATURE_C1 + 22
	bswap %rax; bswap %ebx; movbe (%r15), %rcx; movbe %edx, 9(%r15)
	movbe 3(%r15), %r8w
	snip lahf, sahf
	row 0, FEATURE_C81 + 0
	lahf; mov %ah, %bl; mov %cl, %ah; sahf
	snip clc, stc, cmc, cld, std
	row
	clc; setc %al; stc; setc %bl; cmc; setc %cl; std; pushfq; cld; popq %rdx
	and $0x400, %edx; std
	snip push, pop
	row
	push %rax; pop %rbx; pushw %cx; popw %r8w; push $-5; pop %r9
	pushq 8(%r15); popq 24(%r15); push $0x12345678; pop %r10
	snip enter, leave
	row
	mov %rsp, %r8; enter $16, $0; mov %rsp, %r9; sub %r8, %r9; leave
	sub %rsp, %r8
	snip xlat
	row
	mov %r15, %rbx; and $0x7f, %al; xlat
	snip loop, loope, loopne, jrcxz
	row
	mov $5, %ecx; xor %eax, %eax; 1: inc %eax; loop 1b; mov $9, %ecx
1:	inc %eax; cmp $9, %eax; loopne 1b; mov $3, %ecx; 1: inc %eax; cmp %eax, %eax
	loope 1b; jrcxz 1f; mov $99, %eax; 1: jecxz 1f; mov $98, %eax; 1:
	snip call, ret n, jmp indirect
	row
	push $1; call 2f; lea 1f(%rip), %rax; jmp *%rax
2:	mov 8(%rsp), %rbx; ret $8
	ud2
1:	xor %eax, %eax

	.macro condition cc
	snip set\cc, cmov\cc, j\cc
	row
	set\cc %al; set\cc 5(%r15); cmov\cc %rbx, %rcx; cmov\cc %edx, %ebp
	cmov\cc 8(%r15), %r8w; j\cc 1f; inc %r9; 1:
	.endm
	.irp cc, o, no, c, nc, z, nz, be, a, s, ns, p, np, l, ge, le, g
	condition \cc
	.endr

	snip adcx, adox
	row 0, FEATURE_B7 + 19
	adcx %rax, %rbx; adox %rcx, %rdx; adcx (%r15), %r8d; adox %r9d, %r10d
	snip andn, blsi, blsr, blsmsk, bextr
	row AF | PF | SF, FEATURE_B7 + 3
	andn %rax, %rbx, %rcx; blsi %rdx, %r8; blsr %r9d, %r10d; blsmsk %r11, %r12
	bextr %r13, %rbp, %rsi; andn %eax, %ebx, %edi
	snip mulx, rorx, sarx, shlx, shrx, pdep, pext, bzhi
	row AF | PF, FEATURE_B7 + 8
	mulx %rax, %rbx, %rcx; rorx $13, %r8, %r9; sarx %rax, %r10, %r11
	shlx %eax, %r12d, %r13d; shrx %rax, %rbp, %rsi; pdep %rbx, %rcx, %r8
	pext %rbx, %rcx, %rdi; bzhi %rax, %rbx, %r14
	snip crc32
	row 0, FEATURE_C1 + 20
	crc32b %bl, %eax; crc32w %cx, %edx; crc32l 4(%r15), %r8d; crc32q %r10, %r9

/* --- strings ---------------------------------------------------------------------- */

	.macro string suffix, size
	snip movs\suffix
	row
	cld; mov $9, %ecx; rep movs\suffix; std; movs\suffix; cld
	snip stos\suffix, lods\suffix
	row
	cld; mov $5, %ecx; rep stos\suffix; lods\suffix; std; stos\suffix; cld
	snip scas\suffix
	row
	cld; mov %rsi, %rdi; mov $20, %ecx; lods\suffix; repe scas\suffix
	mov $20, %ecx; repne scas\suffix; cld
	snip cmps\suffix
	row
	cld; mov $8, %ecx; rep movs\suffix; mov %r15, %rsi; lea 128(%r15), %rdi
	xorb $1, 128 + 5 * \size(%r15); mov $12, %ecx; repe cmps\suffix; cmps\suffix
	.endm
	string b, 1
	string w, 2
	string l, 4
	string q, 8
	snip movsb, overlapping
	row
	cld; lea 1(%rsi), %rdi; mov $60, %ecx; rep movsb
	snip rep with a count of 0
	row
	xor %ecx, %ecx; rep movsb; repe cmpsb; repne scasb
	snip movsb with 32-bit count
	row
	movabs $0x100000003, %rcx; mov %rcx, %r8; and $3, %r8d; mov %r8, %rcx; rep movsb

/* --- x87 ------------------------------------------------------------------------------ */

	.macro x87 name:vararg
	snip x87: \name
	row
	fninit
	.endm
	x87 constants
	fldz; fld1; fldpi; fldl2e; fldl2t; fldlg2; fldln2
	x87 loads and stores
	fildl (%r15); fildll 8(%r15); filds 16(%r15); fld1; fstps 32(%r15)
	fstl 40(%r15); fstpt 48(%r15); fistpll 64(%r15)
	x87 add, subtract
	fildl (%r15); fildll 8(%r15); fadd %st(1), %st; fld %st(1); fsub %st(2), %st
	fsubrp %st, %st(1); fadds 16(%r15)
	x87 multiply, divide
	fildl (%r15); fildll 8(%r15); fmul %st(1), %st; fldpi; fdivp %st, %st(1)
	fildl 4(%r15); fdivrp %st, %st(1)
	x87 square root, absolute, change sign
	fildl (%r15); fabs; fsqrt; fchs; fld1; fchs; fsqrt
	x87 comparisons
	fildl (%r15); fildl 4(%r15); fcom %st(1); fnstsw %ax; mov %ax, %bx; fucomi %st(1), %st
	setc %cl; setz %ch; fcompp; fnstsw %ax
	x87 fxam, ftst
	fildl (%r15); fxam; fnstsw %ax; mov %ax, %bx; ftst; fnstsw %ax; fldz; fxam
	fnstsw %ax
	x87 exchange and stack
	fldz; fld1; fldpi; fxch %st(2); fincstp; ffree %st(0); fdecstp
	x87 stack overflow and underflow
	fstp %st(0); fnstsw %ax; fnclex
	.rept 9
	fld1
	.endr
	fnstsw %ax; mov %ax, %bx
	fnstsw %ax
	x87 rounding
	movw $0x0f7f, 96(%r15); fldcw 96(%r15); fildl (%r15); fldpi; fdivrp %st, %st(1)
	frndint; movw $0x077f, 96(%r15); fldcw 96(%r15); fldpi; frndint; fistl 100(%r15)
	x87 precision control
	movw $0x007f, 96(%r15); fldcw 96(%r15); fldpi; fld1; fdivp %st, %st(1)
	fildl (%r15); fsqrt
	x87 scale, extract, remainder
	fildl (%r15); fld1; fscale; fildl 4(%r15); fld1; fadd %st, %st(1); fxtract
	fildl (%r15); fldpi; fprem; fldpi; fprem1
	x87 transcendentals
	fld1; fsin; fld1; fcos; fldpi; fptan; fpatan; fld1; f2xm1; fld1; fldpi; fyl2x
	x87 fcmov
	fld1; fldpi; cmp %rax, %rbx; fcmovb %st(1), %st; fcmovne %st(1), %st
	fcmovnu %st(1), %st
	x87 integer arithmetic
	fildl (%r15); fiaddl 4(%r15); fimuls 8(%r15); fisubl 12(%r15); ficoml 16(%r15)
	fnstsw %ax
	x87 decimal
	fildl (%r15); fbstp 64(%r15); fbld 64(%r15)
	x87 fisttp
	fldpi; fildl (%r15); fmulp %st, %st(1); fisttpll 32(%r15); fldpi; fisttpl 40(%r15)
	fldpi; fisttps 48(%r15)
	x87 special values
	movq $0, 32(%r15); movabs $0x7ff0000000000000, %rax; mov %rax, 40(%r15)
	fldl 40(%r15); fldl 32(%r15); fmulp %st, %st(1); fldl 40(%r15); fld1; fdivp %st, %st(1)
	xor %eax, %eax

/* --- MMX ---------------------------------------------------------------------------------- */

	.macro mmx op:vararg
	.irp o, \op
	snip mmx \o
	row
	emms; movq (%r15), %mm0; movq 8(%r15), %mm1; movq 16(%r15), %mm2
	\o %mm1, %mm0; \o 24(%r15), %mm2; movq %mm0, 32(%r15)
	.endr
	.endm
	mmx paddb, paddw, paddd, paddq, paddsb, paddusw, psubb, psubsw, psubusb
	mmx pmulhw, pmullw, pmaddwd, pcmpeqb, pcmpgtw, pcmpgtd, pand, pandn, por, pxor
	mmx packsswb, packssdw, packuswb, punpckhbw, punpcklwd, punpckldq
	mmx psllw, psrad, psrlq, pavgb, pmaxub, pminsw, pmulhuw, psadbw
	snip mmx moves
	row
	emms; movd %eax, %mm0; movq %rbx, %mm1; movd %mm1, %ecx; movq %mm0, %rdx
	pinsrw $2, %eax, %mm1; pextrw $1, %mm1, %r8d; pmovmskb %mm1, %r9d
	pshufw $0x1b, %mm1, %mm2; emms; xor %eax, %eax

/* --- SSE ------------------------------------------------------------------------------------ */

	.macro sse feature, op:vararg
	.irp o, \op
	snip \o
	row 0, \feature
	\o %xmm1, %xmm0; \o 32(%r15), %xmm2; \o %xmm10, %xmm9
	.endr
	.endm
	.macro sse_imm feature, imm, op:vararg
	.irp o, \op
	snip \o $\imm
	row 0, \feature
	\o $\imm, %xmm1, %xmm0; \o $\imm, 32(%r15), %xmm2; \o $(\imm ^ 0x55) & 0x3f, %xmm10, %xmm9
	.endr
	.endm
	sse 0, addps, subps, mulps, divps, minps, maxps, sqrtps, andps, andnps, orps, xorps
	sse 0, unpckhps, unpcklps, addpd, subpd, mulpd, divpd, minpd, maxpd, sqrtpd
	sse 0, cvtdq2ps, cvtps2dq, cvttps2dq, cvtpd2ps, cvtdq2pd, cvtpd2dq, cvtps2pd
	sse 0, paddb, paddw, paddd, paddq, paddusb, psubsw, psubq, pmullw, pmulhuw, pmuludq
	sse 0, pmaddwd, psadbw, pavgw, pmaxub, pminsw, pcmpeqd, pcmpgtb, pand, pandn, pxor
	sse 0, packsswb, packuswb, punpcklbw, punpckhqdq, punpckldq, psllw, psrlq, psrad
	sse_imm 0, 0x1b, pshufd, pshufhw, pshuflw, shufps, shufpd
	sse_imm 0, 0x02, cmpps, cmppd
	sse FEATURE_C1 + 0, haddps, hsubpd, addsubps, movshdup, movsldup
	sse FEATURE_C1 + 9, pshufb, phaddw, phsubd, pmaddubsw, pmulhrsw, psignb, pabsw, pabsd
	sse_imm FEATURE_C1 + 9, 5, palignr
	sse FEATURE_C1 + 19, pmulld, pmuldq, pminsb, pmaxud, pcmpeqq, packusdw, phminposuw
	sse_imm FEATURE_C1 + 19, 0x0a, blendps, pblendw, roundps, roundpd, dpps, mpsadbw, insertps
	sse FEATURE_C1 + 20, pcmpgtq
	sse FEATURE_C1 + 25, aesenc, aesdec, aesenclast, aesdeclast, aesimc
	sse_imm FEATURE_C1 + 25, 0x1b, aeskeygenassist
	sse_imm FEATURE_C1 + 1, 0x10, pclmulqdq
	snip scalar single
	row
	cvtsi2ss %eax, %xmm0; cvtsi2ssq %rbx, %xmm1; addss %xmm1, %xmm0; mulss (%r15), %xmm1
	sqrtss %xmm0, %xmm2; divss %xmm1, %xmm2; cvttss2si %xmm0, %ecx; cvtss2siq %xmm1, %rdx
	cvtss2sd %xmm0, %xmm3; movss %xmm0, %xmm4; movss 4(%r15), %xmm5
	snip scalar double
	row
	cvtsi2sd %eax, %xmm0; cvtsi2sdq %rbx, %xmm1; addsd %xmm1, %xmm0; mulsd (%r15), %xmm1
	sqrtsd %xmm0, %xmm2; divsd %xmm1, %xmm2; cvttsd2si %xmm0, %ecx; cvtsd2siq %xmm1, %rdx
	cvtsd2ss %xmm0, %xmm3; movsd %xmm0, %xmm4; movsd 8(%r15), %xmm5
	snip comiss, ucomisd
	row
	cvtsi2ss %eax, %xmm0; cvtsi2ss %ebx, %xmm1; comiss %xmm1, %xmm0; setc %cl; setz %ch
	cvtsi2sd %eax, %xmm2; ucomisd %xmm2, %xmm2; setp %dl; pcmpeqd %xmm3, %xmm3
	ucomisd %xmm3, %xmm2
	snip moves of 128 bits
	row
	movaps (%r15), %xmm0; movups 17(%r15), %xmm1; movdqa %xmm0, 64(%r15)
	movdqu %xmm1, 81(%r15); movhps 8(%r15), %xmm2; movlps %xmm2, 104(%r15)
	movhlps %xmm0, %xmm3; movlhps %xmm1, %xmm4; movq %xmm5, %xmm6; movntdq %xmm0, 112(%r15)
	snip moves to and from registers
	row
	movd %eax, %xmm0; movq %rbx, %xmm1; movd %xmm1, %ecx; movq %xmm2, %rdx
	movmskps %xmm3, %r8d; movmskpd %xmm4, %r9d; pmovmskb %xmm5, %r10d
	pinsrw $5, %r11d, %xmm6; pextrw $3, %xmm7, %r12d
	snip shifts by constants
	row
	psllw $3, %xmm0; psrad $31, %xmm1; psrlq $17, %xmm2; pslldq $5, %xmm3
	psrldq $15, %xmm4; psllq $64, %xmm5; psraw $16, %xmm6
	snip ldmxcsr: rounding and flushing
	row
	movl $0xff80, 96(%r15); ldmxcsr 96(%r15); addps %xmm1, %xmm0; cvtps2dq %xmm2, %xmm3
	stmxcsr 100(%r15); movl $0x1f80, 96(%r15); ldmxcsr 96(%r15)
	snip insert and extract (SSE4.1)
	row 0, FEATURE_C1 + 19
	pinsrb $3, %eax, %xmm0; pinsrd $1, 4(%r15), %xmm1; pinsrq $1, %rbx, %xmm2
	pextrb $7, %xmm3, %ecx; pextrd $2, %xmm4, 64(%r15); pextrq $0, %xmm5, %rdx
	extractps $1, %xmm6, %r8d
	snip pmovsx, pmovzx
	row 0, FEATURE_C1 + 19
	pmovsxbw %xmm1, %xmm0; pmovzxbd (%r15), %xmm2; pmovsxwq 8(%r15), %xmm3
	pmovzxdq %xmm5, %xmm4; pmovsxbq 3(%r15), %xmm6
	snip ptest
	row 0, FEATURE_C1 + 19
	ptest %xmm1, %xmm0; setc %al; setz %ah; pxor %xmm2, %xmm2; ptest %xmm2, %xmm3
	snip blends by XMM0
	row 0, FEATURE_C1 + 19
	pblendvb %xmm0, %xmm1, %xmm2; blendvps %xmm0, 32(%r15), %xmm3
	blendvpd %xmm0, %xmm4, %xmm5
	snip pcmpistri, pcmpistrm
	row 0, FEATURE_C1 + 20
	pcmpistri $0x0c, %xmm1, %xmm0; mov %ecx, %r8d; pcmpistri $0x1a, 32(%r15), %xmm2
	mov %ecx, %r9d; pcmpistrm $0x40, %xmm4, %xmm3; mov $7, %ecx
	snip pcmpestri, pcmpestrm
	row 0, FEATURE_C1 + 20
	mov $5, %eax; mov $9, %edx; pcmpestri $0x0c, %xmm1, %xmm0; mov %ecx, %r8d
	pcmpestrm $0x40, %xmm4, %xmm3; mov $7, %ecx
	snip sha
	row 0, FEATURE_B7 + 29
	sha1rnds4 $2, %xmm1, %xmm2; sha1nexte %xmm3, %xmm4; sha1msg1 %xmm5, %xmm6
	sha256rnds2 %xmm0, %xmm7, %xmm8; sha256msg1 %xmm9, %xmm10; sha256msg2 %xmm11, %xmm12
	snip fxsave, fxrstor
	row
	fninit; fldpi; and $0, %eax; fxsave64 512 - BLK_MEM - 512 + BLK_OUT_FX(%r15)
	pxor %xmm0, %xmm0; fldz; fxrstor64 512 - BLK_MEM - 512 + BLK_OUT_FX(%r15)

/* --- AVX ------------------------------------------------------------------------
 * The upper halves are not in the block: they begin as zero, what is in them at the
 * end is stored. */
	.macro avx name:vararg
	snip \name
	.endm
	.macro load
	vzeroupper
	vmovdqu (%r15), %ymm1
	vmovdqu 32(%r15), %ymm2
	vmovups 64(%r15), %ymm3
	.endm
	.macro store a, b, c
	vmovdqu \a, 128(%r15)
	vmovdqu \b, 160(%r15)
	vmovdqu \c, 192(%r15)
	vzeroupper
	.endm
	avx vaddps to vmaxpd of 256 bits
	row 0, FEATURE_C1 + 28
	load
	vaddps %ymm1, %ymm2, %ymm4; vsubpd (%r15), %ymm3, %ymm5; vmulps %ymm4, %ymm1, %ymm6
	vmaxpd %ymm2, %ymm5, %ymm7; vandnps %ymm1, %ymm3, %ymm8; vsqrtps %ymm7, %ymm9
	store %ymm6, %ymm7, %ymm8
	vmovups %xmm9, 224(%r15)
	avx scalars and 128 bits clear the upper half
	row 0, FEATURE_C1 + 28
	load
	vaddsd %xmm1, %xmm2, %xmm1; vpaddd %xmm2, %xmm3, %xmm2; vmovss (%r15), %xmm3
	store %ymm1, %ymm2, %ymm3
	avx lanes, masks, broadcasts
	row 0, FEATURE_C1 + 28
	load
	vperm2f128 $0x21, %ymm1, %ymm2, %ymm4; vinsertf128 $1, 8(%r15), %ymm3, %ymm5
	vextractf128 $1, %ymm2, %xmm6; vbroadcastsd 16(%r15), %ymm7; vpermilps $0x1b, %ymm1, %ymm8
	vmaskmovps (%r15), %ymm2, %ymm9; vmaskmovpd %ymm1, %ymm3, 256(%r15)
	vmovmskps %ymm1, %eax; vtestps %ymm1, %ymm2; setc %cl; setz %ch
	store %ymm4, %ymm5, %ymm7
	vmovdqu %xmm6, 224(%r15); vmovdqu %xmm8, 240(%r15); vmovdqu %xmm9, 288(%r15)
	avx vcmpps, vblendvps, vroundpd
	row 0, FEATURE_C1 + 28
	load
	vcmpps $0x1d, %ymm1, %ymm2, %ymm4; vblendvps %ymm3, %ymm1, %ymm2, %ymm5
	vroundpd $1, %ymm3, %ymm6; vshufps $0x4e, %ymm1, %ymm2, %ymm7
	store %ymm4, %ymm5, %ymm6
	vmovdqu %xmm7, 224(%r15)
	avx integers of 256 bits (AVX2)
	row 0, FEATURE_B7 + 5
	load
	vpaddb %ymm1, %ymm2, %ymm4; vpmulld %ymm3, %ymm4, %ymm5; vpshufb %ymm1, %ymm2, %ymm6
	vpsllvd %ymm3, %ymm1, %ymm7; vpermd %ymm1, %ymm3, %ymm8; vpmovmskb %ymm2, %ebx
	vpcmpeqb (%r15), %ymm6, %ymm9; vpblendd $0x5a, %ymm7, %ymm8, %ymm7
	store %ymm5, %ymm6, %ymm7
	vmovdqu %xmm9, 224(%r15)
	avx gathers (AVX2)
	row 0, FEATURE_B7 + 5
	vzeroupper
	vpcmpeqd %ymm4, %ymm4, %ymm4; vpcmpeqd %ymm5, %ymm5, %ymm5; vpsrld $26, %ymm5, %ymm6
	vpand (%r15), %ymm6, %ymm6; vpxor %xmm7, %xmm7, %xmm7
	vpgatherdd %ymm4, (%r15, %ymm6, 4), %ymm7
	vpgatherdq %ymm5, (%r15, %xmm6, 2), %ymm8
	store %ymm7, %ymm8, %ymm4
	avx fma
	row 0, FEATURE_C1 + 12
	load
	vfmadd231ps %ymm1, %ymm2, %ymm3; vfnmsub132pd (%r15), %ymm3, %ymm1
	vfmaddsub213ps %ymm1, %ymm3, %ymm2; vfmadd231sd %xmm1, %xmm2, %xmm3
	store %ymm1, %ymm2, %ymm3
	avx f16c
	row 0, FEATURE_C1 + 29
	load
	vcvtps2ph $0, %ymm1, %xmm4; vcvtph2ps %xmm2, %ymm5; vcvtps2ph $3, %ymm3, 256(%r15)
	store %ymm4, %ymm5, %ymm3
	avx xsave and xrstor of the upper halves
	row 0, FEATURE_C1 + 28
	load
	lea -4096(%rsp), %rsp; mov %rsp, %r14; and $-64, %r14
	mov $7, %eax; xor %edx, %edx
	movq $0, 512(%r14); movq $0, 520(%r14); movq $0, 528(%r14)
	movq $0, 536(%r14); movq $0, 544(%r14); movq $0, 552(%r14)
	movq $0, 560(%r14); movq $0, 568(%r14)
	xsave64 (%r14); vpxor %xmm1, %xmm1, %xmm1; vpxor %xmm2, %xmm2, %xmm2
	mov 512(%r14), %rbx; and $6, %ebx; xrstor64 (%r14); lea 4096(%rsp), %rsp
	mov $0, %r14d
	store %ymm1, %ymm2, %ymm3

	ret
	.section .note.GNU-stack, "", @progbits
