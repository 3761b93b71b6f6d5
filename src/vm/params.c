/* SPDX-License-Identifier: MIT */
/* The parameter table: names, bounds and places, from params.def. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/params.h"

struct kvm_params kvm_params = {
	.engine = KVM_ENGINE_JIT,
#define PARAM(name, def, min, max, desc) .name = (def),
#include "vm/params.def"
#undef PARAM
};

struct param {
	const char *name, *desc;
	int *place;
	int min, max;
	const char *const *words;	/* value is one of these, by index */
};

static const char *const vendors[] = { "intel", "amd", NULL };
static const char *const engines[] = { "interp", "jit", NULL };

static const struct param params[] = {
	{ "vendor", "whose processor: intel (VMX, EPT) or amd (SVM, NPT)",
	  &kvm_params.vendor, 0, 1, vendors },
	{ "engine", "what executes guest code: interp (interpreter) or jit (translator)",
	  &kvm_params.engine, 0, 1, engines },
#define PARAM(name, def, min, max, desc) \
	{ #name, desc " [" #min ".." #max "]", &kvm_params.name, min, max, NULL },
#include "vm/params.def"
#undef PARAM
};

static int set_word(const struct param *p, const char *value)
{
	for (int i = 0; p->words[i]; i++) {
		if (!strcmp(p->words[i], value)) {
			*p->place = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_number(const struct param *p, const char *value)
{
	char *end;
	long v;

	if (p->min == 0 && p->max == 1 && value[0] && !value[1] &&
	    strchr("YyNn", value[0]))
		value = strchr("Yy", value[0]) ? "1" : "0";
	errno = 0;
	v = strtol(value, &end, 0);
	if (end == value || *end || errno || v < p->min || v > p->max)
		return -EINVAL;
	*p->place = v;
	return 0;
}

int kvm_param_set(const char *name, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		if (strcmp(params[i].name, name))
			continue;
		return params[i].words ? set_word(&params[i], value)
				       : set_number(&params[i], value);
	}
	return -ENOENT;
}

int kvm_params_parse(const char *list, char *bad, size_t size)
{
	char item[128];
	int ret = 0;

	for (const char *p = list; *p && !ret;) {
		size_t n = strcspn(p, ",");
		char *eq;

		snprintf(item, sizeof(item), "%.*s", (int)n, p);
		p += n + (p[n] == ',');
		if (!n)
			continue;
		if (bad)
			snprintf(bad, size, "%s", item);
		eq = strchr(item, '=');
		if (!eq)
			return -EINVAL;
		*eq = 0;
		ret = kvm_param_set(item, eq + 1);
	}
	return ret;
}

bool kvm_param_get(unsigned i, const char **name, const char **desc, char *buf,
		   size_t size)
{
	const struct param *p;

	if (i >= ARRAY_SIZE(params))
		return false;
	p = &params[i];
	*name = p->name;
	*desc = p->desc;
	if (p->words)
		snprintf(buf, size, "%s", p->words[*p->place]);
	else
		snprintf(buf, size, "%d", *p->place);
	return true;
}
