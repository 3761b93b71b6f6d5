/* SPDX-License-Identifier: MIT */
/*
 * Port and memory-mapped I/O: devices in this process first, then kvm_run.
 *
 * An exit to user space leaves a completion behind (complete_userspace_io) that
 * the next KVM_RUN calls: it takes the answer, or hands out the next fragment.
 */
#include <errno.h>
#include <string.h>

#include "obs/trace.h"
#include "vm/emulate.h"
#include "vm/kvm_host.h"

/* --- devices in this process ------------------------------------------------------ */

static uint64_t low_bytes(const void *p, unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, p, MIN(len, 8u));
	return v;
}

int vcpu_mmio_read(struct kvm_vcpu *vcpu, gpa_t gpa, unsigned len, void *val)
{
	int r = -EOPNOTSUPP;

	if (vcpu->arch.apic)
		r = kvm_lapic_mmio_read(vcpu->arch.apic, gpa, len, val);
	if (r)
		r = kvm_io_bus_read(&vcpu->kvm->irqchip.bus[KVM_MMIO_BUS], vcpu, gpa,
				    len, val);
	if (!r)
		trace_kvm_mmio("read", len, gpa, low_bytes(val, len));
	return r;
}

int vcpu_mmio_write(struct kvm_vcpu *vcpu, gpa_t gpa, unsigned len, const void *val)
{
	int r = -EOPNOTSUPP;

	if (vcpu->arch.apic)
		r = kvm_lapic_mmio_write(vcpu->arch.apic, gpa, len, val);
	if (r)
		r = kvm_io_bus_write(&vcpu->kvm->irqchip.bus[KVM_MMIO_BUS], vcpu, gpa,
				     len, val);
	if (r && kvm_coalesced_write(&vcpu->kvm->coalesced, gpa, len, val, false))
		r = 0;
	trace_kvm_mmio("write", len, gpa, low_bytes(val, len));
	return r;
}

/* --- MMIO to user space ---------------------------------------------------------------- */

static enum kvm_exit_result complete_emulated_mmio(struct kvm_vcpu *vcpu);

enum kvm_exit_result kvm_mmio_to_user(struct kvm_vcpu *vcpu)
{
	struct kvm_emulation *em = &vcpu->arch.emul;
	struct kvm_mmio_fragment *f = &em->frag[em->cur_frag];
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = f->gpa;
	run->mmio.len = f->len;
	run->mmio.is_write = em->mmio_is_write;
	if (em->mmio_is_write)
		memcpy(run->mmio.data, f->data, f->len);
	vcpu->stat.mmio_exits++;
	vcpu->arch.complete_userspace_io = complete_emulated_mmio;
	return KVM_TO_USER;
}

static enum kvm_exit_result complete_emulated_mmio(struct kvm_vcpu *vcpu)
{
	struct kvm_emulation *em = &vcpu->arch.emul;
	struct kvm_mmio_fragment *f = &em->frag[em->cur_frag];

	if (!em->mmio_is_write) {
		memcpy(f->data, vcpu->run->mmio.data, f->len);
		trace_kvm_mmio("read", f->len, f->gpa, low_bytes(f->data, f->len));
	}
	if (++em->cur_frag < em->nr_frags)
		return kvm_mmio_to_user(vcpu);
	em->cur_frag = 0;
	em->mmio_needed = false;
	if (em->mmio_is_write) {
		em->nr_frags = 0;
		return KVM_HANDLED;
	}
	if (!em->in_progress)		/* registers were set meanwhile */
		return KVM_HANDLED;
	em->mmio_read_done = true;
	return x86_emulate_instruction(vcpu, 0, EMULTYPE_NO_DECODE | em->type);
}

/* --- ports to user space ----------------------------------------------------------------- */

static void fill_io_exit(struct kvm_vcpu *vcpu)
{
	const struct kvm_pio_request *pio = &vcpu->arch.pio;
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = pio->in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = pio->size;
	run->io.port = pio->port;
	run->io.count = pio->count;
	run->io.data_offset = KVM_PIO_PAGE_OFFSET * PAGE_SIZE;
	vcpu->stat.io_exits++;
}

static enum kvm_exit_result complete_emulated_pio(struct kvm_vcpu *vcpu)
{
	struct kvm_pio_request *pio = &vcpu->arch.pio;

	if (!pio->in) {
		pio->count = 0;
		return KVM_HANDLED;
	}
	if (!vcpu->arch.emul.in_progress) {
		pio->count = 0;
		return KVM_HANDLED;
	}
	pio->ready = true;
	trace_kvm_pio(true, pio->port, pio->size, pio->count,
		      low_bytes(vcpu->pio_data, pio->size));
	return x86_emulate_instruction(vcpu, 0,
				       EMULTYPE_NO_DECODE | vcpu->arch.emul.type);
}

enum kvm_exit_result kvm_pio_to_user(struct kvm_vcpu *vcpu)
{
	fill_io_exit(vcpu);
	vcpu->arch.complete_userspace_io = complete_emulated_pio;
	return KVM_TO_USER;
}

/* --- IN and OUT, without the emulator -------------------------------------------------------- */

static uint64_t merge_rax(uint64_t rax, uint32_t val, unsigned size)
{
	switch (size) {
	case 1:
		return (rax & ~0xffull) | (val & 0xff);
	case 2:
		return (rax & ~0xffffull) | (val & 0xffff);
	default:
		return val;
	}
}

/* The client may have moved RIP (a reset by port): then there is nothing to skip. */
static enum kvm_exit_result skip_if_still_there(struct kvm_vcpu *vcpu)
{
	vcpu->arch.pio.count = 0;
	if (kvm_rip_read(vcpu) != vcpu->arch.emul.ctxt.rip) {
		vcpu->arch.db_hits = 0;
		return KVM_HANDLED;
	}
	return kvm_skip_emulated_instruction(vcpu);
}

static enum kvm_exit_result complete_fast_pio_out(struct kvm_vcpu *vcpu)
{
	return skip_if_still_there(vcpu);
}

static enum kvm_exit_result complete_fast_pio_in(struct kvm_vcpu *vcpu)
{
	struct kvm_pio_request *pio = &vcpu->arch.pio;
	uint32_t val = low_bytes(vcpu->pio_data, pio->size);

	trace_kvm_pio(true, pio->port, pio->size, 1, val);
	if (kvm_rip_read(vcpu) == vcpu->arch.emul.ctxt.rip)
		kvm_register_write_raw(vcpu, X86_RAX,
			merge_rax(kvm_register_read_raw(vcpu, X86_RAX), val,
				  pio->size));
	return skip_if_still_there(vcpu);
}

static enum kvm_exit_result fast_pio_to_user(struct kvm_vcpu *vcpu, unsigned size,
					     uint16_t port, bool in)
{
	vcpu->arch.pio = (struct kvm_pio_request){
		.port = port, .size = size, .count = 1, .in = in };
	vcpu->arch.emul.ctxt.rip = kvm_rip_read(vcpu);
	fill_io_exit(vcpu);
	vcpu->arch.complete_userspace_io = in ? complete_fast_pio_in
					      : complete_fast_pio_out;
	return KVM_TO_USER;
}

enum kvm_exit_result kvm_fast_pio(struct kvm_vcpu *vcpu, unsigned size,
				  uint16_t port, bool in)
{
	struct kvm_io_bus *bus = &vcpu->kvm->irqchip.bus[KVM_PIO_BUS];
	uint64_t rax = kvm_register_read_raw(vcpu, X86_RAX);
	uint32_t val = rax;

	vcpu->arch.db_hits = hw_db_hits(vcpu->hw, port, size, !in, true);
	if (in) {
		if (kvm_io_bus_read(bus, vcpu, port, size, &val))
			return fast_pio_to_user(vcpu, size, port, true);
		trace_kvm_pio(true, port, size, 1, val);
		kvm_register_write_raw(vcpu, X86_RAX, merge_rax(rax, val, size));
		return kvm_skip_emulated_instruction(vcpu);
	}
	trace_kvm_pio(false, port, size, 1, low_bytes(&val, size));
	if (!kvm_io_bus_write(bus, vcpu, port, size, &val) ||
	    kvm_coalesced_write(&vcpu->kvm->coalesced, port, size, &val, true))
		return kvm_skip_emulated_instruction(vcpu);
	memcpy(vcpu->pio_data, &val, size);
	return fast_pio_to_user(vcpu, size, port, false);
}
