// Node's client at the demo of `stagedoor serve`: node client.js SCENARIO SITE [CA].
'use strict';
const { http2, crypto, wait, sha256, follow, ask, told, main } = require('./common.js');
const { NGHTTP2_CANCEL } = http2.constants;

const big = Buffer.alloc(20 << 20);
for (let at = 0; at < big.length; at += 4) big.writeUInt32LE((at * 2654435761) >>> 0, at);

main({
    methods: {
        async act(session) {
            const get = await ask(session, { ':path': '/bytes/26' });
            const head = await ask(session, { ':method': 'HEAD', ':path': '/bytes/26' });
            const post = await ask(session, { ':method': 'POST', ':path': '/echo' }, { body: 'hello' });
            const empty = await ask(session, { ':method': 'POST', ':path': '/echo' });
            const nothing = await ask(session, { ':path': '/status/204' });
            const missing = await ask(session, { ':path': '/nowhere' });
            const refused = await ask(session, { ':method': 'DELETE', ':path': '/echo' });
            const cookies = await ask(session, { ':path': '/headers', cookie: ['a=1', 'b=2'], 'x-twice': ['1', '2'] });
            return {
                get: [get.heads, get.body.toString(), get.head['content-length'], typeof get.head.date],
                head: [head.heads, head.body.length, head.head['content-length']],
                post: [post.heads, post.body.toString()], empty: [empty.heads, empty.body.length],
                nothing: [nothing.heads, nothing.body.length], missing: missing.heads,
                refused: [refused.heads, refused.head.allow], fields: cookies.body.toString(),
                codes: [get, head, post, empty, nothing, missing, refused].map(({ code, error }) => error ?? code),
            };
        },
    },
    trailers: {
        async act(session) {
            const down = await ask(session, { ':path': '/trailers', te: 'trailers' });
            const stream = session.request({ ':method': 'POST', ':path': '/echo', trailer: 'x-sum' },
                { waitForTrailers: true });
            stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc', 'x-more': ['1', '2'] }));
            const done = follow(stream);
            stream.write('one ');
            stream.end('two');
            const up = await done;
            const alone = session.request({ ':method': 'POST', ':path': '/echo' }, { waitForTrailers: true });
            alone.on('wantTrailers', () => alone.sendTrailers({ 'x-alone': 'yes' }));
            const bare = follow(alone);
            alone.end();
            return {
                down: [down.trailers['x-octets'], down.trailers['x-checksum'] === sha256(down.body), down.code],
                up: [up.body.toString(), up.trailers['x-sum'], up.trailers['x-more'], up.head.trailer, up.code],
                bare: [(await bare).body.length, (await bare).trailers['x-alone']],
            };
        },
    },
    hints: {
        async act(session) {
            const stream = session.request({ ':path': '/hints' });
            const early = wait(stream, 'headers').then(([head]) => head);
            const whole = await follow(stream);
            return { heads: whole.heads, link: (await early).link, same: whole.head.link === (await early).link,
                body: whole.body.length > 0 };
        },
    },
    aborts: {
        async act(session) {
            const abort = new AbortController();
            const signalled = session.request({ ':path': '/drip?bytes=1M&rate=1k' }, { signal: abort.signal });
            const closed = session.request({ ':path': '/drip?bytes=1M&rate=1k' });
            closed.once('response', () => closed.close(NGHTTP2_CANCEL));
            // close() would end the upload first, and the server might answer it.
            const upload = session.request({ ':method': 'POST', ':path': '/echo' }, { signal: abort.signal });
            upload.write('half');
            Promise.all([wait(signalled, 'response'), wait(upload, 'response')]).then(() => abort.abort());
            const ends = await Promise.all([signalled, closed, upload].map(follow));
            // Resets are read in order: with this answer all are counted.
            const after = await ask(session, { ':path': '/bytes/1' });
            return { errors_of: ends.map(({ error }) => error), codes: ends.map(({ code }) => code), after: after.heads };
        },
    },
    pings: {
        async act(session) {
            const payload = Buffer.from('12345678');
            const ping = (...of) => new Promise((resolve, reject) => session.ping(...of,
                (error, time, octets) => error ? reject(error) : resolve({ time, octets })));
            const own = await ping(payload), many = await Promise.all(Array.from({ length: 10 }, () => ping()));
            return { time: own.time > 0 && own.time < 60_000, same: own.octets.equals(payload),
                many: many.every(({ time }) => time > 0) };
        },
    },
    settings: {
        options: { settings: { enablePush: false, initialWindowSize: 100_000 } },
        async act(session) {
            const [remote] = await wait(session, 'remoteSettings');
            if (session.pendingSettingsAck) await wait(session, 'localSettings');
            const first = session.localSettings.initialWindowSize;
            const change = settings => new Promise((resolve, reject) => session.settings(settings,
                (error, ours, time) => error ? reject(error) : resolve({ ours, time })));
            const changed = await change({ initialWindowSize: 1, headerTableSize: 0, maxFrameSize: 20_000,
                enablePush: false });
            const pending = session.pendingSettingsAck;
            // Each octet of the answer needs a window of its own.
            const drops = await ask(session, { ':path': '/bytes/200' });
            await change({ initialWindowSize: 1 << 20, maxFrameSize: 1 << 20, headerTableSize: 65_536 });
            const flood = await ask(session, { ':path': '/bytes/1000000' });
            return { remote, first, changed: changed.ours.initialWindowSize, took: changed.time > 0, pending,
                drops: drops.body.length, flood: flood.body.length };
        },
    },
    websocket: {
        async act(session) {
            const [remote] = await wait(session, 'remoteSettings');
            const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws',
                'sec-websocket-version': '13' });
            const [head] = await wait(stream, 'response');
            const heard = [];
            stream.on('data', chunk => heard.push(chunk));
            const until = async count => {
                while (Buffer.concat(heard).length < count) await wait(stream, 'data');
                return Buffer.concat(heard);
            };
            const frame = (opcode, payload) => {
                const mask = crypto.randomBytes(4), masked = Buffer.from(payload);
                masked.forEach((octet, at) => { masked[at] = octet ^ mask[at % 4]; });
                return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, masked]);
            };
            stream.write(frame(1, Buffer.from('hello')));
            const echo = await until(7);
            heard.length = 0;
            stream.write(frame(9, Buffer.from('ping')));
            const pong = await until(6);
            heard.length = 0;
            stream.write(frame(8, Buffer.from([0x03, 0xe8])));
            const bye = await until(4);
            const closed = follow(stream);
            stream.end();
            return { offered: remote.enableConnectProtocol, status: head[':status'],
                echo: [echo[0], echo[1], echo.subarray(2).toString()],
                pong: [pong[0], pong.subarray(2).toString()], bye: [bye[0], bye.readUInt16BE(2)],
                code: (await closed).code };
        },
    },
    bulk: {
        // Node counts what waits to be sent, and refuses heads of answers above its limit of 10 MB.
        options: { settings: { initialWindowSize: 1 << 20 }, maxSessionMemory: 1000 },
        async act(session) {
            session.setLocalWindowSize(4 << 20);
            const [down, up, both] = await Promise.all([
                ask(session, { ':path': `/bytes/${big.length}` }),
                ask(session, { ':method': 'POST', ':path': '/sha256' }, { body: big }),
                ask(session, { ':method': 'POST', ':path': '/echo' }, { body: big }),
            ]);
            return { length: down.body.length, down: sha256(down.body),
                up: up.body.toString().trim() === sha256(big), both: both.body.equals(big) };
        },
    },
    reject: {
        options: { maxSessionMemory: 1000 },
        async act(session) {
            const all = await Promise.all([1, 2, 3].map(() =>
                ask(session, { ':method': 'POST', ':path': '/reject' }, { body: big })));
            const after = await ask(session, { ':path': '/bytes/1' });
            return {
                all: all.map(({ heads, body, error, code }) => [heads, body.toString(), error, code]),
                after: after.heads,
            };
        },
    },
    drain: {
        async act(session) {
            const goaways = [];
            session.on('goaway', (code, last) => goaways.push([code, last]));
            const closed = wait(session, 'close');
            const stream = session.request({ ':path': '/drip?bytes=300&rate=1000' });
            const done = follow(stream);
            await wait(stream, 'data');
            console.log('runs');
            await wait(session, 'goaway');
            let late = null;
            try { session.request({ ':path': '/' }).on('error', error => { late = error.code; }); } catch (error) {
                late = error.code;
            }
            const { heads, body, code, error } = await done;
            await closed;
            return { goaways: goaways.map(([code]) => code), last: goaways.at(-1)[1], late, heads, length: body.length,
                code, error };
        },
    },
    files: {
        async act(session) {
            const get = head => ask(session, { ':path': '/files/play.txt', ...head });
            const whole = await get({}), text = whole.body.toString(), etag = whole.head.etag;
            const [first, last, middle, beyond] = await Promise.all(
                ['bytes=0-9', 'bytes=-10', 'bytes=10-19', 'bytes=100000000-'].map(range => get({ range })));
            const same = await get({ 'if-none-match': etag });
            const changed = await get({ 'if-match': '"other"' });
            const stale = await get({ range: 'bytes=0-9', 'if-range': '"other"' });
            const head = await get({ ':method': 'HEAD' });
            const range = part => [part.heads[0], part.head['content-range'], part.body.toString()];
            const length = text.length;
            return {
                whole: [whole.heads[0], Number(whole.head['content-length']) === length, whole.head['accept-ranges']],
                parts: [
                    JSON.stringify(range(first)) === JSON.stringify([206, `bytes 0-9/${length}`, text.slice(0, 10)]),
                    JSON.stringify(range(last)) === JSON.stringify(
                        [206, `bytes ${length - 10}-${length - 1}/${length}`, text.slice(-10)]),
                    JSON.stringify(range(middle)) === JSON.stringify([206, `bytes 10-19/${length}`, text.slice(10, 20)]),
                ],
                beyond: [beyond.heads[0], beyond.head['content-range'] === `bytes */${length}`],
                same: [same.heads[0], same.body.length, same.head.etag === etag], changed: changed.heads[0],
                stale: [stale.heads[0], stale.body.length === length],
                head: [head.heads[0], head.body.length, Number(head.head['content-length']) === length],
            };
        },
    },
    expect: {
        async act(session) {
            const stream = session.request({ ':method': 'POST', ':path': '/sha256', expect: '100-continue' });
            stream.once('continue', () => stream.end('wanted'));
            const wanted = await follow(stream);
            const early = session.request({ ':method': 'POST', ':path': '/reject', expect: '100-continue' });
            early.once('response', () => early.end());
            const unwanted = await follow(early);
            const other = await ask(session, { ':method': 'POST', ':path': '/echo', expect: 'miracles' });
            return { wanted: [wanted.heads, wanted.body.toString().trim() === sha256('wanted')],
                unwanted: [unwanted.heads, unwanted.error], other: other.heads };
        },
    },
    queue: {
        async act(session) {
            const [{ maxConcurrentStreams: limit }] = await wait(session, 'remoteSettings');
            let answered = 0, full;
            const reached = new Promise(resolve => { full = resolve; });
            const streams = Array.from({ length: 200 }, () => session.request({ ':method': 'POST', ':path': '/echo' }));
            const ends = streams.map(follow);
            for (const stream of streams) stream.once('response', () => { if (++answered === limit) full(); });
            await reached;
            await new Promise(resolve => session.ping(resolve));
            const held = answered;
            streams.forEach((stream, number) => stream.end(`${number}`));
            const all = await Promise.all(ends);
            return { limit, held, answered,
                whole: all.every(({ body, code, error }, number) => body.toString() === `${number}` && !code && !error) };
        },
    },
    faults: {
        async act(session) {
            const fallen = await ask(session, { ':path': '/panic?after=1000' });
            const early = await ask(session, { ':path': '/panic' });
            const alive = await ask(session, { ':path': '/status/204' });
            return { fallen: [fallen.heads, fallen.error, fallen.code], early: early.heads, alive: alive.heads };
        },
    },
});
