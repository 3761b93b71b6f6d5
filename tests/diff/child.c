// SPDX-License-Identifier: MIT
/* child.h: the fork, the limit of time, the status. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "insn/state.h"

int child_run(const char *name, unsigned seconds, void (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(seconds);
		arena_touch();
		fn(arg);
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		fprintf(stderr, "%s: ", name);
		perror("fork");
		exit(2);
	}
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}
