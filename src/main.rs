//! The binary: the allocator and the way in; everything else is in the library.

use std::process::ExitCode;

/// mimalloc frees memory of another thread without a lock, which is what a proxy with a
/// control thread beside its workers does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    switchback::cli::main()
}
