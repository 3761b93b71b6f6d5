/* SPDX-License-Identifier: MIT */
/*
 * anykvm exec: a client's command with libanykvm-preload.so in LD_PRELOAD and
 * its options in the environment. The exit status is the command's own; 127 and
 * 126 mean what they mean in a shell.
 *
 * A statically linked program has no dynamic linker that would load anything; it
 * is refused, because it would talk to the real /dev/kvm, or to none, unnoticed.
 *
 * The preload library is looked for beside this program (a build folder), in
 * the places of an installation relative to it, and in the configured one.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

#define PRELOAD "libanykvm-preload.so"

static const char help_head[] =
	"usage: anykvm exec [OPTION]... [--] COMMAND [ARGUMENT]...\n\n"
	"Runs COMMAND, a dynamically linked program that uses the KVM API, with anykvm\n"
	"answering in place of /dev/kvm.\n\n";
static const char help_tail[] =
	"  -h, --help              this text\n\n"
	"Exit status: COMMAND's; 2 bad option, 126 cannot be run, 127 not found.\n";

/* Where it may be, seen from the folder of this program. */
static const char *const places[] = {
	"", "/../lib", "/../lib64", "/../lib/x86_64-linux-gnu",
	"/../src/front", "/../../src/front", "/../..",
};

static bool own_folder(char buf[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", buf, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return false;
	buf[n] = 0;
	slash = strrchr(buf, '/');
	if (!slash)
		return false;
	*slash = 0;
	return true;
}

static bool find_preload(char path[PATH_MAX])
{
	char folder[PATH_MAX];

	if (own_folder(folder))
		for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++)
			if (snprintf(path, PATH_MAX, "%s%s/" PRELOAD, folder,
				     places[i]) < PATH_MAX &&
			    !access(path, R_OK))
				return true;
	snprintf(path, PATH_MAX, ANYKVM_LIBDIR "/" PRELOAD);
	return !access(path, R_OK);
}

/* Where execvp() would find @name; false: nowhere. */
static bool find_program(const char *name, char path[PATH_MAX])
{
	const char *dir = getenv("PATH"), *end;

	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
	for (; dir && *dir; dir = *end ? end + 1 : end) {
		end = strchrnul(dir, ':');
		if (snprintf(path, PATH_MAX, "%.*s/%s", (int)(end - dir), dir,
			     name) < PATH_MAX &&
		    !access(path, X_OK))
			return true;
	}
	return false;
}

/* Whether the open file is a 64-bit ELF executable without a dynamic linker. */
static bool lacks_interpreter(int fd)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) ||
	    memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof(p))
		return false;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		if (pread(fd, &p, sizeof(p), h.e_phoff + i * sizeof(p)) !=
		    sizeof(p))
			return false;
		if (p.p_type == PT_INTERP)
			return false;
	}
	return true;
}

static bool is_static(const char *name)
{
	char path[PATH_MAX];
	bool yes;
	int fd;

	if (!find_program(name, path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	yes = lacks_interpreter(fd);
	close(fd);
	return yes;
}

/* LD_PRELOAD: ours first, what there was after it. */
static int set_preload(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	char *both;
	int err;

	if (!old || !*old)
		return setenv("LD_PRELOAD", path, 1);
	if (asprintf(&both, "%s:%s", path, old) < 0)
		return -1;
	err = setenv("LD_PRELOAD", both, 1);
	free(both);
	return err;
}

static int set_environment(const struct lib_options *lib, const char *preload)
{
	const char *old = getenv("ANYKVM_PARAMS");
	char params[2048];

	snprintf(params, sizeof(params), "%s%s%s", old ? old : "",
		 old && *old && *lib->params ? "," : "", lib->params);
	if (set_preload(preload) || setenv("ANYKVM_PARAMS", params, 1) ||
	    (lib->trace && setenv("ANYKVM_TRACE", lib->trace, 1)) ||
	    (lib->events && setenv("ANYKVM_TRACE_EVENTS", lib->events, 1)) ||
	    (lib->stats && setenv("ANYKVM_STATS", "/dev/stderr", 1)))
		return -1;
	return 0;
}

static int start(const struct lib_options *lib, char **command)
{
	char preload[PATH_MAX];
	int err;

	if (!find_preload(preload))
		return usage_error(PRELOAD " is neither beside this program nor in "
				   ANYKVM_LIBDIR);
	if (is_static(command[0])) {
		usage_error("%s: statically linked, nothing can be preloaded into it",
			    command[0]);
		return 126;
	}
	if (set_environment(lib, preload))
		return usage_error("cannot set the environment: %s",
				   strerror(errno));
	execvp(command[0], command);
	err = errno;
	usage_error("%s: %s", command[0], strerror(err));
	return err == ENOENT ? 127 : 126;
}

int cmd_exec(int argc, char **argv)
{
	static const struct option options[] = {
		LIB_LONG_OPTIONS, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	struct lib_options lib = { .params = "" };
	int o;

	/* "+": the first word that is no option begins COMMAND. */
	while ((o = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		if (o == 'h') {
			fputs(help_head, stdout);
			fputs(lib_options_help, stdout);
			fputs(help_tail, stdout);
			return 0;
		}
		if (o == '?' || lib_option(&lib, o, optarg))
			return EXIT_USAGE;
	}
	if (optind == argc)
		return usage_error("exec wants a command (anykvm exec --help)");
	return start(&lib, argv + optind);
}
