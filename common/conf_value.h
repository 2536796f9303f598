/* conf_value: what strings of the configuration may be. Internal to conf*.c.
 *
 * Each check returns NULL, or what the value must be.
 */
#ifndef COMMON_CONF_VALUE_H
#define COMMON_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>

const char *conf_value_user(const char *value);
/** An absolute file name. */
const char *conf_value_file(const char *value);
/** A directory in which Unix sockets have room for their names (108 bytes in all). */
const char *conf_value_run_dir(const char *value);
/** The path part of a URL. */
const char *conf_value_url_path(const char *value);
const char *conf_value_not_empty(const char *value);
const char *conf_value_address(const char *value);
const char *conf_value_network(const char *value);
/** An IP address, with a port or not. */
const char *conf_value_resolver(const char *value);
/** host[:port], an IPv6 address in brackets. */
const char *conf_value_server(const char *value);

/** An http, https, ws or wss URL in the characters of a URL (RFC 3986), with a host. */
const char *conf_value_url(const char *value);
/** A link relation (RFC 8288 2.1): a name or a URI. */
const char *conf_value_rel(const char *value);

/** How far two words are from each other: insertions, deletions, replacements, swaps of neighbours. Long words give 99.
 */
int conf_value_distance(const char *a, const char *b);

#endif
