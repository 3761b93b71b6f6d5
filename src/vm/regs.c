/* SPDX-License-Identifier: MIT */
/*
 * KVM_GET/SET of register state: general, special, FPU, XSAVE, XCR, debug.
 *
 * The structures are the API's; these functions move them from and to the
 * register cache and the backend. What a client may set is checked before
 * anything changes.
 */
#include <errno.h>
#include <string.h>

#include "emul/xstate.h"
#include "vm/emulate.h"
#include "vm/kvm_host.h"

/* kvm_regs names each register; this is where it keeps them. */
static const uint8_t regs_offset[X86_NR_GPRS] = {
#define R(n, m) [X86_##n] = offsetof(struct kvm_regs, m)
	R(RAX, rax), R(RCX, rcx), R(RDX, rdx), R(RBX, rbx), R(RSP, rsp),
	R(RBP, rbp), R(RSI, rsi), R(RDI, rdi), R(R8, r8), R(R9, r9),
	R(R10, r10), R(R11, r11), R(R12, r12), R(R13, r13), R(R14, r14),
	R(R15, r15),
#undef R
};

int kvm_vcpu_get_regs(struct kvm_vcpu *vcpu, struct kvm_regs *r)
{
	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		*(uint64_t *)((char *)r + regs_offset[i]) =
			kvm_register_read_raw(vcpu, i);
	r->rip = kvm_rip_read(vcpu);
	r->rflags = kvm_ops(vcpu)->get_rflags(vcpu);
	return 0;
}

int kvm_vcpu_set_regs(struct kvm_vcpu *vcpu, const struct kvm_regs *r)
{
	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		kvm_register_write_raw(vcpu, i,
			*(const uint64_t *)((const char *)r + regs_offset[i]));
	kvm_rip_write(vcpu, r->rip);
	kvm_ops(vcpu)->set_rflags(vcpu, r->rflags | X86_EFLAGS_FIXED);
	vcpu->arch.exception.pending = false;
	vcpu->arch.emul.in_progress = false;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	return 0;
}

static void segment_to_kvm(struct kvm_vcpu *vcpu, struct kvm_segment *k,
			   enum x86_seg seg)
{
	struct x86_segment s;

	kvm_ops(vcpu)->get_segment(vcpu, &s, seg);
	*k = (struct kvm_segment){
		.base = s.base, .limit = s.limit, .selector = s.selector,
		.type = FIELD_GET(X86_AR_TYPE, s.ar), .s = !!(s.ar & X86_AR_S),
		.dpl = FIELD_GET(X86_AR_DPL, s.ar), .present = !!(s.ar & X86_AR_P),
		.avl = !!(s.ar & X86_AR_AVL), .l = !!(s.ar & X86_AR_L),
		.db = !!(s.ar & X86_AR_DB), .g = !!(s.ar & X86_AR_G),
		.unusable = !!(s.ar & X86_AR_UNUSABLE),
	};
	if (k->unusable)
		k->present = 0;
}

static void segment_from_kvm(struct kvm_vcpu *vcpu, const struct kvm_segment *k,
			     enum x86_seg seg)
{
	struct x86_segment s = {
		.base = k->base, .limit = k->limit, .selector = k->selector,
		.ar = FIELD_PREP(X86_AR_TYPE, k->type & 15) | (k->s ? X86_AR_S : 0) |
		      FIELD_PREP(X86_AR_DPL, k->dpl & 3) | (k->present ? X86_AR_P : 0) |
		      (k->avl ? X86_AR_AVL : 0) | (k->l ? X86_AR_L : 0) |
		      (k->db ? X86_AR_DB : 0) | (k->g ? X86_AR_G : 0),
	};

	/* A segment that is not present cannot be used, whatever else it says. */
	if (k->unusable || !k->present)
		s.ar |= X86_AR_UNUSABLE;
	kvm_ops(vcpu)->set_segment(vcpu, &s, seg);
}

/* kvm_sregs' segments in the order of enum x86_seg. */
static const uint16_t sregs_segment[X86_NR_SEGS] = {
	offsetof(struct kvm_sregs, es), offsetof(struct kvm_sregs, cs),
	offsetof(struct kvm_sregs, ss), offsetof(struct kvm_sregs, ds),
	offsetof(struct kvm_sregs, fs), offsetof(struct kvm_sregs, gs),
	offsetof(struct kvm_sregs, ldt), offsetof(struct kvm_sregs, tr),
};

int kvm_vcpu_get_sregs(struct kvm_vcpu *vcpu, struct kvm_sregs *s)
{
	struct x86_dtable dt;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < X86_NR_SEGS; i++)
		segment_to_kvm(vcpu, (void *)((char *)s + sregs_segment[i]), i);
	kvm_ops(vcpu)->get_idt(vcpu, &dt);
	s->idt.base = dt.base;
	s->idt.limit = dt.limit;
	kvm_ops(vcpu)->get_gdt(vcpu, &dt);
	s->gdt.base = dt.base;
	s->gdt.limit = dt.limit;
	s->cr0 = kvm_read_cr0(vcpu);
	s->cr2 = vcpu->arch.cr2;
	s->cr3 = kvm_read_cr3(vcpu);
	s->cr4 = kvm_read_cr4(vcpu);
	s->cr8 = kvm_get_cr8(vcpu);
	s->efer = vcpu->arch.efer;
	s->apic_base = vcpu->arch.apic ? vcpu->arch.apic->base
				       : vcpu->arch.apic_base;
	if (vcpu->arch.interrupt.injected && !vcpu->arch.interrupt.soft)
		s->interrupt_bitmap[vcpu->arch.interrupt.nr / 64] |=
			BIT_ULL(vcpu->arch.interrupt.nr % 64);
	return 0;
}

static bool sregs_are_valid(struct kvm_vcpu *vcpu, const struct kvm_sregs *s)
{
	if ((s->efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG)) {
		if (!(s->cr4 & X86_CR4_PAE) || !(s->efer & X86_EFER_LMA))
			return false;
		if (!kvm_cr3_is_valid(vcpu, s->cr3))
			return false;
	} else if ((s->efer & X86_EFER_LMA) || s->cs.l) {
		return false;
	}
	if (s->cr4 & vcpu->arch.cr4_reserved)
		return false;
	if ((s->cr0 >> 32) || ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE)) ||
	    ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD)))
		return false;
	return true;
}

static int set_apic_base(struct kvm_vcpu *vcpu, uint64_t base)
{
	if (!vcpu->arch.apic) {
		vcpu->arch.apic_base = base;
		return 0;
	}
	return kvm_set_apic_base(vcpu->arch.apic, base, true) ? 0 : -EINVAL;
}

static void set_interrupt_bitmap(struct kvm_vcpu *vcpu, const uint64_t bitmap[4])
{
	for (int i = 0; i < 4; i++)
		if (bitmap[i])
			kvm_queue_interrupt(vcpu,
				i * 64 + __builtin_ctzll(bitmap[i]), false);
}

int kvm_vcpu_set_sregs(struct kvm_vcpu *vcpu, const struct kvm_sregs *s)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);
	struct x86_dtable idt = { s->idt.base, s->idt.limit };
	struct x86_dtable gdt = { s->gdt.base, s->gdt.limit };

	if (!sregs_are_valid(vcpu, s))
		return -EINVAL;
	if (set_apic_base(vcpu, s->apic_base))
		return -EINVAL;
	ops->set_idt(vcpu, &idt);
	ops->set_gdt(vcpu, &gdt);
	vcpu->arch.cr2 = s->cr2;
	ops->set_efer(vcpu, s->efer);
	ops->set_cr0(vcpu, s->cr0);
	ops->set_cr4(vcpu, s->cr4);
	ops->set_cr3(vcpu, s->cr3);
	kvm_set_cr8(vcpu, s->cr8 & 15);
	if ((s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) &&
	    !(s->efer & X86_EFER_LMA))
		kvm_load_pdptrs(vcpu, s->cr3);
	for (unsigned i = 0; i < X86_NR_SEGS; i++)
		segment_from_kvm(vcpu, (const void *)((const char *)s +
						      sregs_segment[i]), i);
	set_interrupt_bitmap(vcpu, (const uint64_t *)s->interrupt_bitmap);
	kvm_update_cpuid_runtime(vcpu);
	kvm_make_request(vcpu, KVM_REQ_TLB_FLUSH_GUEST);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	return 0;
}

/* The one-bit-a-register tag word of FXSAVE is what kvm_fpu has as well. */
int kvm_vcpu_get_fpu(struct kvm_vcpu *vcpu, struct kvm_fpu *f)
{
	const struct x86_fxsave *fx = &vcpu->arch.fpu.fx;

	memset(f, 0, sizeof(*f));
	memcpy(f->fpr, fx->st, sizeof(f->fpr));
	f->fcw = fx->fcw;
	f->fsw = fx->fsw;
	f->ftwx = fx->ftw;
	f->last_opcode = fx->fop;
	f->last_ip = fx->fip;
	f->last_dp = fx->fdp;
	memcpy(f->xmm, fx->xmm, sizeof(f->xmm));
	f->mxcsr = fx->mxcsr;
	return 0;
}

/* XSTATE_BV: which components of the area hold something. */
static uint64_t *xstate_bv(struct kvm_vcpu *vcpu)
{
	return (uint64_t *)(vcpu->arch.fpu.area + 512);
}

int kvm_vcpu_set_fpu(struct kvm_vcpu *vcpu, const struct kvm_fpu *f)
{
	struct x86_fxsave *fx = &vcpu->arch.fpu.fx;

	memcpy(fx->st, f->fpr, sizeof(f->fpr));
	fx->fcw = f->fcw;
	fx->fsw = f->fsw;
	fx->ftw = f->ftwx;
	fx->fop = f->last_opcode;
	fx->fip = f->last_ip;
	fx->fdp = f->last_dp;
	memcpy(fx->xmm, f->xmm, sizeof(f->xmm));
	fx->mxcsr = f->mxcsr & 0xffff;
	*xstate_bv(vcpu) |= X86_XCR0_X87 | X86_XCR0_SSE;
	return 0;
}

/*
 * PKRU is a register of the processor's and a component of the client's image. @image
 * may have any alignment.
 */
static void pkru_to_image(struct kvm_vcpu *vcpu, char *image)
{
	uint64_t pkru = hw_get_pkru(vcpu->hw), bv;

	memcpy(image + xstate(XSTATE_PKRU)->offset, &pkru, sizeof(pkru));
	memcpy(&bv, image + 512, sizeof(bv));
	bv = pkru ? bv | X86_XCR0_PKRU : bv & ~X86_XCR0_PKRU;
	memcpy(image + 512, &bv, sizeof(bv));
}

static void pkru_from_image(struct kvm_vcpu *vcpu, const char *image)
{
	uint32_t pkru = 0;

	if (*xstate_bv(vcpu) & X86_XCR0_PKRU)
		memcpy(&pkru, image + xstate(XSTATE_PKRU)->offset, sizeof(pkru));
	hw_set_pkru(vcpu->hw, pkru);
	*xstate_bv(vcpu) &= ~X86_XCR0_PKRU;
}

int kvm_vcpu_get_xsave(struct kvm_vcpu *vcpu, struct kvm_xsave *x)
{
	memcpy(x->region, vcpu->arch.fpu.area, sizeof(x->region));
	if (guest_has(vcpu, X86_FEATURE_PKU))
		pkru_to_image(vcpu, (char *)x->region);
	return 0;
}

int kvm_vcpu_set_xsave(struct kvm_vcpu *vcpu, const struct kvm_xsave *x)
{
	const uint64_t *header = (const uint64_t *)((const char *)x->region + 512);
	uint32_t mxcsr = x->region[6];
	uint64_t supported = X86_XCR0_X87 | X86_XCR0_SSE | hw_xcr0_model();

	if ((header[0] & ~supported) || header[1] || (mxcsr >> 16))
		return -EINVAL;
	memcpy(vcpu->arch.fpu.area, x->region, sizeof(x->region));
	pkru_from_image(vcpu, (const char *)x->region);
	return 0;
}

int kvm_vcpu_get_xcrs(struct kvm_vcpu *vcpu, struct kvm_xcrs *x)
{
	memset(x, 0, sizeof(*x));
	if (!guest_has(vcpu, X86_FEATURE_XSAVE))
		return 0;
	x->nr_xcrs = 1;
	x->xcrs[0].value = vcpu->arch.xcr0;
	return 0;
}

int kvm_vcpu_set_xcrs(struct kvm_vcpu *vcpu, const struct kvm_xcrs *x)
{
	if (!guest_has(vcpu, X86_FEATURE_XSAVE))
		return -EINVAL;
	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (unsigned i = 0; i < x->nr_xcrs; i++)
		if (!x->xcrs[i].xcr)
			return kvm_set_xcr(vcpu, 0, x->xcrs[i].value) ? -EINVAL : 0;
	return 0;
}

int kvm_vcpu_get_debugregs(struct kvm_vcpu *vcpu, struct kvm_debugregs *d)
{
	kvm_ops(vcpu)->sync_debug_regs(vcpu);
	memset(d, 0, sizeof(*d));
	memcpy(d->db, vcpu->arch.db, sizeof(d->db));
	d->dr6 = vcpu->arch.dr6;
	d->dr7 = vcpu->arch.dr7;
	return 0;
}

int kvm_vcpu_set_debugregs(struct kvm_vcpu *vcpu, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++)
		kvm_set_dr(vcpu, i, d->db[i]);
	kvm_set_dr(vcpu, 6, d->dr6);
	kvm_set_dr(vcpu, 7, d->dr7);
	return 0;
}

int kvm_vcpu_translate(struct kvm_vcpu *vcpu, struct kvm_translation *t)
{
	struct x86_exception e;
	gpa_t gpa;

	gpa = kvm_vcpu_gva_to_gpa(vcpu, t->linear_address, PAGING_READ, &e);
	t->physical_address = gpa;
	t->valid = gpa != INVALID_GPA;
	t->writeable = 1;
	t->usermode = 0;
	return 0;
}
