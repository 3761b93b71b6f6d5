/* SPDX-License-Identifier: MIT */
/*
 * FXSAVE and FXRSTOR (SDM Vol. 1, "FXSAVE Area"). Outside 64-bit mode the area has
 * 32-bit pointers with selectors (which are 0, see fpu.c) and XMM0-7 only; the other
 * registers are neither stored nor loaded. In 64-bit mode REX.W says which pointers.
 *
 * The last bytes of the area are software's and are not touched.
 */
#include "emul/fpu.h"

#define BYTES_8_XMM	288	/* through XMM7 */
#define BYTES_16_XMM	416	/* through XMM15 */

static unsigned image_bytes(const struct x86_emulate_ctxt *c)
{
	return emul_is_64bit(c) ? BYTES_16_XMM : BYTES_8_XMM;
}

static bool has_64bit_pointers(const struct x86_emulate_ctxt *c)
{
	return emul_is_64bit(c) && (c->insn->prefix & PFX_REX_W);
}

static int check(struct x86_emulate_ctxt *c, unsigned acc, uint64_t *la)
{
	/* CR0.EM: #NM on Intel's processors, #UD on AMD's. */
	int rc = c->vendor_amd ? fpu_check_mmx(c) : fpu_check_x87(c);

	return rc ? rc : fpu_image_la(c, 512, 16, acc, la);
}

int em_fxsave(struct x86_emulate_ctxt *c)
{
	struct x86_fxsave fx __attribute__((aligned(16)));
	struct x86_fpu_pointers ptr = c->fpu_ptr;
	uint64_t la, last;
	int rc = check(c, ACC_WRITE, &la);

	if (!rc)	/* all of it must be writable */
		rc = emul_read_la(c, la + 504, &last, 8,
				  ACC_WRITE | ACC_PROBE);
	if (rc)
		return rc;
	fpu_get(c);
	host_fxsave(&fx);
	fpu_put(c);
	if (ptr.valid) {
		fx.fip = ptr.fip;
		fx.fdp = ptr.fdp;
		fx.fop = ptr.fop;
	}
	if (!has_64bit_pointers(c)) {
		fx.fip = (uint32_t)fx.fip;
		fx.fdp = (uint32_t)fx.fdp;
	}
	return fpu_write_la(c, la, &fx, image_bytes(c));
}

int em_fxrstor(struct x86_emulate_ctxt *c)
{
	struct x86_fxsave fx __attribute__((aligned(16))), in;
	unsigned n = image_bytes(c), k;
	uint64_t la;
	int rc = check(c, 0, &la);

	if (!rc)	/* all of it, though the end is software's */
		rc = fpu_read_la(c, la, &in, sizeof(in));
	if (rc)
		return rc;
	if (in.mxcsr & fpu_mxcsr_reserved())
		return emul_gp(c, 0);
	if (!has_64bit_pointers(c)) {
		in.fip = (uint32_t)in.fip;
		in.fdp = (uint32_t)in.fdp;
	}
	fpu_get(c);
	host_fxsave(&fx);	/* for what the image does not have */
	fpu_put(c);
	for (k = 0; k < n; k++)
		((uint8_t *)&fx)[k] = ((uint8_t *)&in)[k];
	fpu_get(c);
	host_fxrstor(&fx);
	c->fpu_ptr.valid = false;
	fpu_put(c);
	return X86EMUL_CONTINUE;
}
