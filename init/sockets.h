/* sockets: what the supervisor opens before it starts anybody: the run directory, its lock, listening sockets, the
 * configuration's memfd. */
#ifndef INIT_SOCKETS_H
#define INIT_SOCKETS_H

#include "common/conf.h"

#include <stddef.h>
#include <sys/types.h>

/** Who the workers will run as: conf user when we are root, else ourselves. 0, or -1 after a message on stderr. */
int sockets_user(const struct conf *c, uid_t *uid, gid_t *gid);
/** Makes run_dir if it is missing, checks that the workers can enter it, and locks run_dir/holdline.pid: a second
 * holdline on it is refused. The directory and the lock stay ours. Returns the lock's fd or -1 after a message. */
int sockets_run_dir(const struct conf *c, uid_t uid, gid_t gid);
/** Writes our pid into the lock file. */
void sockets_write_pid(int lock);
/** A listening TCP socket (non-blocking, close-on-exec); "::" takes IPv4 too. fd or -1 after a message that names
 * `what`. */
int sockets_tcp(const char *address, int port, const char *what);
/** The listening Unix socket of a connector, mode 0600, owned by uid. fd or -1 after a message. */
int sockets_unix(const struct conf *c, unsigned instance, uid_t uid, gid_t gid);
/** The whole text of the file in a sealed memfd. fd or -1 after a message. */
int sockets_conf(const char *file);

#endif
