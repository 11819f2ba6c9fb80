//! File to settings of every room. Raw types stay in here.
