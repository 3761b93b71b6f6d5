/* SPDX-License-Identifier: MIT */
/*
 * Text of instructions, rendered by Zydis.
 *
 * Zydis is the second opinion in the tests too, which is why the text is not made
 * from our own rows: a wrong row would show itself in the trace. It is kept out of
 * libisa because it is not built without vector registers.
 */
#include <errno.h>
#include <stdio.h>

#include <Zydis/Zydis.h>

#include "isa/text.h"

static const struct {
	ZydisMachineMode mode;
	ZydisStackWidth stack;
} modes[] = {
	/* clang-format off */
	[X86_MODE_REAL]   = { ZYDIS_MACHINE_MODE_REAL_16,        ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_VM86]   = { ZYDIS_MACHINE_MODE_REAL_16,        ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_PROT16] = { ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16 },
	[X86_MODE_PROT32] = { ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32 },
	[X86_MODE_PROT64] = { ZYDIS_MACHINE_MODE_LONG_64,        ZYDIS_STACK_WIDTH_64 },
	/* clang-format on */
};

int x86_insn_text(const uint8_t *bytes, size_t n, enum x86_mode mode,
		  uint64_t rip, char *buf, size_t size)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter fmt;
	ZydisDecoder dec;

	if (size)
		snprintf(buf, size, "(bad)");
	if ((unsigned)mode >= ARRAY_SIZE(modes) ||
	    ZYAN_FAILED(ZydisDecoderInit(&dec, modes[mode].mode,
					 modes[mode].stack)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeFull(&dec, bytes, n, &insn, ops)))
		return -EINVAL;
	if (size && (ZYAN_FAILED(ZydisFormatterInit(&fmt,
					ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(&fmt, &insn, ops,
			insn.operand_count_visible, buf, size, rip, NULL))))
		snprintf(buf, size, "(%s)", ZydisMnemonicGetString(insn.mnemonic));
	return insn.length;
}
