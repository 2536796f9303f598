/* gzip: compressed answers. The only user of zlib in this process.
 *
 * On BREACH: an answer that holds a secret beside text of an attacker's choosing tells by its compressed length how
 * alike the two are. Stanzas to one user may come from anyone. What protects here: secrets (SASL) are exchanged before
 * stanzas flow, answers below http.gzip_min stay plain, and each answer is compressed on its own. Whoever wants no such
 * question at all sets http.gzip: off.
 */
#ifndef BOSH_GZIP_H
#define BOSH_GZIP_H

#include "common/buf.h"

/** The bytes as one gzip member (RFC 1952) in a new blob of one reference; NULL when that would not be shorter, or
 * memory is out. One compressor is kept for the whole process (about 260 kB from the first call on). */
struct blob *gzip_pack(const void *bytes, size_t len);
/** Gives the compressor back. */
void gzip_end(void);

#endif
