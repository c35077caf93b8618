// A server whose Prometheus page tells V8's own heap; speaks by lines on stdin and stdout.
"use strict";

const http = require("node:http");
const readline = require("node:readline");

const kept = [];

const server = http.createServer((_request, response) => {
  response.end(`nodejs_heap_size_used_bytes ${process.memoryUsage().heapUsed}\n`);
});

server.listen(0, "127.0.0.1", () => {
  console.log(server.address().port);
  console.log("ready");
});

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const numbers = Number(line.replace("grow ", "")) / 8;
  for (let made = 0; made < numbers; made += 1000) {
    kept.push(Array.from({ length: 1000 }, (_value, i) => i + 0.5));
  }
  console.log("grown");
});
