/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis in every mode, over random byte strings and encodings
 * that are made from the rows, so that each is met.
 *
 * For each string both must agree on whether it is an instruction, on its length, on
 * the number of operands, on the memory operand (base, index, scale, displacement,
 * segment), registers and the immediate. Where they may differ is listed in outside()
 * and known_difference(); the reasons are in docs/errata.md, "Instruction decoding".
 *
 * The seed is fixed, so that a failure repeats; ANYKVM_ISA_SEED and ANYKVM_ISA_RUNS
 * change it for longer hunts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "isa/rows.h"

static uint64_t rng = 0x9e3779b97f4a7c15ull;

/* Its number in the encoding; -1, which is none of ours: it has none. */
static int reg_id(ZydisRegister r)
{
	return (int)ZydisRegisterGetId(r);
}

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull >> 16;
}

static const struct {
	ZydisMachineMode mode;
	ZydisStackWidth stack;
} zmodes[] = {
	[X86_MODE_REAL] = { ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_VM86] = { ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_PROT16] = { ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
			      ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_PROT32] = { ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
			      ZYDIS_STACK_WIDTH_32 },
	[X86_MODE_PROT64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
};

struct both {
	enum x86_mode mode;
	uint8_t bytes[20];
	size_t n;
	enum x86_decode_result ours;
	struct x86_insn insn;
	ZyanStatus theirs;
	ZydisDecodedInstruction zinsn;
	ZydisDecodedOperand zops[ZYDIS_MAX_OPERAND_COUNT];
};

static void decode_both(struct both *b)
{
	ZydisDecoder dec;

	ZydisDecoderInit(&dec, zmodes[b->mode].mode, zmodes[b->mode].stack);
	ZydisDecoderEnableMode(&dec, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	ZydisDecoderEnableMode(&dec, ZYDIS_DECODER_MODE_WBNOINVD, ZYAN_FALSE);
	ZydisDecoderEnableMode(&dec, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	b->ours = x86_decode(&b->insn, b->bytes, b->n, b->mode);
	b->theirs = ZydisDecoderDecodeFull(&dec, b->bytes, b->n, &b->zinsn,
					   b->zops);
}

/* Instruction sets that have no rows. */
static bool outside(const struct both *b)
{
	switch (b->zinsn.meta.isa_ext) {
#define OUT(ext) case ZYDIS_ISA_EXT_##ext:
	OUT(AMD3DNOW) OUT(PADLOCK) OUT(KNC)
	OUT(KNCV) OUT(KNCE)
	OUT(AMX_BF16) OUT(AMX_INT8) OUT(AMX_TILE) OUT(FMA4) OUT(XOP) OUT(TBM)
		return true;
#undef OUT
	default:
		break;
	}
	switch (b->zinsn.meta.isa_set) {
#define OUT(set) case ZYDIS_ISA_SET_##set:
	OUT(KNCJKBR) OUT(KNCSTREAM) OUT(AVX512ER_512)
	OUT(AVX512ER_SCALAR) OUT(AVX512PF_512)
	OUT(AVX512_4FMAPS_512) OUT(AVX512_4FMAPS_SCALAR)
	OUT(AVX512_4VNNIW_512) OUT(AVX512_VP2INTERSECT_128)
	OUT(AVX512_VP2INTERSECT_256) OUT(AVX512_VP2INTERSECT_512)
		return true;
#undef OUT
	default:
		return b->zinsn.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW ||
		       b->zinsn.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
		       b->zinsn.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX;
	}
}

/* Zydis refuses these in real-address mode by itself; we leave the choice of the
 * fault to the semantics. VMWRITE is the reverse: #UD whatever the way. */
static bool known_difference(const struct both *b)
{
	bool real = b->mode <= X86_MODE_VM86;

	if (b->ours == X86_DECODE_OK)
		return (real && (b->insn.row->attr & I_GP64)) ||
		       /* W is ignored outside 64-bit mode; theirs not in FP16,
			* nor with b in VCVTSI2SD and VCVTUSI2SD. */
		       (b->mode != X86_MODE_PROT64 &&
			(b->insn.prefix & PFX_REX_W) &&
			(b->insn.row->feature == X86_FEATURE_AVX512_FP16 ||
			 (b->insn.evex & INSN_EVEX_B &&
			  b->insn.row->opnd[2].kind == OPK_E)));
	return real && b->zinsn.mnemonic == ZYDIS_MNEMONIC_VMWRITE;
}

static void show(const struct both *b, const char *what)
{
	size_t i;

	fprintf(stderr, "mode %d:", b->mode);
	for (i = 0; i < b->n; i++)
		fprintf(stderr, " %02x", b->bytes[i]);
	fprintf(stderr, ": %s; ours %d len %u %s; zydis %08x len %u %s\n", what,
		b->ours, b->insn.len, b->ours ? "" : b->insn.row->mnemonic,
		b->theirs, ZYAN_SUCCESS(b->theirs) ? b->zinsn.length : 0,
		ZYAN_SUCCESS(b->theirs) ?
			ZydisMnemonicGetString(b->zinsn.mnemonic) : "");
}

/* --- operands ---------------------------------------------------------------- */

static uint8_t our_reg(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return X86_REG_NONE;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return X86_RIP;
	return ZydisRegisterGetId(r);
}

static const struct x86_opnd *our_memory(const struct both *b, unsigned *nr)
{
	static const char kinds[] = { OPK_E, OPK_M, OPK_Q, OPK_W, OPK_KM, 0 };
	const struct x86_opnd *o = b->insn.row->opnd;
	unsigned i;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		if (o[i].kind && strchr(kinds, o[i].kind)) {
			*nr = i;
			return &o[i];
		}
	return NULL;
}

static const char *check_memory(const struct both *b,
				const ZydisDecodedOperand *z)
{
	/* SIB without base: Zydis forgets it for 67 with REX.B. */
	bool zydis_bug = z->mem.base == ZYDIS_REGISTER_R13D &&
			 b->insn.mod == 0 && b->insn.base == X86_REG_NONE;
	const struct x86_opnd *o;
	unsigned nr, bytes;

	if (b->insn.mod == 3 || our_reg(z->mem.index) != b->insn.index)
		return "index";
	if (our_reg(z->mem.base) != b->insn.base && !zydis_bug)
		return "base";
	if (z->mem.index != ZYDIS_REGISTER_NONE &&
	    z->mem.scale != 1 << b->insn.scale)
		return "scale";
	if ((z->mem.disp.has_displacement ? z->mem.disp.value : 0) !=
	    b->insn.disp && !zydis_bug)
		return "displacement";
	if (z->mem.type != ZYDIS_MEMOP_TYPE_MEM &&
	    z->mem.type != ZYDIS_MEMOP_TYPE_VSIB)
		return NULL;
	/* 3E before an indirect branch is NOTRACK to Zydis, DS to us. */
	if (reg_id(z->mem.segment) != b->insn.seg &&
	    !(b->zinsn.attributes & ZYDIS_ATTRIB_HAS_NOTRACK))
		return "segment";
	o = our_memory(b, &nr);
	if (!o)
		return "no memory operand";
	bytes = x86_opnd_bytes(&b->insn, nr);
	/* Images and lines of a size that only the processor knows; MOVSXD
	 * with 66 reads 2 bytes on hardware and 4 with Zydis. */
	if (o->size == OPS_mem || !o->access ||
	    b->insn.row->op == X86_OP_CLFLUSH ||
	    b->zinsn.mnemonic == ZYDIS_MNEMONIC_MOVSXD)
		return NULL;
	return bytes * 8 == z->size ? NULL : "memory size";
}

/* Our size is the part that counts: a selector, a mask, a zero-extended result. */
static bool part_counts(const struct opcode *row, const struct x86_opnd *o)
{
	return !o->access ||
	       (o->size == OPS_w && (row->op == X86_OP_LAR ||
				     row->op == X86_OP_LSL)) ||
	       (o->size == OPS_d && (row->op == X86_OP_SIMD ||
				     row->op == X86_OP_VSIMD)) ||
	       /* an address: the address size says */
	       row->op == X86_OP_MOVDIR64B || row->op == X86_OP_UMONITOR;
}

static bool is_vector(ZydisRegisterClass cls)
{
	return cls == ZYDIS_REGCLASS_XMM || cls == ZYDIS_REGCLASS_YMM ||
	       cls == ZYDIS_REGCLASS_ZMM || cls == ZYDIS_REGCLASS_MASK;
}

static const char *check_register(const struct both *b,
				  const ZydisDecodedOperand *z)
{
	const struct x86_opnd *o = b->insn.row->opnd;
	bool in_reg = z->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
	unsigned i, nr = in_reg ? b->insn.reg : b->insn.rm;
	ZydisRegisterClass cls = ZydisRegisterGetClass(z->reg.value);

	if (is_vector(cls)) {
		nr = z->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD ?
		     b->insn.vvvv : nr;
		return (uint8_t)ZydisRegisterGetId(z->reg.value) == nr ? NULL :
		       "vector register number";
	}
	if (cls < ZYDIS_REGCLASS_GPR8 || cls > ZYDIS_REGCLASS_GPR64 ||
	    z->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
		return NULL;
	/* SPL..DIL and AH..BH share numbers; only the decoding of REX differs. */
	if (cls == ZYDIS_REGCLASS_GPR8 && (nr & ~3u) == 4)
		return NULL;
	if (cls == ZYDIS_REGCLASS_GPR8 ?
	    ZydisRegisterEncode(cls, nr < 4 ? nr : nr + 4) != z->reg.value :
	    (uint8_t)ZydisRegisterGetId(z->reg.value) != nr)
		return "register number";
	for (i = 0; i < X86_MAX_OPERANDS; i++) {
		uint8_t k = o[i].kind;

		if (in_reg ? k == OPK_G : k == OPK_E || k == OPK_R || k == OPK_Z)
			break;
	}
	if (i == X86_MAX_OPERANDS)
		return b->insn.row->op == X86_OP_NOP ? NULL :
		       "no such register operand";
	return !part_counts(b->insn.row, &o[i]) &&
	       x86_opnd_bytes(&b->insn, i) * 8 != z->size ?
	       "register size" : NULL;
}

static const char *check_immediate(const struct both *b)
{
	const ZydisDecodedInstruction *z = &b->zinsn;
	unsigned bits = z->raw.imm[0].size;
	uint64_t diff;

	if (b->insn.map == X86_MAP_1B && (b->insn.opcode & 0xfc) == 0xa0)
		return (uint64_t)z->raw.disp.value << (64 - z->raw.disp.size) ==
		       b->insn.imm << (64 - z->raw.disp.size) ? NULL : "moffs";
	if (!bits)
		return NULL;
	diff = (z->raw.imm[0].value.u ^ b->insn.imm) << (64 - bits);
	if (diff)
		return "immediate";
	return z->raw.imm[1].size &&
	       (uint16_t)z->raw.imm[1].value.u != b->insn.imm2 ?
	       "second immediate" : NULL;
}

/* The row names this implied operand, although the text does not. */
static bool row_names(const struct opcode *row, const ZydisDecodedOperand *z)
{
	bool mem = z->type == ZYDIS_OPERAND_TYPE_MEMORY;
	ZydisRegisterClass cls = mem ? ZYDIS_REGCLASS_INVALID :
				       ZydisRegisterGetClass(z->reg.value);
	uint8_t kind = cls == ZYDIS_REGCLASS_X87 ? OPK_ST :
		       cls == ZYDIS_REGCLASS_SEGMENT ? OPK_SREG : OPK_REG;
	unsigned i;

	for (i = 0; i < X86_MAX_OPERANDS; i++) {
		const struct x86_opnd *o = &row->opnd[i];

		if (mem ? o->kind == OPK_X || o->kind == OPK_Y :
			  o->kind == kind && o->reg == reg_id(z->reg.value))
			return true;
	}
	return false;
}

/*
 * Operands that the text shows, and of the implied ones those that the row names: what
 * strings address, ST(0), the segment register of LDS. An opmask that masks is an
 * operand for Zydis, and here a part of the destination.
 */
static const char *check_count(const struct both *b)
{
	const struct opcode *row = b->insn.row;
	unsigned i, ours = 0, theirs = 0;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		ours += !!row->opnd[i].kind;
	for (i = 0; i < b->zinsn.operand_count; i++) {
		const ZydisDecodedOperand *z = &b->zops[i];

		if (z->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			theirs += row_names(row, z);
		else
			theirs += z->encoding != ZYDIS_OPERAND_ENCODING_MASK;
	}
	/* NOP r/m is 0F 1F /0 of the manual; Zydis shows ModRM.reg too. RDSSP. */
	if (row->op == X86_OP_NOP && (b->insn.opcode == 0x1f ||
				     b->zinsn.meta.isa_ext == ZYDIS_ISA_EXT_CET))
		return NULL;
	return ours == theirs ? NULL : "operand count";
}

static const char *check_operands(const struct both *b)
{
	const char *what = check_count(b);
	unsigned i;

	what = what ? what : check_immediate(b);
	for (i = 0; i < b->zinsn.operand_count && !what; i++) {
		const ZydisDecodedOperand *z = &b->zops[i];

		if (z->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM &&
		    z->type == ZYDIS_OPERAND_TYPE_MEMORY)
			what = check_memory(b, z);
		else if ((z->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
			  z->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ||
			  z->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD ||
			  z->encoding == ZYDIS_OPERAND_ENCODING_OPCODE) &&
			 z->type == ZYDIS_OPERAND_TYPE_REGISTER)
			what = check_register(b, z);
	}
	return what;
}

/* --- the comparison ------------------------------------------------------------ */

/* NULL, or what they do not agree about. */
static const char *compare(const struct both *b)
{
	if (ZYAN_FAILED(b->theirs)) {
		if (b->ours == X86_DECODE_OK && !known_difference(b))
			return "we accept";
		if (b->theirs == ZYDIS_STATUS_INSTRUCTION_TOO_LONG &&
		    b->ours != X86_DECODE_TOO_LONG &&
		    b->ours != X86_DECODE_UNDEFINED)
			return "too long";
		return NULL;
	}
	if (b->ours != X86_DECODE_OK)
		return (b->ours == X86_DECODE_UNDEFINED && outside(b)) ||
		       known_difference(b) ? NULL : "we refuse";
	if (b->insn.len != b->zinsn.length)
		return "length";
	if (memcmp(b->insn.bytes, b->bytes, b->insn.len))
		return "bytes";
	return check_operands(b);
}

/* Every shorter string of an instruction is "truncated". */
static const char *check_truncation(struct both *b)
{
	struct x86_insn part;
	size_t n;

	for (n = 0; n < b->insn.len; n++)
		if (x86_decode(&part, b->bytes, n, b->mode) !=
		    X86_DECODE_TRUNCATED)
			return "not truncated";
	return NULL;
}

/* One of the set bits of @set, or of [0, n) when it is empty. */
static unsigned any_of(uint32_t set, unsigned n)
{
	unsigned k;

	do
		k = rnd() % n;
	while (set && !(set >> k & 1));
	return k;
}

/* VEX or EVEX of row @id with W and pp as in @p1; registers and what else EVEX has
 * as often right as not. */
static uint8_t *encode_vex(uint8_t *p, unsigned id, unsigned escapes, uint8_t p1)
{
	uint32_t when = x86_row_places[id].when;
	unsigned l = any_of(when >> 26 & 7, x86_rows[id]->attr & I_VEX ? 2 : 3);
	uint8_t map = escapes == 0x0f38 ? 2 : escapes == 0x0f3a ? 3 :
		      escapes == 0x0f ? 1 : escapes >> 8;
	uint8_t high = (rnd() & 1 ? 0xf0 : rnd() & 0xf0);
	uint8_t vvvv = rnd() & 1 ? 0x78 : rnd() & 0x78;

	if (x86_rows[id]->attr & I_VEX) {
		*p++ = 0xc4;
		*p++ = (high & 0xe0) | map;
		*p++ = p1 | vvvv | l << 2;
		return p;
	}
	*p++ = 0x62;
	*p++ = high | map;
	*p++ = p1 | vvvv | 4;
	*p++ = l << 5 | (rnd() & 1 ? 8 : rnd() & 0x9f) |
	       !!(x86_rows[id]->evex & EV_KREQ);
	return p;
}

/* An encoding of row @id at b->bytes[@at]: its place's conditions hold. */
static void encode_row(struct both *b, unsigned id, unsigned at)
{
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	uint32_t when = x86_row_places[id].when;
	uint32_t opc = x86_row_places[id].opcode;
	unsigned pfx = when >> 16 & 15 ? any_of(when >> 16 & 15, 4) : 0;
	bool w = when & (W0 | W1) ? !!(when & W1) : rnd() & 1;
	uint8_t *p = b->bytes + at;

	opc = (opc & 0xffffff) + rnd() % ((opc >> 24) + 1);
	if (x86_rows[id]->attr & (I_VEX | I_EVEX)) {
		p = encode_vex(p, id, opc >> 8, w << 7 | pfx);
	} else {
		if (pfx)
			*p++ = mandatory[pfx];
		if (b->mode == X86_MODE_PROT64 && (w || rnd() & 1))
			*p++ = 0x40 | w << 3 | (rnd() & 7);
		if (opc > 0xff)
			*p++ = 0x0f;
		if (opc > 0xffff)
			*p++ = opc >> 8;
	}
	*p++ = opc;
	if (x86_rows[id]->attr & I_VSIB)
		*p = (*p & 0x78) | X86_RSP;
	else if (when & (0xffff | MEM | REG))
		*p = any_of(when & 0xff, 8) << 3 | any_of(when >> 8 & 0xff, 8) |
		     (when & REG ? 0xc0 : when & MEM ? rnd() % 3 << 6 :
		      rnd() & 0xc0);
}

static void random_bytes(struct both *b)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e,
					    0x36, 0x26, 0x3e, 0x64, 0x65, 0x48,
					    0x41, 0x44, 0x42, 0x4f };
	unsigned i, at = 0;

	for (i = 0; i < sizeof(b->bytes); i++)
		b->bytes[i] = rnd();
	while (rnd() % 3 == 0 && at < 12)
		b->bytes[at++] = prefixes[rnd() % sizeof(prefixes)];
	if (rnd() & 1) {
		encode_row(b, rnd() % x86_nr_rows, at);
		return;
	}
	switch (rnd() % 6) {
	case 0:
		b->bytes[at] = 0x0f;
		break;
	case 1:
		b->bytes[at] = 0x0f;
		b->bytes[at + 1] = rnd() & 1 ? 0x38 : 0x3a;
		break;
	case 2:	/* VEX, often of a map and vvvv that exist */
		b->bytes[at] = rnd() & 1 ? 0xc4 : 0xc5;
		if (rnd() & 1) {
			b->bytes[at + 1] = (b->bytes[at + 1] & 0xe0) | 2;
			b->bytes[at + 2] |= 0x78;
		}
		break;
	}
}

static unsigned long env_number(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

static uint32_t met[4096];

/* Every row has been compared. */
static void check_coverage(void)
{
	unsigned id, missed = 0;

	for (id = 0; id < x86_nr_rows; id++)
		if (!met[id]) {
			fprintf(stderr, "row %u (%s) was never met\n", id,
				x86_rows[id]->mnemonic);
			missed++;
		}
	assert_int_equal(missed, 0);
}

static void agrees_with_zydis(void **state)
{
	unsigned long runs = env_number("ANYKVM_ISA_RUNS", 4000000), k;
	unsigned long accepted = 0, bad = 0;
	const char *what;
	struct both b;

	rng ^= env_number("ANYKVM_ISA_SEED", 0) * 0x2545f4914f6cdd1dull;
	for (k = 0; k < runs && bad < 40; k++) {
		b.mode = rnd() % 5;
		b.n = sizeof(b.bytes);
		random_bytes(&b);
		decode_both(&b);
		what = compare(&b);
		if (!what && b.ours == X86_DECODE_OK) {
			accepted++;
			met[b.insn.row->id]++;
			if (accepted % 8 == 0)
				what = check_truncation(&b);
		}
		if (what) {
			show(&b, what);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
	/* The strings must not have been all noise. */
	assert_true(accepted > runs / 2);
	if (runs >= 4000000)
		check_coverage();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_zydis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
