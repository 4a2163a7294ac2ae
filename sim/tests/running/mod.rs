//! Running the `sim` program from tests.

use std::process::Command;

/// The program with `arguments`; it gets no input.
pub fn sim<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments).stdin(std::process::Stdio::null());
    command
}
