// Loaded before a client (node --import): host names of the tests lead to their loopback addresses, so that the client
// sends them as Host and SNI and verifies certificates against them. HOLDLINE_NAMES is JSON: {"name": "127.a.b.c"}.

import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';

const names = JSON.parse(process.env.HOLDLINE_NAMES ?? '{}');
const lookup = dns.lookup;

dns.lookup = (name, options, callback) => {
    if (typeof options === 'function') return dns.lookup(name, {}, options);
    const address = names[name];
    if (!address) return lookup(name, options, callback);
    if (options.all) process.nextTick(callback, null, [{ address, family: 4 }]);
    else process.nextTick(callback, null, address, 4);
};
syncBuiltinESMExports();
