//! Tests of the driver against the running kernel and against its own laws, in one program.

extern crate alloc;

#[cfg(test)]
mod capability;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod frame_log;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod links;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod netns;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod unencodable;
