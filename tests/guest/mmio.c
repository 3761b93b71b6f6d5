// SPDX-License-Identifier: MIT
/*
 * MMIO: every form of instruction and size of access on memory-like registers of
 * the runner, what it saw of them, page crossings, ioeventfd. The instructions are
 * executed by the hypervisor's emulator, the values by the runner.
 */
#include "lib/guest64.h"

#define M8(off)		(*(volatile uint8_t *)(MMIO_RAM + (off)))
#define M16(off)	(*(volatile uint16_t *)(MMIO_RAM + (off)))
#define M32(off)	(*(volatile uint32_t *)(MMIO_RAM + (off)))
#define M64(off)	(*(volatile uint64_t *)(MMIO_RAM + (off)))
#define LOG(reg)	(*(volatile uint32_t *)(ulong)(reg))

static void reset_log(void) { (void)LOG(MMIO_LOG_COUNT); }

static void expect_access(unsigned count, unsigned len, const char *name)
{
	unsigned l = LOG(MMIO_LOG_LEN), n = LOG(MMIO_LOG_COUNT);

	if (n != count || l != len)
		note("%d accesses, the last of %d bytes:", n, l);
	report(n == count && l == len, "%s: %d x %d bytes", name, count, len);
}

static void test_moves(void)
{
	uint64_t v;

	reset_log();
	M8(0) = 0x11;
	expect_access(1, 1, "8-bit store");
	M16(2) = 0x2233;
	expect_access(1, 2, "16-bit store");
	M32(4) = 0x44556677;
	expect_access(1, 4, "32-bit store");
	M64(8) = 0x8899aabbccddeeff;
	expect_access(1, 8, "64-bit store");
	report_eq(M8(0), 0x11, "8-bit load");
	report_eq(M16(2), 0x2233, "16-bit load");
	report_eq(M32(4), 0x44556677, "32-bit load");
	reset_log();
	report_eq(M64(8), 0x8899aabbccddeeff, "64-bit load");
	expect_access(1, 8, "64-bit load");
	M8(1) = 0x80;
	asm volatile("movzbl %1, %k0" : "=r"(v) : "m"(M8(1)));
	report_eq(v, 0x80, "MOVZX of a byte");
	asm volatile("movsbq %1, %0" : "=r"(v) : "m"(M8(1)));
	report_eq(v, -0x80ul, "MOVSX of a byte");
	asm volatile("movswl %1, %k0" : "=r"(v) : "m"(M16(14)));
	report_eq(v, 0xffff8899, "MOVSX of a word");
	asm volatile("movslq %1, %0" : "=r"(v) : "m"(M32(12)));
	report_eq(v, 0xffffffff8899aabb, "MOVSXD");
	v = -1;
	asm volatile("movb %1, %%al" : "+a"(v) : "m"(M8(0)));
	report_eq(v, 0xffffffffffffff11, "MOV to AL keeps the rest");
	asm volatile("movb (%1), %%ah" : "+a"(v) : "b"(MMIO_RAM + 0ul) : "memory");
	report_eq(v, 0xffffffffffff1111, "MOV to AH keeps the rest");
	asm volatile("movl %1, %%eax" : "+a"(v) : "m"(M32(4)));
	report_eq(v, 0x44556677, "MOV to EAX clears the upper half");
	asm volatile("movl $0xcafe, %0" : "=m"(M32(16)));
	report_eq(M32(16), 0xcafe, "store of an immediate");
	asm volatile("movq $-2, %0" : "=m"(M64(16)));
	report_eq(M64(16), -2ul, "store of a sign-extended immediate");
	asm volatile("movabs %%al, %P0" : : "i"(MMIO_RAM + 20ul), "a"(0x5a));
	report_eq(M8(20), 0x5a, "MOV to an absolute address");
	M32(24) = 0x01020304;
	asm volatile("movbe %1, %k0" : "=r"(v) : "m"(M32(24)));
	report_eq(v, 0x04030201, "MOVBE load");
	asm volatile("movnti %k1, %0" : "=m"(M32(28)) : "r"(0x77ul));
	report_eq(M32(28), 0x77, "MOVNTI");
}

/* An operation on memory, with its operand, on 32 bits. */
#define ALU(op, init, src, want)						\
	do {									\
		M32(32) = (init);						\
		reset_log();							\
		asm volatile(op "l %1, %0" : "+m"(M32(32)) : "r"((uint32_t)(src)) : "cc"); \
		report_eq(M32(32), (uint32_t)(want), op " to memory");		\
	} while (0)
#define UNARY(op, init, want)							\
	do {									\
		M32(32) = (init);						\
		asm volatile(op "l %0" : "+m"(M32(32)) : : "cc");		\
		report_eq(M32(32), (uint32_t)(want), op " of memory");		\
	} while (0)

static void test_alu(void)
{
	uint64_t v;
	bool c;

	ALU("add", 5, 7, 12);
	ALU("lock addl $0, (%%rsp); sub", 5, 7, -2);
	ALU("and", 0xff, 0x3c, 0x3c);
	ALU("or", 0xf0, 0x0f, 0xff);
	ALU("xor", 0xff, 0x0f, 0xf0);
	ALU("stc; adc", 1, 2, 4);
	ALU("stc; sbb", 5, 2, 2);
	ALU("bts", 0, 3, 8);
	ALU("btr", 0xf, 3, 7);
	ALU("btc", 0xf, 4, 0x1f);
	UNARY("inc", 9, 10);
	UNARY("dec", 9, 8);
	UNARY("not", 0, -1);
	UNARY("neg", 1, -1);
	UNARY("shl", 3, 6);
	UNARY("sar", -4, -2);
	UNARY("lock inc", 1, 2);
	M32(32) = 10;
	asm volatile("cmpl $11, %1; setc %0" : "=q"(c) : "m"(M32(32)) : "cc");
	report(c, "CMP of memory");
	asm volatile("testl $2, %1; setnz %0" : "=q"(c) : "m"(M32(32)) : "cc");
	report(c, "TEST of memory");
	v = 1;
	asm volatile("addl %1, %k0" : "+r"(v) : "m"(M32(32)) : "cc");
	report_eq(v, 11, "ADD from memory");
	asm volatile("imull $3, %1, %k0" : "=r"(v) : "m"(M32(32)) : "cc");
	report_eq(v, 30, "IMUL from memory");
	v = 5;
	asm volatile("mull %1" : "+a"(v) : "m"(M32(32)) : "rdx", "cc");
	report_eq(v, 50, "MUL from memory");
	v = 0x1234;
	asm volatile("xchgl %k0, %1" : "+r"(v), "+m"(M32(32)));
	report(v == 10 && M32(32) == 0x1234, "XCHG");
	v = 1;
	asm volatile("lock xaddl %k0, %1" : "+r"(v), "+m"(M32(32)) : : "cc");
	report(v == 0x1234 && M32(32) == 0x1235, "XADD");
	asm volatile("lock cmpxchgl %k3, %1; setz %0"
		     : "=q"(c), "+m"(M32(32)), "=a"(v) : "r"(7ul), "a"(0x1235ul) : "cc");
	report(c && M32(32) == 7, "CMPXCHG that is equal");
	asm volatile("lock cmpxchgl %k3, %1; setz %0"
		     : "=q"(c), "+m"(M32(32)), "=a"(v) : "r"(9ul), "a"(1ul) : "cc");
	report(!c && v == 7 && M32(32) == 7, "CMPXCHG that is not");
	M64(32) = 0x100000002;
	asm volatile("lock cmpxchg8b %1; setz %0" : "=q"(c), "+m"(M64(32))
		     : "a"(2), "d"(1), "b"(4), "c"(3) : "cc");
	report(c && M64(32) == 0x300000004, "CMPXCHG8B");
	v = 8;
	asm volatile("cmpl %2, %2; cmovel %1, %k0" : "+r"(v) : "m"(M32(32)), "r"(1)
		     : "cc");
	report_eq(v, 4, "CMOV from memory");
	asm volatile("cmp %1, %1; sete %0" : "=m"(M8(32)) : "r"(1ul) : "cc");
	report_eq(M8(32), 1, "SETcc to memory");
	M64(32) = 0;
	asm volatile("mov %0, %%rbx; xchg %%rbx, %%rsp; push $0x55; xchg %%rbx, %%rsp"
		     : : "r"(MMIO_RAM + 40ul) : "rbx", "memory");
	report_eq(M64(32), 0x55, "PUSH onto a stack in MMIO");
	asm volatile("mov %1, %%rbx; xchg %%rbx, %%rsp; pop %0; xchg %%rbx, %%rsp"
		     : "=&r"(v) : "r"(MMIO_RAM + 32ul) : "rbx", "memory");
	report_eq(v, 0x55, "POP from it");
	v = 0x66;
	asm volatile("push %1; pop %0" : "=m"(M64(40)) : "r"(v));
	report_eq(M64(40), 0x66, "POP into MMIO");
	asm volatile("push %1; pop %0" : "=r"(v) : "m"(M64(40)));
	report_eq(v, 0x66, "PUSH of MMIO");
}

static void test_strings(void)
{
	uint8_t src[64], dst[64];
	void *s, *d;
	ulong n;

	for (unsigned i = 0; i < sizeof(src); i++)
		src[i] = i * 7;
	reset_log();
	s = src; d = (void *)(MMIO_RAM + 64ul); n = 8;
	asm volatile("rep movsl" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	expect_access(8, 4, "REP MOVSD to MMIO");
	report(!n && d == (void *)(MMIO_RAM + 96ul), "... moves its registers");
	s = (void *)(MMIO_RAM + 64ul); d = dst; n = 32;
	asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	expect_access(32, 1, "REP MOVSB from MMIO");
	report(!memcmp(src, dst, 32), "... copies");
	s = (void *)(MMIO_RAM + 64ul); d = (void *)(MMIO_RAM + 128ul); n = 4;
	asm volatile("rep movsq" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	report(M64(152) == M64(88) && M64(128) == *(uint64_t *)src,
	       "REP MOVSQ from MMIO to MMIO");
	s = src + 31; d = (void *)(MMIO_RAM + 31ul); n = 32;
	asm volatile("std; rep movsb; cld" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
	report(M64(0) == *(uint64_t *)src && M64(24) == *(uint64_t *)(src + 24),
	       "REP MOVSB downwards");
	d = (void *)(MMIO_RAM + 200ul); n = 3;
	asm volatile("rep stosw" : "+D"(d), "+c"(n) : "a"(0xabcd) : "memory");
	report_eq(M64(200) & 0xffffffffffff, 0xabcdabcdabcd, "REP STOSW");
	s = (void *)(MMIO_RAM + 200ul); n = 0;
	asm volatile("lodsl" : "+S"(s), "=a"(n) : : "memory");
	report_eq((uint32_t)n, 0xabcdabcd, "LODSD");
	d = (void *)(MMIO_RAM + 200ul); n = 10;
	asm volatile("repe scasw" : "+D"(d), "+c"(n) : "a"(0xabcd) : "memory", "cc");
	report_eq(10 - n, 4, "REPE SCASW stops at the difference");
	s = src; d = (void *)(MMIO_RAM + 0ul); n = 16;
	asm volatile("repe cmpsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory", "cc");
	report_eq(n, 0, "REPE CMPSB of equal bytes");
}

static void test_vectors(void)
{
	static uint64_t v[2] __attribute__((aligned(16))) = { 1, 2 }, w[2]
		__attribute__((aligned(16)));

	reset_log();
	asm volatile("movdqa %1, %%xmm0; movdqa %%xmm0, %0"
		     : "=m"(*(volatile char (*)[16])(ulong)MMIO_RAM) : "m"(v));
	report(M64(0) == 1 && M64(8) == 2, "MOVDQA store");
	asm volatile("pxor %%xmm1, %%xmm1; movups %1, %%xmm1; movdqa %%xmm1, %0"
		     : "=m"(w) : "m"(*(volatile char (*)[16])(ulong)MMIO_RAM));
	report(w[0] == 1 && w[1] == 2, "MOVUPS load");
	asm volatile("movq %1, %%xmm1; movdqa %%xmm1, %0" : "=m"(w) : "m"(M64(8)));
	report(w[0] == 2 && w[1] == 0, "MOVQ load");
	asm volatile("movd %%xmm1, %0" : "=m"(M32(16)));
	report_eq(M32(16), 2, "MOVD store");
	asm volatile("movq %1, %%mm0; movq %%mm0, %0; emms"
		     : "=m"(M64(24)) : "m"(M64(8)));
	report_eq(M64(24), 2, "MOVQ of MMX, both ways");
	M32(32) = 0x40490fdb;
	asm volatile("flds %1; fstpl %0" : "=m"(M64(40)) : "m"(M32(32)));
	report_eq(M64(40), 0x400921fb60000000, "FLD and FSTP");
	asm volatile("fnstcw %0" : "=m"(M16(48)));
	report_eq(M16(48), 0x37f, "FNSTCW");
	TRY("movdqa (%0), %%xmm0", : : "r"(MMIO_RAM + 8ul));
	report_exc(GP, 0, "MOVDQA misaligned");
}

static void test_crossing(void)
{
	uint64_t v;

	M64(0xff8) = 0x1111111111111111;
	M64(0x1000) = 0x2222222222222222;
	asm volatile("mov %1, %0" : "=r"(v) : "m"(M64(0xffc)));
	report_eq(v, 0x2222222211111111, "a load across MMIO pages");
	asm volatile("mov %1, %0" : "=m"(M64(0xffd)) : "r"(0x0102030405060708ul));
	report(M64(0xff8) == 0x0607081111111111 && M64(0x1000) == 0x2222220102030405,
	       "a store across MMIO pages");
	*(volatile uint64_t *)(MMIO_EDGE - 8ul) = 0x3333333333333333;
	*(volatile uint64_t *)(ulong)MMIO_EDGE = 0x4444444444444444;
	asm volatile("mov %1, %0" : "=r"(v) : "m"(*(uint64_t *)(MMIO_EDGE - 4ul)));
	report_eq(v, 0x4444444433333333, "a load across memory and MMIO");
	asm volatile("mov %1, %0" : "=m"(*(uint64_t *)(MMIO_EDGE - 3ul))
		     : "r"(0x0102030405060708ul));
	report(*(volatile uint64_t *)(MMIO_EDGE - 8ul) == 0x0607083333333333 &&
	       *(volatile uint64_t *)(ulong)MMIO_EDGE == 0x4444440102030405,
	       "a store across memory and MMIO");
	asm volatile("lock addl $1, %0" : "+m"(*(uint32_t *)(MMIO_EDGE - 2ul)) : : "cc");
	report_eq(*(volatile uint8_t *)(MMIO_EDGE - 2ul), 0x08,
		  "a locked operation across memory and MMIO");
	report_eq(*(volatile uint32_t *)0xe0006000ul, 0xffffffff,
		  "nothing there reads as ones");
}

static void test_faults(void)
{
	ulong v;

	*scratch_entry(0, 1) = MMIO_RAM | PTE_P;
	invlpg((void *)SCRATCH_VA);
	write_cr0(read_cr0() | CR0_WP);
	TRY("movl $1, (%0)", : : "r"(SCRATCH_VA) : "memory");
	report_exc(PF, 3, "a store to a read-only mapping of MMIO faults first");
	TRY("mov (%1), %0", : "=r"(v) : "r"(SCRATCH_VA));
	report_none("a load through it does not");
	TRY("divl (%0)", : : "r"(MMIO_RAM + 0x1800ul), "a"(1), "d"(0) : "cc");
	report_exc(DE, 0, "DIV by an MMIO register that is zero");
	TRY("lock; mov %%eax, (%0)", : : "r"((ulong)MMIO_RAM));
	report_exc(UD, 0, "LOCK MOV to MMIO");
}

static void test_eventfd(void)
{
	unsigned before;

	(void)inl(PORT_MMIO_EVENTS);
	before = inl(PORT_EXITS);
	*(volatile uint32_t *)(ulong)MMIO_EVENTFD = 1;
	*(volatile uint8_t *)(ulong)MMIO_EVENTFD = 1;
	*(volatile uint32_t *)(ulong)MMIO_EVENTFD_MATCH = MMIO_EVENTFD_VALUE;
	report_eq(inl(PORT_EXITS) - before, 1, "ioeventfd does not exit");
	report_eq(inl(PORT_MMIO_EVENTS), 3, "ioeventfd is signalled");
	reset_log();
	*(volatile uint32_t *)(ulong)MMIO_EVENTFD_MATCH = 1;
	report_eq(inl(PORT_MMIO_EVENTS), 0, "another value does not signal");
	expect_access(1, 4, "... but is an access");
	*(volatile uint16_t *)(ulong)MMIO_EVENTFD_MATCH = MMIO_EVENTFD_VALUE;
	report_eq(inl(PORT_MMIO_EVENTS), 0, "another length does not signal");
}

int main(void)
{
	test_moves();
	test_alu();
	test_strings();
	test_vectors();
	test_crossing();
	test_faults();
	test_eventfd();
	return 0;
}
