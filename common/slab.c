#include "slab.h"

#include <stdlib.h>
#include <string.h>

/* Slots lie in chunks that never move; the k-th chunk has FIRST << k slots, so that 32 chunks name 2^32 slots and a
 * small slab stays small. */
enum { FIRST_BITS = 4, CHUNKS = 32 - FIRST_BITS };

static const uint32_t NO_SLOT = UINT32_MAX;

struct slot {
    uint32_t generation;
    uint32_t next; /* the next free slot */
    uint32_t used;
    uint32_t pad;
    max_align_t object[];
};

struct slab {
    size_t size;   /* of an object */
    size_t stride; /* of a slot */
    uint32_t max;
    uint32_t count;
    uint32_t made; /* slots that exist, free ones included */
    uint32_t room; /* slots that the chunks so far can hold */
    uint32_t free; /* the slot freed last, so that warm memory is used again */
    unsigned chunk_count;
    unsigned char *chunks[CHUNKS];
};

struct slab *
slab_new(size_t size, uint32_t max)
{
    const size_t align = _Alignof(max_align_t);
    struct slab *s = calloc(1, sizeof *s);

    if (!s) {
        return NULL;
    }
    s->size = size;
    s->stride = (sizeof(struct slot) + size + align - 1) / align * align;
    s->max = max != 0 ? max : UINT32_MAX;
    s->free = NO_SLOT;
    return s;
}

void
slab_destroy(struct slab **s)
{
    if (!s || !*s) {
        return;
    }
    for (unsigned i = 0; i < (*s)->chunk_count; i++) {
        free((*s)->chunks[i]);
    }
    free(*s);
    *s = NULL;
}

static struct slot *
slot_at(const struct slab *s, uint32_t index)
{
    /* chunk k begins at slot 16 * (2^k - 1) */
    uint32_t scaled = (index >> FIRST_BITS) + 1;
    unsigned k = 31U - (unsigned)__builtin_clz(scaled);
    uint32_t first = ((UINT32_C(1) << k) - 1) << FIRST_BITS;

    return (struct slot *)(void *)(s->chunks[k] + (size_t)(index - first) * s->stride);
}

/* A slot that was never used, or NULL. */
static struct slot *
make_slot(struct slab *s, uint32_t *index)
{
    struct slot *slot;

    if (s->made == s->room) {
        size_t slots = (size_t)1 << (FIRST_BITS + s->chunk_count);

        if (s->chunk_count == CHUNKS || slots > SIZE_MAX / s->stride) {
            return NULL;
        }
        s->chunks[s->chunk_count] = malloc(slots * s->stride);
        if (!s->chunks[s->chunk_count]) {
            return NULL;
        }
        s->chunk_count++;
        s->room += (uint32_t)slots;
    }
    *index = s->made++;
    slot = slot_at(s, *index);
    slot->generation = 1;
    return slot;
}

void *
slab_alloc(struct slab *s, uint64_t *handle)
{
    struct slot *slot;
    uint32_t index;

    if (s->count == s->max) {
        return NULL;
    }
    if (s->free != NO_SLOT) {
        index = s->free;
        slot = slot_at(s, index);
        s->free = slot->next;
    } else {
        slot = make_slot(s, &index);
        if (!slot) {
            return NULL;
        }
    }
    slot->used = 1;
    slot->next = NO_SLOT;
    memset(slot->object, 0, s->size);
    s->count++;
    *handle = (uint64_t)slot->generation << 32 | index;
    return slot->object;
}

static struct slot *
find(const struct slab *s, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;
    struct slot *slot;

    if (index >= s->made) {
        return NULL;
    }
    slot = slot_at(s, index);
    return slot->used && slot->generation == (uint32_t)(handle >> 32) ? slot : NULL;
}

void *
slab_get(const struct slab *s, uint64_t handle)
{
    struct slot *slot = find(s, handle);

    return slot ? slot->object : NULL;
}

void
slab_free(struct slab *s, uint64_t handle)
{
    struct slot *slot = find(s, handle);

    if (!slot) {
        return;
    }
    slot->used = 0;
    s->count--;
    if (slot->generation == UINT32_MAX) {
        return; /* the slot has no unused name left: it is given up */
    }
    slot->generation++;
    slot->next = s->free;
    s->free = (uint32_t)handle;
}

uint32_t
slab_count(const struct slab *s)
{
    return s->count;
}

void *
slab_next(const struct slab *s, uint32_t *cursor, uint64_t *handle)
{
    while (*cursor < s->made) {
        uint32_t index = (*cursor)++;
        struct slot *slot = slot_at(s, index);

        if (slot->used) {
            *handle = (uint64_t)slot->generation << 32 | index;
            return slot->object;
        }
    }
    return NULL;
}
