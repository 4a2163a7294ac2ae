//! A new scenario file is a new test: the tests are built again when the directory changes.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    writeln!(std::io::stdout(), "cargo::rerun-if-changed=../scenarios")
}
