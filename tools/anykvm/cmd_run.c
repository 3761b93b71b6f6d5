/* SPDX-License-Identifier: MIT */
/*
 * anykvm run: the options of the VMM and what they turn into. Numbers are
 * checked here, files by the loaders; nothing is created before all options are
 * known to be good.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "anykvm/anykvm.h"
#include "cli.h"
#include "vmm/acpi.h"
#include "vmm/vmm.h"

#define MIB			(1ull << 20)
#define DEFAULT_MEM		(512 * MIB)
#define DEFAULT_LOAD_ADDR	0x7c00

static const char help_head[] =
	"usage: anykvm run --kernel FILE [OPTION]...\n"
	"       anykvm run --flat FILE [OPTION]...\n\n"
	"Runs a virtual machine: serial console on this terminal, ACPI, no PCI.\n"
	"Ctrl-A x ends it, Ctrl-A h tells the other keys.\n\n"
	"  --kernel FILE           bzImage, ELF with a PVH note, multiboot, or vmlinux\n"
	"  --initrd FILE           initial RAM disk (first module of a multiboot kernel)\n"
	"  --append TEXT           kernel command line\n"
	"  --flat FILE             bytes as they are, no format\n"
	"  --load-addr ADDR        where --flat goes and starts (default 0x7c00)\n"
	"  --flat-mode MODE        real (default), prot32 or long64\n"
	"  --mem SIZE              MiB, or with a suffix K, M, G (default 512)\n"
	"  --cpus N                vCPUs, 1 to 254 (default 1)\n"
	"  --irqchip kernel|none   interrupt controllers and PIT of the KVM (default), or none:\n"
	"                          then HLT ends the guest\n"
	"  --device PATH           a KVM device instead of anykvm, such as /dev/kvm\n"
	"  --timeout SECONDS       end the guest after this much wall time\n";
static const char help_tail[] =
	"  -h, --help              this text\n\n"
	"Exit status:\n"
	"  0  the guest powered off, or was ended from the terminal\n"
	"  1  the KVM API or the host failed     2  bad option, file or memory size\n"
	"  3  the guest reported a panic         4  the guest asked for a reset\n"
	"  5  triple fault                       6  KVM internal error or failed VM entry\n"
	"  7  timeout                            64+N  byte N (modulo 64) written to port 0xf4\n"
	"  128+S  ended by signal S\n";

enum { OPT_KERNEL = OPT_OWN, OPT_INITRD, OPT_APPEND, OPT_FLAT, OPT_LOAD_ADDR,
       OPT_FLAT_MODE, OPT_MEM, OPT_CPUS, OPT_IRQCHIP, OPT_DEVICE, OPT_TIMEOUT };

/* clang-format off */
static const struct option options[] = {
	LIB_LONG_OPTIONS,
	{ "kernel",    required_argument, NULL, OPT_KERNEL },
	{ "initrd",    required_argument, NULL, OPT_INITRD },
	{ "append",    required_argument, NULL, OPT_APPEND },
	{ "flat",      required_argument, NULL, OPT_FLAT },
	{ "load-addr", required_argument, NULL, OPT_LOAD_ADDR },
	{ "flat-mode", required_argument, NULL, OPT_FLAT_MODE },
	{ "mem",       required_argument, NULL, OPT_MEM },
	{ "cpus",      required_argument, NULL, OPT_CPUS },
	{ "irqchip",   required_argument, NULL, OPT_IRQCHIP },
	{ "device",    required_argument, NULL, OPT_DEVICE },
	{ "timeout",   required_argument, NULL, OPT_TIMEOUT },
	{ "help",      no_argument,       NULL, 'h' },
	{ 0 }
};
/* clang-format on */

/* A whole number with nothing after it but @rest [OUT]. */
static bool number(const char *s, uint64_t *v, const char **rest)
{
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*v = strtoull(s, &end, 0);
	*rest = end;
	return !errno;
}

static bool parse_size(const char *s, uint64_t *bytes)
{
	static const char suffixes[] = "KMG";
	const char *rest, *p;
	unsigned shift = 20;

	if (!number(s, bytes, &rest))
		return false;
	if (*rest) {
		p = strchr(suffixes, *rest & ~0x20);
		if (!p || rest[1])
			return false;
		shift = 10 * (p - suffixes + 1);
	}
	if (*bytes > UINT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return *bytes >= RAM_MIN && *bytes % PAGE_SIZE == 0;
}

static bool parse_u64(const char *s, uint64_t max, uint64_t *v)
{
	const char *rest;

	return number(s, v, &rest) && !*rest && *v <= max;
}

static bool parse_cpus(const char *s, unsigned *cpus)
{
	uint64_t v;

	if (!parse_u64(s, ACPI_CPUS_MAX, &v) || !v)
		return false;
	*cpus = v;
	return true;
}

static bool parse_seconds(const char *s, double *v)
{
	char *end;

	*v = strtod(s, &end);
	return end != s && !*end && isfinite(*v) && *v > 0 && *v < 1e9;
}

static bool parse_mode(const char *s, enum boot_mode *mode)
{
	static const char *const names[] = {
		[BOOT_REAL] = "real", [BOOT_PROT32] = "prot32",
		[BOOT_LONG64] = "long64",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(s, names[i])) {
			*mode = i;
			return true;
		}
	return false;
}

static bool parse_irqchip(const char *s, bool *irqchip)
{
	*irqchip = !strcmp(s, "kernel");
	return *irqchip || !strcmp(s, "none");
}

/* One of the VMM's own options; false: its value is bad. */
static bool vmm_option(struct vmm_config *cfg, int opt, const char *arg)
{
	switch (opt) {
	case OPT_KERNEL: cfg->kernel = arg; return true;
	case OPT_INITRD: cfg->initrd = arg; return true;
	case OPT_APPEND: cfg->append = arg; return true;
	case OPT_FLAT: cfg->flat = arg; return true;
	case OPT_DEVICE: cfg->device = arg; return true;
	case OPT_LOAD_ADDR: return parse_u64(arg, UINT64_MAX, &cfg->load_addr);
	case OPT_FLAT_MODE: return parse_mode(arg, &cfg->flat_mode);
	case OPT_MEM: return parse_size(arg, &cfg->mem);
	case OPT_CPUS: return parse_cpus(arg, &cfg->cpus);
	case OPT_IRQCHIP: return parse_irqchip(arg, &cfg->irqchip);
	case OPT_TIMEOUT: return parse_seconds(arg, &cfg->timeout);
	default: return false;
	}
}

static const char *option_name(int opt)
{
	for (const struct option *o = options; o->name; o++)
		if (o->val == opt)
			return o->name;
	return "";
}

static int print_help(void)
{
	fputs(help_head, stdout);
	fputs(lib_options_help, stdout);
	fputs(help_tail, stdout);
	return 0;
}

/* -1: all is well so far; else the exit status. */
static int parse(int argc, char **argv, struct vmm_config *cfg,
		 struct lib_options *lib)
{
	int o, taken;

	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (o == 'h')
			return print_help();
		if (o == '?')
			return EXIT_USAGE;
		taken = lib_option(lib, o, optarg);
		if (taken < 0)
			return EXIT_USAGE;
		if (taken && !vmm_option(cfg, o, optarg))
			return usage_error("--%s: bad value \"%s\"",
					   option_name(o), optarg);
	}
	if (optind < argc)
		return usage_error("%s: no such argument (anykvm run --help)",
				   argv[optind]);
	if (!cfg->kernel == !cfg->flat)
		return usage_error("run wants --kernel or --flat, one of them (anykvm run --help)");
	if (cfg->flat && (cfg->initrd || cfg->append))
		return usage_error("--flat takes no --initrd and no --append");
	if (cfg->device && lib->any)
		return usage_error("--device is another KVM: --vendor, --engine, --param, "
				   "--trace and --stats are anykvm's own");
	if (!cfg->irqchip && cfg->cpus > 1)
		return usage_error("--irqchip none: one vCPU only, nothing could start the others");
	return -1;
}

static int start_trace(const struct lib_options *lib)
{
	int err;

	if (!lib->trace)
		return lib->events ? usage_error("--trace-events wants --trace")
				   : -1;
	err = anykvm_trace(lib->trace, lib->events);
	if (err == -EINVAL && lib->events)
		return usage_error("--trace-events: no such tracepoint in \"%s\"", lib->events);
	return err ? usage_error("--trace %s: %s", lib->trace, strerror(-err))
		   : -1;
}

/* Statistics are the VM's: printed while it is there. */
static void print_stats(void)
{
	anykvm_stats(2);
}

int cmd_run(int argc, char **argv)
{
	struct vmm_config cfg = {
		.load_addr = DEFAULT_LOAD_ADDR, .mem = DEFAULT_MEM, .cpus = 1,
		.irqchip = true,
	};
	struct lib_options lib = { .params = "" };
	int status = parse(argc, argv, &cfg, &lib);

	if (status < 0)
		status = start_trace(&lib);
	if (status >= 0)
		return status;
	cfg.api = cfg.device ? &kvm_api_device : &kvm_api_anykvm;
	cfg.at_end = lib.stats ? print_stats : NULL;
	status = vmm_run(&cfg);
	if (lib.trace)
		anykvm_trace(NULL, NULL);
	return status;
}
