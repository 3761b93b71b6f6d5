/* SPDX-License-Identifier: MIT */
/*
 * The fuzzer's bytes as a stream of choices. Where they end, a generator seeded by
 * all of them goes on, so that a short input still makes a whole machine state, and
 * the same one every time.
 */
#ifndef ANYKVM_FUZZ_INPUT_H
#define ANYKVM_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct fuzz_input {
	const uint8_t *p, *end;
	uint64_t seed;
};

static inline void fuzz_begin(struct fuzz_input *in, const uint8_t *data,
			      size_t size)
{
	*in = (struct fuzz_input){ data, data + size, 0xcbf29ce484222325 };
	for (size_t i = 0; i < size; i++)
		in->seed = (in->seed ^ data[i]) * 0x100000001b3;
	in->seed |= 1;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (in->p < in->end)
		return *in->p++;
	in->seed ^= in->seed << 13;
	in->seed ^= in->seed >> 7;
	in->seed ^= in->seed << 17;
	return in->seed >> 32;
}

static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)to)[i] = fuzz_u8(in);
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	return fuzz_u8(in) | fuzz_u8(in) << 8;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t v;

	fuzz_bytes(in, &v, 8);
	return v;
}

/* Below @n, which is at most 256. */
static inline unsigned fuzz_below(struct fuzz_input *in, unsigned n)
{
	return fuzz_u8(in) % n;
}

static inline bool fuzz_is_empty(const struct fuzz_input *in)
{
	return in->p == in->end;
}

/* A value as programs have them: near one of @near's, a small one, any. */
static inline uint64_t fuzz_value(struct fuzz_input *in, uint64_t near)
{
	switch (fuzz_below(in, 8)) {
	case 0:
		return fuzz_u64(in);
	case 1:
		return fuzz_u8(in);
	case 2:
		return 1ull << fuzz_below(in, 64);
	case 3:
		return (int64_t)(int8_t)fuzz_u8(in);
	default:
		return near + fuzz_u16(in);
	}
}

/* @val with a bit changed, or another value: what a control field becomes. */
static inline uint64_t fuzz_change(struct fuzz_input *in, uint64_t val)
{
	switch (fuzz_below(in, 4)) {
	case 0:
		return val ^ 1ull << fuzz_below(in, 64);
	case 1:
		return val ^ 1ull << fuzz_below(in, 16);
	case 2:
		return fuzz_u16(in);
	default:
		return fuzz_u64(in);
	}
}

/* A finding: says which, and ends the run as a crash. */
#define FUZZ_FAIL(...)							\
	do {								\
		fprintf(stderr, "FINDING: %s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);				\
		fputc('\n', stderr);					\
		abort();						\
	} while (0)

#define FUZZ_CHECK(cond)						\
	do {								\
		if (!(cond))						\
			FUZZ_FAIL("%s", #cond);				\
	} while (0)

#endif
