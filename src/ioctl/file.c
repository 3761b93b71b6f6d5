/* SPDX-License-Identifier: MIT */
/*
 * Descriptor numbers to objects: a two-level table that grows by chunks, read
 * without locks, written under one mutex.
 *
 * As with any descriptor, a request that is under way when another thread closes the
 * descriptor keeps its object: kvm_file->refs counts such requests, and all
 * descriptors together as one. A look-up reads the table, counts itself unless the
 * object has ended meanwhile, and looks whether the table still says the same. What
 * it counts on may be another object by then, but never other memory: a kvm_file that
 * has ended goes to a list of spare ones.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ioctl/file.h"

#define CHUNK_BITS	10
#define CHUNK_SIZE	(1u << CHUNK_BITS)
#define NR_CHUNKS	1024u		/* a million descriptors */

static struct kvm_file **chunks[NR_CHUNKS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_head files = LIST_HEAD_INIT(files), spare = LIST_HEAD_INIT(spare);

/*
 * Which of a line of forks this process is: a word that the kernel clears in every child
 * with memory of its own, also in one that a raw system call has made. 0 is such a child
 * which nobody has told us of.
 */
static uint64_t not_cleared, *generation = &not_cleared, last_generation;
static pid_t owner;		/* the process whose memory this is */

static void begin_generation(void)
{
	*generation = ++last_generation;
	owner = getpid();
	pthread_mutex_init(&lock, NULL);
}

static void notice_fork(void)
{
	if (unlikely(!*generation))
		begin_generation();
}

__attribute__((constructor)) static void file_init(void)
{
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Without it, and on Linux before 4.14, fork() is seen and no other way. */
	if (page != MAP_FAILED && !madvise(page, PAGE_SIZE, MADV_WIPEONFORK))
		generation = page;
	begin_generation();
	pthread_atfork(NULL, NULL, begin_generation);
}

/* Between vfork() and exec a child closes descriptors of its own in its parent's
 * memory: not in the parent's table. */
static bool is_vforked(void)
{
	notice_fork();
	return getpid() != owner;
}

bool kvm_file_is_foreign(const struct kvm_file *f)
{
	return f->generation != *generation;
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

/* What the table says; the object stays only with the lock held. */
static struct kvm_file *peek(int fd)
{
	struct kvm_file **slot = slot_of(fd);

	return slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

static bool get_unless_ended(struct kvm_file *f)
{
	unsigned refs = __atomic_load_n(&f->refs, __ATOMIC_RELAXED);

	while (refs)
		if (__atomic_compare_exchange_n(&f->refs, &refs, refs + 1, true,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

struct kvm_file *kvm_file_get(int fd)
{
	struct kvm_file *f;

	while ((f = peek(fd))) {
		if (!get_unless_ended(f))
			continue;
		if (likely(peek(fd) == f))
			return f;
		kvm_file_put(f);
	}
	return NULL;
}

bool kvm_file_is_ours(int fd)
{
	return peek(fd);
}

/*
 * With the lock held: @fd names nothing any more. Returns the object if that was its
 * last descriptor, for put_last() when the lock is released.
 */
static struct kvm_file *forget(int fd)
{
	struct kvm_file *f = peek(fd);

	if (!f)
		return NULL;
	__atomic_store_n(slot_of(fd), NULL, __ATOMIC_RELEASE);
	if (--f->fds)
		return NULL;
	list_del(&f->link);
	return f;
}

static void put_last(struct kvm_file *f)
{
	if (f)
		kvm_file_put(f);
}

/*
 * With the lock held. 0 or -ENOMEM, -EMFILE. What the number named before (it was closed
 * where we did not see it) is forgotten: @last as forget() returns it.
 */
static int install(int fd, struct kvm_file *f, struct kvm_file **last)
{
	unsigned n = fd;

	if (fd < 0 || n >> CHUNK_BITS >= NR_CHUNKS)
		return -EMFILE;
	if (!chunks[n >> CHUNK_BITS]) {
		struct kvm_file **c = calloc(CHUNK_SIZE, sizeof(*c));

		if (!c)
			return -ENOMEM;
		__atomic_store_n(&chunks[n >> CHUNK_BITS], c, __ATOMIC_RELEASE);
	}
	if (peek(fd) == f)
		return 0;
	*last = forget(fd);
	__atomic_store_n(slot_of(fd), f, __ATOMIC_RELEASE);
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
	struct kvm_file *f = kvm_file_get(fd), *last = NULL;
	struct stat st;

	if (f)
		return f;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink)
		return NULL;
	pthread_mutex_lock(&lock);
	f = find_inode(&st);
	if (f && (install(fd, f, &last) || !get_unless_ended(f)))
		f = NULL;
	pthread_mutex_unlock(&lock);
	put_last(last);
	return f;
}

void kvm_file_put(struct kvm_file *f)
{
	if (__atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL))
		return;
	/* In a child the VM is the parent's: its threads and timers are not here. */
	if (f->kvm && !kvm_file_is_foreign(f))
		kvm_put_kvm(f->kvm);
	/* A vCPU's pages are the vCPU's, which lives as long as the VM. */
	if (f->pages && !f->vcpu)
		munmap(f->pages, f->nr_pages * PAGE_SIZE);
	pthread_mutex_lock(&lock);
	list_add_tail(&f->link, &spare);
	pthread_mutex_unlock(&lock);
}

void kvm_file_close(int fd)
{
	struct kvm_file *last;

	if (!peek(fd) || is_vforked())
		return;
	pthread_mutex_lock(&lock);
	last = forget(fd);
	pthread_mutex_unlock(&lock);
	put_last(last);
}

void kvm_file_dup(int oldfd, int newfd)
{
	struct kvm_file *f, *last = NULL;

	if (oldfd == newfd)
		return;
	kvm_file_close(newfd);
	if (!peek(oldfd) || is_vforked())
		return;
	pthread_mutex_lock(&lock);
	f = peek(oldfd);
	if (f)
		install(newfd, f, &last);
	pthread_mutex_unlock(&lock);
	put_last(last);
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

static struct kvm_file *alloc_file(void)
{
	struct kvm_file *f = NULL;

	pthread_mutex_lock(&lock);
	if (!list_is_empty(&spare)) {
		f = list_entry(spare.next, struct kvm_file, link);
		list_del(&f->link);
	}
	pthread_mutex_unlock(&lock);
	if (!f)
		return calloc(1, sizeof(*f));
	/* All but refs, which is 0 and which a look-up that comes late may read. */
	memset((char *)f + sizeof(f->refs), 0, sizeof(*f) - sizeof(f->refs));
	return f;
}

static int map_pages(struct kvm_file *f)
{
	void *pages = mmap(NULL, f->nr_pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED, f->new_fd, 0);

	if (pages == MAP_FAILED)
		return -ENOMEM;
	f->pages = pages;
	return 0;
}

int kvm_file_create(enum kvm_file_kind kind, const char *name, unsigned pages,
		    int flags, struct kvm_file **out)
{
	struct kvm_file *f;
	int ret = 0;

	notice_fork();
	f = alloc_file();
	if (!f)
		return -ENOMEM;
	f->kind = kind;
	f->nr_pages = pages;
	f->generation = *generation;
	__atomic_store_n(&f->refs, 1, __ATOMIC_RELEASE);
	f->new_fd = make_memfd(name, pages, flags);
	if (f->new_fd < 0)
		ret = f->new_fd;
	else if (pages)
		ret = map_pages(f);
	if (ret) {
		kvm_file_abandon(f);
		return ret;
	}
	*out = f;
	return 0;
}

void kvm_file_abandon(struct kvm_file *f)
{
	if (f->new_fd >= 0)
		close(f->new_fd);
	kvm_file_put(f);
}

int kvm_file_publish(struct kvm_file *f)
{
	struct kvm_file *last = NULL;
	int fd = f->new_fd, ret;
	struct stat st;

	ret = fstat(fd, &st) ? -errno : 0;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	if (!ret) {
		pthread_mutex_lock(&lock);
		ret = install(fd, f, &last);
		if (!ret)
			list_add_tail(&f->link, &files);
		pthread_mutex_unlock(&lock);
		put_last(last);
	}
	if (ret) {
		kvm_file_abandon(f);
		return ret;
	}
	return fd;
}

void kvm_file_for_each(void (*fn)(struct kvm_file *f, void *arg), void *arg)
{
	struct kvm_file *f;

	pthread_mutex_lock(&lock);
	list_for_each_entry(f, &files, link)
		fn(f, arg);
	pthread_mutex_unlock(&lock);
}
