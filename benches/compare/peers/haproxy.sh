# HAProxy from Debian: one thread, two servers with weights.

haproxy_find() { need haproxy haproxy; }
haproxy_label() { echo "HAProxy $(haproxy -v | sed -n '1s/.*version \([0-9.]*\).*/\1/p')"; }
haproxy_binary() { command -v haproxy; }

haproxy_start() {
  local home=$work/haproxy.$1
  mkdir -p "$home"
  cat > "$home/haproxy.cfg" <<CONF
global
  nbthread 1
  maxconn $clients
defaults
  mode http
  timeout connect 1s
  timeout client 75s
  timeout server 120s
  timeout http-keep-alive 75s
  http-reuse always
frontend in
  bind 127.0.0.1:$1
  default_backend versions
backend versions
  balance roundrobin
  server stable $stable weight 90 pool-max-conn 64
  server canary $canary weight 10 pool-max-conn 64
CONF
  exec "${wrap[@]}" haproxy -db -f "$home/haproxy.cfg"
}
