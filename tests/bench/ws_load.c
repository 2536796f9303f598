/** Load generator for any XMPP server with WebSocket: see bench_load.h. `ws_load [options] ADDRESS:PORT/PATH` */
#include "bench_framing.h"
#include "bench_load.h"

int
main(int argc, char **argv)
{
    return bench_load(argc, argv, &bench_framing_kind);
}
