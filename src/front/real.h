/* SPDX-License-Identifier: MIT */
/*
 * The C library's functions behind the ones we replace. REAL(name) looks one up
 * at its first use; the look-up may happen in any thread, and twice, harmlessly.
 */
#ifndef ANYKVM_FRONT_REAL_H
#define ANYKVM_FRONT_REAL_H

#include <dlfcn.h>

#define REAL(name)							\
	({								\
		static __typeof__(&name) real_;				\
		__typeof__(&name) f_ =					\
			__atomic_load_n(&real_, __ATOMIC_RELAXED);	\
		if (__builtin_expect(!f_, 0)) {				\
			f_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
			__atomic_store_n(&real_, f_, __ATOMIC_RELAXED);	\
		}							\
		f_;							\
	})

#define EXPORT __attribute__((visibility("default")))

#endif
