/* SPDX-License-Identifier: MIT */
/*
 * Descriptor numbers to objects: a two-level table that grows by chunks, read
 * without locks, written under one mutex.
 *
 * A kvm_file is never freed while the table points to it, and ioctls on a
 * descriptor that another thread closes at that moment are the client's race, as
 * with any descriptor; the VM itself is counted (kvm_get_kvm) by whoever uses it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ioctl/file.h"

#define CHUNK_BITS	10
#define CHUNK_SIZE	(1u << CHUNK_BITS)
#define NR_CHUNKS	1024u		/* a million descriptors */

static struct kvm_file **chunks[NR_CHUNKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_head files = LIST_HEAD_INIT(files);
static uint64_t fork_generation;
static pid_t owner;		/* the process whose memory this is */

static void after_fork_in_child(void)
{
	fork_generation++;
	owner = getpid();
	pthread_mutex_init(&lock, NULL);
}

__attribute__((constructor)) static void file_init(void)
{
	owner = getpid();
	pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* Between vfork() and exec a child closes descriptors of its own in its parent's
 * memory: not in the parent's table. */
static bool is_vforked(void)
{
	return getpid() != owner;
}

bool kvm_file_is_foreign(const struct kvm_file *f)
{
	return f->fork_generation != fork_generation;
}

static struct kvm_file **slot_of(int fd)
{
	unsigned n = fd;
	struct kvm_file **chunk;

	if (fd < 0 || n >> CHUNK_BITS >= NR_CHUNKS)
		return NULL;
	chunk = __atomic_load_n(&chunks[n >> CHUNK_BITS], __ATOMIC_ACQUIRE);
	return chunk ? &chunk[n & (CHUNK_SIZE - 1)] : NULL;
}

struct kvm_file *kvm_file_get(int fd)
{
	struct kvm_file **slot = slot_of(fd);

	return slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

/* With the lock held. 0 or -ENOMEM, -EMFILE. */
static int install(int fd, struct kvm_file *f)
{
	unsigned n = fd;
	struct kvm_file **slot;

	if (fd < 0 || n >> CHUNK_BITS >= NR_CHUNKS)
		return -EMFILE;
	if (!chunks[n >> CHUNK_BITS]) {
		struct kvm_file **c = calloc(CHUNK_SIZE, sizeof(*c));

		if (!c)
			return -ENOMEM;
		__atomic_store_n(&chunks[n >> CHUNK_BITS], c, __ATOMIC_RELEASE);
	}
	slot = slot_of(fd);
	__atomic_store_n(slot, f, __ATOMIC_RELEASE);
	f->fds++;
	return 0;
}

static struct kvm_file *find_inode(const struct stat *st)
{
	struct kvm_file *f;

	list_for_each_entry(f, &files, link)
		if (f->ino == st->st_ino && f->dev == st->st_dev)
			return f;
	return NULL;
}

struct kvm_file *kvm_file_find(int fd)
{
	struct kvm_file *f = kvm_file_get(fd);
	struct stat st;

	if (f)
		return f;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink)
		return NULL;
	pthread_mutex_lock(&lock);
	f = find_inode(&st);
	if (f && install(fd, f))
		f = NULL;
	pthread_mutex_unlock(&lock);
	return f;
}

static void destroy(struct kvm_file *f)
{
	list_del(&f->link);
	pthread_mutex_unlock(&lock);
	/* In a child the VM is the parent's: its threads and timers are not here. */
	if (f->kvm && !kvm_file_is_foreign(f))
		kvm_put_kvm(f->kvm);
	/* A vCPU's pages are the vCPU's, which lives as long as the VM. */
	free(f);
	pthread_mutex_lock(&lock);
}

void kvm_file_close(int fd)
{
	struct kvm_file **slot = slot_of(fd), *f;

	if (!slot || !*slot || is_vforked())
		return;
	pthread_mutex_lock(&lock);
	f = *slot;
	if (f) {
		__atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
		if (!--f->fds)
			destroy(f);
	}
	pthread_mutex_unlock(&lock);
}

void kvm_file_dup(int oldfd, int newfd)
{
	struct kvm_file *f;

	if (oldfd == newfd)
		return;
	kvm_file_close(newfd);
	if (!kvm_file_get(oldfd) || is_vforked())
		return;
	pthread_mutex_lock(&lock);
	f = kvm_file_get(oldfd);
	if (f)
		install(newfd, f);
	pthread_mutex_unlock(&lock);
}

/* The size is sealed: a client that truncated it would pull kvm_run from under us. */
static int make_memfd(const char *name, unsigned pages, int flags)
{
	int fd = memfd_create(name, MFD_ALLOW_SEALING |
			      (flags & O_CLOEXEC ? MFD_CLOEXEC : 0));

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, pages * PAGE_SIZE) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int register_file(struct kvm_file *f, int fd)
{
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->fork_generation = fork_generation;
	pthread_mutex_lock(&lock);
	ret = install(fd, f);
	if (!ret)
		list_add_tail(&f->link, &files);
	pthread_mutex_unlock(&lock);
	return ret;
}

int kvm_file_create(enum kvm_file_kind kind, const char *name, unsigned pages,
		    int flags, struct kvm_file **out)
{
	struct kvm_file *f = calloc(1, sizeof(*f));
	int fd, ret;

	if (!f)
		return -ENOMEM;
	f->kind = kind;
	list_init(&f->link);
	fd = make_memfd(name, pages, flags);
	if (fd < 0) {
		free(f);
		return fd;
	}
	if (pages) {
		f->pages = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_SHARED, fd, 0);
		if (f->pages == MAP_FAILED) {
			ret = -ENOMEM;
			goto fail;
		}
	}
	ret = register_file(f, fd);
	if (ret) {
		if (f->pages)
			munmap(f->pages, pages * PAGE_SIZE);
		goto fail;
	}
	*out = f;
	return fd;
fail:
	close(fd);
	free(f);
	return ret;
}

void kvm_file_for_each(void (*fn)(struct kvm_file *f, void *arg), void *arg)
{
	struct kvm_file *f;

	pthread_mutex_lock(&lock);
	list_for_each_entry(f, &files, link)
		fn(f, arg);
	pthread_mutex_unlock(&lock);
}
