// WebSocket (RFC 6455) over HTTP/1.1 by hand, on node:http: Node 20 has neither a client nor a server of it.
//
//     node websocket.js server             says `listening PORT`, echoes at /ws, refuses everywhere else
//     node websocket.js client URL [CA]    talks to an echo there; what it saw is the last line, in JSON
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const crypto = require('node:crypto');

const accept = key => crypto.createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

// One frame that is whole; a mask where a client sends it.
const frame = (opcode, payload, mask) => {
    const long = payload.length < 126 ? [] : payload.length < 65_536 ? [2, 126] : [8, 127];
    const length = Buffer.alloc(long[0] ?? 0);
    if (length.length === 2) length.writeUInt16BE(payload.length);
    if (length.length === 8) length.writeBigUInt64BE(BigInt(payload.length));
    const head = Buffer.from([0x80 | opcode, (mask ? 0x80 : 0) | (long[1] ?? payload.length)]);
    const body = Buffer.from(payload);
    if (mask) body.forEach((octet, at) => { body[at] = octet ^ mask[at % 4]; });
    return Buffer.concat([head, length, ...(mask ? [mask] : []), body]);
};

// The frames on a socket, in order, wherever they are cut.
const frames = (socket, head, each) => {
    let held = head;
    const take = () => {
        for (;;) {
            if (held.length < 2) return;
            const masked = (held[1] & 0x80) !== 0, short = held[1] & 0x7f;
            const start = short === 126 ? 4 : short === 127 ? 10 : 2;
            if (held.length < start) return;
            const length = short === 126 ? held.readUInt16BE(2) : short === 127 ? Number(held.readBigUInt64BE(2)) : short;
            const from = start + (masked ? 4 : 0);
            if (held.length < from + length) return;
            const payload = Buffer.from(held.subarray(from, from + length)), mask = held.subarray(start, from);
            if (masked) payload.forEach((octet, at) => { payload[at] = octet ^ mask[at % 4]; });
            const opcode = held[0] & 0x0f;
            held = held.subarray(from + length);
            each({ opcode, masked, payload });
        }
    };
    socket.on('data', chunk => { held = Buffer.concat([held, chunk]); take(); });
    take();
};

const serve = () => {
    const server = http.createServer((request, response) => {
        response.writeHead(200, { 'content-type': 'text/plain' });
        response.end(`${request.method} ${request.headers.upgrade ?? 'no upgrade'}`);
    });
    server.on('upgrade', (request, socket, head) => {
        socket.on('error', () => {});
        if (request.url !== '/ws') return socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno\n');
        const offered = request.headers['sec-websocket-protocol']?.split(/ *, */)[0];
        socket.write(['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: upgrade',
            `sec-websocket-accept: ${accept(request.headers['sec-websocket-key'])}`,
            ...(offered ? [`sec-websocket-protocol: ${offered}`] : []), '', ''].join('\r\n'));
        frames(socket, head, ({ opcode, masked, payload }) => {
            if (!masked) return socket.destroy();
            socket.write(frame(opcode === 9 ? 10 : opcode, payload));
            if (opcode === 8) socket.end();
        });
        socket.on('close', () => console.log('tunnel closed'));
    });
    server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
    process.stdin.on('end', () => process.exit(0)).resume();
};

const ask = (url, ca, headers) => new Promise((resolve, reject) => {
    const { protocol } = new URL(url);
    const options = { headers, ...(ca ? { ca: fs.readFileSync(ca) } : {}), agent: false };
    const request = (protocol === 'https:' ? https : http).get(url, options);
    request.on('error', reject);
    request.on('response', response => {
        const chunks = [];
        response.on('data', chunk => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(chunks).toString() }));
    });
    request.on('upgrade', (response, socket, head) => resolve({ status: response.statusCode, response, socket, head }));
});

const talk = async (url, ca) => {
    const key = crypto.randomBytes(16).toString('base64');
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key };
    const { status, response, socket, head } = await ask(`${url}/ws`, ca,
        { ...upgrade, 'sec-websocket-protocol': 'chat, other' });
    const heard = [], waiting = [];
    frames(socket, head, one => waiting.length > 0 ? waiting.shift()(one) : heard.push(one));
    const next = () => heard.length > 0 ? Promise.resolve(heard.shift()) : new Promise(resolve => waiting.push(resolve));
    const closed = new Promise(resolve => socket.on('close', resolve));
    const echoed = async (opcode, payload) => {
        socket.write(frame(opcode, payload, crypto.randomBytes(4)));
        return next();
    };
    const sizes = [];
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 3_000_000]) {
        const payload = crypto.randomBytes(size), back = await echoed(2, payload);
        if (back.payload.equals(payload) && back.opcode === 2 && !back.masked) sizes.push(size);
    }
    const text = await echoed(1, Buffer.from('hällo'));
    const pong = await echoed(9, Buffer.from('ping'));
    const bye = await echoed(8, Buffer.from([0x03, 0xe8]));
    await closed;
    const refused = await ask(`${url}/elsewhere`, ca, upgrade);
    const plain = await ask(`${url}/ws`, ca, {});
    console.log(JSON.stringify({
        status, accepted: response.headers['sec-websocket-accept'] === accept(key),
        protocol: response.headers['sec-websocket-protocol'], sizes, text: text.payload.toString(),
        pong: [pong.opcode, pong.payload.toString()], bye: bye.payload.readUInt16BE(0),
        refused: [refused.status, refused.body], plain: [plain.status, plain.body],
    }));
};

const [, , mode, url, ca] = process.argv;
if (mode === 'server') serve();
else talk(url, ca).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
