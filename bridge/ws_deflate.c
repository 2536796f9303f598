#include "ws_deflate.h"

#include "common/fail.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum {
    BITS_MIN = 9, /* zlib's raw deflate cannot do 8 */
    BITS_MAX = 15,
    WORTH = 64,          /* shorter messages are sent plain: nothing in them can repeat itself enough */
    SMALL = 4096,        /* up to here the small compressor: its tables are cleared faster */
    SMALL_BITS = 12,     /* a window of 4096 */
    SMALL_MEMORY = 5,    /* 4096 hash chains: 8 kB to clear per message instead of 64 */
    LARGE_MEMORY = 8,    /* zlib's default */
    FIRST_OUTPUT = 1024, /* least room for unpacking */
    LAST_MAX = 64        /* blocks of a message that say that they are the last: each costs a copy of the window */
};

/* What the sender of a message leaves out at its end (RFC 7692 7.2.1). */
static const uint8_t tail[4] = {0x00, 0x00, 0xFF, 0xFF};

struct packer {
    z_stream z;
    int bits; /* 0: not there */
};

static struct packer small, large;
static z_stream inflater;
static bool inflater_there;

/* ---- negotiation (RFC 7692 5, 7.1) ---- */

struct offer {
    bool good;
    bool server_bits, client_bits, server_fresh, client_fresh; /* which parameters were there */
    int bits;
};

/* 8 to 15 without leading zeros, perhaps out of a quoted string; 0 for anything else. */
static int
window_bits_of(const struct ws_extension_item *item)
{
    char digits[3] = "";
    size_t n = 0;

    for (size_t i = 0; i < item->value.len; i++) {
        if (item->escaped && item->value.s[i] == '\\') {
            i++;
        }
        if (n == 2 || item->value.s[i] < '0' || item->value.s[i] > '9') {
            return 0;
        }
        digits[n++] = item->value.s[i];
    }
    if (n == 1) {
        return digits[0] == '8' || digits[0] == '9' ? digits[0] - '0' : 0;
    }
    return n == 2 && digits[0] == '1' && digits[1] <= '5' ? 10 + digits[1] - '0' : 0;
}

static bool
is_named(const struct ws_extension_item *item, const char *name)
{
    return item->name.len == strlen(name) && memcmp(item->name.s, name, item->name.len) == 0;
}

/* Notes that a parameter is there; false when it was already. */
static bool
once(bool *seen)
{
    bool first = !*seen;

    *seen = true;
    return first;
}

static bool
take_parameter(struct offer *o, const struct ws_extension_item *item)
{
    if (is_named(item, "server_no_context_takeover")) {
        return !item->value.s && once(&o->server_fresh);
    }
    if (is_named(item, "client_no_context_takeover")) {
        return !item->value.s && once(&o->client_fresh);
    }
    if (is_named(item, "client_max_window_bits")) {
        /* a hint, with or without a value; our window for unpacking is the largest, so it needs no answer (7.1.2.2) */
        return (!item->value.s || window_bits_of(item) != 0) && once(&o->client_bits);
    }
    if (is_named(item, "server_max_window_bits")) {
        o->bits = item->value.s ? window_bits_of(item) : 0;
        return o->bits >= BITS_MIN && once(&o->server_bits);
    }
    return false;
}

static void
write_answer(const struct offer *o, char answer[WS_DEFLATE_ANSWER])
{
    static const char both[] = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    if (o->server_bits) {
        snprintf(answer, WS_DEFLATE_ANSWER, "%s; server_max_window_bits=%d", both, o->bits);
    } else {
        snprintf(answer, WS_DEFLATE_ANSWER, "%s", both);
    }
}

/* Reads one value; false when no offer in it is acceptable. */
static bool
choose(struct ws_str list, struct offer *o)
{
    struct ws_extension_item item;

    *o = (struct offer){.good = false};
    do {
        if (ws_http_extension(&list, &item) < 0) {
            return false; /* not of the grammar: an offer cut short may mean anything */
        }
        if (item.type == WS_EXTENSION_PARAM) {
            o->good = o->good && take_parameter(o, &item);
        } else if (o->good) {
            return true; /* it is complete */
        } else {
            *o = (struct offer){
                .good = item.type == WS_EXTENSION_NAME && is_named(&item, "permessage-deflate"), .bits = BITS_MAX};
        }
    } while (item.type != WS_EXTENSION_END);
    return false;
}

bool
ws_deflate_negotiate(const struct ws_str *values, size_t count, char answer[WS_DEFLATE_ANSWER], int *window_bits)
{
    struct offer o;

    answer[0] = '\0';
    *window_bits = BITS_MAX;
    for (size_t i = 0; i < count; i++) {
        if (choose(values[i], &o)) {
            write_answer(&o, answer);
            *window_bits = o.bits;
            return true;
        }
    }
    return false;
}

/* ---- packing ---- */

static void
packer_free(struct packer *p)
{
    if (p->bits != 0) {
        deflateEnd(&p->z);
        p->bits = 0;
    }
}

/* Makes it ready for a new message in that window. */
static int
packer_begin(struct packer *p, int bits, int memory)
{
    if (p->bits == bits) {
        return deflateReset(&p->z) == Z_OK ? 0 : -FAIL_INTERNAL;
    }
    packer_free(p);
    p->z = (z_stream){.next_in = Z_NULL};
    if (deflateInit2(&p->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -bits, memory, Z_DEFAULT_STRATEGY) != Z_OK) {
        return -FAIL_NOMEM;
    }
    p->bits = bits;
    return 0;
}

static z_const Bytef *
input(const void *bytes)
{
    return (z_const Bytef *)(uintptr_t)bytes; /* zlib does not write to it */
}

int
ws_deflate_pack(const void *bytes, size_t len, int window_bits, struct buf *out)
{
    struct packer *p = len <= SMALL ? &small : &large;
    int bits = p == &small && window_bits > SMALL_BITS ? SMALL_BITS : window_bits;
    int r;

    if (len < WORTH || len > UINT_MAX - sizeof tail) {
        return 0;
    }
    r = packer_begin(p, bits, p == &small ? SMALL_MEMORY : LARGE_MEMORY);
    if (r == 0) {
        r = buf_reserve(out, len + sizeof tail);
    }
    if (r < 0) {
        return r;
    }
    p->z.next_in = input(bytes);
    p->z.avail_in = (uInt)len;
    p->z.next_out = buf_tail(out);
    p->z.avail_out = (uInt)(len + sizeof tail);
    /* without room left it is not shorter, tail aside, and perhaps not finished */
    if (deflate(&p->z, Z_SYNC_FLUSH) != Z_OK || p->z.avail_out == 0 || p->z.avail_in != 0) {
        return 0;
    }
    buf_wrote(out, len - p->z.avail_out); /* without the tail */
    return 1;
}

/* ---- unpacking ---- */

static int
inflater_begin(void)
{
    if (inflater_there) {
        return inflateReset(&inflater) == Z_OK ? 0 : -FAIL_INTERNAL;
    }
    inflater = (z_stream){.next_in = Z_NULL};
    if (inflateInit2(&inflater, -BITS_MAX) != Z_OK) {
        return -FAIL_NOMEM;
    }
    inflater_there = true;
    return 0;
}

/* A block that says that it is the last (7.2.3.5): more may follow all the same, and look back at what was before. */
static int
go_on_behind_last(struct buf *out, size_t before)
{
    size_t window = out->len - before < (size_t)1 << BITS_MAX ? out->len - before : (size_t)1 << BITS_MAX;

    if (inflateReset(&inflater) != Z_OK ||
        (window != 0 && inflateSetDictionary(&inflater, buf_tail(out) - window, (uInt)window) != Z_OK)) {
        return -FAIL_INTERNAL;
    }
    return 0;
}

/* Room for the next piece: never more than one byte over the limit. */
static int
make_room(struct buf *out, size_t before, size_t max)
{
    size_t done = out->len - before, left = max - done + 1;
    size_t room = done > FIRST_OUTPUT ? done : FIRST_OUTPUT;
    int r;

    room = room < left ? room : left;
    r = buf_reserve(out, room);
    if (r == 0) {
        inflater.next_out = buf_tail(out);
        inflater.avail_out = (uInt)(room < UINT_MAX ? room : UINT_MAX);
    }
    return r;
}

/* Unpacks a part of the input to its end. `done` is set when a last block ended just there. */
static int
unpack_part(const void *bytes, size_t len, size_t before, size_t max, struct buf *out, bool *done)
{
    unsigned lasts = 0;
    int r = 0, z;
    uInt room;

    inflater.next_in = input(bytes);
    inflater.avail_in = (uInt)len;
    do {
        if (*done) {
            *done = false;
            r = ++lasts < LAST_MAX ? go_on_behind_last(out, before) : -FAIL_WS_PROTOCOL;
        }
        if (r == 0) {
            r = make_room(out, before, max);
        }
        if (r < 0) {
            return r;
        }
        room = inflater.avail_out;
        z = inflate(&inflater, Z_SYNC_FLUSH);
        buf_wrote(out, room - inflater.avail_out);
        if (out->len - before > max) {
            return -FAIL_WS_SIZE;
        }
        if (z != Z_OK && z != Z_BUF_ERROR && z != Z_STREAM_END) {
            return z == Z_MEM_ERROR ? -FAIL_NOMEM : -FAIL_WS_PROTOCOL;
        }
        *done = z == Z_STREAM_END;
    } while (inflater.avail_in != 0 || (inflater.avail_out == 0 && !*done));
    return 0;
}

/* Whether the data ended where a block ended, and not inside one. */
static bool
at_block_end(void)
{
    return (inflater.data_type & 128) != 0;
}

int
ws_deflate_unpack(const void *bytes, size_t len, size_t max, struct buf *out)
{
    size_t before = out->len;
    bool done = false;
    int r;

    if (len == 0) {
        return 0;
    }
    if (len > UINT_MAX || max > SIZE_MAX / 4) {
        return -FAIL_WS_SIZE;
    }
    r = inflater_begin();
    if (r == 0) {
        r = unpack_part(bytes, len, before, max, out, &done);
    }
    if (r == 0 && !done) {
        r = unpack_part(tail, sizeof tail, before, max, out, &done);
        if (r == 0 && !at_block_end()) {
            r = -FAIL_WS_PROTOCOL;
        }
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

void
ws_deflate_free(void)
{
    packer_free(&small);
    packer_free(&large);
    if (inflater_there) {
        inflateEnd(&inflater);
        inflater_there = false;
    }
}
