#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create, F_ADD_SEALS */
#endif
#include "counters.h"

#include "fail.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 64 }; /* rows begin on cache lines of their own: each is written by another process */

static const char magic[8] = {'H', 'L', 'C', 'O', 'U', 'N', 'T', '1'};

struct head {
    char magic[8];
    uint64_t hash; /* of the lists of counters and causes, and of the row's layout */
    uint32_t rows;
    uint32_t stride;
};

struct entry {
    const char *name;
    char kind;
    const char *help;
};

static const struct entry entries[COUNTER_COUNT] = {
#define COUNTER_ENTRY(name, kind, help) [COUNTER_##name] = {#name, #kind[0], help},
    COUNTER_LIST(COUNTER_ENTRY)
#undef COUNTER_ENTRY
};

static struct counters_row private_row;
static unsigned char *page;

struct counters_row *counters_mine = &private_row;

static size_t
stride(void)
{
    return (sizeof(struct counters_row) + LINE - 1) / LINE * LINE;
}

static size_t
page_size(void)
{
    return LINE + COUNTERS_ROWS * stride();
}

static uint64_t
hash_bytes(uint64_t hash, const char *s)
{
    do { /* FNV-1a, the terminator included so that the borders count */
        hash = (hash ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    } while (*s++ != '\0');
    return hash;
}

static uint64_t
list_hash(void)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ sizeof(struct counters_row);

    for (int i = 0; i < COUNTER_COUNT; i++) {
        hash = hash_bytes(hash, entries[i].name);
        hash = hash_bytes(hash, entries[i].kind == 'g' ? "g" : "c");
    }
    for (int i = 0; i < FAIL_COUNT; i++) {
        hash = hash_bytes(hash, fail_word(i));
    }
    return hash;
}

int
counters_create(void)
{
    struct head head = {.hash = list_hash(), .rows = COUNTERS_ROWS, .stride = (uint32_t)stride()};
    int fd = memfd_create("holdline-counters", MFD_ALLOW_SEALING);
    int r = -FAIL_IO;

    if (fd < 0) {
        return -FAIL_IO;
    }
    memcpy(head.magic, magic, sizeof magic);
    /* nobody may take the ground from under the others' mapping */
    if (ftruncate(fd, (off_t)page_size()) == 0 && pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
        r = counters_map(fd);
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

int
counters_map(int fd)
{
    struct stat st;
    struct head head;
    unsigned char *p;

    if (fstat(fd, &st) < 0) {
        return -FAIL_IO;
    }
    if (st.st_size != (off_t)page_size()) {
        return -FAIL_INTERNAL;
    }
    p = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return -FAIL_IO;
    }
    memcpy(&head, p, sizeof head);
    if (memcmp(head.magic, magic, sizeof magic) != 0 || head.hash != list_hash() || head.rows != COUNTERS_ROWS ||
        head.stride != stride()) {
        munmap(p, page_size());
        return -FAIL_INTERNAL;
    }
    if (page) {
        counters_mine = &private_row;
        munmap(page, page_size());
    }
    page = p;
    return 0;
}

void
counters_take(unsigned row)
{
    struct counters_row *mine = counters_row(row);

    if (!mine || mine == counters_mine) {
        return;
    }
    for (int i = 0; i < COUNTER_COUNT; i++) {
        if (entries[i].kind == 'g') {
            mine->value[i] = 0;
        }
        mine->value[i] += private_row.value[i];
    }
    for (int i = 0; i < FAIL_COUNT; i++) {
        mine->ends[i] += private_row.ends[i];
        mine->fails[i] += private_row.fails[i];
    }
    memset(&private_row, 0, sizeof private_row);
    counters_mine = mine;
}

struct counters_row *
counters_row(unsigned row)
{
    if (!page || row >= COUNTERS_ROWS) {
        return NULL;
    }
    return (struct counters_row *)(void *)(page + LINE + row * stride());
}

const char *
counters_name(enum counter c)
{
    return (unsigned)c < COUNTER_COUNT ? entries[c].name : "unknown";
}

bool
counters_is_gauge(enum counter c)
{
    return (unsigned)c < COUNTER_COUNT && entries[c].kind == 'g';
}

const char *
counters_help(enum counter c)
{
    return (unsigned)c < COUNTER_COUNT ? entries[c].help : "";
}

const char *
counters_role_name(enum counters_role role)
{
    switch (role) {
    case ROLE_NONE:
        return "none";
    case ROLE_BOSH:
        return "bosh";
    case ROLE_BRIDGE:
        return "bridge";
    case ROLE_CONNECTOR:
        return "connector";
    case ROLE_STATUS:
        return "status";
    }
    return "unknown"; /* the page may hold any number */
}

static int
index_of(int cause)
{
    if (cause <= -FAIL_COUNT || cause >= FAIL_COUNT) {
        return FAIL_INTERNAL;
    }
    return cause < 0 ? -cause : cause;
}

void
counters_end(int cause)
{
    counters_mine->ends[index_of(cause)]++;
}

void
counters_fail(int cause)
{
    counters_mine->fails[index_of(cause)]++;
}
