//! How the process speaks: logs and metrics, nothing else.
