/* SPDX-License-Identifier: MIT */
/*
 * What a person wants to see when a guest came to grief: general registers,
 * segments, control registers, the last exit, the bytes at RIP and what they
 * mean. It only reads, and it reads through KVM_TRANSLATE, so that it shows
 * what the guest's own page tables say; where those do not reach, it says so.
 */
#include <stdio.h>
#include <string.h>
#include "isa/text.h"
#include "vmm.h"
#include "x86/regs.h"

#define CODE_BYTES	15	/* the longest instruction */
#define LINES_SHOWN	4

static void dump_regs(const struct kvm_regs *r)
{
	static const char *const names[] = {
		"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		"rip", "rflags",
	};
	const __u64 *v = &r->rax;	/* the structure has this order */

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		fprintf(stderr, "  %-6s %016llx%s", names[i],
			(unsigned long long)v[i], i % 4 == 3 ? "\n" : "");
	fputc('\n', stderr);
}

static void dump_segment(const char *name, const struct kvm_segment *s)
{
	fprintf(stderr,
		"  %-4s %04x base %016llx limit %08x type %x dpl %u%s%s%s%s%s%s\n",
		name, s->selector, (unsigned long long)s->base, s->limit,
		s->type, s->dpl, s->present ? " p" : "", s->s ? " s" : "",
		s->db ? " db" : "", s->l ? " l" : "", s->g ? " g" : "",
		s->unusable ? " unusable" : "");
}

static void dump_sregs(const struct kvm_sregs *s)
{
	const struct {
		const char *name;
		const struct kvm_segment *seg;
	} segs[] = {
		{ "cs", &s->cs }, { "ss", &s->ss }, { "ds", &s->ds },
		{ "es", &s->es }, { "fs", &s->fs }, { "gs", &s->gs },
		{ "tr", &s->tr }, { "ldt", &s->ldt },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		dump_segment(segs[i].name, segs[i].seg);
	fprintf(stderr, "  gdt  base %016llx limit %04x   idt base %016llx limit %04x\n",
		(unsigned long long)s->gdt.base, s->gdt.limit,
		(unsigned long long)s->idt.base, s->idt.limit);
	fprintf(stderr, "  cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx\n",
		(unsigned long long)s->cr0, (unsigned long long)s->cr2,
		(unsigned long long)s->cr3, (unsigned long long)s->cr4);
	fprintf(stderr, "  efer %04llx  cr8 %llx  apic_base %llx\n",
		(unsigned long long)s->efer, (unsigned long long)s->cr8,
		(unsigned long long)s->apic_base);
}

static enum x86_mode mode_of(const struct kvm_sregs *s, uint64_t rflags)
{
	if (!(s->cr0 & X86_CR0_PE))
		return X86_MODE_REAL;
	if (rflags & X86_EFLAGS_VM)
		return X86_MODE_VM86;
	if ((s->efer & X86_EFER_LMA) && s->cs.l)
		return X86_MODE_PROT64;
	return s->cs.db ? X86_MODE_PROT32 : X86_MODE_PROT16;
}

/* Bytes at the linear address @la, up to the first that cannot be read. */
static unsigned read_code(struct vcpu *c, uint64_t la, uint8_t *buf, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct kvm_translation t = { .linear_address = la + i };
		const uint8_t *p;

		if (vmm_ioctl(c->vmm, c->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
			return i;
		p = ram_at(&c->vmm->ram, t.physical_address, 1);
		if (!p)
			return i;
		buf[i] = *p;
	}
	return n;
}

static void dump_code(struct vcpu *c, const struct kvm_regs *r,
		      const struct kvm_sregs *s)
{
	enum x86_mode mode = mode_of(s, r->rflags);
	uint64_t base = mode == X86_MODE_PROT64 ? 0 : s->cs.base;
	uint8_t bytes[CODE_BYTES * LINES_SHOWN] = { 0 };
	unsigned n = read_code(c, base + r->rip, bytes, sizeof(bytes));
	unsigned pos = 0;
	char text[96] = "";

	if (!n)
		fprintf(stderr, "  code at %llx: not readable\n",
			(unsigned long long)(base + r->rip));
	for (unsigned line = 0; line < LINES_SHOWN && pos < n; line++) {
		int len = x86_insn_text(bytes + pos, n - pos, mode,
					r->rip + pos, text, sizeof(text));
		unsigned shown = len > 0 ? (unsigned)len
					 : MIN(n - pos, (unsigned)CODE_BYTES);

		fprintf(stderr, "  %s%llx: ", line ? "   " : "=> ",
			(unsigned long long)(r->rip + pos));
		for (unsigned i = 0; i < shown; i++)
			fprintf(stderr, "%02x ", bytes[pos + i]);
		fprintf(stderr, " %s\n", text);
		if (len <= 0)
			break;
		pos += len;
	}
}

static void dump_exit(const struct kvm_run *run)
{
	fprintf(stderr, "  last exit %u (%s)", run->exit_reason,
		vcpu_exit_name(run->exit_reason));
	if (run->exit_reason == KVM_EXIT_IO)
		fprintf(stderr, ": %s port %#x size %u count %u",
			run->io.direction ? "out" : "in", run->io.port,
			run->io.size, run->io.count);
	if (run->exit_reason == KVM_EXIT_MMIO)
		fprintf(stderr, ": %s %#llx len %u",
			run->mmio.is_write ? "write" : "read",
			(unsigned long long)run->mmio.phys_addr, run->mmio.len);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		for (unsigned i = 0; i < MIN(run->internal.ndata, 16u); i++)
			fprintf(stderr, " %llx",
				(unsigned long long)run->internal.data[i]);
	fputc('\n', stderr);
}

void vcpu_dump(struct vcpu *c)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct kvm_regs r;
	struct kvm_sregs s;
	int err = vmm_ioctl(c->vmm, c->fd, KVM_GET_REGS, &r);

	if (err >= 0)
		err = vmm_ioctl(c->vmm, c->fd, KVM_GET_SREGS, &s);
	pthread_mutex_lock(&lock);
	fprintf(stderr, "vCPU %u:\n", c->id);
	if (err < 0) {
		fprintf(stderr, "  cannot read its registers: %s\n",
			strerror(-err));
	} else {
		dump_regs(&r);
		dump_sregs(&s);
		dump_exit(c->run);
		dump_code(c, &r, &s);
	}
	pthread_mutex_unlock(&lock);
}
