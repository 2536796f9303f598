#include "marks.h"

#include "fail.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x484c4d41524b5331)

/* One cache line. Of the two copies the one that `turn` does not point to is written, then `turn` is moved. */
struct cell {
    _Atomic uint64_t stream;
    _Atomic uint64_t turn;
    struct mark copy[2];
};

struct head {
    uint64_t magic, fronts, slots;
    uint64_t pad[5];
};

static struct head *table;

static struct cell *
cell_of(unsigned front, uint64_t stream)
{
    uint64_t slot = stream & UINT32_MAX;
    if (table == NULL || front >= table->fronts || slot >= table->slots)
        return NULL;
    return (struct cell *)(void *)(table + 1) + front * table->slots + slot;
}

static size_t
bytes_of(uint64_t fronts, uint64_t slots)
{
    return sizeof(struct head) + fronts * slots * sizeof(struct cell);
}

int
marks_create(unsigned fronts, size_t slots)
{
    const struct head h = {.magic = MAGIC, .fronts = fronts, .slots = slots};
    int fd = memfd_create("holdline-marks", MFD_CLOEXEC);
    if (fd < 0)
        return -FAIL_IO;
    if (ftruncate(fd, (off_t)bytes_of(fronts, slots)) < 0 || pwrite(fd, &h, sizeof h, 0) != (ssize_t)sizeof h) {
        close(fd);
        return -FAIL_IO;
    }
    return fd;
}

int
marks_map(int fd)
{
    struct head h;
    struct stat st;
    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || fstat(fd, &st) < 0)
        return -FAIL_IO;
    if (h.magic != MAGIC || (uint64_t)st.st_size != bytes_of(h.fronts, h.slots))
        return -FAIL_INTERNAL;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return -FAIL_IO;
    table = map;
    return 0;
}

/* The copy to be written, holding what is known so far; publish() makes it the valid one. */
static struct mark *
draft(struct cell *c, uint64_t stream)
{
    uint64_t turn = atomic_load_explicit(&c->turn, memory_order_relaxed);
    if (atomic_load_explicit(&c->stream, memory_order_relaxed) != stream) { /* the slot's next stream */
        atomic_store_explicit(&c->stream, 0, memory_order_release);
        memset(c->copy, 0, sizeof c->copy);
        atomic_store_explicit(&c->stream, stream, memory_order_release);
    }
    c->copy[(turn + 1) & 1] = c->copy[turn & 1];
    return &c->copy[(turn + 1) & 1];
}

static void
publish(struct cell *c)
{
    atomic_fetch_add_explicit(&c->turn, 1, memory_order_release);
}

void
marks_answered(unsigned front, uint64_t stream, uint64_t rid, uint64_t number)
{
    struct cell *c = cell_of(front, stream);
    if (c == NULL)
        return;
    struct mark *m = draft(c, stream);
    m->rid = rid;
    m->answered = number;
    publish(c);
}

void
marks_done(unsigned front, uint64_t stream, uint64_t number)
{
    struct cell *c = cell_of(front, stream);
    if (c == NULL)
        return;
    draft(c, stream)->done = number;
    publish(c);
}

bool
marks_read(unsigned front, uint64_t stream, struct mark *m)
{
    struct cell *c = cell_of(front, stream);
    if (c == NULL || atomic_load_explicit(&c->stream, memory_order_acquire) != stream)
        return false;
    *m = c->copy[atomic_load_explicit(&c->turn, memory_order_acquire) & 1];
    return true;
}
