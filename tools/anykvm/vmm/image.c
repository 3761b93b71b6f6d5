/* SPDX-License-Identifier: MIT */
/*
 * Files that the user hands in: read once, whole, then only looked at through
 * bounded accessors. A file that changes or shrinks under us does no harm,
 * because it is a copy and not a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image.h"

#define IMAGE_MAX (2ull << 30)

static bool read_all(struct image *img, int fd, struct vmm_error *e)
{
	size_t got = 0;

	while (got < img->size) {
		ssize_t n = read(fd, img->data + got, img->size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vmm_fail(e, "%s: %s", img->name, strerror(errno));
		if (n == 0)
			break;
		got += n;
	}
	img->size = got;
	return true;
}

static bool read_open_file(struct image *img, int fd, struct vmm_error *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return vmm_fail(e, "%s: %s", img->name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vmm_fail(e, "%s: not a regular file", img->name);
	if ((uint64_t)st.st_size > IMAGE_MAX)
		return vmm_fail(e, "%s: too large", img->name);
	if (st.st_size == 0)
		return vmm_fail(e, "%s: empty file", img->name);
	img->size = st.st_size;
	img->data = malloc(img->size);
	if (!img->data)
		return vmm_fail(e, "%s: out of memory", img->name);
	if (read_all(img, fd, e))
		return true;
	image_free(img);
	return false;
}

bool image_read(struct image *img, const char *path, struct vmm_error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool ok;

	*img = (struct image){ .name = path };
	if (fd < 0)
		return vmm_fail(e, "%s: %s", path, strerror(errno));
	ok = read_open_file(img, fd, e);
	close(fd);
	return ok;
}

void image_free(struct image *img)
{
	free(img->data);
	img->data = NULL;
	img->size = 0;
}

const void *image_at(const struct image *img, uint64_t off, uint64_t n)
{
	if (n > img->size || off > img->size - n)
		return NULL;
	return img->data + off;
}

bool image_copy(const struct image *img, uint64_t off, void *dst, size_t n)
{
	const void *p = image_at(img, off, n);

	if (p)
		memcpy(dst, p, n);
	return p;
}

#define IMAGE_READ(bits)						\
uint##bits##_t image_u##bits(const struct image *img, uint64_t off)	\
{									\
	uint##bits##_t v = 0;						\
									\
	image_copy(img, off, &v, sizeof(v));				\
	return v;							\
}

IMAGE_READ(16)
IMAGE_READ(32)
IMAGE_READ(64)
