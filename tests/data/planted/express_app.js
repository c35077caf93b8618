// An Express application that keeps a closure for every request: "grow N" serves N of them through the same
// handler, and it serves HTTP beside that. It prints "ready <port>".
'use strict';
const express = require('express');

const app = express();
const listeners = [];

function subscribe(user) {
  const body = 'x'.repeat(1000) + user;
  const rows = new Array(500).fill(user);
  listeners.push(() => body.length + rows.length);
}

function handle(request, response) {
  subscribe(request.params.user);
  response.send(`${listeners.length} listeners`);
}

app.get('/feed/:user', handle);

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const count = Number(line.split(' ')[1]);
  for (let i = 0; i < count; i++) handle({ params: { user: i } }, { send() {} });
  console.log('grown');
});
process.stdin.on('end', () => process.exit(0));

const server = app.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
