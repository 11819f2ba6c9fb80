//! Pure: how a version loses its traffic.
