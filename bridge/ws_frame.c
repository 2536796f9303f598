#include "ws_frame.h"

#include "common/fail.h"

#include <string.h>

enum {
    FIN = 0x80,
    RSV1 = 0x40,
    RSV_OTHER = 0x30,
    OPCODE = 0x0F,
    CONTROL = 0x08,
    MASKED = 0x80,
    LENGTH = 0x7F,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    CONTROL_MAX = 125
};

/* ---- UTF-8 ---- */

/* A state is what the next byte must be. 0 is between characters; bytes C2..F4 lead to one of the others. */
static const struct {
    uint8_t low, high, next;
} utf8_next[] = {
    {0, 0, 0}, {0x80, 0xBF, 0},       /* the last byte of a character */
    {0x80, 0xBF, 1},                  /* the last but one */
    {0x80, 0xBF, 2}, {0xA0, 0xBF, 1}, /* after E0: nothing that two bytes can say */
    {0x80, 0x9F, 1},                  /* after ED: no surrogates */
    {0x90, 0xBF, 2},                  /* after F0: nothing that three bytes can say */
    {0x80, 0x8F, 2}                   /* after F4: nothing above U+10FFFF */
};

/* By byte - C0; 0 is no lead byte. */
static const uint8_t utf8_lead[64] = {0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 5, 2, 2, 6, 3, 3, 3, 7};

static const uint64_t high_bits = 0x8080808080808080u;

bool
ws_frame_utf8(uint8_t *state, const uint8_t *bytes, size_t len)
{
    unsigned s = *state;
    uint64_t eight;

    for (size_t i = 0; i < len;) {
        if (s == 0 && len - i >= sizeof eight) {
            memcpy(&eight, bytes + i, sizeof eight);
            if ((eight & high_bits) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        if (s != 0) {
            if (bytes[i] < utf8_next[s].low || bytes[i] > utf8_next[s].high) {
                return false;
            }
            s = utf8_next[s].next;
        } else if (bytes[i] >= 0x80) {
            s = bytes[i] >= 0xC0 ? utf8_lead[bytes[i] - 0xC0] : 0;
            if (s == 0) {
                return false;
            }
        }
        i++;
    }
    *state = (uint8_t)s;
    return true;
}

/* ---- unmasking ---- */

/* Unmasks in place (5.3). Returns whether all of it is ASCII, which is told on the way for nothing. */
static bool
unmask(const uint8_t mask[4], uint8_t *bytes, size_t len)
{
    uint8_t twice[8];
    uint64_t key, eight, seen = 0;
    uint8_t rest = 0;
    size_t i = 0;

    memcpy(twice, mask, 4);
    memcpy(twice + 4, mask, 4);
    memcpy(&key, twice, sizeof key);
    for (; len - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, bytes + i, sizeof eight);
        eight ^= key;
        seen |= eight;
        memcpy(bytes + i, &eight, sizeof eight);
    }
    for (size_t k = 0; i < len; i++, k++) {
        bytes[i] ^= twice[k];
        rest |= bytes[i];
    }
    return (seen & high_bits) == 0 && rest < 0x80;
}

static void
turn_mask(struct ws_decoder *d, size_t used)
{
    uint8_t old[4];

    memcpy(old, d->mask, sizeof old);
    for (size_t i = 0; i < sizeof old; i++) {
        d->mask[i] = old[(used + i) & 3];
    }
}

/* ---- headers ---- */

struct header {
    unsigned opcode;
    bool fin, compressed;
    uint64_t len;
    size_t size;
    const uint8_t *mask;
};

/* What the first byte alone can get wrong (5.2, 5.4, 5.5; RFC 7692 6). */
static int
check_first(const struct ws_decoder *d, uint8_t first)
{
    unsigned opcode = first & OPCODE;

    if ((first & RSV_OTHER) != 0) {
        return -FAIL_WS_PROTOCOL;
    }
    if ((first & RSV1) != 0 && (!d->allow_compressed || (opcode != WS_TEXT && opcode != WS_BINARY))) {
        return -FAIL_WS_PROTOCOL;
    }
    switch (opcode) {
    case WS_CONTINUATION:
        return d->in_message ? 0 : -FAIL_WS_PROTOCOL;
    case WS_TEXT:
        return d->in_message ? -FAIL_WS_PROTOCOL : 0;
    case WS_BINARY:
        return d->in_message ? -FAIL_WS_PROTOCOL : -FAIL_WS_BINARY;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return (first & FIN) != 0 ? 0 : -FAIL_WS_PROTOCOL;
    default:
        return -FAIL_WS_PROTOCOL;
    }
}

/* The length behind the second byte, when all of it is there. 0, or a cause: it must be the shortest form (5.2). */
static int
read_length(const uint8_t *bytes, unsigned form, uint64_t *out)
{
    uint64_t n = 0;
    size_t count = form == LENGTH_16 ? 2 : 8;

    for (size_t i = 0; i < count; i++) {
        n = n << 8 | bytes[2 + i];
    }
    *out = n;
    if (form == LENGTH_16) {
        return n < LENGTH_16 ? -FAIL_WS_PROTOCOL : 0;
    }
    return n <= UINT16_MAX || n >> 63 != 0 ? -FAIL_WS_PROTOCOL : 0;
}

/* Reads a header. 1: it is all there; 0: more is needed; a cause as early as one can be told. */
static int
read_header(const struct ws_decoder *d, const uint8_t *bytes, size_t len, struct header *h)
{
    unsigned form;
    int r = check_first(d, bytes[0]);

    if (r < 0 || len < 2) {
        return r;
    }
    form = bytes[1] & LENGTH;
    h->opcode = bytes[0] & OPCODE;
    if ((bytes[1] & MASKED) == 0 || ((h->opcode & CONTROL) != 0 && form > CONTROL_MAX)) {
        return -FAIL_WS_PROTOCOL;
    }
    h->fin = (bytes[0] & FIN) != 0;
    h->compressed = (bytes[0] & RSV1) != 0;
    h->len = form;
    h->size = 2;
    if (form >= LENGTH_16) {
        h->size += form == LENGTH_16 ? 2 : 8;
        if (len < h->size) {
            return 0;
        }
        r = read_length(bytes, form, &h->len);
        if (r < 0) {
            return r;
        }
    }
    if ((h->opcode & CONTROL) == 0 && h->len > d->max_message - (d->in_message ? d->total : 0)) {
        return -FAIL_WS_SIZE;
    }
    h->mask = bytes + h->size;
    h->size += 4;
    return len < h->size ? 0 : 1;
}

/* ---- payloads ---- */

bool
ws_frame_close_code(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* 5.5.1, 7.4 */
static int
read_close(struct ws_decoder *d, struct ws_event *ev)
{
    uint8_t state = 0;

    ev->type = WS_EV_CLOSE;
    ev->code = WS_CLOSE_ABSENT;
    if (ev->len == 1) {
        return -FAIL_WS_PROTOCOL;
    }
    if (ev->len != 0) {
        ev->code = (uint16_t)(ev->data[0] << 8 | ev->data[1]);
        ev->data += 2;
        ev->len -= 2;
        if (!ws_frame_close_code(ev->code)) {
            return -FAIL_WS_PROTOCOL;
        }
        if (!ws_frame_utf8(&state, ev->data, ev->len) || state != 0) {
            return -FAIL_WS_UTF8;
        }
    }
    d->closed = true;
    return 0;
}

static long
take_control(struct ws_decoder *d, const struct header *h, uint8_t *bytes, size_t len, struct ws_event *ev)
{
    size_t payload = (size_t)h->len;
    int r = 0;

    if (len < h->size + payload) {
        return 0;
    }
    unmask(h->mask, bytes + h->size, payload);
    ev->data = bytes + h->size;
    ev->len = payload;
    if (h->opcode == WS_CLOSE) {
        r = read_close(d, ev);
    } else {
        ev->type = h->opcode == WS_PING ? WS_EV_PING : WS_EV_PONG;
    }
    return r < 0 ? r : (long)(h->size + payload);
}

/* Takes what is there of the present data frame's payload. */
static int
take_data(struct ws_decoder *d, uint8_t *bytes, size_t len, struct ws_event *ev)
{
    size_t n = len < d->left ? len : d->left;
    bool ascii = unmask(d->mask, bytes, n);

    if (!d->compressed && !(ascii && d->utf8 == 0) && !ws_frame_utf8(&d->utf8, bytes, n)) {
        return -FAIL_WS_UTF8;
    }
    d->left -= (uint32_t)n;
    d->in_frame = d->left != 0;
    if (d->in_frame) {
        turn_mask(d, n);
    }
    ev->type = WS_EV_DATA;
    ev->data = bytes;
    ev->len = n;
    ev->first = !d->handed;
    ev->last = !d->in_frame && d->fin;
    ev->compressed = d->compressed;
    d->handed = true;
    if (ev->last) {
        d->in_message = false;
        if (d->utf8 != 0) {
            return -FAIL_WS_UTF8; /* the text ends inside a character */
        }
    }
    return 0;
}

static void
begin_data(struct ws_decoder *d, const struct header *h)
{
    if (!d->in_message) {
        d->in_message = true;
        d->handed = false;
        d->compressed = h->compressed;
        d->total = 0;
        d->utf8 = 0;
    }
    d->in_frame = true;
    d->fin = h->fin;
    d->left = (uint32_t)h->len;
    d->total += (uint32_t)h->len;
    memcpy(d->mask, h->mask, sizeof d->mask);
}

static long
decode(struct ws_decoder *d, uint8_t *bytes, size_t len, struct ws_event *ev)
{
    struct header h = {.size = 0};
    int r;

    if (!d->in_frame) {
        r = read_header(d, bytes, len, &h);
        if (r <= 0) {
            return r;
        }
        if ((h.opcode & CONTROL) != 0) {
            return take_control(d, &h, bytes, len, ev);
        }
        begin_data(d, &h);
    }
    r = take_data(d, bytes + h.size, len - h.size, ev);
    return r < 0 ? r : (long)(h.size + ev->len);
}

long
ws_frame_decode(struct ws_decoder *d, uint8_t *bytes, size_t len, struct ws_event *ev)
{
    long r;

    *ev = (struct ws_event){.type = WS_EV_NONE};
    if (d->failed < 0 || len == 0) {
        return d->failed;
    }
    if (d->closed) {
        return (long)len;
    }
    r = decode(d, bytes, len, ev);
    if (r < 0) {
        d->failed = (int32_t)r;
        *ev = (struct ws_event){.type = WS_EV_NONE};
    }
    return r;
}

/* ---- our own frames ---- */

int
ws_frame_header(struct buf *out, enum ws_opcode opcode, bool fin, bool compressed, uint64_t len)
{
    uint8_t *h;
    size_t more = len < LENGTH_16 ? 0 : len <= UINT16_MAX ? 2 : 8;
    int r = buf_reserve(out, 2 + more);

    if (r < 0) {
        return r;
    }
    h = buf_tail(out);
    h[0] = (uint8_t)((fin ? FIN : 0) | (compressed ? RSV1 : 0) | (int)opcode);
    h[1] = (uint8_t)(more == 0 ? len : more == 2 ? LENGTH_16 : LENGTH_64);
    for (size_t i = 0; i < more; i++) {
        h[2 + i] = (uint8_t)(len >> 8 * (more - 1 - i));
    }
    buf_wrote(out, 2 + more);
    return 0;
}

/* How many bytes of the reason can be sent: whole characters, UTF-8. */
static size_t
reason_length(const char *reason)
{
    size_t len = reason ? strnlen(reason, CONTROL_MAX - 2) : 0, whole = 0;
    uint8_t state = 0;

    for (size_t i = 0; i < len && ws_frame_utf8(&state, (const uint8_t *)reason + i, 1); i++) {
        if (state == 0) {
            whole = i + 1;
        }
    }
    return whole;
}

int
ws_frame_close(struct buf *out, uint16_t code, const char *reason)
{
    bool coded = ws_frame_close_code(code);
    size_t len = coded ? reason_length(reason) : 0, before = out->len;
    uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    int r = ws_frame_header(out, WS_CLOSE, true, false, coded ? 2 + len : 0);

    if (r == 0 && coded) {
        r = buf_append(out, bytes, sizeof bytes);
    }
    if (r == 0) {
        r = buf_append(out, reason, len);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}
