#include "page.h"

#include "common/log.h"
#include "report.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 100, TIMEOUT = 10 /* seconds */ };

struct page {
    struct ev_loop *loop;
    struct MHD_Daemon *daemon;
    ev_io epoll;
    ev_timer tick; /* the library's time-outs */
};

static struct MHD_Response *
respond(void *text, size_t len, enum MHD_ResponseMemoryMode mode, const char *type)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(len, text, mode);
    if (r == NULL)
        return NULL;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    return r;
}

static enum MHD_Result
send_text(struct MHD_Connection *c, unsigned status, const char *text, const char *allow)
{
    char copy[512];
    int n = snprintf(copy, sizeof copy, "%s\n", text);
    struct MHD_Response *r = respond(copy, (size_t)n < sizeof copy ? (size_t)n : sizeof copy - 1, MHD_RESPMEM_MUST_COPY,
        "text/plain; charset=utf-8");
    if (r == NULL)
        return MHD_NO;
    if (allow != NULL)
        MHD_add_response_header(r, "Allow", allow);
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result
send_health(struct MHD_Connection *c)
{
    char reason[256];
    return report_healthy(reason, sizeof reason) ? send_text(c, MHD_HTTP_OK, "ok", NULL)
                                                 : send_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, reason, NULL);
}

static enum MHD_Result
send_status(struct MHD_Connection *c)
{
    size_t len;
    char *text = report_json((int64_t)time(NULL), &len);
    struct MHD_Response *r = text == NULL ? NULL : respond(text, len, MHD_RESPMEM_MUST_FREE, "application/json");
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    enum MHD_Result result = MHD_queue_response(c, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result
on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version,
    const char *upload, size_t *upload_size, void **state)
{
    static int seen;
    (void)arg;
    (void)version;
    (void)upload;
    if (*state == NULL) { /* headers only; the answer is queued when the (ignored) body is over */
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    bool health = strcmp(url, "/healthz") == 0 || strcmp(url, "/readyz") == 0;
    bool status = strcmp(url, "/status") == 0;
    if (!health && !status)
        return send_text(c, MHD_HTTP_NOT_FOUND, "holdline-status: /status, /healthz, /readyz are here", NULL);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD, please", "GET, HEAD");
    return health ? send_health(c) : send_status(c);
}

static void
on_epoll(struct ev_loop *loop, ev_io *w, int revents)
{
    struct page *p = w->data;
    (void)loop;
    (void)revents;
    MHD_run(p->daemon);
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct page *p = w->data;
    (void)loop;
    (void)revents;
    MHD_run(p->daemon);
}

struct page *
page_new(struct ev_loop *loop, int fd)
{
    struct page *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->loop = loop;
    p->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, p, MHD_OPTION_LISTEN_SOCKET, fd,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT,
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        p->daemon == NULL ? NULL : MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL) {
        log_plain(LOG_LVL_CRIT, "status-http-failed");
        free(p);
        return NULL;
    }
    ev_io_init(&p->epoll, on_epoll, info->epoll_fd, EV_READ);
    p->epoll.data = p;
    ev_io_start(loop, &p->epoll);
    ev_timer_init(&p->tick, on_tick, 0.2, 0.2); /* also takes connections that waited for a free place */
    p->tick.data = p;
    ev_timer_start(loop, &p->tick);
    return p;
}

void
page_free(struct page **pp)
{
    struct page *p = *pp;
    if (p == NULL)
        return;
    *pp = NULL;
    ev_io_stop(p->loop, &p->epoll);
    ev_timer_stop(p->loop, &p->tick);
    MHD_socket fd = MHD_quiesce_daemon(p->daemon);
    MHD_stop_daemon(p->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    free(p);
}
