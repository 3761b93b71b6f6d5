/* SPDX-License-Identifier: MIT */
/*
 * Forms that many rows of VEX- and EVEX-encoded SIMD have; private to isa/. They
 * expand to ROWE() of rows.h.
 *
 * Operands are in the order of the manuals, sizes those of the memory form: Wx is as
 * long as the vector, Wh half of it, Wx4 and Wx8 a quarter and an eighth; Wd and Wq
 * are scalars, in an XMM register when it is one.
 */
#ifndef ANYKVM_ISA_AVX_ROWS_H
#define ANYKVM_ISA_AVX_ROWS_H

#include "isa/rows.h"

/* --- VEX ------------------------------------------------------------------- */

#define VX(opc, when, mn, ops, feat)					\
	ROWE(opc, when, mn, VSIMD, ops, I_VEX, feat, NONE, 0, 0, 0)
/* Memory aligned. */
#define VXA(opc, when, mn, ops, feat)					\
	ROWE(opc, when, mn, VSIMD, ops, I_VEX | I_ALIGN, feat, NONE, 0, 0, 0)
/* Memory may be anywhere, whatever EFLAGS.AC says. */
#define VXU(opc, when, mn, ops, feat)					\
	ROWE(opc, when, mn, VSIMD, ops, I_VEX | I_NOAC, feat, NONE, 0, 0, 0)
/* The result is in the flags. */
#define VXF(opc, when, mn, ops, feat)					\
	ROWE(opc, when, mn, VSIMD, ops, I_VEX, feat, NONE, 0, F_STAT, 0)
/* 128 bits with AVX, 256 with AVX2. */
#define V2(opc, when, mn, ops)						\
	ROWE(opc, when, mn, VSIMD, ops, I_VEX | I_YMM, AVX, NONE, 0, 0, 0)
/* Integer operation of two sources. */
#define VI(opc, mn) V2(opc, P66, mn, (Vx_w, Hx, Wx))

/* PS and PD; PS, PD, SS and SD. */
#define VPSD(opc, mn)							\
VX(opc, NP,  mn "ps", (Vx_w, Hx, Wx), AVX)				\
VX(opc, P66, mn "pd", (Vx_w, Hx, Wx), AVX)
#define VPSSD(opc, mn)							\
VPSD(opc, mn)								\
VX(opc, PF3, mn "ss", (Vdq_w, Hdq, Wd), AVX)				\
VX(opc, PF2, mn "sd", (Vdq_w, Hdq, Wq), AVX)
#define VPSDI(opc, mn)							\
VX(opc, NP,  mn "ps", (Vx_w, Hx, Wx, Ib), AVX)				\
VX(opc, P66, mn "pd", (Vx_w, Hx, Wx, Ib), AVX)

/* --- EVEX ------------------------------------------------------------------- */

#define EX(opc, when, mn, ops, feat, ev)				\
	ROWE(opc, when, mn, VSIMD, ops, I_EVEX, feat, NONE, 0, 0, ev)
#define EXA(opc, when, mn, ops, feat, ev)				\
	ROWE(opc, when, mn, VSIMD, ops, I_EVEX | I_ALIGN, feat, NONE, 0, 0, ev)
#define EXU(opc, when, mn, ops, feat, ev)				\
	ROWE(opc, when, mn, VSIMD, ops, I_EVEX | I_NOAC, feat, NONE, 0, 0, ev)
#define EXF(opc, when, mn, ops, feat, ev)				\
	ROWE(opc, when, mn, VSIMD, ops, I_EVEX, feat, NONE, 0, F_STAT, ev)

/* What EVEX may say: the manuals' tuple types, with masking and zeroing. */
#define EV_KZ	(EV_K | EV_Z)
#define F16	(EV_E16 | EV_BC | EV_KZ)	/* Full, of 16-bit elements */
#define F32	(EV_E32 | EV_BC | EV_KZ)
#define F64	(EV_E64 | EV_BC | EV_KZ)
#define FM8	(EV_E8 | EV_KZ)			/* Full Mem: no broadcast */
#define FM16	(EV_E16 | EV_KZ)
#define FM32	(EV_E32 | EV_KZ)
#define FM64	(EV_E64 | EV_KZ)
#define S16	(EV_E16 | EV_KZ | EV_S)		/* Tuple1 Scalar */
#define S32	(EV_E32 | EV_KZ | EV_S)
#define S64	(EV_E64 | EV_KZ | EV_S)
#define K16	(EV_E16 | EV_BC | EV_K)		/* Full, result in an opmask */
#define K32	(EV_E32 | EV_BC | EV_K)
#define K64	(EV_E64 | EV_BC | EV_K)

/* Packed floating point of @ops; @ev: rounding, SAE or 0. */
#define EPSD(opc, mn, ops, feat, ev)					\
EX(opc, NP|W0,  mn "ps", ops, feat, F32 | (ev))				\
EX(opc, P66|W1, mn "pd", ops, feat, F64 | (ev))
/* ... and scalar. */
#define EPSSD(opc, mn, ops, ev)						\
EPSD(opc, mn, ops, AVX512F, ev)						\
EX(opc, PF3|W0, mn "ss", (Vdq_w, Hdq, Wd), AVX512F, S32 | (ev))		\
EX(opc, PF2|W1, mn "sd", (Vdq_w, Hdq, Wq), AVX512F, S64 | (ev))
/* All with prefix 66, W telling the element. */
#define EFP(opc, mn, ops, feat, ev)					\
EX(opc, P66|W0, mn "ps", ops, feat, F32 | (ev))				\
EX(opc, P66|W1, mn "pd", ops, feat, F64 | (ev))
#define EFS(opc, mn, feat, ev)						\
EX(opc, P66|W0, mn "ss", (Vdq_w, Hdq, Wd), feat, S32 | (ev))		\
EX(opc, P66|W1, mn "sd", (Vdq_w, Hdq, Wq), feat, S64 | (ev))
/* Integers: D and Q by W; of bytes and of words; of one size. */
#define EDQ(opc, mn, ops, feat, ev)					\
EX(opc, P66|W0, mn "d", ops, feat, F32 | (ev))				\
EX(opc, P66|W1, mn "q", ops, feat, F64 | (ev))
#define EB(opc, mn)  EX(opc, P66,    mn, (Vx_w, Hx, Wx), AVX512BW, FM8)
#define EW(opc, mn)  EX(opc, P66,    mn, (Vx_w, Hx, Wx), AVX512BW, FM16)
#define ED(opc, mn)  EX(opc, P66|W0, mn, (Vx_w, Hx, Wx), AVX512F, F32)
#define EQ(opc, mn)  EX(opc, P66|W1, mn, (Vx_w, Hx, Wx), AVX512F, F64)

/* Half precision: packed and scalar. */
#define EPH(opc, when, mn, ops, ev) EX(opc, when, mn, ops, AVX512_FP16, ev)

#endif
