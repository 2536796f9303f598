/* http_upgrade: whether the first bytes of a plain HTTP connection ask for WebSocket (RFC 6455 4.1), so that they go to
 * the bridge before the HTTP library sees them. Pure.
 *
 * It only tells who is to answer. Whether the handshake is a good one, on the right path, from an allowed origin, is
 * the bridge's business, which has better words for it.
 */
#ifndef BOSH_HTTP_UPGRADE_H
#define BOSH_HTTP_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_UPGRADE_MAX = 8192 }; /* bytes that are looked at, no more */

/** 1: the bridge is to answer. It is a GET that lists websocket in Upgrade, or carries a Sec-WebSocket-Key (a proxy on
 * the way has lost the Upgrade: the bridge says so). -1: it is not; told at the first byte that is not of "GET ", and
 * at a bare LF or a NUL byte. 0: it cannot be told yet, which is never the answer to HTTP_UPGRADE_MAX bytes. */
int http_upgrade(const void *bytes, size_t len);
/** Whether a header line alone makes a GET such a request. */
bool http_upgrade_header(const char *name, size_t name_len, const char *value, size_t value_len);

#endif
