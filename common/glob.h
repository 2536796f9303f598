/* glob: patterns with * and ?, as configurations name origins and hosts. Pure. */
#ifndef COMMON_GLOB_H
#define COMMON_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/** Whether all of the text matches: * is any number of bytes, ? exactly one, ASCII letters match in either case. The
 * work is bounded by the product of the lengths. */
bool glob_match(const char *pattern, const char *text, size_t len);

#endif
