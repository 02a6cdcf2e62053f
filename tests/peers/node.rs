//! Node's http2 client: the engine behind it is nghttp2, the vocabulary the one this project grew from.

use crate::support::Gateway;
use crate::support::peers::{find, stdout};

/// Uploads, downloads, trailers, pings, parallel streams, an abort and a clean goodbye, then a line of JSON.
const SCRIPT: &str = r"
const http2 = require('node:http2'), fs = require('node:fs'), crypto = require('node:crypto');
const [, site, ca] = process.argv;
const session = http2.connect(site, ca ? { ca: fs.readFileSync(ca) } : {});
session.on('error', error => { console.error(error); process.exit(1); });
const ask = (head, body) => new Promise((resolve, reject) => {
    const stream = session.request(head), chunks = [], seen = {};
    stream.on('response', head => seen.status = head[':status']);
    stream.on('trailers', trailers => seen.trailers = trailers['x-octets']);
    stream.on('data', chunk => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => resolve({ ...seen, body: Buffer.concat(chunks) }));
    stream.end(body);
});
const big = Buffer.alloc(3 << 20, 'stagedoor');
(async () => {
    const settings = await new Promise(resolve => session.once('remoteSettings', resolve));
    const ping = await new Promise((resolve, reject) =>
        session.ping((error, time) => error ? reject(error) : resolve(time)));
    const echo = await ask({ ':method': 'POST', ':path': '/echo' }, big);
    const sum = await ask({ ':method': 'POST', ':path': '/sha256' }, big);
    const trailers = await ask({ ':path': '/trailers', te: 'trailers' });
    const many = await Promise.all(Array.from({ length: 100 }, (_, n) => ask({ ':path': `/bytes/${n}` })));
    const code = await new Promise(resolve => {
        const stream = session.request({ ':path': '/drip?bytes=1M&rate=1k' });
        stream.on('response', () => stream.close(http2.constants.NGHTTP2_CANCEL));
        stream.on('close', () => resolve(stream.rstCode));
    });
    const fallen = await new Promise(resolve => {
        const stream = session.request({ ':path': '/panic?after=1000' });
        stream.on('error', error => resolve(error.code));
        stream.resume();
    });
    const alive = await ask({ ':path': '/status/204' });
    await new Promise(resolve => session.close(resolve));
    console.log(JSON.stringify({
        streams: settings.maxConcurrentStreams, connect: settings.enableConnectProtocol, ping: ping > 0,
        echo: echo.body.equals(big), sum: sum.body.toString().trim() ===
            crypto.createHash('sha256').update(big).digest('hex'),
        trailers: trailers.trailers, many: many.every((answer, n) => answer.body.length === n), code, fallen,
        alive: alive.status,
    }));
})().catch(error => { console.error(error); process.exit(1); });
";

#[test]
fn node_finds_every_part_of_its_vocabulary() {
    let Some(node) = find("node") else { return };
    let gateway = Gateway::start();
    let ca = gateway.process.ca_pem();
    let tls = format!("https://localhost:{}", gateway.public.port());
    for (site, ca) in [(format!("http://{}", gateway.plain), ""), (tls, ca.to_str().unwrap())] {
        let said = stdout(&node, &["-e", SCRIPT, &site, ca]);
        let said: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
        let expected = serde_json::json!({
            "streams": 128, "connect": true, "ping": true, "echo": true, "sum": true, "trailers": "42",
            "many": true, "code": 8, "fallen": "ERR_HTTP2_STREAM_ERROR", "alive": 204,
        });
        assert_eq!(said, expected, "{site}");
    }
}
