/* xml_scan: finds where the stream header and top-level elements end; what it finds is then parsed. Pure.
 *
 * Twelve bytes of state instead of a parser per stream, and each byte is looked at once however it arrives. It is exact
 * for well-formed restricted XML; of anything else it refuses what would never end: end tags that do not match, and
 * what cannot become a tag, each where it shows. The rest may be cut wrongly, which the parser then refuses. Only
 * xml_stream.c uses it.
 */
#ifndef COMMON_XML_SCAN_H
#define COMMON_XML_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Where a stream stands between two calls. All zero: before the stream header. */
struct xml_scan {
    uint32_t depth;   /* open elements below the stream's root */
    uint32_t matched; /* bytes of what is spelt out already: an end tag's name, "[CDATA[" */
    uint8_t place;    /* in text, a tag, a quoted value, ... */
    bool inside;      /* the stream header is complete */
    bool declaration; /* an XML declaration stands before the header at hand */
    bool ended;       /* </stream:stream> was seen */
};

/** One run over bytes that begin where the unfinished element (or header) does. */
struct xml_scan_run {
    const uint8_t *bytes;
    size_t len, at;     /* at: scanned so far */
    size_t first;       /* where the element at hand begins */
    size_t whole;       /* behind the last complete element, header or end tag */
    size_t max_element; /* bytes */
    size_t max_header;  /* bytes */
    uint32_t max_depth; /* elements in each other, the top-level one counted */
    uint32_t *names;    /* room for max_depth + 1: where the names of the open elements begin, from `first` on; the last
                           is that of a start tag at hand */
};

enum { XML_SCAN_MORE, XML_SCAN_HEADER, XML_SCAN_END };

/** Scans on from run->at; names[0 .. depth] must be as the last run left them, if one is unfinished. XML_SCAN_MORE: all
 * bytes were scanned; _HEADER: behind the complete stream header; _END: behind the stream's end tag (of an empty stream
 * element too: `ended` with _HEADER); or -FAIL_UPSTREAM_XML, _SIZE, _NOT_XMPP, with first and whole still right. */
int xml_scan(struct xml_scan *s, struct xml_scan_run *run);
/** The bytes to keep for the next run begin here. */
size_t xml_scan_rest(const struct xml_scan *s, const struct xml_scan_run *run);

#endif
