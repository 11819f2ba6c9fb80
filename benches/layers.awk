# Reads a callgrind file and prints where the instructions stand, per request (-v n=REQUESTS):
# by crate, each instruction counted where its source is, inlined or not; then the functions
# of ours with what they call included.
#
# The format: a name stands in full the first time and as "(number)" after; "fi=" and "fe="
# change the source within a function; the line after "calls=" is what the call cost.

function name(kind, text,    at) {
  at = index(text, ") ")
  if (at) { known[kind, substr(text, 1, at)] = substr(text, at + 2); return substr(text, at + 2) }
  return (kind, text) in known ? known[kind, text] : text
}

function crate(file) {
  if (match(file, /index\.crates\.io-[0-9a-f]+\/[a-z0-9_-]*-[0-9]/)) {
    file = substr(file, RSTART, RLENGTH - 2)
    sub(/.*\//, "", file)
    return file
  }
  if (file ~ /\/rustc\//) return "std"
  if (file ~ /sysdeps|nptl|malloc\.c|\.\/string\//) return "libc"
  if (match(file, /src\/[a-z0-9_]+\//)) return "switchback " substr(file, RSTART + 4, RLENGTH - 5)
  return "others"
}

/^fl=/ { source = home = name("file", substr($0, 4)); next }
/^f[ie]=/ { source = name("file", substr($0, 4)); next }
/^fn=/ { fn = name("fn", substr($0, 4)); next }
/^cfn=/ { callee = name("fn", substr($0, 5)); next }
/^cf[il]=/ { name("file", substr($0, 5)); next }
/^c?ob=/ { next }
/^calls=/ { split($1, made, "="); times[callee] += made[2]; call = 1; next }
/^[0-9+*-]/ {
  if (call) {
    if (fn != callee) whole[fn] += $2
    call = 0
    next
  }
  layer = crate(source)
  # The library's lines count for whom they are inlined into.
  if (layer == "std") layer = crate(home)
  layers[layer] += $2
  own[fn] += $2; whole[fn] += $2; all += $2
}

END {
  printf "%d instructions a request\n\n| crate | instructions | |\n|---|---|---|\n", all / n
  rank = "sort -t'|' -k3 -nr"
  for (layer in layers) {
    if (layers[layer] / n >= 20) {
      printf "| %s | %d | %.1f %% |\n", layer, layers[layer] / n, 100 * layers[layer] / all | rank
    }
  }
  close(rank)
  printf "\n| function | with what it calls | alone | calls |\n|---|---|---|---|\n"
  for (fn in whole) {
    if (whole[fn] / n >= 200) {
      printf "| %s | %d | %d | %.1f |\n", substr(fn, 1, 90), whole[fn] / n, own[fn] / n, \
        times[fn] / n | rank
    }
  }
  close(rank)
}
