#include "xml_scan.h"

#include "fail.h"

#include <string.h>

enum {
    GAP,        /* between elements, or before the header */
    TEXT,       /* in an element */
    OPEN,       /* behind '<' */
    START_TAG,  /* in a start tag, outside of values */
    SINGLE,     /* in a value in single quotes */
    DOUBLE,     /* in a value in double quotes */
    END_TAG,    /* in an end tag */
    EXCLAIMED,  /* behind "<!" */
    CDATA,      /* behind "<![" */
    DECLARATION /* behind "<?" */
};

static bool
is_white(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Moves behind the next such byte; false when there is none. */
static bool
skip_past(struct xml_scan_run *run, int c)
{
    const uint8_t *found = memchr(run->bytes + run->at, c, run->len - run->at);

    run->at = found ? (size_t)(found - run->bytes) + 1 : run->len;
    return found;
}

static int
scan_gap(struct xml_scan *s, struct xml_scan_run *run)
{
    uint8_t c;

    while (run->at < run->len && is_white(run->bytes[run->at])) {
        run->at++;
    }
    if (run->at == run->len) {
        return 0;
    }
    c = run->bytes[run->at];
    if (c != '<') {
        /* marks of other encodings are XML all the same, though not XMPP's */
        return s->inside || c == 0xEF || c == 0xFE || c == 0xFF || c == 0 ? -FAIL_UPSTREAM_XML
                                                                          : -FAIL_UPSTREAM_NOT_XMPP;
    }
    if (!s->declaration) {
        run->first = run->at;
    }
    run->at++;
    s->place = OPEN;
    return 0;
}

static int
scan_open(struct xml_scan *s, struct xml_scan_run *run)
{
    uint8_t c = run->bytes[run->at];

    switch (c) {
    case '/':
        s->place = END_TAG;
        break;
    case '!':
        if (s->depth == 0) {
            return -FAIL_UPSTREAM_XML;
        }
        s->place = EXCLAIMED;
        break;
    case '?':
        if (s->inside || s->declaration) {
            return -FAIL_UPSTREAM_XML;
        }
        s->place = DECLARATION;
        break;
    default:
        if (c <= '@') {
            return -FAIL_UPSTREAM_XML; /* no name begins so */
        }
        s->place = START_TAG;
        return 0;
    }
    run->at++;
    return 0;
}

/* A top-level element (or the header) is complete. */
static int
complete(struct xml_scan *s, struct xml_scan_run *run, size_t max)
{
    if (run->at - run->first > max) {
        return -FAIL_UPSTREAM_SIZE;
    }
    run->whole = run->at;
    s->place = GAP;
    return 0;
}

/* Behind the '>' of a start tag. */
static int
started(struct xml_scan *s, struct xml_scan_run *run)
{
    bool empty = run->bytes[run->at - 2] == '/';
    int r;

    if (!s->inside) {
        r = complete(s, run, run->max_header);
        if (r < 0) {
            return r;
        }
        s->inside = true;
        s->declaration = false;
        s->ended = empty;
        return XML_SCAN_HEADER;
    }
    if (s->depth >= run->max_depth) {
        return -FAIL_UPSTREAM_SIZE;
    }
    s->place = TEXT;
    if (!empty) {
        s->depth++;
    } else if (s->depth == 0) {
        return complete(s, run, run->max_element);
    }
    return 0;
}

static int
scan_start_tag(struct xml_scan *s, struct xml_scan_run *run)
{
    while (run->at < run->len) {
        switch (run->bytes[run->at++]) {
        case '>':
            return started(s, run);
        case '\'':
            s->place = SINGLE;
            return 0;
        case '"':
            s->place = DOUBLE;
            return 0;
        case '<':
            return -FAIL_UPSTREAM_XML;
        default:
            break;
        }
    }
    return 0;
}

static int
scan_end_tag(struct xml_scan *s, struct xml_scan_run *run)
{
    if (!s->inside) {
        return -FAIL_UPSTREAM_XML;
    }
    if (!skip_past(run, '>')) {
        return 0;
    }
    if (s->depth == 0) {
        s->ended = true;
        run->whole = run->at;
        s->place = GAP;
        return XML_SCAN_END;
    }
    s->depth--;
    s->place = TEXT;
    return s->depth == 0 ? complete(s, run, run->max_element) : 0;
}

static int
step(struct xml_scan *s, struct xml_scan_run *run)
{
    switch (s->place) {
    case GAP:
        return scan_gap(s, run);
    case TEXT:
        s->place = skip_past(run, '<') ? OPEN : TEXT;
        return 0;
    case OPEN:
        return scan_open(s, run);
    case START_TAG:
        return scan_start_tag(s, run);
    case SINGLE:
        s->place = skip_past(run, '\'') ? START_TAG : SINGLE;
        return 0;
    case DOUBLE:
        s->place = skip_past(run, '"') ? START_TAG : DOUBLE;
        return 0;
    case END_TAG:
        return scan_end_tag(s, run);
    case EXCLAIMED: /* a comment or a DTD, if it is not a CDATA section */
        if (run->bytes[run->at++] != '[') {
            return -FAIL_UPSTREAM_XML;
        }
        s->place = CDATA;
        return 0;
    case CDATA:
        if (skip_past(run, '>') && run->bytes[run->at - 2] == ']' && run->bytes[run->at - 3] == ']') {
            s->place = TEXT;
        }
        return 0;
    default:
        if (skip_past(run, '>') && run->bytes[run->at - 2] == '?') {
            s->place = GAP;
            s->declaration = true;
        }
        return 0;
    }
}

size_t
xml_scan_rest(const struct xml_scan *s, const struct xml_scan_run *run)
{
    return s->place == GAP && !s->declaration ? run->at : run->first;
}

int
xml_scan(struct xml_scan *s, struct xml_scan_run *run)
{
    int r = 0;

    while (run->at < run->len && r == 0) {
        r = step(s, run);
    }
    if (r == 0 && run->at - xml_scan_rest(s, run) > (s->inside ? run->max_element : run->max_header)) {
        return -FAIL_UPSTREAM_SIZE;
    }
    return r;
}
