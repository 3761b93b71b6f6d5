// SPDX-License-Identifier: MIT
/*
 * The decoder on any bytes, in every mode. What must hold:
 *
 *   - an instruction has 1 to 15 bytes, all of them given, and carries them; the
 *     same bytes, with anything or nothing behind them, are the same instruction;
 *   - fewer of its bytes are "truncated", never another answer;
 *   - every number in it is in the range that its users index with;
 *   - its text is a terminated string, in a buffer of any size.
 *
 * What an instruction means is compared with Zydis in tests/unit/isa.
 */
#include "input.h"
#include "isa/insn.h"
#include "isa/text.h"

static void check_ranges(const struct x86_insn *i, enum x86_mode mode)
{
	FUZZ_CHECK(i->row && i->row->id < x86_nr_rows &&
		   x86_rows[i->row->id] == i->row);
	FUZZ_CHECK(i->row->op < X86_NR_OPS && x86_op_name(i->row->op));
	FUZZ_CHECK(i->mode == mode);
	FUZZ_CHECK(i->opsize == 1 || i->opsize == 2 || i->opsize == 4 ||
		   i->opsize == 8);
	FUZZ_CHECK(i->adsize == 2 || i->adsize == 4 || i->adsize == 8);
	FUZZ_CHECK(mode == X86_MODE_PROT64 || i->adsize != 8);
	FUZZ_CHECK(mode != X86_MODE_PROT64 || i->adsize != 2);
	FUZZ_CHECK(i->map < X86_NR_MAPS && i->mod <= 3 && i->scale <= 3);
	FUZZ_CHECK(i->reg < 32 && i->rm < 32 && i->vvvv < 32);
	FUZZ_CHECK(mode == X86_MODE_PROT64 || (i->reg < 8 && i->rm < 8));
	FUZZ_CHECK(i->base <= X86_RIP || i->base == X86_REG_NONE);
	FUZZ_CHECK(i->row->attr & I_VSIB ? i->index < 32 :
		   i->index < X86_NR_GPRS || i->index == X86_REG_NONE);
	FUZZ_CHECK(!insn_has_modrm_mem(i) || i->seg < X86_NR_USER_SEGS);
	for (unsigned n = 0; n < X86_MAX_OPERANDS; n++)
		FUZZ_CHECK(x86_opnd_bytes(i, n) <= 64);
}

static void check_again(const struct x86_insn *i)
{
	struct x86_insn j;
	uint8_t bytes[X86_MAX_INSN_LEN];

	for (unsigned fill = 0; fill < 0x200; fill += 0xff) {
		memset(bytes, fill, sizeof(bytes));
		memcpy(bytes, i->bytes, i->len);
		memset(&j, 0, sizeof(j));
		FUZZ_CHECK(x86_decode(&j, bytes, sizeof(bytes), i->mode) ==
			   X86_DECODE_OK);
		FUZZ_CHECK(!memcmp(i, &j, sizeof(j)));
	}
	memset(&j, 0, sizeof(j));
	FUZZ_CHECK(x86_decode(&j, i->bytes, i->len, i->mode) == X86_DECODE_OK);
	FUZZ_CHECK(!memcmp(i, &j, sizeof(j)));
}

/* Exact allocations, so that the sanitizer sees a read past the end. */
static void check_truncated(const struct x86_insn *i)
{
	for (unsigned n = 0; n < i->len; n++) {
		uint8_t *part = malloc(n ? n : 1);
		struct x86_insn j;
		int rc;

		memcpy(part, i->bytes, n);
		rc = x86_decode(&j, part, n, i->mode);
		if (rc != X86_DECODE_TRUNCATED)
			FUZZ_FAIL("%u of %u bytes: %d", n, i->len, rc);
		free(part);
	}
}

static void check_text(const uint8_t *data, size_t n, enum x86_mode mode)
{
	char buf[128];

	for (size_t size = 0; size <= sizeof(buf); size = size ? size * 2 : 1) {
		int len;

		memset(buf, 'x', sizeof(buf));
		len = x86_insn_text(data, n, mode, 0xfffffffffffffff0, buf, size);
		FUZZ_CHECK(len < 0 || (len > 0 && (size_t)len <= n && len <= 15));
		FUZZ_CHECK(!size || strnlen(buf, size) < size);
		FUZZ_CHECK(size < 8 || buf[0]);
		FUZZ_CHECK(size == sizeof(buf) || buf[size] == 'x');
	}
}

static void one(const uint8_t *data, size_t n, enum x86_mode mode)
{
	struct x86_insn i;
	int rc;

	memset(&i, 0, sizeof(i));
	rc = x86_decode(&i, data, n, mode);
	check_text(data, n, mode);
	switch (rc) {
	case X86_DECODE_OK:
		FUZZ_CHECK(i.len >= 1 && i.len <= X86_MAX_INSN_LEN && i.len <= n);
		FUZZ_CHECK(!memcmp(i.bytes, data, i.len));
		for (unsigned k = i.len; k < X86_MAX_INSN_LEN; k++)
			FUZZ_CHECK(!i.bytes[k]);
		check_ranges(&i, mode);
		check_again(&i);
		check_truncated(&i);
		break;
	case X86_DECODE_TRUNCATED:
		FUZZ_CHECK(n < X86_MAX_INSN_LEN);
		break;
	case X86_DECODE_UNDEFINED:
	case X86_DECODE_TOO_LONG:
	case X86_DECODE_BAD_LOCK:
		FUZZ_CHECK(i.len <= X86_MAX_INSN_LEN && i.len <= n);
		break;
	default:
		FUZZ_FAIL("result %d", rc);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int mode = X86_MODE_REAL; mode <= X86_MODE_PROT64; mode++)
		one(data, size, mode);
	return 0;
}
