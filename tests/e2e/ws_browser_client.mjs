// Headless Chromium (Debian's) with a page that runs Strophe.js, driven as strophe_client.mjs is. See test_ws_browser.py.
//
// HOLDLINE_PAGE: JSON {directory, address, names, certificate}: an empty directory for the browser's profile, the
// loopback address that serves the page, {host name: address}, the certificate that is accepted for them.

import { createHash, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const setup = JSON.parse(process.env.HOLDLINE_PAGE);
const say = (object) => process.stdout.write(JSON.stringify(object) + '\n');
const log = (level, text) => say({ event: 'log', level, text: String(text) });

const files = {
    '/': ['text/html', new URL('ws_page.html', import.meta.url)],
    '/strophe.js': ['text/javascript', new URL('node_modules/strophe.js/dist/strophe.umd.min.js', import.meta.url)],
};
const server = http.createServer((request, response) => {
    const file = files[request.url];
    response.writeHead(file ? 200 : 404, { 'Content-Type': file ? file[0] : 'text/plain' });
    response.end(file ? fs.readFileSync(file[1]) : '');
});
await new Promise((resolve) => server.listen(0, setup.address, resolve));

const key = new X509Certificate(fs.readFileSync(setup.certificate)).publicKey.export({ type: 'spki', format: 'der' });
const rules = Object.entries(setup.names).map(([name, address]) => `MAP ${name} ${address}`);
const browser = await chromium.launchPersistentContext(setup.directory, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    chromiumSandbox: false,
    args: [
        '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync',
        `--host-resolver-rules=${[...rules, 'MAP * ~NOTFOUND', `EXCLUDE ${setup.address}`].join(', ')}`,
        `--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`,
    ],
});
await browser.exposeFunction('say', say);
let page;

async function open() {
    page = browser.pages()[0] ?? (await browser.newPage());
    page.on('pageerror', (error) => log('error', error));
    page.on('console', (message) => log(message.type(), message.text()));
    await page.goto(`http://${setup.address}:${server.address().port}/`);
}

const ops = {
    version: () => browser.browser()?.version() ?? page.evaluate(() => navigator.userAgent),
    chat: ({ method, words }) => page.evaluate(([name, ...rest]) => window.chat[name](...rest), [method, ...words]),
    reload: () => page.reload().then(() => null),
    leave: () => page.goto('about:blank').then(() => null),
};

await open();
readline.createInterface({ input: process.stdin }).on('line', async (line) => {
    const command = JSON.parse(line);
    try {
        say({ id: command.id, result: (await ops[command.op](command)) ?? null });
    } catch (error) {
        say({ id: command.id, error: String(error) });
    }
}).on('close', () => browser.close().finally(() => process.exit(0)));
say({ event: 'ready', node: process.version });
