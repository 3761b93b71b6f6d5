/* SPDX-License-Identifier: MIT */
/*
 * The guests of the API tests: a few instructions each, copied to CODE (0x1000) of
 * a vCPU in real mode with flat segments, SP = 0x8000; guest_NAME and guest_NAME_end
 * for C. Addresses are written out: code runs where it is copied to.
 *
 * Ports: 0xe9 and what the test says. RAM is 0..0x1fffff; MMIO is what has no slot.
 */
	.section .rodata

.macro GUEST name
	.balign 16
	.globl guest_\name
guest_\name:
	.code16
.endm
.macro END name
	.globl guest_\name\()_end
guest_\name\()_end:
.endm

/* Counts in 0x2000 for ever. */
GUEST count
1:	addl $1, 0x2000
	jmp 1b
END count

/* Counts in 0x2000, halts at every turn. */
GUEST halt
1:	addl $1, 0x2000
	hlt
	jmp 1b
END halt

GUEST sti_halt
	sti
1:	addl $1, 0x2000
	hlt
	jmp 1b
END sti_halt

GUEST spin
1:	jmp 1b
END spin

/* 1 / 0 with the zero divide unmasked: #XM's handler writes 19 to port 0xe9. */
GUEST simd_fault
	movl $2f - guest_simd_fault + 0x1000, 19 * 4
	mov %cr4, %eax
	or $0x600, %eax			/* OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	movl $0x1d80, 0x2000
	ldmxcsr 0x2000
	movl $0x3f800000, 0x2000
	movss 0x2000, %xmm0
	xorps %xmm1, %xmm1
	divss %xmm1, %xmm0
	hlt
2:	mov $19, %al
	out %al, $0xe9
	hlt
END simd_fault

/* One each of OUT and IN, byte, word and dword. */
GUEST ports
	mov $0x12345678, %eax
	mov $0x3f8, %dx
	out %al, %dx
	out %ax, %dx
	out %eax, %dx
	out %al, $0xe9
	in $0x60, %al
	movb %al, 0x2000
	in %dx, %ax
	movw %ax, 0x2002
	in %dx, %eax
	movl %eax, 0x2004
	hlt
END ports

/* test_hostile.c: counts, in and out, memory that comes and goes, the APIC, CPUID. */
GUEST hostile
	addl $1, 0x2000
	out %al, $0x80
	in $0x40, %al
	mov $0x100000, %ebx
	incl (%ebx)
	addl $1, 0x5000(%ebx)
	mov %eax, 0x400000(%ebx)
	mov $0xfee00080, %ebx
	mov (%ebx), %eax
	cpuid
	jmp guest_hostile
END hostile

/* REP OUTSB of 6 bytes from 0x2000, then REP INSW of 3 words to 0x2100. */
GUEST string_ports
	cld
	mov $0x3f8, %dx
	mov $0x2000, %si
	mov $6, %cx
	rep outsb
	mov $0x2100, %di
	mov $3, %cx
	rep insw
	hlt
END string_ports

/* REP INSB of 16 bytes that cross from page 2 to page 3, and back out again. */
GUEST string_cross
	cld
	mov $0x3f8, %dx
	mov $0x2ff8, %di
	mov $16, %cx
	rep insb
	mov $0x2ff9, %si
	mov $7, %cx
	rep outsw
	hlt
END string_cross

/* Memory at DS:0, whatever DS is: read 4 bytes, write them at 8, a word, a byte. */
GUEST mmio
	movl 0, %eax
	movl %eax, 8
	movw %ax, 16
	movb $0x5a, 24
	incb 32
	hlt
END mmio

/* A dword across the end of the page at DS:0xffe, read and write. */
GUEST mmio_cross
	movl 0xffe, %eax
	movl %eax, 0x1ffe
	hlt
END mmio_cross

/* 8 bytes in one access, by MOVQ with MMX. */
GUEST mmio_quad
	movq 0, %mm0
	movq %mm0, 8
	emms
	hlt
END mmio_quad

/* Stores to DS:0 and to port 0x510 for ever, counts in 0x2000 of FS. */
GUEST doorbell
1:	movl $0x55, 0
	mov $0x66, %al
	mov $0x510, %dx
	out %al, %dx
	out %ax, %dx
	hlt
	jmp 1b
END doorbell

/* Writes one dword per page of 0x40000..0x47fff, then halts. */
GUEST dirty
	mov $0x4000, %ax
	mov %ax, %es
	xor %di, %di
	mov $8, %cx
1:	addl $1, %es:(%di)
	add $0x1000, %di
	loop 1b
	hlt
	jmp 1b
END dirty

/* Reads the dword at DS:0 into 0x2000 of FS, again and again. */
GUEST read_loop
1:	movl 0, %eax
	movl %eax, %fs:0x2000
	addl $1, %fs:0x2004
	jmp 1b
END read_loop

/* An IDT of limit 0 and an exception: triple fault. */
GUEST triple
	lidtw %cs:0x1100
	ud2
END triple

/* Interrupts: vectors 0x20 and NMI count in 0x2010 and 0x2020; main counts. */
GUEST irq
	movw $0x1100, 0x80	/* vector 0x20 */
	movw $0, 0x82
	movw $0x1120, 8		/* NMI */
	movw $0, 10
	sti
1:	addl $1, 0x2000
	jmp 1b
	.org guest_irq + 0x100
	addl $1, 0x2010
	iret
	.org guest_irq + 0x120
	addl $1, 0x2020
	iret
END irq

/* As above, but interrupts stay off until the test clears the flag at 0x2030. */
GUEST irq_late
	movw $0x1100, 0x80
	movw $0, 0x82
	cli
1:	addl $1, 0x2000
	cmpl $0, 0x2030
	je 1b
	sti
2:	addl $1, 0x2004
	jmp 2b
	.org guest_irq_late + 0x100
	addl $1, 0x2010
	iret
END irq_late

/* 8259 set to vectors 0x20 (master) and 0x28, all open; handler with EOI. */
GUEST pic
	movw $0x1100, 0x80	/* IRQ 0 */
	movw $0, 0x82
	movw $0x1120, 0x94	/* IRQ 5 */
	movw $0, 0x96
	mov $0x11, %al
	out %al, $0x20
	mov $0x20, %al
	out %al, $0x21
	mov $4, %al
	out %al, $0x21
	mov $1, %al
	out %al, $0x21
	mov $0, %al
	out %al, $0x21
	sti
1:	addl $1, 0x2000
	hlt
	jmp 1b
	.org guest_pic + 0x100
	addl $1, 0x2010
	push %ax
	mov $0x20, %al
	out %al, $0x20
	pop %ax
	iret
	.org guest_pic + 0x120
	addl $1, 0x2020
	push %ax
	mov $0x65, %al
	out %al, $0x20
	pop %ax
	iret
END pic

/* An MSI with vector 0x20: handler counts and writes the APIC's EOI, whose page is
 * mapped to DS by protected-mode-less means: the test gives the base in MSR form. */
GUEST x2apic
	movw $0x1100, 0x80
	movw $0, 0x82
	mov $0x1b, %ecx		/* IA32_APIC_BASE: x2APIC on */
	rdmsr
	or $0xc00, %eax
	wrmsr
	mov $0x80f, %ecx	/* SVR: on, spurious 0xff */
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	sti
1:	addl $1, 0x2000
	hlt
	jmp 1b
	.org guest_x2apic + 0x100
	addl $1, 0x2010
	mov $0x80b, %ecx
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	iret
END x2apic

/* TSC deadline 1 ms from now, vector 0x20; x2APIC as above. */
GUEST deadline
	movw $0x1100, 0x80
	movw $0, 0x82
	mov $0x1b, %ecx
	rdmsr
	or $0xc00, %eax
	wrmsr
	mov $0x80f, %ecx
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	mov $0x832, %ecx	/* LVT timer: TSC deadline, vector 0x20 */
	mov $0x40020, %eax
	wrmsr
	rdtsc
	add $1000000, %eax
	adc $0, %edx
	mov $0x6e0, %ecx
	wrmsr
	sti
1:	hlt
	jmp 1b
	.org guest_deadline + 0x100
	mov $0x5a, %al
	out %al, $0xe9
	iret
END deadline

/* x2APIC as above, without an 8259; INIT and SIPI with vector 4 to APIC id 1. */
GUEST startup
	mov $0x1b, %ecx
	rdmsr
	or $0xc00, %eax
	wrmsr
	mov $0x80f, %ecx
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	mov $1, %edx
	mov $0x830, %ecx	/* ICR */
	mov $0x4500, %eax
	wrmsr
	mov $0x4604, %eax
	wrmsr
1:	cmpl $0, 0x2000
	je 1b
	out %al, $0xe9
	hlt
END startup

/* Where that SIPI leads: CS = 0x400, IP = 0. */
GUEST started
	movw %cs, %ax
	movw %ax, 0x2004
	addl $1, 0x2000
1:	hlt
	jmp 1b
END started

/* CPUID leaf in 0x2000, result to 0x2010. */
GUEST cpuid
	movl 0x2000, %eax
	xor %ecx, %ecx
	cpuid
	movl %eax, 0x2010
	movl %ebx, 0x2014
	movl %ecx, 0x2018
	movl %edx, 0x201c
	hlt
END cpuid

/* WRMSR of 0x2008:0x2004 to the MSR in 0x2000, RDMSR to 0x2010. */
GUEST msr
	movl 0x2000, %ecx
	movl 0x2004, %eax
	movl 0x2008, %edx
	wrmsr
	xor %eax, %eax
	xor %edx, %edx
	rdmsr
	movl %eax, 0x2010
	movl %edx, 0x2014
	hlt
END msr

/* Adds the FPU's st(0) to itself and XMM0 to itself; debug registers to memory. */
GUEST fpu
	fadd %st(0), %st(0)
	paddd %xmm0, %xmm0
	hlt
END fpu

GUEST debugregs
	mov %db0, %eax
	movl %eax, 0x2000
	mov %db3, %eax
	movl %eax, 0x2004
	hlt
END debugregs

/* One step over an OUT: DR6 to 0x2000, the address after it to 0x2004. */
GUEST single_step
	movw $0x1100, 4
	movw $0, 6
	pushf
	pop %ax
	or $0x100, %ax
	push %ax
	popf
	out %al, $0xe9
	hlt
	.org guest_single_step + 0x100
	mov %db6, %eax
	movl %eax, 0x2000
	mov %sp, %bp
	movw (%bp), %ax
	movw %ax, 0x2004
	andw $0xfeff, 4(%bp)
	iret
END single_step

/* kvmclock: MSR 0x4b564d01 = 0x3001; halts after each look. */
GUEST kvmclock
	mov $0x4b564d01, %ecx
	mov $0x3001, %eax
	xor %edx, %edx
	wrmsr
1:	hlt
	rdtsc
	movl %eax, 0x2000
	movl %edx, 0x2004
	jmp 1b
END kvmclock

/* The instruction after OUT must not run before its exit is completed. */
GUEST out_inc
1:	out %al, $0xe9
	addl $1, 0x2000
	jmp 1b
END out_inc

/* 64-bit: RAX + RBX to RCX, then a store to the address in RDI. */
	.balign 16
	.globl guest_long
guest_long:
	.code64
	lea (%rax, %rbx), %rcx
	mov %rcx, (%rdi)
	hlt
END long


/* 64-bit mode. Exits in place: CPUID of RSI's leaf R10 times, then port 0xe9. */
GUEST cpuids
	.code64
	mov %r10, %rbp
1:	mov %esi, %eax
	xor %ecx, %ecx
	cpuid
	dec %rbp
	jnz 1b
	out %al, $0xe9
	jmp guest_cpuids
END cpuids

/* The same, for ever. */
GUEST cpuid_loop
	.code64
1:	mov $1, %eax
	cpuid
	addl $1, 0x2000
	jmp 1b
END cpuid_loop

/* State in XMM0, then RDMSR of EFER to R12, WRMSR of RBX to PAT; after port 0xe9 PAT in
 * R13:RBP and XMM0 in R14. */
GUEST in_place_state
	.code64
	movq %r8, %xmm0
	mov $1, %eax
	cpuid
	mov $0xc0000080, %ecx
	rdmsr
	mov %eax, %r12d
	mov $0x277, %ecx
	mov %r9d, %eax
	mov %r9, %rdx
	shr $32, %rdx
	wrmsr
	out %al, $0xe9
	mov $0x277, %ecx
	rdmsr
	mov %edx, %r13d
	mov %eax, %ebp
	movq %xmm0, %r14
	out %al, $0xe9
END in_place_state

/* R10 valid writes to PAT, then one that is not. */
GUEST bad_pat
	.code64
	mov $0x277, %ecx
	xor %edx, %edx
1:	mov %r10d, %eax
	and $1, %eax
	wrmsr
	dec %r10
	jnz 1b
	mov $2, %eax
	wrmsr
	hlt
END bad_pat

/* The APIC at RDI: vector 0x41 to itself, R10 times TPR = R8; what IRR and TPR read. */
GUEST apic
	.code64
1:	mov %r8d, 0x80(%rdi)
	movl $0x40041, 0x300(%rdi)
	mov 0x220(%rdi), %ebx
	mov 0x80(%rdi), %edx
	dec %r10
	jnz 1b
	out %al, $0xe9
	jmp guest_apic
END apic

/* R10 interrupts with vector 0x41 to itself, through the APIC at RDI; the handler, at 1f,
 * counts in RBX. IDT and GDT are the test's. */
GUEST apic_irq
	.code64
	jmp 2f
1:	inc %rbx
	movl $0, 0xb0(%rdi)
	iretq
2:	sti
3:	mov %rbx, %r8
	movl $0x40041, 0x300(%rdi)
4:	cmp %rbx, %r8
	je 4b
	dec %r10
	jnz 3b
	cli
	out %al, $0xe9
	jmp 2b
END apic_irq

	.section .note.GNU-stack, "", @progbits
