// The HTTP cache tests of cache-tests.fyi: as their origin, and as their client.
//
// `run.mjs PLACE origin` prints its port and ends with its input. What its client says fails,
// is a 503: a cache for the day that every server fails gives away nothing but then.
//
// `run.mjs PLACE ask BASE ORIGIN [failing]` runs all tests through BASE and prints as JSON the
// suite's own results and which answers were kept ones. With `failing` the origin fails for each
// answer that the suite expects from a cache, or asks a cache not to give.
//
// The number of a request goes in `x-request-id`, which belongs to one exchange: in a field of
// its own it would make every request another question.

import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'

const [place, role, base, direct, mode] = process.argv.slice(2)
const suite = name => import(pathToFileURL(`${place}/node_modules/${name}`))

async function origin () {
  const handle = {}
  for (const name of ['config', 'state', 'test']) {
    handle[name] = (await suite(`http-cache-tests/server/handle-${name}.mjs`)).default
  }
  const failing = new Set()
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname.split('/').slice(1)
    const what = path.shift()
    if (what === 'fail') {
      failing.add(path[0])
      return response.end()
    }
    const number = request.headers['x-request-id']
    if (what === 'test' && failing.has(`${path[0]}-${number}`)) {
      response.statusCode = 503
      return response.end('out of order')
    }
    request.headers['req-num'] = number
    what in handle ? handle[what](path, request, response) : response.end('well')
  })
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.stdin.on('end', () => process.exit()).resume()
}

async function ask () {
  const { runTests, getResults } = await suite('http-cache-tests/client/runner.mjs')
  const { default: fetch } = await suite('node-fetch/lib/index.mjs')
  const { default: tests } = await suite('http-cache-tests/tests/index.mjs')
  const kept = []
  const known = {}
  for (const set of tests) for (const test of set.tests) known[test.id] = test

  async function through (url, init) {
    const what = url.slice(base.length).split(/[/?]/)
    // What the suite tells its origin is no cache's business.
    if (what[1] !== 'test') return fetch(direct + url.slice(base.length), init)
    const fields = Object.fromEntries(init.headers.map(([name, value]) => [name.toLowerCase(), value]))
    const number = Number(fields['req-num'])
    const test = known[fields['test-id']]
    const config = test.requests[number - 1]
    const last = number > 1 && !config.setup
    if (mode === 'failing' && last) await fetch(`${direct}/fail/${what[2]}-${number}`)
    const headers = init.headers.filter(([name]) => name.toLowerCase() !== 'req-num')
    headers.push(['x-request-id', String(number)])
    const response = await fetch(url, { ...init, headers })
    if (response.headers.get('x-switchback-reason') === 'cache') {
      kept.push([test.id, number, config.expected_type ?? 'any', test.kind ?? 'required'])
    }
    return response
  }

  await runTests(tests, through, false, base, 110)
  const kinds = Object.fromEntries(Object.values(known).map(test => [test.id, test.kind ?? 'required']))
  console.log(JSON.stringify({ results: getResults(), kinds, kept: kept.sort() }))
}

await (role === 'origin' ? origin() : ask())
