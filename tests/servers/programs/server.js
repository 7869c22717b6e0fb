// An HTTP server of Node.
const http = require('http');
const server = http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 16 });
    response.end('hello from node\n');
});
server.listen(Number(process.argv[3]), process.argv[2]);
