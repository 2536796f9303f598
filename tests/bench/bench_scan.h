/** Cuts an XMPP stream into its top-level elements, for the stub: cheap, and only as strict as a benchmark needs. */
#ifndef BENCH_SCAN_H
#define BENCH_SCAN_H

#include <stddef.h>

enum bench_scan_kind {
    BENCH_SCAN_MORE,    /* nothing complete yet */
    BENCH_SCAN_SPACE,   /* white space or an XML declaration */
    BENCH_SCAN_HEADER,  /* <stream:stream ...> */
    BENCH_SCAN_END,     /* </stream:stream> */
    BENCH_SCAN_ELEMENT, /* one whole element */
};

/** What stands at the start of [p, p+len); *used is its length. */
enum bench_scan_kind bench_scan(const char *p, size_t len, size_t *used);

/** The byte after the tag that starts at p, NULL when it is not complete. Quotes may hold '>'. */
const char *bench_scan_tag(const char *p, const char *end);

/** Value of an attribute of the start tag at p, and its length; NULL when it is not there. */
const char *bench_scan_attr(const char *p, size_t len, const char *name, size_t *value_len);

#endif
