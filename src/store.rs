//! What survives a restart: quarantine, in an embedded store.
