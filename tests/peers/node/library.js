// Node's client at a server made with the library: node library.js SCENARIO SITE [CA].
'use strict';
const { wait, follow, ask, main } = require('./common.js');

// What is pushed with a page, each to its end.
const pushes = async (session, page) => {
    const all = [];
    session.on('stream', (stream, head, flags) => all.push(follow(stream).then(seen => ({
        path: head[':path'], method: head[':method'], authority: head[':authority'], id: stream.id % 2,
        heads: seen.heads, body: seen.body.toString(), type: seen.head['content-type'], trailers: seen.trailers,
        code: seen.code, error: seen.error,
    }))));
    const seen = await ask(session, { ':path': page });
    return { page: [seen.heads, seen.body.toString(), seen.code], pushed: await Promise.all(all) };
};

const page = async session => {
    const { heads, body, code, error } = await ask(session, { ':path': '/page' });
    return { heads, body: body.toString(), code, error };
};

main({
    push: { act: session => pushes(session, '/page') },
    unwanted: { options: { settings: { enablePush: false } }, act: page },
    refusal: {
        async act(session) {
            session.on('stream', stream => { stream.on('error', () => {}).resume().close(8); });
            const refused = await page(session);
            // Resets are read in order: with this answer they are counted.
            const after = await ask(session, { ':path': '/informational' });
            return { refused, after: after.heads };
        },
    },
    services: {
        async act(session) {
            const services = [], origins = [];
            session.on('altsvc', (service, origin, stream) => services.push([service, origin, stream]));
            session.on('origin', named => origins.push(named));
            const seen = await ask(session, { ':path': '/services' });
            return { services, origins, set: session.originSet, body: seen.body.toString() };
        },
    },
    settings: {
        options: { settings: { customSettings: { 61602: 43 } }, remoteCustomSettings: [61601] },
        async act(session) {
            const [first] = await wait(session, 'remoteSettings');
            const changed = wait(session, 'remoteSettings');
            const seen = await ask(session, { ':path': '/settings' });
            const [second] = await changed;
            return { first, second, said: JSON.parse(seen.body) };
        },
    },
    goaway: {
        async act(session) {
            const told = wait(session, 'goaway');
            const seen = await ask(session, { ':path': '/goaway' });
            const [code, last, opaque] = await told;
            return { code, last, opaque: opaque.toString(), heads: seen.heads, body: seen.body.toString() };
        },
    },
    failure: {
        async act(session) {
            const ended = wait(session, 'close').catch(() => {});
            const told = new Promise(resolve => session.once('goaway', (code, last, opaque) =>
                resolve([code, `${opaque}`])));
            const seen = await ask(session, { ':path': '/failure' });
            await ended;
            return { told: await told, error: seen.error, heads: seen.heads };
        },
    },
    ping: {
        async act(session) {
            const heard = wait(session, 'ping');
            const seen = await ask(session, { ':path': '/ping' });
            return { heard: (await heard)[0].toString(), said: seen.body.toString() };
        },
    },
    informational: {
        async act(session) {
            const stream = session.request({ ':path': '/informational' }), hints = [];
            let continued = 0;
            stream.on('continue', () => continued++);
            stream.on('headers', head => hints.push(head['x-hint']));
            const seen = await follow(stream);
            return { heads: seen.heads, continued, hints };
        },
    },
    resets: {
        async act(session) {
            const all = [];
            for (const code of [1, 2, 3, 7, 8, 11, 13]) {
                const { heads, error, body, code: seen } = await ask(session, { ':path': `/reset/${code}` });
                all.push([code, seen, heads, error, body.toString()]);
            }
            return { all };
        },
    },
});
