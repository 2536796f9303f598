/* bosh_body: reads one <body/> of a request (XEP-0124 6, 7; XEP-0206 2, 3, 5). Pure. */
#ifndef BOSH_BODY_H
#define BOSH_BODY_H

#include "common/xml.h"

#define BOSH_RID_MAX UINT64_C(9007199254740991) /* 2^53 - 1 (XEP-0124 14.1) */

/** What a body says. Strings are NULL when the attribute is absent and, like everything here, valid until the next
 * xml_doc_parse() of the process; numbers are -1 when absent and saturate at their type's bound. */
struct bosh_body {
    const char *sid, *to, *from, *lang, *content, *key, *newkey, *stream, *route;
    const char *version; /* {urn:xmpp:xbosh}version */
    uint64_t rid;        /* 0: absent */
    uint64_t ack;        /* 0: absent */
    int64_t wait, hold, pause;
    int ver_major, ver_minor; /* -1: no `ver` */
    bool terminate;           /* type='terminate' */
    bool restart;             /* {urn:xmpp:xbosh}restart is true */
    struct xml_doc doc;       /* children are the payloads */
    const uint8_t *bytes;
    size_t len;
};

/** Parses `len` bytes, which must stay where they are as long as the result is used. 0, or a negative cause of
 * xml_doc_parse(), FAIL_XML_ROOT (not {httpbind}body), FAIL_BAD_REQUEST (an attribute that is no number where one must
 * be, a negative number, no rid). When the start tag was readable, sid, rid and key are set on failure too, so that the
 * session can be told. */
int bosh_body_parse(const void *bytes, size_t len, const struct xml_limits *limits, struct bosh_body *body);

/** Appends all payloads, each parseable in an XMPP stream of jabber:client (prefixes declared on the body are carried
 * over). 0 or a negative cause. */
int bosh_body_payload(const struct bosh_body *body, struct buf *out);

#endif
