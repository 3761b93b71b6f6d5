/* SPDX-License-Identifier: MIT */
/*
 * The x87 environment and state in memory: FNSTENV, FLDENV, FNSAVE, FRSTOR in their
 * four formats (SDM Vol. 1, "x87 FPU State Image"): protected or real-address, 32-
 * or 16-bit operand size. The host's own instructions use the protected 32-bit one;
 * the others are made from it.
 *
 * FNSTENV masks all exceptions and FNSAVE initializes; both happen in the host's
 * registers and are taken back when the store faults.
 */
#include "emul/fpu.h"

/* Protected mode, 32-bit: what the host reads and writes. */
struct env32 {
	uint32_t cw, sw, tw, fip;
	uint32_t fcs_fop;	/* selector, opcode << 16 */
	uint32_t fdp, fds;
};

struct state32 {
	struct env32 env;
	uint8_t st[80];
};

#define ENV_BYTES32	28
#define ENV_BYTES16	14

static bool is_16bit(const struct x86_emulate_ctxt *c)
{
	return c->insn->opsize == 2;
}

static unsigned env_bytes(const struct x86_emulate_ctxt *c)
{
	return is_16bit(c) ? ENV_BYTES16 : ENV_BYTES32;
}

/* @host with the guest's own pointers @ptr, in the guest's format. */
static void env_to_guest(const struct x86_emulate_ctxt *c,
			 const struct x86_fpu_pointers *ptr,
			 const struct env32 *host, void *out)
{
	struct env32 copy = *host, *e = &copy;
	bool real = emul_is_real_like(c);
	uint16_t *w = out;
	uint32_t *d = out, fop, f[7], k;

	if (ptr->valid) {
		e->fip = ptr->fip;
		e->fdp = ptr->fdp;
		e->fcs_fop = (uint32_t)ptr->fop << 16;
		e->fds = 0xffff0000;
	}
	fop = e->fcs_fop >> 16 & 0x7ff;
	f[0] = e->cw;
	f[1] = e->sw;
	f[2] = e->tw;
	if (!real) {
		f[3] = e->fip;
		f[4] = is_16bit(c) ? e->fcs_fop & 0xffff : e->fcs_fop;
		f[5] = e->fdp;
		f[6] = e->fds;
	} else {
		f[3] = e->fip & 0xffff;
		f[4] = e->fip >> 16 << 12 | fop;
		f[5] = e->fdp & 0xffff;
		f[6] = e->fdp >> 16 << 12;
	}
	for (k = 0; k < 7; k++) {
		if (is_16bit(c))
			w[k] = f[k];
		else
			d[k] = f[k];
	}
}

static void env_from_guest(const struct x86_emulate_ctxt *c, const void *in,
			   struct env32 *e)
{
	const uint16_t *w = in;
	const uint32_t *d = in;
	uint32_t f[7], k;

	for (k = 0; k < 7; k++)
		f[k] = is_16bit(c) ? w[k] : d[k];
	*e = (struct env32){ f[0] | 0xffff0000, f[1] | 0xffff0000,
			     f[2] | 0xffff0000, f[3], f[4], f[5],
			     f[6] | 0xffff0000 };
	if (emul_is_real_like(c)) {
		e->fip = (f[3] & 0xffff) | (f[4] >> 12 & 0xffff) << 16;
		e->fcs_fop = (f[4] & 0x7ff) << 16;
		e->fdp = (f[5] & 0xffff) | (f[6] >> 12 & 0xffff) << 16;
		e->fds = 0xffff0000;
	}
}

static int open_image(struct x86_emulate_ctxt *c, unsigned bytes, unsigned acc,
		      uint64_t *la)
{
	int rc = fpu_check_x87(c);

	if (!rc)
		rc = emul_linearize_operand(c, bytes, acc, la);
	return rc ? rc : emul_check_aligned(c, *la, is_16bit(c) ? 2 : 4, acc);
}

int em_fnstenv(struct x86_emulate_ctxt *c)
{
	uint8_t out[ENV_BYTES32] __attribute__((aligned(4)));
	struct x86_fpu_pointers ptr = c->fpu_ptr;
	struct env32 env;
	uint64_t la;
	int rc = open_image(c, env_bytes(c), ACC_WRITE, &la);

	if (rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	fpu_put(c);
	env_to_guest(c, &ptr, &env, out);
	rc = fpu_write_la(c, la, out, env_bytes(c));
	if (!rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("fldenv %0" : : "m"(env));
	c->fpu_ptr = ptr;
	fpu_put(c);
	return rc;
}

/* FLDENV and FRSTOR wait: a pending exception comes first. */
static bool must_wait(struct x86_emulate_ctxt *c)
{
	bool pending;

	fpu_get(c);
	pending = fpu_is_pending();
	fpu_put(c);
	return pending;
}

int em_fldenv(struct x86_emulate_ctxt *c)
{
	uint8_t in[ENV_BYTES32] __attribute__((aligned(4)));
	struct env32 env;
	uint64_t la;
	int rc = fpu_check_x87(c);

	if (!rc && must_wait(c))
		rc = emul_fault(c, X86_MF);
	if (!rc)
		rc = open_image(c, env_bytes(c), 0, &la);
	if (rc)
		return rc;
	rc = fpu_read_la(c, la, in, env_bytes(c));
	if (rc)
		return rc;
	env_from_guest(c, in, &env);
	fpu_get(c);
	__asm__ volatile("fldenv %0" : : "m"(env));
	c->fpu_ptr.valid = false;
	fpu_put(c);
	return X86EMUL_CONTINUE;
}

int em_fnsave(struct x86_emulate_ctxt *c)
{
	unsigned head = env_bytes(c), k;
	uint8_t out[sizeof(struct state32)] __attribute__((aligned(4)));
	struct x86_fpu_pointers ptr = c->fpu_ptr;
	struct state32 state;
	uint64_t la;
	int rc = open_image(c, head + 80, ACC_WRITE, &la);

	if (rc)
		return rc;
	fpu_get(c);
	__asm__ volatile("fnsave %0" : "=m"(state));
	fpu_put(c);
	env_to_guest(c, &ptr, &state.env, out);
	for (k = 0; k < sizeof(state.st); k++)
		out[head + k] = state.st[k];
	rc = fpu_write_la(c, la, out, head + 80);
	if (!rc) {
		c->fpu_ptr.valid = false;
		return rc;
	}
	fpu_get(c);
	__asm__ volatile("frstor %0" : : "m"(state));
	c->fpu_ptr = ptr;
	fpu_put(c);
	return rc;
}

int em_frstor(struct x86_emulate_ctxt *c)
{
	unsigned head = env_bytes(c), k;
	uint8_t in[sizeof(struct state32)] __attribute__((aligned(4)));
	struct state32 state;
	uint64_t la;
	int rc = fpu_check_x87(c);

	if (!rc && must_wait(c))
		rc = emul_fault(c, X86_MF);
	if (!rc)
		rc = open_image(c, head + 80, 0, &la);
	if (rc)
		return rc;
	rc = fpu_read_la(c, la, in, head + 80);
	if (rc)
		return rc;
	env_from_guest(c, in, &state.env);
	for (k = 0; k < sizeof(state.st); k++)
		state.st[k] = in[head + k];
	fpu_get(c);
	__asm__ volatile("frstor %0" : : "m"(state));
	c->fpu_ptr.valid = false;
	fpu_put(c);
	return X86EMUL_CONTINUE;
}
