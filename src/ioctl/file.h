/* SPDX-License-Identifier: MIT */
/*
 * The objects behind our file descriptors.
 *
 * A descriptor is a memfd of the host kernel; which object it stands for is kept
 * here, by number and, for descriptors that came by ways we did not see (dup by a
 * raw system call, SCM_RIGHTS within the process), by inode. A vCPU's memfd holds
 * its kvm_run pages, so that mmap, dup, fork and poll need no help.
 *
 * An object ends when its last descriptor that we know of is closed and the last
 * request on it has returned. All functions may be called from any thread; look-ups
 * take no lock.
 */
#ifndef ANYKVM_IOCTL_FILE_H
#define ANYKVM_IOCTL_FILE_H

#include "vm/kvm_host.h"

enum kvm_file_kind { KVM_FILE_SYSTEM, KVM_FILE_VM, KVM_FILE_VCPU, KVM_NR_FILE_KINDS };

struct kvm_file {
	unsigned refs;			/* requests under way; 1 for all descriptors */
	enum kvm_file_kind kind;
	unsigned fds;			/* descriptors that name it */
	unsigned nr_pages;		/* size of the memfd */
	int new_fd;			/* the memfd's, until kvm_file_publish() */
	uint64_t dev, ino;		/* of the memfd */
	uint64_t generation;		/* of the process that made it */
	struct kvm *kvm;		/* a reference of kvm->refs */
	struct kvm_vcpu *vcpu;
	void *pages;			/* our mapping of a vCPU's memfd */
	struct list_head link;		/* all files, or the spare ones */
};

/* The object of @fd, which stays until kvm_file_put(); NULL: not ours. Fast: one look
 * into a table. */
struct kvm_file *kvm_file_get(int fd);
/* The same, also for descriptors never seen before: asks the host kernel. */
struct kvm_file *kvm_file_find(int fd);
/* May end the object: not from a signal handler that can come beside a close. */
void kvm_file_put(struct kvm_file *f);
bool kvm_file_is_ours(int fd);

/*
 * A new object, 0 or -errno. @name appears in /proc/PID/fd. @pages: size of the
 * memfd, which is then mapped at (*out)->pages. No descriptor leads to it until
 * kvm_file_publish(): the caller fills in kvm, with a reference, and vcpu before.
 */
int kvm_file_create(enum kvm_file_kind kind, const char *name, unsigned pages,
		    int flags, struct kvm_file **out);
/* Returns the descriptor, or -errno: then @f is gone, as with kvm_file_abandon(). */
int kvm_file_publish(struct kvm_file *f);
/* Instead of kvm_file_publish(). */
void kvm_file_abandon(struct kvm_file *f);

/* Descriptor @newfd now names the same object as @oldfd (dup). */
void kvm_file_dup(int oldfd, int newfd);
/* @fd is about to be closed, or has been replaced by dup2: drops its reference;
 * the object may end. */
void kvm_file_close(int fd);

/* Whether a process that fork()ed uses its parent's object. */
bool kvm_file_is_foreign(const struct kvm_file *f);

/* Calls @fn for every object, under the table's lock. */
void kvm_file_for_each(void (*fn)(struct kvm_file *f, void *arg), void *arg);

#endif
