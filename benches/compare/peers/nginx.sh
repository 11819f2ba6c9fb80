# nginx from Debian. One process without a master, which is the same event loop. Weights and
# not split_clients, which draws random bytes for each request and takes 8,500 instructions
# more; a body of 64 KiB fits its buffer, since by default it would go through a file.
# A stream says itself (`x-accel-buffering`) that it is not to be held back.

nginx_find() { need nginx nginx-light; }
nginx_label() { echo "nginx $(nginx -v 2>&1 | sed 's|.*nginx/||')"; }
nginx_rows() { echo "$all_rows"; }
nginx_binary() { command -v nginx; }

nginx_start() {
  cat > "$home/nginx.conf" <<CONF
daemon off;
master_process off;
worker_processes 1;
pid $home/pid;
error_log $home/error.log warn;
events { worker_connections $((2 * clients)); }
http {
  access_log off;
  client_body_temp_path $home/body;
  proxy_temp_path $home/proxy;
  fastcgi_temp_path $home/fastcgi;
  uwsgi_temp_path $home/uwsgi;
  scgi_temp_path $home/scgi;
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  client_body_buffer_size 128k;
  ssl_certificate $certs/cert.pem;
  ssl_certificate_key $certs/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  upstream versions {
    server $stable weight=9;
    server $canary weight=1;
    keepalive 64;
    keepalive_requests 1000000000;
  }
  upstream callees {
    server $grpc_stable weight=9;
    server $grpc_canary weight=1;
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:$plain;
    listen 127.0.0.1:$h2 http2;
    listen 127.0.0.1:$tls ssl;
    location / {
      proxy_pass http://versions;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host \$host;
    }
  }
  server {
    listen 127.0.0.1:$grpc http2;
    location / { grpc_pass grpc://callees; }
  }
}
CONF
  exec "${wrap[@]}" nginx -p "$home" -c "$home/nginx.conf"
}
