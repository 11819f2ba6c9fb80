# The bounds that Switchback is held to, as a second table. Reads what table.awk has read.

function gates() {
  print "\n| gate | wanted | measured | met |\n|---|---|---|---|"
  best("GET, CPU", "get", "cpu", 1.00)
  best("chat, CPU", "chat", "cpu", 1.00)
  against("GET, CPU", "get", "cpu", "envoy", 0.45)
  against("GET, CPU", "get", "cpu", "pingora", 0.60)
  most("user instructions a GET", "get", "instructions", 0, 25000)
  most("system calls a GET, full load", "calls", "full", 2, 4.2)
  most("system calls a GET, paced", "calls", "paced", 2, 6.3)
  least("GET, requests/s", "get", "rate", 1.00)
  best("GET paced, added p50", "paced", "added50", 1.00)
  best("GET paced, added p99", "paced", "added99", 1.00)
  best("POST 64 KB, CPU", "post64k", "cpu", 0.80)
  against("POST 64 KB, CPU", "post64k", "cpu", "haproxy", 0.60)
  against("POST 64 KB, CPU", "post64k", "cpu", "haproxy28", 0.60)
  best("event of a stream, CPU", "sse", "cpu", 1.00)
  best("event of a stream, added p50", "sse", "added50", 1.00)
  best("event of a stream, added p99", "sse", "added99", 1.00)
  against("HTTP/2, CPU", "h2", "cpu", "envoy", 0.75)
  against("HTTP/2, CPU", "h2", "cpu", "haproxy", 1.50)
  against("HTTP/2, CPU", "h2", "cpu", "haproxy28", 1.50)
  best("TLS kept alive, CPU", "tls", "cpu", 1.00)
  best("TLS handshake, CPU", "handshake", "cpu", 1.00)
  most("memory at start, MB", "start", "memory", 1, 8)
  most("KB an idle connection, of 1,000", "start", "idle1000", 1, 9)
  most("KB an idle connection, of " show(many, 0), "start", "idlemany", 1, 9)
  best("start to first answer", "start", "first", 1.00)
  most("binary, stripped, MB", "start", "binary", 1, 15)
}

function gate(title, wanted, measured, met) {
  print "| " title " | " wanted " | " measured " | " (met ? "yes" : "**no**") " |"
}

function most(title, row, what, digits, bound,    ours) {
  ours = median("switchback", row, what)
  if (ours != "") gate(title, "≤ " show(bound, bound % 1 ? 1 : 0), show(ours, digits), ours <= bound)
}

function against(title, row, what, peer, bound,    ours, other, c) {
  ours = median("switchback", row, what); other = median(peer, row, what)
  if (ours == "" || other == "" || other <= 0) return
  for (c = 1; c <= count; c++) if (column[c] == peer) title = title " against " label[c]
  gate(title, sprintf("≤ %.2f", bound), sprintf("%.2f", ours / other), ours <= bound * other)
}

# Against the best of all peers; the floor is none.
function best(title, row, what, bound,    ours, other) {
  ours = median("switchback", row, what); other = champion(row, what, -1)
  if (ours == "" || other == "") return
  gate(title " against the best peer", sprintf("≤ %.2f", bound),
    other > 0 ? sprintf("%.2f", ours / other) : show(ours, 0) " of " show(other, 0),
    ours <= bound * other)
}

function least(title, row, what, bound,    ours, other) {
  ours = median("switchback", row, what); other = champion(row, what, 1)
  if (ours == "" || other == "") return
  gate(title " against the best peer", sprintf("≥ %.2f", bound), sprintf("%.2f", ours / other),
    ours >= bound * other)
}

function champion(row, what, better,    c, mid, found) {
  found = ""
  for (c = 1; c <= count; c++) {
    if (column[c] == "switchback" || column[c] == "floor") continue
    mid = median(column[c], row, what)
    if (mid == "") continue
    if (found == "" || (better < 0 ? mid < found : mid > found)) found = mid
  }
  return found
}
