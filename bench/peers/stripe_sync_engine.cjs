// Serves `@supabase/stripe-sync-engine` by Node's own HTTP server: nothing between the socket and `processWebhook`.
// The package is found beside this file, which is copied into the environment it was installed in. It is loaded as
// CommonJS: as a module of the newer kind it does not find its own migrations.
const http = require('node:http')
const { StripeSync, runMigrations } = require('@supabase/stripe-sync-engine')

const databaseUrl = process.env.PEER_DATABASE_URL
const sync = new StripeSync({
  poolConfig: { connectionString: databaseUrl, max: 10 },
  stripeSecretKey: 'sk_test_' + '0'.repeat(24),
  stripeWebhookSecret: process.env.PEER_WEBHOOK_SECRET,
  stripeApiVersion: '2026-08-26.dahlia',
})

const answer = (response, status, body) => {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) })
  response.end(body)
}

const server = http.createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', async () => {
    try {
      await sync.processWebhook(Buffer.concat(parts), request.headers['stripe-signature'])
      answer(response, 200, '{"received":true}')
    } catch (error) {
      console.error(error)
      answer(response, 400, '{"received":false}')
    }
  })
})

runMigrations({ databaseUrl, schema: 'stripe' }).then(() =>
  server.listen(Number(process.env.PEER_HTTP_PORT), '127.0.0.1'),
)
