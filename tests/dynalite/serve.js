// Serves dynalite, in memory, on a loopback port of its own choosing: prints the port, and ends when stdin does, so that
// no test, however it dies, leaves one behind. Arguments: how many ms a new table is CREATING, and an old one DELETING.
'use strict'

const [createTableMs, deleteTableMs] = process.argv.slice(2).map(Number)
const server = require('dynalite')({ createTableMs, deleteTableMs })
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit(0)).resume()
