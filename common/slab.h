/* slab: objects of one size behind 64-bit handles (generation << 32 | slot). Pure.
 *
 * A handle names one object for ever: when the object is freed the slot's generation grows, and an old handle finds
 * nothing. Objects do not move. Memory comes in chunks and is zeroed at each allocation. Handle 0 is never given out
 * (generations start at 1).
 */
#ifndef COMMON_SLAB_H
#define COMMON_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slab;

/** A slab for objects of `size` bytes, at most `max` of them (0: 2^32 - 1). NULL when memory is out. */
struct slab *slab_new(size_t size, uint32_t max);
/** Frees the slab with all that is in it. */
void slab_destroy(struct slab **s);
/** A zeroed object; its handle goes to *handle. NULL when `max` are in use or memory is out. */
void *slab_alloc(struct slab *s, uint64_t *handle);
/** The object of a handle, or NULL when there is none (any more). Any number may be asked. */
void *slab_get(const struct slab *s, uint64_t handle);
/** Gives the object back. A handle that names nothing (any more) is ignored. */
void slab_free(struct slab *s, uint64_t handle);
uint32_t slab_count(const struct slab *s);
/** Walks the objects in use: start with *cursor 0; NULL at the end. Objects may be freed while walking. */
void *slab_next(const struct slab *s, uint32_t *cursor, uint64_t *handle);

#endif
