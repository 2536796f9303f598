/* fail: the one list of causes.
 *
 * Each way in which something can go wrong has one name here, and carries it through the link, the log, the
 * counters and the answer to the client. Functions return 0 or a negative cause: `return -FAIL_TIMEOUT;`.
 *
 * Columns: name, word in logs and counters, BOSH condition (XEP-0124 17.2; NULL: no condition, an ordinary end),
 * WebSocket close code (RFC 6455 7.4), what it means for the operator.
 *
 * The numbers travel on the link: append at the end of the list, never reorder.
 */
#ifndef COMMON_FAIL_H
#define COMMON_FAIL_H

#define FAIL_LIST(X)                                                                                                   \
    X(NONE, "none", NULL, 1000, "ended in good order")                                                                 \
    X(NOMEM, "no-memory", "internal-server-error", 1011, "memory could not be allocated")                              \
    X(INTERNAL, "internal", "internal-server-error", 1011, "a fault of Holdline's own")                                \
    X(IO, "io", "internal-server-error", 1011, "a system call failed")                                                 \
    X(CLOSED, "closed", "remote-connection-failed", 1006, "the peer closed the connection")                            \
    X(TIMEOUT, "timeout", "remote-connection-failed", 1011, "the time allowed for a step ran out")                     \
    X(CONF, "configuration", "internal-server-error", 1011, "the configuration is not valid")                          \
    /* XML from clients */                                                                                             \
    X(XML_MALFORMED, "xml-malformed", "bad-request", 1007, "not well-formed XML")                                      \
    X(XML_RESTRICTED, "xml-restricted", "bad-request", 1008, "comment, PI, DTD or entity in XMPP's XML")               \
    X(XML_ENCODING, "xml-encoding", "bad-request", 1007, "not UTF-8")                                                  \
    X(XML_NAMESPACE, "xml-namespace", "bad-request", 1008, "wrong namespace or unbound prefix")                        \
    X(XML_ROOT, "xml-root", "bad-request", 1008, "the root element is not the one expected")                           \
    X(XML_TEXT, "xml-text", "bad-request", 1008, "text between elements where none may be")                            \
    X(XML_DEPTH, "xml-depth", "policy-violation", 1008, "elements nested too deeply")                                  \
    X(XML_SIZE, "xml-size", "policy-violation", 1009, "an element or body larger than the limit")                      \
    /* BOSH */                                                                                                         \
    X(BAD_REQUEST, "bad-request", "bad-request", 1008, "a BOSH attribute is missing or malformed")                     \
    X(IMPROPER_ADDRESSING, "improper-addressing", "improper-addressing", 1008, "no 'to' in a session creation")        \
    X(SID_UNKNOWN, "sid-unknown", "item-not-found", 1008, "no such session (any more)")                                \
    X(STREAM_UNKNOWN, "stream-unknown", "item-not-found", 1008, "no such stream in the session")                       \
    X(RID_WINDOW, "rid-window", "item-not-found", 1008, "rid beyond the window")                                       \
    X(RID_GONE, "rid-gone", "item-not-found", 1008, "rid repeated after its answer left the cache")                    \
    X(KEY_INVALID, "key-invalid", "item-not-found", 1008, "the key sequence is broken")                                \
    X(OVERACTIVE, "overactive", "policy-violation", 1008, "more simultaneous requests than allowed")                   \
    X(POLLING_FAST, "polling-fast", "policy-violation", 1008, "polled more often than allowed")                        \
    X(REPEAT_LIMIT, "repeat-limit", "policy-violation", 1008, "the same rid repeated too often")                       \
    X(BODY_SIZE, "body-size", "policy-violation", 1009, "request body larger than bosh.max_body")                      \
    X(STREAM_LIMIT, "stream-limit", "policy-violation", 1008, "more streams in one session than bosh.max_streams")     \
    X(QUEUE_LIMIT, "queue-limit", "policy-violation", 1008, "a queue of the session reached its bound")                \
    X(INACTIVITY, "inactivity", "item-not-found", 1001, "the client was silent longer than allowed")                   \
    X(CLIENT_TERMINATE, "client-terminate", NULL, 1000, "the client ended the session")                                \
    X(INSECURE, "insecure", "policy-violation", 1008, "a plain request for a session created over TLS")                \
    X(CLIENT_GONE, "client-gone", NULL, 1006, "the client's connection broke")                                         \
    X(SHUTDOWN, "shutdown", "system-shutdown", 1001, "Holdline is being shut down")                                    \
    X(SESSION_LIMIT, "session-limit", "undefined-condition", 1013, "limits.sessions reached")                          \
    X(ADDRESS_LIMIT, "address-limit", "policy-violation", 1008, "limits.sessions_per_address reached")                 \
    X(RATE_LIMIT, "rate-limit", "undefined-condition", 1013, "limits.new_sessions_per_second reached")                 \
    /* upstream */                                                                                                     \
    X(HOST_UNKNOWN, "host-unknown", "host-unknown", 1008, "the domain is not in the configuration")                    \
    X(HOST_GONE, "host-gone", "host-gone", 1008, "the domain is no longer served")                                     \
    X(DNS_NONE, "dns-none", "remote-connection-failed", 1011, "DNS has no address for the domain")                     \
    X(DNS_FAIL, "dns-fail", "remote-connection-failed", 1011, "DNS answered with an error")                            \
    X(DNS_TIMEOUT, "dns-timeout", "remote-connection-failed", 1011, "DNS did not answer in time")                      \
    X(CONNECT_REFUSED, "connect-refused", "remote-connection-failed", 1011, "the server refused the connection")       \
    X(CONNECT_UNREACHABLE, "connect-unreachable", "remote-connection-failed", 1011, "the server is not reachable")     \
    X(CONNECT_TIMEOUT, "connect-timeout", "remote-connection-failed", 1011, "the server did not accept in time")       \
    X(STARTTLS_MISSING, "starttls-missing", "remote-connection-failed", 1011, "the server does not offer STARTTLS")    \
    X(STARTTLS_REFUSED, "starttls-refused", "remote-connection-failed", 1011, "the server refused STARTTLS")           \
    X(STARTTLS_INJECTED, "starttls-injected", "remote-connection-failed", 1011, "plain data between STARTTLS and TLS") \
    X(TLS_HANDSHAKE, "tls-handshake", "remote-connection-failed", 1011, "the TLS handshake failed")                    \
    X(TLS_EXPIRED, "tls-expired", "remote-connection-failed", 1011, "the certificate is expired or not yet valid")     \
    X(TLS_NAME, "tls-name", "remote-connection-failed", 1011, "the certificate is for another name")                   \
    X(TLS_UNTRUSTED, "tls-untrusted", "remote-connection-failed", 1011, "the certificate's issuer is not trusted")     \
    X(TLS_RECORD, "tls-record", "remote-connection-failed", 1011, "the TLS connection broke")                          \
    X(UPSTREAM_TIMEOUT, "upstream-timeout", "remote-connection-failed", 1011, "the server did not answer in time")     \
    X(UPSTREAM_CLOSED, "upstream-closed", "remote-connection-failed", 1011, "the server closed the connection")        \
    X(UPSTREAM_RESET, "upstream-reset", "remote-connection-failed", 1011, "the connection to the server broke")        \
    X(UPSTREAM_END, "upstream-end", "remote-connection-failed", 1001, "the server closed the stream")                  \
    X(UPSTREAM_ERROR, "upstream-error", "remote-stream-error", 1008, "the server sent a stream error")                 \
    X(UPSTREAM_XML, "upstream-xml", "remote-connection-failed", 1011, "the server sent XML that XMPP forbids")         \
    X(UPSTREAM_NOT_XMPP, "upstream-not-xmpp", "remote-connection-failed", 1011, "the server does not speak XMPP")      \
    X(UPSTREAM_SIZE, "upstream-size", "remote-connection-failed", 1009, "the server sent an element over the limit")   \
    X(UPSTREAM_STALLED, "upstream-stalled", "remote-connection-failed", 1011, "the server stopped reading")            \
    /* between the processes */                                                                                        \
    X(LINK_LOST, "link-lost", "remote-connection-failed", 1011, "the connector process went away")                     \
    X(LINK_PROTO, "link-proto", "internal-server-error", 1011, "a bad message on the link")                            \
    X(LINK_VERSION, "link-version", "internal-server-error", 1011, "the link's two ends are of other versions")        \
    X(LINK_CREDIT, "link-credit", "internal-server-error", 1011, "the link's other end ignored its credit")            \
    X(DRAINING, "draining", "system-shutdown", 1001, "this process takes no new sessions")                             \
    X(KICKED, "kicked", "policy-violation", 1008, "ended by the operator")                                             \
    /* WebSocket */                                                                                                    \
    X(WS_HTTP, "ws-http", "bad-request", 1002, "a malformed WebSocket handshake")                                      \
    X(WS_HTTP_SIZE, "ws-http-size", "policy-violation", 1009, "a WebSocket handshake larger than the limit")           \
    X(WS_PROTOCOL, "ws-protocol", "bad-request", 1002, "a frame that RFC 6455 forbids")                                \
    X(WS_BINARY, "ws-binary", "bad-request", 1003, "a binary message")                                                 \
    X(WS_UTF8, "ws-utf8", "bad-request", 1007, "text that is not UTF-8")                                               \
    X(WS_SIZE, "ws-size", "policy-violation", 1009, "a message larger than websocket.max_message")                     \
    X(WS_SILENT, "ws-silent", NULL, 1001, "the client did not answer pings")                                           \
    X(WS_FLOOD, "ws-flood", "policy-violation", 1008, "control frames faster than they can be answered")               \
    X(FRAMING_HEADER, "framing-header", "bad-request", 1008, "an old <stream:stream> header instead of <open/>")       \
    X(FRAMING_ORDER, "framing-order", "bad-request", 1008, "something else before <open/>, or after <close/>")         \
    X(PROXY_HEADER, "proxy-header", "bad-request", 1002, "no PROXY protocol header, or a malformed one")               \
    X(SEE_OTHER_URI, "see-other-uri", "see-other-uri", 1001, "a plain session where bosh.see_other_uri wants another")

enum fail {
#define FAIL_ENUM(name, word, condition, code, text) FAIL_##name,
    FAIL_LIST(FAIL_ENUM)
#undef FAIL_ENUM
        FAIL_COUNT
};

/* Each function takes the cause as FAIL_X or -FAIL_X; an unknown number is taken for FAIL_INTERNAL. All strings are
 * static. */

/** The word of a cause, as it stands in logs and counters: "dns-timeout". */
const char *fail_word(int cause);
/** The BOSH condition (XEP-0124 17.2) of a cause, or NULL when the end is an ordinary one. */
const char *fail_condition(int cause);
/** The WebSocket close code (RFC 6455 7.4.1) of a cause. */
int fail_ws_code(int cause);
/** One sentence for the operator. */
const char *fail_text(int cause);

#endif
