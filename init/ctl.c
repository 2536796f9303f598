/* holdlinectl: the operator's command, a client of the status endpoint. */
#include "common/conf.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    EXIT_OK = 0,
    EXIT_UNHEALTHY = 1,
    EXIT_USAGE = 64,
    EXIT_UNREACHABLE = 69,
    EXIT_CONFIG = 78,
    ANSWER_MAX = 16 << 20
};

static const char usage[] =
    "Usage: holdlinectl [-c FILE | -s ADDRESS:PORT] COMMAND\n"
    "\n"
    "  status   print the state and all counters (JSON)\n"
    "  health   say whether all workers are up; exit status 0 or 1\n"
    "\n"
    "  -c, --config FILE       find the status endpoint there (default " HOLDLINE_SYSCONF "/holdline.yaml)\n"
    "  -s, --status HOST:PORT  or name it\n"
    "  -v, --version           print the version\n"
    "  -h, --help              print this\n";

struct target {
    char host[256], port[16];
};

static int
dial(const struct target *t)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    struct timeval patience = {.tv_sec = 5};
    int r = getaddrinfo(t->host, t->port, &hints, &list);
    if (r != 0) {
        fprintf(stderr, "holdlinectl: %s: %s\n", t->host, gai_strerror(r));
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    }
    if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) < 0) {
        fprintf(stderr, "holdlinectl: cannot reach the status endpoint at %s port %s: %s; is holdline running?\n",
            t->host, t->port, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

/* The whole answer to a GET, terminated; NULL after a message. */
static char *
fetch(const struct target *t, const char *path)
{
    size_t len = 0, cap = 65536;
    ssize_t n = 0;
    int fd = dial(t);
    if (fd < 0)
        return NULL;
    char *text = malloc(cap);
    dprintf(fd, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, t->host);
    while (text != NULL && (n = read(fd, text + len, cap - len - 1)) > 0) {
        len += (size_t)n;
        if (cap - len > 1)
            continue;
        char *grown = cap >= ANSWER_MAX ? NULL : realloc(text, cap * 2);
        if (grown == NULL)
            break;
        text = grown;
        cap *= 2;
    }
    close(fd);
    if (text == NULL || n != 0) {
        fputs("holdlinectl: the status endpoint did not answer in full\n", stderr);
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

static int
run(const struct target *t, const char *command)
{
    bool health = strcmp(command, "health") == 0;
    if (!health && strcmp(command, "status") != 0) {
        fprintf(stderr, "holdlinectl: unknown command: %s\nTry holdlinectl --help.\n", command);
        return EXIT_USAGE;
    }
    char *text = fetch(t, health ? "/healthz" : "/status");
    if (text == NULL)
        return EXIT_UNREACHABLE;
    const char *body = strstr(text, "\r\n\r\n");
    bool good = strncmp(text, "HTTP/1", 6) == 0 && strstr(text, " 200 ") == text + 8;
    fputs(body == NULL ? text : body + 4, stdout);
    if (body != NULL && body[4] != '\0' && body[strlen(body) - 1] != '\n')
        putchar('\n');
    free(text);
    return good ? EXIT_OK : health ? EXIT_UNHEALTHY : EXIT_UNREACHABLE;
}

static int
from_config(const char *file, struct target *t)
{
    struct conf_errors errors = {NULL, 0, 0};
    struct conf *c = conf_load(file, &errors);
    if (c == NULL) {
        fputs(errors.text == NULL ? "holdlinectl: no memory\n" : errors.text, stderr);
        conf_errors_free(&errors);
        return EXIT_CONFIG;
    }
    snprintf(t->host, sizeof t->host, "%s", c->status.address);
    snprintf(t->port, sizeof t->port, "%d", c->status.port);
    conf_free(&c);
    return EXIT_OK;
}

static int
from_argument(const char *arg, struct target *t)
{
    const char *colon = strrchr(arg, ':');
    if (colon == NULL || colon == arg || colon[1] == '\0') {
        fprintf(stderr, "holdlinectl: --status %s: ADDRESS:PORT is wanted, e.g. 127.0.0.1:5290\n", arg);
        return EXIT_USAGE;
    }
    bool brackets = arg[0] == '[' && colon[-1] == ']';
    snprintf(t->host, sizeof t->host, "%.*s", (int)(colon - arg) - (brackets ? 2 : 0), arg + (brackets ? 1 : 0));
    snprintf(t->port, sizeof t->port, "%s", colon + 1);
    return EXIT_OK;
}

int
main(int argc, char **argv)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'},
        {"status", required_argument, NULL, 's'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *file = HOLDLINE_SYSCONF "/holdline.yaml", *endpoint = NULL;
    struct target t;
    int c;
    while ((c = getopt_long(argc, argv, "c:s:vh", names, NULL)) != -1) {
        if (c == 'c') {
            file = optarg;
        } else if (c == 's') {
            endpoint = optarg;
        } else if (c == 'v') {
            puts("holdlinectl " HOLDLINE_VERSION);
            return EXIT_OK;
        } else if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        } else {
            fputs("Try holdlinectl --help.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    int r = endpoint != NULL ? from_argument(endpoint, &t) : from_config(file, &t);
    return r != EXIT_OK ? r : run(&t, argv[optind]);
}
