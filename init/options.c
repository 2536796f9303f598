#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: holdline [-c FILE] [-d | -n] [-t]\n"
    "XMPP connection manager: BOSH and WebSocket for web clients, TCP to XMPP servers.\n"
    "\n"
    "  -c, --config FILE  configuration (default " HOLDLINE_SYSCONF "/holdline.yaml)\n"
    "  -d, --daemon       run in the background; returns when ready\n"
    "  -n, --nodaemon     run in the foreground (the default)\n"
    "  -t, --test         check the configuration, print it with all defaults, and exit\n"
    "  -v, --version      print the version\n"
    "  -h, --help         print this\n"
    "\n"
    "SIGTERM and SIGINT end it in good order: sessions get system-shutdown. A second SIGINT ends it at once.\n"
    "SIGHUP: the files of tls.certificates are read again; nobody is disconnected.\n";

int
options_parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'},
        {"daemon", no_argument, NULL, 'd'},
        {"nodaemon", no_argument, NULL, 'n'},
        {"test", no_argument, NULL, 't'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"print-settings", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    int c;
    memset(o, 0, sizeof *o);
    o->config = HOLDLINE_SYSCONF "/holdline.yaml";
    while ((c = getopt_long(argc, argv, "c:dntvh", names, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->config = optarg;
            break;
        case 'd':
            o->daemon = true;
            break;
        case 'n':
            o->daemon = false;
            break;
        case 't':
            o->test = true;
            break;
        case 'p':
            o->manual = true;
            break;
        case 'v':
            puts("holdline " HOLDLINE_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs("Try holdline --help.\n", stderr);
            return 64;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "holdline: unexpected argument: %s\nTry holdline --help.\n", argv[optind]);
        return 64;
    }
    return -1;
}
