// SPDX-License-Identifier: MIT
/*
 * The tests' owner of an emulator context; see harness.h.
 *
 * The callbacks do what emulate.h asks of them: both pages of an access are checked
 * before a byte moves, faults are #PFs with the right error code, cmpxchg is atomic
 * as far as one thread can tell.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"

static struct vm *to_vm(struct x86_emulate_ctxt *c)
{
	return (struct vm *)c;
}

static int page_fault(struct x86_emulate_ctxt *c, uint64_t la, unsigned acc,
		      bool present)
{
	c->exception = (struct x86_exception){
		.vector = X86_PF,
		.has_error_code = true,
		.error_code = (present ? X86_PFERR_P : 0) |
			      (acc & ACC_WRITE ? X86_PFERR_W : 0) |
			      (c->cpl == 3 && !(acc & (ACC_SYSTEM | ACC_INNER)) ?
			       X86_PFERR_U : 0),
		.address = la,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

static int check(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
		 unsigned acc)
{
	struct vm *vm = to_vm(c);
	unsigned need = acc & ACC_WRITE ? VM_PROT_W : VM_PROT_R;
	uint64_t last = la + bytes - 1, at = la;	/* may wrap */

	if (vm->identity)
		return X86EMUL_CONTINUE;
	for (;;) {
		if (at >= VM_MEM_SIZE || !vm->prot[at / PAGE_SIZE])
			return page_fault(c, at, acc, false);
		if (!(vm->prot[at / PAGE_SIZE] & need))
			return page_fault(c, at, acc, true);
		if ((at & PAGE_MASK) == (last & PAGE_MASK))
			return X86EMUL_CONTINUE;
		at = last & PAGE_MASK;
	}
}

static uint8_t *host(struct vm *vm, uint64_t la)
{
	return vm->identity ? (uint8_t *)la : vm->mem + la;
}

static void fill_tlb(struct vm *vm, uint64_t la, unsigned acc)
{
	uint64_t page = la & PAGE_MASK;
	struct x86_tlb_entry *e;

	if (vm->c.tlb == x86_tlb_empty || acc & (ACC_SYSTEM | ACC_USER | ACC_INNER))
		return;
	e = &vm->c.tlb[(la >> PAGE_SHIFT) & vm->c.tlb_mask];
	e->tag[X86_TLB_READ] = page | vm->c.tlb_key;
	e->tag[X86_TLB_WRITE] = X86_TLB_NONE;
	if (vm->identity || vm->prot[page / PAGE_SIZE] & VM_PROT_W)
		e->tag[X86_TLB_WRITE] = page | vm->c.tlb_key;
	e->addend = (uintptr_t)host(vm, la) - la;
}

static int op_read(struct x86_emulate_ctxt *c, uint64_t la, void *val,
		   unsigned bytes, unsigned acc)
{
	struct vm *vm = to_vm(c);
	int rc = check(c, la, bytes, acc);

	if (rc)
		return rc;
	vm->reads++;
	memcpy(val, host(vm, la), bytes);
	fill_tlb(vm, la, acc);
	return X86EMUL_CONTINUE;
}

static int op_write(struct x86_emulate_ctxt *c, uint64_t la, const void *val,
		    unsigned bytes, unsigned acc)
{
	struct vm *vm = to_vm(c);
	int rc = check(c, la, bytes, acc | ACC_WRITE);

	if (rc)
		return rc;
	vm->writes++;
	memcpy(host(vm, la), val, bytes);
	fill_tlb(vm, la, acc);
	return X86EMUL_CONTINUE;
}

static int op_cmpxchg(struct x86_emulate_ctxt *c, uint64_t la, void *old,
		      const void *val, unsigned bytes, bool *done)
{
	struct vm *vm = to_vm(c);
	int rc = check(c, la, bytes, ACC_WRITE);

	if (rc)
		return rc;
	vm->cmpxchgs++;
	*done = !memcmp(host(vm, la), old, bytes);
	if (*done)
		memcpy(host(vm, la), val, bytes);
	else
		memcpy(old, host(vm, la), bytes);
	return X86EMUL_CONTINUE;
}

static int op_intercept(struct x86_emulate_ctxt *c, enum x86_intercept id,
			uint64_t arg, uint64_t val)
{
	struct vm *vm = to_vm(c);

	if (id != vm->trip || vm->trip == X86_INTERCEPT_NONE)
		return X86EMUL_CONTINUE;
	vm->tripped = id;
	vm->trip_arg = arg;
	return X86EMUL_INTERCEPTED;
}

/* What both directions do first; true: no more is to be done. */
static bool note_io(struct vm *vm, uint16_t port, unsigned size, unsigned *count)
{
	vm->io_calls++;
	vm->io_port = port;
	vm->io_size = size;
	if (vm->io_result)
		return true;
	if (vm->io_max && *count > vm->io_max)
		*count = vm->io_max;
	vm->io_count += *count;
	return false;
}

static int op_pio_in(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		     void *val, unsigned *count)
{
	struct vm *vm = to_vm(c);
	unsigned i;

	if (note_io(vm, port, size, count))
		return vm->io_result;
	for (i = 0; i < *count * size; i++)
		((uint8_t *)val)[i] = vm->io_bytes++;
	return X86EMUL_CONTINUE;
}

static int op_pio_out(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		      const void *val, unsigned *count)
{
	struct vm *vm = to_vm(c);
	unsigned n;

	if (note_io(vm, port, size, count))
		return vm->io_result;
	if (vm->io_bytes >= sizeof(vm->io_log))
		return X86EMUL_CONTINUE;
	n = MIN(*count * size, sizeof(vm->io_log) - vm->io_bytes);
	memcpy(vm->io_log + vm->io_bytes, val, n);
	vm->io_bytes += n;
	return X86EMUL_CONTINUE;
}

static void op_eflags_changed(struct x86_emulate_ctxt *c)
{
	to_vm(c)->eflags_changes++;
}

static int op_get_tsc(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux)
{
	*tsc = 0x123456789abcdef0;
	*aux = 0x77;
	return X86EMUL_CONTINUE;
}

static int op_get_pmc(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t *val)
{
	*val = 0x1100000000 + nr;
	return X86EMUL_CONTINUE;
}

static int op_cpuid(struct x86_emulate_ctxt *c, uint32_t *eax, uint32_t *ebx,
		    uint32_t *ecx, uint32_t *edx)
{
	*ebx = *eax + 1;
	*edx = *ecx + 1;
	*eax = 0x11;
	*ecx = 0x33;
	return X86EMUL_CONTINUE;
}

static int op_ok(struct x86_emulate_ctxt *c)
{
	return X86EMUL_CONTINUE;
}

static int op_monitor(struct x86_emulate_ctxt *c, uint64_t la)
{
	to_vm(c)->trip_arg = la;
	return X86EMUL_CONTINUE;
}

static int op_mwait(struct x86_emulate_ctxt *c, uint32_t eax, uint32_t ecx)
{
	return X86EMUL_CONTINUE;
}

static int op_set_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			  const struct x86_segment *s)
{
	c->seg[seg] = *s;
	emul_update_mode(c);
	return X86EMUL_CONTINUE;
}

static int op_set_dtable(struct x86_emulate_ctxt *c, bool idt,
			 const struct x86_dtable *dt)
{
	*(idt ? &c->idt : &c->gdt) = *dt;
	return X86EMUL_CONTINUE;
}

static void *op_host_ptr(struct x86_emulate_ctxt *c, uint64_t la, unsigned bytes,
			 unsigned acc)
{
	struct x86_exception e = c->exception;
	bool ok = !check(c, la, bytes, acc);

	c->exception = e;
	return ok ? host(to_vm(c), la) : NULL;
}

static const struct x86_emulate_ops test_ops = {
	.read = op_read,
	.write = op_write,
	.cmpxchg = op_cmpxchg,
	.host_ptr = op_host_ptr,
	.pio_in = op_pio_in,
	.pio_out = op_pio_out,
	.intercept = op_intercept,
	.set_segment = op_set_segment,
	.set_dtable = op_set_dtable,
	.get_tsc = op_get_tsc,
	.get_pmc = op_get_pmc,
	.eflags_changed = op_eflags_changed,
	.cpuid = op_cpuid,
	.hlt = op_ok,
	.pause = op_ok,
	.monitor = op_monitor,
	.mwait = op_mwait,
};

static void set_segments(struct x86_emulate_ctxt *c, enum x86_mode mode)
{
	bool seg16 = mode <= X86_MODE_VM86;
	unsigned dpl = mode == X86_MODE_VM86 ? X86_AR_DPL : 0, i;

	for (i = X86_ES; i <= X86_GS; i++) {
		c->seg[i].limit = seg16 ? 0xffff : 0xffffffff;
		c->seg[i].ar = X86_AR_P | X86_AR_S | X86_AR_RW | X86_AR_A | dpl;
		if (seg16)
			continue;
		c->seg[i].ar |= X86_AR_G;
		if (mode != X86_MODE_PROT16)
			c->seg[i].ar |= X86_AR_DB;
		c->seg[i].selector = 0x10;
	}
	if (seg16)
		return;
	c->seg[X86_CS].selector = 8;
	c->seg[X86_CS].ar |= X86_AR_CODE;
	if (mode == X86_MODE_PROT64)
		c->seg[X86_CS].ar = (c->seg[X86_CS].ar & ~X86_AR_DB) | X86_AR_L;
	c->seg[X86_TR].ar = X86_AR_P | X86_TSS32_BUSY;
	c->seg[X86_TR].limit = 0x67;
	c->seg[X86_LDTR].ar = X86_AR_UNUSABLE;
}

static void set_mode(struct x86_emulate_ctxt *c, enum x86_mode mode)
{
	c->eflags = X86_EFLAGS_FIXED;
	c->cr0 = X86_CR0_ET | X86_CR0_NE;
	c->cr4 = X86_CR4_OSFXSR;
	if (mode != X86_MODE_REAL)
		c->cr0 |= X86_CR0_PE;
	if (mode == X86_MODE_VM86)
		c->eflags |= X86_EFLAGS_VM;
	if (mode == X86_MODE_PROT64) {
		c->cr0 |= X86_CR0_PG;
		c->cr4 |= X86_CR4_PAE;
		c->efer = X86_EFER_LME | X86_EFER_LMA;
	}
}

struct vm *vm_new(enum x86_mode mode)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	vm->mem = mmap(NULL, VM_MEM_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(vm->mem, MAP_FAILED);
	memset(vm->prot, VM_PROT_R | VM_PROT_W, sizeof(vm->prot));
	memset(vm->features, 0xff, sizeof(vm->features));
	vm->ops = test_ops;
	vm->c.ops = &vm->ops;
	vm->c.features = vm->features;
	vm->c.tlb = vm->tlb;
	vm->c.tlb_mask = ARRAY_SIZE(vm->tlb) - 1;
	vm->c.tlb_key = 1;
	set_mode(&vm->c, mode);
	set_segments(&vm->c, mode);
	emul_update_mode(&vm->c);
	assert_int_equal(vm->c.mode, mode);
	vm->c.rip = VM_CODE;
	vm->c.gpr[X86_RSP] = VM_STACK;
	return vm;
}

void vm_free(struct vm *vm)
{
	munmap(vm->mem, VM_MEM_SIZE);
	free(vm);
}

void vm_no_tlb(struct vm *vm)
{
	vm->c.tlb = x86_tlb_empty;
	vm->c.tlb_mask = 0;
	vm->ops.host_ptr = NULL;
}

void vm_flush_tlb(struct vm *vm)
{
	vm->c.tlb_key += 2;
}

int vm_run(struct vm *vm, const uint8_t *code, size_t n)
{
	enum x86_decode_result d = x86_decode(&vm->insn, code, n, vm->c.mode);

	if (d != X86_DECODE_OK)
		fail_msg("decode: %d (%02x %02x ...)", d, code[0],
			 n > 1 ? code[1] : 0);
	assert_int_equal(vm->insn.len, n);
	vm->c.insn = &vm->insn;
	return vm->fast ? x86_emulate_resolve(&vm->insn)(&vm->c) :
			  x86_emulate_insn(&vm->c);
}

int vm_run_all(struct vm *vm, const uint8_t *code, size_t n, unsigned max)
{
	while (max-- && vm->c.rip - VM_CODE < n) {
		uint64_t at = vm->c.rip - VM_CODE;
		int rc;

		assert_int_equal(x86_decode(&vm->insn, code + at, n - at,
					    vm->c.mode), X86_DECODE_OK);
		vm->c.insn = &vm->insn;
		rc = vm->fast ? x86_emulate_resolve(&vm->insn)(&vm->c) :
				x86_emulate_insn(&vm->c);
		if (rc)
			return rc;
	}
	return X86EMUL_CONTINUE;
}

void vm_put(struct vm *vm, uint64_t la, uint64_t v, unsigned bytes)
{
	memcpy(vm->mem + la, &v, bytes);
}

uint64_t vm_get(struct vm *vm, uint64_t la, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, vm->mem + la, bytes);
	return v;
}

void vm_protect(struct vm *vm, uint64_t la, unsigned prot)
{
	vm->prot[la / PAGE_SIZE] = prot;
	vm_flush_tlb(vm);
}

void vm_reset_seen(struct vm *vm)
{
	vm->c.rip = VM_CODE;
	vm->reads = vm->writes = vm->cmpxchgs = vm->eflags_changes = 0;
	vm->io_calls = vm->io_count = vm->io_bytes = 0;
	vm->tripped = X86_INTERCEPT_NONE;
	memset(&vm->c.exception, 0, sizeof(vm->c.exception));
}
