// SPDX-License-Identifier: MIT
/*
 * The arena and the images of the FPU: state.h.
 *
 * The arena is one memfd, mapped at a fixed address with the rights that the table
 * says, and again wherever the kernel likes with all of them. Its pages are touched
 * once so that a fault in it is never the kernel's demand paging.
 */
#include <cpuid.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "insn/state.h"

static const uint8_t rights[ARENA_PAGES] = {
	[1] = ARENA_R | ARENA_X, [2] = ARENA_R | ARENA_X,
	[4] = ARENA_R | ARENA_W, [5] = ARENA_R | ARENA_W,
	[7] = ARENA_R,           [8] = ARENA_R | ARENA_W,
};

static uint8_t *alias;

#define ARENA_BYTES (ARENA_PAGES * PAGE_SIZE)

static int prot_of(unsigned r)
{
	return (r & ARENA_R ? PROT_READ : 0) | (r & ARENA_W ? PROT_WRITE : 0) |
	       (r & ARENA_X ? PROT_EXEC : 0);
}

static bool map_low(int fd)
{
	uint8_t *low = mmap((void *)ARENA_BASE, ARENA_BYTES, PROT_NONE,
			    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	unsigned i;

	if (low != (uint8_t *)ARENA_BASE)
		return false;
	for (i = 0; i < ARENA_PAGES; i++) {
		if (mprotect(low + i * PAGE_SIZE, PAGE_SIZE, prot_of(rights[i])))
			return false;
	}
	arena_touch();
	return true;
}

void arena_touch(void)
{
	volatile uint8_t *p;
	unsigned i;

	for (i = 0; i < ARENA_PAGES; i++) {
		p = (volatile uint8_t *)(ARENA_BASE + i * PAGE_SIZE);
		if (rights[i] & ARENA_W)
			*p = 0;
		else if (rights[i])
			(void)*p;
	}
}

bool arena_init(void)
{
	int fd;
	bool ok;

	if (alias)
		return true;
	fd = memfd_create("insn-arena", MFD_CLOEXEC);
	if (fd < 0)
		return false;
	ok = !ftruncate(fd, ARENA_BYTES) && map_low(fd);
	if (ok)
		alias = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	if (alias == MAP_FAILED)
		alias = NULL;
	return ok && alias;
}

unsigned arena_rights(uint64_t la)
{
	return la - ARENA_BASE < ARENA_BYTES ?
		       rights[(la - ARENA_BASE) / PAGE_SIZE] : 0;
}

uint8_t *arena_at(uint64_t la)
{
	return alias + (la - ARENA_BASE);
}

/* The arena's own guards, and the first 64 KiB, which Linux gives to nobody. */
bool arena_is_hole(uint64_t la)
{
	return la < 0x10000 ||
	       (la - ARENA_BASE < ARENA_BYTES && !arena_rights(la));
}

/* --- FPU images ---------------------------------------------------------------- */

#define HEADER_AT	512
#define MAX_COMPONENT	8	/* x87 .. Hi16_ZMM */

struct component {
	unsigned at, bytes;
};

static const struct component *component(unsigned i)
{
	static struct component c[MAX_COMPONENT];
	unsigned a, b, x, d;

	if (i == 0)
		return NULL;	/* its registers are not in one piece */
	if (!c[i].bytes && i > 1) {
		__cpuid_count(0xd, i, a, b, x, d);
		(void)x, (void)d;
		c[i] = (struct component){ b, a };
	} else if (!c[i].bytes) {
		c[i] = (struct component){ 160, 256 };
	}
	return &c[i];
}

uint64_t fpu_mask(void)
{
	static uint64_t mask;
	uint32_t lo, hi;

	if (!mask) {
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		mask = lo & (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
			     X86_XCR0_AVX512);
	}
	return mask;
}

static void init_x87(struct x86_fxsave *fx)
{
	memset(fx, 0, 24);
	fx->fcw = X86_FCW_INIT;
	memset(fx->st, 0, sizeof(fx->st));
}

void fpu_init_state(struct x86_fpu *fpu)
{
	memset(fpu, 0, sizeof(*fpu));
	init_x87(&fpu->fx);
	fpu->fx.mxcsr = X86_MXCSR_INIT;
	memcpy(fpu->area + HEADER_AT, &(uint64_t){ fpu_mask() }, 8);
}

void fpu_normalize(struct x86_fpu *fpu)
{
	uint64_t bv, mask = fpu_mask();
	unsigned i;

	memcpy(&bv, fpu->area + HEADER_AT, 8);
	if (!(bv & X86_XCR0_X87))
		init_x87(&fpu->fx);
	for (i = 1; i < MAX_COMPONENT; i++)
		if (mask >> i & 1 && !(bv >> i & 1))
			memset(fpu->area + component(i)->at, 0,
			       component(i)->bytes);
	fpu->fx.mxcsr_mask = 0;
	fpu->fx.rsvd = 0;
	for (i = 0; i < 8; i++)
		memset(fpu->fx.st[i].b + 10, 0, 6);
	memset(fpu->fx.pad, 0, sizeof(fpu->fx.pad));
	memset(fpu->area + HEADER_AT, 0, 64);
	memcpy(fpu->area + HEADER_AT, &mask, 8);
}
