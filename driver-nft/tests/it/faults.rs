//! What the kernel refuses, and what other programs do meanwhile.
