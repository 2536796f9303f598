/* conf_read: from YAML text to struct conf, by the table. Internal to conf*.c. */
#ifndef COMMON_CONF_READ_H
#define COMMON_CONF_READ_H

#include "conf.h"
#include "conf_report.h"

/** Reads the text into *c, which is all zero. What is wrong goes to the report, and then *c is only good for freeing.
 */
void conf_read(struct conf *c, const char *text, size_t len, struct conf_report *r);

/** Whether the text is YAML of the kind that is read: one document without aliases, anchors, tags and deep nesting
 * (conf_scan.c). If not, the report says where. */
bool conf_scan(const char *text, size_t len, struct conf_report *r);

/** Checks between settings (conf_check.c). Nothing that failed to be read may be relied on. */
void conf_check(const struct conf *c, struct conf_report *r);
/** Whether the files that it names can be read. */
void conf_check_files(const struct conf *c, struct conf_report *r);

#endif
