#include "http_page.h"

/* After a change of the style: printf '%s' 'the style' | openssl dgst -sha256 -binary | base64 */
#define STYLE                                                                                                          \
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:38em;margin:4em auto;padding:0 1em;color:#223;"                \
    "background:#fcfcf9}h1{font-size:1.4em}code{background:#eee;padding:.1em .3em}"

const char http_page_policy[] = "default-src 'none'; "
                                "style-src 'sha256-+Etlt+WyGiX7nUHMwK8YjedsHNM436ua8xXKerqzrUc='; "
                                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const char http_page_html[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width\">"
    "<title>BOSH works here</title><style>" STYLE "</style></head>\n"
    "<body><h1>This is a BOSH service, and it works.</h1>\n"
    "<p>XMPP clients in web browsers reach their server through this address. There is nothing to read here: "
    "a client sends its requests with <code>POST</code>.</p>\n"
    "<p><strong>Setting up a client?</strong> Copy the address of this page from your browser and give it to the "
    "client as its <em>BOSH URL</em>, also called <em>HTTP binding</em>, <em>http-bind</em> or "
    "<em>BOSH service</em>.</p>\n"
    "<p>The protocol is described in <code>XEP-0124</code> and <code>XEP-0206</code>.</p>\n"
    "</body></html>\n";
