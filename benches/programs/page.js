// A page of a kilobyte by the HTTP server of Node.
const http = require('http');
const body = 'x'.repeat(1024);
const server = http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    response.end(body);
});
server.listen(Number(process.argv[3]), process.argv[2]);
