// A server that keeps a closure for every request: `remember` is guilty, `answer` only allocates.
'use strict';
const http = require('http');

const listeners = [];

function remember(request) {
  const body = 'x'.repeat(1000) + request;
  const rows = new Array(500).fill(request);
  listeners.push(() => body.length + rows.length);
}

function answer() {
  const rows = [];
  for (let i = 0; i < 200; i++) rows.push({ i, text: 'row ' + i });
  return rows.length;
}

const server = http.createServer((request, response) => {
  remember(listeners.length);
  response.end(String(answer()));
});

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, count] = line.split(' ');
  if (command !== 'grow') return;
  for (let i = 0; i < Number(count); i++) {
    remember(i);
    answer();
  }
  console.log('grown');
});
process.stdin.on('end', () => process.exit(0));

server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
