// What the clients among our scripts share. A script is a table of scenarios by name; the one that is asked for gets a
// session, and what it returns is printed as the last line, in JSON. Any error it does not expect ends it with 1.
'use strict';
const http2 = require('node:http2');
const fs = require('node:fs');
const crypto = require('node:crypto');
const readline = require('node:readline');

const wait = (emitter, name) => new Promise((resolve, reject) => {
    emitter.once(name, (...what) => resolve(what));
    if (name !== 'error') emitter.once('error', reject);
});

const sha256 = octets => crypto.createHash('sha256').update(octets).digest('hex');

// One request to its end: heads in order, octets, trailers, code and error.
const follow = stream => new Promise(resolve => {
    const seen = { heads: [], pushes: [], trailers: null, error: null, aborted: false }, chunks = [];
    stream.on('headers', head => seen.heads.push(head[':status']));
    stream.on('response', head => { seen.heads.push(head[':status']); seen.head = head; });
    stream.on('push', head => { seen.heads.push(head[':status']); seen.head = head; });
    stream.on('trailers', trailers => { seen.trailers = { ...trailers }; });
    stream.on('data', chunk => chunks.push(chunk));
    stream.on('aborted', () => { seen.aborted = true; });
    stream.on('error', error => { seen.error = error.code; });
    stream.on('close', () => resolve({ ...seen, body: Buffer.concat(chunks), code: stream.rstCode }));
});

const ask = (session, head, { body, options } = {}) => {
    const stream = session.request({ ':path': '/', ...head }, options);
    const done = follow(stream);
    stream.end(body);
    return done;
};

// Lines from whoever started us.
const lines = [], readers = [];
const listen = () => readline.createInterface({ input: process.stdin }).on('line', line =>
    readers.length > 0 ? readers.shift()(line) : lines.push(line));
const told = () => lines.length > 0 ? Promise.resolve(lines.shift())
    : new Promise(resolve => readers.push(resolve));

const run = async scenarios => {
    const [, , name, site, ca] = process.argv;
    const { options = {}, act } = scenarios[name];
    const trust = ca ? { ca: fs.readFileSync(ca) } : {};
    const session = http2.connect(site, { ...trust, ...options });
    const errors = [];
    session.on('error', error => errors.push(error.code));
    await wait(session, 'connect');
    const result = await act(session);
    // The callback of close() is never called when a GOAWAY came first; the event is.
    if (!session.destroyed) await new Promise(resolve => session.once('close', resolve).close());
    process.stdin.destroy();
    console.log(JSON.stringify({ ...result, errors }));
};

const main = scenarios => {
    listen();
    run(scenarios).catch(error => { console.error(error); process.exit(1); });
};

module.exports = { http2, crypto, wait, sha256, follow, ask, told, main };
