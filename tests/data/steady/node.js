// A server with objects to look at: `node.js MEGABYTES` prints its port and answers every GET.
'use strict';
const http = require('http');

const kept = [];
for (let i = 0; i < Number(process.argv[2]) * 1000; i++) {
  kept.push({ name: 'row ' + i, numbers: new Array(110).fill(i) });
}

const server = http.createServer((request, response) => {
  let sum = 0;
  for (let i = 0; i < 200; i++) sum += kept[i].name.length;
  response.end(String(sum));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
