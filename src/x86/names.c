// SPDX-License-Identifier: MIT
/*
 * Numbers to names: MSRs, exit reasons and codes, VMCS fields.
 *
 * The names come from the same .def lists as the constants, so a name cannot
 * miss. Used by traces, dumps and tests, never on a path that counts: the lists
 * are searched from the start. All functions are pure and return strings that
 * live forever, or NULL for a number that has no name; printing something
 * readable then is the caller's.
 */
#include "x86/msr.h"
#include "x86/vmcb.h"
#include "x86/vmcs.h"

struct name {
	uint64_t number;
	const char *text;
};

static const struct name msr_names[] = {
#define MSR(index, name) { index, #name },
#include "x86/msr.def"
#undef MSR
};

static const struct name vmx_exit_names[] = {
#define VMX_EXIT(nr, name) { nr, #name },
#include "x86/vmx_exit.def"
#undef VMX_EXIT
};

static const struct name svm_exit_names[] = {
#define SVM_EXIT(code, name, text) { (uint64_t)(code), text },
#include "x86/svm_exit.def"
#undef SVM_EXIT
};

static const struct name vmcs_field_names[] = {
#define NAME_16(enc, name) { enc, #name },
#define NAME_32(enc, name) { enc, #name },
#define NAME_N(enc, name) { enc, #name },
#define NAME_64(enc, name) { enc, #name }, { (enc) + 1, #name "_HIGH" },
#define VMCS_FIELD(enc, name, width, type, feature) NAME_##width(enc, name)
#include "x86/vmcs.def"
#undef VMCS_FIELD
};

/* The width and type columns of vmcs.def say what the encodings say. */
#define WIDTH_16 VMCS_W16
#define WIDTH_32 VMCS_W32
#define WIDTH_64 VMCS_W64
#define WIDTH_N VMCS_WN
#define VMCS_FIELD(enc, name, width, type, feature)			\
	_Static_assert(FIELD_GET(VMCS_FIELD_WIDTH, enc) == WIDTH_##width && \
		       FIELD_GET(VMCS_FIELD_TYPE, enc) == VMCS_##type,	\
		       "vmcs.def: " #name);
#include "x86/vmcs.def"
#undef VMCS_FIELD

static const char *lookup(const struct name *t, size_t n, uint64_t number)
{
	for (size_t i = 0; i < n; i++)
		if (t[i].number == number)
			return t[i].text;
	return NULL;
}

const char *x86_msr_name(uint32_t msr)
{
	return lookup(msr_names, ARRAY_SIZE(msr_names), msr);
}

const char *vmx_exit_name(uint32_t reason)
{
	return lookup(vmx_exit_names, ARRAY_SIZE(vmx_exit_names),
		      reason & VMX_EXIT_BASIC_MASK);
}

const char *svm_exit_name(uint64_t code)
{
	return lookup(svm_exit_names, ARRAY_SIZE(svm_exit_names), code);
}

const char *vmcs_field_name(uint32_t encoding)
{
	return lookup(vmcs_field_names, ARRAY_SIZE(vmcs_field_names), encoding);
}
