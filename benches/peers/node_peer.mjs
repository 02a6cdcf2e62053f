// Node's http2 as a peer of `compare bulk`: node node_peer.mjs ROOT BLOCK [CERTIFICATE KEY]
// GET /bytes/N: N octets in pieces of 16 KiB out of memory. POST /count: the number of octets of the body.
// Anything else: a file below ROOT, by respondWithFile. Prints the address it listens on.
import fs from 'node:fs';
import http2 from 'node:http2';

const [root, blockFile, certificate, key] = process.argv.slice(2);
const CHUNK = 16384;
const block = fs.readFileSync(blockFile);
const period = block.length - CHUNK;

const bytes = (stream, total) => {
  stream.respond({ ':status': 200, 'content-type': 'application/octet-stream', 'content-length': total });
  let sent = 0;
  const more = () => {
    while (sent < total) {
      const at = sent % period;
      const size = Math.min(CHUNK, total - sent);
      sent += size;
      if (!stream.write(block.subarray(at, at + size))) {
        stream.once('drain', more);
        return;
      }
    }
    stream.end();
  };
  more();
};

const count = (stream) => {
  let octets = 0;
  stream.on('data', (piece) => { octets += piece.length; });
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'text/plain' });
    stream.end(`${octets}\n`);
  });
};

const answer = (stream, headers) => {
  const path = headers[':path'];
  stream.on('error', () => stream.destroy());
  if (path.startsWith('/bytes/')) bytes(stream, Number(path.slice('/bytes/'.length)));
  else if (path === '/count') count(stream);
  else stream.respondWithFile(root + path, { 'content-type': 'application/octet-stream' });
};

// At least as many streams a session as everybody else allows.
const options = { settings: { maxConcurrentStreams: 128 } };
const server = certificate
  ? http2.createSecureServer({ ...options, cert: fs.readFileSync(certificate), key: fs.readFileSync(key), minVersion: 'TLSv1.3' })
  : http2.createServer(options);
server.on('stream', answer);
server.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${server.address().port}`));
