//! A turn that kills its process again and again is found out and held back, and nothing else is.

mod policy;
mod processes;
mod restarts;
mod simulated;
mod suspects;
