/* options: the command line of holdline. */
#ifndef INIT_OPTIONS_H
#define INIT_OPTIONS_H

#include <stdbool.h>

struct options {
    const char *config; /* file name */
    bool daemon;
    bool test;
    bool manual; /* --print-settings: the settings as manual page source, for the build */
};

/** Reads the command line. -1: go on; otherwise the exit status (help, version: 0; usage error: 64). */
int options_parse(int argc, char **argv, struct options *o);

#endif
