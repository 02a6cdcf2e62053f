// Node's server for our client: node server.js OPTIONS [KEY CERTIFICATE]. Says `listening PORT`, then runs until it is
// killed or its input ends. The path says what is done.
'use strict';
const http2 = require('node:http2');
const fs = require('node:fs');
const crypto = require('node:crypto');

const [, , options, key, cert] = process.argv;
const tls = key ? { key: fs.readFileSync(key), cert: fs.readFileSync(cert) } : {};
const server = http2[key ? 'createSecureServer' : 'createServer']({ ...JSON.parse(options), ...tls });

const octets = length => Buffer.from(Uint8Array.from({ length }, (_, at) => at * 31 + (at >> 8)));
const running = { now: 0, peak: 0 };

const paths = {
    // What arrived, in JSON.
    plain(stream, head, method) {
        stream.respond({ ':status': 200, 'x-method': method, 'set-cookie': ['a=1', 'b=2'], 'x-empty': '' });
        if (method === 'HEAD') return stream.end();
        const chunks = [];
        stream.on('data', chunk => chunks.push(chunk));
        stream.on('end', () => stream.end(JSON.stringify({ ...head, body: Buffer.concat(chunks).toString() })));
    },
    status(stream, head, code) { stream.respond({ ':status': Number(code) }, { endStream: true }); },
    bytes(stream, head, length) { stream.respond(); stream.end(octets(Number(length))); },
    sha256(stream) {
        const digest = crypto.createHash('sha256');
        stream.on('data', chunk => digest.update(chunk));
        stream.on('end', () => { stream.respond(); stream.end(digest.digest('hex')); });
    },
    echo(stream) {
        let trailers = {};
        stream.on('trailers', fields => { trailers = fields; });
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ ...trailers, 'x-seen': Object.keys(trailers).length }));
        stream.pipe(stream);
    },
    early(stream) {
        for (const status of [100, 102, 103]) stream.additionalHeaders({ ':status': status, 'x-hint': `${status}` });
        stream.respond();
        stream.end('after three');
    },
    push(stream) {
        const resource = (path, send) => new Promise((resolve, reject) => stream.pushStream({ ':path': path },
            (error, pushed) => {
                if (error) return reject(error);
                pushed.on('error', () => {});
                pushed.on('close', () => console.log(`pushed ${path} ${pushed.rstCode}`));
                send(pushed);
                resolve();
            }));
        if (!stream.pushAllowed) { stream.respond(); return stream.end('no push'); }
        Promise.all([
            resource('/style.css', pushed => { pushed.respond({ 'content-type': 'text/css' }); pushed.end('css'); }),
            resource('/big', pushed => { pushed.respond(); pushed.end(octets(1 << 20)); }),
            resource('/gone', pushed => { pushed.respond({ ':status': 404 }, { endStream: true }); }),
        ]).then(() => { stream.respond(); stream.end('page'); });
    },
    // RST_STREAM before the head, or in the middle of the body.
    reset(stream, head, when, code) {
        stream.on('error', () => {});
        // Without an error destroy() says NO_ERROR, close(0) would end the body in good order.
        const cut = () => Number(code) === 0 ? stream.destroy() : stream.close(Number(code));
        if (when === 'before') return cut();
        stream.respond();
        stream.write('half');
        // More than fits the window: what cannot be sent cannot be ended in good order either.
        stream.write(octets(1 << 20));
        setImmediate(cut);
    },
    // GOAWAY on a session whose streams go on: this one, and those that wait in `held`.
    goaway(stream, head, code, last) {
        stream.respond();
        stream.write('begun', () => {
            stream.session.goaway(Number(code), Number(last), Buffer.from('words for people'));
            stream.resume();
            stream.on('end', () => stream.end(' and done'));
        });
    },
    close(stream) {
        stream.respond();
        stream.write('begun', () => {
            stream.session.close();
            stream.resume();
            stream.on('end', () => stream.end(' and done'));
        });
    },
    // Answers when the request has ended.
    held(stream) {
        stream.on('error', () => {});
        stream.resume();
        stream.on('end', () => { if (!stream.aborted) { stream.respond(); stream.end('held'); } });
    },
    ping(stream) {
        stream.session.ping(Buffer.from('from us!'), (error, time, payload) => {
            stream.respond();
            stream.end(`${error ?? payload} ${time > 0}`);
        });
    },
    // Whether a PING of the client's has arrived.
    pinged(stream) { stream.respond(); stream.end(`${stream.session.pinged}`); },
    settings(stream, head, settings) {
        stream.session.settings(JSON.parse(decodeURIComponent(settings)), (error, ours, time) => {
            stream.respond();
            stream.end(JSON.stringify({ error, time: time > 0, local: stream.session.localSettings,
                remote: stream.session.remoteSettings }));
        });
    },
    // How many of these ran at once at most.
    crowd(stream) {
        running.peak = Math.max(running.peak, ++running.now);
        setImmediate(() => {
            running.now--;
            stream.respond();
            stream.end(`${running.peak}`);
        });
    },
    calm(stream) { running.peak = 0; stream.respond(); stream.end('calm'); },
    tunnel(stream, head, method) {
        const known = method === 'CONNECT' && head[':protocol'] === 'echo';
        stream.respond({ ':status': known ? 200 : 501 }, { endStream: !known });
        if (known) stream.pipe(stream);
    },
    altsvc(stream) {
        stream.session.altsvc('h3=":8000"', stream.id);
        stream.session.altsvc('h2=":81"; ma=60', 'https://other.example:444');
        if (key) stream.session.origin('https://a.example', 'https://b.example:8443');
        stream.respond();
        stream.end('told');
    },
    destroy(stream, head, how) {
        stream.on('error', () => {});
        stream.respond();
        stream.write('half', () => how === 'socket'
            ? stream.session[Object.getOwnPropertySymbols(stream.session).find(({ description }) =>
                description === 'socket')].destroy()
            : stream.session.destroy(Number(how)));
    },
    refuse(stream) {
        stream.respond({ ':status': 413 });
        stream.end('too much', () => stream.close(http2.constants.NGHTTP2_NO_ERROR));
    },
};

server.on('session', session => {
    session.pinged = 0;
    session.on('ping', () => { session.pinged++; });
    session.on('goaway', (code, last, opaque) => console.log(`goaway ${code} ${opaque ?? ''}`));
    session.on('close', () => console.log('session closed'));
});
server.on('sessionError', error => console.log(`session error ${error.code}`));
server.on('stream', (stream, head) => {
    const [, name, ...args] = head[':path'].split('/');
    stream.on('aborted', () => console.log(`aborted ${head[':path']} ${stream.rstCode}`));
    if (!(name in paths)) return stream.respond({ ':status': 404 }, { endStream: true });
    paths[name](stream, head, ...args, head[':method']);
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
