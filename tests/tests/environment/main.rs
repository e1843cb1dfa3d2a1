//! What the world around a program does to it: full disks, stopped processes, handlers that behave badly.

mod blocked;
mod handlers;
#[cfg(target_os = "linux")]
mod large;
#[cfg(target_os = "linux")]
mod locks;
mod many;
#[cfg(target_os = "linux")]
mod small_disk;
