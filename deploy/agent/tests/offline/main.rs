//! The built program on files of manifests: what it prints, where, and how it ends.

mod check;
mod explain;
mod input;
mod matrix;
mod program;
mod render;
