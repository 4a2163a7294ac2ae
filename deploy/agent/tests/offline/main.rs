//! The built program on files of manifests: what it prints, where, and how it ends.

mod chart;
mod check;
mod examples;
mod explain;
mod input;
mod installed;
mod matrix;
mod probe;
mod program;
mod render;
