#include "conf.h"

#include "conf_read.h"
#include "conf_table.h"
#include "fail.h"
#include "xmpp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 1024 * 1024 };

static struct conf *
parse(const char *file, const char *text, size_t len, bool files, struct conf_errors *errors)
{
    struct conf_report report = {.file = file};
    struct conf *c = conf_new(1, sizeof *c);

    c->file = conf_strdup(file);
    if (len > FILE_MAX) {
        conf_report_at(&report, (struct conf_place){1, 1}, "", "the file is larger than 1 MiB");
    } else {
        conf_read(c, text, len, &report);
        conf_check(c, &report);
        if (files) {
            conf_check_files(c, &report);
        }
    }
    if (report.count != 0) {
        conf_free(&c);
    }
    conf_report_finish(&report, errors);
    return c;
}

struct conf *
conf_parse(const char *file, const char *text, size_t len, struct conf_errors *errors)
{
    return parse(file, text, len, false, errors);
}

/* One message about the file as a whole. */
static struct conf *
file_error(const char *file, const char *what, const char *why, struct conf_errors *errors)
{
    struct conf_report report = {.file = file};

    conf_report_at(&report, (struct conf_place){1, 1}, "", "%s: %s", what, why);
    conf_report_finish(&report, errors);
    return NULL;
}

static struct conf *load_fd(const char *file, int fd, bool files, struct conf_errors *errors);

static struct conf *
load(const char *file, bool files, struct conf_errors *errors)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct conf *c;

    if (fd < 0) {
        return file_error(file, "the file cannot be opened", strerror(errno), errors);
    }
    c = load_fd(file, fd, files, errors);
    close(fd);
    return c;
}

struct conf *
conf_load(const char *file, struct conf_errors *errors)
{
    return load(file, false, errors);
}

struct conf *
conf_load_for_start(const char *file, struct conf_errors *errors)
{
    return load(file, true, errors);
}

static struct conf *
load_fd(const char *file, int fd, bool files, struct conf_errors *errors)
{
    char *text = conf_new(FILE_MAX + 1, 1);
    struct conf *c;
    size_t len = 0;
    ssize_t n = 0;

    while (len <= FILE_MAX) {
        /* by offset, since the supervisor's file is read by several processes through one open file description */
        n = pread(fd, text + len, FILE_MAX + 1 - len, (off_t)len);
        if (n < 0 && errno == ESPIPE) {
            n = read(fd, text + len, FILE_MAX + 1 - len);
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    c = n < 0 ? file_error(file, "the file cannot be read", strerror(errno), errors)
              : parse(file, text, len, files, errors);
    free(text);
    return c;
}

struct conf *
conf_load_fd(const char *file, int fd, struct conf_errors *errors)
{
    return load_fd(file, fd, false, errors);
}

void
conf_errors_free(struct conf_errors *errors)
{
    if (errors) {
        free(errors->text);
        *errors = (struct conf_errors){0};
    }
}

static void
free_items(const struct conf_item *items, unsigned char *base)
{
    for (const struct conf_item *i = items; i->key; i++) {
        void *where = base + i->offset;

        if (i->type == CONF_SECTION) {
            free_items(i->fields, base);
        } else if (i->type == CONF_STRING) {
            free(*(char **)where);
        } else if (i->type == CONF_STRINGS) {
            struct conf_list *list = where;

            for (size_t k = 0; k < list->count; k++) {
                free(list->items[k]);
            }
            free(list->items);
        } else if (i->type == CONF_LIST || i->type == CONF_DOMAINS) {
            unsigned char *elements;
            size_t count;

            memcpy(&elements, where, sizeof elements);
            memcpy(&count, base + i->count_offset, sizeof count);
            for (size_t k = 0; k < count; k++) {
                free_items(i->fields, elements + k * i->size);
            }
            free(elements);
        }
    }
}

void
conf_free(struct conf **c)
{
    if (!c || !*c) {
        return;
    }
    for (size_t i = 0; i < (*c)->domain_count; i++) {
        free((*c)->domains[i].name);
    }
    free_items(conf_table, (unsigned char *)*c);
    free((*c)->file);
    free(*c);
    *c = NULL;
}

/* How well a name of the configuration fits a domain: 0 not at all, more is better. */
static size_t
fit(const char *name, const char *domain, size_t len)
{
    size_t n = strlen(name);

    if (strcmp(name, domain) == 0) {
        return SIZE_MAX;
    }
    if (n == 1) {
        return *name == '*';
    }
    if (name[0] == '*' && name[1] == '.' && len > n - 1 && strcmp(domain + len - (n - 1), name + 1) == 0) {
        return n;
    }
    return 0;
}

const struct conf_domain *
conf_route(const struct conf *c, const char *domain)
{
    const struct conf_domain *best = NULL;
    size_t len = strlen(domain), best_fit = 0;

    for (size_t i = 0; i < c->domain_count; i++) {
        size_t f = fit(c->domains[i].name, domain, len);

        if (f > best_fit) {
            best = &c->domains[i];
            best_fit = f;
        }
    }
    return best;
}

int
conf_serves(const struct conf *c, const char *domain)
{
    const struct conf_domain *d = conf_route(c, domain);

    if (!d) {
        return -FAIL_HOST_UNKNOWN;
    }
    return d->gone ? -FAIL_HOST_GONE : 0;
}
