#include "fail.h"
#include "xml_collect.h"
#include "xml_scan.h"
#include "xmpp.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_HEADER = 8192,        /* bytes of a stream header with its XML declaration */
    KEEP_SCRATCH = 64 * 1024, /* bytes of working memory kept between calls */
    MAX_OPEN =
        64 * 1024,    /* bytes after which a parser starts anew, so that what it remembers of names does not pile up */
    MAX_DEPTH = 10000 /* whatever the caller asks for */
};

/* An unfinished element (or header). */
struct rest {
    struct buf bytes; /* from its first byte on */
    uint32_t room;
    uint32_t names[]; /* where the names of the elements open in it begin, as the scanner left them */
};

struct xml_stream {
    struct rest *rest;   /* or NULL */
    struct blob *header; /* "<stream:stream xmlns='...' xmlns:x='...'>", shared among streams of equal headers */
    uint32_t max_element, max_depth;
    struct xml_scan scan;
    int failed;      /* the cause that every further call returns */
    uint32_t resets; /* tells whether an event reset the stream */
};

/* What one parse needs. Between two calls the parser may stay open behind a header: elements below the same header
 * (streams to one server have the same) then need neither a reset nor the header again. Only while all that it was fed
 * was complete and well-formed. */
struct reader {
    struct xml_collect collect;
    struct blob *header; /* what the open parser is behind, or NULL */
    size_t fed;          /* bytes of elements since it was opened */
};

/* Working memory, one of each kept between calls. An event that feeds another stream finds none and makes its own. */
static struct reader *idle_reader;
static struct buf idle_scratch;
/* For the scanner; what it says must be out of here before events are called. */
static uint32_t open_names[MAX_DEPTH + 1];
/* The last synthetic header: streams to one server have the same. */
static struct blob *last_header;

struct delivery {
    struct xml_stream *s;
    const struct xml_stream_events *ev;
    void *arg;
};

static struct reader *
take_reader(void)
{
    struct reader *r = idle_reader;

    idle_reader = NULL;
    return r ? r : calloc(1, sizeof *r);
}

static void
give_reader(struct reader *r)
{
    if (!idle_reader) {
        idle_reader = r;
        return;
    }
    xml_collect_free(&r->collect);
    blob_unref(&r->header);
    free(r);
}

static void
give_scratch(struct buf *scratch)
{
    if (idle_scratch.data || scratch->cap > KEEP_SCRATCH) {
        buf_free(scratch);
        return;
    }
    buf_clear(scratch);
    idle_scratch = *scratch;
}

static void
free_rest(struct rest **rest)
{
    if (*rest) {
        buf_free(&(*rest)->bytes);
        free(*rest);
        *rest = NULL;
    }
}

struct xml_stream *
xml_stream_new(size_t max_element, size_t max_depth)
{
    struct xml_stream *s = calloc(1, sizeof *s);

    if (s) {
        s->max_element = max_element < UINT32_MAX / 4 ? (uint32_t)max_element : UINT32_MAX / 4;
        s->max_depth = max_depth < MAX_DEPTH ? (uint32_t)max_depth : MAX_DEPTH;
    }
    return s;
}

void
xml_stream_reset(struct xml_stream *s)
{
    free_rest(&s->rest);
    blob_unref(&s->header);
    s->scan = (struct xml_scan){0};
    s->failed = 0;
    s->resets++;
}

void
xml_stream_free(struct xml_stream **s)
{
    if (!s || !*s) {
        return;
    }
    xml_stream_reset(*s);
    free(*s);
    *s = NULL;
}

size_t
xml_stream_pending(const struct xml_stream *s)
{
    return s->rest ? s->rest->bytes.len : 0;
}

/* The cause of a fault of the server's. */
static int
upstream(int cause)
{
    switch (-cause) {
    case FAIL_NOMEM:
        return cause;
    case FAIL_XML_SIZE:
    case FAIL_XML_DEPTH:
        return -FAIL_UPSTREAM_SIZE;
    default:
        return -FAIL_UPSTREAM_XML;
    }
}

/* ---- the stream header ---- */

/* Remembers the root's start tag with its declarations only, and with one of the default namespace in any case. */
static int
remember_header(struct xml_stream *s, const struct xml_collect *c, const uint8_t *bytes)
{
    const struct xml_doc *doc = &c->doc;
    struct buf text = {0};
    bool has_default = false;
    int r = buf_append(&text, bytes + c->root_start, c->root_insert - c->root_start);

    for (size_t i = 0; i < doc->prefix_count && r == 0; i++) {
        has_default |= doc->prefixes[i].prefix[0] == '\0';
        r = xml_collect_declaration(&doc->prefixes[i], &text);
    }
    if (r == 0 && !has_default) {
        r = doc->prefix_count < XML_MAX_PREFIXES ? buf_append_str(&text, " xmlns=''") : -FAIL_XML_SIZE;
    }
    if (r == 0) {
        r = buf_append(&text, ">", 1);
    }
    if (r == 0 && last_header && last_header->len == text.len &&
        memcmp(last_header->bytes, buf_head(&text), text.len) == 0) {
        s->header = blob_ref(last_header);
    } else if (r == 0) {
        s->header = blob_copy(buf_head(&text), text.len);
        r = s->header ? 0 : -FAIL_NOMEM;
        if (s->header) {
            blob_unref(&last_header);
            last_header = blob_ref(s->header);
        }
    }
    buf_free(&text);
    return r < 0 ? upstream(r) : 0;
}

/* Parses the header and hands it out. 0, a negative cause, or the event's positive number. */
static int
open_stream(const struct delivery *d, const uint8_t *bytes, size_t len, bool ended)
{
    static const struct xml_limits limits = {.max_depth = 1};
    struct reader *reader = take_reader();
    struct xml_collect *c;
    int r;

    if (!reader) {
        return -FAIL_NOMEM;
    }
    blob_unref(&reader->header);
    c = &reader->collect;
    r = xml_collect_begin(c, &limits, 0);
    if (r < 0) {
        give_reader(reader);
        return r;
    }
    c->root_only = true;
    r = xml_collect_feed(c, bytes, len, false);
    xml_collect_end(c);
    if (r <= 0) {
        r = r < 0 ? upstream(r) : -FAIL_UPSTREAM_XML;
    } else if (strcmp(c->doc.root_ns, XMPP_NS_STREAMS) != 0 || strcmp(c->doc.root_name, "stream") != 0) {
        r = -FAIL_UPSTREAM_NOT_XMPP;
    } else {
        r = remember_header(d->s, c, bytes);
    }
    if (r == 0) {
        r = d->ev->header(d->arg, c->doc.attrs, c->doc.attr_count);
    }
    give_reader(reader);
    if (r == 0 && ended && d->s->header) {
        r = d->ev->end(d->arg);
    }
    return r == 0 && !d->s->header ? 1 : r; /* an event reset the stream: what follows is not of the old one */
}

/* ---- elements ---- */

static int
hand_out(const struct delivery *d, const struct xml_doc *doc, const uint8_t *bytes, const struct xml_child *child,
    struct buf *scratch)
{
    int r;

    if (child->inherited == 0) {
        return d->ev->element(d->arg, child->kind, child->in_streams, bytes + child->start, child->end - child->start);
    }
    buf_clear(scratch);
    r = xml_collect_child(doc, child, bytes, NULL, NULL, true, scratch);
    return r < 0 ? r : d->ev->element(d->arg, child->kind, child->in_streams, buf_head(scratch), scratch->len);
}

/* Hands out the complete children, and the end when all is well. 0, a negative cause, or positive when an event wants
 * to stop: then behind *used. */
static int
hand_out_all(
    const struct delivery *d, const struct xml_collect *c, const uint8_t *bytes, int parsed, bool ended, size_t *used)
{
    const struct blob *header = d->s->header;
    struct buf scratch = idle_scratch;
    int r = 0;

    idle_scratch = (struct buf){0};
    for (size_t i = 0; i < c->doc.child_count && r == 0; i++) {
        const struct xml_child *child = &c->doc.children[i];

        if (child->end == 0) {
            break; /* the one in which parsing failed */
        }
        r = hand_out(d, &c->doc, bytes, child, &scratch);
        *used = child->end;
        if (r == 0 && d->s->header != header) {
            r = 1; /* the event reset the stream */
        }
    }
    give_scratch(&scratch);
    if (r == 0 && parsed < 0) {
        return upstream(parsed);
    }
    if (r == 0 && ended) {
        *used = c->last_end;
        r = d->ev->end(d->arg);
        return r == 0 && d->s->header != header ? 1 : r;
    }
    return r;
}

/* Makes the reader ready for elements below that header. */
static int
open_reader(struct reader *reader, const struct xml_stream *s)
{
    struct xml_limits limits = {.max_depth = s->max_depth + 1};
    int r;

    if (reader->header == s->header) {
        xml_collect_next(&reader->collect, &limits);
        return 0;
    }
    blob_unref(&reader->header);
    reader->fed = 0;
    r = xml_collect_begin(&reader->collect, &limits, s->header->len);
    if (r < 0) {
        return r;
    }
    reader->collect.strict = true;
    r = xml_collect_feed(&reader->collect, s->header->bytes, s->header->len, false);
    if (r == 0) {
        reader->header = blob_ref(s->header);
    }
    return r;
}

/* Parses bytes in which the scanner saw complete elements only, behind the remembered header. */
static int
deliver(const struct delivery *d, const uint8_t *bytes, size_t len, bool ended, size_t *used)
{
    struct reader *reader = take_reader();
    struct xml_collect *c;
    int r;

    if (!reader) {
        return -FAIL_NOMEM;
    }
    c = &reader->collect;
    r = open_reader(reader, d->s);
    if (r < 0) {
        give_reader(reader);
        return upstream(r);
    }
    r = xml_collect_feed(c, bytes, len, false);
    if (r == 0 && c->last_end != len) {
        r = -FAIL_XML_MALFORMED; /* the parser does not see the end where the scanner did */
    }
    reader->fed += len;
    if (r < 0 || ended || reader->fed > MAX_OPEN) {
        xml_collect_end(c);
        blob_unref(&reader->header);
    } else {
        xml_collect_publish(c);
    }
    r = hand_out_all(d, c, bytes, r, ended, used);
    give_reader(reader);
    return r;
}

/* ---- feeding ---- */

/* Keeps the unfinished element for the next call. `held`: what the run went over, if that was kept before. */
static int
keep_rest(struct xml_stream *s, const struct xml_scan_run *run, struct rest **held)
{
    size_t from = xml_scan_rest(&s->scan, run);
    uint32_t names = s->scan.depth + 1, room = (names + 7) & ~7U;
    bool same = from == 0 && *held;
    struct rest *rest = same ? *held : NULL;

    if (from == run->len) {
        return 0;
    }
    if (!rest || rest->room < names) {
        struct rest *grown = realloc(rest, sizeof *rest + room * sizeof rest->names[0]);

        if (!grown) {
            return -FAIL_NOMEM;
        }
        rest = grown;
        rest->room = room;
    }
    s->rest = rest;
    memcpy(rest->names, open_names, names * sizeof rest->names[0]);
    if (same) {
        *held = NULL;
        return 0;
    }
    buf_init(&rest->bytes, 0);
    return buf_append(&rest->bytes, run->bytes + from, run->len - from);
}

/* Scans and hands out all that is complete; the rest is kept before that, because events may feed other streams or
 * reset this one. 0; positive: an event wants to stop, behind *used; or a negative cause. */
static int
work(const struct delivery *d, struct xml_scan_run *run, struct rest **held, size_t *used)
{
    struct xml_scan *scan = &d->s->scan;
    size_t from = 0;
    int scanned = XML_SCAN_MORE, r;

    if (!scan->inside) {
        scanned = xml_scan(scan, run);
        if (scanned != XML_SCAN_HEADER) {
            return scanned < 0 ? scanned : keep_rest(d->s, run, held);
        }
        *used = from = run->whole;
        r = open_stream(d, run->bytes + run->first, run->whole - run->first, scan->ended);
        if (r != 0 || scan->ended) {
            return r;
        }
        run->first = run->whole;
    }
    scanned = xml_scan(scan, run);
    if (scanned == XML_SCAN_MORE) {
        scanned = keep_rest(d->s, run, held);
    }
    if (run->whole > from) {
        size_t offset = 0;

        r = deliver(d, run->bytes + from, run->whole - from, scan->ended, &offset);
        *used = from + offset;
        if (r != 0) {
            return r;
        }
    }
    return scanned < 0 ? scanned : 0;
}

int
xml_stream_feed(
    struct xml_stream *s, const void *bytes, size_t len, const struct xml_stream_events *ev, void *arg, size_t *used)
{
    const struct delivery d = {s, ev, arg};
    struct rest *held = s->rest;
    struct xml_scan_run run = {.bytes = bytes,
        .len = len,
        .max_element = s->max_element,
        .max_header = MAX_HEADER,
        .max_depth = s->max_depth,
        .names = open_names};
    size_t stopped = 0;
    uint32_t resets = s->resets;
    int r = s->failed;

    if (used) {
        *used = len;
    }
    if (r < 0 || s->scan.ended || len == 0) {
        return r;
    }
    if (held) {
        run.at = held->bytes.len;
        r = buf_append(&held->bytes, bytes, len);
        if (r < 0) {
            return s->failed = r;
        }
        s->rest = NULL; /* out of the stream's hands: an event may reset it */
        run.bytes = buf_head(&held->bytes);
        run.len = held->bytes.len;
        memcpy(open_names, held->names, (s->scan.depth + 1) * sizeof open_names[0]);
    }
    r = work(&d, &run, &held, &stopped);
    if (r != 0) {
        free_rest(&s->rest);
    }
    if (r > 0) {
        /* stopped behind an element (or the header): at rest there */
        if (used) {
            *used = len - (run.len - stopped);
        }
        s->scan = (struct xml_scan){.inside = s->header != NULL};
        r = 0;
    }
    free_rest(&held);
    if (resets == s->resets) {
        s->failed = r; /* else it is the old stream that failed */
    }
    return r;
}
