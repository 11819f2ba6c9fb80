# Reads "round peer row key value" lines and prints the comparison as a Markdown table:
# medians over the rounds with the smallest and the largest value, then Switchback's ratio
# to the best peer and to the floor. `peers` and `labels` are the columns, in order.

BEGIN {
  count = split(peers, column, " ")
  split(labels, label, "|")
}

{ value[$2, $3, $4, $1] = $5; if ($1 > rounds) rounds = $1 }

END {
  head = "| |"; rule = "|---|"
  for (c = 1; c <= count; c++) { head = head " " label[c] " |"; rule = rule "---|" }
  print head " Switchback / best peer | Switchback / floor |"
  print rule "---|---|"
  closedrow("get", "GET, 1 KB back")
  closedrow("chat", "chat-sized POST, 2 KB up, 1 KB back")
  closedrow("post64k", "POST 64 KB, small answer")
  line("one event of a stream: CPU µs", "sse", "cpu", 1, -1)
  line("one event of a stream: added p50 µs", "sse", "added50", 0, -1)
  line("one event of a stream: added p99 µs", "sse", "added99", 0, -1)
  closedrow("h2", "HTTP/2 prior knowledge, GET, 1 KB back")
  closedrow("grpc", "gRPC unary, 0.3 KB each way")
  closedrow("tls", "GET over TLS, kept alive")
  line("TLS handshake and a GET: CPU µs", "handshake", "cpu", 0, -1)
  line("TLS handshakes/s", "handshake", "rate", 0, 1)
  paced = "GET at " show(pace, 0) "/s"
  line(paced ": CPU µs a request", "paced", "cpu", 1, -1)
  line(paced ": added p50 µs", "paced", "added50", 0, -1)
  line(paced ": added p99 µs", "paced", "added99", 0, -1)
  line(paced ": added p99.9 µs", "paced", "added999", 0, -1)
  line("system calls a GET, full load", "calls", "full", 2, -1)
  line("system calls a GET, " show(pace, 0) "/s", "calls", "paced", 2, -1)
  line("memory at start, MB", "start", "memory", 1, -1)
  line("memory under load, MB", "get", "memory", 1, -1)
  line("KB an idle connection, of 1,000", "start", "idle1000", 2, -1)
  line("KB an idle connection, of " show(many, 0), "start", "idlemany", 2, -1)
  line("start to first answer, ms", "start", "first", 1, -1)
  line("binary, stripped, MB", "start", "binary", 1, -1)
  seen = "paced"
  split("tls h2 sse post64k chat get", asked, " ")
  for (r = 1; r in asked; r++) if ((column[1], asked[r], "answers", 1) in value) seen = asked[r]
  line("share that the canary served, %", seen, "share", 2, 0)
  line("strangers on the two cores meanwhile, %", seen, "others", 1, 0)
  gates()
}

function closedrow(row, name) {
  line(name ": CPU µs a request", row, "cpu", 1, -1)
  line(name ": user instructions a request", row, "instructions", 0, -1)
  line(name ": requests/s", row, "rate", 0, 1)
}

# One value of one round, or "" when it was not measured.
function one(peer, row, what, round) {
  if (what == "cpu") return over(peer, row, "cpu_ns", "answers", round, 1e-3)
  if (what == "rate") return over(peer, row, "answers", "window_us", round, 1e6)
  if (what == "share") return over(peer, row, "canary", "answers", round, 100)
  if (what == "others") return over(peer, row, "others_ns", "window_us", round, 0.05)
  if (what == "added50") return added(peer, row, "p50_ns", round)
  if (what == "added99") return added(peer, row, "p99_ns", round)
  if (what == "added999") return added(peer, row, "p999_ns", round)
  if (what == "full" || what == "paced") {
    return over(peer, row, "made_" what, "all_" what, round, 1)
  }
  if (what == "idle1000") return grown(peer, row, 1000, round)
  if (what == "idlemany") return grown(peer, row, many, round)
  if (what == "memory") return scaled(peer, row, "rss_kib", round, 1 / 1024)
  if (what == "first") return scaled(peer, row, "first_us", round, 1e-3)
  if (what == "binary") return scaled(peer, row, "bytes", round, 1e-6)
  if (what == "instructions") return scaled(peer, row, "instructions", round, 1)
}

function grown(peer, row, connections, round,    key) {
  key = "rss_" connections "_kib"
  if (!((peer, row, key, round) in value)) return ""
  return (value[peer, row, key, round] - value[peer, row, "rss_kib", round]) / connections
}

function over(peer, row, above, below, round, factor) {
  if (!((peer, row, above, round) in value) || value[peer, row, below, round] == 0) return ""
  return value[peer, row, above, round] / value[peer, row, below, round] * factor
}

function scaled(peer, row, key, round, factor) {
  return (peer, row, key, round) in value ? value[peer, row, key, round] * factor : ""
}

function added(peer, row, key, round) {
  if (!((peer, row, key, round) in value)) return ""
  return (value[peer, row, key, round] - value["direct", row, key, round]) / 1000
}

# Better is -1 when less is better, 1 when more is, 0 when there is no better.
function line(title, row, what, digits, better,    c, text, mid, best, ours, ground, any) {
  text = "| " title " |"
  best = ours = ground = ""
  for (c = 1; c <= count; c++) {
    mid = median(column[c], row, what)
    if (mid == "") { text = text " – |"; continue }
    any = 1
    text = text " " show(mid, digits)
    if (low != high) text = text " (" show(low, digits) "–" show(high, digits) ")"
    text = text " |"
    if (column[c] == "switchback") ours = mid
    else if (column[c] == "floor") ground = mid
    else if (best == "" || (better < 0 ? mid < best : mid > best)) best = mid
  }
  if (any) print text ratio(ours, best, better) ratio(ours, ground, better)
}

function ratio(ours, other, better) {
  if (better == 0 || ours == "" || other == "" || other <= 0) return " – |"
  return sprintf(" %.2f |", ours / other)
}

# The median of a peer's rounds; leaves the ends in `low` and `high`.
function median(peer, row, what,    n, r, i, x, sorted) {
  n = 0
  for (r = 1; r <= rounds; r++) {
    x = one(peer, row, what, r)
    if (x == "") continue
    for (i = n++; i > 0 && sorted[i] > x; i--) sorted[i + 1] = sorted[i]
    sorted[i + 1] = x
  }
  if (n == 0) return ""
  low = sorted[1]; high = sorted[n]
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function show(x, digits,    text) {
  text = sprintf("%." digits "f", x)
  if (digits > 0) return text
  while (match(text, /[0-9][0-9][0-9][0-9]($|,)/)) {
    text = substr(text, 1, RSTART) "," substr(text, RSTART + 1)
  }
  return text
}
