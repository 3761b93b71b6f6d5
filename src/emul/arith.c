/* SPDX-License-Identifier: MIT */
/*
 * Addition and subtraction: ADD ADC SUB SBB CMP INC DEC NEG ADCX ADOX.
 *
 * INC and DEC leave CF alone; ADCX changes CF only, ADOX OF only (SDM Vol. 2,
 * the instructions' "Flags Affected").
 */
#include "emul/by_size.h"

HANDLER_BINARY(add)
HANDLER_BINARY(adc)
HANDLER_BINARY(sub)
HANDLER_BINARY(sbb)
HANDLER_FLAGS(cmp)
HANDLER_UNARY(inc)
HANDLER_UNARY(dec)
HANDLER_UNARY(neg)

/* dst + src + the flag @f, whose place the carry out takes. */
static int add_with(struct x86_emulate_ctxt *c, uint64_t f)
{
	uint64_t mask = emul_mask(c->dst.bytes);
	uint64_t a = c->dst.val & mask, b = c->src.val & mask;
	uint64_t in = !!(c->eflags & f), sum = (a + b + in) & mask;

	/* Carry: the sum is below an addend, or equal to it with b + in = 0. */
	emul_set_flags(c, f, sum < a || (in && sum == a) ? f : 0);
	c->dst.val = sum;
	return X86EMUL_CONTINUE;
}

int em_adcx(struct x86_emulate_ctxt *c)
{
	return add_with(c, X86_EFLAGS_CF);
}

int em_adox(struct x86_emulate_ctxt *c)
{
	return add_with(c, X86_EFLAGS_OF);
}
