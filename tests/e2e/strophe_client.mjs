// One Strophe.js connection, driven over standard input and output, a line of JSON each way. See strophe.py.
//
// in:  {"id": 1, "op": "connect", ...}
// out: {"id": 1, "result": ...} or {"id": 1, "error": "..."}, and {"event": "status" | "message" | "log", ...}

import http from 'node:http';
import https from 'node:https';
import readline from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { webcrypto } from 'node:crypto';
import xhr2 from 'xhr2';

// What a browser gives and node does not (before Strophe is loaded, which looks for it).
globalThis.crypto ??= webcrypto;

const storage = new Map();
globalThis.sessionStorage = {
    getItem: (key) => storage.get(key) ?? null,
    setItem: (key, value) => void storage.set(key, String(value)),
    removeItem: (key) => void storage.delete(key),
};

xhr2.nodejsSet({
    httpAgent: new http.Agent({ keepAlive: true }),
    httpsAgent: new https.Agent({ keepAlive: true }),
});
globalThis.XMLHttpRequest = class extends xhr2 {
    get responseXML() {
        if (this.readyState !== 4 || !this.responseText) return null;
        return new DOMParser().parseFromString(this.responseText, 'text/xml');
    }
};

const { Strophe, $msg, $pres, $iq } = await import('strophe.js');

const say = (object) => process.stdout.write(JSON.stringify(object) + '\n');
const statusName = Object.fromEntries(Object.entries(Strophe.Status).map(([name, code]) => [code, name]));

// Standard output is the line to the test: whatever the libraries print goes there as an event.
for (const level of ['log', 'debug', 'info', 'warn', 'error'])
    console[level] = (...words) => say({ event: 'log', level, text: words.join(' ') });
Strophe.setLogLevel(Strophe.LogLevel.WARN);

const mechanisms = { 'SCRAM-SHA-1': Strophe.SASLSHA1, 'SCRAM-SHA-256': Strophe.SASLSHA256 };
let conn;
let rid = null; // of the request whose answer Strophe is working through

function onStatus(status, condition) {
    say({ event: 'status', status: statusName[status], condition: condition ?? null });
}

function onMessage(message) {
    const body = message.getElementsByTagName('body')[0];
    if (body) say({ event: 'message', from: message.getAttribute('from'), body: body.textContent, rid });
    return true;
}

function open(service, options = {}) {
    conn = new Strophe.Connection(service, options);
    conn._dataRecv = (answer, raw) => {
        rid = answer.rid ?? null; // over WebSocket there is none
        Object.getPrototypeOf(conn)._dataRecv.call(conn, answer, raw);
    };
    conn.addHandler(onMessage, null, 'message');
}

const text = (element) => (element ? Strophe.serialize(element) : null);

function sendIq(builder) {
    return new Promise((resolve) => {
        conn.sendIQ(builder, (e) => resolve(text(e)), (e) => resolve(e ? text(e) : 'timeout'), 20000);
        conn.flush();
    });
}

const ops = {
    connect({ service, jid, password, mechanism, keepalive, wait }) {
        open(service, { keepalive: Boolean(keepalive), mechanisms: mechanism && [mechanisms[mechanism]] });
        conn.connect(jid, password, onStatus, wait);
    },
    restore({ service, saved, jid }) {
        for (const [key, value] of Object.entries(saved)) storage.set(key, value);
        open(service, { keepalive: true });
        conn.restore(jid, onStatus);
    },
    attach({ service, jid, sid, rid }) {
        open(service);
        conn.attach(jid, sid, rid, onStatus);
    },
    saved: () => Object.fromEntries(storage),
    session: () => ({ jid: conn.jid, sid: conn._proto.sid, rid: conn._proto.rid, window: conn._proto.window }),
    // Done when the server has sent it back: from then on messages to the bare JID come here.
    presence: () =>
        new Promise((resolve) => {
            conn.addHandler(() => resolve(), null, 'presence', null, null, conn.jid);
            conn.send($pres());
            conn.flush();
        }),
    async messages({ to, from, count, batch = 25 }) {
        for (let i = from; i < from + count; i++) {
            conn.send($msg({ to, type: 'chat', id: 'm' + i }).c('body').t(String(i)));
            if ((i + 1) % batch === 0) {
                conn.flush();
                await delay(1);
            }
        }
        conn.flush();
    },
    send({ to, body }) {
        conn.send($msg({ to, type: 'chat' }).c('body').t(body));
        conn.flush();
    },
    roster: () => sendIq($iq({ type: 'get' }).c('query', { xmlns: 'jabber:iq:roster' })),
    rosterSet: ({ jid, name }) =>
        sendIq($iq({ type: 'set' }).c('query', { xmlns: 'jabber:iq:roster' }).c('item', { jid, name })),
    // Strophe's own pause: stanzas are gathered and leave in one request.
    hold: () => void conn.pause(),
    release() {
        conn.resume();
        conn.flush();
    },
    // XEP-0124 10: Strophe leaves this request to the application; it goes out through Strophe's own queue.
    pause: ({ length }) =>
        new Promise((resolve) => {
            const proto = conn._proto;
            conn.pause();
            proto._buildBody = () => Object.getPrototypeOf(proto)._buildBody.call(proto).attrs({ pause: length });
            proto._no_auth_received((request) => resolve(request.xhr.responseText));
            delete proto._buildBody;
        }),
    disconnect: ({ reason }) => void conn.disconnect(reason),
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const command = JSON.parse(line);
    try {
        say({ id: command.id, result: (await ops[command.op](command)) ?? null });
    } catch (error) {
        say({ id: command.id, error: String(error) });
    }
}).on('close', () => process.exit(0));
say({ event: 'ready', node: process.version });
