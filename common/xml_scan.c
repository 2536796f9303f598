#include "xml_scan.h"

#include "fail.h"

#include <string.h>

enum {
    GAP,        /* between elements, or before the header */
    TEXT,       /* in an element */
    OPEN,       /* behind '<' */
    START_TAG,  /* in a start tag, outside of values */
    EMPTY,      /* behind '/' in a start tag */
    SINGLE,     /* in a value in single quotes */
    DOUBLE,     /* in a value in double quotes */
    END_NAME,   /* in the name of an end tag */
    END_TAG,    /* behind it */
    EXCLAIMED,  /* behind "<!" */
    CDATA,      /* in a CDATA section */
    DECLARATION /* behind "<?" */
};

static bool
is_white(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool
begins_name(uint8_t c)
{
    return c >= 0x80 || c == '_' || (uint8_t)((c | 0x20) - 'a') < 26;
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
        s->place = s->depth != 0 ? END_NAME : END_TAG;
        s->matched = 0;
        break;
    case '!':
        if (s->depth == 0) {
            return -FAIL_UPSTREAM_XML;
        }
        s->place = EXCLAIMED;
        s->matched = 0;
        break;
    case '?':
        if (s->inside || s->declaration) {
            return -FAIL_UPSTREAM_XML;
        }
        s->place = DECLARATION;
        break;
    default:
        if (!begins_name(c)) {
            return -FAIL_UPSTREAM_XML;
        }
        if (s->inside) {
            if (s->depth >= run->max_depth) {
                return -FAIL_UPSTREAM_SIZE;
            }
            run->names[s->depth] = (uint32_t)(run->at - run->first);
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
started(struct xml_scan *s, struct xml_scan_run *run, bool empty)
{
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
            return started(s, run, false);
        case '/':
            s->place = EMPTY;
            return 0;
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

/* No value holds a '<': a forgotten quote would let it swallow all that follows. */
static int
scan_value(struct xml_scan *s, struct xml_scan_run *run, int quote)
{
    size_t from = run->at;

    if (skip_past(run, quote)) {
        s->place = START_TAG;
    }
    return memchr(run->bytes + from, '<', run->at - from) ? -FAIL_UPSTREAM_XML : 0;
}

/* Compares with the name of the element that is open. */
static int
scan_end_name(struct xml_scan *s, struct xml_scan_run *run)
{
    const uint8_t *name = run->bytes + run->first + run->names[s->depth - 1];

    for (; run->at < run->len; run->at++, s->matched++) {
        uint8_t expected = name[s->matched];

        if (expected == '>' || is_white(expected)) {
            s->place = END_TAG;
            return 0;
        }
        if (run->bytes[run->at] != expected) {
            return -FAIL_UPSTREAM_XML;
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
    if (s->depth == 0) {
        if (skip_past(run, '>')) {
            s->ended = true;
            run->whole = run->at;
            s->place = GAP;
            return XML_SCAN_END;
        }
        return 0;
    }
    while (is_white(run->bytes[run->at])) {
        if (++run->at == run->len) {
            return 0;
        }
    }
    if (run->bytes[run->at++] != '>') {
        return -FAIL_UPSTREAM_XML;
    }
    s->depth--;
    s->place = TEXT;
    return s->depth == 0 ? complete(s, run, run->max_element) : 0;
}

/* A comment or a DTD, if it is not a CDATA section. */
static int
scan_exclaimed(struct xml_scan *s, struct xml_scan_run *run)
{
    static const char wanted[] = "[CDATA[";

    if (run->bytes[run->at++] != (uint8_t)wanted[s->matched++]) {
        return -FAIL_UPSTREAM_XML;
    }
    if (wanted[s->matched] == '\0') {
        s->place = CDATA;
        s->matched = 0;
    }
    return 0;
}

static int
scan_declaration(struct xml_scan *s, struct xml_scan_run *run)
{
    size_t from = run->at;

    if (skip_past(run, '>') && run->bytes[run->at - 2] == '?') {
        s->place = GAP;
        s->declaration = true;
    }
    return memchr(run->bytes + from, '<', run->at - from) ? -FAIL_UPSTREAM_XML : 0;
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
    case EMPTY:
        return run->bytes[run->at++] == '>' ? started(s, run, true) : -FAIL_UPSTREAM_XML;
    case SINGLE:
        return scan_value(s, run, '\'');
    case DOUBLE:
        return scan_value(s, run, '"');
    case END_NAME:
        return scan_end_name(s, run);
    case END_TAG:
        return scan_end_tag(s, run);
    case EXCLAIMED:
        return scan_exclaimed(s, run);
    case CDATA:
        if (skip_past(run, '>') && run->bytes[run->at - 2] == ']' && run->bytes[run->at - 3] == ']') {
            s->place = TEXT;
        }
        return 0;
    default:
        return scan_declaration(s, run);
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
