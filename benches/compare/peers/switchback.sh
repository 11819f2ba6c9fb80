# Switchback with one worker and every default: measuring, analysis and rescue are on. Only the
# bound for each address is lifted, since here all callers have one.

switchback_find() { :; }
switchback_label() { echo "Switchback"; }
switchback_rows() { echo "$all_rows"; }
switchback_binary() { echo "$switchback"; }

switchback_start() {
  local limits='limits: { maxConnections: '$clients', maxConnectionsPerAddress: 0 }'
  {
    cat <<CONF
workers: 1
listeners:
  - { address: "127.0.0.1:$plain", $limits }
CONF
    [[ $alone ]] || cat <<CONF
  - { address: "127.0.0.1:$h2", $limits }
  - { address: "127.0.0.1:$grpc", $limits }
  - { address: "127.0.0.1:$tls", $limits, tls: { certFile: $certs/cert.pem, keyFile: $certs/key.pem } }
CONF
    cat <<CONF
admin: { address: "127.0.0.1:$admin" }
stateDir: $home/state
routes:
  - name: calls
    match: { pathPrefix: /inference.GRPCInferenceService }
    dialect: grpc
    versions:
      - { name: v1, role: stable, endpoints: ["http://$grpc_stable"] }
      - { name: v2, role: canary, weight: 10%, endpoints: ["http://$grpc_canary"] }
  - name: iris
    versions:
      - { name: v1, role: stable, endpoints: ["http://$stable"] }
      - { name: v2, role: canary, weight: 10%, endpoints: ["http://$canary"] }
CONF
  } > "$home/switchback.yaml"
  exec "${wrap[@]}" "$switchback" run --config "$home/switchback.yaml"
}
