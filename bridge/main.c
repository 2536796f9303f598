/* holdline-bridge: the WebSocket front end (RFC 6455, 7395). Its place in the house; the protocol is not part of this
 * version, and holdline does not start it: a configuration with websocket.listen is refused. */
#include <stdio.h>

int
main(void)
{
    fputs("holdline-bridge: WebSocket is not part of holdline " HOLDLINE_VERSION "; use BOSH\n", stderr);
    return 69;
}
