/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's struct x86_emulate_ops: how an emulated instruction reaches a
 * vCPU's memory, ports and registers.
 *
 * Memory goes through the guest's page tables, then to a memslot, to a device in
 * this process or to user space. Every read is remembered in the emulation's
 * cache, so that an instruction that runs again after an exit does not repeat it.
 */
#include <errno.h>
#include <string.h>

#include "base/access.h"
#include "obs/trace.h"
#include "vm/emulate.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

static struct kvm_vcpu *vcpu_of(struct x86_emulate_ctxt *c)
{
	return c->owner;
}

static int raise_gp(struct x86_emulate_ctxt *c)
{
	c->exception = (struct x86_exception){ .vector = X86_GP,
					       .has_error_code = true };
	return X86EMUL_PROPAGATE_FAULT;
}

void emulate_sync_cr(struct kvm_vcpu *vcpu)
{
	struct x86_emulate_ctxt *c = &vcpu->arch.emul.ctxt;

	c->cr0 = kvm_read_cr0(vcpu);
	c->cr3 = kvm_read_cr3(vcpu);
	c->cr4 = kvm_read_cr4(vcpu);
	c->efer = vcpu->arch.efer;
	emul_update_mode(c);
}

/* --- memory --------------------------------------------------------------------- */

static unsigned paging_access(const struct x86_emulate_ctxt *c, unsigned acc)
{
	unsigned a = acc & ACC_WRITE ? PAGING_READ | PAGING_WRITE : PAGING_READ;

	if (acc & ACC_FETCH)
		a = PAGING_EXEC;
	if (acc & ACC_SYSTEM)
		a |= KVM_GVA_IMPLICIT;
	else if ((acc & ACC_USER) || (c->cpl == 3 && !(acc & ACC_INNER)))
		a |= PAGING_USER;
	return a;
}

/* The part of an access that lies in one page. */
struct piece {
	gpa_t gpa;
	unsigned len;
};

static int translate(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		     unsigned acc, struct piece p[2])
{
	unsigned first = MIN(bytes, PAGE_SIZE - (la & ~PAGE_MASK));
	unsigned access = paging_access(c, acc);
	int rc = x86_check_alignment(c, la, bytes, acc);

	if (rc != X86EMUL_CONTINUE)
		return rc;
	p[0].len = first;
	p[1].len = bytes - first;
	for (unsigned i = 0; i < 2; i++) {
		if (!p[i].len)
			continue;
		p[i].gpa = kvm_vcpu_gva_to_gpa(vcpu_of(c), la + i * first, access,
					       &c->exception);
		if (p[i].gpa == INVALID_GPA)
			return X86EMUL_PROPAGATE_FAULT;
	}
	return X86EMUL_CONTINUE;
}

static bool is_mmio(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return !kvm_is_visible_gfn(vcpu->kvm, gpa >> PAGE_SHIFT);
}

/* Hands [gpa, gpa + len) to user space, in fragments of at most 8 bytes. */
static int queue_fragments(struct kvm_vcpu *vcpu, const struct piece *p, bool write,
			   const uint8_t *data)
{
	struct kvm_emulation *em = &vcpu->arch.emul;

	for (unsigned off = 0; off < p->len; off += 8) {
		struct kvm_mmio_fragment *f = &em->frag[em->nr_frags];

		if (em->nr_frags == KVM_MAX_MMIO_FRAGMENTS)
			return X86EMUL_UNHANDLEABLE;
		f->gpa = p->gpa + off;
		f->len = MIN(8u, p->len - off);
		if (write)
			memcpy(f->data, data + off, f->len);
		em->nr_frags++;
	}
	em->mmio_needed = true;
	em->mmio_is_write = write;
	return X86EMUL_CONTINUE;
}

static int read_mmio(struct kvm_vcpu *vcpu, const struct piece *p, uint8_t *val)
{
	struct kvm_emulation *em = &vcpu->arch.emul;
	unsigned done = 0;

	if (em->mmio_read_done) {	/* user space has answered */
		for (unsigned i = 0; i < em->nr_frags; i++) {
			struct kvm_mmio_fragment *f = &em->frag[i];

			if (f->gpa < p->gpa || f->gpa + f->len > p->gpa + p->len)
				continue;
			memcpy(val + (f->gpa - p->gpa), f->data, f->len);
			done += f->len;
		}
		if (done == p->len)
			return X86EMUL_CONTINUE;
		em->mmio_read_done = false;
	}
	if (p->len <= 8 && !vcpu_mmio_read(vcpu, p->gpa, p->len, val))
		return X86EMUL_CONTINUE;
	if (queue_fragments(vcpu, p, false, NULL))
		return X86EMUL_UNHANDLEABLE;
	return X86EMUL_IO_NEEDED;
}

static int read_piece(struct kvm_vcpu *vcpu, const struct piece *p, uint8_t *val)
{
	if (is_mmio(vcpu, p->gpa))
		return read_mmio(vcpu, p, val);
	if (kvm_read_guest(&vcpu->kvm->mem, p->gpa, val, p->len))
		return X86EMUL_HOST_ERROR;
	return X86EMUL_CONTINUE;
}

static int read_pieces(struct kvm_vcpu *vcpu, const struct piece p[2], uint8_t *val)
{
	int r, ret = X86EMUL_CONTINUE;

	if (!vcpu->arch.emul.mmio_read_done)
		vcpu->arch.emul.nr_frags = 0;
	for (unsigned i = 0; i < 2; i++) {
		if (!p[i].len)
			continue;
		r = read_piece(vcpu, &p[i], val + (i ? p[0].len : 0));
		if (r == X86EMUL_IO_NEEDED)
			ret = r;	/* the other piece may need it too */
		else if (r)
			return r;
	}
	if (ret == X86EMUL_CONTINUE && vcpu->arch.emul.mmio_read_done) {
		vcpu->arch.emul.mmio_read_done = false;
		vcpu->arch.emul.nr_frags = 0;
	}
	return ret;
}

/* Data breakpoints: the trap comes when the instruction is done (emulate.c). */
static void note_access(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
			unsigned acc)
{
	struct kvm_vcpu *vcpu = vcpu_of(c);

	if (!(acc & ACC_SYSTEM))
		vcpu->arch.db_hits |= hw_db_hits(vcpu->hw, la, bytes, acc & ACC_WRITE,
						 false);
}

static bool read_cached(struct kvm_emulation *em, void *val, unsigned bytes)
{
	if (em->read_pos + bytes > em->read_end)
		return false;
	memcpy(val, em->read_cache + em->read_pos, bytes);
	em->read_pos += bytes;
	return true;
}

static void remember_read(struct kvm_emulation *em, const void *val, unsigned bytes)
{
	if (em->read_end + bytes > sizeof(em->read_cache))
		return;
	memcpy(em->read_cache + em->read_end, val, bytes);
	em->read_end += bytes;
	em->read_pos = em->read_end;
}

static int emulator_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
			 unsigned bytes, unsigned acc)
{
	struct kvm_emulation *em = &vcpu_of(c)->arch.emul;
	struct piece p[2];
	int r;

	if (acc & ACC_PROBE)
		return translate(c, la, bytes, acc, p);
	note_access(c, la, bytes, acc);
	if (read_cached(em, val, bytes))
		return X86EMUL_CONTINUE;
	r = translate(c, la, bytes, acc, p);
	if (r)
		return r;
	r = read_pieces(vcpu_of(c), p, val);
	if (r == X86EMUL_CONTINUE)
		remember_read(em, val, bytes);
	return r;
}

static int write_piece(struct kvm_vcpu *vcpu, const struct piece *p, const uint8_t *val)
{
	if (is_mmio(vcpu, p->gpa) ||
	    kvm_gfn_is_readonly(vcpu->kvm, p->gpa >> PAGE_SHIFT)) {
		if (p->len <= 8 && !vcpu_mmio_write(vcpu, p->gpa, p->len, val))
			return X86EMUL_CONTINUE;
		return queue_fragments(vcpu, p, true, val);
	}
	if (kvm_write_guest(&vcpu->kvm->mem, p->gpa, val, p->len))
		return X86EMUL_HOST_ERROR;
	return X86EMUL_CONTINUE;
}

static int emulator_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
			  unsigned bytes, unsigned acc)
{
	struct piece p[2];
	int r = translate(c, la, bytes, acc | ACC_WRITE, p);

	if (!r)
		note_access(c, la, bytes, acc | ACC_WRITE);
	for (unsigned i = 0; i < 2 && !r; i++)
		if (p[i].len)
			r = write_piece(vcpu_of(c), &p[i],
					(const uint8_t *)val + (i ? p[0].len : 0));
	return r;
}

static int host_cmpxchg(void *p, void *old, const void *val, unsigned bytes,
			bool *done)
{
	switch (bytes) {
	case 1:
		return host_cmpxchg_8(p, old, *(const uint8_t *)val, done);
	case 2:
		return host_cmpxchg_16(p, old, *(const uint16_t *)val, done);
	case 4:
		return host_cmpxchg_32(p, old, *(const uint32_t *)val, done);
	case 8:
		return host_cmpxchg_64(p, old, *(const uint64_t *)val, done);
	default:
		return (uintptr_t)p & 15 ? -EFAULT
			: host_cmpxchg_128(p, old, val, done);
	}
}

/* -EAGAIN: @gpa is not memory that can be written. */
static int cmpxchg_memory(struct kvm_vcpu *vcpu, gpa_t gpa, void *old,
			  const void *val, unsigned bytes, bool *done)
{
	void *host;
	int r = -EAGAIN;

	kvm_mem_read_lock(&vcpu->kvm->mem);
	host = kvm_gpa_to_host(vcpu->kvm, gpa);
	if (host)
		r = host_cmpxchg(host, old, val, bytes, done);
	if (!r)
		mark_page_dirty(&vcpu->kvm->mem, gpa >> PAGE_SHIFT);
	kvm_mem_read_unlock(&vcpu->kvm->mem);
	return r;
}

/* Memory: the host's own locked instruction. A device knows no locks: a plain
 * write, as on a bus. */
static int emulator_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
			    const void *val, unsigned bytes, bool *done)
{
	struct kvm_vcpu *vcpu = vcpu_of(c);
	struct piece p[2];
	int r = translate(c, la, bytes, ACC_WRITE | ACC_LOCKED, p);

	if (r)
		return r;
	note_access(c, la, bytes, ACC_WRITE);
	if (!p[1].len) {
		r = cmpxchg_memory(vcpu, p[0].gpa, old, val, bytes, done);
		if (r != -EAGAIN)
			return r ? X86EMUL_HOST_ERROR : X86EMUL_CONTINUE;
	}
	*done = true;
	return emulator_write(c, la, val, bytes, 0);
}

/* --- ports -------------------------------------------------------------------------- */

static int emulator_pio_in(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
			   void *val, unsigned *count)
{
	struct kvm_vcpu *vcpu = vcpu_of(c);
	struct kvm_pio_request *pio = &vcpu->arch.pio;
	struct kvm_io_bus *bus = &vcpu->kvm->irqchip.bus[KVM_PIO_BUS];
	unsigned n;

	vcpu->arch.db_hits |= hw_db_hits(vcpu->hw, port, size, false, true);
	if (pio->ready) {
		*count = MIN(*count, pio->count);
		memcpy(val, vcpu->pio_data, size * *count);
		*pio = (struct kvm_pio_request){ 0 };
		return X86EMUL_CONTINUE;
	}
	for (n = 0; n < *count; n++)
		if (kvm_io_bus_read(bus, vcpu, port, size, (char *)val + n * size))
			break;
	if (n) {
		*count = n;
		return X86EMUL_CONTINUE;
	}
	*pio = (struct kvm_pio_request){ .port = port, .size = size, .in = true,
		.count = MIN(*count, KVM_PIO_PAGE / size) };
	return X86EMUL_IO_NEEDED;
}

static int emulator_pio_out(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
			    const void *val, unsigned *count)
{
	struct kvm_vcpu *vcpu = vcpu_of(c);
	struct kvm_io_bus *bus = &vcpu->kvm->irqchip.bus[KVM_PIO_BUS];
	unsigned n;

	vcpu->arch.db_hits |= hw_db_hits(vcpu->hw, port, size, true, true);
	for (n = 0; n < *count; n++)
		if (kvm_io_bus_write(bus, vcpu, port, size,
				     (const char *)val + n * size))
			break;
	if (n) {
		*count = n;
		return X86EMUL_CONTINUE;
	}
	*count = MIN(*count, KVM_PIO_PAGE / size);
	vcpu->arch.pio = (struct kvm_pio_request){ .port = port, .size = size,
		.count = *count };
	memcpy(vcpu->pio_data, val, size * *count);
	trace_kvm_pio(false, port, size, *count, *(const uint8_t *)val);
	return X86EMUL_CONTINUE;
}

/* --- registers with side effects ------------------------------------------------------- */

static int emulator_set_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
				const struct x86_segment *s)
{
	kvm_ops(vcpu_of(c))->set_segment(vcpu_of(c), s, seg);
	c->seg[seg] = *s;
	emul_update_mode(c);
	return X86EMUL_CONTINUE;
}

static int emulator_set_dtable(struct x86_emulate_ctxt *c, bool idt,
			       const struct x86_dtable *dt)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu_of(c));

	(idt ? ops->set_idt : ops->set_gdt)(vcpu_of(c), dt);
	*(idt ? &c->idt : &c->gdt) = *dt;
	return X86EMUL_CONTINUE;
}

static int emulator_get_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	struct kvm_vcpu *vcpu = vcpu_of(c);

	switch (nr) {
	case 0:
		*val = kvm_read_cr0(vcpu);
		return X86EMUL_CONTINUE;
	case 2:
		*val = vcpu->arch.cr2;
		return X86EMUL_CONTINUE;
	case 3:
		*val = kvm_read_cr3(vcpu);
		return X86EMUL_CONTINUE;
	case 4:
		*val = kvm_read_cr4(vcpu);
		return X86EMUL_CONTINUE;
	case 8:
		*val = kvm_get_cr8(vcpu);
		return X86EMUL_CONTINUE;
	default:
		return X86EMUL_UNHANDLEABLE;
	}
}

static int set_cr(struct kvm_vcpu *vcpu, unsigned nr, uint64_t val)
{
	switch (nr) {
	case 0:
		return kvm_set_cr0(vcpu, val);
	case 2:
		vcpu->arch.cr2 = val;
		return 0;
	case 3:
		return kvm_set_cr3(vcpu, val);
	case 4:
		return kvm_set_cr4(vcpu, val);
	default:
		return kvm_set_cr8(vcpu, val);
	}
}

static int emulator_set_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	if (set_cr(vcpu_of(c), nr, val))
		return raise_gp(c);
	emulate_sync_cr(vcpu_of(c));
	return X86EMUL_CONTINUE;
}

static int emulator_get_dr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	kvm_get_dr(vcpu_of(c), nr, val);
	return X86EMUL_CONTINUE;
}

static int emulator_set_dr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	return kvm_set_dr(vcpu_of(c), nr, val) ? raise_gp(c) : X86EMUL_CONTINUE;
}

static int emulator_get_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t *val)
{
	return kvm_get_msr(vcpu_of(c), msr, val, false) ? raise_gp(c)
							: X86EMUL_CONTINUE;
}

static int emulator_set_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t val)
{
	if (kvm_set_msr(vcpu_of(c), msr, val, false))
		return raise_gp(c);
	emulate_sync_cr(vcpu_of(c));
	return X86EMUL_CONTINUE;
}

static int emulator_set_xcr(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t val)
{
	if (kvm_set_xcr(vcpu_of(c), nr, val))
		return raise_gp(c);
	c->xcr0 = val;
	return X86EMUL_CONTINUE;
}

static void emulator_pkru_changed(struct x86_emulate_ctxt *c)
{
	hw_set_pkru(vcpu_of(c)->hw, c->pkru);
}

static int emulator_get_tsc(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux)
{
	uint64_t v = 0;

	*tsc = kvm_read_l1_tsc(vcpu_of(c), __builtin_ia32_rdtsc());
	kvm_get_msr(vcpu_of(c), 0xc0000103, &v, true);
	*aux = v;
	return X86EMUL_CONTINUE;
}

static int emulator_cpuid(struct x86_emulate_ctxt *c, uint32_t *eax, uint32_t *ebx,
			  uint32_t *ecx, uint32_t *edx)
{
	kvm_cpuid(vcpu_of(c), eax, ebx, ecx, edx);
	return X86EMUL_CONTINUE;
}

static int emulator_invlpg(struct x86_emulate_ctxt *c, uint64_t la)
{
	kvm_ops(vcpu_of(c))->flush_tlb_gva(vcpu_of(c), la);
	return X86EMUL_CONTINUE;
}

static int emulator_wbinvd(struct x86_emulate_ctxt *c)
{
	return X86EMUL_CONTINUE;	/* guest memory is the host's, coherent */
}

static int emulator_intercept(struct x86_emulate_ctxt *c, enum x86_intercept id,
			      uint64_t arg, uint64_t val)
{
	return X86EMUL_CONTINUE;	/* no nested guest */
}

static void emulator_eflags_changed(struct x86_emulate_ctxt *c)
{
	kvm_make_request(vcpu_of(c), KVM_REQ_EVENT);
}

static void emulator_iret_done(struct x86_emulate_ctxt *c)
{
	kvm_ops(vcpu_of(c))->set_nmi_mask(vcpu_of(c), false);
}

/*
 * FPU instructions on MMIO (a memcpy by SSE to a frame buffer). The host's state
 * is put aside for the one instruction.
 */
static __thread struct x86_fpu host_fpu;

static void emulator_get_fpu(struct x86_emulate_ctxt *c)
{
	hw_fpu_swap_in(&host_fpu, c->fpu,
		       guest_has(vcpu_of(c), X86_FEATURE_XSAVE));
}

static void emulator_put_fpu(struct x86_emulate_ctxt *c)
{
	hw_fpu_swap_out(&host_fpu, c->fpu,
			guest_has(vcpu_of(c), X86_FEATURE_XSAVE));
	emul_fpu_saved(c);
}

const struct x86_emulate_ops kvm_emulate_ops = {
	.read = emulator_read,
	.write = emulator_write,
	.cmpxchg = emulator_cmpxchg,
	.pio_in = emulator_pio_in,
	.pio_out = emulator_pio_out,
	.intercept = emulator_intercept,
	.set_segment = emulator_set_segment,
	.set_dtable = emulator_set_dtable,
	.get_cr = emulator_get_cr,
	.set_cr = emulator_set_cr,
	.get_dr = emulator_get_dr,
	.set_dr = emulator_set_dr,
	.get_msr = emulator_get_msr,
	.set_msr = emulator_set_msr,
	.set_xcr = emulator_set_xcr,
	.pkru_changed = emulator_pkru_changed,
	.get_tsc = emulator_get_tsc,
	.eflags_changed = emulator_eflags_changed,
	.cpuid = emulator_cpuid,
	.invlpg = emulator_invlpg,
	.wbinvd = emulator_wbinvd,
	.iret_done = emulator_iret_done,
	.get_fpu = emulator_get_fpu,
	.put_fpu = emulator_put_fpu,
};
