/* SPDX-License-Identifier: MIT */
/*
 * Included by the compiler's command line (-include) in every file of the
 * libraries that may run while the guest's FPU state sits in the host's vector
 * registers (isa, emul, paging, hw). Those files are built with
 * -mgeneral-regs-only, but a compiler may still turn a structure copy into a
 * call of memcpy, and the C library's memcpy uses vector registers. The
 * assembler aliases below send such calls to versions that do not.
 */
#ifndef ANYKVM_BASE_NOVEC_H
#define ANYKVM_BASE_NOVEC_H
#if !defined(__SANITIZE_ADDRESS__) && !defined(ANYKVM_SANITIZE)
__asm__(".set memcpy, nv_memcpy\n"
	".set memmove, nv_memmove\n"
	".set memset, nv_memset\n"
	".set memcmp, nv_memcmp\n");
#endif
#endif
