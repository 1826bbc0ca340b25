#!/usr/bin/env node
// Serves MQTT on the loopback port it is given, or says which Aedes it is.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

if (process.argv[2] === '--version') {
  const about = new URL('node_modules/aedes/package.json', import.meta.url)
  console.log(`aedes ${JSON.parse(readFileSync(about)).version}, Node.js ${process.version}`)
} else {
  const broker = await Aedes.createBroker({ maxClientsIdLength: 256 })
  createServer({ noDelay: true }, broker.handle).listen(Number(process.argv[2]), '127.0.0.1', 4096)
}
