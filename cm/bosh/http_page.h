/* http_page: what a person sees who opens the BOSH address in a browser. Pure. */
#ifndef BOSH_HTTP_PAGE_H
#define BOSH_HTTP_PAGE_H

/** A whole page of HTML, static. It loads nothing, runs nothing and repeats nothing of the request. */
extern const char http_page_html[];
/** Content-Security-Policy for it: nothing but its own style, by hash. */
extern const char http_page_policy[];

#endif
