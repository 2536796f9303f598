#include "glob.h"

static char
lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* One place to go back to is enough: the last star can take over whatever an earlier one took. */
bool
glob_match(const char *pattern, const char *text, size_t len)
{
    const char *end = text + len;
    const char *star = NULL;
    const char *back = NULL;

    while (text != end) {
        if (*pattern == '*') {
            star = ++pattern;
            back = text;
        } else if (*pattern != '\0' && (*pattern == '?' || lower(*pattern) == lower(*text))) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}
