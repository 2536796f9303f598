/* The one file that knows expat: the restrictions of XMPP's XML, and expat's traps. */
#include "fail.h"
#include "xml_parser.h"

#include <expat.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistr.h>

enum { PARSER_KEEP = 64 * 1024 }; /* a parser that has seen more may hold much memory: it is not kept */

/* Between the parts of a name. XML forbids it even as a character reference, so no namespace can contain it. */
#define SEPARATOR '\x01'

/* Security updates of Debian's expat 2.5.0 delay the report of a token that came in small pieces, others do not know
 * the function. All callers here feed whole tokens, so that the delay could not bite; it is off for whoever feeds
 * pieces next. */
extern XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled) __attribute__((weak));

struct xml_parser {
    XML_Parser expat;
    const struct xml_handlers *handlers;
    void *arg;
    size_t depth, max_depth, deepest;
    size_t fed;
    unsigned long salt; /* of expat's hash tables: drawn once, or expat asks the kernel for each document */
    int result;         /* why it stopped: a cause or a handler's number */
};

static struct xml_parser *idle;

static void
stop(struct xml_parser *p, int result)
{
    if (p->result == 0) {
        p->result = result;
        XML_StopParser(p->expat, XML_FALSE);
    }
}

bool
xml_parser_is(struct xml_span span, const char *s)
{
    return strncmp(span.s, s, span.len) == 0 && s[span.len] == '\0';
}

struct xml_qname
xml_parser_split(const char *name)
{
    struct xml_qname q = {{name, 0}, {name, 0}, {name, 0}};
    const char *sep = strchr(name, SEPARATOR);

    if (!sep) {
        q.name.len = strlen(name);
        return q;
    }
    q.ns.len = (size_t)(sep - name);
    q.name.s = sep + 1;
    sep = strchr(q.name.s, SEPARATOR);
    if (!sep) {
        q.name.len = strlen(q.name.s);
        return q;
    }
    q.name.len = (size_t)(sep - q.name.s);
    q.prefix.s = sep + 1;
    q.prefix.len = strlen(q.prefix.s);
    return q;
}

/* ---- expat's handlers; some are called once more after a stop ---- */

static void
on_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    struct xml_parser *p = arg;
    struct xml_tag tag;
    int r;

    if (p->result != 0) {
        return;
    }
    if (p->depth >= p->max_depth) {
        stop(p, -FAIL_XML_DEPTH);
        return;
    }
    tag.name = xml_parser_split(name);
    tag.attrs = attrs;
    tag.start = (size_t)XML_GetCurrentByteIndex(p->expat);
    tag.end = tag.start + (size_t)XML_GetCurrentByteCount(p->expat);
    r = p->handlers->start(p->arg, &tag, p->depth);
    p->depth++;
    if (p->depth > p->deepest) {
        p->deepest = p->depth;
    }
    if (r != 0) {
        stop(p, r);
    }
}

static void
on_end(void *arg, const XML_Char *name)
{
    struct xml_parser *p = arg;
    size_t at;
    int r;

    if (p->result != 0) {
        return;
    }
    p->depth--;
    /* for an empty-element tag expat reports a length of 0 behind the tag */
    at = (size_t)XML_GetCurrentByteIndex(p->expat) + (size_t)XML_GetCurrentByteCount(p->expat);
    r = p->handlers->end(p->arg, name, at, p->depth);
    if (r != 0) {
        stop(p, r);
    }
}

static bool
is_white(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (s[i] != ' ' && s[i] != '\n' && s[i] != '\r' && s[i] != '\t') {
            return false;
        }
    }
    return true;
}

static void
on_text(void *arg, const XML_Char *s, int len)
{
    struct xml_parser *p = arg;
    int r;

    if (p->result != 0) {
        return;
    }
    if (p->depth == 1 && !p->handlers->root_text && !is_white(s, (size_t)len)) {
        stop(p, -FAIL_XML_TEXT);
        return;
    }
    if (p->handlers->text) {
        r = p->handlers->text(p->arg, s, (size_t)len, p->depth);
        if (r != 0) {
            stop(p, r);
        }
    }
}

static void
on_cdata(void *arg)
{
    struct xml_parser *p = arg;

    if (p->depth == 1 && !p->handlers->root_text) {
        stop(p, -FAIL_XML_TEXT);
    }
}

static void
on_declare(void *arg, const XML_Char *prefix, const XML_Char *uri)
{
    struct xml_parser *p = arg;
    int r;

    if (p->result != 0 || !p->handlers->declare) {
        return;
    }
    r = p->handlers->declare(p->arg, prefix ? prefix : "", uri ? uri : "", p->depth);
    if (r != 0) {
        stop(p, r);
    }
}

static void
on_undeclare(void *arg, const XML_Char *prefix)
{
    struct xml_parser *p = arg;

    if (p->result == 0 && p->handlers->undeclare) {
        p->handlers->undeclare(p->arg, prefix ? prefix : "", p->depth);
    }
}

static void
on_xml_declaration(void *arg, const XML_Char *version, const XML_Char *encoding, int standalone)
{
    struct xml_parser *p = arg;

    (void)standalone;
    if ((version && strcmp(version, "1.0") != 0) || (encoding && strcasecmp(encoding, "UTF-8") != 0)) {
        stop(p, -FAIL_XML_ENCODING);
    }
}

static void
on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id, int internal)
{
    (void)name, (void)system_id, (void)public_id, (void)internal;
    stop(arg, -FAIL_XML_RESTRICTED);
}

static void
on_comment(void *arg, const XML_Char *text)
{
    (void)text;
    stop(arg, -FAIL_XML_RESTRICTED);
}

static void
on_pi(void *arg, const XML_Char *target, const XML_Char *text)
{
    (void)target, (void)text;
    stop(arg, -FAIL_XML_RESTRICTED);
}

/* ---- life of a parser ---- */

static struct xml_parser *
parser_new(void)
{
    struct xml_parser *p = calloc(1, sizeof *p);

    if (!p) {
        return NULL;
    }
    p->expat = XML_ParserCreateNS("UTF-8", SEPARATOR);
    if (!p->expat) {
        free(p);
        return NULL;
    }
    /* without randomness at this moment the salt stays 0, and expat finds one itself */
    if (getrandom(&p->salt, sizeof p->salt, GRND_NONBLOCK) != (ssize_t)sizeof p->salt) {
        p->salt = 0;
    }
    return p;
}

static void
parser_free(struct xml_parser *p)
{
    XML_ParserFree(p->expat);
    free(p);
}

struct xml_parser *
xml_parser_take(const struct xml_handlers *handlers, void *arg, size_t max_depth)
{
    struct xml_parser *p = idle;

    if (p && XML_ParserReset(p->expat, "UTF-8")) {
        idle = NULL;
        *p = (struct xml_parser){.expat = p->expat, .salt = p->salt};
    } else {
        p = parser_new();
        if (!p) {
            return NULL;
        }
    }
    p->handlers = handlers;
    p->arg = arg;
    p->max_depth = max_depth;
    /* a reset forgets all of these */
    if (XML_SetReparseDeferralEnabled) {
        XML_SetReparseDeferralEnabled(p->expat, XML_FALSE);
    }
    XML_SetHashSalt(p->expat, p->salt);
    XML_SetReturnNSTriplet(p->expat, 1);
    XML_SetUserData(p->expat, p);
    XML_SetElementHandler(p->expat, on_start, on_end);
    XML_SetCharacterDataHandler(p->expat, on_text);
    XML_SetStartCdataSectionHandler(p->expat, on_cdata);
    XML_SetNamespaceDeclHandler(p->expat, on_declare, on_undeclare);
    XML_SetXmlDeclHandler(p->expat, on_xml_declaration);
    XML_SetStartDoctypeDeclHandler(p->expat, on_doctype);
    XML_SetCommentHandler(p->expat, on_comment);
    XML_SetProcessingInstructionHandler(p->expat, on_pi);
    return p;
}

void
xml_parser_give(struct xml_parser **p)
{
    if (!p || !*p) {
        return;
    }
    if (idle || (*p)->fed > PARSER_KEEP) {
        parser_free(*p);
    } else {
        idle = *p;
    }
    *p = NULL;
}

void
xml_parser_bound(struct xml_parser *p, size_t max_depth)
{
    p->max_depth = max_depth;
}

size_t
xml_parser_deepest(const struct xml_parser *p)
{
    return p->deepest;
}

/* ---- parsing ---- */

/* Expat believes a byte order mark, and zero bytes beside '<', more than the encoding it was told. */
static bool
looks_encoded(const uint8_t *bytes, size_t len)
{
    return len != 0 &&
           (bytes[0] == 0xEF || bytes[0] == 0xFE || bytes[0] == 0xFF || bytes[0] == 0 || (len > 1 && bytes[1] == 0));
}

static int
error_cause(enum XML_Error error, const uint8_t *bytes, size_t len)
{
    switch (error) {
    case XML_ERROR_NO_MEMORY:
        return -FAIL_NOMEM;
    case XML_ERROR_UNDEFINED_ENTITY:
    case XML_ERROR_RECURSIVE_ENTITY_REF:
    case XML_ERROR_ASYNC_ENTITY:
    case XML_ERROR_BINARY_ENTITY_REF:
    case XML_ERROR_ATTRIBUTE_EXTERNAL_ENTITY_REF:
    case XML_ERROR_EXTERNAL_ENTITY_HANDLING:
        return -FAIL_XML_RESTRICTED;
    case XML_ERROR_UNKNOWN_ENCODING:
    case XML_ERROR_INCORRECT_ENCODING:
        return -FAIL_XML_ENCODING;
    case XML_ERROR_UNBOUND_PREFIX:
    case XML_ERROR_UNDECLARING_PREFIX:
    case XML_ERROR_RESERVED_PREFIX_XML:
    case XML_ERROR_RESERVED_PREFIX_XMLNS:
    case XML_ERROR_RESERVED_NAMESPACE_URI:
        return -FAIL_XML_NAMESPACE;
    default:
        /* bad UTF-8 is an invalid token to expat */
        return memchr(bytes, 0, len) || u8_check(bytes, len) ? -FAIL_XML_ENCODING : -FAIL_XML_MALFORMED;
    }
}

int
xml_parser_feed(struct xml_parser *p, const void *bytes, size_t len, bool final)
{
    if (p->result != 0) {
        return p->result;
    }
    if (len > INT_MAX) {
        p->result = -FAIL_XML_SIZE;
    } else if (p->fed == 0 && looks_encoded(bytes, len)) {
        p->result = -FAIL_XML_ENCODING;
    } else {
        p->fed += len;
        if (XML_Parse(p->expat, bytes, (int)len, final) != XML_STATUS_OK && p->result == 0) {
            p->result = error_cause(XML_GetErrorCode(p->expat), bytes, len);
        }
    }
    return p->result;
}
