/* SPDX-License-Identifier: MIT */
/*
 * The decoder: bytes to struct x86_insn.
 *
 * The bytes are copied into a zero-padded buffer that is longer than anything the
 * parser can walk over, so that no step needs a bound; how far it walked is
 * compared with what there was at the end (outcome()). Nothing that lies behind
 * the last given byte can therefore decide anything but "truncated".
 *
 * Order of the work: prefixes, escape bytes or VEX, row (select.h), operand and
 * address size, ModRM/SIB/displacement, immediates, and last the rules that the
 * row states (mode, LOCK).
 *
 * What VEX and EVEX demand beyond their rows is in decode_vex.c.
 *
 * Vendor differences are decided for Intel: 66 is ignored by near branches in
 * 64-bit mode, XOP does not exist.
 */
#include "isa/parser.h"

/* Legacy prefixes: what they add to insn.prefix, + the segment in bits 7:4. REX
 * is told apart by PFX_REX. 0: not a prefix. */
#define SEG_PFX(s) (PFX_SEG | (s) << 12)
static const uint16_t prefixes[256] = {
	/* clang-format off */
	[0x26] = SEG_PFX(X86_ES), [0x2e] = SEG_PFX(X86_CS),
	[0x36] = SEG_PFX(X86_SS), [0x3e] = SEG_PFX(X86_DS),
	[0x64] = SEG_PFX(X86_FS), [0x65] = SEG_PFX(X86_GS),
	[0x66] = PFX_OPSIZE,      [0x67] = PFX_ADSIZE,
	[0xf0] = PFX_LOCK,        [0xf2] = PFX_REPNE,    [0xf3] = PFX_REP,
	[0x40 ... 0x4f] = PFX_REX,
	/* clang-format on */
};

static inline bool mode_is_16bit(enum x86_mode mode)
{
	return mode <= X86_MODE_PROT16;
}

static enum x86_decode_result outcome(struct x86_insn *insn,
				      const struct parser *p, size_t n,
				      enum x86_decode_result verdict)
{
	size_t limit = MIN(n, (size_t)X86_MAX_INSN_LEN);

	insn->len = MIN(p->pos, limit);
	if (p->pos > limit)
		return n >= X86_MAX_INSN_LEN ? X86_DECODE_TOO_LONG :
					       X86_DECODE_TRUNCATED;
	return verdict;
}

static void copy_in(struct parser *p, const uint8_t *bytes, size_t n)
{
	size_t i;

	__builtin_memset(p->buf, 0, sizeof(p->buf));
	if (likely(n >= X86_MAX_INSN_LEN)) {
		__builtin_memcpy(p->buf, bytes, X86_MAX_INSN_LEN);
		return;
	}
	for (i = 0; i < n; i++)
		p->buf[i] = bytes[i];
}

/* A REX counts only when the opcode follows it at once. */
static void parse_prefixes(struct x86_insn *insn, struct parser *p)
{
	unsigned prefix = 0, k;

	for (; p->pos < X86_MAX_INSN_LEN; p->pos++) {
		k = prefixes[p->buf[p->pos]];
		if (likely(!k))
			break;
		if (k == PFX_REX) {
			if (!p->m64)
				break;
			p->rex = p->buf[p->pos];
			continue;
		}
		p->rex = 0;
		if (k & (PFX_REP | PFX_REPNE))	/* the last one counts */
			prefix &= ~(PFX_REP | PFX_REPNE);
		prefix |= k & 0x3ff;
		/* In 64-bit mode only FS and GS can override. */
		if ((k & PFX_SEG) && (!p->m64 || k >> 12 >= X86_FS))
			p->seg = k >> 12;
	}
	if (p->rex)
		prefix |= PFX_REX | (p->rex & REX_W ? PFX_REX_W : 0);
	p->w = p->rex >> 3 & 1;
	insn->prefix = prefix;
	p->pfx = prefix & PFX_REPNE ? 3 : prefix & PFX_REP ? 2 :
		 prefix & PFX_OPSIZE ? 1 : 0;
}

/* C4, C5 and 62 are LES, LDS and BOUND outside 64-bit mode, unless what follows
 * could not be their ModRM. */
static bool is_vex(const struct parser *p, enum x86_mode mode)
{
	uint8_t b = p->buf[p->pos];

	if ((b & 0xfe) != 0xc4 && b != 0x62)
		return false;
	return p->m64 || (mode >= X86_MODE_PROT16 && p->buf[p->pos + 1] >= 0xc0);
}

static bool parse_opcode(struct x86_insn *insn, struct parser *p)
{
	uint8_t b = p->buf[p->pos];

	insn->veclen = 16;
	insn->vvvv = 0;
	if (unlikely(is_vex(p, insn->mode)))
		return b == 0x62 ? x86_parse_evex(insn, p) :
				   x86_parse_vex(insn, p);
	p->pos++;
	insn->map = X86_MAP_1B;
	if (b == 0x0f) {
		insn->map = X86_MAP_0F;
		b = p->buf[p->pos++];
		if (b == 0x38 || b == 0x3a) {
			insn->map = b == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
			b = p->buf[p->pos++];
		}
	}
	insn->opcode = b;
	p->table = insn->map;
	return true;
}

/* The row, or ROW_NONE. Reads ModRM where the opcode has one. */
static unsigned select_row(struct x86_insn *insn, struct parser *p)
{
	const struct sel_node *node = &x86_sel_root[p->table][insn->opcode];
	unsigned modrm, key;

	if (x86_sel_modrm[p->table][insn->opcode]) {
		modrm = p->buf[p->pos++];
		insn->modrm = modrm;
		key = modrm >= 0xc0 ? KEY_MOD3 : 0;
	} else {
		modrm = insn->opcode & 7;
		insn->modrm = 0;
		key = KEY_MOD3;
	}
	insn->mod = key ? 3 : modrm >> 6;
	insn->reg = (modrm >> 3 & 7) | (p->rex & REX_R) << 1;
	insn->rm = (modrm & 7) | (p->rex & REX_B) << 3;
	key |= (modrm >> 3 & 7) | (modrm & 7) << 3 | p->pfx << 6 |
	       (p->m64 ? KEY_M64 : 0) | p->w << 10 |
	       (key && insn->evex & INSN_EVEX_B ? 2 : p->l) << 11 |
	       (p->rex & REX_B) << 13;
	while (node->mask)
		node = &x86_sel_nodes[node->next + (key >> node->shift & node->mask)];
	return node->next;
}

/* Operand size in bytes (SDM Vol. 1, "Operand-Size and Address-Size Attributes"). */
static unsigned operand_size(const struct x86_insn *insn, const struct parser *p,
			     const struct row_info *ri)
{
	uint32_t attr = insn->row->attr;
	bool o66 = (insn->prefix & PFX_OPSIZE) && !(ri->flags & RI_TAKES_66);

	if (attr & I_BYTE)
		return 1;
	if (ri->flags & RI_Y)
		return p->m64 && (p->w || (attr & (I_F64 | I_D64))) ? 8 : 4;
	if (!p->m64)
		return mode_is_16bit(insn->mode) != o66 ? 2 : 4;
	if (attr & I_F64)
		return 8;
	if (p->w)
		return ri->flags & RI_MAX4 ? 4 : 8;
	if (o66)
		return 2;
	return attr & I_D64 ? 8 : 4;
}

static unsigned address_size(const struct x86_insn *insn, const struct parser *p)
{
	bool o67 = insn->prefix & PFX_ADSIZE;

	if (p->m64)
		return o67 ? 4 : 8;
	return mode_is_16bit(insn->mode) != o67 ? 2 : 4;
}

static int64_t read_signed(struct parser *p, unsigned bytes)
{
	uint64_t v;
	unsigned shift = 64 - 8 * bytes;

	__builtin_memcpy(&v, p->buf + p->pos, 8);
	p->pos += bytes;
	return (int64_t)(v << shift) >> shift;
}

static uint64_t read_unsigned(struct parser *p, unsigned bytes)
{
	uint64_t v;

	__builtin_memcpy(&v, p->buf + p->pos, 8);
	p->pos += bytes;
	return v << (64 - 8 * bytes) >> (64 - 8 * bytes);
}

/* 16-bit forms: SDM Vol. 2A, "16-Bit Addressing Forms with the ModR/M Byte". */
static void parse_mem16(struct x86_insn *insn, struct parser *p)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
					 X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const uint8_t index[8] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI,
					  X86_REG_NONE, X86_REG_NONE,
					  X86_REG_NONE, X86_REG_NONE };
	unsigned rm = insn->modrm & 7;

	insn->base = base[rm];
	insn->index = index[rm];
	if (insn->mod == 1) {
		insn->disp = read_signed(p, 1);
	} else if (insn->mod == 2) {
		insn->disp = read_signed(p, 2);
	} else if (rm == 6) {
		insn->base = X86_REG_NONE;
		insn->disp = read_signed(p, 2);
	}
}

static void parse_sib(struct x86_insn *insn, struct parser *p)
{
	uint8_t sib = p->buf[p->pos++];
	uint8_t index = (sib >> 3 & 7) | (p->rex & REX_X) << 2;

	insn->scale = sib >> 6;
	if (index != X86_RSP || insn->row->attr & I_VSIB)
		insn->index = index;
	if ((sib & 7) == X86_RBP && insn->mod == 0)
		insn->disp = read_signed(p, 4);
	else
		insn->base = (sib & 7) | (p->rex & REX_B) << 3;
}

static void parse_mem32(struct x86_insn *insn, struct parser *p)
{
	unsigned rm = insn->modrm & 7;

	if (rm == X86_RSP) {
		parse_sib(insn, p);
	} else if (rm == X86_RBP && insn->mod == 0) {
		insn->base = p->m64 ? X86_RIP : X86_REG_NONE;
		insn->disp = read_signed(p, 4);
	} else {
		insn->base = insn->rm;
	}
	if (insn->mod == 1)
		insn->disp = read_signed(p, 1);
	else if (insn->mod == 2)
		insn->disp = read_signed(p, 4);
}

static void parse_mem(struct x86_insn *insn, struct parser *p)
{
	if (insn->adsize == 2)
		parse_mem16(insn, p);
	else
		parse_mem32(insn, p);
	if (p->seg == X86_SEG_NONE &&
	    (insn->base == X86_RBP || insn->base == X86_RSP))
		insn->seg = X86_SS;
}

/* How an immediate is read, by enum imm_kind: bytes by operand size 1, 2, 4, 8. */
static const struct imm_form {
	uint8_t bytes[9];	/* by operand size */
	bool is_signed;
	bool second;		/* a second immediate follows */
	uint8_t second_bytes;
} imm_forms[IMM_NR] = {
	/* clang-format off */
	/*                [1] [2]    [4]          [8] */
	[IMM_BU]    = { { 0, 1, 1, 0, 1, 0, 0, 0, 1 }, false, false, 0 },
	[IMM_BS]    = { { 0, 1, 1, 0, 1, 0, 0, 0, 1 }, true,  false, 0 },
	[IMM_W]     = { { 0, 2, 2, 0, 2, 0, 0, 0, 2 }, false, false, 0 },
	[IMM_Z]     = { { 0, 1, 2, 0, 4, 0, 0, 0, 4 }, true,  false, 0 },
	[IMM_V]     = { { 0, 1, 2, 0, 4, 0, 0, 0, 8 }, true,  false, 0 },
	[IMM_FAR]   = { { 0, 2, 2, 0, 4, 0, 0, 0, 4 }, false, true,  2 },
	[IMM_MOFFS] = { { 0, 0, 2, 0, 4, 0, 0, 0, 8 }, false, false, 0 },
	[IMM_ENTER] = { { 0, 2, 2, 0, 2, 0, 0, 0, 2 }, false, true,  1 },
	[IMM_2B]    = { { 0, 1, 1, 0, 1, 0, 0, 0, 1 }, false, true,  1 },
	/* clang-format on */
};

static void parse_imm(struct x86_insn *insn, struct parser *p, uint8_t kind)
{
	const struct imm_form *f = &imm_forms[kind];
	unsigned bytes = f->bytes[kind == IMM_MOFFS ? insn->adsize : insn->opsize];

	insn->imm = f->is_signed ? (uint64_t)read_signed(p, bytes) :
				   read_unsigned(p, bytes);
	if (f->second)
		insn->imm2 = read_unsigned(p, f->second_bytes);
}

/* Registers that do not exist: CR1, DR8, segment 6; not all are told by rows. */
static bool reg_exists(const struct x86_insn *insn)
{
	const struct opcode *row = insn->row;
	unsigned i, kind = OPK_NONE;

	for (i = 0; i < X86_MAX_OPERANDS; i++)
		if (row->opnd[i].kind == OPK_C || row->opnd[i].kind == OPK_D ||
		    row->opnd[i].kind == OPK_S)
			kind = row->opnd[i].kind;
	if (kind == OPK_C)
		return 0x11d >> insn->reg & 1;	/* CR0, 2, 3, 4, 8 */
	return insn->reg < (kind == OPK_D ? 8 : X86_NR_USER_SEGS);
}

/* What the row demands. */
static enum x86_decode_result check_rules(const struct x86_insn *insn,
					  const struct parser *p,
					  const struct row_info *ri)
{
	/* Attributes that make a row undefined, by mode. */
	static const uint32_t bad[] = {
		[X86_MODE_REAL] = I_ONLY64 | I_PROT,
		[X86_MODE_VM86] = I_ONLY64 | I_PROT,
		[X86_MODE_PROT16] = I_ONLY64,
		[X86_MODE_PROT32] = I_ONLY64,
		[X86_MODE_PROT64] = I_INV64,
	};
	uint32_t attr = insn->row->attr;

	if (unlikely(attr & bad[insn->mode]))
		return X86_DECODE_UNDEFINED;
	if (unlikely(ri->flags & RI_CHECK_REG) && !reg_exists(insn))
		return X86_DECODE_UNDEFINED;
	if (unlikely(insn->prefix & (PFX_VEX | PFX_EVEX)) &&
	    !x86_vex_is_valid(insn, p, ri))
		return X86_DECODE_UNDEFINED;
	if (unlikely(insn->prefix & PFX_LOCK) &&
	    (!(attr & I_LOCK) || insn->mod == 3))
		return X86_DECODE_BAD_LOCK;
	return X86_DECODE_OK;
}

/* All fields that not every instruction sets. */
static void reset(struct x86_insn *insn, enum x86_mode mode)
{
	insn->row = NULL;
	insn->imm = 0;
	insn->disp = 0;
	insn->imm2 = 0;
	insn->mode = mode;
	insn->base = X86_REG_NONE;
	insn->index = X86_REG_NONE;
	insn->scale = 0;
	insn->evex = 0;
	insn->pp = 0;
}

/* The instruction's own bytes, the rest zero. */
static void keep_bytes(struct x86_insn *insn, struct parser *p)
{
	unsigned i;

	for (i = p->pos; i < X86_MAX_INSN_LEN; i++)
		p->buf[i] = 0;
	__builtin_memcpy(insn->bytes, p->buf, X86_MAX_INSN_LEN);
}

enum x86_decode_result x86_decode(struct x86_insn *insn, const uint8_t *bytes,
				  size_t n, enum x86_mode mode)
{
	struct parser p;
	const struct row_info *ri;
	enum x86_decode_result result;
	unsigned id;

	copy_in(&p, bytes, n);
	p.pos = p.rex = p.l = p.r2 = p.v2 = 0;
	p.seg = X86_SEG_NONE;
	p.m64 = mode == X86_MODE_PROT64;
	reset(insn, mode);
	parse_prefixes(insn, &p);
	if (unlikely(!parse_opcode(insn, &p)))
		return outcome(insn, &p, n, X86_DECODE_UNDEFINED);
	id = select_row(insn, &p);
	if (unlikely(id == ROW_NONE))
		return outcome(insn, &p, n, X86_DECODE_UNDEFINED);
	insn->row = x86_rows[id];
	ri = &x86_row_info[id];

	insn->opsize = operand_size(insn, &p, ri);
	insn->adsize = address_size(insn, &p);
	insn->seg = p.seg != X86_SEG_NONE ? p.seg : X86_DS;
	if (ri->flags & RI_REGONLY)
		insn->mod = 3;
	if (insn->mod != 3)
		parse_mem(insn, &p);
	if (unlikely(insn->prefix & PFX_EVEX))
		x86_evex_registers(insn, &p, ri);
	insn->reg &= ri->reg_mask;
	insn->rm &= ri->rm_mask;
	if (ri->imm != IMM_NONE)
		parse_imm(insn, &p, ri->imm);

	result = outcome(insn, &p, n, check_rules(insn, &p, ri));
	if (!p.m64)
		insn->vvvv &= 7;	/* the top bits are ignored, but not by the rules */
	if (likely(result == X86_DECODE_OK))
		keep_bytes(insn, &p);
	return result;
}
