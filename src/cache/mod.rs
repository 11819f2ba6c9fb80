//! Answers kept for the day both versions fail.
