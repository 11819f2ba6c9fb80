# Switchback with one worker and every default: measuring, analysis and rescue are on.

switchback_find() { :; }
switchback_label() { echo "Switchback"; }
switchback_binary() { echo "$switchback"; }

switchback_start() {
  local home=$work/switchback.$1
  mkdir -p "$home"
  cat > "$home/switchback.yaml" <<CONF
workers: 1
listeners: [{ address: "127.0.0.1:$1" }]
admin: { address: "127.0.0.1:$2" }
stateDir: $home/state
routes:
  - name: iris
    versions:
      - { name: v1, role: stable, endpoints: ["http://$stable"] }
      - { name: v2, role: canary, weight: 10%, endpoints: ["http://$canary"] }
CONF
  exec "${wrap[@]}" "$switchback" run --config "$home/switchback.yaml"
}
