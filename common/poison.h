/* poison: included before every file by the build. Functions that have cost others their buffers do not compile. */
#ifndef COMMON_POISON_H
#define COMMON_POISON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok

#endif
