// SPDX-License-Identifier: MIT
/*
 * x87, MMX, SSE, AVX and XSAVE instructions under every setting of the control bits that
 * concern them; #MF and who waits for it; faults of FXSAVE, FXRSTOR and the XSAVE family;
 * what components they write and read. SDM Vol. 3A, "Processor Control Related to SSE and
 * x87", "Device Not Available", "Interrupt 16-x87 FPU Floating-Point Error"; SDM Vol. 1,
 * "Managing State Using the XSAVE Feature Set"; SDM Vol. 2 under the instructions.
 */
#include "lib/checks.h"

static uint8_t area[4096] asm("area") __attribute__((used, aligned(64)));
static uint8_t vec[64] asm("vec") __attribute__((used, aligned(64)));
static struct state s;
static ulong cr0, cr4;
static bool have_avx;	/* and XSAVE */

static void xsetbv(uint32_t v)
{
	asm volatile("xsetbv" : : "a"(v), "d"(0), "c"(0));
}

static char *append(char *p, const char *text)
{
	while (*text)
		*p++ = *text++;
	*p = 0;
	return p;
}

/* --- control bits ---------------------------------------------------------------------------- */

CODE(x87, "fld1");
CODE(wait, "fwait");
CODE(x87_nowait, "fnstcw area");
CODE(mmx, "pxor %mm0, %mm0");
CODE(emms_, "emms");
CODE(sse, "xorps %xmm0, %xmm0");
CODE(sse_ld, "movups vec, %xmm1");
CODE(ldmxcsr_, "movl $0x1f80, area; ldmxcsr area");
CODE(fxsave_, "fxsave area");
CODE(avx, "vxorps %ymm0, %ymm0, %ymm0");
CODE(vex128, "vpxor %xmm0, %xmm0, %xmm0");
CODE(vzeroupper_, "vzeroupper");
CODE(avx512, "vpxord %zmm0, %zmm0, %zmm0");
CODE(xsave_, "mov $3, %eax; xor %edx, %edx; xsave area");
CODE(xgetbv_, "xor %ecx, %ecx; xgetbv");
CODE(free_of_all, "lfence; sfence; mfence; prefetcht0 vec; pause; movnti %eax, area; popcnt %eax, %eax;"
     "crc32 %eax, %eax");

enum { EM = 1, MP = 2, TS_ = 4, FXSR = 8, OSX = 16, XSSE = 32, XAVX = 64, X512 = 128 };
enum class { X87, WAIT, MMX, SSE, FXSAVE, AVX, AVX512, XSAVE, XGETBV, NO_STATE };

static const struct { const char *name; const struct code *code; enum class class; unsigned bits; }
	insns[] = {
	{ "FLD1", &x87, X87, EM | MP | TS_ | FXSR },
	{ "FNSTCW", &x87_nowait, X87, EM | TS_ },
	{ "WAIT", &wait, WAIT, EM | MP | TS_ },
	{ "PXOR mm", &mmx, MMX, EM | MP | TS_ | FXSR },
	{ "EMMS", &emms_, MMX, EM | TS_ },
	{ "XORPS", &sse, SSE, EM | MP | TS_ | FXSR },
	{ "MOVUPS", &sse_ld, SSE, EM | TS_ | FXSR },
	{ "LDMXCSR", &ldmxcsr_, SSE, EM | TS_ | FXSR },
	{ "FXSAVE", &fxsave_, FXSAVE, EM | MP | TS_ | FXSR },
	{ "VXORPS", &avx, AVX, TS_ | OSX | XSSE | XAVX },
	{ "VPXOR xmm", &vex128, AVX, EM | TS_ | FXSR | OSX | XSSE | XAVX },
	{ "VZEROUPPER", &vzeroupper_, AVX, TS_ | OSX | XAVX },
	{ "VPXORD", &avx512, AVX512, TS_ | OSX | XSSE | XAVX | X512 },
	{ "XSAVE", &xsave_, XSAVE, EM | TS_ | FXSR | OSX },
	{ "XGETBV", &xgetbv_, XGETBV, EM | TS_ | OSX },
	{ "fences, PREFETCH, PAUSE, MOVNTI, POPCNT, CRC32", &free_of_all, NO_STATE, EM | TS_ | FXSR | OSX },
};

static bool has_avx512(void)
{
	return has_b7(16);
}

static unsigned expected(enum class class, unsigned b)
{
	const unsigned avx = OSX | XSSE | XAVX, need = class == AVX512 ? avx | X512 : avx;

	switch (class) {
	case X87:	return b & (EM | TS_) ? NM : NO_EXC;
	case WAIT:	return (b & (MP | TS_)) == (MP | TS_) ? NM : NO_EXC;
	case FXSAVE:
		if (!is_amd())
			return b & (EM | TS_) ? NM : NO_EXC;
		/* fall through */
	case MMX:	return b & EM ? UD : b & TS_ ? NM : NO_EXC;
	case SSE:	return b & EM || !(b & FXSR) ? UD : b & TS_ ? NM : NO_EXC;
	case AVX:
	case AVX512:	return (b & need) != need ? UD : b & TS_ ? NM : NO_EXC;
	case XSAVE:	return !(b & OSX) ? UD : b & TS_ ? NM : NO_EXC;
	case XGETBV:	return b & OSX ? NO_EXC : UD;
	default:	return NO_EXC;
	}
}

/* XCR0 first, which needs OSXSAVE to change. */
static void set_bits(unsigned b)
{
	if (!have_avx)
		b &= ~OSX;
	write_cr4(cr4 | (have_avx ? CR4_OSXSAVE : 0) | CR4_OSFXSR);
	if (have_avx)
		xsetbv(1 | (b & XSSE ? 2 : 0) | (b & XAVX ? 6 : 0) | (b & X512 ? 0xe6 : 0));
	write_cr4((cr4 & ~(CR4_OSFXSR | CR4_OSXSAVE)) | (b & FXSR ? CR4_OSFXSR : 0) |
		  (b & OSX ? CR4_OSXSAVE : 0));
	write_cr0((cr0 & ~(CR0_EM | CR0_MP | CR0_TS)) | (b & EM ? CR0_EM : 0) |
		  (b & MP ? CR0_MP : 0) | (b & TS_ ? CR0_TS : 0));
}

static void restore_bits(void)
{
	write_cr0(cr0);
	write_cr4(cr4 | (have_avx ? CR4_OSXSAVE : 0));
	if (have_avx)
		xsetbv(7);
}

static void name_bits(char *p, unsigned of, unsigned b)
{
	static const char *const on[] = { "EM", "MP", "TS", "OSFXSR", "OSXSAVE", "XCR0.SSE", "XCR0.AVX",
		"XCR0.512" };
	bool any = false;

	p = append(p, "set:");
	for (unsigned i = 0; i < ARRAY_SIZE(on); i++)
		if (of & b & BIT(i)) {
			p = append(append(p, " "), on[i]);
			any = true;
		}
	if (!any)
		append(p, " none");
}

static void bits_case(enum mode mode, unsigned i, unsigned b)
{
	const unsigned of = insns[i].bits;
	/* What is not asked about is as an operating system has it. */
	unsigned all = b | (~of & (FXSR | OSX | XSSE | XAVX));
	char name[80];

	if ((b & XAVX && !(b & XSSE) && of & XSSE) || (b & X512 && !(b & XAVX)))
		return;			/* no such XCR0 */
	name_bits(name, of, b);
	if ((insns[i].class >= AVX && !have_avx && insns[i].class != NO_STATE) ||
	    (insns[i].class == AVX512 && !has_avx512())) {
		check_skip(mode_name(mode), insns[i].name, name);
		return;
	}
	if (!(all & XSSE))
		all &= ~XAVX;
	set_bits(all);
	state_init(&s, mode, 3, insns[i].code);
	enter(&s);
	restore_bits();
	check(mode_name(mode), insns[i].name, name, expected(insns[i].class, all), 0);
}

static void test_bits(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++)
		for (unsigned b = 0; b < 256; b++)
			if (!(b & ~insns[i].bits))
				bits_case(mode, i, b);
}

/* --- control bits that change between two instructions --------------------------------------------- */

#define TO(cr)	"mov %eax, %" cr ";"
#define TO64(cr) "mov %rax, %" cr ";"
#define TWICE(name, cr, insn) CODE2(name, insn ";" insn ";" TO(cr) insn, insn ";" insn ";" TO64(cr) insn)
TWICE(sse_cr0, "cr0", "xorps %xmm0, %xmm0");
TWICE(sse_cr4, "cr4", "xorps %xmm0, %xmm0");
TWICE(ld_cr0, "cr0", "movups vec, %xmm0");
TWICE(ld_cr4, "cr4", "movups vec, %xmm0");
TWICE(x87_cr0, "cr0", "fld1; fstp %st");
TWICE(mmx_cr0, "cr0", "pxor %mm0, %mm0");
TWICE(avx_cr0, "cr0", "vxorps %ymm0, %ymm0, %ymm0");
TWICE(avx_cr4, "cr4", "vxorps %ymm0, %ymm0, %ymm0");
CODE(avx_xcr0, "vxorps %ymm0, %ymm0, %ymm0; vxorps %ymm0, %ymm0, %ymm0; xor %ecx, %ecx; xor %edx, %edx;"
     "xsetbv; vxorps %ymm0, %ymm0, %ymm0");
CODE2(ts_and_back, "xorps %xmm0, %xmm0; mov %eax, %cr0; clts; xorps %xmm0, %xmm0; fld1; fstp %st",
      "xorps %xmm0, %xmm0; mov %rax, %cr0; clts; xorps %xmm0, %xmm0; fld1; fstp %st");

/* The state is in the registers by then: the engine asks no more than it must. */
static void test_changes(enum mode mode)
{
	const ulong cr4_on = cr4 | (have_avx ? CR4_OSXSAVE : 0);
	const struct { const char *insn, *cond; const struct code *code; ulong v; unsigned vector; bool avx; } rows[] = {
		{ "XORPS", "TS is set in between", &sse_cr0, cr0 | CR0_TS, NM, false },
		{ "XORPS", "EM is set in between", &sse_cr0, cr0 | CR0_EM, UD, false },
		{ "XORPS", "OSFXSR is cleared in between", &sse_cr4, cr4_on & ~CR4_OSFXSR, UD, false },
		{ "MOVUPS", "TS is set in between", &ld_cr0, cr0 | CR0_TS, NM, false },
		{ "MOVUPS", "OSFXSR is cleared in between", &ld_cr4, cr4_on & ~CR4_OSFXSR, UD, false },
		{ "FLD1", "TS is set in between", &x87_cr0, cr0 | CR0_TS, NM, false },
		{ "FLD1", "EM is set in between", &x87_cr0, cr0 | CR0_EM, NM, false },
		{ "PXOR mm", "EM is set in between", &mmx_cr0, cr0 | CR0_EM, UD, false },
		{ "VXORPS", "TS is set in between", &avx_cr0, cr0 | CR0_TS, NM, true },
		{ "VXORPS", "OSXSAVE is cleared in between", &avx_cr4, cr4_on & ~CR4_OSXSAVE, UD, true },
		{ "VXORPS", "XCR0 loses AVX in between", &avx_xcr0, 3, UD, true },
		{ "XORPS", "TS is set and cleared in between", &ts_and_back, cr0 | CR0_TS, NO_EXC, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].avx && !have_avx) {
			check_skip(mode_name(mode), rows[i].insn, rows[i].cond);
			continue;
		}
		restore_bits();
		state_init(&s, mode, 0, rows[i].code);
		s.ax = rows[i].v;
		enter(&s);
		restore_bits();
		check(mode_name(mode), rows[i].insn, rows[i].cond, rows[i].vector, 0);
	}
}

/* --- #MF ----------------------------------------------------------------------------------------- */

/* Division by zero with that exception unmasked: pending, nobody has waited for it. */
#define PEND	"fninit; movw $0x37b, area; fldcw area; fldz; fld1; fdiv %st(1), %st;"
CODE(mf_fld, PEND "fld1");
CODE(mf_wait, PEND "fwait");
CODE(mf_mmx, PEND "movd %eax, %mm0");
CODE(mf_emms, PEND "emms");
CODE(mf_cvt, PEND "cvtpi2ps %mm0, %xmm0");
CODE(mf_fstsw, PEND "fnstsw %ax");
CODE(mf_fstcw, PEND "fnstcw area");
CODE(mf_fclex, PEND "fnclex; fld1");
CODE(mf_finit, PEND "fninit; fld1");
CODE(mf_fstenv, PEND "fnstenv area");
CODE(mf_fsave, PEND "fnsave area");
CODE(mf_fxsave, PEND "fxsave area");
CODE(mf_fxrstor, "fninit; fxsave area;" PEND "fxrstor area; fld1");
CODE(mf_fldenv, PEND "fldenv area");
CODE(mf_sse, PEND "xorps %xmm0, %xmm0");
CODE(mf_fcmov, PEND "fcmove %st(1), %st");
CODE(mf_fnop, PEND "fnop");
CODE(mf_fdisi, PEND ".byte 0xdb, 0xe1");

static const struct { const char *name; const struct code *code; unsigned vector; } waiters[] = {
	{ "FLD1", &mf_fld, MF }, { "WAIT", &mf_wait, MF }, { "MOVD mm", &mf_mmx, MF }, { "EMMS", &mf_emms, MF },
	{ "CVTPI2PS mm", &mf_cvt, MF }, { "FNSTSW", &mf_fstsw, NO_EXC }, { "FNSTCW", &mf_fstcw, NO_EXC },
	{ "FNCLEX", &mf_fclex, NO_EXC }, { "FNINIT", &mf_finit, NO_EXC }, { "FNSTENV", &mf_fstenv, NO_EXC },
	{ "FNSAVE", &mf_fsave, NO_EXC }, { "FXSAVE", &mf_fxsave, NO_EXC }, { "FXRSTOR", &mf_fxrstor, NO_EXC },
	{ "FLDENV", &mf_fldenv, MF }, { "XORPS", &mf_sse, NO_EXC }, { "FCMOVE", &mf_fcmov, MF },
	{ "FNOP", &mf_fnop, MF }, { "FNDISI", &mf_fdisi, NO_EXC },
};

static void test_mf(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(waiters); i++) {
		state_init(&s, mode, 3, waiters[i].code);
		enter(&s);
		asm volatile("fninit");
		check(mode_name(mode), waiters[i].name, "an unmasked x87 exception is pending",
		      waiters[i].vector, 0);
	}
	state_init(&s, mode, 3, &mf_wait);
	enter(&s);
	check_that(mode_name(mode), "WAIT", "#MF saves WAIT's address, a pending exception stays",
		   stop.vector == MF && *(uint8_t *)stop.s.ip == 0x9b && stop.s.flags & FL_RF);
	write_cr0(cr0 | CR0_TS);
	state_init(&s, mode, 3, &wait);
	enter(&s);
	write_cr0(cr0);
	check(mode_name(mode), "WAIT", "an exception is pending, TS and MP set", cr0 & CR0_MP ? NM : MF, 0);
	state_init(&s, mode, 3, &x87);
	write_cr0(cr0 | CR0_TS);
	enter(&s);
	write_cr0(cr0);
	check(mode_name(mode), "FLD1", "an exception is pending, TS set", NM, 0);
	asm volatile("fninit");
}

/* --- images ---------------------------------------------------------------------------------------- */

#define MASK	"mov %esi, %eax; mov %edi, %edx;"
CODE(fxsave_at, "fxsave (%ebx)");
CODE(fxrstor_at, "fxrstor (%ebx)");
CODE(lock_fxsave, ".byte 0xf0; fxsave (%ebx)");
CODE(xsave_at, MASK "xsave (%ebx)");
CODE(xrstor_at, MASK "xrstor (%ebx)");
CODE(xsaveopt_at, MASK "xsaveopt (%ebx)");
CODE(xsavec_at, MASK "xsavec (%ebx)");
CODE(xsaves_at, MASK "xsaves (%ebx)");
CODE(xrstors_at, MASK "xrstors (%ebx)");
CODE(lock_xsave, MASK ".byte 0xf0; xsave (%ebx)");
CODE(ldmxcsr_at, "ldmxcsr 24(%ebx)");

#define COMPACT	(1ull << 63)

/* The header of a good image, and its MXCSR. */
static void image(uint64_t bv, uint64_t comp, uint32_t mxcsr)
{
	memset(area, 0, sizeof(area));
	*(uint16_t *)area = 0x37f;
	*(uint32_t *)(area + 24) = mxcsr;
	*(uint64_t *)(area + 512) = bv;
	*(uint64_t *)(area + 520) = comp;
}

/* CPUID leaf 0DH, sub-leaf 1: XSAVEOPT, XSAVEC, XSAVES. */
static bool code_exists(const struct code *code)
{
	const uint32_t have = have_avx ? cpuid(0xd, 1).a : 0;

	if (code == &fxsave_at || code == &fxrstor_at || code == &lock_fxsave || code == &ldmxcsr_at)
		return true;
	if (code == &xsaveopt_at)
		return have & BIT(0);
	if (code == &xsavec_at)
		return have & BIT(1);
	return code == &xsaves_at || code == &xrstors_at ? have & BIT(3) : have_avx;
}

static void image_case(enum mode mode, const char *insn, const char *cond, const struct code *code,
		       unsigned cpl, unsigned off, unsigned vector)
{
	if (!code_exists(code)) {
		check_skip(mode_name(mode), insn, cond);
		return;
	}
	state_init(&s, mode, cpl, code);
	s.bx = (ulong)area + off;
	s.si = 7;
	s.di = 0;
	enter(&s);
	check(mode_name(mode), insn, cond, vector, 0);
}

static void test_alignment(enum mode mode)
{
	static const struct { const char *name; const struct code *code; unsigned align; bool cpl0; } rows[] = {
		{ "FXSAVE", &fxsave_at, 16, false }, { "FXRSTOR", &fxrstor_at, 16, false },
		{ "XSAVE", &xsave_at, 64, false }, { "XRSTOR", &xrstor_at, 64, false },
		{ "XSAVEOPT", &xsaveopt_at, 64, false }, { "XSAVEC", &xsavec_at, 64, false },
		{ "XSAVES", &xsaves_at, 64, true }, { "XRSTORS", &xrstors_at, 64, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const bool compact = rows[i].code == &xrstors_at;

		image(0, compact ? COMPACT : 0, 0x1f80);
		image_case(mode, rows[i].name, "CPL 0, aligned", rows[i].code, 0, 0, NO_EXC);
		image(0, compact ? COMPACT : 0, 0x1f80);
		image_case(mode, rows[i].name, "CPL 0, half of its alignment", rows[i].code, 0, rows[i].align / 2, GP);
		image_case(mode, rows[i].name, "CPL 0, off by 4", rows[i].code, 0, 4, GP);
		image(0, compact ? COMPACT : 0, 0x1f80);
		image_case(mode, rows[i].name, "CPL 3, aligned", rows[i].code, 3, 0, rows[i].cpl0 ? GP : NO_EXC);
		image_case(mode, rows[i].name, "CPL 3, half of its alignment", rows[i].code, 3, rows[i].align / 2, GP);
	}
	image_case(mode, "FXSAVE", "LOCK", &lock_fxsave, 0, 0, UD);
	image_case(mode, "XSAVE", "LOCK", &lock_xsave, 0, 0, UD);
}

/* clang-format off */
static const struct {
	const char *cond;
	uint64_t bv, comp;
	unsigned at;		/* a byte of the header that is 1 */
	uint32_t mxcsr;
	unsigned xrstor, xrstors;
} headers[] = {
	{ "nothing in XSTATE_BV",			0, 0, 0, 0x1f80, NO_EXC, GP },
	{ "all of XCR0",				7, 0, 0, 0x1f80, NO_EXC, GP },
	{ "a bit of XSTATE_BV that XCR0 has not",	BIT(5), 0, 0, 0x1f80, GP, GP },
	{ "bit 62 of XSTATE_BV",			1ull << 62, 0, 0, 0x1f80, GP, GP },
	{ "bit 63 of XSTATE_BV",			1ull << 63, 0, 0, 0x1f80, GP, GP },
	{ "XCOMP_BV is not 0, and not compacted",	0, 1, 0, 0x1f80, GP, GP },
	{ "byte 16 of the header",			0, 0, 16, 0x1f80, GP, GP },
	{ "byte 23 of the header",			0, 0, 23, 0x1f80, GP, GP },
	{ "a reserved bit of MXCSR",			3, 0, 0, 0x80001f80, GP, GP },
	{ "a reserved bit of MXCSR, not in XSTATE_BV",	1, 0, 0, 0x80001f80, GP, GP },
	{ "compacted",					7, COMPACT | 7, 0, 0x1f80, NO_EXC, NO_EXC },
	{ "compacted, XSTATE_BV empty",			0, COMPACT | 7, 0, 0x1f80, NO_EXC, NO_EXC },
	{ "compacted, a bit of XCOMP_BV that XCR0 has not", 0, COMPACT | BIT(5), 0, 0x1f80, GP, GP },
	{ "compacted, XSTATE_BV is not within XCOMP_BV", 7, COMPACT | 3, 0, 0x1f80, GP, GP },
	{ "compacted, byte 16 of the header",		0, COMPACT | 7, 16, 0x1f80, GP, GP },
	{ "compacted, byte 24 of the header",		0, COMPACT | 7, 24, 0x1f80, GP, GP },
	{ "compacted, byte 63 of the header",		0, COMPACT | 7, 63, 0x1f80, GP, GP },
	{ "compacted, a reserved bit of MXCSR",		7, COMPACT | 7, 0, 0x80001f80, GP, GP },
	{ "compacted, a reserved bit of MXCSR that is not loaded", 1, COMPACT | 7, 0, 0x80001f80, NO_EXC, NO_EXC },
};
/* clang-format on */

static void test_headers(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(headers); i++)
		for (unsigned super = 0; super < 2; super++) {
			image(headers[i].bv, headers[i].comp, headers[i].mxcsr);
			if (headers[i].at)
				area[512 + headers[i].at] = 1;
			image_case(mode, super ? "XRSTORS" : "XRSTOR", headers[i].cond,
				   super ? &xrstors_at : &xrstor_at, 0, 0,
				   super ? headers[i].xrstors : headers[i].xrstor);
		}
	image(0, 0, 0x80001f80);
	image_case(mode, "FXRSTOR", "a reserved bit of MXCSR", &fxrstor_at, 0, 0, GP);
	image_case(mode, "LDMXCSR", "a reserved bit of MXCSR", &ldmxcsr_at, 0, 0, GP);
	image(0, 0, 0x1f80 | BIT(16));
	image_case(mode, "LDMXCSR", "bit 16 of MXCSR", &ldmxcsr_at, 0, 0, GP);
	image(0, 0, 0xffbf);
	image_case(mode, "LDMXCSR", "every bit that MXCSR has", &ldmxcsr_at, 0, 0, NO_EXC);
	asm volatile("ldmxcsr %0" : : "m"((uint32_t){ 0x1f80 }));
}

/* --- components -------------------------------------------------------------------------------------- */

CODE(load_ymm, "vmovups vec, %ymm1; vmovups vec + 32, %ymm7");
CODE(save_some, "vmovups vec, %ymm1;" MASK "xsave (%ebx)");
CODE(savec, "vmovups vec, %ymm1; fninit;" MASK "xsavec (%ebx)");
CODE(restore, "vmovups vec, %ymm1;" MASK "xrstor (%ebx); vmovups %ymm1, (%ecx)");

static uint64_t xstate_bv(void)
{
	return *(uint64_t *)(area + 512);
}

static void component(enum mode mode, const char *insn, const char *cond, const struct code *code,
		      uint32_t mask, bool (*ok)(void))
{
	if (!have_avx || (code == &savec && !code_exists(&xsavec_at))) {
		check_skip(mode_name(mode), insn, cond);
		return;
	}
	state_init(&s, mode, 3, code);
	s.bx = (ulong)area;
	s.cx = (ulong)area + 2048;
	s.si = mask;
	enter(&s);
	check_that(mode_name(mode), insn, cond, stop.vector == NO_EXC && ok());
}

static bool ymm1_high(void) { return !memcmp(area + 576 + 16, vec + 16, 16); }
static bool xmm1(void) { return !memcmp(area + 160 + 16, vec, 16); }
static bool all_saved(void) { return ymm1_high() && xmm1() && (xstate_bv() & 6) == 6; }
static bool only_sse(void) { return xmm1() && !area[576 + 16] && xstate_bv() == (1ull << 62 | 2); }
static bool compact_form(void)
{
	return *(uint64_t *)(area + 520) == (COMPACT | 6) && ymm1_high() && !(xstate_bv() & 1);
}
static bool ymm1_is_zero(void)
{
	uint64_t *v = (uint64_t *)(area + 2048);

	return !v[0] && !v[1] && !v[2] && !v[3];
}
static bool high_is_zero(void)
{
	return !memcmp(area + 2048, vec, 16) && !*(uint64_t *)(area + 2064);
}

static void test_components(enum mode mode)
{
	const char *m = mode_name(mode);
	uint8_t got[64];

	for (unsigned i = 0; i < sizeof(vec); i++)
		vec[i] = i * 7 + 1;
	if (have_avx) {
		state_init(&s, mode, 3, &load_ymm);
		enter(&s);
		(void)inl(PORT_EXITS);
		asm volatile("vmovups %%ymm1, %0; vmovups %%ymm7, %1" : "=m"(*(uint8_t(*)[32])got),
			     "=m"(*(uint8_t(*)[32])(got + 32)));
		check_that(m, "VMOVUPS", "CPL 3's registers are there at CPL 0, after an exit, too",
			   !memcmp(got, vec, sizeof(got)));
	} else {
		check_skip(m, "VMOVUPS", "CPL 3's registers are there at CPL 0, after an exit, too");
	}
	image(1ull << 62, 0, 0x1f80);
	component(mode, "XSAVE", "RFBM = 7: SSE and AVX", &save_some, 7, all_saved);
	image(1ull << 62, 0, 0x1f80);
	component(mode, "XSAVE", "RFBM = 2: SSE alone, other bits of XSTATE_BV stay", &save_some, 2, only_sse);
	image(0, 0, 0x1f80);
	component(mode, "XSAVEC", "RFBM = 6: XCOMP_BV, AVX follows the header", &savec, 6, compact_form);
	image(0, 0, 0x1f80);
	component(mode, "XRSTOR", "nothing in XSTATE_BV: SSE and AVX become initial", &restore, 7, ymm1_is_zero);
	image(0, 0, 0x1f80);
	component(mode, "XRSTOR", "RFBM = 4, nothing in XSTATE_BV: upper halves alone", &restore, 4, high_is_zero);
}

int main(void)
{
	checks_init();
	cr0 = (read_cr0() | CR0_MP) & ~(CR0_EM | CR0_TS);
	cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
	have_avx = has_c1(26) && has_c1(28);
	restore_bits();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_bits(mode);
		test_changes(mode);
		test_mf(mode);
		test_alignment(mode);
		test_headers(mode);
		test_components(mode);
	}
	return 0;
}
