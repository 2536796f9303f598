/* The configuration: any bytes give a configuration or messages, and what is printed parses to the same. */
#include "common/conf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text[2] = {NULL, NULL};
    struct conf_errors errors;
    struct conf *c = conf_parse("f", (const char *)data, size, &errors);

    for (int i = 0; i < 2 && c; i++) {
        size_t len;
        FILE *f = open_memstream(&text[i], &len);
        conf_print(c, f);
        fclose(f);
        conf_free(&c);
        c = conf_parse("f", text[i], len, &errors);
        assert(c && (i == 0 || strcmp(text[0], text[1]) == 0));
    }
    conf_free(&c);
    conf_errors_free(&errors);
    free(text[0]);
    free(text[1]);
    return 0;
}
