#include "bench_wire.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BENCH_WIRE_MAX = 1 << 24 };

long
bench_wire_parse(const char *buf, size_t len, struct bench_wire_frame *f)
{
    if (len < 2)
        return 0;
    const unsigned char *p = (const unsigned char *)buf;
    unsigned opcode = p[0] & 15u, n = p[1] & 127u;
    bool control = opcode >= 8;
    if ((p[0] & 0x70) != 0 || (p[1] & 0x80) != 0 || (opcode > 2 && opcode < 8) || opcode > 10)
        return -1;
    if (control && ((p[0] & 0x80) == 0 || n > 125))
        return -1;
    size_t head = n < 126 ? 2 : n == 126 ? 4 : 10;
    if (len < head)
        return 0;
    uint64_t size = n;
    if (n >= 126) {
        size = 0;
        for (size_t i = 2; i < head; i++)
            size = size << 8 | p[i];
        if (size < (n == 126 ? 126u : 65536u) || size > BENCH_WIRE_MAX)
            return -1;
    }
    if (len - head < size)
        return 0;
    *f = (struct bench_wire_frame){
        .fin = (p[0] & 0x80) != 0, .opcode = opcode, .payload = buf + head, .len = (size_t)size};
    return (long)(head + size);
}

/** Good enough for masks and keys: nobody attacks here. */
static uint64_t
bench_wire_random(void)
{
    static uint64_t state;
    if (state == 0)
        state = bench_now_us() * 2654435761u | 1u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

void
bench_wire_write(struct bench_bytes *out, unsigned opcode, const char *p, size_t len)
{
    unsigned char head[14];
    size_t n = 2;
    head[0] = (unsigned char)(0x80u | opcode);
    if (len < 126) {
        head[1] = (unsigned char)(0x80u | len);
    } else {
        unsigned bytes = len < 65536 ? 2 : 8;
        head[1] = bytes == 2 ? 0x80 | 126 : 0x80 | 127;
        for (unsigned i = 0; i < bytes; i++)
            head[n++] = (unsigned char)((uint64_t)len >> (8 * (bytes - 1 - i)));
    }
    uint32_t mask = (uint32_t)bench_wire_random();
    memcpy(head + n, &mask, 4);
    bench_bytes_add(out, head, n + 4);
    size_t at = out->len;
    bench_bytes_add(out, p, len);
    for (size_t i = 0; i < len; i++)
        out->data[at + i] = (char)(out->data[at + i] ^ (char)head[n + (i & 3)]);
}

static void
bench_wire_base64(const void *data, unsigned len, char *out, size_t size)
{
    gnutls_datum_t in = {.data = (unsigned char *)(uintptr_t)data, .size = len}, text;
    if (gnutls_base64_encode2(&in, &text) < 0 || text.size + 1 > size)
        bench_die("base64");
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    gnutls_free(text.data);
}

void
bench_wire_key(char key[BENCH_WIRE_KEY])
{
    uint64_t nonce[2] = {bench_wire_random(), bench_wire_random()};
    bench_wire_base64(nonce, sizeof nonce, key, BENCH_WIRE_KEY);
}

void
bench_wire_accept(const char *key, char accept[BENCH_WIRE_ACCEPT])
{
    unsigned char digest[20];
    struct bench_bytes text = {0};
    bench_bytes_str(&text, key);
    bench_bytes_str(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data, text.len, digest) < 0)
        bench_die("SHA-1");
    bench_bytes_free(&text);
    bench_wire_base64(digest, sizeof digest, accept, BENCH_WIRE_ACCEPT);
}

static bool
bench_wire_header(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return false;
    const char *p = line + n + 1, *end = line + len;
    while (p < end && *p == ' ')
        p++;
    while (end > p && end[-1] == ' ')
        end--;
    *value = p;
    *value_len = (size_t)(end - p);
    return true;
}

static bool
bench_wire_is(const char *value, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(value, word, len) == 0;
}

long
bench_wire_answer(const char *buf, size_t len, const char *accept, const char **why)
{
    const char *end = bench_find(buf, len, "\r\n\r\n");
    *why = "the answer to the handshake has no end";
    if (end == NULL)
        return len > 16384 ? -1 : 0;
    *why = "the handshake was not answered with 101";
    if (len < 12 || memcmp(buf, "HTTP/1.1 101", 12) != 0)
        return -1;
    unsigned upgrade = 0, connection = 0, accepted = 0, protocol = 0, others = 0;
    for (const char *line = bench_find(buf, len, "\r\n") + 2; line < end;) {
        const char *stop = bench_find(line, (size_t)(end + 2 - line), "\r\n"), *v;
        size_t n = (size_t)(stop - line), v_len;
        if (bench_wire_header(line, n, "upgrade", &v, &v_len))
            upgrade += bench_wire_is(v, v_len, "websocket") ? 1 : 100;
        else if (bench_wire_header(line, n, "connection", &v, &v_len))
            connection += bench_wire_is(v, v_len, "upgrade") ? 1 : 100;
        else if (bench_wire_header(line, n, "sec-websocket-accept", &v, &v_len))
            accepted += v_len == strlen(accept) && memcmp(v, accept, v_len) == 0 ? 1 : 100;
        else if (bench_wire_header(line, n, "sec-websocket-protocol", &v, &v_len))
            protocol += v_len == 4 && memcmp(v, "xmpp", 4) == 0 ? 1 : 100;
        else if (bench_wire_header(line, n, "sec-websocket-extensions", &v, &v_len))
            others++;
        line = stop + 2;
    }
    *why = upgrade != 1      ? "the answer has no right Upgrade"
           : connection != 1 ? "the answer has no right Connection"
           : accepted != 1   ? "the answer has no right Sec-WebSocket-Accept"
           : protocol != 1   ? "the subprotocol was not answered exactly once"
           : others != 0     ? "an extension that nobody asked for"
                             : NULL;
    return *why != NULL ? -1 : (long)(end + 4 - buf);
}

/* ---- checks ---- */

static int failed;
#define CHECK(cond) (failed += bench_check(cond, #cond, __FILE__, __LINE__))

static void
bench_wire_check_frames(void)
{
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536};
    struct bench_wire_frame f;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i], head = size < 126 ? 6 : size < 65536 ? 8 : 14;
        struct bench_bytes out = {0};
        char *text = bench_alloc(size + 1);
        for (size_t k = 0; k < size; k++)
            text[k] = (char)('a' + k % 23);
        bench_wire_write(&out, BENCH_WIRE_TEXT, text, size);
        CHECK(out.len == head + size);
        CHECK(bench_wire_parse(out.data, out.len, &f) == -1); /* masked: not from a server */
        for (size_t k = 0; k < size; k++)
            out.data[head + k] = (char)(out.data[head + k] ^ out.data[head - 4 + (k & 3)]);
        CHECK(size == 0 || memcmp(out.data + head, text, size) == 0);
        out.data[1] &= 0x7f; /* as a server would send it */
        memmove(out.data + head - 4, out.data + head, size);
        for (size_t k = 0; k<head - 4 + size; k += size> 200 && k > 20 ? 997 : 1)
            CHECK(bench_wire_parse(out.data, k, &f) == 0);
        CHECK(bench_wire_parse(out.data, out.len, &f) == (long)(head - 4 + size));
        CHECK(f.fin && f.opcode == BENCH_WIRE_TEXT && f.len == size && memcmp(f.payload, text, size) == 0);
        free(text);
        bench_bytes_free(&out);
    }
    static const char *const bad[] = {"\xc1\x01x", "\x83\x01x", "\x8b\x01x", "\x09\x01x", "\x89\x7e", "\x81\x7e\0\x7d",
        "\x81\x7f\0\0\0\0\0\0\xff\xff", "\x81\x7f\x80\0\0\0\0\0\0\0"};
    static const size_t lens[] = {3, 3, 3, 3, 2, 4, 10, 10};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(bench_wire_parse(bad[i], lens[i], &f) == -1);
}

int
bench_wire_selfcheck(void)
{
    char accept[BENCH_WIRE_ACCEPT], key[BENCH_WIRE_KEY];
    const char *why;
    bench_wire_check_frames();
    bench_wire_accept("dGhlIHNhbXBsZSBub25jZQ==", accept); /* the example of RFC 6455, 1.3 */
    CHECK(strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0);
    bench_wire_key(key);
    CHECK(strlen(key) == 24);
#define ANSWER(a, p)                                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection:Upgrade\r\nSec-WebSocket-Accept: " a         \
    "\r\n" p "\r\n"
#define RIGHT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    static const char good[] = ANSWER(RIGHT, "Sec-WebSocket-Protocol: xmpp\r\n");
    for (size_t n = 0; n < sizeof good - 1; n++)
        CHECK(bench_wire_answer(good, n, accept, &why) == 0);
    CHECK(bench_wire_answer(good, sizeof good, accept, &why) == (long)sizeof good - 1);
    static const char *const bad[] = {ANSWER("t3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: xmpp\r\n"),
        ANSWER(RIGHT, ""), ANSWER(RIGHT, "Sec-WebSocket-Protocol: chat\r\n"),
        ANSWER(RIGHT, "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Protocol: xmpp\r\n"),
        ANSWER(RIGHT, "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(bench_wire_answer(bad[i], strlen(bad[i]), accept, &why) == -1 && why != NULL);
    return failed;
}
