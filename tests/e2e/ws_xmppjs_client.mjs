// One xmpp.js connection with stream management, driven as strophe_client.mjs is. See ws_clients.py.

import readline from 'node:readline';
import { webcrypto } from 'node:crypto';
import WebSocket from 'ws';

globalThis.crypto ??= webcrypto;
globalThis.WebSocket = WebSocket;

const { client, xml } = await import('@xmpp/client');

const say = (object) => process.stdout.write(JSON.stringify(object) + '\n');
for (const level of ['log', 'debug', 'info', 'warn', 'error'])
    console[level] = (...words) => say({ event: 'log', level, text: words.join(' ') });

const status = (name, condition) => say({ event: 'status', status: name, condition: condition ?? null });
let xmpp;

function listen() {
    const sm = xmpp.streamManagement;
    xmpp.reconnect.stop(); // the test says when
    xmpp.on('online', () => status('online'));
    xmpp.on('disconnect', () => status('disconnect'));
    xmpp.on('offline', () => status('offline'));
    xmpp.on('error', (error) => status('error', error.condition ?? error.code ?? String(error)));
    sm.on('resumed', () => status('resumed'));
    sm.on('fail', (stanza) => status('failed', String(stanza)));
    xmpp.on('send', (element) => {
        if (element.name === 'auth') status('auth', element.attrs.mechanism);
    });
    xmpp.on('stanza', (stanza) => {
        const body = stanza.is('message') && stanza.getChildText('body');
        if (body) say({ event: 'message', from: stanza.attrs.from, body });
    });
}

const chat = (to, text) => xml('message', { to, type: 'chat', id: 'm' + text }, xml('body', {}, text));
const happens = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

const ops = {
    // Done when the server has answered <enable/> too.
    async connect({ service, jid, password }) {
        const [bare, resource] = jid.split('/');
        const [username, domain] = bare.split('@');
        xmpp = client({ service, domain, username, password, resource, timeout: 30000 });
        listen();
        await xmpp.start();
        for (let i = 0; i < 3000 && !xmpp.streamManagement.enabled; i++)
            await new Promise((resolve) => setTimeout(resolve, 10));
    },
    session: () => ({
        jid: xmpp.jid?.toString(),
        status: xmpp.status,
        enabled: xmpp.streamManagement.enabled,
        id: xmpp.streamManagement.id,
        unacknowledged: xmpp.streamManagement.outbound_q.length,
    }),
    // Done when the server has sent it back: from then on messages to the bare JID come here.
    presence: () =>
        new Promise((resolve, reject) => {
            const self = xmpp.jid.toString();
            const seen = (stanza) => {
                if (!stanza.is('presence') || stanza.attrs.from !== self) return;
                xmpp.off('stanza', seen);
                resolve();
            };
            xmpp.on('stanza', seen);
            xmpp.send(xml('presence')).catch(reject);
        }),
    async messages({ to, from, count, batch = 25 }) {
        for (let i = from; i < from + count; i += batch) {
            const numbers = Array.from({ length: Math.min(batch, from + count - i) }, (_, k) => String(i + k));
            await Promise.all(numbers.map((number) => xmpp.send(chat(to, number))));
            await new Promise((resolve) => setTimeout(resolve, 1));
        }
    },
    send: ({ to, body }) => xmpp.send(chat(to, body)),
    async roster() {
        return String(await xmpp.iqCaller.request(xml('iq', { type: 'get' }, xml('query', 'jabber:iq:roster'))));
    },
    async rosterSet({ jid, name }) {
        const query = xml('query', 'jabber:iq:roster', xml('item', { jid, name }));
        return String(await xmpp.iqCaller.request(xml('iq', { type: 'set' }, query)));
    },
    // The line breaks in the middle of sending: no <close/>, no close frame; what is still on its way is lost.
    async cut({ to, from, count }) {
        const gone = happens(xmpp, 'disconnect');
        const sent = Array.from({ length: count ?? 0 }, (_, k) => xmpp.send(chat(to, String(from + k))));
        await Promise.allSettled(sent);
        xmpp.socket.socket.terminate();
        await gone;
    },
    // Done when the stream has been resumed, or a new one has been started in its place.
    async reconnect() {
        const done = Promise.race([happens(xmpp.streamManagement, 'resumed'), happens(xmpp, 'online')]);
        await xmpp.reconnect.reconnect();
        await done;
    },
    async disconnect() {
        await xmpp.stop();
    },
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const command = JSON.parse(line);
    try {
        say({ id: command.id, result: (await ops[command.op](command)) ?? null });
    } catch (error) {
        say({ id: command.id, error: String(error?.stack ?? error) });
    }
}).on('close', () => process.exit(0));
say({ event: 'ready', node: process.version });
