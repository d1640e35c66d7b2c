// SPDX-License-Identifier: Apache-2.0
// What a user would write: Node's own HTTP server, with a WebSocket by hand (RFC 6455), as there are no packages inside.
const crypto = require('crypto');
const http = require('http');

const server = http.createServer((request, response) => {
	if (request.url === '/pipe') {
		request.pipe(response);
		return;
	}
	if (request.url === '/trailers') {
		response.writeHead(200, { Trailer: 'X-Sum', 'Set-Cookie': 'a=b' });
		response.write('body');
		response.addTrailers({ 'X-Sum': '1' });
		response.end();
		return;
	}
	response.writeHead(200, { 'Content-Type': 'application/json' });
	response.end(JSON.stringify({ url: request.url, method: request.method, headers: request.headers }));
});

server.on('upgrade', (request, socket, head) => {
	const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
	// A message of the server's in the same write as the head.
	socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSet-Cookie: a=b\r\n\r\n\x81\x05hello`, 'latin1');
	socket.on('error', () => {});
	socket.write(head);
	socket.pipe(socket);
});

server.listen(Number(process.argv[2]), '127.0.0.1');
