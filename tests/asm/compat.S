/* SPDX-License-Identifier: MIT */
/*
 * Snippets of compatibility mode, in 32-bit and 16-bit code segments, and the way there:
 * what 64-bit mode does not have, and what has another form in it.
 *
 * asm_run calls asm_compat as the snippet, which goes to the stack and the data segments
 * that the block names, into the snippet by a far call, and back by its far return. A
 * snippet of 32 bits has ESI and EDI at the block's memory and 128 bytes on; one of 16
 * bits has SI and DI at 0 and 128 of a data segment that begins there. The stack segment
 * is flat, of 32 bits.
 */
#include "block.h"
#include "snip.h"

#define BLOCK(field)	(__start_asm_text + AT_BLOCK + (field))(%rip)

	.section asm_text, "ax"
	.balign 64
	.globl asm_compat
asm_compat:
	mov %rsp, BLOCK(BLK_SAVED)
	mov BLOCK(BLK_STACK), %rsp
	mov BLOCK(BLK_DATA), %ds
	mov BLOCK(BLK_DATA), %es
	lcall *BLOCK(BLK_FAR)
	mov BLOCK(BLK_SAVED), %rsp
	cld

	.macro snip32 undefined, name:vararg
	.code32
	lret
	.balign 16
	SNIP_BEGIN \name (32-bit)
	SNIP_ROW 32, \undefined, 0
	.endm
	.macro snip16 undefined, name:vararg
	.code16
	lretl
	.balign 16
	SNIP_BEGIN \name (16-bit)
	SNIP_ROW 16, \undefined, 0
	.endm

	ret

/* --- what 64-bit mode has not ------------------------------------------------------ */


	snip32 0, inc and dec of one byte
	inc %eax; pushf; dec %ebx; inc %cx; pushf; dec %ebp; inc %edi; dec %edi
	pop %edx; pop (%esi)
	andl $ARITH, %edx; andl $ARITH, (%esi)
	snip32 0, pusha and popa
	pusha; mov (%esp), %eax; add 16(%esp), %eax; incl 28(%esp); mov %eax, (%esi)
	popa; pushaw; popw %ax; popw %bx; popw %cx; add $2, %esp; popw %dx; add $6, %esp
	snip32 (OF | SF | ZF | PF), aaa
	aaa; mov %eax, (%esi)
	snip32 (OF | SF | ZF | PF), aas
	aas; mov %eax, (%esi)
	snip32 OF, daa
	daa; mov %eax, (%esi)
	snip32 OF, das
	das; mov %eax, (%esi)
	snip32 (OF | AF | CF), aam and aad
	aam; mov %eax, (%esi); aad; mov %eax, 4(%esi); aam $7; aad $13
	snip32 0, salc
	.byte 0xd6; mov %al, (%esi)
	snip32 0, arpl
	mov $0x2b, %eax; mov $0x28, %ecx; arpl %ax, %cx; pushf; mov %cx, (%esi)
	arpl %cx, %ax; pushf; movw $0x30, 4(%esi); arpl %ax, 4(%esi)
	pop %edx; pop %ecx; andl $ZF, %edx; andl $ZF, %ecx
	snip32 0, bound that holds
	and $0x7fff, %eax; movl $0, (%esi); movl $0x8000, 4(%esi); bound %eax, (%esi)
	movw $0, 8(%esi); movw $0x7fff, 10(%esi); bound %ax, 8(%esi)
	snip32 0, push and pop of segment registers
	push %ds; pop %eax; push %es; pop %ebx; push %ss; popw %cx; add $2, %esp
	push %cs; pop %edx; push %ds; pop %es; mov %ax, (%esi)
	and $0xffff, %eax; and $0xffff, %ebx; and $0xffff, %edx
	snip32 0, lds and les
	mov %ds, %eax; movl %ebx, (%esi); movw %ax, 4(%esi)
	les (%esi), %ecx; lds (%esi), %edx; movw %bx, 8(%esi); movw %ax, 10(%esi)
	.byte 0x66; les 8(%esi), %eax
	snip32 0, near calls and returns
	push %eax; call 1f; jmp 2f
1:	add $3, %eax; ret
2:	push $7; call 3f; jmp 4f
3:	mov 4(%esp), %ecx; ret $4
4:	pop %ebx
	snip32 0, far calls and returns
	mov %cs, %eax; lea (%esi), %ebx; call 1f
1:	pop %ecx; lea 2f-1b(%ecx), %ecx; mov %ecx, (%ebx); mov %ax, 4(%ebx)
	mov %esp, %edx; lcall *(%ebx); sub %esp, %edx; jmp 3f
2:	mov 4(%esp), %edi; and $0xffff, %edi; lret
3:	movl $0, (%ebx); xor %ecx, %ecx

/* --- other forms --------------------------------------------------------------------- */

	snip32 0, addresses of 16 and 32 bits
	lea (%bx, %si), %eax; lea 0x1234(%bp, %di), %ebx; lea -5(%bp), %ecx
	lea 0x12345678(, %eax, 8), %edx; lea -128(%ebp, %ecx, 4), %ebp
	snip32 0, enter and leave
	enter $32, $0; mov %eax, -4(%ebp); leave
	mov %esp, %ebp; push $5; push $6; enter $8, $2; mov -4(%ebp), %ecx
	mov -8(%ebp), %edx; sub %ebp, %edx; leave; add $8, %esp
	snip32 0, jecxz jcxz and loops
	mov $5, %ecx; xor %eax, %eax
1:	inc %eax; loop 1b
	jecxz 2f; mov $77, %eax
2:	mov $0x10000, %ecx; jcxz 3f; mov $78, %eax
3:	mov $0x10003, %ecx
4:	inc %eax; addr16 loop 4b
	snip32 0, xlat and lahf
	mov %esi, %ebx; xlat; mov %al, 3(%esi); lahf; mov %ah, 4(%esi); sahf
	and $0xff, %eax
	snip32 0, strings forwards
	mov $9, %ecx; rep movsb; mov $3, %ecx; rep movsl; mov $4, %ecx; rep stosw
	mov $5, %ecx; rep lodsb; mov $20, %ecx; repne scasb
	snip32 0, strings backwards
	std; add $64, %esi; add $64, %edi; mov $7, %ecx; rep movsl; mov $3, %ecx; rep stosb
	mov $9, %ecx; repe cmpsb; cld
	snip32 0, add with carry and shifts of memory
	add %eax, (%esi); adc %ebx, 4(%esi); sbb $3, %edx; shll $5, 8(%esi)
	rcrl $1, 12(%esi); sarb $3, 16(%esi); shld $7, %eax, %edx; neg %ebx
	rol $1, %ebp; add %edi, %ebp
	snip32 (SF | ZF | AF | PF), multiplication and division
	mul %ebx; mov %eax, (%esi); mov %edx, 4(%esi); imul $-7, %ecx, %ebp
	xor %edx, %edx; or $1, %ebx; div %ebx; mov %eax, 8(%esi); mov %edx, 12(%esi)
	imul %ecx, %eax
	snip32 0, cmpxchg8b and bswap
	bswap %eax; lock cmpxchg8b (%esi); setz 8(%esi); xadd %ebx, 12(%esi)
	lock xadd %cl, 16(%esi); bswap %ebx
	snip32 (OF | SF | AF | PF | ZF), bits
	bts %eax, %ebx; and $1023, %ecx; btc %ecx, (%esi); setc 130(%esi); btl $31, 4(%esi)
	snip32 0, x87
	fildl (%esi); fadds 4(%esi); fld %st(0); fsqrt; fstps 8(%esi); fistpl 12(%esi)
	fnstcw 16(%esi); fnstsw %ax; and $0x7f00, %eax
	snip32 0, sse registers 0 to 7
	movups (%esi), %xmm0; paddd %xmm1, %xmm0; pshufd $0x1b, %xmm2, %xmm7
	cvtsi2sd %eax, %xmm3; movd %xmm7, %ebx; pmovmskb %xmm5, %ecx; movups %xmm0, 16(%esi)
	snip32 0, fxsave and fxrstor
	lea -1024(%esp), %ebp; and $-16, %ebp; fxsave (%ebp); pxor %xmm0, %xmm0
	pxor %xmm7, %xmm7; fxrstor (%ebp); mov 28(%ebp), %eax; mov 160(%ebp), %ecx
	xor %ebp, %ebp
	lret

/* --- 16 bits --------------------------------------------------------------------------- */

	snip16 0, inc and dec of one byte
	inc %ax; pushf; dec %ebx; inc %cx; pop %dx; and $ARITH, %dx
	snip16 0, addresses
	xor %bx, %bx; mov $16, %bp; mov (%bx, %si), %ax; mov 2(%bx, %di), %cx
	mov %ds:8(%bp, %si), %dx; add %ax, -4(%di); lea 0x7fff(%bp, %di), %bp
	mov 4(%edi), %eax
	snip16 0, moffs
	mov 16, %ax; mov %al, 34; .byte 0x67, 0x66, 0xa1; .long 40; mov %ax, 44
	snip16 0, wrap of addresses
	mov $0xfff0, %bx; mov 0x20(%bx), %eax; mov 0x30(%bx, %si), %cx; mov $0xffff, %si
	mov 5(%si), %dl
	snip16 0, pusha and popa
	pushal; mov %sp, %ax; popal; pusha; pop %di; pop %si; pop %bp; add $2, %sp; pop %bx
	pop %dx; pop %cx; pop %ax; xor %si, %si; mov $128, %di
	snip16 0, pushes of both sizes
	push %ax; pushl %ebx; push $-3; pushl $0x12345678; popl %ecx; pop %dx; popl %ebp
	pop %bx
	snip16 0, near calls and loops
	mov $6, %cx; xor %ax, %ax
1:	inc %ax; call 2f; loop 1b
	jcxz 3f; mov $9, %ax
2:	add $2, %ax; ret
3:	mov $0x10004, %ecx
4:	inc %ax; .byte 0x67; loop 5f
5:	nop
	snip16 0, strings
	mov $0xffff000a, %ecx; rep movsb; mov $3, %cx; rep movsl; mov $4, %cx; rep stosw
	mov $20, %cx; repne scasb; movzx %si, %esi; movzx %di, %edi
	snip16 (OF | SF | ZF | PF), aaa
	aaa; mov %ax, (%si)
	snip16 (OF | AF | CF), aam and aad
	aam; mov %ax, (%si); aad; mov %ax, 4(%si)
	snip16 (SF | ZF | AF | PF), multiplication and division
	mul %bx; mov %ax, (%si); mov %dx, 2(%si); imull %ecx; mov %eax, 4(%si)
	xor %dx, %dx; or $1, %bx; div %bx; mov %dx, 8(%si); imul $5, %cx, %ax
	snip16 0, arithmetic of 16 and 32 bits
	add %ax, (%si); adcl %ebx, 4(%si); sbb $3, %dx; rolw $5, 8(%si); sarl $9, 12(%si)
	neg %cx; xor %edi, %ebp
	snip16 0, lds
	mov %ds, %ax; movw %bx, (%si); movw %ax, 2(%si); lds (%si), %dx; movl %ecx, 8(%si)
	movw %ax, 12(%si); lesl 8(%si), %ebp
	snip16 0, x87 and sse
	fildl (%si); fstps 8(%si); movups (%si), %xmm0; paddb %xmm1, %xmm0; movups %xmm0, 16(%di)

	.code16
	lretl
	.code64
	.section .note.GNU-stack, "", @progbits
