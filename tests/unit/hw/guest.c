/* SPDX-License-Identifier: MIT */
/* See guest.h. The tables here are written independently of src/paging. */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "guest.h"
#include "x86/msr.h"

/* access rights: type, S, P, then AVL L D G */
#define AR_CODE64	0xa09b
#define AR_CODE32	0xc09b
#define AR_CODE16	0x009b
#define AR_DATA32	0xc093
#define AR_DATA16	0x0093
#define AR_TSS		0x008b
#define AR_LDT_NONE	0x10082
#define AR_DPL3		0x60

static void *pages(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static uint64_t tdp_bits(const struct guest *g, unsigned rights)
{
	if (!g->amd)
		return rights | (rights ? 6u << 3 : 0);
	if (!(rights & 1))
		return 0;
	return PTE_P | PTE_U | PTE_A | PTE_D | (rights & 2 ? PTE_W : 0) |
	       (rights & 4 ? 0 : PTE_NX);
}

void guest_tdp(struct guest *g, uint64_t gpa, unsigned rights)
{
	uint64_t *pte = &g->tdp[3 * 512 + (gpa >> 12)];

	*pte = rights ? (uintptr_t)(g->mem + gpa) | tdp_bits(g, rights) : 0;
}

static void build_tdp(struct guest *g)
{
	uint64_t t = (uintptr_t)g->tdp, gpa;

	g->tdp[0] = (t + 4096) | tdp_bits(g, 7);
	g->tdp[512] = (t + 8192) | tdp_bits(g, 7);
	g->tdp[1024] = (t + 12288) | tdp_bits(g, 7);
	g->tdp[1025] = (t + 16384) | tdp_bits(g, 7);
	if (!g->amd) {
		g->tdp[0] &= ~0x38ull;
		g->tdp[512] &= ~0x38ull;
		g->tdp[1024] &= ~0x38ull;
		g->tdp[1025] &= ~0x38ull;
	}
	for (gpa = 0; gpa < G_MEM; gpa += 4096)
		guest_tdp(g, gpa, 7);
}

unsigned guest_jit_cache;
bool guest_exact_flags, guest_count;

/* Nothing is left below 2 GiB that a processor would fit into. MAP_32BIT begins to search
 * where chance says, so it does not find all that is free. */
static void take_low_memory(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			  MAP_FIXED_NOREPLACE;
	const size_t step = 1ul << 16;
	uintptr_t at;

	_Static_assert(sizeof(struct hw_cpu) > 4 * 65536, "larger than what is left");
	for (at = 1ul << 30; at < 1ul << 31; at += step)
		(void)mmap((void *)at, step, PROT_NONE, flags, -1, 0);
}

struct guest *guest_new(bool amd)
{
	const char *engine = getenv("ANYKVM_ENGINE");
	struct hw_config cfg = { .amd = amd, .jit_cache = guest_jit_cache,
				 .jit_exact_flags = guest_exact_flags,
				 .jit_count = guest_count };
	struct guest *g = aligned_alloc(64, sizeof(*g));
	struct hw_ctl *ctl;

	assert_non_null(g);
	memset(g, 0, sizeof(*g));
	g->amd = amd;
	cfg.jit_check = engine && !strncmp(engine, "check", 5);
	cfg.jit_check_length = engine && !strcmp(engine, "check-run") ? 200 : 0;
	if (cfg.jit_check || (engine && !strcmp(engine, "jit")))
		cfg.jit = &hw_jit;
	if (getenv("GUEST_HIGH"))
		take_low_memory();
	g->cpu = hw_cpu_create(&cfg);
	assert_non_null(g->cpu);
	g->c = &g->cpu->c;
	g->fpu.fx.fcw = X86_FCW_INIT;
	g->fpu.fx.mxcsr = X86_MXCSR_INIT;
	hw_set_fpu(g->cpu, &g->fpu);
	g->mem = pages(G_MEM);
	g->tdp = pages(5 * 4096);
	build_tdp(g);
	ctl = &g->cpu->ctl;
	ctl->tdp_format = amd ? PAGING_4LEVEL : PAGING_EPT4;
	ctl->tdp_flags = amd ? PAGING_NX | PAGING_WP : 0;
	ctl->tdp_npt = amd;
	ctl->tdp_root = (uintptr_t)g->tdp;
	ctl->asid = 1;
	ctl->preemption_deadline = UINT64_MAX;
	hw_ctl_set(ctl, X86_INTERCEPT_HLT);
	return g;
}

/*
 * No other guest gets the same addresses: a page of translated code that has been written
 * again and again is refused for a while, and the next test would be the interpreter's.
 */
static void retire_memory(struct guest *g)
{
	unsigned k;

	for (k = 0; k < G_MEM; k += PAGE_SIZE)
		hw_memory_written((uintptr_t)g->mem + k, PAGE_SIZE);
	assert_ptr_equal(mmap(g->mem, G_MEM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			      MAP_NORESERVE | MAP_FIXED, -1, 0), g->mem);
}

void guest_free(struct guest *g)
{
	retire_memory(g);
	hw_cpu_destroy(g->cpu);
	munmap(g->tdp, 5 * 4096);
	free(g);
}

int guest_setup_intel(void **state)
{
	*state = guest_new(false);
	return 0;
}

int guest_setup_amd(void **state)
{
	*state = guest_new(true);
	return 0;
}

int guest_teardown(void **state)
{
	guest_free(*state);
	return 0;
}

struct guest *pair[2];

int guest_setup_pair(void **state)
{
	host_access_init();
	setenv("ANYKVM_ENGINE", "interp", 1);
	pair[0] = guest_new(false);
	setenv("ANYKVM_ENGINE", "jit", 1);
	pair[1] = guest_new(false);
	return 0;
}

int guest_teardown_pair(void **state)
{
	guest_free(pair[0]);
	guest_free(pair[1]);
	return 0;
}

struct guest *guest_by_engine(const char *engine, uint64_t rsp)
{
	struct guest *g;

	setenv("ANYKVM_ENGINE", engine, 1);
	host_access_init();
	g = guest_new(false);
	guest_long(g);
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = rsp;
	return g;
}

void guest_put(struct guest *g, uint64_t gpa, const void *from, const void *to)
{
	memcpy(g->mem + gpa, from, (const char *)to - (const char *)from);
}

uint64_t guest_u64(struct guest *g, uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, g->mem + gpa, 8);
	return v;
}

void guest_wrote_code(struct guest *g)
{
	if (g->cpu->jit_ops)
		hw_tlb_flush_all(g->cpu);
}

static void put_u64(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(g->mem + gpa, &v, 8);
}

static void stubs(struct guest *g)
{
	unsigned v;

	for (v = 0; v < 256; v++)
		memset(g->mem + G_STUBS + 16 * v, 0xf4, 16);
}

static void seg(struct guest *g, enum x86_seg s, uint16_t sel, uint32_t limit,
		uint32_t ar)
{
	g->c->seg[s] = (struct x86_segment){
		.selector = sel, .limit = limit, .ar = ar,
	};
}

static void user_segs(struct guest *g, uint32_t limit, uint32_t code,
		      uint32_t data, unsigned sel)
{
	unsigned s;

	for (s = X86_ES; s <= X86_GS; s++)
		seg(g, s, sel ? sel + 8 : 0, limit, data);
	seg(g, X86_CS, sel, limit, code);
	seg(g, X86_LDTR, 0, 0, AR_LDT_NONE);
	seg(g, X86_TR, 0x28, 0x67, AR_TSS);
	g->c->seg[X86_TR].base = G_TSS;
}

static void start(struct guest *g)
{
	struct x86_emulate_ctxt *c = g->c;

	c->rip = G_CODE;
	c->gpr[X86_RSP] = G_STACK;
	c->eflags = X86_EFLAGS_FIXED;
	emul_update_mode(c);
}

void guest_real(struct guest *g)
{
	unsigned v;

	stubs(g);
	for (v = 0; v < 256; v++) {
		uint32_t far = (G_STUBS >> 4) << 16 | 16 * v;

		memcpy(g->mem + 4 * v, &far, 4);
	}
	g->c->cr0 = X86_CR0_ET | X86_CR0_NE;
	g->c->idt = (struct x86_dtable){ 0, 0x3ff };
	user_segs(g, 0xffff, AR_CODE16, AR_DATA16, 0);
	start(g);
}

static void gdt(struct guest *g)
{
	put_u64(g, G_GDT + 0x08, 0x00af9b000000ffffull);	/* code64 */
	put_u64(g, G_GDT + 0x10, 0x00cf93000000ffffull);	/* data */
	put_u64(g, G_GDT + 0x18, 0x00affb000000ffffull);	/* user code64 */
	put_u64(g, G_GDT + 0x20, 0x00cff3000000ffffull);	/* user data */
	put_u64(g, G_GDT + 0x28, 0x00008b0000000067ull |
		(uint64_t)(G_TSS & 0xffffff) << 16);
	put_u64(g, G_GDT + 0x38, 0x00cf9b000000ffffull);	/* code32 */
	g->c->gdt = (struct x86_dtable){ G_GDT, 0x3f };
	put_u64(g, G_TSS + 4, G_STACK);				/* RSP0 */
}

static void idt(struct guest *g, unsigned bytes, uint16_t cs)
{
	unsigned v;

	stubs(g);
	for (v = 0; v < 256; v++) {
		uint32_t to = G_STUBS + 16 * v;

		put_u64(g, G_IDT + bytes * v, (to & 0xffff) |
			(uint64_t)cs << 16 | 0xee00ull << 32 |
			(uint64_t)(to >> 16) << 48);
	}
	g->c->idt = (struct x86_dtable){ G_IDT, bytes * 256 - 1 };
}

void guest_prot(struct guest *g)
{
	gdt(g);
	idt(g, 8, 0x38);
	g->c->cr0 = X86_CR0_ET | X86_CR0_NE | X86_CR0_PE;
	user_segs(g, 0xffffffff, AR_CODE32, AR_DATA32, 0x38);
	seg(g, X86_SS, 0x10, 0xffffffff, AR_DATA32);
	start(g);
}

static void guest_tables(struct guest *g)
{
	uint64_t la;

	put_u64(g, G_PML4, G_PDPT | PTE_P | PTE_W | PTE_U);
	put_u64(g, G_PDPT, G_PD | PTE_P | PTE_W | PTE_U);
	put_u64(g, G_PD, G_PT | PTE_P | PTE_W | PTE_U);
	put_u64(g, G_PD + 8, G_LARGE | PTE_P | PTE_W | PTE_PS);
	for (la = 0; la < G_LARGE; la += 4096)
		*guest_pte(g, la) = la | PTE_P | PTE_W;
}

uint64_t *guest_pte(struct guest *g, uint64_t la)
{
	return (uint64_t *)(g->mem + G_PT) + (la >> 12);
}

void guest_long(struct guest *g)
{
	gdt(g);
	idt(g, 16, 0x08);
	guest_tables(g);
	g->c->cr0 = X86_CR0_ET | X86_CR0_NE | X86_CR0_PE | X86_CR0_PG |
		    X86_CR0_WP;
	g->c->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	g->c->cr3 = G_PML4;
	g->c->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX | X86_EFER_SCE;
	user_segs(g, 0xffffffff, AR_CODE64, AR_DATA32, 0x08);
	start(g);
}

void guest_user(struct guest *g)
{
	unsigned s;

	guest_long(g);
	for (s = X86_ES; s <= X86_GS; s++)
		seg(g, s, 0x23, 0xffffffff, AR_DATA32 | AR_DPL3);
	seg(g, X86_CS, 0x1b, 0xffffffff, AR_CODE64 | AR_DPL3);
	*guest_pte(g, G_CODE) |= PTE_U;
	*guest_pte(g, G_DATA) |= PTE_U;
	*guest_pte(g, G_USTACK - 8) |= PTE_U;
	start(g);
	g->c->gpr[X86_RSP] = G_USTACK;
}

const struct hw_exit *guest_run(struct guest *g)
{
	hw_run(g->cpu);
	if (g->cpu->check_failed)
		fail_msg("%s", hw_check_failure(g->cpu));
	return &g->cpu->exit;
}

void guest_hlt(struct guest *g)
{
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_HLT);
}

static void *kicker(void *cpu)
{
	struct timespec ms = { .tv_nsec = 5000000 };

	nanosleep(&ms, NULL);
	hw_kick(cpu);
	return NULL;
}

void guest_run_kicked(struct guest *g)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, kicker, g->cpu), 0);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_EXTINT);
	pthread_join(t, NULL);
}

void guest_kick_ends(const char *from, const char *to)
{
	struct guest *g = guest_by_engine("jit", G_LARGE + (1u << 20));
	unsigned k;

	guest_put(g, G_CODE, from, to);
	g->c->gpr[X86_RBX] = G_CODE;
	for (k = 0; k < 10; k++)
		guest_run_kicked(g);
	guest_free(g);
}

static void *late_hlt(void *g)
{
	struct timespec ms = { .tv_nsec = 5000000 };

	nanosleep(&ms, NULL);
	guest_hlt(g);
	return NULL;
}

void guest_hlt_beside(struct guest *g, struct guest *other)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, late_hlt, other), 0);
	guest_hlt(g);
	pthread_join(t, NULL);
}

int guest_vector(struct guest *g)
{
	uint64_t at = g->c->seg[X86_CS].base + g->c->rip;

	if (at < G_STUBS || at >= G_STUBS + 16 * 256)
		return -1;
	return (at - G_STUBS) / 16;
}
