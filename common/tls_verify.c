#include "tls_verify.h"

#include "fail.h"

#include <gnutls/x509-ext.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* The text of an SRVName (RFC 4985: an IA5String), if it is one of XMPP's client services for that domain. */
static bool
srv_name_is(const gnutls_datum_t *der, const char *domain)
{
    static const char *const services[] = {"_xmpp-client.", "_xmpps-client."};
    const size_t domain_len = strlen(domain);

    if (der->size < 2 || der->data[0] != 0x16 || der->data[1] > 127 || der->size != 2U + der->data[1]) {
        return false;
    }
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        size_t n = strlen(services[i]);
        const char *text = (const char *)der->data + 2;

        if (der->data[1] == n + domain_len && strncasecmp(text, services[i], n) == 0 &&
            strncasecmp(text + n, domain, domain_len) == 0) {
            return true;
        }
    }
    return false;
}

/* One otherName of a certificate against the domain: XmppAddr (RFC 6120 13.7.1.4) or SRVName. */
static bool
other_name_is(const gnutls_datum_t *oid, const gnutls_datum_t *value, const char *domain)
{
    gnutls_datum_t text = {NULL, 0};
    unsigned kind = 0;
    bool same = false;

    if (strcmp((const char *)oid->data, "1.3.6.1.5.5.7.8.7") == 0) {
        return srv_name_is(value, domain);
    }
    if (gnutls_x509_othername_to_virtual((const char *)oid->data, value, &kind, &text) < 0) {
        return false;
    }
    same = kind == GNUTLS_SAN_OTHERNAME_XMPP && text.size == strlen(domain) &&
           strncasecmp((const char *)text.data, domain, text.size) == 0;
    gnutls_free(text.data);
    return same;
}

/* Whether an XMPP name of the certificate is the domain; up to three of its DNS names go to `seen` for the log. */
static bool
xmpp_name_is(gnutls_x509_crt_t crt, const char *domain, char *seen, size_t size)
{
    gnutls_datum_t extension = {NULL, 0}, name, oid;
    gnutls_subject_alt_names_t names = NULL;
    unsigned critical, kind, shown = 0;
    bool found = false;
    size_t o = 0;

    seen[0] = '\0';
    if (gnutls_x509_crt_get_extension_by_oid2(crt, "2.5.29.17", 0, &extension, &critical) < 0 ||
        gnutls_subject_alt_names_init(&names) < 0 ||
        gnutls_x509_ext_import_subject_alt_names(&extension, names, 0) < 0) {
        goto out;
    }
    for (unsigned i = 0; !found && gnutls_subject_alt_names_get(names, i, &kind, &name, &oid) == 0; i++) {
        if (kind == GNUTLS_SAN_OTHERNAME) {
            found = other_name_is(&oid, &name, domain);
        } else if (kind == GNUTLS_SAN_DNSNAME && shown < 3 && o < size) {
            o += (size_t)snprintf(seen + o, size - o, "%s%.*s", shown++ ? ", " : "", (int)name.size, (char *)name.data);
        }
    }
out:
    if (names) {
        gnutls_subject_alt_names_deinit(names);
    }
    gnutls_free(extension.data);
    return found;
}

static __attribute__((format(printf, 3, 4))) int
refuse(char **words, int cause, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (vasprintf(words, format, args) < 0) {
        *words = NULL;
    }
    va_end(args);
    return -cause;
}

/* The chain is good, the DNS names are not. */
static int
check_names(const char *domain, gnutls_x509_crt_t crt, char **words)
{
    char seen[200], common[100];
    size_t size = sizeof common;

    if (xmpp_name_is(crt, domain, seen, sizeof seen)) {
        return 0;
    }
    if (seen[0] == '\0' && gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, common, &size) == 0) {
        snprintf(seen, sizeof seen, "%s", common);
    }
    return refuse(words, FAIL_TLS_NAME, "the certificate is for %s, not for %s", seen[0] ? seen : "no name", domain);
}

static int
explain_dates(gnutls_x509_crt_t crt, char **words)
{
    const time_t now = time(NULL), from = gnutls_x509_crt_get_activation_time(crt),
                 to = gnutls_x509_crt_get_expiration_time(crt);
    char when[32] = "";
    struct tm tm;

    if (gmtime_r(from > now ? &from : &to, &tm)) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    if (from > now) {
        return refuse(words, FAIL_TLS_EXPIRED, "the certificate is not valid before %s", when);
    }
    if (to < now) {
        return refuse(words, FAIL_TLS_EXPIRED, "the certificate expired at %s", when);
    }
    return refuse(words, FAIL_TLS_EXPIRED, "a certificate of the issuer is expired or not yet valid");
}

static int
explain(const char *domain, unsigned status, gnutls_x509_crt_t crt, char **words)
{
    const unsigned dates = GNUTLS_CERT_EXPIRED | GNUTLS_CERT_NOT_ACTIVATED, name = GNUTLS_CERT_UNEXPECTED_OWNER;
    gnutls_datum_t text = {NULL, 0};
    int r;

    if ((status & ~(dates | name | GNUTLS_CERT_INVALID)) == 0) {
        if (status & dates) {
            return explain_dates(crt, words);
        }
        if (status & name) {
            return check_names(domain, crt, words);
        }
    }
    gnutls_certificate_verification_status_print(status & ~name, GNUTLS_CRT_X509, &text, 0);
    while (text.size > 0 && text.data[text.size - 1] == ' ') {
        text.data[--text.size] = '\0';
    }
    r = refuse(words, FAIL_TLS_UNTRUSTED, "%s", text.data ? (const char *)text.data : "not trusted");
    gnutls_free(text.data);
    return r;
}

int
tls_verify_peer(gnutls_session_t session, const char *name, char **words)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_SERVER;
    char *domain = strdup(name); /* the library wants it writable */
    gnutls_typed_vdata_st data[2] = {{.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)domain},
        {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)purpose}};
    const gnutls_datum_t *chain;
    gnutls_x509_crt_t crt = NULL;
    unsigned status = 0, count = 0;
    int r;

    *words = NULL;
    r = domain ? gnutls_certificate_verify_peers(session, data, 2, &status) : GNUTLS_E_MEMORY_ERROR;
    if (r == 0 && status == 0) {
        goto out;
    }
    chain = gnutls_certificate_get_peers(session, &count);
    if (r >= 0 && chain && count > 0) {
        r = gnutls_x509_crt_init(&crt);
        r = r < 0 ? r : gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER);
    } else if (r >= 0) {
        r = GNUTLS_E_NO_CERTIFICATE_FOUND;
    }
    r = r < 0 ? refuse(words, FAIL_TLS_UNTRUSTED, "%s", gnutls_strerror(r)) : explain(domain, status, crt, words);
out:
    if (crt) {
        gnutls_x509_crt_deinit(crt);
    }
    free(domain);
    return r;
}
