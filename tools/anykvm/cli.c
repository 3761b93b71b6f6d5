/* SPDX-License-Identifier: MIT */
/*
 * The options that several subcommands have. A parameter is set in this
 * process's copy of the library when it is parsed: the library alone knows which
 * there are and what values they take, and "exec" gets its check that way too.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "anykvm/anykvm.h"
#include "cli.h"

const char lib_options_help[] =
	"  --vendor intel|amd      the processor that guests see, and the backend\n"
	"  --engine jit|interp     how guest code is executed: translator (default), interpreter\n"
	"  --param NAME=VALUE      a module parameter (anykvm params lists them)\n"
	"  --trace FILE            write tracepoints to FILE\n"
	"  --trace-events A,B      only these of Linux's: kvm_exit,kvm_msr,...\n"
	"  --stats                 print statistics to standard error at the end\n";

int usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("anykvm: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

static int take_param(struct lib_options *o, const char *name,
		      const char *value)
{
	size_t used = strlen(o->params), room = sizeof(o->params) - used;
	int err = anykvm_param_set(name, value);

	if (err) {
		usage_error(err == -ENOENT ? "%s: no such parameter (anykvm params)"
			    : "%s: bad value \"%s\" (anykvm params)", name, value);
		return -1;
	}
	if (strpbrk(value, ",") ||
	    snprintf(o->params + used, room, "%s%s=%s", used ? "," : "", name,
		     value) >= (int)room) {
		usage_error("%s: bad value \"%s\"", name, value);
		return -1;
	}
	return 0;
}

static int take_name_value(struct lib_options *o, const char *arg)
{
	const char *eq = strchr(arg, '=');
	char name[64];

	if (!eq || eq == arg || (size_t)(eq - arg) >= sizeof(name)) {
		usage_error("--param wants NAME=VALUE, not \"%s\"", arg);
		return -1;
	}
	memcpy(name, arg, eq - arg);
	name[eq - arg] = 0;
	return take_param(o, name, eq + 1);
}

int lib_option(struct lib_options *o, int opt, const char *arg)
{
	if (opt < OPT_VENDOR || opt > OPT_STATS)
		return 1;
	o->any = true;
	switch (opt) {
	case OPT_VENDOR:
		return take_param(o, "vendor", arg);
	case OPT_ENGINE:
		return take_param(o, "engine", arg);
	case OPT_PARAM:
		return take_name_value(o, arg);
	case OPT_TRACE:
		o->trace = arg;
		return 0;
	case OPT_EVENTS:
		o->events = arg;
		return 0;
	default:
		o->stats = true;
		return 0;
	}
}
