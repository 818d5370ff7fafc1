// Start kinesalite on the loopback interface only, which its own command line can't be told.
// Usage: node server.js PORT FOLDER

const kinesalite = require('kinesalite')

const [port, path] = process.argv.slice(2)
const options = { path, shardLimit: 100, createStreamMs: 20, deleteStreamMs: 20, updateStreamMs: 50 }
kinesalite(options).listen(Number(port), '127.0.0.1')

// It throws when a client is killed in the middle of a request, which no service does.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') throw error
})
