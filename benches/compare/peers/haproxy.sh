# HAProxy from Debian: one thread, two servers with weights. The plain port takes HTTP/2 with
# prior knowledge too. `http-no-delay`: else it keeps events of a stream back.
# Also the settings of haproxy28.sh.

haproxy_find() { need haproxy haproxy; }
haproxy_label() { echo "HAProxy $(haproxy -v | sed -n '1s/.*version \([0-9.]*\).*/\1/p')"; }
haproxy_rows() { echo "$all_rows"; }
haproxy_binary() { command -v haproxy; }
haproxy_start() { haproxy_run haproxy; }

haproxy_run() { # PROGRAM
  cat > "$home/haproxy.cfg" <<CONF
global
  nbthread 1
  maxconn $clients
  no strict-limits
defaults
  mode http
  option http-no-delay
  timeout connect 1s
  timeout client 75s
  timeout server 120s
  timeout http-keep-alive 75s
  http-reuse always
frontend in
  bind 127.0.0.1:$plain
  bind 127.0.0.1:$tls ssl crt $certs/both.pem alpn h2,http/1.1
  default_backend versions
frontend multiplexed
  bind 127.0.0.1:$h2 proto h2
  default_backend versions
frontend calls
  bind 127.0.0.1:$grpc proto h2
  default_backend callees
backend versions
  balance roundrobin
  server stable $stable weight 90 pool-max-conn 64
  server canary $canary weight 10 pool-max-conn 64
backend callees
  balance roundrobin
  server stable $grpc_stable proto h2 weight 90 pool-max-conn 64
  server canary $grpc_canary proto h2 weight 10 pool-max-conn 64
CONF
  exec "${wrap[@]}" "$1" -db -f "$home/haproxy.cfg"
}
