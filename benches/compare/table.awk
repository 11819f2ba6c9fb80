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
  split("get chat post64k", closed, " ")
  name["get"] = "GET, 1 KB back"
  name["chat"] = "chat-sized POST, 2 KB up, 1 KB back"
  name["post64k"] = "POST 64 KB, small answer"
  for (r = 1; r <= 3; r++) {
    line(name[closed[r]] ": CPU µs a request", closed[r], "cpu", 1, -1)
    line(name[closed[r]] ": user instructions a request", closed[r], "instructions", 0, -1)
    line(name[closed[r]] ": requests/s", closed[r], "rate", 0, 1)
  }
  paced = "GET at " show(pace, 0) "/s"
  line(paced ": CPU µs a request", "paced", "cpu", 1, -1)
  line(paced ": added p50 µs", "paced", "added50", 0, -1)
  line(paced ": added p99 µs", "paced", "added99", 0, -1)
  line("memory at start, MB", "start", "memory", 1, -1)
  line("KB an idle connection", "start", "idle", 2, -1)
  line("start to first answer, ms", "start", "first", 1, -1)
  line("binary, stripped, MB", "start", "binary", 1, -1)
  seen = "paced"
  for (r = 3; r >= 1; r--) if ((column[1], closed[r], "answers", 1) in value) seen = closed[r]
  line("share that the canary served, %", seen, "share", 2, 0)
  line("strangers on the two cores meanwhile, %", seen, "others", 1, 0)
}

# One value of one round, or "" when it was not measured.
function one(peer, row, what, round) {
  if (what == "cpu") return over(peer, row, "cpu_ns", "answers", round, 1e-3)
  if (what == "rate") return over(peer, row, "answers", "window_us", round, 1e6)
  if (what == "share") return over(peer, row, "canary", "answers", round, 100)
  if (what == "others") return over(peer, row, "others_ns", "window_us", round, 0.05)
  if (what == "added50") return added(peer, row, "p50_ns", round)
  if (what == "added99") return added(peer, row, "p99_ns", round)
  if (what == "memory") return scaled(peer, row, "rss_kib", round, 1 / 1024)
  if (what == "first") return scaled(peer, row, "first_us", round, 1e-3)
  if (what == "binary") return scaled(peer, row, "bytes", round, 1e-6)
  if (what == "instructions") return scaled(peer, row, "instructions", round, 1)
  if (what == "idle") {
    if (!((peer, row, "idle", round) in value)) return ""
    return (value[peer, row, "rss_idle_kib", round] - value[peer, row, "rss_kib", round]) \
      / value[peer, row, "idle", round]
  }
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
