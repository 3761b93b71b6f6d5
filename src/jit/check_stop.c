/* SPDX-License-Identifier: MIT */
/*
 * Where a stretch of several blocks ends (check.c).
 *
 * Each block begins with JIT_CHECK_ENTRY bytes of nop here. While a stretch runs the blocks
 * at the rip where it ends call a stub instead, whichever way they are entered: by a link,
 * by the table of targets, by a return or from C. The stub asks check_arrive() whether this
 * is the end, or one more visit on the way to it: the interpreter's notes tell by what the
 * registers hold. What the interpreter never had there is the end too: it is wrong.
 * Behind a direct JMP no block is entered, until blocks are told to begin there.
 */
#include "jit/check.h"

void jit_check_entry(struct jit *j)
{
	static const uint8_t nop[JIT_CHECK_ENTRY] = { 0x0f, 0x1f, 0x44, 0, 0 };
	unsigned i;

	for (i = 0; j->check->length && i < sizeof(nop); i++)
		e8(j, nop[i]);
}

bool jit_check_by_block(const struct jit *j)
{
	return !j->check->length;
}

static void set(struct jit_check *k, struct jit_block *b)
{
	struct check_stop *s = &k->stop[k->nr_stops];
	struct jit *j = k->j;
	int32_t rel;

	if (k->nr_stops == CHECK_MAX_STOPS)
		return;
	k->nr_stops++;
	s->b = b;
	s->code = b->code;
	rel = (b->flags == FL_HOST ? k->stop_host : k->stop_mem) - (b->code + JIT_CHECK_ENTRY);
	__builtin_memcpy(s->bytes, j->rw + b->code, JIT_CHECK_ENTRY);
	j->rw[b->code] = 0xe8;
	__builtin_memcpy(j->rw + b->code + 1, &rel, 4);
	__builtin_memcpy(s->call, j->rw + b->code, JIT_CHECK_ENTRY);
}

void jit_check_new_block(struct jit *j, struct jit_block *b)
{
	struct jit_check *k = j->check;

	if (k->planted && b->rip == k->end.c.rip)
		set(k, b);
}

void check_plant(struct jit_check *k)
{
	struct jit_block *b = NULL;

	if (k->step[k->nr].jump)
		jit_begin_at(k->j, k->end.c.rip, k->end_host);
	k->nr_stops = 0;
	k->planted = true;
	while ((b = jit_block_next(k->j, k->end.c.rip, k->end_host, b)))
		set(k, b);
}

/* Those that were dropped meanwhile lead to their tombstones. */
void check_unplant(struct jit_check *k)
{
	struct check_stop *s;
	uint8_t *at;

	k->planted = false;
	for (s = k->stop; s < k->stop + k->nr_stops; s++) {
		at = k->j->rw + s->code;
		if (!__builtin_memcmp(at, s->call, JIT_CHECK_ENTRY))
			__builtin_memcpy(at, s->bytes, JIT_CHECK_ENTRY);
	}
}

/* Does the stretch end here, at its last rip? */
static bool is_end(struct jit_check *k)
{
	uint64_t mark = check_mark(&k->j->cpu->c);
	uint32_t n;

	for (n = k->at + 1; n <= k->nr; n++) {
		if (k->step[n].mark != mark || check_rip_after(k, n) != k->end.c.rip)
			continue;
		k->at = n;
		return k->nr - n <= k->slack;
	}
	return true;
}

/* FN_ARRIVE; @behind: the host address behind the call. */
uintptr_t check_arrive(struct hw_cpu *cpu, uint64_t t1, uint64_t behind)
{
	struct jit *j = cpu->jit.jit;

	if (!is_end(j->check))
		return behind;
	return check_leave_at(cpu, j->check->end.c.rip);
}
