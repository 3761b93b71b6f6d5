/* SPDX-License-Identifier: MIT */
/*
 * Stubs: executable memory with one instruction and a RET each, found again by the
 * instruction's bytes.
 *
 * The memory is one memfd mapped twice, writable and executable. Stubs are only
 * ever added, so that lookups need no lock: a slot of the index is published by
 * its code pointer, last. How many different instructions a guest can make up is
 * in the millions; when the area is full (NR_STUBS) further ones are written to
 * a spare stub and run from there under the lock: correct, and slow.
 *
 * fork(): the two processes would add to the same pages. A page that the kernel
 * wipes at fork tells a child that it is one; before its first addition it moves to
 * a memfd of its own with the same contents at the same addresses, which other
 * threads of the child that run stubs do not notice. The lock is in that page too,
 * so that a child never inherits it held.
 *
 * A fault in a stub is caught by base/access.c, which makes the stub return with
 * the vector in r8: the area begins with a RET for that.
 *
 * System calls are made directly: this library calls no libc.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/access.h"
#include "emul/host_stub.h"
#include "x86/regs.h"

#define STUB_BYTES	32
#define NR_STUBS	16384
#define SPARE		(512ul * 1024)	/* offset of the spare stub */
#define AREA_BYTES	(SPARE + PAGE_SIZE)
#define SLOT_BITS	15		/* of the index; twice the stubs */
#define NR_SLOTS	(1u << SLOT_BITS)

_Static_assert(NR_STUBS * STUB_BYTES <= SPARE, "the spare stub has its own page");

struct slot {
	uint64_t key[2];
	const void *code;		/* NULL: free */
};

/* In a page of its own, all zero after fork(). */
struct process_state {
	uint32_t lock;
	uint32_t is_ours;		/* the memfd is this process's */
};

static struct slot slots[NR_SLOTS];
static struct process_state *process;
static uint8_t *area_rx, *area_rw;
static unsigned nr_stubs = 1;		/* number 0 is the RET */

static long sys(long nr, long a, long b, long c, const long def[3])
{
	register long r10 __asm__("r10") = def[0];
	register long r8 __asm__("r8") = def[1];
	register long r9 __asm__("r9") = def[2];
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9) : "rcx", "r11", "memory");
	return ret;
}

static void *map(void *at, int prot, int flags, int fd)
{
	const long def[3] = { flags | (at ? MAP_FIXED : 0), fd, 0 };
	long p = sys(SYS_mmap, (long)at, AREA_BYTES, prot, def);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static const long none[3];

/* A memfd with room for the area, or -errno. */
static int new_file(void)
{
	long fd = sys(SYS_memfd_create, (long)"anykvm-stubs", MFD_CLOEXEC, 0, none);
	long err;

	if (fd < 0)
		return fd;
	err = sys(SYS_ftruncate, fd, AREA_BYTES, 0, none);
	if (err < 0) {
		sys(SYS_close, fd, 0, 0, none);
		return err;
	}
	return fd;
}

static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		to[i] = from[i];
}

/* Maps a file of this process's at area_rx (anywhere the first time) with the
 * stubs that there are. Lock held. */
static int own_area(void)
{
	int fd = new_file();
	uint8_t *rw, *rx;

	if (fd < 0)
		return -ENOMEM;
	rw = map(NULL, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	if (rw && area_rx)
		copy(rw, area_rx, (size_t)nr_stubs * STUB_BYTES);
	else if (rw)
		rw[0] = 0xc3;
	rx = rw ? map(area_rx, PROT_READ | PROT_EXEC, MAP_SHARED, fd) : NULL;
	sys(SYS_close, fd, 0, 0, none);
	if (!rx) {
		if (rw)
			sys(SYS_munmap, (long)rw, AREA_BYTES, 0, none);
		return -ENOMEM;
	}
	if (area_rw)
		sys(SYS_munmap, (long)area_rw, AREA_BYTES, 0, none);
	area_rw = rw;
	area_rx = rx;
	host_access_set_stubs(area_rx, AREA_BYTES);
	process->is_ours = 1;
	return 0;
}

/* The page that fork() wipes; the first of two racing threads wins. */
static struct process_state *process_page(void)
{
	struct process_state *p = __atomic_load_n(&process, __ATOMIC_ACQUIRE);
	struct process_state *expected = NULL;

	if (likely(p))
		return p;
	p = map(NULL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (!p)
		return NULL;
	sys(SYS_madvise, (long)p, AREA_BYTES, MADV_WIPEONFORK, none);
	if (__atomic_compare_exchange_n(&process, &expected, p, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return p;
	sys(SYS_munmap, (long)p, AREA_BYTES, 0, none);
	return expected;
}

static void lock(struct process_state *p)
{
	while (__atomic_exchange_n(&p->lock, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
}

static void unlock(struct process_state *p)
{
	__atomic_store_n(&p->lock, 0, __ATOMIC_RELEASE);
}

static struct slot *find(const uint64_t key[2])
{
	uint64_t h = (key[0] ^ key[1] * 0x9e3779b97f4a7c15ull) *
		     0xff51afd7ed558ccdull;
	unsigned i = h >> (64 - SLOT_BITS);

	for (;; i = (i + 1) % NR_SLOTS) {
		struct slot *s = &slots[i];

		if (!__atomic_load_n(&s->code, __ATOMIC_ACQUIRE) ||
		    (s->key[0] == key[0] && s->key[1] == key[1]))
			return s;
	}
}

static const void *write_stub(size_t offset, const struct host_insn *insn)
{
	copy(area_rw + offset, insn->bytes, insn->len);
	area_rw[offset + insn->len] = 0xc3;
	return area_rx + offset;
}

/* Calls that may return with a vector in r8, see access.h. */
static int run_plain(const void *code, struct stub_regs *r)
{
	register uint64_t vector __asm__("r8") = 0;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"	/* the red zone */
			 "call *%[code]\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "+a"(r->rax), "+c"(r->rcx), "+d"(r->rdx), "+r"(vector)
			 : [code] "r"(code), "D"(r->mem) : "memory", "cc");
	return vector;
}

static int run_with_flags(const void *code, struct stub_regs *r)
{
	register uint64_t vector __asm__("r8") = 0;
	uint64_t flags = (r->rflags & X86_EFLAGS_STATUS) | X86_EFLAGS_FIXED;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
			 "pushq %[flags]\n\tpopfq\n\t"
			 "call *%[code]\n\t"
			 "pushfq\n\tpopq %[flags]\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "+a"(r->rax), "+c"(r->rcx), "+d"(r->rdx),
			   [flags] "+r"(flags), "+r"(vector)
			 : [code] "r"(code), "D"(r->mem) : "memory", "cc");
	r->rflags = flags;
	return vector;
}

int host_stub_run(const struct host_stub *stub, struct stub_regs *regs)
{
	return regs->flags ? run_with_flags(stub->code, regs) :
			     run_plain(stub->code, regs);
}

/* The area is full. CPUID: the same addresses held another instruction before, and
 * were written through another mapping. */
static void use_spare(const struct host_insn *insn, struct host_stub *stub)
{
	uint32_t a = 0, b, c = 0, d;

	stub->code = write_stub(SPARE, insn);
	stub->spare = true;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

/* @s is free and @insn's. Lock held. */
static void add(struct slot *s, const struct host_insn *insn,
		const uint64_t key[2])
{
	/* Counted first: a fork() meanwhile must copy it. */
	size_t offset = STUB_BYTES *
		(size_t)__atomic_fetch_add(&nr_stubs, 1, __ATOMIC_RELEASE);

	s->key[0] = key[0];
	s->key[1] = key[1];
	__atomic_store_n(&s->code, write_stub(offset, insn), __ATOMIC_RELEASE);
}

/* @insn has no stub yet. */
static int __noinline get_new(const struct host_insn *insn,
			      const uint64_t key[2], struct host_stub *stub)
{
	struct process_state *p = process_page();
	struct slot *s;

	if (!p)
		return -ENOMEM;
	lock(p);
	if (!p->is_ours && own_area()) {
		unlock(p);
		return -ENOMEM;
	}
	s = find(key);
	if (!s->code && nr_stubs == NR_STUBS) {
		use_spare(insn, stub);
		return 0;	/* host_stub_put() unlocks */
	}
	if (!s->code)
		add(s, insn, key);
	unlock(p);
	stub->code = s->code;
	return 0;
}

int host_stub_get(const struct host_insn *insn, struct host_stub *stub)
{
	uint64_t key[2];

	__builtin_memcpy(key, insn, sizeof(key));
	stub->spare = false;
	stub->code = __atomic_load_n(&find(key)->code, __ATOMIC_ACQUIRE);
	return likely(stub->code) ? 0 : get_new(insn, key, stub);
}

void host_stub_put(const struct host_stub *stub)
{
	if (unlikely(stub->spare))
		unlock(process);
}
