/* reload: what SIGHUP does: the files of tls.certificates are read again, with our rights, and go to the workers, which
 * have none any more. The rest of the configuration stays as it is. */
#ifndef INIT_RELOAD_H
#define INIT_RELOAD_H

#include "children.h"
#include "common/conf.h"

/** Reads every file of conf tls.certificates and sends all of them to the workers that serve clients. When one cannot
 * be read, a log line names it and nothing is sent. When the configuration file `c->conf_name` is not what c->conf_fd
 * holds any more, a log line says that this changes nothing. */
void reload_certificates(struct children *c, const struct conf *conf);

#endif
