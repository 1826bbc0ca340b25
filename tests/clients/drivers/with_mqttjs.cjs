// MQTT.js: the same requests as in serve.py, which explains them.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const mqtt = require('mqtt')

const SCHEMES = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' }
const connections = new Map()

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function toProperties (wanted) {
  if (!wanted) return undefined
  const userProperties = {}
  for (const [name, value] of wanted.user) userProperties[name] = (userProperties[name] || []).concat(value)
  return {
    userProperties,
    responseTopic: wanted.response_topic,
    correlationData: Buffer.from(wanted.correlation, 'base64'),
    contentType: wanted.content_type
  }
}

function fromProperties (properties = {}) {
  const told = {}
  if (properties.userProperties) {
    told.user = Object.entries(properties.userProperties).flatMap(([name, values]) =>
      [values].flat().map((value) => [name, value]))
  }
  if (properties.responseTopic) told.response_topic = properties.responseTopic
  if (properties.correlationData) told.correlation = properties.correlationData.toString('base64')
  if (properties.contentType) told.content_type = properties.contentType
  return told
}

function options (request) {
  const five = request.version === 5
  return {
    protocolVersion: request.version,
    clientId: request.client_id,
    clean: request.clean,
    username: request.user,
    password: request.password,
    will: request.will || undefined,
    ca: fs.readFileSync(request.ca),
    keepalive: request.keep_alive,
    reconnectPeriod: 0,
    resubscribe: false,
    properties: five ? { sessionExpiryInterval: request.expiry } : undefined
  }
}

function connect (request) {
  const { name } = request
  const path = ['ws', 'wss'].includes(request.transport) ? request.path : ''
  const url = `${SCHEMES[request.transport]}://${request.host}:${request.port}${path}`
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(url, options(request))
    const connection = { client, leaving: false, code: null }
    connections.set(name, connection)
    client.on('connect', (connack) => resolve({ session_present: connack.sessionPresent }))
    client.on('error', (error) => {
      // What a connection that stands throws shows itself in its end.
      if (!client.connected) connection.leaving = true
      reject(error)
    })
    client.on('disconnect', (packet) => { connection.code = packet.reasonCode ?? null })
    client.on('close', () => {
      reject(new Error('closed'))
      if (!connection.leaving) say({ event: 'closed', name, code: connection.code })
      connection.leaving = true
    })
    client.on('message', (topic, payload, packet) => say({
      event: 'message',
      name,
      topic,
      payload: payload.toString('base64'),
      qos: packet.qos,
      retain: packet.retain,
      properties: fromProperties(packet.properties)
    }))
  })
}

const verbs = {
  connect,
  async subscribe ({ name, filter, qos }) {
    const granted = await connections.get(name).client.subscribeAsync(filter, { qos })
    return { granted: granted[0].qos }
  },
  async unsubscribe ({ name, filter }) {
    await connections.get(name).client.unsubscribeAsync(filter)
  },
  async publish ({ name, topic, payload, qos, retain, properties }) {
    const wanted = toProperties(properties)
    await connections.get(name).client.publishAsync(topic, Buffer.from(payload, 'base64'), {
      qos, retain, ...(wanted && { properties: wanted })
    })
  },
  async disconnect ({ name }) {
    const connection = connections.get(name)
    connection.leaving = true
    await connection.client.endAsync()
    connections.delete(name)
  }
}

const requests = readline.createInterface({ input: process.stdin })
requests.on('line', async (line) => {
  const request = JSON.parse(line)
  try {
    say({ id: request.id, ok: true, ...(await verbs[request.do](request)) })
  } catch (error) {
    say({ id: request.id, ok: false, error: String(error), code: error.code ?? null })
  }
})
requests.on('close', () => process.exit(0))
