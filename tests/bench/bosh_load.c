/** Load generator for any BOSH server: see bench_load.h. `bosh_load [options] ADDRESS:PORT/PATH` */
#include "bench_bosh.h"
#include "bench_load.h"

int
main(int argc, char **argv)
{
    return bench_load(argc, argv, &bench_bosh_kind);
}
