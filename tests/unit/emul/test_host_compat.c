// SPDX-License-Identifier: MIT
/*
 * Instructions that 64-bit mode has not got, against the host's processor all the
 * same: a page below 4 GiB holds a stub that makes a far call into compatibility mode
 * (Linux keeps a 32-bit user code segment in every GDT), runs one instruction on EAX
 * and EFLAGS, and returns. Every AX with every CF and AF is tried.
 *
 * Where the host does not let us into that segment the test is skipped.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "harness.h"

#define USER32_CS	0x23
#define USER_DS		0x2b

/* Offsets in the page. */
#define ENTRY		0x000	/* 64-bit code: saves, switches stack, far call */
#define CODE32		0x100
#define FAR_POINTER	0x200
#define DATA		0x300	/* EAX, EFLAGS */
#define STACK		0x1800

static uint8_t *low;
static sigjmp_buf out;

static void on_signal(int sig)
{
	siglongjmp(out, 1);
}

/* Not inline: gcc with UBSan would take the page for NULL. */
static __noinline uint8_t *put(uint8_t *p, const char *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
	return p + 4;
}

#define PUT(p, s) put(p, s, sizeof(s) - 1)

static uint32_t address(unsigned offset)
{
	return (uint32_t)(uintptr_t)low + offset;
}

static void build(const uint8_t *insn, size_t n)
{
	uint16_t cs = USER32_CS;
	uint8_t *p = low + ENTRY;

	p = PUT(p, "\x41\x54\x53\x55");		/* push r12, rbx, rbp */
	p = put32(PUT(p, "\xb8"), USER_DS);	/* mov eax, */
	p = PUT(p, "\x8e\xd8\x8e\xc0");		/* mov ds, es, eax */
	p = PUT(p, "\x49\x89\xe4");		/* mov r12, rsp */
	p = put32(PUT(p, "\xbc"), address(STACK));
	p = put32(PUT(p, "\xff\x1c\x25"), address(FAR_POINTER));
	PUT(p, "\x4c\x89\xe4\x5d\x5b\x41\x5c\xc3"); /* mov rsp, r12; pops; ret */

	p = put32(PUT(low + CODE32, "\xa1"), address(DATA));
	p = put32(PUT(p, "\xff\x35"), address(DATA + 4));
	p = PUT(p, "\x9d");
	p = put(p, (const char *)insn, n);
	p = put32(PUT(p, "\x9c\x8f\x05"), address(DATA + 4));
	p = put32(PUT(p, "\xa3"), address(DATA));
	PUT(p, "\xcb");

	put32(low + FAR_POINTER, address(CODE32));
	memcpy(low + FAR_POINTER + 4, &cs, 2);
}

static void run_host(uint32_t *eax, uint32_t *eflags)
{
	uint32_t *data = (uint32_t *)(low + DATA);

	data[0] = *eax;
	data[1] = *eflags;
	((void (*)(void))(low + ENTRY))();
	*eax = data[0];
	*eflags = data[1];
}

static int setup(void **state)
{
	low = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	return low == MAP_FAILED ? -1 : 0;
}

static bool has_compatibility_mode(void)
{
	struct sigaction sa = { .sa_handler = on_signal }, old[3];
	const int sigs[] = { SIGSEGV, SIGILL, SIGBUS };
	const uint8_t nop = 0x90;
	uint32_t eax = 0x12345678, eflags = 2;
	volatile bool ok = false;
	unsigned i;

	build(&nop, 1);
	for (i = 0; i < 3; i++)
		sigaction(sigs[i], &sa, &old[i]);
	if (!sigsetjmp(out, 1)) {
		run_host(&eax, &eflags);
		ok = eax == 0x12345678;
	}
	for (i = 0; i < 3; i++)
		sigaction(sigs[i], &old[i], NULL);
	return ok;
}

static void compare(struct vm *vm, const char *name, const uint8_t *code,
		    size_t n, uint32_t ax, uint32_t flags)
{
	uint32_t eax = 0xdead0000 | ax, eflags = flags;

	vm->c.gpr[X86_RAX] = eax;
	vm->c.eflags = flags;
	vm->c.rip = VM_CODE;
	assert_int_equal(x86_emulate_insn(&vm->c), X86EMUL_CONTINUE);
	run_host(&eax, &eflags);
	if (vm->c.gpr[X86_RAX] != eax ||
	    (vm->c.eflags ^ eflags) & X86_EFLAGS_STATUS)
		fail_msg("%s AX %04x flags %x: got %lx/%lx, the host %x/%x",
			 name, ax, flags, vm->c.gpr[X86_RAX], vm->c.eflags, eax,
			 eflags);
}

static void test_decimal(void **state)
{
	static const struct { const char *name; uint8_t n, code[2]; } t[] = {
		{ "daa", 1, { 0x27 } }, { "das", 1, { 0x2f } },
		{ "aaa", 1, { 0x37 } }, { "aas", 1, { 0x3f } },
		{ "aam", 2, { 0xd4, 10 } }, { "aam 7", 2, { 0xd4, 7 } },
		{ "aad", 2, { 0xd5, 10 } }, { "aad 200", 2, { 0xd5, 200 } },
		{ "salc", 1, { 0xd6 } }, { "inc ax", 2, { 0x66, 0x40 } },
		{ "dec eax", 1, { 0x48 } }, { "lahf", 1, { 0x9f } },
	};
	struct vm *vm = vm_new(X86_MODE_PROT32);
	unsigned i, ax, f;

	if (!has_compatibility_mode())
		skip();
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		build(t[i].code, t[i].n);
		assert_int_equal(x86_decode(&vm->insn, t[i].code, t[i].n,
					    vm->c.mode), X86_DECODE_OK);
		vm->c.insn = &vm->insn;
		for (ax = 0; ax <= 0xffff; ax++)
			for (f = 0; f < 4; f++)
				compare(vm, t[i].name, t[i].code, t[i].n, ax,
					X86_EFLAGS_FIXED |
					(f & 1 ? X86_EFLAGS_CF : 0) |
					(f & 2 ? X86_EFLAGS_AF : 0));
	}
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_decimal, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
