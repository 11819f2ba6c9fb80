# The minimal relay of relay.rs: what the kernel and the parsing cost, and nothing else.

floor_find() { :; }
floor_label() { echo "floor"; }
floor_rows() { echo start get chat post64k paced sse; }
floor_binary() { echo "$relay"; }
floor_start() { exec "${wrap[@]}" "$relay" "$plain" "$stable" "$canary"; }
