/* page: the status endpoint's HTTP; the only user of libmicrohttpd in this process. */
#ifndef STATUS_PAGE_H
#define STATUS_PAGE_H

#include <ev.h>

struct page;

/** Serves GET and HEAD of /healthz, /readyz, /status on an inherited listening socket. NULL after a log line. */
struct page *page_new(struct ev_loop *loop, int fd);
void page_free(struct page **p);

#endif
