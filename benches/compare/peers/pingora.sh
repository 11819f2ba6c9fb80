# A small proxy of Pingora, built on request from peers/pingora.

pingora_find() {
  local into=$PWD/${CARGO_TARGET_DIR:-target}/compare/pingora
  need cmake cmake
  note "building the proxy of Pingora"
  cargo build --release --quiet --manifest-path benches/compare/peers/pingora/Cargo.toml \
    --target-dir "$into"
  pingora=$into/release/pingora-peer
}
pingora_label() { echo "Pingora $(sed -n 's/^pingora-core = .*"=*\([0-9.]*\)".*/\1/p' \
  benches/compare/peers/pingora/Cargo.toml | head -1)"; }
pingora_rows() { echo start get chat post64k sse paced calls; }
pingora_binary() { echo "$pingora"; }
pingora_start() { exec "${wrap[@]}" "$pingora" "$plain" "$stable" "$canary"; }
